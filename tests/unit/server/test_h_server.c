/* The server itself: roles, tokens, roots, keys, changes, audit. */
#include "db/change.h"
#include "proto/crypto_openssl.h"
#include "proto/root.h"
#include "server/auth.h"
#include "server/domain.h"
#include "server/nouns.h"
#include "server/ops.h"
#include "server/routes.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/nouns.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Every row of the table: nobody gets 401, the role below 403, and neither changes a thing. */
static void test_every_route_asks_who(void **state)
{
	struct nouns *n = *state;

	for (size_t i = 0; i < n_routes; i++) {
		const struct route *r = &routes[i];
		const char *method = route_method_name(r->method);
		char path[256];
		size_t len = 0;

		if (r->role < ROLE_VIEWER)
			continue;
		for (const char *p = r->path; *p; p++) {
			path[len++] = *p == ':' ? 'x' : *p;
			if (*p == ':')
				p += strcspn(p, "/") - 1;
		}
		path[len] = '\0';
		nouns_refused(n, ROLE_PUBLIC, method, path, NULL, 401, NULL);
		fake_header(&n->f, "Authorization",
			"Bearer otad_00000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
		nouns_refused(n, ROLE_PUBLIC, method, path, NULL, 401, NULL);
		if (r->role > ROLE_VIEWER)
			nouns_refused(n, r->role - 1, method, path, NULL, 403, "may not");
	}
}

static void test_token(void **state)
{
	struct nouns *n = *state;
	char header[100], path[100];

	nouns_call(n, ROLE_ADMIN, "POST", "/v1/tokens",
		"{\"name\":\"ci\",\"role\":\"uploader\",\"expires_s\":3600}");
	assert_int_equal(n->status, 201);
	assert_int_equal(strlen(nouns_text(n, "token")), AUTH_TOKEN_LEN);
	assert_string_equal(nouns_text(n, "role"), "uploader");
	assert_memory_equal(nouns_text(n, "token") + 5, nouns_text(n, "id"), 8);
	snprintf(header, sizeof(header), "Bearer %s", nouns_text(n, "token"));
	snprintf(path, sizeof(path), "/v1/tokens/%s", nouns_text(n, "id"));

	fake_header(&n->f, "Authorization", header);
	nouns_call(n, ROLE_PUBLIC, "GET", "/v1/whoami", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "name"), "ci");
	assert_string_equal(nouns_text(n, "role"), "uploader");
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/tokens", NULL);
	assert_int_equal(nouns_int(n, "items.1.used"), n->f.now);
	fake_header(&n->f, "Authorization", header);
	nouns_refused(n, ROLE_PUBLIC, "POST", "/v1/boards", "{\"name\":\"a\"}", 403, "may not");
	n->f.now += 3600;
	fake_header(&n->f, "Authorization", header);
	nouns_refused(n, ROLE_PUBLIC, "GET", "/v1/whoami", NULL, 401, NULL);
	n->f.now -= 3600;

	nouns_call(n, ROLE_ADMIN, "GET", "/v1/tokens", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 2);
	assert_null(nouns_text(n, "items.1.token"));
	nouns_call(n, ROLE_ADMIN, "DELETE", path, NULL);
	assert_int_equal(n->status, 204);
	fake_header(&n->f, "Authorization", header);
	nouns_refused(n, ROLE_PUBLIC, "GET", "/v1/whoami", NULL, 401, NULL);
}

static void test_token_refused(void **state)
{
	struct nouns *n = *state;

	nouns_refused(n, ROLE_ADMIN, "POST", "/v1/tokens", "{\"name\":\"ci\",\"role\":\"root\"}", 400,
		"role must be");
	nouns_refused(n, ROLE_ADMIN, "POST", "/v1/tokens", "{\"name\":\"a b\",\"role\":\"viewer\"}", 400,
		"no name");
	nouns_refused(n, ROLE_ADMIN, "POST", "/v1/tokens", "{\"name\":\"admin\",\"role\":\"viewer\"}", 409,
		"a token 'admin' already");
	nouns_refused(n, ROLE_ADMIN, "POST", "/v1/tokens",
		"{\"name\":\"a\",\"role\":\"viewer\",\"expires_s\":1}", 400, "'expires_s'");
	nouns_refused(n, ROLE_ADMIN, "DELETE", "/v1/tokens/nobody", NULL, 404, "there is no token");
	nouns_refused(n, ROLE_ADMIN, "DELETE", "/v1/tokens/admin", NULL, 409, "last administrator's token");
}

