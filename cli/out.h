/* What otactl prints: tables, key-value blocks, times and sizes for people, progress on a terminal.
 *
 * Text that came from a server, a file or a device is made printable: control bytes never reach a terminal.
 */
#ifndef CLI_OUT_H
#define CLI_OUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/json.h"

enum { OUT_COLUMNS_MAX = 12 };

struct out_table {
	int n_columns;
	const char *head[OUT_COLUMNS_MAX];
	char **cell; /* n_rows * n_columns, owned */
	int n_rows, cap;
};

/* `head` ends with NULL. */
void out_table_init(struct out_table *t, const char *const *head);
/* One row; each cell is copied and made printable; NULL and "" print as "-". */
void out_table_row(struct out_table *t, const char *const *cells);
/* Print with columns aligned, the head first; nothing for no rows but `none`. Releases the table. */
void out_table_end(struct out_table *t, const char *none);

/* "name:   value" of a block; a name of "" goes on with the line before. */
void out_field(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for a text of several lines, each on its own. */
void out_prose(const char *name, const char *text);

/* Local time, "2026-01-31 18:04:05"; "never" for 0 or less. Static storage of eight turns, shared by the
 * functions here. */
const char *out_time(int64_t unix_s);
/* "3 min ago", "in 5 min", "never". Static storage of eight turns, shared by the functions here. */
const char *out_ago(int64_t unix_s);
/* For what happens at that time at the latest: "within 5 min", "due 3 min ago". Static storage as above. */
const char *out_by(int64_t unix_s);
/* Seconds as "45 s", "3 min", "5 h", "12 days". Static storage as above. */
const char *out_span(int64_t s);
/* "1.4 MiB". Static storage of eight turns, shared by the functions here. */
const char *out_size(int64_t bytes);
/* `text` without control bytes, in static storage of eight turns, at most 300 bytes. */
const char *out_safe(const char *text);

/* The answer as JSON on stdout, indented, with a newline. */
void out_json(const json_t *value);
/* {"done": is_done} */
void out_json_flag(const char *done, bool is_done);
/* What was done to what: "revoked 1f: ..." for people, {"revoked": "1f"} for programs. `more` is for people.
 */
void out_done(bool json, const char *done, const char *what, const char *more);
/* For programs: {"file": path}, after a file was written; nothing for standard output (NULL or "-"). */
void out_file(bool json, const char *path);
/* Was any JSON printed yet? */
bool out_has_json(void);

/* Progress of one thing on stderr: a bar that rewrites its line on a terminal, else one line at the end. */
struct out_bar {
	const char *what;
	bool is_tty;
	int last_permille;
};
void out_bar_set(struct out_bar *bar, uint64_t done, uint64_t total);
void out_bar_end(struct out_bar *bar, uint64_t total);

/* Before a secret is printed: a file that stdout was sent to is its owner's alone from now on; where it is
 * not ours to change, that is told on stderr. */
void out_hide(void);

/* Flush stdout: false when what was printed did not arrive (a full disk, a closed pipe). */
bool out_finish(void);
/* False once the other end of a pipe is gone, as with "| head": that needs no words. */
bool out_is_read(void);

#endif
