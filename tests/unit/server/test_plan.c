#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "proto/crypto_openssl.h"
#include "proto/ticket.h"
#include "server/plan.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

enum { OLD = 1, NEW = 2, OTHER = 3 };

static const struct plan_policy policy = {.poll_s = 300, .poll_spread = 10, .root_version = 4};

static void digest_of(int which, uint8_t out[32])
{
	memset(out, which, 32);
}

/* An approved device that runs OLD, with an assignment of NEW, attempt 2, in `state`. */
static struct plan_device device(enum assign_state state)
{
	struct plan_device d = {
		.approved = true,
		.heard = true,
		.counter = 100,
		.root_version = 4,
		.has_running = true,
		.running_sequence = 10,
		.state = CHECKIN_IDLE,
		.task = {.exists = true, .state = state, .attempt = 2, .envelope_size = 370},
	};

	digest_of(OLD, d.running_digest);
	digest_of(NEW, d.task.digest);
	memset(d.mark, 7, sizeof(d.mark));
	return d;
}

static struct checkin checkin(enum checkin_state state, int running)
{
	struct checkin ci = {.counter = 101,
		.root_version = 4,
		.has_running = true,
		.running_sequence = 10,
		.state = state};

	digest_of(running, ci.running_digest);
	return ci;
}

static void test_counter(void **state)
{
	static const struct {
		bool heard;
		uint64_t counter;
		uint8_t mark;
		enum plan_counter want;
	} cases[] = {
		{true, 101, 7, PLAN_COUNTER_NEW},
		{true, UINT64_MAX, 7, PLAN_COUNTER_NEW},
		{true, 100, 7, PLAN_COUNTER_REPEAT},
		{true, 100, 8, PLAN_COUNTER_BACK},
		{true, 99, 7, PLAN_COUNTER_BACK},
		{true, 0, 7, PLAN_COUNTER_BACK},
		{false, 0, 7, PLAN_COUNTER_NEW},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct plan_device d = device(ASSIGN_WAITING);
		uint8_t mark[PLAN_MARK_LEN];

		d.heard = cases[i].heard;
		memset(mark, cases[i].mark, sizeof(mark));
		assert_int_equal(plan_counter(&d, cases[i].counter, mark), cases[i].want);
	}
}

