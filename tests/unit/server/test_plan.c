/* The plan: what a check-in does to an assignment, and what of it is committed. */
#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "proto/crypto_openssl.h"
#include "proto/ticket.h"
#include "tests/unit/server/plan_case.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

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
		struct plan_device d = plan_case_device(ASSIGN_WAITING);
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
	{"ill, with nothing to go back to", ASSIGN_TRIAL, CHECKIN_IDLE, NEW, 0, 0, NEW, 2, 11, 126, true,
		ASSIGN_FAILED},
	{"ill, trial never heard of", ASSIGN_OFFERED, CHECKIN_IDLE, NEW, 0, 0, NEW, 2, 11, 126, true,
		ASSIGN_FAILED},
	{"runs it confirmed beside such a result", ASSIGN_TRIAL, CHECKIN_CONFIRMED, NEW, 0, 0, NEW, 2, 11,
		126, true, ASSIGN_RUNNING},
	{"on trial beside such a result", ASSIGN_STAGED, CHECKIN_TRIAL, NEW, 0, 0, NEW, 2, 11, 126, true,
		ASSIGN_TRIAL},
	{"idle on it beside one of an older attempt", ASSIGN_OFFERED, CHECKIN_IDLE, NEW, 0, 0, NEW, 1, 11,
		126, true, ASSIGN_RUNNING},
	{"failed after its end", ASSIGN_CANCELLED, CHECKIN_IDLE, OLD, 0, 0, NEW, 2, 4, 40, false, 0},
	{"confirmed after its end", ASSIGN_TIMED_OUT, CHECKIN_CONFIRMED, NEW, 0, 0, NEW, 2, 0, 0, false, 0},
};

static struct checkin said_in(const struct move_case *m)
{
	struct checkin ci = plan_case_said(m->state, m->running);

	ci.has_target = m->target;
	plan_case_digest(m->target, ci.target_digest);
	ci.target_attempt = m->target_attempt;
	ci.has_result = m->result;
	plan_case_digest(m->result, ci.result_digest);
	ci.result_attempt = m->result_attempt;
	ci.result_reason = m->reason;
	ci.result_detail = m->detail;
	ci.result_offset = 5;
	return ci;
}

