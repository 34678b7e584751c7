/* Migrations: an append-only array; row N takes a database of schema N to N + 1.
 *
 * All that are missing run in one transaction together with user_version and their rows in schema_log, so
 * that a database is of one schema or of another. Before a run a copy of the database is made beside it
 * (otad.db.schema-N, 0600, synced); it is kept until the operator removes it. */
#ifndef DB_MIGRATE_H
#define DB_MIGRATE_H

#include "db/db.h"

/* The schema of this program. */
int migrate_newest(void);

/* Bring an open, writable database at `path` up to date. OTA_SCHEMA: it is newer than this program; nothing
 * was touched. OTA_CORRUPT: a file of another program. `path` NULL: no copy (a database in memory, tests). */
OTA_MUST_USE enum ota_err migrate_run(struct db *db, const char *path, int64_t now, struct errmsg *e);

/* The schema number of the open database: OTA_CORRUPT when the file is another program's. */
OTA_MUST_USE enum ota_err migrate_version(struct db *db, int *version, struct errmsg *e);

/* What ran when: the rows of schema_log, oldest first. */
struct schema_log_row {
	int version;         /* the schema that it led to */
	const char *program; /* version of otad that ran it */
	int64_t at;
};
struct schema_log_list {
	struct schema_log_row *rows;
	size_t n;
};
OTA_MUST_USE enum ota_err schema_log_list(
	struct db *db, struct arena *mem, struct schema_log_list *out, struct errmsg *e);

#endif
