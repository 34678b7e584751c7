#include "device-agent/ports/posix/flash_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device-agent/src/journal.h"

enum { HEAD = 4096, HEAD_USED = 32, ERASED = 0xFF, PATH_MAX_TMP = 4096 };

static const char magic[8] = "OTAFLSH1";

static uint32_t round_up(uint32_t n, uint32_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static uint32_t region_size(const struct flash_options *o, unsigned region)
{
	switch (region) {
	case OTA_REGION_IDENTITY_A:
	case OTA_REGION_IDENTITY_B:
		return round_up(OTA_IDENTITY_MIN, o->erase_unit);
	case OTA_REGION_ROOT_A:
	case OTA_REGION_ROOT_B:
		return round_up(OTA_ROOT_MIN, o->erase_unit);
	case OTA_REGION_JOURNAL:
		return 2 * round_up(JOURNAL_GROUP_MIN * JOURNAL_STRIDE, o->erase_unit);
	default:
		return (region - OTA_REGION_SLOT) / OTA_SLOTS < o->n_components ? o->slot_size : 0;
	}
}

uint64_t flash_file_offset(const struct flash_file *f, unsigned region)
{
	uint64_t off = HEAD;

	for (unsigned r = 0; r < region; r++)
		off += region_size(&f->made, r);
	return off;
}

static void flash_geometry(void *ctx, unsigned region, struct ota_flash_geometry *out)
{
	const struct flash_file *f = ctx;

	out->size = region_size(&f->made, region);
	out->erase_unit = f->made.erase_unit;
	out->prog_unit = f->made.prog_unit;
	out->erased = ERASED;
}

static bool is_inside(const struct flash_file *f, unsigned region, uint32_t off, uint32_t len, uint32_t unit)
{
	uint32_t size = region < OTA_REGIONS ? region_size(&f->made, region) : 0;

	return off <= size && len <= size - off && off % unit == 0 && len % unit == 0;
}

static bool read_all(int fd, uint8_t *buf, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pread(fd, buf, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return true;
}

static bool write_all(int fd, const uint8_t *buf, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, buf, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return true;
}

static enum ota_err flash_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	const struct flash_file *f = ctx;

	if (!is_inside(f, region, off, len, 1) ||
		!read_all(f->fd, buf, len, flash_file_offset(f, region) + off))
		return OTA_FLASH;
	return OTA_OK;
}

/* Slots are on disk before the first byte of a journal record that speaks of them: pages that are written
 * together reach it in any order. */
static enum ota_err settle_slots(struct flash_file *f, unsigned region)
{
	if (region >= OTA_REGION_SLOT) {
		f->has_unsynced = true;
		return OTA_OK;
	}
	if (f->has_unsynced && fdatasync(f->fd) != 0)
		return OTA_FLASH;
	f->has_unsynced = false;
	return OTA_OK;
}

static enum ota_err settle(const struct flash_file *f, unsigned region)
{
	return region >= OTA_REGION_SLOT || fdatasync(f->fd) == 0 ? OTA_OK : OTA_FLASH;
}

static enum ota_err flash_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	struct flash_file *f = ctx;
	const uint8_t *bytes = buf;
	uint64_t at = flash_file_offset(f, region) + off;
	uint8_t old[512];

	if (!is_inside(f, region, off, len, f->made.prog_unit) || settle_slots(f, region) != OTA_OK)
		return OTA_FLASH;
	for (uint32_t done = 0; done < len; done += (uint32_t)sizeof old) {
		uint32_t n = len - done < sizeof old ? len - done : (uint32_t)sizeof old;

		if (!read_all(f->fd, old, n, at + done))
			return OTA_FLASH;
		for (uint32_t i = 0; i < n; i++) {
			if ((old[i] & bytes[done + i]) != bytes[done + i])
				return OTA_FLASH; /* would set a bit */
		}
	}
	return write_all(f->fd, bytes, len, at) ? settle(f, region) : OTA_FLASH;
}

static bool fill(int fd, uint64_t at, uint64_t len)
{
	static uint8_t blank[65536];

	memset(blank, ERASED, sizeof blank);
	while (len > 0) {
		size_t n = len < sizeof blank ? (size_t)len : sizeof blank;

		if (!write_all(fd, blank, n, at))
			return false;
		at += n;
		len -= n;
	}
	return true;
}

static enum ota_err flash_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	struct flash_file *f = ctx;

	if (!is_inside(f, region, off, len, f->made.erase_unit) || settle_slots(f, region) != OTA_OK ||
		!fill(f->fd, flash_file_offset(f, region) + off, len))
		return OTA_FLASH;
	return settle(f, region);
}

static void wire(struct flash_file *f)
{
	f->flash.ctx = f;
	f->flash.read = flash_read;
	f->flash.prog = flash_prog;
	f->flash.erase = flash_erase;
	f->flash.geometry = flash_geometry;
}

static bool is_power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static bool is_possible(const struct flash_options *o)
{
	return is_power_of_two(o->prog_unit) && o->prog_unit <= OTA_PROG_UNIT_MAX &&
	       is_power_of_two(o->erase_unit) && o->erase_unit >= 128 && o->erase_unit <= 1U << 20 &&
	       o->slot_size % o->erase_unit == 0 && o->slot_size >= 4 * OTA_ENVELOPE_AREA &&
	       o->slot_size <= 1U << 30 && o->n_components >= 1 && o->n_components <= OTA_COMPONENTS_MAX;
}

