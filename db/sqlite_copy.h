/* Whole-database operations of the engine, for migrate.c and backup.c. */
#ifndef DB_SQLITE_COPY_H
#define DB_SQLITE_COPY_H

#include "db/db.h"

/* Copy the database, as of one moment, to the new file `path` (0600, synced, no WAL beside it). Beside a busy
 * writer too: it is one step. OTA_EXISTS: `path` is there. On failure nothing is left of it. */
OTA_MUST_USE enum ota_err sqlite_copy(struct db *db, const char *path, struct errmsg *e);

/* Call `say` for every finding of the engine's integrity and foreign key checks. */
OTA_MUST_USE enum ota_err sqlite_check(
	struct db *db, void (*say)(void *ctx, const char *line), void *ctx, uint64_t *n, struct errmsg *e);

#endif
