/* Devices, secrets, provisioning. */
#include "db/device.h"
#include "db/identity.h"
#include "server/urls.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/nouns.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

static void test_device(void **state)
{
	struct nouns *n = *state;
	char uid[33], path[100];

	nouns_device(n, "lamp", "kitchen", false);
	nouns_device(n, "lamp", "hall", true);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices?state=pending", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 1);
	assert_string_equal(nouns_text(n, "items.0.name"), "kitchen");
	assert_string_equal(nouns_text(n, "items.0.state"), "pending");
	assert_true(json_is_null(nouns_at(n, "items.0.online")));
	assert_true(json_is_null(nouns_at(n, "items.0.running")));
	assert_true(json_is_null(nouns_at(n, "items.0.assignment")));
	snprintf(uid, sizeof(uid), "%s", nouns_text(n, "items.0.id"));

	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/approve", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "state"), "approved");
	assert_int_equal(nouns_int(n, "approved_at"), n->f.now);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/approve", NULL);
	assert_int_equal(n->status, 200);

	snprintf(path, sizeof(path), "/v1/devices/%.6s", uid);
	nouns_call(n, ROLE_OPERATOR, "PATCH", path,
		"{\"name\":\"cellar\",\"tags_add\":[\"dark\",\"cold\"],\"hold\":true}");
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "name"), "cellar");
	assert_string_equal(nouns_text(n, "tags.0"), "cold");
	assert_int_equal(nouns_int(n, "hold"), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices?selector=tag%3Ddark&hold=true&board=lamp", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices?hold=false", NULL);
	assert_string_equal(nouns_text(n, "items.0.name"), "hall");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/cellar/log", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "items.0.kind"), "held");
	assert_string_equal(nouns_text(n, "items.0.text"), "put on hold by tester");
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/audit?action=device.update", NULL);
	assert_string_equal(nouns_text(n, "items.0.target"), uid);
	assert_string_equal(nouns_text(n, "items.0.before.name"), "kitchen");
	assert_string_equal(nouns_text(n, "items.0.after.name"), "cellar");
	assert_int_equal(nouns_int(n, "items.0.after.hold"), 1);

	nouns_call(n, ROLE_VIEWER, "GET", "/v1/status", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "devices.total"), 2);
	assert_int_equal(nouns_int(n, "devices.held"), 1);
	assert_int_equal(nouns_int(n, "devices.pending"), 0);

	nouns_call(n, ROLE_OPERATOR, "DELETE", path, NULL);
	assert_int_equal(n->status, 204);
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_int_equal(n->status, 404);
}

/* Among 500 ids (they come from the names, so always the same ones) two begin alike. */
static void check_ambiguous(struct nouns *n)
{
	const json_t *items = nouns_at(n, "items");
	char prefix[5] = "", path[64], name[64] = "", other[64] = "";

	for (size_t i = 0; i < json_array_size(items) && !*prefix; i++) {
		for (size_t k = 0; k < i && !*prefix; k++) {
			const json_t *a = json_array_get(items, i), *b = json_array_get(items, k);
			const char *id = json_string_value(json_object_get(a, "id"));

			if (strncmp(id, json_string_value(json_object_get(b, "id")), 4) != 0)
				continue;
			snprintf(prefix, sizeof(prefix), "%.4s", id);
			snprintf(name, sizeof(name), "%s", json_string_value(json_object_get(a, "name")));
			snprintf(other, sizeof(other), "%s", json_string_value(json_object_get(b, "name")));
		}
	}
	assert_int_equal(strlen(prefix), 4);
	snprintf(path, sizeof(path), "/v1/devices/%s", prefix);
	nouns_refused(n, ROLE_VIEWER, "GET", path, NULL, 409, "beginning of several");
	assert_non_null(strstr(nouns_text(n, "hint"), name));
	assert_non_null(strstr(nouns_text(n, "hint"), other));
}

