#include "db/lease.h"

#include "db/stmt.h"

enum ota_err lease_take(
	struct db *db, const char *name, const char *holder, int64_t now, int64_t ttl_s, struct errmsg *e)
{
	static const char q_take[] =
		"INSERT INTO lease (name, holder, until) VALUES ($name, $holder, $until)"
		" ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until"
		" WHERE lease.holder = excluded.holder OR lease.until <= $now";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_take);
	enum ota_err err;

	bind_text(st, "name", name);
	bind_text(st, "holder", holder);
	bind_i64(st, "until", now + ttl_s);
	bind_i64(st, "now", now);
	err = stmt_done(st, e);
	if (err == OTA_OK && stmt_changes(st) == 0)
		return errmsg_fail(e, OTA_BUSY, "'%s' is done by another otad", name);
	return err;
}

enum ota_err lease_drop(struct db *db, const char *name, const char *holder, struct errmsg *e)
{
	static const char q_drop[] = "DELETE FROM lease WHERE name = $name AND holder = $holder";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_drop);

	bind_text(st, "name", name);
	bind_text(st, "holder", holder);
	return stmt_done(st, e);
}

enum ota_err lease_load(
	struct db *db, const char *name, struct arena *mem, struct lease_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT name, holder, until FROM lease WHERE name = $name";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);
	struct lease_row row;
	enum ota_err err;

	bind_text(st, "name", name);
	err = stmt_row(st, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "nobody holds '%s'", name);
	if (err != OTA_OK)
		return err;
	row.name = col_text(st, "name", mem);
	row.holder = col_text(st, "holder", mem);
	row.until = col_i64(st, "until");
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*out = row;
	return err;
}
