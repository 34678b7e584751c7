/* Whom a push is for, in a fleet that is larger than what one job looks at. */
#include <string.h>

#include "server/jobs.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/nouns.h"

void __real_jobs_post(
	struct jobs *jobs, enum job_lane to, struct job *job, job_fn fn, void (*done)(struct job *));
void __wrap_jobs_post(
	struct jobs *jobs, enum job_lane to, struct job *job, job_fn fn, void (*done)(struct job *));

static enum job_lane lane; /* of the last job */

void __wrap_jobs_post(
	struct jobs *jobs, enum job_lane to, struct job *job, job_fn fn, void (*done)(struct job *))
{
	lane = to;
	__real_jobs_post(jobs, to, job, fn, done);
}

/* The first device that is meant is far away, and then there is none. */
static void test_push_seeks(void **state)
{
	struct nouns *n = *state;

	nouns_devices(n, "lamp", "bulb", 2100, true);
	nouns_device(n, "lamp", "last", true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_push(n, "p1", "lamp:1.0", "last", 201);
	assert_int_equal(nouns_int(n, "targets"), 1);
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p2",
		"{\"release\":\"lamp:1.0\",\"selector\":\"tag=none\"}", 409, "no approved device");
}

/* Why nobody matches is looked for among a few devices, not in a whole fleet while others' commits wait. */
static void test_push_to_nobody_looks_at_few(void **state)
{
	struct nouns *n = *state;

	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_board(n, "fan", "");
	nouns_many(n, 1001,
		"INSERT INTO device (revision, uid, name, board, state, is_held, created_at, approved_at)"
		" SELECT 1, printf('%032x', i), 'fan-' || i, (SELECT id FROM board WHERE name = 'fan'), 1, "
		"0, 1, 1"
		" FROM many; INSERT INTO device_said (device) SELECT id FROM device"
		" WHERE id NOT IN (SELECT device FROM device_said)");
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p",
		"{\"release\":\"lamp:1.0\",\"selector\":\"fan-1000\"}", 409, "no approved device");
	assert_string_equal(nouns_text(n, "hint"), "devices of other boards match");
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p",
		"{\"release\":\"lamp:1.0\",\"selector\":\"fan-1001\"}", 409, "no approved device");
	assert_null(nouns_at(n, "hint"));
}

/* It looks at every device: not where envelopes are waited for. */
static void test_selection_is_a_slow_job(void **state)
{
	struct nouns *n = *state;

	(void)nouns_device(n, "lamp", "cellar", true);
	lane = JOB_LANES;
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/selection?selector=cellar", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "count"), 1);
	assert_int_equal(lane, JOB_SLOW);
}

/* Where a selector takes nothing, which of its terms names what is not there. */
static void test_selection_that_takes_nothing(void **state)
{
	static const struct {
		const char *selector, *hint; /* NULL: none */
	} rows[] = {
		{"tag=celar", "no device has the tag 'celar': did you mean cellar?"},
		{"tag=roof", "no device has the tag 'roof'"},
		{"tag=cellar,name=frigde", "there is no device 'frigde': did you mean fridge?"},
		{"board=lmap", "there is no board 'lmap': did you mean lamp?"},
		{"name=porch", "'porch' is provisioned and has not enrolled yet: start it"},
		{"tag=cellar,name!=fridge", NULL},
		{"tag=cellar", NULL},
	};
	struct nouns *n = *state;
	char path[200];

	(void)nouns_device(n, "lamp", "fridge", true);
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/fridge", "{\"tags_add\":[\"cellar\"]}");
	assert_int_equal(n->status, 200);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/enroll-secrets", "{\"board\":\"lamp\",\"name\":\"porch\"}");
	assert_int_equal(n->status, 201);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(path, sizeof(path), "/v1/selection?selector=%s", rows[i].selector);
		nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
		assert_int_equal(n->status, 200);
		const char *hint = json_string_value(nouns_at(n, "hint"));

		if (!hint != !rows[i].hint ||
			(hint && strncmp(hint, rows[i].hint, strlen(rows[i].hint)) != 0))
			fail_msg("%s: %s", rows[i].selector, hint ? hint : "no hint");
	}
	nouns_refused(n, ROLE_OPERATOR, "GET", "/v1/devices/porch", NULL, 404, "otactl enroll revoke porch");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_push_seeks, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(
			test_push_to_nobody_looks_at_few, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(
			test_selection_is_a_slow_job, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(
			test_selection_that_takes_nothing, nouns_setup_lamp, nouns_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
