#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/slot.h"
#include "proto/crypto_openssl.h"
#include "tests/unit/agent/kit.h"

static struct kit k;

static int set_up(void **state)
{
	struct flash_sim_options o = kit_small();

	(void)state;
	kit_init(&k, &o);
	kit_make(&k, 0, 1000, 5000, 1);
	kit_make(&k, 1, 2000, 9000, 2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kit_end(&k);
	return 0;
}

static enum ota_err boot(void)
{
	struct ota_boot_config cfg = {.flash = &k.flash.flash, .crypto = crypto_openssl()};

	return ota_boot_select(&cfg, &k.boot, &k.choice);
}

static struct journal_state *journal(void)
{
	return &k.boot.journal.s;
}

static uint8_t *slot(unsigned n)
{
	return k.flash.bytes[slot_region(0, n)];
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(boot(), OTA_NOT_FOUND);
	assert_int_equal(boot(), OTA_NOT_FOUND);
	assert_int_equal(journal()->phase, JOURNAL_IDLE);
}

/* The factory image is nothing special: found by its envelope, on trial like any. */
static void test_factory(void **state)
{
	(void)state;
	kit_factory(&k, 0, 1);
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 1);
	assert_true(k.choice.is_trial && k.choice.is_rebuilt);
	assert_int_equal(k.choice.sequence, 1000);
	/* Its attempts run out; it is all there is, and goes on booting. */
	for (unsigned i = 0; i < 9; i++) {
		assert_int_equal(boot(), OTA_OK);
		assert_int_equal(k.choice.slot, 1);
		assert_false(k.choice.is_reverted);
	}
	assert_int_equal(journal()->attempts_left, 0);
}

static void test_higher_sequence_first(void **state)
{
	(void)state;
	kit_factory(&k, 1, 0);
	kit_factory(&k, 0, 1);
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 0);
	assert_int_equal(k.choice.sequence, 2000);
}

/* One whose signature verifies goes before one with a higher sequence. */
static void test_signed_first(void **state)
{
	(void)state;
	kit_sign(&k, 1, &k.stranger);
	kit_factory(&k, 1, 0);
	kit_factory(&k, 0, 1);
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 1);
	/* And when it is all there is, it boots: what was confirmed once may have lost its key since. */
	memset(slot(1), 0, 100);
	memset(k.flash.bytes[OTA_REGION_JOURNAL], 0xFF, 8192);
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 0);
}

static void test_damaged_image_or_envelope(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	kit_factory(&k, 1, 1);
	slot(1)[8999] ^= 1;
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 0);
	(void)tear_down(NULL);
	(void)set_up(NULL);
	kit_factory(&k, 0, 0);
	slot(0)[16384 - 1024 + 40] ^= 1;
	assert_int_equal(boot(), OTA_NOT_FOUND);
	(void)tear_down(NULL);
	(void)set_up(NULL);
	kit_factory(&k, 0, 0);
	memset(slot(0) + 16384 - 1024, 0xFF, 1024);
	assert_int_equal(boot(), OTA_NOT_FOUND);
}

/* What runs rots; the other slot's record tells that it is whole. */
static void test_running_rots(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	kit_enrolled(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	kit_assign(&k, 1, 1);
	k.agent.next_poll_ms = k.now;
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
	slot(1)[4000] ^= 8;
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.choice.why, OTA_DIGEST);
	assert_int_equal(journal()->floor, 2000); /* the floor never goes down */
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.last.running_sequence, 1000); /* and the truth is told */
}

/* Both rot: nothing boots, and that is said. */
static void test_both_rot(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	assert_int_equal(boot(), OTA_OK);
	slot(0)[1] ^= 1;
	assert_int_equal(boot(), OTA_NOT_FOUND);
	/* It heals (a bad read, say): it boots again. */
	slot(0)[1] ^= 1;
	assert_int_equal(boot(), OTA_OK);
}