/* Where a check-in puts an assignment. */
static const struct move_case {
	const char *name;
	enum assign_state from;
	enum checkin_state state;
	int running;
	int target; /* 0: none */
	uint8_t target_attempt;
	int result; /* 0: none */
	uint8_t result_attempt;
	uint8_t reason;
	uint16_t detail;
	bool moves;
	enum assign_state to;
} moves[] = {
	{"nothing to say", ASSIGN_OFFERED, CHECKIN_IDLE, OLD, 0, 0, 0, 0, 0, 0, false, 0},
	{"fetches", ASSIGN_OFFERED, CHECKIN_FETCHING, OLD, NEW, 2, 0, 0, 0, 0, true, ASSIGN_FETCHING},
	{"fetches, never offered here", ASSIGN_WAITING, CHECKIN_FETCHING, OLD, NEW, 2, 0, 0, 0, 0, true,
		ASSIGN_FETCHING},
	{"still fetches", ASSIGN_FETCHING, CHECKIN_FETCHING, OLD, NEW, 2, 0, 0, 0, 0, false, 0},
	{"fetches an older attempt", ASSIGN_OFFERED, CHECKIN_FETCHING, OLD, NEW, 1, 0, 0, 0, 0, false, 0},
	{"fetches something else", ASSIGN_OFFERED, CHECKIN_FETCHING, OLD, OTHER, 2, 0, 0, 0, 0, false, 0},
	{"staged", ASSIGN_FETCHING, CHECKIN_STAGED, OLD, NEW, 2, 0, 0, 0, 0, true, ASSIGN_STAGED},
	{"staged, then fetching again", ASSIGN_STAGED, CHECKIN_FETCHING, OLD, NEW, 2, 0, 0, 0, 0, false, 0},
	{"in trial", ASSIGN_STAGED, CHECKIN_TRIAL, NEW, 0, 0, 0, 0, 0, 0, true, ASSIGN_TRIAL},
	{"in trial of something else", ASSIGN_STAGED, CHECKIN_TRIAL, OTHER, 0, 0, 0, 0, 0, 0, false, 0},
	{"confirmed", ASSIGN_TRIAL, CHECKIN_CONFIRMED, NEW, 0, 0, NEW, 2, 0, 0, true, ASSIGN_RUNNING},
	{"confirmed, first word since the offer", ASSIGN_OFFERED, CHECKIN_CONFIRMED, NEW, 0, 0, 0, 0, 0, 0,
		true, ASSIGN_RUNNING},
	{"idle on it", ASSIGN_TRIAL, CHECKIN_IDLE, NEW, 0, 0, 0, 0, 0, 0, true, ASSIGN_RUNNING},
	{"confirmed on the old one", ASSIGN_OFFERED, CHECKIN_CONFIRMED, OLD, 0, 0, 0, 0, 0, 0, false, 0},
	{"says success, runs the old one", ASSIGN_TRIAL, CHECKIN_IDLE, OLD, 0, 0, NEW, 2, 0, 0, false, 0},
	{"bad signature", ASSIGN_OFFERED, CHECKIN_IDLE, OLD, 0, 0, NEW, 2, 4, 40, true, ASSIGN_FAILED},
	{"the failure of an older attempt", ASSIGN_OFFERED, CHECKIN_IDLE, OLD, 0, 0, NEW, 1, 4, 40, false, 0},
	{"the failure of something else", ASSIGN_OFFERED, CHECKIN_IDLE, OLD, 0, 0, OTHER, 2, 4, 40, false, 0},
	{"withdrawn is no failure", ASSIGN_FETCHING, CHECKIN_IDLE, OLD, 0, 0, NEW, 2, 10, 111, false, 0},
	{"failed in trial", ASSIGN_TRIAL, CHECKIN_IDLE, OLD, 0, 0, NEW, 2, 11, 120, true, ASSIGN_REVERTED},
	{"boots used up, trial never heard of", ASSIGN_STAGED, CHECKIN_IDLE, OLD, 0, 0, NEW, 2, 11, 127, true,
		ASSIGN_REVERTED},
	{"in trial, now back without a word", ASSIGN_TRIAL, CHECKIN_IDLE, OLD, 0, 0, 0, 0, 0, 0, false, 0},
	{"runs it beside an old failure of it", ASSIGN_FETCHING, CHECKIN_CONFIRMED, NEW, 0, 0, NEW, 2, 11,
		123, true, ASSIGN_RUNNING},
	{"failed after its end", ASSIGN_CANCELLED, CHECKIN_IDLE, OLD, 0, 0, NEW, 2, 4, 40, false, 0},
	{"confirmed after its end", ASSIGN_TIMED_OUT, CHECKIN_CONFIRMED, NEW, 0, 0, NEW, 2, 0, 0, false, 0},
};

static void test_moves(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(moves); i++) {
		const struct move_case *m = &moves[i];
		struct plan_device d = device(m->from);
		struct checkin ci = checkin(m->state, m->running);
		struct plan_step step;

		ci.has_target = m->target;
		digest_of(m->target, ci.target_digest);
		ci.target_attempt = m->target_attempt;
		ci.has_result = m->result;
		digest_of(m->result, ci.result_digest);
		ci.result_attempt = m->result_attempt;
		ci.result_reason = m->reason;
		ci.result_detail = m->detail;
		ci.result_offset = 5;
		plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
		if (step.has_move != m->moves || (m->moves && step.to != m->to))
			fail_msg("%s: moves %d to %s", m->name, step.has_move, assign_state_name(step.to));
		if (m->moves && (m->to == ASSIGN_FAILED || m->to == ASSIGN_REVERTED)) {
			assert_true(step.has_reason);
			assert_int_equal(step.reason, m->reason);
			assert_int_equal(step.detail, m->detail);
			assert_int_equal(step.offset, 5);
		}
		if (m->moves)
			assert_true(step.commit);
	}
}

