#include "db/migrate.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "db/schema.h"
#include "db/sqlite_copy.h"
#include "db/stmt.h"

/* application_id in the file's header: "otad" */
#define APPLICATION_ID 0x6f746164

int migrate_newest(void)
{
	return n_schema_migrations;
}

static enum ota_err pragma_get(
	struct db *db, const char *sql, const char *column, int64_t *out, struct errmsg *e)
{
	AUTO(stmt) struct stmt *st = stmt_get(db, sql);

	return stmt_i64(st, column, out, e);
}

enum ota_err migrate_version(struct db *db, int *version, struct errmsg *e)
{
	static const char q_application[] = "PRAGMA application_id";
	static const char q_version[] = "PRAGMA user_version";
	static const char q_tables[] = "SELECT count(*) AS n FROM sqlite_schema";
	int64_t application, v, tables;
	enum ota_err err;

	err = pragma_get(db, q_application, "application_id", &application, e);
	if (err == OTA_OK)
		err = pragma_get(db, q_version, "user_version", &v, e);
	if (err == OTA_OK)
		err = pragma_get(db, q_tables, "n", &tables, e);
	if (err != OTA_OK)
		return err;
	if (application != APPLICATION_ID && (application != 0 || v != 0 || tables != 0))
		return errmsg_fail(e, OTA_CORRUPT, "the database is another program's");
	if (v < 0 || v > INT_MAX)
		return errmsg_fail(e, OTA_CORRUPT, "the database has no valid schema number");
	*version = (int)v;
	return OTA_OK;
}

static enum ota_err log_add(struct db *db, int version, int64_t now, struct errmsg *e)
{
	static const char q_log[] =
		"INSERT INTO schema_log (version, program, at) VALUES ($version, $program, $at)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_log);

	bind_i64(st, "version", version);
	bind_text(st, "program", OTAD_VERSION);
	bind_i64(st, "at", now);
	return stmt_done(st, e);
}

static enum ota_err migrate_one(struct db *db, const struct migration *m, struct errmsg *e)
{
	for (const char *const *sql = m->sql; sql && *sql; sql++) {
		enum ota_err err = stmt_script(db, *sql, e);

		if (err != OTA_OK)
			return err;
	}
	return m->fn ? m->fn(db, e) : OTA_OK;
}

/* The copy that a failed or regretted migration goes back to. One of the same schema from an earlier try is
 * replaced. */
static enum ota_err copy_aside(struct db *db, const char *path, int version, struct errmsg *e)
{
	char copy[PATH_MAX], part[PATH_MAX];
	enum ota_err err;

	if (snprintf(copy, sizeof copy, "%s.schema-%d", path, version) >= (int)sizeof copy ||
		snprintf(part, sizeof part, "%s.schema-%d.part", path, version) >= (int)sizeof part)
		return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", path);
	(void)unlink(part);
	err = sqlite_copy(db, part, e);
	if (err != OTA_OK)
		return err;
	if (rename(part, copy) < 0)
		return errmsg_fail_errno(e, errno, "cannot rename '%s'", part);
	return OTA_OK;
}

enum ota_err migrate_run_list(
	struct db *db, const char *path, int64_t now, const struct migration *list, int n, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	char pragma[96];
	enum ota_err err;
	int version;

	err = migrate_version(db, &version, e);
	if (err != OTA_OK)
		return err;
	if (version > n)
		return errmsg_fail(e, OTA_SCHEMA,
			"database has schema %d, this program knows %d: use a newer otad", version, n);
	if (version == n)
		return OTA_OK;
	if (version > 0 && path) {
		err = copy_aside(db, path, version, e);
		if (err != OTA_OK) {
			errmsg_prefix(e, "no copy before the migration: ");
			return err;
		}
	}
	err = db_begin(db, &tx, e);
	for (int v = version; err == OTA_OK && v < n; v++) {
		err = migrate_one(db, &list[v], e);
		if (err == OTA_OK)
			err = log_add(db, v + 1, now, e);
	}
	if (err == OTA_OK) {
		/* a pragma takes no parameter; both numbers are ours */
		(void)snprintf(pragma, sizeof pragma, "PRAGMA application_id = %d; PRAGMA user_version = %d",
			APPLICATION_ID, n);
		err = stmt_script(db, pragma, e);
	}
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err != OTA_OK)
		errmsg_prefix(e, "migration from schema %d failed, nothing changed: ", version);
	return err;
}

enum ota_err migrate_run(struct db *db, const char *path, int64_t now, struct errmsg *e)
{
	return migrate_run_list(db, path, now, schema_migrations, n_schema_migrations, e);
}

enum ota_err schema_log_list(struct db *db, struct arena *mem, struct schema_log_list *out, struct errmsg *e)
{
	static const char q_list[] = "SELECT version, program, at FROM schema_log ORDER BY version";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);
	struct schema_log_list list = {0};
	enum ota_err err;

	list.rows = arena_array(mem, (size_t)migrate_newest() + 1, sizeof *list.rows);
	if (!list.rows)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	while (list.n <= (size_t)migrate_newest() && (err = stmt_row(st, e)) == OTA_OK) {
		list.rows[list.n++] = (struct schema_log_row){
			.version = (int)col_i64(st, "version"),
			.program = col_text(st, "program", mem),
			.at = col_i64(st, "at"),
		};
	}
	err = stmt_status(st, e);
	if (err != OTA_OK)
		return err;
	*out = list;
	return OTA_OK;
}
