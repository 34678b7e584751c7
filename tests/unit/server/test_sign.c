#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "db/board.h"
#include "db/release.h"
#include "proto/crypto_openssl.h"
#include "server/sign.h"
#include "tests/unit/server/fleet.h"

static struct fleet fl;
static struct errmsg e;

static int set_up(void **state)
{
	(void)state;
	fleet_init(&fl, true);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fleet_release(&fl);
	return 0;
}

static void test_next_sequence(void **state)
{
	static const struct {
		uint32_t highest;
		int64_t now;
		enum ota_err err;
		uint32_t want;
	} cases[] = {
		{0, 1800000000, OTA_OK, 1800000000},
		{1800000000, 1800000000, OTA_OK, 1800000008},
		{1799999993, 1800000000, OTA_OK, 1800000001},
		{1799999992, 1800000000, OTA_OK, 1800000000},
		{1900000000, 1800000000, OTA_OK, 1900000008},
		{0, 0, OTA_OK, 8},
		{UINT32_MAX - 16, 0, OTA_OK, UINT32_MAX - 8},
		{UINT32_MAX - 15, 0, OTA_LIMIT, 0},
		{UINT32_MAX, 0, OTA_LIMIT, 0},
		{0, INT64_C(1) << 33, OTA_LIMIT, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t got = 0;

		assert_int_equal(sign_next_sequence(cases[i].highest, cases[i].now, &got), cases[i].err);
		assert_int_equal(got, cases[i].want);
	}
}

static void test_check_sequence(void **state)
{
	static const struct {
		uint32_t sequence, highest;
		int64_t now;
		enum ota_err want;
	} cases[] = {
		{101, 100, 50, OTA_OK},
		{100, 100, 50, OTA_ROLLBACK},
		{99, 100, 50, OTA_ROLLBACK},
		{100 + 86400, 100, 50, OTA_OK},
		{101 + 86400, 100, 50, OTA_LIMIT},
		{1000 + 86400, 100, 1000, OTA_OK},
		{1001 + 86400, 100, 1000, OTA_LIMIT},
		{UINT32_MAX, 100, 1000, OTA_LIMIT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(sign_check_sequence(cases[i].sequence, cases[i].highest, cases[i].now, &e),
			cases[i].want);
}

static struct manifest_row manifest_of(const uint8_t digest[32])
{
	struct manifest_row m = {0};

	assert_int_equal(manifest_load_digest(fl.db, digest, &fl.mem, &m, &e), OTA_OK);
	return m;
}

static void test_release_verifies(void **state)
{
	struct cose_keyring ring;
	struct suit_envelope env;
	struct suit_manifest sm;
	struct manifest_row m;
	uint8_t digest[32];

	(void)state;
	fleet_release_of(&fl, "1.0", "image bytes", digest);
	m = manifest_of(digest);
	assert_int_equal(suit_envelope_decode(crypto_openssl(), m.envelope, m.envelope_len, &env), OTA_OK);
	root_keyring(crypto_openssl(), &fl.root_doc, ROOT_ROLE_RELEASE, &ring);
	assert_int_equal(suit_envelope_verify(crypto_openssl(), &env, &ring), OTA_OK);
	root_keyring(crypto_openssl(), &fl.root_doc, ROOT_ROLE_SERVER, &ring);
	assert_int_not_equal(suit_envelope_verify(crypto_openssl(), &env, &ring), OTA_OK);
	assert_memory_equal(env.digest, digest, 32);
	assert_int_equal(suit_manifest_decode(env.manifest, &sm), OTA_OK);
	assert_memory_equal(sm.vendor_id, fl.vendor_id, 16);
	assert_memory_equal(sm.class_id, fl.class_id, 16);
	assert_int_equal(sm.sequence, fl.f.now);
	assert_int_equal(sm.n_components, 1);
	assert_memory_equal(sm.component[0].id, "app", 3);
	assert_int_equal(sm.component[0].n_images, 1);
	assert_int_equal(sm.component[0].image[0].size, strlen("image bytes"));
	assert_int_equal(m.n_signatures, 1);
	assert_int_equal(m.root_version, 1);
}

/* Two releases of a board signed in the same second: both installable in order. */
static void test_same_second(void **state)
{
	uint8_t one[32], two[32];

	(void)state;
	fleet_release_of(&fl, "1.0", "one", one);
	fleet_release_of(&fl, "2.0", "two", two);
	assert_int_equal(manifest_of(two).sequence, manifest_of(one).sequence + SIGN_SEQUENCE_STEP);
}

static void test_signed_once(void **state)
{
	struct manifest_row m;
	uint8_t digest[32];
	int64_t release = fleet_release_of(&fl, "1.0", "one", digest);

	(void)state;
	fl.f.now += 1000;
	assert_int_equal(sign_release(fl.db, crypto_openssl(), fl.f.app.domain->keys, release, fl.f.now,
				 &fl.mem, &m, &e),
		OTA_OK);
	assert_memory_equal(m.digest, digest, 32);
}

static void test_judge(void **state)
{
	struct sign_verdict v;
	struct manifest_row m;
	uint8_t digest[32], bytes[SUIT_ENVELOPE_MAX];

	(void)state;
	fleet_release_of(&fl, "1.0", "one", digest);
	m = manifest_of(digest);
	assert_int_equal(sign_judge(fl.db, crypto_openssl(), (struct ota_slice){m.envelope, m.envelope_len},
				 &fl.mem, &v, &e),
		OTA_OK);
	assert_true(v.is_complete);
	assert_int_equal(v.n_signatures, 1);
	/* A signature that does not verify is none; a broken frame is no envelope. */
	for (size_t i = 0; i < m.envelope_len; i++) {
		memcpy(bytes, m.envelope, m.envelope_len);
		bytes[i] ^= 1;
		if (sign_judge(fl.db, crypto_openssl(), (struct ota_slice){bytes, m.envelope_len}, &fl.mem,
			    &v, &e) == OTA_OK) {
			assert_false(v.is_complete);
			assert_int_equal(v.n_signatures, 0);
		}
	}
	assert_int_not_equal(sign_judge(fl.db, crypto_openssl(),
				     (struct ota_slice){m.envelope, m.envelope_len - 1}, &fl.mem, &v, &e),
		OTA_OK);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_sequence),
		cmocka_unit_test(test_check_sequence),
		TEST(test_release_verifies),
		TEST(test_same_second),
		TEST(test_signed_once),
		TEST(test_judge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
