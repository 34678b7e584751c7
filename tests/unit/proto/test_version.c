/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdio.h>
#include <stdbool.h>
#include <string.h>

#include "proto/version.h"

static int sign(int n)
{
	return (n > 0) - (n < 0);
}

/* Oldest first; the first block is semver.org's own example, section 11. */
static void test_order(void **state)
{
	static const char *const chains[][12] = {
		{"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
			"1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"},
		{"0.9.9", "v1.0.0-0", "1.0.0-1", "v1.0.0-1a", "1.0.0-A", "1.0.0-a", "1.0.0-a-", "V1.0.0"},
		{"1", "1.3.9", "1.4", "1.4.0", "1.4.1", "1.10", "2", "10"},
		{"1.2.99999999999999999999998", "1.2.99999999999999999999999",
			"1.2.100000000000000000000000"},
		{"2023-12-31", "2024-01-05", "2024-02-01", "20240301"},
		{"", "7", "build 7", "build 10", "r7", "r10", "version"},
		{"v4.2", "v4.2.2", "4.4.4.20230218", "5"},
		{"release-5", "release-10", "release"},
	};

	(void)state;
	for (size_t c = 0; c < sizeof chains / sizeof chains[0]; c++) {
		for (size_t i = 0; i < 12 && chains[c][i]; i++) {
			for (size_t k = 0; k < 12 && chains[c][k]; k++) {
				if (sign(version_compare(chains[c][i], chains[c][k])) !=
					sign((int)i - (int)k))
					fail_msg("'%s' against '%s'", chains[c][i], chains[c][k]);
			}
		}
	}
}

static void test_same(void **state)
{
	static const char *const rows[][2] = {{"1.0.0", "v1.0.0"}, {"1.0.0+a", "1.0.0+b"},
		{"1.0.0+a", "1.0.0"}, {"1.0.0-rc.1+x", "1.0.0-rc.1"}, {"1.01", "1.1"}, {"", ""},
		{"lamp", "lamp"}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(version_compare(rows[i][0], rows[i][1]), 0);
		assert_int_equal(version_compare(rows[i][1], rows[i][0]), 0);
	}
}

/* Every triple of short strings over the bytes that matter: antisymmetric and transitive, so never a cycle.
 */
static void test_total_order(void **state)
{
	static const char alphabet[] = "019.-+va";
	static char set[600][5];
	static signed char order[600][600];
	size_t count = 0;

	(void)state;
	for (unsigned n = 0; n < 8 * 8 * 8 * 8; n += 7) {
		unsigned len = n % 5, rest = n;

		for (unsigned i = 0; i < len; i++, rest /= 8)
			set[count][i] = alphabet[rest % 8];
		count++;
	}
	assert_true(count <= 600);
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < count; k++)
			order[i][k] = (signed char)sign(version_compare(set[i], set[k]));
	}
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(order[i][i], 0);
		for (size_t k = 0; k < count; k++) {
			if (order[i][k] != -order[k][i])
				fail_msg("'%s' and '%s'", set[i], set[k]);
			if (order[i][k] > 0)
				continue;
			for (size_t m = 0; m < count; m += 3) {
				if (order[k][m] <= 0 && order[i][m] > 0)
					fail_msg("'%s', '%s', '%s'", set[i], set[k], set[m]);
			}
		}
	}
}

/* What is behind the 64th byte is not looked at, so an unterminated field of that size is safe. */
static void test_length(void **state)
{
	char a[VERSION_LEN_MAX], b[VERSION_LEN_MAX];

	(void)state;
	memset(a, '1', sizeof a);
	memset(b, '1', sizeof b);
	assert_int_equal(version_compare(a, b), 0);
	b[VERSION_LEN_MAX - 1] = '2';
	assert_int_equal(sign(version_compare(a, b)), -1);
	memset(a, '-', sizeof a);
	memset(b, '.', sizeof b);
	assert_int_not_equal(version_compare(a, b), 0);
	a[0] = b[0] = 'v';
	a[1] = b[1] = '1';
	assert_int_not_equal(version_compare(a, b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_total_order),
		cmocka_unit_test(test_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
