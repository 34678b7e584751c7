/* What a device is told and what is stored of it: updates, commits, roots. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "db/image.h"
#include "db/release.h"
#include "db/rollout.h"
#include "db/stmt.h"
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

static int tear_down(void **state)
{
	(void)state;
	fleet_release(&fl);
	return 0;
}

/* The way of an update */

static void test_update(void **state)
{
	struct assignment_row task;
	struct device_row dev;
	uint8_t digest[32];
	int64_t release = fleet_release_of(&fl, "1.0", "one", digest);
	char path[128];

	(void)state;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_push(&fl, release, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	assert_int_equal(a.ticket.flags, 0);
	upkeep_flush(fl.f.app.domain);
	agent_expect_task(&fl, &a, ASSIGN_OFFERED);

	memcpy(path, "/d/v1/envelope/", 15);
	hex_encode(digest, 32, path + 15);
	assert_int_equal(fleet_get(&fl, path, agent_authorization(&a)), 200);
	assert_int_equal(fl.f.res.body_len, a.ticket.envelope_size);
	assert_int_equal(fleet_get(&fl, path, NULL), 401);
	path[20] = path[20] == '0' ? '1' : '0';
	assert_int_equal(fleet_get(&fl, path, agent_authorization(&a)), 404);

	agent_fetches(&a, CHECKIN_FETCHING, 0);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	agent_expect_task(&fl, &a, ASSIGN_FETCHING);
	agent_fetches(&a, CHECKIN_STAGED, 3);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	agent_expect_task(&fl, &a, ASSIGN_STAGED);
	agent_runs(&a, 7, digest, CHECKIN_TRIAL);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_TRIAL);
	agent_runs(&a, 7, digest, CHECKIN_CONFIRMED);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_task(&fl, &a, &task);
	assert_int_equal(task.state, ASSIGN_RUNNING);
	assert_int_equal(task.ended_at, fl.f.now);
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.release, release);
	assert_string_equal(dev.version, "1.0");
	assert_int_equal(fleet_events(&fl, &a, "running"), 1);
	agent_runs(&a, 7, digest, CHECKIN_IDLE);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
}

/* A release that lost a signature (a root took its key away) is named to nobody and given to nobody. */
static void test_draft(void **state)
{
	struct manifest_row m;
	uint8_t digest[32];
	char path[128] = "/d/v1/envelope/";

	(void)state;
	fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, false);
	hex_encode(digest, 32, path + 15);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	assert_int_equal(fleet_get(&fl, path, agent_authorization(&a)), 200);
	assert_int_equal(manifest_load_digest(fl.db, digest, &fl.mem, &m, &e), OTA_OK);
	m.is_complete = false;
	assert_int_equal(manifest_set_envelope(fl.db, m.id, &m, fl.f.now, &e), OTA_OK);
	fleet_follow(&fl);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	assert_int_equal(fleet_get(&fl, path, agent_authorization(&a)), 404);
	m.is_complete = true;
	assert_int_equal(manifest_set_envelope(fl.db, m.id, &m, fl.f.now, &e), OTA_OK);
	fleet_follow(&fl);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
}

