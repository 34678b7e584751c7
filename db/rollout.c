#include "db/rollout.h"

#include <string.h>

#include "db/assignment_next.h"
#include "db/change.h"
#include "db/event.h"
#include "db/list.h"
#include "db/release.h"
#include "db/rollout_end.h"
#include "db/selector.h"
#include "db/stmt.h"

#define COLUMNS                                                                                              \
	"id, revision, uid, release, selector, is_held, accepts_served, timeout_s, state, created_by, "      \
	"created_at,"                                                                                        \
	" ended_at, cursor, doing, doing_cursor, doing_last, doing_by"

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct rollout_row row = {
		.id = col_i64(st, "id"),
		.revision = col_i64(st, "revision"),
		.uid = col_text(st, "uid", mem),
		.release = col_i64(st, "release"),
		.selector = col_text(st, "selector", mem),
		.is_held = col_bool(st, "is_held"),
		.accepts_served = col_bool(st, "accepts_served"),
		.timeout_s = col_u32(st, "timeout_s"),
		.state = (enum rollout_state)col_enum(st, "state", ROLLOUT_STATE_MAX),
		.created_by = col_text(st, "created_by", mem),
		.created_at = col_i64(st, "created_at"),
		.ended_at = col_time(st, "ended_at"),
		.is_growing = !col_is_null(st, "cursor"),
		.cursor = col_i64_or(st, "cursor", 0),
		.doing = (enum rollout_doing)col_enum(st, "doing", ROLLOUT_DOING_MAX),
		.doing_cursor = col_i64(st, "doing_cursor"),
		.doing_last = col_i64(st, "doing_last"),
		.doing_by = col_text(st, "doing_by", mem),
	};
	enum ota_err err = stmt_status(st, e);

	if (err == OTA_OK)
		*(struct rollout_row *)out = row;
	return err;
}

enum ota_err rollout_load(
	struct db *db, int64_t id, struct arena *mem, struct rollout_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM rollout WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return row_load(st, mem, fill, "rollout", out, e);
}

enum ota_err rollout_load_uid(
	struct db *db, const char *uid, struct arena *mem, struct rollout_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM rollout WHERE uid = $uid";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_text(st, "uid", uid);
	return row_load(st, mem, fill, "rollout", out, e);
}

enum ota_err rollout_list(struct db *db, int state, const struct db_page *page, struct arena *mem,
	struct rollout_list *out, struct errmsg *e)
{
	static const char q_list[] = "SELECT " COLUMNS " FROM rollout WHERE ($cursor = 0 OR id < $cursor)"
				     " AND ($state < 0 OR state = $state OR $state = 0 AND doing <> 0)"
				     " ORDER BY id DESC LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);

	list_bind(st, page);
	bind_i64(st, "state", state);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}

static bool uid_is_valid(const char *uid)
{
	size_t len = strlen(uid);

	/* a name's characters, in a length that takes a 64-digit digest */
	if (len < 1 || len > DB_UID_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		char one[2] = {uid[i], '\0'};

		if (uid[i] != '.' && uid[i] != '-' && !limit_name_is_valid(one))
			return false;
	}
	return true;
}

/* is_held is compared as it was at the start: releasing a held push does not make its repetition another push
 */
static enum ota_err is_same(struct db *db, const struct rollout_row *row, bool *same, struct errmsg *e)
{
	static const char q_same[] =
		"SELECT release = $release AND selector = $selector AND was_held = $is_held"
		" AND accepts_served = $accepts_served AND timeout_s = $timeout_s AS yes"
		" FROM rollout WHERE uid = $uid";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_same);

	bind_i64(st, "release", row->release);
	bind_text(st, "selector", row->selector);
	bind_i64(st, "is_held", row->is_held);
	bind_i64(st, "accepts_served", row->accepts_served);
	bind_i64(st, "timeout_s", row->timeout_s);
	bind_text(st, "uid", row->uid);
	return stmt_yes(st, same, e);
}

