/* What blob.c (the blobs) and blob_part.c (the uploads in tmp/) share; nobody else includes it.
 *
 * Names inside the store are made from digests alone, or were read from its directories; the kernel holds
 * them inside it all the same. Descriptors are O_CLOEXEC and the caller's. */
#ifndef DB_BLOB_INTERNAL_H
#define DB_BLOB_INTERNAL_H

#include <dirent.h>
#include <sys/types.h>

#include "db/blob.h"

enum { BLOB_HEX_LEN = 64 };

struct blob_store {
	const struct ota_crypto *crypto;
	_Atomic uint64_t reserve;
	int dir; /* DIR/blobs */
	int tmp; /* DIR/blobs/tmp; -1: read only and not there */
};

struct blob_name {
	char dir[3];
	char file[BLOB_HEX_LEN + 1];
	char path[3 + BLOB_HEX_LEN + 1];
};

struct blob_name blob_name_of(const uint8_t sha256[static 32]);

/* "cannot <doing> blob '<name>'", the error of errno. */
enum ota_err blob_fail_name(struct errmsg *e, const char *doing, const char *name);

/* As openat, held beneath `dir` and without symbolic links. -1 and errno. */
int blob_open_beneath(int dir, const char *path, int flags, mode_t mode);

/* A directory; when it may be made, its name is synced. -1 and errno. */
int blob_open_dir(int parent, const char *name, bool may_make);

/* A directory stream with a position of its own. NULL and errno. */
DIR *blob_stream(int parent, const char *name);

static inline void auto_dirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* `name` is for the message. OTA_CORRUPT: no regular file. */
OTA_MUST_USE enum ota_err blob_size_of(int fd, const char *name, uint64_t *size, struct errmsg *e);

/* Hash `size` bytes of `fd` from its beginning. OTA_IO: a read failed; OTA_TRUNCATED: it ends before. */
OTA_MUST_USE enum ota_err blob_hash_file(
	const struct ota_crypto *c, int fd, uint64_t size, struct ota_sha256 *h, struct errmsg *e);

#endif
