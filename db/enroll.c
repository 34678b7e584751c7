#include "db/enroll.h"

#include <string.h>

#include "db/alarm.h"
#include "db/board.h"
#include "db/change.h"
#include "db/device.h"
#include "db/identity.h"
#include "db/secret.h"
#include "db/stmt.h"
#include "proto/hex.h"

/* enrolment.state */
enum { STATE_ACTIVE = 0, STATE_WAITING = 1, STATE_OVER = 2 /* replaced, or refused */ };

enum { MEM_MAX = 128 * 1024 };

static enum ota_err enrolment_add(
	struct db *db, int64_t device, const struct enroll_in *in, int state, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO enrolment (device, secret_id, nonce_d, nonce_s, state, at)"
				    " VALUES ($device, $secret_id, $nonce_d, $nonce_s, $state, $at)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "device", device);
	bind_blob(st, "secret_id", in->secret_id, sizeof in->secret_id);
	bind_blob(st, "nonce_d", in->nonce_d, sizeof in->nonce_d);
	bind_blob(st, "nonce_s", in->nonce_s, sizeof in->nonce_s);
	bind_i64(st, "state", state);
	bind_i64(st, "at", in->now);
	return stmt_done(st, e);
}

/* The answer that this request got before. OTA_NOT_FOUND: it is new. */
static enum ota_err repeated(
	struct db *db, const char *uid, const struct enroll_in *in, struct enroll_out *out, struct errmsg *e)
{
	static const char q_same[] =
		"SELECT n.device AS device, n.nonce_s AS nonce_s FROM enrolment n"
		" JOIN device d ON d.id = n.device"
		" WHERE d.uid = $uid AND n.secret_id = $secret_id AND n.nonce_d = $nonce_d";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_same);
	struct enroll_out got = {.outcome = ENROLL_REPEATED};
	enum ota_err err;

	bind_text(st, "uid", uid);
	bind_blob(st, "secret_id", in->secret_id, sizeof in->secret_id);
	bind_blob(st, "nonce_d", in->nonce_d, sizeof in->nonce_d);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	got.device = col_i64(st, "device");
	(void)col_blob_exact(st, "nonce_s", got.nonce_s, sizeof got.nonce_s);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*out = got;
	return err;
}

static enum ota_err secret_fits(const struct secret_row *s, const struct enroll_in *in, struct errmsg *e)
{
	if (s->revoked_at)
		return errmsg_fail(e, OTA_DENIED, "the enrollment secret is revoked");
	if (s->expires_at && in->now >= s->expires_at)
		return errmsg_fail(e, OTA_DENIED, "the enrollment secret has expired");
	if (s->uses >= s->uses_max)
		return errmsg_fail(e, OTA_DENIED, "the enrollment secret is used up");
	if (s->serial && (!in->serial || s->serial_len != in->serial_len ||
				 memcmp(s->serial, in->serial, s->serial_len) != 0))
		return errmsg_fail(e, OTA_DENIED, "the enrollment secret is for another device");
	return OTA_OK;
}

static enum ota_err board_fits(struct db *db, const struct enroll_in *in, const struct secret_row *s,
	struct arena *mem, struct board_row *board, struct errmsg *e)
{
	enum ota_err err = board_load_class(db, in->class_id, mem, board, e);

	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, OTA_CLASS, "no board of this class-id");
	if (err != OTA_OK)
		return err;
	if (s && board->id != s->board)
		return errmsg_fail(e, OTA_CLASS, "the enrollment secret is for another board");
	if (s && memcmp(board->vendor_id, in->vendor_id, sizeof in->vendor_id) != 0)
		return errmsg_fail(e, OTA_VENDOR, "board '%s' has another vendor-id", board->name);
	return OTA_OK;
}

/* The secret's name if it is still free, else the uid: a device in the field is never refused for its name.
 */
static enum ota_err name_for(
	struct db *db, const char *wanted, const char *uid, const char **name, struct errmsg *e)
{
	static const char q_taken[] = "SELECT EXISTS (SELECT 1 FROM device WHERE name = $name) AS yes";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_taken);
	bool is_taken;
	enum ota_err err;

	bind_text(st, "name", wanted);
	err = stmt_yes(st, &is_taken, e);
	if (err == OTA_OK)
		*name = wanted[0] && !is_taken ? wanted : uid;
	return err;
}

