/* The plan: what a device is told, when it is to come back, and who is woken. */
#include "tests/unit/server/cmocka_all.h"
#include <string.h>

#include "proto/ticket.h"
#include "tests/unit/server/plan_case.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static void test_ticket_by_state(void **state)
{
	(void)state;
	for (int s = 0; s < ASSIGN_STATES; s++) {
		struct plan_device d = plan_case_device((enum assign_state)s);
		struct plan_ticket t;
		bool named = s < ASSIGN_TRIAL;

		plan_ticket(&d, &plan_case_policy, false, 0, &t);
		assert_int_equal(t.has_assignment, named);
		assert_int_equal(t.must_sign, named);
		assert_int_equal(t.offers, s == ASSIGN_WAITING);
		assert_int_equal(t.flags, 0);
		plan_ticket(&d, &plan_case_policy, true, 0, &t);
		assert_true(t.must_sign);
		assert_int_equal(t.has_assignment, named);
	}
}

static void test_ticket_conditions(void **state)
{
	struct plan_device d = plan_case_device(ASSIGN_STAGED);
	struct plan_ticket t;

	(void)state;
	d.hold = true;
	plan_ticket(&d, &plan_case_policy, false, 0, &t);
	assert_int_equal(t.flags, TICKET_FLAG_HOLD);
	assert_true(t.has_assignment);
	d.hold = false;
	d.task.hold = true;
	plan_ticket(&d, &plan_case_policy, false, 0, &t);
	assert_int_equal(t.flags, TICKET_FLAG_HOLD);
	/* A device that waits for approval is told nothing, whatever it asks for. */
	d.approved = false;
	plan_ticket(&d, &plan_case_policy, true, 0, &t);
	assert_false(t.has_assignment);
	assert_false(t.must_sign);
	/* A draft is named nowhere. */
	d = plan_case_device(ASSIGN_WAITING);
	d.task.envelope_size = 0;
	plan_ticket(&d, &plan_case_policy, false, 0, &t);
	assert_false(t.has_assignment);
	assert_false(t.offers);
	/* A device in trial first has to decide. */
	d = plan_case_device(ASSIGN_WAITING);
	d.state = CHECKIN_TRIAL;
	plan_ticket(&d, &plan_case_policy, false, 0, &t);
	assert_false(t.has_assignment);
	/* Nothing was ever assigned. */
	d.task.exists = false;
	d.state = CHECKIN_IDLE;
	plan_ticket(&d, &plan_case_policy, false, 0, &t);
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
	plan_case_digest(NEW, t.digest);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		d = plan_case_device(rows[i].now);
		plan_case_digest(rows[i].digest, d.task.digest);
		d.task.attempt = (uint8_t)rows[i].attempt;
		d.hold = rows[i].hold;
		d.approved = !rows[i].is_revoked;
		if (plan_still_says(&d, &t) != rows[i].still)
			fail_msg("%s", rows[i].what);
	}
	/* A signed "nothing to do", and something came. */
	t.has_assignment = false;
	d = plan_case_device(ASSIGN_WAITING);
	assert_false(plan_still_says(&d, &t));
	d = plan_case_device(ASSIGN_RUNNING);
	assert_true(plan_still_says(&d, &t));
}

static void test_already_running(void **state)
{
	struct plan_device d = plan_case_device(ASSIGN_WAITING);

	(void)state;
	assert_false(plan_is_already_running(&d));
	plan_case_digest(NEW, d.running_digest);
	assert_true(plan_is_already_running(&d));
	d.state = CHECKIN_TRIAL;
	assert_false(plan_is_already_running(&d));
	d.state = CHECKIN_IDLE;
	d.heard = false;
	assert_false(plan_is_already_running(&d));
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
	assert_int_equal(plan_next_poll_by(&plan_case_policy, 1000), 1000 + 363 + PLAN_POLL_GRACE_S);
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
	plan_result_text(ASSIGN_FAILED, 4, 40, 0, text);
	assert_string_equal(text, "signature or MAC does not verify (reason 4, detail 40)");
	plan_result_text(ASSIGN_FAILED, 11, 123, 65536, text);
	assert_string_equal(text, "download failed (reason 11, detail 123) at byte 65536");
	plan_result_text(ASSIGN_FAILED, 12, 60000, 0, text);
	assert_string_equal(text, "unknown failure (reason 12, detail 60000)");
	plan_result_text(ASSIGN_REVERTED, 11, 126, 0, text);
	assert_string_equal(text, "new firmware was not well (reason 11, detail 126)");
	plan_result_text(ASSIGN_FAILED, 11, 126, 0, text);
	assert_string_equal(text, "new firmware was not well, still runs (reason 11, detail 126): "
				  "there is nothing to go back to");
	plan_result_text(ASSIGN_REVERTED, 11, 126, 21600, text);
	assert_string_equal(text,
		"new firmware was not well: did not say that it is within 21600 s (reason 11, "
		"detail 126)");
	/* The longest one has its place. */
	plan_result_text(ASSIGN_FAILED, 255, 126, UINT32_MAX, text);
	assert_non_null(strstr(text, "there is nothing to go back to"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ticket_by_state),
		cmocka_unit_test(test_ticket_conditions),
		cmocka_unit_test(test_ticket_still_true),
		cmocka_unit_test(test_already_running),
		cmocka_unit_test(test_polls),
		cmocka_unit_test(test_wake),
		cmocka_unit_test(test_revision),
		cmocka_unit_test(test_result_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
