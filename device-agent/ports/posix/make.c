#include "device-agent/ports/posix/make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device-agent/src/slot.h"
#include "device-agent/src/trust.h"
#include "proto/cleanup.h"
#include "proto/crypto_openssl.h"

/* A whole file of at most `cap` bytes. */
static enum ota_err file_read(const char *path, uint8_t *buf, size_t cap, size_t *len, struct errmsg *e)
{
	AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t at = 0;

	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", path);
	if (fstat(fd, &st) != 0)
		return errmsg_fail_errno(e, errno, "cannot read '%s'", path);
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
		return errmsg_fail(e, OTA_INVALID, "'%s' is not a file", path);
	for (;;) {
		ssize_t n = read(fd, buf + at, cap - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errmsg_fail_errno(e, errno, "cannot read '%s'", path);
		if (n == 0)
			break;
		at += (size_t)n;
		if (at == cap)
			return errmsg_fail(e, OTA_TOO_LARGE, "'%s' is too large", path);
	}
	*len = at;
	return OTA_OK;
}

static enum ota_err provision_read(
	const char *path, uint8_t buf[PROVISION_MAX + 1], struct provision *p, size_t *len, struct errmsg *e)
{
	struct root_doc root;
	size_t used = 0, got = 0;
	enum ota_err err = file_read(path, buf, PROVISION_MAX + 1, &got, e);

	if (err != OTA_OK)
		return err;
	err = provision_decode(crypto_openssl(), buf, got, p, &used);
	if (err != OTA_OK)
		return errmsg_fail(
			e, err, "'%s' is no provisioning file, or damaged: %s", path, ota_err_text(err));
	if (used != got)
		return errmsg_fail(
			e, OTA_CBOR, "'%s' is no provisioning file: %zu bytes follow it", path, got - used);
	err = root_decode_first(crypto_openssl(), p->root.p, p->root.len, &root);
	if (err != OTA_OK)
		return errmsg_fail(e, err, "the root in '%s' does not verify: %s", path, ota_err_text(err));
	*len = got;
	return OTA_OK;
}

static enum ota_err slot_fill(struct flash_file *f, const char *path, struct errmsg *e)
{
	uint32_t size = f->made.slot_size;
	AUTO(free) uint8_t *buf = malloc((size_t)size + 1);
	size_t len = 0;
	enum ota_err err;

	if (!buf)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	err = file_read(path, buf, (size_t)size + 1, &len, e);
	if (err != OTA_OK)
		return err;
	err = flash_write(&f->flash, slot_region(0, 0), 0, buf, (uint32_t)len);
	return err == OTA_OK ? OTA_OK : errmsg_fail(e, err, "cannot write '%s' into the flash", path);
}

static enum ota_err flash_make(struct flash_file *f, const struct device_options *o, struct errmsg *e)
{
	uint8_t bytes[PROVISION_MAX + 1];
	struct provision p;
	size_t len = 0;
	bool is_made;
	enum ota_err err;

