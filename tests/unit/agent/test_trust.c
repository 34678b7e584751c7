#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/slot.h"
#include "device-agent/src/trust.h"
#include "proto/crypto_openssl.h"
#include "tests/unit/agent/kit.h"

static struct kit k;
static struct journal journal;

static int set_up(void **state)
{
	struct flash_sim_options o = kit_small();

	(void)state;
	kit_init(&k, &o);
	assert_int_equal(journal_open(&journal, &k.flash.flash, crypto_openssl()), OTA_NOT_FOUND);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	kit_end(&k);
	return 0;
}

static uint8_t *region(unsigned r)
{
	return k.flash.bytes[r];
}

static enum ota_err store_root(const uint8_t *bytes, size_t len)
{
	return root_store(&k.flash.flash, crypto_openssl(), &journal, bytes, (uint32_t)len);
}

/* The version that root_load finds, 0 for none. */
static uint32_t load_root(unsigned *from)
{
	uint8_t buf[ROOT_MAX];
	struct root_doc doc;
	uint32_t len;

	return root_load(&k.flash.flash, crypto_openssl(), journal.s.flags, buf, &len, &doc, from) == OTA_OK
		       ? doc.version
		       : 0;
}

static enum ota_err load_identity(uint8_t buf[PROVISION_MAX], uint32_t *len, unsigned *from)
{
	struct provision p;

	return identity_load(&k.flash.flash, crypto_openssl(), journal.s.flags, buf, &p, len, from);
}

/* Of two whole copies the higher version counts, whichever copy it is in. */
static void test_newer_copy(void **state)
{
	uint8_t first[1056];
	unsigned from;

	(void)state;
	kit_root_add(&k);
	assert_int_equal(load_root(&from), 0);
	assert_int_equal(store_root(k.root[0], k.root_len[0]), OTA_OK);
	assert_int_equal(load_root(&from), 1);
	memcpy(first, region(OTA_REGION_ROOT_A), sizeof first);
	assert_int_equal(store_root(k.root[1], k.root_len[1]), OTA_OK);
	assert_int_equal(load_root(&from), 2);
	assert_int_equal(from, OTA_REGION_ROOT_A);
	memcpy(region(OTA_REGION_ROOT_A), first, sizeof first);
	assert_int_equal(load_root(&from), 2);
	assert_int_equal(from, OTA_REGION_ROOT_B);
}

/* A copy that was being written counts only where the other one is damaged. */
static void test_suspect_root(void **state)
{
	uint8_t second[1056];
	unsigned from;

	(void)state;
	kit_root_add(&k);
	assert_int_equal(store_root(k.root[1], k.root_len[1]), OTA_OK);
	memcpy(second, region(OTA_REGION_ROOT_A), sizeof second);
	assert_int_equal(store_root(k.root[0], k.root_len[0]), OTA_OK);
	memcpy(region(OTA_REGION_ROOT_A), second, sizeof second); /* A reads as version 2, B as 1 */
	journal.s.flags = 1 << TRUST_ROOT;
	assert_int_equal(load_root(&from), 1);
	assert_int_equal(from, OTA_REGION_ROOT_B);
	region(OTA_REGION_ROOT_B)[20] ^= 1;
	assert_int_equal(load_root(&from), 2);
	assert_int_equal(from, OTA_REGION_ROOT_A);
	journal.s.flags = 2 << TRUST_ROOT;
	region(OTA_REGION_ROOT_B)[20] ^= 1;
	assert_int_equal(load_root(&from), 2);
	assert_int_equal(from, OTA_REGION_ROOT_A);
	region(OTA_REGION_ROOT_A)[20] ^= 1;
	assert_int_equal(load_root(&from), 1);
	assert_int_equal(from, OTA_REGION_ROOT_B);
	region(OTA_REGION_ROOT_A)[20] ^= 1;
	region(OTA_REGION_ROOT_B)[20] ^= 1;
	journal.s.flags = 1 << TRUST_ROOT;
	assert_int_equal(load_root(&from), 2);
	/* What is loaded from the suspect copy goes into the other one first, then over itself. */
	assert_int_equal(root_heal(&k.flash.flash, crypto_openssl(), &journal, k.root[1],
				 (uint32_t)k.root_len[1], from),
		OTA_OK);
	assert_int_equal(journal.s.flags, 0);
	assert_memory_equal(region(OTA_REGION_ROOT_A), second, k.root_len[1] + 32);
	assert_memory_equal(region(OTA_REGION_ROOT_B), second, k.root_len[1] + 32);
}

