#include <stdio.h>
#include <stdlib.h>
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

struct item {
	uint32_t component;
	const char *variant, *text;
};

/* A release of a board with two components, "app" of at most 16 bytes and "fs". */
static int64_t two_components(const char *version, const struct item *items, size_t n)
{
	static int64_t board;
	struct board_row b = {
		.name = "pump",
		.chip = "",
		.algorithms = BOARD_ALG_ESP256,
		.envelope_max = 1024,
		.n_components = 2,
		.components = {{.id = "app", .id_len = 3, .name = "app", .size_max = 16},
			{.id = "fs", .id_len = 2, .name = "fs"}},
		.class_id = {0x33},
		.created_by = "test",
	};
	struct release_row row = {
		.version = version, .notes = "", .created_at = fl.f.now, .created_by = "test", .n_items = n};
	int64_t id = 0;

	if (board_load_name(fl.db, "pump", &fl.mem, &b, &e) == OTA_OK)
		board = b.id;
	else
		assert_int_equal(board_insert(fl.db, &b, &board, &e), OTA_OK);
	row.board = board;
	for (size_t i = 0; i < n; i++) {
		row.items[i].component = items[i].component;
		strcpy(row.items[i].variant, items[i].variant);
		fleet_image(&fl, items[i].text, row.items[i].sha256);
	}
	assert_int_equal(release_insert(fl.db, &row, &id, NULL, &e), OTA_OK);
	return id;
}

static void test_components_and_slots(void **state)
{
	static const struct item items[] = {
		{0, "user1", "first slot"}, {0, "user2", "second slot"}, {1, "", "files"}};
	int64_t release = two_components("1.0", items, 3);
	struct suit_manifest sm;
	struct manifest_row m;
	struct suit_envelope env;

	(void)state;
	assert_int_equal(sign_release(fl.db, crypto_openssl(), fl.f.app.domain->keys, release, fl.f.now,
				 &fl.mem, &m, &e),
		OTA_OK);
	assert_true(m.is_complete);
	assert_int_equal(suit_envelope_decode(crypto_openssl(), m.envelope, m.envelope_len, &env), OTA_OK);
	assert_int_equal(suit_manifest_decode(env.manifest, &sm), OTA_OK);
	assert_int_equal(sm.n_components, 2);
	assert_int_equal(sm.component[0].n_images, 2);
	assert_int_equal(sm.component[0].image[0].size, 10);
	assert_int_equal(sm.component[0].image[1].size, 11);
	assert_int_equal(sm.component[1].n_images, 1);
	assert_memory_equal(sm.component[1].id, "fs", 2);
}

static void test_what_no_manifest_can_say(void **state)
{
	static const struct {
		size_t n;
		struct item items[4];
		enum ota_err want;
	} cases[] = {
		{2, {{0, "", "seventeen bytes.."}, {1, "", "files"}}, OTA_TOO_LARGE},
		{4, {{0, "a", "1"}, {0, "b", "2"}, {0, "c", "3"}, {1, "", "files"}}, OTA_INVALID},
		{3, {{0, "", "1"}, {0, "user2", "2"}, {1, "", "files"}}, OTA_INVALID},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char version[8] = {(char)('1' + i), '\0'};
		int64_t release = two_components(version, cases[i].items, cases[i].n), rows;
		struct manifest_row m;

		rows = db_total_changes(fl.db);
		assert_int_equal(sign_release(fl.db, crypto_openssl(), fl.f.app.domain->keys, release,
					 fl.f.now, &fl.mem, &m, &e),
			cases[i].want);
		assert_int_equal(db_total_changes(fl.db), rows);
	}
}

/* Sequence of a new release of lamp. */
static uint32_t sequence_of(const char *version)
{
	uint8_t digest[32];
	struct manifest_row m;
	int64_t release = fleet_release_of(&fl, version, version, digest);

	assert_int_equal(sign_release(fl.db, crypto_openssl(), fl.f.app.domain->keys, release, fl.f.now,
				 &fl.mem, &m, &e),
		OTA_OK);
	return m.sequence;
}

/* Yesterday's backup came back: what the devices run is ahead of what the board remembers. */
static void test_sequences_that_only_devices_remember(void **state)
{
	static const uint8_t lost[32] = {1};
	uint32_t now = (uint32_t)fl.f.now;
	struct agent a;

	(void)state;
	agent_join(&fl, &a, "one");
	agent_runs(&a, now + 100, lost, CHECKIN_CONFIRMED);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(sequence_of("1.0"), now + 108);
	/* A device cannot use up the numbers. */
	agent_runs(&a, UINT32_MAX, lost, CHECKIN_CONFIRMED);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(sequence_of("1.1"), now + 116);
}

/* Without a hosted key a release is a draft, which waits for signatures from outside. */
static void test_draft_without_a_hosted_key(void **state)
{
	static const struct item items[] = {{0, "", "app"}, {1, "", "files"}};
	int64_t release = two_components("1.0", items, 2);
	struct keystore *empty = NULL;
	struct manifest_row m;
	char dir[] = "sign.XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(keystore_open(dir, true, &empty, &e), OTA_OK);
	assert_int_equal(
		sign_release(fl.db, crypto_openssl(), empty, release, fl.f.now, &fl.mem, &m, &e), OTA_OK);
	assert_false(m.is_complete);
	assert_int_equal(m.n_signatures, 0);
	/* A key that the root does not list signs a draft too. */
	fl.f.now += 10;
	release = two_components("2.0", items, 2);
	assert_int_equal(keystore_make_release(empty, &e), OTA_OK);
	assert_int_equal(
		sign_release(fl.db, crypto_openssl(), empty, release, fl.f.now, &fl.mem, &m, &e), OTA_OK);
	assert_false(m.is_complete);
	assert_int_equal(m.n_signatures, 0);
	keystore_free(empty);
	static const char *const files[] = {"server.pem", "release.pem", "enroll", "link", ""};

	for (size_t i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "%s/keys/%s", dir, files[i]);
		remove(path);
	}
	snprintf(path, sizeof(path), "%s/keys", dir);
	remove(path);
	assert_int_equal(remove(dir), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_next_sequence),
		cmocka_unit_test(test_check_sequence),
		TEST(test_sequences_that_only_devices_remember),
		TEST(test_release_verifies),
		TEST(test_same_second),
		TEST(test_signed_once),
		TEST(test_judge),
		TEST(test_components_and_slots),
		TEST(test_what_no_manifest_can_say),
		TEST(test_draft_without_a_hosted_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
