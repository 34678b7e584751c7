/* What is taken back: how sure that is, what counts then, and what is done to all of a push. */
#include "tests/unit/db/trial.h"

#include <stdio.h>

#include "db/event.h"
#include "db/report.h"
#include "proto/checkin.h"

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

/* What was told just before a restart is in no row, so it may have been this; but not to who never spoke, not
 * what is newer than the start, nor what only waits its turn. */
static void taken_back_after_a_restart(void **state)
{
	static const struct {
		enum assign_state in;                  /* since NOW + 10 where it waits, else NOW + 50 */
		int64_t seen, held, start, now, until; /* until 0: it is certain */
		bool is_newer;                         /* than the start, in the same second */
	} rows[] = {
		{ASSIGN_WAITING, 5, 0, 100, 101, 100, false},
		{ASSIGN_WAITING, 5, 0, 10, 11, 10, false},
		{ASSIGN_WAITING, 5, 0, 10, 11, 0, true},
		{ASSIGN_WAITING, 5, 0, 9, 11, 0, false},
		{ASSIGN_WAITING, 0, 0, 100, 101, 0, false},
		{ASSIGN_WAITING, 5, 0, 100, 100 + ASSIGNMENT_TICKET_S, 0, false},
		{ASSIGN_WAITING, 20, 15, 100, 101, 0, false},
		{ASSIGN_WAITING, 12, 15, 100, 101, 100, false},
		{ASSIGN_WAITING, 130, 0, 100, 131, 100, false},
		{ASSIGN_WAITING, 300, 0, 100, 301, 0, false},
		{ASSIGN_OFFERED, 5, 0, 100, 101, 100, false},
		{ASSIGN_OFFERED, 101, 0, 100, 102, 101, false},
		{ASSIGN_OFFERED, 48, 0, 49, 60, 48, false},
	};
	struct world w = make_world(state);
	struct fixture *f = w.f;
	enum assignment_cancel what = ASSIGNMENT_COMMITTED;
	int64_t until = 0;

	ok(f, assignment_start(f->db, NOW + 100, &f->e));
	say_running(f, w.device, 5, 7, CHECKIN_IDLE);
	ok(f, assignment_cancel(f->db, open_it(&w, w.r2, w.m2).id, NOW + 101, &what, &until, &f->e));
	assert_int_equal(what, ASSIGNMENT_WITHDRAWN);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct device_change hold = nothing;
		struct assignment_opened a;
		char name[16], uid = "0123456789cef"[i];

		(void)snprintf(name, sizeof name, "d%zu", i);
		w.device = make_device(f, name, w.board, uid);
		if (rows[i].is_newer)
			ok(f, assignment_start(f->db, NOW + rows[i].start, &f->e));
		a = open_it(&w, w.r2, w.m2);
		if (!rows[i].is_newer)
			ok(f, assignment_start(f->db, NOW + rows[i].start, &f->e));
		if (rows[i].seen)
			say_running(f, w.device, (uint64_t)rows[i].seen, 7, CHECKIN_IDLE);
		if (rows[i].in != ASSIGN_WAITING)
			advance(&w, a.id, rows[i].in);
		hold.hold = 1;
		if (rows[i].held)
			ok(f, device_update(f->db, w.device, 0, &hold, NOW + rows[i].held, NULL, &f->e));
		ok(f, assignment_cancel(f->db, a.id, NOW + rows[i].now, &what, &until, &f->e));
		if (what != (rows[i].until ? ASSIGNMENT_UNSURE : ASSIGNMENT_WITHDRAWN))
			fail_msg("row %zu: %d", i, what);
		if (rows[i].until && until != NOW + rows[i].until + ASSIGNMENT_TICKET_S)
			fail_msg("row %zu: until %d", i, (int)(until - NOW));
	}
}

