/* What becomes the floor where release keys change, within an epoch and by leaving it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "proto/crypto_openssl.h"
#include "tests/unit/agent/device.h"

static void replace_key(const struct ota_signer *by, uint32_t epoch)
{
	memcpy(k.doc.key[1].kid, by->kid, OTA_KID_LEN);
	k.doc.key[1].pub = (struct ota_slice){by->pub, by->pub_len};
	k.doc.epoch = epoch;
	kit_root_add(&k);
	k.ticket_is_signed = true;
}

/* Stolen release keys drove the sequence to its end. The owner's next root leaves their epoch, and what they
 * signed does not bring its number along. */
static void owner_leaves_the_epoch(void)
{
	crypto_signer_release(&k.release_key);
	assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &k.release_key), OTA_OK);
	replace_key(&k.release_key, k.doc.epoch + 1);
}

static void assert_mended_by_the_next_release(void)
{
	assert_int_equal(k.agent.journal.s.epoch, 2);
	assert_int_equal(k.agent.journal.s.floor, 0);
	assert_true(kit_runs(&k, 1));
	kit_make(&k, 2, 3000, 9000, 3); /* by the new keys */
	kit_assign(&k, 2, 1);
	poll_once();
	assert_true(kit_runs(&k, 2));
	assert_int_equal(k.agent.journal.s.floor, 3000);
	assert_false(k.told.has_result);
}

static void test_epoch_left_on_trial(void **state)
{
	(void)state;
	kit_make(&k, 1, UINT32_MAX, 9000, 2);
	on_trial();
	k.health = OTA_HEALTH_UNKNOWN;
	kit_live(&k, 600);
	assert_int_equal(k.last.state, CHECKIN_TRIAL);
	owner_leaves_the_epoch();
	kit_live(&k, 600);
	assert_int_equal(k.agent.root.version, 2);
	k.health = OTA_HEALTH_WELL;
	assert_true(kit_run(&k, 3600));
	assert_true(k.saw_confirmed);
	assert_mended_by_the_next_release();
}

static void test_epoch_left_and_journal_lost(void **state)
{
	(void)state;
	kit_make(&k, 1, UINT32_MAX, 9000, 2);
	begin_update();
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.floor, UINT32_MAX);
	owner_leaves_the_epoch();
	poll_once();
	assert_int_equal(k.agent.journal.s.floor, 0);
	memset(k.flash.bytes[OTA_REGION_JOURNAL], 0xFF, 8192);
	/* The old fallback would be taken otherwise. */
	memset(k.flash.bytes[OTA_REGION_SLOT], 0xFF, 16384);
	kit_forget(&k);
	assert_true(kit_start(&k));
	assert_true(k.choice.is_rebuilt && k.choice.is_trial);
	assert_true(kit_run(&k, 3600));
	assert_true(k.saw_confirmed);
	assert_mended_by_the_next_release();
}

/* What ran well in the epoch that was left is run again, on no trial and with nothing told of a failure. */
static void test_epoch_left_and_the_successor_rots(void **state)
{
	(void)state;
	begin_update();
	poll_once();
	assert_true(kit_runs(&k, 1));
	owner_leaves_the_epoch();
	poll_once();
	assert_int_equal(k.agent.journal.s.floor, 0);
	k.flash.bytes[slot_region(0, 1)][100] ^= 1;
	k.is_off_line = true;
	kit_forget(&k);
	assert_true(kit_start(&k));
	assert_true(k.choice.is_reverted && !k.choice.is_trial);
	kit_live(&k, 2 * 3600);
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.n_starts, 1);
	k.is_off_line = false;
	poll_once();
	assert_int_equal(k.last.state, CHECKIN_IDLE);
	assert_int_equal(k.last.running_sequence, 1000);
	assert_false(k.last.flags & CHECKIN_FLAG_STUCK);
	assert_memory_not_equal(k.told.result_digest, k.release[0].digest, 32);
}

static void replace_envelope(int release)
{
	memcpy(k.flash.bytes[slot_region(0, 1)] + 16384 - OTA_ENVELOPE_AREA, k.release[release].envelope,
		k.release[release].envelope_len);
}

/* Within an epoch the floor follows what was staged in it, whatever key it was signed by and whatever became
 * of its envelope. In the next one it follows what that one's keys signed: the same manifest, and no other.
 */
static void test_key_rotated_on_trial(void **state)
{
	enum { ROTTEN = 1, SIGNED_AGAIN, OF_ANOTHER };
	static const struct {
		uint32_t epoch;
		int envelope;
		uint32_t floor;
	} rows[] = {{1, 0, 2000}, {1, ROTTEN, 2000}, {1, SIGNED_AGAIN, 2000}, {2, 0, 0}, {2, ROTTEN, 0},
		{2, SIGNED_AGAIN, 2000}, {2, OF_ANOTHER, 0}};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		(void)tear_down(state);
		(void)set_up(state);
		on_trial();
		k.health = OTA_HEALTH_UNKNOWN;
		replace_key(&k.stranger, rows[i].epoch);
		kit_live(&k, 600);
		assert_int_equal(k.agent.root.version, 2);
		kit_sign(&k, 1, &k.stranger);
		kit_sign(&k, 2, &k.stranger);
		if (rows[i].envelope == ROTTEN)
			k.flash.bytes[slot_region(0, 1)][16384 - OTA_ENVELOPE_AREA + 20] ^= 1;
		else if (rows[i].envelope != 0)
			replace_envelope(rows[i].envelope == SIGNED_AGAIN ? 1 : 2);
		k.health = OTA_HEALTH_WELL;
		assert_true(kit_run(&k, 3600));
		assert_true(k.saw_confirmed);
		assert_int_equal(k.agent.journal.s.floor, rows[i].floor);
	}
}