/* Of all the tokens ever made only the valid ones are loaded. */
static void test_tokens_that_are_over(void **state)
{
	struct nouns *n = *state;
	struct token_table table;
	struct errmsg e = {""};
	struct arena small;

	nouns_many(n, 4000,
		"INSERT INTO token (uid, name, role, sha256, created_at, created_by, expires_at)"
		" SELECT printf('%016x', i), 'old-' || i, 0, randomblob(32), 1, 'ci', 2 FROM many");
	arena_init(&small, (size_t)256 * 1024);
	assert_int_equal(token_table(n->db, n->f.now, &small, &table, &e), OTA_OK);
	assert_int_equal(table.n, 1);
	assert_string_equal(table.rows[0].name, "admin");
	arena_release(&small);
}

static void test_as_many_tokens_as_there_may_be(void **state)
{
	static const char one_more[] = "{\"name\":\"one-more\",\"role\":\"viewer\"}";
	struct nouns *n = *state;

	nouns_many(n, AUTH_TOKENS_MAX - 2,
		"INSERT INTO token (uid, name, role, sha256, created_at, created_by)"
		" SELECT printf('%016x', i), 'ci-' || i, 0, randomblob(32), 1, 'ci' FROM many");
	nouns_call(n, ROLE_ADMIN, "POST", "/v1/tokens", "{\"name\":\"last\",\"role\":\"viewer\"}");
	assert_int_equal(n->status, 201);
	nouns_refused(n, ROLE_ADMIN, "POST", "/v1/tokens", one_more, 409, "1000 valid tokens already");
	assert_non_null(strstr(nouns_text(n, "hint"), "otactl token revoke"));
	nouns_call(n, ROLE_ADMIN, "DELETE", "/v1/tokens/ci-7", NULL);
	assert_int_equal(n->status, 204);
	nouns_call(n, ROLE_ADMIN, "POST", "/v1/tokens", one_more);
	assert_int_equal(n->status, 201);
	/* More than that, by another hand: who is there can still be put out. */
	nouns_many(n, 50,
		"INSERT INTO token (uid, name, role, sha256, created_at, created_by)"
		" SELECT printf('%016x', 90000 + i), 'by-hand-' || i, 0, randomblob(32), 1, 'x' FROM many");
	nouns_call(n, ROLE_ADMIN, "DELETE", "/v1/tokens/by-hand-50", NULL);
	assert_int_equal(n->status, 204);
}

static void test_last_token_by_the_socket(void **state)
{
	struct nouns *n = *state;

	n->f.who = (struct principal){.kind = WHO_SOCKET_ADMIN, .role = ROLE_ADMIN, .name = "socket:0"};
	nouns_call(n, ROLE_PUBLIC, "DELETE", "/v1/tokens/admin", NULL);
	assert_int_equal(n->status, 204);
	nouns_call(n, ROLE_PUBLIC, "GET", "/v1/whoami", NULL);
	assert_string_equal(nouns_text(n, "kind"), "socket");
}

/* The file of the first start opens the door, and only its owner may read it. */
static void test_first_token(void **state)
{
	struct nouns *n = *state;
	char path[200], text[100] = "", header[120];
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "%s/admin.token", n->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	text[strcspn(text, "\n")] = '\0';
	snprintf(header, sizeof(header), "Bearer %s", text);
	fake_header(&n->f, "Authorization", header);
	nouns_call(n, ROLE_PUBLIC, "GET", "/v1/whoami", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "role"), "admin");
}

static void test_release_key(void **state)
{
	struct nouns *n = *state;
	char pub[200];

	nouns_call(n, ROLE_VIEWER, "GET", "/v1/server", NULL);
	assert_true(json_is_null(nouns_at(n, "keys.release")));
	nouns_call(n, ROLE_ADMIN, "POST", "/v1/keys/release", NULL);
	assert_int_equal(n->status, 201);
	snprintf(pub, sizeof(pub), "%s", nouns_text(n, "pub"));
	nouns_call(n, ROLE_ADMIN, "POST", "/v1/keys/release", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "pub"), pub);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/server", NULL);
	assert_string_equal(nouns_text(n, "keys.release.pub"), pub);
}

