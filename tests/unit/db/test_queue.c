/* Assignments that wait behind one that nothing can take back; those that are taken back too late to be sure.
 */
#include "tests/unit/db/fixture.h"

#include <stdio.h>
#include <string.h>

#include "db/assignment.h"
#include "db/event.h"
#include "db/report.h"
#include "db/stmt.h"
#include "proto/checkin.h"

static const struct device_change nothing = {.state = -1, .hold = -1};

/* A device with 1.0 of r1 on trial, and two more releases and rollouts. */
struct world {
	struct fixture *f;
	int64_t board, device, r1, r2, r3, m1, m2, m3;
	struct assignment_opened trial;
};

static int64_t manifest_of(struct fixture *f, uint32_t sequence)
{
	struct manifest_row row;
	uint8_t digest[32];

	manifest_digest(sequence, digest);
	ok(f, manifest_load_digest(f->db, digest, &f->mem, &row, &f->e));
	return row.id;
}

static void advance(const struct world *w, int64_t id, enum assign_state to)
{
	const struct assignment_move move = {
		.to = to, .now = NOW + 50, .reason = to == ASSIGN_FAILED ? 11 : 0};

	ok(w->f, assignment_advance(w->f->db, id, &move, NULL, &w->f->e));
}

static struct assignment_opened open_it(const struct world *w, int64_t rollout, int64_t manifest)
{
	struct assignment_opened out;

	ok(w->f, assignment_open(w->f->db, rollout, w->device, manifest, NOW + 10, &out, &w->f->e));
	return out;
}

static struct assignment_row row_of(const struct world *w, int64_t id)
{
	struct assignment_row row;

	ok(w->f, assignment_load(w->f->db, id, &w->f->mem, &row, &w->f->e));
	return row;
}

static enum rollout_state rollout_is(const struct world *w, int64_t id)
{
	struct rollout_row row;

	ok(w->f, rollout_load(w->f->db, id, &w->f->mem, &row, &w->f->e));
	return row.state;
}

static struct world make_world(void **state)
{
	struct world w = {.f = *state};

	w.board = make_board(w.f, "lamp", 1);
	w.r1 = make_rollout(w.f, "r1", make_release(w.f, w.board, "1.0", "one", 100));
	w.r2 = make_rollout(w.f, "r2", make_release(w.f, w.board, "2.0", "two", 200));
	w.r3 = make_rollout(w.f, "r3", make_release(w.f, w.board, "3.0", "three", 300));
	w.m1 = manifest_of(w.f, 100);
	w.m2 = manifest_of(w.f, 200);
	w.m3 = manifest_of(w.f, 300);
	w.device = make_device(w.f, "d", w.board, 'd');
	w.trial = open_it(&w, w.r1, w.m1);
	advance(&w, w.trial.id, ASSIGN_OFFERED);
	advance(&w, w.trial.id, ASSIGN_TRIAL);
	return w;
}

static void is_open(const struct world *w, int64_t id)
{
	struct assignment_row row;

	ok(w->f, assignment_load_open(w->f->db, w->device, &w->f->mem, &row, &w->f->e));
	assert_int_equal(row.id, id);
	ok(w->f, assignment_load_latest(w->f->db, w->device, &w->f->mem, &row, &w->f->e));
	assert_int_equal(row.id, id);
}

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
	ok(f, assignment_withdraw(f->db, w.device, NOW, &f->e));
	assert_int_equal(row_of(&w, a.id).state, ASSIGN_CANCELLED);
	assert_int_equal(row_of(&w, w.trial.id).state, ASSIGN_TIMED_OUT);
	assert_int_equal(rollout_is(&w, w.r3), ROLLOUT_DONE);
	/* time runs out for both, in either order */
	w.trial = open_it(&w, w.r3, w.m3);
	advance(&w, w.trial.id, ASSIGN_TRIAL);
	w.r2 = make_rollout(f, "r5", 2);
	a = open_it(&w, w.r2, w.m2);
	ok(f, assignment_expire(f->db, NOW + 1000, 100, &n, &f->e));
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

	ok(f, assignment_expire(f->db, NOW + 1000, 100, &n, &f->e));
	assert_int_equal(n, 3);
	assert_int_equal(row_of(&w, w.trial.id).state, ASSIGN_TIMED_OUT);
	assert_int_equal(row_of(&w, spent.id).state, ASSIGN_FAILED);
	assert_int_equal(row_of(&w, last.id).state, ASSIGN_TIMED_OUT);
	w.device = first;
	none_is_queued(&w);
}