/* A boot attempt is in flash before the jump. */
static void test_attempt_is_written_first(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(journal()->attempts_left, 2);
	for (uint64_t op = 0; op < 2; op++) {
		uint8_t before = journal()->attempts_left;

		flash_sim_cut(&k.flash, op, DAMAGE_NOTHING, 1, 2);
		assert_int_not_equal(boot(), OTA_OK); /* no jump without it */
		flash_sim_power_on(&k.flash);
		assert_int_equal(boot(), OTA_OK);
		assert_true(journal()->attempts_left < before);
	}
}

static enum ota_err no_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	(void)ctx, (void)region, (void)off, (void)buf, (void)len;
	return OTA_FLASH;
}

static enum ota_err no_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	(void)ctx, (void)region, (void)off, (void)len;
	return OTA_FLASH;
}

/* A worn-out journal: what ran goes on running, and nothing goes on trial. */
static void test_journal_takes_nothing(void **state)
{
	struct ota_boot_config cfg = {.crypto = crypto_openssl()};
	struct ota_flash broken;

	(void)state;
	kit_factory(&k, 0, 0);
	kit_enrolled(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	broken = k.flash.flash;
	broken.prog = no_prog;
	broken.erase = no_erase;
	cfg.flash = &broken;
	assert_int_equal(ota_boot_select(&cfg, &k.boot, &k.choice), OTA_FLASH);
	assert_false(k.choice.is_trial);
	assert_int_equal(k.choice.slot, 0);
	assert_int_equal(k.choice.sequence, 1000);
}

/* What is in the journal, changed. */
static void record(void (*change)(struct journal_state *s))
{
	struct journal j;

	assert_int_equal(journal_open(&j, &k.flash.flash, crypto_openssl()), OTA_OK);
	change(&j.s);
	assert_int_equal(journal_commit(&j), OTA_OK);
}

static void settled(void)
{
	kit_factory(&k, 0, 0);
	kit_enrolled(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
}

/* A read that fails now and then is no rotten image: nothing goes back, and no update ends. */
static void test_read_fails_once(void **state)
{
	(void)state;
	settled();
	kit_assign(&k, 1, 1);
	while (k.agent.journal.s.phase != JOURNAL_ARMED)
		kit_step(&k);
	for (unsigned i = 0; i < 3; i++) {
		k.flash.fail_reads = 1 + i % 2;
		assert_int_equal(boot(), OTA_OK);
		assert_int_equal(k.choice.slot, 1);
		assert_true(k.choice.is_trial);
		assert_false(k.choice.is_reverted);
		assert_int_equal(k.flash.fail_reads, 0);
	}
	/* One that goes on failing is. */
	k.flash.fail_reads = 4;
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 0);
}

static void test_attempts_of_the_port(void **state)
{
	struct ota_boot_config cfg = {.flash = &k.flash.flash, .crypto = crypto_openssl(), .attempts = 1};

	(void)state;
	kit_factory(&k, 0, 0);
	assert_int_equal(ota_boot_select(&cfg, &k.boot, &k.choice), OTA_OK);
	assert_int_equal(journal()->attempts_left, 0);
}

/* Without a root that verifies nothing counts as signed: the higher sequence boots. */
static void test_no_root_no_signature(void **state)
{
	for (unsigned how = 0; how < 3; how++) {
		kit_sign(&k, 1, &k.stranger);
		kit_factory(&k, 0, 0);
		kit_factory(&k, 1, 1);
		if (how == 1) {
			memset(k.flash.bytes[OTA_REGION_IDENTITY_A], 0, 64);
			memset(k.flash.bytes[OTA_REGION_IDENTITY_B], 0, 64);
		} else if (how == 2) {
			k.root[0][k.root_len[0] - 3] ^= 1;
			kit_provision(&k);
		}
		assert_int_equal(boot(), OTA_OK);
		assert_int_equal(k.choice.slot, how == 0 ? 0 : 1);
		(void)tear_down(state);
		(void)set_up(state);
	}
}

static void test_higher_sequence_in_slot_1(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	kit_factory(&k, 1, 1);
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 1);
	assert_int_equal(k.choice.sequence, 2000);
}

