#include "db/assignment.h"

#include <stdio.h>

#include "db/assignment_next.h"
#include "db/change.h"
#include "db/event.h"
#include "db/list.h"
#include "db/rollout_end.h"
#include "db/stmt.h"

#define SELECT_ASSIGNMENT                                                                                    \
	"SELECT a.id AS id, a.rollout AS rollout, a.device AS device, a.manifest AS manifest, m.digest AS "  \
	"digest,"                                                                                            \
	" m.sequence AS sequence, length(v.bytes) AS envelope_len, v.is_complete AS is_complete,"            \
	" o.is_held OR d.is_held AS is_held, a.is_queued AS is_queued, a.withdrawn_at AS withdrawn_at,"      \
	" o.state = 2 AS is_cancelled, a.is_void AS is_void,"                                                \
	" a.ended_at IS NULL AND a.is_queued = 0 AND EXISTS"                                                 \
	"  (SELECT 1 FROM assignment q WHERE q.device = a.device AND q.is_queued = 1) AS "                   \
	"has_next, " ASSIGNMENT_IS_DRIFTED                                                                   \
	" AS is_drifted, s.confirmed_digest IS NOT NULL AND s.running_digest IS s.confirmed_digest AND "     \
	"s.running_sequence > m.sequence AS is_older, d.state = 1 AND s.running_digest IS m.digest AND "     \
	"NOT EXISTS (SELECT 1 FROM assignment b WHERE b.device = a.device AND b.id > a.id AND b.is_void = "  \
	"0) "                                                                                                \
	"AND " ASSIGNMENT_CAME_TOO_LATE " AS is_late,"                                                       \
	" a.attempt AS attempt, a.state AS state, a.created_at AS created_at,"                               \
	" a.state_at AS state_at, a.offered_at AS offered_at, a.ended_at AS ended_at, a.reason AS reason,"   \
	" a.detail AS detail, a.fault_offset AS fault_offset, a.superseded_by AS superseded_by, d.uid AS "   \
	"device_uid,"                                                                                        \
	" d.name AS device_name, o.uid AS rollout_uid, r.version AS version FROM assignment a"               \
	" JOIN rollout o ON o.id = a.rollout JOIN device d ON d.id = a.device JOIN device_said s ON "        \
	"s.device = d.id JOIN manifest m ON m.id = a.manifest"                                               \
	" JOIN envelope v ON v.manifest = m.id JOIN release r ON r.id = m.release"

enum { MEM_MAX = 128 * 1024 };

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
		.is_queued = col_bool(st, "is_queued"),
		.has_next = col_bool(st, "has_next"),
		.is_drifted = col_bool(st, "is_drifted"),
		.is_older = col_bool(st, "is_older"),
		.is_void = col_bool(st, "is_void"),
		.is_cancelled = col_bool(st, "is_cancelled"),
		.is_late = col_bool(st, "is_late"),
		.withdrawn_at = col_time(st, "withdrawn_at"),
		.attempt = (uint8_t)col_enum(st, "attempt", ASSIGNMENT_ATTEMPTS),
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

	row.is_withdrawn = row.withdrawn_at ||
			   (row.is_cancelled && assignment_is_withdrawable(row.state, row.is_held));
	(void)col_blob_exact(st, "digest", row.digest, sizeof row.digest);
	col_text_buf(st, "device_uid", row.device_uid, sizeof row.device_uid);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct assignment_row *)out = row;
	return err;
}

enum ota_err assignment_load(
	struct db *db, int64_t id, struct arena *mem, struct assignment_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_ASSIGNMENT " WHERE a.id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return row_load(st, mem, fill, "assignment", out, e);
}

enum ota_err assignment_load_open(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_ASSIGNMENT
		" WHERE a.device = $device AND a.ended_at IS NULL AND a.is_queued = 0";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "device", device);
	return row_load(st, mem, fill, "assignment", out, e);
}

enum ota_err assignment_load_queued(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_ASSIGNMENT " WHERE a.device = $device AND a.is_queued = 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "device", device);
	return row_load(st, mem, fill, "assignment", out, e);
}

