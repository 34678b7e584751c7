/* Devices: who they are to the operator, and what they last said.
 *
 * Two sets of facts, two writers. The operator's: name, board, state, hold, tags. The device's: what it runs,
 * its state, result, counters, attributes; those come in through report.h. */
#ifndef DB_DEVICE_H
#define DB_DEVICE_H

#include "db/alarm.h"
#include "db/db.h"
#include "db/report.h"
#include "db/selector.h"

/* Stored: append only. */
enum device_state {
	DEVICE_PENDING = 0, /* enrolled, waits for the operator */
	DEVICE_APPROVED = 1,
	DEVICE_REVOKED = 2, /* refused everywhere, kept for history */
	DEVICE_STATE_MAX = DEVICE_REVOKED,
};

/* "pending", "approved", "revoked": for JSON, tables and selectors. */
const char *device_state_name(enum device_state state);

/* An active enrolment: K_dev is derived from it and never stored. */
struct device_enrolment {
	uint32_t number; /* another one with every new key; 0 = none */
	uint8_t secret_id[8];
	uint8_t nonce_d[16], nonce_s[16];
	int64_t at;
};

struct device_row {
	int64_t id;
	int64_t revision; /* of the operator's facts; rises by one with every change, starts at 1 */
	char uid[33];     /* 32 hex digits: the device-id of our agent, random for others. Never changes */
	const char *name; /* unique, changeable */
	int64_t board;    /* 0 = not known yet */
	const char *board_name; /* "" = not known yet */
	enum device_state state;
	bool is_held; /* hold wins over every push and rollout: what is assigned is staged, not armed */
	const uint8_t *serial; /* as enrolled, NULL = none */
	size_t serial_len;
	int64_t created_at;
	int64_t approved_at;
	bool has_enrolment;
	struct device_enrolment enrolment;
	bool has_waiting_enrolment; /* asks for a new key; enroll_accept */
	struct alarm_row alarm;
	struct device_said said; /* what it last said */
	int64_t release;         /* that it is seen running; 0 = none of ours */
	const char *version;     /* of that release, else what the device calls it; "" = not known */
	const char *const *tags; /* sorted; n_tags of them */
	size_t n_tags;
};

struct device_list {
	struct device_row *rows;
	size_t n;
	int64_t next;
};

/* Add a device (adapters, `device add`; our agents come in through enroll.h). Read: uid, name ("" = the uid),
 * board, state, is_held, serial, created_at, tags. OTA_EXISTS: uid or name. OTA_INVALID: uid, name, tags.
 * OTA_LIMIT: there are `devices_max` devices already (0 = no limit). */
OTA_MUST_USE enum ota_err device_insert(
	struct db *db, const struct device_row *row, uint64_t devices_max, int64_t *id, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err device_load(
	struct db *db, int64_t id, struct arena *mem, struct device_row *out, struct errmsg *e);
OTA_MUST_USE enum ota_err device_load_uid(
	struct db *db, const char *uid, struct arena *mem, struct device_row *out, struct errmsg *e);

/* What an operator typed: a name, else a uid or the beginning of one (4 digits or more), else a MAC address
 * in any usual spelling, else the serial it was provisioned with. OTA_NOT_FOUND. OTA_CONFLICT: the beginning
 * fits several, or several have the serial. */
OTA_MUST_USE enum ota_err device_find(struct db *db, const char *typed, int64_t *id, struct errmsg *e);

struct device_filter {
	const struct selector *selector; /* NULL = all */
	int64_t board;                   /* 0 = all */
	int state;                       /* enum device_state, -1 = all */
	uint32_t look_max; /* rows looked at for a page, whether they match or not; 0 = no end */
};

/* In the order of creation. `filter` may be NULL. A page ends at its limit of matching devices, or of those
 * looked at, where it may be empty: `next` 0 alone is the end. */
OTA_MUST_USE enum ota_err device_list(struct db *db, const struct device_filter *filter,
	const struct db_page *page, struct arena *mem, struct device_list *out, struct errmsg *e);

/* How many match, of the first look_max. */
OTA_MUST_USE enum ota_err device_count(
	struct db *db, const struct device_filter *filter, uint64_t *n, struct errmsg *e);

/* An operator's change; what is not mentioned stays. */
struct device_change {
	const char *name; /* NULL = leave */
	int64_t board;    /* 0 = leave */
	int state;        /* enum device_state, -1 = leave; DEVICE_PENDING is refused (OTA_STATE) */
	int hold;         /* 0, 1, -1 = leave */
	const char *const *tags_add;
	size_t n_tags_add;
	const char *const *tags_remove; /* one that it has not is no error */
	size_t n_tags_remove;
};
enum { DEVICE_TAGS_MAX = 32 };

/* OTA_NOT_FOUND, OTA_CONFLICT (revision), OTA_EXISTS (name), OTA_INVALID (name, tag), OTA_LIMIT (more than
 * DEVICE_TAGS_MAX tags), OTA_STATE (another board while an assignment is open). Revoking also ends its open
 * assignment: cancelled, or timed-out when it was in trial. Its identities stay as they are: who meets one
 * looks at the device's state. `*revision` (may be NULL) is the new one; a change that changes nothing keeps
 * it. */
OTA_MUST_USE enum ota_err device_update(struct db *db, int64_t id, int64_t if_revision,
	const struct device_change *change, int64_t now, int64_t *revision, struct errmsg *e);

/* New hardware takes an old device's place: `new_id` gets name, tags, hold, history (events and ended
 * assignments) of `old_id` and its approval; the old one is revoked, its open assignment cancelled, its name
 * becomes its uid. OTA_CONFLICT: different boards. OTA_STATE: the new one is revoked, or they are one. */
OTA_MUST_USE enum ota_err device_replace(
	struct db *db, int64_t old_id, int64_t new_id, int64_t now, struct errmsg *e);

/* Forget a device and everything about it but that its enrolments have ended (enroll_restore); what it had to
 * do ends at `now`. OTA_NOT_FOUND, OTA_CONFLICT. */
OTA_MUST_USE enum ota_err device_delete(
	struct db *db, int64_t id, int64_t if_revision, int64_t now, struct errmsg *e);

/* What the device says of itself: name-value, replaced as a whole, at most 32; values up to 128 bytes. */
struct attribute {
	const char *name, *value;
};
enum { DEVICE_ATTRIBUTES_MAX = 32, DEVICE_ATTRIBUTE_VALUE_MAX = 128 };
OTA_MUST_USE enum ota_err attribute_set_all(
	struct db *db, int64_t device, const struct attribute *rows, size_t n, struct errmsg *e);
OTA_MUST_USE enum ota_err attribute_list(struct db *db, int64_t device, struct arena *mem,
	struct attribute **rows, size_t *n, struct errmsg *e);

#endif
