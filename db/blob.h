/* Blobs: bytes named by their SHA-256, in DIR/blobs/ab/<64 hex>; uploads grow in DIR/blobs/tmp/<64 hex>.part.
 *
 * A blob appears whole or not at all (written aside, hashed, synced, renamed, directory synced) and never
 * changes (0444), so it can be mapped and served. Names are made from digests alone and opened with
 * RESOLVE_BENEATH and NO_SYMLINKS. Everything here waits for the disk: workers and the store thread only,
 * never the loop. `struct blob_store` is constant after blob_store_open, but for its reserve, and may be used
 * by several threads at once; a writer belongs to one thread at a time. */
#ifndef DB_BLOB_H
#define DB_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/cleanup.h"
#include "proto/crypto.h"
#include "proto/errmsg.h"

struct blob_store;

struct blob_options {
	const struct ota_crypto *crypto; /* its SHA-256 */
	uint64_t reserve;                /* bytes of the file system never given to uploads; 0 = the larger of
					    64 MiB and 5 % */
	bool is_read_only;               /* backup, check: nothing is created */
};

/* Open DIR/blobs, making it and its tmp/ (0700) where they are missing. `*out` ends with blob_store_close.
 * OTA_NOT_FOUND: no such directory. OTA_DENIED: not ours to write. */
OTA_MUST_USE enum ota_err blob_store_open(
	const char *dir, const struct blob_options *options, struct blob_store **out, struct errmsg *e);
void blob_store_close(struct blob_store *bs); /* NULL is a no-op */

/* Another reserve, as in blob_options, from now on. Any thread. */
void blob_store_set_reserve(struct blob_store *bs, uint64_t reserve);

static inline void auto_blob_store(struct blob_store **bs)
{
	blob_store_close(*bs);
}

/* Bytes that are free on its file system for who is not root, and how many of them no upload is given.
 * OTA_IO.
 */
OTA_MUST_USE enum ota_err blob_disk(
	const struct blob_store *bs, uint64_t *free_bytes, uint64_t *reserve, struct errmsg *e);

/* Would `more` bytes leave the reserve free? OTA_NO_SPACE if not. Ask before accepting anything large. */
OTA_MUST_USE enum ota_err blob_space(const struct blob_store *bs, uint64_t more, struct errmsg *e);

/* Is there room for more rows? OTA_NO_SPACE in the last quarter of the reserve, which is for what devices
 * report and for what makes room: on a disk that is full to the last byte nothing can be deleted either. */
OTA_MUST_USE enum ota_err blob_space_rows(const struct blob_store *bs, struct errmsg *e);

/* Size of a whole blob. OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err blob_stat(
	const struct blob_store *bs, const uint8_t sha256[static 32], uint64_t *size, struct errmsg *e);

/* Bytes that an interrupted upload has left, where it can go on. OTA_NOT_FOUND: none. */
OTA_MUST_USE enum ota_err blob_part_stat(
	const struct blob_store *bs, const uint8_t sha256[static 32], uint64_t *size, struct errmsg *e);

/* Open for reading (O_CLOEXEC); the caller closes. OTA_NOT_FOUND. `*size` may be NULL. */
OTA_MUST_USE enum ota_err blob_open(const struct blob_store *bs, const uint8_t sha256[static 32], int *fd,
	uint64_t *size, struct errmsg *e);

struct blob_writer;

/* Begin or go on with the upload of `sha256` at `offset`, which must be what blob_part_stat says (none: 0).
 * OTA_CONFLICT: it is not; `*at` is then the right one (the one out parameter written on an error; may be
 * NULL). OTA_BUSY: another upload of the same digest is writing. OTA_NO_SPACE: the reserve is
 * reached (blob_space says so before). OTA_DIGEST: the partial file could not be read back; it was removed,
 * begin at 0. What is there already is read and hashed again first. `size_max`: bytes after which blob_write
 * says OTA_TOO_LARGE.
 */
