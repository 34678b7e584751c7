/* A journal, or an envelope in flash, that does not hold: nothing is said that a reset undoes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "tests/unit/agent/device.h"

/* A staged release is judged once more from what is in flash. What rotted there is staged anew, without the
 * image; what rots again ends it. */
static void test_stored_envelope_spoilt(void **state)
{
	static const struct {
		uint32_t at; /* 0: all of it gone */
		unsigned times;
		enum ota_err want;
	} rows[] = {{0, 1, OTA_OK}, {40, 1, OTA_OK}, {0, 2, OTA_NOT_FOUND}, {40, 2, OTA_SIG}};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool is_ended = rows[i].want != OTA_OK;

		begin_update();
		for (unsigned n = 0; n < rows[i].times; n++) {
			uint8_t *envelope = k.flash.bytes[slot_region(0, 1)] + 16384 - 1024;

			while (k.agent.phase != PHASE_ARM)
				kit_step(&k);
			assert_int_equal(k.n_images, 1);
			if (rows[i].at == 0)
				memset(envelope, 0xFF, 1024);
			else
				envelope[rows[i].at] ^= 1;
			kit_step(&k);
			assert_int_not_equal(k.agent.phase, PHASE_RESET);
		}
		assert_true(kit_run(&k, 3600));
		assert_true(kit_runs(&k, is_ended ? 0 : 1));
		assert_int_equal(k.told.result_detail, ota_err_detail(rows[i].want));
		assert_int_equal(kit_count(&k, OTA_EVENT_ARMED), !is_ended);
		assert_int_equal(kit_count(&k, OTA_EVENT_STAGED), 2);
		assert_int_equal(k.n_images, 1);
		(void)tear_down(state);
		(void)set_up(state);
	}
}

/* The journal's record of the slot is another than the release: it is not handed over. */
static void test_record_is_not_the_release(void **state)
{
	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_ARM)
		kit_step(&k);
	k.agent.journal.s.slot[1].component[0].size--;
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_DIGEST));
	assert_int_equal(k.n_starts, 0);
}

static struct ota_flash real;

static bool is_journal_worn;

static enum ota_err worn_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	return is_journal_worn && region == OTA_REGION_JOURNAL ? OTA_FLASH
							       : real.prog(ctx, region, off, buf, len);
}

/* The journal does not take that a rotten envelope is to be fetched again: the release is staged as before,
 * and it is tried later. */
static void test_stage_again_not_written(void **state)
{
	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_ARM)
		kit_step(&k);
	k.flash.bytes[slot_region(0, 1)][16384 - 1024 + 40] ^= 1;
	real = k.flash.flash;
	k.flash.flash.prog = worn_prog;
	is_journal_worn = true;
	kit_step(&k);
	is_journal_worn = false;
	k.flash.flash.prog = real.prog;
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_STAGED);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.n_images, 1);
}

/* The journal takes nothing for one step of an update, whichever it is: later it goes on, to the same end. */
static void test_journal_refuses_one_step(void **state)
{
	bool is_over = false;

	for (unsigned at = 0; !is_over; at++) {
		begin_update();
		k.agent.next_poll_ms = k.now;
		real = k.flash.flash;
		k.flash.flash.prog = worn_prog;
		for (unsigned i = 0; i < at && !is_over; i++) {
			kit_step(&k);
			is_over = kit_runs(&k, 1) && k.agent.journal.s.phase == JOURNAL_IDLE;
		}
		if (k.agent.phase != PHASE_RESET) { /* the bootloader's own is another test */
			is_journal_worn = true;
			kit_step(&k);
			is_journal_worn = false;
		}
		k.flash.flash.prog = real.prog;
		for (unsigned i = 0; i < 4 && !kit_runs(&k, 1); i++)
			poll_once();
		(void)kit_run(&k, 3600);
		if (!kit_runs(&k, 1)) { /* given up, and told: the next attempt is another */
			assert_int_equal(k.told.result_detail, ota_err_detail(OTA_FLASH));
			assert_int_equal(k.assigned, -1);
			kit_assign(&k, 1, 2);
			poll_once();
		}
		assert_true(kit_runs(&k, 1));
		if (k.agent.journal.s.phase == JOURNAL_CONFIRMED) /* not acknowledged yet */
			poll_once();
		assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
		assert_int_equal(k.agent.journal.s.floor, 2000);
		assert_int_equal(k.flash.violations, 0);
		(void)tear_down(state);
		(void)set_up(state);
	}
}