/* An item that is no envelope, and an envelope around what is no manifest. */
static void test_no_envelope(void **state)
{
	static const uint8_t item[] = {0x01}, manifest[] = {0xA0};
	uint8_t envelope[256], digest[32], block[160];
	struct ota_slice blocks[1] = {{block, 0}};
	size_t len;

	(void)state;
	kit_factory(&k, 0, 0);
	memset(slot(0) + 16384 - 1024, 0xFF, 1024);
	memcpy(slot(0) + 16384 - 1024, item, sizeof item);
	assert_int_equal(boot(), OTA_NOT_FOUND);

	suit_manifest_digest(crypto_openssl(), (struct ota_slice){manifest, sizeof manifest}, digest);
	assert_int_equal(
		suit_sign(crypto_openssl(), &k.release_key, digest, block, sizeof block, &blocks[0].len),
		OTA_OK);
	assert_int_equal(suit_envelope_encode(crypto_openssl(), (struct ota_slice){manifest, sizeof manifest},
				 blocks, 1, envelope, sizeof envelope, &len),
		OTA_OK);
	memcpy(slot(0) + 16384 - 1024, envelope, len);
	assert_int_equal(boot(), OTA_NOT_FOUND);
	memcpy(slot(0) + 16384 - 1024, k.release[0].envelope, k.release[0].envelope_len);
	assert_int_equal(boot(), OTA_OK);
}

static void to_fetching(struct journal_state *s)
{
	s->phase = JOURNAL_FETCHING;
	s->target.attempt = 3;
	s->target.bytes = 4096;
	memset(s->target.digest, 0x77, sizeof s->target.digest);
}

/* Nothing boots while the first image is being fetched: what is fetched is not forgotten. */
static void test_nothing_but_what_is_fetched(void **state)
{
	(void)state;
	settled();
	record(to_fetching);
	memset(slot(0), 0, 100);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(boot(), OTA_NOT_FOUND);
		assert_int_equal(journal()->phase, JOURNAL_FETCHING);
		assert_int_equal(journal()->target.bytes, 4096);
		assert_int_equal(journal()->target.attempt, 3);
	}
}

/* Two releases: slot 0 ran, slot 1 is on trial with no start left and nobody's assignment. */
static void to_lonely_trial(struct journal_state *s)
{
	s->phase = JOURNAL_TRIAL;
	s->active = 1;
	s->attempts_left = 0;
	memset(&s->target, 0, sizeof s->target);
}

static void two_slots(void)
{
	settled();
	kit_assign(&k, 1, 1);
	k.agent.next_poll_ms = k.now;
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 1));
}

static void test_trial_that_nobody_assigned(void **state)
{
	(void)state;
	two_slots();
	record(to_lonely_trial);
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 0);
	assert_true(k.choice.is_reverted);
	assert_int_equal(k.choice.why, OTA_BOOTS);
	/* Nobody waits for a result. */
	assert_int_equal(journal()->result.attempt, 0);
	assert_int_equal(journal()->failed.attempt, 0);
}

static void to_revert(struct journal_state *s)
{
	s->phase = JOURNAL_REVERT;
	s->result.attempt = 1;
	s->result.detail = ota_err_detail(OTA_HEALTH);
}

/* The agent gave up its image, but the one before it rotted meanwhile: the device goes on. */
static void test_revert_to_nothing(void **state)
{
	(void)state;
	two_slots();
	record(to_revert);
	slot(0)[77] ^= 1;
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 1);
	assert_false(k.choice.is_reverted);
	assert_int_equal(journal()->phase, JOURNAL_IDLE);
	assert_int_equal(journal()->result.detail, ota_err_detail(OTA_HEALTH)); /* still to be told */
	assert_true(journal_is_stuck(journal()));
}

