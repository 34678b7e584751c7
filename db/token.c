#include "db/token.h"

#include <string.h>

#include "db/change.h"
#include "db/list.h"
#include "db/stmt.h"
#include "proto/hex.h"

#define COLUMNS "id, uid, name, role, sha256, created_at, created_by, expires_at, used_at, revoked_at"

enum { USED_EVERY_S = 60 };

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct token_row row = {
		.id = col_i64(st, "id"),
		.name = col_text(st, "name", mem),
		.role = (enum token_role)col_enum(st, "role", TOKEN_ROLE_MAX),
		.created_at = col_i64(st, "created_at"),
		.created_by = col_text(st, "created_by", mem),
		.expires_at = col_time(st, "expires_at"),
		.used_at = col_time(st, "used_at"),
		.revoked_at = col_time(st, "revoked_at"),
	};
	enum ota_err err;

	col_text_buf(st, "uid", row.uid, sizeof row.uid);
	(void)col_blob_exact(st, "sha256", row.sha256, sizeof row.sha256);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct token_row *)out = row;
	return err;
}

enum ota_err token_insert(struct db *db, const struct token_row *row, int64_t *id, struct errmsg *e)
{
	static const char q_add[] =
		"INSERT INTO token (uid, name, role, sha256, created_at, created_by, expires_at)"
		" VALUES ($uid, $name, $role, $sha256, $created_at, $created_by, $expires_at)"
		" RETURNING id";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;
	int64_t got = 0;

	if (!limit_name_is_valid(row->name))
		return errmsg_fail(e, OTA_INVALID, "bad token name '%s'", row->name);
	if (!hex_is_lower(row->uid, 16))
		return errmsg_fail(e, OTA_INVALID, "a token's id is 16 hex digits");
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

		bind_text(st, "uid", row->uid);
		bind_text(st, "name", row->name);
		bind_i64(st, "role", row->role);
		bind_blob(st, "sha256", row->sha256, sizeof row->sha256);
		bind_i64(st, "created_at", row->created_at);
		bind_text(st, "created_by", row->created_by);
		bind_time(st, "expires_at", row->expires_at);
		err = stmt_id(st, &got, e);
		if (err == OTA_EXISTS)
			return errmsg_fail(e, err, "token '%s' exists already", row->name);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_TOKEN, got, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*id = got;
	return err;
}

enum ota_err token_load(struct db *db, int64_t id, struct arena *mem, struct token_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM token WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return row_load(st, mem, fill, "token", out, e);
}

enum ota_err token_find(
	struct db *db, const char *name_or_uid, struct arena *mem, struct token_row *out, struct errmsg *e)
{
	static const char q_find[] = "SELECT " COLUMNS " FROM token"
				     " WHERE (name = $text AND revoked_at IS NULL) OR uid = $text"
				     " ORDER BY name = $text DESC LIMIT 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_find);

	bind_text(st, "text", name_or_uid);
	return row_load(st, mem, fill, "token", out, e);
}

bool token_is_valid(const struct token_row *row, int64_t now)
{
	return row->revoked_at == 0 && (row->expires_at == 0 || now < row->expires_at);
}

enum ota_err token_used(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	static const char q_used[] = "UPDATE token SET used_at = $now WHERE id = $id"
				     " AND (used_at IS NULL OR used_at <= $now - $every)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_used);

	bind_i64(st, "now", now);
	bind_i64(st, "id", id);
	bind_i64(st, "every", USED_EVERY_S);
	return stmt_done(st, e);
}

/* Administrators that would be left without `id`. */
static enum ota_err admins_but(struct db *db, int64_t id, int64_t now, uint64_t *n, struct errmsg *e)
{
	static const char q_admins[] =
		"SELECT count(*) AS n FROM token WHERE id <> $id AND role = $admin"
		" AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $now)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_admins);

	bind_i64(st, "id", id);
	bind_i64(st, "admin", TOKEN_ADMIN);
	bind_i64(st, "now", now);
	return stmt_count(st, n, e);
}

static enum ota_err end_token(struct db *db, int64_t id, bool may_be_last, int64_t now, struct errmsg *e)
{
	static const char q_revoke[] = "UPDATE token SET revoked_at = $now WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct token_row row;
	uint64_t n_admins = 0;
	enum ota_err err;

	arena_init(&mem, 16 * 1024);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = token_load(db, id, &mem, &row, e);
	if (err != OTA_OK)
		return err;
	if (row.revoked_at)
		return OTA_OK;
	if (row.role == TOKEN_ADMIN && token_is_valid(&row, now) && !may_be_last) {
		err = admins_but(db, id, now, &n_admins, e);
		if (err == OTA_OK && n_admins == 0)
			return errmsg_fail(e, OTA_STATE, "token '%s' is the last administrator's", row.name);
	}
	if (err == OTA_OK) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_revoke);

		bind_i64(st, "now", now);
		bind_i64(st, "id", id);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_TOKEN, id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err token_revoke(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	return end_token(db, id, false, now, e);
}

enum ota_err token_revoke_even_last(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	return end_token(db, id, true, now, e);
}

enum ota_err token_list(struct db *db, const struct db_page *page, struct arena *mem, struct token_list *out,
	struct errmsg *e)
{
	static const char q_list[] = "SELECT " COLUMNS
				     " FROM token WHERE id > $cursor ORDER BY id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);

	list_bind(st, page);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}

enum ota_err token_list_valid(struct db *db, int64_t now, const struct db_page *page, struct arena *mem,
	struct token_list *out, struct errmsg *e)
{
	static const char q_valid[] = "SELECT " COLUMNS
				      " FROM token WHERE id > $cursor AND revoked_at IS NULL"
				      " AND (expires_at IS NULL OR expires_at > $now)"
				      " ORDER BY id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_valid);

	list_bind(st, page);
	bind_i64(st, "now", now);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}
