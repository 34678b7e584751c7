/* Damaged images: what must not be offered while its bytes cannot be read.
 *
 * The database marks the image; here stand the manifests that install it, so that no ticket names them. An
 * upload of the same bytes heals the image, and what is still assigned is offered again. Loop thread, but for
 * damaged_load. */
#ifndef SERVER_DAMAGED_H
#define SERVER_DAMAGED_H

#include "db/db.h"

struct damaged_row {
	int64_t image;
	uint8_t digest[32]; /* of a manifest that installs it */
	uint16_t size;      /* of its envelope, for when it is whole again */
};

/* A zeroed list is empty. */
struct damaged {
	struct damaged_row *rows; /* owned */
	size_t n;
};

/* The manifests of an image that is marked as damaged, in `mem`; none for one that is sound or gone. Store
 * thread, or before the loop runs. */
OTA_MUST_USE enum ota_err damaged_load(struct db *db, int64_t image, struct arena *mem,
	struct damaged_row **rows, size_t *n, struct errmsg *e);

void damaged_release(struct damaged *d);

/* NULL: may be offered. */
struct damaged_row *damaged_find(const struct damaged *d, const uint8_t digest[32]);

/* These are the manifests of `image` from now on; `healed` (may be NULL) is called for each that was one
 * before. OTA_NO_MEMORY: nothing changed. */
OTA_MUST_USE enum ota_err damaged_replace(struct damaged *d, int64_t image, const struct damaged_row *rows,
	size_t n, void (*healed)(void *ctx, const struct damaged_row *row), void *ctx);

#endif
