/* What devices ask for, while one statement, one allocation or the random numbers fail: no answer says that
 * something is stored or done when it is not, and the same request is answered when the fault is over. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "db/board.h"
#include "db/change.h"
#include "db/enroll.h"
#include "db/release.h"
#include "proto/crypto_openssl.h"
#include "server/follow.h"
#include "server/sign.h"
#include "server/upkeep.h"
#include "tests/unit/fault.h"
#include "tests/unit/server/fleet.h"

enum ota_err __real_registry_put(struct registry *r, const struct reg_facts *f);
enum ota_err __wrap_registry_put(struct registry *r, const struct reg_facts *f);
enum ota_err __real_registry_put_board(struct registry *r, const struct reg_board *b);
enum ota_err __wrap_registry_put_board(struct registry *r, const struct reg_board *b);
size_t __wrap_jobs_in_lane(const struct jobs *jobs, enum job_lane lane);
enum ota_err __real_sign_ticket(
	struct keystore *k, const struct ticket *t, uint8_t buf[static TICKET_MAX], size_t *len);
enum ota_err __wrap_sign_ticket(
	struct keystore *k, const struct ticket *t, uint8_t buf[static TICKET_MAX], size_t *len);
enum ota_err __real_crypto_random(void *out, size_t len);
enum ota_err __wrap_crypto_random(void *out, size_t len);

enum ota_err __wrap_registry_put(struct registry *r, const struct reg_facts *f)
{
	return fault_fires(FAULT_REGISTRY) ? OTA_NO_MEMORY : __real_registry_put(r, f);
}

enum ota_err __wrap_registry_put_board(struct registry *r, const struct reg_board *b)
{
	return fault_fires(FAULT_REGISTRY) ? OTA_NO_MEMORY : __real_registry_put_board(r, b);
}

enum ota_err __wrap_sign_ticket(
	struct keystore *k, const struct ticket *t, uint8_t buf[static TICKET_MAX], size_t *len)
{
	return fault_fires(FAULT_KEY) ? OTA_BUSY : __real_sign_ticket(k, t, buf, len);
}

static size_t n_waiting; /* jobs, as the handlers see it */

size_t __wrap_jobs_in_lane(const struct jobs *jobs, enum job_lane lane)
{
	(void)jobs;
	(void)lane;
	return n_waiting;
}

enum ota_err __wrap_crypto_random(void *out, size_t len)
{
	return fault_fires(FAULT_RANDOM) ? OTA_IO : __real_crypto_random(out, len);
}

/* ---- the fleet ---- */

static struct fleet fl;
static struct agent a;
static struct errmsg e;
static unsigned n_made;
static uint8_t one[32];
static int64_t release_one, release_two;

static int set_up(void **state)
{
	uint8_t two[32];

	(void)state;
	fleet_init(&fl, true);
	agent_join(&fl, &a, "serial-a");
	release_one = fleet_release_of(&fl, "1.0", "one", one);
	release_two = fleet_release_of(&fl, "2.0", "two", two);
	fleet_follow(&fl);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fleet_release(&fl);
	return 0;
}

static struct device_row stored(void)
{
	struct device_row dev;

	fleet_device(&fl, &a, &dev);
	return dev;
}

/* The next check-in of `a`, its bytes made, not sent. */
static void make_checkin(void)
{
	a.ci.counter++;
	assert_int_equal(__real_crypto_random(a.ci.nonce, sizeof(a.ci.nonce)), OTA_OK);
	assert_int_equal(
		checkin_encode(&a.ci, crypto_openssl(), a.k_dev, a.sent, sizeof(a.sent), &a.sent_len),
		OTA_OK);
}

static unsigned send_checkin(void)
{
	return fleet_post(&fl, "/d/v1/checkin", a.sent, a.sent_len);
}

/* Each prepares one request; it is made new for every fault. */

static void quiet(void)
{
	make_checkin();
}

static void says_news(void)
{
	uint8_t digest[32] = {7};

	digest[1] = (uint8_t)++n_made;
	agent_runs(&a, 1000 + n_made, digest, CHECKIN_TRIAL);
	make_checkin();
}

/* Runs, confirmed, what nobody ever assigned to it: the device's log tells. */
static void claims(void)
{
	uint8_t digest[32] = {8};

	digest[1] = (uint8_t)++n_made;
	agent_runs(&a, 1000 + n_made, digest, CHECKIN_CONFIRMED);
	make_checkin();
}

static void claims_a_release(void)
{
	says_news();
	assert_int_equal(send_checkin(), 200);
	agent_runs(&a, 1, one, CHECKIN_CONFIRMED);
	make_checkin();
}

