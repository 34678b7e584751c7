#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "device-agent/src/trust.h"
#include "proto/crypto_openssl.h"
#include "proto/notice.h"
#include "tests/unit/agent/kit.h"

static struct kit k;

static int set_up(void **state)
{
	struct flash_sim_options o = kit_small();

	(void)state;
	kit_init(&k, &o);
	kit_make(&k, 0, 1000, 5000, 1);
	kit_make(&k, 1, 2000, 9000, 2);
	kit_make(&k, 2, 3000, 9000, 3);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kit_end(&k);
	return 0;
}

/* A device that runs release 0, confirmed, and has nothing to tell. */
static void settled(void)
{
	kit_factory(&k, 0, 0);
	kit_enrolled(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	kit_forget(&k);
}

/* Poll once more: until the next settled moment behind the next poll. */
static void poll_once(void)
{
	int64_t end = k.now + 3 * 3600 * 1000;
	unsigned before = k.n_checkins;

	while (k.n_checkins == before && k.now < end)
		kit_step(&k);
	(void)kit_run(&k, 3 * 3600);
}

static void assert_refused(enum ota_err err)
{
	uint64_t slot_ops = k.flash.slot_ops;
	uint32_t number = k.agent.journal.number;
	int assigned = k.assigned;

	poll_once();
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REFUSED), err);
	assert_int_equal(k.flash.slot_ops, slot_ops);
	assert_int_equal(k.agent.journal.number, number); /* told from RAM, nothing written */
	assert_true(k.told.has_result);
	assert_int_equal(k.told.result_detail, ota_err_detail(err));
	assert_int_equal(k.told.result_reason, ota_err_reason(err));
	assert_memory_equal(k.told.result_digest, k.release[assigned].digest, 32);
	assert_true(kit_runs(&k, 0));
}

static void test_factory_to_update(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	assert_true(kit_start(&k));
	assert_true(k.choice.is_rebuilt && k.choice.is_trial);
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.n_enrolls, 1);
	assert_int_equal(kit_count(&k, OTA_EVENT_ENROLLED), 1);
	assert_int_equal(kit_count(&k, OTA_EVENT_CONFIRMED), 1);
	assert_true(k.saw_confirmed);
	assert_int_equal(k.agent.journal.s.floor, 1000);
	assert_false(k.agent.identity.has_secret); /* gone after the first valid ticket */
	assert_true(k.last.has_running);
	assert_int_equal(k.last.running_sequence, 1000);
	kit_forget(&k);

	kit_assign(&k, 1, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(k.agent.journal.s.floor, 2000);
	assert_int_equal(k.agent.journal.s.active, 1);
	assert_true(k.saw_confirmed);
	assert_int_equal(k.n_starts, 1);
	assert_int_equal(k.n_images, 1);
	assert_int_equal(k.image_bytes, 9000);
	assert_int_equal(k.n_results, 0); /* success is the confirmed check-in */
	assert_int_equal(k.flash.violations, 0);
	assert_int_equal(k.assigned, -1);
}

static void test_without_any_image(void **state)
{
	(void)state;
	assert_true(kit_start(&k));
	assert_int_equal(k.boot_err, OTA_NOT_FOUND);
	assert_true(kit_run(&k, 3600));
	assert_false(k.last.has_running);
	kit_assign(&k, 1, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.active, 0);
}

/* Enrollment: an answer that was lost, one that is forged, one that is another's. */
static void spoil_enroll(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (what == 'n' && kit->n_enrolls < 4)
		bytes[*len - 1 - kit->n_enrolls] ^= 1;
}

static void test_enroll_forged(void **state)
{
	uint8_t before[PROVISION_MAX];

	(void)state;
	k.spoil = spoil_enroll;
	memcpy(before, k.flash.bytes[OTA_REGION_IDENTITY_A], sizeof before);
	assert_true(kit_start(&k));
	while (k.n_enrolls < 3)
		kit_step(&k);
	assert_memory_equal(before, k.flash.bytes[OTA_REGION_IDENTITY_A], sizeof before);
	assert_true(kit_run(&k, 7200));
	assert_int_equal(k.n_enrolls, 4);
	assert_memory_equal(k.agent.identity.k_dev, k.k_dev, KEY_LEN);
}