static enum ota_err change_journal(void (*change)(struct journal_state *s))
{
	struct journal j;
	enum ota_err err = journal_open(&j, &k.flash.flash, crypto_openssl());

	if (err != OTA_OK)
		return err;
	change(&j.s);
	return journal_commit(&j);
}

static void lose_records(struct journal_state *s)
{
	memset(s->slot, 0, sizeof s->slot);
	s->floor = 1000;
}

/* What was found by an envelope that nobody signs for was not staged here, for all that is known. */
static void test_records_lost(void **state)
{
	for (int is_signed = 0; is_signed < 2; is_signed++) {
		(void)tear_down(state);
		(void)set_up(state);
		begin_update();
		poll_once();
		assert_true(kit_runs(&k, 1));
		memset(k.flash.bytes[slot_region(0, 0)], 0xFF, 16384);
		if (!is_signed) {
			kit_sign(&k, 1, &k.stranger);
			replace_envelope(1);
		}
		assert_int_equal(change_journal(lose_records), OTA_OK);
		assert_true(kit_start(&k));
		assert_true(k.choice.is_rebuilt && k.choice.is_trial);
		k.saw_confirmed = false;
		assert_true(kit_run(&k, 3600));
		assert_true(k.saw_confirmed);
		assert_int_equal(k.agent.journal.s.floor, is_signed ? 2000 : 1000);
	}
}

/* A journal that begins in a later epoch has left none: the first image is the floor, whatever key signed it.
 */
static void test_begins_in_a_later_epoch(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	kit_enrolled(&k);
	replace_key(&k.stranger, k.doc.epoch);
	assert_true(kit_start(&k));
	assert_true(k.choice.is_trial);
	assert_true(kit_run(&k, 3600));
	assert_true(k.saw_confirmed);
	assert_int_equal(k.agent.root.version, 2);
	assert_int_equal(k.agent.journal.s.floor, 1000);
	kit_make(&k, 3, 500, 9000, 9);
	kit_sign(&k, 3, &k.stranger);
	kit_assign(&k, 3, 1);
	poll_once();
	assert_true(kit_runs(&k, 0));
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REFUSED), OTA_ROLLBACK);
}

static void spoil_roots(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	(void)kit;
	if (what == 'r' && *len > 20)
		bytes[*len / 2] ^= 1;
}

/* The root that a device falls back to is of the epoch it left: whom that one trusts says nothing of the
 * floor. */
static void test_epoch_left_and_roots_lost(void **state)
{
	(void)state;
	kit_make(&k, 1, UINT32_MAX, 9000, 2);
	on_trial();
	k.health = OTA_HEALTH_UNKNOWN;
	kit_live(&k, 600);
	owner_leaves_the_epoch();
	kit_live(&k, 600);
	assert_int_equal(k.agent.root.version, 2);
	memset(k.flash.bytes[OTA_REGION_ROOT_A], 0x11, 600);
	memset(k.flash.bytes[OTA_REGION_ROOT_B], 0x11, 600);
	k.health = OTA_HEALTH_WELL;
	k.spoil = spoil_roots;
	assert_true(kit_start(&k));
	assert_int_equal(k.agent.root.version, 1);
	kit_live(&k, 900);
	assert_true(k.saw_confirmed);
	k.spoil = NULL;
	(void)kit_run(&k, 7200);
	assert_mended_by_the_next_release();
}

/* The newer root is lost on the device, and its server was put back to before it. What the keys of the epoch
 * that was left sign then is taken, as before, but its number is no floor for those that came after them. */
static void test_staged_under_a_root_that_was_left(void **state)
{
	struct ota_signer left = k.release_key;

	(void)state;
	begin_update();
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &k.release_key), OTA_OK);
	replace_key(&k.release_key, 2);
	poll_once();
	assert_int_equal(k.agent.journal.s.epoch, 2);
	memset(k.flash.bytes[OTA_REGION_ROOT_A], 0x11, 600);
	memset(k.flash.bytes[OTA_REGION_ROOT_B], 0x11, 600);
	k.n_roots = 1;
	assert_true(kit_start(&k));
	assert_int_equal(k.agent.root.version, 1);
	kit_make(&k, 2, UINT32_MAX, 9000, 3);
	kit_sign(&k, 2, &left);
	kit_assign(&k, 2, 1);
	k.saw_confirmed = false;
	poll_once();
	assert_true(kit_runs(&k, 2) && k.saw_confirmed);
	assert_int_equal(k.agent.journal.s.floor, 0);
	crypto_signer_release(&left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_epoch_left_on_trial),
		T(test_epoch_left_and_journal_lost),
		T(test_epoch_left_and_roots_lost),
		T(test_epoch_left_and_the_successor_rots),
		T(test_staged_under_a_root_that_was_left),
		T(test_begins_in_a_later_epoch),
		T(test_key_rotated_on_trial),
		T(test_records_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
