#include "db/event.h"

#include "db/list.h"
#include "db/stmt.h"

static enum ota_err trim(struct db *db, int64_t device, struct errmsg *e)
{
	static const char q_trim[] =
		"DELETE FROM event WHERE device = $device AND id <="
		" (SELECT id FROM event WHERE device = $device ORDER BY id DESC LIMIT 1 OFFSET $keep)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_trim);

	bind_i64(st, "device", device);
	bind_i64(st, "keep", EVENT_PER_DEVICE_MAX);
	return stmt_done(st, e);
}

enum ota_err event_add(struct db *db, const struct event_row *row, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO event (device, at, kind, line, assignment)"
				    " VALUES ($device, $at, $kind, $line, $assignment)";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

		bind_i64(st, "device", row->device);
		bind_i64(st, "at", row->at);
		bind_text(st, "kind", row->kind);
		bind_text(st, "line", row->text);
		if (row->assignment)
			bind_i64(st, "assignment", row->assignment);
		else
			bind_null(st, "assignment");
		err = stmt_done(st, e);
	}
	if (err == OTA_CONFLICT)
		return errmsg_fail(e, OTA_NOT_FOUND, "no such device");
	if (err == OTA_OK)
		err = trim(db, row->device, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct event_row row = {
		.id = col_i64(st, "id"),
		.device = col_i64(st, "device"),
		.at = col_i64(st, "at"),
		.kind = col_text(st, "kind", mem),
		.text = col_text(st, "line", mem),
		.assignment = col_i64_or(st, "assignment", 0),
	};
	enum ota_err err = stmt_status(st, e);

	if (err == OTA_OK)
		*(struct event_row *)out = row;
	return err;
}

enum ota_err event_list(struct db *db, int64_t device, const struct db_page *page, struct arena *mem,
	struct event_list *out, struct errmsg *e)
{
	static const char q_all[] = "SELECT id, device, at, kind, line, assignment FROM event"
				    " WHERE ($cursor = 0 OR id < $cursor) ORDER BY id DESC LIMIT $limit";
	static const char q_one[] =
		"SELECT id, device, at, kind, line, assignment FROM event"
		" WHERE device = $device AND ($cursor = 0 OR id < $cursor) ORDER BY id DESC LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, device ? q_one : q_all);

	list_bind(st, page);
	if (device)
		bind_i64(st, "device", device);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}
