/* Pushes: made in pieces, taken back, tried again, held. */
#include "db/assignment.h"
#include "db/rollout.h"
#include "db/stmt.h"
#include "server/domain.h"
#include "server/grow.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/nouns.h"

#include <stdio.h>
#include <string.h>

/* What a check-in would have said. */
static void device_moves(struct nouns *n, int64_t device, enum assign_state to)
{
	const struct assignment_move move = {.to = to, .now = n->f.now, .reason = 10, .detail = 104};
	struct assignment_row row;
	struct errmsg e = {""};
	struct arena mem;

	arena_init(&mem, 1 << 20);
	if (assignment_load_open(n->db, device, &mem, &row, &e) ||
		assignment_advance(n->db, row.id, &move, NULL, &e))
		fail_msg("%s", e.text);
	arena_release(&mem);
}

static void test_push(void **state)
{
	struct nouns *n = *state;
	int64_t kitchen;

	kitchen = nouns_device(n, "lamp", "kitchen", true);
	nouns_device(n, "lamp", "hall", true);
	nouns_device(n, "lamp", "new", false);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_make_release(n, "lamp", "1.1", "esp32c3", 2);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/selection?board=lamp&selector=%2A", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "count"), 3);
	assert_int_equal(nouns_int(n, "approved"), 2);
	assert_string_equal(nouns_text(n, "items.0.name"), "kitchen");

	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	assert_string_equal(nouns_text(n, "state"), "open");
	assert_int_equal(nouns_int(n, "targets"), 2);
	assert_int_equal(nouns_int(n, "counts.waiting"), 2);
	nouns_push(n, "p1", "lamp:1.0", "*", 200);
	assert_int_equal(nouns_int(n, "targets"), 2);
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p1",
		"{\"release\":\"lamp:1.1\",\"selector\":\"*\"}", 409, "exists with another release");
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p1",
		"{\"release\":\"lamp:1.0\",\"selector\":\"kitchen\"}", 409, "or selector");
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p1",
		"{\"release\":\"lamp:1.0\",\"selector\":\"nobody\"}", 404, "there is no device");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1/assignments?limit=1", NULL);
	assert_string_equal(nouns_text(n, "items.0.device.name"), "kitchen");
	assert_string_equal(nouns_text(n, "items.0.state"), "waiting");
	assert_true(nouns_int(n, "items.0.size") > 300);
	assert_non_null(nouns_text(n, "next"));
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/kitchen", NULL);
	assert_string_equal(nouns_text(n, "assignment.version"), "1.0");
	assert_string_equal(nouns_text(n, "assignment.release"), "lamp:1.0");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/kitchen/log", NULL);
	assert_string_equal(nouns_text(n, "items.0.kind"), "assigned");
	assert_string_equal(nouns_text(n, "items.0.release"), "1.0");

	/* The newest decision wins. */
	nouns_push(n, "p2", "lamp:1.1", "kitchen", 201);
	assert_int_equal(nouns_int(n, "targets"), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_string_equal(nouns_text(n, "state"), "open");
	assert_string_equal(nouns_text(n, "superseded_by"), "p2");
	assert_int_equal(nouns_int(n, "counts.superseded"), 1);
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/kitchen", "{\"name\":\"cellar\"}");
	nouns_push(n, "p2", "lamp:1.1", "kitchen", 200);
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p2",
		"{\"release\":\"lamp:1.1\",\"selector\":\"kitchen\",\"hold\":true}", 409, "exists with");
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/cellar", "{\"name\":\"kitchen\"}");
	nouns_push(n, "p3", "lamp:1.1", "all", 201);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_string_equal(nouns_text(n, "state"), "superseded");

	/* What is on trial cannot be taken back: the newer one waits behind it. */
	device_moves(n, kitchen, ASSIGN_TRIAL);
	assert_int_equal(nouns_int(n, "queued"), 0);
	nouns_push(n, "p4", "lamp:1.0", "*", 201);
	assert_int_equal(nouns_int(n, "targets"), 2);
	assert_int_equal(nouns_int(n, "queued"), 1);
	nouns_push(n, "p4", "lamp:1.0", "*", 200);
	assert_int_equal(nouns_int(n, "queued"), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/kitchen", NULL);
	assert_string_equal(nouns_text(n, "assignment.state"), "trial");
	assert_string_equal(nouns_text(n, "next.rollout"), "p4");
	assert_string_equal(nouns_text(n, "next.text"), "the trial of 1.1 has to end first");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/kitchen/log", NULL);
	assert_non_null(strstr(nouns_text(n, "items.0.text"), "waits for 1.1 to end"));
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/hall", NULL);
	assert_true(json_is_null(nouns_at(n, "next")));
	/* A third takes the place of the one that waits, not of the trial. */
	nouns_push(n, "p5", "lamp:1.0", "kitchen", 201);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p4", NULL);
	assert_string_equal(nouns_text(n, "superseded_by"), "p5");
	assert_int_equal(nouns_int(n, "queued"), 0);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 1);
	assert_int_equal(nouns_int(n, "committed"), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p5", NULL);
	assert_string_equal(nouns_text(n, "state"), "done");
	nouns_push(n, "p6", "lamp:1.0", "kitchen", 201);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p6/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 1);
	assert_int_equal(nouns_int(n, "committed"), 0);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/kitchen", NULL);
	assert_true(json_is_null(nouns_at(n, "next")));
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p3/cancel", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "withdrawn"), 0);
	assert_int_equal(nouns_int(n, "committed"), 1);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/cancel", NULL);
	assert_int_equal(nouns_int(n, "committed"), 1);
	/* On hold too: a trial is one. */
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/kitchen", "{\"hold\":true}");
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/kitchen/cancel", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "committed"), 1);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/hall/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 1);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/hall/cancel", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "withdrawn"), 0);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/assignments?device=hall&state=cancelled", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 1);
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/audit?action=rollout.", NULL);
	assert_string_equal(nouns_text(n, "items.0.action"), "rollout.cancel");
	assert_string_equal(nouns_text(n, "items.2.after.release"), "lamp:1.0");
	/* Nothing that was assigned goes away. */
	nouns_refused(n, ROLE_OPERATOR, "DELETE", "/v1/releases/lamp:1.0", NULL, 409, "stays as history");
}

