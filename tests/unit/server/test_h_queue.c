/* What a device is told while a newer push waits for it, and after a cancel that may have come too late. */
#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "db/rollout.h"
#include "tests/unit/server/fleet.h"

static struct fleet fl;
static struct agent a;
static struct errmsg e;
static int64_t one, two;
static uint8_t old[32], new[32];

static int set_up(void **state)
{
	(void)state;
	fleet_init(&fl, true);
	agent_join(&fl, &a, "serial-a");
	one = fleet_release_of(&fl, "1.0", "one", old);
	fl.f.now += 100;
	two = fleet_release_of(&fl, "2.0", "two", new);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fleet_release(&fl);
	return 0;
}

static void told(const uint8_t *digest, bool holds)
{
	assert_int_equal(agent_checkin(&fl, &a), 200);
	if (a.ticket.has_assignment != (digest != NULL))
		fail_msg("%s in the ticket", digest ? "nothing" : "an assignment");
	if (!digest)
		return;
	assert_memory_equal(a.ticket.digest, digest, 32);
	assert_int_equal(a.ticket.flags & TICKET_FLAG_HOLD ? 1 : 0, holds);
}

static struct assignment_row task_of(int64_t id)
{
	struct assignment_row row;

	assert_int_equal(assignment_load(fl.db, id, &fl.mem, &row, &e), OTA_OK);
	return row;
}

static int64_t task_id(void)
{
	struct assignment_row row;
	struct device_row device;

	fleet_device(&fl, &a, &device);
	assert_int_equal(assignment_load_latest(fl.db, device.id, &fl.mem, &row, &e), OTA_OK);
	return row.id;
}

static int64_t staged(void)
{
	fleet_push(&fl, one, &a, false);
	told(old, false);
	agent_fetches(&a, CHECKIN_STAGED, 3);
	told(old, false);
	return task_id();
}

/* It asks once more before it arms: then the newest is what it is told. */
static void test_staged(void **state)
{
	int64_t first = staged();

	(void)state;
	fleet_push(&fl, two, &a, false);
	assert_int_equal(task_id(), first);
	fleet_restart(&fl);
	told(new, false);
	assert_int_equal(task_of(first).state, ASSIGN_SUPERSEDED);
	assert_int_not_equal(task_id(), first);
}

static void test_trial(void **state)
{
	int64_t first = staged();

	(void)state;
	agent_runs(&a, 1, old, CHECKIN_TRIAL);
	a.ci.has_target = false;
	told(NULL, false);
	fleet_push(&fl, two, &a, false);
	told(NULL, false);
	assert_int_equal(task_of(first).state, ASSIGN_TRIAL);
	/* In the answer to the check-in that confirms. */
	agent_runs(&a, 1, old, CHECKIN_CONFIRMED);
	told(new, false);
	assert_int_equal(task_of(first).state, ASSIGN_RUNNING);
	assert_int_equal(fleet_events(&fl, &a, "opened"), 1);
	assert_int_equal(fleet_events(&fl, &a, "claim"), 0);
	agent_fetches(&a, CHECKIN_FETCHING, 1);
	memcpy(a.ci.target_digest, new, 32);
	told(new, false);
	assert_int_equal(task_of(task_id()).state, ASSIGN_FETCHING);
}

static void test_back_without_a_word(void **state)
{
	uint8_t before[32] = {9};
	int64_t first = staged();

	(void)state;
	agent_runs(&a, 1, old, CHECKIN_TRIAL);
	told(NULL, false);
	agent_runs(&a, 1, before, CHECKIN_IDLE);
	a.ci.has_target = false;
	told(NULL, false);
	assert_int_equal(task_of(first).state, ASSIGN_TRIAL);
	fleet_push(&fl, two, &a, false);
	told(new, false);
	assert_int_equal(task_of(first).state, ASSIGN_REVERTED);
	assert_int_equal(fleet_events(&fl, &a, "reverted"), 1);
}

/* The very release that is on trial, once more: done when the trial is. */
static void test_the_same_again(void **state)
{
	int64_t first = staged();

	(void)state;
	agent_runs(&a, 1, old, CHECKIN_TRIAL);
	a.ci.has_target = false;
	told(NULL, false);
	fleet_push(&fl, one, &a, false);
	agent_runs(&a, 1, old, CHECKIN_CONFIRMED);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(task_of(first).state, ASSIGN_RUNNING);
	assert_int_not_equal(task_id(), first);
	assert_int_equal(task_of(task_id()).state, ASSIGN_RUNNING);
}

