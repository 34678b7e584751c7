#include <stdio.h>
#include <string.h>

#include "db/assignment_next.h"
#include "db/change.h"
#include "db/device.h"
#include "db/event.h"
#include "db/release.h"
#include "db/report.h"
#include "db/rollout_end.h"
#include "db/stmt.h"
#include "proto/checkin.h"

enum { MEM_MAX = 128 * 1024 };

/* One above the last attempt that went wrong, or that a device heard of and whose end nobody here knows: it
 * may have failed unheard, and then it refuses that number. The same number again where nothing went wrong.
 */
static enum ota_err attempt_next(
	struct db *db, int64_t device, int64_t manifest, struct assignment_opened *out, struct errmsg *e)
{
	static const char q_attempt[] =
		"SELECT coalesce(max(CASE WHEN state IN ($failed, $reverted)"
		" OR state IN ($superseded, $cancelled, $timed_out) AND offered_at IS NOT NULL"
		" THEN attempt + 1 ELSE attempt END), 1)"
		" AS attempt FROM assignment WHERE device = $device AND manifest = $manifest";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_attempt);
	int64_t next;
	enum ota_err err;

	bind_i64(st, "failed", ASSIGN_FAILED);
	bind_i64(st, "reverted", ASSIGN_REVERTED);
	bind_i64(st, "superseded", ASSIGN_SUPERSEDED);
	bind_i64(st, "cancelled", ASSIGN_CANCELLED);
	bind_i64(st, "timed_out", ASSIGN_TIMED_OUT);
	bind_i64(st, "device", device);
	bind_i64(st, "manifest", manifest);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	next = col_i64(st, "attempt");
	out->is_spent = next > ASSIGNMENT_ATTEMPTS;
	out->attempt = (uint8_t)(out->is_spent ? ASSIGNMENT_ATTEMPTS : next);
	return stmt_status(st, e);
}

enum ota_err assignment_count_up(struct db *db, int64_t id, uint8_t attempt, struct errmsg *e)
{
	static const char q_count[] = "UPDATE assignment SET attempt = attempt + 1 WHERE id = $id"
				      " AND attempt = $attempt AND attempt < $most AND ended_at IS NULL"
				      " AND is_queued = 0";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err = db_begin(db, &tx, e);

	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_count);

		bind_i64(st, "id", id);
		bind_i64(st, "attempt", attempt);
		bind_i64(st, "most", ASSIGNMENT_ATTEMPTS);
		err = stmt_done(st, e);
		if (err == OTA_OK && stmt_changes(st) == 0)
			return errmsg_fail(e, OTA_STATE, "no assignment is open under attempt %u", attempt);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ASSIGNMENT, id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

