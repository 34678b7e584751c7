/* The fleet at a glance: counted by the database, without a row of a device being loaded. */
#ifndef DB_FLEET_H
#define DB_FLEET_H

#include "db/db.h"

enum {
	FLEET_RUNNING_MAX = 64,
	FLEET_WAITING_MAX = 5,
};

struct fleet_running {
	int64_t board; /* 0 = not known yet */
	const char *version;
	uint64_t n;
};

/* Revoked devices are in no figure. */
struct fleet_counts {
	uint64_t total, pending, approved, held;
	uint64_t seen;           /* after `seen_after` */
	uint64_t shared;         /* whose identity two devices seem to use (alarm.h) */
	const char *shared_name; /* one of them; NULL = none */
	size_t n_running;
	/* What approved devices run, most first; version as in struct device_row. */
	struct fleet_running running[FLEET_RUNNING_MAX];
	uint64_t n_other; /* approved ones that run what is not among these */
	size_t n_waiting;
	int64_t waiting[FLEET_WAITING_MAX]; /* first devices that wait for an operator: pending, or a new key
					     */
};

/* In a transaction of the caller's, where the figures have to fit each other. */
OTA_MUST_USE enum ota_err fleet_count(
	struct db *db, int64_t seen_after, struct arena *mem, struct fleet_counts *out, struct errmsg *e);

#endif