/* What a newer push takes the place of may come first, and that is said. */
static void superseded_too_late_to_be_sure(void **state)
{
	struct world w = make_world(state);
	struct event_list list;
	struct assignment_opened a, b;

	w.device = make_device(w.f, "e", w.board, 'e');
	a = open_it(&w, w.r1, w.m1);
	assert_int_equal(a.until, 0);
	b = open_it(&w, w.r2, w.m2);
	assert_int_equal(b.superseded, a.id);
	assert_int_equal(b.until, 0); /* nobody was told */
	say_running(w.f, w.device, 5, 7, CHECKIN_IDLE);
	advance(&w, b.id, ASSIGN_OFFERED);
	a = open_it(&w, w.r3, w.m3);
	assert_int_equal(a.superseded, b.id);
	assert_int_equal(a.until, NOW + 5 + ASSIGNMENT_TICKET_S);
	ok(w.f, event_list(w.f->db, w.device, &(struct db_page){.limit = 10}, &w.f->mem, &list, &w.f->e));
	assert_string_equal(list.rows[0].text,
		"2.0: push r3 took its place, but its last ticket may still install it first");
	assert_string_equal(list.rows[1].text, "1.0: push r2 took its place");
}

static struct assignment_row latest(const struct world *w)
{
	struct assignment_row row;

	ok(w->f, assignment_load_latest(w->f->db, w->device, &w->f->mem, &row, &w->f->e));
	return row;
}

/* What was taken back before its turn came was never what the device had to do: the one before it is what
 * counts, also for what the device lost. */
static void never_its_turn(void **state)
{
	struct world w = make_world(state);
	struct assignment_opened a = open_it(&w, w.r2, w.m2), b = open_it(&w, w.r3, w.m3);
	struct rollout_counts counts;

	assert_true(row_of(&w, a.id).is_void); /* superseded by b */
	assert_false(row_of(&w, b.id).is_void);
	advance(&w, b.id, ASSIGN_CANCELLED);
	assert_true(row_of(&w, b.id).is_void);
	assert_int_equal(latest(&w).id, w.trial.id);
	advance(&w, w.trial.id, ASSIGN_RUNNING);
	assert_int_equal(latest(&w).id, w.trial.id);
	say_running(w.f, w.device, 1, 100, CHECKIN_IDLE);
	assert_false(latest(&w).is_drifted);
	say_running(w.f, w.device, 2, 7, CHECKIN_IDLE);
	assert_true(latest(&w).is_drifted);
	ok(w.f, rollout_count(w.f->db, w.r1, &counts, &w.f->e));
	assert_int_equal(counts.n_drifted, 1);
	/* One whose turn had come is the latest, cancelled too. */
	a = open_it(&w, w.r2, w.m2);
	ok(w.f, rollout_count(w.f->db, w.r1, &counts, &w.f->e));
	assert_int_equal(counts.n_drifted, 0);
	advance(&w, a.id, ASSIGN_CANCELLED);
	assert_false(row_of(&w, a.id).is_void);
	assert_int_equal(latest(&w).id, a.id);
	ok(w.f, rollout_count(w.f->db, w.r1, &counts, &w.f->e));
	assert_int_equal(counts.n_drifted, 0);
	/* What waited and had no attempt left, or no time, has ended in its own right. */
	w.trial = open_it(&w, w.r1, w.m1);
	advance(&w, w.trial.id, ASSIGN_TRIAL);
	a = open_it(&w, w.r3, w.m3);
	advance(&w, a.id, ASSIGN_TIMED_OUT);
	assert_false(row_of(&w, a.id).is_void);
}

static void log_says(const struct world *w, size_t at, const char *kind, const char *text)
{
	struct event_list list;

	ok(w->f,
		event_list(w->f->db, w->device, &(struct db_page){.limit = 10}, &w->f->mem, &list, &w->f->e));
	assert_true(at < list.n);
	assert_string_equal(list.rows[at].kind, kind);
	assert_string_equal(list.rows[at].text, text);
}

/* What a device had to do when it was revoked has its end in the log. */
static void revoked(void **state)
{
	const struct device_change revoke = {.state = DEVICE_REVOKED, .hold = -1};
	struct world w = make_world(state);
	struct fixture *f = w.f;
	struct assignment_opened a;

	(void)open_it(&w, w.r2, w.m2);
	ok(f, device_update(f->db, w.device, 0, &revoke, NOW + 60, NULL, &f->e));
	log_says(&w, 1, "cancelled", "2.0 is taken back: the device was revoked");
	log_says(&w, 0, "timed-out",
		"1.0 is on trial, and how that ends is not waited for: the device was revoked");
	w.device = make_device(f, "e", w.board, 'e');
	a = open_it(&w, w.r2, w.m2);
	say_running(f, w.device, 30, 7, CHECKIN_IDLE);
	advance(&w, a.id, ASSIGN_FETCHING);
	ok(f, device_update(f->db, w.device, 0, &revoke, NOW + 60, NULL, &f->e));
	log_says(&w, 0, "cancelled",
		"2.0 is taken back, but its last ticket may still install it: the device was revoked");
}

