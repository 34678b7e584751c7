/* Who is a device: enrollment, counters, MACs, receipts, links. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "db/enroll.h"
#include "proto/hex.h"
#include "server/upkeep.h"
#include "tests/unit/server/fleet.h"

static struct fleet fl;
static struct agent a, b;
static struct errmsg e;

static int set_up(void **state)
{
	(void)state;
	fleet_init(&fl, true);
	memset(&b, 0, sizeof(b));
	agent_join(&fl, &a, "serial-a");
	return 0;
}

static int set_up_empty(void **state)
{
	(void)state;
	fleet_init(&fl, true);
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	snprintf(a.serial, sizeof(a.serial), "serial-a");
	snprintf(b.serial, sizeof(b.serial), "serial-b");
	memset(a.nonce_d, 1, sizeof(a.nonce_d));
	memset(b.nonce_d, 2, sizeof(b.nonce_d));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fleet_release(&fl);
	return 0;
}

/* Enrollment */

static void test_no_root_yet(void **state)
{
	(void)state;
	fleet_release(&fl);
	fleet_init(&fl, false);
	assert_int_equal(fleet_post(&fl, "/d/v1/enroll", "\xd1", 1), 503);
	assert_non_null(strstr(fake_body(&fl.f), "otactl init"));
	assert_non_null(fake_answer_header(&fl.f, "Retry-After"));
	assert_int_equal(fleet_post(&fl, "/d/v1/checkin", "\xd1", 1), 503);
	fleet_next_root(&fl);
	assert_int_equal(fleet_post(&fl, "/d/v1/checkin", "\xd1", 1), 400);
}

static void test_enroll_pending_then_approved(void **state)
{
	struct device_row dev;
	uint8_t digest[32];

	(void)state;
	fleet_secret(&fl, &(struct fleet_secret){.uses = 5}, &a);
	assert_int_equal(agent_enroll(&fl, &a), 200);
	a.ci.flags = CHECKIN_FLAG_WANTS_SIGNED;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.state, DEVICE_PENDING);
	assert_int_equal(fleet_get(&fl, "/d/v1/root/1", agent_authorization(&a)), 200);
	fleet_release_of(&fl, "1.0", "one", digest);
	assert_int_equal(
		fleet_get(&fl,
			"/d/v1/envelope/0000000000000000000000000000000000000000000000000000000000000000",
			agent_authorization(&a)),
		401);
	assert_int_equal(
		device_update(fl.db, dev.id, 0, &(struct device_change){.state = DEVICE_APPROVED, .hold = -1},
			fl.f.now, NULL, &e),
		OTA_OK);
	fleet_follow(&fl);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_true(a.ticket.is_signed);
	assert_false(a.ticket.has_assignment);
}

static void test_provisioned_is_approved_and_named(void **state)
{
	struct device_row dev;

	(void)state;
	fleet_secret(&fl,
		&(struct fleet_secret){.name = "kitchen", .serial = "serial-a", .is_approving = true}, &a);
	assert_int_equal(agent_enroll(&fl, &a), 200);
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.state, DEVICE_APPROVED);
	assert_string_equal(dev.name, "kitchen");
}

static void test_enroll_replayed(void **state)
{
	uint8_t k_dev[KEY_LEN];
	struct secret_row secret;

	(void)state;
	fleet_secret(&fl, &(struct fleet_secret){.uses = 1}, &a);
	assert_int_equal(agent_enroll(&fl, &a), 200);
	memcpy(k_dev, a.k_dev, KEY_LEN);
	/* The answer was lost: the same again, though the secret is used up. */
	assert_int_equal(agent_enroll(&fl, &a), 200);
	assert_memory_equal(k_dev, a.k_dev, KEY_LEN);
	assert_int_equal(secret_load(fl.db, a.secret_id, &fl.mem, &secret, &e), OTA_OK);
	assert_int_equal(secret.uses, 1);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
}

