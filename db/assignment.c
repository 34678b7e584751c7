#include "db/assignment.h"

#include "db/change.h"
#include "db/device.h"
#include "db/list.h"
#include "db/release.h"
#include "db/rollout_end.h"
#include "db/stmt.h"

#define SELECT_ASSIGNMENT                                                                                    \
	"SELECT a.id AS id, a.rollout AS rollout, a.device AS device, a.manifest AS manifest, m.digest AS "  \
	"digest,"                                                                                            \
	" m.sequence AS sequence, length(v.bytes) AS envelope_len, v.is_complete AS is_complete,"            \
	" o.is_held OR d.is_held AS is_held, a.attempt AS attempt, a.state AS state, a.created_at AS "       \
	"created_at,"                                                                                        \
	" a.state_at AS state_at, a.offered_at AS offered_at, a.ended_at AS ended_at, a.reason AS reason,"   \
	" a.detail AS detail, a.fault_offset AS fault_offset, a.superseded_by AS superseded_by, d.uid AS "   \
	"device_uid,"                                                                                        \
	" d.name AS device_name, o.uid AS rollout_uid, r.version AS version FROM assignment a"               \
	" JOIN rollout o ON o.id = a.rollout JOIN device d ON d.id = a.device JOIN manifest m ON m.id = "    \
	"a.manifest"                                                                                         \
	" JOIN envelope v ON v.manifest = m.id JOIN release r ON r.id = m.release"

enum { MEM_MAX = 128 * 1024, ATTEMPT_MAX = 255 };

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct assignment_row row = {
		.id = col_i64(st, "id"),
		.rollout = col_i64(st, "rollout"),
		.device = col_i64(st, "device"),
		.manifest = col_i64(st, "manifest"),
		.sequence = col_u32(st, "sequence"),
		.envelope_len = col_u32(st, "envelope_len"),
		.is_complete = col_bool(st, "is_complete"),
		.is_held = col_bool(st, "is_held"),
		.attempt = (uint8_t)col_enum(st, "attempt", ATTEMPT_MAX),
		.state = (enum assign_state)col_enum(st, "state", ASSIGN_STATES - 1),
		.created_at = col_i64(st, "created_at"),
		.state_at = col_i64(st, "state_at"),
		.offered_at = col_time(st, "offered_at"),
		.ended_at = col_time(st, "ended_at"),
		.reason = (uint8_t)col_enum(st, "reason", UINT8_MAX),
		.detail = (uint16_t)col_enum(st, "detail", UINT16_MAX),
		.offset = col_u32(st, "fault_offset"),
		.superseded_by = col_i64_or(st, "superseded_by", 0),
		.device_name = col_text(st, "device_name", mem),
		.rollout_uid = col_text(st, "rollout_uid", mem),
		.version = col_text(st, "version", mem),
	};
	enum ota_err err;

	(void)col_blob_exact(st, "digest", row.digest, sizeof row.digest);
	col_text_buf(st, "device_uid", row.device_uid, sizeof row.device_uid);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct assignment_row *)out = row;
	return err;
}

static enum ota_err load_one(struct stmt *st, struct arena *mem, struct assignment_row *out, struct errmsg *e)
{
	enum ota_err err = stmt_row(st, e);

	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no such assignment");
	return err == OTA_OK ? fill(st, mem, out, e) : err;
}

enum ota_err assignment_load(
	struct db *db, int64_t id, struct arena *mem, struct assignment_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_ASSIGNMENT " WHERE a.id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return load_one(st, mem, out, e);
}

enum ota_err assignment_load_open(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_ASSIGNMENT " WHERE a.device = $device AND a.ended_at IS NULL";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "device", device);
	return load_one(st, mem, out, e);
}

enum ota_err assignment_load_latest(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_ASSIGNMENT " WHERE a.device = $device ORDER BY a.id DESC LIMIT 1";
	enum ota_err err = assignment_load_open(db, device, mem, out, e);

	if (err == OTA_NOT_FOUND) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

		bind_i64(st, "device", device);
		err = load_one(st, mem, out, e);
	}
	return err;
}

bool assignment_is_withdrawable(enum assign_state state, bool is_held)
{
	if (state == ASSIGN_STAGED)
		return is_held;
	return assign_state_is_open(state) && !assign_state_is_committed(state);
}

static enum ota_err list(struct stmt *st, const struct db_page *page, struct arena *mem,
	struct assignment_list *out, struct errmsg *e)
{
	struct list_page rows;
	enum ota_err err;

	list_bind(st, page);
	err = list_run(st, page, mem, sizeof *out->rows, fill, &rows, e);
	if (err == OTA_OK)
		*out = (struct assignment_list){.rows = rows.rows, .n = rows.n, .next = rows.next};
	return err;
}