OTA_MUST_USE enum ota_err blob_begin(const struct blob_store *bs, const uint8_t sha256[static 32],
	uint64_t offset, uint64_t size_max, struct blob_writer **out, uint64_t *at, struct errmsg *e);

/* Append. OTA_NO_SPACE: the disk or the reserve is reached; what was written before stays, so that the upload
 * can go on later. After an error only blob_suspend and blob_abort are allowed. */
OTA_MUST_USE enum ota_err blob_write(struct blob_writer *w, const void *bytes, size_t len, struct errmsg *e);

/* Bytes so far, those of earlier runs included. */
uint64_t blob_written(const struct blob_writer *w);

/* Make it a blob: hash, sync, rename, sync the directories. Ends the writer whatever happens. OTA_DIGEST: the
 * bytes are others than announced; the partial file is gone. On any other error it stays and can be resumed.
 * Replaces a blob of that name (a damaged one). */
OTA_MUST_USE enum ota_err blob_finish(struct blob_writer *w, uint64_t *size, struct errmsg *e);

/* End the writer and keep the partial file for a resume. NULL is a no-op. */
void blob_suspend(struct blob_writer *w);

/* End the writer and remove the partial file. NULL is a no-op. */
void blob_abort(struct blob_writer *w);

/* Read the whole blob: OTA_OK, OTA_DIGEST (other bytes), OTA_IO (a read failed), OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err blob_verify(
	const struct blob_store *bs, const uint8_t sha256[static 32], struct errmsg *e);

/* Bring [offset, offset + len) into the page cache and report read errors that a mapping would turn into
 * SIGBUS. `map` is a shared mapping of the file at `fd` from offset 0, or NULL: then it is read. OTA_IO. */
OTA_MUST_USE enum ota_err blob_prefault(int fd, void *map, uint64_t offset, size_t len, struct errmsg *e);

/* Remove. OTA_NOT_FOUND. Callers go through gc_unlink, which knows whether a row still names it. `held` (may
 * be NULL) is written on OTA_OK: a descriptor of the bytes, or -1. They are freed when it is closed, and that
 * takes as long as the blob is large; the name is gone at once, and after a crash so are the bytes. */
OTA_MUST_USE enum ota_err blob_unlink(
	const struct blob_store *bs, const uint8_t sha256[static 32], int *held, struct errmsg *e);

/* Remove partial files that nobody writes and that did not grow for `age_s` (24 h: 86,400). `*n` may be NULL.
 */
OTA_MUST_USE enum ota_err blob_sweep(
	const struct blob_store *bs, int64_t now, int64_t age_s, unsigned *n, struct errmsg *e);

/* Call `fn` for every blob; it may unlink the one it is given. Ends at the first error it returns. Names that
 * are no blob's are passed with `sha256` NULL. `mtime` is Unix seconds. */
typedef enum ota_err (*blob_each_fn)(
	void *ctx, const uint8_t *sha256, const char *name, uint64_t size, int64_t mtime, struct errmsg *e);
OTA_MUST_USE enum ota_err blob_each(
	const struct blob_store *bs, blob_each_fn fn, void *ctx, struct errmsg *e);

/* How many uploads are unfinished. */
OTA_MUST_USE enum ota_err blob_part_count(const struct blob_store *bs, uint64_t *n, struct errmsg *e);

/* A lock against removal, across processes: a backup holds it shared (and waits for nothing but a removal in
 * progress), who unlinks takes it alone and gets OTA_BUSY while a backup runs. `*lock` is a descriptor;
 * closing it gives the lock back. */
OTA_MUST_USE enum ota_err blob_lock_shared(const struct blob_store *bs, int *lock, struct errmsg *e);
OTA_MUST_USE enum ota_err blob_lock_alone(const struct blob_store *bs, int *lock, struct errmsg *e);

#endif
