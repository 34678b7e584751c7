/* The schema as migrations, for migrate.c: row N takes a database of schema N to N + 1. Append only. */
#ifndef DB_SCHEMA_H
#define DB_SCHEMA_H

#include "db/db.h"

struct migration {
	const char *const *sql; /* scripts, run in order, ended by NULL */
	/* run after them; NULL = none */
	enum ota_err (*fn)(struct db *db, struct errmsg *e);
};

/* As migrate_run, with another list: how a test sees a run that fails or goes over several steps. */
OTA_MUST_USE enum ota_err migrate_run_list(
	struct db *db, const char *path, int64_t now, const struct migration *list, int n, struct errmsg *e);

extern const struct migration schema_migrations[];
extern const int n_schema_migrations;

#endif
