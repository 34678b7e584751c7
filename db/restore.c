/* The half of backup.h that brings a data directory back.
 *
 * Everything is unpacked and verified in DIR/.restore. Its rename to DIR/.restored is the one moment at which
 * the restore happens; what follows moves the pieces up, can be repeated, and is, by backup_recover. A rename
 * of DIR itself would be shorter but fails where DIR is a mount point. */
#include "db/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "db/backup_form.h"
#include "db/image.h"
#include "db/keybox.h"
#include "db/list.h"
#include "db/migrate.h"
#include "db/pack.h"
#include "db/sqlite_copy.h"
#include "proto/hex.h"

enum { BLOCK = 64 * 1024, SNAPSHOT_LIFE_S = 86400 };

struct restorer {
	const struct backup_options *options;
	struct unpack *u;
	struct backup_manifest manifest;
	struct backup_stats stats;
	struct blob_store *bs;
	char stage[PATH_MAX - 128]; /* DIR/.restore */
};

static enum ota_err path_in(char out[PATH_MAX], const char *dir, const char *name, struct errmsg *e)
{
	if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", dir);
	return OTA_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_tree(const char *dir)
{
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static enum ota_err format_fail(struct errmsg *e, const char *what)
{
	return errmsg_fail(e, OTA_FORMAT, "this is no backup of otad: %s", what);
}

/* All of the present entry; it must be of exactly this size. */
static enum ota_err read_whole(struct restorer *r, void *buf, size_t size, struct errmsg *e)
{
	uint8_t *to = buf;
	size_t done = 0, n;
	enum ota_err err;

	while (done < size) {
		err = unpack_read(r->u, to + done, size - done, &n, e);
		if (err != OTA_OK)
			return err;
		if (n == 0)
			return errmsg_fail(e, OTA_TRUNCATED, "the archive ends too early");
		done += n;
	}
	return OTA_OK;
}

static enum ota_err next_named(
	struct restorer *r, const char *name, struct unpack_entry *entry, struct errmsg *e)
{
	enum ota_err err = unpack_next(r->u, entry, e);

	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, OTA_TRUNCATED, "the archive ends too early");
	if (err == OTA_OK && strcmp(entry->name, name) != 0)
		return format_fail(e, "entries in another order");
	return err;
}

static enum ota_err take_manifest(struct restorer *r, struct errmsg *e)
{
	struct unpack_entry entry;
	char text[BACKUP_MANIFEST_MAX];
	enum ota_err err = next_named(r, BACKUP_MANIFEST, &entry, e);

	if (err == OTA_OK && entry.size > sizeof text)
		return format_fail(e, "its MANIFEST is too long");
	if (err == OTA_OK)
		err = read_whole(r, text, (size_t)entry.size, e);
	if (err == OTA_OK)
		err = backup_manifest_parse(text, (size_t)entry.size, &r->manifest, e);
	if (err != OTA_OK)
		return err;
	if (r->manifest.schema > migrate_newest())
		return errmsg_fail(e, OTA_SCHEMA,
			"the backup has schema %d, this program knows %d: use a newer otad",
			r->manifest.schema, migrate_newest());
	if (r->manifest.has_keys && !r->options->passphrase)
		return errmsg_fail(e, OTA_DENIED,
			"the backup holds keys: restore it with --with-keys, which asks for its passphrase, "
			"or "
			"--passphrase-file FILE");
	return OTA_OK;
}

static enum ota_err write_file(const char *path, const void *bytes, size_t len, struct errmsg *e)
{
	AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	const uint8_t *from = bytes;
	size_t done = 0;

	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", path);
	while (done < len) {
		ssize_t n = write(fd, from + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return errmsg_fail_errno(e, n < 0 ? errno : EIO, "cannot write '%s'", path);
		done += (size_t)n;
	}
	return fsync(fd) == 0 ? OTA_OK : errmsg_fail_errno(e, errno, "cannot sync '%s'", path);
}

/* keys/NAME or tls/NAME; the name is checked before a path is made of it. */
static enum ota_err key_store(
	struct restorer *r, const struct unpack_entry *entry, const void *bytes, struct errmsg *e)
{
	char dir[PATH_MAX], path[PATH_MAX];
	enum ota_err err;

	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(backup_key_dirs[i]);

