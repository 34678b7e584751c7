#include "db/blob_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/hex.h"

enum { SPACE_EVERY = 1024 * 1024 }; /* bytes between two looks at the free space */

struct blob_writer {
	const struct blob_store *bs;
	int fd;
	char name[BLOB_HEX_LEN + sizeof ".part"];
	uint8_t sha256[32];
	uint64_t size; /* bytes that are in the file and in the hash */
	uint64_t size_max;
	uint64_t space_at; /* size at which the free space is looked at again */
	struct ota_sha256 hash;
	bool is_failed;
};

static void part_name(const uint8_t sha256[static 32], char out[static BLOB_HEX_LEN + sizeof ".part"])
{
	hex_encode(sha256, 32, out);
	memcpy(out + BLOB_HEX_LEN, ".part", sizeof ".part");
}

enum ota_err blob_part_stat(
	const struct blob_store *bs, const uint8_t sha256[static 32], uint64_t *size, struct errmsg *e)
{
	char name[BLOB_HEX_LEN + sizeof ".part"];

	part_name(sha256, name);
	AUTO(fd) int fd = blob_open_beneath(bs->tmp, name, O_PATH, 0);
	if (fd < 0)
		return blob_fail_name(e, "find", name);
	return blob_size_of(fd, name, size, e);
}

/* Open the partial file and own it alone. Who opened it just before the former owner renamed it holds a blob:
 * the name is looked at again under the lock. */
static enum ota_err part_open(const struct blob_store *bs, const char *name, int *out, struct errmsg *e)
{
	for (int tries = 0; tries < 8; tries++) {
		AUTO(fd) int fd = blob_open_beneath(bs->tmp, name, O_RDWR | O_CREAT, 0600);
		struct stat mine, named;

		if (fd < 0)
			return blob_fail_name(e, "make", name);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errmsg_fail(e, OTA_BUSY, "'%s' is being uploaded already", name);
		if (fstat(fd, &mine) < 0)
			return blob_fail_name(e, "look at", name);
		if (fstatat(bs->tmp, name, &named, AT_SYMLINK_NOFOLLOW) == 0 && mine.st_ino == named.st_ino &&
			mine.st_dev == named.st_dev) {
			*out = fd_take(&fd);
			return OTA_OK;
		}
	}
	return errmsg_fail(e, OTA_BUSY, "'%s' is being uploaded already", name);
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
		err = blob_size_of(fd, w->name, &w->size, e);
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
	err = blob_hash_file(bs->crypto, fd, w->size, &w->hash, e);
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
	struct blob_name name = blob_name_of(w->sha256);
	AUTO(fd) int dir = -1;

	/* never changed again: served from mappings, where a shorter file is a SIGBUS */
	if (fchmod(w->fd, 0444) < 0 || fsync(w->fd) < 0)
		return blob_fail_name(e, "sync", w->name);
	dir = blob_open_dir(w->bs->dir, name.dir, true);
	if (dir < 0)
		return blob_fail_name(e, "make the directory of", name.file);
	if (renameat(w->bs->tmp, w->name, dir, name.file) < 0)
		return blob_fail_name(e, "rename", w->name);
	if (fsync(dir) < 0)
		return blob_fail_name(e, "sync the directory of", name.file);
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

enum ota_err blob_sweep(
	const struct blob_store *bs, int64_t now, int64_t age_s, unsigned *n, struct errmsg *e)
{
	AUTO(dirp) DIR *d = blob_stream(bs->tmp, ".");
	const struct dirent *entry;
	unsigned removed = 0;

	if (!d)
		return errmsg_fail_errno(e, errno, "cannot list partial uploads");
	while ((entry = readdir(d)) != NULL) {
		AUTO(fd) int fd = -1;
		struct stat st;

		if (entry->d_name[0] == '.')
			continue;
		fd = blob_open_beneath(bs->tmp, entry->d_name, O_RDONLY | O_NONBLOCK, 0);
		/* gone meanwhile, or being written */
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0)
			continue;
		if (st.st_mtim.tv_sec > now - age_s)
			continue;
		if (unlinkat(bs->tmp, entry->d_name, 0) < 0)
			return blob_fail_name(e, "remove", entry->d_name);
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
		d = blob_stream(bs->tmp, ".");
		if (!d)
			return errmsg_fail_errno(e, errno, "cannot list partial uploads");
		while ((entry = readdir(d)) != NULL)
			count += entry->d_name[0] != '.';
	}
	*n = count;
	return OTA_OK;
}