static enum ota_err shut_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	return is_journal_worn && region == OTA_REGION_JOURNAL ? OTA_FLASH
							       : real.erase(ctx, region, off, len);
}

static void journal_shut(bool is_shut)
{
	if (!is_shut) {
		k.flash.flash = real;
		is_journal_worn = false;
		return;
	}
	real = k.flash.flash;
	k.flash.flash.prog = worn_prog;
	k.flash.flash.erase = shut_erase;
	is_journal_worn = true;
}

/* On trial, it has the contact that confirms it, and nowhere to write that down. */
static void shut_after_contact(void)
{
	on_trial();
	while (!k.agent.has_contact)
		kit_step(&k);
	journal_shut(true);
}

static void test_confirm_not_written(void **state)
{
	uint64_t tries;

	(void)state;
	shut_after_contact();
	kit_live(&k, 1800);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	assert_int_equal(k.agent.journal.s.floor, 1000);
	assert_int_equal(kit_count(&k, OTA_EVENT_CONFIRMED), 0);
	assert_int_equal(k.last.state, CHECKIN_TRIAL);
	assert_false(k.saw_confirmed || k.told_untrue);
	tries = kit_count(&k, OTA_EVENT_FLASH);
	assert_in_range(tries, 5, 40); /* by time: a minute between two of them */
	/* A reset now: no attempt can be counted, what ran before the trial runs, and nobody is told of a
	 * release that does not run. Once the journal takes records the trial goes on. */
	k.n_checkins = 0;
	assert_false(kit_start(&k));
	assert_int_equal(k.choice.slot, 0);
	assert_false(k.choice.is_trial);
	kit_live(&k, 600);
	assert_int_equal(k.n_checkins, 0);
	journal_shut(false);
	assert_true(kit_run(&k, 7200));
	assert_true(kit_runs(&k, 1));
	assert_false(k.told_untrue);
}

static void test_confirm_written_later(void **state)
{
	(void)state;
	shut_after_contact();
	kit_live(&k, 600);
	journal_shut(false);
	assert_true(kit_run(&k, 120));
	assert_true(k.saw_confirmed);
	assert_false(k.told_untrue);
	assert_int_equal(k.agent.journal.s.floor, 2000);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
}

static void test_revert_not_written(void **state)
{
	(void)state;
	on_trial();
	journal_shut(true);
	k.health = OTA_HEALTH_ILL;
	kit_live(&k, 600);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	assert_int_equal(k.agent.journal.s.result.attempt, 0);
	assert_int_equal(k.agent.journal.s.target.attempt, 1);
	assert_int_equal(kit_count(&k, OTA_EVENT_REVERTING), 0);
	assert_int_equal(k.n_results, 0);
	journal_shut(false);
	while (kit_runs(&k, 1))
		kit_step(&k);
	k.health = OTA_HEALTH_WELL;
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_HEALTH));
	assert_false(k.told_untrue);
}

/* The record neither goes to flash nor can the last one be read: nothing is asked or said until it can. */
static enum ota_err blind_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	return is_journal_worn && region == OTA_REGION_JOURNAL ? OTA_FLASH
							       : real.read(ctx, region, off, buf, len);
}