/* The largest page fits into one request's memory, with all that hangs on each row. */
static void test_largest_page(void **state)
{
	struct nouns *n = *state;

	nouns_devices(n, "lamp", "device-with-a-long-name", 500, true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	assert_int_equal(nouns_int(n, "targets"), 500);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices?limit=500", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 500);
	check_ambiguous(n);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1/assignments?limit=500", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 500);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/changes?after=1", NULL);
	assert_int_equal(n->status, 200);
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/audit?limit=500", NULL);
	assert_int_equal(n->status, 200);
	nouns_call(n, ROLE_OPERATOR, "GET", "/v1/enroll-secrets?limit=500", NULL);
	assert_int_equal(n->status, 200);
}

/* Devices that say much of themselves: a page ends early rather than not at all, and none is lost or told
 * twice. */
static void test_pages_of_talkative_devices(void **state)
{
	struct nouns *n = *state;
	struct attribute attrs[DEVICE_ATTRIBUTES_MAX];
	char names[DEVICE_ATTRIBUTES_MAX][16], value[DEVICE_ATTRIBUTE_VALUE_MAX + 1];
	struct db_tx tx = {0};
	int64_t last = nouns_devices(n, "lamp", "device", 400, true);
	unsigned n_pages;
	json_t *all;

	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < DEVICE_ATTRIBUTES_MAX; i++) {
		snprintf(names[i], sizeof(names[i]), "a%d", i);
		attrs[i] = (struct attribute){names[i], value};
	}
	assert_int_equal(db_begin(n->db, &tx, NULL), OTA_OK);
	for (int64_t id = last - 399; id <= last; id++)
		assert_int_equal(attribute_set_all(n->db, id, attrs, DEVICE_ATTRIBUTES_MAX, NULL), OTA_OK);
	assert_int_equal(db_commit(&tx, NULL), OTA_OK);
	all = nouns_pages(n, "/v1/devices?limit=500", &n_pages);
	for (size_t i = 0; i < json_array_size(all); i++) {
		char name[32];

		snprintf(name, sizeof(name), "device-%zu", i);
		assert_string_equal(json_string_value(json_object_get(json_array_get(all, i), "name")), name);
	}
	assert_int_equal(json_array_size(all), 400);
	assert_true(n_pages > 1);
	json_decref(all);
}

static void test_device_by_mac(void **state)
{
	struct nouns *n = *state;
	struct identity_row row = {.kind = IDENTITY_MAC, .value = "aabbcc001122", .created_at = 1};
	int64_t id;

	row.device = nouns_device(n, "lamp", "kitchen", true);
	assert_int_equal(identity_insert(n->db, &row, &id, NULL), OTA_OK);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/AA-BB-CC-00-11-22", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "name"), "kitchen");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/aa:bb:cc:00:11:22", NULL);
	assert_string_equal(nouns_text(n, "name"), "kitchen");
}

static void test_device_replace(void **state)
{
	struct nouns *n = *state;

	nouns_device(n, "lamp", "old", true);
	nouns_device(n, "lamp", "new", false);
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/old", "{\"tags_add\":[\"roof\"]}");
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/old/replace", "{\"new\":\"new\"}");
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "name"), "old");
	assert_string_equal(nouns_text(n, "state"), "approved");
	assert_string_equal(nouns_text(n, "tags.0"), "roof");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices?state=revoked", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 1);
}

