/* A registry that cannot follow the database: nobody is told that something is in force which is not. */
#include <stdio.h>
#include <string.h>

#include "db/rollout.h"
#include "server/chunk.h"
#include "server/domain.h"
#include "server/grow.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/nouns.h"

enum ota_err __real_chunk_load(struct job *job);
enum ota_err __wrap_chunk_load(struct job *job);

static enum ota_err fault;
static bool is_lost;

enum ota_err __wrap_chunk_load(struct job *job)
{
	if (is_lost)
		((struct chunk *)job->ctx)->is_lost = true;
	if (fault)
		return errmsg_fail(&job->e, fault, "a row is bad");
	return is_lost ? OTA_OK : __real_chunk_load(job);
}

static int teardown(void **state)
{
	fault = OTA_OK;
	is_lost = false;
	return nouns_teardown(state);
}

static bool warns(struct nouns *n, const char *path)
{
	const json_t *warning;
	size_t i;

	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_int_equal(n->status, 200);
	json_array_foreach(nouns_at(n, "warnings"), i, warning)
	{
		if (strcmp(json_string_value(warning), "cannot follow the database: a row is bad") == 0)
			return true;
	}
	return false;
}

static bool is_ready(struct nouns *n)
{
	struct errmsg e = {""};
	enum ota_err err = n->f.app.hooks.ready(&n->f.app, &e);

	assert_true(!err == !*e.text);
	return !err;
}

static void test_not_in_force(void **state)
{
	static const char words[] = "stored, but not in force yet: cannot follow the database: a row is bad";
	struct nouns *n = *state;

	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	(void)nouns_device(n, "lamp", "cellar", true);
	nouns_push(n, "p", "lamp:1.0", "cellar", 201);
	assert_true(is_ready(n));
	assert_false(warns(n, "/v1/status"));

	fault = OTA_NO_MEMORY;
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/cellar", "{\"hold\":true}");
	assert_int_equal(n->status, 503);
	assert_string_equal(nouns_text(n, "detail"), words);
	assert_non_null(fake_answer_header(&n->f, "X-Otad-Change"));
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p/cancel", NULL);
	assert_int_equal(n->status, 503);
	assert_string_equal(nouns_text(n, "detail"), words);
	assert_non_null(fake_answer_header(&n->f, "X-Otad-Change"));
	/* Nor when it is asked again, and there is nothing more to store. */
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/cellar", "{\"hold\":true}");
	assert_int_equal(n->status, 503);
	assert_false(is_ready(n));
	assert_true(warns(n, "/v1/status"));
	assert_true(warns(n, "/v1/server"));
	assert_int_equal(nouns_int(n, "ready"), 0);

	fault = OTA_OK;
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/cellar", "{\"hold\":true}");
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "hold"), 1);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p/cancel", NULL);
	assert_int_equal(n->status, 200);
	assert_true(is_ready(n));
	assert_false(warns(n, "/v1/status"));
}

static void expect_cancelled(struct nouns *n, int64_t count)
{
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "counts.cancelled"), count);
	assert_int_equal(nouns_int(n, "counts.waiting"), 1 - count);
}

/* Tickets go on naming what such a cancel took back: upkeep finishes it only when it is in force. */
static void test_cancel_not_in_force(void **state)
{
	struct nouns *n = *state;

	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	(void)nouns_device(n, "lamp", "cellar", true);
	nouns_push(n, "p", "lamp:1.0", "cellar", 201);
	fault = OTA_NO_MEMORY;
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p/cancel", NULL);
	assert_int_equal(n->status, 503);
	n->f.now += 200;
	grow_rest(n->f.app.domain);
	expect_cancelled(n, 0);

	fault = OTA_OK;
	domain_changed(&n->f.app);
	grow_rest(n->f.app.domain);
	expect_cancelled(n, 1);
}

/* One that is committed while upkeep goes on with something is not in force yet at upkeep's next piece. */
static void test_cancel_behind_upkeep(void **state)
{
	struct nouns *n = *state;
	struct rollout_row row;

	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	(void)nouns_device(n, "lamp", "cellar", true);
	nouns_push(n, "p", "lamp:1.0", "cellar", 201);
	assert_int_equal(rollout_load_uid(n->db, "p", &n->f.mem, &row, NULL), OTA_OK);
	assert_int_equal(rollout_end(n->db, row.id, 0, ROLLOUT_CANCELLED, n->f.now, NULL), OTA_OK);
	n->f.now += 200;
	grow_rest(n->f.app.domain);
	expect_cancelled(n, 0);

	domain_changed(&n->f.app);
	grow_rest(n->f.app.domain);
	expect_cancelled(n, 1);
}

/* What is in no registry, and a secret that is told only once. */
static void test_in_force_all_the_same(void **state)
{
	struct nouns *n = *state;

	fault = OTA_IO;
	nouns_call(n, ROLE_ADMIN, "POST", "/v1/tokens", "{\"name\":\"ci\",\"role\":\"viewer\"}");
	assert_int_equal(n->status, 201);
	assert_non_null(nouns_text(n, "token"));
	nouns_call(n, ROLE_ADMIN, "DELETE", "/v1/tokens/ci", NULL);
	assert_int_equal(n->status, 204);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/enroll-secrets", "{\"board\":\"lamp\"}");
	assert_int_equal(n->status, 201);
	assert_non_null(nouns_text(n, "secret"));
	assert_false(is_ready(n));
}

/* Rows that went before they were seen: only a start reads everything anew. */
static void test_lost(void **state)
{
	struct nouns *n = *state;

	is_lost = true;
	nouns_call(n, ROLE_ADMIN, "POST", "/v1/boards", "{\"name\":\"fan\"}");
	assert_int_equal(n->status, 503);
	assert_non_null(strstr(nouns_text(n, "detail"), "restart otad"));
	assert_false(is_ready(n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_not_in_force, nouns_setup_lamp, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_not_in_force, nouns_setup_lamp, teardown),
		cmocka_unit_test_setup_teardown(test_cancel_behind_upkeep, nouns_setup_lamp, teardown),
		cmocka_unit_test_setup_teardown(test_in_force_all_the_same, nouns_setup_lamp, teardown),
		cmocka_unit_test_setup_teardown(test_lost, nouns_setup_lamp, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
