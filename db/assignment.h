/* Assignments: one device's task in a rollout. At most one per device is open; moves are those of
 * proto/state.h. */
#ifndef DB_ASSIGNMENT_H
#define DB_ASSIGNMENT_H

#include "db/db.h"
#include "proto/state.h"

struct assignment_row {
	int64_t id;
	int64_t rollout;
	int64_t device;
	int64_t manifest;    /* what is installed: normal, or a return */
	uint8_t digest[32];  /* of that manifest */
	uint32_t sequence;   /* of that manifest */
	size_t envelope_len; /* its present size, for the ticket */
	bool is_complete;    /* its envelope reaches the threshold; false: name it in no ticket */
	bool is_held;        /* by the rollout or the device: stage, do not arm */
	uint8_t attempt;     /* 1..255; rises with every retry of this manifest on this device */
	enum assign_state state;
	int64_t created_at;
	int64_t state_at;   /* of the last move */
	int64_t offered_at; /* first time in a ticket; 0 = never */
	int64_t ended_at;   /* 0 = open */
	uint8_t reason;     /* wire reason of the end; 0 where there is none */
	uint16_t detail;
	uint32_t offset;
	int64_t superseded_by; /* rollout; 0 = not superseded */
	/* names, for tables */
	char device_uid[33];
	const char *device_name;
	const char *rollout_uid;
	const char *version; /* of the release that it installs */
};

struct assignment_list {
	struct assignment_row *rows;
	size_t n;
	int64_t next;
};

/* What assignment_open did. */
struct assignment_opened {
	int64_t id;         /* the device's assignment in this rollout */
	bool is_new;        /* false: it was open already (a repeated request) */
	int64_t superseded; /* assignment that it took the place of; 0 = none */
	uint8_t attempt;
};

/* Give a device the task: it waits from now on. An open assignment that is another (rollout or manifest) is
 * superseded if it can still be withdrawn (assignment_is_withdrawable). A rollout that was done runs again (a
 * retry). The attempt is above that of every one of this manifest on this device that failed, was reverted,
 * or was offered and ended without the device's word. OTA_STATE: its open assignment is past the point of no
 * return (`e` says whose), or the rollout was cancelled. OTA_CONFLICT: the device is of another board, or not
 * approved. OTA_LIMIT: 255 attempts. OTA_NOT_FOUND: rollout, device or manifest. */
OTA_MUST_USE enum ota_err assignment_open(struct db *db, int64_t rollout, int64_t device, int64_t manifest,
	int64_t now, struct assignment_opened *out, struct errmsg *e);

/* A move. */
struct assignment_move {
	enum assign_state to;
	int64_t now;
	uint8_t reason; /* FAILED, REVERTED: the device's result */
	uint16_t detail;
	uint32_t offset;
	int64_t superseded_by; /* SUPERSEDED: the rollout that did it */
};

/* Apply a move if it is legal. The same state again: OTA_OK, nothing changed, `*moved` (may be NULL) false.
 * OTA_STATE: not legal from where it is. OTA_NOT_FOUND. The last open assignment of a running rollout that
 * ends makes the rollout done. */
OTA_MUST_USE enum ota_err assignment_advance(
	struct db *db, int64_t id, const struct assignment_move *move, bool *moved, struct errmsg *e);

/* Can it still be withdrawn? Until it is staged; staged too while it is held. */
bool assignment_is_withdrawable(enum assign_state state, bool is_held);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err assignment_load(
	struct db *db, int64_t id, struct arena *mem, struct assignment_row *out, struct errmsg *e);
/* The device's open one. OTA_NOT_FOUND: nothing to do. */
OTA_MUST_USE enum ota_err assignment_load_open(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e);

/* What the device has to do, else what it had to do last. OTA_NOT_FOUND: nothing was ever assigned. A
 * replaced device's history may be younger than what its replacement has open. */
OTA_MUST_USE enum ota_err assignment_load_latest(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e);

struct assignment_filter {
	int64_t rollout; /* 0 = all */
	int64_t device;  /* 0 = all */
	int64_t release; /* 0 = all */
	bool only_open;
};

/* In the order of creation. `filter` may be NULL. */
OTA_MUST_USE enum ota_err assignment_list(struct db *db, const struct assignment_filter *filter,
	const struct db_page *page, struct arena *mem, struct assignment_list *out, struct errmsg *e);

/* The newest of a device's, newest first (`log DEVICE`). */
OTA_MUST_USE enum ota_err assignment_history(struct db *db, int64_t device, const struct db_page *page,
	struct arena *mem, struct assignment_list *out, struct errmsg *e);

/* End whatever the device has open: cancelled, or timed-out from trial (it is revoked or replaced). Nothing
 * open: OTA_OK. */
OTA_MUST_USE enum ota_err assignment_withdraw(struct db *db, int64_t device, int64_t now, struct errmsg *e);

/* End as timed-out every open assignment that was created before now - its timeout (its rollout's, else
 * `default_s`; 0 = none). At most 1,000 a call; `*n` how many. */
OTA_MUST_USE enum ota_err assignment_expire(
	struct db *db, int64_t now, int64_t default_s, uint64_t *n, struct errmsg *e);

#endif
