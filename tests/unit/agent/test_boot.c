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
		T(test_both_rot),
		T(test_attempt_is_written_first),
		T(test_journal_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