static void test_enroll_answer_lost(void **state)
{
	(void)state;
	k.is_off_line = true;
	assert_true(kit_start(&k));
	kit_live(&k, 100);
	assert_true(kit_start(&k));
	k.is_off_line = false;
	assert_true(kit_run(&k, 7200));
	assert_memory_equal(k.agent.identity.device_id, k.device_id, DEVICE_ID_LEN);
}

/* ---- refusals before ACCEPTED: nothing is written ---- */

static void test_refuse_envelope(void **state)
{
	(void)state;
	settled();
	kit_sign(&k, 1, &k.stranger);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_SIG);
}

static void test_refuse_server_key(void **state)
{
	(void)state;
	settled();
	kit_sign(&k, 1, &k.server_key);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_SIG);
}

static void test_refuse_rollback(void **state)
{
	(void)state;
	settled();
	kit_make(&k, 3, 999, 2000, 9);
	kit_assign(&k, 3, 1);
	assert_refused(OTA_ROLLBACK);
}

static void test_refuse_sequence_reuse(void **state)
{
	(void)state;
	settled();
	kit_make(&k, 3, 1000, 2000, 9);
	kit_assign(&k, 3, 1);
	assert_refused(OTA_SEQ_REUSE);
}

static void test_refuse_class(void **state)
{
	(void)state;
	settled();
	k.release[1].m.class_id[3] ^= 1;
	kit_sign(&k, 1, &k.release_key);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_CLASS);
}

static void test_refuse_vendor(void **state)
{
	(void)state;
	settled();
	k.release[1].m.vendor_id[3] ^= 1;
	kit_sign(&k, 1, &k.release_key);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_VENDOR);
}

static void test_refuse_too_large(void **state)
{
	(void)state;
	settled();
	k.release[1].m.component[0].image[0].size = 16384 - 1024 + 1;
	kit_sign(&k, 1, &k.release_key);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_PARAM);
}

static void test_refuse_component(void **state)
{
	(void)state;
	settled();
	memcpy(k.release[1].m.component[0].id, "boo", 3);
	kit_sign(&k, 1, &k.release_key);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_COMPONENT);
}

/* A valid release that the ticket does not name. */
static void spoil_other_envelope(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (what == 'e') {
		memcpy(bytes, kit->release[2].envelope, kit->release[2].envelope_len);
		*len = kit->release[2].envelope_len;
	}
}

static void test_refuse_unassigned(void **state)
{
	(void)state;
	settled();
	k.spoil = spoil_other_envelope;
	kit_assign(&k, 1, 1);
	assert_refused(OTA_UNASSIGNED);
}

static void spoil_envelope_longer(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	(void)kit;
	if (what == 'e')
		bytes[(*len)++] = 0;
}

static void test_refuse_longer_than_told(void **state)
{
	(void)state;
	settled();
	k.spoil = spoil_envelope_longer;
	kit_assign(&k, 1, 1);
	assert_refused(OTA_TOO_LARGE);
}

/* One spoilt answer is asked for again, not refused. */
static void spoil_envelope_once(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (what == 'e' && kit->n_envelopes == 1)
		bytes[*len / 2] ^= 4;
}

