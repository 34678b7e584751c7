/* Enrollment: secrets, a device again, receipts. */
#include "tests/unit/db/fixture.h"

#include <string.h>

#include "db/alarm.h"
#include "db/device.h"
#include "db/enroll.h"
#include "db/identity.h"
#include "db/report.h"
#include "db/secret.h"
#include "proto/checkin.h"

static const struct device_change nothing = {.state = -1, .hold = -1};

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
	ok(f, secret_list_unused(f->db, "hall", &page, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.rows[0].id, secret);
	ok(f, secret_list_unused(f->db, "kitchen", &page, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 0);
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

/* Boards of one vendor share the ids that come of a serial. */
static void other_board(void **state)
{
	struct fixture *f = *state;
	int64_t lamp = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2), id;
	struct secret_row of_lamp = {.board = lamp,
		.name = "kitchen",
		.serial = (const uint8_t *)"serial",
		.serial_len = 6,
		.uses_max = 1,
		.is_approving = true,
		.created_at = NOW,
		.created_by = "ann",
		.expires_at = NOW + 100};
	struct secret_row of_fan = {
		.board = fan, .name = "", .uses_max = 5, .created_at = NOW, .created_by = "ann"};
	struct enroll_in in = request(1, 1, 1);
	struct enroll_out out;
	struct device_row device;
	struct secret_row got;

	memset(of_lamp.secret_id, 5, sizeof of_lamp.secret_id);
	memset(of_fan.secret_id, 6, sizeof of_fan.secret_id);
	ok(f, secret_insert(f->db, &of_lamp, &id, &f->e));
	/* for the same board as often as one likes */
	of_lamp.secret_id[0] = 8;
	of_lamp.name = "";
	ok(f, secret_insert(f->db, &of_lamp, &id, &f->e));
	/* a file that is not used yet */
	of_fan.serial = of_lamp.serial;
	of_fan.serial_len = of_lamp.serial_len;
	fails(f, OTA_STATE, secret_insert(f->db, &of_fan, &id, &f->e));
	assert_non_null(strstr(f->e.text, "a provisioning file for board 'lamp'"));
	of_fan.created_at = NOW + 100;
	ok(f, secret_insert(f->db, &of_fan, &id, &f->e));
	of_fan.created_at = NOW;
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	/* the device that came of it */
	of_fan.secret_id[0] = 7;
	fails(f, OTA_STATE, secret_insert(f->db, &of_fan, &id, &f->e));
	assert_string_equal(f->e.text, "device 'kitchen' of board 'lamp' has this serial");

	/* another board's device that says it is this one: nothing of it waits for the operator */
	in = request(1, 2, 2);
	memset(in.secret_id, 6, sizeof in.secret_id);
	fails(f, OTA_CLASS, enroll_device(f->db, &in, &out, &f->e));
	assert_non_null(strstr(f->e.text, "of device 'kitchen', which is of board 'lamp'"));
	ok(f, device_find(f->db, "kitchen", &id, &f->e));
	ok(f, device_load(f->db, id, &f->mem, &device, &f->e));
	assert_false(device.has_waiting_enrolment);
	assert_int_equal(device.board, lamp);
	ok(f, secret_load(f->db, in.secret_id, &f->mem, &got, &f->e));
	assert_int_equal(got.uses, 0);
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

static void restores(struct fixture *f, const struct enroll_in *in, enum ota_err want)
{
	struct enroll_out out;

	if (want == OTA_OK)
		ok(f, enroll_restore(f->db, in, &out, &f->e));
	else
		fails(f, want, enroll_restore(f->db, in, &out, &f->e));
}

/* What the operator removed stays removed, and may enroll anew; no key it ever had brings it back. */
static void removed(void **state)
{
	struct fixture *f = *state;
	struct secret_row secret = {.uses_max = 9, .name = "kitchen", .created_by = "ops", .created_at = NOW};
	struct enroll_in keys[5], anew;
	struct enroll_out out;
	int64_t id;

	for (uint8_t i = 0; i < 5; i++)
		keys[i] = request(1, (uint8_t)(i + 1), 2);
	anew = request(1, 9, 2);
	secret.board = make_board(f, "lamp", 2);
	memset(secret.secret_id, 7, sizeof secret.secret_id);
	ok(f, secret_insert(f->db, &secret, &id, &f->e));
	for (int i = 0; i < 5; i++)
		memset(keys[i].secret_id, 7, 8);
	memset(anew.secret_id, 7, 8);
	/* the first is replaced, the second its key, the third overtaken, the fourth refused, the fifth waits
	 */
	ok(f, enroll_device(f->db, &keys[0], &out, &f->e));
	ok(f, enroll_device(f->db, &keys[1], &out, &f->e));
	ok(f, enroll_accept(f->db, out.device, NOW, &f->e));
	ok(f, enroll_device(f->db, &keys[2], &out, &f->e));
	ok(f, enroll_device(f->db, &keys[3], &out, &f->e));
	ok(f, enroll_refuse(f->db, out.device, NOW, &f->e));
	ok(f, enroll_device(f->db, &keys[3], &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_REPEATED);
	fails(f, OTA_NOT_FOUND, enroll_refuse(f->db, out.device, NOW, &f->e));
	ok(f, enroll_device(f->db, &keys[4], &out, &f->e));
	ok(f, device_delete(f->db, out.device, 0, NOW, &f->e));
	for (int i = 0; i < 5; i++) {
		restores(f, &keys[i], OTA_DENIED);
		assert_string_equal(f->e.text, "the device was removed");
	}
	fails(f, OTA_NOT_FOUND, device_find(f->db, "kitchen", &id, &f->e));

	ok(f, enroll_device(f->db, &anew, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_PENDING);
	ok(f, device_find(f->db, "kitchen", &id, &f->e));
	assert_int_equal(id, out.device);
}

/* Secrets that are over go with their board; one that a device may still use, and a device, keep it. */
static void board_goes(void **state)
{
	struct fixture *f = *state;
	struct secret_row secret = {
		.uses_max = 1, .created_by = "ops", .created_at = NOW, .board = make_board(f, "lamp", 2)};
	struct enroll_in in = request(1, 1, 2);
	struct enroll_out out;
	struct secret_row got;
	int64_t id;

	for (uint8_t i = 0; i < 4; i++) {
		memset(secret.secret_id, i, sizeof secret.secret_id);
		secret.expires_at = i == 1 ? NOW + 60 : 0;
		ok(f, secret_insert(f->db, &secret, &id, &f->e));
	}
	memset(in.secret_id, 0, sizeof in.secret_id);
	ok(f, enroll_device(f->db, &in, &out, &f->e)); /* 0 is used up, 1 expires, 2 is revoked, 3 goes on */
	ok(f, secret_revoke(f->db, (const uint8_t[8]){2, 2, 2, 2, 2, 2, 2, 2}, NOW, &f->e));
	fails(f, OTA_STATE, board_delete(f->db, secret.board, 0, NOW + 59, &f->e));
	assert_string_equal(f->e.text, "board 'lamp' has 1 device, 2 enrollment secrets");
	/* refused: nothing changed */
	ok(f, secret_load(f->db, in.secret_id, &f->mem, &got, &f->e));
	fails(f, OTA_STATE, board_delete(f->db, secret.board, 0, NOW + 60, &f->e));
	assert_string_equal(f->e.text, "board 'lamp' has 1 device, 1 enrollment secret");
	ok(f, device_delete(f->db, out.device, 0, NOW, &f->e));
	fails(f, OTA_STATE, board_delete(f->db, secret.board, 0, NOW + 60, &f->e));
	assert_string_equal(f->e.text, "board 'lamp' has 1 enrollment secret");
	ok(f, secret_revoke(f->db, secret.secret_id, NOW, &f->e));
	ok(f, board_delete(f->db, secret.board, 0, NOW + 60, &f->e));
	fails(f, OTA_NOT_FOUND, secret_load(f->db, in.secret_id, &f->mem, &got, &f->e));
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(enrolls),
		test(other_board),
		test(receipts),
		test(removed),
		test(board_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
