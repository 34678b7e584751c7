/* Pushes that somebody has to go on with, and what is done meanwhile to a device that they have not got to.
 */
#include "db/assignment.h"
#include "db/change.h"
#include "db/rollout.h"
#include "db/stmt.h"
#include "server/again.h"
#include "server/domain.h"
#include "server/grow.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/nouns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 2 * GROW_PIECE + 50 };

static int setup(void **state)
{
	(void)nouns_setup_lamp(state);
	nouns_devices(*state, "lamp", "bulb", MANY, true);
	nouns_make_release(*state, "lamp", "1.0", "esp32c3", 1);
	return 0;
}

static void ok(enum ota_err err, const struct errmsg *e)
{
	if (err)
		fail_msg("%s", e->text);
}

/* A push whose maker was killed after its first piece. */
static int64_t begun(struct nouns *n, const char *uid, int64_t release, const char *selector)
{
	const struct rollout_row row = {.uid = uid,
		.release = release,
		.selector = selector,
		.created_by = "somebody",
		.created_at = n->f.now,
		.is_growing = true};
	struct job job = {.db = n->db};
	bool is_whole = true;
	int64_t id = 0;

	ok(rollout_insert(n->db, &row, &id, NULL, &job.e), &job.e);
	ok(grow_piece(&job, id, n->f.now, &is_whole, NULL), &job.e);
	assert_false(is_whole);
	return id;
}

static void let_upkeep_go_on(struct nouns *n)
{
	n->f.now += GROW_REST_S;
	grow_rest(n->f.app.domain);
}

static const char *doing(struct nouns *n, const char *path)
{
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_int_equal(n->status, 200);
	return nouns_text(n, "doing");
}

/* Whoever asked for the cancel was killed: before its first piece, or after it. */
static void test_cancel_goes_on(void **state)
{
	struct nouns *n = *state;

	for (int pieces = 0; pieces < 2; pieces++) {
		const char *uid = pieces ? "p2" : "p1",
			   *path = pieces ? "/v1/rollouts/p2" : "/v1/rollouts/p1";
		struct rollout_cancelled done = {0};
		struct rollout_row row;
		struct errmsg e = {""};
		struct arena mem;
		int64_t cursor = 0;

		nouns_push(n, uid, "lamp:1.0", "*", 201);
		assert_null(doing(n, path));
		arena_init(&mem, 1 << 20);
		ok(rollout_load_uid(n->db, uid, &mem, &row, &e), &e);
		ok(rollout_end(n->db, row.id, 0, ROLLOUT_CANCELLED, n->f.now, &e), &e);
		arena_release(&mem);
		if (pieces)
			ok(rollout_withdraw(n->db, row.id, n->f.now, &cursor, &done, &e), &e);
		domain_changed(&n->f.app);
		assert_string_equal(doing(n, path), "cancelling");
		assert_string_equal(nouns_text(n, "state"), "cancelled");
		assert_int_equal(nouns_int(n, "counts.waiting"), MANY - pieces * 100);
		nouns_call(n, ROLE_VIEWER, "GET", "/v1/status", NULL);
		assert_string_equal(nouns_text(n, "rollouts.0.doing"), "cancelling");
		/* A request does it just now. */
		n->f.app.domain->n_in_pieces = 1;
		let_upkeep_go_on(n);
		assert_string_equal(doing(n, path), "cancelling");
		n->f.app.domain->n_in_pieces = 0;
		let_upkeep_go_on(n);
		assert_null(doing(n, path));
		assert_int_equal(nouns_int(n, "counts.cancelled"), MANY);
		nouns_call(n, ROLE_OPERATOR, "POST",
			pieces ? "/v1/rollouts/p2/cancel" : "/v1/rollouts/p1/cancel", NULL);
		assert_int_equal(n->status, 200);
		assert_int_equal(nouns_int(n, "withdrawn"), 0);
		assert_null(doing(n, path));
	}
}

static void fail_all(struct nouns *n)
{
	assert_int_equal(ASSIGN_FAILED, 6);
	if (stmt_script(n->db,
		    "UPDATE assignment SET state = 6, ended_at = 1, offered_at = 1;"
		    "UPDATE rollout SET state = 1, ended_at = 1",
		    NULL))
		fail();
}