static void expect_refused(struct agent *who)
{
	uint64_t before, after;

	assert_int_equal(device_count(fl.db, NULL, &before, &e), OTA_OK);
	assert_int_equal(agent_enroll(&fl, who), 401);
	assert_int_equal(device_count(fl.db, NULL, &after, &e), OTA_OK);
	assert_int_equal(before, after);
}

static void test_enroll_refused(void **state)
{
	(void)state;
	/* A secret that was never made, under a right MAC: only we could have made it, long ago. */
	memset(a.secret_id, 9, sizeof(a.secret_id));
	keys_enroll_secret(fl.f.app.crypto, keystore_enroll(fl.f.app.domain->keys), a.secret_id, a.secret);
	expect_refused(&a);
	/* Expired. */
	fleet_secret(&fl, &(struct fleet_secret){.expires_at = fl.f.now + 10}, &a);
	fl.f.now += 10;
	expect_refused(&a);
	/* Revoked. */
	fleet_secret(&fl, &(struct fleet_secret){.uses = 1}, &a);
	assert_int_equal(secret_revoke(fl.db, a.secret_id, fl.f.now, &e), OTA_OK);
	expect_refused(&a);
	/* Used up. */
	fleet_secret(&fl, &(struct fleet_secret){.uses = 1}, &a);
	memcpy(b.secret_id, a.secret_id, sizeof(b.secret_id));
	memcpy(b.secret, a.secret, sizeof(b.secret));
	assert_int_equal(agent_enroll(&fl, &a), 200);
	expect_refused(&b);
	/* For another serial. */
	fleet_secret(&fl, &(struct fleet_secret){.serial = "other"}, &b);
	expect_refused(&b);
	/* Wrong MAC. */
	fleet_secret(&fl, &(struct fleet_secret){.uses = 1}, &b);
	b.secret[0] ^= 1;
	expect_refused(&b);
	/* A class that is no board's. */
	b.secret[0] ^= 1;
	fl.class_id[0] ^= 1;
	expect_refused(&b);
	fl.class_id[0] ^= 1;
	fl.vendor_id[0] ^= 1;
	expect_refused(&b);
	fl.vendor_id[0] ^= 1;
	assert_int_equal(agent_enroll(&fl, &b), 200);
}

static void test_enroll_malformed(void **state)
{
	static const char *const bodies[] = {"", "\xa0", "{}", "{\"id\":1}", "\xd1\x84\x40"};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		assert_int_equal(fleet_post(&fl, "/d/v1/enroll", bodies[i], strlen(bodies[i])), 400);
		assert_int_equal(fleet_post(&fl, "/d/v1/checkin", bodies[i], strlen(bodies[i])), 400);
		assert_int_equal(fl.f.res.body_len, 0);
	}
	/* One byte more than a request may have. */
	char big[1025] = {0};

	assert_int_equal(fleet_post(&fl, "/d/v1/checkin", big, sizeof(big)), 413);
}

static void test_known_id_is_not_rekeyed(void **state)
{
	uint8_t old_key[KEY_LEN], new_key[KEY_LEN];
	struct device_row dev;
	uint64_t counter;

	(void)state;
	memcpy(old_key, a.k_dev, KEY_LEN);
	fleet_secret(&fl, &(struct fleet_secret){.is_approving = true}, &a);
	memset(a.nonce_d, 5, sizeof(a.nonce_d));
	assert_int_equal(agent_enroll(&fl, &a), 200);
	memcpy(new_key, a.k_dev, KEY_LEN);
	assert_memory_not_equal(new_key, old_key, KEY_LEN);
	/* The new key waits, the old one works. */
	assert_int_equal(agent_checkin(&fl, &a), 401);
	memcpy(a.k_dev, old_key, KEY_LEN);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_device(&fl, &a, &dev);
	assert_true(dev.has_waiting_enrolment);
	/* The operator says yes: the other way round, and the counter may begin anew. */
	assert_int_equal(enroll_accept(fl.db, dev.id, fl.f.now, &e), OTA_OK);
	fleet_follow(&fl);
	assert_int_equal(agent_checkin(&fl, &a), 401);
	memcpy(a.k_dev, new_key, KEY_LEN);
	counter = a.ci.counter;
	a.ci.counter = 0;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	assert_true(counter > a.ci.counter);
	assert_int_equal(fleet_events(&fl, &a, "counter-back"), 0);
}

