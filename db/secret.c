/* The half of enroll.h about secrets' ids. */
#include "db/secret.h"

#include <string.h>

#include "db/change.h"
#include "db/list.h"
#include "db/stmt.h"

#define COLUMNS                                                                                              \
	"id, secret_id, board, note, name, serial, uses_max, uses, is_approving, created_at, created_by, "   \
	"expires_at,"                                                                                        \
	" revoked_at"

enum { SERIAL_LEN_MAX = 32 };

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct secret_row row = {
		.id = col_i64(st, "id"),
		.board = col_i64(st, "board"),
		.note = col_text(st, "note", mem),
		.name = col_text(st, "name", mem),
		.uses_max = col_u32(st, "uses_max"),
		.uses = col_u32(st, "uses"),
		.is_approving = col_bool(st, "is_approving"),
		.created_at = col_i64(st, "created_at"),
		.created_by = col_text(st, "created_by", mem),
		.expires_at = col_time(st, "expires_at"),
		.revoked_at = col_time(st, "revoked_at"),
	};
	enum ota_err err;

	(void)col_blob_exact(st, "secret_id", row.secret_id, sizeof row.secret_id);
	row.serial = col_blob(st, "serial", mem, &row.serial_len);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct secret_row *)out = row;
	return err;
}

enum ota_err secret_load(struct db *db, const uint8_t secret_id[static 8], struct arena *mem,
	struct secret_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM enroll_secret WHERE secret_id = $secret_id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_blob(st, "secret_id", secret_id, 8);
	return row_load(st, mem, fill, "enrollment secret", out, e);
}

static enum ota_err name_is_free(struct db *db, const char *name, int64_t now, struct errmsg *e)
{
	static const char q_taken[] =
		"SELECT EXISTS (SELECT 1 FROM device WHERE name = $name)"
		" OR EXISTS (SELECT 1 FROM enroll_secret WHERE name = $name AND uses < uses_max"
		" AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $now)) AS yes";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_taken);
	bool is_taken;
	enum ota_err err;

	bind_text(st, "name", name);
	bind_i64(st, "now", now);
	err = stmt_yes(st, &is_taken, e);
	if (err == OTA_OK && is_taken)
		return errmsg_fail(e, OTA_EXISTS, "device '%s' exists already, or is provisioned", name);
	return err;
}

/* A device's id comes of its vendor and its serial, whatever its board is. */
static enum ota_err serial_is_free(struct db *db, const struct secret_row *row, struct errmsg *e)
{
	static const char q_taken[] =
		"SELECT b.name AS board, d.name AS device FROM device d JOIN board b ON b.id = d.board"
		" WHERE d.serial = $serial AND b.id <> $board"
		" AND b.vendor_id = (SELECT vendor_id FROM board WHERE id = $board)"
		" UNION ALL SELECT b.name, '' FROM enroll_secret s JOIN board b ON b.id = s.board"
		" WHERE s.serial = $serial AND b.id <> $board"
		" AND b.vendor_id = (SELECT vendor_id FROM board WHERE id = $board)"
		" AND s.uses < s.uses_max AND s.revoked_at IS NULL"
		" AND (s.expires_at IS NULL OR s.expires_at > $now) LIMIT 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_taken);
	char board[DB_NAME_MAX + 1], device[DB_NAME_MAX + 1];
	enum ota_err err;

	bind_blob(st, "serial", row->serial, row->serial_len);
	bind_i64(st, "board", row->board);
	bind_i64(st, "now", row->created_at);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err == OTA_NOT_FOUND ? OTA_OK : err;
	col_text_buf(st, "board", board, sizeof board);
	col_text_buf(st, "device", device, sizeof device);
	err = stmt_status(st, e);
	if (err != OTA_OK)
		return err;
	return device[0]
		       ? errmsg_fail(e, OTA_STATE, "device '%s' of board '%s' has this serial", device, board)
		       : errmsg_fail(e, OTA_STATE,
				 "a provisioning file for board '%s', not used yet, has this serial", board);
}

