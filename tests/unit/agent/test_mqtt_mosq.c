/* The broker's line: when it is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "device-agent/ports/posix/mqtt_mosq.h"

static void test_backoff(void **state)
{
	static const struct {
		uint32_t last_s;
		int64_t lasted_ms;
		uint32_t wait_s;
	} cases[] = {
		{0, 0, 1},
		{1, 0, 2},
		{2, 0, 4},
		{32, 0, 60},
		{60, 0, 60},
		/* thrown off at once, again and again */
		{1, 900, 2},
		{32, 59999, 60},
		/* it held: the broker itself went */
		{60, 60000, 1},
		{60, 86400000, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(mqtt_backoff_s(cases[i].last_s, cases[i].lasted_ms), cases[i].wait_s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_backoff)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
