#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "server/registry.h"

enum { MANY = 20000 };

static const int64_t now = 1800000000;

static void id_of(uint32_t n, uint8_t id[DEVICE_ID_LEN])
{
	memset(id, 0, DEVICE_ID_LEN);
	memcpy(id, &n, sizeof(n));
}

static struct reg_facts facts(uint32_t n)
{
	struct reg_facts f = {.row = n + 1, .board_row = 1};

	id_of(n, f.id);
	memset(f.k_dev, (int)(n & 0xff), KEY_LEN);
	f.dev.approved = true;
	return f;
}

static struct reg_facts facts_with_task(uint32_t n, enum assign_state state)
{
	struct reg_facts f = facts(n);

	f.task_row = 100 + n;
	f.dev.task = (struct plan_task){.exists = true, .state = state, .attempt = 1, .envelope_size = 400};
	memset(f.dev.task.digest, 9, 32);
	return f;
}

static struct registry *make(void)
{
	struct registry *r = registry_new(0x123456789abcdef);
	struct reg_board b = {.row = 1, .name = "lamp"};

	assert_non_null(r);
	assert_int_equal(registry_put_board(r, &b), OTA_OK);
	return r;
}

static uint32_t put(struct registry *r, const struct reg_facts *f)
{
	assert_int_equal(registry_put(r, f), OTA_OK);
	assert_int_not_equal(registry_find(r, f->id), REG_NONE);
	return registry_find(r, f->id);
}

static void test_many(void **state)
{
	struct registry *r = make();
	uint8_t id[DEVICE_ID_LEN];
	uint32_t walked = 0;

	(void)state;
	for (uint32_t i = 0; i < MANY; i++) {
		struct reg_facts f = facts(i);

		put(r, &f);
	}
	assert_int_equal(registry_count(r), MANY);
	assert_int_equal(registry_board(r, 0)->n_devices, MANY);
	/* Every third goes; the others are all still found, by id and by row. */
	for (uint32_t i = 0; i < MANY; i += 3) {
		id_of(i, id);
		registry_remove(r, registry_find(r, id));
	}
	for (uint32_t i = 0; i < MANY; i++) {
		uint32_t at;

		id_of(i, id);
		at = registry_find(r, id);
		assert_int_equal(at == REG_NONE, i % 3 == 0);
		assert_int_equal(registry_find_row(r, i + 1), at);
		if (at != REG_NONE)
			assert_int_equal(registry_key(r, at)[0], i & 0xff);
	}
	for (uint32_t at = registry_next(r, 0); at != REG_NONE; at = registry_next(r, at + 1))
		walked++;
	assert_int_equal(walked, registry_count(r));
	assert_int_equal(registry_board(r, 0)->n_devices, walked);
	/* The holes are used again. */
	for (uint32_t i = 0; i < MANY; i += 3) {
		struct reg_facts f = facts(i);

		put(r, &f);
	}
	assert_int_equal(registry_count(r), MANY);
	printf("registry: %zu bytes a device\n", registry_bytes(r) / MANY);
	/* 128 each, 11 to 22 for two indexes, and the rest of a chunk. */
	assert_true(registry_bytes(r) / MANY <= 128 + 22 + 2);
	registry_free(r);
}

static void test_view_is_what_was_put(void **state)
{
	struct registry *r = make();
	struct reg_facts f = facts_with_task(1, ASSIGN_STAGED);
	struct plan_device d;
	struct reg_live live;
	uint32_t at;

	(void)state;
	f.dev.hold = true;
	f.dev.heard = true;
	f.dev.counter = UINT64_C(1) << 40;
	memset(f.dev.mark, 1, PLAN_MARK_LEN);
	f.dev.root_version = 3;
	f.dev.has_running = true;
	f.dev.running_sequence = 77;
	memset(f.dev.running_digest, 2, 32);
	f.dev.state = CHECKIN_STAGED;
	f.dev.flags = CHECKIN_FLAG_HAS_RANDOM;
	memset(f.dev.result_mark, 3, PLAN_MARK_LEN);
	f.dev.task.hold = true;
	f.seen = now;
	f.uptime_s = 5;
	f.bytes_done = 6;
	at = put(r, &f);
	registry_view(r, at, &d);
	assert_memory_equal(&d, &f.dev, sizeof(d));
	registry_live(r, at, &live);
	assert_int_equal(live.row, 2);
	assert_int_equal(live.task_row, 101);
	assert_int_equal(live.seen, now);
	assert_int_equal(live.uptime_s, 5);
	assert_int_equal(live.bytes_done, 6);
	assert_false(live.presence_known);
	/* Without task and running. */
	f = facts(1);
	at = put(r, &f);
	registry_view(r, at, &d);
	assert_false(d.task.exists);
	assert_false(d.has_running);
	registry_free(r);
}

