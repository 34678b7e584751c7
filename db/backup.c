#include "db/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/backup_form.h"
#include "db/image.h"
#include "db/keybox.h"
#include "db/list.h"
#include "db/migrate.h"
#include "db/pack.h"
#include "db/sqlite_copy.h"
#include "db/stmt.h"
#include "proto/hex.h"

/* The database's copy while the archive is written. */
struct snapshot {
	char dir[PATH_MAX - 16];
	char path[PATH_MAX];
	struct db *db;
	int fd;
};

static void auto_snapshot(struct snapshot *s)
{
	db_close(s->db);
	if (s->fd >= 0)
		close(s->fd);
	if (s->path[0])
		(void)unlink(s->path);
	if (s->dir[0])
		(void)rmdir(s->dir);
}

/* The first of the places where a directory of ours can be made. */
static enum ota_err snapshot_dir(const char *dir, const char *tmp_dir, struct snapshot *s, struct errmsg *e)
{
	const char *const places[] = {
		tmp_dir ? tmp_dir : dir, tmp_dir ? NULL : getenv("TMPDIR"), tmp_dir ? NULL : P_tmpdir};

	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		if (!places[i] ||
			snprintf(s->dir, sizeof s->dir, "%s/.backup-XXXXXX", places[i]) >= (int)sizeof s->dir)
			continue;
		if (mkdtemp(s->dir))
			return OTA_OK;
	}
	s->dir[0] = '\0';
	return errmsg_fail_errno(e, errno, "no place for the copy of the database");
}

static enum ota_err snapshot_take(const char *dir, const char *tmp_dir, struct snapshot *s, struct errmsg *e)
{
	const struct db_options options = {.mode = DB_READ_ONLY};
	AUTO(db) struct db *live = NULL;
	enum ota_err err;

	err = db_open(dir, &options, &live, e);
	if (err == OTA_OK)
		err = snapshot_dir(dir, tmp_dir, s, e);
	if (err != OTA_OK)
		return err;
	(void)snprintf(s->path, sizeof s->path, "%s/otad.db", s->dir);
	err = sqlite_copy(live, s->path, e);
	if (err == OTA_OK)
		err = db_open_file(s->path, &options, &s->db, e);
	if (err != OTA_OK)
		return err;
	s->fd = open(s->path, O_RDONLY | O_CLOEXEC);
	return s->fd >= 0 ? OTA_OK : errmsg_fail_errno(e, errno, "cannot open '%s'", s->path);
}

/* One secret file into the inner archive. */
static enum ota_err key_add(struct pack *p, int dir, const char *dir_name, const char *name, int64_t now,
	const struct ota_crypto *crypto, struct errmsg *e)
{
	AUTO(fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	char path[128];

	if (fd < 0 || fstat(fd, &st) < 0)
		return errmsg_fail_errno(e, errno, "cannot read '%s/%s'", dir_name, name);
	if (!S_ISREG(st.st_mode) || !limit_name_is_valid(name) || st.st_size > BACKUP_KEY_FILE_MAX ||
		snprintf(path, sizeof path, "%s/%s", dir_name, name) >= (int)sizeof path)
		return errmsg_fail(e, OTA_INVALID, "'%s/%s' does not belong there", dir_name, name);
	return pack_file(p, path, fd, (uint64_t)st.st_size, crypto, NULL, now, e);
}

static void auto_dirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static enum ota_err key_dir_add(struct pack *p, const char *dir, const char *name, int64_t now,
	const struct ota_crypto *crypto, uint64_t *n, struct errmsg *e)
{
	AUTO(dirp) DIR *d = NULL;
	const struct dirent *entry;
	char path[PATH_MAX];
	enum ota_err err;

	if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
		return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", dir);
	d = opendir(path);
	if (!d && errno == ENOENT)
		return OTA_OK;
	if (!d)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", path);
	while ((entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		err = key_add(p, dirfd(d), name, entry->d_name, now, crypto, e);
		if (err != OTA_OK)
			return err;
		(*n)++;
	}
	return OTA_OK;
}

/* All secrets, encrypted, in the arena. */
static enum ota_err keys_seal(const char *dir, const struct backup_options *o, struct arena *mem,
	const uint8_t **box, size_t *box_len, uint64_t *n, struct errmsg *e)
{
	AUTO(pack) struct pack *p = NULL;
	enum ota_err err = pack_open_memory(BACKUP_KEYS_MAX - KEYBOX_OVERHEAD, &p, e);
	const void *plain;
	uint8_t *out;
	size_t len;

	for (size_t i = 0; err == OTA_OK && i < 2; i++)
		err = key_dir_add(p, dir, backup_key_dirs[i], o->now, o->crypto, n, e);
	if (err == OTA_OK)
		err = pack_end(p, NULL, e);
	if (err != OTA_OK)
		return err;
	plain = pack_memory(p, &len);
	out = arena_alloc(mem, len + KEYBOX_OVERHEAD);
	if (!out)
		return no_memory_fail(e);
	err = keybox_seal(o->passphrase, plain, len, out, e);
	if (err == OTA_OK) {
		*box = out;
		*box_len = len + KEYBOX_OVERHEAD;
	}
	return err;
}

struct blob_row {
	int64_t id;
	uint8_t sha256[32];
	uint64_t size;
	bool is_damaged;
};

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct blob_row row = {
		.id = col_i64(st, "id"),
		.size = col_u64(st, "size"),
		.is_damaged = col_bool(st, "is_damaged"),
	};
	enum ota_err err;

	(void)mem;
	(void)col_blob_exact(st, "sha256", row.sha256, sizeof row.sha256);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct blob_row *)out = row;
	return err;
}