static void cancel(int64_t rollout, uint64_t unsure)
{
	struct rollout_cancelled done = fleet_cancel(&fl, rollout);

	assert_int_equal(done.n_unsure, unsure);
	assert_int_equal(done.n_withdrawn, 1 - unsure);
	if (unsure)
		assert_int_equal(done.until, fl.f.now + ASSIGNMENT_TICKET_S);
}

/* Fetching, and told to install a moment ago. */
static int64_t cancelled(void)
{
	int64_t rollout = fleet_push(&fl, one, &a, false);

	told(old, false);
	agent_fetches(&a, CHECKIN_FETCHING, 1);
	told(old, false);
	cancel(rollout, 1);
	assert_int_equal(task_of(task_id()).state, ASSIGN_FETCHING);
	return task_id();
}

static void test_cancelled_in_time(void **state)
{
	int64_t id = cancelled();

	(void)state;
	fleet_restart(&fl);
	told(NULL, false);
	assert_int_equal(task_of(id).state, ASSIGN_FETCHING);
	agent_runs(&a, 0, old, CHECKIN_IDLE);
	a.ci.has_running = a.ci.has_target = false;
	agent_failed(&a, 1, 10, 111, 0);
	memcpy(a.ci.result_digest, old, 32);
	told(NULL, false);
	assert_int_equal(task_of(id).state, ASSIGN_CANCELLED);
	assert_int_equal(fleet_events(&fl, &a, "cancelled"), 1);
}

static void test_cancelled_too_late(void **state)
{
	int64_t id = cancelled();
	struct rollout_row rollout;

	(void)state;
	agent_runs(&a, 1, old, CHECKIN_TRIAL);
	a.ci.has_target = false;
	told(NULL, false);
	assert_int_equal(task_of(id).state, ASSIGN_TRIAL);
	agent_runs(&a, 1, old, CHECKIN_CONFIRMED);
	told(NULL, false);
	assert_int_equal(task_of(id).state, ASSIGN_RUNNING);
	assert_int_equal(rollout_load(fl.db, task_of(id).rollout, &fl.mem, &rollout, &e), OTA_OK);
	assert_int_equal(rollout.state, ROLLOUT_CANCELLED);
}

/* What is pushed then does not begin beside it. */
static void test_cancelled_and_pushed(void **state)
{
	int64_t id = cancelled();

	(void)state;
	fleet_push(&fl, two, &a, false);
	assert_int_equal(task_id(), id);
	told(new, false);
	assert_int_equal(task_of(id).state, ASSIGN_CANCELLED);
}

/* From the moment on at which a cancel begins to ask who was told, nobody is told. */
static void test_cancelled_while_it_is_asked(void **state)
{
	int64_t rollout = fleet_push(&fl, one, &a, false);

	(void)state;
	assert_int_equal(rollout_end(fl.db, rollout, 0, ROLLOUT_CANCELLED, fl.f.now, &e), OTA_OK);
	fleet_follow(&fl);
	told(NULL, false);
	assert_int_equal(task_of(task_id()).state, ASSIGN_CANCELLED);
	/* What is past the point of no return stays what it is. */
	assert_int_equal(
		rollout_end(fl.db, task_of(staged()).rollout, 0, ROLLOUT_CANCELLED, fl.f.now, &e), OTA_OK);
	fleet_follow(&fl);
	told(old, false);
}

/* A minute later nothing is unsure. */
static void test_cancelled_for_certain(void **state)
{
	int64_t rollout = fleet_push(&fl, one, &a, false), id;

	(void)state;
	told(old, false);
	agent_fetches(&a, CHECKIN_FETCHING, 1);
	told(old, false);
	id = task_id();
	fl.f.now += ASSIGNMENT_TICKET_S;
	cancel(rollout, 0);
	assert_int_equal(task_of(id).state, ASSIGN_CANCELLED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_staged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_trial, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_back_without_a_word, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_the_same_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled_in_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled_too_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled_and_pushed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled_while_it_is_asked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled_for_certain, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