static void test_far_times(void **state)
{
	static const int64_t times[] = {0, 1577836801, 2147483648, 4294967296, 5872800000};
	struct registry *r = make();
	struct reg_live live;

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		struct reg_facts f = facts((uint32_t)i);

		f.seen = times[i];
		registry_live(r, put(r, &f), &live);
		assert_int_equal(live.seen, times[i]);
	}
	registry_free(r);
}

static void check_in(struct registry *r, uint32_t at, uint64_t counter, bool is_stored)
{
	struct plan_device d;

	registry_view(r, at, &d);
	d.counter = counter;
	memset(d.mark, (int)counter, PLAN_MARK_LEN);
	assert_int_equal(registry_checked_in(r, at, &d, now, 11, 12, is_stored), OTA_OK);
}

static void test_memory_knows_better(void **state)
{
	struct registry *r = make();
	struct reg_facts f = facts_with_task(1, ASSIGN_FETCHING);
	struct plan_device d;
	struct reg_live live;
	struct reg_dirty row;
	uint32_t at;

	(void)state;
	f.dev.heard = true;
	f.dev.counter = 5;
	at = put(r, &f);
	registry_set_presence(r, at, true);
	check_in(r, at, 50, false);
	/* The database is behind: counter, last-seen, progress and presence stay, the rest is taken. */
	f.dev.hold = true;
	put(r, &f);
	registry_view(r, at, &d);
	assert_int_equal(d.counter, 50);
	assert_int_equal(d.mark[0], 50);
	assert_true(d.hold);
	registry_live(r, at, &live);
	assert_int_equal(live.seen, now);
	assert_int_equal(live.bytes_done, 12);
	assert_true(live.presence_known && live.online);
	/* It is ahead. */
	f.dev.counter = 60;
	put(r, &f);
	registry_view(r, at, &d);
	assert_int_equal(d.counter, 60);
	/* Another key begins anew. */
	memset(f.k_dev, 0xee, KEY_LEN);
	f.enrolment = 7;
	f.dev.counter = 0;
	put(r, &f);
	registry_view(r, at, &d);
	assert_int_equal(d.counter, 0);
	assert_int_equal(registry_take_dirty(r, &row, 1), 1);
	assert_int_equal(row.enrolment, 7);
	assert_int_equal(row.counter, 0);
	/* Another assignment: its progress, not the old one's. */
	f.task_row++;
	f.bytes_done = 1;
	put(r, &f);
	registry_live(r, at, &live);
	assert_int_equal(live.bytes_done, 1);
	registry_free(r);
}

static void test_same_id_new_row(void **state)
{
	struct registry *r = make();
	struct reg_facts f = facts(1);
	uint32_t at = put(r, &f);

	(void)state;
	check_in(r, at, 50, false);
	assert_int_equal(registry_dirty(r), 1);
	f.row = 99;
	put(r, &f);
	assert_int_equal(registry_count(r), 1);
	assert_int_equal(registry_dirty(r), 0);
	assert_int_equal(registry_find_row(r, 2), REG_NONE);
	assert_int_not_equal(registry_find_row(r, 99), REG_NONE);
	registry_free(r);
}

static void test_dirty(void **state)
{
	struct registry *r = make();
	struct reg_dirty rows[8];
	struct reg_facts f;
	uint32_t at;

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		f = facts(i);
		check_in(r, put(r, &f), 10 + i, i == 4);
	}
	assert_int_equal(registry_dirty(r), 4);
	assert_int_equal(registry_take_dirty(r, rows, 3), 3);
	assert_int_equal(registry_dirty(r), 1);
	assert_int_equal(rows[0].row, 1);
	assert_int_equal(rows[0].counter, 10);
	assert_int_equal(rows[0].seen, now);
	assert_int_equal(rows[0].uptime_s, 11);
	assert_int_equal(rows[0].bytes_done, 12);
	/* The write failed, and one of them was removed meanwhile. */
	registry_remove(r, registry_find_row(r, 2));
	registry_give_back(r, rows, 3);
	assert_int_equal(registry_dirty(r), 3);
	assert_int_equal(registry_take_dirty(r, rows, 8), 3);
	assert_int_equal(registry_take_dirty(r, rows, 8), 0);
	/* A removed dirty one is gone from the count. */
	at = registry_find_row(r, 1);
	check_in(r, at, 20, false);
	registry_remove(r, at);
	assert_int_equal(registry_dirty(r), 0);
	registry_free(r);
}