static void is_assigned(void)
{
	fleet_push(&fl, ++n_made % 2 ? release_one : release_two, &a, false);
	a.ci.has_running = a.ci.has_target = a.ci.has_result = false;
	a.ci.state = CHECKIN_IDLE;
	make_checkin();
}

static void starts_to_fetch(void)
{
	is_assigned();
	assert_int_equal(agent_repeat(&fl, &a), 200);
	agent_fetches(&a, CHECKIN_FETCHING, 1);
	make_checkin();
}

static void sends_an_old_counter(void)
{
	says_news();
	assert_int_equal(send_checkin(), 200); /* heard again: the next alarm counts */
	a.ci.counter -= 2;
	make_checkin();
	a.ci.counter++;
}

static void is_unknown(void)
{
	a.ci.receipt = (struct ota_slice){0};
	fleet_lose(&fl, &a);
	a.ci.receipt = (struct ota_slice){a.receipt, a.receipt_len};
	make_checkin();
}

static const struct {
	const char *name;
	void (*prepare)(void);
	unsigned status;         /* without a fault */
	unsigned status_allowed; /* with one, other than 5xx */
} rows[] = {
	{"quiet", quiet, 200, 0},
	{"news", says_news, 200, 0},
	{"claim", claims, 200, 0},
	{"claim of a release", claims_a_release, 200, 0},
	{"assigned", is_assigned, 200, 0},
	{"fetching", starts_to_fetch, 200, 0},
	/* That it is refused does not hang on the alarm. */
	{"old counter", sends_an_old_counter, 409, 409},
	{"unknown", is_unknown, 200, 0},
};

/* False: there are not so many calls of that kind in this request. */
static bool checkin_with(size_t row, enum fault kind, unsigned at)
{
	unsigned status;

	rows[row].prepare();
	fault_arm(kind, at);
	status = send_checkin();
	if (!fault_over()) {
		if (status != rows[row].status)
			fail_msg("%s: %u", rows[row].name, status);
		return false;
	}
	if (status < 500 && status != rows[row].status_allowed)
		fail_msg("%s, fault %d at %u: answered %u", rows[row].name, kind, at, status);
	status = send_checkin();
	if (status != rows[row].status)
		fail_msg("%s after fault %d at %u: %u", rows[row].name, kind, at, status);
	if (rows[row].status == 200 && stored().said.counter > a.ci.counter)
		fail_msg("%s after fault %d at %u: the counter is wrong", rows[row].name, kind, at);
	return true;
}

/* The registry is what a fresh start on the same database makes of it. */
static void expect_same_after_restart(void)
{
	struct plan_device before, after;
	uint32_t at = registry_find(fl.f.app.domain->reg, a.id);

	assert_int_not_equal(at, REG_NONE);
	upkeep_flush_all(fl.f.app.domain);
	registry_view(fl.f.app.domain->reg, at, &before);
	fleet_restart(&fl);
	at = registry_find(fl.f.app.domain->reg, a.id);
	assert_int_not_equal(at, REG_NONE);
	registry_view(fl.f.app.domain->reg, at, &after);
	assert_memory_equal(&before, &after, sizeof(after));
}

static void test_checkins(void **state)
{
	unsigned n = 0;

	(void)state;
	for (size_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		for (unsigned kind = FAULT_STATEMENT; kind < FAULTS; kind++) {
			for (unsigned at = 0; checkin_with(row, (enum fault)kind, at); at++)
				n++;
		}
		expect_same_after_restart();
	}
	print_message("check-ins: %u faults\n", n);
}

static uint64_t n_stored(void)
{
	uint64_t n;

	assert_int_equal(device_count(fl.db, NULL, &n, &e), OTA_OK);
	return n;
}

/* A new device under every fault: no answer without its row, and the same request enrolls it afterwards. */
static bool enroll_with(enum fault kind, unsigned at)
{
	struct enroll_request r = {.serial_len = 8};
	uint8_t body[ENROLL_MAX];
	struct agent b = {0};
	char serial[9];
	unsigned status;
	size_t len;

	fleet_secret(&fl, &(struct fleet_secret){.uses = 1, .is_approving = true}, &b);
	snprintf(serial, sizeof(serial), "s%07u", ++n_made);
	memcpy(r.secret_id, b.secret_id, sizeof(r.secret_id));
	memcpy(r.vendor_id, fl.vendor_id, 16);
	memcpy(r.class_id, fl.class_id, 16);
	memcpy(r.serial, serial, 8);
	memcpy(r.nonce_d, &n_made, sizeof(n_made));
	assert_int_equal(
		enroll_request_encode(&r, crypto_openssl(), b.secret, body, sizeof(body), &len), OTA_OK);
	fault_arm(kind, at);
	status = fleet_post(&fl, "/d/v1/enroll", body, len);
	if (!fault_over()) {
		assert_int_equal(status, 200);
		return false;
	}
	if (status < 500 && kind != FAULT_REGISTRY) /* it is stored; the follower brings it */
		fail_msg("fault %d at %u: answered %u", kind, at, status);
	if (status == 200)
		assert_int_equal(registry_count(fl.f.app.domain->reg), n_stored());
	/* The secret had one use: it was not lost. */
	status = fleet_post(&fl, "/d/v1/enroll", body, len);
	if (status != 200)
		fail_msg("after fault %d at %u: %u", kind, at, status);
	return true;
}