/* A blob with a bad sector: not offered until the same bytes were brought again. */
static void test_damaged_image(void **state)
{
	uint8_t digest[32], other[32], sha256[32];
	int64_t release = fleet_release_of(&fl, "1.0", "one", digest);

	(void)state;
	fl.f.now += 10;
	fleet_release_of(&fl, "2.0", "two", other);
	ota_sha256(fl.f.app.crypto, &(struct ota_slice){(const uint8_t *)"one", 3}, 1, sha256);
	fleet_push(&fl, release, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	fl.f.app.hooks.image_damaged(&fl.f.app, sha256);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_restart(&fl);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	/* Whatever touches the device meanwhile. */
	memcpy(a.ticket.digest, digest, 32);
	a.ticket.attempt = 1;
	agent_fetches(&a, CHECKIN_FETCHING, 1);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	assert_int_equal(image_set_damaged(fl.db, sha256, false, &e), OTA_OK);
	fleet_follow(&fl);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
}

/* Whatever is written about the releases that install it. */
static void test_damaged_image_of_many_releases(void **state)
{
	enum { RELEASES = 12 };
	struct damaged_row *rows;
	struct image_row image;
	char notes[3500];
	uint8_t sha256[32];
	struct arena small;
	size_t n;

	(void)state;
	memset(notes, 'n', sizeof(notes) - 1);
	notes[sizeof(notes) - 1] = '\0';
	for (unsigned i = 0; i < RELEASES; i++) {
		char version[16];
		uint8_t digest[32];

		snprintf(version, sizeof(version), "1.%u", i);
		fl.f.now += 10;
		assert_int_equal(
			release_set_notes(fl.db, fleet_release_of(&fl, version, "one", digest), notes, &e),
			OTA_OK);
	}
	ota_sha256(fl.f.app.crypto, &(struct ota_slice){(const uint8_t *)"one", 3}, 1, sha256);
	assert_int_equal(image_set_damaged(fl.db, sha256, true, &e), OTA_OK);
	assert_int_equal(image_load(fl.db, sha256, &fl.mem, &image, &e), OTA_OK);
	arena_init(&small, 16 * 1024);
	assert_int_equal(damaged_load(fl.db, image.id, &small, &rows, &n, &e), OTA_OK);
	assert_int_equal(n, RELEASES);
	for (size_t i = 0; i < n; i++)
		assert_true(rows[i].size > 0);
	arena_release(&small);
}

static void test_confirmed_is_the_first_word(void **state)
{
	uint8_t digest[32];

	(void)state;
	fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, false);
	agent_runs(&a, 7, digest, CHECKIN_CONFIRMED);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_RUNNING);
	assert_int_equal(fleet_events(&fl, &a, "claim"), 0);
}

static void test_failure_and_retry(void **state)
{
	struct assignment_row task;
	uint8_t digest[32];
	int64_t release = fleet_release_of(&fl, "1.0", "one", digest);

	(void)state;
	fleet_push(&fl, release, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	agent_failed(&a, 1, 11, 123, 65536);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_task(&fl, &a, &task);
	assert_int_equal(task.state, ASSIGN_FAILED);
	assert_int_equal(task.reason, 11);
	assert_int_equal(task.detail, 123);
	assert_int_equal(task.offset, 65536);
	/* Tried again: the old result, still told, ends nothing. */
	fleet_push(&fl, release, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 2);
	agent_failed(&a, 2, 11, 126, 0);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_REVERTED);
}

/* It ran, and failed later under the number it had: the first push after that is tried, not refused. */
static void test_failed_unheard(void **state)
{
	struct assignment_row task;
	uint8_t digest[32];
	int64_t release = fleet_release_of(&fl, "1.0", "one", digest);

	(void)state;
	fleet_push(&fl, release, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	agent_runs(&a, 7, digest, CHECKIN_CONFIRMED);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_RUNNING);
	a.ci.has_running = false;
	a.ci.state = CHECKIN_IDLE;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_push(&fl, release, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	agent_failed(&a, 1, ota_err_reason(OTA_ATTEMPT), ota_err_detail(OTA_ATTEMPT), 0);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 2);
	assert_int_equal(fleet_events(&fl, &a, "counted"), 1);
	/* Told once more, for the answer was lost. */
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 2);
	fleet_restart(&fl);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 2);
	assert_int_equal(fleet_events(&fl, &a, "counted"), 1);
	fleet_task(&fl, &a, &task);
	assert_int_equal(task.attempt, 2);
	agent_failed(&a, 2, ota_err_reason(OTA_DIGEST), ota_err_detail(OTA_DIGEST), 0);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_FAILED);
	/* No number is left. */
	assert_int_equal(stmt_script(fl.db, "UPDATE assignment SET attempt = 254", &e), OTA_OK);
	fleet_push(&fl, release, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 255);
	agent_failed(&a, 255, ota_err_reason(OTA_ATTEMPT), ota_err_detail(OTA_ATTEMPT), 0);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_FAILED);
}

static void test_superseded_and_cancelled(void **state)
{
	uint8_t one[32], two[32];
	int64_t old = fleet_release_of(&fl, "1.0", "one", one), new, rollout;

	(void)state;
	fl.f.now += 100;
	new = fleet_release_of(&fl, "2.0", "two", two);
	fleet_push(&fl, old, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), one, 1);
	agent_fetches(&a, CHECKIN_FETCHING, 1);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), one, 1);
	/* The newest decision wins; the old release is named to nobody any more. */
	rollout = fleet_push(&fl, new, &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), two, 1);
	agent_expect_task(&fl, &a, ASSIGN_WAITING);
	fleet_cancel(&fl, rollout);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_CANCELLED);
	/* And what the device says later of either moves nothing. */
	agent_fetches(&a, CHECKIN_STAGED, 3);
	memcpy(a.ci.target_digest, two, 32);
	a.ci.target_attempt = 1;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_CANCELLED);
}