/* A ticket that lets a device install is good for a minute. */
static void taken_back_too_late_to_be_sure(void **state)
{
	static const struct {
		enum assign_state in;
		int64_t seen, held, now;
		enum assignment_cancel want;
	} rows[] = {
		{ASSIGN_WAITING, 100, 0, 101, ASSIGNMENT_WITHDRAWN},
		{ASSIGN_OFFERED, 100, 0, 101, ASSIGNMENT_UNSURE},
		{ASSIGN_FETCHING, 100, 0, 100 + ASSIGNMENT_TICKET_S - 1, ASSIGNMENT_UNSURE},
		{ASSIGN_FETCHING, 100, 0, 100 + ASSIGNMENT_TICKET_S, ASSIGNMENT_WITHDRAWN},
		{ASSIGN_STAGED, 100, 0, 500, ASSIGNMENT_COMMITTED},
		{ASSIGN_STAGED, 100, 100, 101, ASSIGNMENT_UNSURE},
		{ASSIGN_STAGED, 100, 90, 101, ASSIGNMENT_WITHDRAWN},
		{ASSIGN_STAGED, 100, 120, 500, ASSIGNMENT_WITHDRAWN},
		{ASSIGN_FETCHING, 100, 90, 101, ASSIGNMENT_WITHDRAWN},
		{ASSIGN_FETCHING, 100, 110, 120, ASSIGNMENT_UNSURE},
		{ASSIGN_TRIAL, 100, 0, 101, ASSIGNMENT_COMMITTED},
	};
	struct world w = make_world(state);
	struct fixture *f = w.f;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum assignment_cancel what = ASSIGNMENT_COMMITTED;
		struct device_change hold = nothing;
		struct assignment_opened a, b;
		struct assignment_row row;
		char name[16], uid = "0123456789abcdef"[i];
		int64_t until = 0;

		(void)snprintf(name, sizeof name, "d%zu", i);
		w.device = make_device(f, name, w.board, uid);
		a = open_it(&w, w.r2, w.m2);
		say_running(f, w.device, (uint64_t)rows[i].seen, 7, CHECKIN_IDLE); /* at NOW + seen */
		if (rows[i].in != ASSIGN_WAITING)
			advance(&w, a.id, rows[i].in);
		hold.hold = rows[i].held > 0;
		if (rows[i].held)
			ok(f, device_update(f->db, w.device, 0, &hold, NOW + rows[i].held, NULL, &f->e));
		ok(f, assignment_cancel(f->db, a.id, NOW + rows[i].now, &what, &until, &f->e));
		if (what != rows[i].want)
			fail_msg("row %zu: %d", i, what);
		row = row_of(&w, a.id);
		if (what != ASSIGNMENT_UNSURE) {
			assert_int_equal(row.withdrawn_at, 0);
			continue;
		}
		assert_int_equal(until, NOW + rows[i].seen + ASSIGNMENT_TICKET_S);
		assert_int_equal(row.state, rows[i].in);
		assert_int_equal(row.withdrawn_at, NOW + rows[i].now);
		/* asked again, it is no surer; what is pushed now waits for the device's word */
		ok(f, assignment_cancel(f->db, a.id, NOW + 9999, &what, &until, &f->e));
		assert_int_equal(what, ASSIGNMENT_UNSURE);
		assert_int_equal(row_of(&w, a.id).withdrawn_at, NOW + rows[i].now);
		b = open_it(&w, w.r3, w.m3);
		assert_true(b.is_queued);
		advance(&w, a.id, ASSIGN_CANCELLED);
		is_open(&w, b.id);
	}
}

/* First no ticket names it; what came of it is decided after. */
static void stopped_first(void **state)
{
	struct world w = make_world(state);
	struct fixture *f = w.f;
	enum assignment_cancel what = ASSIGNMENT_COMMITTED;
	struct assignment_opened a;
	int64_t until = 0;

	/* what nothing can take back stays */
	ok(f, assignment_stop(f->db, w.trial.id, NOW, &f->e));
	assert_false(row_of(&w, w.trial.id).is_withdrawn);
	advance(&w, w.trial.id, ASSIGN_RUNNING);
	a = open_it(&w, w.r2, w.m2);
	assert_false(row_of(&w, a.id).is_withdrawn);
	ok(f, assignment_stop(f->db, a.id, NOW, &f->e));
	assert_true(row_of(&w, a.id).is_withdrawn);
	assert_int_equal(row_of(&w, a.id).state, ASSIGN_WAITING);
	ok(f, assignment_cancel(f->db, a.id, NOW, &what, &until, &f->e));
	assert_int_equal(what, ASSIGNMENT_WITHDRAWN);
	assert_int_equal(row_of(&w, a.id).state, ASSIGN_CANCELLED);
	/* who was told before the stop makes it unsure */
	a = open_it(&w, w.r3, w.m3);
	advance(&w, a.id, ASSIGN_OFFERED);
	ok(f, assignment_stop(f->db, a.id, NOW + 1, &f->e));
	say_running(f, w.device, 1, 7, CHECKIN_IDLE); /* at NOW + 1 */
	ok(f, assignment_cancel(f->db, a.id, NOW + 1, &what, &until, &f->e));
	assert_int_equal(what, ASSIGNMENT_UNSURE);
	assert_int_equal(row_of(&w, a.id).state, ASSIGN_OFFERED);
	fails(f, OTA_NOT_FOUND, assignment_stop(f->db, 999, NOW, &f->e));
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

	fails(f, OTA_NOT_FOUND, rollout_load_growing(f->db, &f->mem, &row, &f->e));
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
	ok(f, rollout_load_growing(f->db, &f->mem, &row, &f->e));
	assert_int_equal(row.id, id);
	assert_true(row.is_growing);
	assert_int_equal(row.cursor, 7);
	ok(f, rollout_grown(f->db, id, 9, true, NOW, &f->e));
	assert_int_equal(rollout_is(&w, id), ROLLOUT_DONE);
	fails(f, OTA_NOT_FOUND, rollout_load_growing(f->db, &f->mem, &row, &f->e));
	/* cancelled on the way: it grows no more */
	row = (struct rollout_row){.uid = "h",
		.release = 2,
		.selector = "all",
		.created_by = "t",
		.created_at = NOW,
		.is_growing = true};
	ok(f, rollout_insert(f->db, &row, &id, NULL, &f->e));
	ok(f, rollout_end(f->db, id, 0, ROLLOUT_CANCELLED, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, rollout_load_growing(f->db, &f->mem, &row, &f->e));
	ok(f, rollout_grown(f->db, id, 9, false, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, rollout_load_growing(f->db, &f->mem, &row, &f->e));
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
		test(taken_back_too_late_to_be_sure),
		test(stopped_first),
		test(spent),
		test(grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