/* Call `fn` for every image of the database. */
typedef enum ota_err (*image_fn)(void *ctx, const struct blob_row *row, struct errmsg *e);

static enum ota_err images_each(struct db *db, image_fn fn, void *ctx, struct errmsg *e)
{
	static const char q_images[] =
		"SELECT id, sha256, size, is_damaged FROM image WHERE id > $cursor ORDER BY id LIMIT $limit";
	struct db_page page = {0};
	AUTO(arena) struct arena mem;
	enum ota_err err;

	arena_init(&mem, 512 * 1024);
	do {
		struct {
			struct blob_row *rows;
			size_t n;
			int64_t next;
		} list;

		arena_clear(&mem);
		{
			AUTO(stmt) struct stmt *st = stmt_get(db, q_images);

			list_bind(st, &page);
			err = list_run(st, &page, &mem, sizeof *list.rows, fill, LIST_OUT(&list), e);
		}
		if (err != OTA_OK)
			return err;
		for (size_t i = 0; i < list.n; i++) {
			err = fn(ctx, &list.rows[i], e);
			if (err != OTA_OK)
				return err;
		}
		page.cursor = list.next;
	} while (page.cursor);
	return OTA_OK;
}

static enum ota_err image_count(void *ctx, const struct blob_row *row, struct errmsg *e)
{
	uint64_t *n = ctx;

	(void)e;
	if (!row->is_damaged)
		(*n)++;
	return OTA_OK;
}

struct blob_copy {
	const struct blob_store *bs;
	const struct backup_options *options;
	struct pack *pack;
};

static enum ota_err image_copy(void *ctx, const struct blob_row *row, struct errmsg *e)
{
	const struct blob_copy *c = ctx;
	char name[sizeof BACKUP_BLOBS + 64] = BACKUP_BLOBS;
	AUTO(fd) int fd = -1;
	uint64_t size;
	enum ota_err err;

	if (row->is_damaged)
		return OTA_OK;
	hex_encode(row->sha256, 32, name + strlen(BACKUP_BLOBS));
	err = blob_open(c->bs, row->sha256, &fd, &size, e);
	if (err == OTA_OK && size == row->size)
		return pack_file(
			c->pack, name, fd, size, c->options->crypto, row->sha256, c->options->now, e);
	if (err == OTA_OK || err == OTA_NOT_FOUND)
		return errmsg_fail(e, OTA_CORRUPT, "image %s is missing or of another size",
			name + strlen(BACKUP_BLOBS));
	return err;
}