static void test_offered(void **state)
{
	struct registry *r = make();
	struct reg_facts f = facts_with_task(1, ASSIGN_WAITING);
	struct reg_dirty rows[2];
	struct plan_device d;
	uint32_t at = put(r, &f);

	(void)state;
	registry_offered(r, at);
	registry_offered(r, at);
	registry_view(r, at, &d);
	assert_int_equal(d.task.state, ASSIGN_OFFERED);
	/* The database does not know yet. */
	put(r, &f);
	registry_view(r, at, &d);
	assert_int_equal(d.task.state, ASSIGN_OFFERED);
	assert_int_equal(registry_take_dirty(r, rows, 2), 1);
	assert_true(rows[0].offered);
	assert_int_equal(rows[0].task_row, 101);
	registry_give_back(r, rows, 1);
	assert_int_equal(registry_take_dirty(r, rows, 2), 1);
	assert_true(rows[0].offered);
	/* A retry waits again, and nobody has named it. */
	f.dev.task.attempt = 2;
	put(r, &f);
	registry_view(r, at, &d);
	assert_int_equal(d.task.state, ASSIGN_WAITING);
	/* An ended one is not offered. */
	f.dev.task.state = ASSIGN_CANCELLED;
	put(r, &f);
	registry_offered(r, at);
	registry_view(r, at, &d);
	assert_int_equal(d.task.state, ASSIGN_CANCELLED);
	registry_free(r);
}

static void test_boards(void **state)
{
	struct registry *r = make();
	struct reg_board b = {.row = 2, .name = "pump"}, *at;
	struct reg_facts f = facts(1);

	(void)state;
	assert_int_equal(registry_put_board(r, &b), OTA_OK);
	f.board_row = 3;
	assert_int_equal(registry_put(r, &f), OTA_NOT_FOUND);
	assert_int_equal(registry_count(r), 0);
	f.board_row = 2;
	put(r, &f);
	registry_board_by_row(r, 2)->revision = 17;
	memcpy(b.name, "pump2", 6);
	assert_int_equal(registry_put_board(r, &b), OTA_OK);
	at = registry_board_by_row(r, 2);
	assert_string_equal(at->name, "pump2");
	assert_int_equal(at->revision, 17);
	assert_int_equal(at->n_devices, 1);
	registry_remove_board(r, 2); /* has a device: stays */
	assert_non_null(registry_board_by_row(r, 2));
	/* A device moves. */
	f.board_row = 1;
	put(r, &f);
	assert_int_equal(registry_board_by_row(r, 1)->n_devices, 1);
	registry_remove_board(r, 2);
	assert_null(registry_board_by_row(r, 2));
	assert_null(registry_board(r, 1));
	b.row = 7;
	assert_int_equal(registry_put_board(r, &b), OTA_OK);
	assert_int_equal(registry_boards(r), 2);
	registry_free(r);
}

static void test_envelope_size(void **state)
{
	struct registry *r = make();
	struct reg_facts f = facts_with_task(1, ASSIGN_WAITING);
	uint32_t at = put(r, &f);
	uint8_t digest[32];
	struct plan_device d;

	(void)state;
	memset(digest, 9, 32);
	registry_envelope_size(r, digest, 500);
	registry_view(r, at, &d);
	assert_int_equal(d.task.envelope_size, 500);
	memset(digest, 10, 32);
	registry_envelope_size(r, digest, 1); /* nobody's */
	registry_view(r, at, &d);
	assert_int_equal(d.task.envelope_size, 500);
	registry_free(r);
}

static void test_alarm_once(void **state)
{
	struct registry *r = make();
	struct reg_facts f = facts(1);
	uint32_t at = put(r, &f);

	(void)state;
	assert_true(registry_alarm(r, at));
	assert_false(registry_alarm(r, at));
	check_in(r, at, 3, false);
	assert_true(registry_alarm(r, at));
	registry_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_view_is_what_was_put),
		cmocka_unit_test(test_far_times),
		cmocka_unit_test(test_memory_knows_better),
		cmocka_unit_test(test_same_id_new_row),
		cmocka_unit_test(test_dirty),
		cmocka_unit_test(test_offered),
		cmocka_unit_test(test_boards),
		cmocka_unit_test(test_envelope_size),
		cmocka_unit_test(test_alarm_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
