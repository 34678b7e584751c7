/* Rollouts: an operator's decision that devices shall run a release. A push is a rollout of one stage of 100
 * %. */
#ifndef DB_ROLLOUT_H
#define DB_ROLLOUT_H

#include "db/db.h"
#include "proto/state.h"

/* Stored: append only. */
enum rollout_state {
	ROLLOUT_RUNNING = 0,
	ROLLOUT_DONE = 1,      /* no open assignment is left; a retry makes it run again */
	ROLLOUT_CANCELLED = 2, /* by the operator; assignments past the point of no return may still end */
	ROLLOUT_STATE_MAX = ROLLOUT_CANCELLED,
};

/* What is done to all of its assignments, a piece at a time, and is not through yet. Stored: append only. */
enum rollout_doing {
	ROLLOUT_NOTHING = 0,
	ROLLOUT_CANCELLING = 1, /* no ticket names them any more; what came of each is being looked at */
	ROLLOUT_RETRYING = 2,
	ROLLOUT_DOING_MAX = ROLLOUT_RETRYING,
};

struct rollout_row {
	int64_t id;
	int64_t revision; /* starts at 1 */
	const char *uid;  /* chosen by the client: 1..64 of A-Z a-z 0-9 . _ - ; unique */
	int64_t release;
	const char *selector; /* as the operator wrote it */
	bool is_held;         /* --hold: fetch and stage, do not arm */
	bool accepts_served;  /* --accept-served */
	uint32_t timeout_s;   /* per assignment; 0 = the server's */
	enum rollout_state state;
	const char *created_by;
	int64_t created_at;
	int64_t ended_at; /* 0 = running */
	/* Its devices are still being assigned, a piece at a time: it is not done before they all are. */
	bool is_growing;
	int64_t cursor; /* is_growing: the device that is behind it; 0 = none yet */
	enum rollout_doing doing;
	int64_t doing_cursor; /* doing: the assignment that is behind it */
	int64_t doing_last;   /* RETRYING: the last that is meant */
	const char *doing_by; /* RETRYING: whose word it is */
};

struct rollout_list {
	struct rollout_row *rows;
	size_t n;
	int64_t next;
};

/* Add. Read: uid, release, selector, is_held, accepts_served, timeout_s, created_*, is_growing, cursor. The
 * same uid with the same release, selector and options: OTA_OK with its id and `*is_new` false (may be NULL),
 * so that a repeated request is the same one. OTA_CONFLICT: that uid is another rollout. OTA_NOT_FOUND:
 * release. OTA_STATE: the release has no complete normal manifest, or is retired. OTA_INVALID: uid, selector.
 */