/* A newer decision waits behind it, or it was withdrawn when it might still be installed. */
static void test_what_gives_way(void **state)
{
	static const struct {
		const char *name;
		bool next, withdrawn;
		enum assign_state from;
		enum checkin_state state;
		int running, target, result;
		uint16_t detail;
		bool moves;
		enum assign_state to;
	} cases[] = {
		{"is in trial", true, false, ASSIGN_STAGED, CHECKIN_TRIAL, NEW, 0, 0, 0, true, ASSIGN_TRIAL},
		{"is still in trial", true, false, ASSIGN_TRIAL, CHECKIN_TRIAL, NEW, 0, 0, 0, false, 0},
		{"tries something else", true, false, ASSIGN_STAGED, CHECKIN_TRIAL, OTHER, 0, 0, 0, false, 0},
		{"has confirmed", true, false, ASSIGN_TRIAL, CHECKIN_CONFIRMED, NEW, 0, 0, 0, true,
			ASSIGN_RUNNING},
		{"went back", true, false, ASSIGN_TRIAL, CHECKIN_IDLE, OLD, 0, NEW, 126, true,
			ASSIGN_REVERTED},
		{"is back without a word", true, false, ASSIGN_TRIAL, CHECKIN_IDLE, OLD, 0, 0, 0, true,
			ASSIGN_REVERTED},
		{"runs a third one", true, false, ASSIGN_TRIAL, CHECKIN_CONFIRMED, OTHER, 0, 0, 0, true,
			ASSIGN_REVERTED},
		{"has not armed yet", true, false, ASSIGN_STAGED, CHECKIN_STAGED, OLD, NEW, 0, 0, true,
			ASSIGN_SUPERSEDED},
		{"dropped it", true, false, ASSIGN_STAGED, CHECKIN_IDLE, OLD, 0, 0, 0, true,
			ASSIGN_SUPERSEDED},
		{"has to fetch again", true, false, ASSIGN_STAGED, CHECKIN_FETCHING, OLD, NEW, 0, 0, true,
			ASSIGN_SUPERSEDED},
		{"could not install it", true, false, ASSIGN_STAGED, CHECKIN_IDLE, OLD, 0, NEW, 121, true,
			ASSIGN_FAILED},
		{"withdrawn, still fetches", false, true, ASSIGN_FETCHING, CHECKIN_FETCHING, OLD, NEW, 0, 0,
			false, 0},
		{"withdrawn, fetches another", false, true, ASSIGN_FETCHING, CHECKIN_FETCHING, OLD, OTHER, 0,
			0, true, ASSIGN_CANCELLED},
		{"withdrawn, has not armed", false, true, ASSIGN_FETCHING, CHECKIN_STAGED, OLD, NEW, 0, 0,
			true, ASSIGN_CANCELLED},
		{"withdrawn in time", false, true, ASSIGN_FETCHING, CHECKIN_IDLE, OLD, 0, NEW, 111, true,
			ASSIGN_CANCELLED},
		{"withdrawn too late", false, true, ASSIGN_FETCHING, CHECKIN_TRIAL, NEW, 0, 0, 0, true,
			ASSIGN_TRIAL},
		{"withdrawn much too late", false, true, ASSIGN_OFFERED, CHECKIN_CONFIRMED, NEW, 0, 0, 0,
			true, ASSIGN_RUNNING},
		{"withdrawn, and a newer one waits", true, true, ASSIGN_FETCHING, CHECKIN_FETCHING, OLD, NEW,
			0, 0, true, ASSIGN_CANCELLED},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct plan_device d = device(cases[i].from);
		struct checkin ci = checkin(cases[i].state, cases[i].running);
		struct plan_ticket ticket;
		struct plan_step step;

		d.task.has_next = cases[i].next;
		d.task.withdrawn = cases[i].withdrawn;
		ci.has_target = cases[i].target;
		digest_of(cases[i].target, ci.target_digest);
		ci.target_attempt = 2;
		ci.has_result = cases[i].result;
		digest_of(cases[i].result, ci.result_digest);
		ci.result_attempt = 2;
		ci.result_reason = 11;
		ci.result_detail = cases[i].detail;
		plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
		if (step.has_move != cases[i].moves || (step.has_move && step.to != cases[i].to))
			fail_msg("%s: moves %d to %s", cases[i].name, step.has_move,
				assign_state_name(step.to));
		if (step.has_move) {
			assert_true(assign_move_is_legal(cases[i].from, step.to));
			assert_true(step.commit);
		}
		/* No ticket lets it begin. */
		plan_ticket(&d, &policy, false, 0, &ticket);
		assert_true(!ticket.has_assignment || (ticket.flags & TICKET_FLAG_HOLD));
		assert_false(ticket.has_assignment && cases[i].withdrawn);
	}
}

