/* Alarms: a device whose check-in counter went back, until an operator has seen it.
 *
 * A device that was restored from a copy goes back once. Two devices with one identity go back again and
 * again, each time from a higher counter, since each goes on where the server's hint of the other's turn
 * pointed. A recorded check-in that somebody sends again never rises. So only a counter that rose since the
 * alarm before is counted.
 *
 * A clone raises one at every poll, and a device's log keeps EVENT_PER_DEVICE_MAX rows: what is news for the
 * log is the first, the step to a shared identity, and after that the first of each day. */
#ifndef DB_ALARM_H
#define DB_ALARM_H

#include "db/db.h"

enum {
	ALARM_SHARED_TIMES = 3,            /* from here on the identity is taken for shared */
	ALARM_FORGET_S = 7 * 24 * 60 * 60, /* fewer, and quiet for this long: the count starts anew */
	ALARM_AGAIN_S = 24 * 60 * 60,      /* one that goes on is news once in this time, from its first on */
};

enum alarm_news {
	ALARM_COUNTED, /* nothing for the log */
	ALARM_FIRST,
	ALARM_SHARED, /* its identity is a shared one now, and was not before */
	ALARM_AGAIN,
};

struct alarm_row {
	uint32_t times;   /* 0 = no alarm */
	int64_t first_at; /* Unix seconds */
	int64_t last_at;
};

/* From ALARM_SHARED_TIMES on. */
bool alarm_is_shared(const struct alarm_row *row);

/* The counter of `device` went back to `counter`. OTA_NOT_FOUND: no such device. */
OTA_MUST_USE enum ota_err alarm_raise(struct db *db, int64_t device, uint64_t counter, int64_t now,
	enum alarm_news *news, struct errmsg *e);

/* Seen, or ended by a new key. Without an alarm: OTA_OK, and nothing is changed. */
OTA_MUST_USE enum ota_err alarm_clear(struct db *db, int64_t device, struct errmsg *e);

#endif
