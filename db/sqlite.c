#include "db/sqlite.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/migrate.h"
#include "db/sqlite_copy.h"
#include "db/stmt.h"

enum {
	BUSY_TIMEOUT_MS = 5000,
	WAL_SIZE_MAX = 64 * 1024 * 1024,
};

enum ota_err sqlite_err(int rc)
{
	switch (rc) {
	case SQLITE_CONSTRAINT_UNIQUE:
	case SQLITE_CONSTRAINT_PRIMARYKEY:
	case SQLITE_CONSTRAINT_ROWID:
		return OTA_EXISTS;
	case SQLITE_CONSTRAINT_FOREIGNKEY:
		return OTA_CONFLICT;
	case SQLITE_IOERR_NOMEM:
		return OTA_NO_MEMORY;
	case SQLITE_IOERR_CORRUPTFS:
		return OTA_CORRUPT;
	}
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return OTA_OK;
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
		return OTA_INVALID;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return OTA_BUSY;
	case SQLITE_FULL:
		return OTA_NO_SPACE;
	case SQLITE_NOMEM:
		return OTA_NO_MEMORY;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return OTA_DENIED;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
		return OTA_CORRUPT;
	case SQLITE_TOOBIG:
		return OTA_TOO_LARGE;
	default:
		return OTA_IO;
	}
}

enum ota_err sqlite_fail(struct db *db, int rc, const char *doing, struct errmsg *e)
{
	enum ota_err err = sqlite_err(rc);
	const int primary = rc & 0xff;
	/* The engine's own words say neither that there is no room nor who may not. */
	const int cause = db->h && (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN)
				  ? sqlite3_system_errno(db->h)
				  : 0;

	if (cause == ENOSPC || cause == EDQUOT)
		err = OTA_NO_SPACE;
	if (cause)
		(void)errmsg_fail_errno(e, cause, "database: %s: %s", doing, sqlite3_errmsg(db->h));
	else
		errmsg_set(e, "database: %s: %s", doing, db->h ? sqlite3_errmsg(db->h) : sqlite3_errstr(rc));
	/* NOMEM, FULL and IOERR may make the engine roll the whole transaction back */
	if (db->h && db->depth && sqlite3_get_autocommit(db->h) && db->lost == OTA_OK)
		db->lost = err;
	return err;
}

bool sqlite_tx_is_lost(struct db *db)
{
	if (!db->depth || !sqlite3_get_autocommit(db->h))
		return false;
	if (db->lost == OTA_OK)
		db->lost = OTA_IO;
	return true;
}

static enum ota_err lost_fail(const struct db *db, struct errmsg *e)
{
	return errmsg_fail(
		e, db->lost, "database: the transaction was rolled back: %s", ota_err_text(db->lost));
}

static enum ota_err exec(struct db *db, const char *sql, struct errmsg *e)
{
	int rc = sqlite3_exec(db->h, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? OTA_OK : sqlite_fail(db, rc, "cannot run a statement", e);
}

enum ota_err stmt_script(struct db *db, const char *sql, struct errmsg *e)
{
	if (sqlite_tx_is_lost(db))
		return lost_fail(db, e);
	return exec(db, sql, e);
}

enum ota_err db_begin(struct db *db, struct db_tx *tx, struct errmsg *e)
{
	static const char q_write[] = "BEGIN IMMEDIATE";
	static const char q_read[] = "BEGIN";
	static const char q_snapshot[] = "SELECT count(*) AS n FROM sqlite_schema";
	static const char q_savepoint[] = "SAVEPOINT s";
	enum ota_err err;

	assert(!tx->db);
	if (sqlite_tx_is_lost(db))
		return lost_fail(db, e);
	if (db->depth == 0) {
		AUTO(stmt) struct stmt *st = stmt_get(db, db->is_read_only ? q_read : q_write);

		err = stmt_done(st, e);
		if (err == OTA_OK && db->is_read_only) {
			/* a deferred transaction sees nothing before its first read: fix the moment now */
			AUTO(stmt) struct stmt *see = stmt_get(db, q_snapshot);

			err = stmt_row(see, e);
			if (err == OTA_OK)
				(void)col_i64(see, "n");
			else
				(void)exec(db, "ROLLBACK", NULL);
		}
	} else {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_savepoint);

		err = stmt_done(st, e);
	}
	if (err != OTA_OK)
		return err;
	db->depth++;
	*tx = (struct db_tx){.db = db, .depth = db->depth};
	return OTA_OK;
}

static void tx_close(struct db_tx *tx)
{
	struct db *db = tx->db;

	db->depth--;
	if (db->depth == 0)
		db->lost = OTA_OK;
	tx->db = NULL;
}

enum ota_err db_commit(struct db_tx *tx, struct errmsg *e)
{
	static const char q_commit[] = "COMMIT";
	static const char q_release[] = "RELEASE s";
	struct db *db = tx->db;
	enum ota_err err;

