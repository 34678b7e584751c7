/* The command table of otactl: the one source of dispatch, usage, --help, completion and the man page's
 * synopsis.
 *
 * To add a command: a row in table.c, its function in the cmd_<noun>.c of its noun, a paragraph in
 * man/otactl.1 (a test holds the man page and the completion against the table). */
#ifndef CLI_CMD_H
#define CLI_CMD_H

#include <stdbool.h>
#include <stddef.h>

struct cli;
struct args;

enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

/* An option of one command or of all. */
struct opt {
	const char *name; /* without "--" */
	const char *arg;  /* name of its value, NULL for a flag; one that ends in "..." may be repeated
			   * (its help says so) */
	char letter;      /* one-letter form, or 0 */
	const char *help;
};

enum cmd_need {
	NEED_NOTHING = 0,
	NEED_SERVER = 1, /* a login, OTACTL_URL or the socket */
};

struct cmd {
	const char *noun; /* "push", "board" */
	const char *verb; /* NULL where the noun stands alone */
	const char *args; /* as printed: "BOARD FILE..." */
	const char *help; /* one line */
	int min, max;     /* positional arguments; max < 0 is any number */
	enum cmd_need need;
	const struct opt *opts;                              /* ends with a row without name; may be NULL */
	int (*fn)(struct cli *cli, const struct args *args); /* EXIT_* */
};

extern const struct cmd cmds[];
extern const size_t n_cmds;
extern const struct opt global_opts[];

/* Arguments of one call, checked against its row. */
struct args {
	const struct cmd *cmd;
	int n;
	char **pos;
	int n_opts;
	struct {
		const struct opt *opt;
		const char *value; /* "" for a flag */
	} opt[64];
};

/* The row of the option that `word` is, of `cmd` (may be NULL) or of all: "--name", "--name=VALUE", "-n".
 * NULL: there is none. */
const struct opt *opt_of(const struct cmd *cmd, const char *word);

/* Value of --name; NULL when it was not given. */
const char *args_get(const struct args *a, const char *name);
bool args_has(const struct args *a, const char *name);
/* The k-th --name of a repeatable option; NULL when there are fewer. */
const char *args_nth(const struct args *a, const char *name, int k);

/* Parse a duration ("90s", "15m", "2h", "7d") to seconds; false when it is none. */
bool args_duration(const char *text, long long *seconds);

/* Parse a size in bytes ("200000", "0x30000", "192K", "192KiB", "1M", "1MiB": K is 1024) that is no larger
 * than 4 GiB; false when it is none. */
bool args_size(const char *text, long long *bytes);

/* Run argv. Returns the exit code. */
int cmd_main(int argc, char **argv);

#endif
