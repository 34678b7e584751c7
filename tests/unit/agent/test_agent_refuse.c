/* What the agent refuses before anything is written: tickets and releases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "proto/crypto_openssl.h"
#include "tests/unit/agent/device.h"

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
	assert_refused(OTA_SLOT_SIZE);
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

/* The envelope is asked for again when the image is there. Junk instead of it, as often as somebody likes:
 * told, and nothing is held against the release. */
static bool is_line_bad;

static void spoil_second_envelope(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (what == 'e' && is_line_bad && kit->n_images > 0)
		bytes[*len / 2] ^= 4;
}

static void spoil_second_envelope_other(struct kit *kit, char what, uint8_t *bytes, size_t *len)
{
	if (is_line_bad && kit->n_images > 0)
		spoil_other_envelope(kit, what, bytes, len);
}

static void test_junk_before_staging(void **state)
{
	void (*const spoil[])(struct kit * kit, char what, uint8_t *bytes, size_t *len) = {
		spoil_second_envelope, spoil_second_envelope_other};

	for (unsigned i = 0; i < sizeof spoil / sizeof spoil[0]; i++) {
		begin_update();
		k.spoil = spoil[i];
		is_line_bad = true;
		while (k.n_results == 0)
			kit_step(&k);
		assert_int_equal(k.agent.journal.s.failed.attempt, 0);
		assert_int_equal(k.n_envelopes, 3); /* asked for once more before it is believed */
		is_line_bad = false;
		poll_once();
		assert_int_equal(k.agent.journal.s.failed.attempt, 0);
		assert_true(kit_runs(&k, 0));
		assert_true(kit_start(&k));
		kit_assign(&k, 1, 1); /* the same attempt */
		assert_true(kit_run(&k, 3600));
		poll_once();
		assert_true(kit_runs(&k, 1));
		(void)tear_down(state);
		(void)set_up(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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
		T(test_junk_before_staging),
		T(test_already),
		T(test_ticket_old_nonce),
		T(test_ticket_other_device),
		T(test_ticket_wrong_key),
		T(test_ticket_bit_flips),
		T(test_refuse_no_manifest),
		T(test_already_by_its_envelope),
		T(test_envelope_gone),
		T(test_look_cannot_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