enum ota_err assignment_load_latest(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_ASSIGNMENT
		" WHERE a.device = $device AND a.is_void = 0 ORDER BY a.id DESC LIMIT 1";
	enum ota_err err = assignment_load_open(db, device, mem, out, e);

	if (err == OTA_NOT_FOUND) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

		bind_i64(st, "device", device);
		err = row_load(st, mem, fill, "assignment", out, e);
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
	list_bind(st, page);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
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
		" AND ($only_newest = 0 OR NOT EXISTS (SELECT 1 FROM assignment n WHERE n.rollout = a.rollout"
		"  AND n.device = a.device AND n.id > a.id))"
		" ORDER BY a.id LIMIT $limit";
	static const struct assignment_filter all = {0};
	AUTO(stmt) struct stmt *st = stmt_get(db, filter && filter->rollout ? q_rollout : q_list);

	if (!filter)
		filter = &all;
	bind_i64(st, "rollout", filter->rollout);
	bind_i64(st, "device", filter->device);
	bind_i64(st, "release", filter->release);
	bind_i64(st, "only_open", filter->only_open);
	if (filter->rollout)
		bind_i64(st, "only_newest", filter->only_newest);
	return list(st, page, mem, out, e);
}

enum ota_err assignment_was_given(
	struct db *db, int64_t device, const uint8_t digest[32], bool *given, struct errmsg *e)
{
	static const char q_given[] =
		"SELECT EXISTS (SELECT 1 FROM manifest m JOIN assignment a ON a.manifest = "
		"m.id WHERE m.digest = $digest AND a.device = $device) AS yes";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_given);

	bind_blob(st, "digest", digest, 32);
	bind_i64(st, "device", device);
	return stmt_yes(st, given, e);
}

enum ota_err assignment_load_late(struct db *db, int64_t device, const uint8_t digest[32], struct arena *mem,
	struct assignment_row *out, struct errmsg *e)
{
	static const char q_late[] = SELECT_ASSIGNMENT
		" WHERE a.device = $device AND a.manifest = (SELECT id FROM manifest WHERE digest = $digest)"
		" AND " ASSIGNMENT_CAME_TOO_LATE " ORDER BY a.id DESC LIMIT 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_late);

	bind_i64(st, "device", device);
	bind_blob(st, "digest", digest, 32);
	return row_load(st, mem, fill, "assignment", out, e);
}

static enum ota_err move_store(
	struct db *db, int64_t id, const struct assignment_move *move, struct errmsg *e)
{
	static const char q_move[] =
		"UPDATE assignment SET state = $state, state_at = $now,"
		" offered_at = CASE WHEN $is_offered THEN coalesce(offered_at, $now) ELSE offered_at END,"
		" ended_at = CASE WHEN $is_end THEN $now END, reason = $reason, detail = $detail,"
		" fault_offset = $fault_offset, superseded_by = $superseded_by,"
		" is_void = is_queued AND $is_taken_back, is_queued = 0 WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_move);
	bool is_open = assign_state_is_open(move->to);

	bind_i64(st, "state", move->to);
	bind_i64(st, "now", move->now);
	bind_i64(st, "is_offered", is_open && move->to != ASSIGN_WAITING);
	bind_i64(st, "is_end", !is_open);
	bind_i64(st, "is_taken_back", move->to == ASSIGN_CANCELLED || move->to == ASSIGN_SUPERSEDED);
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
	struct assignment_move full = *move;
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct assignment_row row, next;
	enum ota_err err;

	arena_init(&mem, 2 * MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = assignment_load(db, id, &mem, &row, e);
	if (err != OTA_OK)
		return err;
	if (row.has_next) {
		err = assignment_load_queued(db, row.device, &mem, &next, e);
		if (err != OTA_OK)
			return err;
	}
	if (row.has_next && move->to == ASSIGN_SUPERSEDED && !move->superseded_by)
		full.superseded_by = next.rollout;
	if (move->to == ASSIGN_SUPERSEDED && !full.superseded_by)
		return errmsg_fail(e, OTA_STATE, "nothing takes the place of what device '%s' has to do",
			row.device_name);
	if (!assign_move_is_legal(row.state, move->to))
		return errmsg_fail(e, OTA_STATE, "device '%s' is %s, it cannot become %s", row.device_name,
			assign_state_name(row.state), assign_state_name(move->to));
	if (row.state == move->to) {
		if (moved)
			*moved = false;
		return OTA_OK;
	}
	err = move_store(db, id, &full, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ASSIGNMENT, id, e);
	if (err == OTA_OK && !assign_state_is_open(move->to)) {
		err = rollout_settle(db, row.rollout, move->now, e);
		if (err == OTA_OK && row.has_next)
			err = assignment_next_open(db, &next, &row, &full, e);
	}
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK && moved)
		*moved = true;
	return err;
}

