/* Trials without anything to go back to, and images that run though nobody sent them there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "tests/unit/agent/device.h"

static void rot(unsigned slot)
{
	k.flash.bytes[slot_region(0, slot)][100] ^= 1;
}

/* A device whose first release calls itself ill. */
static void ill_from_the_start(void)
{
	assert_true(kit_start(&k));
	k.health = OTA_HEALTH_ILL;
	kit_assign(&k, 1, 1);
	assert_true(kit_run(&k, 7200));
}

static void assert_stuck(int release, uint8_t attempt)
{
	assert_true(kit_runs(&k, release));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(k.agent.journal.s.result.attempt, 0); /* acknowledged */
	assert_true(k.agent.journal.s.floor < k.release[release].m.sequence);
	assert_int_equal(k.told.state, CHECKIN_IDLE);
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_HEALTH));
	assert_int_equal(k.told.result_attempt, attempt);
	assert_memory_equal(k.told.result_digest, k.release[release].digest, 32);
	assert_memory_equal(k.told.running_digest, k.release[release].digest, 32);
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
	assert_false(k.saw_confirmed);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_STAYED), OTA_HEALTH);
}

static void test_ill_without_another(void **state)
{
	(void)state;
	ill_from_the_start();
	assert_stuck(1, 1);
	/* It stays so over a start, until something else runs. */
	kit_forget(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
	assert_int_equal(k.n_results, 0);
	k.health = OTA_HEALTH_WELL;
	kit_assign(&k, 2, 1);
	poll_once();
	assert_true(kit_runs(&k, 2));
	assert_int_equal(k.agent.journal.s.floor, 3000);
	assert_false(k.last.flags & CHECKIN_FLAG_STUCK);
}

/* The next release is no better: back to what ran, which is as ill as before. */
static void test_ill_after_ill(void **state)
{
	(void)state;
	ill_from_the_start();
	kit_forget(&k);
	kit_assign(&k, 2, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(kit_count(&k, OTA_EVENT_STAYED), 0);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REVERTED), OTA_HEALTH);
	assert_memory_equal(k.told.result_digest, k.release[2].digest, 32);
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
	assert_false(k.saw_confirmed);
	/* Tried once more, it does not go over to the other one, which was never confirmed either. */
	kit_assign(&k, 1, 2);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.told.result_attempt, 2);
	assert_memory_equal(k.told.result_digest, k.release[1].digest, 32);
}

/* A slot's mark goes with its image: the third one goes back to the second, which ran before it. */
static void test_marked_slot_is_filled_anew(void **state)
{
	(void)state;
	ill_from_the_start();
	kit_make(&k, 3, 4000, 9000, 4);
	kit_assign(&k, 2, 1);
	for (unsigned i = 0; i < 5000 && k.agent.journal.s.phase != JOURNAL_TRIAL; i++)
		kit_step(&k);
	rot(0);
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 2));
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
	kit_assign(&k, 3, 1);
	poll_once();
	assert_memory_equal(k.told.result_digest, k.release[3].digest, 32);
	assert_true(kit_runs(&k, 2));
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
}

static void test_tried_again_in_place(void **state)
{
	(void)state;
	ill_from_the_start();
	kit_forget(&k);
	/* The same attempt is none. */
	kit_assign(&k, 1, 1);
	poll_once();
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REFUSED), OTA_ATTEMPT);
	assert_int_equal(k.n_starts, 0);
	/* Held: nothing happens. */
	k.flags = TICKET_FLAG_HOLD;
	kit_assign(&k, 1, 2);
	poll_once();
	assert_int_equal(k.n_starts, 0);
	k.flags = 0;
	kit_forget(&k);
	poll_once();
	assert_int_equal(k.n_starts, 1);
	assert_stuck(1, 2);
	kit_forget(&k);
	k.health = OTA_HEALTH_WELL;
	kit_assign(&k, 1, 3);
	poll_once();
	assert_int_equal(k.n_starts, 1);
	assert_int_equal(k.n_images, 0);
	assert_true(k.saw_confirmed);
	assert_int_equal(k.n_results, 0);
	assert_int_equal(k.agent.journal.s.floor, 2000);
	assert_false(k.last.flags & CHECKIN_FLAG_STUCK);
	/* Confirmed now: named again, it is only told that it runs. */
	kit_assign(&k, 1, 4);
	poll_once();
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REFUSED), OTA_ALREADY);
}

static void hour_passes(struct kit *it, char what, uint8_t *bytes, size_t *len)
{
	(void)bytes, (void)len;
	if (what == 't')
		it->now += 3600000;
}

