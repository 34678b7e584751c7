#include <stdio.h>
#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "db/change.h"
#include "db/enroll.h"
#include "db/release.h"
#include "db/rollout.h"
#include "proto/hex.h"
#include "server/follow.h"
#include "server/upkeep.h"
#include "server/wake.h"
#include "tests/unit/server/fleet.h"

enum { MANY = 1200 /* more than a chunk of changes */ };

void __real_registry_live(const struct registry *r, uint32_t at, struct reg_live *out);
void __wrap_registry_live(const struct registry *r, uint32_t at, struct reg_live *out);
void __wrap_mqtt_board_notice(struct mqtt *m, const uint8_t class_id[16], const uint8_t *payload, size_t len);
void __wrap_mqtt_device_hint(struct mqtt *m, const uint8_t device_id[16], const uint8_t *payload, size_t len);

static unsigned n_looks, n_notices, n_hints;

void __wrap_registry_live(const struct registry *r, uint32_t at, struct reg_live *out)
{
	n_looks++;
	__real_registry_live(r, at, out);
}

void __wrap_mqtt_board_notice(struct mqtt *m, const uint8_t class_id[16], const uint8_t *payload, size_t len)
{
	(void)m;
	(void)class_id;
	(void)payload;
	(void)len;
	n_notices++;
}

void __wrap_mqtt_device_hint(struct mqtt *m, const uint8_t device_id[16], const uint8_t *payload, size_t len)
{
	(void)m;
	(void)device_id;
	(void)payload;
	(void)len;
	n_hints++;
}

static struct fleet fl;
static struct agent a;
static struct errmsg e;

static int set_up(void **state)
{
	(void)state;
	fleet_init(&fl, true);
	memset(&a, 0, sizeof(a));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fleet_release(&fl);
	return 0;
}

/* The registry is what a fresh start on the same database would make of it. */
static void expect_same_after_restart(void)
{
	struct registry *r = fl.f.app.domain->reg;
	static struct plan_device before[MANY + 16];
	static uint8_t ids[MANY + 16][DEVICE_ID_LEN];
	size_t n = 0;

	upkeep_flush_all(fl.f.app.domain);
	for (uint32_t at = registry_next(r, 0); at != REG_NONE; at = registry_next(r, at + 1)) {
		registry_id(r, at, ids[n]);
		registry_view(r, at, &before[n++]);
	}
	fleet_restart(&fl);
	r = fl.f.app.domain->reg;
	assert_int_equal(registry_count(r), n);
	for (size_t i = 0; i < n; i++) {
		struct plan_device after;
		uint32_t at = registry_find(r, ids[i]);

		assert_int_not_equal(at, REG_NONE);
		registry_view(r, at, &after);
		/* registry_view clears what it fills, padding too */
		/* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c) */
		if (memcmp(&after, &before[i], sizeof(after)) != 0)
			fail_msg("device %zu differs after a restart", i);
	}
}

/* Enroll `n` devices in the database itself, as another otad would. */
static void enroll_many(unsigned n)
{
	struct db_tx tx = {0};

	fleet_secret(&fl, &(struct fleet_secret){.uses = MANY, .is_approving = true}, &a);
	assert_int_equal(db_begin(fl.db, &tx, &e), OTA_OK);
	for (unsigned i = 0; i < n; i++) {
		struct enroll_in in = {.now = fl.f.now};
		struct enroll_out out;
		char serial[16];

		snprintf(serial, sizeof(serial), "s%u", i);
		memcpy(in.secret_id, a.secret_id, sizeof(in.secret_id));
		memset(in.device_id, 0x40, sizeof(in.device_id));
		memcpy(in.device_id, &i, sizeof(i));
		memcpy(in.vendor_id, fl.vendor_id, 16);
		memcpy(in.class_id, fl.class_id, 16);
		memcpy(in.nonce_d, &i, sizeof(i));
		memcpy(in.link_id, &i, sizeof(i));
		in.serial = (const uint8_t *)serial;
		in.serial_len = strlen(serial);
		assert_int_equal(enroll_device(fl.db, &in, &out, &e), OTA_OK);
	}
	assert_int_equal(db_commit(&tx, &e), OTA_OK);
}

static void test_many_changes_at_once(void **state)
{
	struct domain *d = fl.f.app.domain;
	int64_t newest;

	(void)state;
	enroll_many(MANY);
	assert_int_equal(registry_count(d->reg), 0);
	fleet_follow(&fl);
	assert_int_equal(registry_count(d->reg), MANY);
	assert_int_equal(change_newest(fl.db, &newest, &e), OTA_OK);
	assert_int_equal(d->applied, newest);
	assert_false(d->is_following);
	assert_int_equal(registry_board(d->reg, 0)->n_devices, MANY);
	expect_same_after_restart();
}