/* Push p1 has failed everywhere, and one piece of its retry is done. */
static void half_retried(struct nouns *n)
{
	struct job job = {.db = n->db};
	bool is_through = true, is_retired = false;
	uint64_t retried = 0;

	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	fail_all(n);
	ok(rollout_retry(n->db, 1, 0, MANY, "ann", &job.e), &job.e);
	assert_string_equal(doing(n, "/v1/rollouts/p1"), "retrying");
	assert_string_equal(nouns_text(n, "state"), "done");
	ok(again_piece(&job, 1, n->f.now, &retried, &is_through, &is_retired), &job.e);
	assert_false(is_through);
	assert_int_equal(retried, AGAIN_PIECE);
}

static void test_retry_goes_on(void **state)
{
	struct nouns *n = *state;
	struct job job = {.db = n->db};
	bool is_through = false, is_retired = false;
	uint64_t retried = 0;

	half_retried(n);
	let_upkeep_go_on(n);
	assert_null(doing(n, "/v1/rollouts/p1"));
	assert_string_equal(nouns_text(n, "state"), "open");
	assert_int_equal(nouns_int(n, "counts.waiting"), MANY);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/bulb-249/log", NULL);
	assert_non_null(strstr(nouns_text(n, "items.0.text"), "attempt 2, push p1 by ann"));
	/* Nobody asks for it any more. */
	ok(again_piece(&job, 1, n->f.now, &retried, &is_through, &is_retired), &job.e);
	assert_true(is_through);
	assert_int_equal(retried, 0);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), MANY);
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL, 409, "was cancelled");
}

/* A retry that is under way is there for every other word about its push, before it has got to a device. */
static void test_retry_is_under_way(void **state)
{
	struct nouns *n = *state;
	struct errmsg e = {""};

	nouns_call(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p1",
		"{\"release\":\"lamp:1.0\",\"selector\":\"*\",\"hold\":true}");
	assert_int_equal(n->status, 201);
	fail_all(n);
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/release-hold", NULL, 409, "has ended");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/cancel", NULL, 409, "nothing to cancel");
	ok(rollout_retry(n->db, 1, 0, MANY, "ann", &e), &e);
	assert_int_equal(rollout_end(n->db, 1, 0, ROLLOUT_DONE, n->f.now, &e), OTA_OK);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/release-hold", NULL);
	assert_int_equal(n->status, 200);
	assert_true(json_is_false(nouns_at(n, "hold")));
	nouns_refused(
		n, ROLE_OPERATOR, "POST", "/v1/releases/lamp:1.0/retire", NULL, 409, "still to install");
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/cancel", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "withdrawn"), 0);
	assert_true(json_is_true(nouns_at(n, "ended")));
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/cancel", NULL);
	assert_true(json_is_false(nouns_at(n, "ended")));
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/audit?action=rollout.cancel", NULL);
	assert_string_equal(nouns_text(n, "items.0.action"), "rollout.cancel");
	let_upkeep_go_on(n);
	assert_null(doing(n, "/v1/rollouts/p1"));
	assert_string_equal(nouns_text(n, "state"), "cancelled");
	assert_int_equal(nouns_int(n, "counts.failed"), MANY);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/releases/lamp:1.0/retire", NULL);
	assert_int_equal(n->status, 200);
}

static bool warns(struct nouns *n, const char *words)
{
	const json_t *warning;
	size_t i;

	nouns_call(n, ROLE_VIEWER, "GET", "/v1/server", NULL);
	json_array_foreach(nouns_at(n, "warnings"), i, warning)
	{
		if (strstr(json_string_value(warning), words))
			return true;
	}
	return false;
}

static enum rollout_doing stored_doing(struct nouns *n, int64_t id)
{
	struct rollout_row row;
	struct errmsg e = {""};
	struct arena mem;

	arena_init(&mem, 1 << 20);
	ok(rollout_load(n->db, id, &mem, &row, &e), &e);
	arena_release(&mem);
	return row.doing;
}