enum ota_err assignment_start(struct db *db, int64_t now, struct errmsg *e)
{
	static const char q_newest[] = "SELECT coalesce(max(id), 0) AS newest FROM assignment";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_newest);
	struct db_start start = {.at = now};
	enum ota_err err = stmt_i64(st, "newest", &start.assignment, e);

	if (err == OTA_OK)
		db_set_start(db, start);
	return err;
}

/* A device that was heard since it is on hold has been told so by the newest ticket, which is the one it goes
 * by. What was told in the last moment before a restart need not be in its row. One that never was heard was
 * told nothing: its first word is stored before the answer. */
enum ota_err assignment_ticket_until(
	struct db *db, const struct assignment_row *row, int64_t *until, struct errmsg *e)
{
	static const char q_heard[] =
		"SELECT o.is_held AS is_rollout_held, d.is_held AS is_device_held, d.held_at AS held_at,"
		" s.seen_at AS seen_at FROM assignment a JOIN rollout o ON o.id = a.rollout"
		" JOIN device d ON d.id = a.device JOIN device_said s ON s.device = a.device WHERE a.id = "
		"$id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_heard);
	const struct db_start start = db_start(db);
	const bool is_older = row->id <= start.assignment && row->state_at <= start.at;
	bool is_rollout_held, is_device_held, is_told;
	int64_t held, seen, told;
	enum ota_err err;

	bind_i64(st, "id", row->id);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	is_rollout_held = col_bool(st, "is_rollout_held");
	is_device_held = col_bool(st, "is_device_held");
	held = col_time(st, "held_at");
	seen = col_time(st, "seen_at");
	err = stmt_status(st, e);
	if (err != OTA_OK)
		return err;
	/* What still waits was in no ticket since the start: the first one that names it is stored before. */
	told = row->state == ASSIGN_WAITING || (is_older && start.at > seen) ? start.at : seen;
	is_told = seen && !row->is_queued && (row->state != ASSIGN_WAITING || is_older) && !is_rollout_held &&
		  !(is_device_held && seen > held);
	*until = is_told ? told + ASSIGNMENT_TICKET_S : 0;
	return OTA_OK;
}

/* It stays open, and the device's next word tells what became of it. */
static enum ota_err mark_withdrawn(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	static const char q_mark[] =
		"UPDATE assignment SET withdrawn_at = coalesce(withdrawn_at, $now) WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_mark);
	enum ota_err err;

	bind_i64(st, "now", now);
	bind_i64(st, "id", id);
	err = stmt_done(st, e);
	return err == OTA_OK ? change_add(db, CHANGE_ASSIGNMENT, id, e) : err;
}

