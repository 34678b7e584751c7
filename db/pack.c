#include "db/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/cleanup.h"

enum { BLOCK = 64 * 1024 };

struct pack {
	struct archive *a;
	int fd;    /* -1: memory */
	int error; /* errno of a failed write */
	uint64_t bytes;
	uint8_t *memory;
	size_t memory_len, memory_max;
};

/* A failed write is kept in p->error and answered as done: the library frees no writer whose callback failed.
 */
static la_ssize_t write_out(struct archive *a, void *ctx, const void *bytes, size_t len)
{
	struct pack *p = ctx;
	const uint8_t *from = bytes;
	size_t done = 0;

	(void)a;
	if (p->error)
		return (la_ssize_t)len;
	if (p->fd < 0) {
		if (len > p->memory_max - p->memory_len) {
			p->error = EFBIG;
			return (la_ssize_t)len;
		}
		memcpy(p->memory + p->memory_len, bytes, len);
		p->memory_len += len;
		p->bytes += len;
		return (la_ssize_t)len;
	}
	while (done < len) {
		ssize_t n = write(p->fd, from + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			p->error = n < 0 ? errno : EIO;
			return (la_ssize_t)len;
		}
		done += (size_t)n;
	}
	p->bytes += len;
	return (la_ssize_t)len;
}

static enum ota_err pack_fail(const struct pack *p, struct errmsg *e)
{
	if (p->error == EFBIG && p->fd < 0)
		return errmsg_fail(e, OTA_TOO_LARGE, "the archive is larger than %zu bytes", p->memory_max);
	if (p->error)
		return errmsg_fail_errno(e, p->error, "cannot write the archive");
	if (archive_errno(p->a) == ENOMEM)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	return errmsg_fail(e, OTA_IO, "cannot write the archive: %s", archive_error_string(p->a));
}

static enum ota_err pack_new(int fd, size_t memory_max, struct pack **out, struct errmsg *e)
{
	AUTO(pack) struct pack *p = calloc(1, sizeof *p);

	if (!p)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	p->fd = fd;
	p->memory_max = memory_max;
	p->memory = memory_max ? malloc(memory_max) : NULL;
	p->a = archive_write_new();
	if (!p->a || (memory_max && !p->memory))
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	if (archive_write_set_format_pax_restricted(p->a) != ARCHIVE_OK ||
		archive_write_add_filter_none(p->a) != ARCHIVE_OK ||
		archive_write_set_bytes_in_last_block(p->a, 1) != ARCHIVE_OK ||
		archive_write_open(p->a, p, NULL, write_out, NULL) != ARCHIVE_OK)
		return pack_fail(p, e);
	*out = p;
	p = NULL;
	return OTA_OK;
}

enum ota_err pack_open_fd(int fd, struct pack **out, struct errmsg *e)
{
	return pack_new(fd, 0, out, e);
}

enum ota_err pack_open_memory(size_t size_max, struct pack **out, struct errmsg *e)
{
	return pack_new(-1, size_max, out, e);
}

static void auto_entry(struct archive_entry **entry)
{
	archive_entry_free(*entry);
}

static enum ota_err header(struct pack *p, const char *name, uint64_t size, int64_t mtime, struct errmsg *e)
{
	AUTO(entry) struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	archive_entry_set_pathname(entry, name);
	archive_entry_set_size(entry, (la_int64_t)size);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_mtime(entry, (time_t)mtime, 0);
	return archive_write_header(p->a, entry) == ARCHIVE_OK && !p->error ? OTA_OK : pack_fail(p, e);
}

static enum ota_err data(struct pack *p, const void *bytes, size_t len, struct errmsg *e)
{
	return archive_write_data(p->a, bytes, len) == (la_ssize_t)len && !p->error ? OTA_OK
										    : pack_fail(p, e);
}

enum ota_err pack_bytes(
	struct pack *p, const char *name, const void *bytes, size_t len, int64_t mtime, struct errmsg *e)
{
	enum ota_err err = header(p, name, len, mtime, e);

	return err == OTA_OK && len ? data(p, bytes, len, e) : err;
}

