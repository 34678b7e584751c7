#include "db/blob.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/hex.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

enum {
	HEX_LEN = 64,
	CHUNK = 64 * 1024,
	SPACE_EVERY = 1024 * 1024, /* bytes between two looks at the free space */
	PERCENT_RESERVE = 5,
};

#define RESERVE_MIN (UINT64_C(64) << 20)

struct blob_store {
	const struct ota_crypto *crypto;
	uint64_t reserve;
	int dir; /* DIR/blobs */
	int tmp; /* DIR/blobs/tmp; -1: read only and not there */
};

struct blob_writer {
	const struct blob_store *bs;
	int fd;
	char name[HEX_LEN + sizeof ".part"];
	uint8_t sha256[32];
	uint64_t size; /* bytes that are in the file and in the hash */
	uint64_t size_max;
	uint64_t space_at; /* size at which the free space is looked at again */
	struct ota_sha256 hash;
	bool is_failed;
};

/* Names inside the store are made here and from digests alone; the kernel holds them inside it all the same.
 */
static int open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);

	/* kernels before 5.6 */
	if (fd < 0 && errno == ENOSYS)
		return openat(dir, path, flags | O_CLOEXEC | O_NOFOLLOW, mode);
	return (int)fd;
}

struct blob_name {
	char dir[3];
	char file[HEX_LEN + 1];
	char path[3 + HEX_LEN + 1];
};

static struct blob_name name_of(const uint8_t sha256[static 32])
{
	struct blob_name n;

	hex_encode(sha256, 32, n.file);
	memcpy(n.dir, n.file, 2);
	n.dir[2] = '\0';
	memcpy(n.path, n.file, 2);
	n.path[2] = '/';
	memcpy(n.path + 3, n.file, sizeof n.file);
	return n;
}

static enum ota_err fail_name(struct errmsg *e, const char *doing, const char *name)
{
	return errmsg_fail_errno(e, errno, "cannot %s blob '%s'", doing, name);
}

static int open_or_make_dir(int parent, const char *name, bool may_make)
{
	int fd = open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd >= 0 || errno != ENOENT || !may_make)
		return fd;
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return -1;
	/* the new directory's name itself must survive a power cut */
	if (fsync(parent) < 0)
		return -1;
	return open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
}