/* An answer that was long on its way restarts nothing. */
static void test_tried_again_too_late(void **state)
{
	(void)state;
	ill_from_the_start();
	kit_forget(&k);
	k.spoil = hour_passes;
	kit_assign(&k, 1, 2);
	while (k.n_checkins < 3)
		kit_step(&k);
	assert_int_equal(k.n_starts, 0);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	k.spoil = NULL;
	poll_once();
	assert_int_equal(k.n_starts, 1);
	assert_stuck(1, 2);
}

/* It never comes to a verdict, as one that resets every 20 minutes: after its starts it is told as stuck, and
 * what is assigned instead is taken. */
static void cut_until_stuck(void)
{
	for (unsigned i = 0; i < OTA_BOOT_ATTEMPTS; i++) {
		assert_true(k.choice.is_trial);
		kit_live(&k, 1200);
		assert_true(kit_start(&k));
	}
	assert_false(k.choice.is_trial || k.choice.is_reverted);
	assert_int_equal(k.choice.why, OTA_BOOTS);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_STAYED), OTA_BOOTS);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	kit_live(&k, 60);
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_BOOTS));
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
	k.health = OTA_HEALTH_WELL;
	kit_assign(&k, 2, 1);
	poll_once();
	assert_true(kit_runs(&k, 2));
	assert_true(k.saw_confirmed);
	assert_false(k.last.flags & CHECKIN_FLAG_STUCK);
}

static void until_trial(void)
{
	for (unsigned i = 0; i < 5000 && k.agent.journal.s.phase != JOURNAL_TRIAL; i++)
		kit_step(&k);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	if (k.n_starts == 0)
		assert_true(kit_start(&k));
}

static void test_tried_again_and_cut(void **state)
{
	(void)state;
	ill_from_the_start();
	k.health = OTA_HEALTH_UNKNOWN;
	kit_assign(&k, 1, 2);
	kit_forget(&k);
	until_trial();
	cut_until_stuck();
}

/* The first release of all, and one beside which what ran has rotted. */
static void test_cut_with_nothing_to_go_back_to(void **state)
{
	assert_true(kit_start(&k));
	kit_forget(&k);
	k.health = OTA_HEALTH_UNKNOWN;
	kit_assign(&k, 1, 1);
	until_trial();
	cut_until_stuck();
	(void)tear_down(state);
	(void)set_up(state);
	on_trial();
	rot(0);
	k.health = OTA_HEALTH_UNKNOWN;
	cut_until_stuck();
}

/* What it would go back to has rotted: the bootloader sees it. */
static void test_ill_and_the_other_rots(void **state)
{
	(void)state;
	on_trial();
	rot(0);
	k.health = OTA_HEALTH_ILL;
	assert_true(kit_run(&k, 3600));
	assert_stuck(1, 1);
	assert_int_equal(k.n_starts, 2);
	assert_int_equal(kit_count(&k, OTA_EVENT_STAYED), 1);
	assert_int_equal(kit_count(&k, OTA_EVENT_REVERTED), 0);
}

static void test_ill_and_the_other_rots_late(void **state)
{
	(void)state;
	on_trial();
	k.health = OTA_HEALTH_ILL;
	for (unsigned i = 0; i < 5000 && k.agent.phase != PHASE_RESET; i++)
		kit_step(&k);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REVERTING), OTA_HEALTH);
	rot(0);
	kit_forget(&k);
	assert_true(kit_start(&k));
	assert_int_equal(kit_count(&k, OTA_EVENT_REVERTED), 0);
	assert_true(kit_run(&k, 3600));
	assert_stuck(1, 1);
}

/* Without contact it is given up where there was something to go back to, which turned out rotten: told when
 * there is contact, and tried again. */
static void test_no_contact_and_the_other_rots(void **state)
{
	(void)state;
	on_trial();
	rot(0);
	k.is_off_line = true;
	kit_live(&k, 3 * 3600);
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_STAYED), OTA_CONTACT);
	k.is_off_line = false;
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_CONTACT));
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
	assert_false(k.saw_confirmed);
	kit_assign(&k, 1, 2);
	poll_once();
	assert_true(k.saw_confirmed);
	assert_int_equal(k.agent.journal.s.floor, 2000);
}

/* Where nothing was ever there it is not given up: only contact can show that it is well. */
static void test_no_contact_and_no_other(void **state)
{
	(void)state;
	assert_true(kit_start(&k));
	kit_assign(&k, 1, 1);
	until_trial();
	k.is_off_line = true;
	kit_live(&k, 3 * 3600);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	k.is_off_line = false;
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.agent.journal.s.floor, 2000);
}

static uint64_t bytes_read;
static enum ota_err (*real_read)(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len);

static enum ota_err counted_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	bytes_read += len;
	return real_read(ctx, region, off, buf, len);
}

