/* Assignments that wait behind one that nothing can take back; pushes that grow. */
#include "tests/unit/db/trial.h"

#include <stdio.h>
#include <string.h>

#include "db/assignment.h"
#include "db/event.h"
#include "db/report.h"
#include "db/stmt.h"
#include "proto/checkin.h"

static void none_is_queued(const struct world *w)
{
	struct assignment_row row;

	fails(w->f, OTA_NOT_FOUND, assignment_load_queued(w->f->db, w->device, &w->f->mem, &row, &w->f->e));
}

/* However the trial ends, the one that waits opens in the same transaction. */
static void opens_when_the_trial_ends(void **state)
{
	static const enum assign_state ends[] = {
		ASSIGN_RUNNING, ASSIGN_FAILED, ASSIGN_REVERTED, ASSIGN_TIMED_OUT};
	struct world w = make_world(state);
	struct fixture *f = w.f;
	struct rollout_counts counts;
	struct event_list events;

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		struct assignment_opened a = open_it(&w, w.r2, w.m2), again = open_it(&w, w.r2, w.m2);
		struct assignment_row row = row_of(&w, a.id);

		assert_true(a.is_new && a.is_queued && !a.is_spent);
		assert_string_equal(a.behind, "1.0");
		assert_int_equal(a.superseded, 0);
		assert_true(!again.is_new && again.is_queued && again.id == a.id);
		assert_true(row.is_queued && !row.has_next && row.state == ASSIGN_WAITING);
		assert_true(row_of(&w, w.trial.id).has_next);
		is_open(&w, w.trial.id);
		ok(f, rollout_count(f->db, w.r2, &counts, &f->e));
		assert_int_equal(counts.by_state[ASSIGN_WAITING], 1);
		assert_int_equal(counts.n_queued, 1);

		/* over a restart too */
		db_close(f->db);
		f->db = fixture_open(f->dir, DB_CREATE);
		advance(&w, w.trial.id, ends[i]);
		is_open(&w, a.id);
		none_is_queued(&w);
		row = row_of(&w, a.id);
		assert_true(!row.is_queued && row.state == ASSIGN_WAITING && row.state_at == NOW + 50);
		ok(f, rollout_count(f->db, w.r2, &counts, &f->e));
		assert_int_equal(counts.n_queued, 0);
		ok(f, event_list(f->db, w.device, &(struct db_page){.limit = 1}, &f->mem, &events, &f->e));
		assert_string_equal(events.rows[0].kind, "opened");
		assert_int_equal(events.rows[0].assignment, a.id);
		assert_non_null(strstr(events.rows[0].text, assign_state_name(ends[i])));

		advance(&w, a.id, ASSIGN_RUNNING);
		assert_int_equal(rollout_is(&w, w.r2), ROLLOUT_DONE);
		w.trial = open_it(&w, w.r1, w.m1);
		assert_false(w.trial.is_queued);
		advance(&w, w.trial.id, ASSIGN_OFFERED);
		advance(&w, w.trial.id, ASSIGN_TRIAL);
	}
}

static void the_newest_waits(void **state)
{
	struct world w = make_world(state);
	struct assignment_opened a = open_it(&w, w.r2, w.m2), b = open_it(&w, w.r3, w.m3), c;
	struct assignment_row row = row_of(&w, a.id);
	struct device_change hold = nothing;

	assert_int_equal(b.superseded, a.id);
	assert_true(b.is_queued);
	assert_int_equal(row.state, ASSIGN_SUPERSEDED);
	assert_int_equal(row.superseded_by, w.r3);
	assert_false(row.is_queued);
	assert_int_equal(rollout_is(&w, w.r2), ROLLOUT_DONE);
	/* the same push as the trial's own, again: newer than the one that waits */
	c = open_it(&w, w.r1, w.m1);
	assert_true(c.is_new && c.is_queued);
	assert_int_equal(row_of(&w, b.id).state, ASSIGN_SUPERSEDED);
	/* it had offered attempt 1; it fails; 1 would be refused */
	advance(&w, w.trial.id, ASSIGN_REVERTED);
	is_open(&w, c.id);
	assert_int_equal(row_of(&w, c.id).attempt, 2);

	/* on hold what is staged gives way, and what waits behind it does not slip in */
	advance(&w, c.id, ASSIGN_STAGED);
	a = open_it(&w, w.r2, w.m2);
	assert_true(a.is_queued);
	hold.hold = 1;
	ok(w.f, device_update(w.f->db, w.device, 0, &hold, NOW, NULL, &w.f->e));
	b = open_it(&w, w.r3, w.m3);
	assert_false(b.is_queued);
	is_open(&w, b.id);
	none_is_queued(&w);
	assert_int_equal(row_of(&w, a.id).superseded_by, w.r3);
	assert_int_equal(row_of(&w, c.id).superseded_by, w.r3);
}

