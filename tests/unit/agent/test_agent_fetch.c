/* Fetching: broken and lying transfers, resume, hold, what is there already, two components. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "tests/unit/agent/device.h"

static void test_flipped_byte(void **state)
{
	(void)state;
	begin_update();
	k.flip_byte = 8999;
	poll_once();
	assert_int_equal(kit_err_of(&k, OTA_EVENT_FAILED), OTA_DIGEST);
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_DIGEST));
	assert_int_equal(k.told.result_reason, 11);
	assert_int_equal(k.told.result_offset, 9000);
	assert_int_equal(k.agent.journal.s.failed.attempt, 1);
	assert_int_equal(k.agent.journal.s.result.attempt, 0); /* told and acknowledged */

	/* T3: the same attempt is refused, over a reset too, and a higher one is tried. */
	k.flip_byte = -1;
	k.agent.refused.attempt = 0;
	assert_true(kit_start(&k));
	(void)kit_run(&k, 3600);
	kit_forget(&k);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_ATTEMPT);
	assert_int_equal(k.n_images, 0);
	kit_assign(&k, 1, 2);
	poll_once();
	assert_true(kit_runs(&k, 1));
}

static void test_short_and_long(void **state)
{
	static const int64_t extra[] = {-1, 1, 5000, -8999};

	(void)state;
	for (unsigned i = 0; i < sizeof extra / sizeof extra[0]; i++) {
		if (i > 0) {
			(void)tear_down(NULL);
			(void)set_up(NULL);
		}
		begin_update();
		k.extra = extra[i];
		poll_once();
		assert_int_equal(kit_err_of(&k, OTA_EVENT_FAILED), OTA_SIZE);
		assert_int_equal(k.told_first.result_detail, ota_err_detail(OTA_SIZE));
		assert_int_equal(k.agent.journal.s.failed.attempt,
			0); /* nobody signed that: nothing is held against it */
		assert_true(kit_runs(&k, 0));
		assert_true(kit_start(&k));
		assert_true(kit_runs(&k, 0));
	}
}

/* More bytes than the image has, and no length: stopped at one too many. */
static void test_endless(void **state)
{
	(void)state;
	begin_update();
	k.no_length = true;
	k.extra = 100000;
	kit_live(&k, 7200);
	assert_true(kit_runs(&k, 0));
	assert_int_equal(kit_err_of(&k, OTA_EVENT_FAILED), OTA_SIZE);
	assert_int_equal(k.told_first.result_detail, ota_err_detail(OTA_SIZE));
	assert_int_equal(k.flash.violations, 0);
}

/* The ticket grows old while bytes trickle in: it asks whether it is still to go on, and goes on where it
 * was. */
static void test_trickle_outlives_ticket(void **state)
{
	unsigned before;

	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_FETCH)
		kit_step(&k);
	before = k.n_checkins;
	k.piece_ms = 400 * 1000;
	kit_step(&k);
	k.piece_ms = 1;
	assert_int_equal(k.n_images, 1);
	assert_int_equal(k.agent.pos % AGENT_CHUNK, 0);
	assert_in_range(k.agent.pos, 1, 9000 - 1);
	while (k.n_images == 1)
		kit_step(&k);
	assert_int_equal(k.n_checkins, before + 1);
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.n_images, 2);
}

/* What was taken right and does not stand there any more when it is read back. */
static void test_read_back(void **state)
{
	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_READ_BACK)
		kit_step(&k);
	k.flash.bytes[slot_region(0, 1)][5000] ^= 1;
	assert_true(kit_run(&k, 3600));
	assert_int_equal(kit_err_of(&k, OTA_EVENT_FAILED), OTA_DIGEST);
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_DIGEST));
	assert_int_equal(kit_count(&k, OTA_EVENT_VERIFIED), 0);
	assert_int_equal(kit_count(&k, OTA_EVENT_STAGED), 0);
	assert_true(kit_runs(&k, 0));
}

