#include "db/identity.h"

#include <ctype.h>
#include <string.h>

#include "db/change.h"
#include "db/list.h"
#include "db/stmt.h"

#define COLUMNS "id, device, kind, value, credential, link_id, created_at, revoked_at"

enum { VALUE_MAX = 256, CREDENTIAL_MAX = 256 };

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct identity_row row = {
		.id = col_i64(st, "id"),
		.device = col_i64(st, "device"),
		.kind = (enum identity_kind)col_enum(st, "kind", IDENTITY_KIND_MAX),
		.value = col_text(st, "value", mem),
		.created_at = col_i64(st, "created_at"),
		.revoked_at = col_time(st, "revoked_at"),
	};
	enum ota_err err;

	row.credential = col_blob(st, "credential", mem, &row.credential_len);
	(void)col_blob_exact(st, "link_id", row.link_id, sizeof row.link_id);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct identity_row *)out = row;
	return err;
}

enum ota_err identity_load(struct db *db, enum identity_kind kind, const char *value, struct arena *mem,
	struct identity_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM identity WHERE kind = $kind AND value = $value";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "kind", kind);
	bind_text(st, "value", value);
	return row_load(st, mem, fill, "identity", out, e);
}

enum ota_err identity_load_link(struct db *db, const uint8_t link_id[static 16], struct arena *mem,
	struct identity_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM identity WHERE link_id = $link_id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_blob(st, "link_id", link_id, 16);
	return row_load(st, mem, fill, "identity", out, e);
}

enum ota_err identity_insert(struct db *db, const struct identity_row *row, int64_t *id, struct errmsg *e)
{
	static const char q_add[] =
		"INSERT INTO identity (device, kind, value, credential, link_id, created_at)"
		" VALUES ($device, $kind, $value, $credential, $link_id, $created_at) RETURNING id";
	size_t len = strlen(row->value);
	AUTO(tx) struct db_tx tx = {0};
	int64_t got = 0;
	enum ota_err err;

	if (len < 1 || len > VALUE_MAX || row->credential_len > CREDENTIAL_MAX)
		return errmsg_fail(e, OTA_INVALID, "bad identity");
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

		bind_i64(st, "device", row->device);
		bind_i64(st, "kind", row->kind);
		bind_text(st, "value", row->value);
		bind_blob(st, "credential", row->credential, row->credential_len);
		bind_blob(st, "link_id", row->link_id, sizeof row->link_id);
		bind_i64(st, "created_at", row->created_at);
		err = stmt_id(st, &got, e);
	}
	if (err == OTA_EXISTS)
		return errmsg_fail(e, err, "this identity belongs to a device already");
	if (err == OTA_CONFLICT)
		return errmsg_fail(e, OTA_NOT_FOUND, "no such device");
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, row->device, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*id = got;
	return err;
}

/* Run an UPDATE ... RETURNING device AS id, and append the device's change. Ends the statement. */
static enum ota_err change_one(struct db *db, struct db_tx *tx, struct stmt *st, struct errmsg *e)
{
	int64_t device = 0;
	enum ota_err err = stmt_id(st, &device, e);

	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no such identity");
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, device, e);
	return err == OTA_OK ? db_commit(tx, e) : err;
}

enum ota_err identity_set_credential(
	struct db *db, int64_t id, const uint8_t *credential, size_t len, struct errmsg *e)
{
	static const char q_set[] =
		"UPDATE identity SET credential = $credential WHERE id = $id RETURNING device AS id";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	if (len > CREDENTIAL_MAX)
		return errmsg_fail(e, OTA_INVALID, "bad credential");
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	AUTO(stmt) struct stmt *st = stmt_get(db, q_set);
	bind_blob(st, "credential", credential, len);
	bind_i64(st, "id", id);
	return change_one(db, &tx, st, e);
}

enum ota_err identity_revoke(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	static const char q_revoke[] =
		"UPDATE identity SET revoked_at = $now WHERE id = $id RETURNING device AS id";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	AUTO(stmt) struct stmt *st = stmt_get(db, q_revoke);
	bind_time(st, "now", now);
	bind_i64(st, "id", id);
	return change_one(db, &tx, st, e);
}

enum ota_err identity_list(struct db *db, int64_t device, const struct db_page *page, struct arena *mem,
	struct identity_list *out, struct errmsg *e)
{
	static const char q_list[] = "SELECT " COLUMNS " FROM identity WHERE id > $cursor"
				     " AND ($device = 0 OR device = $device) ORDER BY id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);

	list_bind(st, page);
	bind_i64(st, "device", device);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}

enum ota_err identity_mac(const char *typed, char out[static 13])
{
	char digits[13];
	size_t n = 0;

	for (const char *p = typed; *p; p++) {
		if (isxdigit((unsigned char)*p)) {
			if (n == 12)
				return OTA_INVALID;
			digits[n++] = (char)tolower((unsigned char)*p);
		} else if (!strchr(":-.", *p) || p == typed || !isxdigit((unsigned char)p[1])) {
			return OTA_INVALID;
		}
	}
	if (n != 12)
		return OTA_INVALID;
	digits[n] = '\0';
	memcpy(out, digits, sizeof digits);
	return OTA_OK;
}