/* No step reads more than a watchdog is told to allow for, the one that gives up least of all. */
static void test_giving_up_is_one_step(void **state)
{
	(void)state;
	big_update(200000);
	kit_assign(&k, 1, 1);
	while (!kit_runs(&k, 1))
		kit_step(&k);
	k.health = OTA_HEALTH_WELL;
	assert_true(kit_run(&k, 3600));
	kit_assign(&k, 2, 1);
	k.health = OTA_HEALTH_UNKNOWN;
	while (!kit_runs(&k, 2))
		kit_step(&k);
	k.health = OTA_HEALTH_ILL;
	real_read = k.flash.flash.read;
	k.flash.flash.read = counted_read;
	kit_forget(&k);
	while (k.agent.phase != PHASE_RESET) {
		bytes_read = 0;
		kit_step(&k);
		assert_true(bytes_read <= AGENT_STEP_BYTES);
	}
	k.flash.flash.read = real_read;
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_REVERT);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REVERTING), OTA_HEALTH);
}

/* ---- the running image rots beside one that was never confirmed ---- */

enum before { HELD, WITHDRAWN, REVERTED };

static void made_never_confirmed(enum before before)
{
	if (before == REVERTED) {
		on_trial();
		k.attempt = 1;
		k.health = OTA_HEALTH_ILL;
		assert_true(kit_run(&k, 3600));
	} else {
		staged_on_hold();
		kit_assign(&k, 1, 3);
		poll_once();
		if (before == WITHDRAWN) {
			kit_assign(&k, -1, 1);
			poll_once();
			assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
		}
	}
	assert_true(kit_runs(&k, 0));
	rot(0);
	kit_forget(&k);
}

static void assert_trial_of_1(uint8_t attempt)
{
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	assert_int_equal(k.agent.journal.s.floor, 1000);
	assert_int_equal(k.agent.journal.s.target.attempt, attempt);
	assert_memory_equal(k.agent.journal.s.target.digest, k.release[1].digest, 32);
}

static void test_never_confirmed_is_on_trial(void **state)
{
	for (enum before before = HELD; before <= REVERTED; before++) {
		for (int is_well = 0; is_well < 2; is_well++) {
			(void)tear_down(state);
			(void)set_up(state);
			made_never_confirmed(before);
			k.health = OTA_HEALTH_UNKNOWN;
			assert_true(kit_start(&k));
			assert_true(k.choice.is_reverted && k.choice.is_trial);
			assert_trial_of_1(before == HELD ? 3 : 1);
			assert_int_equal(k.agent.journal.s.attempts_left, OTA_BOOT_ATTEMPTS - 1);
			kit_live(&k, 600);
			assert_int_equal(k.last.state, CHECKIN_TRIAL);
			k.health = is_well ? OTA_HEALTH_WELL : OTA_HEALTH_ILL;
			assert_true(kit_run(&k, 3600));
			if (is_well) {
				assert_true(k.saw_confirmed);
				assert_int_equal(k.agent.journal.s.floor, 2000);
				assert_int_equal(k.n_results, 0);
			} else {
				assert_stuck(1, before == HELD ? 3 : 1);
			}
		}
	}
}

/* It never comes to a verdict. */
static void test_never_confirmed_and_cut(void **state)
{
	for (enum before before = HELD; before <= REVERTED; before++) {
		(void)tear_down(state);
		(void)set_up(state);
		made_never_confirmed(before);
		k.flags = 0;
		k.health = OTA_HEALTH_UNKNOWN;
		assert_true(kit_start(&k));
		cut_until_stuck();
	}
}

/* A floor that a root sets above it makes nothing confirmed. */
static void test_never_confirmed_under_a_raised_floor(void **state)
{
	for (enum before before = HELD; before <= REVERTED; before++) {
		(void)tear_down(state);
		(void)set_up(state);
		made_never_confirmed(before);
		k.flash.bytes[slot_region(0, 0)][100] ^= 1;
		k.doc.n_floors = 1;
		memset(&k.doc.floor[0], 0, sizeof k.doc.floor[0]);
		k.doc.floor[0].any_class = true;
		k.doc.floor[0].sequence = 2000;
		kit_root_add(&k);
		k.health = OTA_HEALTH_WELL;
		poll_once();
		assert_int_equal(k.agent.journal.s.floor, 2000);
		rot(0);
		k.health = OTA_HEALTH_ILL;
		assert_true(kit_start(&k));
		assert_true(kit_runs(&k, 1));
		assert_true(k.choice.is_trial);
		assert_true(kit_run(&k, 3600));
		assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
		assert_false(k.saw_confirmed);
	}
}

/* The number under which it failed stays the number: nothing that failed is taken again. */
static void test_its_attempt_stays(void **state)
{
	(void)state;
	settled();
	kit_assign(&k, 1, 7);
	k.health = OTA_HEALTH_ILL;
	poll_once();
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.agent.journal.s.failed.attempt, 7);
	rot(0);
	assert_true(kit_start(&k));
	assert_trial_of_1(7);
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.agent.journal.s.failed.attempt, 7);
}