static void test_broken_every_kilobyte(void **state)
{
	(void)state;
	begin_update();
	for (unsigned i = 0; i < 20000 && !kit_runs(&k, 1); i++) {
		if (k.cut_image < 0)
			k.cut_image = 1024 + 37;
		kit_step(&k);
	}
	k.cut_image = -1;
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
	assert_true(k.n_images >= 8);
	/* Less than one written chunk again for each break. */
	assert_true(k.image_bytes <= 9000 + k.n_images * 1024);
}

static void test_changed_content_range(void **state)
{
	(void)state;
	begin_update();
	k.cut_image = 4096;
	k.wrong_range = 1;
	poll_once();
	assert_true(kit_runs(&k, 1)); /* from the start, then */
	assert_int_equal(k.n_images, 3);
	assert_int_equal(k.flash.violations, 0);
}

static void test_range_ignored(void **state)
{
	(void)state;
	begin_update();
	k.cut_image = 4096;
	k.ignore_range = true;
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.n_images, 2);
	assert_int_equal(k.flash.violations, 0);
}

/* Somebody on the line who answers each range with the beginning and breaks off must not wear out the flash.
 */
static void test_range_ignored_for_ever(void **state)
{
	uint64_t ops;

	(void)state;
	begin_update();
	k.ignore_range = true;
	ops = k.flash.ops;
	for (unsigned i = 0; i < 2000; i++) {
		k.cut_image = 4096;
		kit_step(&k);
	}
	assert_true(kit_runs(&k, 0));
	assert_true(k.flash.ops - ops < 200);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_FAILED), OTA_SIZE);
	assert_int_equal(k.agent.journal.s.failed.attempt, 0);
}

static void test_image_gone(void **state)
{
	(void)state;
	begin_update();
	k.image_status = 404;
	poll_once();
	assert_int_equal(kit_err_of(&k, OTA_EVENT_FAILED), OTA_FETCH);
	assert_int_equal(k.told_first.result_detail, ota_err_detail(OTA_FETCH));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.agent.journal.s.failed.attempt, 0);
	k.image_status = 0;
	assert_true(kit_start(&k));
	kit_assign(&k, 1, 1);
	(void)kit_run(&k, 3600);
	assert_true(kit_runs(&k, 1));
}

static void test_resume_after_reset(void **state)
{
	(void)state;
	big_update(200001);
	k.cut_image = 150000;
	while (k.n_images == 0)
		kit_step(&k);
	assert_int_equal(k.agent.journal.s.target.bytes, 131072);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.n_images, 2);
	assert_int_equal(k.image_bytes, 150000 + 200001 - 131072);
	assert_int_equal(kit_count(&k, OTA_EVENT_RESUMED), 1);
}

static void test_resume_over_spoilt_flash(void **state)
{
	(void)state;
	big_update(200001);
	k.cut_image = 150000;
	while (k.n_images == 0)
		kit_step(&k);
	k.flash.bytes[slot_region(0, 1)][70000] ^= 1;
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1)); /* fetched once more from the start */
	assert_int_equal(k.n_images, 3);
}

static void test_withdrawn_after_reset(void **state)
{
	(void)state;
	big_update(200001);
	k.cut_image = 150000;
	while (k.n_images == 0)
		kit_step(&k);
	kit_assign(&k, -1, 0);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_WITHDRAWN));
	assert_int_equal(k.n_images, 1);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	/* Withdrawn is not failed: the same attempt may be named again. */
	kit_assign(&k, 1, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
}

static void test_hourly_while_fetching(void **state)
{
	unsigned before;

	(void)state;
	big_update(200001);
	k.cut_image = 100000;
	while (k.n_images == 0)
		kit_step(&k);
	before = k.n_checkins;
	k.now += 3601 * 1000;
	assert_true(kit_run(&k, 3600));
	assert_true(k.n_checkins > before);
	assert_true(kit_runs(&k, 1));
	assert_in_range(k.image_bytes, 200001, 200001 + 1024); /* nothing is fetched again */
}

static void test_superseded_while_fetching(void **state)
{
	(void)state;
	big_update(200001);
	k.cut_image = 150000;
	while (k.n_images == 0)
		kit_step(&k);
	kit_assign(&k, 2, 1);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 2));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_WITHDRAWN));
}