static void test_device_reject(void **state)
{
	struct nouns *n = *state;
	char uid[33];

	nouns_device(n, "lamp", "kitchen", true);
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/reject", NULL, 409,
		"no new key of 'kitchen' waits");
	/* It enrolls again. */
	nouns_device(n, "lamp", "kitchen", true);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/kitchen", NULL);
	assert_true(json_is_true(nouns_at(n, "rekey")));
	snprintf(uid, sizeof(uid), "%s", nouns_text(n, "id"));
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/reject", NULL);
	assert_int_equal(n->status, 200);
	assert_true(json_is_false(nouns_at(n, "rekey")));
	assert_string_equal(nouns_text(n, "state"), "approved");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/kitchen/log", NULL);
	assert_string_equal(nouns_text(n, "items.0.kind"), "rejected");
	assert_string_equal(nouns_text(n, "items.0.text"), "its new key was refused by tester");
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/audit?action=device.reject", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 1);
	assert_string_equal(nouns_text(n, "items.0.target"), uid);
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/reject", NULL, 409, "no new key of");
	/* Never approved: the device itself waits, and goes on waiting. */
	nouns_device(n, "lamp", "hall", false);
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/devices/hall/reject", NULL, 409, "never approved");
	assert_non_null(strstr(nouns_text(n, "hint"), "otactl device remove"));
	nouns_device(n, "lamp", "hall", false);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/hall/reject", NULL);
	assert_int_equal(n->status, 200);
	assert_true(json_is_false(nouns_at(n, "rekey")));
	assert_string_equal(nouns_text(n, "state"), "pending");
	/* Revoked. */
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/hall/replace", "{\"new\":\"kitchen\"}");
	assert_int_equal(n->status, 200);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices?state=revoked", NULL);
	char path[100];

	snprintf(path, sizeof(path), "/v1/devices/%s/reject", nouns_text(n, "items.0.id"));
	nouns_refused(n, ROLE_OPERATOR, "POST", path, NULL, 409, "it is revoked");
}

static void test_device_refused(void **state)
{
	static const struct nouns_refusal rows[] = {
		{"GET", "/v1/devices/kitchne", NULL, 404, "did you mean kitchen?"},
		{"GET", "/v1/devices/00:11:22:33:44:55", NULL, 404, "there is no device"},
		{"GET", "/v1/devices?state=new", NULL, 422, "state must be"},
		{"GET", "/v1/devices?hold=maybe", NULL, 422, "hold must be"},
		{"GET", "/v1/devices?selector=tga%3Dx", NULL, 422, "tga"},
		{"GET", "/v1/devices?board=lmap", NULL, 404, "did you mean lamp?"},
		{"PATCH", "/v1/devices/kitchen", "{\"name\":\"hall\"}", 409,
			"there is a device 'hall' already"},
		{"PATCH", "/v1/devices/kitchen", "{\"name\":\"a b\"}", 400, "is no name"},
		{"PATCH", "/v1/devices/kitchen", "{\"tags_add\":[\"a,b\"]}", 400, "is no tag"},
		{"PATCH", "/v1/devices/kitchen", "{\"hold\":\"yes\"}", 400, "'hold' must be true or false"},
		{"PATCH", "/v1/devices/kitchen", "{\"state\":\"approved\"}", 400, "unknown field 'state'"},
		{"PATCH", "/v1/devices/nobody", "{}", 404, "there is no device"},
		{"POST", "/v1/devices/kitchen/replace", "{}", 400, "'new' is missing"},
		{"POST", "/v1/devices/kitchen/replace", "{\"new\":\"kitchen\"}", 409,
			"cannot replace itself"},
		{"POST", "/v1/devices/kitchen/replace", "{\"new\":\"nobody\"}", 404, "there is no device"},
		{"POST", "/v1/devices/kitchen/replace", "{\"new\":\"socket\"}", 409, "different boards"},
		{"POST", "/v1/devices/nobody/approve", NULL, 404, "there is no device"},
		{"POST", "/v1/devices/nobody/reject", NULL, 404, "there is no device"},
		{"POST", "/v1/devices/nobody/cancel", NULL, 404, "there is no device"},
		{"DELETE", "/v1/devices/nobody", NULL, 404, "there is no device"},
		{"GET", "/v1/devices/nobody/log", NULL, 404, "there is no device"},
	};
	struct nouns *n = *state;

	nouns_board(n, "plug", "");
	nouns_device(n, "lamp", "kitchen", true);
	nouns_device(n, "lamp", "hall", true);
	nouns_device(n, "plug", "socket", true);
	nouns_refused_all(n, ROLE_OPERATOR, rows, sizeof(rows) / sizeof(rows[0]));
	fake_header(&n->f, "If-Match", "\"99\"");
	nouns_refused(n, ROLE_OPERATOR, "PATCH", "/v1/devices/kitchen", "{\"hold\":true}", 412, NULL);
	fake_header(&n->f, "If-Match", "\"99\"");
	nouns_refused(n, ROLE_OPERATOR, "DELETE", "/v1/devices/kitchen", NULL, 412, NULL);
	fake_header(&n->f, "If-Match", "\"99\"");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/cancel", NULL, 412, NULL);
}