static void test_envelope_spoilt_once(void **state)
{
	(void)state;
	settled();
	k.spoil = spoil_envelope_once;
	kit_assign(&k, 1, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
}

static void test_already(void **state)
{
	(void)state;
	settled();
	kit_assign(&k, 0, 1);
	assert_refused(OTA_ALREADY);
	assert_int_equal(k.n_envelopes, 0);
}

/* ---- tickets ---- */

static void assert_no_ticket_taken(void)
{
	uint64_t ops = k.flash.ops;

	poll_once();
	kit_live(&k, 1200);
	assert_int_equal(k.n_envelopes, 0);
	assert_true(k.flash.ops - ops <= 1); /* a block of counters at most */
	assert_true(kit_runs(&k, 0));
	assert_true(k.n_checkins > 1); /* it goes on asking */
}

static void test_ticket_old_nonce(void **state)
{
	(void)state;
	settled();
	kit_assign(&k, 1, 1);
	k.use_old_nonce = true;
	assert_no_ticket_taken();
	k.use_old_nonce = false;
	poll_once();
	assert_true(kit_runs(&k, 1));
}

static void test_ticket_other_device(void **state)
{
	(void)state;
	settled();
	kit_assign(&k, 1, 1);
	k.use_other_device = true;
	assert_no_ticket_taken();
}

static void test_ticket_wrong_key(void **state)
{
	(void)state;
	settled();
	kit_assign(&k, 1, 1);
	k.ticket_signer = &k.release_key;
	assert_no_ticket_taken();
	assert_true(k.n_roots_asked > 0); /* the server's key may have changed */
}

static void spoil_ticket(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (what == 't')
		bytes[flash_sim_random(&kit->flash) % *len] ^= (uint8_t)(1U << flash_sim_random(&kit->flash) %
										       8);
}

static void test_ticket_bit_flips(void **state)
{
	(void)state;
	settled();
	kit_assign(&k, 1, 1);
	k.spoil = spoil_ticket;
	assert_no_ticket_taken();
}

/* T7: whatever a ticket or a header says about the next poll. */
static void test_poll_clamped(void **state)
{
	int64_t t;

	(void)state;
	settled();
	k.next_poll_s = 0xFFFFFFFF;
	poll_once();
	t = k.agent.next_poll_ms - k.now;
	assert_in_range(t, 1, (int64_t)TICKET_POLL_MAX_S * 1100);
	k.agent.next_poll_ms = k.now;
	k.next_poll_s = 0;
	poll_once();
	t = k.agent.next_poll_ms - k.now;
	assert_in_range(t, 8000, 11000);
	k.status = 503;
	k.retry_after_s = 365 * 86400;
	poll_once();
	t = k.agent.next_poll_ms - k.now;
	assert_in_range(t, 10000, 3600 * 1000);
}

/* An hour is the most that anybody who answers 503 can ask for, the spread over the fleet with it; shorter
 * ones are never shortened. */
static void test_retry_after_bounded(void **state)
{
	static const uint32_t asked[] = {1, 11, 600, 3000, 3272, 3273, 3600, 3601, UINT32_MAX};

	(void)state;
	settled();
	k.status = 503;
	for (unsigned i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		uint32_t least = asked[i] < 10 ? 10 : asked[i] < 3272 ? asked[i] : 3272;

		k.retry_after_s = asked[i];
		for (unsigned n = 0; n < 200; n++) {
			k.agent.next_poll_ms = k.now;
			kit_step(&k);
			assert_in_range(k.agent.next_poll_ms - k.now, least * 1000, 3600 * 1000);
		}
	}
}

static void test_unreachable_backs_off(void **state)
{
	int64_t start;
	unsigned n = 0;

	(void)state;
	settled();
	k.is_off_line = true;
	start = k.now;
	while (k.now < start + 86400 * 1000) {
		struct ota_want want;

		ota_agent_step(&k.agent, &want);
		if (want.kind == OTA_WANT_REQUEST) {
			n++;
			ota_agent_response_end(&k.agent, false);
		} else if (want.kind == OTA_WANT_WAIT) {
			k.now += want.wait_ms;
		}
	}
	assert_in_range(n, 300, 700); /* two base URLs a poll of about 300 s */
	k.is_off_line = false;
	kit_assign(&k, 1, 1);
	poll_once();
	assert_true(kit_runs(&k, 1));
}

/* ---- download ---- */

static void begin_update(void)
{
	settled();
	kit_assign(&k, 1, 1);
}

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
	assert_true(kit_runs(&k, 0) || kit_runs(&k, 1));
	assert_int_equal(k.flash.violations, 0);
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

/* A reset in the middle: what is in flash is hashed again, and at most one mark is fetched again. */
static void big_update(uint32_t size)
{
	struct flash_sim_options o = kit_small();

	(void)tear_down(NULL);
	o.erase_unit = 4096;
	o.slot_size = 262144;
	kit_init(&k, &o);
	kit_make(&k, 0, 1000, 5000, 1);
	kit_make(&k, 1, 2000, size, 2);
	kit_make(&k, 2, 3000, 9000, 3);
	begin_update();
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
	begin_update();
	k.flags = TICKET_FLAG_HOLD;
	poll_once();
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_STAGED);
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
	begin_update();
	k.flags = TICKET_FLAG_HOLD;
	poll_once();
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

/* Going back to a release whose image the other slot still holds: nothing is fetched. */
static void test_present_is_not_fetched(void **state)
{
	(void)state;
	begin_update();
	poll_once();
	assert_true(kit_runs(&k, 1));
	kit_forget(&k);
	k.release[0].m.sequence = 2001;
	kit_sign(&k, 0, &k.release_key);
	kit_assign(&k, 0, 1);
	poll_once();
	assert_true(kit_runs(&k, 0));
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
	begin_update();
	poll_once();
	assert_true(kit_runs(&k, 1));
	kit_forget(&k);
	k.release[0].m.sequence = 2001;
	kit_sign(&k, 0, &k.release_key);
	kit_assign(&k, 0, 1);
	poll_once();
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.n_images, 1);
	assert_int_equal(k.image_bytes, 15000 - 12288);
	assert_int_equal(k.flash.violations, 0);
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 0));
}

