/* The root walk, its floors, the copies of root and identity. */
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

static void rotate_server_key(void)
{
	crypto_signer_release(&k.server_key);
	assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &k.server_key), OTA_OK);
	memcpy(k.doc.key[2].kid, k.server_key.kid, OTA_KID_LEN);
	kit_root_add(&k);
}

static void replace_release_key(void)
{
	memcpy(k.doc.key[1].kid, k.stranger.kid, OTA_KID_LEN);
	k.doc.key[1].pub = (struct ota_slice){k.stranger.pub, k.stranger.pub_len};
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
	replace_release_key();
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
	staged_on_hold();
	replace_release_key();
	k.flags = 0;
	poll_once();
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.told_first.result_reason, 4);
}

/* ... but where the same manifest was signed again by the new key, it is staged anew and goes on, without a
 * byte of the image. */
static void test_signed_again_while_staged(void **state)
{
	(void)state;
	staged_on_hold();
	replace_release_key();
	kit_sign(&k, 1, &k.stranger);
	k.flags = 0;
	kit_forget(&k);
	poll_once();
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.n_images, 0);
	assert_int_equal(k.n_results, 0);
}

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

/* The release key goes while its release is being fetched, and the device starts again. */
static void test_root_drops_fetching(void **state)
{
	(void)state;
	big_update(200001);
	k.cut_image = 150000;
	while (k.n_images == 0)
		kit_step(&k);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_FETCHING);
	replace_release_key();
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(k.told_first.result_reason, 4);
	assert_int_equal(k.told_first.result_offset, 131072); /* as far as it was */
	assert_int_equal(k.n_images, 1);
}

/* A floor above the release that is being fetched: its own signers gave it that number, so it ends for good.
 */
static void test_floor_over_fetching(void **state)
{
	(void)state;
	big_update(200001);
	k.cut_image = 150000;
	while (k.n_images == 0)
		kit_step(&k);
	k.doc.n_floors = 1;
	k.doc.floor[0].any_class = true;
	k.doc.floor[0].sequence = 2500;
	kit_root_add(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_int_equal(k.agent.journal.s.failed.attempt, 1);
	assert_int_equal(k.n_images, 1);
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
	/* The root's copies are stored, with three records of that, and the record of its floor is not. */
	flash_sim_refuse(&k.flash, 3, 50, REFUSE_UNDONE);
	while (k.agent.root.version == 1) {
		assert_int_equal(k.agent.phase, PHASE_ROOT);
		kit_step(&k);
	}
	flash_sim_mend(&k.flash);
	assert_int_equal(k.agent.journal.s.floor, 1000);
	kit_assign(&k, 1, 1);
	poll_once();
	poll_once();
	assert_true(kit_runs(&k, 0));
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REFUSED), OTA_ROLLBACK);
	/* Whatever the next record is about. */
	k.agent.journal.s.floor = 1000;
	k.agent.counter = k.agent.journal.s.counter_end;
	poll_once();
	assert_int_equal(k.agent.journal.s.floor, 2500);
	kit_assign(&k, 2, 1);
	poll_once();
	assert_true(kit_runs(&k, 2));
}

/* The stored root cannot be read for a while: the provisioned one, whose keys were replaced, does not come
 * back. */
static struct ota_flash whole;
static bool is_root_blind;

static enum ota_err blind_root(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	return is_root_blind && (region == OTA_REGION_ROOT_A || region == OTA_REGION_ROOT_B)
		       ? OTA_FLASH
		       : whole.read(ctx, region, off, buf, len);
}

static void test_root_unreadable(void **state)
{
	unsigned before;

	(void)state;
	settled();
	kit_root_add(&k);
	k.ticket_is_signed = true;
	poll_once();
	assert_int_equal(k.agent.root.version, 2);
	whole = k.flash.flash;
	k.flash.flash.read = blind_root;
	/* While it runs: the identity is written anew, and with it the root read again. */
	is_root_blind = true;
	k.n_urls = 1;
	k.url[0] = (struct ota_slice){(const uint8_t *)"http://new.example/", 19};
	k.agent.next_poll_ms = k.now;
	kit_live(&k, 10);
	assert_int_equal(k.agent.root.version, 0);
	before = k.n_checkins;
	kit_live(&k, 3600);
	assert_int_equal(k.n_checkins, before);
	/* At a start. */
	assert_false(kit_start(&k));
	is_root_blind = false;
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.agent.root.version, 2);
	k.flash.flash = whole;
}