static void test_push_retry(void **state)
{
	struct nouns *n = *state;
	int64_t kitchen = nouns_device(n, "lamp", "kitchen", true);

	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	device_moves(n, kitchen, ASSIGN_OFFERED);
	device_moves(n, kitchen, ASSIGN_FAILED);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_string_equal(nouns_text(n, "state"), "done");
	assert_int_equal(nouns_int(n, "counts.failed"), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1/assignments", NULL);
	assert_int_equal(nouns_int(n, "items.0.reason"), 10);
	assert_non_null(strstr(nouns_text(n, "items.0.text"), "sequence is below the floor"));
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "retried"), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/kitchen", NULL);
	assert_int_equal(nouns_int(n, "assignment.attempt"), 2);
	assert_string_equal(nouns_text(n, "assignment.state"), "waiting");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_string_equal(nouns_text(n, "state"), "open");
	assert_int_equal(nouns_int(n, "targets"), 1);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL);
	assert_int_equal(nouns_int(n, "retried"), 0);
	/* What the operator took back is not tried again by the way. */
	device_moves(n, kitchen, ASSIGN_FAILED);
	nouns_push(n, "p2", "lamp:1.0", "*", 201);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p2/cancel", NULL);
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p2/retry", NULL, 409, "was cancelled");
	assert_string_equal(nouns_text(n, "hint"), "push the release again");
	/* Nor is what was given up since: its image may be gone. */
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/releases/lamp:1.0/retire", NULL);
	assert_int_equal(n->status, 200);
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL, 409, "'1.0' is retired");
	assert_string_equal(nouns_text(n, "hint"), "push another release");
}