static enum ota_err add(struct db *db, int64_t rollout, int64_t device, int64_t manifest, int64_t now,
	struct assignment_opened *out, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO assignment (rollout, device, manifest, attempt, state, "
				    "created_at, state_at, is_queued)"
				    " VALUES ($rollout, $device, $manifest, $attempt, 0, $now, $now, "
				    "$is_queued) RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "rollout", rollout);
	bind_i64(st, "device", device);
	bind_i64(st, "manifest", manifest);
	bind_i64(st, "attempt", out->attempt);
	bind_i64(st, "now", now);
	bind_i64(st, "is_queued", out->is_queued);
	return stmt_id(st, &out->id, e);
}

/* No device would take it: it has failed here, before anybody hears of it. */
static enum ota_err end_spent(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	const struct assignment_move move = {.to = ASSIGN_FAILED,
		.now = now,
		.reason = ota_err_reason(OTA_LIMIT),
		.detail = ota_err_detail(OTA_LIMIT)};

	return assignment_advance(db, id, &move, NULL, e);
}

static enum ota_err refuse_retired(struct db *db, int64_t id, struct arena *mem, struct errmsg *e)
{
	struct release_row release;
	enum ota_err err = release_load(db, id, mem, &release, e);

	return err != OTA_OK ? err : errmsg_fail(e, OTA_STATE, "release '%s' is retired", release.version);
}

/* Do the three fit together? `*runs_it`: the device has said that it runs this, confirmed. */
static enum ota_err fits(struct db *db, const struct rollout_row *rollout, int64_t device_id,
	int64_t manifest_id, struct arena *mem, bool *runs_it, struct errmsg *e)
{
	struct manifest_row manifest;
	struct device_row device;
	enum ota_err err;

	if (rollout->state == ROLLOUT_CANCELLED)
		return errmsg_fail(e, OTA_STATE, "rollout '%s' was cancelled", rollout->uid);
	err = manifest_load(db, manifest_id, mem, &manifest, e);
	if (err == OTA_OK && manifest.is_retired)
		return refuse_retired(db, manifest.release, mem, e);
	if (err == OTA_OK)
		err = device_load(db, device_id, mem, &device, e);
	if (err != OTA_OK)
		return err;
	if (device.state != DEVICE_APPROVED)
		return errmsg_fail(e, OTA_CONFLICT, "device '%s' is not approved", device.name);
	if (device.board != manifest.board)
		return errmsg_fail(e, OTA_CONFLICT, "device '%s' is of another board", device.name);
	*runs_it = report_is_confirmed(&device.said) &&
		   memcmp(device.said.running_digest, manifest.digest, sizeof manifest.digest) == 0;
	return OTA_OK;
}

/* The newest decision takes the place of an older one. */
static enum ota_err supersede(struct db *db, const struct assignment_row *old, const struct rollout_row *by,
	int64_t now, int64_t *until, struct errmsg *e)
{
	const struct assignment_move move = {.to = ASSIGN_SUPERSEDED, .now = now, .superseded_by = by->id};
	struct event_row event = {
		.device = old->device, .at = now, .kind = "superseded", .assignment = old->id};
	char text[3 * DB_VERSION_MAX];
	int64_t end;
	enum ota_err err = assignment_ticket_until(db, old, &end, e);

	if (err == OTA_OK)
		err = assignment_advance(db, old->id, &move, NULL, e);
	if (err != OTA_OK)
		return err;
	*until = end > now ? end : 0;

	(void)snprintf(text, sizeof text, "%s: push %.8s took its place%s", old->version, by->uid,
		*until ? ", but its last ticket may still install it first" : "");
	event.text = text;
	return event_add(db, &event, e);
}

static bool is_the_same(const struct assignment_row *a, const struct rollout_row *rollout, int64_t manifest)
{
	return a->rollout == rollout->id && a->manifest == manifest;
}

/* Make room: what the device has open or queued is this one already, is superseded, or stays and the new one
 * has to wait behind it. */
static enum ota_err make_room(struct db *db, const struct rollout_row *rollout, int64_t device,
	int64_t manifest, int64_t now, struct arena *mem, struct assignment_opened *out, struct errmsg *e)
{
	struct assignment_row open, next;
	enum ota_err err = assignment_load_open(db, device, mem, &open, e);

	if (err)
		return err == OTA_NOT_FOUND ? OTA_OK : err;
	if (open.has_next) {
		err = assignment_load_queued(db, device, mem, &next, e);
		if (err)
			return err;
	}
	if (open.has_next && is_the_same(&next, rollout, manifest)) {
		*out = (struct assignment_opened){.id = next.id, .attempt = next.attempt, .is_queued = true};
		(void)snprintf(out->behind, sizeof out->behind, "%s", open.version);
		return OTA_OK;
	}
	if (!open.has_next && !open.withdrawn_at && is_the_same(&open, rollout, manifest)) {
		*out = (struct assignment_opened){.id = open.id, .attempt = open.attempt};
		return OTA_OK;
	}
	/* The queued one first: it would open in the place of the other. */
	if (open.has_next) {
		out->superseded = next.id;
		err = supersede(db, &next, rollout, now, &out->until, e);
		if (err)
			return err;
	}
	if (!open.withdrawn_at && assignment_is_withdrawable(open.state, open.is_held)) {
		out->superseded = open.id;
		return supersede(db, &open, rollout, now, &out->until, e);
	}
	out->is_queued = true;
	(void)snprintf(out->behind, sizeof out->behind, "%s", open.version);
	return OTA_OK;
}

enum ota_err assignment_open(struct db *db, int64_t rollout_id, int64_t device, int64_t manifest, int64_t now,
	struct assignment_opened *out, struct errmsg *e)
{
	struct assignment_opened got = {.is_new = true};
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct rollout_row rollout;
	enum ota_err err;

	arena_init(&mem, 3 * MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = rollout_load(db, rollout_id, &mem, &rollout, e);
	if (err == OTA_OK)
		err = fits(db, &rollout, device, manifest, &mem, &got.runs_it, e);
	if (err == OTA_OK)
		err = make_room(db, &rollout, device, manifest, now, &mem, &got, e);
	if (err == OTA_OK && got.is_new) {
		err = attempt_next(db, device, manifest, &got, e);
		if (err == OTA_OK && rollout.state == ROLLOUT_DONE)
			err = rollout_set_state(db, rollout_id, ROLLOUT_RUNNING, now, e);
		if (err == OTA_OK)
			err = add(db, rollout_id, device, manifest, now, &got, e);
		if (err == OTA_OK)
			err = change_add(db, CHANGE_ASSIGNMENT, got.id, e);
		if (err == OTA_OK && got.is_spent) {
			got.is_queued = false;
			err = end_spent(db, got.id, now, e);
		}
	}
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*out = got;
	return err;
}

enum ota_err assignment_next_open(struct db *db, const struct assignment_row *next,
	const struct assignment_row *was, const struct assignment_move *move, struct errmsg *e)
{
	static const char q_open[] = "UPDATE assignment SET is_queued = 0, attempt = $attempt, state_at = "
				     "$now WHERE id = $id";
	struct assignment_opened got = {.id = next->id};
	struct event_row event = {
		.device = next->device, .at = move->now, .kind = "opened", .assignment = next->id};
	char text[3 * DB_VERSION_MAX];
	enum ota_err err = attempt_next(db, next->device, next->manifest, &got, e);

	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_open);

		bind_i64(st, "attempt", got.attempt);
		bind_i64(st, "now", move->now);
		bind_i64(st, "id", next->id);
		err = stmt_done(st, e);
	}
	(void)snprintf(text, sizeof text, "%s has waited for this: %s ended as %s", next->version,
		was->version, assign_state_name(move->to));
	event.text = text;
	if (err == OTA_OK)
		err = event_add(db, &event, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ASSIGNMENT, next->id, e);
	return err == OTA_OK && got.is_spent ? end_spent(db, next->id, move->now, e) : err;
}
