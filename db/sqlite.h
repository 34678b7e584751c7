/* The driver's inside, for sqlite.c and stmt.c alone: nobody else sees a type of the engine. */
#ifndef DB_SQLITE_H
#define DB_SQLITE_H

#include <sqlite3.h>

#include "db/db.h"

struct stmt;

enum { DB_CACHE_BUCKETS = 64 };

struct db {
	sqlite3 *h;
	bool is_read_only;
	struct db_start start;
	unsigned depth; /* open db_tx levels */
	enum ota_err
		lost; /* why the engine rolled the outer transaction back by itself; OTA_OK = it did not */
	struct stmt *cache[DB_CACHE_BUCKETS]; /* every prepared statement, chained */
};

/* What an engine's result code means to a caller. */
enum ota_err sqlite_err(int rc);

/* The engine's words for its last error into `e`; returns sqlite_err(rc). Notes a lost transaction. */
enum ota_err sqlite_fail(struct db *db, int rc, const char *doing, struct errmsg *e);

/* Is the transaction that depth speaks of still there? */
bool sqlite_tx_is_lost(struct db *db);

/* Free every statement of the cache (stmt.c). */
void stmt_cache_free(struct db *db);

#endif
