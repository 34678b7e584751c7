/* Changes: which rows changed, in commit order, for whoever follows (the registry; later other otads).
 *
 * Every writing function of this layer appends here itself, in its own transaction. A row says only that
 * something about (kind, id) is different now; the follower loads it and finds it new, changed or gone.
 * Counters, progress and last-seen are no changes. */
#ifndef DB_CHANGE_H
#define DB_CHANGE_H

#include "db/db.h"

/* Stored: append only. `id` is the row's own id unless said otherwise. */
enum change_kind {
	CHANGE_BOARD = 0,
	CHANGE_IMAGE = 1,
	CHANGE_RELEASE = 2, /* also its manifests and envelopes */
	CHANGE_DEVICE = 3,  /* also its identities, tags, attributes, enrolment and what it reported */
	CHANGE_ENROLL = 4,  /* an enrollment secret */
	CHANGE_ROLLOUT = 5,
	CHANGE_ASSIGNMENT = 6,
	CHANGE_TOKEN = 7,
	CHANGE_SETTING = 8, /* id 0 */
	CHANGE_ROOT = 9,    /* id = the root's version */
	CHANGE_KIND_MAX = CHANGE_ROOT,
};

struct change_row {
	int64_t seq; /* rises by one with every change: a gap at the beginning is what was trimmed */
	enum change_kind kind;
	int64_t id;
};

struct change_list {
	struct change_row *rows;
	size_t n;
	int64_t next; /* 0: that was all */
};

/* Append one (for the files of db/). */
OTA_MUST_USE enum ota_err change_add(struct db *db, enum change_kind kind, int64_t id, struct errmsg *e);

/* Changes after page->cursor, oldest first. OTA_TRUNCATED: rows after the cursor were trimmed; load
 * everything anew and go on from change_newest. */
OTA_MUST_USE enum ota_err change_list(struct db *db, const struct db_page *page, struct arena *mem,
	struct change_list *out, struct errmsg *e);

/* seq of the newest change; 0 when there is none. */
OTA_MUST_USE enum ota_err change_newest(struct db *db, int64_t *seq, struct errmsg *e);

/* Is there a change of that row after `seq`? */
OTA_MUST_USE enum ota_err change_is_after(
	struct db *db, int64_t seq, enum change_kind kind, int64_t id, bool *is, struct errmsg *e);

/* Forget all but the newest `keep` rows. */
OTA_MUST_USE enum ota_err change_trim(struct db *db, int64_t keep, struct errmsg *e);

#endif
