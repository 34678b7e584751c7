/* Assignments: one device's task in a rollout. At most one per device is open; moves are those of
 * proto/state.h. Behind one that nothing can take back (its next boot is decided, or it is on trial) at most
 * one more is queued: it is the newest decision, waits, is named in no ticket, and opens in the transaction
 * that ends the one before it. */
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
	bool is_queued;      /* waits for the device's open one to end */
	bool has_next;       /* another one is queued behind this one */
	bool is_drifted;     /* the device's latest, ended as running, and its device runs that no more */
	bool is_older;       /* than what the device runs and has confirmed: it refuses this one (ROLLBACK) */
	bool is_void;        /* taken back while it was queued: never what the device had to do */
	bool is_cancelled;   /* its rollout was */
	bool is_late; /* the device's latest, ended as cancelled or timed-out, and its device runs it */
	int64_t withdrawn_at; /* taken back while a ticket might still let it be installed; 0 = not */
	bool is_withdrawn;    /* that, or its rollout was cancelled and it will be: name it in no ticket */
	uint8_t attempt;      /* 1..255; rises with every retry of this manifest on this device */
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
	bool is_queued;     /* it waits until the open one has ended */
	bool is_spent;      /* no attempt is left (ASSIGNMENT_ATTEMPTS): it has failed already, unseen by the
			       device */
	bool runs_it;       /* is_new: the device runs this already, confirmed, as far as it has said */
	int64_t superseded; /* assignment that it took the place of; 0 = none */
	int64_t until;      /* superseded: until when the last ticket may still install that; 0 = it cannot */
	uint8_t attempt;
	char behind[DB_VERSION_MAX + 1]; /* is_queued: the version it waits for; "" otherwise */
};

/* The wire and a device's journal hold an attempt in one byte, and a device refuses what failed under no
 * higher one. */
enum { ASSIGNMENT_ATTEMPTS = 255 };

/* Give a device the task: it waits from now on. An open assignment that is another (rollout or manifest) is
 * superseded if it can still be withdrawn (assignment_is_withdrawable); else the new one is queued behind it,
 * in the place of one that was. A rollout that was done runs again (a retry). The attempt is above that of
 * every one of this manifest on this device that failed, was reverted, or was offered and ended without the
 * device's word; where there is none above, the assignment ends at once as failed, OTA_LIMIT. OTA_STATE: the
 * rollout was cancelled, or the release is retired. OTA_CONFLICT: the device is of another board, or not
 * approved. OTA_NOT_FOUND: rollout, device or manifest. */
OTA_MUST_USE enum ota_err assignment_open(struct db *db, int64_t rollout, int64_t device, int64_t manifest,
	int64_t now, struct assignment_opened *out, struct errmsg *e);

/* The device has failed with its open assignment under `attempt` before: the assignment goes on under the
 * next one. OTA_STATE: it is not open, not under that number, or there is none above. */
OTA_MUST_USE enum ota_err assignment_count_up(struct db *db, int64_t id, uint8_t attempt, struct errmsg *e);

/* A move. */
struct assignment_move {
	enum assign_state to;
	int64_t now;
	uint8_t reason; /* FAILED, REVERTED: the device's result */
	uint16_t detail;
	uint32_t offset;
	int64_t superseded_by; /* SUPERSEDED: the rollout that did it; 0: that of the one queued behind it */
};

/* Apply a move if it is legal. The same state again: OTA_OK, nothing changed, `*moved` (may be NULL) false.
 * OTA_STATE: not legal from where it is. OTA_NOT_FOUND. The last open assignment of a running rollout that
 * ends makes the rollout done; one that is queued behind it is open then, with an event in the device's log.
 */
OTA_MUST_USE enum ota_err assignment_advance(
	struct db *db, int64_t id, const struct assignment_move *move, bool *moved, struct errmsg *e);

/* Put the name of its device before the words, where it can be found: for an assignment that cannot be
 * loaded.
 */
void assignment_say_whose(struct db *db, int64_t id, struct errmsg *e);

