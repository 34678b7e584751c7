/* Devices, identities, enrollment, reports, rollouts, assignments, history. */
#include "tests/unit/db/fixture.h"

#include <stdio.h>
#include <string.h>

#include "db/assignment.h"
#include "db/change.h"
#include "db/enroll.h"
#include "db/event.h"
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
	fails(f, OTA_CONFLICT, device_delete(f->db, id, 1, &f->e));
	ok(f, device_delete(f->db, id, 2, &f->e));
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

static struct enroll_in request(uint8_t device, uint8_t nonce, uint8_t class_byte)
{
	static const uint8_t serial[] = "serial";
	struct enroll_in in = {.serial = serial, .serial_len = 6, .now = NOW};

	memset(in.secret_id, 5, sizeof in.secret_id);
	memset(in.device_id, device, sizeof in.device_id);
	memset(in.vendor_id, 0x11, sizeof in.vendor_id);
	memset(in.class_id, class_byte, sizeof in.class_id);
	memset(in.nonce_d, nonce, sizeof in.nonce_d);
	memset(in.nonce_s, nonce + 100, sizeof in.nonce_s);
	memset(in.link_id, device, sizeof in.link_id);
	return in;
}

/* What was said under the old key and is stored after the new one was accepted. */
static void late_words(struct fixture *f, const struct device_row *device, uint32_t old_key)
{
	struct report_touch touch = {
		.device = device->id, .seen_at = NOW + 9, .counter = 5001, .enrolment = old_key};
	struct device_said said = {.seen_at = NOW + 9, .counter = 5001, .enrolment = old_key};
	struct device_row row;

	ok(f, report_touch_many(f->db, &touch, 1, &f->e));
	fails(f, OTA_CONFLICT, report_store(f->db, device->id, &said, &f->e));
	ok(f, device_load(f->db, device->id, &f->mem, &row, &f->e));
	assert_int_equal(row.said.counter, 0);
	touch.counter = 1;
	touch.enrolment = device->enrolment.number;
	ok(f, report_touch_many(f->db, &touch, 1, &f->e));
	said.counter = 2;
	said.enrolment = device->enrolment.number;
	ok(f, report_store(f->db, device->id, &said, &f->e));
	ok(f, device_load(f->db, device->id, &f->mem, &row, &f->e));
	assert_int_equal(row.said.counter, 2);
}