	assert(db && tx->depth == db->depth);
	if (sqlite_tx_is_lost(db)) {
		err = lost_fail(db, e);
		tx_close(tx);
		return err;
	}
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, tx->depth == 1 ? q_commit : q_release);

		err = stmt_done(st, e);
	}
	if (err != OTA_OK) {
		db_rollback(tx);
		return err;
	}
	tx_close(tx);
	return OTA_OK;
}

void db_rollback(struct db_tx *tx)
{
	struct db *db = tx->db;

	if (!db)
		return;
	assert(tx->depth == db->depth);
	/* gone already when the engine rolled back by itself */
	if (!sqlite3_get_autocommit(db->h)) {
		if (tx->depth == 1)
			(void)exec(db, "ROLLBACK", NULL);
		else
			(void)exec(db, "ROLLBACK TO s; RELEASE s", NULL);
	}
	tx_close(tx);
}

/* A file made here is ours alone; the engine gives WAL and shared memory the mode of the database. */
/* A file that is there is never opened here: POSIX drops all locks of a process on a file when it closes any
 * of its descriptors, and a program beside otad (sqlite3) would then take itself for the last one and remove
 * the WAL. */
static enum ota_err file_make(const char *path, bool must_be_new, struct errmsg *e)
{
	AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_EXCL, 0600);

	if (fd < 0 && (must_be_new || errno != EEXIST))
		return errmsg_fail_errno(e, errno, "cannot make '%s'", path);
	return OTA_OK;
}

static enum ota_err set_up(struct db *db, const char *path, int busy_timeout_ms, struct errmsg *e)
{
	static const char q_wal[] = "PRAGMA journal_mode = WAL";
	enum ota_err err;
	int rc;

	/* busy_timeout before journal_mode: the WAL pragma itself may meet a lock */
	rc = sqlite3_busy_timeout(db->h, busy_timeout_ms > 0 ? busy_timeout_ms : BUSY_TIMEOUT_MS);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db->h, SQLITE_DBCONFIG_DQS_DML, 0, (int *)NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db->h, SQLITE_DBCONFIG_DQS_DDL, 0, (int *)NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db->h, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db->h, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db->h, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, (int *)NULL);
	if (rc != SQLITE_OK)
		return sqlite_fail(db, rc, "cannot set up", e);
	err = exec(db, "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL", e);
	if (err == OTA_OK && !db->is_read_only) {
		char mode[8] = "";
		AUTO(stmt) struct stmt *st = stmt_get(db, q_wal);

		err = stmt_row(st, e);
		if (err == OTA_OK) {
			col_text_buf(st, "journal_mode", mode, sizeof mode);
			if (strcmp(mode, "wal") != 0)
				err = errmsg_fail(
					e, OTA_IO, "database: no write-ahead log on this file system");
		}
	}
	if (err == OTA_OK && !db->is_read_only)
		err = exec(db, "PRAGMA journal_size_limit = 67108864", e);
	if (err != OTA_OK)
		errmsg_prefix(e, "'%s': ", path);
	return err;
}

static enum ota_err version_fits(struct db *db, struct errmsg *e)
{
	enum ota_err err;
	int version;

	err = migrate_version(db, &version, e);
	if (err != OTA_OK)
		return err;
	if (version > migrate_newest())
		return errmsg_fail(e, OTA_SCHEMA,
			"database has schema %d, this program knows %d: use a newer otad", version,
			migrate_newest());
	if (version < migrate_newest())
		return errmsg_fail(e, OTA_SCHEMA,
			"database has schema %d: start this otad once to bring it to %d", version,
			migrate_newest());
	return OTA_OK;
}

enum ota_err db_open_file(
	const char *path, const struct db_options *options, struct db **out, struct errmsg *e)
{
	AUTO(db) struct db *db = NULL;
	enum ota_err err;
	int rc;

	if (options->mode == DB_CREATE) {
		err = file_make(path, false, e);
		if (err != OTA_OK)
			return err;
	} else if (access(path, F_OK) < 0) {
		return errmsg_fail_errno(e, errno, "cannot open '%s'", path);
	}
	db = calloc(1, sizeof *db);
	if (!db)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	db->is_read_only = options->mode == DB_READ_ONLY;
	/* a connection belongs to one thread: no mutex */
	rc = sqlite3_open_v2(path, &db->h,
		SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
			(db->is_read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE),
		NULL);
	if (rc != SQLITE_OK) {
		err = sqlite_fail(db, rc, "cannot open", e);
		errmsg_prefix(e, "'%s': ", path);
		return err;
	}
	err = set_up(db, path, options->busy_timeout_ms, e);
	if (err != OTA_OK)
		return err;
	err = options->mode == DB_CREATE ? migrate_run(db, path, options->now, e) : version_fits(db, e);
	if (err != OTA_OK)
		return err;
	*out = db;
	db = NULL;
	return OTA_OK;
}

enum ota_err db_open(const char *dir, const struct db_options *options, struct db **out, struct errmsg *e)
{
	/* backup.c's marks of a restore that was cut short */
	static const char *const marks[] = {".restore", ".restored"};
	char path[PATH_MAX];
	struct stat st;

	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
		if (snprintf(path, sizeof path, "%s/%s", dir, marks[i]) >= (int)sizeof path)
			return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", dir);
		if (lstat(path, &st) == 0)
			return errmsg_fail(e, OTA_STATE, "an unfinished restore lies in '%s'", dir);
	}
	if (snprintf(path, sizeof path, "%s/otad.db", dir) >= (int)sizeof path)
		return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", dir);
	return db_open_file(path, options, out, e);
}