static enum ota_err add(struct db *db, const struct rollout_row *row, int64_t *id, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO rollout (revision, uid, release, selector, is_held, "
				    "was_held, accepts_served, timeout_s, state,"
				    " created_by, created_at, cursor) VALUES (1, $uid, $release, $selector, "
				    "$is_held, $is_held, $accepts_served,"
				    " $timeout_s, 0, $created_by, $created_at,"
				    " CASE WHEN $is_growing THEN $cursor END) RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_text(st, "uid", row->uid);
	bind_i64(st, "release", row->release);
	bind_text(st, "selector", row->selector);
	bind_i64(st, "is_held", row->is_held);
	bind_i64(st, "accepts_served", row->accepts_served);
	bind_i64(st, "timeout_s", row->timeout_s);
	bind_text(st, "created_by", row->created_by);
	bind_i64(st, "created_at", row->created_at);
	bind_i64(st, "is_growing", row->is_growing);
	bind_i64(st, "cursor", row->cursor);
	return stmt_id(st, id, e);
}

enum ota_err rollout_insert(
	struct db *db, const struct rollout_row *row, int64_t *id, bool *is_new, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct selector selector;
	struct rollout_row old;
	struct release_row release;
	int64_t got = 0;
	bool same = false;
	enum ota_err err;

	arena_init(&mem, 128 * 1024);
	if (!uid_is_valid(row->uid))
		return errmsg_fail(e, OTA_INVALID, "bad rollout id '%s'", row->uid);
	err = selector_parse(row->selector, &selector, e);
	if (err == OTA_OK)
		err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	err = rollout_load_uid(db, row->uid, &mem, &old, e);
	if (err == OTA_OK) {
		err = is_same(db, row, &same, e);
		if (err != OTA_OK)
			return err;
		if (!same)
			return errmsg_fail(e, OTA_CONFLICT, "rollout '%s' is another one", row->uid);
		*id = old.id;
		if (is_new)
			*is_new = false;
		return OTA_OK;
	}
	if (err == OTA_NOT_FOUND)
		err = release_load(db, row->release, &mem, &release, e);
	if (err != OTA_OK)
		return err;
	if (release.manifest == 0 || !release.is_complete)
		return errmsg_fail(e, OTA_STATE, "release '%s' lacks signatures", release.version);
	if (release.retired_at)
		return errmsg_fail(e, OTA_STATE, "release '%s' is retired", release.version);
	err = add(db, row, &got, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ROLLOUT, got, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err != OTA_OK)
		return err;
	*id = got;
	if (is_new)
		*is_new = true;
	return OTA_OK;
}

static enum ota_err revision_check(int64_t if_revision, const struct rollout_row *row, struct errmsg *e)
{
	if (if_revision && if_revision != row->revision)
		return errmsg_fail(e, OTA_CONFLICT, "rollout '%s' was changed meanwhile", row->uid);
	return OTA_OK;
}

enum ota_err rollout_set_state(
	struct db *db, int64_t id, enum rollout_state state, int64_t now, struct errmsg *e)
{
	static const char q_state[] =
		"UPDATE rollout SET revision = revision + 1, state = $state, ended_at "
		"= $ended_at, cursor = CASE WHEN $state = 0 THEN cursor END,"
		" doing = CASE WHEN $state = 2 THEN 1 ELSE doing END,"
		" doing_cursor = CASE WHEN $state = 2 THEN 0 ELSE doing_cursor END WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_state);
	enum ota_err err;

	bind_i64(st, "state", state);
	bind_time(st, "ended_at", state == ROLLOUT_RUNNING ? 0 : now);
	bind_i64(st, "id", id);
	err = stmt_done(st, e);
	return err == OTA_OK ? change_add(db, CHANGE_ROLLOUT, id, e) : err;
}

enum ota_err rollout_settle(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	static const char q_settled[] = "SELECT EXISTS (SELECT 1 FROM rollout WHERE id = $id AND state = 0"
					" AND cursor IS NULL AND doing = 0)"
					" AND NOT EXISTS (SELECT 1 FROM assignment WHERE rollout = $id"
					" AND ended_at IS NULL) AS yes";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_settled);
	bool is_settled;
	enum ota_err err;

	bind_i64(st, "id", id);
	err = stmt_yes(st, &is_settled, e);
	return err == OTA_OK && is_settled ? rollout_set_state(db, id, ROLLOUT_DONE, now, e) : err;
}

