/* Root documents: every version, for ever (a device walks them one by one). The bytes are proto/root.h's
 * business; the caller has verified them. */
#ifndef DB_ROOTDOC_H
#define DB_ROOTDOC_H

#include "db/db.h"

struct rootdoc_row {
	uint32_t version; /* 1.. without gaps */
	const uint8_t *document;
	size_t document_len; /* <= 1,024 */
	uint8_t sha256[32];
	int64_t created_at;
	const char *created_by;
};

struct rootdoc_list {
	struct rootdoc_row *rows;
	size_t n;
	int64_t next;
};

/* Store the next version. The same bytes again: OTA_OK, nothing changed. OTA_ROOT_GAP: not newest + 1.
 * OTA_CONFLICT: this version is there with other bytes. Read: all fields. */
OTA_MUST_USE enum ota_err rootdoc_insert(struct db *db, const struct rootdoc_row *row, struct errmsg *e);

/* OTA_NOT_FOUND: no such version. */
OTA_MUST_USE enum ota_err rootdoc_load(
	struct db *db, uint32_t version, struct arena *mem, struct rootdoc_row *out, struct errmsg *e);

/* The newest; OTA_NO_ROOT when there is none yet. */
OTA_MUST_USE enum ota_err rootdoc_newest(
	struct db *db, struct arena *mem, struct rootdoc_row *out, struct errmsg *e);

/* Oldest first; the cursor is a version. */
OTA_MUST_USE enum ota_err rootdoc_list(struct db *db, const struct db_page *page, struct arena *mem,
	struct rootdoc_list *out, struct errmsg *e);

#endif