/* Two images that were never confirmed: slot 1 is tried once more in its place. */
static void to_tried_again(struct journal_state *s)
{
	for (unsigned n = 0; n < OTA_SLOTS; n++)
		journal_mark(s, JOURNAL_DOUBT, n);
	s->phase = JOURNAL_TRIAL;
	s->active = 1;
	s->attempts_left = 0;
	s->target.attempt = 2;
	memcpy(s->target.digest, s->slot[1].digest, sizeof s->target.digest);
}

static void test_tried_again_beside_a_failed_one(void **state)
{
	(void)state;
	two_slots();
	record(to_tried_again);
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 1);
	assert_int_equal(k.choice.why, OTA_BOOTS);
	assert_false(k.choice.is_trial || k.choice.is_reverted);
	assert_true(journal_is_stuck(journal()));
	assert_int_equal(journal()->result.attempt, 2);
	/* It rots meanwhile: the other one is better than nothing, and on trial. */
	record(to_tried_again);
	slot(1)[5] ^= 1;
	assert_int_equal(boot(), OTA_OK);
	assert_int_equal(k.choice.slot, 0);
	assert_int_equal(k.choice.why, OTA_DIGEST);
	assert_true(k.choice.is_trial && k.choice.is_reverted);
	assert_true(journal_is_marked(journal(), JOURNAL_DOUBT, 0));
	assert_int_equal(journal()->attempts_left, OTA_BOOT_ATTEMPTS - 1);
}

static void to_marked_and_lost(struct journal_state *s)
{
	to_tried_again(s);
	s->phase = JOURNAL_IDLE;
	memset(s->slot, 0, sizeof s->slot);
}

/* Records that are found anew say nothing of what was known of those before: one is tried, and the other, if
 * there is one, is in doubt. */
static void test_rebuilt_and_doubt(void **state)
{
	for (int is_alone = 0; is_alone < 2; is_alone++) {
		two_slots();
		record(to_marked_and_lost);
		if (is_alone)
			slot(0)[5] ^= 1;
		assert_int_equal(boot(), OTA_OK);
		assert_true(k.choice.is_rebuilt && k.choice.is_trial);
		assert_int_equal(k.choice.slot, 1);
		assert_int_equal(journal_is_marked(journal(), JOURNAL_DOUBT, 0), !is_alone);
		assert_false(journal_is_marked(journal(), JOURNAL_DOUBT, 1));
		assert_int_equal(journal_is_found(journal()), !is_alone);
		(void)tear_down(state);
		(void)set_up(state);
	}
}

static enum ota_err no_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	(void)ctx, (void)region, (void)off, (void)buf, (void)len;
	return OTA_FLASH;
}

/* The release of a larger board: no record holds all its components. */
static void test_too_many_components(void **state)
{
	struct suit_manifest *m = &k.release[0].m;

	(void)state;
	m->n_components = OTA_COMPONENTS_MAX + 1;
	for (unsigned i = 1; i < m->n_components; i++) {
		m->component[i] = m->component[0];
		m->component[i].id[2] = (uint8_t)('q' + i);
	}
	kit_sign(&k, 0, &k.release_key);
	kit_factory(&k, 0, 0);
	assert_int_equal(boot(), OTA_NOT_FOUND);
	assert_int_equal(journal()->slot[0].component[0].size, 0);
}

/* A worn-out journal in the middle of something: what verifies and ran before boots, and only where there is
 * no such image the one on trial. */
static void to_trial(struct journal_state *s)
{
	s->phase = JOURNAL_TRIAL;
	s->active = 1;
	s->attempts_left = 2;
}

static void to_armed(struct journal_state *s)
{
	s->phase = JOURNAL_ARMED;
	s->active = 0;
}

