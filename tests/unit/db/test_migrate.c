/* Migrations: all that are missing at once, from every former schema. */
#include "tests/unit/db/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/migrate.h"
#include "db/schema.h"
#include "db/setting.h"
#include "db/sqlite_copy.h"
#include "db/stmt.h"

static void migration_is_logged(void **state)
{
	struct fixture *f = *state;
	struct schema_log_list list;
	int version;

	ok(f, migrate_version(f->db, &version, &f->e));
	assert_int_equal(version, migrate_newest());
	ok(f, schema_log_list(f->db, &f->mem, &list, &f->e));
	assert_int_equal(list.n, migrate_newest());
	for (size_t i = 0; i < list.n; i++) {
		assert_int_equal(list.rows[i].version, i + 1);
		assert_string_equal(list.rows[i].program, OTAD_VERSION);
		assert_int_equal(list.rows[i].at, NOW);
	}
	/* again: nothing to do, no copy */
	ok(f, migrate_run(f->db, NULL, NOW, &f->e));
}

static void newer_schema_is_refused(void **state)
{
	static const enum db_mode modes[] = {DB_READ_ONLY, DB_READ_WRITE, DB_CREATE};
	struct fixture *f = *state;
	struct db_options options = {.now = NOW};
	struct db *db = NULL;
	char sql[64];

	ok(f, setting_set(f->db, "mine", "1", NOW, &f->e));
	(void)snprintf(sql, sizeof sql, "PRAGMA user_version = %d", migrate_newest() + 1);
	ok(f, stmt_script(f->db, sql, &f->e));
	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		options.mode = modes[i];
		fails(f, OTA_SCHEMA, db_open(f->dir, &options, &db, &f->e));
	}
	/* nothing was touched */
	(void)snprintf(sql, sizeof sql, "PRAGMA user_version = %d", migrate_newest());
	ok(f, stmt_script(f->db, sql, &f->e));
	assert_true(has_setting(f, f->db, "mine"));
}

static void copy_file(const char *from, const char *to)
{
	FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
	char buf[4096];
	size_t n;

	assert_non_null(in);
	assert_non_null(out);
	while ((n = fread(buf, 1, sizeof buf, in)) > 0)
		assert_int_equal(fwrite(buf, 1, n, out), n);
	assert_int_equal(fclose(in), 0);
	assert_int_equal(fclose(out), 0);
}

static enum ota_err step_fails(struct db *db, struct errmsg *e)
{
	(void)db;
	return errmsg_fail(e, OTA_IO, "on purpose");
}

static enum ota_err step_counts(struct db *db, struct errmsg *e)
{
	return stmt_script(db, "INSERT INTO step (n) VALUES (3)", e);
}

/* Several steps are one: all of them with their log and number, or none. */
static void migrations_are_one_step(void **state)
{
	static const char *const two[] = {
		"CREATE TABLE step (n INTEGER NOT NULL) STRICT", "INSERT INTO step (n) VALUES (2)", NULL};
	static const char *const bad[] = {"INSERT INTO step (n) VALUES ('no number')", NULL};
	static const char q_sum[] = "SELECT sum(n) AS total FROM step";
	struct fixture *f = *state;
	struct migration list[8];
	const int n = n_schema_migrations;
	struct schema_log_list log;
	char path[320], copy[340];
	struct stmt *st;
	struct db *old = NULL;
	int version = 0;

	assert_true(n + 2 <= (int)(sizeof list / sizeof list[0]));
	memcpy(list, schema_migrations, (size_t)n * sizeof list[0]);
	list[n] = (struct migration){.sql = two};
	list[n + 1] = (struct migration){.fn = step_fails};
	(void)snprintf(path, sizeof path, "%s/otad.db", f->dir);
	(void)snprintf(copy, sizeof copy, "%s.schema-%d", path, n);
	ok(f, setting_set(f->db, "mine", "1", NOW, &f->e));
	fails(f, OTA_IO, migrate_run_list(f->db, path, NOW, list, n + 2, &f->e));
	assert_non_null(strstr(f->e.text, "nothing changed: on purpose"));
	list[n + 1] = (struct migration){.sql = bad};
	fails(f, OTA_INVALID, migrate_run_list(f->db, path, NOW, list, n + 2, &f->e));
	ok(f, migrate_version(f->db, &version, &f->e));
	assert_int_equal(version, n);
	st = stmt_get(f->db, q_sum);
	fails(f, OTA_CORRUPT, stmt_row(st, &f->e));
	stmt_put(st);
	list[n + 1] = (struct migration){.fn = step_counts};
	ok(f, migrate_run_list(f->db, path, NOW + 9, list, n + 2, &f->e));
	ok(f, migrate_version(f->db, &version, &f->e));
	assert_int_equal(version, n + 2);
	st = stmt_get(f->db, q_sum);
	ok(f, stmt_row(st, &f->e));
	assert_int_equal(col_i64(st, "total"), 5);
	stmt_put(st);
	fails(f, OTA_SCHEMA, migrate_run(f->db, path, NOW, &f->e));
	/* the copy is the database as it was */
	ok(f, db_open_file(copy, &(struct db_options){.mode = DB_READ_ONLY}, &old, &f->e));
	assert_true(has_setting(f, old, "mine"));
	ok(f, schema_log_list(old, &f->mem, &log, &f->e));
	assert_int_equal(log.n, n);
	db_close(old);
}

/* Every former schema is kept: as tests/data/schema-<N>.db, which must come up to date here with its rows, or
 * as the archive that the upgrade test restores. */
static void old_schemas_migrate(void **state)
{
	struct fixture *f = *state;
	const char *keep = getenv("OTAD_KEEP_SCHEMA");

	if (keep) {
		/* how a release adds its file: OTAD_KEEP_SCHEMA=tests/data/schema-N.db test_db_migrate */
		ok(f, setting_set(f->db, "fixture", "1", NOW, &f->e));
		ok(f, sqlite_copy(f->db, keep, &f->e));
	}
	for (int v = 1; v <= migrate_newest(); v++) {
		struct db_options options = {.mode = DB_CREATE, .now = NOW + 1};
		char from[64], to[320], copy[340];
		struct db *db = NULL;
		int version;

		(void)snprintf(from, sizeof from, "tests/data/schema-%d.db", v);
		if (access(from, R_OK) < 0) {
			/* only the schema in the making has neither */
			(void)snprintf(from, sizeof from, "tests/data/schema-%d.backup.gz", v);
			assert_true(v == migrate_newest() || access(from, R_OK) == 0);
			continue;
		}
		(void)snprintf(to, sizeof to, "%s/old-%d.db", f->dir, v);
		copy_file(from, to);
		ok(f, db_open_file(to, &options, &db, &f->e));
		ok(f, migrate_version(db, &version, &f->e));
		assert_int_equal(version, migrate_newest());
		assert_true(has_setting(f, db, "fixture"));
		db_close(db);
		(void)snprintf(copy, sizeof copy, "%s.schema-%d", to, v);
		assert_int_equal(access(copy, R_OK), v < migrate_newest() ? 0 : -1);
	}
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(migration_is_logged),
		test(newer_schema_is_refused),
		test(migrations_are_one_step),
		test(old_schemas_migrate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