static enum ota_err device_new(struct db *db, const struct enroll_in *in, const char *uid,
	const char *wanted_name, int64_t board, bool is_approved, int64_t *id, struct errmsg *e)
{
	struct device_row row = {
		.board = board,
		.state = is_approved ? DEVICE_APPROVED : DEVICE_PENDING,
		.serial = in->serial,
		.serial_len = in->serial_len,
		.created_at = in->now,
	};
	struct identity_row identity = {.kind = IDENTITY_OTAD, .value = uid, .created_at = in->now};
	int64_t device = 0, identity_id;
	enum ota_err err;

	memcpy(row.uid, uid, sizeof row.uid);
	memcpy(identity.link_id, in->link_id, sizeof identity.link_id);
	err = name_for(db, wanted_name, uid, &row.name, e);
	if (err == OTA_OK)
		err = device_insert(db, &row, in->devices_max, &device, e);
	identity.device = device;
	if (err == OTA_OK)
		err = identity_insert(db, &identity, &identity_id, e);
	if (err == OTA_OK)
		err = enrolment_add(db, device, in, STATE_ACTIVE, e);
	if (err == OTA_OK)
		*id = device;
	return err;
}

static enum ota_err waiting_drop(struct db *db, int64_t device, struct errmsg *e)
{
	static const char q_drop[] = "DELETE FROM enrolment WHERE device = $device AND state = 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_drop);

	bind_i64(st, "device", device);
	return stmt_done(st, e);
}

/* A known device with a new request: its key stays, the newest request waits for the operator. */
static enum ota_err device_known(struct db *db, const struct device_row *row, const struct board_row *board,
	const struct enroll_in *in, struct errmsg *e)
{
	enum ota_err err;

	/* Boards of one vendor share the ids that come of a serial: this is another device. */
	if (row->board && row->board != board->id)
		return errmsg_fail(e, OTA_CLASS,
			"a device of board '%s' has the serial of device '%s', which is of board '%s'",
			board->name, row->name, row->board_name);
	if (row->state == DEVICE_REVOKED)
		return errmsg_fail(e, OTA_DENIED, "device '%s' is revoked", row->name);
	err = waiting_drop(db, row->id, e);
	if (err == OTA_OK)
		err = enrolment_add(db, row->id, in, STATE_WAITING, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, row->id, e);
	return err;
}

enum ota_err enroll_device(
	struct db *db, const struct enroll_in *in, struct enroll_out *out, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct secret_row secret;
	struct device_row known;
	struct board_row board;
	struct enroll_out got = {0};
	char uid[33];
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	hex_encode(in->device_id, sizeof in->device_id, uid);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = secret_load(db, in->secret_id, &mem, &secret, e);
	if (err != OTA_OK)
		return err;
	/* before the secret's limits are looked at: the last use may be asked for twice */
	err = repeated(db, uid, in, out, e);
	if (err != OTA_NOT_FOUND)
		return err;
	err = secret_fits(&secret, in, e);
	if (err == OTA_OK)
		err = board_fits(db, in, &secret, &mem, &board, e);
	if (err != OTA_OK)
		return err;
	memcpy(got.nonce_s, in->nonce_s, sizeof got.nonce_s);
	err = device_load_uid(db, uid, &mem, &known, e);
	if (err == OTA_OK) {
		got.device = known.id;
		got.outcome = ENROLL_WAITING;
		err = device_known(db, &known, &board, in, e);
	} else if (err == OTA_NOT_FOUND) {
		got.outcome = secret.is_approving ? ENROLL_APPROVED : ENROLL_PENDING;
		err = device_new(db, in, uid, secret.name, board.id, secret.is_approving, &got.device, e);
	}
	if (err == OTA_OK)
		err = secret_use(db, secret.id, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*out = got;
	return err;
}

/* Is this an enrolment whose device the operator removed, or that was refused? */
static enum ota_err is_ended(struct db *db, const struct enroll_in *in, struct errmsg *e)
{
	static const char q_ended[] =
		"SELECT EXISTS (SELECT 1 FROM enrolment_ended WHERE nonce_s = $nonce_s) AS yes";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_ended);
	bool is_over;
	enum ota_err err;

	bind_blob(st, "nonce_s", in->nonce_s, sizeof in->nonce_s);
	err = stmt_yes(st, &is_over, e);
	if (err == OTA_OK && is_over)
		return errmsg_fail(e, OTA_DENIED, "the device was removed");
	return err;
}

