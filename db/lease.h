/* Leases: work that only one otad does at a time (plan, notices, webhooks, garbage collection). */
#ifndef DB_LEASE_H
#define DB_LEASE_H

#include "db/db.h"

struct lease_row {
	const char *name, *holder;
	int64_t until; /* Unix seconds; past: free for anybody */
};

/* Take or renew `name` for `holder` until now + ttl_s. OTA_BUSY: somebody else holds it. */
OTA_MUST_USE enum ota_err lease_take(
	struct db *db, const char *name, const char *holder, int64_t now, int64_t ttl_s, struct errmsg *e);

/* Give back; OTA_OK also when `holder` did not hold it. */
OTA_MUST_USE enum ota_err lease_drop(struct db *db, const char *name, const char *holder, struct errmsg *e);

/* Who holds it. OTA_NOT_FOUND: never taken, or dropped. */
OTA_MUST_USE enum ota_err lease_load(
	struct db *db, const char *name, struct arena *mem, struct lease_row *out, struct errmsg *e);

#endif
