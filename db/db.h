/* The database: one SQLite file, DIR/otad.db, and the rules that every noun of this layer follows.
 *
 * Threads. A connection belongs to one thread. The store thread has the only writing one; workers and the
 * commands that read (backup, check, lists) have read-only ones. Nothing here is static or thread-local.
 *
 * Every noun's file (board.h, device.h, ...) keeps these rules and does not repeat them:
 *  - `struct x_row` is a copy of a row. Its texts live in the arena that was passed and as long as it; they
 *    are UTF-8, NUL-terminated and never NULL unless the field says so. 0 stands for "no such time".
 *  - Ids of the type int64_t are the database's own and above 0; they never leave the server. What the API
 *    shows are the opaque texts (name, uid, digest).
 *  - Times are Unix seconds (UTC), passed in as `now`; sizes are bytes; digests are 32 bytes of SHA-256.
 *  - Out parameters come last before `e`, are written only on OTA_OK, and may be NULL where a comment says
 * so.
 *  - A writing function is atomic by itself, inside the caller's transaction or not, and appends its `change`
 *    rows in the same transaction (change.h). Audit rows are the caller's (audit.h), in the same transaction.
 *  - `if_revision` is the revision that the caller saw (If-Match); another one in the row: OTA_CONFLICT. 0
 * asks for no comparison.
 *  - Errors that any function may return and that comments do not repeat: OTA_IO, OTA_CORRUPT, OTA_NO_SPACE,
 *    OTA_BUSY (another process holds the lock), OTA_NO_MEMORY (also: the arena's cap), OTA_DENIED (read-only
 *    connection or file system), OTA_INVALID (a value that the schema refuses). Words are in `e`, which may
 * be NULL. After an error nothing of that call is stored. */
#ifndef DB_DB_H
#define DB_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "proto/cleanup.h"
#include "proto/errmsg.h"
#include "proto/limits.h"

struct db;

enum db_mode {
	DB_READ_ONLY,  /* an existing database of this program's schema; never changes a row */
	DB_READ_WRITE, /* as above, for the one writer */
	DB_CREATE,     /* makes the file (0600) when there is none; runs migrations (migrate.h) */
};

struct db_options {
	enum db_mode mode;
	int busy_timeout_ms; /* wait for another process's lock; 0 = 5,000 */
	int64_t now;         /* stands in schema_log when a migration runs */
};

/* Open DIR/otad.db with every setting of this project: busy_timeout (first of all), WAL, synchronous=FULL,
 * foreign_keys, no double-quoted strings, no extension loading, trusted_schema off. `*out` is closed with
 * db_close. OTA_NOT_FOUND: no such file (not with DB_CREATE). OTA_SCHEMA: the database is newer than this
 * program, or (not with DB_CREATE) older. OTA_STATE: an unfinished restore lies in `dir` (backup.h:
 * backup_recover). OTA_CORRUPT: no database, or another program's. */
OTA_MUST_USE enum ota_err db_open(
	const char *dir, const struct db_options *options, struct db **out, struct errmsg *e);

/* The same for a file by its path (tests, a backup's copy). */
OTA_MUST_USE enum ota_err db_open_file(
	const char *path, const struct db_options *options, struct db **out, struct errmsg *e);

/* Close; an open transaction is rolled back. db_close(NULL) is a no-op. */
void db_close(struct db *db);

/* A transaction, or a savepoint inside one: they nest. Always declared as
 * 	AUTO(tx) struct db_tx tx = {0};
 * so that leaving the scope without db_commit rolls back. The store thread opens one outer transaction, runs
 * each job in an inner one, and commits once; no function here cares which it is in. */
struct db_tx {
	struct db *db;  /* NULL: not open */
	unsigned depth; /* 1 = outermost */
};

/* Outermost: takes the write lock at once (a read that becomes a write later would fail with BUSY without
 * waiting). On a read-only connection it is one consistent read.
 * OTA_IO: the outer transaction is gone (the engine rolled it back on a full disk or an I/O error); nothing
 * more can be done in it, and each level's db_commit says so too. */
OTA_MUST_USE enum ota_err db_begin(struct db *db, struct db_tx *tx, struct errmsg *e);

/* Make it durable (outermost: synced to disk when this returns OTA_OK) or part of the enclosing one. After an
 * error it is rolled back. */
OTA_MUST_USE enum ota_err db_commit(struct db_tx *tx, struct errmsg *e);

/* Undo everything since db_begin. A closed one is a no-op. */
void db_rollback(struct db_tx *tx);

static inline void auto_tx(struct db_tx *tx)
{
	db_rollback(tx);
}

static inline void auto_db(struct db **db)
{
	db_close(*db);
}

/* Move what the WAL holds into the file as far as readers let it, and shrink a WAL above 64 MiB. Between
 * batches, outside a transaction. */
OTA_MUST_USE enum ota_err db_checkpoint(struct db *db, struct errmsg *e);

/* True on a DB_READ_ONLY connection. */
bool db_is_read_only(const struct db *db);

/* When the server that writes through this connection began, and the newest assignment that it found: what
 * the one before it told devices in its last moment may not be stored. Zeros (unless set): all of it is. */
struct db_start {
	int64_t at, assignment;
};

void db_set_start(struct db *db, struct db_start start);
struct db_start db_start(const struct db *db);

/* Number of rows that this connection changed since it was opened (a test's measure of "nothing changed"). */
int64_t db_total_changes(const struct db *db);

/* Where a list starts and how long it may be. */
struct db_page {
	int64_t cursor; /* 0 = from the start, else `next` of the page before */
	uint32_t limit; /* 1..DB_PAGE_MAX; 0 = DB_PAGE_MAX */
};

enum {
	DB_PAGE_MAX = 1000,
	DB_NAME_MAX = LIMIT_NAME, /* characters of a board's, device's, token's or tag's name */
	DB_UID_MAX = 64,          /* characters of an id that a client chose */
	DB_VERSION_MAX = LIMIT_VERSION,
	DB_TEXT_MAX = LIMIT_TEXT, /* bytes of notes, settings and the like */
};

#endif
