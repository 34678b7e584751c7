#include <string.h>

#include "server/doors.h"
#include "tests/unit/server/cmocka_all.h"

static void doors(void **state)
{
	static const struct {
		const char *text;
		bool plain;
		int doors; /* -1: refused */
		enum door_kind kind;
		const char *words;
	} rows[] = {
		{"http://127.0.0.1:8484", false, DOOR_ALL, DOOR_HTTP, ""},
		{"http://localhost:8484", false, DOOR_ALL, DOOR_HTTP, ""},
		{"http://127.9.9.9:1", false, DOOR_ALL, DOOR_HTTP, ""},
		{"http://[::1]:8484", false, DOOR_ALL, DOOR_HTTP, ""},
		{"http://127.0.0.1:8484=devices", false, DOOR_DEVICES, DOOR_HTTP, ""},
		{"http://127.0.0.1:8484/", false, DOOR_ALL, DOOR_HTTP, ""},
		{"http://0.0.0.0:8484", false, -1, DOOR_HTTP, "plain HTTP beyond loopback"},
		{"http://0.0.0.0:8484", true, DOOR_DEVICES | DOOR_CLIENTS, DOOR_HTTP, ""},
		{"http://*:8484", true, DOOR_DEVICES | DOOR_CLIENTS, DOOR_HTTP, ""},
		{"http://[::]:8484", true, DOOR_DEVICES | DOOR_CLIENTS, DOOR_HTTP, ""},
		{"http://192.0.2.1:8484=devices", true, DOOR_DEVICES, DOOR_HTTP, ""},
		{"http://192.0.2.1:8484=devices,operators", true, -1, DOOR_HTTP, "operators are not served"},
		{"http://192.0.2.1:8484=operators", true, -1, DOOR_HTTP, "operators are not served"},
		{"https://0.0.0.0:8485", false, DOOR_ALL, DOOR_HTTPS, ""},
		{"https://0.0.0.0:8485=operators", false, DOOR_OPERATORS, DOOR_HTTPS, ""},
		{"https://0.0.0.0:8485=operators,clients", false, DOOR_OPERATORS | DOOR_CLIENTS, DOOR_HTTPS,
			""},
		{"https://0.0.0.0:8485=", false, -1, DOOR_HTTPS, "none of operators"},
		{"https://0.0.0.0:8485=devices,", false, -1, DOOR_HTTPS, "none of operators"},
		{"https://0.0.0.0:8485=everybody", false, -1, DOOR_HTTPS, "'everybody' is none of"},
		{"ftp://127.0.0.1:1", false, -1, DOOR_HTTP, "does not begin with"},
		{"127.0.0.1:1", false, -1, DOOR_HTTP, "does not begin with"},
		{"http://127.0.0.1", false, -1, DOOR_HTTP, "no port"},
		{"http://127.0.0.1:", false, -1, DOOR_HTTP, "no port"},
		{"http://127.0.0.1:65536", false, -1, DOOR_HTTP, "no port"},
		{"http://127.0.0.1:+1", false, -1, DOOR_HTTP, "no port"},
		{"http://127.0.0.1:1x", false, -1, DOOR_HTTP, "no port"},
		{"http://example.com:80", false, -1, DOOR_HTTP, "not a numeric address"},
		{"http://::1:80", false, -1, DOOR_HTTP, "not a numeric address"},
		{"http://:80", false, -1, DOOR_HTTP, "not a numeric address"},
		{"", false, -1, DOOR_HTTP, "does not begin with"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct door_spec d;
		struct errmsg e = {{0}};
		enum ota_err err = door_parse(rows[i].text, rows[i].plain, &d, &e);

		if (rows[i].doors < 0 ? err != OTA_INVALID || !strstr(e.text, rows[i].words)
				      : err || (int)d.doors != rows[i].doors || d.kind != rows[i].kind)
			fail_msg("'%s': %d %s", rows[i].text, err, e.text);
	}
}

static void twice(void **state)
{
	struct config c = {.listen = {.n = 2, .value = {"http://127.0.0.1:5", "https://127.0.0.1:5"}}};
	struct door_spec d[CONFIG_LISTEN_MAX];
	struct errmsg e;
	unsigned n;

	(void)state;
	assert_int_equal(doors_from_config(&c, d, &n, &e), OTA_INVALID);
	c.listen.value[1] = "https://127.0.0.1:6";
	assert_int_equal(doors_from_config(&c, d, &n, &e), OTA_OK);
	assert_int_equal(n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doors),
		cmocka_unit_test(twice),
	};

	return cmocka_run_group_tests_name("doors", tests, NULL, NULL);
}
