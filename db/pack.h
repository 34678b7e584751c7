/* One archive (POSIX pax) as a stream of named regular files, for backup.c and restore.c.
 *
 * The only user of the archive library. Names come out as they stand in the archive and are hostile: the
 * caller compares them with what it expects and never makes a path of them. */
#ifndef DB_PACK_H
#define DB_PACK_H

#include "proto/crypto.h"
#include "proto/errmsg.h"

struct pack;

/* Write to a descriptor (a pipe will do), which stays the caller's. */
OTA_MUST_USE enum ota_err pack_open_fd(int fd, struct pack **out, struct errmsg *e);
/* Write to memory of at most `size_max` bytes. */
OTA_MUST_USE enum ota_err pack_open_memory(size_t size_max, struct pack **out, struct errmsg *e);

/* Add a file of `len` bytes. */
OTA_MUST_USE enum ota_err pack_bytes(
	struct pack *p, const char *name, const void *bytes, size_t len, int64_t mtime, struct errmsg *e);
/* Add `size` bytes of `fd` from its beginning. `sha256` (may be NULL) is what they must hash to: OTA_DIGEST
 * after they were written. OTA_TRUNCATED: the file is shorter. OTA_IO. The archive is then worthless. */
OTA_MUST_USE enum ota_err pack_file(struct pack *p, const char *name, int fd, uint64_t size,
	const struct ota_crypto *crypto, const uint8_t *sha256, int64_t mtime, struct errmsg *e);

/* Write the end. `*bytes` (may be NULL): length of the archive. pack_free comes after. */
OTA_MUST_USE enum ota_err pack_end(struct pack *p, uint64_t *bytes, struct errmsg *e);
/* What pack_open_memory's archive holds; valid until pack_free. After pack_end. */
const void *pack_memory(const struct pack *p, size_t *len);
/* NULL is a no-op. Memory is wiped. */
void pack_free(struct pack *p);

struct unpack;

struct unpack_entry {
	char name[128];
	uint64_t size;
};

OTA_MUST_USE enum ota_err unpack_open_fd(int fd, struct unpack **out, struct errmsg *e);
OTA_MUST_USE enum ota_err unpack_open_memory(
	const void *bytes, size_t len, struct unpack **out, struct errmsg *e);

/* The next file. OTA_NOT_FOUND: the end. OTA_FORMAT: no archive, or an entry that is no plain file or whose
 * name is too long. OTA_TRUNCATED, OTA_IO. */
OTA_MUST_USE enum ota_err unpack_next(struct unpack *u, struct unpack_entry *entry, struct errmsg *e);
/* Up to `len` bytes of it; `*n` 0 at its end. OTA_TRUNCATED, OTA_IO. */
OTA_MUST_USE enum ota_err unpack_read(struct unpack *u, void *buf, size_t len, size_t *n, struct errmsg *e);
void unpack_free(struct unpack *u); /* NULL is a no-op */

static inline void auto_pack(struct pack **p)
{
	pack_free(*p);
}

static inline void auto_unpack(struct unpack **u)
{
	unpack_free(*u);
}

#endif