enum ota_err pack_file(struct pack *p, const char *name, int fd, uint64_t size,
	const struct ota_crypto *crypto, const uint8_t *sha256, int64_t mtime, struct errmsg *e)
{
	AUTO(free) uint8_t *buf = malloc(BLOCK);
	struct ota_sha256 h;
	uint8_t got[32];
	uint64_t at = 0;
	enum ota_err err;

	if (!buf)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	crypto->sha256_init(&h);
	err = header(p, name, size, mtime, e);
	while (err == OTA_OK && at < size) {
		ssize_t n = pread(fd, buf, size - at < BLOCK ? (size_t)(size - at) : BLOCK, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errmsg_fail_errno(e, errno, "cannot read '%s'", name);
		if (n == 0)
			return errmsg_fail(e, OTA_TRUNCATED, "'%s' ends too early", name);
		crypto->sha256_update(&h, buf, (size_t)n);
		err = data(p, buf, (size_t)n, e);
		at += (uint64_t)n;
	}
	if (err != OTA_OK || !sha256)
		return err;
	crypto->sha256_final(&h, got);
	if (memcmp(got, sha256, sizeof got) != 0)
		return errmsg_fail(e, OTA_DIGEST, "the bytes of '%s' are damaged", name);
	return OTA_OK;
}

enum ota_err pack_end(struct pack *p, uint64_t *bytes, struct errmsg *e)
{
	if (archive_write_close(p->a) != ARCHIVE_OK || p->error)
		return pack_fail(p, e);
	if (bytes)
		*bytes = p->bytes;
	return OTA_OK;
}

const void *pack_memory(const struct pack *p, size_t *len)
{
	*len = p->memory_len;
	return p->memory;
}

void pack_free(struct pack *p)
{
	if (!p)
		return;
	/* closes too; a half-written archive may say so, and nobody asks any more */
	if (p->a)
		(void)archive_write_free(p->a);
	if (p->memory) {
		ota_wipe(p->memory, p->memory_max);
		free(p->memory);
	}
	free(p);
}

struct unpack {
	struct archive *a;
};

static enum ota_err unpack_fail(const struct unpack *u, struct errmsg *e)
{
	const char *words = archive_error_string(u->a);
	int error = archive_errno(u->a);

	if (error == ENOMEM)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	if (words && strstr(words, "runcated"))
		return errmsg_fail(e, OTA_TRUNCATED, "the archive ends too early");
	if (error > 0 && error != EINVAL && error != EILSEQ)
		return errmsg_fail(
			e, OTA_IO, "cannot read the archive: %s", words ? words : "unknown reason");
	return errmsg_fail(e, OTA_FORMAT, "this is no backup: %s", words ? words : "unknown format");
}

static enum ota_err unpack_new(struct unpack **out, struct errmsg *e)
{
	AUTO(unpack) struct unpack *u = calloc(1, sizeof *u);

	if (!u)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	u->a = archive_read_new();
	/* one format and no filter: the fewest parsers for hostile bytes */
	if (!u->a || archive_read_support_format_tar(u->a) != ARCHIVE_OK)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	*out = u;
	u = NULL;
	return OTA_OK;
}

enum ota_err unpack_open_fd(int fd, struct unpack **out, struct errmsg *e)
{
	AUTO(unpack) struct unpack *u = NULL;
	enum ota_err err = unpack_new(&u, e);

	if (err != OTA_OK)
		return err;
	if (archive_read_open_fd(u->a, fd, BLOCK) != ARCHIVE_OK)
		return unpack_fail(u, e);
	*out = u;
	u = NULL;
	return OTA_OK;
}

enum ota_err unpack_open_memory(const void *bytes, size_t len, struct unpack **out, struct errmsg *e)
{
	AUTO(unpack) struct unpack *u = NULL;
	enum ota_err err = unpack_new(&u, e);

	if (err != OTA_OK)
		return err;
	if (archive_read_open_memory(u->a, bytes, len) != ARCHIVE_OK)
		return unpack_fail(u, e);
	*out = u;
	u = NULL;
	return OTA_OK;
}

enum ota_err unpack_next(struct unpack *u, struct unpack_entry *entry, struct errmsg *e)
{
	struct archive_entry *ae;
	const char *name;
	int rc = archive_read_next_header(u->a, &ae);

	if (rc == ARCHIVE_EOF)
		return OTA_NOT_FOUND;
	if (rc != ARCHIVE_OK)
		return unpack_fail(u, e);
	name = archive_entry_pathname(ae);
	if (!name || strlen(name) >= sizeof entry->name || archive_entry_filetype(ae) != AE_IFREG ||
		archive_entry_hardlink(ae) || !archive_entry_size_is_set(ae) || archive_entry_size(ae) < 0)
		return errmsg_fail(e, OTA_FORMAT, "this is no backup: an entry is no plain file");
	strcpy(entry->name, name);
	entry->size = (uint64_t)archive_entry_size(ae);
	return OTA_OK;
}

enum ota_err unpack_read(struct unpack *u, void *buf, size_t len, size_t *n, struct errmsg *e)
{
	la_ssize_t got = archive_read_data(u->a, buf, len);

	if (got < 0)
		return unpack_fail(u, e);
	*n = (size_t)got;
	return OTA_OK;
}

void unpack_free(struct unpack *u)
{
	if (!u)
		return;
	if (u->a)
		(void)archive_read_free(u->a);
	free(u);
}
