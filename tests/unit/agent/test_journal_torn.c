/* What a power cut left of a record, in a journal whose flash refuses now and then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/journal.h"
#include "proto/crypto_openssl.h"
#include "tests/sim/flash_sim.h"

/* A journal of as many groups as its region has: a slot's, here. */
static struct {
	struct flash_sim sim;
	struct ota_flash flash;
	uint64_t failing_erase; /* counted down; the one at 0 is refused */
	uint64_t progs_lost;    /* from now on; they leave no trace */
	bool is_silent;         /* ... and no error */
} wide;

static enum ota_err wide_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	(void)region;
	return wide.sim.flash.read(ctx, OTA_REGION_SLOT, off, buf, len);
}

static enum ota_err wide_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	(void)region;
	if (wide.progs_lost > 0) {
		wide.progs_lost--;
		return wide.is_silent ? OTA_OK : OTA_FLASH;
	}
	return wide.sim.flash.prog(ctx, OTA_REGION_SLOT, off, buf, len);
}

static enum ota_err wide_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	(void)region;
	if (wide.failing_erase-- == 0)
		return OTA_FLASH;
	return wide.sim.flash.erase(ctx, OTA_REGION_SLOT, off, len);
}

static void wide_geometry(void *ctx, unsigned region, struct ota_flash_geometry *out)
{
	(void)region;
	wide.sim.flash.geometry(ctx, OTA_REGION_SLOT, out);
}

static uint32_t wide_open(struct journal *j)
{
	assert_int_equal(journal_open(j, &wide.flash, crypto_openssl()), OTA_OK);
	return j->s.floor;
}

static enum ota_err no_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	(void)ctx, (void)region, (void)off, (void)len;
	return OTA_FLASH;
}

/* A journal of `groups` with `records` records, floor 1 and up. */
static uint32_t wide_begin(struct journal *j, uint32_t groups, uint32_t records, uint32_t seed)
{
	struct flash_sim_options o = {1024, 4, 0xFF, groups * 4096, 1, false};

	flash_sim_init(&wide.sim, &o);
	wide.sim.seed = seed;
	wide.flash = (struct ota_flash){&wide.sim, wide_read, wide_prog, wide_erase, wide_geometry};
	wide.failing_erase = UINT64_MAX;
	wide.progs_lost = 0;
	assert_int_equal(journal_open(j, &wide.flash, crypto_openssl()), OTA_NOT_FOUND);
	assert_int_equal(j->n_groups, groups);
	for (uint32_t i = 0; i < records; i++) {
		j->s.floor = i + 1;
		assert_int_equal(journal_commit(j), OTA_OK);
	}
	return records;
}

static void wide_cut(uint64_t after, unsigned damage, uint32_t n)
{
	flash_sim_cut(&wide.sim, after, (enum flash_damage)damage, 1 + n % 3, 4);
}

/* Whatever is written from the next start on is what each later start finds. */
static void assert_goes_on(struct journal *j, uint32_t done)
{
	flash_sim_power_on(&wide.sim);
	assert_in_range(wide_open(j), done, done + 1);
	for (unsigned i = 0; i < 3 * j->per_group; i++) {
		j->s.floor = 100 + i;
		assert_int_equal(journal_commit(j), OTA_OK);
		for (unsigned look = 0; look < 3; look++)
			assert_int_equal(wide_open(j), 100 + i);
	}
	assert_int_equal(wide.sim.violations, 0);
	flash_sim_release(&wide.sim);
}

/* An erase fails, as at low voltage, the next group is taken, and there power fails in the middle of a
 * record. What that left, in a group that is passed over now, never comes back above what is written after
 * it; not where the erase that clears it fails, either. */
static void test_cut_behind_a_failed_erase(void **state)
{
	(void)state;
	for (unsigned damage = 0; damage < DAMAGES; damage++) {
		for (uint32_t n = 0; n < 48; n++) {
			struct journal j;
			uint32_t done = wide_begin(&j, 4, 8 * (1 + n % 4), n * 7919 + damage + 1);

			wide.failing_erase = 0;
			j.s.floor = done + 1;
			wide_cut(1, damage, n);
			assert_int_equal(journal_commit(&j), OTA_FLASH);
			wide.failing_erase = n / 4 % 2 ? n / 8 % 2 : UINT64_MAX;
			assert_goes_on(&j, done);
		}
	}
}

