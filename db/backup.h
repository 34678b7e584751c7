/* Backup, restore and check of a data directory.
 *
 * A backup is one pax archive: MANIFEST (text), otad.db (one consistent moment), blobs/<64 hex> for every
 * image of that moment, and with keys DIR/keys as keys.enc (AES-256-GCM under a scrypt key). It is made while
 * otad runs and needs no lock of it. What MANIFEST lists is verified by digest on the way back; a blob is
 * verified by its name. */
#ifndef DB_BACKUP_H
#define DB_BACKUP_H

#include "db/blob.h"
#include "db/db.h"

struct backup_options {
	const struct ota_crypto *crypto;
	const char *passphrase; /* NULL: without keys; else DIR/keys is in, encrypted. At least 8 bytes */
	const char *
		tmp_dir; /* where the database's copy lies meanwhile; NULL: DIR, else TMPDIR, else P_tmpdir */
	int64_t now;
};

struct backup_stats {
	uint64_t bytes; /* of the archive */
	uint64_t n_blobs;
	uint64_t n_keys; /* files of DIR/keys */
};

/* Write the archive of `dir` to `fd` (a pipe will do). `*stats` may be NULL. OTA_INVALID: passphrase.
 * OTA_CORRUPT, OTA_DIGEST: a blob is missing or damaged that is not marked so (`e` names it): nothing may be
 * relied on. */
OTA_MUST_USE enum ota_err backup_write(const char *dir, const struct backup_options *options, int fd,
	struct backup_stats *stats, struct errmsg *e);

/* The same into a file that appears whole or not at all (written aside, synced, renamed), 0600. OTA_EXISTS:
 * `path` is there already. */
OTA_MUST_USE enum ota_err backup_write_file(const char *dir, const struct backup_options *options,
	const char *path, struct backup_stats *stats, struct errmsg *e);

/* Could backup_write begin, and with a `path` (NULL: a pipe) backup_write_file? Asked before a person is
 * asked for a passphrase; they look again. OTA_EXISTS, or an error of `dir` or of the folder of `path`. */
OTA_MUST_USE enum ota_err backup_can_write(const char *dir, const char *path, struct errmsg *e);
/* The same of backup_restore: what an interrupted one left is finished or removed first. OTA_EXISTS: `dir` is
 * not empty. */
OTA_MUST_USE enum ota_err backup_can_restore(const char *dir, struct errmsg *e);

/* Make `dir` (missing, or empty) what the archive at `fd` says. Everything is unpacked and verified aside in
 * `dir`, then moved in; a crash leaves nothing or something that backup_recover finishes. options->passphrase
 * NULL and keys in the archive: OTA_DENIED, nothing done; a wrong one: OTA_DENIED. OTA_EXISTS: `dir` is not
 * empty. OTA_CORRUPT, OTA_DIGEST, OTA_TRUNCATED, OTA_FORMAT: not an archive of ours, or damaged; `dir` is as
 * before. OTA_SCHEMA: made by a newer program. */
OTA_MUST_USE enum ota_err backup_restore(const char *dir, const struct backup_options *options, int fd,
	struct backup_stats *stats, struct errmsg *e);

/* Finish or undo what a restore that was interrupted left in `dir`; OTA_OK also when there is nothing. At
 * otad's start, under its lock, before db_open. */
OTA_MUST_USE enum ota_err backup_recover(const char *dir, struct errmsg *e);

struct check_report {
	uint64_t n_images;
	uint64_t n_blobs;
	uint64_t n_damaged;  /* missing, of another size or digest, or unreadable */
	uint64_t n_orphans;  /* blobs without a row: no fault, garbage collection takes them */
	uint64_t n_partial;  /* unfinished uploads: no fault */
	uint64_t n_database; /* findings of integrity_check and foreign_key_check */
};

/* Examine a data directory, also while otad runs: the database's structure and references, every blob's
 * bytes. `say` (may be NULL) gets one line per finding. OTA_OK: no fault. OTA_CORRUPT: faults, and `*report`
 * is written in this case too. */
OTA_MUST_USE enum ota_err backup_check(const char *dir, const struct ota_crypto *crypto,
	void (*say)(void *ctx, const char *line), void *ctx, struct check_report *report, struct errmsg *e);

#endif