/* Neither the refused key, its receipt nor its request once more change anything; the old key goes on. */
static void test_refused_key_stays_refused(void **state)
{
	struct agent old = a;
	struct device_row dev;

	(void)state;
	fleet_secret(&fl, &(struct fleet_secret){.uses = 5}, &a);
	memset(a.nonce_d, 5, sizeof(a.nonce_d));
	assert_int_equal(agent_enroll(&fl, &a), 200);
	fleet_device(&fl, &a, &dev);
	assert_int_equal(enroll_refuse(fl.db, dev.id, fl.f.now, &e), OTA_OK);
	fleet_follow(&fl);
	assert_int_equal(agent_checkin(&fl, &a), 401);
	assert_int_equal(agent_enroll(&fl, &a), 200);
	a.ci.receipt = (struct ota_slice){a.receipt, a.receipt_len};
	assert_int_equal(agent_checkin(&fl, &a), 401);
	fleet_device(&fl, &a, &dev);
	assert_false(dev.has_waiting_enrolment);
	agent_expect_nothing(&old, agent_checkin(&fl, &old));
	/* The device removed, its receipt brings it back no more than the old one's. */
	fleet_remove(&fl, &a);
	assert_int_equal(agent_checkin(&fl, &a), 404);
	old.ci.receipt = (struct ota_slice){old.receipt, old.receipt_len};
	assert_int_equal(agent_checkin(&fl, &old), 404);
}

/* Counters, MACs, strangers */

static void test_repeat(void **state)
{
	uint8_t digest[32];
	struct device_row before, after;

	(void)state;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, false);
	upkeep_flush(fl.f.app.domain);
	fleet_device(&fl, &a, &before);
	/* The same bytes: answered from the present state, under the same nonce (take_ticket checks it). */
	for (int i = 0; i < 3; i++)
		agent_expect_assigned(&a, agent_repeat(&fl, &a), digest, 1);
	upkeep_flush(fl.f.app.domain);
	fleet_device(&fl, &a, &after);
	assert_int_equal(before.said.counter, after.said.counter);
	assert_int_equal(fleet_events(&fl, &a, "counter-back"), 0);
}

static void test_counter_back(void **state)
{
	struct device_row before, after;
	uint8_t digest[32];
	uint64_t last;

	(void)state;
	a.ci.counter = 5000;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	last = a.ci.counter;
	upkeep_flush(fl.f.app.domain);
	fleet_device(&fl, &a, &before);
	memset(digest, 0x33, 32);
	agent_runs(&a, 3, digest, CHECKIN_CONFIRMED);
	for (uint64_t counter = 0; counter < last; counter += 1000) {
		a.ci.counter = counter;
		assert_int_equal(agent_checkin(&fl, &a), 409);
		assert_true(a.ticket.has_counter);
		assert_int_equal(a.ticket.counter, last);
		assert_false(a.ticket.is_signed);
	}
	/* The same counter with other bytes. */
	a.ci.counter = last - 1;
	assert_int_equal(agent_checkin(&fl, &a), 409);
	upkeep_flush(fl.f.app.domain);
	fleet_device(&fl, &a, &after);
	assert_memory_equal(&before.said, &after.said, sizeof(before.said));
	assert_int_equal(fleet_events(&fl, &a, "counter-back"), 1);
	/* The hint heals it. */
	a.ci.counter = a.ticket.counter;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_device(&fl, &a, &after);
	assert_memory_equal(after.said.running_digest, digest, 32);
	/* The next time of the same day is no news, the next day's first is. */
	for (unsigned day = 0; day < 2; day++) {
		a.ci.counter = 1;
		assert_int_equal(agent_checkin(&fl, &a), 409);
		assert_int_equal(fleet_events(&fl, &a, "counter-back"), 1 + day);
		a.ci.counter = a.ticket.counter;
		agent_expect_nothing(&a, agent_checkin(&fl, &a));
		fl.f.now += ALARM_AGAIN_S;
	}
	/* Two old ones in any order are no second device. */
	fleet_device(&fl, &a, &after);
	assert_false(alarm_is_shared(&after.alarm));
	assert_int_equal(fleet_events(&fl, &a, "shared-identity"), 0);
}