static void test_flash_read_error(void **state)
{
	(void)state;
	begin_update();
	while (k.n_images == 0)
		kit_step(&k);
	k.flash.fail_reads = 1;
	(void)kit_run(&k, 3600);
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_FLASH));
}

static void test_hold(void **state)
{
	(void)state;
	staged_on_hold();
	assert_true(kit_runs(&k, 0));
	poll_once();
	assert_int_equal(k.last.state, CHECKIN_STAGED);
	assert_int_equal(k.last.target_bytes, 9000);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	k.flags = 0;
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.n_images, 1);
}

static void test_withdrawn_while_held(void **state)
{
	(void)state;
	staged_on_hold();
	kit_assign(&k, -1, 0);
	poll_once();
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_WITHDRAWN));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_true(kit_runs(&k, 0));
}

/* STAGED -> ARMED needs a ticket of the last minute. */
static void test_arm_needs_fresh_ticket(void **state)
{
	unsigned before;

	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_STAGE)
		kit_step(&k);
	before = k.n_checkins;
	k.now += 61 * 1000;
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
	assert_true(k.n_checkins - before >= 3); /* for the ticket, on trial, confirmed */
}

/* The next ticket is 50 s on its way. */
static void delay_ticket(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	(void)bytes;
	(void)len;
	if (what == 't') {
		kit->now += 50 * 1000;
		kit->spoil = NULL;
	}
}

/* The minute and the hour count from the question: of a ticket that came late only the rest is left. */
static void test_ticket_came_late(void **state)
{
	static const struct {
		unsigned phase;
		int64_t wait_s;
	} rows[] = {{PHASE_ARM, 11}, {PHASE_STAGE, 3551}};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		unsigned before;

		begin_update();
		k.spoil = delay_ticket;
		while (k.agent.phase != rows[i].phase)
			kit_step(&k);
		before = k.n_checkins;
		k.now += rows[i].wait_s * 1000;
		kit_step(&k);
		assert_int_equal(k.agent.phase, PHASE_POLL);
		kit_step(&k);
		assert_int_equal(k.n_checkins, before + 1);
		assert_true(kit_run(&k, 3600));
		assert_true(kit_runs(&k, 1));
		(void)tear_down(state);
		(void)set_up(state);
	}
}

/* To release 1, and to release 0 again under a higher number. */
static void there_and_back(void)
{
	begin_update();
	poll_once();
	assert_true(kit_runs(&k, 1));
	kit_forget(&k);
	k.release[0].m.sequence = 2001;
	kit_sign(&k, 0, &k.release_key);
	kit_assign(&k, 0, 1);
	poll_once();
	assert_true(kit_runs(&k, 0));
}

/* Going back to a release whose image the other slot still holds: nothing is fetched. */
static void test_present_is_not_fetched(void **state)
{
	(void)state;
	there_and_back();
	assert_int_equal(k.n_images, 0);
	assert_int_equal(k.agent.journal.s.floor, 2001);
	assert_int_equal(k.flash.violations, 0);
}

/* ... but a last erase unit shared with the envelope is fetched again. */
static void test_present_shares_unit(void **state)
{
	struct flash_sim_options o = kit_small();

	(void)state;
	(void)tear_down(NULL);
	o.erase_unit = 4096;
	kit_init(&k, &o);
	kit_make(&k, 0, 1000, 15000, 1);
	kit_make(&k, 1, 2000, 15000, 2);
	there_and_back();
	assert_int_equal(k.n_images, 1);
	assert_int_equal(k.image_bytes, 15000 - 12288);
	assert_int_equal(k.flash.violations, 0);
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 0));
}