/* The open group takes no record and shows no trace of it, and the head of the next one is torn: the next
 * start finds its places blank, and goes on in it. */
static void test_cut_behind_a_deaf_group(void **state)
{
	(void)state;
	for (unsigned damage = 0; damage < DAMAGES; damage++) {
		for (uint32_t n = 0; n < 48; n++) {
			struct journal j;
			uint32_t done = wide_begin(&j, 2, 1 + n % 5, n * 7919 + damage + 1);

			wide.progs_lost = j.per_group - done;
			wide.is_silent = n / 5 % 2;
			j.s.floor = done + 1;
			wide_cut(1, damage, n);
			assert_int_equal(journal_commit(&j), OTA_FLASH);
			wide.progs_lost = 0;
			assert_goes_on(&j, done);
		}
	}
}

/* No group takes a record, which drives the numbers up, and the next attempt is torn. */
static void test_cut_behind_a_failed_commit(void **state)
{
	(void)state;
	for (unsigned damage = 0; damage < DAMAGES; damage++) {
		for (uint32_t n = 0; n < 48; n++) {
			struct journal j;
			uint32_t done = wide_begin(&j, 4, 3 + n % 6, n * 7919 + damage + 1);

			wide.progs_lost = UINT64_MAX;
			j.s.floor = done + 1;
			assert_int_equal(journal_commit(&j), OTA_FLASH);
			wide.progs_lost = 0;
			j.s.floor = done + 1;
			wide_cut(1, damage, n);
			assert_int_equal(journal_commit(&j), OTA_FLASH);
			wide.failing_erase = n / 6 % 2 ? n / 12 % 2 : UINT64_MAX;
			assert_goes_on(&j, done);
		}
	}
}

/* Of two groups the other one keeps what is torn: no record is called written that it might outrank. */
static void test_nowhere_to_go(void **state)
{
	struct journal j;

	(void)state;
	(void)wide_begin(&j, 2, 3, 1);
	wide.sim.bytes[OTA_REGION_SLOT][4096] = 0x01;
	wide_open(&j);
	wide.sim.flash.erase = no_erase;
	assert_int_equal(journal_commit(&j), OTA_FLASH);
	assert_int_equal(journal_commit(&j), OTA_FLASH);
	assert_int_equal(wide_open(&j), 3);
	flash_sim_release(&wide.sim);
}

static enum ota_err deaf_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	(void)ctx, (void)region, (void)off, (void)len;
	return OTA_OK;
}

static bool has_programmed;

static enum ota_err prog_once(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	(void)ctx;
	if (has_programmed)
		return OTA_FLASH;
	has_programmed = true;
	memcpy(wide.sim.bytes[region] + off, buf, len);
	return OTA_OK;
}

/* The first record ever holds, and none above what a torn one may say: it is what is on flash, and nothing
 * begins anew over it. */
static void test_the_first_record_stays(void **state)
{
	struct journal j;

	(void)state;
	(void)wide_begin(&j, 4, 0, 1);
	wide.sim.bytes[OTA_REGION_SLOT][j.group_len] = 0x01;
	wide.sim.flash.erase = deaf_erase;
	wide.sim.flash.prog = prog_once;
	has_programmed = false;
	j.s.floor = 77;
	assert_int_equal(journal_commit(&j), OTA_FLASH);
	assert_false(j.is_empty || j.is_lost);
	assert_int_equal(j.s.floor, 77);
	assert_int_equal(wide_open(&j), 77);
	flash_sim_release(&wide.sim);
}

/* A start erases nothing that holds records or is blank. */
static void test_clean_groups_stay(void **state)
{
	(void)state;
	for (uint32_t records = 1; records < 40; records++) {
		struct journal j;
		uint64_t ops;

		(void)wide_begin(&j, 4, records, 1);
		wide_open(&j);
		ops = wide.sim.ops;
		/* One record; and an erase where the group was full, or its last place is passed over. */
		assert_int_equal(journal_commit(&j), OTA_OK);
		assert_int_equal(wide.sim.ops - ops, j.index == 0 ? 2 : 1);
		flash_sim_release(&wide.sim);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_behind_a_failed_erase),
		cmocka_unit_test(test_cut_behind_a_deaf_group),
		cmocka_unit_test(test_cut_behind_a_failed_commit),
		cmocka_unit_test(test_nowhere_to_go),
		cmocka_unit_test(test_the_first_record_stays),
		cmocka_unit_test(test_clean_groups_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
