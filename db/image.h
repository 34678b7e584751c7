/* Images: immutable bytes, named by their SHA-256; the bytes are in the blob store (blob.h). */
#ifndef DB_IMAGE_H
#define DB_IMAGE_H

#include "db/blob.h"
#include "db/db.h"
#include "proto/image.h"

struct image_row {
	int64_t id;
	uint8_t sha256[32];     /* = digests.sha256 */
	struct image_info info; /* facts read at upload; `hint` is not stored */
	struct image_digests digests;
	bool is_damaged; /* a read failed or gave other bytes: not offered until it is uploaded again */
	int64_t created_at;
	const char *created_by;
};

struct image_list {
	struct image_row *rows;
	size_t n;
	int64_t next;
};

/* Store the facts of a blob that blob_finish put in place. Read: info, digests, created_*. The same image
 * again: OTA_OK with the id that it has, facts refreshed, and a damaged mark is taken away. OTA_UNAVAILABLE:
 * the blob is not there (it was collected meanwhile: upload again). OTA_SIZE: the blob's size is not
 * info.size. Runs on the store thread, as gc_unlink does: one of the two is first. */
OTA_MUST_USE enum ota_err image_insert(struct db *db, const struct blob_store *blobs,
	const struct image_row *row, int64_t *id, struct errmsg *e);

/* Is there a row of it? */
OTA_MUST_USE enum ota_err image_exists(
	struct db *db, const uint8_t sha256[static 32], bool *exists, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err image_load(struct db *db, const uint8_t sha256[static 32], struct arena *mem,
	struct image_row *out, struct errmsg *e);
OTA_MUST_USE enum ota_err image_load_id(
	struct db *db, int64_t id, struct arena *mem, struct image_row *out, struct errmsg *e);

/* The image with these bytes under a foreign name: one of its MD5s (plain or variant), its SHA-1 or ELF
 * SHA-256, by the length: 16, 20 or 32. The newest wins where several have it. */
OTA_MUST_USE enum ota_err image_find_digest(struct db *db, const uint8_t *digest, size_t len,
	struct arena *mem, struct image_row *out, struct errmsg *e);

/* Mark damaged or sound. The same again: OTA_OK, nothing changed. OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err image_set_damaged(
	struct db *db, const uint8_t sha256[static 32], bool is_damaged, struct errmsg *e);

/* Forget an image. OTA_STATE: a release has it. The blob goes with gc_unlink. */
OTA_MUST_USE enum ota_err image_delete(struct db *db, const uint8_t sha256[static 32], struct errmsg *e);

/* Oldest first. */
OTA_MUST_USE enum ota_err image_list(struct db *db, const struct db_page *page, struct arena *mem,
	struct image_list *out, struct errmsg *e);

/* How many are marked as damaged. */
OTA_MUST_USE enum ota_err image_count_damaged(struct db *db, uint64_t *n, struct errmsg *e);

#endif