enum ota_err blob_store_open(
	const char *dir, const struct blob_options *options, struct blob_store **out, struct errmsg *e)
{
	AUTO(blob_store) struct blob_store *bs = NULL;
	AUTO(fd) int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (parent < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", dir);
	bs = malloc(sizeof *bs);
	if (!bs)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	*bs = (struct blob_store){
		.crypto = options->crypto, .reserve = options->reserve, .dir = -1, .tmp = -1};
	bs->dir = open_or_make_dir(parent, "blobs", !options->is_read_only);
	if (bs->dir < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s/blobs'", dir);
	bs->tmp = open_or_make_dir(bs->dir, "tmp", !options->is_read_only);
	if (bs->tmp < 0 && !(options->is_read_only && errno == ENOENT))
		return errmsg_fail_errno(e, errno, "cannot open '%s/blobs/tmp'", dir);
	if (!options->is_read_only && faccessat(bs->tmp, ".", W_OK, AT_EACCESS) < 0)
		return errmsg_fail_errno(e, errno, "cannot write to '%s/blobs/tmp'", dir);
	*out = bs;
	bs = NULL;
	return OTA_OK;
}

void blob_store_close(struct blob_store *bs)
{
	if (!bs)
		return;
	if (bs->tmp >= 0)
		close(bs->tmp);
	if (bs->dir >= 0)
		close(bs->dir);
	free(bs);
}

enum ota_err blob_space(const struct blob_store *bs, uint64_t more, struct errmsg *e)
{
	struct statvfs vfs;
	uint64_t free_bytes, reserve = bs->reserve;

	if (fstatvfs(bs->dir, &vfs) < 0)
		return errmsg_fail_errno(e, errno, "cannot ask for the free space");
	free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (reserve == 0) {
		reserve = (uint64_t)vfs.f_blocks * vfs.f_frsize / 100 * PERCENT_RESERVE;
		if (reserve < RESERVE_MIN)
			reserve = RESERVE_MIN;
	}
	if (free_bytes < reserve || free_bytes - reserve < more)
		return errmsg_fail(e, OTA_NO_SPACE, "%llu MiB are free, of which %llu MiB stay in reserve",
			(unsigned long long)(free_bytes >> 20), (unsigned long long)(reserve >> 20));
	return OTA_OK;
}

static enum ota_err size_of(int fd, const char *name, uint64_t *size, struct errmsg *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_name(e, "look at", name);
	if (!S_ISREG(st.st_mode))
		return errmsg_fail(e, OTA_CORRUPT, "blob '%s' is no file", name);
	*size = (uint64_t)st.st_size;
	return OTA_OK;
}

enum ota_err blob_stat(
	const struct blob_store *bs, const uint8_t sha256[static 32], uint64_t *size, struct errmsg *e)
{
	struct blob_name name = name_of(sha256);
	AUTO(fd) int fd = open_beneath(bs->dir, name.path, O_PATH, 0);

	if (fd < 0)
		return fail_name(e, "find", name.file);
	return size_of(fd, name.file, size, e);
}

enum ota_err blob_open(const struct blob_store *bs, const uint8_t sha256[static 32], int *fd, uint64_t *size,
	struct errmsg *e)
{
	struct blob_name name = name_of(sha256);
	AUTO(fd) int got = open_beneath(bs->dir, name.path, O_RDONLY, 0);
	uint64_t bytes;
	enum ota_err err;

	if (got < 0)
		return fail_name(e, "open", name.file);
	err = size_of(got, name.file, &bytes, e);
	if (err != OTA_OK)
		return err;
	*fd = fd_take(&got);
	if (size)
		*size = bytes;
	return OTA_OK;
}

static void part_name(const uint8_t sha256[static 32], char out[static HEX_LEN + sizeof ".part"])
{
	hex_encode(sha256, 32, out);
	memcpy(out + HEX_LEN, ".part", sizeof ".part");
}

enum ota_err blob_part_stat(
	const struct blob_store *bs, const uint8_t sha256[static 32], uint64_t *size, struct errmsg *e)
{
	char name[HEX_LEN + sizeof ".part"];

	part_name(sha256, name);
	AUTO(fd) int fd = open_beneath(bs->tmp, name, O_PATH, 0);
	if (fd < 0)
		return fail_name(e, "find", name);
	return size_of(fd, name, size, e);
}

/* Open the partial file and own it alone. Who opened it just before the former owner renamed it holds a blob:
 * the name is looked at again under the lock. */
static enum ota_err part_open(const struct blob_store *bs, const char *name, int *out, struct errmsg *e)
{
	for (int tries = 0; tries < 8; tries++) {
		AUTO(fd) int fd = open_beneath(bs->tmp, name, O_RDWR | O_CREAT, 0600);
		struct stat mine, named;

		if (fd < 0)
			return fail_name(e, "make", name);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errmsg_fail(e, OTA_BUSY, "'%s' is being uploaded already", name);
		if (fstat(fd, &mine) < 0)
			return fail_name(e, "look at", name);
		if (fstatat(bs->tmp, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && mine.st_ino == named.st_ino &&
			mine.st_dev == named.st_dev) {
			*out = fd_take(&fd);
			return OTA_OK;
		}
	}
	return errmsg_fail(e, OTA_BUSY, "'%s' is being uploaded already", name);
}

/* Hash `size` bytes of `fd` from its beginning. OTA_IO: a read failed; OTA_TRUNCATED: it ends before. */
static enum ota_err hash_file(
	const struct ota_crypto *c, int fd, uint64_t size, struct ota_sha256 *h, struct errmsg *e)
{
	AUTO(free) uint8_t *buf = malloc(CHUNK);
	uint64_t at = 0;

	if (!buf)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	while (at < size) {
		size_t want = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
		ssize_t n = pread(fd, buf, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			errmsg_set(e, "cannot read: %s", strerrordesc_np(errno));
			return OTA_IO;
		}
		if (n == 0)
			return errmsg_fail(e, OTA_TRUNCATED, "the file ends too early");
		c->sha256_update(h, buf, (size_t)n);
		at += (uint64_t)n;
	}
	return OTA_OK;
}

enum ota_err blob_begin(const struct blob_store *bs, const uint8_t sha256[static 32], uint64_t offset,
	uint64_t size_max, struct blob_writer **out, uint64_t *at, struct errmsg *e)
{
	AUTO(free) struct blob_writer *w = calloc(1, sizeof *w);
	AUTO(fd) int fd = -1;
	enum ota_err err;

	if (!w)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	part_name(sha256, w->name);
	err = blob_space(bs, 0, e);
	if (err == OTA_OK)
		err = part_open(bs, w->name, &fd, e);
	if (err == OTA_OK)
		err = size_of(fd, w->name, &w->size, e);
	if (err != OTA_OK)
		return err;
	if (w->size != offset) {
		if (at)
			*at = w->size;
		/* an empty file that this very call made says nothing */
		if (w->size == 0)
			(void)unlinkat(bs->tmp, w->name, 0);
		return errmsg_fail(e, OTA_CONFLICT, "the upload goes on at %llu, not at %llu",
			(unsigned long long)w->size, (unsigned long long)offset);
	}
	bs->crypto->sha256_init(&w->hash);
	err = hash_file(bs->crypto, fd, w->size, &w->hash, e);
	if (err == OTA_IO || err == OTA_TRUNCATED) {
		(void)unlinkat(bs->tmp, w->name, 0);
		return errmsg_fail(e, OTA_DIGEST, "the partial upload could not be read back, begin anew");
	}
	if (err != OTA_OK)
		return err;
	w->bs = bs;
	w->fd = fd_take(&fd);
	memcpy(w->sha256, sha256, sizeof w->sha256);
	w->size_max = size_max;
	w->space_at = w->size;
	*out = w;
	w = NULL;
	return OTA_OK;
}

/* What did not go in whole goes out again: file and hash stay of one length. */
static enum ota_err write_fail(struct blob_writer *w, enum ota_err err)
{
	w->is_failed = true;
	if (ftruncate(w->fd, (off_t)w->size) < 0) {
		/* a resume looks at the file's length: better none than a wrong one */
		(void)unlinkat(w->bs->tmp, w->name, 0);
	}
	return err;
}

enum ota_err blob_write(struct blob_writer *w, const void *bytes, size_t len, struct errmsg *e)
{
	const uint8_t *p = bytes;
	size_t done = 0;
	enum ota_err err;

	assert(!w->is_failed);
	if (len > w->size_max || w->size > w->size_max - len) {
		w->is_failed = true;
		return errmsg_fail(e, OTA_TOO_LARGE, "the image is larger than %llu bytes",
			(unsigned long long)w->size_max);
	}
	if (w->size >= w->space_at) {
		err = blob_space(w->bs, len, e);
		if (err != OTA_OK) {
			w->is_failed = true;
			return err;
		}
		w->space_at = w->size + SPACE_EVERY;
	}
	while (done < len) {
		ssize_t n = pwrite(w->fd, p + done, len - done, (off_t)(w->size + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return write_fail(
				w, errmsg_fail_errno(e, n < 0 ? errno : EIO, "cannot write '%s'", w->name));
		done += (size_t)n;
	}
	w->bs->crypto->sha256_update(&w->hash, p, len);
	w->size += len;
	return OTA_OK;
}

uint64_t blob_written(const struct blob_writer *w)
{
	return w->size;
}

/* From here the name, the bytes and the directory entries are on the disk or an error was said. */
static enum ota_err make_blob(struct blob_writer *w, struct errmsg *e)
{
	struct blob_name name = name_of(w->sha256);
	AUTO(fd) int dir = -1;

	/* never changed again: served from mappings, where a shorter file is a SIGBUS */
	if (fchmod(w->fd, 0444) < 0 || fsync(w->fd) < 0)
		return fail_name(e, "sync", w->name);
	dir = open_or_make_dir(w->bs->dir, name.dir, true);
	if (dir < 0)
		return fail_name(e, "make the directory of", name.file);
	if (renameat(w->bs->tmp, w->name, dir, name.file) < 0)
		return fail_name(e, "rename", w->name);
	if (fsync(dir) < 0)
		return fail_name(e, "sync the directory of", name.file);
	return OTA_OK;
}

enum ota_err blob_finish(struct blob_writer *w, uint64_t *size, struct errmsg *e)
{
	uint64_t bytes = w->size;
	uint8_t got[32];
	enum ota_err err;

	assert(!w->is_failed);
	w->bs->crypto->sha256_final(&w->hash, got);
	if (memcmp(got, w->sha256, sizeof got) != 0) {
		blob_abort(w);
		return errmsg_fail(e, OTA_DIGEST, "the uploaded bytes are others than announced");
	}
	err = make_blob(w, e);
	blob_suspend(w);
	if (err == OTA_OK && size)
		*size = bytes;
	return err;
}

void blob_suspend(struct blob_writer *w)
{
	if (!w)
		return;
	close(w->fd);
	free(w);
}

void blob_abort(struct blob_writer *w)
{
	if (!w)
		return;
	(void)unlinkat(w->bs->tmp, w->name, 0);
	blob_suspend(w);
}

enum ota_err blob_verify(const struct blob_store *bs, const uint8_t sha256[static 32], struct errmsg *e)
{
	AUTO(fd) int fd = -1;
	struct ota_sha256 h;
	uint8_t got[32];
	uint64_t size;
	enum ota_err err = blob_open(bs, sha256, &fd, &size, e);

	if (err != OTA_OK)
		return err;
	bs->crypto->sha256_init(&h);
	err = hash_file(bs->crypto, fd, size, &h, e);
	if (err == OTA_TRUNCATED)
		return OTA_DIGEST;
	if (err != OTA_OK)
		return err;
	bs->crypto->sha256_final(&h, got);
	if (memcmp(got, sha256, sizeof got) != 0)
		return errmsg_fail(e, OTA_DIGEST, "the bytes are others than the name says");
	return OTA_OK;
}

static enum ota_err read_through(int fd, uint64_t offset, size_t len, struct errmsg *e)
{
	AUTO(free) uint8_t *buf = malloc(CHUNK);

	if (!buf)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	while (len > 0) {
		ssize_t n = pread(fd, buf, len < CHUNK ? len : CHUNK, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return errmsg_fail(e, OTA_IO, "cannot read: %s",
				n < 0 ? strerrordesc_np(errno) : "it ends early");
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return OTA_OK;
}

enum ota_err blob_prefault(int fd, void *map, uint64_t offset, size_t len, struct errmsg *e)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t from = offset & ~(page - 1);

	if (len == 0)
		return OTA_OK;
	if (!map)
		return read_through(fd, offset, len, e);
	while (madvise((uint8_t *)map + from, (size_t)(offset + len - from), MADV_POPULATE_READ) < 0) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		if (errno == EINVAL) /* Linux before 5.14 */
			return read_through(fd, offset, len, e);
		return errmsg_fail(e, OTA_IO, "cannot read: %s", strerrordesc_np(errno));
	}
	return OTA_OK;
}

enum ota_err blob_unlink(const struct blob_store *bs, const uint8_t sha256[static 32], struct errmsg *e)
{
	struct blob_name name = name_of(sha256);
	AUTO(fd) int dir = open_beneath(bs->dir, name.dir, O_RDONLY | O_DIRECTORY, 0);

	if (dir < 0 || unlinkat(dir, name.file, 0) < 0)
		return fail_name(e, "remove", name.file);
	if (fsync(dir) < 0)
		return fail_name(e, "sync the directory of", name.file);
	return OTA_OK;
}

static void auto_dirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* A directory stream with a position of its own. */
static DIR *stream_of(int parent, const char *name)
{
	int fd = open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
	DIR *d;

	if (fd < 0)
		return NULL;
	d = fdopendir(fd);
	if (!d)
		close(fd);
	return d;
}

enum ota_err blob_sweep(
	const struct blob_store *bs, int64_t now, int64_t age_s, unsigned *n, struct errmsg *e)
{
	AUTO(dirp) DIR *d = stream_of(bs->tmp, ".");
	const struct dirent *entry;
	unsigned removed = 0;

	if (!d)
		return errmsg_fail_errno(e, errno, "cannot list partial uploads");
	while ((entry = readdir(d)) != NULL) {
		AUTO(fd) int fd = -1;
		struct stat st;

		if (entry->d_name[0] == '.')
			continue;
		fd = open_beneath(bs->tmp, entry->d_name, O_RDONLY | O_NONBLOCK, 0);
		/* gone meanwhile, or being written */
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0)
			continue;
		if (st.st_mtim.tv_sec > now - age_s)
			continue;
		if (unlinkat(bs->tmp, entry->d_name, 0) < 0)
			return fail_name(e, "remove", entry->d_name);
		removed++;
	}
	if (n)
		*n = removed;
	return OTA_OK;
}

enum ota_err blob_part_count(const struct blob_store *bs, uint64_t *n, struct errmsg *e)
{
	AUTO(dirp) DIR *d = NULL;
	const struct dirent *entry;
	uint64_t count = 0;

	if (bs->tmp >= 0) {
		d = stream_of(bs->tmp, ".");
		if (!d)
			return errmsg_fail_errno(e, errno, "cannot list partial uploads");
		while ((entry = readdir(d)) != NULL)
			count += entry->d_name[0] != '.';
	}
	*n = count;
	return OTA_OK;
}

static enum ota_err each_in(
	const struct blob_store *bs, const char *sub, blob_each_fn fn, void *ctx, struct errmsg *e)
{
	AUTO(dirp) DIR *d = stream_of(bs->dir, sub);
	const struct dirent *entry;

	if (!d)
		return errmsg_fail_errno(e, errno, "cannot list blobs");
	while ((entry = readdir(d)) != NULL) {
		uint8_t sha256[32];
		struct stat st;
		bool is_blob;
		enum ota_err err;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* removed meanwhile */
		is_blob = S_ISREG(st.st_mode) && strncmp(entry->d_name, sub, 2) == 0 &&
			  hex_decode(entry->d_name, strlen(entry->d_name), HEX_LOWER, sha256, 32) == OTA_OK;
		err = fn(ctx, is_blob ? sha256 : NULL, entry->d_name, (uint64_t)st.st_size, st.st_mtim.tv_sec,
			e);
		if (err != OTA_OK)
			return err;
	}
	return OTA_OK;
}

enum ota_err blob_each(const struct blob_store *bs, blob_each_fn fn, void *ctx, struct errmsg *e)
{
	AUTO(dirp) DIR *d = stream_of(bs->dir, ".");
	const struct dirent *entry;

	if (!d)
		return errmsg_fail_errno(e, errno, "cannot list blobs");
	while ((entry = readdir(d)) != NULL) {
		const char *name = entry->d_name;
		enum ota_err err = OTA_OK;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "tmp") == 0)
			continue;
		if (hex_is_lower(name, 2))
			err = each_in(bs, name, fn, ctx, e);
		else
			err = fn(ctx, NULL, name, 0, 0, e);
		if (err != OTA_OK)
			return err;
	}
	return OTA_OK;
}

static enum ota_err lock(const struct blob_store *bs, int how, int *out, struct errmsg *e)
{
	AUTO(fd) int fd = open_beneath(bs->dir, ".", O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot lock the blobs");
	while (flock(fd, how) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EWOULDBLOCK)
			return errmsg_fail(e, OTA_BUSY, "a backup is running");
		return errmsg_fail_errno(e, errno, "cannot lock the blobs");
	}
	*out = fd_take(&fd);
	return OTA_OK;
}

enum ota_err blob_lock_shared(const struct blob_store *bs, int *out, struct errmsg *e)
{
	return lock(bs, LOCK_SH, out, e);
}

enum ota_err blob_lock_alone(const struct blob_store *bs, int *out, struct errmsg *e)
{
	return lock(bs, LOCK_EX | LOCK_NB, out, e);
}