		if (strncmp(entry->name, backup_key_dirs[i], len) != 0 || entry->name[len] != '/' ||
			!limit_name_is_valid(entry->name + len + 1))
			continue;
		err = path_in(dir, r->stage, backup_key_dirs[i], e);
		if (err == OTA_OK && mkdir(dir, 0700) < 0 && errno != EEXIST)
			err = errmsg_fail_errno(e, errno, "cannot make '%s'", dir);
		if (err == OTA_OK)
			err = path_in(path, dir, entry->name + len + 1, e);
		if (err == OTA_OK)
			err = write_file(path, bytes, (size_t)entry->size, e);
		return err == OTA_OK ? backup_sync_dir(dir, e) : err;
	}
	return format_fail(e, "a key of an unknown name");
}

static enum ota_err keys_store(struct restorer *r, const uint8_t *plain, size_t len, struct errmsg *e)
{
	AUTO(unpack) struct unpack *inner = NULL;
	AUTO(free) uint8_t *buf = malloc(BACKUP_KEY_FILE_MAX);
	struct unpack_entry entry;
	enum ota_err err;

	if (!buf)
		return no_memory_fail(e);
	err = unpack_open_memory(plain, len, &inner, e);
	while (err == OTA_OK && (err = unpack_next(inner, &entry, e)) == OTA_OK) {
		struct restorer from_inner = {.u = inner};

		if (entry.size > BACKUP_KEY_FILE_MAX)
			return format_fail(e, "a key is too long");
		err = read_whole(&from_inner, buf, (size_t)entry.size, e);
		if (err == OTA_OK)
			err = key_store(r, &entry, buf, e);
		ota_wipe(buf, (size_t)entry.size);
		if (err == OTA_OK)
			r->stats.n_keys++;
	}
	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

static enum ota_err take_keys(struct restorer *r, struct errmsg *e)
{
	AUTO(free) uint8_t *box = NULL;
	AUTO(free) uint8_t *plain = NULL;
	struct unpack_entry entry;
	struct ota_slice part;
	uint8_t got[32];
	size_t size;
	enum ota_err err;

	if (!r->manifest.has_keys)
		return OTA_OK;
	err = next_named(r, BACKUP_KEYS, &entry, e);
	if (err != OTA_OK)
		return err;
	if (entry.size != r->manifest.keys_size || entry.size > BACKUP_KEYS_MAX ||
		entry.size < KEYBOX_OVERHEAD)
		return format_fail(e, "its keys have another size");
	size = (size_t)entry.size;
	box = malloc(size);
	plain = malloc(size);
	if (!box || !plain)
		return no_memory_fail(e);
	err = read_whole(r, box, size, e);
	if (err != OTA_OK)
		return err;
	part = (struct ota_slice){box, size};
	ota_sha256(r->options->crypto, &part, 1, got);
	if (memcmp(got, r->manifest.keys_sha256, sizeof got) != 0)
		return errmsg_fail(e, OTA_DIGEST, "the archive is damaged: keys");
	err = keybox_open(r->options->passphrase, box, size, plain, e);
	if (err == OTA_OK)
		err = keys_store(r, plain, size - KEYBOX_OVERHEAD, e);
	ota_wipe(plain, size);
	return err;
}

static enum ota_err take_database(struct restorer *r, struct errmsg *e)
{
	AUTO(free) uint8_t *buf = malloc(BLOCK);
	AUTO(fd) int fd = -1;
	struct unpack_entry entry;
	struct ota_sha256 h;
	char path[PATH_MAX];
	uint8_t got[32];
	uint64_t at = 0;
	enum ota_err err;