/* Two devices that take turns, each going on where the hint says. */
static void test_shared_identity(void **state)
{
	uint64_t other = 40, own = 50;
	struct device_row row;

	(void)state;
	for (unsigned turn = 0; turn < 40; turn++) {
		uint64_t *mine = turn % 2 ? &own : &other;

		if (turn == 0) {
			a.ci.counter = own;
			agent_expect_nothing(&a, agent_checkin(&fl, &a));
			own = a.ci.counter;
		}
		a.ci.counter = *mine - 1;
		assert_int_equal(agent_checkin(&fl, &a), 409);
		fleet_device(&fl, &a, &row);
		assert_int_equal(row.alarm.times, turn + 1);
		assert_int_equal(alarm_is_shared(&row.alarm), turn >= 2);
		a.ci.counter = a.ticket.counter;
		agent_expect_nothing(&a, agent_checkin(&fl, &a));
		*mine = a.ci.counter;
	}
	/* The count goes on; the device's log is left to what else happened to it. */
	assert_int_equal(fleet_events(&fl, &a, "shared-identity"), 1);
	assert_int_equal(fleet_events(&fl, &a, "counter-back"), 1);
}

static void test_wrong_mac_never_locks(void **state)
{
	struct device_row before, after;

	(void)state;
	fleet_device(&fl, &a, &before);
	for (int i = 0; i < 50; i++) {
		a.k_dev[i % KEY_LEN] ^= 1;
		a.ci.counter += 100;
		assert_int_equal(agent_checkin(&fl, &a), 401);
		a.k_dev[i % KEY_LEN] ^= 1;
	}
	upkeep_flush(fl.f.app.domain);
	fleet_device(&fl, &a, &after);
	assert_memory_equal(&before.said, &after.said, sizeof(before.said));
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
}

static void test_every_bit_flip_is_refused(void **state)
{
	uint8_t good[CHECKIN_MAX];
	size_t len;

	(void)state;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	len = a.sent_len;
	memcpy(good, a.sent, len);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		unsigned status;

		memcpy(a.sent, good, len);
		a.sent[bit / 8] ^= (uint8_t)(1 << bit % 8);
		status = fleet_post(&fl, "/d/v1/checkin", a.sent, len);
		if (status != 400 && status != 401 && status != 404)
			fail_msg("bit %zu: %u", bit, status);
	}
	for (size_t n = 0; n < len; n++)
		assert_int_equal(fleet_post(&fl, "/d/v1/checkin", good, n), 400);
	memcpy(a.sent, good, len);
	agent_expect_nothing(&a, agent_repeat(&fl, &a));
}

static void test_another_devices_mac(void **state)
{
	(void)state;
	agent_join(&fl, &b, "serial-b");
	memcpy(a.k_dev, b.k_dev, KEY_LEN);
	assert_int_equal(agent_checkin(&fl, &a), 401);
}

