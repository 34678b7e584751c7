/* A counter that goes back: once is a copy that was put back, again and again is two devices. */
#include "tests/unit/db/fixture.h"

#include <stdio.h>

#include "db/alarm.h"
#include "db/change.h"

enum { HOUR = 3600, DAY = 24 * HOUR };

static struct alarm_row alarm_of(struct fixture *f, int64_t device)
{
	struct device_row row;

	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	return row.alarm;
}

static void judged(void **state)
{
	static const struct {
		const char *what;
		int n;
		struct {
			uint64_t counter;
			int64_t after_s;
		} back[6];
		uint32_t times;
		int new_at; /* which of them made it a shared identity; 0 = none */
	} rows[] = {
		{"once", 1, {{100, 0}}, 1, 0},
		{"twice", 2, {{100, 0}, {200, 60}}, 2, 0},
		{"back and forth", 3, {{100, 0}, {101, 60}, {102, 60}}, 3, 3},
		{"and on", 6, {{1, 0}, {2, 60}, {3, 60}, {4, 60}, {5, 60}, {6, 60}}, 6, 3},
		{"one recording for ever", 6, {{7, 0}, {7, 60}, {7, 60}, {7, 60}, {7, 60}, {7, 60}}, 1, 0},
		{"ever older recordings", 4, {{9, 0}, {8, 60}, {7, 60}, {6, 60}}, 1, 0},
		{"seldom", 4, {{1, 0}, {2, 8 * DAY}, {3, 8 * DAY}, {4, 8 * DAY}}, 1, 0},
		{"a shared one is not forgotten", 4, {{1, 0}, {2, 60}, {3, 60}, {4, 30 * DAY}}, 4, 3},
		{"beyond an int64", 2, {{UINT64_MAX - 1, 0}, {UINT64_MAX, 60}}, 2, 0},
	};
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char name[16];
		int new_at = 0;
		int64_t now = NOW, device;

		(void)snprintf(name, sizeof name, "lamp-%zu", i);
		device = make_device(f, name, board, "0123456789abcdef"[i]);
		assert_int_equal(alarm_of(f, device).times, 0);
		for (int k = 0; k < rows[i].n; k++) {
			enum alarm_news news = ALARM_COUNTED;

			now += rows[i].back[k].after_s;
			ok(f, alarm_raise(f->db, device, rows[i].back[k].counter, now, &news, &f->e));
			if (news == ALARM_SHARED)
				new_at = new_at ? -1 : k + 1;
		}
		struct alarm_row got = alarm_of(f, device);

		if (got.times != rows[i].times || new_at != rows[i].new_at || got.last_at != now ||
			alarm_is_shared(&got) != (new_at != 0))
			fail_msg("%s: %u times, new at %d", rows[i].what, got.times, new_at);
	}
}

/* What a device's log is told: a clone that polls every five minutes for a week is no week of rows. */
static void told(void **state)
{
	static const struct {
		const char *what;
		int64_t every_s, for_s;
		bool rises;
		unsigned first, shared, again;
	} rows[] = {
		{"a clone's week", 300, 7 * DAY - 300, true, 1, 1, 6},
		{"one recording, once a poll, for three days", 300, 3 * DAY, false, 1, 0, 3},
		{"two days apart", 2 * DAY, 6 * DAY, true, 1, 1, 2},
		{"forgotten in between", 8 * DAY, 24 * DAY, true, 4, 0, 0},
	};
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1);

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		unsigned n[ALARM_AGAIN + 1] = {0};
		char name[16];
		uint64_t counter = 1;
		int64_t device;

		(void)snprintf(name, sizeof name, "lamp-%zu", i);
		device = make_device(f, name, board, "0123456789abcdef"[i]);
		for (int64_t at = 0; at <= rows[i].for_s; at += rows[i].every_s) {
			enum alarm_news news;

			counter += rows[i].rises;
			ok(f, alarm_raise(f->db, device, counter, NOW + at, &news, &f->e));
			n[news]++;
		}
		if (n[ALARM_FIRST] != rows[i].first || n[ALARM_SHARED] != rows[i].shared ||
			n[ALARM_AGAIN] != rows[i].again)
			fail_msg("%s: %u first, %u shared, %u again", rows[i].what, n[ALARM_FIRST],
				n[ALARM_SHARED], n[ALARM_AGAIN]);
	}
}

static void cleared(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), old = make_device(f, "lamp-1", board, 'a'),
		other = make_device(f, "lamp-2", board, 'b'), before, after;
	enum alarm_news news;

	fails(f, OTA_NOT_FOUND, alarm_raise(f->db, 99, 1, NOW, &news, &f->e));
	for (uint64_t counter = 1; counter < 4; counter++)
		ok(f, alarm_raise(f->db, old, counter, NOW, &news, &f->e));
	assert_int_equal(news, ALARM_SHARED);
	ok(f, change_newest(f->db, &before, &f->e));
	ok(f, alarm_clear(f->db, old, &f->e));
	assert_int_equal(alarm_of(f, old).times, 0);
	ok(f, change_newest(f->db, &after, &f->e));
	assert_true(after > before);
	/* nothing to clear: nobody is woken */
	ok(f, alarm_clear(f->db, old, &f->e));
	ok(f, change_newest(f->db, &before, &f->e));
	assert_int_equal(before, after);
	/* new hardware has a key of its own */
	ok(f, alarm_raise(f->db, old, 1, NOW, &news, &f->e));
	ok(f, device_replace(f->db, old, other, NOW, &f->e));
	assert_int_equal(alarm_of(f, old).times, 0);
	assert_int_equal(alarm_of(f, other).times, 0);
	/* and goes with its device */
	ok(f, alarm_raise(f->db, other, 1, NOW, &news, &f->e));
	ok(f, device_delete(f->db, other, 0, NOW, &f->e));
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(judged),
		test(told),
		test(cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