	if (!buf)
		return no_memory_fail(e);
	err = next_named(r, BACKUP_DATABASE, &entry, e);
	if (err == OTA_OK && entry.size != r->manifest.database_size)
		return format_fail(e, "its database has another size");
	if (err == OTA_OK)
		err = path_in(path, r->stage, "otad.db", e);
	if (err != OTA_OK)
		return err;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", path);
	r->options->crypto->sha256_init(&h);
	while (at < entry.size) {
		size_t n;
		ssize_t written;

		err = unpack_read(r->u, buf, BLOCK, &n, e);
		if (err != OTA_OK)
			return err;
		if (n == 0)
			return errmsg_fail(e, OTA_TRUNCATED, "the archive ends too early");
		r->options->crypto->sha256_update(&h, buf, n);
		written = pwrite(fd, buf, n, (off_t)at);
		if (written != (ssize_t)n)
			return errmsg_fail_errno(e, written < 0 ? errno : ENOSPC, "cannot write '%s'", path);
		at += n;
	}
	r->options->crypto->sha256_final(&h, got);
	if (memcmp(got, r->manifest.database_sha256, sizeof got) != 0)
		return errmsg_fail(e, OTA_DIGEST, "the archive is damaged: database");
	return fsync(fd) == 0 ? OTA_OK : errmsg_fail_errno(e, errno, "cannot sync '%s'", path);
}

static enum ota_err take_blob(struct restorer *r, const struct unpack_entry *entry, struct errmsg *e)
{
	AUTO(free) uint8_t *buf = malloc(BLOCK);
	const char *hex = entry->name + strlen(BACKUP_BLOBS);
	struct blob_writer *w = NULL;
	uint8_t sha256[32];
	size_t n = 1;
	enum ota_err err;

	if (!buf)
		return no_memory_fail(e);
	if (strncmp(entry->name, BACKUP_BLOBS, strlen(BACKUP_BLOBS)) != 0 ||
		hex_decode(hex, strlen(hex), HEX_LOWER, sha256, sizeof sha256) != OTA_OK)
		return format_fail(e, "an entry of an unknown name");
	err = blob_begin(r->bs, sha256, 0, entry->size, &w, NULL, e);
	if (err != OTA_OK)
		return err;
	while (err == OTA_OK && n > 0) {
		err = unpack_read(r->u, buf, BLOCK, &n, e);
		if (err == OTA_OK && n > 0)
			err = blob_write(w, buf, n, e);
	}
	if (err != OTA_OK) {
		blob_abort(w);
		return err;
	}
	err = blob_finish(w, NULL, e);
	if (err == OTA_DIGEST)
		errmsg_set(e, "the archive is damaged: image %s", hex);
	return err;
}

static enum ota_err take_blobs(struct restorer *r, struct errmsg *e)
{
	const struct blob_options options = {.crypto = r->options->crypto, .reserve = 1};
	struct unpack_entry entry;
	enum ota_err err = blob_store_open(r->stage, &options, &r->bs, e);

	while (err == OTA_OK && (err = unpack_next(r->u, &entry, e)) == OTA_OK) {
		if (r->stats.n_blobs == r->manifest.n_blobs)
			return format_fail(e, "more images than it says");
		err = take_blob(r, &entry, e);
		r->stats.n_blobs++;
	}
	if (err != OTA_NOT_FOUND)
		return err;
	if (r->stats.n_blobs != r->manifest.n_blobs)
		return errmsg_fail(e, OTA_TRUNCATED, "the archive ends too early");
	return OTA_OK;
}

static void nothing(void *ctx, const char *line)
{
	(void)ctx;
	(void)line;
}

/* Is what lies in the stage a data directory? Brings an older schema up to date on the way. */
static enum ota_err verify(struct restorer *r, struct errmsg *e)
{
	const struct db_options options = {.mode = DB_CREATE, .now = r->options->now};
	struct db_page page = {.limit = 200};
	AUTO(db) struct db *db = NULL;
	AUTO(arena) struct arena mem;
	uint64_t n_findings = 0;
	enum ota_err err;