/* One copy of the root, and one of the identity, take nothing any more. The other one is all there is: it is
 * not touched, and the device lives on by it. */
static unsigned worn[2] = {OTA_REGIONS, OTA_REGIONS};
static uint64_t touched_whole;

static enum ota_err worn_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	return region == worn[0] || region == worn[1] ? OTA_FLASH : whole.prog(ctx, region, off, buf, len);
}

static enum ota_err worn_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	touched_whole += region < OTA_REGION_JOURNAL && region != worn[0] && region != worn[1];
	return whole.erase(ctx, region, off, len);
}

static void test_copy_worn_out(void **state)
{
	static const unsigned pairs[2][2] = {
		{OTA_REGION_IDENTITY_A, OTA_REGION_ROOT_A}, {OTA_REGION_IDENTITY_B, OTA_REGION_ROOT_B}};

	for (unsigned i = 0; i < 2; i++) {
		(void)tear_down(state);
		(void)set_up(state);
		settled();
		kit_root_add(&k);
		k.ticket_is_signed = true;
		poll_once();
		assert_int_equal(k.agent.root.version, 2);
		whole = k.flash.flash;
		k.flash.flash.prog = worn_prog;
		k.flash.flash.erase = worn_erase;
		memcpy(worn, pairs[i], sizeof worn);
		kit_root_add(&k);
		poll_once();
		/* Stored once where that was possible, and what counts after a start counts now. */
		assert_int_equal(k.agent.root.version, i == 0 ? 2 : 3);
		touched_whole = 0;
		kit_root_add(&k);
		k.n_urls = 1;
		k.url[0] = (struct ota_slice){(const uint8_t *)"http://new.example/", 19};
		kit_live(&k, 6 * 3600);
		assert_true(kit_start(&k));
		assert_int_equal(k.agent.root.version, i == 0 ? 2 : 3);
		kit_live(&k, 6 * 3600);
		assert_int_equal(touched_whole, 0);
		/* The server still names its newest root only to those who can have it. */
		k.n_roots = k.agent.root.version;
		kit_assign(&k, 1, 1);
		kit_live(&k, 3 * 3600);
		assert_true(kit_runs(&k, 1));
		assert_int_equal(touched_whole, i); /* the identity's A, once, while its B was not in doubt */
		k.flash.flash = whole;
	}
}

/* Both copies of the root rotted: the provisioned one takes over and walks on, and what the lost one forbade
 * stays forbidden meanwhile. */
static void test_root_rots_floor_stays(void **state)
{
	(void)state;
	settled();
	crypto_signer_release(&k.release_key);
	assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &k.release_key), OTA_OK);
	memcpy(k.doc.key[1].kid, k.release_key.kid, OTA_KID_LEN);
	k.doc.epoch = 2;
	k.doc.n_floors = 1;
	k.doc.floor[0].any_class = true;
	k.doc.floor[0].sequence = 2500;
	kit_root_add(&k);
	k.ticket_is_signed = true;
	poll_once();
	assert_int_equal(k.agent.journal.s.floor, 2500);
	assert_int_equal(k.agent.journal.s.epoch, 2);
	memset(k.flash.bytes[OTA_REGION_ROOT_A], 0x11, 600);
	memset(k.flash.bytes[OTA_REGION_ROOT_B], 0x11, 600);
	assert_true(kit_start(&k));
	assert_int_equal(k.agent.root.version, 1);
	assert_int_equal(k.agent.journal.s.floor, 2500);
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.agent.root.version, 2);
	assert_int_equal(k.agent.journal.s.floor, 2500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_root_walk_50),
		T(test_server_key_replaced),
		T(test_root_forged),
		T(test_root_gap),
		T(test_root_floor),
		T(test_root_unreadable),
		T(test_copy_worn_out),
		T(test_root_rots_floor_stays),
		T(test_release_key_gone_and_journal_lost),
		T(test_root_drops_pending),
		T(test_signed_again_while_staged),
		T(test_copies_are_mended),
		T(test_root_drops_fetching),
		T(test_floor_over_fetching),
		T(test_floor_of_root_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
