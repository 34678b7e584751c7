/* What every command of otactl works with: global options, where the server is, how to print. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>

#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/json.h"
#include "cli/out.h"
#include "proto/errmsg.h"

struct cli {
	struct client *client; /* NULL for commands that need no server */
	bool json;             /* --json: programs read stdout */
	bool yes;              /* -y: do not ask */
	bool is_tty;           /* stdin and stderr are terminals: questions and bars are possible */
};

/* Print one line that says what is wrong on stderr; returns EXIT_FAILED. */
int cli_fail(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As cli_fail, for what a caller got wrong in argv; returns EXIT_USAGE. */
int cli_usage(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What to do about what cli_fail or cli_usage just said: a second line. */
void cli_hint(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* path_join of cli/file.h; false after the reason was printed. */
bool cli_path(
	const struct cli *cli, char *out, size_t cap, const char *prefix, const char *part, const char *tail);
/* As cli_fail, for an answer of the server that is no success: its own words where it gave any, else what its
 * status means, and what to do next. */
int cli_problem(
	const struct cli *cli, const char *method, const char *path, const struct client_answer *answer);
/* The same in the words of `detail`, where the server knows less than we do. */
int cli_problem_is(const struct cli *cli, const char *method, const char *path,
	const struct client_answer *answer, const char *detail);

/* The last thing that one of these said, for programs: {code, detail, hint?, status?}. The caller owns it. */
json_t *fail_json(void);
bool fail_is_told(void);
/* Was the last thing said that the call was wrong, by the server or here? */
bool fail_is_usage(void);

/* One request with an optional JSON body. True with the answer's JSON (NULL for an empty body) in `*out`,
 * which the caller owns; false after the reason was printed. `out` may be NULL. */
bool cli_call(struct cli *cli, const char *method, const char *path, json_t *take_body, json_t **out);

/* GET a whole list, page after page, as one array. */
bool cli_list(struct cli *cli, const char *path, json_t **out);
/* As much of it as comes within about `limit_s` (1 or more), without a word about the rest: for what is only
 * of use where it is quick. The caller's; empty where nothing came. */
json_t *cli_try_list(struct cli *cli, const char *path, long limit_s);

/* Print one object: as it is with --json, else by `show`. It is released. Returns EXIT_DONE. */
int cli_show(const struct cli *cli, json_t *take, void (*show)(const json_t *object));

/* Put what --expires says into a request's body; nothing where it was not given. EXIT_*; the reason was
 * printed. */
int cli_expires(const struct cli *cli, const struct args *args, json_t *body);

/* Ask "text [y/N]" on the terminal. True without asking with -y or when there is no terminal. */
bool cli_confirm(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As cli_confirm for what nothing takes back: without a terminal it is not done unless -y says so. EXIT_*;
 * the reason was printed. */
int cli_confirm_final(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same question to a person: -y is no answer to it, and without a terminal nobody says yes. */
bool cli_confirm_seen(const struct cli *cli, const char *text);

/* A passphrase from the first line of `file`, else OTACTL_PASSPHRASE, else the terminal (asked twice when
 * `is_new`), of at most `cap` - 2 bytes: a longer one is refused. The text is written to `buf`; wipe it.
 * False after the reason was printed. */
bool cli_passphrase(
	const struct cli *cli, const char *file, const char *what, bool is_new, char *buf, size_t cap);

#endif