static struct rollout_row rollout_of(const struct world *w, int64_t id)
{
	struct rollout_row row;

	ok(w->f, rollout_load(w->f->db, id, &w->f->mem, &row, &w->f->e));
	return row;
}

/* What is done to all of a push is known until it is through. */
static void done_to_all(void **state)
{
	struct world w = make_world(state);
	struct fixture *f = w.f;
	struct rollout_cancelled done = {0};
	struct rollout_row row;
	int64_t cursor = 0;
	bool has = true;
	int64_t id;

	ok(f, rollout_has(f->db, w.r2, w.device, &has, &f->e));
	assert_false(has);
	ok(f, rollout_has(f->db, w.r1, w.device, &has, &f->e));
	assert_true(has);
	fails(f, OTA_NOT_FOUND, rollout_next_doing(f->db, 0, &id, &f->e));
	ok(f, rollout_retry(f->db, w.r1, 4, 9, "ann", &f->e));
	ok(f, rollout_next_doing(f->db, w.r1 - 1, &id, &f->e));
	assert_int_equal(id, w.r1);
	fails(f, OTA_NOT_FOUND, rollout_next_doing(f->db, w.r1, &id, &f->e));
	ok(f, rollout_load(f->db, id, &f->mem, &row, &f->e));
	assert_int_equal(row.doing, ROLLOUT_RETRYING);
	assert_int_equal(row.doing_cursor, 4);
	assert_int_equal(row.doing_last, 9);
	assert_string_equal(row.doing_by, "ann");
	/* not done before that is through; another's word about it changes nothing */
	advance(&w, w.trial.id, ASSIGN_RUNNING);
	ok(f, rollout_did(f->db, w.r1, ROLLOUT_RETRYING, 7, NOW, &f->e));
	ok(f, rollout_did(f->db, w.r1, ROLLOUT_CANCELLING, 0, NOW, &f->e));
	assert_int_equal(rollout_of(&w, w.r1).doing_cursor, 7);
	assert_int_equal(rollout_is(&w, w.r1), ROLLOUT_RUNNING);
	ok(f, rollout_did(f->db, w.r1, ROLLOUT_RETRYING, 0, NOW, &f->e));
	assert_int_equal(rollout_is(&w, w.r1), ROLLOUT_DONE);
	ok(f, rollout_did(f->db, w.r1, ROLLOUT_RETRYING, 0, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, rollout_next_doing(f->db, 0, &id, &f->e));
	/* a cancel ends the other */
	(void)open_it(&w, w.r2, w.m2);
	ok(f, rollout_retry(f->db, w.r2, 4, 9, "ann", &f->e));
	ok(f, rollout_end(f->db, w.r2, 0, ROLLOUT_CANCELLED, NOW, &f->e));
	assert_int_equal(rollout_of(&w, w.r2).doing, ROLLOUT_CANCELLING);
	assert_int_equal(rollout_of(&w, w.r2).doing_cursor, 0);
	ok(f, rollout_retry(f->db, w.r2, 4, 9, "ann", &f->e));
	assert_int_equal(rollout_of(&w, w.r2).doing, ROLLOUT_CANCELLING);
	ok(f, rollout_withdraw(f->db, w.r2, NOW, &cursor, &done, &f->e));
	assert_int_equal(done.n_withdrawn, 1);
	assert_int_equal(rollout_of(&w, w.r2).doing, ROLLOUT_NOTHING);
	assert_int_equal(rollout_is(&w, w.r2), ROLLOUT_CANCELLED);
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

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(taken_back_too_late_to_be_sure),
		test(taken_back_after_a_restart),
		test(superseded_too_late_to_be_sure),
		test(stopped_first),
		test(never_its_turn),
		test(revoked),
		test(done_to_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