/* The same where the bootloader could not write down where it went. */
static void test_never_confirmed_and_nothing_written(void **state)
{
	for (enum before before = HELD; before <= REVERTED; before++) {
		struct ota_agent_config cfg;

		(void)tear_down(state);
		(void)set_up(state);
		made_never_confirmed(before);
		flash_sim_refuse(&k.flash, 0, UINT32_MAX, REFUSE_UNDONE);
		assert_false(kit_start(&k));
		assert_int_equal(k.boot_err, OTA_FLASH);
		assert_int_equal(k.choice.slot, 1);
		assert_true(k.choice.is_trial);
		flash_sim_mend(&k.flash);
		k.health = OTA_HEALTH_UNKNOWN;
		cfg = k.agent.cfg;
		cfg.running = 2;
		assert_int_equal(ota_agent_init(&k.agent, &cfg), OTA_OK);
		assert_trial_of_1(before == HELD ? 3 : 1);
	}
}

static void adopt(uint8_t running)
{
	struct ota_agent_config cfg = k.agent.cfg;

	cfg.running = running;
	assert_int_equal(ota_agent_init(&k.agent, &cfg), OTA_OK);
}

/* It is tried again, and the other one runs, which was never confirmed either. */
static void test_other_runs_while_tried_again(void **state)
{
	(void)state;
	ill_from_the_start();
	kit_assign(&k, 2, 5);
	poll_once();
	assert_true(kit_runs(&k, 1));
	kit_assign(&k, 1, 2);
	k.health = OTA_HEALTH_UNKNOWN;
	for (unsigned i = 0; i < 5000 && k.agent.journal.s.phase != JOURNAL_TRIAL; i++)
		kit_step(&k);
	adopt((uint8_t)(2 - k.agent.journal.s.active));
	assert_true(kit_runs(&k, 2));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	assert_memory_equal(k.agent.journal.s.target.digest, k.release[2].digest, 32);
	assert_int_equal(k.agent.journal.s.result.attempt, 2);
	assert_int_equal(k.agent.journal.s.result.detail, ota_err_detail(OTA_BOOTS));
	assert_memory_equal(k.agent.journal.s.result.digest, k.release[1].digest, 32);
}

/* Where the bootloader could not write down where it went, what runs has the starts of any trial. */
static void test_adopted_has_its_starts(void **state)
{
	(void)state;
	made_never_confirmed(REVERTED);
	adopt(2);
	k.flash.bytes[slot_region(0, 0)][100] ^= 1;
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	assert_int_equal(k.agent.journal.s.attempts_left, OTA_BOOT_ATTEMPTS - 1);
	(void)tear_down(state);
	(void)set_up(state);
	begin_update();
	while (k.agent.journal.s.phase != JOURNAL_ARMED)
		kit_step(&k);
	adopt(2);
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	assert_int_equal(k.agent.journal.s.attempts_left, OTA_BOOT_ATTEMPTS - 1);
}

/* It was to go back, and runs all the same. */
static void test_did_not_go_back(void **state)
{
	(void)state;
	on_trial();
	k.health = OTA_HEALTH_ILL;
	for (unsigned i = 0; i < 5000 && k.agent.phase != PHASE_RESET; i++)
		kit_step(&k);
	adopt(2);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_STAYED), OTA_HEALTH);
	assert_true(kit_run(&k, 3600));
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
}

/* What was confirmed once is what to fall back on, and on no trial. */
static void test_confirmed_is_not_on_trial(void **state)
{
	(void)state;
	begin_update();
	poll_once();
	assert_true(kit_runs(&k, 1));
	rot(1);
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 0));
	assert_false(k.choice.is_trial);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_true(kit_run(&k, 3600));
	assert_false(k.last.flags & CHECKIN_FLAG_STUCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_ill_without_another),
		T(test_ill_after_ill),
		T(test_marked_slot_is_filled_anew),
		T(test_tried_again_in_place),
		T(test_tried_again_too_late),
		T(test_tried_again_and_cut),
		T(test_cut_with_nothing_to_go_back_to),
		T(test_ill_and_the_other_rots),
		T(test_ill_and_the_other_rots_late),
		T(test_no_contact_and_the_other_rots),
		T(test_no_contact_and_no_other),
		T(test_giving_up_is_one_step),
		T(test_never_confirmed_is_on_trial),
		T(test_never_confirmed_and_cut),
		T(test_never_confirmed_under_a_raised_floor),
		T(test_its_attempt_stays),
		T(test_never_confirmed_and_nothing_written),
		T(test_other_runs_while_tried_again),
		T(test_adopted_has_its_starts),
		T(test_did_not_go_back),
		T(test_confirmed_is_not_on_trial),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