static void test_enrollments(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned kind = FAULT_STATEMENT; kind < FAULTS; kind++) {
		for (unsigned at = 0; enroll_with((enum fault)kind, at); at++)
			n++;
	}
	fleet_follow(&fl);
	assert_int_equal(registry_count(fl.f.app.domain->reg), n_stored());
	print_message("enrollments: %u faults\n", n);
}

/* A change of the board, too. */
static void board_load_and_touch(void)
{
	struct board_row row;

	assert_int_equal(board_load(fl.db, fl.board, &fl.mem, &row, &e), OTA_OK);
	row.poll_s = 100 + n_made;
	assert_int_equal(board_update(fl.db, fl.board, 0, &row, NULL, &e), OTA_OK);
}

/* The follower stops at a fault where it is, and the next change takes it on. */
static bool follow_with(enum fault kind, unsigned at)
{
	struct domain *d = fl.f.app.domain;
	struct device_change hold = {.state = -1, .hold = ++n_made % 2 ? 1 : 0};
	struct plan_device dev;
	int64_t newest, applied = d->applied;
	bool is_fired;

	board_load_and_touch();
	assert_int_equal(device_update(fl.db, stored().id, 0, &hold, fl.f.now, NULL, &e), OTA_OK);
	fault_arm(kind, at);
	fleet_follow(&fl);
	is_fired = fault_over();
	assert_false(d->is_following);
	assert_int_equal(change_newest(fl.db, &newest, &e), OTA_OK);
	if (!is_fired) {
		assert_int_equal(d->applied, newest);
		return false;
	}
	assert_true(d->applied == applied || d->applied == newest);
	fleet_follow(&fl);
	assert_int_equal(d->applied, newest);
	registry_view(d->reg, registry_find(d->reg, a.id), &dev);
	assert_int_equal(dev.hold, hold.hold);
	return true;
}

/* A start on a database that cannot be read whole fails, with words; the next one has it all. */
static void test_starting(void **state)
{
	struct domain *d = fl.f.app.domain;
	struct errmsg words;
	unsigned n = 0;

	(void)state;
	for (unsigned kind = FAULT_STATEMENT; kind < FAULT_RANDOM; kind++) {
		for (unsigned at = 0;; at++) {
			enum ota_err err;

			words.text[0] = '\0';
			fault_arm((enum fault)kind, at);
			err = follow_load_all(d, fl.db, &words);
			if (!fault_over()) {
				assert_int_equal(err, OTA_OK);
				break;
			}
			assert_int_not_equal(err, OTA_OK);
			assert_string_not_equal(words.text, "");
			n++;
		}
	}
	assert_int_equal(registry_count(d->reg), 1);
	print_message("starting: %u faults\n", n);
}

/* Releases are signed whole or not at all. */
static void test_signing(void **state)
{
	struct manifest_row m;
	unsigned n = 0;

	(void)state;
	for (unsigned kind = FAULT_STATEMENT; kind <= FAULT_MEMORY; kind++) {
		for (unsigned at = 0;; at++) {
			struct release_row row = {
				.board = fl.board, .notes = "", .created_by = "test", .n_items = 1};
			struct manifest_sizes list;
			struct errmsg words = {""};
			enum ota_err err;
			int64_t id;

			row.version = arena_printf(&fl.mem, "9.%u", ++n_made);
			fleet_image(&fl, "one", row.items[0].sha256);
			assert_int_equal(release_insert(fl.db, &row, &id, NULL, &e), OTA_OK);
			fault_arm((enum fault)kind, at);
			err = sign_release(fl.db, crypto_openssl(), fl.f.app.domain->keys, id, fl.f.now,
				&fl.mem, &m, &words);
			if (!fault_over()) {
				assert_int_equal(err, OTA_OK);
				break;
			}
			assert_int_equal(err, kind == FAULT_STATEMENT ? OTA_IO : OTA_NO_MEMORY);
			assert_string_not_equal(words.text, "");
			assert_int_equal(manifest_sizes_of_release(
						 fl.db, id, &(struct db_page){0}, &fl.mem, &list, &e),
				OTA_OK);
			assert_int_equal(list.n, 0);
			assert_int_equal(sign_release(fl.db, crypto_openssl(), fl.f.app.domain->keys, id,
						 fl.f.now, &fl.mem, &m, &e),
				OTA_OK);
			assert_true(m.is_complete);
			n++;
		}
	}
	print_message("signing: %u faults\n", n);
}

