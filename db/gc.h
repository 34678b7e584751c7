/* Garbage collection of images: what no release, assignment or return needs.
 *
 * An image is needed while any of these names it: a release that is not retired; a release that an open
 * assignment installs, that a device is seen running, or that it reverts to (what it confirmed last, and
 * before that); a release whose return was signed with a release that is not retired. Young images (younger
 * than the grace time) are kept too: an upload comes before its release. */
#ifndef DB_GC_H
#define DB_GC_H

#include "db/blob.h"
#include "db/db.h"

struct gc_list {
	uint8_t (*sha256)[32]; /* in the arena */
	size_t n;
};

/* Store thread, in a transaction: delete the rows of at most `limit` images that nobody needs and return
 * their digests (also the releases' items that only named them: a retired release stays as history, without
 * bytes). After the commit, gc_unlink for each. */
OTA_MUST_USE enum ota_err gc_collect(struct db *db, int64_t now, int64_t grace_s, uint32_t limit,
	struct arena *mem, struct gc_list *out, struct errmsg *e);

/* Store thread, inside the caller's transaction: delete the row of one image now, however young, unless it is
 * needed. OTA_STATE: it is. */
OTA_MUST_USE enum ota_err gc_forget(struct db *db, int64_t image, struct errmsg *e);

/* Store thread, after the commit that took the row away (a later job): remove a blob unless a row names it
 * (again). OTA_BUSY: a backup is running; leave it, gc_orphans finds it later. A blob that is gone already is
 * OTA_OK. `*held` is written on OTA_OK: a descriptor that a slower thread closes, for only that frees the
 * bytes (as blob_unlink), or -1. */
OTA_MUST_USE enum ota_err gc_unlink(struct db *db, const struct blob_store *bs,
	const uint8_t sha256[static 32], int *held, struct errmsg *e);

/* Worker, read-only connection: blobs that no row names and that are older than `grace_s` (a crash between a
 * rename and its commit, or between a commit and its unlink). For each, gc_unlink on the store thread. At
 * most `limit`. */
OTA_MUST_USE enum ota_err gc_orphans(struct db *db, const struct blob_store *bs, int64_t now, int64_t grace_s,
	uint32_t limit, struct arena *mem, struct gc_list *out, struct errmsg *e);

#endif