/* The plan found that the device has not begun: superseded by what waits. */
static void gives_way(void **state)
{
	const struct assignment_move give_way = {.to = ASSIGN_SUPERSEDED, .now = NOW + 50};
	struct world w = make_world(state);
	struct assignment_opened a, b;

	advance(&w, w.trial.id, ASSIGN_RUNNING);
	a = open_it(&w, w.r2, w.m2);
	advance(&w, a.id, ASSIGN_STAGED);
	b = open_it(&w, w.r3, w.m3);
	assert_true(b.is_queued);
	/* what it was to give way to was taken back in the same moment: it stays */
	advance(&w, b.id, ASSIGN_CANCELLED);
	fails(w.f, OTA_STATE, assignment_advance(w.f->db, a.id, &give_way, NULL, &w.f->e));
	is_open(&w, a.id);
	w.r3 = make_rollout(w.f, "r4", 3);
	b = open_it(&w, w.r3, w.m3);
	advance(&w, a.id, ASSIGN_SUPERSEDED);
	assert_int_equal(row_of(&w, a.id).superseded_by, w.r3);
	is_open(&w, b.id);
}

static void taken_back(void **state)
{
	struct world w = make_world(state);
	struct fixture *f = w.f;
	struct assignment_opened a = open_it(&w, w.r2, w.m2);
	struct rollout_cancelled done;
	enum assignment_cancel what;
	int64_t until = -1;
	uint64_t n;

	/* the one that waits, alone */
	ok(f, assignment_cancel(f->db, a.id, NOW, &what, &until, &f->e));
	assert_int_equal(what, ASSIGNMENT_WITHDRAWN);
	assert_int_equal(until, 0);
	is_open(&w, w.trial.id);
	none_is_queued(&w);
	ok(f, assignment_cancel(f->db, w.trial.id, NOW, &what, &until, &f->e));
	assert_int_equal(what, ASSIGNMENT_COMMITTED);
	/* with its rollout */
	a = open_it(&w, w.r3, w.m3);
	done = cancel_rollout(f, w.r3, NOW);
	assert_int_equal(done.n_withdrawn, 1);
	assert_int_equal(done.n_committed, 0);
	none_is_queued(&w);
	/* the trial's rollout is cancelled: what waits goes on waiting for the device's word */
	w.r3 = make_rollout(f, "r4", 3);
	a = open_it(&w, w.r3, w.m3);
	for (int i = 0; i < 2; i++) {
		done = cancel_rollout(f, w.r1, NOW);
		assert_int_equal(done.n_committed, 1); /* asked again, too */
	}
	assert_true(row_of(&w, a.id).is_queued);
	/* the device is removed: both end, the one that waits first */
	ok(f, assignment_withdraw(f->db, w.device, NOW, "the device was revoked", &f->e));
	assert_int_equal(row_of(&w, a.id).state, ASSIGN_CANCELLED);
	assert_int_equal(row_of(&w, w.trial.id).state, ASSIGN_TIMED_OUT);
	assert_int_equal(rollout_is(&w, w.r3), ROLLOUT_DONE);
	/* time runs out for both, in either order */
	w.trial = open_it(&w, w.r3, w.m3);
	advance(&w, w.trial.id, ASSIGN_TRIAL);
	w.r2 = make_rollout(f, "r5", 2);
	a = open_it(&w, w.r2, w.m2);
	ok(f, assignment_expire(f->db, NOW + 1000, 100, &n, NULL, &f->e));
	assert_int_equal(n, 2);
	assert_int_equal(row_of(&w, a.id).state, ASSIGN_TIMED_OUT);
	none_is_queued(&w);
	/* and a device with both can be deleted */
	w.trial = open_it(&w, w.r3, w.m3);
	advance(&w, w.trial.id, ASSIGN_TRIAL);
	(void)open_it(&w, w.r2, w.m2);
	ok(f, device_delete(f->db, w.device, 0, NOW, &f->e));
}

