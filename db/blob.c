#include "db/blob_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdatomic.h>
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
	CHUNK = 64 * 1024,
	PERCENT_RESERVE = 5,
	ROWS_SHARE = 4,
};

#define RESERVE_MIN (UINT64_C(64) << 20)

int blob_open_beneath(int dir, const char *path, int flags, mode_t mode)
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

struct blob_name blob_name_of(const uint8_t sha256[static 32])
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

enum ota_err blob_fail_name(struct errmsg *e, const char *doing, const char *name)
{
	return errmsg_fail_errno(e, errno, "cannot %s blob '%s'", doing, name);
}

int blob_open_dir(int parent, const char *name, bool may_make)
{
	int fd = blob_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd >= 0 || errno != ENOENT || !may_make)
		return fd;
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return -1;
	/* the new directory's name itself must survive a power cut */
	if (fsync(parent) < 0)
		return -1;
	return blob_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
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
	bs->dir = blob_open_dir(parent, "blobs", !options->is_read_only);
	if (bs->dir < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s/blobs'", dir);
	bs->tmp = blob_open_dir(bs->dir, "tmp", !options->is_read_only);
	if (bs->tmp < 0 && !(options->is_read_only && errno == ENOENT))
		return errmsg_fail_errno(e, errno, "cannot open '%s/blobs/tmp'", dir);
	if (!options->is_read_only && faccessat(bs->tmp, ".", W_OK, AT_EACCESS) < 0)
		return errmsg_fail_errno(e, errno, "cannot write to '%s/blobs/tmp'", dir);
	*out = bs;
	bs = NULL;
	return OTA_OK;
}

void blob_store_set_reserve(struct blob_store *bs, uint64_t reserve)
{
	atomic_store(&bs->reserve, reserve);
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

enum ota_err blob_disk(const struct blob_store *bs, uint64_t *free_bytes, uint64_t *reserve, struct errmsg *e)
{
	struct statvfs vfs;

	if (fstatvfs(bs->dir, &vfs) < 0)
		return errmsg_fail_errno(e, errno, "cannot ask for the free space");
	*free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	*reserve = atomic_load(&bs->reserve);
	if (*reserve == 0) {
		*reserve = (uint64_t)vfs.f_blocks * vfs.f_frsize / 100 * PERCENT_RESERVE;
		if (*reserve < RESERVE_MIN)
			*reserve = RESERVE_MIN;
	}
	return OTA_OK;
}

static enum ota_err no_space(uint64_t free_bytes, uint64_t reserve, struct errmsg *e)
{
	return errmsg_fail(e, OTA_NO_SPACE,
		"the disk is nearly full: %llu MiB are free, and the last %llu MiB are not for this",
		(unsigned long long)(free_bytes >> 20), (unsigned long long)(reserve >> 20));
}

enum ota_err blob_space(const struct blob_store *bs, uint64_t more, struct errmsg *e)
{
	uint64_t free_bytes = 0, reserve = 0;
	enum ota_err err = blob_disk(bs, &free_bytes, &reserve, e);

	if (err != OTA_OK)
		return err;
	return free_bytes < reserve || free_bytes - reserve < more ? no_space(free_bytes, reserve, e)
								   : OTA_OK;
}

enum ota_err blob_space_rows(const struct blob_store *bs, struct errmsg *e)
{
	uint64_t free_bytes = 0, reserve = 0;
	enum ota_err err = blob_disk(bs, &free_bytes, &reserve, e);

	if (err != OTA_OK)
		return err;
	return free_bytes < reserve / ROWS_SHARE ? no_space(free_bytes, reserve / ROWS_SHARE, e) : OTA_OK;
}

enum ota_err blob_size_of(int fd, const char *name, uint64_t *size, struct errmsg *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return blob_fail_name(e, "look at", name);
	if (!S_ISREG(st.st_mode))
		return errmsg_fail(e, OTA_CORRUPT, "blob '%s' is no file", name);
	*size = (uint64_t)st.st_size;
	return OTA_OK;
}

enum ota_err blob_stat(
	const struct blob_store *bs, const uint8_t sha256[static 32], uint64_t *size, struct errmsg *e)
{
	struct blob_name name = blob_name_of(sha256);
	AUTO(fd) int fd = blob_open_beneath(bs->dir, name.path, O_PATH, 0);

	if (fd < 0)
		return blob_fail_name(e, "find", name.file);
	return blob_size_of(fd, name.file, size, e);
}

enum ota_err blob_open(const struct blob_store *bs, const uint8_t sha256[static 32], int *fd, uint64_t *size,
	struct errmsg *e)
{
	struct blob_name name = blob_name_of(sha256);
	AUTO(fd) int got = blob_open_beneath(bs->dir, name.path, O_RDONLY, 0);
	uint64_t bytes;
	enum ota_err err;

	if (got < 0)
		return blob_fail_name(e, "open", name.file);
	err = blob_size_of(got, name.file, &bytes, e);
	if (err != OTA_OK)
		return err;
	*fd = fd_take(&got);
	if (size)
		*size = bytes;
	return OTA_OK;
}

enum ota_err blob_hash_file(
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
	err = blob_hash_file(bs->crypto, fd, size, &h, e);
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

enum ota_err blob_unlink(
	const struct blob_store *bs, const uint8_t sha256[static 32], int *held, struct errmsg *e)
{
	struct blob_name name = blob_name_of(sha256);
	AUTO(fd) int dir = blob_open_beneath(bs->dir, name.dir, O_RDONLY | O_DIRECTORY, 0);
	AUTO(fd) int fd = -1;

	/* One that cannot be opened is removed all the same, in its own time. */
	if (dir >= 0 && held)
		fd = blob_open_beneath(dir, name.file, O_RDONLY | O_NONBLOCK, 0);
	if (dir < 0 || unlinkat(dir, name.file, 0) < 0)
		return blob_fail_name(e, "remove", name.file);
	if (fsync(dir) < 0)
		return blob_fail_name(e, "sync the directory of", name.file);
	if (held)
		*held = fd_take(&fd);
	return OTA_OK;
}

DIR *blob_stream(int parent, const char *name)
{
	int fd = blob_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
	DIR *d;

	if (fd < 0)
		return NULL;
	d = fdopendir(fd);
	if (!d)
		close(fd);
	return d;
}

static enum ota_err each_in(
	const struct blob_store *bs, const char *sub, blob_each_fn fn, void *ctx, struct errmsg *e)
{
	AUTO(dirp) DIR *d = blob_stream(bs->dir, sub);
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
	AUTO(dirp) DIR *d = blob_stream(bs->dir, ".");
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
	AUTO(fd) int fd = blob_open_beneath(bs->dir, ".", O_RDONLY | O_DIRECTORY, 0);

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