/* A rollout of many is followed a piece at a time, and what comes behind it after its last. */
static void test_a_large_rollout_changes(void **state)
{
	struct domain *d = fl.f.app.domain;
	struct chunk_within within = {0};
	struct device_list devices;
	struct rollout_row row = {.uid = "p", .selector = "all", .is_held = true, .created_by = "op"};
	struct release_row release;
	uint8_t digest[32];
	int64_t rollout;
	size_t n = 0, n_jobs = 0;
	bool has_more = true;

	(void)state;
	enroll_many(MANY);
	fleet_follow(&fl);
	row.release = fleet_release_of(&fl, "1.0", "one", digest);
	assert_int_equal(release_load(fl.db, row.release, &fl.mem, &release, &e), OTA_OK);
	assert_int_equal(rollout_insert(fl.db, &row, &rollout, NULL, &e), OTA_OK);
	assert_int_equal(
		device_list(fl.db, NULL, &(struct db_page){.limit = DB_PAGE_MAX}, &fl.mem, &devices, &e),
		OTA_OK);
	for (size_t i = 0; i < devices.n; i++) {
		struct assignment_opened opened;

		assert_int_equal(assignment_open(fl.db, rollout, devices.rows[i].id, release.manifest,
					 fl.f.now, &opened, &e),
			OTA_OK);
	}
	fleet_follow(&fl);
	assert_int_equal(rollout_unhold(fl.db, rollout, 0, &e), OTA_OK);
	for (int64_t from = d->applied; has_more; n_jobs++) {
		struct job *job = job_new(64 << 20);
		struct chunk *ch = arena_alloc(job->mem, sizeof(*ch));

		ch->crypto = fl.f.app.crypto;
		ch->keys = d->keys;
		ch->from = from;
		ch->within = within;
		job->ctx = ch;
		job->db = fl.db;
		assert_int_equal(chunk_load(job), OTA_OK);
		for (const struct found_device *f = ch->devices; f; f = f->next) {
			assert_false(f->facts.dev.task.hold);
			n++;
		}
		assert_true(n <= (n_jobs + 1) * CHUNK_DEVICES);
		from = ch->to;
		within = ch->within;
		has_more = ch->has_more;
		job_drop(job);
	}
	assert_int_equal(n, devices.n);
	assert_int_equal(within.seq, 0);
	assert_int_equal(rollout_end(fl.db, rollout, 0, ROLLOUT_CANCELLED, fl.f.now, &e), OTA_OK);
	fleet_follow(&fl);
	expect_same_after_restart();
}

static void test_each_kind_of_change(void **state)
{
	struct device_change hold = {.state = -1, .hold = 1};
	struct device_row dev;
	uint8_t digest[32];

	(void)state;
	agent_join(&fl, &a, "one");
	fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, false);
	expect_same_after_restart();
	assert_int_equal(agent_checkin(&fl, &a), 200);
	agent_fetches(&a, CHECKIN_FETCHING, 1);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	expect_same_after_restart();
	fleet_device(&fl, &a, &dev);
	assert_int_equal(device_update(fl.db, dev.id, 0, &hold, fl.f.now, NULL, &e), OTA_OK);
	fleet_follow(&fl);
	expect_same_after_restart();
	agent_failed(&a, 1, 4, 40, 0);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	expect_same_after_restart();
	assert_int_equal(device_delete(fl.db, dev.id, 0, 1, &e), OTA_OK);
	fleet_follow(&fl);
	assert_int_equal(registry_count(fl.f.app.domain->reg), 0);
	expect_same_after_restart();
}

/* Our own check-ins bring their facts along: the follower is there without loading. */
static void test_own_changes_are_not_loaded_again(void **state)
{
	struct domain *d = fl.f.app.domain;
	uint64_t rounds;
	int64_t newest;
	uint8_t digest[32] = {9};

	(void)state;
	agent_join(&fl, &a, "one");
	rounds = d->rounds_begun;
	for (uint32_t i = 0; i < 5; i++) {
		digest[0]++;
		agent_runs(&a, i + 1, digest, CHECKIN_IDLE);
		assert_int_equal(agent_checkin(&fl, &a), 200);
		assert_int_equal(change_newest(fl.db, &newest, &e), OTA_OK);
		assert_int_equal(d->applied, newest);
	}
	assert_int_equal(d->rounds_begun, rounds);
	/* Somebody else's change in between: it is not skipped. */
	enroll_many(1);
	digest[0]++;
	agent_runs(&a, 9, digest, CHECKIN_IDLE);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(registry_count(d->reg), 2);
	assert_int_equal(change_newest(fl.db, &newest, &e), OTA_OK);
	assert_int_equal(d->applied, newest);
}

static void test_settle(void **state)
{
	struct domain *d = fl.f.app.domain;
	uint64_t round;

	(void)state;
	enroll_many(3);
	round = follow_start(d);
	assert_true(follow_is_done(d, round));
	assert_false(follow_is_done(d, round + 1));
	assert_int_equal(registry_count(d->reg), 3);
}

