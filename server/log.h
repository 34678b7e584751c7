/* Log lines to stderr: one line each, bounded in length and number.
 *
 * Under systemd (JOURNAL_STREAM) a line begins with its "<N>" priority, else with time and level; or each
 * line is a JSON object. Control characters never reach the terminal. Text that others chose is passed
 * through log_quote. The level and the format are the one process-wide state of the server, as stderr itself
 * is. Thread-safe: a line is one write. */
#ifndef SERVER_LOG_H
#define SERVER_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

enum log_format {
	LOG_FORMAT_AUTO, /* journal under systemd, else text */
	LOG_FORMAT_TEXT,
	LOG_FORMAT_JSON,
	LOG_FORMAT_JOURNAL,
};

enum { LOG_LINE_MAX = 1024, LOG_QUOTE_LEN = 200 };

void log_setup(enum log_level level, enum log_format format);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Lines of one kind that strangers can cause: at most `per_minute` of them, then silence until the minute is
 * over, whose end says how many were left out. Zeroed to begin. One thread. */
struct log_limit {
	int64_t minute;
	unsigned lines;
	unsigned left_out;
};

void log_limited(struct log_limit *limit, unsigned per_minute, int64_t now_s, enum log_level level,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* `text` in double quotes, with everything but printable ASCII and valid UTF-8 escaped, cut with "..." to
 * fit. Returns `out`. NULL gives the word none. */
const char *log_quote(const char *text, char out[static LOG_QUOTE_LEN]);

/* The line that would be written for `msg`, newline included; for tests. Returns its length. */
size_t log_render(enum log_format format, enum log_level level, int64_t now_s, const char *msg,
	char out[static 2 * LOG_LINE_MAX]);

#endif