static void test_moves(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(moves); i++) {
		const struct move_case *m = &moves[i];
		struct plan_device d = plan_case_device(m->from);
		struct checkin ci = said_in(m);
		struct plan_step step;

		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
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

/* It runs what failed its trial, for want of anything to go back to: nobody takes that for success, however
 * often it is said, until it is in trial again and confirmed. */
static void test_stuck(void **state)
{
	enum { PLAIN, NEXT, WITHDRAWN };
	static const struct {
		const char *name;
		enum assign_state from;
		int task;
		enum checkin_state state;
		int result;
		uint8_t attempt;
		uint16_t detail;
		bool moves;
		enum assign_state to;
		uint16_t told;
	} cases[] = {
		{"tried anew, not yet begun", ASSIGN_OFFERED, PLAIN, CHECKIN_IDLE, NEW, 1, 126, false, 0, 0},
		{"told before", ASSIGN_OFFERED, PLAIN, CHECKIN_IDLE, 0, 0, 0, false, 0, 0},
		{"fetches something else", ASSIGN_OFFERED, PLAIN, CHECKIN_FETCHING, 0, 0, 0, false, 0, 0},
		{"refuses the attempt", ASSIGN_OFFERED, PLAIN, CHECKIN_IDLE, NEW, 2, 109, false, 0, 0},
		{"tried anew", ASSIGN_OFFERED, PLAIN, CHECKIN_TRIAL, 0, 0, 0, true, ASSIGN_TRIAL, 0},
		{"ill again", ASSIGN_OFFERED, PLAIN, CHECKIN_IDLE, NEW, 2, 126, true, ASSIGN_FAILED, 126},
		{"withdrawn meanwhile", ASSIGN_OFFERED, WITHDRAWN, CHECKIN_IDLE, 0, 0, 0, true,
			ASSIGN_CANCELLED, 0},
		/* Its trial was seen: now it is over, whatever became of the result. */
		{"still in trial", ASSIGN_TRIAL, PLAIN, CHECKIN_TRIAL, 0, 0, 0, false, 0, 0},
		{"result lost", ASSIGN_TRIAL, PLAIN, CHECKIN_IDLE, 0, 0, 0, true, ASSIGN_FAILED, 126},
		{"result lost, one waits", ASSIGN_TRIAL, NEXT, CHECKIN_IDLE, 0, 0, 0, true, ASSIGN_FAILED,
			126},
		{"result lost, withdrawn", ASSIGN_TRIAL, WITHDRAWN, CHECKIN_IDLE, 0, 0, 0, true,
			ASSIGN_FAILED, 126},
		{"attempt lost", ASSIGN_TRIAL, PLAIN, CHECKIN_IDLE, NEW, 1, 127, true, ASSIGN_FAILED, 127},
		{"attempt lost, one waits", ASSIGN_TRIAL, NEXT, CHECKIN_IDLE, NEW, 1, 127, true,
			ASSIGN_FAILED, 127},
		{"attempt lost, withdrawn", ASSIGN_TRIAL, WITHDRAWN, CHECKIN_IDLE, NEW, 1, 127, true,
			ASSIGN_FAILED, 127},
		{"tells of another", ASSIGN_TRIAL, PLAIN, CHECKIN_IDLE, OTHER, 2, 127, true, ASSIGN_FAILED,
			126},
		{"tells of an older refusal", ASSIGN_TRIAL, PLAIN, CHECKIN_IDLE, NEW, 1, 109, true,
			ASSIGN_FAILED, 126},
		{"tells of a withdrawal", ASSIGN_TRIAL, WITHDRAWN, CHECKIN_IDLE, NEW, 2, 111, true,
			ASSIGN_FAILED, 126},
		{"its own failure", ASSIGN_TRIAL, NEXT, CHECKIN_IDLE, NEW, 2, 127, true, ASSIGN_FAILED, 127},
		{"fetches another", ASSIGN_TRIAL, PLAIN, CHECKIN_FETCHING, 0, 0, 0, true, ASSIGN_FAILED, 126},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct plan_device d = plan_case_device(cases[i].from);
		struct checkin ci = plan_case_said(cases[i].state, NEW);
		uint8_t mark[PLAN_MARK_LEN] = {0};
		struct plan_step step;

		d.task.has_next = cases[i].task == NEXT;
		d.task.withdrawn = cases[i].task == WITHDRAWN;
		ci.flags |= CHECKIN_FLAG_STUCK;
		ci.has_result = cases[i].result;
		plan_case_digest(cases[i].result, ci.result_digest);
		ci.result_attempt = cases[i].attempt;
		ci.result_reason = 11;
		ci.result_detail = cases[i].detail;
		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
		if (step.has_move != cases[i].moves || (cases[i].moves && step.to != cases[i].to))
			fail_msg("%s: moves %d to %s", cases[i].name, step.has_move,
				assign_state_name(step.to));
		if (cases[i].told) {
			assert_true(step.has_reason);
			assert_int_equal(step.reason, 11);
			assert_int_equal(step.detail, cases[i].told);
		}
		plan_take(&d, crypto_openssl(), &ci, mark);
		assert_false(plan_is_confirmed(&d));
		assert_false(plan_is_already_running(&d));
	}
}

/* It failed under that number when nobody here counted it. */
static void test_counts_up(void **state)
{
	static const struct {
		const char *name;
		enum assign_state from;
		uint8_t attempt; /* the task's */
		bool next, withdrawn;
		int running, result;
		uint8_t result_attempt;
		uint16_t detail;
		bool counts, moves;
		enum assign_state to;
	} cases[] = {
		{"refuses the number", ASSIGN_OFFERED, 2, false, false, OLD, NEW, 2, 109, true, false, 0},
		{"never offered here", ASSIGN_WAITING, 1, false, false, OLD, NEW, 1, 109, true, false, 0},
		{"begun here", ASSIGN_FETCHING, 2, false, false, OLD, NEW, 2, 109, true, false, 0},
		{"the last but one", ASSIGN_OFFERED, 254, false, false, OLD, NEW, 254, 109, true, false, 0},
		{"the last", ASSIGN_OFFERED, 255, false, false, OLD, NEW, 255, 109, false, true,
			ASSIGN_FAILED},
		{"refused the number before", ASSIGN_OFFERED, 2, false, false, OLD, NEW, 1, 109, false, false,
			0},
		{"refuses another", ASSIGN_OFFERED, 2, false, false, OLD, OTHER, 2, 109, false, false, 0},
		{"refuses it for another cause", ASSIGN_OFFERED, 2, false, false, OLD, NEW, 2, 108, false,
			true, ASSIGN_FAILED},
		{"a newer one waits", ASSIGN_OFFERED, 2, true, false, OLD, NEW, 2, 109, false, true,
			ASSIGN_FAILED},
		{"withdrawn", ASSIGN_OFFERED, 2, false, true, OLD, NEW, 2, 109, false, true, ASSIGN_FAILED},
		{"was on trial", ASSIGN_TRIAL, 2, false, false, OLD, NEW, 2, 109, false, true,
			ASSIGN_REVERTED},
		{"runs it", ASSIGN_OFFERED, 2, false, false, NEW, NEW, 2, 109, false, true, ASSIGN_RUNNING},
		{"is over", ASSIGN_CANCELLED, 2, false, false, OLD, NEW, 2, 109, false, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < N(cases); i++) {
		struct plan_device d = plan_case_device(cases[i].from);
		struct checkin ci = plan_case_said(CHECKIN_IDLE, cases[i].running);
		struct plan_step step;

		d.task.attempt = cases[i].attempt;
		d.task.has_next = cases[i].next;
		d.task.withdrawn = cases[i].withdrawn;
		ci.has_result = true;
		plan_case_digest(cases[i].result, ci.result_digest);
		ci.result_attempt = cases[i].result_attempt;
		ci.result_reason = 10;
		ci.result_detail = cases[i].detail;
		/* Heard before: what counts up is stored all the same. */
		plan_result_mark(crypto_openssl(), &ci, d.result_mark);
		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
		if (step.counts_up != cases[i].counts || step.has_move != cases[i].moves ||
			(step.has_move && step.to != cases[i].to))
			fail_msg("%s: counts up %d, moves %d to %s", cases[i].name, step.counts_up,
				step.has_move, assign_state_name(step.to));
		assert_true(step.commit || !step.counts_up);
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
		struct plan_device d = plan_case_device(cases[i].from);
		struct checkin ci = plan_case_said(cases[i].state, cases[i].running);
		struct plan_ticket ticket;
		struct plan_step step;

		d.task.has_next = cases[i].next;
		d.task.withdrawn = cases[i].withdrawn;
		ci.has_target = cases[i].target;
		plan_case_digest(cases[i].target, ci.target_digest);
		ci.target_attempt = 2;
		ci.has_result = cases[i].result;
		plan_case_digest(cases[i].result, ci.result_digest);
		ci.result_attempt = 2;
		ci.result_reason = 11;
		ci.result_detail = cases[i].detail;
		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
		if (step.has_move != cases[i].moves || (step.has_move && step.to != cases[i].to))
			fail_msg("%s: moves %d to %s", cases[i].name, step.has_move,
				assign_state_name(step.to));
		if (step.has_move) {
			assert_true(assign_move_is_legal(cases[i].from, step.to));
			assert_true(step.commit);
		}
		/* No ticket lets it begin. */
		plan_ticket(&d, &plan_case_policy, false, 0, &ticket);
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
			struct plan_device d = plan_case_device((enum assign_state)from);
			struct checkin ci = said_in(m);
			struct plan_step step;

			plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
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
	plan_case_digest(OTHER, ci->running_digest);
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
	plan_case_digest(OTHER, ci->target_digest);
	ci->target_attempt = 1;
	ci->target_bytes = 4096;
}

static void add_result(struct checkin *ci)
{
	ci->has_result = true;
	plan_case_digest(OTHER, ci->result_digest);
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
		struct plan_device d = plan_case_device(ASSIGN_WAITING);
		struct checkin ci = plan_case_said(CHECKIN_IDLE, OLD);
		struct plan_step step;
		uint8_t mark[PLAN_MARK_LEN] = {1};

		cases[i].change(&ci);
		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
		assert_int_equal(step.commit, cases[i].commit);
		/* Told once more, it is no news. */
		plan_take(&d, crypto_openssl(), &ci, mark);
		ci.counter++;
		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
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
	plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
	assert_true(step.commit);
}

static void test_result_acknowledged(void **state)
{
	struct plan_device d = plan_case_device(ASSIGN_FAILED);
	struct checkin ci = plan_case_said(CHECKIN_IDLE, OLD);
	struct plan_step step;
	uint8_t mark[PLAN_MARK_LEN] = {1};

	(void)state;
	add_result(&ci);
	plan_take(&d, crypto_openssl(), &ci, mark);
	ci.has_result = false;
	plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
	assert_false(step.commit);
	/* Another result is news, whatever field of it differs. */
	for (int i = 0; i < 5; i++) {
		ci = plan_case_said(CHECKIN_IDLE, OLD);
		add_result(&ci);
		ci.result_digest[31] ^= (uint8_t)(i == 0);
		ci.result_attempt = (uint8_t)(ci.result_attempt + (i == 1));
		ci.result_reason = (uint8_t)(ci.result_reason + (i == 2));
		ci.result_detail = (uint16_t)(ci.result_detail + 256 * (i == 3));
		ci.result_offset = ci.result_offset + 65536 * (uint32_t)(i == 4);
		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
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
		struct plan_device d = plan_case_device(ASSIGN_OFFERED);
		struct checkin ci = plan_case_said(cases[i].state, cases[i].running);
		struct plan_step step;

		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
		assert_int_equal(step.is_claim, cases[i].is_claim);
	}
}

static void test_root_missing(void **state)
{
	struct plan_device d = plan_case_device(ASSIGN_OFFERED);
	struct checkin ci = plan_case_said(CHECKIN_IDLE, OLD);
	struct plan_step step;

	(void)state;
	for (uint32_t v = 3; v <= 5; v++) {
		ci.root_version = v;
		plan_checkin(&d, &plan_case_policy, crypto_openssl(), &ci, &step);
		assert_int_equal(step.root_missing, v == 5);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counter),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_stuck),
		cmocka_unit_test(test_counts_up),
		cmocka_unit_test(test_what_gives_way),
		cmocka_unit_test(test_moves_are_legal),
		cmocka_unit_test(test_what_is_committed),
		cmocka_unit_test(test_first_word_is_committed),
		cmocka_unit_test(test_result_acknowledged),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_root_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