	if (!o->provision_path)
		return errmsg_fail(e, OTA_INVALID,
			"there is no flash file '%s' yet: --provision FILE makes it", o->flash_path);
	err = provision_read(o->provision_path, bytes, &p, &len, e);
	if (err == OTA_OK)
		err = flash_file_create(f, o->flash_path, &o->flash, e);
	is_made = err == OTA_OK;
	if (err == OTA_OK) {
		err = identity_store(&f->flash, NULL, bytes, (uint32_t)len);
		if (err != OTA_OK)
			errmsg_set(e, "cannot write the identity into '%s': %s", o->flash_path,
				ota_err_text(err));
	}
	ota_wipe(bytes, sizeof bytes);
	if (err == OTA_OK && o->factory_path)
		err = slot_fill(f, o->factory_path, e);
	if (err == OTA_OK)
		err = flash_file_publish(f, o->flash_path, e);
	if (err != OTA_OK && is_made)
		flash_file_discard(f, o->flash_path);
	return err;
}

static bool slice_equal(struct ota_slice a, struct ota_slice b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

/* Is the file with this secret the one that the flash was made from? An enrolled identity has forgotten its
 * secret; the receipt still names it. */
static bool is_of_file(const struct provision *have, const struct provision *file)
{
	if (!have->is_enrolled)
		return memcmp(have->secret_id, file->secret_id, sizeof have->secret_id) == 0;
	return memmem(have->receipt.p, have->receipt.len, file->secret_id, sizeof file->secret_id) != NULL;
}

static enum ota_err not_this_one(
	enum ota_err err, const char *what, const struct device_options *o, struct errmsg *e)
{
	return errmsg_fail(e, err,
		"'%s' is for another %s than '%s': give it a --flash of its own, or remove this one, with "
		"its "
		"firmware and key",
		o->provision_path, what, o->flash_path);
}

static enum ota_err same_device(
	struct flash_file *f, const struct device_options *o, struct errmsg *unused, struct errmsg *e)
{
	uint8_t given[PROVISION_MAX + 1], held[PROVISION_MAX];
	struct provision want, have;
	size_t given_len;
	uint32_t len;
	unsigned from;
	enum ota_err err = provision_read(o->provision_path, given, &want, &given_len, e);

	if (err != OTA_OK)
		return err;
	if (identity_load(&f->flash, crypto_openssl(), 0, held, &have, &len, &from) != OTA_OK)
		err = errmsg_fail(e, OTA_CORRUPT, "'%s' holds no identity any more", o->flash_path);
	else if (memcmp(want.vendor_id, have.vendor_id, 16) != 0 ||
		 memcmp(want.class_id, have.class_id, 16) != 0)
		err = not_this_one(OTA_CLASS, "board", o, e);
	else if (!slice_equal(want.serial, have.serial))
		err = not_this_one(OTA_DEVICE, "device", o, e);
	else if (!is_of_file(&have, &want))
		errmsg_set(unused,
			"the file is not used: this device %s; to enroll anew remove '%s', its firmware too",
			have.is_enrolled ? "is enrolled already" : "was made from another one",
			o->flash_path);
	ota_wipe(given, sizeof given);
	ota_wipe(held, sizeof held);
	return err;
}

enum ota_err device_flash(
	struct flash_file *f, const struct device_options *o, struct errmsg *unused, struct errmsg *e)
{
	enum ota_err err = flash_file_open(f, o->flash_path, e);

	unused->text[0] = '\0';
	if (err == OTA_NOT_FOUND)
		return flash_make(f, o, e);
	/* The provisioning file may be gone by now: it held a secret that is used up. */
	if (err == OTA_OK && o->provision_path && access(o->provision_path, F_OK) == 0)
		err = same_device(f, o, unused, e);
	if (err == OTA_OK && f->made.n_components != o->flash.n_components)
		err = errmsg_fail(e, OTA_INVALID, "'%s' was made with %u components, %u are named",
			o->flash_path, (unsigned)f->made.n_components, (unsigned)o->flash.n_components);
	return err;
}

enum ota_err image_write(
	struct flash_file *f, const struct journal_slot *rec, unsigned k, const char *path, struct errmsg *e)
{
	char tmp[4096];
	uint8_t buf[4096];
	AUTO(file) FILE *out = NULL;
	int n = snprintf(tmp, sizeof tmp, "%s.new", path);

	if (n < 0 || n >= (int)sizeof tmp)
		return errmsg_fail(e, OTA_INVALID, "image file name is too long");
	out = fopen(tmp, "we");
	if (!out)
		return errmsg_fail_errno(e, errno, "cannot create '%s'", tmp);
	for (uint32_t at = 0; at < rec->component[0].size;) {
		uint32_t left = rec->component[0].size - at;
		uint32_t part = left < sizeof buf ? left : (uint32_t)sizeof buf;

		if (f->flash.read(f->flash.ctx, slot_region(0, k), at, buf, part) != OTA_OK)
			return errmsg_fail(e, OTA_FLASH, "cannot read slot %u", k);
		if (fwrite(buf, 1, part, out) != part)
			return errmsg_fail_errno(e, errno, "cannot write '%s'", tmp);
		at += part;
	}
	if (fflush(out) != 0 || fsync(fileno(out)) != 0 || rename(tmp, path) != 0 || !folder_sync(path))
		return errmsg_fail_errno(e, errno, "cannot write '%s'", path);
	return OTA_OK;
}