/* Every move that comes out is legal, from every state, for every kind of check-in. */
static void test_moves_are_legal(void **state)
{
	unsigned moved = 0;

	(void)state;
	for (int from = 0; from < ASSIGN_STATES; from++) {
		for (size_t i = 0; i < N(moves); i++) {
			const struct move_case *m = &moves[i];
			struct plan_device d = device((enum assign_state)from);
			struct checkin ci = checkin(m->state, m->running);
			struct plan_step step;

			ci.has_target = m->target;
			digest_of(m->target, ci.target_digest);
			ci.target_attempt = m->target_attempt;
			ci.has_result = m->result;
			digest_of(m->result, ci.result_digest);
			ci.result_attempt = m->result_attempt;
			ci.result_reason = m->reason;
			ci.result_detail = m->detail;
			plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
			if (!step.has_move)
				continue;
			moved++;
			assert_true(assign_state_is_open((enum assign_state)from));
			assert_true(assign_move_is_legal((enum assign_state)from, step.to));
			assert_int_not_equal(from, step.to);
		}
	}
	assert_true(moved > 30);
}

static void change_nothing(struct checkin *ci)
{
	ci->uptime_s = 77;
}

static void change_root(struct checkin *ci)
{
	ci->root_version = 5;
}

static void change_running(struct checkin *ci)
{
	digest_of(OTHER, ci->running_digest);
}

static void change_sequence(struct checkin *ci)
{
	ci->running_sequence = 11;
}

static void lose_running(struct checkin *ci)
{
	ci->has_running = false;
}

static void change_state(struct checkin *ci)
{
	ci->state = CHECKIN_FETCHING;
}

static void progress(struct checkin *ci)
{
	ci->has_target = true;
	digest_of(OTHER, ci->target_digest);
	ci->target_attempt = 1;
	ci->target_bytes = 4096;
}

static void add_result(struct checkin *ci)
{
	ci->has_result = true;
	digest_of(OTHER, ci->result_digest);
	ci->result_attempt = 1;
	ci->result_reason = 11;
}

static void test_what_is_committed(void **state)
{
	static const struct {
		void (*change)(struct checkin *ci);
		bool commit;
	} cases[] = {
		{change_nothing, false},
		{change_root, true},
		{change_running, true},
		{change_sequence, true},
		{lose_running, true},
		{change_state, true},
		{progress, false},
		{add_result, true},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct plan_device d = device(ASSIGN_WAITING);
		struct checkin ci = checkin(CHECKIN_IDLE, OLD);
		struct plan_step step;
		uint8_t mark[PLAN_MARK_LEN] = {1};

		cases[i].change(&ci);
		plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
		assert_int_equal(step.commit, cases[i].commit);
		/* Told once more, it is no news. */
		plan_take(&d, crypto_openssl(), &ci, mark);
		ci.counter++;
		plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
		assert_false(step.commit);
		assert_int_equal(d.counter, 101);
		assert_memory_equal(d.mark, mark, sizeof(mark));
	}
}