/* A row that cannot be loaded: what does not need it goes on, and who is concerned is told until it can. */
static void test_spoilt(void **state)
{
	static const char spoil[] = "PRAGMA ignore_check_constraints = 1;"
				    "UPDATE assignment SET state = 77 WHERE id = 1";
	struct nouns *n = *state;
	struct errmsg e = {""};

	nouns_make_release(n, "lamp", "1.1", "esp32c3", 2);
	nouns_push(n, "p1", "lamp:1.0", "bulb-0", 201);
	nouns_push(n, "p2", "lamp:1.1", "*", 201);
	fail_all(n);
	ok(rollout_retry(n->db, 1, 0, 1, "ann", &e), &e);
	ok(rollout_retry(n->db, 2, 1, MANY + 1, "ann", &e), &e);
	ok(stmt_script(n->db, spoil, &e), &e);
	let_upkeep_go_on(n);
	assert_int_equal(stored_doing(n, 1), ROLLOUT_RETRYING);
	assert_int_equal(stored_doing(n, 2), ROLLOUT_NOTHING);
	assert_true(warns(n, "a push cannot go on: push 'p1': "));

	/* Nor does what grows keep a cancel waiting. */
	(void)begun(n, "p3", 1, "name!=bulb-1");
	ok(stmt_script(n->db, "UPDATE rollout SET selector = 'a=b' WHERE uid = 'p3'", &e), &e);
	ok(rollout_end(n->db, 2, 0, ROLLOUT_CANCELLED, n->f.now, &e), &e);
	domain_changed(&n->f.app);
	let_upkeep_go_on(n);
	assert_int_equal(stored_doing(n, 2), ROLLOUT_NOTHING);
	assert_true(warns(n, "a push cannot go on: "));

	ok(stmt_script(n->db,
		   "UPDATE assignment SET state = 6 WHERE id = 1;"
		   "UPDATE rollout SET selector = 'name!=bulb-1' WHERE uid = 'p3'",
		   &e),
		&e);
	let_upkeep_go_on(n);
	assert_int_equal(stored_doing(n, 1), ROLLOUT_NOTHING);
	assert_false(warns(n, "a push cannot go on"));
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p3", NULL);
	assert_int_equal(nouns_int(n, "targets"), MANY - 1);
}

/* Nor does a cancel that is not in force keep those behind it waiting, or say that all is well. */
static void test_behind_a_cancel(void **state)
{
	static const char spoil[] = "PRAGMA ignore_check_constraints = 1;"
				    "UPDATE assignment SET state = 77 WHERE rollout = 2 AND device ="
				    " (SELECT id FROM device WHERE name = 'bulb-0')";
	struct nouns *n = *state;
	struct errmsg e = {""};

	nouns_push(n, "p1", "lamp:1.0", "bulb-1", 201);
	nouns_push(n, "p2", "lamp:1.0", "bulb-0", 201);
	nouns_push(n, "p3", "lamp:1.0", "bulb-2", 201);
	fail_all(n);
	ok(stmt_script(n->db, "UPDATE rollout SET state = 0, ended_at = NULL WHERE id = 1", &e), &e);
	ok(rollout_retry(n->db, 2, 0, MANY, "ann", &e), &e);
	ok(rollout_retry(n->db, 3, 0, MANY, "ann", &e), &e);
	ok(stmt_script(n->db, spoil, &e), &e);
	let_upkeep_go_on(n);
	assert_true(warns(n, "a push cannot go on: push 'p2': "));
	ok(rollout_retry(n->db, 3, 0, MANY, "ann", &e), &e);
	ok(rollout_end(n->db, 1, 0, ROLLOUT_CANCELLED, n->f.now, &e), &e);
	let_upkeep_go_on(n);
	assert_int_equal(stored_doing(n, 1), ROLLOUT_CANCELLING);
	assert_int_equal(stored_doing(n, 3), ROLLOUT_NOTHING);
	assert_true(warns(n, "a push cannot go on: push 'p2': "));
}

/* A later piece fails: the answer tells up to where it got, and upkeep goes on with it. */
static void test_push_fails_on_its_way(void **state)
{
	struct nouns *n = *state;
	struct errmsg e = {""};
	int64_t newest = 0;

	ok(stmt_script(n->db,
		   "CREATE TRIGGER full BEFORE INSERT ON assignment WHEN NEW.device ="
		   " (SELECT id FROM device WHERE name = 'bulb-150') BEGIN SELECT RAISE (ABORT, 'no'); END",
		   &e),
		&e);
	nouns_push(n, "p1", "lamp:1.0", "*", 422);
	assert_non_null(strstr(nouns_text(n, "detail"), "goes on by itself"));
	ok(change_newest(n->db, &newest, &e), &e);
	assert_non_null(fake_answer_header(&n->f, "X-Otad-Change"));
	assert_int_equal(strtoll(fake_answer_header(&n->f, "X-Otad-Change"), NULL, 10), newest);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_int_equal(nouns_int(n, "targets"), GROW_PIECE);
	/* Its first piece is there already: asked again, nothing is stored before it fails. */
	nouns_push(n, "p1", "lamp:1.0", "*", 422);
	assert_null(fake_answer_header(&n->f, "X-Otad-Change"));

	ok(stmt_script(n->db, "DROP TRIGGER full", &e), &e);
	let_upkeep_go_on(n);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_int_equal(nouns_int(n, "targets"), MANY);
}