/* The history that new hardware inherits must not hide what it has to do itself. */
static void test_replacement_keeps_its_own_task(void **state)
{
	struct device_row old, new;
	uint8_t one[32], two[32];
	int64_t first = fleet_release_of(&fl, "1.0", "one", one), second;

	(void)state;
	fl.f.now += 100;
	second = fleet_release_of(&fl, "2.0", "two", two);
	agent_join(&fl, &b, "replacement");
	fleet_push(&fl, first, &b, false);
	fleet_push(&fl, second, &a, false);
	fleet_device(&fl, &a, &old);
	fleet_device(&fl, &b, &new);
	assert_int_equal(device_replace(fl.db, old.id, new.id, fl.f.now, &e), OTA_OK);
	fleet_follow(&fl);
	assert_int_equal(agent_checkin(&fl, &b), 200);
	assert_true(b.ticket.has_assignment);
	assert_memory_equal(b.ticket.digest, one, 32);
}

static void test_hold(void **state)
{
	struct device_change change = {.state = -1, .hold = 1};
	struct device_row dev;
	uint8_t digest[32];
	int64_t rollout = fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, true);

	(void)state;
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	assert_int_equal(a.ticket.flags, TICKET_FLAG_HOLD);
	assert_int_equal(rollout_unhold(fl.db, rollout, 0, &e), OTA_OK);
	fleet_follow(&fl);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	assert_int_equal(a.ticket.flags, 0);
	/* A device on hold, whatever the push says. */
	fleet_device(&fl, &a, &dev);
	assert_int_equal(device_update(fl.db, dev.id, 0, &change, fl.f.now, NULL, &e), OTA_OK);
	fleet_follow(&fl);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	assert_int_equal(a.ticket.flags, TICKET_FLAG_HOLD);
}

static void test_already_running(void **state)
{
	uint8_t digest[32];
	int64_t release = fleet_release_of(&fl, "1.0", "one", digest);

	(void)state;
	agent_runs(&a, 7, digest, CHECKIN_IDLE);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_push(&fl, release, &a, false);
	/* Without a word of the device. */
	agent_expect_task(&fl, &a, ASSIGN_RUNNING);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
}

static void test_drift(void **state)
{
	uint8_t digest[32], other[32];
	struct assignment_row task;

	(void)state;
	fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, false);
	agent_runs(&a, 7, digest, CHECKIN_CONFIRMED);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_task(&fl, &a, &task);
	assert_false(task.is_drifted);
	memset(other, 0x77, 32);
	agent_runs(&a, 9, other, CHECKIN_IDLE);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_task(&fl, &a, &task);
	assert_true(task.is_drifted);
	/* Nothing is offered by itself. */
	agent_expect_task(&fl, &a, ASSIGN_RUNNING);
}

static void test_claim_is_flagged(void **state)
{
	uint8_t unknown[32], known[32];
	struct device_row dev;

	(void)state;
	memset(unknown, 0x55, 32);
	agent_runs(&a, 4000000000u, unknown, CHECKIN_CONFIRMED);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_device(&fl, &a, &dev);
	assert_memory_equal(dev.said.running_digest, unknown, 32);
	assert_int_equal(dev.release, 0);
	assert_int_equal(fleet_events(&fl, &a, "claim"), 1);
	/* One of ours, but never assigned to it. */
	fleet_release_of(&fl, "1.0", "one", known);
	agent_runs(&a, 8, known, CHECKIN_CONFIRMED);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	assert_int_equal(fleet_events(&fl, &a, "claim"), 2);
	/* Told again, not flagged again. */
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	assert_int_equal(fleet_events(&fl, &a, "claim"), 2);
}

/* Commits */