static void test_first_word_is_committed(void **state)
{
	struct plan_device d = {.approved = true};
	struct checkin ci = {.root_version = 1};
	struct plan_step step;

	(void)state;
	plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
	assert_true(step.commit);
}

static void test_result_acknowledged(void **state)
{
	struct plan_device d = device(ASSIGN_FAILED);
	struct checkin ci = checkin(CHECKIN_IDLE, OLD);
	struct plan_step step;
	uint8_t mark[PLAN_MARK_LEN] = {1};

	(void)state;
	add_result(&ci);
	plan_take(&d, crypto_openssl(), &ci, mark);
	ci.has_result = false;
	plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
	assert_false(step.commit);
	/* Another result is news, whatever field of it differs. */
	for (int i = 0; i < 5; i++) {
		ci = checkin(CHECKIN_IDLE, OLD);
		add_result(&ci);
		ci.result_digest[31] ^= (uint8_t)(i == 0);
		ci.result_attempt = (uint8_t)(ci.result_attempt + (i == 1));
		ci.result_reason = (uint8_t)(ci.result_reason + (i == 2));
		ci.result_detail = (uint16_t)(ci.result_detail + 256 * (i == 3));
		ci.result_offset = ci.result_offset + 65536 * (uint32_t)(i == 4);
		plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
		assert_true(step.result_is_new);
		assert_true(step.commit);
	}
}

static void test_claims(void **state)
{
	static const struct {
		enum checkin_state state;
		int running;
		bool is_claim;
	} cases[] = {
		{CHECKIN_CONFIRMED, NEW, false},
		{CHECKIN_CONFIRMED, OTHER, true},
		{CHECKIN_CONFIRMED, OLD, true},
		{CHECKIN_IDLE, OTHER, false},
		{CHECKIN_TRIAL, OTHER, false},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct plan_device d = device(ASSIGN_OFFERED);
		struct checkin ci = checkin(cases[i].state, cases[i].running);
		struct plan_step step;

		plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
		assert_int_equal(step.is_claim, cases[i].is_claim);
	}
}

static void test_root_missing(void **state)
{
	struct plan_device d = device(ASSIGN_OFFERED);
	struct checkin ci = checkin(CHECKIN_IDLE, OLD);
	struct plan_step step;

	(void)state;
	for (uint32_t v = 3; v <= 5; v++) {
		ci.root_version = v;
		plan_checkin(&d, &policy, crypto_openssl(), &ci, &step);
		assert_int_equal(step.root_missing, v == 5);
	}
}

static void test_ticket_by_state(void **state)
{
	(void)state;
	for (int s = 0; s < ASSIGN_STATES; s++) {
		struct plan_device d = device((enum assign_state)s);
		struct plan_ticket t;
		bool named = s < ASSIGN_TRIAL;

		plan_ticket(&d, &policy, false, 0, &t);
		assert_int_equal(t.has_assignment, named);
		assert_int_equal(t.must_sign, named);
		assert_int_equal(t.offers, s == ASSIGN_WAITING);
		assert_int_equal(t.flags, 0);
		plan_ticket(&d, &policy, true, 0, &t);
		assert_true(t.must_sign);
		assert_int_equal(t.has_assignment, named);
	}
}