/* The owner's word about one device is newer than the push that has not got to it. */
static void test_cancel_ahead(void **state)
{
	struct nouns *n = *state;

	nouns_make_release(n, "lamp", "1.1", "esp32c3", 2);
	(void)begun(n, "p1", 1, "all");
	(void)begun(n, "p2", 2, "name!=bulb-249");
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/bulb-249/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 1);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/bulb-248/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 1);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/bulb-249/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 0);
	let_upkeep_go_on(n);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_true(json_is_false(nouns_at(n, "growing")));
	assert_int_equal(nouns_int(n, "targets"), MANY);
	assert_int_equal(nouns_int(n, "counts.cancelled"), 1);
	assert_int_equal(nouns_int(n, "counts.superseded"), MANY - 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p2", NULL);
	assert_int_equal(nouns_int(n, "targets"), MANY - 1);
	assert_int_equal(nouns_int(n, "counts.cancelled"), 1);
	assert_int_equal(nouns_int(n, "counts.waiting"), MANY - 2);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/bulb-249", NULL);
	assert_string_equal(nouns_text(n, "assignment.rollout"), "p1");
	assert_string_equal(nouns_text(n, "assignment.state"), "cancelled");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/bulb-248", NULL);
	assert_string_equal(nouns_text(n, "assignment.rollout"), "p2");
	assert_string_equal(nouns_text(n, "assignment.state"), "cancelled");
}

/* And than a retry that has not got to it, and than one that has; not of what is left alone. */
static void test_cancel_ahead_of_retry(void **state)
{
	static const char *const ones[] = {"/v1/devices/bulb-3/cancel", "/v1/devices/bulb-249/cancel"};
	static const char *const left_alone[] = {
		"/v1/devices/bulb-0/cancel", "/v1/devices/bulb-9/cancel", "/v1/devices/bulb-247/cancel"};
	struct nouns *n = *state;
	struct job job = {.db = n->db};
	bool is_through = true, is_retired = false;
	uint64_t retried = 0;

	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	fail_all(n);
	if (stmt_script(n->db, "UPDATE assignment SET state = 9 WHERE id IN (10, 248)", NULL))
		fail();
	nouns_call(n, ROLE_OPERATOR, "POST", ones[1], NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 0);
	ok(rollout_retry(n->db, 1, 0, MANY, "ann", &job.e), &job.e);
	ok(again_piece(&job, 1, n->f.now, &retried, &is_through, &is_retired), &job.e);
	assert_false(is_through);
	for (int i = 0; i < 2; i++) {
		nouns_call(n, ROLE_OPERATOR, "POST", ones[i], NULL);
		assert_int_equal(nouns_int(n, "withdrawn"), 1);
		nouns_call(n, ROLE_OPERATOR, "POST", ones[i], NULL);
		assert_int_equal(nouns_int(n, "withdrawn"), 0);
	}
	/* What has gone wrong since the retry was asked for, or has got to the device, it does not mean. */
	if (stmt_script(n->db,
		    "UPDATE assignment SET state = 6, ended_at = 1, offered_at = 1"
		    " WHERE id IN (10, (SELECT max(id) FROM assignment WHERE device = 1))",
		    NULL))
		fail();
	for (int i = 0; i < 3; i++) {
		nouns_call(n, ROLE_OPERATOR, "POST", left_alone[i], NULL);
		assert_int_equal(nouns_int(n, "withdrawn"), 0);
	}
	let_upkeep_go_on(n);
	assert_null(doing(n, "/v1/rollouts/p1"));
	assert_int_equal(nouns_int(n, "counts.cancelled"), 3);
	assert_int_equal(nouns_int(n, "counts.failed"), 2);
	assert_int_equal(nouns_int(n, "counts.waiting"), MANY - 5);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/bulb-249", NULL);
	assert_string_equal(nouns_text(n, "assignment.state"), "cancelled");
	assert_int_equal(nouns_int(n, "assignment.attempt"), 2);
}