/* Can it still be withdrawn? Until it is staged; staged too while it is held. */
bool assignment_is_withdrawable(enum assign_state state, bool is_held);

/* A device arms by the ticket of a check-in that it sent at most a minute ago, so before it came here; some
 * more for what arming itself takes. */
enum { ASSIGNMENT_TICKET_S = 60 + 15 };

enum assignment_cancel {
	ASSIGNMENT_WITHDRAWN, /* ended */
	ASSIGNMENT_COMMITTED, /* past the point of no return: nothing changed */
	ASSIGNMENT_UNSURE,    /* named in no ticket from now on, but open: the last one may still be good */
};

/* An open one that can still be withdrawn is named in no ticket from now on; another stays as it is. What
 * comes of it says assignment_cancel at the same `now`, when all who were told before are stored.
 * OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err assignment_stop(struct db *db, int64_t id, int64_t now, struct errmsg *e);

/* Take an open or queued one back. `*until` is set where it is unsure: when the last ticket will have run
 * out. What the device says next settles it. OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err assignment_cancel(struct db *db, int64_t id, int64_t now,
	enum assignment_cancel *out, int64_t *until, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err assignment_load(
	struct db *db, int64_t id, struct arena *mem, struct assignment_row *out, struct errmsg *e);
/* The device's open one. OTA_NOT_FOUND: nothing to do. */
OTA_MUST_USE enum ota_err assignment_load_open(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e);

/* The one that is queued behind it. OTA_NOT_FOUND: none. */
OTA_MUST_USE enum ota_err assignment_load_queued(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e);

/* What the device has to do, else what it had to do last: not what was taken back before its turn came.
 * OTA_NOT_FOUND: nothing was ever assigned. A replaced device's history may be younger than what its
 * replacement has open. */
OTA_MUST_USE enum ota_err assignment_load_latest(
	struct db *db, int64_t device, struct arena *mem, struct assignment_row *out, struct errmsg *e);

struct assignment_filter {
	int64_t rollout; /* 0 = all */
	int64_t device;  /* 0 = all */
	int64_t release; /* 0 = all */
	bool only_open;
	bool only_newest; /* of each device's attempts at the rollout, which has to be given */
};

/* In the order of creation. `filter` may be NULL. */
OTA_MUST_USE enum ota_err assignment_list(struct db *db, const struct assignment_filter *filter,
	const struct db_page *page, struct arena *mem, struct assignment_list *out, struct errmsg *e);

/* A server begins to write through this connection: db_set_start. */
OTA_MUST_USE enum ota_err assignment_start(struct db *db, int64_t now, struct errmsg *e);

/* Was the manifest with that digest ever assigned to the device, whatever came of it? */
OTA_MUST_USE enum ota_err assignment_was_given(
	struct db *db, int64_t device, const uint8_t digest[32], bool *given, struct errmsg *e);

/* The newest one of that digest which ended as cancelled or timed-out after the device had been told, where
 * none of it is open or was seen running: what it runs then was wanted no more. OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err assignment_load_late(struct db *db, int64_t device, const uint8_t digest[32],
	struct arena *mem, struct assignment_row *out, struct errmsg *e);

/* End whatever the device has queued or open: cancelled, or timed-out where nothing can take it back. `why`
 * ("the device was revoked") stands in the device's log; NULL: no line. Nothing open: OTA_OK. */
OTA_MUST_USE enum ota_err assignment_withdraw(
	struct db *db, int64_t device, int64_t now, const char *why, struct errmsg *e);

/* End as timed-out every open assignment that was created before now - its timeout (its rollout's, else
 * `default_s`; 0 = none). At most 1,000 a call; `*n` how many. One whose rows are damaged keeps none of the
 * others waiting: `spoilt` (may be NULL) has the words for the first of them. */
OTA_MUST_USE enum ota_err assignment_expire(
	struct db *db, int64_t now, int64_t default_s, uint64_t *n, struct errmsg *spoilt, struct errmsg *e);

#endif