enum ota_err assignment_list(struct db *db, const struct assignment_filter *filter,
	const struct db_page *page, struct arena *mem, struct assignment_list *out, struct errmsg *e)
{
	static const char q_list[] = SELECT_ASSIGNMENT
		" WHERE a.id > $cursor AND ($rollout = 0 OR a.rollout = $rollout) AND ($device = 0 OR "
		"a.device = $device)"
		" AND ($release = 0 OR m.release = $release) AND ($only_open = 0 OR a.ended_at IS NULL)"
		" ORDER BY a.id LIMIT $limit";
	/* the frequent question has an index of its own */
	static const char q_rollout[] = SELECT_ASSIGNMENT
		" WHERE a.rollout = $rollout AND a.id > $cursor AND ($device = 0 OR a.device = $device)"
		" AND ($release = 0 OR m.release = $release) AND ($only_open = 0 OR a.ended_at IS NULL)"
		" ORDER BY a.id LIMIT $limit";
	static const struct assignment_filter all = {0};
	AUTO(stmt) struct stmt *st = stmt_get(db, filter && filter->rollout ? q_rollout : q_list);

	if (!filter)
		filter = &all;
	bind_i64(st, "rollout", filter->rollout);
	bind_i64(st, "device", filter->device);
	bind_i64(st, "release", filter->release);
	bind_i64(st, "only_open", filter->only_open);
	return list(st, page, mem, out, e);
}

enum ota_err assignment_history(struct db *db, int64_t device, const struct db_page *page, struct arena *mem,
	struct assignment_list *out, struct errmsg *e)
{
	static const char q_history[] = SELECT_ASSIGNMENT " WHERE a.device = $device AND ($cursor = 0 OR "
							  "a.id < $cursor) ORDER BY a.id DESC LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_history);

	bind_i64(st, "device", device);
	return list(st, page, mem, out, e);
}

static enum ota_err move_store(
	struct db *db, int64_t id, const struct assignment_move *move, struct errmsg *e)
{
	static const char q_move[] =
		"UPDATE assignment SET state = $state, state_at = $now,"
		" offered_at = CASE WHEN $is_offered THEN coalesce(offered_at, $now) ELSE offered_at END,"
		" ended_at = CASE WHEN $is_end THEN $now END, reason = $reason, detail = $detail,"
		" fault_offset = $fault_offset, superseded_by = $superseded_by WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_move);
	bool is_open = assign_state_is_open(move->to);

	bind_i64(st, "state", move->to);
	bind_i64(st, "now", move->now);
	bind_i64(st, "is_offered", is_open && move->to != ASSIGN_WAITING);
	bind_i64(st, "is_end", !is_open);
	bind_i64(st, "reason", move->reason);
	bind_i64(st, "detail", move->detail);
	bind_i64(st, "fault_offset", move->offset);
	if (move->superseded_by)
		bind_i64(st, "superseded_by", move->superseded_by);
	else
		bind_null(st, "superseded_by");
	bind_i64(st, "id", id);
	return stmt_done(st, e);
}

enum ota_err assignment_advance(
	struct db *db, int64_t id, const struct assignment_move *move, bool *moved, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct assignment_row row;
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = assignment_load(db, id, &mem, &row, e);
	if (err != OTA_OK)
		return err;
	if (!assign_move_is_legal(row.state, move->to))
		return errmsg_fail(e, OTA_STATE, "device '%s' is %s, it cannot become %s", row.device_name,
			assign_state_name(row.state), assign_state_name(move->to));
	if (row.state == move->to) {
		if (moved)
			*moved = false;
		return OTA_OK;
	}
	err = move_store(db, id, move, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ASSIGNMENT, id, e);
	if (err == OTA_OK && !assign_state_is_open(move->to))
		err = rollout_settle(db, row.rollout, move->now, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK && moved)
		*moved = true;
	return err;
}

/* One above the last attempt that went wrong, or that a device heard of and whose end nobody here knows: it
 * may have failed unheard, and then it refuses that number. The same number again where nothing went wrong.
 */
static enum ota_err attempt_next(
	struct db *db, int64_t device, int64_t manifest, uint8_t *attempt, struct errmsg *e)
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
	if (next > ATTEMPT_MAX)
		return errmsg_fail(
			e, OTA_LIMIT, "this release has failed %d times on this device", ATTEMPT_MAX);
	*attempt = (uint8_t)next;
	return stmt_status(st, e);
}

static enum ota_err add(struct db *db, int64_t rollout, int64_t device, int64_t manifest, uint8_t attempt,
	int64_t now, int64_t *id, struct errmsg *e)
{
	static const char q_add[] =
		"INSERT INTO assignment (rollout, device, manifest, attempt, state, created_at, state_at)"
		" VALUES ($rollout, $device, $manifest, $attempt, 0, $now, $now) RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "rollout", rollout);
	bind_i64(st, "device", device);
	bind_i64(st, "manifest", manifest);
	bind_i64(st, "attempt", attempt);
	bind_i64(st, "now", now);
	return stmt_id(st, id, e);
}