static void enrolls(void **state)
{
	struct fixture *f = *state;
	int64_t lamp = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2), secret = 0;
	struct secret_row row = {.board = lamp,
		.name = "kitchen",
		.uses_max = 2,
		.is_approving = true,
		.created_at = NOW,
		.created_by = "ann",
		.expires_at = NOW + 100};
	struct enroll_in in = request(1, 1, 1);
	struct enroll_out out;
	struct secret_row got;
	uint32_t old_key;
	struct device_row device;
	struct identity_row identity;
	struct db_page page = {0};
	struct secret_list list;

	(void)fan;
	memset(row.secret_id, 5, sizeof row.secret_id);
	fails(f, OTA_NOT_FOUND, enroll_device(f->db, &in, &out, &f->e));
	ok(f, secret_insert(f->db, &row, &secret, &f->e));
	fails(f, OTA_EXISTS, secret_insert(f->db, &row, &secret, &f->e));
	/* a wrong class or vendor costs no use */
	in = request(1, 1, 9);
	fails(f, OTA_CLASS, enroll_device(f->db, &in, &out, &f->e));
	in = request(1, 1, 2);
	fails(f, OTA_CLASS, enroll_device(f->db, &in, &out, &f->e));
	in = request(1, 1, 1);
	in.vendor_id[0] = 0;
	fails(f, OTA_VENDOR, enroll_device(f->db, &in, &out, &f->e));
	ok(f, secret_load(f->db, row.secret_id, &f->mem, &got, &f->e));
	assert_int_equal(got.uses, 0);

	in = request(1, 1, 1);
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_APPROVED);
	assert_memory_equal(out.nonce_s, in.nonce_s, 16);
	ok(f, device_load(f->db, out.device, &f->mem, &device, &f->e));
	assert_string_equal(device.name, "kitchen");
	assert_int_equal(device.board, lamp);
	assert_int_equal(device.state, DEVICE_APPROVED);
	assert_int_equal(device.serial_len, 6);
	assert_true(device.has_enrolment);
	assert_memory_equal(device.enrolment.nonce_s, in.nonce_s, 16);
	ok(f, identity_load(
		      f->db, IDENTITY_OTAD, "01010101010101010101010101010101", &f->mem, &identity, &f->e));
	/* the same nonce gets the first answer and costs nothing, whatever the second random nonce is */
	memset(in.nonce_s, 0x77, sizeof in.nonce_s);
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_REPEATED);
	assert_memory_equal(out.nonce_s, device.enrolment.nonce_s, 16);
	ok(f, secret_load(f->db, row.secret_id, &f->mem, &got, &f->e));
	assert_int_equal(got.uses, 1);
	say_running(f, out.device, 5000, 1, CHECKIN_IDLE);

	/* the device again with another nonce: its key stays until the operator says so */
	in = request(1, 2, 1);
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_WAITING);
	ok(f, device_load(f->db, out.device, &f->mem, &device, &f->e));
	assert_true(device.has_waiting_enrolment);
	assert_int_equal(device.enrolment.nonce_d[0], 1);
	enum alarm_news news;

	ok(f, alarm_raise(f->db, out.device, 1, NOW, &news, &f->e));
	old_key = device.enrolment.number;
	ok(f, enroll_accept(f->db, out.device, NOW, &f->e));
	ok(f, device_load(f->db, out.device, &f->mem, &device, &f->e));
	assert_int_equal(device.alarm.times, 0);
	assert_false(device.has_waiting_enrolment);
	assert_int_equal(device.enrolment.nonce_d[0], 2);
	assert_int_equal(device.said.counter, 0);
	assert_int_not_equal(device.enrolment.number, old_key);
	late_words(f, &device, old_key);
	fails(f, OTA_NOT_FOUND, enroll_accept(f->db, out.device, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, enroll_refuse(f->db, out.device, NOW, &f->e));
	/* used up; a repetition still gets its answer */
	in = request(2, 3, 1);
	fails(f, OTA_DENIED, enroll_device(f->db, &in, &out, &f->e));
	in = request(1, 2, 1);
	ok(f, enroll_device(f->db, &in, &out, &f->e));

	/* a batch secret leaves devices pending; a taken name does not stop one */
	row.secret_id[0] = 6;
	row.name = "kitchen";
	fails(f, OTA_EXISTS, secret_insert(f->db, &row, &secret, &f->e));
	row.name = "hall";
	row.uses_max = 5;
	row.is_approving = false;
	ok(f, secret_insert(f->db, &row, &secret, &f->e));
	{
		struct device_change c = nothing;

		c.name = "hall";
		ok(f, device_update(f->db, out.device, 0, &c, NOW, NULL, &f->e));
	}
	in = request(2, 3, 1);
	memcpy(in.secret_id, row.secret_id, sizeof in.secret_id);
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_PENDING);
	ok(f, device_load(f->db, out.device, &f->mem, &device, &f->e));
	assert_string_equal(device.name, device.uid);
	in = request(3, 3, 1);
	memcpy(in.secret_id, row.secret_id, sizeof in.secret_id);
	in.devices_max = 2;
	fails(f, OTA_LIMIT, enroll_device(f->db, &in, &out, &f->e));
	in.devices_max = 0;
	in.now = NOW + 100;
	fails(f, OTA_DENIED, enroll_device(f->db, &in, &out, &f->e));
	in.now = NOW;
	ok(f, secret_revoke(f->db, row.secret_id, NOW + 7, &f->e));
	ok(f, secret_revoke(f->db, row.secret_id, NOW + 8, &f->e));
	fails(f, OTA_DENIED, enroll_device(f->db, &in, &out, &f->e));
	ok(f, secret_load(f->db, row.secret_id, &f->mem, &got, &f->e));
	assert_int_equal(got.revoked_at, NOW + 7);
	assert_int_equal(got.uses, 1);

	/* a secret for one serial */
	row.secret_id[0] = 7;
	row.name = "";
	row.serial = (const uint8_t *)"Serial";
	row.serial_len = 6;
	ok(f, secret_insert(f->db, &row, &secret, &f->e));
	memcpy(in.secret_id, row.secret_id, sizeof in.secret_id);
	fails(f, OTA_DENIED, enroll_device(f->db, &in, &out, &f->e));
	ok(f, secret_list(f->db, &page, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 3);
}