/* A push as it is when its maker was killed before its first piece. */
static int64_t begun(struct nouns *n, const char *uid, const char *selector)
{
	const struct rollout_row row = {.uid = uid,
		.release = 1,
		.selector = selector,
		.created_by = "somebody",
		.created_at = n->f.now,
		.is_growing = true};
	struct errmsg e = {""};
	int64_t id = 0;

	if (rollout_insert(n->db, &row, &id, NULL, &e))
		fail_msg("%s", e.text);
	return id;
}

static bool one_piece(struct nouns *n, int64_t rollout)
{
	struct job job = {.db = n->db};
	bool is_whole = false;

	if (grow_piece(&job, rollout, n->f.now, &is_whole, NULL))
		fail_msg("%s", job.e.text);
	return is_whole;
}

/* What was given up is not offered again: its images may be gone. */
static void test_retry_retired(void **state)
{
	struct nouns *n = *state;
	int64_t kitchen = nouns_device(n, "lamp", "kitchen", true);

	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	device_moves(n, kitchen, ASSIGN_FAILED);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/releases/lamp:1.0/retire", NULL);
	assert_int_equal(n->status, 200);
	nouns_refused(
		n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/retry", NULL, 409, "release '1.0' is retired");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_string_equal(nouns_text(n, "state"), "done");
}

/* A push that was not whole when otad did not look for such: it ends where it is. */
static void test_growing_retired(void **state)
{
	struct nouns *n = *state;
	struct errmsg e = {""};
	int64_t id;

	nouns_device(n, "lamp", "kitchen", true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	id = begun(n, "p1", "all");
	nouns_refused(
		n, ROLE_OPERATOR, "POST", "/v1/releases/lamp:1.0/retire", NULL, 409, "still to install");
	if (stmt_script(n->db, "UPDATE release SET retired_at = 1", &e))
		fail_msg("%s", e.text);
	assert_true(one_piece(n, id));
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_string_equal(nouns_text(n, "state"), "done");
	assert_int_equal(nouns_int(n, "targets"), 0);
}

/* A device that has no attempt left is no reason to leave the others alone. */
static void test_push_spent(void **state)
{
	struct nouns *n = *state;
	int64_t kitchen = nouns_device(n, "lamp", "kitchen", true);
	struct errmsg e = {""};

	nouns_device(n, "lamp", "hall", true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_push(n, "p1", "lamp:1.0", "kitchen", 201);
	if (stmt_script(n->db, "UPDATE assignment SET attempt = 255", &e))
		fail_msg("%s", e.text);
	device_moves(n, kitchen, ASSIGN_FAILED);
	nouns_push(n, "p2", "lamp:1.0", "*", 201);
	assert_int_equal(nouns_int(n, "targets"), 2);
	assert_int_equal(nouns_int(n, "counts.failed"), 1);
	assert_int_equal(nouns_int(n, "counts.waiting"), 1);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p2/assignments", NULL);
	assert_string_equal(nouns_text(n, "items.0.device.name"), "kitchen");
	assert_non_null(strstr(nouns_text(n, "items.0.text"), "all 255 attempts"));
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p2/retry", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "retried"), 0);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p2/assignments", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 2);
	/* Alone it makes a push that is over, not one that is refused. */
	nouns_push(n, "p3", "lamp:1.0", "kitchen", 201);
	assert_string_equal(nouns_text(n, "state"), "done");
}

static void test_push_held(void **state)
{
	struct nouns *n = *state;
	int64_t kitchen = nouns_device(n, "lamp", "kitchen", true);

	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_call(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p1",
		"{\"release\":\"lamp:1.0\",\"selector\":\"*\",\"hold\":true,\"timeout_s\":600}");
	assert_int_equal(n->status, 201);
	assert_int_equal(nouns_int(n, "hold"), 1);
	device_moves(n, kitchen, ASSIGN_STAGED);
	fake_header(&n->f, "If-Match", "\"77\"");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/release-hold", NULL, 412, NULL);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/release-hold", NULL);
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "hold"), 0);
	nouns_refused(
		n, ROLE_OPERATOR, "POST", "/v1/rollouts/nope/release-hold", NULL, 404, "there is no push");
}

