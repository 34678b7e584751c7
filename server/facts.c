#include "server/facts.h"

#include <string.h>

#include "db/assignment.h"
#include "db/board.h"
#include "proto/hex.h"

static void take_said(const struct ota_crypto *c, const struct device_said *said, struct reg_facts *f)
{
	struct checkin ci = {
		.has_result = said->has_result,
		.result_attempt = said->result_attempt,
		.result_reason = said->result_reason,
		.result_detail = said->result_detail,
		.result_offset = said->result_offset,
	};
	struct plan_device *d = &f->dev;

	memcpy(ci.result_digest, said->result_digest, 32);
	plan_result_mark(c, &ci, d->result_mark);
	d->heard = said->seen_at != 0;
	d->counter = said->counter;
	memcpy(d->mark, said->counter_digest, PLAN_MARK_LEN);
	d->root_version = said->root_version;
	d->has_running = said->has_running;
	d->running_sequence = said->running_sequence;
	memcpy(d->running_digest, said->running_digest, 32);
	d->state = (enum checkin_state)said->agent_state;
	d->flags = said->flags;
	f->seen = said->seen_at;
	f->uptime_s = said->uptime_s;
	f->bytes_done = said->target_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)said->target_bytes;
}

static void take_task(const struct assignment_row *a, struct reg_facts *f)
{
	struct plan_task *t = &f->dev.task;

	f->task_row = a->id;
	t->exists = true;
	t->state = a->state;
	memcpy(t->digest, a->digest, 32);
	/* Size 0: no ticket names it. */
	t->envelope_size = a->is_complete && a->envelope_len <= UINT16_MAX ? (uint16_t)a->envelope_len : 0;
	t->attempt = a->attempt;
	t->hold = a->is_held;
	t->has_next = a->has_next;
	t->withdrawn = a->is_withdrawn;
}

enum ota_err facts_of_row(struct db *db, const struct ota_crypto *c, const struct keystore *k,
	const struct device_row *row, struct arena *mem, struct reg_facts *out, struct errmsg *e)
{
	struct reg_facts f = {.row = row->id, .board_row = row->board};
	struct assignment_row task;
	uint8_t secret[SECRET_LEN];
	enum ota_err err;

	if (row->state == DEVICE_REVOKED || !row->has_enrolment || !row->board)
		return errmsg_fail(e, OTA_NOT_FOUND, "device '%s' does not check in here", row->uid);
	if (hex_decode(row->uid, strlen(row->uid), HEX_LOWER, f.id, sizeof(f.id)))
		return errmsg_fail(e, OTA_NOT_FOUND, "device '%s' has no device-id", row->uid);
	err = assignment_load_latest(db, row->id, mem, &task, e);
	if (err && err != OTA_NOT_FOUND)
		return err;
	f.enrolment = row->enrolment.number;
	f.dev.approved = row->state == DEVICE_APPROVED;
	f.dev.hold = row->is_held;
	take_said(c, &row->said, &f);
	if (!err)
		take_task(&task, &f);
	keys_enroll_secret(c, keystore_enroll(k), row->enrolment.secret_id, secret);
	keys_device(c, secret, f.id, row->enrolment.nonce_d, row->enrolment.nonce_s, f.k_dev);
	ota_wipe(secret, sizeof(secret));
	*out = f;
	return OTA_OK;
}

enum ota_err facts_load_device(struct db *db, const struct ota_crypto *c, const struct keystore *k,
	int64_t device, struct arena *mem, struct reg_facts *out, struct errmsg *e)
{
	struct device_row row;
	enum ota_err err = device_load(db, device, mem, &row, e);

	return err ? err : facts_of_row(db, c, k, &row, mem, out, e);
}

enum ota_err facts_load_board(
	struct db *db, int64_t id, struct arena *mem, struct reg_board *out, struct errmsg *e)
{
	struct board_row row;
	struct reg_board b = {.row = id};
	enum ota_err err = board_load(db, id, mem, &row, e);
	size_t len;

	if (err)
		return err;
	memcpy(b.vendor_id, row.vendor_id, sizeof(b.vendor_id));
	memcpy(b.class_id, row.class_id, sizeof(b.class_id));
	b.poll_s = row.poll_s;
	len = strnlen(row.name, sizeof(b.name) - 1);
	memcpy(b.name, row.name, len);
	*out = b;
	return OTA_OK;
}