	arena_init(&mem, 1024 * 1024);
	err = db_open(r->stage, &options, &db, e);
	if (err == OTA_OK)
		err = sqlite_check(db, nothing, NULL, &n_findings, e);
	if (err == OTA_OK && n_findings)
		return errmsg_fail(e, OTA_CORRUPT, "the database of the backup is damaged");
	do {
		struct image_list list = {0};
		uint64_t size;

		arena_clear(&mem);
		if (err == OTA_OK)
			err = image_list(db, &page, &mem, &list, e);
		for (size_t i = 0; err == OTA_OK && i < list.n; i++) {
			if (list.rows[i].is_damaged)
				continue;
			err = blob_stat(r->bs, list.rows[i].sha256, &size, e);
			if (err == OTA_NOT_FOUND)
				return errmsg_fail(
					e, OTA_CORRUPT, "the backup lacks an image that its database names");
		}
		page.cursor = list.next;
	} while (err == OTA_OK && page.cursor);
	return err;
}

static enum ota_err unpack_all(struct restorer *r, int fd, struct errmsg *e)
{
	enum ota_err err = unpack_open_fd(fd, &r->u, e);

	if (err == OTA_OK)
		err = take_manifest(r, e);
	if (err == OTA_OK)
		err = take_keys(r, e);
	if (err == OTA_OK)
		err = take_database(r, e);
	if (err == OTA_OK)
		err = take_blobs(r, e);
	if (err == OTA_OK)
		err = verify(r, e);
	if (err == OTA_OK)
		err = backup_sync_dir(r->stage, e);
	unpack_free(r->u);
	blob_store_close(r->bs);
	r->u = NULL;
	r->bs = NULL;
	return err;
}

static void auto_dirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static enum ota_err is_empty(const char *dir, struct errmsg *e)
{
	AUTO(dirp) DIR *d = opendir(dir);
	const struct dirent *entry;

	if (!d)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", dir);
	while ((entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			strcmp(entry->d_name, "lost+found") != 0)
			return errmsg_fail(e, OTA_EXISTS, "'%s' is not empty", dir);
	}
	return OTA_OK;
}

static enum ota_err move_up(const char *dir, const char *from, const char *name, struct errmsg *e)
{
	char old[PATH_MAX], new[PATH_MAX];
	enum ota_err err = path_in(old, from, name, e);

	if (err == OTA_OK)
		err = path_in(new, dir, name, e);
	if (err == OTA_OK && rename(old, new) < 0)
		return errmsg_fail_errno(e, errno, "cannot move '%s'", old);
	return err;
}

/* Move every piece of DIR/.restored up, the database last, and remove it. Repeatable. */
static enum ota_err finish(const char *dir, const char *restored, struct errmsg *e)
{
	AUTO(dirp) DIR *d = opendir(restored);
	const struct dirent *entry;
	char path[PATH_MAX];
	enum ota_err err = OTA_OK;

	if (!d)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", restored);
	while (err == OTA_OK && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			strcmp(entry->d_name, "otad.db") != 0)
			err = move_up(dir, restored, entry->d_name, e);
	}
	if (err == OTA_OK)
		err = backup_sync_dir(dir, e);
	if (err == OTA_OK)
		err = path_in(path, restored, "otad.db", e);
	/* gone already where a former run got so far */
	if (err == OTA_OK && access(path, F_OK) == 0)
		err = move_up(dir, restored, "otad.db", e);
	if (err == OTA_OK && rmdir(restored) < 0)
		return errmsg_fail_errno(e, errno, "cannot remove '%s'", restored);
	return err == OTA_OK ? backup_sync_dir(dir, e) : err;
}

/* What a backup that was killed left of its copy of the database. A running one is younger. */
static void sweep_snapshots(const char *dir)
{
	AUTO(dirp) DIR *d = opendir(dir);
	const struct dirent *entry;
	char path[PATH_MAX];
	struct stat st;

	while (d && (entry = readdir(d)) != NULL) {
		if (strncmp(entry->d_name, ".backup-", 8) == 0 &&
			path_in(path, dir, entry->d_name, NULL) == OTA_OK && lstat(path, &st) == 0 &&
			st.st_mtim.tv_sec < time(NULL) - SNAPSHOT_LIFE_S)
			remove_tree(path);
	}
}

enum ota_err backup_recover(const char *dir, struct errmsg *e)
{
	char stage[PATH_MAX], restored[PATH_MAX];
	struct stat st;
	enum ota_err err;