static void receipts(void **state)
{
	struct fixture *f = *state;
	struct enroll_in in = request(4, 1, 1);
	struct enroll_out out;
	struct device_row device;

	fails(f, OTA_CLASS, enroll_restore(f->db, &in, &out, &f->e));
	(void)make_board(f, "lamp", 1);
	in.serial = NULL;
	ok(f, enroll_restore(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_PENDING);
	ok(f, device_load(f->db, out.device, &f->mem, &device, &f->e));
	assert_int_equal(device.state, DEVICE_PENDING);
	assert_memory_equal(device.enrolment.nonce_s, in.nonce_s, 16);
	assert_null(device.serial);
	ok(f, enroll_restore(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_REPEATED);
	in.nonce_s[0]++;
	ok(f, enroll_restore(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_WAITING);
	ok(f, device_load(f->db, out.device, &f->mem, &device, &f->e));
	assert_false(device.has_waiting_enrolment);
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

static void rollouts(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), v1 = make_release(f, board, "1.0", "one", 100), id = 0,
		again = 0;
	struct rollout_row row = {.uid = "push-1",
		.release = v1,
		.selector = "tag=a",
		.is_held = true,
		.created_by = "ann",
		.created_at = NOW};
	struct rollout_row got;
	struct rollout_list list;
	bool is_new = false;

	ok(f, rollout_insert(f->db, &row, &id, &is_new, &f->e));
	assert_true(is_new);
	ok(f, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	assert_false(is_new);
	assert_int_equal(again, id);
	/* releasing the hold does not make the repetition another push */
	ok(f, rollout_unhold(f->db, id, 1, &f->e));
	ok(f, rollout_unhold(f->db, id, 2, &f->e));
	ok(f, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	assert_false(is_new);
	row.selector = "tag=b";
	fails(f, OTA_CONFLICT, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	row.uid = "push 2";
	fails(f, OTA_INVALID, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	row.uid = "-2.";
	row.selector = "tug=b";
	fails(f, OTA_INVALID, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	row.selector = "all";
	row.release = 99;
	fails(f, OTA_NOT_FOUND, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	{
		struct release_row draft = {
			.board = board, .version = "2.0", .created_at = NOW, .created_by = "t", .n_items = 1};

		sha_of("one", draft.items[0].sha256);
		ok(f, release_insert(f->db, &draft, &row.release, NULL, &f->e));
		fails(f, OTA_STATE, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	}
	row.release = v1;
	ok(f, release_retire(f->db, v1, NOW, &f->e));
	fails(f, OTA_STATE, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	ok(f, release_retire(f->db, v1, 0, &f->e));
	ok(f, rollout_insert(f->db, &row, &again, &is_new, &f->e));
	ok(f, rollout_list(f->db, -1, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.rows[0].id, again);
	fails(f, OTA_CONFLICT, rollout_end(f->db, id, 1, ROLLOUT_CANCELLED, NOW, &f->e));
	ok(f, rollout_end(f->db, id, 2, ROLLOUT_CANCELLED, NOW + 3, &f->e));
	ok(f, rollout_end(f->db, id, 0, ROLLOUT_CANCELLED, NOW + 4, &f->e));
	fails(f, OTA_STATE, rollout_end(f->db, id, 0, ROLLOUT_DONE, NOW, &f->e));
	fails(f, OTA_STATE, rollout_unhold(f->db, id, 0, &f->e));
	ok(f, rollout_load_uid(f->db, "push-1", &f->mem, &got, &f->e));
	assert_int_equal(got.state, ROLLOUT_CANCELLED);
	assert_int_equal(got.ended_at, NOW + 3);
	assert_int_equal(got.revision, 3);
	ok(f, rollout_list(f->db, ROLLOUT_RUNNING, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
}

static void advance(struct fixture *f, int64_t id, enum assign_state to, enum ota_err want)
{
	const struct assignment_move move = {
		.to = to, .now = NOW + to, .reason = to == ASSIGN_FAILED ? 11 : 0};

	fails(f, want, assignment_advance(f->db, id, &move, NULL, &f->e));
}

static int64_t manifest_of(struct fixture *f, uint32_t sequence)
{
	struct manifest_row row;
	uint8_t digest[32];

	manifest_digest(sequence, digest);
	ok(f, manifest_load_digest(f->db, digest, &f->mem, &row, &f->e));
	return row.id;
}

static void assignments(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2);
	int64_t v1 = make_release(f, board, "1.0", "one", 100),
		v2 = make_release(f, board, "2.0", "two", 200);
	int64_t m1 = manifest_of(f, 100), m2 = manifest_of(f, 200);
	int64_t d = make_device(f, "d", board, 'd'), other = make_device(f, "o", fan, 'e');
	int64_t r1 = make_rollout(f, "r1", v1), r2 = make_rollout(f, "r2", v2), r3;
	struct assignment_opened a, b;
	struct assignment_row row;
	struct assignment_list list;
	struct rollout_row rollout;
	struct rollout_counts counts;
	bool moved = true;
	uint64_t n = 0;

	fails(f, OTA_CONFLICT, assignment_open(f->db, r1, other, m1, NOW, &a, &f->e));
	fails(f, OTA_NOT_FOUND, assignment_open(f->db, 99, d, m1, NOW, &a, &f->e));
	fails(f, OTA_NOT_FOUND, assignment_open(f->db, r1, d, 99, NOW, &a, &f->e));
	ok(f, assignment_open(f->db, r1, d, m1, NOW, &a, &f->e));
	assert_true(a.is_new);
	assert_int_equal(a.attempt, 1);
	ok(f, assignment_open(f->db, r1, d, m1, NOW, &b, &f->e));
	assert_false(b.is_new);
	assert_int_equal(b.id, a.id);
	/* a newer decision takes its place, and the older rollout is done */
	advance(f, a.id, ASSIGN_OFFERED, OTA_OK);
	ok(f, assignment_open(f->db, r2, d, m2, NOW + 1, &b, &f->e));
	assert_int_equal(b.superseded, a.id);
	ok(f, assignment_load(f->db, a.id, &f->mem, &row, &f->e));
	assert_int_equal(row.state, ASSIGN_SUPERSEDED);
	assert_int_equal(row.superseded_by, r2);
	assert_int_equal(row.offered_at, NOW + ASSIGN_OFFERED);
	assert_int_equal(row.ended_at, NOW + 1);
	ok(f, rollout_load(f->db, r1, &f->mem, &rollout, &f->e));
	assert_int_equal(rollout.state, ROLLOUT_DONE);
	/* moves */
	advance(f, b.id, ASSIGN_FETCHING, OTA_OK);
	advance(f, b.id, ASSIGN_OFFERED, OTA_STATE);
	advance(f, b.id, ASSIGN_STAGED, OTA_OK);
	ok(f, assignment_advance(f->db, b.id, &(struct assignment_move){.to = ASSIGN_STAGED, .now = NOW + 99},
		      &moved, &f->e));
	assert_false(moved);
	ok(f, assignment_load_open(f->db, d, &f->mem, &row, &f->e));
	assert_int_equal(row.state_at, NOW + ASSIGN_STAGED);
	assert_string_equal(row.version, "2.0");
	assert_string_equal(row.rollout_uid, "r2");
	assert_int_equal(row.sequence, 200);
	assert_int_equal(row.envelope_len, 8);
	assert_false(row.is_held);
	/* held it can be withdrawn */
	{
		struct device_change c = nothing;

		c.hold = 1;
		ok(f, device_update(f->db, d, 0, &c, NOW, NULL, &f->e));
		ok(f, assignment_load_open(f->db, d, &f->mem, &row, &f->e));
		assert_true(row.is_held);
		c.hold = 0;
		ok(f, device_update(f->db, d, 0, &c, NOW, NULL, &f->e));
	}
	advance(f, b.id, ASSIGN_TRIAL, OTA_OK);
	advance(f, b.id, ASSIGN_CANCELLED, OTA_STATE);
	advance(f, b.id, ASSIGN_FAILED, OTA_OK);
	advance(f, b.id, ASSIGN_RUNNING, OTA_STATE);
	ok(f, assignment_load(f->db, b.id, &f->mem, &row, &f->e));
	assert_int_equal(row.reason, 11);
	/* a retry is a new attempt and the rollout runs again */
	ok(f, assignment_open(f->db, r2, d, m2, NOW + 5, &b, &f->e));
	assert_int_equal(b.attempt, 2);
	ok(f, rollout_load(f->db, r2, &f->mem, &rollout, &f->e));
	assert_int_equal(rollout.state, ROLLOUT_RUNNING);
	assert_int_equal(rollout.ended_at, 0);
	ok(f, rollout_count(f->db, r2, &counts, &f->e));
	assert_int_equal(counts.total, 1);
	assert_int_equal(counts.by_state[ASSIGN_WAITING], 1);
	fails(f, OTA_STATE, release_retire(f->db, v2, NOW, &f->e));
	/* cancel counts what it took back */
	{
		struct rollout_cancelled done = cancel_rollout(f, r2, NOW + 6);

		assert_int_equal(done.n_withdrawn, 1);
		assert_int_equal(done.n_committed, 0);
		assert_int_equal(done.n_unsure, 0);
		assert_int_equal(done.until, 0);
	}
	fails(f, OTA_NOT_FOUND, assignment_load_open(f->db, d, &f->mem, &row, &f->e));
	fails(f, OTA_STATE, assignment_open(f->db, r2, d, m2, NOW, &a, &f->e));
	/* time runs out, a trial too */
	r3 = make_rollout(f, "r3", v2);
	ok(f, assignment_open(f->db, r3, d, m2, NOW, &a, &f->e));
	assert_int_equal(a.attempt, 2);
	advance(f, a.id, ASSIGN_TRIAL, OTA_OK);
	ok(f, assignment_expire(f->db, NOW + 99, 100, &n, &f->e));
	assert_int_equal(n, 0);
	ok(f, assignment_expire(f->db, NOW + 100, 0, &n, &f->e));
	assert_int_equal(n, 0);
	ok(f, assignment_expire(f->db, NOW + 100, 100, &n, &f->e));
	assert_int_equal(n, 1);
	ok(f, assignment_load(f->db, a.id, &f->mem, &row, &f->e));
	assert_int_equal(row.state, ASSIGN_TIMED_OUT);

	ok(f, assignment_list(f->db, NULL, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 4);
	ok(f, assignment_list(f->db, &(struct assignment_filter){.rollout = r2},
		      &(struct db_page){.limit = 1}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_not_equal(list.next, 0);
	ok(f, assignment_list(
		      f->db, &(struct assignment_filter){.release = v1}, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	ok(f, assignment_list(
		      f->db, &(struct assignment_filter){.only_open = true}, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 0);
	ok(f, assignment_history(f->db, d, &(struct db_page){.limit = 1}, &f->mem, &list, &f->e));
	assert_int_equal(list.rows[0].id, a.id);
	/* what the device made of those that it heard of is not known: it may refuse their numbers */
	{
		int64_t r4 = make_rollout(f, "r4", v2), r5 = make_rollout(f, "r5", v1);

		ok(f, assignment_open(f->db, r4, d, m2, NOW, &b, &f->e));
		assert_int_equal(b.attempt, 3);
		ok(f, assignment_open(f->db, r5, d, m1, NOW, &b, &f->e));
		assert_int_equal(b.attempt, 2);
		advance(f, b.id, ASSIGN_CANCELLED, OTA_OK);
		ok(f, assignment_open(f->db, r5, d, m1, NOW, &b, &f->e));
		assert_int_equal(b.attempt, 2);
		advance(f, b.id, ASSIGN_CANCELLED, OTA_OK);
	}
}

/* A rollout of more than a page of assignments is cancelled whole. */
static void large_cancel(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), v1 = make_release(f, board, "1.0", "one", 100);
	int64_t m1 = manifest_of(f, 100), r1 = make_rollout(f, "r1", v1);
	enum { N = 1500 };
	struct rollout_cancelled done;
	struct assignment_opened a;
	struct rollout_counts counts;

	{
		AUTO(tx) struct db_tx tx = {0};

		ok(f, db_begin(f->db, &tx, &f->e));
		for (int i = 0; i < N; i++) {
			struct device_row row = {
				.name = "", .board = board, .state = DEVICE_APPROVED, .created_at = NOW};
			int64_t id = 0;

			(void)snprintf(row.uid, sizeof row.uid, "%032x", (unsigned)i);
			ok(f, device_insert(f->db, &row, 0, &id, &f->e));
			ok(f, assignment_open(f->db, r1, id, m1, NOW, &a, &f->e));
			if (i % 100 == 0)
				advance(f, a.id, ASSIGN_STAGED, OTA_OK);
			arena_clear(&f->mem);
		}
		ok(f, db_commit(&tx, &f->e));
	}
	done = cancel_rollout(f, r1, NOW);
	assert_int_equal(done.n_withdrawn, N - N / 100);
	assert_int_equal(done.n_committed, N / 100);
	ok(f, rollout_count(f->db, r1, &counts, &f->e));
	assert_int_equal(counts.total, N);
	assert_int_equal(counts.by_state[ASSIGN_CANCELLED], N - N / 100);
}

static void replacement(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2);
	int64_t v1 = make_release(f, board, "1.0", "one", 100), m1 = manifest_of(f, 100);
	int64_t r1 = make_rollout(f, "r1", v1);
	int64_t old = make_device(f, "kitchen", board, 'a'), foreign = make_device(f, "f", fan, 'f'), new = 0;
	struct device_row row = {.name = "", .board = board, .created_at = NOW};
	struct device_row got;
	struct device_change c = nothing;
	struct assignment_opened a;
	struct assignment_list list;
	struct event_list events;

	memset(row.uid, 'b', 32);
	ok(f, device_insert(f->db, &row, 0, &new, &f->e));
	c.hold = 1;
	c.tags_add = (const char *const[]){"warm"};
	c.n_tags_add = 1;
	ok(f, device_update(f->db, old, 0, &c, NOW, NULL, &f->e));
	ok(f, event_add(f->db,
		      &(struct event_row){.device = old, .at = NOW, .kind = "running", .text = "1.0"},
		      &f->e));
	ok(f, assignment_open(f->db, r1, old, m1, NOW, &a, &f->e));
	fails(f, OTA_STATE, device_replace(f->db, old, old, NOW, &f->e));
	fails(f, OTA_CONFLICT, device_replace(f->db, old, foreign, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, device_replace(f->db, old, 99, NOW, &f->e));
	ok(f, device_replace(f->db, old, new, NOW + 1, &f->e));
	ok(f, device_load(f->db, new, &f->mem, &got, &f->e));
	assert_string_equal(got.name, "kitchen");
	assert_int_equal(got.state, DEVICE_APPROVED);
	assert_true(got.is_held);
	assert_int_equal(got.n_tags, 1);
	ok(f, event_list(f->db, new, &all, &f->mem, &events, &f->e));
	assert_int_equal(events.n, 1);
	ok(f, assignment_history(f->db, new, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.rows[0].state, ASSIGN_CANCELLED);
	ok(f, device_load(f->db, old, &f->mem, &got, &f->e));
	assert_string_equal(got.name, got.uid);
	assert_int_equal(got.state, DEVICE_REVOKED);
	assert_int_equal(got.n_tags, 0);
	fails(f, OTA_STATE, device_replace(f->db, new, old, NOW, &f->e));
	/* revoking ends what is open */
	c = nothing;
	c.state = DEVICE_REVOKED;
	ok(f, assignment_open(f->db, r1, new, m1, NOW, &a, &f->e));
	fails(f, OTA_STATE,
		device_update(f->db, new, 0, &(struct device_change){.board = fan, .state = -1, .hold = -1},
			NOW, NULL, &f->e));
	ok(f, device_update(f->db, new, 0, &c, NOW, NULL, &f->e));
	fails(f, OTA_NOT_FOUND, assignment_load_open(f->db, new, &f->mem, &list.rows[0], &f->e));
	fails(f, OTA_CONFLICT, assignment_open(f->db, r1, new, m1, NOW, &a, &f->e));
	ok(f, device_delete(f->db, new, 0, &f->e));
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

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(devices),
		test(device_lists),
		test(device_finds),
		test(identities),
		test(enrolls),
		test(receipts),
		test(reports),
		test(rollouts),
		test(assignments),
		test(large_cancel),
		test(replacement),
		test(history_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
