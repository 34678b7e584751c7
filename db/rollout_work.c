#include "db/assignment.h"
#include "db/change.h"
#include "db/event.h"
#include "db/list.h"
#include "db/rollout_end.h"
#include "db/stmt.h"

enum { WITHDRAW_PIECE = 100 };

static enum ota_err task_fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct rollout_task row = {.id = col_i64(st, "id"), .device = col_i64(st, "device")};
	enum ota_err err = stmt_status(st, e);

	(void)mem;
	if (err == OTA_OK)
		*(struct rollout_task *)out = row;
	return err;
}

static enum ota_err tasks_run(struct stmt *st, int64_t id, const struct db_page *page, struct arena *mem,
	struct rollout_tasks *out, struct errmsg *e)
{
	list_bind(st, page);
	bind_i64(st, "rollout", id);
	return list_run(st, page, mem, sizeof *out->rows, task_fill, LIST_OUT(out), e);
}

enum ota_err rollout_list_open(struct db *db, int64_t id, const struct db_page *page, struct arena *mem,
	struct rollout_tasks *out, struct errmsg *e)
{
	static const char q_open[] = "SELECT id, device FROM assignment WHERE rollout = $rollout"
				     " AND ended_at IS NULL AND id > $cursor ORDER BY id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_open);

	return tasks_run(st, id, page, mem, out, e);
}

enum ota_err rollout_list_tasks(struct db *db, int64_t id, int64_t last, const struct db_page *page,
	struct arena *mem, struct rollout_tasks *out, struct errmsg *e)
{
	/* By id and not by the index of rollouts, which would be sorted anew for every page. */
	static const char q_tasks[] =
		"SELECT id, device FROM assignment WHERE +rollout = $rollout AND id > $cursor AND id <= $end"
		" ORDER BY id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_tasks);
	int64_t end = last - page->cursor > ROLLOUT_LOOK ? page->cursor + ROLLOUT_LOOK : last;
	struct rollout_tasks got;
	enum ota_err err;

	bind_i64(st, "end", end);
	err = tasks_run(st, id, page, mem, &got, e);
	if (err != OTA_OK)
		return err;
	if (got.next == 0 && end < last)
		got.next = end;
	*out = got;
	return OTA_OK;
}

enum ota_err rollout_span(struct db *db, int64_t id, int64_t *first, int64_t *last, struct errmsg *e)
{
	static const char q_span[] = "SELECT coalesce(min(id), 0) AS first, coalesce(max(id), 0) AS last"
				     " FROM assignment WHERE rollout = $rollout";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_span);
	enum ota_err err;

	bind_i64(st, "rollout", id);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	*first = col_i64(st, "first");
	*last = col_i64(st, "last");
	return stmt_status(st, e);
}

enum ota_err rollout_has(struct db *db, int64_t id, int64_t device, bool *has, struct errmsg *e)
{
	static const char q_has[] = "SELECT EXISTS (SELECT 1 FROM assignment WHERE rollout = $rollout"
				    " AND device = $device) AS yes";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_has);

	bind_i64(st, "rollout", id);
	bind_i64(st, "device", device);
	return stmt_yes(st, has, e);
}

static enum ota_err cancel_one(struct db *db, const struct rollout_task *task, int64_t now,
	struct rollout_cancelled *out, struct errmsg *e)
{
	enum assignment_cancel what;
	struct event_row event = {.device = task->device, .at = now, .assignment = task->id};
	int64_t until = 0;
	enum ota_err err = assignment_cancel(db, task->id, now, &what, &until, e);

	if (err != OTA_OK)
		return err;
	switch (what) {
	case ASSIGNMENT_WITHDRAWN:
		event.kind = "cancelled";
		event.text = "its push was cancelled, in time";
		break;
	case ASSIGNMENT_COMMITTED:
		event.kind = "cancel-late";
		event.text = "its push was cancelled too late: nothing takes it back here any more";
		break;
	case ASSIGNMENT_UNSURE:
		event.kind = "cancelling";
		event.text = "its push was cancelled, but its last ticket may still install it";
		break;
	}
	err = event_add(db, &event, e);
	if (err != OTA_OK)
		return err;
	out->n_withdrawn += what == ASSIGNMENT_WITHDRAWN;
	out->n_committed += what == ASSIGNMENT_COMMITTED;
	out->n_unsure += what == ASSIGNMENT_UNSURE;
	if (what == ASSIGNMENT_UNSURE && until > out->until)
		out->until = until;
	return OTA_OK;
}

enum ota_err rollout_retry(
	struct db *db, int64_t id, int64_t cursor, int64_t last, const char *by, struct errmsg *e)
{
	static const char q_retry[] = "UPDATE rollout SET doing = 2, doing_cursor = $cursor,"
				      " doing_last = $last, doing_by = $by WHERE id = $id AND state <> 2";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err = db_begin(db, &tx, e);

	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_retry);

		bind_i64(st, "cursor", cursor);
		bind_i64(st, "last", last);
		bind_text(st, "by", by);
		bind_i64(st, "id", id);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ROLLOUT, id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

static enum ota_err did_store(
	struct db *db, int64_t id, enum rollout_doing what, int64_t cursor, bool *is_end, struct errmsg *e)
{
	static const char q_did[] = "UPDATE rollout SET doing_cursor = $cursor,"
				    " doing = CASE WHEN $cursor = 0 THEN 0 ELSE doing END"
				    " WHERE id = $id AND doing = $what RETURNING doing = 0 AS is_end";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_did);
	enum ota_err err;

	bind_i64(st, "cursor", cursor);
	bind_i64(st, "id", id);
	bind_i64(st, "what", what);
	err = stmt_row(st, e);
	*is_end = false;
	if (err == OTA_NOT_FOUND)
		return OTA_OK; /* it was through already */
	if (err != OTA_OK)
		return err;
	*is_end = col_bool(st, "is_end");
	return stmt_status(st, e);
}

enum ota_err rollout_did(
	struct db *db, int64_t id, enum rollout_doing what, int64_t cursor, int64_t now, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	bool is_end = false;
	enum ota_err err = db_begin(db, &tx, e);

	if (err == OTA_OK)
		err = did_store(db, id, what, cursor, &is_end, e);
	if (err == OTA_OK && is_end)
		err = change_add(db, CHANGE_ROLLOUT, id, e);
	if (err == OTA_OK && is_end)
		err = rollout_settle(db, id, now, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err rollout_withdraw(struct db *db, int64_t id, int64_t now, int64_t *cursor,
	struct rollout_cancelled *out, struct errmsg *e)
{
	const struct db_page page = {.cursor = *cursor, .limit = WITHDRAW_PIECE};
	struct rollout_cancelled done = *out;
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct rollout_tasks list = {0};
	enum ota_err err;

	arena_init(&mem, 64 * 1024);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = rollout_list_open(db, id, &page, &mem, &list, e);
	for (size_t i = 0; err == OTA_OK && i < list.n; i++)
		err = cancel_one(db, &list.rows[i], now, &done, e);
	if (err == OTA_OK)
		err = rollout_did(db, id, ROLLOUT_CANCELLING, list.next, now, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err != OTA_OK)
		return err;
	*cursor = list.next;
	*out = done;
	return OTA_OK;
}