static void put_u32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool tmp_path(const char *path, char out[PATH_MAX_TMP])
{
	int n = snprintf(out, PATH_MAX_TMP, "%s.new", path);

	return n > 0 && n < PATH_MAX_TMP;
}

/* Is `tmp` still the file that is open? Another agent may have given it its name before it was locked. */
static bool is_named(int fd, const char *tmp)
{
	struct stat opened, named;

	return fstat(fd, &opened) == 0 && lstat(tmp, &named) == 0 && opened.st_dev == named.st_dev &&
	       opened.st_ino == named.st_ino;
}

enum ota_err flash_file_create(
	struct flash_file *f, const char *path, const struct flash_options *o, struct errmsg *e)
{
	uint8_t head[HEAD_USED] = {0};
	char tmp[PATH_MAX_TMP];
	struct stat st;
	uint64_t end;

	if (!is_possible(o))
		return errmsg_fail(e, OTA_INVALID,
			"impossible flash geometry: slots of %u bytes in units of %u, programmed by %u",
			o->slot_size, o->erase_unit, (unsigned)o->prog_unit);
	if (!tmp_path(path, tmp))
		return errmsg_fail(e, OTA_INVALID, "flash file name is too long");
	/* What a kill left between the two names of a flash is that flash, wherever it was moved since. */
	if (lstat(tmp, &st) == 0 && st.st_nlink > 1)
		(void)unlink(tmp);
	f->fd = open(tmp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f->fd < 0)
		return errmsg_fail_errno(e, errno, "cannot create flash file '%s'", tmp);
	if (flock(f->fd, LOCK_EX | LOCK_NB) != 0 || !is_named(f->fd, tmp))
		return errmsg_fail(e, OTA_BUSY, "flash file '%s' is in use by another agent", path);
	f->made = *o;
	wire(f);
	memcpy(head, magic, sizeof magic);
	put_u32(head + 8, o->slot_size);
	put_u32(head + 12, o->erase_unit);
	put_u32(head + 16, o->prog_unit);
	put_u32(head + 20, o->n_components);
	end = flash_file_offset(f, OTA_REGIONS);
	if (ftruncate(f->fd, 0) != 0 || !write_all(f->fd, head, sizeof head, 0) ||
		!fill(f->fd, HEAD, end - HEAD)) {
		enum ota_err err = errmsg_fail_errno(e, errno, "cannot write flash file '%s'", tmp);

		flash_file_discard(f, path);
		return err;
	}
	return OTA_OK;
}

void flash_file_discard(struct flash_file *f, const char *path)
{
	char tmp[PATH_MAX_TMP];

	if (tmp_path(path, tmp))
		(void)unlink(tmp);
	flash_file_close(f);
}

bool folder_sync(const char *path)
{
	char folder[PATH_MAX_TMP];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;
	bool is_synced;
	int fd;

	if (len >= sizeof folder)
		return false;
	memcpy(folder, path, len);
	folder[len] = '\0';
	fd = open(len > 0 ? folder : slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	/* EINVAL: a file system that has no such thing. */
	is_synced = fsync(fd) == 0 || errno == EINVAL;
	(void)close(fd);
	return is_synced;
}

enum ota_err flash_file_publish(struct flash_file *f, const char *path, struct errmsg *e)
{
	char tmp[PATH_MAX_TMP];

	if (!tmp_path(path, tmp) || fsync(f->fd) != 0)
		return errmsg_fail_errno(e, errno, "cannot write flash file '%s'", path);
	/* link, not rename: an agent that was quicker keeps its flash. Some file systems have no links. */
	if (link(tmp, path) == 0)
		(void)unlink(tmp);
	else if ((errno != EPERM && errno != EOPNOTSUPP) || rename(tmp, path) != 0)
		return errmsg_fail_errno(e, errno, "cannot create flash file '%s'", path);
	if (!folder_sync(path))
		return errmsg_fail_errno(e, errno, "cannot sync the folder of '%s'", path);
	return OTA_OK;
}

enum ota_err flash_file_open(struct flash_file *f, const char *path, struct errmsg *e)
{
	uint8_t head[HEAD_USED];
	struct stat st;

	f->fd = open(path, O_RDWR | O_CLOEXEC);
	if (f->fd < 0 && errno == ENOENT)
		return OTA_NOT_FOUND;
	if (f->fd < 0)
		return errmsg_fail_errno(e, errno, "cannot open flash file '%s'", path);
	if (flock(f->fd, LOCK_EX | LOCK_NB) != 0)
		return errmsg_fail(e, OTA_BUSY, "flash file '%s' is in use by another agent", path);
	if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode) || !read_all(f->fd, head, sizeof head, 0) ||
		memcmp(head, magic, sizeof magic) != 0)
		return errmsg_fail(e, OTA_CORRUPT, "'%s' is no flash file of ota-agent", path);
	f->made.slot_size = get_u32(head + 8);
	f->made.erase_unit = get_u32(head + 12);
	f->made.prog_unit = (uint16_t)get_u32(head + 16);
	f->made.n_components = (uint8_t)get_u32(head + 20);
	wire(f);
	if (!is_possible(&f->made) || (uint64_t)st.st_size < flash_file_offset(f, OTA_REGIONS))
		return errmsg_fail(e, OTA_CORRUPT, "flash file '%s' is damaged or cut off", path);
	return OTA_OK;
}

void flash_file_close(struct flash_file *f)
{
	if (f->fd >= 0)
		(void)close(f->fd);
	f->fd = -1;
}