static void test_receipt(void **state)
{
	struct device_row dev;

	(void)state;
	agent_join(&fl, &b, "serial-b");
	fleet_lose(&fl, &a);
	assert_int_equal(agent_checkin(&fl, &a), 404);
	/* Another device's receipt, a forged one, and the right one under a wrong key: unknown. */
	a.ci.receipt = (struct ota_slice){b.receipt, b.receipt_len};
	assert_int_equal(agent_checkin(&fl, &a), 404);
	a.receipt[a.receipt_len - 1] ^= 1;
	a.ci.receipt = (struct ota_slice){a.receipt, a.receipt_len};
	assert_int_equal(agent_checkin(&fl, &a), 404);
	a.receipt[a.receipt_len - 1] ^= 1;
	a.k_dev[0] ^= 1;
	assert_int_equal(agent_checkin(&fl, &a), 404);
	a.k_dev[0] ^= 1;
	/* The right one: back, as pending. */
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.state, DEVICE_PENDING);
	a.ci.receipt.len = 0;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	/* A receipt beside a known device changes nothing. */
	a.ci.receipt = (struct ota_slice){a.receipt, a.receipt_len};
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
}

/* Who was removed stays away, receipt or not, until it enrolls anew; so in a copy of its flash. */
static void test_removed_stays_removed(void **state)
{
	struct device_row dev;
	struct agent copy = a;
	char uid[2 * DEVICE_ID_LEN + 1];

	(void)state;
	hex_encode(a.id, sizeof(a.id), uid);
	fleet_remove(&fl, &a);
	assert_int_equal(agent_checkin(&fl, &a), 404);
	copy.ci.receipt = (struct ota_slice){copy.receipt, copy.receipt_len};
	assert_int_equal(agent_checkin(&fl, &copy), 404);
	assert_int_equal(device_load_uid(fl.db, uid, &fl.mem, &dev, &e), OTA_NOT_FOUND);
	agent_join(&fl, &a, "serial-a");
	assert_memory_equal(a.id, copy.id, DEVICE_ID_LEN);
	assert_int_equal(agent_checkin(&fl, &copy), 401);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	/* and again */
	fleet_remove(&fl, &a);
	a.ci.receipt = (struct ota_slice){a.receipt, a.receipt_len};
	assert_int_equal(agent_checkin(&fl, &a), 404);
	assert_int_equal(agent_checkin(&fl, &copy), 404);
}

/* A device's own receipt and key under another's id bring back neither. */
static void test_receipt_is_of_one_device(void **state)
{
	struct device_row dev;
	char uid[2 * DEVICE_ID_LEN + 1];

	(void)state;
	agent_join(&fl, &b, "serial-b");
	fleet_lose(&fl, &a);
	fleet_lose(&fl, &b);
	memcpy(a.k_dev, b.k_dev, KEY_LEN);
	a.ci.receipt = (struct ota_slice){b.receipt, b.receipt_len};
	assert_int_equal(agent_checkin(&fl, &a), 404);
	hex_encode(b.id, sizeof(b.id), uid);
	assert_int_equal(device_load_uid(fl.db, uid, &fl.mem, &dev, &e), OTA_NOT_FOUND);
}

static void test_revoked_is_unknown(void **state)
{
	struct device_change change = {.state = DEVICE_REVOKED, .hold = -1};
	struct device_row dev;

	(void)state;
	fleet_device(&fl, &a, &dev);
	assert_int_equal(device_update(fl.db, dev.id, 0, &change, fl.f.now, NULL, &e), OTA_OK);
	fleet_follow(&fl);
	assert_int_equal(agent_checkin(&fl, &a), 404);
	a.ci.receipt = (struct ota_slice){a.receipt, a.receipt_len};
	assert_int_equal(agent_checkin(&fl, &a), 404);
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.state, DEVICE_REVOKED);
	assert_int_equal(fleet_get(&fl, "/d/v1/root/1", agent_authorization(&a)), 401);
}

/* Who may fetch */

