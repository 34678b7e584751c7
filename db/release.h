/* Releases: a version of a board's firmware; its manifests (normal, and returns to it) and their envelopes.
 *
 * A release is immutable: (board, version) names one set of images for ever. A manifest is identified by its
 * digest; its envelope may be replaced (more signatures, other keys), the manifest's bytes never change. */
#ifndef DB_RELEASE_H
#define DB_RELEASE_H

#include "db/db.h"

enum { RELEASE_ITEMS_MAX = 8 }; /* 4 components, 2 variants */

struct release_item {
	uint32_t component;            /* index into the board's components */
	char variant[DB_NAME_MAX + 1]; /* "" or the slot it is linked for: "0", "1", "user1", ... */
	uint8_t sha256[32];
};

struct release_row {
	int64_t id;
	int64_t board;
	const char *version;
	const char *notes; /* "" = none */
	int64_t created_at;
	const char *created_by;
	int64_t retired_at; /* 0 = in use; retired: its images may be collected once nobody needs them */
	size_t n_items;     /* 1..RELEASE_ITEMS_MAX; ordered by component and variant */
	bool is_collected;  /* some image of it is gone; not read by insert */
	struct release_item items[RELEASE_ITEMS_MAX];
	/* its newest normal manifest; all zero while there is none. Not read by insert */
	int64_t manifest;
	uint8_t digest[32];
	uint32_t sequence;
	bool is_complete; /* the envelope reaches its threshold: may be assigned */
};

struct release_list {
	struct release_row *rows;
	size_t n;
	int64_t next;
};

/* Add a release. Read: board, version, notes, created_*, items. The same board, version and items again:
 * OTA_OK with its id and
 * `*is_new` false (may be NULL). OTA_EXISTS: that version has other bytes. OTA_NOT_FOUND: the board or an
 * image is not there. OTA_CORRUPT: an image is marked damaged. OTA_INVALID: version, a component outside the
 * board, an item twice, none for a component. */
OTA_MUST_USE enum ota_err release_insert(
	struct db *db, const struct release_row *row, int64_t *id, bool *is_new, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err release_load(
	struct db *db, int64_t id, struct arena *mem, struct release_row *out, struct errmsg *e);
OTA_MUST_USE enum ota_err release_load_version(struct db *db, int64_t board, const char *version,
	struct arena *mem, struct release_row *out, struct errmsg *e);

/* Newest first. `board` 0: of all boards. */
OTA_MUST_USE enum ota_err release_list(struct db *db, int64_t board, const struct db_page *page,
	struct arena *mem, struct release_list *out, struct errmsg *e);

/* Notes only; the rest never changes. */
OTA_MUST_USE enum ota_err release_set_notes(struct db *db, int64_t id, const char *notes, struct errmsg *e);

/* Retire (now > 0) or bring back (now = 0). OTA_STATE: retire with an open assignment, or a rollout that
 * grows or is tried again; or bring back after its images were collected. */
OTA_MUST_USE enum ota_err release_retire(struct db *db, int64_t id, int64_t now, struct errmsg *e);

/* Does a device run it, or have it as what it reverts to? */
OTA_MUST_USE enum ota_err release_is_installed(struct db *db, int64_t id, bool *installed, struct errmsg *e);

/* Remove a release that was never assigned. OTA_STATE: it was, a device runs it, or a return belongs to it.
 */
OTA_MUST_USE enum ota_err release_delete(struct db *db, int64_t id, struct errmsg *e);

/* Stored: append only. */
enum manifest_kind {
	MANIFEST_NORMAL = 0,
	MANIFEST_RETURN = 1, /* the way back to `release` from `after` */
	MANIFEST_KIND_MAX = MANIFEST_RETURN,
};

struct manifest_row {
	int64_t id;
	int64_t release; /* whose images it installs */
	int64_t board;   /* the release's; not read by insert */
	enum manifest_kind kind;
	int64_t after; /* MANIFEST_RETURN: the release that it was signed with; else 0 */
	uint32_t sequence;
	uint8_t digest[32];
	const uint8_t *manifest; /* content of the manifest bstr */
	size_t manifest_len;
	const uint8_t *text; /* what the text digest names; NULL = none */
	size_t text_len;
	const uint8_t *envelope; /* with the signatures so far */
	size_t envelope_len;
	uint32_t n_signatures;
	bool is_complete;      /* reaches the threshold of root_version */
	uint32_t root_version; /* the root that it was last judged by */
	int64_t created_at;
	int64_t signed_at; /* when the envelope last changed */
	bool is_retired;   /* its release is; not read by insert */
};

/* Add a manifest with its envelope. Read: all but id, board. The same digest again: OTA_OK with its id,
 * nothing changed. OTA_CONFLICT: the sequence is not above the board's highest. OTA_NOT_FOUND: no such
 * release. OTA_INVALID: lengths, kind and `after`, or `after` is of another board. */
OTA_MUST_USE enum ota_err manifest_insert(
	struct db *db, const struct manifest_row *row, int64_t *id, struct errmsg *e);

/* Replace the envelope: same manifest, other signatures. Read: envelope, n_signatures, is_complete,
 * root_version. OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err manifest_set_envelope(
	struct db *db, int64_t id, const struct manifest_row *row, int64_t now, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err manifest_load(
	struct db *db, int64_t id, struct arena *mem, struct manifest_row *out, struct errmsg *e);
OTA_MUST_USE enum ota_err manifest_load_digest(struct db *db, const uint8_t digest[static 32],
	struct arena *mem, struct manifest_row *out, struct errmsg *e);
/* The return to `release` that was signed with `after` (the newest). */
OTA_MUST_USE enum ota_err manifest_load_return(struct db *db, int64_t release, int64_t after,
	struct arena *mem, struct manifest_row *out, struct errmsg *e);

/* What a ticket says of a manifest. */
struct manifest_size {
	int64_t id;
	uint8_t digest[32];
	uint16_t size; /* bytes of its envelope; 0 = a draft */
};

struct manifest_sizes {
	struct manifest_size *rows;
	size_t n;
	int64_t next;
};

/* Of a release; of every release that installs these bytes. Oldest first, and neither notes nor envelopes
 * are read: there may be thousands. */
OTA_MUST_USE enum ota_err manifest_sizes_of_release(struct db *db, int64_t release,
	const struct db_page *page, struct arena *mem, struct manifest_sizes *out, struct errmsg *e);
OTA_MUST_USE enum ota_err manifest_sizes_of_image(struct db *db, const uint8_t sha256[static 32],
	const struct db_page *page, struct arena *mem, struct manifest_sizes *out, struct errmsg *e);

/* Highest sequence of the board; 0 = none yet. The next one is max(now, this + 8). */
OTA_MUST_USE enum ota_err manifest_highest(
	struct db *db, int64_t board, uint32_t *sequence, struct errmsg *e);

/* Highest sequence that an approved device of the board says it runs, as far as it is not above `limit`; 0 =
 * none. After an old backup came back it is the only trace of the releases since. */
OTA_MUST_USE enum ota_err manifest_seen(
	struct db *db, int64_t board, int64_t limit, uint32_t *sequence, struct errmsg *e);

/* The releases that the board's approved devices are confirmed on, by how many (most first, at most `max`):
 * what a new release signs returns to. */
struct running_row {
	int64_t release;
	uint64_t n_devices;
};
OTA_MUST_USE enum ota_err release_running(
	struct db *db, int64_t board, struct running_row *rows, size_t max, size_t *n, struct errmsg *e);

#endif