static void test_root(void **state)
{
	struct nouns *n = *state;
	uint8_t doc[ROOT_MAX];
	size_t len;

	nouns_call(n, ROLE_VIEWER, "GET", "/v1/server", NULL);
	assert_int_equal(nouns_int(n, "ready"), 1);
	assert_int_equal(nouns_int(n, "root_version"), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/roots/latest", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(n->f.res.content_type, "application/cbor");
	len = n->f.res.body_len;
	memcpy(doc, n->f.res.body, len);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/roots/1", NULL);
	assert_int_equal(n->f.res.body_len, len);
	assert_memory_equal(n->f.res.body, doc, len);
	/* The same again changes nothing; the same as another number is refused, as is anything bent. */
	nouns_call_bytes(n, ROLE_ADMIN, "PUT", "/v1/roots/1", doc, len);
	assert_int_equal(n->status, 201);
	nouns_call_bytes(n, ROLE_ADMIN, "PUT", "/v1/roots/2", doc, len);
	assert_int_equal(n->status, 422);
	nouns_call_bytes(n, ROLE_ADMIN, "PUT", "/v1/roots/3", doc, len);
	assert_int_equal(n->status, 409);
	doc[len - 1] ^= 1;
	nouns_call_bytes(n, ROLE_ADMIN, "PUT", "/v1/roots/1", doc, len);
	assert_int_equal(n->status, 409);
	nouns_refused(n, ROLE_ADMIN, "PUT", "/v1/roots/2", "x", 422, "not accepted");
	nouns_refused(n, ROLE_ADMIN, "PUT", "/v1/roots/two", "x", 422, "by its number");
	nouns_refused(n, ROLE_VIEWER, "GET", "/v1/roots/2", NULL, 404, "there is no root 2");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/server", NULL);
	assert_int_equal(nouns_int(n, "root_version"), 1);
}

/* A root that does not name this server's key would silence it. */
static void test_root_without_our_key(void **state)
{
	struct nouns *n = *state;
	struct ota_signer keys[3] = {{0}};
	struct root_doc d = {.version = 1, .n_keys = 3};

	for (int i = 0; i < 3; i++) {
		assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &keys[i]), OTA_OK);
		d.key[i] = nouns_key(&keys[i]);
	}
	nouns_put_root(n, &d, &keys[0]);
	assert_int_equal(n->status, 422);
	assert_non_null(strstr(nouns_text(n, "detail"), "this server's key is not in"));
	for (int i = 0; i < 3; i++)
		crypto_signer_release(&keys[i]);
}

static void test_changes(void **state)
{
	struct nouns *n = *state;
	char path[100];
	int64_t seq;

	nouns_call(n, ROLE_VIEWER, "GET", "/v1/changes", NULL);
	assert_int_equal(n->status, 200);
	seq = nouns_int(n, "seq");
	assert_true(seq > 0);
	snprintf(path, sizeof(path), "/v1/changes?after=%lld", (long long)seq);
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 0);
	assert_int_equal(nouns_int(n, "seq"), seq);
	nouns_board(n, "lamp", "");
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_string_equal(nouns_text(n, "items.0.kind"), "board");
	assert_string_equal(nouns_text(n, "items.0.id"), "lamp");
	assert_true(nouns_int(n, "seq") > seq);
	/* From a later database: look at everything. */
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/changes?after=999999999&wait=55", NULL);
	assert_int_equal(nouns_int(n, "all"), 1);
	nouns_refused(n, ROLE_VIEWER, "GET", "/v1/changes?after=x", NULL, 400, "after must be");
	nouns_refused(n, ROLE_VIEWER, "GET", "/v1/changes?wait=56", NULL, 400, "wait must be");
}

