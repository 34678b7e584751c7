#include <string.h>

#include "server/route.h"
#include "tests/unit/server/cmocka_all.h"

static const struct route rows[] = {
	{HTTP_GET, "/", ROLE_PUBLIC, 0, NULL, 0, NULL},
	{HTTP_GET, "/v1/devices", ROLE_VIEWER, 0, NULL, 0, NULL},
	{HTTP_GET, "/v1/devices/:id", ROLE_VIEWER, 0, NULL, 0, NULL},
	{HTTP_GET, "/v1/devices/pending", ROLE_VIEWER, 0, NULL, 0, NULL},
	{HTTP_PATCH, "/v1/devices/:id", ROLE_OPERATOR, 100, NULL, 0, NULL},
	{HTTP_POST, "/v1/devices/:id/hold", ROLE_OPERATOR, 100, NULL, 0, NULL},
	{HTTP_GET, "/x/:a/:b/:c/:d", ROLE_VIEWER, 0, NULL, 0, NULL},
	{HTTP_PUT, "/v1/images/:sha256", ROLE_OPERATOR, 0, NULL, ROUTE_UPLOAD, NULL},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static void matching(void **state)
{
	static const struct {
		enum http_method method;
		const char *path;
		int row; /* -1: 404, -2: 405 */
		const char *captures;
	} cases[] = {
		{HTTP_GET, "/", 0, ""},
		{HTTP_HEAD, "/", 0, ""},
		{HTTP_GET, "/v1/devices", 1, ""},
		{HTTP_GET, "/v1/devices/", -1, ""},
		{HTTP_GET, "/v1/device", -1, ""},
		{HTTP_GET, "/v1/devicesx", -1, ""},
		{HTTP_GET, "/v1/devices/lamp", 2, "lamp"},
		{HTTP_GET, "/v1/devices/a b", 2, "a b"},
		{HTTP_GET, "/v1/devices/pending", 3, ""},
		{HTTP_PATCH, "/v1/devices/pending", 4, "pending"},
		{HTTP_DELETE, "/v1/devices/lamp", -2, ""},
		{HTTP_POST, "/v1/devices/lamp/hold", 5, "lamp"},
		{HTTP_POST, "/v1/devices//hold", -1, ""},
		{HTTP_GET, "/v1/devices/lamp/hold", -2, ""},
		{HTTP_GET, "/v1/devices/lamp/hold/more", -1, ""},
		{HTTP_GET, "/x/1/2/3/4", 6, "1 2 3 4"},
		{HTTP_GET, "/x/1/2/3", -1, ""},
		{HTTP_HEAD, "/v1/images/ab", -2, ""},
		{HTTP_METHODS, "/v1/devices", -2, ""},
		{HTTP_GET, "", -1, ""},
		{HTTP_GET, "v1", -1, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct route *found = NULL;
		struct route_captures cap = {.n = 0};
		unsigned allow = 0;
		char text[256] = "";
		int row;

		switch (route_find(rows, ROWS, cases[i].method, cases[i].path, &found, &cap, &allow)) {
		case ROUTE_FOUND:
			row = (int)(found - rows);
			break;
		case ROUTE_NOT_FOUND:
			row = -1;
			break;
		default:
			row = -2;
			assert_true(allow != 0);
		}
		for (unsigned c = 0; c < cap.n; c++) {
			strcat(text, c ? " " : "");
			strcat(text, cap.value[c]);
		}
		if (row != cases[i].row || strcmp(text, cases[i].captures) != 0)
			fail_msg("%s: row %d '%s'", cases[i].path, row, text);
	}
}

static void captures_are_bounded(void **state)
{
	char path[ROUTE_CAPTURE_LEN_MAX + 32] = "/v1/devices/";
	const struct route *found;
	struct route_captures cap;
	unsigned allow;

	(void)state;
	memset(path + 12, 'a', ROUTE_CAPTURE_LEN_MAX);
	assert_int_equal(route_find(rows, ROWS, HTTP_GET, path, &found, &cap, &allow), ROUTE_FOUND);
	assert_int_equal(strlen(cap.value[0]), ROUTE_CAPTURE_LEN_MAX);
	path[12 + ROUTE_CAPTURE_LEN_MAX] = 'a';
	assert_int_equal(route_find(rows, ROWS, HTTP_GET, path, &found, &cap, &allow), ROUTE_NOT_FOUND);
}

static void methods(void **state)
{
	char text[ROUTE_ALLOW_LEN];

	(void)state;
	route_allow_text(1u << HTTP_GET | 1u << HTTP_HEAD | 1u << HTTP_DELETE, text);
	assert_string_equal(text, "GET, HEAD, DELETE");
	route_allow_text(0x3f, text);
	assert_string_equal(text, "GET, HEAD, POST, PUT, PATCH, DELETE");
	for (int m = 0; m < HTTP_METHODS; m++)
		assert_int_equal(route_method(route_method_name((enum http_method)m)), m);
	assert_int_equal(route_method("get"), HTTP_METHODS);
	assert_int_equal(route_method("TRACE"), HTTP_METHODS);
}

static void doors(void **state)
{
	(void)state;
	assert_int_equal(route_doors(ROLE_PUBLIC), DOOR_ALL);
	assert_int_equal(route_doors(ROLE_FETCH), DOOR_ALL);
	assert_int_equal(route_doors(ROLE_DEVICE), DOOR_DEVICES);
	assert_int_equal(route_doors(ROLE_CLIENT), DOOR_CLIENTS);
	for (int r = ROLE_VIEWER; r <= ROLE_ADMIN; r++)
		assert_int_equal(route_doors((enum role)r), DOOR_OPERATORS);
}

static void query_names(void **state)
{
	static const struct {
		const char *query, *name;
		bool is_taken;
		const char *meant;
	} tries[] = {
		{NULL, "anything", true, ""},
		{"", "limit", false, ""},
		{"", "", false, ""},
		{"limit", "limit", true, ""},
		{"limit after state", "limit", true, ""},
		{"limit after state", "after", true, ""},
		{"limit after state", "state", true, ""},
		{"limit after state", "limit after", false, ""},
		{"limit after state", "Limit", false, "limit"},
		{"limit after state", "lim", false, "limit"},
		{"limit after state", "stats", false, "state"},
		{"limit after state", "atfer", false, "after"},
		{"limit after state", "afters", false, "after"},
		{"limit after state", "", false, ""},
		{"limit after state", " ", false, ""},
		{"limit after state", "nonsense", false, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
		const struct route row = {.query = tries[i].query};
		const char *meant;
		size_t len;

		if (route_takes_query(&row, tries[i].name, &meant, &len) != tries[i].is_taken ||
			len != strlen(tries[i].meant) || (len && memcmp(meant, tries[i].meant, len) != 0))
			fail_msg("'%s' in '%s'", tries[i].name, tries[i].query ? tries[i].query : "(any)");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_names),
		cmocka_unit_test(matching),
		cmocka_unit_test(captures_are_bounded),
		cmocka_unit_test(methods),
		cmocka_unit_test(doors),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
