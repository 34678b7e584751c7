#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/log.h"
#include "tests/unit/server/cmocka_all.h"

static void lines(void **state)
{
	static const struct {
		enum log_format format;
		enum log_level level;
		const char *msg;
		const char *want;
	} rows[] = {
		{LOG_FORMAT_TEXT, LOG_LEVEL_INFO, "x", "2027-01-15T08:00:00Z info  x\n"},
		{LOG_FORMAT_TEXT, LOG_LEVEL_ERROR, "a\nb\x1b[1m",
			"2027-01-15T08:00:00Z error a\\x0ab\\x1b[1m\n"},
		{LOG_FORMAT_TEXT, LOG_LEVEL_INFO, "\xc3\xa4 \xff \xc2\x85",
			"2027-01-15T08:00:00Z info  \xc3\xa4 \\xff \\xc2\\x85\n"},
		{LOG_FORMAT_TEXT, LOG_LEVEL_INFO, "\xed\xa0\x80 \xe0\x80\xaf \xc3",
			"2027-01-15T08:00:00Z info  \\xed\\xa0\\x80 \\xe0\\x80\\xaf \\xc3\n"},
		{LOG_FORMAT_JOURNAL, LOG_LEVEL_ERROR, "x", "<3>x\n"},
		{LOG_FORMAT_JOURNAL, LOG_LEVEL_WARN, "x", "<4>x\n"},
		{LOG_FORMAT_JOURNAL, LOG_LEVEL_INFO, "x", "<6>x\n"},
		{LOG_FORMAT_JOURNAL, LOG_LEVEL_DEBUG, "x", "<7>x\n"},
		{LOG_FORMAT_JSON, LOG_LEVEL_WARN, "say \"x\"\\\n",
			"{\"time\":\"2027-01-15T08:00:00Z\",\"level\":\"warn\",\"msg\":\"say "
			"\\\"x\\\"\\\\\\u000a\"}\n"},
	};
	char out[2 * LOG_LINE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = log_render(rows[i].format, rows[i].level, 1800000000, rows[i].msg, out);

		assert_string_equal(out, rows[i].want);
		assert_int_equal(n, strlen(out));
	}
}

static void long_lines(void **state)
{
	char msg[LOG_LINE_MAX], out[2 * LOG_LINE_MAX];

	(void)state;
	memset(msg, '\n', sizeof msg - 1);
	msg[sizeof msg - 1] = '\0';
	for (int f = LOG_FORMAT_TEXT; f <= LOG_FORMAT_JOURNAL; f++) {
		size_t n = log_render((enum log_format)f, LOG_LEVEL_INFO, 0, msg, out);

		assert_true(n < sizeof out);
		assert_int_equal(out[n - 1], '\n');
		assert_null(memchr(out, '\n', n - 1));
	}
}

static void quoting(void **state)
{
	char out[LOG_QUOTE_LEN], big[1000];

	(void)state;
	assert_string_equal(log_quote("lamp", out), "\"lamp\"");
	assert_string_equal(log_quote("", out), "\"\"");
	assert_string_equal(log_quote(NULL, out), "none");
	assert_string_equal(log_quote("a\"b\\c\n", out), "\"a\\\"b\\\\c\\x0a\"");
	for (size_t len = 150; len < 300; len++) {
		memset(big, 'a', len);
		big[len] = '\0';
		log_quote(big, out);
		assert_true(strlen(out) < LOG_QUOTE_LEN);
		if (len <= LOG_QUOTE_LEN - 6)
			assert_int_equal(out[len + 1], '"');
		else
			assert_string_equal(out + strlen(out) - 3, "...");
	}
}

/* Lines that strangers cause are bounded, and what was left out is said. */
static void limit(void **state)
{
	struct log_limit l = {0};
	char got[4096];
	int ends[2], saved = dup(STDERR_FILENO);
	ssize_t n;
	unsigned lines_seen = 0;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JOURNAL);
	for (int i = 0; i < 100; i++)
		log_limited(&l, 3, 600, LOG_LEVEL_WARN, "refused %d", i);
	log_limited(&l, 3, 660, LOG_LEVEL_WARN, "later");
	log_debug("not at this level");
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	n = read(ends[0], got, sizeof got - 1);
	close(ends[0]);
	assert_true(n > 0);
	got[n] = '\0';
	for (const char *p = got; (p = strchr(p, '\n')); p++)
		lines_seen++;
	assert_int_equal(lines_seen, 5);
	assert_non_null(strstr(got, "<4>97 lines"));
	assert_non_null(strstr(got, "later"));
	assert_null(strstr(got, "not at this level"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(quoting),
		cmocka_unit_test(limit),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