static void test_secret(void **state)
{
	struct nouns *n = *state;
	char path[100];

	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/enroll-secrets",
		"{\"board\":\"lamp\",\"uses\":20,\"expires_s\":3600,\"approve\":true}");
	assert_int_equal(n->status, 201);
	assert_int_equal(strlen(nouns_text(n, "secret")), 64);
	assert_int_equal(nouns_int(n, "uses_left"), 20);
	assert_int_equal(nouns_int(n, "expires"), n->f.now + 3600);
	snprintf(path, sizeof(path), "/v1/enroll-secrets/%s", nouns_text(n, "id"));
	nouns_call(n, ROLE_OPERATOR, "GET", "/v1/enroll-secrets", NULL);
	assert_null(nouns_text(n, "items.0.secret"));
	assert_int_equal(nouns_int(n, "items.0.approve"), 1);
	nouns_call(n, ROLE_OPERATOR, "DELETE", path, NULL);
	assert_int_equal(n->status, 204);
	nouns_call(n, ROLE_OPERATOR, "GET", "/v1/enroll-secrets", NULL);
	assert_int_equal(nouns_int(n, "items.0.revoked"), n->f.now);
	nouns_refused(n, ROLE_OPERATOR, "DELETE", "/v1/enroll-secrets/00", NULL, 404, "no enrollment secret");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/enroll-secrets", "{\"board\":\"lmap\"}", 404,
		"did you mean lamp?");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/enroll-secrets", "{\"board\":\"lamp\",\"uses\":0}", 400,
		"'uses'");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/enroll-secrets",
		"{\"board\":\"lamp\",\"uses\":2,\"name\":\"x\"}", 400, "has one use");
	nouns_refused(n, ROLE_VIEWER, "POST", "/v1/enroll-secrets", "{\"board\":\"lamp\"}", 403, "may not");
}

static void test_provision(void **state)
{
	struct nouns *n = *state;

	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/provisions", "{\"board\":\"lamp\",\"name\":\"kitchen\"}");
	assert_int_equal(n->status, 201);
	assert_int_equal(strlen(nouns_text(n, "serial")), 32);
	assert_int_equal(strlen(nouns_text(n, "secret")), 64);
	assert_string_equal(nouns_text(n, "urls.0"), "http://127.0.0.1:8484/");
	assert_non_null(strstr(nouns_text(n, "warning"), "loopback"));
	assert_true(json_is_null(nouns_at(n, "broker")));
	assert_int_equal(nouns_int(n, "root_version"), 1);
	n->f.cfg.public_url = "https://ota.example/";
	n->f.cfg.mqtt_url = "mqtt://broker.example";
	n->f.cfg.device_mqtt_user = "device";
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/provisions", "{\"board\":\"lamp\",\"serial\":\"SN-1\"}");
	assert_int_equal(n->status, 201);
	assert_string_equal(nouns_text(n, "serial"), "SN-1");
	assert_string_equal(nouns_text(n, "urls.0"), "https://ota.example/");
	assert_true(json_is_null(nouns_at(n, "warning")));
	assert_string_equal(nouns_text(n, "broker.url"), "mqtt://broker.example");
	assert_string_equal(nouns_text(n, "broker.user"), "device");
	assert_true(json_is_null(nouns_at(n, "broker.password")));
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/provisions", "{\"board\":\"lamp\",\"name\":\"kitchen\"}",
		409, "'kitchen' is taken");
	nouns_refused(
		n, ROLE_OPERATOR, "POST", "/v1/provisions", "{\"board\":\"nope\"}", 404, "there is no board");
	nouns_board(n, "fan", "esp32c3");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/provisions", "{\"board\":\"fan\",\"serial\":\"SN-1\"}",
		409, "for board 'lamp', not used yet, has this serial");
	assert_non_null(strstr(nouns_text(n, "hint"), "a vendor of its own"));
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/provisions",
		"{\"board\":\"lamp\",\"serial\":\"123456789012345678901234567890123\"}", 400, "too long");
	n->f.cfg.public_url = NULL;
	n->f.cfg.listen = (struct config_list){.n = 1, .value = {"http://127.0.0.1:8484=operators"}};
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/provisions", "{\"board\":\"lamp\"}", 409,
		"no listener serves");
}