static void test_push_refused(void **state)
{
	static const struct nouns_refusal rows[] = {
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"tag=none\"}", 409,
			"no approved device of board 'lamp' matches 'tag=none'"},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"new\"}", 409,
			"wait for approval"},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"socket\"}", 409,
			"of other boards"},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"kitchne\"}", 404,
			"did you mean kitchen?"},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"tag<1\"}", 422, NULL},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"\"}", 400,
			"'selector' is empty"},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:2.0\",\"selector\":\"*\"}", 404,
			"there is no release"},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp\",\"selector\":\"*\"}", 404, "BOARD:VERSION"},
		{"PUT", "/v1/rollouts/p", "{\"selector\":\"*\"}", 400, "'release' is missing"},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"*\",\"to\":\"x\"}", 400,
			"unknown field 'to'"},
		{"PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"*\",\"timeout_s\":1}",
			400, "'timeout_s'"},
		{"PUT", "/v1/rollouts/-p", "{\"release\":\"lamp:1.0\",\"selector\":\"*\"}", 400,
			"named by 1 to 64"},
		{"PUT", "/v1/rollouts/p", "[]", 400, "JSON object"},
		{"GET", "/v1/rollouts/p", NULL, 404, "there is no push"},
		{"GET", "/v1/rollouts?state=x", NULL, 422, "state must be"},
		{"GET", "/v1/rollouts/p/assignments", NULL, 404, "there is no push"},
		{"GET", "/v1/assignments?state=x", NULL, 422, "no assignment state"},
		{"GET", "/v1/assignments?device=nobody", NULL, 404, "there is no device"},
		{"POST", "/v1/rollouts/p/cancel", NULL, 404, "there is no push"},
		{"POST", "/v1/rollouts/p/retry", NULL, 404, "there is no push"},
		{"GET", "/v1/selection?board=lmap", NULL, 404, "did you mean lamp?"},
	};
	struct nouns *n = *state;

	nouns_board(n, "plug", "");
	nouns_device(n, "lamp", "kitchen", true);
	nouns_device(n, "lamp", "new", false);
	nouns_device(n, "plug", "socket", true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_refused_all(n, ROLE_OPERATOR, rows, sizeof(rows) / sizeof(rows[0]));
}

enum { MANY = 2 * GROW_PIECE + 50 };

