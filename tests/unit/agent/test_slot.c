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
	kit_factory(&k, 0, 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kit_end(&k);
	return 0;
}

static enum ota_err check(const struct journal_slot *rec)
{
	return slot_check(&k.flash.flash, crypto_openssl(), rec, 1);
}

/* A record is only as good as the bytes: of its size, in the slot, readable. */
static void test_check(void **state)
{
	struct journal_slot rec, wrong;

	(void)state;
	assert_int_equal(slot_record_from(&k.release[0].m, k.release[0].digest, 1, &rec), OTA_OK);
	assert_int_equal(check(&rec), OTA_OK);
	wrong = rec;
	wrong.component[0].size = 0;
	assert_int_equal(check(&wrong), OTA_NOT_FOUND);
	wrong.component[0].size = 16384 - OTA_ENVELOPE_AREA + 1; /* into the envelope */
	assert_int_equal(check(&wrong), OTA_DIGEST);
	wrong.component[0].size = UINT32_MAX;
	assert_int_equal(check(&wrong), OTA_DIGEST);
	wrong = rec;
	wrong.component[0].sha256[31] ^= 1;
	assert_int_equal(check(&wrong), OTA_DIGEST);
	wrong = rec;
	wrong.component[1].size = 1; /* this board has no second component */
	assert_int_equal(check(&wrong), OTA_DIGEST);
	k.flash.fail_reads = 1;
	assert_int_equal(check(&rec), OTA_FLASH);
	assert_int_equal(check(&rec), OTA_OK);
}

static void test_record_from(void **state)
{
	struct suit_manifest m = k.release[0].m;
	struct journal_slot rec;

	(void)state;
	m.n_components = 0;
	assert_int_equal(slot_record_from(&m, k.release[0].digest, 0, &rec), OTA_COMPONENT);
	m.n_components = OTA_COMPONENTS_MAX + 1;
	assert_int_equal(slot_record_from(&m, k.release[0].digest, 0, &rec), OTA_COMPONENT);
	/* An image for each slot: each slot has its own. */
	m = k.release[0].m;
	m.component[0].n_images = 2;
	m.component[0].image[1] = m.component[0].image[0];
	m.component[0].image[1].size = 4999;
	assert_int_equal(slot_record_from(&m, k.release[0].digest, 0, &rec), OTA_OK);
	assert_int_equal(rec.component[0].size, 5000);
	assert_int_equal(slot_record_from(&m, k.release[0].digest, 1, &rec), OTA_OK);
	assert_int_equal(rec.component[0].size, 4999);
}

static void test_envelope_read(void **state)
{
	uint8_t buf[OTA_ENVELOPE_AREA];
	struct flash_sim_options o = kit_small();
	struct flash_sim tiny;
	uint32_t len = 0;

	(void)state;
	assert_int_equal(slot_envelope_read(&k.flash.flash, 1, buf, &len), OTA_OK);
	assert_int_equal(len, k.release[0].envelope_len);
	assert_memory_equal(buf, k.release[0].envelope, len);
	len = 7;
	k.flash.fail_reads = 1;
	assert_int_equal(slot_envelope_read(&k.flash.flash, 1, buf, &len), OTA_FLASH);
	assert_int_equal(slot_envelope_read(&k.flash.flash, 0, buf, &len), OTA_NOT_FOUND); /* erased */
	assert_int_equal(len, 7);
	/* A slot that the area would fill has none, and holds no image. */
	o.slot_size = OTA_ENVELOPE_AREA;
	flash_sim_init(&tiny, &o);
	assert_int_equal(slot_envelope_read(&tiny.flash, 0, buf, &len), OTA_NOT_FOUND);
	assert_int_equal(slot_capacity(&tiny.flash, 0), 0);
	assert_int_equal(tiny.violations, 0);
	flash_sim_release(&tiny);
}

/* Flash with one dead byte: it is programmed, says so, and stays what it was. */
static struct ota_flash real;
static uint32_t dead;

static enum ota_err prog_but_one(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	struct flash_sim *f = ctx;
	enum ota_err err = real.prog(ctx, region, off, buf, len);

	if (dead >= off && dead - off < len)
		f->bytes[region][dead] = f->o.erased;
	return err;
}

/* Every byte is read back, whatever the length, and a program unit is filled with what erased bytes are. */
static void test_write(void **state)
{
	const struct ota_flash *f = &k.flash.flash;
	uint8_t bytes[300];
	unsigned region = slot_region(0, 0);

	(void)state;
	memset(bytes, 0x5A, sizeof bytes);
	for (uint32_t len = 1; len < sizeof bytes; len++) {
		assert_int_equal(f->erase(f->ctx, region, 0, 1024), OTA_OK);
		assert_int_equal(flash_write(f, region, 4, bytes, len), OTA_OK);
		assert_memory_equal(k.flash.bytes[region] + 4, bytes, len);
		assert_int_equal(k.flash.bytes[region][4 + len], 0xFF);
	}
	assert_int_equal(k.flash.violations, 0);
	real = *f;
	k.flash.flash.prog = prog_but_one;
	for (dead = 4; dead < 4 + 299; dead++) {
		assert_int_equal(f->erase(f->ctx, region, 0, 1024), OTA_OK);
		assert_int_equal(flash_write(f, region, 4, bytes, 299), OTA_FLASH);
	}
	k.flash.flash = real;
	for (uint64_t op = 0; op < 2; op++) {
		assert_int_equal(f->erase(f->ctx, region, 0, 1024), OTA_OK);
		flash_sim_cut(&k.flash, op, DAMAGE_NOTHING, 1, 2);
		assert_int_equal(flash_write(f, region, 0, bytes, 299), OTA_FLASH);
		flash_sim_power_on(&k.flash);
	}
	assert_int_equal(f->erase(f->ctx, region, 0, 1024), OTA_OK);
	k.flash.fail_reads = 1;
	assert_int_equal(flash_write(f, region, 0, bytes, 299), OTA_FLASH);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_check),
		T(test_record_from),
		T(test_envelope_read),
		T(test_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