/* What two requests share is counted once: each says what it did itself. */
static void test_retry_shared(void **state)
{
	struct nouns *n = *state;

	half_retried(n);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL);
	assert_int_equal(nouns_int(n, "retried"), MANY - AGAIN_PIECE);
	assert_true(json_is_true(nouns_at(n, "shared")));
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL);
	assert_int_equal(nouns_int(n, "retried"), 0);
	assert_true(json_is_false(nouns_at(n, "shared")));
}

/* Few among very many of others: the pieces are not as many as the pages. */
static void test_retry_of_few(void **state)
{
	enum { OTHERS = 3 * AGAIN_LOOKS * ROLLOUT_LOOK / 2 };
	struct nouns *n = *state;
	struct job job = {.db = n->db};
	bool is_through = false, is_retired = false;
	uint64_t retried = 0;
	char sql[160];
	int pieces;

	nouns_push(n, "p1", "lamp:1.0", "bulb-1", 201);
	nouns_push(n, "p2", "lamp:1.0", "bulb-2", 201);
	fail_all(n);
	snprintf(sql, sizeof(sql), "UPDATE assignment SET id = %d, rollout = 1 WHERE id = 2", OTHERS);
	if (stmt_script(n->db, sql, NULL))
		fail();
	ok(rollout_retry(n->db, 1, 0, OTHERS, "ann", &job.e), &job.e);
	for (pieces = 0; !is_through; pieces++)
		ok(again_piece(&job, 1, n->f.now, &retried, &is_through, &is_retired), &job.e);
	assert_int_equal(retried, 2);
	assert_int_equal(pieces, 2);
}

/* A newer push has these devices, wherever it is: an older one is not tried again on them. */
static void test_retry_behind(void **state)
{
	struct nouns *n = *state;

	nouns_make_release(n, "lamp", "1.1", "esp32c3", 2);
	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	fail_all(n);
	(void)begun(n, "p2", 2, "name!=bulb-249");
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL);
	assert_int_equal(nouns_int(n, "retried"), 1);
	let_upkeep_go_on(n);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p2", NULL);
	assert_int_equal(nouns_int(n, "targets"), MANY - 1);
	assert_int_equal(nouns_int(n, "counts.waiting"), MANY - 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/bulb-249", NULL);
	assert_string_equal(nouns_text(n, "assignment.rollout"), "p1");
	assert_string_equal(nouns_text(n, "assignment.state"), "waiting");
}

/* What waited behind a trial and was cancelled is in nobody's way. */
static void test_retry_after_one_that_waited(void **state)
{
	struct nouns *n = *state;

	nouns_make_release(n, "lamp", "1.1", "esp32c3", 2);
	nouns_push(n, "p1", "lamp:1.0", "bulb-0", 201);
	assert_int_equal(ASSIGN_TRIAL, 4);
	if (stmt_script(n->db, "UPDATE assignment SET state = 4, offered_at = 1", NULL))
		fail();
	nouns_push(n, "p2", "lamp:1.1", "bulb-0", 201);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p2/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 1);
	if (stmt_script(n->db,
		    "UPDATE assignment SET state = 7, ended_at = 1 WHERE state = 4;"
		    "UPDATE rollout SET state = 1, ended_at = 1 WHERE uid = 'p1'",
		    NULL))
		fail();
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/bulb-0", NULL);
	assert_string_equal(nouns_text(n, "assignment.rollout"), "p1");
	assert_string_equal(nouns_text(n, "assignment.state"), "reverted");
	assert_true(json_is_false(nouns_at(n, "assignment.rollout_cancelled")));
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL);
	assert_int_equal(nouns_int(n, "retried"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_cancel_goes_on, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_retry_goes_on, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_retry_is_under_way, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_spoilt, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_behind_a_cancel, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_fails_on_its_way, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_cancel_ahead, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_cancel_ahead_of_retry, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_retry_shared, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_retry_of_few, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_retry_behind, setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_retry_after_one_that_waited, setup, nouns_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