/* ---- trial ---- */

static void test_ill_reverts(void **state)
{
	(void)state;
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
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
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
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
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
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
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
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
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
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
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
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

/* ---- root ---- */

static void rotate_server_key(void)
{
	crypto_signer_release(&k.server_key);
	assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &k.server_key), OTA_OK);
	memcpy(k.doc.key[2].kid, k.server_key.kid, OTA_KID_LEN);
	kit_root_add(&k);
}

static void test_root_walk_50(void **state)
{
	(void)state;
	settled();
	for (unsigned i = 0; i < 50; i++)
		kit_root_add(&k);
	k.ticket_is_signed = true;
	poll_once();
	assert_int_equal(k.agent.root.version, 51);
	assert_int_equal(k.last.root_version, 51);
	assert_true(kit_start(&k));
	assert_int_equal(k.agent.root.version, 51);
}

/* RT9: it cannot verify any ticket; it asks for the next root all by itself. */
static void test_server_key_replaced(void **state)
{
	(void)state;
	settled();
	rotate_server_key();
	rotate_server_key();
	kit_assign(&k, 1, 1);
	poll_once();
	assert_int_equal(k.agent.root.version, 3);
	assert_true(kit_runs(&k, 1));
}

static void spoil_root(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (what == 'r')
		bytes[flash_sim_random(&kit->flash) % *len] ^= 1;
}

static void test_root_forged(void **state)
{
	(void)state;
	settled();
	kit_root_add(&k);
	k.spoil = spoil_root;
	k.ticket_is_signed = true;
	kit_live(&k, 3600);
	assert_int_equal(k.agent.root.version, 1);
	k.spoil = NULL;
	kit_live(&k, 1200);
	assert_int_equal(k.agent.root.version, 2);
}

/* RT1: not the next version. */
static void spoil_root_gap(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (what == 'r') {
		memcpy(bytes, kit->root[kit->n_roots - 1], kit->root_len[kit->n_roots - 1]);
		*len = kit->root_len[kit->n_roots - 1];
	}
}

static void test_root_gap(void **state)
{
	(void)state;
	settled();
	kit_root_add(&k);
	kit_root_add(&k);
	k.spoil = spoil_root_gap;
	k.ticket_is_signed = true;
	kit_live(&k, 1200);
	assert_int_equal(k.agent.root.version, 1);
}