void db_close(struct db *db)
{
	if (!db)
		return;
	stmt_cache_free(db);
	/* close_v2 never fails; an open transaction is rolled back by it */
	(void)sqlite3_close_v2(db->h);
	free(db);
}

enum ota_err db_checkpoint(struct db *db, struct errmsg *e)
{
	int wal_pages = 0, moved = 0;
	int rc;

	assert(db->depth == 0);
	rc = sqlite3_wal_checkpoint_v2(db->h, NULL, SQLITE_CHECKPOINT_PASSIVE, &wal_pages, &moved);
	if (rc == SQLITE_OK && (int64_t)wal_pages * 4096 > WAL_SIZE_MAX)
		rc = sqlite3_wal_checkpoint_v2(db->h, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	/* a reader in the way is no fault: the next call goes further */
	if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY || (rc & 0xff) == SQLITE_LOCKED)
		return OTA_OK;
	return sqlite_fail(db, rc, "cannot checkpoint", e);
}

bool db_is_read_only(const struct db *db)
{
	return db->is_read_only;
}

void db_set_start(struct db *db, struct db_start start)
{
	db->start = start;
}

struct db_start db_start(const struct db *db)
{
	return db->start;
}

int64_t db_total_changes(const struct db *db)
{
	return sqlite3_total_changes64(db->h);
}

static enum ota_err copy_into(struct db *db, struct db *to, struct errmsg *e)
{
	sqlite3_backup *b = sqlite3_backup_init(to->h, "main", db->h, "main");
	int rc;

	if (!b)
		return sqlite_fail(to, sqlite3_extended_errcode(to->h), "cannot copy", e);
	/* all pages in one step: in smaller ones a busy writer would make it start over for ever */
	do {
		rc = sqlite3_backup_step(b, -1);
		if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
			sqlite3_sleep(20);
	} while (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED);
	rc = sqlite3_backup_finish(b);
	if (rc != SQLITE_OK)
		return sqlite_fail(to, rc, "cannot copy", e);
	/* one plain file: no WAL to lose */
	return exec(to, "PRAGMA journal_mode = DELETE", e);
}

enum ota_err sqlite_copy(struct db *db, const char *path, struct errmsg *e)
{
	struct db to = {0};
	enum ota_err err;
	int rc;

	err = file_make(path, true, e);
	if (err != OTA_OK)
		return err;
	rc = sqlite3_open_v2(
		path, &to.h, SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_READWRITE, NULL);
	err = rc == SQLITE_OK ? copy_into(db, &to, e) : sqlite_fail(&to, rc, "cannot copy", e);
	(void)sqlite3_close_v2(to.h);
	if (err == OTA_OK) {
		AUTO(fd) int fd = open(path, O_RDWR | O_CLOEXEC);

		if (fd < 0 || fsync(fd) < 0)
			err = errmsg_fail_errno(e, errno, "cannot sync '%s'", path);
	}
	if (err == OTA_NO_SPACE)
		errmsg_prefix(e, "'%s': ", path);
	if (err != OTA_OK)
		(void)unlink(path);
	return err;
}

enum ota_err sqlite_check(
	struct db *db, void (*say)(void *ctx, const char *line), void *ctx, uint64_t *n, struct errmsg *e)
{
	static const char q_integrity[] = "PRAGMA integrity_check";
	static const char q_keys[] = "PRAGMA foreign_key_check";
	uint64_t found = 0;
	enum ota_err err;
	char line[400];

	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_integrity);

		while ((err = stmt_row(st, e)) == OTA_OK) {
			char text[300] = "";

			col_text_buf(st, "integrity_check", text, sizeof text);
			if (strcmp(text, "ok") == 0)
				continue;
			found++;
			(void)snprintf(line, sizeof line, "database: %s", text[0] ? text : "a long finding");
			say(ctx, line);
		}
	}
	/* the check itself may stumble over the damage: that is a finding too */
	if (err == OTA_CORRUPT) {
		found++;
		say(ctx, "database: damaged beyond checking");
	} else if (err != OTA_NOT_FOUND) {
		return err;
	} else {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_keys);

		while ((err = stmt_row(st, e)) == OTA_OK) {
			char table[80] = "", parent[80] = "";

			col_text_buf(st, "table", table, sizeof table);
			col_text_buf(st, "parent", parent, sizeof parent);
			(void)snprintf(line, sizeof line,
				"database: row %lld of %s refers to a missing row of %s",
				(long long)col_i64_or(st, "rowid", 0), table, parent);
			(void)col_i64(st, "fkid");
			found++;
			say(ctx, line);
		}
		if (err != OTA_NOT_FOUND && err != OTA_CORRUPT)
			return err;
	}
	*n = found;
	return OTA_OK;
}