/* Time is over for both, and what waited has no attempt left: it fails in its turn, and the others of that
 * moment end all the same. */
static void time_is_over_and_none_is_left(void **state)
{
	struct world w = make_world(state);
	struct fixture *f = w.f;
	struct assignment_opened spent, last;
	int64_t first = w.device;
	uint64_t n = 0;

	/* attempt 255 of what waits has failed before */
	w.device = make_device(f, "e", w.board, 'e');
	spent = open_it(&w, w.r2, w.m2);
	advance(&w, spent.id, ASSIGN_FAILED);
	ok(f, stmt_script(f->db, "UPDATE assignment SET attempt = 255 WHERE state = 6", &f->e));
	w.trial = open_it(&w, w.r1, w.m1);
	advance(&w, w.trial.id, ASSIGN_TRIAL);
	spent = open_it(&w, w.r3, w.m3);
	assert_true(spent.is_queued && !spent.is_spent);
	ok(f, stmt_script(f->db, "UPDATE assignment SET manifest = 2 WHERE is_queued = 1", &f->e));
	w.device = make_device(f, "z", w.board, 'f');
	last = open_it(&w, w.r1, w.m1);

	ok(f, assignment_expire(f->db, NOW + 1000, 100, &n, NULL, &f->e));
	assert_int_equal(n, 3);
	assert_int_equal(row_of(&w, w.trial.id).state, ASSIGN_TIMED_OUT);
	assert_int_equal(row_of(&w, spent.id).state, ASSIGN_FAILED);
	assert_int_equal(row_of(&w, last.id).state, ASSIGN_TIMED_OUT);
	w.device = first;
	none_is_queued(&w);
}

/* Failed there before under its number, and nobody heard of it. */
static void counted_up(void **state)
{
	struct world w = make_world(state);
	struct fixture *f = w.f;
	struct assignment_opened a = open_it(&w, w.r2, w.m2);

	assert_true(a.is_queued);
	fails(f, OTA_STATE, assignment_count_up(f->db, a.id, a.attempt, &f->e));
	fails(f, OTA_STATE, assignment_count_up(f->db, 999, 1, &f->e));
	ok(f, assignment_count_up(f->db, w.trial.id, 1, &f->e));
	assert_int_equal(row_of(&w, w.trial.id).attempt, 2);
	assert_int_equal(row_of(&w, a.id).attempt, 1);
	fails(f, OTA_STATE, assignment_count_up(f->db, w.trial.id, 1, &f->e));
	ok(f, stmt_script(f->db, "UPDATE assignment SET attempt = 255", &f->e));
	fails(f, OTA_STATE, assignment_count_up(f->db, w.trial.id, 255, &f->e));
	ok(f, stmt_script(f->db, "UPDATE assignment SET attempt = 3", &f->e));
	advance(&w, w.trial.id, ASSIGN_REVERTED);
	fails(f, OTA_STATE, assignment_count_up(f->db, w.trial.id, 3, &f->e));
}

