#include "tests/unit/db/fixture.h"

#include <string.h>

#include "db/selector.h"

static const char *attribute(void *ctx, const char *name)
{
	(void)ctx;
	return strcmp(name, "floor") == 0 ? "2" : NULL;
}

static void parse(void **state)
{
	static const struct {
		const char *text;
		enum ota_err want;
		const char *words; /* part of the message */
	} rows[] = {
		{"all", OTA_OK, NULL},
		{"*", OTA_OK, NULL},
		{"tag=kitchen,board=c3-sensor,version<1.4", OTA_OK, NULL},
		{"version>=2.0.0-rc.1+b", OTA_OK, NULL},
		{"attr.floor!=2", OTA_OK, NULL},
		{"state=pending", OTA_OK, NULL},
		{"", OTA_INVALID, "empty"},
		{"kitchen", OTA_INVALID, "key=value"},
		{"all,tag=a", OTA_INVALID, "all"},
		{"=x", OTA_INVALID, "key=value"},
		{"tag=", OTA_INVALID, "bad value"},
		{"tag=a,", OTA_INVALID, "key=value"},
		{",tag=a", OTA_INVALID, "key=value"},
		{"tag=a b", OTA_INVALID, "bad value"},
		{"tag<a", OTA_INVALID, "only = and !="},
		{"tag!a", OTA_INVALID, "key=value"},
		{"tag==a", OTA_INVALID, "bad value"},
		{"tags=a", OTA_INVALID, "did you mean tag?"},
		{"verison=1", OTA_INVALID, "did you mean version?"},
		{"zzz=1", OTA_INVALID, "use tag"},
		{"attr.=1", OTA_INVALID, "unknown"},
		{"state=odd", OTA_INVALID, "pending, approved or revoked"},
		{"version=a,b=1", OTA_INVALID, "unknown"},
		{"tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,"
		 "tag=a",
			OTA_OK, NULL},
		{"tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,tag=a,"
		 "tag=a,tag=a",
			OTA_TOO_LARGE, "more than"},
	};
	char huge[SELECTOR_TEXT_MAX + 2];
	struct selector s;
	struct errmsg e;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum ota_err got = selector_parse(rows[i].text, &s, &e);

		if (got != rows[i].want)
			fail_msg("'%s': %s", rows[i].text, ota_err_name(got));
		if (rows[i].words && !strstr(e.text, rows[i].words))
			fail_msg("'%s' says '%s'", rows[i].text, e.text);
		if (got != OTA_OK)
			assert_int_equal(s.n, 0);
	}
	memset(huge, 'a', sizeof huge - 1);
	huge[sizeof huge - 1] = '\0';
	assert_int_equal(selector_parse(huge, &s, &e), OTA_TOO_LARGE);
}

static void match(void **state)
{
	static const char *const tags[] = {"kitchen", "warm"};
	const struct selector_facts known = {.uid = "aa",
		.name = "lamp-1",
		.board = "lamp",
		.version = "1.10",
		.state = "approved",
		.tags = tags,
		.n_tags = 2,
		.attribute = attribute};
	const struct selector_facts blank = {.uid = "bb", .name = "bb"};
	static const struct {
		const char *text;
		bool known, blank;
	} rows[] = {
		{"all", true, true},
		{"tag=kitchen", true, false},
		{"tag!=kitchen", false, true},
		{"tag=kitchen,tag=warm", true, false},
		{"tag=kitchen,tag=cold", false, false},
		{"board=lamp", true, false},
		{"board!=lamp", false, true},
		{"name=lamp-1", true, false},
		{"id=bb", false, true},
		{"state=approved", true, false},
		{"version<1.4", false, false},
		{"version>1.9", true, false},
		{"version<=1.10", true, false},
		{"version>=1.10", true, false},
		{"version=1.10", true, false},
		{"version!=1.10", false, true},
		{"version!=1.9", true, true},
		{"attr.floor=2", true, false},
		{"attr.floor!=2", false, true},
		{"attr.roof=1", false, false},
		{"tag=kitchen,version>1.9,board=lamp,attr.floor=2", true, false},
	};
	struct selector s;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(selector_parse(rows[i].text, &s, NULL), OTA_OK);
		if (selector_matches(&s, &known) != rows[i].known ||
			selector_matches(&s, &blank) != rows[i].blank)
			fail_msg("'%s'", rows[i].text);
	}
	assert_true(selector_uses(&s, SELECTOR_ATTRIBUTE));
	assert_false(selector_uses(&s, SELECTOR_NAME));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(parse), cmocka_unit_test(match)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
