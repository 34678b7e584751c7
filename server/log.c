#include "server/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/utf8.h"

static atomic_int current_level = LOG_LEVEL_INFO;
static atomic_int current_format = LOG_FORMAT_TEXT;

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const char level_priorities[] = {'3', '4', '6', '7'};

void log_setup(enum log_level level, enum log_format format)
{
	if (format == LOG_FORMAT_AUTO)
		format = getenv("JOURNAL_STREAM") ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT;
	atomic_store(&current_level, (int)level);
	atomic_store(&current_format, (int)format);
}

/* How many bytes the character at `p`, of `room` bytes, has; 0: no UTF-8, or a control character. */
static size_t printable(const unsigned char *p, size_t room)
{
	size_t len = utf8_char(p, room);
	bool is_control = p[0] < 0x20 || p[0] == 0x7f || (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);

	return is_control ? 0 : len;
}

/* Append `text` to out[used..room), escaping what is not printable, and `also` where that is in the text.
 * Stops before a character that does not fit. */
static size_t escape(
	const char *text, const char *also, bool is_json, char *out, size_t used, size_t room, bool *is_cut)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + strlen(text);

	while (p < end) {
		size_t len = printable(p, (size_t)(end - p));
		char piece[8];

		if (len == 1 && strchr(also, *p)) {
			piece[0] = '\\';
			piece[1] = (char)*p;
			len = 2;
			p++;
		} else if (len > 0) {
			memcpy(piece, p, len);
			p += len;
		} else {
			len = (size_t)snprintf(piece, sizeof piece, is_json ? "\\u00%02x" : "\\x%02x", *p);
			p++;
		}
		if (used + len >= room) {
			if (is_cut)
				*is_cut = true;
			break;
		}
		memcpy(out + used, piece, len);
		used += len;
	}
	return used;
}

const char *log_quote(const char *text, char out[static LOG_QUOTE_LEN])
{
	bool is_cut = false;
	size_t used;

	if (!text) {
		memcpy(out, "none", 5);
		return out;
	}
	out[0] = '"';
	used = escape(text, "\"\\", false, out, 1, LOG_QUOTE_LEN - 4, &is_cut);
	if (is_cut) {
		memcpy(out + used, "...", 3);
		used += 3;
	} else {
		out[used++] = '"';
	}
	out[used] = '\0';
	return out;
}

size_t log_render(enum log_format format, enum log_level level, int64_t now_s, const char *msg,
	char out[static 2 * LOG_LINE_MAX])
{
	const size_t room = 2 * LOG_LINE_MAX - 4;
	char when[32];
	struct tm tm;
	time_t t = (time_t)now_s;
	size_t used;

	gmtime_r(&t, &tm);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (format == LOG_FORMAT_JSON) {
		used = (size_t)snprintf(
			out, room, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":\"", when, level_names[level]);
		used = escape(msg, "\"\\", true, out, used, room, NULL);
		out[used++] = '"';
		out[used++] = '}';
	} else {
		if (format == LOG_FORMAT_JOURNAL)
			used = (size_t)snprintf(out, room, "<%c>", level_priorities[level]);
		else
			used = (size_t)snprintf(out, room, "%s %-5s ", when, level_names[level]);
		used = escape(msg, "", false, out, used, room, NULL);
	}
	out[used++] = '\n';
	out[used] = '\0';
	return used;
}

static void emit(enum log_level level, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void emit(enum log_level level, const char *fmt, va_list ap)
{
	char msg[LOG_LINE_MAX];
	char line[2 * LOG_LINE_MAX];
	size_t len;
	ssize_t ignored;

	if ((int)level > atomic_load(&current_level))
		return;
	vsnprintf(msg, sizeof msg, fmt, ap);
	len = log_render((enum log_format)atomic_load(&current_format), level, time(NULL), msg, line);
	/* A log that cannot be written has nobody to tell. */
	ignored = write(STDERR_FILENO, line, len);
	(void)ignored;
}

#define LOG_FN(name, level)                                                                                  \
	void name(const char *fmt, ...)                                                                      \
	{                                                                                                    \
		va_list ap;                                                                                  \
		va_start(ap, fmt);                                                                           \
		emit(level, fmt, ap);                                                                        \
		va_end(ap);                                                                                  \
	}

LOG_FN(log_error, LOG_LEVEL_ERROR)
LOG_FN(log_warn, LOG_LEVEL_WARN)
LOG_FN(log_info, LOG_LEVEL_INFO)
LOG_FN(log_debug, LOG_LEVEL_DEBUG)

void log_limited(struct log_limit *limit, unsigned per_minute, int64_t now_s, enum log_level level,
	const char *fmt, ...)
{
	va_list ap;

	if (limit->minute != now_s / 60) {
		unsigned left_out = limit->left_out;

		limit->minute = now_s / 60;
		limit->lines = 0;
		limit->left_out = 0;
		if (left_out)
			log_warn("%u lines of the kind that follows were left out", left_out);
	}
	if (limit->lines >= per_minute) {
		limit->left_out++;
		return;
	}
	limit->lines++;
	va_start(ap, fmt);
	emit(level, fmt, ap);
	va_end(ap);
}