/* Rows that the registry has not followed yet are not trimmed away. */
static void test_trimming_waits_for_the_follower(void **state)
{
	struct domain *d = fl.f.app.domain;
	int64_t applied = d->applied, newest;
	struct db_tx tx = {0};

	(void)state;
	assert_int_equal(db_begin(fl.db, &tx, &e), OTA_OK);
	for (int i = 0; i < UPKEEP_CHANGES + 10; i++)
		assert_int_equal(change_add(fl.db, CHANGE_SETTING, 0, &e), OTA_OK);
	assert_int_equal(db_commit(&tx, &e), OTA_OK);
	upkeep_sweep(d);
	assert_int_equal(change_newest(fl.db, &newest, &e), OTA_OK);
	assert_true(newest - applied > UPKEEP_CHANGES);
	assert_int_equal(d->applied, newest);
	/* Now they may go. */
	upkeep_sweep(d);
	struct change_list list;

	assert_int_equal(
		change_list(fl.db, &(struct db_page){.cursor = applied, .limit = 1}, &fl.mem, &list, &e),
		OTA_TRUNCATED);
}

/* A push of what everybody runs: one job ends it. */
static void test_a_push_of_what_runs(void **state)
{
	struct assignment_row task;
	static struct agent agents[30];
	uint8_t digest[32];
	int64_t release = fleet_release_of(&fl, "1.0", "one", digest);

	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		char serial[16];

		snprintf(serial, sizeof(serial), "s%u", i);
		agent_join(&fl, &agents[i], serial);
		agent_runs(&agents[i], 7, digest, CHECKIN_IDLE);
		assert_int_equal(agent_checkin(&fl, &agents[i]), 200);
	}
	fleet_push_many(&fl, release, agents, 30);
	for (unsigned i = 0; i < 30; i++) {
		fleet_task(&fl, &agents[i], &task);
		assert_int_equal(task.state, ASSIGN_RUNNING);
	}
	expect_same_after_restart();
}

static void test_news(void **state)
{
	struct domain *d = fl.f.app.domain;
	struct reg_board *board;
	uint32_t revision;
	uint8_t digest[32];
	int64_t release;

	(void)state;
	agent_join(&fl, &a, "one");
	release = fleet_release_of(&fl, "1.0", "one", digest);
	board = registry_board(d->reg, 0);
	revision = board->revision;
	/* What a device says itself wakes nobody. */
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(board->revision, revision);
	fl.f.now += 100;
	fleet_push(&fl, release, &a, false);
	assert_int_equal(board->revision, fl.f.now);
	assert_int_equal(d->news.n, 0);
	/* Twice in a second: it rises all the same. */
	fleet_push(&fl, release, &a, false);
	assert_int_equal(board->revision, fl.f.now + 1);
	fleet_next_root(&fl);
	assert_int_equal(board->revision, fl.f.now + 2);
}

/* However many boards there are, a target is looked at once to count it and once for its hint. */
static void test_waking_among_many_boards(void **state)
{
	enum { BOARDS = 40 };
	struct domain *d = fl.f.app.domain;
	struct wake_list list = {0};
	uint32_t n;

	(void)state;
	enroll_many(MANY);
	fleet_follow(&fl);
	for (uint32_t i = 1; i <= BOARDS; i++) {
		struct reg_board other = {.row = 1000 + i, .revision = 7};

		memcpy(other.class_id, &i, sizeof(i));
		assert_int_equal(registry_put_board(d->reg, &other), OTA_OK);
	}
	/* So few of them: a hint for each. Somebody who has gone has none. */
	for (n = 0; n < 30; n++)
		wake_add(&list, n);
	registry_remove(d->reg, 29);
	n_looks = n_notices = n_hints = 0;
	wake_send(d, &list);
	assert_int_equal(list.n, 0);
	assert_int_equal(n_hints, 29);
	assert_int_equal(n_notices, 0);
	assert_true(n_looks <= 2 * 30);
	/* All of them: the board's revision alone. */
	for (n = 0; n < MANY; n++)
		wake_add(&list, n);
	n_looks = n_notices = n_hints = 0;
	wake_send(d, &list);
	assert_int_equal(n_hints, 0);
	assert_int_equal(n_notices, 1);
	assert_true(n_looks <= MANY);
	for (uint32_t i = 1; i <= BOARDS; i++)
		assert_int_equal(registry_board_by_row(d->reg, 1000 + i)->revision, 7);
	wake_list_release(&list);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_many_changes_at_once),
		TEST(test_a_large_rollout_changes),
		TEST(test_each_kind_of_change),
		TEST(test_own_changes_are_not_loaded_again),
		TEST(test_settle),
		TEST(test_trimming_waits_for_the_follower),
		TEST(test_a_push_of_what_runs),
		TEST(test_news),
		TEST(test_waking_among_many_boards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