static void test_fetch_proof(void **state)
{
	char text[128];

	(void)state;
	snprintf(text, sizeof(text), "%s", agent_authorization(&a));
	assert_int_equal(fleet_get(&fl, "/d/v1/root/1", text), 200);
	for (size_t i = 4; i < strlen(text); i++) {
		char was = text[i];

		text[i] = was == '0' ? '1' : '0';
		assert_int_equal(fleet_get(&fl, "/d/v1/root/1", text), 401);
		text[i] = was;
	}
	text[strlen(text) - 1] = '\0';
	assert_int_equal(fleet_get(&fl, "/d/v1/root/1", text), 401);
	/* It opens nothing of the operators'. */
	assert_int_not_equal(fleet_get(&fl, "/v1/devices", agent_authorization(&a)), 200);
}

/* What the door says of a link to this image. */
static enum ota_err judge_link(const char *path, const char *sha, const char *id, const char *proof)
{
	struct req req = {
		.app = &fl.f.app,
		.path = path,
		.cap = {.n = 1, .value = {sha}},
		.query = {{"d", id}, {"k", proof}},
		.n_query = 2,
	};
	enum ota_err err = fl.f.app.hooks.auth(&fl.f.app, &req);

	assert_int_equal(req.who.kind, err ? WHO_NOBODY : WHO_DEVICE);
	if (!err)
		assert_int_equal(req.who.role, ROLE_FETCH);
	return err;
}

static void test_image_link(void **state)
{
	uint8_t sha256[32], link_id[16], k[16];
	char path[80], sha[65], id[33], proof[33];

	(void)state;
	memset(sha256, 7, 32);
	memset(link_id, 8, 16);
	keys_link(fl.f.app.crypto, keystore_link(fl.f.app.domain->keys), sha256, link_id, k);
	hex_encode(sha256, 32, sha);
	hex_encode(link_id, 16, id);
	hex_encode(k, 16, proof);
	snprintf(path, sizeof(path), "/i/%s", sha);
	assert_int_equal(judge_link(path, sha, id, proof), OTA_OK);
	/* It opens that image alone, and nothing else. */
	assert_int_equal(judge_link("/d/v1/root/1", sha, id, proof), OTA_DENIED);
	for (size_t i = 0; i < 32; i++) {
		char was = proof[i];

		proof[i] = was == '0' ? '1' : '0';
		assert_int_equal(judge_link(path, sha, id, proof), OTA_DENIED);
		proof[i] = was;
		was = id[i];
		id[i] = was == '0' ? '1' : '0';
		assert_int_equal(judge_link(path, sha, id, proof), OTA_DENIED);
		id[i] = was;
	}
	sha[0] = sha[0] == '0' ? '1' : '0';
	assert_int_equal(judge_link(path, sha, id, proof), OTA_DENIED);
	sha[63] = '\0';
	assert_int_equal(judge_link(path, sha, id, proof), OTA_DENIED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TEST_EMPTY(f) cmocka_unit_test_setup_teardown(f, set_up_empty, tear_down)
	const struct CMUnitTest tests[] = {
		TEST_EMPTY(test_no_root_yet),
		TEST_EMPTY(test_enroll_pending_then_approved),
		TEST_EMPTY(test_provisioned_is_approved_and_named),
		TEST_EMPTY(test_enroll_replayed),
		TEST_EMPTY(test_enroll_refused),
		TEST_EMPTY(test_enroll_malformed),
		TEST(test_known_id_is_not_rekeyed),
		TEST(test_refused_key_stays_refused),
		TEST(test_repeat),
		TEST(test_counter_back),
		TEST(test_shared_identity),
		TEST(test_wrong_mac_never_locks),
		TEST(test_every_bit_flip_is_refused),
		TEST(test_another_devices_mac),
		TEST(test_receipt),
		TEST(test_removed_stays_removed),
		TEST(test_receipt_is_of_one_device),
		TEST(test_revoked_is_unknown),
		TEST(test_fetch_proof),
		TEST(test_image_link),
	};

	return cmocka_run_group_tests_name("h_device_access", tests, NULL, NULL);
}