enum ota_err backup_write(const char *dir, const struct backup_options *options, int fd,
	struct backup_stats *stats, struct errmsg *e)
{
	const struct blob_options blob_options = {.crypto = options->crypto, .is_read_only = true};
	AUTO(blob_store) struct blob_store *bs = NULL;
	AUTO(fd) int lock = -1;
	AUTO(snapshot) struct snapshot snapshot = {.fd = -1};
	AUTO(pack) struct pack *p = NULL;
	AUTO(arena) struct arena mem;
	struct backup_manifest m = {.schema = migrate_newest(), .created_at = options->now};
	struct backup_stats got = {0};
	char text[BACKUP_MANIFEST_MAX];
	const uint8_t *keys = NULL;
	size_t keys_len = 0;
	enum ota_err err;

	arena_init(&mem, 2 * BACKUP_KEYS_MAX);
	/* first the lock, then the moment: nothing that the moment names is removed until the end */
	err = blob_store_open(dir, &blob_options, &bs, e);
	if (err == OTA_OK)
		err = blob_lock_shared(bs, &lock, e);
	if (err == OTA_OK && options->passphrase)
		err = keys_seal(dir, options, &mem, &keys, &keys_len, &got.n_keys, e);
	if (err == OTA_OK)
		err = snapshot_take(dir, options->tmp_dir, &snapshot, e);
	if (err == OTA_OK)
		err = backup_hash_fd(options->crypto, snapshot.fd, &m.database_size, m.database_sha256, e);
	if (err == OTA_OK)
		err = images_each(snapshot.db, image_count, &m.n_blobs, e);
	if (err == OTA_OK)
		err = pack_open_fd(fd, &p, e);
	if (err != OTA_OK)
		return err;
	if (keys) {
		const struct ota_slice part = {keys, keys_len};

		m.has_keys = true;
		m.keys_size = keys_len;
		ota_sha256(options->crypto, &part, 1, m.keys_sha256);
	}
	err = pack_bytes(p, BACKUP_MANIFEST, text, backup_manifest_print(&m, text), options->now, e);
	if (err == OTA_OK && keys)
		err = pack_bytes(p, BACKUP_KEYS, keys, keys_len, options->now, e);
	if (err == OTA_OK)
		err = pack_file(p, BACKUP_DATABASE, snapshot.fd, m.database_size, options->crypto,
			m.database_sha256, options->now, e);
	if (err == OTA_OK)
		err = images_each(snapshot.db, image_copy,
			&(struct blob_copy){.bs = bs, .options = options, .pack = p}, e);
	if (err == OTA_OK)
		err = pack_end(p, &got.bytes, e);
	got.n_blobs = m.n_blobs;
	if (err == OTA_OK && stats)
		*stats = got;
	return err;
}

static enum ota_err sync_parent(const char *path, struct errmsg *e)
{
	char parent[PATH_MAX];
	enum ota_err err = backup_parent_of(path, parent, e);

	return err == OTA_OK ? backup_sync_dir(parent, e) : err;
}

static enum ota_err is_new(const char *path, struct errmsg *e)
{
	return access(path, F_OK) == 0 ? errmsg_fail(e, OTA_EXISTS, "'%s' exists already", path) : OTA_OK;
}

enum ota_err backup_can_write(const char *dir, const char *path, struct errmsg *e)
{
	char other[PATH_MAX];
	enum ota_err err;

	if (snprintf(other, sizeof other, "%s/otad.db", dir) >= (int)sizeof other)
		return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", dir);
	if (access(other, R_OK) < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", other);
	if (!path)
		return OTA_OK;
	err = is_new(path, e);
	if (err == OTA_OK)
		err = backup_parent_of(path, other, e);
	if (err == OTA_OK && access(other, W_OK | X_OK) < 0)
		return errmsg_fail_errno(e, errno, "cannot write into '%s'", other);
	return err;
}

enum ota_err backup_write_file(const char *dir, const struct backup_options *options, const char *path,
	struct backup_stats *stats, struct errmsg *e)
{
	AUTO(fd) int fd = -1;
	char part[PATH_MAX];
	enum ota_err err;