/* Do the three fit together? */
static enum ota_err fits(struct db *db, const struct rollout_row *rollout, int64_t device_id,
	int64_t manifest_id, struct arena *mem, struct errmsg *e)
{
	struct manifest_row manifest;
	struct device_row device;
	enum ota_err err;

	if (rollout->state == ROLLOUT_CANCELLED)
		return errmsg_fail(e, OTA_STATE, "rollout '%s' was cancelled", rollout->uid);
	err = manifest_load(db, manifest_id, mem, &manifest, e);
	if (err == OTA_OK)
		err = device_load(db, device_id, mem, &device, e);
	if (err != OTA_OK)
		return err;
	if (device.state != DEVICE_APPROVED)
		return errmsg_fail(e, OTA_CONFLICT, "device '%s' is not approved", device.name);
	if (device.board != manifest.board)
		return errmsg_fail(e, OTA_CONFLICT, "device '%s' is of another board", device.name);
	return OTA_OK;
}

/* Make room: the open assignment of the device is this one already, is superseded, or cannot be. */
static enum ota_err supersede(struct db *db, const struct rollout_row *rollout, int64_t manifest,
	const struct assignment_row *old, int64_t now, struct assignment_opened *out, struct errmsg *e)
{
	const struct assignment_move move = {
		.to = ASSIGN_SUPERSEDED, .now = now, .superseded_by = rollout->id};

	if (old->rollout == rollout->id && old->manifest == manifest) {
		*out = (struct assignment_opened){.id = old->id, .attempt = old->attempt};
		return OTA_OK;
	}
	if (!assignment_is_withdrawable(old->state, old->is_held))
		return errmsg_fail(e, OTA_STATE,
			"device '%s' is past the point of no return with '%s' of '%s'", old->device_name,
			old->version, old->rollout_uid);
	out->superseded = old->id;
	return assignment_advance(db, old->id, &move, NULL, e);
}

enum ota_err assignment_open(struct db *db, int64_t rollout_id, int64_t device, int64_t manifest, int64_t now,
	struct assignment_opened *out, struct errmsg *e)
{
	struct assignment_opened got = {.is_new = true};
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct rollout_row rollout;
	struct assignment_row old;
	enum ota_err err;

	arena_init(&mem, 2 * MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = rollout_load(db, rollout_id, &mem, &rollout, e);
	if (err == OTA_OK)
		err = fits(db, &rollout, device, manifest, &mem, e);
	if (err != OTA_OK)
		return err;
	err = assignment_load_open(db, device, &mem, &old, e);
	if (err == OTA_OK)
		err = supersede(db, &rollout, manifest, &old, now, &got, e);
	else if (err == OTA_NOT_FOUND)
		err = OTA_OK;
	if (err == OTA_OK && got.is_new) {
		err = attempt_next(db, device, manifest, &got.attempt, e);
		if (err == OTA_OK)
			err = add(db, rollout_id, device, manifest, got.attempt, now, &got.id, e);
		if (err == OTA_OK)
			err = change_add(db, CHANGE_ASSIGNMENT, got.id, e);
		if (err == OTA_OK && rollout.state == ROLLOUT_DONE)
			err = rollout_set_state(db, rollout_id, ROLLOUT_RUNNING, now, e);
	}
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*out = got;
	return err;
}

enum ota_err assignment_withdraw(struct db *db, int64_t device, int64_t now, struct errmsg *e)
{
	AUTO(arena) struct arena mem;
	struct assignment_row open;
	struct assignment_move move = {.now = now};
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = assignment_load_open(db, device, &mem, &open, e);
	if (err == OTA_NOT_FOUND)
		return OTA_OK;
	if (err != OTA_OK)
		return err;
	move.to = assign_move_is_legal(open.state, ASSIGN_CANCELLED) ? ASSIGN_CANCELLED : ASSIGN_TIMED_OUT;
	return assignment_advance(db, open.id, &move, NULL, e);
}

struct expired_row {
	int64_t id;
};

static enum ota_err expired_fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct expired_row row = {.id = col_i64(st, "id")};
	enum ota_err err = stmt_status(st, e);

	(void)mem;
	if (err == OTA_OK)
		*(struct expired_row *)out = row;
	return err;
}

enum ota_err assignment_expire(struct db *db, int64_t now, int64_t default_s, uint64_t *n, struct errmsg *e)
{
	static const char q_expired[] =
		"SELECT a.id AS id FROM assignment a JOIN rollout o ON o.id = a.rollout"
		" WHERE a.ended_at IS NULL AND a.created_at < $now"
		" AND (CASE WHEN o.timeout_s > 0 THEN o.timeout_s ELSE $default_s END) > 0"
		" AND a.created_at + (CASE WHEN o.timeout_s > 0 THEN o.timeout_s ELSE $default_s END) <= $now"
		" ORDER BY a.created_at LIMIT $limit";
	const struct assignment_move move = {.to = ASSIGN_TIMED_OUT, .now = now};
	const struct db_page page = {0};
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct list_page due = {0};
	struct expired_row *rows;
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_expired);

		bind_i64(st, "limit", page_limit(&page));
		bind_i64(st, "default_s", default_s);
		bind_i64(st, "now", now);
		err = list_run(st, &page, &mem, sizeof *rows, expired_fill, &due, e);
	}
	rows = due.rows;
	for (size_t i = 0; err == OTA_OK && i < due.n; i++)
		err = assignment_advance(db, rows[i].id, &move, NULL, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*n = due.n;
	return err;
}