static void test_ticket_conditions(void **state)
{
	struct plan_device d = device(ASSIGN_STAGED);
	struct plan_ticket t;

	(void)state;
	d.hold = true;
	plan_ticket(&d, &policy, false, 0, &t);
	assert_int_equal(t.flags, TICKET_FLAG_HOLD);
	assert_true(t.has_assignment);
	d.hold = false;
	d.task.hold = true;
	plan_ticket(&d, &policy, false, 0, &t);
	assert_int_equal(t.flags, TICKET_FLAG_HOLD);
	/* A device that waits for approval is told nothing, whatever it asks for. */
	d.approved = false;
	plan_ticket(&d, &policy, true, 0, &t);
	assert_false(t.has_assignment);
	assert_false(t.must_sign);
	/* A draft is named nowhere. */
	d = device(ASSIGN_WAITING);
	d.task.envelope_size = 0;
	plan_ticket(&d, &policy, false, 0, &t);
	assert_false(t.has_assignment);
	assert_false(t.offers);
	/* A device in trial first has to decide. */
	d = device(ASSIGN_WAITING);
	d.state = CHECKIN_TRIAL;
	plan_ticket(&d, &policy, false, 0, &t);
	assert_false(t.has_assignment);
	/* Nothing was ever assigned. */
	d.task.exists = false;
	d.state = CHECKIN_IDLE;
	plan_ticket(&d, &policy, false, 0, &t);
	assert_false(t.must_sign);
}

/* What happens while a ticket is being signed. */
static void test_ticket_still_true(void **state)
{
	static const struct {
		const char *what;
		enum assign_state now;
		int digest, attempt;
		bool hold, is_revoked, still;
	} rows[] = {
		{"nothing", ASSIGN_WAITING, NEW, 2, false, false, true},
		{"offered", ASSIGN_OFFERED, NEW, 2, false, false, true},
		{"cancelled", ASSIGN_CANCELLED, NEW, 2, false, false, false},
		{"superseded", ASSIGN_WAITING, OTHER, 2, false, false, false},
		{"cancelled and tried again", ASSIGN_WAITING, NEW, 3, false, false, false},
		{"held", ASSIGN_WAITING, NEW, 2, true, false, false},
		{"no longer approved", ASSIGN_WAITING, NEW, 2, false, true, false},
	};
	struct ticket t = {.has_assignment = true, .attempt = 2};
	struct plan_device d;

	(void)state;
	digest_of(NEW, t.digest);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		d = device(rows[i].now);
		digest_of(rows[i].digest, d.task.digest);
		d.task.attempt = (uint8_t)rows[i].attempt;
		d.hold = rows[i].hold;
		d.approved = !rows[i].is_revoked;
		if (plan_still_says(&d, &t) != rows[i].still)
			fail_msg("%s", rows[i].what);
	}
	/* A signed "nothing to do", and something came. */
	t.has_assignment = false;
	d = device(ASSIGN_WAITING);
	assert_false(plan_still_says(&d, &t));
	d = device(ASSIGN_RUNNING);
	assert_true(plan_still_says(&d, &t));
}

static void test_already_running_and_drift(void **state)
{
	struct plan_device d = device(ASSIGN_WAITING);

	(void)state;
	assert_false(plan_is_already_running(&d));
	digest_of(NEW, d.running_digest);
	assert_true(plan_is_already_running(&d));
	d.state = CHECKIN_TRIAL;
	assert_false(plan_is_already_running(&d));
	d.state = CHECKIN_IDLE;
	d.heard = false;
	assert_false(plan_is_already_running(&d));

	d = device(ASSIGN_RUNNING);
	assert_true(plan_is_drifted(&d));
	digest_of(NEW, d.running_digest);
	assert_false(plan_is_drifted(&d));
	d = device(ASSIGN_FAILED);
	assert_false(plan_is_drifted(&d));
	d = device(ASSIGN_WAITING);
	assert_false(plan_is_drifted(&d));
}