static enum ota_err add(struct db *db, const struct secret_row *row, int64_t *id, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO enroll_secret (secret_id, board, note, name, serial, "
				    "uses_max, uses, is_approving, created_at,"
				    " created_by, expires_at) VALUES ($secret_id, $board, $note, $name, "
				    "$serial, $uses_max, 0, $is_approving,"
				    " $created_at, $created_by, $expires_at) RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_blob(st, "secret_id", row->secret_id, sizeof row->secret_id);
	bind_i64(st, "board", row->board);
	bind_text(st, "note", row->note ? row->note : "");
	bind_text(st, "name", row->name ? row->name : "");
	bind_blob(st, "serial", row->serial, row->serial_len);
	bind_i64(st, "uses_max", row->uses_max);
	bind_i64(st, "is_approving", row->is_approving);
	bind_i64(st, "created_at", row->created_at);
	bind_text(st, "created_by", row->created_by);
	bind_time(st, "expires_at", row->expires_at);
	return stmt_id(st, id, e);
}

enum ota_err secret_insert(struct db *db, const struct secret_row *row, int64_t *id, struct errmsg *e)
{
	bool has_name = row->name && row->name[0];
	AUTO(tx) struct db_tx tx = {0};
	int64_t got = 0;
	enum ota_err err;

	if (has_name && !limit_name_is_valid(row->name))
		return errmsg_fail(e, OTA_INVALID, "bad device name '%s'", row->name);
	if (row->serial && (row->serial_len < 1 || row->serial_len > SERIAL_LEN_MAX))
		return errmsg_fail(e, OTA_INVALID, "a serial has 1 to %d bytes", SERIAL_LEN_MAX);
	if (row->uses_max == 0 || (row->note && strlen(row->note) > DB_TEXT_MAX))
		return errmsg_fail(
			e, OTA_INVALID, "an enrollment secret has at least one use and a short note");
	err = db_begin(db, &tx, e);
	if (err == OTA_OK && has_name)
		err = name_is_free(db, row->name, row->created_at, e);
	if (err == OTA_OK && row->serial)
		err = serial_is_free(db, row, e);
	if (err != OTA_OK)
		return err;
	err = add(db, row, &got, e);
	if (err == OTA_EXISTS)
		return errmsg_fail(e, err, "this enrollment secret exists already");
	if (err == OTA_CONFLICT)
		return errmsg_fail(e, OTA_NOT_FOUND, "no such board");
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ENROLL, got, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*id = got;
	return err;
}

enum ota_err secret_use(struct db *db, int64_t id, struct errmsg *e)
{
	static const char q_use[] =
		"UPDATE enroll_secret SET uses = uses + 1 WHERE id = $id AND uses < uses_max";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_use);
	enum ota_err err;

	bind_i64(st, "id", id);
	err = stmt_done(st, e);
	if (err == OTA_OK && stmt_changes(st) == 0)
		return errmsg_fail(e, OTA_DENIED, "the enrollment secret is used up");
	return err == OTA_OK ? change_add(db, CHANGE_ENROLL, id, e) : err;
}

enum ota_err secret_forget(struct db *db, int64_t board, int64_t now, struct errmsg *e)
{
	static const char q_forget[] =
		"DELETE FROM enroll_secret WHERE board = $board"
		" AND (uses >= uses_max OR revoked_at IS NOT NULL OR expires_at <= $now)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_forget);

	bind_i64(st, "board", board);
	bind_i64(st, "now", now);
	return stmt_done(st, e);
}

enum ota_err secret_revoke(struct db *db, const uint8_t secret_id[static 8], int64_t now, struct errmsg *e)
{
	static const char q_revoke[] = "UPDATE enroll_secret SET revoked_at = coalesce(revoked_at, $now) "
				       "WHERE secret_id = $secret_id RETURNING id";
	AUTO(tx) struct db_tx tx = {0};
	int64_t id = 0;
	enum ota_err err;

	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_revoke);

		bind_i64(st, "now", now);
		bind_blob(st, "secret_id", secret_id, 8);
		err = stmt_id(st, &id, e);
	}
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no such enrollment secret");
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ENROLL, id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err secret_list(struct db *db, const struct db_page *page, struct arena *mem,
	struct secret_list *out, struct errmsg *e)
{
	static const char q_list[] = "SELECT " COLUMNS
				     " FROM enroll_secret WHERE ($cursor = 0 OR id < $cursor)"
				     " ORDER BY id DESC LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);

	list_bind(st, page);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}

enum ota_err secret_list_unused(struct db *db, const char *name, const struct db_page *page,
	struct arena *mem, struct secret_list *out, struct errmsg *e)
{
	static const char q_unused[] = "SELECT " COLUMNS
				       " FROM enroll_secret WHERE name = $name AND revoked_at IS NULL"
				       " AND uses = 0 AND ($cursor = 0 OR id < $cursor)"
				       " ORDER BY id DESC LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_unused);

	list_bind(st, page);
	bind_text(st, "name", name);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}
