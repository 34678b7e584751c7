/* What backup.c writes and restore.c reads: the archive's names and its MANIFEST.
 *
 * 	otad-backup 1
 * 	program 0.1.0
 * 	schema 1
 * 	created 1700000000
 * 	database 73728 <64 hex>
 * 	blobs 12
 * 	keys 812 <64 hex>        or: keys none
 *
 * Entries in this order: MANIFEST, keys.enc (when there are keys), otad.db, then blobs/<64 hex>. keys.enc is
 * a keybox around an archive of keys/NAME and tls/NAME. */
#ifndef DB_BACKUP_FORM_H
#define DB_BACKUP_FORM_H

#include <limits.h>

#include "db/backup.h"

#define BACKUP_MANIFEST "MANIFEST"
#define BACKUP_KEYS "keys.enc"
#define BACKUP_DATABASE "otad.db"
#define BACKUP_BLOBS "blobs/"

enum {
	BACKUP_MANIFEST_MAX = 1024,
	BACKUP_KEYS_MAX = 1024 * 1024,
	BACKUP_KEY_FILE_MAX = 64 * 1024,
};

struct backup_manifest {
	int schema;
	int64_t created_at;
	uint64_t database_size;
	uint8_t database_sha256[32];
	uint64_t n_blobs;
	bool has_keys;
	uint64_t keys_size;
	uint8_t keys_sha256[32];
};

/* Text of at most BACKUP_MANIFEST_MAX bytes; returns its length. */
size_t backup_manifest_print(const struct backup_manifest *m, char out[static BACKUP_MANIFEST_MAX]);

/* OTA_FORMAT: not ours, or of another form. */
OTA_MUST_USE enum ota_err backup_manifest_parse(
	const char *text, size_t len, struct backup_manifest *out, struct errmsg *e);

/* Directories of `dir` that hold secrets. */
extern const char *const backup_key_dirs[2];

/* SHA-256 of an open file from its beginning. */
OTA_MUST_USE enum ota_err backup_hash_fd(
	const struct ota_crypto *crypto, int fd, uint64_t *size, uint8_t sha256[32], struct errmsg *e);

/* The directory that a path lies in. OTA_INVALID: too long. */
OTA_MUST_USE enum ota_err backup_parent_of(const char *path, char parent[static PATH_MAX], struct errmsg *e);

/* Make directory entries durable. */
OTA_MUST_USE enum ota_err backup_sync_dir(const char *dir, struct errmsg *e);

#endif