/* A lost file among all the secrets that were ever made. */
static void test_provision_replaces(void **state)
{
	struct nouns *n = *state;
	char serial[40];

	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/provisions", "{\"board\":\"lamp\",\"name\":\"kitchen\"}");
	assert_int_equal(n->status, 201);
	snprintf(serial, sizeof(serial), "%s", nouns_text(n, "serial"));
	nouns_many(n, 20000,
		"INSERT INTO enroll_secret (secret_id, board, note, name, serial, uses_max, uses,"
		" is_approving, created_at, created_by) SELECT randomblob(8), (SELECT id FROM board), '',"
		" 'lamp-' || i, randomblob(32), 1, 1, 1, 1, 'ci' FROM many");
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/provisions",
		"{\"board\":\"lamp\",\"name\":\"kitchen\",\"replace\":true}");
	assert_int_equal(n->status, 201);
	assert_string_equal(nouns_text(n, "serial"), serial);
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/provisions",
		"{\"board\":\"lamp\",\"name\":\"lamp-7\",\"replace\":true}", 404,
		"no unused provisioning file");
}

/* Without public-url: what listens for devices, places beyond loopback first, "everywhere" by the host's
 * name. */
static void test_urls(void **state)
{
	static const struct {
		const char *listen[3];
		const char *urls[3]; /* %s: the host's name */
		bool warns;
	} rows[] = {
		{{"http://127.0.0.1:1"}, {"http://127.0.0.1:1/"}, true},
		{{"http://[::1]:1"}, {"http://[::1]:1/"}, true},
		{{"http://127.0.0.1:1", "http://192.0.2.7:80"}, {"http://192.0.2.7:80/"}, false},
		{{"http://0.0.0.0:8484"}, {"http://%s:8484/"}, false},
		{{"http://0.0.0.0:8484", "http://[::]:8484"}, {"http://%s:8484/"}, false},
		{{"https://192.0.2.7:443", "http://[2001:db8::1]:80"},
			{"https://192.0.2.7:443/", "http://[2001:db8::1]:80/"}, false},
		{{"https://192.0.2.7:443=operators", "http://192.0.2.7:80=devices"}, {"http://192.0.2.7:80/"},
			false},
	};
	struct utsname host;

	(void)state;
	assert_int_equal(uname(&host), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config cfg = {.plain_http = true};
		struct errmsg e = {""};
		struct url_list list;
		struct arena mem;

		arena_init(&mem, 65536);
		for (; cfg.listen.n < 3 && rows[i].listen[cfg.listen.n]; cfg.listen.n++)
			cfg.listen.value[cfg.listen.n] = rows[i].listen[cfg.listen.n];
		if (urls_for_devices(&cfg, &mem, &list, &e))
			fail_msg("%s: %s", rows[i].listen[0], e.text);
		for (size_t k = 0; k < 3 && rows[i].urls[k]; k++) {
			const char *at = strstr(rows[i].urls[k], "%s");
			const char *want = at ? arena_printf(&mem, "%.*s%s%s", (int)(at - rows[i].urls[k]),
							rows[i].urls[k], host.nodename, at + 2)
					      : rows[i].urls[k];

			assert_true(k < list.n);
			assert_string_equal(list.url[k], want);
			assert_true(k + 1 < 3 && rows[i].urls[k + 1] ? list.n > k + 1 : list.n == k + 1);
		}
		assert_int_equal(list.warning != NULL, rows[i].warns);
		arena_release(&mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_device, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_largest_page, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(
			test_pages_of_talkative_devices, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_device_by_mac, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_device_replace, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_device_reject, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_device_refused, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_secret, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_provision, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_provision_replaces, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test(test_urls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