	if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
		return errmsg_fail(e, OTA_INVALID, "path '%s' is too long", path);
	err = is_new(path, e);
	if (err != OTA_OK)
		return err;
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", part);
	err = backup_write(dir, options, fd, stats, e);
	if (err == OTA_OK && fsync(fd) < 0)
		err = errmsg_fail_errno(e, errno, "cannot sync '%s'", part);
	/* never over a file that appeared meanwhile */
	if (err == OTA_OK && renameat2(AT_FDCWD, part, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		err = errmsg_fail_errno(e, errno, "cannot rename '%s'", part);
	if (err != OTA_OK) {
		(void)unlink(part);
		return err;
	}
	return sync_parent(path, e);
}

struct checker {
	struct db *db;
	const struct blob_store *bs;
	void (*say)(void *ctx, const char *line);
	void *ctx;
	struct check_report report;
};

static void tell(void *ctx, const char *line)
{
	const struct checker *c = ctx;

	if (c->say)
		c->say(c->ctx, line);
}

static enum ota_err image_check(void *ctx, const struct blob_row *row, struct errmsg *e)
{
	struct checker *c = ctx;
	struct errmsg words = {.text = ""};
	char hex[65], line[400];
	uint64_t size = 0;
	enum ota_err err;

	(void)e;
	c->report.n_images++;
	hex_encode(row->sha256, 32, hex);
	err = blob_stat(c->bs, row->sha256, &size, &words);
	if (err == OTA_OK && size != row->size) {
		err = OTA_SIZE;
		errmsg_set(&words, "%llu bytes instead of %llu", (unsigned long long)size,
			(unsigned long long)row->size);
	}
	if (err == OTA_OK)
		err = blob_verify(c->bs, row->sha256, &words);
	if (err == OTA_NO_MEMORY)
		return err;
	if (err != OTA_OK) {
		c->report.n_damaged++;
		(void)snprintf(line, sizeof line, "image %s: %s", hex,
			words.text[0] ? words.text : ota_err_text(err));
		tell(c, line);
	} else if (row->is_damaged) {
		(void)snprintf(
			line, sizeof line, "image %s: marked damaged, but sound: upload it again", hex);
		tell(c, line);
	}
	return OTA_OK;
}

static enum ota_err blob_check(
	void *ctx, const uint8_t *sha256, const char *name, uint64_t size, int64_t mtime, struct errmsg *e)
{
	struct checker *c = ctx;
	char line[400];
	bool is_named = false;
	enum ota_err err;

	(void)size;
	(void)mtime;
	if (sha256) {
		c->report.n_blobs++;
		err = image_exists(c->db, sha256, &is_named, e);
		if (err != OTA_OK)
			return err;
	}
	if (!is_named) {
		c->report.n_orphans++;
		(void)snprintf(line, sizeof line, "blobs: nobody names '%.64s'", name);
		tell(c, line);
	}
	return OTA_OK;
}

enum ota_err backup_check(const char *dir, const struct ota_crypto *crypto,
	void (*say)(void *ctx, const char *line), void *ctx, struct check_report *report, struct errmsg *e)
{
	const struct blob_options blob_options = {.crypto = crypto, .is_read_only = true};
	const struct db_options db_options = {.mode = DB_READ_ONLY};
	AUTO(blob_store) struct blob_store *bs = NULL;
	AUTO(fd) int lock = -1;
	AUTO(db) struct db *db = NULL;
	AUTO(tx) struct db_tx tx = {0};
	struct checker c = {.say = say, .ctx = ctx};
	enum ota_err err;

	err = blob_store_open(dir, &blob_options, &bs, e);
	if (err == OTA_OK)
		err = blob_lock_shared(bs, &lock, e);
	if (err == OTA_OK)
		err = db_open(dir, &db_options, &db, e);
	if (err == OTA_OK)
		err = db_begin(db, &tx, e);
	c.db = db;
	c.bs = bs;
	if (err == OTA_OK)
		err = sqlite_check(db, tell, &c, &c.report.n_database, e);
	if (err == OTA_OK)
		err = images_each(db, image_check, &c, e);
	if (err == OTA_CORRUPT && c.report.n_database > 0)
		err = OTA_OK; /* said already */
	if (err == OTA_OK)
		err = blob_each(bs, blob_check, &c, e);
	if (err == OTA_OK)
		err = blob_part_count(bs, &c.report.n_partial, e);
	if (err != OTA_OK)
		return err;
	*report = c.report;
	if (c.report.n_damaged || c.report.n_database)
		return errmsg_fail(e, OTA_CORRUPT, "%llu damaged images, %llu findings in the database",
			(unsigned long long)c.report.n_damaged, (unsigned long long)c.report.n_database);
	return OTA_OK;
}