OTA_MUST_USE enum ota_err rollout_insert(
	struct db *db, const struct rollout_row *row, int64_t *id, bool *is_new, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err rollout_load(
	struct db *db, int64_t id, struct arena *mem, struct rollout_row *out, struct errmsg *e);
OTA_MUST_USE enum ota_err rollout_load_uid(
	struct db *db, const char *uid, struct arena *mem, struct rollout_row *out, struct errmsg *e);

/* Newest first. `state` -1: all; ROLLOUT_RUNNING: also what something is done to. */
OTA_MUST_USE enum ota_err rollout_list(struct db *db, int state, const struct db_page *page,
	struct arena *mem, struct rollout_list *out, struct errmsg *e);

/* How far it has grown: everything up to the device `cursor` is assigned. `is_whole`: that was all, and
 * where nothing is left to do it is done. One that was cancelled meanwhile is whole as it is. */
OTA_MUST_USE enum ota_err rollout_grown(
	struct db *db, int64_t id, int64_t cursor, bool is_whole, int64_t now, struct errmsg *e);
/* The oldest after `after` (0: of all) that is still growing. OTA_NOT_FOUND: none. */
OTA_MUST_USE enum ota_err rollout_load_growing(
	struct db *db, int64_t after, struct arena *mem, struct rollout_row *out, struct errmsg *e);
/* The oldest after `after` (0: of all) that something is done to. OTA_NOT_FOUND: none. */
OTA_MUST_USE enum ota_err rollout_next_doing(struct db *db, int64_t after, int64_t *id, struct errmsg *e);

/* Running -> done or cancelled; also done and RETRYING -> cancelled. The same again: OTA_OK. OTA_STATE: it
 * has ended the other way. OTA_CONFLICT: revision. What a cancelled one has open is named in no ticket from
 * then on; it is CANCELLING until rollout_withdraw is through. */
OTA_MUST_USE enum ota_err rollout_end(struct db *db, int64_t id, int64_t if_revision,
	enum rollout_state state, int64_t now, struct errmsg *e);

/* What it has assigned, a page at a time: ids of assignments and of their devices, in the order of creation.
 */
struct rollout_task {
	int64_t id, device;
};
struct rollout_tasks {
	struct rollout_task *rows;
	size_t n;
	int64_t next;
};
/* Those that are open or queued. */
OTA_MUST_USE enum ota_err rollout_list_open(struct db *db, int64_t id, const struct db_page *page,
	struct arena *mem, struct rollout_tasks *out, struct errmsg *e);
/* All, up to `last`: a page looks at ROLLOUT_LOOK assignments of any rollout at most, so it may be short or
 * empty without being the last one; `next` tells. */
enum { ROLLOUT_LOOK = 1000 };
OTA_MUST_USE enum ota_err rollout_list_tasks(struct db *db, int64_t id, int64_t last,
	const struct db_page *page, struct arena *mem, struct rollout_tasks *out, struct errmsg *e);
/* The oldest and newest of them; 0 and 0 where there is none. */
OTA_MUST_USE enum ota_err rollout_span(
	struct db *db, int64_t id, int64_t *first, int64_t *last, struct errmsg *e);

/* What a cancel has done: by enum assignment_cancel of assignment.h. */
struct rollout_cancelled {
	uint64_t n_withdrawn, n_committed, n_unsure;
	int64_t until; /* n_unsure: when the last of their tickets runs out */
};

/* Has the device an assignment in it, whatever came of that? */
OTA_MUST_USE enum ota_err rollout_has(struct db *db, int64_t id, int64_t device, bool *has, struct errmsg *e);

/* Begin to try again what is not cancelled (else: nothing changes): it is RETRYING, behind the assignment
 * `cursor` and up to `last`, and not done before that is through. Once more: from there anew. */
OTA_MUST_USE enum ota_err rollout_retry(
	struct db *db, int64_t id, int64_t cursor, int64_t last, const char *by, struct errmsg *e);
/* How far that is: behind `cursor`; 0: it is through. Not (any more) that: OTA_OK, nothing changes. */
OTA_MUST_USE enum ota_err rollout_did(
	struct db *db, int64_t id, enum rollout_doing what, int64_t cursor, int64_t now, struct errmsg *e);

/* Of a cancelled one: take back what is open and can still be, a piece of it, from `*cursor` on (0 at first,
 * 0 again when all is through), and store how far that is. Adds to `*out`. It decides by who was heard when,
 * so that has to be stored by then, and nobody may be given a ticket meanwhile. */
OTA_MUST_USE enum ota_err rollout_withdraw(struct db *db, int64_t id, int64_t now, int64_t *cursor,
	struct rollout_cancelled *out, struct errmsg *e);

/* Release what was held (is_held becomes false). Not held: OTA_OK. OTA_CONFLICT: revision. OTA_STATE: ended,
 * and not RETRYING. */
OTA_MUST_USE enum ota_err rollout_unhold(struct db *db, int64_t id, int64_t if_revision, struct errmsg *e);

/* Assignments of a rollout by state; each device counts once, by its newest attempt. */
struct rollout_counts {
	uint64_t by_state[ASSIGN_STATES];
	uint64_t total;
	uint64_t n_queued; /* of those that wait: behind another assignment, which has to end first */
	uint64_t n_gone;   /* of those seen running it: whose device runs something else by now, or nothing */
	uint64_t n_drifted; /* of these: nothing newer was assigned */
};
OTA_MUST_USE enum ota_err rollout_count(
	struct db *db, int64_t id, struct rollout_counts *out, struct errmsg *e);

#endif