/* RT6: a floor above what runs: it keeps running and booting, nothing below is installed. */
static void test_root_floor(void **state)
{
	(void)state;
	settled();
	k.doc.n_floors = 1;
	k.doc.floor[0].any_class = true;
	k.doc.floor[0].sequence = 2500;
	kit_root_add(&k);
	k.ticket_is_signed = true;
	poll_once();
	assert_int_equal(k.agent.journal.s.floor, 2500);
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 0));
	assert_true(kit_run(&k, 3600));
	kit_forget(&k);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_ROLLBACK);
	kit_assign(&k, 2, 1);
	poll_once();
	assert_true(kit_runs(&k, 2));
}

/* P10: the release key of what runs is gone, and the journal is lost. */
static void test_release_key_gone_and_journal_lost(void **state)
{
	(void)state;
	settled();
	memcpy(k.doc.key[1].kid, k.stranger.kid, OTA_KID_LEN);
	k.doc.key[1].pub = (struct ota_slice){k.stranger.pub, k.stranger.pub_len};
	kit_root_add(&k);
	k.ticket_is_signed = true;
	poll_once();
	assert_int_equal(k.agent.root.version, 2);
	memset(k.flash.bytes[OTA_REGION_JOURNAL], 0xFF, 8192);
	assert_true(kit_start(&k));
	assert_true(k.choice.is_rebuilt);
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
}

/* T12: the release that is being fetched loses its key. */
static void test_root_drops_pending(void **state)
{
	(void)state;
	begin_update();
	k.flags = TICKET_FLAG_HOLD;
	poll_once();
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_STAGED);
	memcpy(k.doc.key[1].kid, k.stranger.kid, OTA_KID_LEN);
	k.doc.key[1].pub = (struct ota_slice){k.stranger.pub, k.stranger.pub_len};
	kit_root_add(&k);
	k.flags = 0;
	poll_once();
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.told.result_reason, 4);
}

/* Once in 24 h it asks for the next root, and for a signed answer. */
static void test_daily_wishes(void **state)
{
	(void)state;
	settled();
	kit_live(&k, 86400 + 1200);
	assert_true(k.asked_signed);
	assert_in_range(k.n_roots_asked, 1, 2);
}

/* ---- counters, receipts, notices ---- */

static void test_counter_blocks(void **state)
{
	uint32_t number;

	(void)state;
	settled();
	k.poll_max_s = 10;
	k.agent.cfg.poll_max_s = 10;
	number = k.agent.journal.number;
	kit_live(&k, 20000);
	assert_true(k.n_checkins > 1900);
	assert_in_range(k.agent.journal.number - number, 1, 2);
	assert_false(k.counter_went_back);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(kit_start(&k));
		assert_true(kit_run(&k, 600));
	}
	assert_false(k.counter_went_back);
}

/* C4: the journal is lost and the counter with it: healed by the hint. */
static void test_counter_hint(void **state)
{
	(void)state;
	settled();
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 600));
	k.last_counter = 123456789;
	poll_once();
	assert_int_equal(k.n_409, 1);
	assert_int_equal(k.last_counter, 123456790);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 600));
	assert_true(k.last_counter >= 123456790 + 1024);
	assert_int_equal(k.n_409, 1);
}

static void test_receipt_when_unknown(void **state)
{
	(void)state;
	settled();
	k.is_unknown = true;
	poll_once();
	assert_true(k.saw_receipt);
	assert_int_equal(k.n_checkins, 2);
	assert_true(kit_run(&k, 10));
}

static void test_nonce_without_random(void **state)
{
	uint8_t first[NONCE_LEN];

	(void)state;
	k.has_random = false;
	settled();
	memcpy(first, k.last.nonce, sizeof first);
	poll_once();
	assert_int_equal(k.last.flags & CHECKIN_FLAG_HAS_RANDOM, 0);
	assert_memory_not_equal(first, k.last.nonce, sizeof first);
}

static void notify(uint32_t revision, uint32_t spread, bool is_board)
{
	struct notice n = {revision, spread};
	uint8_t bytes[NOTICE_MAX];
	size_t len;

	assert_int_equal(notice_encode(&n, bytes, sizeof bytes, &len), OTA_OK);
	ota_agent_notice(&k.agent, is_board, bytes, len);
}