static void test_polls(void **state)
{
	static const struct {
		uint32_t poll_s, spread, min, max;
	} cases[] = {
		{300, 10, 270, 330},
		{300, 0, 300, 300},
		{1, 50, 10, 10},
		{7 * 86400, 10, 7 * 86400 * 9 / 10, 7 * 86400},
		{100, 100, 10, 200},
		{100, 1000, 10, 200},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct plan_policy p = {.poll_s = cases[i].poll_s, .poll_spread = cases[i].spread};
		uint32_t lowest = UINT32_MAX, highest = 0, random = 1;

		for (int k = 0; k < 20000; k++) {
			uint32_t s;

			random = random * 1664525 + 1013904223;
			s = plan_poll_s(&p, random >> 3);
			lowest = s < lowest ? s : lowest;
			highest = s > highest ? s : highest;
		}
		assert_in_range(lowest, cases[i].min, cases[i].min + cases[i].poll_s / 50);
		assert_in_range(highest, cases[i].max - cases[i].poll_s / 50, cases[i].max);
	}
	assert_int_equal(plan_next_poll_by(&policy, 1000), 1000 + 330 + PLAN_POLL_GRACE_S);
	assert_in_range(
		plan_retry_after_s(UINT32_MAX), PLAN_RETRY_MIN_S, PLAN_RETRY_MIN_S + PLAN_RETRY_SPREAD_S);
	assert_false(plan_is_herd(PLAN_JOBS_MAX - 1));
	assert_true(plan_is_herd(PLAN_JOBS_MAX));
}

static void test_wake(void **state)
{
	static const struct {
		size_t targets, devices;
		bool board, hints;
		uint32_t board_spread, hint_spread;
	} cases[] = {
		{0, 50000, false, false, 0, 0},
		{1, 1, true, true, 0, 0},
		{20, 20, true, true, 0, 0},
		{1000, 1000, true, true, 20, 20},
		{1000, 50000, false, true, 60, 20},
		{1001, 50000, true, false, 60, 20},
		{50000, 50000, true, false, 60, 1000},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct plan_wake w;

		plan_wake(cases[i].targets, cases[i].devices, 60, &w);
		assert_int_equal(w.board, cases[i].board);
		assert_int_equal(w.hints, cases[i].hints);
		if (w.board)
			assert_int_equal(w.board_spread_s, cases[i].board_spread);
		if (w.hints)
			assert_int_equal(w.hint_spread_s, cases[i].hint_spread);
	}
}

static void test_revision(void **state)
{
	(void)state;
	assert_int_equal(plan_revision_next(0, 1700000000), 1700000000);
	assert_int_equal(plan_revision_next(1700000000, 1700000000), 1700000001);
	assert_int_equal(plan_revision_next(1700000009, 1700000000), 1700000010);
	assert_int_equal(plan_revision_next(5, -1), 6);
	assert_int_equal(plan_revision_next(UINT32_MAX, 1), UINT32_MAX);
	assert_int_equal(plan_revision_next(1, INT64_C(1) << 40), UINT32_MAX);
}

static void test_result_text(void **state)
{
	char text[PLAN_TEXT_MAX];

	(void)state;
	plan_result_text(4, 40, 0, text);
	assert_string_equal(text, "signature or MAC does not verify (reason 4, detail 40)");
	plan_result_text(11, 123, 65536, text);
	assert_string_equal(text, "download failed (reason 11, detail 123) at byte 65536");
	plan_result_text(12, 60000, 0, text);
	assert_string_equal(text, "unknown failure (reason 12, detail 60000)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counter),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_what_gives_way),
		cmocka_unit_test(test_moves_are_legal),
		cmocka_unit_test(test_what_is_committed),
		cmocka_unit_test(test_first_word_is_committed),
		cmocka_unit_test(test_result_acknowledged),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_root_missing),
		cmocka_unit_test(test_ticket_by_state),
		cmocka_unit_test(test_ticket_conditions),
		cmocka_unit_test(test_ticket_still_true),
		cmocka_unit_test(test_already_running_and_drift),
		cmocka_unit_test(test_polls),
		cmocka_unit_test(test_wake),
		cmocka_unit_test(test_revision),
		cmocka_unit_test(test_result_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
