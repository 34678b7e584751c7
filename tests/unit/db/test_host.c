#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/cleanup.h"
#include "proto/errmsg.h"
#include "proto/hex.h"
#include "proto/limits.h"

static void hex_round(void **state)
{
	static const struct {
		const char *text;
		enum hex_case letters;
		enum ota_err want;
	} rows[] = {
		{"00ff7f", HEX_LOWER, OTA_OK},
		{"00FF7f", HEX_LOWER, OTA_INVALID},
		{"00FF7f", HEX_ANY, OTA_OK},
		{"00ff7", HEX_ANY, OTA_INVALID},
		{"00ff7f00", HEX_ANY, OTA_INVALID},
		{"00fg7f", HEX_ANY, OTA_INVALID},
		{" 0ff7f", HEX_ANY, OTA_INVALID},
		{"", HEX_ANY, OTA_INVALID},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t out[3] = {9, 9, 9};

		assert_int_equal(hex_decode(rows[i].text, strlen(rows[i].text), rows[i].letters, out, 3),
			rows[i].want);
		if (rows[i].want == OTA_OK) {
			char back[7];

			hex_encode(out, 3, back);
			assert_string_equal(back, "00ff7f");
		} else {
			assert_memory_equal(out, "\t\t\t", 3);
		}
	}
	assert_int_equal(hex_decode("", 0, HEX_LOWER, NULL, 0), OTA_OK);
	assert_true(hex_is_lower("00ff", 4));
	assert_false(hex_is_lower("00ff", 3));
	assert_false(hex_is_lower("00f", 4));
	assert_false(hex_is_lower("00fF", 4));
}

static void uuid_round(void **state)
{
	static const char *const good[] = {"00112233-4455-6677-8899-aabbccddeeff",
		"00112233-4455-6677-8899-AABBCCDDEEFF", "00112233445566778899aabbccddeeff"};
	static const char *const bad[] = {"", "00112233-4455-6677-8899-aabbccddeef",
		"00112233-4455-6677-8899aabbccddeeff-", "001122334455-6677-8899-aabbccddeeff--",
		"00112233-4455-6677-8899-aabbccddeefg", "-0112233-4455-6677-8899-aabbccddeeff"};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		uint8_t id[16];
		char text[37];

		assert_int_equal(uuid_decode(good[i], id), OTA_OK);
		uuid_encode(id, text);
		assert_string_equal(text, good[0]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint8_t id[16];

		assert_int_equal(uuid_decode(bad[i], id), OTA_INVALID);
	}
}

static void arena_cap(void **state)
{
	struct arena a;
	size_t got = 0;

	(void)state;
	arena_init(&a, 64 * 1024);
	for (size_t len = 1;; len = len * 3 + 1) {
		uint8_t *p = arena_alloc(&a, len);

		if (!p)
			break;
		assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, len);
		got += len;
	}
	assert_in_range(got, 16 * 1024, 64 * 1024);
	assert_true(a.used <= a.used_max);
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_alloc(&a, SIZE_MAX - 8));
	assert_null(arena_array(&a, SIZE_MAX / 2, 3));
	arena_clear(&a);
	assert_int_equal(a.used, 0);
	assert_non_null(arena_alloc(&a, 60 * 1024));
	arena_release(&a);
	assert_null(arena_alloc(&a, 1));
}

static void arena_texts(void **state)
{
	struct arena a;
	char *kept;

	(void)state;
	arena_init(&a, 1 << 20);
	kept = arena_strdup(&a, "lamp");
	for (int i = 0; i < 1000; i++)
		assert_non_null(arena_printf(&a, "%d-%s", i, "xxxxxxxxxxxxxxxxxxxx"));
	assert_string_equal(kept, "lamp");
	assert_string_equal(arena_strndup(&a, "kitchen", 4), "kitc");
	assert_string_equal(arena_printf(&a, "%s %d", "a", 7), "a 7");
	assert_null(arena_strdup(&a, NULL));
	assert_memory_equal(arena_dup(&a, "\0\1\2", 3), "\0\1\2", 3);
	arena_release(&a);
	arena_release(&a);
}

static void errmsg_words(void **state)
{
	struct errmsg e = {.text = ""};

	(void)state;
	assert_int_equal(errmsg_fail(&e, OTA_NOT_FOUND, "no board '%s'", "lmap"), OTA_NOT_FOUND);
	errmsg_prefix(&e, "push %d: ", 3);
	assert_string_equal(e.text, "push 3: no board 'lmap'");
	assert_int_equal(errmsg_fail_errno(&e, ENOSPC, "cannot write '%s'", "x"), OTA_NO_SPACE);
	assert_string_equal(e.text, "cannot write 'x': No space left on device");
	errmsg_set(&e, "%0300d", 1);
	assert_int_equal(strlen(e.text), sizeof e.text - 1);
	assert_string_equal(e.text + sizeof e.text - 5, "0...");
	errmsg_prefix(&e, "p: ");
	assert_memory_equal(e.text, "p: 000", 6);
	assert_string_equal(e.text + sizeof e.text - 5, "0...");
	errmsg_set(NULL, "nobody listens");
	assert_int_equal(errmsg_fail(NULL, OTA_IO, "x"), OTA_IO);
	assert_int_equal(errmsg_errno(EROFS), OTA_DENIED);
	assert_int_equal(errmsg_errno(EIO), OTA_IO);
}

static void cleanup_closes(void **state)
{
	int copy;

	(void)state;
	{
		AUTO(fd) int fd = dup(0);
		AUTO(free) char *text = strdup("x");
		AUTO(arena) struct arena mem = {0};

		assert_non_null(text);
		arena_init(&mem, 4096);
		assert_non_null(arena_alloc(&mem, 16));
		copy = fd;
		assert_true(fd >= 0);
	}
	assert_int_equal(close(copy), -1);
	{
		AUTO(fd) int fd = dup(0);

		copy = fd_take(&fd);
	}
	assert_int_equal(close(copy), 0);
}

static void names(void **state)
{
	static const struct {
		const char *text;
		bool is_name, is_version;
	} rows[] = {
		{"lamp", true, true},
		{"a", true, true},
		{"", false, false},
		{"-x", false, true},
		{".x", false, true},
		{"a b", false, false},
		{"a/b", false, false},
		{"a,b", false, false},
		{"a=b", false, false},
		{"1.2.3+b", false, true},
		{"k\xc3\xbc", false, false},
		{"a\n", false, false},
		{"A_9.z-", true, true},
		{"123456789012345678901234567890123456789012345678901234567890123", true, true},
		{"1234567890123456789012345678901234567890123456789012345678901234", false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(limit_name_is_valid(rows[i].text), rows[i].is_name);
		assert_int_equal(limit_version_is_valid(rows[i].text), rows[i].is_version);
	}
}

static void plain_texts(void **state)
{
	static const struct {
		const char *text;
		bool is_line, is_prose;
	} rows[] = {
		{"", true, true},
		{"k\xc3\xbc", true, true},
		{"a\nb\tc", false, true},
		{"a\rb", false, false},
		{"\x1b[2J", false, false},
		{"a\x7f", false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(limit_text_is_plain(rows[i].text, false), rows[i].is_line);
		assert_int_equal(limit_text_is_plain(rows[i].text, true), rows[i].is_prose);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hex_round),
		cmocka_unit_test(uuid_round),
		cmocka_unit_test(arena_cap),
		cmocka_unit_test(arena_texts),
		cmocka_unit_test(errmsg_words),
		cmocka_unit_test(cleanup_closes),
		cmocka_unit_test(names),
		cmocka_unit_test(plain_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
