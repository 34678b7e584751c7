/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdbool.h>
#include <string.h>

#include "proto/err.h"

static const struct {
	enum ota_err err;
	int detail, reason;
	const char *name, *text;
} rows[] = {
#define ROW(name, detail, reason, text) {OTA_##name, detail, reason, #name, text},
	OTA_ERR_LIST(ROW)
#undef ROW
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		assert_in_range(rows[i].reason, 0, 12); /* SUIT report reasons */
		assert_in_range(rows[i].detail, 0, UINT16_MAX);
		assert_int_equal(rows[i].err, -rows[i].detail);
		for (size_t k = i + 1; k < ROWS; k++) {
			assert_int_not_equal(rows[i].detail, rows[k].detail);
			assert_string_not_equal(rows[i].text, rows[k].text);
		}
	}
}

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		assert_int_equal(ota_err_detail(rows[i].err), rows[i].detail);
		assert_int_equal(ota_err_reason(rows[i].err), rows[i].reason);
		assert_int_equal(ota_err_from_detail((uint16_t)rows[i].detail), rows[i].err);
		assert_string_equal(ota_err_name(rows[i].err), rows[i].name);
		assert_string_equal(ota_err_text(rows[i].err), rows[i].text);
	}
}

/* Every other detail, as a newer peer may send it. */
static void test_unknown(void **state)
{
	unsigned unknown = 0;

	(void)state;
	for (unsigned d = 0; d <= UINT16_MAX; d++) {
		bool is_ours = false;

		for (size_t i = 0; i < ROWS; i++)
			is_ours = is_ours || rows[i].detail == (int)d;
		if (is_ours)
			continue;
		unknown++;
		if (ota_err_from_detail((uint16_t)d) != OTA_IO)
			fail_msg("detail %u", d);
	}
	assert_int_equal(unknown, UINT16_MAX + 1 - ROWS);
	assert_int_equal(ota_err_reason((enum ota_err) - 9999), 11);
	assert_string_equal(ota_err_text((enum ota_err) - 9999), "unknown error");
	assert_string_equal(ota_err_name((enum ota_err) - 9999), "UNKNOWN");
}

/* Message grammar: lower case unless a name, no full stop. */
static void test_texts(void **state)
{
	static const char *const names[] = {"COSE"};

	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		const char *t = rows[i].text;
		bool is_name = false;

		assert_true(t[0] != '\0' && t[strlen(t) - 1] != '.');
		for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
			is_name = is_name || strncmp(t, names[n], strlen(names[n])) == 0;
		assert_true(is_name || !(t[0] >= 'A' && t[0] <= 'Z'));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