static void test_changes_wait(void **state)
{
	struct nouns *n = *state;
	char path[100];
	int64_t seq;

	nouns_board(n, "lamp", "");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/changes", NULL);
	seq = nouns_int(n, "seq");
	snprintf(path, sizeof(path), "/v1/changes?after=%lld&wait=10", (long long)seq);
	/* The time is over. */
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_true(n->f.is_waiting);
	n->f.mono_ms += 9000;
	timer_run(&n->f.timers, n->f.mono_ms);
	assert_true(n->f.is_waiting);
	n->f.mono_ms += 1100;
	timer_run(&n->f.timers, n->f.mono_ms);
	assert_false(n->f.is_waiting);
	assert_int_equal(n->f.n_resumed, 1);
	assert_int_equal(n->f.res.status, 200);
	assert_non_null(strstr(fake_body(&n->f), "\"items\":[]"));
	/* News end the wait. */
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_true(n->f.is_waiting);
	assert_int_equal(change_add(n->db, CHANGE_SETTING, 0, NULL), OTA_OK);
	ops_changed(&n->f.app);
	n->f.mono_ms += 300;
	timer_run(&n->f.timers, n->f.mono_ms);
	assert_false(n->f.is_waiting);
	assert_non_null(strstr(fake_body(&n->f), "\"kind\":\"setting\""));
	snprintf(path, sizeof(path), "/v1/changes?after=%lld&wait=10", (long long)seq + 1);
	/* Woken without news, it goes on waiting; when otad ends, nobody does. */
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_true(n->f.is_waiting);
	ops_changed(&n->f.app);
	n->f.mono_ms += 300;
	timer_run(&n->f.timers, n->f.mono_ms);
	assert_true(n->f.is_waiting);
	ops_release_waiting(&n->f.app);
	assert_false(n->f.is_waiting);
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_false(n->f.is_waiting);
	assert_int_equal(n->status, 200);
}

static void test_openapi(void **state)
{
	struct nouns *n = *state;

	nouns_call(n, ROLE_VIEWER, "GET", "/v1/openapi.json", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "openapi"), "3.1.0");
}

static void test_lists_are_lists(void **state)
{
	static const char *const paths[] = {"/v1/boards", "/v1/images", "/v1/releases", "/v1/devices",
		"/v1/enroll-secrets", "/v1/rollouts", "/v1/assignments", "/v1/tokens", "/v1/audit"};
	struct nouns *n = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		nouns_call(n, ROLE_ADMIN, "GET", paths[i], NULL);
		assert_int_equal(n->status, 200);
		assert_true(json_is_array(nouns_at(n, "items")));
		assert_true(json_is_null(nouns_at(n, "next")));
	}
}

/* What the table of versions has no room for is counted all the same. */
static void test_status_of_many_versions(void **state)
{
	struct nouns *n = *state;
	const json_t *row;
	int64_t sum = 0;
	size_t i;

	nouns_many(n, 70,
		"INSERT INTO device (revision, uid, name, board, state, is_held, created_at, approved_at)"
		" SELECT 1, printf('%032x', i), 'd-' || i, (SELECT id FROM board), 1, 0, 1, 1 FROM many;"
		" INSERT INTO device_said (device, running_text) SELECT id, 'v' || (id % 69) FROM device");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/status", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "devices.approved"), 70);
	assert_int_equal(json_array_size(nouns_at(n, "running")), 65);
	json_array_foreach(nouns_at(n, "running"), i, row)
	{
		sum += json_integer_value(json_object_get(row, "count"));
		assert_true((i == 64) == json_is_true(json_object_get(row, "other")));
	}
	assert_int_equal(sum, 70);
	/* Most first. */
	assert_int_equal(nouns_int(n, "running.0.count"), 2);
	assert_string_equal(nouns_text(n, "running.0.board"), "lamp");
	assert_int_equal(nouns_int(n, "running.64.count"), 5);
	assert_true(json_is_null(nouns_at(n, "running.64.board")));
	assert_true(json_is_null(nouns_at(n, "running.64.version")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_route_asks_who, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_token, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_token_refused, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_tokens_that_are_over, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(
			test_as_many_tokens_as_there_may_be, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_last_token_by_the_socket, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_first_token, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_release_key, nouns_setup_rootless, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_root, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(
			test_root_without_our_key, nouns_setup_rootless, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_changes, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_changes_wait, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(
			test_status_of_many_versions, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_openapi, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_lists_are_lists, nouns_setup_rootless, nouns_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