static void test_notices(void **state)
{
	int64_t next;
	unsigned before;

	(void)state;
	settled();
	next = k.agent.next_poll_ms;
	notify(1, 0, true);
	assert_true(k.agent.next_poll_ms <= k.now);
	kit_live(&k, 1);
	/* T10: a flood makes one poll a minute. */
	before = k.n_checkins;
	for (unsigned i = 0; i < 600; i++) {
		notify(i + 2, 0, i & 1);
		kit_live(&k, 1);
	}
	assert_in_range(k.n_checkins - before, 5, 13);
	/* The same retained revision again is no news; a huge spread makes nothing later. */
	kit_live(&k, 100);
	next = k.agent.next_poll_ms;
	notify(599, 0, true);
	notify(601, 0, true);
	next = k.agent.next_poll_ms < next ? next : k.agent.next_poll_ms;
	notify(700, 86400, true);
	assert_true(k.agent.next_poll_ms <= next);
	ota_agent_notice(&k.agent, true, (const uint8_t *)"junkjunkjunkjunkjunkjunkjunkjunkjunkjunk", 40);
	ota_agent_notice(&k.agent, false, NULL, 0);
}

/* ---- trust in flash ---- */

static void test_copies_are_mended(void **state)
{
	(void)state;
	settled();
	kit_root_add(&k);
	k.ticket_is_signed = true;
	poll_once();
	memset(k.flash.bytes[OTA_REGION_IDENTITY_A], 0x11, 600);
	memset(k.flash.bytes[OTA_REGION_ROOT_A], 0x11, 600);
	assert_true(kit_start(&k));
	assert_int_equal(k.agent.root.version, 2);
	assert_memory_equal(
		k.flash.bytes[OTA_REGION_IDENTITY_A], k.flash.bytes[OTA_REGION_IDENTITY_B], PROVISION_MAX);
	memset(k.flash.bytes[OTA_REGION_IDENTITY_B], 0x11, 600);
	memset(k.flash.bytes[OTA_REGION_ROOT_B], 0x11, 600);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 600));
	assert_int_equal(k.agent.root.version, 2);
}

static struct ota_slice text(const char *s)
{
	return (struct ota_slice){(const uint8_t *)s, strlen(s)};
}

static void assert_url(unsigned i, const char *want)
{
	assert_int_equal(k.agent.identity.url[i].len, strlen(want));
	assert_memory_equal(k.agent.identity.url[i].p, want, strlen(want));
}

/* New addresses go first, one old one at least stays. */
static void test_server_moves(void **state)
{
	uint64_t ops;

	(void)state;
	settled();
	k.n_urls = 1;
	k.url[0] = text("http://new.example/");
	poll_once();
	assert_int_equal(k.agent.identity.n_urls, 3);
	assert_url(0, "http://new.example/");
	assert_url(1, "http://one.example/");
	ops = k.flash.ops;
	poll_once();
	assert_int_equal(k.flash.ops, ops); /* told again: nothing to write */
	assert_true(kit_start(&k));
	assert_url(0, "http://new.example/");
	k.n_urls = 3;
	k.url[0] = text("http://a/");
	k.url[1] = text("http://b/");
	k.url[2] = text("http://c/");
	assert_true(kit_run(&k, 3600));
	poll_once();
	assert_int_equal(k.agent.identity.n_urls, 3);
	assert_url(1, "http://b/");
	assert_url(2, "http://new.example/");
	assert_memory_equal(k.agent.identity.k_dev, k.k_dev, KEY_LEN);
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

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- judging, and what can fail between the envelope and the bootloader ---- */

/* Signed, and named by the ticket, but no manifest. */
static void test_refuse_no_manifest(void **state)
{
	static const uint8_t bytes[] = {0xA0};
	struct ota_slice manifest = {bytes, sizeof bytes};
	struct kit_release *r = &k.release[1];
	uint8_t block[160];
	struct ota_slice blocks[1] = {{block, 0}};

	(void)state;
	settled();
	suit_manifest_digest(crypto_openssl(), manifest, r->digest);
	assert_int_equal(
		suit_sign(crypto_openssl(), &k.release_key, r->digest, block, sizeof block, &blocks[0].len),
		OTA_OK);
	assert_int_equal(suit_envelope_encode(crypto_openssl(), manifest, blocks, 1, r->envelope,
				 sizeof r->envelope, &r->envelope_len),
		OTA_OK);
	kit_assign(&k, 1, 1);
	assert_refused(OTA_CBOR);
}

/* What is asked for turns out to be what runs already. */
static void test_already_by_its_envelope(void **state)
{
	struct journal_state *s = &k.agent.journal.s;

	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_ENVELOPE)
		kit_step(&k);
	memcpy(s->slot[0].digest, k.release[1].digest, 32);
	assert_true(kit_run(&k, 600));
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REFUSED), OTA_ALREADY);
	assert_int_equal(k.n_envelopes, 1);
}