static void test_suspect_identity(void **state)
{
	uint8_t buf[PROVISION_MAX], want[PROVISION_MAX];
	uint32_t len, want_len;
	uint64_t ops;
	unsigned from;

	(void)state;
	assert_int_equal(load_identity(want, &want_len, &from), OTA_OK);
	assert_int_equal(from, OTA_REGION_IDENTITY_A);
	journal.s.flags = 1 << TRUST_IDENTITY;
	assert_int_equal(load_identity(buf, &len, &from), OTA_OK);
	assert_int_equal(from, OTA_REGION_IDENTITY_B);
	region(OTA_REGION_IDENTITY_B)[9] ^= 1;
	assert_int_equal(load_identity(buf, &len, &from), OTA_OK);
	assert_int_equal(from, OTA_REGION_IDENTITY_A);
	ops = k.flash.ops;
	assert_int_equal(identity_heal(&k.flash.flash, &journal, buf, len, from), OTA_OK);
	assert_true(k.flash.ops > ops);
	assert_int_equal(journal.s.flags, 0);
	assert_memory_equal(region(OTA_REGION_IDENTITY_A), want, want_len);
	assert_memory_equal(region(OTA_REGION_IDENTITY_B), want, want_len);
	/* Whole copies are left alone. */
	ops = k.flash.ops;
	assert_int_equal(identity_heal(&k.flash.flash, &journal, buf, len, from), OTA_OK);
	assert_int_equal(k.flash.ops, ops);
	/* And where both are gone, that is said. */
	region(OTA_REGION_IDENTITY_A)[9] ^= 1;
	region(OTA_REGION_IDENTITY_B)[9] ^= 1;
	assert_int_equal(load_identity(buf, &len, &from), OTA_NOT_FOUND);
}

/* Flash that does not read one stretch. */
static struct ota_flash real;
static struct {
	unsigned region;
	uint32_t from, to;
	uint32_t len; /* 0, or only reads of this length fail */
} hole;

static enum ota_err read_but_hole(void *ctx, unsigned r, uint32_t off, void *buf, uint32_t len)
{
	if (r == hole.region && off < hole.to && off + len > hole.from && (hole.len == 0 || hole.len == len))
		return OTA_FLASH;
	return real.read(ctx, r, off, buf, len);
}

/* A copy that cannot be read is written again; one whose document stands but whose sum does not, too. */
static void test_heal_unreadable(void **state)
{
	uint8_t buf[PROVISION_MAX];
	uint32_t len;
	uint64_t ops;
	unsigned from;

	(void)state;
	assert_int_equal(store_root(k.root[0], k.root_len[0]), OTA_OK);
	assert_int_equal(load_identity(buf, &len, &from), OTA_OK);
	real = k.flash.flash;
	k.flash.flash.read = read_but_hole;
	hole.region = OTA_REGION_IDENTITY_B;
	hole.from = 0;
	hole.to = 64;
	ops = k.flash.ops;
	assert_int_equal(identity_heal(&k.flash.flash, &journal, buf, len, from), OTA_OK);
	assert_true(k.flash.ops > ops); /* tried, and not read back */
	assert_int_equal(journal.s.flags >> TRUST_IDENTITY & 3, 2);
	hole.region = OTA_REGIONS;
	assert_int_equal(identity_heal(&k.flash.flash, &journal, buf, len, from), OTA_OK);
	assert_int_equal(journal.s.flags, 0);

	region(OTA_REGION_ROOT_B)[k.root_len[0]] ^= 1;
	assert_int_equal(load_root(&from), 1);
	assert_int_equal(root_heal(&k.flash.flash, crypto_openssl(), &journal, k.root[0],
				 (uint32_t)k.root_len[0], from),
		OTA_OK);
	assert_memory_equal(region(OTA_REGION_ROOT_A), region(OTA_REGION_ROOT_B), k.root_len[0] + 32);
	/* A sum that cannot be read is no sum. */
	hole.region = OTA_REGION_ROOT_A;
	hole.from = (uint32_t)k.root_len[0] + 31;
	hole.to = hole.from + 1;
	hole.len = 32;
	assert_int_equal(load_root(&from), 1);
	assert_int_equal(from, OTA_REGION_ROOT_B);
	hole.len = 0;
	assert_int_equal(load_root(&from), 1);
	assert_int_equal(from, OTA_REGION_ROOT_B);
	assert_int_equal(root_heal(&k.flash.flash, crypto_openssl(), &journal, k.root[0],
				 (uint32_t)k.root_len[0], from),
		OTA_OK);
	assert_int_equal(journal.s.flags >> TRUST_ROOT & 3, 1);
	/* ... but what was loaded from a copy that is in doubt itself needs the other one. */
	journal.s.flags = 2 << TRUST_ROOT;
	assert_int_equal(root_heal(&k.flash.flash, crypto_openssl(), &journal, k.root[0],
				 (uint32_t)k.root_len[0], OTA_REGION_ROOT_B),
		OTA_FLASH);
	journal.s.flags = 2 << TRUST_IDENTITY;
	hole.region = OTA_REGION_IDENTITY_A;
	hole.from = 0;
	hole.to = 64;
	assert_int_equal(identity_heal(&k.flash.flash, &journal, buf, len, OTA_REGION_IDENTITY_B), OTA_FLASH);
	k.flash.flash = real;
}

