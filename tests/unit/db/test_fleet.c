/* Devices, identities, reports, history. */
#include "tests/unit/db/fixture.h"

#include <stdio.h>
#include <string.h>

#include "db/alarm.h"
#include "db/change.h"
#include "db/device.h"
#include "db/event.h"
#include "db/fleet.h"
#include "db/identity.h"
#include "db/report.h"
#include "proto/checkin.h"

static const struct db_page all = {0};
static const struct device_change nothing = {.state = -1, .hold = -1};

static void devices(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1);
	static const char *const tags[] = {"upstairs", "kitchen"};
	struct device_row row = {.name = "", .created_at = NOW, .tags = tags, .n_tags = 2};
	struct device_row got;
	int64_t id = 0, other, revision = 0;
	struct device_change c = nothing;

	memset(row.uid, 'a', 32);
	ok(f, device_insert(f->db, &row, 0, &id, &f->e));
	ok(f, device_load(f->db, id, &f->mem, &got, &f->e));
	assert_string_equal(got.name, got.uid);
	assert_int_equal(got.state, DEVICE_PENDING);
	assert_int_equal(got.n_tags, 2);
	assert_string_equal(got.tags[0], "kitchen");
	assert_int_equal(got.board, 0);
	assert_string_equal(got.version, "");
	assert_int_equal(got.said.seen_at, 0);
	assert_false(got.has_enrolment);
	fails(f, OTA_EXISTS, device_insert(f->db, &row, 0, &id, &f->e));
	memset(row.uid, 'b', 32);
	fails(f, OTA_LIMIT, device_insert(f->db, &row, 1, &other, &f->e));
	row.name = "no/slash";
	fails(f, OTA_INVALID, device_insert(f->db, &row, 0, &other, &f->e));
	other = make_device(f, "lamp-2", board, 'c');

	/* changes, the revision, and nothing */
	c.name = "lamp-1";
	c.board = board;
	c.state = DEVICE_APPROVED;
	c.tags_add = (const char *const[]){"new"};
	c.n_tags_add = 1;
	c.tags_remove = tags;
	c.n_tags_remove = 1;
	ok(f, device_update(f->db, id, 1, &c, NOW + 1, &revision, &f->e));
	assert_int_equal(revision, 2);
	fails(f, OTA_CONFLICT, device_update(f->db, id, 1, &c, NOW + 1, &revision, &f->e));
	ok(f, device_update(f->db, id, 2, &c, NOW + 1, &revision, &f->e));
	assert_int_equal(revision, 2);
	ok(f, device_load_uid(f->db, got.uid, &f->mem, &got, &f->e));
	assert_string_equal(got.name, "lamp-1");
	assert_string_equal(got.board_name, "lamp");
	assert_int_equal(got.approved_at, NOW + 1);
	assert_int_equal(got.n_tags, 2);
	assert_string_equal(got.tags[1], "new");
	c = nothing;
	c.name = "lamp-2";
	fails(f, OTA_EXISTS, device_update(f->db, id, 0, &c, NOW, NULL, &f->e));
	c = nothing;
	c.state = DEVICE_PENDING;
	fails(f, OTA_STATE, device_update(f->db, id, 0, &c, NOW, NULL, &f->e));
	c = nothing;
	c.tags_add = (const char *const[]){"a b"};
	c.n_tags_add = 1;
	fails(f, OTA_INVALID, device_update(f->db, id, 0, &c, NOW, NULL, &f->e));
	{
		char names[40][16];
		const char *many[40];

		for (int i = 0; i < 40; i++) {
			(void)snprintf(names[i], sizeof names[i], "t%d", i);
			many[i] = names[i];
		}
		c.tags_add = many;
		c.n_tags_add = 40;
		fails(f, OTA_LIMIT, device_update(f->db, id, 0, &c, NOW, NULL, &f->e));
	}
	ok(f, device_load(f->db, id, &f->mem, &got, &f->e));
	assert_int_equal(got.revision, 2);
	assert_int_equal(got.n_tags, 2);
	fails(f, OTA_NOT_FOUND, device_update(f->db, 99, 0, &nothing, NOW, NULL, &f->e));
	fails(f, OTA_CONFLICT, device_delete(f->db, id, 1, NOW, &f->e));
	ok(f, device_delete(f->db, id, 2, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, device_load(f->db, id, &f->mem, &got, &f->e));
}

