#include <stdio.h>
#include <string.h>

#include "server/range.h"
#include "tests/unit/server/cmocka_all.h"

#define ETAG "\"0123\""

static void ranges(void **state)
{
	/* `want`: "whole", "416", or "first+len first+len". */
	static const struct {
		const char *value;
		uint64_t size;
		const char *want;
	} rows[] = {
		{NULL, 100, "whole"},
		{"", 100, "whole"},
		{"lines=0-1", 100, "whole"},
		{"bytes=0-0", 100, "0+1"},
		{"bytes=0-99", 100, "0+100"},
		{"BYTES=5-9", 100, "5+5"},
		{"bytes=5-", 100, "5+95"},
		{"bytes=-5", 100, "95+5"},
		{"bytes=-100", 100, "0+100"},
		{"bytes=-1000", 100, "0+100"},
		{"bytes=99-200", 100, "99+1"},
		{"bytes=0-18446744073709551615", 100, "0+100"},
		{"bytes=0-99999999999999999999999999", 100, "0+100"},
		{"bytes= 1 - 2 ", 100, "1+2"},
		{"bytes=100-", 100, "416"},
		{"bytes=100-200", 100, "416"},
		{"bytes=99999999999999999999999999-", 100, "416"},
		{"bytes=-0", 100, "416"},
		{"bytes=5-4", 100, "416"},
		{"bytes=", 100, "whole"},
		{"bytes=-", 100, "416"},
		{"bytes=a-b", 100, "416"},
		{"bytes=1", 100, "416"},
		{"bytes=1-2x", 100, "416"},
		{"bytes=1--2", 100, "416"},
		{"bytes=+1-2", 100, "416"},
		{"bytes=1-2,", 100, "416"},
		{"bytes=1-2,x", 100, "416"},
		{"bytes=0-1,5-6", 100, "0+2 5+2"},
		{"bytes=5-6,0-1", 100, "5+2 0+2"},
		{"bytes=0-1,200-300", 100, "0+2"},
		{"bytes=200-300,0-1", 100, "0+2"},
		{"bytes=0-1,2-3", 100, "0+4"},
		{"bytes=0-9,5-14", 100, "0+15"},
		{"bytes=10-19,30-39,15-34", 100, "10+30"},
		{"bytes=0-60,30-99", 100, "whole"},
		{"bytes=0-,0-", 100, "whole"},
		{"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-"
		 "30",
			100, "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 16+1 18+1 20+1 22+1 24+1 26+1 28+1 30+1"},
		{"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-"
		 "30,32-32",
			100, "whole"},
		{"bytes=0-", 0, "whole"},
		{"bytes=0-5", 0, "whole"},
		{"bytes=-5", 0, "whole"},
		{"bytes=1-5", 0, "416"},
		{"bytes=0-", UINT64_MAX, "0+18446744073709551615"},
		{"bytes=-18446744073709551615", UINT64_MAX, "0+18446744073709551615"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct range_span spans[RANGE_MAX];
		char got[512] = "whole";
		unsigned n = 0;
		size_t used = 0;

		switch (range_parse(rows[i].value, rows[i].size, spans, &n)) {
		case RANGE_WHOLE:
			break;
		case RANGE_UNSATISFIABLE:
			strcpy(got, "416");
			break;
		case RANGE_PART:
			for (unsigned s = 0; s < n; s++)
				used += (size_t)sprintf(got + used, "%s%llu+%llu", s ? " " : "",
					(unsigned long long)spans[s].first, (unsigned long long)spans[s].len);
			break;
		}
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("'%s' of %llu: %s, not %s", rows[i].value ? rows[i].value : "none",
				(unsigned long long)rows[i].size, got, rows[i].want);
	}
}

static void conditions(void **state)
{
	static const struct {
		const char *if_match, *if_none_match;
		enum range_condition want;
	} rows[] = {
		{NULL, NULL, RANGE_GO},
		{ETAG, NULL, RANGE_GO},
		{"*", NULL, RANGE_GO},
		{"\"x\", " ETAG, NULL, RANGE_GO},
		{"\"x\"", NULL, RANGE_FAILED},
		{"W/" ETAG, NULL, RANGE_FAILED},
		{"0123", NULL, RANGE_FAILED},
		{"", NULL, RANGE_FAILED},
		{NULL, ETAG, RANGE_NOT_MODIFIED},
		{NULL, "W/" ETAG, RANGE_NOT_MODIFIED},
		{NULL, "*", RANGE_NOT_MODIFIED},
		{NULL, " , \"a\" ,, " ETAG " ", RANGE_NOT_MODIFIED},
		{NULL, "\"x\"", RANGE_GO},
		{NULL, "\"01\"", RANGE_GO},
		{NULL, "0123", RANGE_GO},
		{NULL, ETAG " x", RANGE_GO},
		{NULL, "\"unterminated", RANGE_GO},
		{NULL, "* x", RANGE_GO},
		{"\"x\"", ETAG, RANGE_FAILED},
		{ETAG, ETAG, RANGE_NOT_MODIFIED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (range_conditions(rows[i].if_match, rows[i].if_none_match, ETAG) != rows[i].want)
			fail_msg("row %zu", i);
	}
	assert_true(range_if_range(NULL, ETAG));
	assert_true(range_if_range(ETAG, ETAG));
	assert_false(range_if_range("W/" ETAG, ETAG));
	assert_false(range_if_range("Sun, 06 Nov 1994 08:49:37 GMT", ETAG));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges),
		cmocka_unit_test(conditions),
	};

	return cmocka_run_group_tests_name("range", tests, NULL, NULL);
}
