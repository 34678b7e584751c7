/* What devices say: the check-in's way into the database, and the hot path.
 *
 * Two ways in. report_store: what the device runs, its state, its result or its root changed; committed
 * before the answer, its counter with it. report_touch: counters, progress, uptime and last-seen of many,
 * grouped; may be lost by a crash and harms nothing then. */
#ifndef DB_REPORT_H
#define DB_REPORT_H

#include "db/db.h"

/* The last word of a device. All zero: it never spoke. */
struct device_said {
	int64_t seen_at; /* 0 = never */
	char from[64];   /* its address */
	uint64_t counter;
	uint8_t counter_digest[8]; /* first bytes of the SHA-256 of the check-in with that counter */
	/* The enrolment whose key it was made with, for storing alone: of another key than the device's is
	 * nothing stored, for counters of two keys are no sequence. 0: no key, never refused for that. */
	uint32_t enrolment;
	uint32_t root_version;
	bool has_running; /* false: it cannot tell */
	uint32_t running_sequence;
	uint8_t running_digest[32];            /* manifest */
	char running_text[DB_VERSION_MAX + 1]; /* what a foreign client calls it; "" = nothing */
	int agent_state;                       /* enum checkin_state of proto/checkin.h; 0 = idle */
	bool has_target;
	uint8_t target_digest[32];
	uint8_t target_attempt;
	uint64_t target_bytes; /* done so far */
	bool has_result;
	uint8_t result_digest[32];
	uint8_t result_attempt;
	uint8_t result_reason; /* wire reason; 0 = success */
	uint16_t result_detail;
	uint32_t result_offset;
	int64_t result_at;
	uint32_t uptime_s;
	uint32_t flags;
	/* Kept by the database, never read from the caller. Confirmed: see report_is_confirmed.
	 * The one before is what a revert leads to. */
	bool has_confirmed;
	uint8_t confirmed_digest[32];
	int64_t confirmed_at;
	bool has_previous;
	uint8_t previous_digest[32];
};

/* What runs failed its trial, and there was nothing to go back to. */
bool report_is_stuck(const struct device_said *said);
/* It runs a release, in any state but trial, and is not stuck with it. */
bool report_is_confirmed(const struct device_said *said);

/* Store all of a report but the kept fields (result_at is set to seen_at when the result is another than the
 * stored one). Appends a change. A lower counter than the stored one, or a key that is replaced:
 * OTA_CONFLICT, nothing stored.
 * OTA_NOT_FOUND: no such device. */
OTA_MUST_USE enum ota_err report_store(
	struct db *db, int64_t device, const struct device_said *said, struct errmsg *e);

/* One device's grouped row. */
struct report_touch {
	int64_t device;
	int64_t seen_at;
	uint64_t counter;
	uint8_t counter_digest[8];
	uint32_t enrolment; /* as in struct device_said */
	uint64_t target_bytes;
	uint32_t uptime_s;
	uint32_t flags;
};

/* Store many; rows of devices that are gone, of replaced keys, and counters below the stored one, are passed
 * over. No change rows. */
OTA_MUST_USE enum ota_err report_touch_many(
	struct db *db, const struct report_touch *rows, size_t n, struct errmsg *e);

/* Seen without a counter (foreign clients): last-seen and address only. */
OTA_MUST_USE enum ota_err report_seen(
	struct db *db, int64_t device, int64_t now, const char *from, struct errmsg *e);

#endif