static void device_lists(void **state)
{
	struct fixture *f = *state;
	int64_t lamp = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2);
	struct device_change c = nothing;
	struct selector s;
	struct device_filter filter = {.selector = &s, .state = -1};
	struct device_list list;
	uint64_t n = 0;
	int64_t ids[12];

	(void)make_release(f, lamp, "1.9", "old", 100);
	(void)make_release(f, lamp, "1.10", "new", 200);
	for (int i = 0; i < 12; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "d%d", i);
		ids[i] = make_device(f, name, i % 2 ? fan : lamp, "0123456789abcdef"[i]);
		c.tags_add = (const char *const[]){"even3"};
		c.n_tags_add = i % 3 == 0;
		ok(f, device_update(f->db, ids[i], 0, &c, NOW, NULL, &f->e));
		if (i % 2 == 0)
			say_running(f, ids[i], 1, i < 6 ? 100 : 200, CHECKIN_IDLE);
	}
	/* paging with a filter: pages are full, the last one says so */
	ok(f, selector_parse("board=lamp", &s, &f->e));
	ok(f, device_list(f->db, &filter, &(struct db_page){.limit = 4}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 4);
	assert_string_equal(list.rows[3].name, "d6");
	ok(f, device_list(f->db, &filter, &(struct db_page){.limit = 4, .cursor = list.next}, &f->mem, &list,
		      &f->e));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.next, 0);
	ok(f, device_list(f->db, &filter, &(struct db_page){.limit = 6}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 6);
	assert_int_equal(list.next, 0);
	ok(f, selector_parse("version<1.10", &s, &f->e));
	ok(f, device_count(f->db, &filter, &n, &f->e));
	assert_int_equal(n, 3);
	ok(f, selector_parse("version>=1.10,tag=even3", &s, &f->e));
	ok(f, device_list(f->db, &filter, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_string_equal(list.rows[0].name, "d6");
	assert_string_equal(list.rows[0].version, "1.10");
	assert_int_equal(list.rows[0].n_tags, 1);
	filter = (struct device_filter){.board = fan, .state = DEVICE_APPROVED};
	ok(f, device_count(f->db, &filter, &n, &f->e));
	assert_int_equal(n, 6);
	ok(f, device_count(f->db, NULL, &n, &f->e));
	assert_int_equal(n, 12);
	{
		const struct attribute attributes[] = {{"floor", "2"}, {"mac", "00:11"}};
		struct attribute *rows;
		size_t n_rows;

		ok(f, attribute_set_all(f->db, ids[5], attributes, 2, &f->e));
		ok(f, selector_parse("attr.floor=2", &s, &f->e));
		filter = (struct device_filter){.selector = &s, .state = -1};
		ok(f, device_count(f->db, &filter, &n, &f->e));
		assert_int_equal(n, 1);
		ok(f, attribute_set_all(f->db, ids[5], attributes, 1, &f->e));
		ok(f, attribute_list(f->db, ids[5], &f->mem, &rows, &n_rows, &f->e));
		assert_int_equal(n_rows, 1);
		fails(f, OTA_NOT_FOUND, attribute_set_all(f->db, 99, attributes, 1, &f->e));
	}
}

static void device_finds(void **state)
{
	struct fixture *f = *state;
	int64_t a = make_device(f, "kitchen", 0, 'a'), b = make_device(f, "aaaa", 0, 'b'), id = 0, identity;
	struct identity_row mac = {
		.device = b, .kind = IDENTITY_MAC, .value = "a0b1c2d3e4f5", .created_at = NOW};
	struct device_row row = {.name = "twin", .created_at = NOW};
	int64_t twin = 0;

	memset(row.uid, 'b', 32);
	row.uid[31] = 'c';
	ok(f, device_insert(f->db, &row, 0, &twin, &f->e));
	ok(f, identity_insert(f->db, &mac, &identity, &f->e));
	ok(f, device_find(f->db, "kitchen", &id, &f->e));
	assert_int_equal(id, a);
	ok(f, device_find(f->db, "aaaaa", &id, &f->e));
	assert_int_equal(id, a);
	/* a name goes before an id */
	ok(f, device_find(f->db, "aaaa", &id, &f->e));
	assert_int_equal(id, b);
	fails(f, OTA_CONFLICT, device_find(f->db, "BBBB", &id, &f->e));
	fails(f, OTA_NOT_FOUND, device_find(f->db, "aaa", &id, &f->e));
	fails(f, OTA_NOT_FOUND, device_find(f->db, "", &id, &f->e));
	ok(f, device_find(f->db, "A0:B1:C2:D3:E4:F5", &id, &f->e));
	assert_int_equal(id, b);
	ok(f, device_find(f->db, "a0b1.c2d3.e4f5", &id, &f->e));
	assert_int_equal(id, b);
	ok(f, device_find(f->db, "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbc", &id, &f->e));
	assert_int_equal(id, twin);
}

static void identities(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {"", "a0b1c2d3e4f", "a0b1c2d3e4f55",
		"a0:b1:c2:d3:e4:f5:", ":a0b1c2d3e4f5", "a0::b1c2d3e4f5", "a0b1c2d3e4fg", "a0 b1c2d3e4f5"};
	int64_t a = make_device(f, "a", 0, 'a'), b = make_device(f, "b", 0, 'b'), id = 0;
	struct identity_row row = {.device = a, .kind = IDENTITY_TOKEN, .value = "v", .created_at = NOW}, got;
	struct identity_list list;
	char mac[13];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(identity_mac(bad[i], mac), OTA_INVALID);
	row.link_id[0] = 1;
	ok(f, identity_insert(f->db, &row, &id, &f->e));
	fails(f, OTA_EXISTS, identity_insert(f->db, &row, &id, &f->e));
	row.device = b;
	row.link_id[0] = 2;
	fails(f, OTA_EXISTS, identity_insert(f->db, &row, &id, &f->e));
	row.kind = IDENTITY_DDI;
	ok(f, identity_insert(f->db, &row, &id, &f->e));
	row.value = "w";
	fails(f, OTA_EXISTS, identity_insert(f->db, &row, &id, &f->e));
	row.device = 99;
	row.link_id[0] = 3;
	fails(f, OTA_NOT_FOUND, identity_insert(f->db, &row, &id, &f->e));
	ok(f, identity_load(f->db, IDENTITY_DDI, "v", &f->mem, &got, &f->e));
	assert_int_equal(got.device, b);
	assert_null(got.credential);
	ok(f, identity_set_credential(f->db, got.id, (const uint8_t *)"hash", 4, &f->e));
	ok(f, identity_revoke(f->db, got.id, NOW + 1, &f->e));
	row.link_id[0] = 2;
	ok(f, identity_load_link(f->db, row.link_id, &f->mem, &got, &f->e));
	assert_int_equal(got.revoked_at, NOW + 1);
	assert_memory_equal(got.credential, "hash", 4);
	ok(f, identity_revoke(f->db, got.id, 0, &f->e));
	fails(f, OTA_NOT_FOUND, identity_revoke(f->db, 99, 0, &f->e));
	ok(f, identity_list(f->db, b, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.rows[0].revoked_at, 0);
}

static void reports(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), device, v1;
	struct device_said said = {.seen_at = NOW,
		.from = "192.0.2.1",
		.counter = 10,
		.root_version = 3,
		.agent_state = CHECKIN_FETCHING,
		.has_target = true,
		.target_attempt = 2,
		.target_bytes = 5,
		.has_result = true,
		.result_attempt = 1,
		.result_reason = 11,
		.result_detail = 127,
		.result_offset = UINT32_MAX,
		.uptime_s = 9,
		.flags = 3};
	struct report_touch touch[3];
	struct device_row row;
	struct running_row running[4];
	size_t n = 0;
	int64_t before, after;

	v1 = make_release(f, board, "1.0", "one", 100);
	(void)make_release(f, board, "2.0", "two", 200);
	device = make_device(f, "d", board, 'd');
	memset(said.target_digest, 7, 32);
	memset(said.result_digest, 8, 32);
	memset(said.counter_digest, 9, 8);
	strcpy(said.running_text, "factory");
	ok(f, report_store(f->db, device, &said, &f->e));
	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	assert_int_equal(row.said.counter, 10);
	assert_int_equal(row.said.root_version, 3);
	assert_false(row.said.has_running);
	assert_false(row.said.has_confirmed);
	assert_true(row.said.has_target);
	assert_int_equal(row.said.target_bytes, 5);
	assert_int_equal(row.said.result_detail, 127);
	assert_int_equal(row.said.result_offset, UINT32_MAX);
	assert_int_equal(row.said.result_at, NOW);
	assert_string_equal(row.said.from, "192.0.2.1");
	assert_string_equal(row.version, "factory");
	/* the same result later keeps its time; another one does not */
	said.counter = 11;
	said.seen_at = NOW + 5;
	ok(f, report_store(f->db, device, &said, &f->e));
	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	assert_int_equal(row.said.result_at, NOW);
	said.result_attempt = 2;
	ok(f, report_store(f->db, device, &said, &f->e));
	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	assert_int_equal(row.said.result_at, NOW + 5);
	said.counter = 9;
	fails(f, OTA_CONFLICT, report_store(f->db, device, &said, &f->e));
	fails(f, OTA_NOT_FOUND, report_store(f->db, 99, &said, &f->e));

	/* trial is not confirmed; what was confirmed before is kept */
	say_running(f, device, 20, 100, CHECKIN_CONFIRMED);
	say_running(f, device, 21, 200, CHECKIN_TRIAL);
	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	assert_string_equal(row.version, "2.0");
	assert_false(row.said.has_previous);
	ok(f, release_running(f->db, board, running, 4, &n, &f->e));
	assert_int_equal(n, 1);
	assert_int_equal(running[0].release, v1);
	say_running(f, device, 22, 200, CHECKIN_CONFIRMED);
	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	assert_true(row.said.has_previous);
	assert_int_equal(row.said.confirmed_at, NOW + 22);
	manifest_digest(100, said.result_digest);
	assert_memory_equal(row.said.previous_digest, said.result_digest, 32);

	/* nor is what failed its trial and runs on for want of another */
	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	said = row.said;
	said.counter = 23;
	said.agent_state = CHECKIN_IDLE;
	said.flags = CHECKIN_FLAG_STUCK;
	manifest_digest(100, said.running_digest);
	assert_true(report_is_stuck(&said));
	ok(f, report_store(f->db, device, &said, &f->e));
	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	manifest_digest(200, said.result_digest);
	assert_memory_equal(row.said.confirmed_digest, said.result_digest, 32);
	assert_int_equal(row.said.confirmed_at, NOW + 22);
	said.agent_state = CHECKIN_TRIAL;
	assert_false(report_is_stuck(&said));
	say_running(f, device, 24, 200, CHECKIN_CONFIRMED);

	/* grouped rows: no change rows; old and foreign ones are passed over */
	ok(f, change_newest(f->db, &before, &f->e));
	memset(touch, 0, sizeof touch);
	touch[0] = (struct report_touch){
		.device = device, .seen_at = NOW + 50, .counter = 30, .target_bytes = 77};
	touch[1] = (struct report_touch){.device = 99, .seen_at = NOW, .counter = 1};
	touch[2] = (struct report_touch){.device = device, .seen_at = NOW + 1, .counter = 29};
	ok(f, report_touch_many(f->db, touch, 3, &f->e));
	ok(f, device_load(f->db, device, &f->mem, &row, &f->e));
	assert_int_equal(row.said.counter, 30);
	assert_int_equal(row.said.seen_at, NOW + 50);
	assert_int_equal(row.said.target_bytes, 77);
	assert_true(row.said.has_running);
	ok(f, report_seen(f->db, device, NOW + 60, "::1", &f->e));
	fails(f, OTA_NOT_FOUND, report_seen(f->db, 99, NOW, "::1", &f->e));
	ok(f, change_newest(f->db, &after, &f->e));
	assert_int_equal(after, before);
}

static void history_is_bounded(void **state)
{
	struct fixture *f = *state;
	int64_t d = make_device(f, "d", 0, 'd');
	struct event_list list;
	struct event_row row = {.device = d, .kind = "seen", .text = "x"};

	{
		AUTO(tx) struct db_tx tx = {0};

		ok(f, db_begin(f->db, &tx, &f->e));
		for (int i = 1; i <= EVENT_PER_DEVICE_MAX + 20; i++) {
			row.at = i;
			ok(f, event_add(f->db, &row, &f->e));
		}
		ok(f, db_commit(&tx, &f->e));
	}
	ok(f, event_list(f->db, d, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, EVENT_PER_DEVICE_MAX);
	assert_int_equal(list.rows[0].at, EVENT_PER_DEVICE_MAX + 20);
	assert_int_equal(list.rows[list.n - 1].at, 21);
	row.device = 99;
	fails(f, OTA_NOT_FOUND, event_add(f->db, &row, &f->e));
}

static void at_a_glance(void **state)
{
	struct fixture *f = *state;
	int64_t lamp = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2);
	int64_t v1 = make_release(f, lamp, "1.0", "one", 100), v2 = make_release(f, lamp, "2.0", "two", 200);
	struct device_row pending = {.name = "new", .board = lamp, .created_at = NOW};
	struct device_change hold = nothing, revoke = nothing;
	struct fleet_counts c;
	enum alarm_news news;
	int64_t d[6];

	ok(f, fleet_count(f->db, NOW, &f->mem, &c, &f->e));
	assert_int_equal(c.total, 0);
	assert_int_equal(c.n_running, 0);
	assert_int_equal(c.n_other, 0);
	assert_null(c.shared_name);
	(void)make_manifest(f, v1, v2, 201);
	for (int i = 0; i < 6; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "d%d", i);
		d[i] = make_device(f, name, i < 4 ? lamp : fan, "012345"[i]);
	}
	/* a release is one row, whichever of its manifests brought it */
	say_running(f, d[0], 1, 100, CHECKIN_IDLE);
	say_running(f, d[1], 2, 201, CHECKIN_IDLE);
	say_running(f, d[2], 3, 200, CHECKIN_IDLE);
	say_running(f, d[3], 4, 100, CHECKIN_IDLE);
	memset(pending.uid, 'a', 32);
	ok(f, device_insert(f->db, &pending, 0, &pending.id, &f->e));
	hold.hold = 1;
	ok(f, device_update(f->db, d[1], 0, &hold, NOW, NULL, &f->e));
	revoke.state = DEVICE_REVOKED;
	for (int i = 1; i <= 3; i++) {
		ok(f, alarm_raise(f->db, d[2], (uint64_t)i, NOW, &news, &f->e));
		ok(f, alarm_raise(f->db, d[3], (uint64_t)i, NOW, &news, &f->e));
	}
	ok(f, alarm_raise(f->db, d[0], 1, NOW, &news, &f->e));
	ok(f, device_update(f->db, d[3], 0, &revoke, NOW, NULL, &f->e));

	ok(f, fleet_count(f->db, NOW + 1, &f->mem, &c, &f->e));
	assert_int_equal(c.total, 6);
	assert_int_equal(c.pending, 1);
	assert_int_equal(c.approved, 5);
	assert_int_equal(c.held, 1);
	assert_int_equal(c.seen, 2);
	assert_int_equal(c.shared, 1);
	assert_string_equal(c.shared_name, "d2");
	assert_int_equal(c.n_waiting, 1);
	assert_int_equal(c.waiting[0], pending.id);
	assert_int_equal(c.n_other, 0);
	assert_int_equal(c.n_running, 3);
	assert_int_equal(c.running[0].board, lamp);
	assert_string_equal(c.running[0].version, "1.0");
	assert_int_equal(c.running[0].n, 2);
	assert_int_equal(c.running[1].board, fan);
	assert_string_equal(c.running[1].version, "");
	assert_int_equal(c.running[1].n, 2);
	assert_string_equal(c.running[2].version, "2.0");
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(devices),
		test(device_lists),
		test(device_finds),
		test(identities),
		test(reports),
		test(history_is_bounded),
		test(at_a_glance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