/* A large push takes as many transactions as it has pieces, and in between it is what it is: unfinished. */
static void test_push_pieces(void **state)
{
	struct nouns *n = *state;
	int64_t id;

	nouns_devices(n, "lamp", "bulb", MANY, true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	id = begun(n, "p1", "all");
	assert_false(one_piece(n, id));
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_true(json_is_true(nouns_at(n, "growing")));
	assert_int_equal(nouns_int(n, "targets"), GROW_PIECE);
	assert_string_equal(nouns_text(n, "state"), "open");
	/* All it has so far is over: it is not. */
	if (stmt_script(n->db, "UPDATE assignment SET state = 5, ended_at = 1", NULL))
		fail();
	assert_false(one_piece(n, id));
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_string_equal(nouns_text(n, "state"), "open");
	assert_int_equal(nouns_int(n, "targets"), 2 * GROW_PIECE);
	assert_true(one_piece(n, id));
	assert_true(one_piece(n, id));
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_true(json_is_false(nouns_at(n, "growing")));
	assert_int_equal(nouns_int(n, "targets"), MANY);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/bulb-7/log", NULL);
	assert_non_null(strstr(nouns_text(n, "items.0.text"), "by somebody"));
	/* By a request it is whole when it is answered. */
	nouns_push(n, "p2", "lamp:1.0", "*", 201);
	assert_int_equal(nouns_int(n, "targets"), MANY);
	assert_true(json_is_false(nouns_at(n, "growing")));
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/audit?action=rollout.", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 1);
}

/* Whoever asks for it again finishes it, and so does upkeep; a cancel ends it where it is. */
static void test_push_goes_on(void **state)
{
	struct nouns *n = *state;
	int64_t id;

	nouns_devices(n, "lamp", "bulb", MANY, true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	id = begun(n, "p1", "all");
	assert_false(one_piece(n, id));
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p1",
		"{\"release\":\"lamp:1.0\",\"selector\":\"bulb-1\"}", 409, "exists with another release");
	nouns_push(n, "p1", "lamp:1.0", "*", 200);
	assert_int_equal(nouns_int(n, "targets"), MANY);
	assert_true(json_is_false(nouns_at(n, "growing")));

	/* The device that a push names is gone, the push is not. */
	id = begun(n, "p2", "name=bulb-1");
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/devices/bulb-1", "{\"name\":\"renamed\"}");
	nouns_push(n, "p2", "lamp:1.0", "bulb-1", 200);
	assert_true(json_is_false(nouns_at(n, "growing")));
	assert_string_equal(nouns_text(n, "state"), "done");
	assert_int_equal(nouns_int(n, "targets"), 0);

	id = begun(n, "p3", "all");
	assert_false(one_piece(n, id));
	n->f.now += GROW_REST_S;
	grow_rest(n->f.app.domain);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p3", NULL);
	assert_int_equal(nouns_int(n, "targets"), MANY);
	assert_true(json_is_false(nouns_at(n, "growing")));

	id = begun(n, "p4", "all");
	assert_false(one_piece(n, id));
	/* A request went on with it just now. */
	n->f.app.domain->grown_s = n->f.now;
	grow_rest(n->f.app.domain);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p4", NULL);
	assert_int_equal(nouns_int(n, "targets"), GROW_PIECE);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p4/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), GROW_PIECE);
	n->f.now += GROW_REST_S;
	grow_rest(n->f.app.domain);
	nouns_push(n, "p4", "lamp:1.0", "*", 200);
	assert_int_equal(nouns_int(n, "targets"), GROW_PIECE);
	assert_string_equal(nouns_text(n, "state"), "cancelled");
}

/* An older push that is still on its way takes no device from a newer one. */
static void test_push_order(void **state)
{
	struct nouns *n = *state;
	int64_t old;

	nouns_devices(n, "lamp", "bulb", MANY, true);
	nouns_device(n, "lamp", "last", true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_make_release(n, "lamp", "1.1", "esp32c3", 2);
	old = begun(n, "old", "all");
	assert_false(one_piece(n, old));
	nouns_push(n, "new", "lamp:1.1", "last", 201);
	assert_int_equal(nouns_int(n, "counts.waiting"), 1);
	while (!one_piece(n, old))
		;
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/last", NULL);
	assert_string_equal(nouns_text(n, "assignment.version"), "1.1");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/old", NULL);
	assert_int_equal(nouns_int(n, "targets"), MANY + 1);
	assert_int_equal(nouns_int(n, "counts.superseded"), 1);
	assert_string_equal(nouns_text(n, "superseded_by"), "new");
}

/* Made in pieces or taken back in pieces, it wakes the board once. */
static void test_push_wakes_once(void **state)
{
	struct nouns *n = *state;
	struct registry *reg;
	uint32_t before;

	nouns_devices(n, "lamp", "bulb", MANY, true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	reg = n->f.app.domain->reg;
	before = registry_board(reg, 0)->revision;
	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	assert_int_equal(registry_board(reg, 0)->revision, plan_revision_next(before, n->f.now));
	/* First nobody is told any more, then all have nothing to do. */
	before = registry_board(reg, 0)->revision;
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), MANY);
	assert_int_equal(registry_board(reg, 0)->revision, before + 1);
	/* And by upkeep. */
	assert_false(one_piece(n, begun(n, "p2", "all")));
	before = registry_board(reg, 0)->revision;
	n->f.now += GROW_REST_S;
	grow_rest(n->f.app.domain);
	assert_int_equal(registry_board(reg, 0)->revision, plan_revision_next(before, n->f.now));
}

