#include "db/rootdoc.h"

#include <string.h>

#include "db/change.h"
#include "db/list.h"
#include "db/stmt.h"

#define COLUMNS "version, document, sha256, created_at, created_by"

static enum ota_err fill(struct stmt *st, struct arena *mem, struct rootdoc_row *out, struct errmsg *e)
{
	struct rootdoc_row row = {0};
	enum ota_err err;

	row.version = col_u32(st, "version");
	row.document = col_blob(st, "document", mem, &row.document_len);
	(void)col_blob_exact(st, "sha256", row.sha256, sizeof row.sha256);
	row.created_at = col_i64(st, "created_at");
	row.created_by = col_text(st, "created_by", mem);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*out = row;
	return err;
}

enum ota_err rootdoc_load(
	struct db *db, uint32_t version, struct arena *mem, struct rootdoc_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM root_document WHERE version = $version";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);
	enum ota_err err;

	bind_i64(st, "version", version);
	err = stmt_row(st, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no root %u", version);
	return err == OTA_OK ? fill(st, mem, out, e) : err;
}

enum ota_err rootdoc_newest(struct db *db, struct arena *mem, struct rootdoc_row *out, struct errmsg *e)
{
	static const char q_newest[] = "SELECT " COLUMNS " FROM root_document ORDER BY version DESC LIMIT 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_newest);
	enum ota_err err = stmt_row(st, e);

	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, OTA_NO_ROOT, "no root yet");
	return err == OTA_OK ? fill(st, mem, out, e) : err;
}

static enum ota_err add(struct db *db, const struct rootdoc_row *row, struct errmsg *e)
{
	static const char q_add[] =
		"INSERT INTO root_document (version, document, sha256, created_at, created_by)"
		" VALUES ($version, $document, $sha256, $created_at, $created_by)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "version", row->version);
	bind_blob(st, "document", row->document, row->document_len);
	bind_blob(st, "sha256", row->sha256, sizeof row->sha256);
	bind_i64(st, "created_at", row->created_at);
	bind_text(st, "created_by", row->created_by);
	return stmt_done(st, e);
}

enum ota_err rootdoc_insert(struct db *db, const struct rootdoc_row *row, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct rootdoc_row old = {0};
	enum ota_err err;

	arena_init(&mem, 16 * 1024);
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	err = rootdoc_newest(db, &mem, &old, e);
	if (err != OTA_OK && err != OTA_NO_ROOT)
		return err;
	if (row->version == 0 || row->version > (uint64_t)old.version + 1)
		return errmsg_fail(
			e, OTA_ROOT_GAP, "root %u does not follow root %u", row->version, old.version);
	if (row->version <= old.version) {
		err = rootdoc_load(db, row->version, &mem, &old, e);
		if (err != OTA_OK)
			return err;
		if (old.document_len == row->document_len &&
			memcmp(old.document, row->document, row->document_len) == 0)
			return OTA_OK;
		return errmsg_fail(e, OTA_CONFLICT, "root %u is there with other bytes", row->version);
	}
	err = add(db, row, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_ROOT, row->version, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err rootdoc_list(struct db *db, const struct db_page *page, struct arena *mem,
	struct rootdoc_list *out, struct errmsg *e)
{
	static const char q_list[] =
		"SELECT " COLUMNS " FROM root_document WHERE version > $cursor ORDER BY version LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);
	uint32_t limit = page_limit(page);
	struct rootdoc_list list = {0};
	size_t cap = 0;
	enum ota_err err;

	bind_i64(st, "cursor", page->cursor);
	bind_i64(st, "limit", (int64_t)limit + 1);
	while ((err = stmt_row(st, e)) == OTA_OK) {
		if (list.n == limit) {
			list.next = list.rows[list.n - 1].version;
			break;
		}
		list.rows = list_room(mem, list.rows, list.n, &cap, sizeof *list.rows);
		if (!list.rows)
			return no_memory_fail(e);
		err = fill(st, mem, &list.rows[list.n], e);
		if (err != OTA_OK)
			return err;
		list.n++;
	}
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*out = list;
	return err;
}
