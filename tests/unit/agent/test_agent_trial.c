/* Trial: health, contact, boot attempts, a foreign bootloader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "tests/unit/agent/device.h"

static void test_ill_reverts(void **state)
{
	(void)state;
	on_trial();
	assert_true(k.choice.is_trial);
	k.health = OTA_HEALTH_ILL;
	while (kit_runs(&k, 1))
		kit_step(&k);
	k.health = OTA_HEALTH_WELL;
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_HEALTH));
	assert_memory_equal(k.told.result_digest, k.release[1].digest, 32);
	assert_int_equal(k.told.running_sequence, 1000);
	assert_int_equal(k.agent.journal.s.floor, 1000); /* P8: the floor did not move */
	assert_int_equal(k.n_images, 1);
}

static void test_attempts_used_up(void **state)
{
	(void)state;
	on_trial();
	/* It crashes at each start: 3 starts, each written down before. */
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 1));
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 1));
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 0));
	assert_true(k.choice.is_reverted);
	assert_int_equal(k.choice.why, OTA_BOOTS);
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_BOOTS));
	assert_int_equal(k.agent.journal.s.floor, 1000);
}

static void test_no_contact_reverts(void **state)
{
	int64_t start;

	(void)state;
	on_trial();
	k.is_off_line = true;
	start = k.now;
	while (kit_runs(&k, 1))
		kit_step(&k);
	assert_in_range(k.now - start, 1800 * 1000 - 2000, 1830 * 1000);
	k.is_off_line = false;
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_CONTACT));
}

/* 429 and 503 prolong it, to six hours at most. */
static void test_busy_server_prolongs(void **state)
{
	int64_t start;

	(void)state;
	on_trial();
	k.status = 503;
	k.retry_after_s = 60;
	start = k.now;
	while (kit_runs(&k, 1))
		kit_step(&k);
	assert_in_range(k.now - start, 6 * 3600 * 1000 - 2000, (6 * 3600 + 120) * 1000);
}

/* Who is told to come back later than the trial would last gets that time, and is heard after it. */
static void test_long_retry_after_prolongs(void **state)
{
	(void)state;
	on_trial();
	k.status = 503;
	k.retry_after_s = 3600;
	kit_live(&k, 600);
	k.status = 0;
	assert_true(kit_run(&k, 5000));
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.floor, 2000);
}

static void test_trial_ignores_assignments(void **state)
{
	(void)state;
	on_trial();
	k.health = OTA_HEALTH_UNKNOWN;
	kit_assign(&k, 2, 1);
	kit_live(&k, 1000);
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.last.state, CHECKIN_TRIAL);
	k.health = OTA_HEALTH_WELL;
	assert_true(kit_run(&k, 7200));
	assert_true(kit_runs(&k, 2));
	assert_int_equal(k.agent.journal.s.floor, 3000);
}

/* Ill is one thing, never a word of it another: the server is told how long it was waited for. */
static void test_never_said_to_be_well(void **state)
{
	(void)state;
	on_trial();
	k.health = OTA_HEALTH_UNKNOWN;
	assert_true(kit_run(&k, 7 * 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_HEALTH));
	assert_int_equal(k.told.result_offset, 6 * 3600);
	(void)tear_down(state);
	(void)set_up(state);
	on_trial();
	k.health = OTA_HEALTH_ILL;
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_HEALTH));
	assert_int_equal(k.told.result_offset, 0);
}

/* P5: the new image is changed in flash after it was read back: the old one boots. */
static void test_changed_after_check(void **state)
{
	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_RESET)
		kit_step(&k);
	k.flash.bytes[slot_region(0, 1)][8000] ^= 1;
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 0));
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_DIGEST));
}

static struct {
	enum ota_err answer;
	unsigned n;
	uint8_t slot;
} foreign;

static enum ota_err foreign_select(void *ctx, uint8_t slot)
{
	(void)ctx;
	foreign.n++;
	foreign.slot = slot;
	return foreign.answer;
}

/* A bootloader of another make is told the slot; one that does not take it keeps the device where it is. */
static void test_foreign_bootloader(void **state)
{
	(void)state;
	memset(&foreign, 0, sizeof foreign);
	begin_update();
	foreign.answer = OTA_FLASH;
	k.agent.cfg.boot_select = foreign_select;
	poll_once();
	assert_int_equal(foreign.n, 1);
	assert_int_equal(foreign.slot, 1);
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_FLASH));
	assert_int_equal(k.n_starts, 0);
	foreign.answer = OTA_OK;
	kit_assign(&k, 1, 2);
	poll_once();
	assert_int_equal(foreign.n, 2);
	assert_true(kit_runs(&k, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_ill_reverts),
		T(test_attempts_used_up),
		T(test_no_contact_reverts),
		T(test_busy_server_prolongs),
		T(test_long_retry_after_prolongs),
		T(test_trial_ignores_assignments),
		T(test_never_said_to_be_well),
		T(test_changed_after_check),
		T(test_foreign_bootloader),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
