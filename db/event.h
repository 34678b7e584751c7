/* Events: a device's history, for `log DEVICE`. Append only; the oldest go when there are too many. */
#ifndef DB_EVENT_H
#define DB_EVENT_H

#include "db/db.h"

struct event_row {
	int64_t id;
	int64_t device;
	int64_t at;
	const char *kind;   /* "enrolled", "approved", "running", "failed", "counter-back", ...: a word for
			       programs */
	const char *text;   /* a line for people; device-made parts are escaped by whoever prints it */
	int64_t assignment; /* 0 = none */
};

struct event_list {
	struct event_row *rows;
	size_t n;
	int64_t next;
};

enum { EVENT_PER_DEVICE_MAX = 500 };

/* Append; `id` is not read. Beyond EVENT_PER_DEVICE_MAX the device's oldest goes. OTA_NOT_FOUND: no such
 * device. */
OTA_MUST_USE enum ota_err event_add(struct db *db, const struct event_row *row, struct errmsg *e);

/* Newest first. `device` 0: of all. */
OTA_MUST_USE enum ota_err event_list(struct db *db, int64_t device, const struct db_page *page,
	struct arena *mem, struct event_list *out, struct errmsg *e);

#endif