static void to_revert_in_doubt(struct journal_state *s)
{
	to_tried_again(s);
	to_revert(s);
}

static void test_journal_takes_nothing_in_between(void **state)
{
	static const struct {
		void (*to)(struct journal_state *s);
		unsigned rotten; /* 2: neither */
		unsigned want;
		bool is_trial;
	} rows[] = {{to_trial, 2, 0, false}, {to_trial, 0, 1, true}, {to_trial, 1, 0, false},
		{to_revert, 2, 0, false}, {to_revert, 0, 1, false}, {to_armed, 2, 0, false},
		{to_armed, 0, 1, false}, {to_tried_again, 2, 1, true}, {to_tried_again, 1, 0, true},
		{to_revert_in_doubt, 2, 0, false}};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ota_boot_config cfg = {.crypto = crypto_openssl()};
		struct ota_flash broken;

		two_slots();
		record(rows[i].to);
		if (rows[i].rotten < 2)
			slot(rows[i].rotten)[5] ^= 1;
		broken = k.flash.flash;
		broken.prog = no_prog;
		broken.erase = no_erase;
		cfg.flash = &broken;
		assert_int_equal(ota_boot_select(&cfg, &k.boot, &k.choice), OTA_FLASH);
		assert_int_equal(k.choice.slot, rows[i].want);
		assert_int_equal(k.choice.is_trial, rows[i].is_trial);
		assert_int_not_equal(k.choice.sequence, 0);
		(void)tear_down(state);
		(void)set_up(state);
	}
}

/* A worn-out journal and a rotten image: the other one, as long as it verifies. */
static void test_journal_takes_nothing_and_image_rots(void **state)
{
	struct ota_boot_config cfg = {.crypto = crypto_openssl()};
	struct ota_flash broken;

	(void)state;
	two_slots();
	broken = k.flash.flash;
	broken.prog = no_prog;
	broken.erase = no_erase;
	cfg.flash = &broken;
	slot(1)[4000] ^= 8;
	assert_int_equal(ota_boot_select(&cfg, &k.boot, &k.choice), OTA_FLASH);
	assert_int_equal(k.choice.slot, 0);
	assert_false(k.choice.is_trial);
	slot(0)[4000] ^= 8;
	assert_int_equal(ota_boot_select(&cfg, &k.boot, &k.choice), OTA_NOT_FOUND);
}

/* A journal that cannot be read is not taken for an empty one: nothing is rebuilt over it. */
static void test_journal_unreadable(void **state)
{
	struct ota_boot_config cfg = {.crypto = crypto_openssl()};
	struct ota_flash broken;
	uint64_t ops;

	(void)state;
	settled();
	broken = k.flash.flash;
	broken.read = no_read;
	cfg.flash = &broken;
	ops = k.flash.ops;
	assert_int_equal(ota_boot_select(&cfg, &k.boot, &k.choice), OTA_FLASH);
	assert_int_equal(k.flash.ops, ops);
	assert_int_equal(boot(), OTA_OK);
	assert_false(k.choice.is_rebuilt);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_nothing),
		T(test_factory),
		T(test_higher_sequence_first),
		T(test_signed_first),
		T(test_damaged_image_or_envelope),
		T(test_running_rots),
		T(test_read_fails_once),
		T(test_both_rot),
		T(test_attempt_is_written_first),
		T(test_journal_takes_nothing),
		T(test_journal_takes_nothing_in_between),
		T(test_attempts_of_the_port),
		T(test_no_root_no_signature),
		T(test_higher_sequence_in_slot_1),
		T(test_no_envelope),
		T(test_nothing_but_what_is_fetched),
		T(test_trial_that_nobody_assigned),
		T(test_revert_to_nothing),
		T(test_tried_again_beside_a_failed_one),
		T(test_rebuilt_and_doubt),
		T(test_too_many_components),
		T(test_journal_takes_nothing_and_image_rots),
		T(test_journal_unreadable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
