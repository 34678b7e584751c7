/* Rollouts, assignments, and what they become when devices go. */
#include "tests/unit/db/fixture.h"

#include "proto/checkin.h"

#include <stdio.h>
#include <string.h>

#include "db/assignment.h"
#include "db/device.h"
#include "db/event.h"
#include "db/rollout.h"

static const struct db_page all = {0};
static const struct device_change nothing = {.state = -1, .hold = -1};

static void rollouts(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), v1 = make_release(f, board, "1.0", "one", 100), id = 0,
		again = 0;
	struct rollout_row row = {.uid = "push-1",
		.release = v1,
		.selector = "tag=a",
		.is_held = true,
		.created_by = "ann",
		.created_at = NOW};
	struct rollout_row got;
	struct rollout_list list;
	bool is_new = false;

	ok(f, rollout_insert(f->db, &row, &id, &is_new, &f->e));
	assert_true(is_new);
	ok(f, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	assert_false(is_new);
	assert_int_equal(again, id);
	/* releasing the hold does not make the repetition another push */
	ok(f, rollout_unhold(f->db, id, 1, &f->e));
	ok(f, rollout_unhold(f->db, id, 2, &f->e));
	ok(f, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	assert_false(is_new);
	row.selector = "tag=b";
	fails(f, OTA_CONFLICT, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	row.uid = "push 2";
	fails(f, OTA_INVALID, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	row.uid = "-2.";
	row.selector = "tug=b";
	fails(f, OTA_INVALID, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	row.selector = "all";
	row.release = 99;
	fails(f, OTA_NOT_FOUND, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	{
		struct release_row draft = {
			.board = board, .version = "2.0", .created_at = NOW, .created_by = "t", .n_items = 1};

		sha_of("one", draft.items[0].sha256);
		ok(f, release_insert(f->db, &draft, &row.release, NULL, &f->e));
		fails(f, OTA_STATE, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	}
	row.release = v1;
	ok(f, release_retire(f->db, v1, NOW, &f->e));
	fails(f, OTA_STATE, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	ok(f, release_retire(f->db, v1, 0, &f->e));
	ok(f, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	ok(f, rollout_list(f->db, -1, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.rows[0].id, again);
	fails(f, OTA_CONFLICT, rollout_end(f->db, id, 1, ROLLOUT_CANCELLED, NOW, &f->e));
	ok(f, rollout_end(f->db, id, 2, ROLLOUT_CANCELLED, NOW + 3, &f->e));
	ok(f, rollout_end(f->db, id, 0, ROLLOUT_CANCELLED, NOW + 4, &f->e));
	fails(f, OTA_STATE, rollout_end(f->db, id, 0, ROLLOUT_DONE, NOW, &f->e));
	fails(f, OTA_STATE, rollout_unhold(f->db, id, 0, &f->e));
	ok(f, rollout_load_uid(f->db, "push-1", &f->mem, &got, &f->e));
	assert_int_equal(got.state, ROLLOUT_CANCELLED);
	assert_int_equal(got.ended_at, NOW + 3);
	assert_int_equal(got.revision, 3);
	/* it is under way until what it had open was looked at */
	ok(f, rollout_list(f->db, ROLLOUT_RUNNING, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	(void)cancel_rollout(f, id, NOW + 4);
	ok(f, rollout_list(f->db, ROLLOUT_RUNNING, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
}

static void advance(struct fixture *f, int64_t id, enum assign_state to, enum ota_err want)
{
	const struct assignment_move move = {
		.to = to, .now = NOW + to, .reason = to == ASSIGN_FAILED ? 11 : 0};

	fails(f, want, assignment_advance(f->db, id, &move, NULL, &f->e));
}

static int64_t manifest_of(struct fixture *f, uint32_t sequence)
{
	struct manifest_row row;
	uint8_t digest[32];

	manifest_digest(sequence, digest);
	ok(f, manifest_load_digest(f->db, digest, &f->mem, &row, &f->e));
	return row.id;
}

static void assignments(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2);
	int64_t v1 = make_release(f, board, "1.0", "one", 100),
		v2 = make_release(f, board, "2.0", "two", 200);
	int64_t m1 = manifest_of(f, 100), m2 = manifest_of(f, 200);
	int64_t d = make_device(f, "d", board, 'd'), other = make_device(f, "o", fan, 'e');
	int64_t r1 = make_rollout(f, "r1", v1), r2 = make_rollout(f, "r2", v2), r3;
	struct assignment_opened a, b;
	struct assignment_row row;
	struct assignment_list list;
	struct rollout_row rollout;
	struct rollout_counts counts;
	bool moved = true;
	uint64_t n = 0;

	fails(f, OTA_CONFLICT, assignment_open(f->db, r1, other, m1, NOW, &a, &f->e));
	fails(f, OTA_NOT_FOUND, assignment_open(f->db, 99, d, m1, NOW, &a, &f->e));
	fails(f, OTA_NOT_FOUND, assignment_open(f->db, r1, d, 99, NOW, &a, &f->e));
	ok(f, assignment_open(f->db, r1, d, m1, NOW, &a, &f->e));
	assert_true(a.is_new);
	assert_int_equal(a.attempt, 1);
	ok(f, assignment_open(f->db, r1, d, m1, NOW, &b, &f->e));
	assert_false(b.is_new);
	assert_int_equal(b.id, a.id);
	/* a newer decision takes its place, and the older rollout is done */
	advance(f, a.id, ASSIGN_OFFERED, OTA_OK);
	ok(f, assignment_open(f->db, r2, d, m2, NOW + 1, &b, &f->e));
	assert_int_equal(b.superseded, a.id);
	ok(f, assignment_load(f->db, a.id, &f->mem, &row, &f->e));
	assert_int_equal(row.state, ASSIGN_SUPERSEDED);
	assert_int_equal(row.superseded_by, r2);
	assert_int_equal(row.offered_at, NOW + ASSIGN_OFFERED);
	assert_int_equal(row.ended_at, NOW + 1);
	ok(f, rollout_load(f->db, r1, &f->mem, &rollout, &f->e));
	assert_int_equal(rollout.state, ROLLOUT_DONE);
	/* moves */
	advance(f, b.id, ASSIGN_FETCHING, OTA_OK);
	advance(f, b.id, ASSIGN_OFFERED, OTA_STATE);
	advance(f, b.id, ASSIGN_STAGED, OTA_OK);
	ok(f, assignment_advance(f->db, b.id, &(struct assignment_move){.to = ASSIGN_STAGED, .now = NOW + 99},
		      &moved, &f->e));
	assert_false(moved);
	ok(f, assignment_load_open(f->db, d, &f->mem, &row, &f->e));
	assert_int_equal(row.state_at, NOW + ASSIGN_STAGED);
	assert_string_equal(row.version, "2.0");
	assert_string_equal(row.rollout_uid, "r2");
	assert_int_equal(row.sequence, 200);
	assert_int_equal(row.envelope_len, 8);
	assert_false(row.is_held);
	/* held it can be withdrawn */
	{
		struct device_change c = nothing;

		c.hold = 1;
		ok(f, device_update(f->db, d, 0, &c, NOW, NULL, &f->e));
		ok(f, assignment_load_open(f->db, d, &f->mem, &row, &f->e));
		assert_true(row.is_held);
		c.hold = 0;
		ok(f, device_update(f->db, d, 0, &c, NOW, NULL, &f->e));
	}
	advance(f, b.id, ASSIGN_TRIAL, OTA_OK);
	advance(f, b.id, ASSIGN_CANCELLED, OTA_STATE);
	advance(f, b.id, ASSIGN_FAILED, OTA_OK);
	advance(f, b.id, ASSIGN_RUNNING, OTA_STATE);
	ok(f, assignment_load(f->db, b.id, &f->mem, &row, &f->e));
	assert_int_equal(row.reason, 11);
	/* a retry is a new attempt and the rollout runs again */
	ok(f, assignment_open(f->db, r2, d, m2, NOW + 5, &b, &f->e));
	assert_int_equal(b.attempt, 2);
	ok(f, rollout_load(f->db, r2, &f->mem, &rollout, &f->e));
	assert_int_equal(rollout.state, ROLLOUT_RUNNING);
	assert_int_equal(rollout.ended_at, 0);
	ok(f, rollout_count(f->db, r2, &counts, &f->e));
	assert_int_equal(counts.total, 1);
	assert_int_equal(counts.by_state[ASSIGN_WAITING], 1);
	fails(f, OTA_STATE, release_retire(f->db, v2, NOW, &f->e));
	/* cancel counts what it took back */
	{
		struct rollout_cancelled done = cancel_rollout(f, r2, NOW + 6);

		assert_int_equal(done.n_withdrawn, 1);
		assert_int_equal(done.n_committed, 0);
		assert_int_equal(done.n_unsure, 0);
		assert_int_equal(done.until, 0);
	}
	fails(f, OTA_NOT_FOUND, assignment_load_open(f->db, d, &f->mem, &row, &f->e));
	fails(f, OTA_STATE, assignment_open(f->db, r2, d, m2, NOW, &a, &f->e));
	/* time runs out, a trial too */
	r3 = make_rollout(f, "r3", v2);
	ok(f, assignment_open(f->db, r3, d, m2, NOW, &a, &f->e));
	assert_int_equal(a.attempt, 2);
	advance(f, a.id, ASSIGN_TRIAL, OTA_OK);
	ok(f, assignment_expire(f->db, NOW + 99, 100, &n, NULL, &f->e));
	assert_int_equal(n, 0);
	ok(f, assignment_expire(f->db, NOW + 100, 0, &n, NULL, &f->e));
	assert_int_equal(n, 0);
	ok(f, assignment_expire(f->db, NOW + 100, 100, &n, NULL, &f->e));
	assert_int_equal(n, 1);
	ok(f, assignment_load(f->db, a.id, &f->mem, &row, &f->e));
	assert_int_equal(row.state, ASSIGN_TIMED_OUT);

	ok(f, assignment_list(f->db, NULL, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 4);
	ok(f, assignment_list(f->db, &(struct assignment_filter){.rollout = r2},
		      &(struct db_page){.limit = 1}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_not_equal(list.next, 0);
	ok(f, assignment_list(
		      f->db, &(struct assignment_filter){.release = v1}, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	ok(f, assignment_list(
		      f->db, &(struct assignment_filter){.only_open = true}, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 0);
	ok(f, assignment_list(f->db, &(struct assignment_filter){.device = d}, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.rows[list.n - 1].id, a.id);
	/* what the device made of those that it heard of is not known: it may refuse their numbers */
	{
		int64_t r4 = make_rollout(f, "r4", v2), r5 = make_rollout(f, "r5", v1);

		ok(f, assignment_open(f->db, r4, d, m2, NOW, &b, &f->e));
		assert_int_equal(b.attempt, 3);
		ok(f, assignment_open(f->db, r5, d, m1, NOW, &b, &f->e));
		assert_int_equal(b.attempt, 2);
		advance(f, b.id, ASSIGN_CANCELLED, OTA_OK);
		ok(f, assignment_open(f->db, r5, d, m1, NOW, &b, &f->e));
		assert_int_equal(b.attempt, 2);
		advance(f, b.id, ASSIGN_CANCELLED, OTA_OK);
	}
}

/* What was given up is not assigned again, and not given up while a push of it grows. */
static void retired(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), v1 = make_release(f, board, "1.0", "one", 100);
	int64_t d = make_device(f, "d", board, 'd'), m1 = manifest_of(f, 100), growing;
	int64_t r1 = make_rollout(f, "r1", v1);
	const struct rollout_row row = {.uid = "g",
		.release = v1,
		.selector = "all",
		.created_by = "test",
		.created_at = NOW,
		.is_growing = true};
	struct assignment_opened a;
	struct rollout_row got;

	ok(f, assignment_open(f->db, r1, d, m1, NOW, &a, &f->e));
	advance(f, a.id, ASSIGN_FAILED, OTA_OK);
	ok(f, rollout_insert(f->db, &row, &growing, NULL, &f->e));
	fails(f, OTA_STATE, release_retire(f->db, v1, NOW, &f->e));
	ok(f, rollout_grown(f->db, growing, 0, true, NOW, &f->e));
	ok(f, release_retire(f->db, v1, NOW, &f->e));
	fails(f, OTA_STATE, assignment_open(f->db, r1, d, m1, NOW, &a, &f->e));
	assert_string_equal(f->e.text, "release '1.0' is retired");
	ok(f, release_retire(f->db, v1, 0, &f->e));
	ok(f, assignment_open(f->db, r1, d, m1, NOW + 5, &a, &f->e));
	/* a device that goes ends what it had to do, then */
	ok(f, device_delete(f->db, d, 0, NOW + 9, &f->e));
	ok(f, rollout_load(f->db, r1, &f->mem, &got, &f->e));
	assert_int_equal(got.state, ROLLOUT_DONE);
	assert_int_equal(got.ended_at, NOW + 9);
}

/* It runs what was taken back, or what took too long. */
static void late(void **state)
{
	static const struct {
		enum assign_state first, then;
		bool is_late;
	} rows[] = {
		{ASSIGN_OFFERED, ASSIGN_CANCELLED, true},
		{ASSIGN_TRIAL, ASSIGN_TIMED_OUT, true},
		{ASSIGN_WAITING, ASSIGN_CANCELLED, false}, /* it was never told: that is how it came */
		{ASSIGN_OFFERED, ASSIGN_RUNNING, false},
		{ASSIGN_OFFERED, ASSIGN_FAILED, false},
	};
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), v1 = make_release(f, board, "1.0", "one", 100);
	int64_t v2 = make_release(f, board, "2.0", "two", 200), m1 = manifest_of(f, 100);
	int64_t r1 = make_rollout(f, "r1", v1), r2 = make_rollout(f, "r2", v2);
	struct assignment_row row;
	struct assignment_opened a;
	uint8_t digest[32];

	manifest_digest(100, digest);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char name[] = {'d', (char)('0' + i), '\0'};
		int64_t d = make_device(f, name, board, (char)('0' + i));

		ok(f, assignment_open(f->db, r1, d, m1, NOW, &a, &f->e));
		say_running(f, d, 1, 100, CHECKIN_TRIAL);
		if (rows[i].first != ASSIGN_WAITING)
			advance(f, a.id, rows[i].first, OTA_OK);
		fails(f, OTA_NOT_FOUND, assignment_load_late(f->db, d, digest, &f->mem, &row, &f->e));
		advance(f, a.id, rows[i].then, OTA_OK);
		ok(f, assignment_load(f->db, a.id, &f->mem, &row, &f->e));
		assert_int_equal(row.is_late, rows[i].is_late);
		assert_int_equal(assignment_load_late(f->db, d, digest, &f->mem, &row, &f->e),
			rows[i].is_late ? OTA_OK : OTA_NOT_FOUND);
		if (!rows[i].is_late)
			continue;
		assert_int_equal(row.id, a.id);
		/* something newer is to come: still told when it is seen, and no more what the device is */
		ok(f, assignment_open(f->db, r2, d, manifest_of(f, 200), NOW + 9, &a, &f->e));
		ok(f, assignment_load_late(f->db, d, digest, &f->mem, &row, &f->e));
		assert_false(row.is_late);
		advance(f, a.id, ASSIGN_CANCELLED, OTA_OK);
		/* offered again it is wanted */
		ok(f, assignment_open(f->db, r1, d, m1, NOW + 10, &a, &f->e));
		fails(f, OTA_NOT_FOUND, assignment_load_late(f->db, d, digest, &f->mem, &row, &f->e));
		advance(f, a.id, ASSIGN_RUNNING, OTA_OK);
		fails(f, OTA_NOT_FOUND, assignment_load_late(f->db, d, digest, &f->mem, &row, &f->e));
	}
}

/* However long ago it was. */
static void given(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1);
	int64_t v1 = make_release(f, board, "1.0", "one", 100),
		v2 = make_release(f, board, "2.0", "two", 200);
	int64_t d = make_device(f, "d", board, 'd'), other = make_device(f, "o", board, 'e');
	int64_t r1 = make_rollout(f, "r1", v1), r2 = make_rollout(f, "r2", v2);
	struct assignment_opened got;
	uint8_t digest[32];
	bool is_given;

	ok(f, assignment_open(f->db, r1, d, manifest_of(f, 100), NOW, &got, &f->e));
	advance(f, got.id, ASSIGN_CANCELLED, OTA_OK);
	for (unsigned i = 0; i < 101; i++) {
		ok(f, assignment_open(f->db, r2, d, manifest_of(f, 200), NOW, &got, &f->e));
		advance(f, got.id, ASSIGN_CANCELLED, OTA_OK);
	}
	manifest_digest(100, digest);
	ok(f, assignment_was_given(f->db, d, digest, &is_given, &f->e));
	assert_true(is_given);
	ok(f, assignment_was_given(f->db, other, digest, &is_given, &f->e));
	assert_false(is_given);
	digest[0] ^= 1;
	ok(f, assignment_was_given(f->db, d, digest, &is_given, &f->e));
	assert_false(is_given);
}

/* A rollout of more than a page of assignments is cancelled whole. */
static void large_cancel(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), v1 = make_release(f, board, "1.0", "one", 100);
	int64_t m1 = manifest_of(f, 100), r1 = make_rollout(f, "r1", v1);
	enum { N = 1500 };
	struct rollout_cancelled done;
	struct assignment_opened a;
	struct rollout_counts counts;

	{
		AUTO(tx) struct db_tx tx = {0};

		ok(f, db_begin(f->db, &tx, &f->e));
		for (int i = 0; i < N; i++) {
			struct device_row row = {
				.name = "", .board = board, .state = DEVICE_APPROVED, .created_at = NOW};
			int64_t id = 0;

			(void)snprintf(row.uid, sizeof row.uid, "%032x", (unsigned)i);
			ok(f, device_insert(f->db, &row, 0, &id, &f->e));
			ok(f, assignment_open(f->db, r1, id, m1, NOW, &a, &f->e));
			if (i % 100 == 0)
				advance(f, a.id, ASSIGN_STAGED, OTA_OK);
			arena_clear(&f->mem);
		}
		ok(f, db_commit(&tx, &f->e));
	}
	done = cancel_rollout(f, r1, NOW);
	assert_int_equal(done.n_withdrawn, N - N / 100);
	assert_int_equal(done.n_committed, N / 100);
	ok(f, rollout_count(f->db, r1, &counts, &f->e));
	assert_int_equal(counts.total, N);
	assert_int_equal(counts.by_state[ASSIGN_CANCELLED], N - N / 100);
}

static void replacement(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2);
	int64_t v1 = make_release(f, board, "1.0", "one", 100), m1 = manifest_of(f, 100);
	int64_t r1 = make_rollout(f, "r1", v1);
	int64_t old = make_device(f, "kitchen", board, 'a'), foreign = make_device(f, "f", fan, 'f'), new = 0;
	struct device_row row = {.name = "", .board = board, .created_at = NOW};
	struct device_row got;
	struct device_change c = nothing;
	struct assignment_opened a;
	struct assignment_list list;
	struct event_list events;

	memset(row.uid, 'b', 32);
	ok(f, device_insert(f->db, &row, 0, &new, &f->e));
	c.hold = 1;
	c.tags_add = (const char *const[]){"warm"};
	c.n_tags_add = 1;
	ok(f, device_update(f->db, old, 0, &c, NOW, NULL, &f->e));
	ok(f, event_add(f->db,
		      &(struct event_row){.device = old, .at = NOW, .kind = "running", .text = "1.0"},
		      &f->e));
	ok(f, assignment_open(f->db, r1, old, m1, NOW, &a, &f->e));
	fails(f, OTA_STATE, device_replace(f->db, old, old, NOW, &f->e));
	fails(f, OTA_CONFLICT, device_replace(f->db, old, foreign, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, device_replace(f->db, old, 99, NOW, &f->e));
	ok(f, device_replace(f->db, old, new, NOW + 1, &f->e));
	ok(f, device_load(f->db, new, &f->mem, &got, &f->e));
	assert_string_equal(got.name, "kitchen");
	assert_int_equal(got.state, DEVICE_APPROVED);
	assert_true(got.is_held);
	assert_int_equal(got.n_tags, 1);
	ok(f, event_list(f->db, new, &all, &f->mem, &events, &f->e));
	assert_int_equal(events.n, 2);
	assert_string_equal(events.rows[0].kind, "cancelled");
	assert_string_equal(events.rows[0].text, "1.0 is taken back: the device was replaced");
	assert_int_equal(events.rows[0].assignment, a.id);
	ok(f, assignment_list(
		      f->db, &(struct assignment_filter){.device = new}, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.rows[0].state, ASSIGN_CANCELLED);
	ok(f, device_load(f->db, old, &f->mem, &got, &f->e));
	assert_string_equal(got.name, got.uid);
	assert_int_equal(got.state, DEVICE_REVOKED);
	assert_int_equal(got.n_tags, 0);
	fails(f, OTA_STATE, device_replace(f->db, new, old, NOW, &f->e));
	/* revoking ends what is open */
	c = nothing;
	c.state = DEVICE_REVOKED;
	ok(f, assignment_open(f->db, r1, new, m1, NOW, &a, &f->e));
	fails(f, OTA_STATE,
		device_update(f->db, new, 0, &(struct device_change){.board = fan, .state = -1, .hold = -1},
			NOW, NULL, &f->e));
	ok(f, device_update(f->db, new, 0, &c, NOW, NULL, &f->e));
	fails(f, OTA_NOT_FOUND, assignment_load_open(f->db, new, &f->mem, &list.rows[0], &f->e));
	fails(f, OTA_CONFLICT, assignment_open(f->db, r1, new, m1, NOW, &a, &f->e));
	ok(f, device_delete(f->db, new, 0, NOW, &f->e));
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(rollouts),
		test(assignments),
		test(retired),
		test(late),
		test(given),
		test(large_cancel),
		test(replacement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
