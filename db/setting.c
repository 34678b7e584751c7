#include "db/setting.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "db/change.h"
#include "db/list.h"
#include "db/stmt.h"

enum ota_err setting_get(
	struct db *db, const char *name, struct arena *mem, const char **value, struct errmsg *e)
{
	static const char q_get[] = "SELECT value FROM setting WHERE name = $name";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_get);
	enum ota_err err;
	char *text;

	bind_text(st, "name", name);
	err = stmt_row(st, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "setting '%s' is not set", name);
	if (err != OTA_OK)
		return err;
	text = col_text(st, "value", mem);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*value = text;
	return err;
}

enum ota_err setting_get_i64(struct db *db, const char *name, int64_t *value, struct errmsg *e)
{
	AUTO(arena) struct arena mem;
	const char *text;
	enum ota_err err;
	long long v;
	char *end;

	arena_init(&mem, 16 * 1024);
	err = setting_get(db, name, &mem, &text, e);
	if (err != OTA_OK)
		return err;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (end == text || *end || errno)
		return errmsg_fail(e, OTA_CORRUPT, "setting '%s' is not a number", name);
	*value = v;
	return OTA_OK;
}

enum ota_err setting_set(struct db *db, const char *name, const char *value, int64_t now, struct errmsg *e)
{
	static const char q_set[] =
		"INSERT INTO setting (name, value, updated_at) VALUES ($name, $value, $now)"
		" ON CONFLICT (name) DO UPDATE SET value = excluded.value,"
		" updated_at = excluded.updated_at";
	static const char q_unset[] = "DELETE FROM setting WHERE name = $name";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	if (!limit_name_is_valid(name) || (value && strlen(value) > DB_TEXT_MAX))
		return errmsg_fail(e, OTA_INVALID, "setting '%s': bad name or value", name);
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, value ? q_set : q_unset);

		bind_text(st, "name", name);
		if (value) {
			bind_text(st, "value", value);
			bind_i64(st, "now", now);
		}
		err = stmt_done(st, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_SETTING, 0, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err setting_set_i64(struct db *db, const char *name, int64_t value, int64_t now, struct errmsg *e)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%lld", (long long)value);
	return setting_set(db, name, text, now, e);
}

enum ota_err setting_list(struct db *db, struct arena *mem, struct setting_list *out, struct errmsg *e)
{
	static const char q_list[] = "SELECT name, value, updated_at FROM setting ORDER BY name";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);
	struct setting_list list = {0};
	size_t cap = 0;
	enum ota_err err;

	while ((err = stmt_row(st, e)) == OTA_OK) {
		list.rows = list_room(mem, list.rows, list.n, &cap, sizeof *list.rows);
		if (!list.rows)
			return no_memory_fail(e);
		list.rows[list.n++] = (struct setting_row){
			.name = col_text(st, "name", mem),
			.value = col_text(st, "value", mem),
			.updated_at = col_i64(st, "updated_at"),
		};
	}
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*out = list;
	return err;
}