enum ota_err enroll_restore(
	struct db *db, const struct enroll_in *in, struct enroll_out *out, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct secret_row secret = {.name = ""};
	struct device_row known;
	struct board_row board;
	struct enroll_out got = {.outcome = ENROLL_PENDING};
	char uid[33];
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	hex_encode(in->device_id, sizeof in->device_id, uid);
	memcpy(got.nonce_s, in->nonce_s, sizeof got.nonce_s);
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	err = device_load_uid(db, uid, &mem, &known, e);
	if (err == OTA_OK) {
		const struct device_enrolment *en = &known.enrolment;
		bool is_same = known.has_enrolment &&
			       memcmp(en->secret_id, in->secret_id, sizeof in->secret_id) == 0 &&
			       memcmp(en->nonce_d, in->nonce_d, sizeof in->nonce_d) == 0 &&
			       memcmp(en->nonce_s, in->nonce_s, sizeof in->nonce_s) == 0;

		got.device = known.id;
		got.outcome = is_same ? ENROLL_REPEATED : ENROLL_WAITING;
		*out = got;
		return OTA_OK;
	}
	if (err == OTA_NOT_FOUND)
		err = is_ended(db, in, e);
	if (err == OTA_OK)
		err = board_fits(db, in, NULL, &mem, &board, e);
	if (err != OTA_OK)
		return err;
	/* the name that it was provisioned with, where the secret is known */
	err = secret_load(db, in->secret_id, &mem, &secret, e);
	if (err == OTA_OK || err == OTA_NOT_FOUND)
		err = device_new(db, in, uid, secret.name, board.id, false, &got.device, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*out = got;
	return err;
}

/* Run one statement with $device and nothing else. */
static enum ota_err for_device(struct db *db, const char *sql, int64_t device, int64_t *n, struct errmsg *e)
{
	AUTO(stmt) struct stmt *st = stmt_get(db, sql);
	enum ota_err err;

	bind_i64(st, "device", device);
	err = stmt_done(st, e);
	if (err == OTA_OK)
		*n = stmt_changes(st);
	return err;
}

enum ota_err enroll_accept(struct db *db, int64_t device, int64_t now, struct errmsg *e)
{
	/* the old one is replaced only where a new one waits */
	static const char q_replace[] =
		"UPDATE enrolment SET state = 2 WHERE device = $device AND state = 0"
		" AND EXISTS (SELECT 1 FROM enrolment w WHERE w.device = $device AND w.state = 1)";
	static const char q_accept[] = "UPDATE enrolment SET state = 0 WHERE device = $device AND state = 1";
	/* a new key counts from its own beginning */
	static const char q_counter[] =
		"UPDATE device_said SET counter = 0, counter_digest = NULL WHERE device = $device";
	AUTO(tx) struct db_tx tx = {0};
	int64_t n = 0;
	enum ota_err err;

	(void)now;
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = for_device(db, q_replace, device, &n, e);
	if (err == OTA_OK)
		err = for_device(db, q_accept, device, &n, e);
	if (err == OTA_OK && n == 0)
		return errmsg_fail(e, OTA_NOT_FOUND, "no new key waits for this device");
	if (err == OTA_OK)
		err = for_device(db, q_counter, device, &n, e);
	if (err == OTA_OK)
		err = alarm_clear(db, device, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, device, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err enroll_refuse(struct db *db, int64_t device, int64_t now, struct errmsg *e)
{
	/* kept: its request, sent once more, would else be a new one that waits */
	static const char q_refuse[] = "UPDATE enrolment SET state = 2 WHERE device = $device AND state = 1";
	AUTO(tx) struct db_tx tx = {0};
	int64_t n = 0;
	enum ota_err err;

	(void)now;
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = for_device(db, q_refuse, device, &n, e);
	if (err == OTA_OK && n == 0)
		return errmsg_fail(e, OTA_NOT_FOUND, "no new key waits for this device");
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, device, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}