/* Whole by its sum, but no root document: never loaded. */
static void test_no_document(void **state)
{
	static const uint8_t item[] = {0x82, 0x01, 0x02}, empty[] = {0xA0};
	uint8_t bytes[ROOT_MAX], block[160];
	struct ota_slice payload = {empty, sizeof empty}, blocks[1] = {{block, 0}};
	size_t len;
	unsigned from;

	(void)state;
	assert_int_equal(store_root(item, sizeof item), OTA_OK);
	assert_int_equal(load_root(&from), 0);
	assert_int_equal(root_sign(&k.root_key[0], payload, block, sizeof block, &blocks[0].len), OTA_OK);
	assert_int_equal(root_encode(payload, blocks, 1, bytes, sizeof bytes, &len), OTA_OK);
	assert_int_equal(store_root(bytes, len), OTA_OK);
	assert_int_equal(load_root(&from), 0);
	assert_int_equal(store_root(k.root[0], k.root_len[0]), OTA_OK);
	assert_int_equal(load_root(&from), 1);
}

/* What does not fit is refused before anything is erased. */
static void test_too_large(void **state)
{
	static uint8_t bytes[4096];
	uint8_t before[3072];

	(void)state;
	memcpy(before, region(OTA_REGION_IDENTITY_A), sizeof before);
	assert_int_equal(identity_store(&k.flash.flash, &journal, bytes, 3073), OTA_NO_SPACE);
	assert_memory_equal(before, region(OTA_REGION_IDENTITY_A), sizeof before);
	assert_int_equal(store_root(bytes, 2048 - 31), OTA_NO_SPACE);
}

/* Writing the identity is cut at every operation in turn: it is there all the time, old or new. */
static void test_identity_store_fails(void **state)
{
	uint8_t bytes[PROVISION_MAX], buf[PROVISION_MAX];
	uint32_t len, new_len;
	unsigned from;

	kit_enrolled(&k);
	assert_int_equal(load_identity(bytes, &new_len, &from), OTA_OK);
	for (uint64_t op = 0; op < 100; op++) {
		enum ota_err err;

		kit_provision(&k);
		assert_int_equal(journal_commit(&journal), OTA_OK);
		flash_sim_cut(&k.flash, op, DAMAGE_PREFIX, 1, 2);
		err = identity_store(&k.flash.flash, &journal, bytes, new_len);
		flash_sim_power_on(&k.flash);
		assert_int_equal(journal_open(&journal, &k.flash.flash, crypto_openssl()), OTA_OK);
		assert_int_equal(load_identity(buf, &len, &from), OTA_OK);
		assert_int_equal(identity_heal(&k.flash.flash, &journal, buf, len, from), OTA_OK);
		assert_int_equal(journal.s.flags, 0);
		assert_memory_equal(region(OTA_REGION_IDENTITY_A), region(OTA_REGION_IDENTITY_B), len);
		if (err == OTA_OK) {
			assert_true(op > 6);
			assert_int_equal(len, new_len);
			assert_memory_equal(buf, bytes, len);
			(void)state;
			return;
		}
	}
	fail_msg("storing an identity takes too many operations");
}

/* The same for the root. */
static void test_root_store_fails(void **state)
{
	unsigned from;

	kit_root_add(&k);
	for (uint64_t op = 0; op < 100; op++) {
		enum ota_err err;
		uint32_t version;

		(void)tear_down(state);
		(void)set_up(state);
		kit_root_add(&k);
		assert_int_equal(journal_commit(&journal), OTA_OK);
		assert_int_equal(store_root(k.root[0], k.root_len[0]), OTA_OK);
		flash_sim_cut(&k.flash, op, DAMAGE_PREFIX, 1, 2);
		err = store_root(k.root[1], k.root_len[1]);
		flash_sim_power_on(&k.flash);
		assert_int_equal(journal_open(&journal, &k.flash.flash, crypto_openssl()), OTA_OK);
		version = load_root(&from);
		assert_true(version == 1 || version == 2);
		assert_int_equal(root_heal(&k.flash.flash, crypto_openssl(), &journal, k.root[version - 1],
					 (uint32_t)k.root_len[version - 1], from),
			OTA_OK);
		assert_memory_equal(region(OTA_REGION_ROOT_A), region(OTA_REGION_ROOT_B), 1024);
		assert_int_equal(journal.s.flags, 0);
		if (err == OTA_OK) {
			assert_true(op > 6); /* two copies, each announced, erased, programmed */
			return;
		}
	}
	fail_msg("storing a root takes too many operations");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_newer_copy),
		T(test_suspect_root),
		T(test_suspect_identity),
		T(test_heal_unreadable),
		T(test_no_document),
		T(test_too_large),
		T(test_identity_store_fails),
		T(test_root_store_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