static void test_journal_lost_for_a_while(void **state)
{
	unsigned before;

	(void)state;
	shut_after_contact();
	k.flash.flash.read = blind_read;
	kit_step(&k);
	assert_true(k.agent.journal.is_lost);
	before = k.n_checkins;
	kit_live(&k, 3600);
	assert_int_equal(k.n_checkins, before);
	journal_shut(false);
	assert_true(kit_run(&k, 600));
	assert_int_equal(k.agent.journal.s.floor, 2000);
	assert_false(k.told_untrue);
}

/* A higher attempt of what is pending is on flash before it is told. */
static void test_attempt_raised_while_held(void **state)
{
	(void)state;
	staged_on_hold();
	kit_assign(&k, 1, 2);
	poll_once();
	poll_once();
	assert_int_equal(k.last.target_attempt, 2);
	assert_false(k.told_untrue);
	assert_true(kit_start(&k));
	assert_int_equal(k.agent.journal.s.target.attempt, 2);
}

/* The bootloader could not write down that it armed nothing: no reset after reset, and it goes on later. */
static void test_armed_and_journal_shut(void **state)
{
	unsigned starts;

	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_RESET)
		kit_step(&k);
	journal_shut(true);
	starts = k.n_starts;
	kit_live(&k, 3600);
	assert_in_range(k.n_starts - starts, 1, 2);
	assert_int_equal(k.choice.slot, 0);
	journal_shut(false);
	kit_live(&k, 7200);
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.floor, 2000);
	assert_false(k.told_untrue);
}

/* The envelope's place does not take it: that release failed, and it is told. */
static enum ota_err no_envelope_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	return region >= OTA_REGION_SLOT && off >= 16384 - 1024 ? OTA_FLASH
								: real.prog(ctx, region, off, buf, len);
}

static void test_envelope_not_stored(void **state)
{
	(void)state;
	begin_update();
	real = k.flash.flash;
	k.flash.flash.prog = no_envelope_prog;
	poll_once();
	k.flash.flash.prog = real.prog;
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.n_starts, 0);
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_FLASH));
	assert_int_equal(k.told.result_offset, 9000);
}

/* A region that is too small for what goes into it is told at the start, not found when a root comes. */
static unsigned small_region;
static uint32_t small_size;
static struct ota_flash sound;

static void small_geometry(void *ctx, unsigned region, struct ota_flash_geometry *out)
{
	sound.geometry(ctx, region, out);
	if (region == small_region) {
		out->size = small_size;
		out->erase_unit = 32;
	}
}

static void test_regions_too_small(void **state)
{
	static const struct {
		unsigned region;
		uint32_t least;
	} cases[] = {{OTA_REGION_IDENTITY_A, OTA_IDENTITY_MIN}, {OTA_REGION_IDENTITY_B, OTA_IDENTITY_MIN},
		{OTA_REGION_ROOT_A, OTA_ROOT_MIN}, {OTA_REGION_ROOT_B, OTA_ROOT_MIN},
		{OTA_REGION_SLOT + 1, OTA_ENVELOPE_AREA + 32}};

	(void)state;
	settled();
	sound = k.flash.flash;
	k.flash.flash.geometry = small_geometry;
	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct ota_agent_config cfg = k.agent.cfg;

		small_region = cases[i].region;
		small_size = cases[i].least;
		assert_int_not_equal(ota_agent_init(&k.agent, &cfg), OTA_INVALID);
		small_size -= 32;
		assert_int_equal(ota_agent_init(&k.agent, &cfg), OTA_INVALID);
	}
	k.flash.flash = sound;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_stored_envelope_spoilt),
		T(test_record_is_not_the_release),
		T(test_stage_again_not_written),
		T(test_journal_refuses_one_step),
		T(test_confirm_not_written),
		T(test_confirm_written_later),
		T(test_revert_not_written),
		T(test_journal_lost_for_a_while),
		T(test_attempt_raised_while_held),
		T(test_armed_and_journal_shut),
		T(test_envelope_not_stored),
		T(test_regions_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