	err = path_in(stage, dir, ".restore", e);
	if (err == OTA_OK)
		err = path_in(restored, dir, ".restored", e);
	if (err != OTA_OK)
		return err;
	sweep_snapshots(dir);
	if (lstat(restored, &st) == 0)
		err = finish(dir, restored, e);
	if (err == OTA_OK && lstat(stage, &st) == 0) {
		remove_tree(stage);
		if (lstat(stage, &st) == 0)
			return errmsg_fail(e, OTA_IO, "cannot remove '%s'", stage);
	}
	return err;
}

/* What an interrupted restore left is no content. */
static enum ota_err recover_empty(const char *dir, struct errmsg *e)
{
	enum ota_err err = backup_recover(dir, e);

	return err == OTA_OK ? is_empty(dir, e) : err;
}

enum ota_err backup_can_restore(const char *dir, struct errmsg *e)
{
	char parent[PATH_MAX];
	enum ota_err err;

	if (access(dir, F_OK) == 0)
		return recover_empty(dir, e);
	err = backup_parent_of(dir, parent, e);
	if (err == OTA_OK && access(parent, W_OK | X_OK) < 0)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", dir);
	return err;
}

/* By root into somebody's directory: it is theirs, or the otad that runs as them could not open it. */
static enum ota_err give_to_owner(const char *dir, char *stage, struct errmsg *e)
{
	char *const paths[] = {stage, NULL};
	struct stat owner;
	FTSENT *entry;
	FTS *tree;
	enum ota_err err = OTA_OK;

	if (geteuid() != 0)
		return OTA_OK;
	if (stat(dir, &owner) < 0)
		return errmsg_fail_errno(e, errno, "cannot look at '%s'", dir);
	tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	if (!tree)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", stage);
	while (err == OTA_OK && (entry = fts_read(tree)) != NULL) {
		if (lchown(entry->fts_path, owner.st_uid, owner.st_gid) < 0)
			err = errmsg_fail_errno(
				e, errno, "cannot give '%s' to the owner of '%s'", entry->fts_path, dir);
	}
	(void)fts_close(tree);
	return err;
}

enum ota_err backup_restore(const char *dir, const struct backup_options *options, int fd,
	struct backup_stats *stats, struct errmsg *e)
{
	struct restorer r = {.options = options};
	char restored[PATH_MAX];
	bool made;
	enum ota_err err;

	if (snprintf(r.stage, sizeof r.stage, "%s/.restore", dir) >= (int)sizeof r.stage)
		return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", dir);
	made = mkdir(dir, 0700) == 0;
	if (!made && errno != EEXIST)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", dir);
	err = recover_empty(dir, e);
	if (err != OTA_OK)
		return err;
	if (mkdir(r.stage, 0700) < 0)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", r.stage);
	err = unpack_all(&r, fd, e);
	if (err == OTA_OK)
		err = give_to_owner(dir, r.stage, e);
	if (err == OTA_OK)
		err = path_in(restored, dir, ".restored", e);
	if (err == OTA_OK && rename(r.stage, restored) < 0)
		err = errmsg_fail_errno(e, errno, "cannot rename '%s'", r.stage);
	if (err != OTA_OK) {
		remove_tree(r.stage);
		if (made)
			(void)rmdir(dir);
		return err;
	}
	err = backup_sync_dir(dir, e);
	if (err == OTA_OK)
		err = finish(dir, restored, e);
	if (err == OTA_OK && stats)
		*stats = r.stats;
	return err;
}