/* A release whose envelope the server has not is asked for later, and nothing is said of it. */
static void test_envelope_gone(void **state)
{
	uint8_t *image;

	(void)state;
	begin_update();
	image = k.release[1].image[0];
	k.release[1].image[0] = NULL;
	poll_once();
	assert_int_equal(k.n_results, 0);
	assert_int_equal(kit_count(&k, OTA_EVENT_REFUSED), 0);
	assert_true(kit_runs(&k, 0));
	k.release[1].image[0] = image;
	poll_once();
	assert_true(kit_runs(&k, 1));
}

/* What the other slot holds cannot be read: it is fetched. */
static void test_look_cannot_read(void **state)
{
	(void)state;
	begin_update();
	while (k.agent.phase != PHASE_LOOK)
		kit_step(&k);
	k.flash.fail_reads = 1;
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.image_bytes, 9000);
}

/* The release key goes while its release is being fetched, and the device starts again. */
static void test_root_drops_fetching(void **state)
{
	(void)state;
	big_update(200001);
	k.cut_image = 150000;
	while (k.n_images == 0)
		kit_step(&k);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_FETCHING);
	memcpy(k.doc.key[1].kid, k.stranger.kid, OTA_KID_LEN);
	k.doc.key[1].pub = (struct ota_slice){k.stranger.pub, k.stranger.pub_len};
	kit_root_add(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(k.told.result_reason, 4);
	assert_int_equal(k.told.result_offset, 131072); /* as far as it was */
	assert_int_equal(k.n_images, 1);
}

/* A staged release is judged once more from what is in flash. */
static void test_stored_envelope_spoilt(void **state)
{
	static const struct {
		uint32_t at;
		enum ota_err want;
	} rows[] = {{0, OTA_NOT_FOUND}, {40, OTA_SIG}};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		begin_update();
		while (k.agent.phase != PHASE_ARM)
			kit_step(&k);
		if (i == 0)
			memset(k.flash.bytes[slot_region(0, 1)] + 16384 - 1024, 0xFF, 1024);
		else
			k.flash.bytes[slot_region(0, 1)][16384 - 1024 + rows[i].at] ^= 1;
		assert_true(kit_run(&k, 3600));
		assert_true(kit_runs(&k, 0));
		assert_int_equal(k.told.result_detail, ota_err_detail(rows[i].want));
		assert_int_equal(kit_count(&k, OTA_EVENT_ARMED), 0);
		assert_int_equal(k.n_starts, 0);
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

static struct ota_flash real;
static bool is_journal_worn;

static enum ota_err worn_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	return is_journal_worn && region == OTA_REGION_JOURNAL ? OTA_FLASH
							       : real.prog(ctx, region, off, buf, len);
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

/* ---- a journal that takes nothing for a while: nothing is said that a reset undoes ---- */

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

static void test_confirm_not_written(void **state)
{
	uint64_t tries;

	(void)state;
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
	while (!k.agent.has_contact)
		kit_step(&k);
	journal_shut(true);
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
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
	while (!k.agent.has_contact)
		kit_step(&k);
	journal_shut(true);
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
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
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
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
	while (!k.agent.has_contact)
		kit_step(&k);
	journal_shut(true);
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

/* A root whose floor does not go to flash holds nevertheless, and is in the next record that does. */
static void test_floor_of_root_not_written(void **state)
{
	(void)state;
	settled();
	k.doc.n_floors = 1;
	k.doc.floor[0].any_class = true;
	k.doc.floor[0].sequence = 2500;
	kit_root_add(&k);
	k.ticket_is_signed = true;
	while (k.agent.phase != PHASE_ROOT)
		kit_step(&k);
	/* The root's copies are stored, the record of its floor is not. */
	real = k.flash.flash;
	while (k.agent.root.version == 1) {
		assert_int_equal(k.agent.phase, PHASE_ROOT);
		kit_step(&k);
	}
	k.agent.journal.s.floor = 1000; /* as a failed record leaves it */
	kit_assign(&k, 1, 1);
	poll_once();
	poll_once();
	assert_true(kit_runs(&k, 0));
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REFUSED), OTA_ROLLBACK);
	kit_assign(&k, 2, 1);
	poll_once();
	assert_true(kit_runs(&k, 2));
}