static void test_what_is_durable(void **state)
{
	struct device_row dev;
	uint64_t stored;
	uint8_t digest[32];

	(void)state;
	fleet_device(&fl, &a, &dev);
	stored = dev.said.counter;
	/* Nothing new: in memory until the group. */
	fl.f.now += 60;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.said.counter, stored);
	upkeep_flush(fl.f.app.domain);
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.said.counter, stored + 1);
	assert_int_equal(dev.said.seen_at, fl.f.now);
	/* Something new: there when the answer is. */
	memset(digest, 0x44, 32);
	agent_runs(&a, 5, digest, CHECKIN_IDLE);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.said.counter, stored + 2);
	assert_memory_equal(dev.said.running_digest, digest, 32);
}

static void test_restart(void **state)
{
	uint8_t digest[32];

	(void)state;
	fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, false);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	agent_fetches(&a, CHECKIN_FETCHING, 1);
	agent_expect_assigned(&a, agent_checkin(&fl, &a), digest, 1);
	fleet_restart(&fl);
	/* The committed one is known: sent again it is a repeat, an older one is refused. */
	agent_expect_assigned(&a, agent_repeat(&fl, &a), digest, 1);
	a.ci.counter -= 2;
	assert_int_equal(agent_checkin(&fl, &a), 409);
	a.ci.counter = a.ticket.counter;
	agent_runs(&a, 7, digest, CHECKIN_CONFIRMED);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_RUNNING);
	/* C5: an older word of the device comes once more after a crash; it rolls nothing back. */
	fleet_restart(&fl);
	agent_expect_nothing(&a, agent_repeat(&fl, &a));
	agent_expect_task(&fl, &a, ASSIGN_RUNNING);
}

static void test_timeout(void **state)
{
	uint8_t digest[32];

	(void)state;
	fl.f.cfg.task_timeout = 3600;
	fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, false);
	fl.f.now += 3599;
	upkeep_sweep(fl.f.app.domain);
	agent_expect_task(&fl, &a, ASSIGN_WAITING);
	fl.f.now += 2;
	upkeep_sweep(fl.f.app.domain);
	agent_expect_task(&fl, &a, ASSIGN_TIMED_OUT);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
}

/* Roots */

static void test_roots(void **state)
{
	uint8_t first[ROOT_MAX];
	size_t first_len = fl.root_len;

	(void)state;
	memcpy(first, fl.root, first_len);
	fleet_next_root(&fl);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	assert_int_equal(a.ticket.root_version, 2);
	assert_int_equal(fleet_get(&fl, "/d/v1/root/1", agent_authorization(&a)), 200);
	assert_int_equal(fl.f.res.body_len, first_len);
	assert_memory_equal(fl.f.res.body, first, first_len);
	assert_int_equal(fleet_get(&fl, "/d/v1/root/2", agent_authorization(&a)), 200);
	assert_memory_equal(fl.f.res.body, fl.root, fl.root_len);
	static const char *const none[] = {"3", "0", "01", "-1", "4294967297", "1x", "99999999999999999999"};

	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		char path[64];

		snprintf(path, sizeof(path), "/d/v1/root/%s", none[i]);
		assert_int_equal(fleet_get(&fl, path, agent_authorization(&a)), 404);
	}
	assert_int_equal(fleet_get(&fl, "/d/v1/root/1", NULL), 401);
	/* A device that is ahead of us, after a restored backup. */
	a.ci.root_version = 3;
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	assert_int_equal(a.ticket.root_version, 2);
	assert_int_equal(fl.f.app.domain->root_missing, 3);
	/* Also when the device said so before a restart and says nothing new. */
	fleet_restart(&fl);
	assert_int_equal(fl.f.app.domain->root_missing, 0);
	agent_expect_nothing(&a, agent_checkin(&fl, &a));
	assert_int_equal(fl.f.app.domain->root_missing, 3);
	/* Found again. */
	fleet_next_root(&fl);
	assert_int_equal(fl.f.app.domain->root_missing, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_update),
		TEST(test_draft),
		TEST(test_damaged_image),
		TEST(test_damaged_image_of_many_releases),
		TEST(test_confirmed_is_the_first_word),
		TEST(test_failure_and_retry),
		TEST(test_failed_unheard),
		TEST(test_superseded_and_cancelled),
		TEST(test_replacement_keeps_its_own_task),
		TEST(test_hold),
		TEST(test_already_running),
		TEST(test_drift),
		TEST(test_claim_is_flagged),
		TEST(test_what_is_durable),
		TEST(test_restart),
		TEST(test_timeout),
		TEST(test_roots),
	};

	return cmocka_run_group_tests_name("h_device", tests, NULL, NULL);
}