enum ota_err assignment_stop(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct assignment_row row;
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = assignment_load(db, id, &mem, &row, e);
	if (err == OTA_OK && assignment_is_withdrawable(row.state, row.is_held))
		err = mark_withdrawn(db, id, now, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err assignment_cancel(
	struct db *db, int64_t id, int64_t now, enum assignment_cancel *out, int64_t *until, struct errmsg *e)
{
	const struct assignment_move move = {.to = ASSIGN_CANCELLED, .now = now};
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct assignment_row row;
	bool was_unsure;
	int64_t end = 0;
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = assignment_load(db, id, &mem, &row, e);
	if (err != OTA_OK)
		return err;
	if (!assignment_is_withdrawable(row.state, row.is_held) && !row.withdrawn_at) {
		*out = ASSIGNMENT_COMMITTED;
		return OTA_OK;
	}
	/* By an earlier cancel; that of assignment_stop has not been decided yet. */
	was_unsure = row.withdrawn_at && row.withdrawn_at != now;
	err = assignment_ticket_until(db, &row, &end, e);
	if (err == OTA_OK && (was_unsure || end > now))
		err = mark_withdrawn(db, id, now, e);
	else if (err == OTA_OK)
		err = assignment_advance(db, id, &move, NULL, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err != OTA_OK)
		return err;
	*out = was_unsure || end > now ? ASSIGNMENT_UNSURE : ASSIGNMENT_WITHDRAWN;
	*until = end;
	return OTA_OK;
}

static enum ota_err withdraw_one(
	struct db *db, const struct assignment_row *row, int64_t now, const char *why, struct errmsg *e)
{
	const struct assignment_move move = {.to = assign_move_is_legal(row->state, ASSIGN_CANCELLED)
							   ? ASSIGN_CANCELLED
							   : ASSIGN_TIMED_OUT,
		.now = now};
	struct event_row event = {
		.device = row->device, .at = now, .kind = assign_state_name(move.to), .assignment = row->id};
	char text[DB_VERSION_MAX + 200];
	int64_t until;
	enum ota_err err = assignment_ticket_until(db, row, &until, e);

	if (err == OTA_OK)
		err = assignment_advance(db, row->id, &move, NULL, e);
	if (err != OTA_OK || !why)
		return err;
	(void)snprintf(text, sizeof text, "%s%s: %s", row->version,
		row->state == ASSIGN_TRIAL ? " is on trial, and how that ends is not waited for"
		: !assignment_is_withdrawable(row->state, row->is_held) || until > now
			? " is taken back, but its last ticket may still install it"
			: " is taken back",
		why);
	event.text = text;
	return event_add(db, &event, e);
}

enum ota_err assignment_withdraw(
	struct db *db, int64_t device, int64_t now, const char *why, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct assignment_row row;
	enum ota_err err;

	arena_init(&mem, 2 * MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	/* first, or it would open */
	err = assignment_load_queued(db, device, &mem, &row, e);
	if (err == OTA_OK)
		err = withdraw_one(db, &row, now, why, e);
	if (err == OTA_OK || err == OTA_NOT_FOUND)
		err = assignment_load_open(db, device, &mem, &row, e);
	if (err == OTA_OK)
		err = withdraw_one(db, &row, now, why, e);
	return err == OTA_OK || err == OTA_NOT_FOUND ? db_commit(&tx, e) : err;
}

void assignment_say_whose(struct db *db, int64_t id, struct errmsg *e)
{
	static const char q_whose[] =
		"SELECT d.name AS name FROM assignment a JOIN device d ON d.id = a.device"
		" WHERE a.id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_whose);
	char name[DB_NAME_MAX + 1];

	bind_i64(st, "id", id);
	if (stmt_row(st, NULL) != OTA_OK)
		return;
	col_text_buf(st, "name", name, sizeof name);
	if (stmt_status(st, NULL) == OTA_OK)
		errmsg_prefix(e, "device '%s': ", name);
}

struct expired_row {
	int64_t id, device;
};

static enum ota_err expired_fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct expired_row row = {.id = col_i64(st, "id"), .device = col_i64(st, "device")};
	enum ota_err err = stmt_status(st, e);

	(void)mem;
	if (err == OTA_OK)
		*(struct expired_row *)out = row;
	return err;
}

enum ota_err assignment_expire(
	struct db *db, int64_t now, int64_t default_s, uint64_t *n, struct errmsg *spoilt, struct errmsg *e)
{
	static const char q_expired[] =
		"SELECT a.id AS id, a.device AS device FROM assignment a JOIN rollout o ON o.id = a.rollout"
		" WHERE a.ended_at IS NULL AND a.created_at < $now"
		" AND (CASE WHEN o.timeout_s > 0 THEN o.timeout_s ELSE $default_s END) > 0"
		" AND a.created_at + (CASE WHEN o.timeout_s > 0 THEN o.timeout_s ELSE $default_s END) <= $now"
		" ORDER BY a.created_at LIMIT $limit";
	const struct assignment_move move = {.to = ASSIGN_TIMED_OUT, .now = now};
	const struct db_page page = {0};
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct {
		struct expired_row *rows;
		size_t n;
		int64_t next;
	} due = {0};
	uint64_t ended = 0;
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_expired);

		bind_i64(st, "limit", page_limit(&page));
		bind_i64(st, "default_s", default_s);
		bind_i64(st, "now", now);
		err = list_run(st, &page, &mem, sizeof *due.rows, expired_fill, LIST_OUT(&due), e);
	}
	for (size_t i = 0; err == OTA_OK && i < due.n; i++) {
		const struct event_row event = {.device = due.rows[i].device,
			.at = now,
			.kind = "timed-out",
			.text = "not done in its time",
			.assignment = due.rows[i].id};

		err = assignment_advance(db, due.rows[i].id, &move, NULL, e);
		if (err == OTA_CORRUPT && spoilt && !*spoilt->text && e) {
			*spoilt = *e;
			assignment_say_whose(db, due.rows[i].id, spoilt);
		}
		/* The one before it has just ended, and with its last attempt used up it has failed already.
		 */
		if (err == OTA_STATE || err == OTA_CORRUPT) {
			err = OTA_OK;
			continue;
		}
		if (err == OTA_OK)
			err = event_add(db, &event, e);
		ended += err == OTA_OK;
	}
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*n = ended;
	return err;
}
