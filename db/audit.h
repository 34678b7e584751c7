/* Audit: who did what to what, when and from where. Append only; rows are never changed. */
#ifndef DB_AUDIT_H
#define DB_AUDIT_H

#include "db/db.h"

struct audit_row {
	int64_t id;
	int64_t at;
	const char *who;    /* token's name, "socket:<uid>" or "otad" */
	const char *action; /* "device.approve", "rollout.create", ...: noun.verb */
	const char *target; /* what it was done to, as the operator knows it: a name, a uid; "" for none */
	const char *from;   /* peer's address, or "" */
	const char *before; /* JSON text of what changed, or NULL; never a secret */
	const char *after;  /* the same, after */
};

struct audit_list {
	struct audit_row *rows;
	size_t n;
	int64_t next;
};

/* Append; `row->id` is not read. In the transaction of the act itself. `*id` may be NULL. */
OTA_MUST_USE enum ota_err audit_add(
	struct db *db, const struct audit_row *row, int64_t *id, struct errmsg *e);

/* NULL or "" in a field asks for all. */
struct audit_filter {
	const char *who;
	const char *action; /* whole, or "device." for all of a noun */
	const char *target;
	int64_t since; /* at >= since; 0 for all */
};

/* Newest first. `filter` may be NULL. */
OTA_MUST_USE enum ota_err audit_list(struct db *db, const struct audit_filter *filter,
	const struct db_page *page, struct arena *mem, struct audit_list *out, struct errmsg *e);

#endif