/* A higher attempt of what is pending is on flash before it is told. */
static void test_attempt_raised_while_held(void **state)
{
	(void)state;
	begin_update();
	k.flags = TICKET_FLAG_HOLD;
	poll_once();
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
		T(test_factory_to_update),
		T(test_without_any_image),
		T(test_enroll_forged),
		T(test_enroll_answer_lost),
		T(test_refuse_envelope),
		T(test_refuse_server_key),
		T(test_refuse_rollback),
		T(test_refuse_sequence_reuse),
		T(test_refuse_class),
		T(test_refuse_vendor),
		T(test_refuse_too_large),
		T(test_refuse_component),
		T(test_refuse_unassigned),
		T(test_refuse_longer_than_told),
		T(test_envelope_spoilt_once),
		T(test_already),
		T(test_ticket_old_nonce),
		T(test_ticket_other_device),
		T(test_ticket_wrong_key),
		T(test_ticket_bit_flips),
		T(test_poll_clamped),
		T(test_retry_after_bounded),
		T(test_confirm_not_written),
		T(test_confirm_written_later),
		T(test_revert_not_written),
		T(test_journal_lost_for_a_while),
		T(test_floor_of_root_not_written),
		T(test_attempt_raised_while_held),
		T(test_armed_and_journal_shut),
		T(test_unreachable_backs_off),
		T(test_flipped_byte),
		T(test_short_and_long),
		T(test_endless),
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
		T(test_present_is_not_fetched),
		T(test_present_shares_unit),
		T(test_ill_reverts),
		T(test_attempts_used_up),
		T(test_no_contact_reverts),
		T(test_busy_server_prolongs),
		T(test_long_retry_after_prolongs),
		T(test_trial_ignores_assignments),
		T(test_changed_after_check),
		T(test_root_walk_50),
		T(test_server_key_replaced),
		T(test_root_forged),
		T(test_root_gap),
		T(test_root_floor),
		T(test_release_key_gone_and_journal_lost),
		T(test_root_drops_pending),
		T(test_daily_wishes),
		T(test_counter_blocks),
		T(test_counter_hint),
		T(test_receipt_when_unknown),
		T(test_nonce_without_random),
		T(test_notices),
		T(test_copies_are_mended),
		T(test_server_moves),
		T(test_two_components),
		T(test_component_is_copied),
		T(test_second_component_fails),
		T(test_component_missing),
		T(test_resume_in_second_component),
		T(test_refuse_no_manifest),
		T(test_already_by_its_envelope),
		T(test_envelope_gone),
		T(test_look_cannot_read),
		T(test_root_drops_fetching),
		T(test_stored_envelope_spoilt),
		T(test_record_is_not_the_release),
		T(test_foreign_bootloader),
		T(test_journal_refuses_one_step),
		T(test_envelope_not_stored),
		T(test_stage_needs_ticket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
