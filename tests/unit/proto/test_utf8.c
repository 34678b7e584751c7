/* UTF-8, every character of it and what only looks like it; and what JSON makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/json_char.h"
#include "proto/utf8.h"

/* `code` in `n` bytes, whether or not that is its form. */
static void put(uint32_t code, size_t n, uint8_t out[4])
{
	static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (size_t i = n - 1; i > 0; i--, code >>= 6)
		out[i] = (uint8_t)(0x80 | (code & 0x3f));
	out[0] = (uint8_t)(lead[n] | code);
}

static size_t length_of(uint32_t code)
{
	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

static void every_code_in_every_length(void **state)
{
	static const uint32_t ends[] = {0, 0x80, 0x800, 0x10000, 0x200000};
	uint8_t text[4];

	(void)state;
	for (size_t n = 1; n <= 4; n++) {
		for (uint32_t code = 0; code < ends[n]; code++) {
			const size_t want = length_of(code) == n ? n : 0;

			put(code, n, text);
			if (utf8_char(text, 4) != want || utf8_char(text, n) != want)
				fail_msg("U+%04x in %zu bytes", code, n);
			if (n > 1 && utf8_char(text, n - 1) != 0)
				fail_msg("U+%04x cut short", code);
		}
	}
}

static void what_is_no_character(void **state)
{
	static const char *const bad[] = {"\x80", "\xbf", "\xc3\x28", "\xe2\x82\x28", "\xe2\x28\x82",
		"\xf0\x9f\x92\x28", "\xf8\x88\x80\x80", "\xfe", "\xff"};

	(void)state;
	assert_int_equal(utf8_char("", 0), 0);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(utf8_char(bad[i], strlen(bad[i])), 0);
}

static void in_json(void **state)
{
	static const struct {
		const char *text, *want;
		size_t taken;
	} rows[] = {
		{"ab", "a", 1},
		{"\"", "\\\"", 1},
		{"\\n", "\\\\", 1},
		{"\n", "\\u000a", 1},
		{"\x1f", "\\u001f", 1},
		{"\x7f", "\\u007f", 1},
		{"\xc3\xa4x", "\xc3\xa4", 2},
		{"\xf0\x9f\x92\xa9", "\xf0\x9f\x92\xa9", 4},
		{"\xc0\xaf", "\xef\xbf\xbd", 1},     /* overlong */
		{"\xe0\x80\xaf", "\xef\xbf\xbd", 1}, /* overlong */
		{"\xed\xa0\x80", "\xef\xbf\xbd", 1}, /* a surrogate */
		{"\xf4\x90\x80\x80", "\xef\xbf\xbd", 1},
		{"\xc3", "\xef\xbf\xbd", 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char out[JSON_CHAR_MAX];
		size_t taken = 0, n = json_char(rows[i].text, strlen(rows[i].text), out, &taken);

		assert_int_equal(n, strlen(rows[i].want));
		assert_memory_equal(out, rows[i].want, n);
		assert_int_equal(taken, rows[i].taken);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_in_every_length),
		cmocka_unit_test(what_is_no_character),
		cmocka_unit_test(in_json),
	};

	return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