static void test_following(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned kind = FAULT_STATEMENT; kind < FAULT_RANDOM; kind++) {
		for (unsigned at = 0; follow_with((enum fault)kind, at); at++)
			n++;
	}
	expect_same_after_restart();
	print_message("following: %u faults\n", n);
}

/* More at once than the store can take: told to come later, and nothing of it is used. */
static void test_herd(void **state)
{
	struct device_row before = stored(), after;

	(void)state;
	says_news();
	n_waiting = 1000000;
	assert_int_equal(send_checkin(), 429);
	assert_in_range(strtol(fake_answer_header(&fl.f, "Retry-After"), NULL, 10), 1, 3600);
	assert_int_equal(fl.f.res.body_len, 0);
	assert_int_equal(fleet_post(&fl, "/d/v1/enroll", a.sent, a.sent_len), 400);
	n_waiting = 0;
	after = stored();
	assert_int_equal(before.said.counter, after.said.counter);
	assert_int_equal(send_checkin(), 200);
	/* Under another key: refused, as ever. */
	a.k_dev[0] ^= 1;
	make_checkin();
	assert_int_equal(send_checkin(), 401);
	a.k_dev[0] ^= 1;
	a.ci.counter--;
	make_checkin();
	assert_int_equal(fleet_post(&fl, "/d/v1/checkin", a.sent, a.sent_len - 1), 400);
	assert_int_equal(send_checkin(), 200);
}

static void test_enroll_herd(void **state)
{
	struct enroll_request r = {.serial_len = 1, .serial = "x"};
	uint8_t body[ENROLL_MAX];
	struct agent b = {0};
	size_t len;

	(void)state;
	fleet_secret(&fl, &(struct fleet_secret){.uses = 1, .is_approving = true}, &b);
	memcpy(r.secret_id, b.secret_id, sizeof(r.secret_id));
	memcpy(r.vendor_id, fl.vendor_id, 16);
	memcpy(r.class_id, fl.class_id, 16);
	assert_int_equal(
		enroll_request_encode(&r, crypto_openssl(), b.secret, body, sizeof(body), &len), OTA_OK);
	n_waiting = 1000000;
	assert_int_equal(fleet_post(&fl, "/d/v1/enroll", body, len), 429);
	n_waiting = 0;
	assert_int_equal(n_stored(), 1);
	assert_int_equal(fleet_post(&fl, "/d/v1/enroll", body, len - 1), 400);
	body[len - 1] ^= 1;
	assert_int_equal(fleet_post(&fl, "/d/v1/enroll", body, len), 401);
	body[len - 1] ^= 1;
	assert_int_equal(fleet_post(&fl, "/d/v1/enroll", body, len), 200);
	assert_int_equal(n_stored(), 2);
}

/* The database knows more than the registry yet: the operator's decision stands. */
static void test_operator_was_first(void **state)
{
	struct assignment_row task;

	(void)state;
	starts_to_fetch();
	assert_int_equal(
		assignment_withdraw(fl.db, stored().id, fl.f.now, "the device was revoked", &e), OTA_OK);
	assert_int_equal(send_checkin(), 200);
	fleet_task(&fl, &a, &task);
	assert_int_equal(task.state, ASSIGN_CANCELLED);
	fleet_follow(&fl);
	/* The device is gone, and says something new: nothing comes back to life. */
	says_news();
	assert_int_equal(device_delete(fl.db, stored().id, 0, 1, &e), OTA_OK);
	assert_true(send_checkin() < 500);
	assert_int_equal(n_stored(), 0);
	fleet_follow(&fl);
	assert_int_equal(registry_count(fl.f.app.domain->reg), 0);
	assert_int_equal(send_checkin(), 404);
}

/* It runs again what it was told to run once: no claim. */
static void test_no_claim(void **state)
{
	unsigned before;

	(void)state;
	fleet_push(&fl, release_one, &a, false);
	agent_runs(&a, 1, one, CHECKIN_IDLE);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	claims();
	assert_int_equal(send_checkin(), 200);
	before = fleet_events(&fl, &a, "claim");
	assert_int_equal(before, 1);
	fleet_push(&fl, release_two, &a, false);
	agent_runs(&a, 1, one, CHECKIN_CONFIRMED);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(fleet_events(&fl, &a, "claim"), before);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_checkins),
		TEST(test_enrollments),
		TEST(test_following),
		TEST(test_starting),
		TEST(test_operator_was_first),
		TEST(test_no_claim),
		TEST(test_herd),
		TEST(test_enroll_herd),
		TEST(test_signing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