/* Two components: both or neither; what runs already is copied, not fetched. */
static void two_components(uint32_t size0, uint32_t size1)
{
	struct flash_sim_options o = kit_small();

	(void)tear_down(NULL);
	o.n_components = 2;
	kit_init(&k, &o);
	kit_make(&k, 0, 1000, 5000, 1);
	kit_add_component(&k, 0, "data", 3000, 7);
	kit_make(&k, 1, 2000, size0, 2);
	kit_add_component(&k, 1, "data", size1, 8);
	kit_enrolled(&k);
	assert_true(kit_start(&k));
	kit_assign(&k, 0, 1);
	assert_true(kit_run(&k, 7200));
	assert_true(kit_runs(&k, 0));
	kit_forget(&k);
	kit_assign(&k, 1, 1);
}

static void assert_data(int i)
{
	const uint8_t *at = k.flash.bytes[slot_region(1, k.agent.journal.s.active)];

	assert_memory_equal(at, k.release[i].image[1], k.release[i].m.component[1].image[0].size);
}

static void test_two_components(void **state)
{
	(void)state;
	two_components(9000, 7777);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_data(1);
	assert_int_equal(k.image_bytes, 9000 + 7777);
	assert_int_equal(k.flash.violations, 0);
}

static void test_component_is_copied(void **state)
{
	(void)state;
	two_components(9000, 1);
	kit_make(&k, 1, 2000, 9000, 2);
	kit_add_component(&k, 1, "data", 3000, 7); /* as in release 0 */
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_data(0);
	assert_int_equal(k.image_bytes, 9000);
}

/* P6: the second one is wrong: neither is activated. */
static void test_second_component_fails(void **state)
{
	(void)state;
	two_components(5500, 9000);
	k.flip_byte = 8000;
	poll_once();
	assert_true(kit_runs(&k, 0));
	assert_data(0);
	assert_int_equal(kit_err_of(&k, OTA_EVENT_FAILED), OTA_DIGEST);
	assert_int_equal(k.told.result_offset, 5500 + 9000);
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 0));
}

/* M17: a release with a part of the board's components. */
static void test_component_missing(void **state)
{
	(void)state;
	two_components(9000, 100);
	kit_make(&k, 1, 2000, 9000, 2);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_COMPONENT);
}

static void test_resume_in_second_component(void **state)
{
	(void)state;
	two_components(9000, 9500);
	while (k.n_images < 2)
		kit_step(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
	assert_data(1);
	assert_int_equal(k.image_bytes, 9000 + 9500); /* all of it was there */
}

/* The ticket that named the release is too old when the whole image is there: a new one first. */
static void test_stage_needs_ticket(void **state)
{
	for (unsigned own = 0; own < 2; own++) {
		unsigned before;

		begin_update();
		if (own)
			k.agent.cfg.ticket_s = 7200;
		else
			k.agent.cfg.ticket_s = 0;
		while (k.agent.phase != PHASE_STAGE)
			kit_step(&k);
		before = k.n_envelopes;
		k.now += (own ? 7201 : 3601) * 1000;
		kit_step(&k);
		assert_int_equal(k.agent.phase, PHASE_POLL);
		assert_int_equal(k.n_envelopes, before);
		assert_true(kit_run(&k, 3600));
		assert_true(kit_runs(&k, 1));
		(void)tear_down(state);
		(void)set_up(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_flipped_byte),
		T(test_short_and_long),
		T(test_endless),
		T(test_trickle_outlives_ticket),
		T(test_read_back),
		T(test_broken_every_kilobyte),
		T(test_changed_content_range),
		T(test_range_ignored),
		T(test_range_ignored_for_ever),
		T(test_image_gone),
		T(test_resume_after_reset),
		T(test_resume_over_spoilt_flash),
		T(test_withdrawn_after_reset),
		T(test_hourly_while_fetching),
		T(test_superseded_while_fetching),
		T(test_flash_read_error),
		T(test_hold),
		T(test_withdrawn_while_held),
		T(test_arm_needs_fresh_ticket),
		T(test_ticket_came_late),
		T(test_present_is_not_fetched),
		T(test_present_shares_unit),
		T(test_two_components),
		T(test_component_is_copied),
		T(test_second_component_fails),
		T(test_component_missing),
		T(test_resume_in_second_component),
		T(test_stage_needs_ticket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