/* How often the registry was told of something while the request ran: after each piece. */
static uint64_t pieces_of(struct nouns *n, const char *path)
{
	uint64_t before = n->f.app.domain->rounds_begun;

	nouns_call(n, ROLE_OPERATOR, "POST", path, NULL);
	if (n->status != 200)
		fail_msg("%s: %u %s", path, n->status, nouns_text(n, "detail"));
	return n->f.app.domain->rounds_begun - before;
}

static void test_retry_pieces(void **state)
{
	static const char fail_all[] = "UPDATE assignment SET state = 6, ended_at = 1, offered_at = 1;"
				       "UPDATE rollout SET state = 1, ended_at = 1";
	struct nouns *n = *state;

	assert_int_equal(ASSIGN_FAILED, 6);
	nouns_devices(n, "lamp", "bulb", MANY, true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	nouns_push(n, "p2", "lamp:1.0", "bulb-7", 201);
	if (stmt_script(n->db, fail_all, NULL))
		fail();
	/* What an earlier retry, killed after its first pieces, has done already stays as it is. */
	if (stmt_script(n->db,
		    "INSERT INTO assignment (rollout, device, manifest, attempt, state, created_at, state_at,"
		    " is_queued) SELECT rollout, device, manifest, 2, 0, 1, 1, 0 FROM assignment"
		    " WHERE rollout = 1 ORDER BY id LIMIT 2",
		    NULL))
		fail();
	assert_in_range(pieces_of(n, "/v1/rollouts/p1/retry"), MANY / GROW_PIECE, 10);
	/* Neither these two nor the one that another push had last. */
	assert_int_equal(nouns_int(n, "retried"), MANY - 3);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_string_equal(nouns_text(n, "state"), "open");
	assert_int_equal(nouns_int(n, "targets"), MANY);
	assert_int_equal(nouns_int(n, "counts.waiting"), MANY - 1);
	(void)pieces_of(n, "/v1/rollouts/p1/retry");
	assert_int_equal(nouns_int(n, "retried"), 0);
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/audit?action=rollout.retry", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 2);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/devices/bulb-9", NULL);
	assert_int_equal(nouns_int(n, "assignment.attempt"), 2);
}

static void test_cancel_pieces(void **state)
{
	struct nouns *n = *state;

	nouns_devices(n, "lamp", "bulb", MANY, true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	assert_in_range(pieces_of(n, "/v1/rollouts/p1/cancel"), MANY / GROW_PIECE, 10);
	assert_int_equal(nouns_int(n, "withdrawn"), MANY);
	assert_int_equal(nouns_int(n, "unsure"), 0);
	(void)pieces_of(n, "/v1/rollouts/p1/cancel");
	assert_int_equal(nouns_int(n, "withdrawn"), 0);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/rollouts/p1", NULL);
	assert_int_equal(nouns_int(n, "counts.cancelled"), MANY);
}

/* While another's is taken back, a device says that it had not started. */
static void test_cancel_counts_a_word(void **state)
{
	struct nouns *n = *state;

	nouns_devices(n, "lamp", "bulb", 3, true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_push(n, "p1", "lamp:1.0", "*", 201);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/devices/bulb-1/cancel", NULL);
	if (stmt_script(n->db,
		    "CREATE TEMP TRIGGER word AFTER UPDATE OF state ON assignment BEGIN"
		    " UPDATE assignment SET state = 9, ended_at = 1 WHERE id ="
		    " (SELECT max(id) FROM assignment WHERE ended_at IS NULL); END",
		    NULL))
		fail();
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 2);
	assert_int_equal(nouns_int(n, "committed"), 0);
	assert_int_equal(nouns_int(n, "unsure"), 0);
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/rollouts/p1/cancel", NULL);
	assert_int_equal(nouns_int(n, "withdrawn"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_push, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_retry, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_retry_retired, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_growing_retired, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_spent, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_held, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_refused, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_pieces, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_goes_on, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_order, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_push_wakes_once, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_retry_pieces, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_cancel_pieces, nouns_setup_lamp, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_cancel_counts_a_word, nouns_setup_lamp, nouns_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