/* A byte holds an attempt. What has none left fails here, and holds up nothing. */
static void spent(void **state)
{
	struct world w = make_world(state);
	struct fixture *f = w.f;
	struct assignment_opened a;
	struct assignment_row row;

	ok(f, stmt_script(f->db, "UPDATE assignment SET attempt = 255", &f->e));
	a = open_it(&w, w.r2, w.m2);
	assert_true(a.is_queued);
	advance(&w, w.trial.id, ASSIGN_REVERTED);
	is_open(&w, a.id);
	a = open_it(&w, w.r1, w.m1);
	assert_true(a.is_new && a.is_spent && !a.is_queued);
	row = row_of(&w, a.id);
	assert_int_equal(row.state, ASSIGN_FAILED);
	assert_int_equal(row.detail, ota_err_detail(OTA_LIMIT));
	assert_int_equal(row.offered_at, 0);
	assert_int_equal(row.attempt, 255);
	assert_int_equal(rollout_is(&w, w.r1), ROLLOUT_DONE);
	/* behind a trial too, at once or when its turn comes */
	w.trial = open_it(&w, w.r2, w.m2);
	advance(&w, w.trial.id, ASSIGN_TRIAL);
	a = open_it(&w, w.r1, w.m1);
	assert_true(a.is_spent);
	none_is_queued(&w);
	is_open(&w, w.trial.id);
	ok(f, stmt_script(f->db, "UPDATE assignment SET attempt = 255", &f->e));
	a = open_it(&w, w.r2, w.m2);
	assert_false(a.is_new);
	a = open_it(&w, w.r3, w.m2);
	assert_true(a.is_queued && !a.is_spent);
	advance(&w, w.trial.id, ASSIGN_REVERTED);
	row = row_of(&w, a.id);
	assert_int_equal(row.state, ASSIGN_FAILED);
	assert_int_equal(row.detail, ota_err_detail(OTA_LIMIT));
	assert_int_equal(rollout_is(&w, w.r3), ROLLOUT_DONE);
	fails(f, OTA_NOT_FOUND, assignment_load_open(f->db, w.device, &f->mem, &row, &f->e));
}

/* A rollout whose devices come a piece at a time is not done before it is whole. */
static void grows(void **state)
{
	struct world w = make_world(state);
	struct fixture *f = w.f;
	struct rollout_row row = {.uid = "g",
		.release = 2,
		.selector = "all",
		.created_by = "t",
		.created_at = NOW,
		.is_growing = true};
	struct assignment_opened a;
	int64_t id = 0;
	bool is_new = true;

	fails(f, OTA_NOT_FOUND, rollout_load_growing(f->db, 0, &f->mem, &row, &f->e));
	row = (struct rollout_row){.uid = "g",
		.release = 2,
		.selector = "all",
		.created_by = "t",
		.created_at = NOW,
		.is_growing = true};
	ok(f, rollout_insert(f->db, &row, &id, NULL, &f->e));
	ok(f, rollout_insert(f->db, &row, &id, &is_new, &f->e));
	assert_false(is_new);
	advance(&w, w.trial.id, ASSIGN_RUNNING);
	a = open_it(&w, id, w.m2);
	ok(f, rollout_grown(f->db, id, 7, false, NOW, &f->e));
	advance(&w, a.id, ASSIGN_RUNNING);
	assert_int_equal(rollout_is(&w, id), ROLLOUT_RUNNING);
	ok(f, rollout_load_growing(f->db, 0, &f->mem, &row, &f->e));
	assert_int_equal(row.id, id);
	assert_true(row.is_growing);
	assert_int_equal(row.cursor, 7);
	ok(f, rollout_grown(f->db, id, 9, true, NOW, &f->e));
	assert_int_equal(rollout_is(&w, id), ROLLOUT_DONE);
	fails(f, OTA_NOT_FOUND, rollout_load_growing(f->db, 0, &f->mem, &row, &f->e));
	/* cancelled on the way: it grows no more */
	row = (struct rollout_row){.uid = "h",
		.release = 2,
		.selector = "all",
		.created_by = "t",
		.created_at = NOW,
		.is_growing = true};
	ok(f, rollout_insert(f->db, &row, &id, NULL, &f->e));
	ok(f, rollout_end(f->db, id, 0, ROLLOUT_CANCELLED, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, rollout_load_growing(f->db, 0, &f->mem, &row, &f->e));
	ok(f, rollout_grown(f->db, id, 9, false, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, rollout_load_growing(f->db, 0, &f->mem, &row, &f->e));
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(opens_when_the_trial_ends),
		test(the_newest_waits),
		test(gives_way),
		test(taken_back),
		test(time_is_over_and_none_is_left),
		test(counted_up),
		test(spent),
		test(grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
