/* One API, told three times: the route table, its OpenAPI description, docs/protocol.md. */
#include "server/openapi.h"
#include "server/routes.h"
#include "tests/unit/server/cmocka_all.h"

#include <ctype.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *spec_role(enum role role)
{
	static const char *const names[] = {
		[ROLE_PUBLIC] = "public",
		[ROLE_DEVICE] = "device",
		[ROLE_FETCH] = "fetch",
		[ROLE_CLIENT] = "client",
		[ROLE_VIEWER] = "viewer",
		[ROLE_UPLOADER] = "uploader",
		[ROLE_OPERATOR] = "operator",
		[ROLE_ADMIN] = "admin",
	};

	return names[role];
}

/* "/v1/boards/:name" as OpenAPI writes it: "/v1/boards/{name}". */
static void template_of(const char *path, char *out)
{
	bool in_capture = false;

	for (; *path; path++) {
		if (*path == ':') {
			in_capture = true;
			*out++ = '{';
			continue;
		}
		if (*path == '/' && in_capture) {
			in_capture = false;
			*out++ = '}';
		}
		*out++ = *path;
	}
	if (in_capture)
		*out++ = '}';
	*out = '\0';
}

static void lower_method(enum http_method method, char out[8])
{
	const char *name = route_method_name(method);
	size_t i = 0;

	for (; name[i]; i++)
		out[i] = (char)tolower((unsigned char)name[i]);
	out[i] = '\0';
}

static json_t *description(void)
{
	json_error_t why;
	json_t *doc = json_loadb(openapi_json, openapi_json_len, JSON_REJECT_DUPLICATES, &why);

	if (!doc)
		fail_msg("openapi.json:%d: %s", why.line, why.text);
	return doc;
}

static void test_every_route_is_described(void **state)
{
	json_t *doc = description(), *paths = json_object_get(doc, "paths");
	size_t n = 0;
	const char *key;
	json_t *path;

	(void)state;
	assert_string_equal(json_string_value(json_object_get(doc, "openapi")), "3.1.0");
	for (size_t i = 0; i < n_routes; i++) {
		char template[256], method[8];
		json_t *op;

		template_of(routes[i].path, template);
		lower_method(routes[i].method, method);
		op = json_object_get(json_object_get(paths, template), method);
		if (!op)
			fail_msg("openapi.json lacks %s %s", method, template);
		assert_string_equal(
			json_string_value(json_object_get(op, "x-otad-role")), spec_role(routes[i].role));
		if (routes[i].body_max == 0 && !(routes[i].flags & ROUTE_UPLOAD))
			assert_null(json_object_get(op, "requestBody"));
	}
	json_object_foreach(paths, key, path) n += json_object_size(path);
	assert_int_equal(n, n_routes);
	json_decref(doc);
}

/* The names of an operation's query parameters as a row has them. */
static void query_of(const json_t *op, char *out, size_t cap)
{
	const json_t *parameter;
	size_t i, used = 0;

	out[0] = '\0';
	json_array_foreach(json_object_get(op, "parameters"), i, parameter)
	{
		if (strcmp(json_string_value(json_object_get(parameter, "in")), "query") == 0)
			used += (size_t)snprintf(out + used, cap - used, "%s%s", used ? " " : "",
				json_string_value(json_object_get(parameter, "name")));
		assert_true(used < cap);
	}
}

/* The operators' API refuses a parameter that its description does not have; other routes pass on what comes.
 */
static void test_query_parameters(void **state)
{
	json_t *doc = description(), *paths = json_object_get(doc, "paths");

	(void)state;
	for (size_t i = 0; i < n_routes; i++) {
		char template[256], method[8], query[256];

		template_of(routes[i].path, template);
		lower_method(routes[i].method, method);
		query_of(json_object_get(json_object_get(paths, template), method), query, sizeof(query));
		if (!!routes[i].query != (routes[i].role >= ROLE_VIEWER) ||
			(routes[i].query && strcmp(routes[i].query, query) != 0))
			fail_msg("%s %s: openapi.json has the query parameters '%s', the table '%s'", method,
				template, query, routes[i].query ? routes[i].query : "(any)");
	}
	json_decref(doc);
}

static void check_refs(const json_t *schemas, const json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_object(value)) {
		const char *ref = json_string_value(json_object_get(value, "$ref"));

		if (ref && !json_object_get(schemas, ref + strlen("#/components/schemas/")))
			fail_msg("openapi.json: %s is nowhere", ref);
		json_object_foreach((json_t *)(uintptr_t)value, key, item) check_refs(schemas, item);
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, item) check_refs(schemas, item);
	}
}

static void test_every_schema_exists(void **state)
{
	json_t *doc = description();

	(void)state;
	check_refs(json_object_get(json_object_get(doc, "components"), "schemas"), doc);
	json_decref(doc);
}

static void test_every_route_is_documented(void **state)
{
	static char text[256 * 1024];
	FILE *f = fopen("docs/protocol.md", "r");
	size_t len, n = 0;

	(void)state;
	assert_non_null(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	for (size_t i = 0; i < n_routes; i++) {
		char row[400];

		snprintf(row, sizeof(row), "\n| %s | `%s` | %s | ", route_method_name(routes[i].method),
			routes[i].path, spec_role(routes[i].role));
		if (!strstr(text, row))
			fail_msg("docs/protocol.md lacks%s", row);
	}
	for (const char *at = text; (at = strstr(at, " | `/")); at++)
		n++;
	assert_int_equal(n, n_routes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_route_is_described),
		cmocka_unit_test(test_query_parameters),
		cmocka_unit_test(test_every_schema_exists),
		cmocka_unit_test(test_every_route_is_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