enum ota_err rollout_grown(
	struct db *db, int64_t id, int64_t cursor, bool is_whole, int64_t now, struct errmsg *e)
{
	static const char q_grown[] = "UPDATE rollout SET"
				      " cursor = CASE WHEN $is_whole OR state <> 0 THEN NULL ELSE $cursor END"
				      " WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err = db_begin(db, &tx, e);

	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_grown);

		bind_i64(st, "is_whole", is_whole);
		bind_i64(st, "cursor", cursor);
		bind_i64(st, "id", id);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK && is_whole)
		err = change_add(db, CHANGE_ROLLOUT, id, e);
	if (err == OTA_OK && is_whole)
		err = rollout_settle(db, id, now, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err rollout_load_growing(
	struct db *db, int64_t after, struct arena *mem, struct rollout_row *out, struct errmsg *e)
{
	static const char q_load[] =
		"SELECT " COLUMNS
		" FROM rollout WHERE cursor IS NOT NULL AND id > $after ORDER BY id LIMIT 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "after", after);
	return row_load(st, mem, fill, "rollout", out, e);
}

enum ota_err rollout_next_doing(struct db *db, int64_t after, int64_t *id, struct errmsg *e)
{
	static const char q_next[] =
		"SELECT id FROM rollout WHERE doing <> 0 AND id > $after ORDER BY id LIMIT 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_next);

	bind_i64(st, "after", after);
	return stmt_id(st, id, e);
}

enum ota_err rollout_end(struct db *db, int64_t id, int64_t if_revision, enum rollout_state state,
	int64_t now, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct rollout_row row;
	enum ota_err err;

	arena_init(&mem, 64 * 1024);
	if (state != ROLLOUT_DONE && state != ROLLOUT_CANCELLED)
		return errmsg_fail(e, OTA_INVALID, "a rollout ends as done or cancelled");
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = rollout_load(db, id, &mem, &row, e);
	if (err == OTA_OK)
		err = revision_check(if_revision, &row, e);
	if (err != OTA_OK || row.state == state)
		return err;
	/* A retry runs it again, but not before it has got to a device. */
	if (row.state != ROLLOUT_RUNNING && (row.doing != ROLLOUT_RETRYING || state != ROLLOUT_CANCELLED))
		return errmsg_fail(e, OTA_STATE, "rollout '%s' has ended already", row.uid);
	err = rollout_set_state(db, id, state, now, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err rollout_unhold(struct db *db, int64_t id, int64_t if_revision, struct errmsg *e)
{
	static const char q_unhold[] =
		"UPDATE rollout SET revision = revision + 1, is_held = 0 WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct rollout_row row;
	enum ota_err err;

	arena_init(&mem, 64 * 1024);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = rollout_load(db, id, &mem, &row, e);
	if (err == OTA_OK)
		err = revision_check(if_revision, &row, e);
	if (err == OTA_OK && row.state != ROLLOUT_RUNNING && row.doing != ROLLOUT_RETRYING)
		return errmsg_fail(e, OTA_STATE, "rollout '%s' has ended", row.uid);
	if (err != OTA_OK || !row.is_held)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_unhold);

		bind_i64(st, "id", id);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ROLLOUT, id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

static enum ota_err count_gone(struct db *db, int64_t id, struct rollout_counts *counts, struct errmsg *e)
{
	/* In this order: from the push's own rows on. The CASE keeps SQLite from looking for later rows of
	 * those that run what they should, which are most. */
	static const char q_gone[] =
		"SELECT count(*) AS n_gone, coalesce(sum(" ASSIGNMENT_IS_DRIFTED
		"), 0) AS n_drifted FROM assignment a CROSS JOIN device_said s ON s.device = a.device"
		" CROSS JOIN manifest m ON m.id = a.manifest CROSS JOIN device d ON d.id = s.device"
		" WHERE a.rollout = $id AND a.state = 5"
		" AND CASE WHEN s.running_digest IS NOT m.digest THEN NOT EXISTS (SELECT 1 FROM assignment b"
		" WHERE b.device = a.device AND b.rollout = a.rollout AND b.id > a.id) ELSE 0 END";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_gone);
	enum ota_err err;

	bind_i64(st, "id", id);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	counts->n_gone = col_u64(st, "n_gone");
	counts->n_drifted = col_u64(st, "n_drifted");
	return stmt_status(st, e);
}

enum ota_err rollout_count(struct db *db, int64_t id, struct rollout_counts *out, struct errmsg *e)
{
	/* The columns beside max() are those of its row. */
	static const char q_count[] =
		"SELECT state, is_queued, count(*) AS n FROM (SELECT max(id), state, is_queued"
		" FROM assignment WHERE rollout = $id GROUP BY device) GROUP BY state, is_queued";
	struct rollout_counts counts = {0};
	enum ota_err err;

	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_count);

		bind_i64(st, "id", id);
		while ((err = stmt_row(st, e)) == OTA_OK) {
			uint64_t n = col_u64(st, "n");

			counts.by_state[col_enum(st, "state", ASSIGN_STATES - 1)] += n;
			counts.n_queued += col_bool(st, "is_queued") ? n : 0;
			counts.total += n;
		}
		if (err != OTA_NOT_FOUND)
			return err;
		err = stmt_status(st, e);
	}
	if (err == OTA_OK && counts.by_state[ASSIGN_RUNNING])
		err = count_gone(db, id, &counts, e);
	if (err == OTA_OK)
		*out = counts;
	return err;
}
