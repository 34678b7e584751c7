/* The parts of a push: what is sent, to which board, and how it is going. cmd_push.c puts them together. */
#ifndef CLI_PUSH_H
#define CLI_PUSH_H

#include "cli/cli.h"
#include "cli/inspect.h"

enum { PUSH_FILES_MAX = 16 };

/* One operand "[BOARD:][COMPONENT[.VARIANT]=]FILE". */
struct push_file {
	char board[64]; /* "" until known */
	char component[16];
	char variant[16];
	const char *path;
	bool is_released; /* the release that it would be in exists already */
	struct inspected in;
};

/* Split an operand. A name that exists as a file as it stands is a file: nothing is split off. False when a
 * part is empty or too long. */
bool push_parse(const char *text, struct push_file *out);

/* The board of that name out of the server's list; NULL after the reason was printed. Borrowed. */
json_t *push_board(struct cli *cli, const json_t *boards, const char *name);

/* Fill in what was not said from the file and the boards that the server knows. EXIT_*; the reason was
 * printed. */
int push_resolve(struct cli *cli, struct push_file *f, const json_t *boards);

/* Do the resolved files make a whole release of each of their boards? What the server would refuse after all
 * bytes were sent is refused here; it checks them all the same. EXIT_*; the reason was printed. */
int push_check_sets(struct cli *cli, const struct push_file *files, int n, const json_t *boards);

/* Send the bytes unless the server has them; resumes where a cut upload ended. */
bool push_upload(struct cli *cli, struct push_file *f);

/* What --wait, --timeout and --accept-served say together. EXIT_*; the reason was printed. 0 = never gives
 * up. */
int push_wait_options(const struct cli *cli, const struct args *args, long long *timeout_s);

/* Follow pushes (their objects, refreshed in place) until every target has ended, `timeout_s` is over (0 =
 * never) or Ctrl-C. Prints progress and the closing table. EXIT_DONE when all targets run it;
 * `is_retry`: when all do that a retry of the one push just opened again. */
int push_wait(struct cli *cli, json_t *rollouts, long long timeout_s, bool accept_served, bool is_retry);

#endif
