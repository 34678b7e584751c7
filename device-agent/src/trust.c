#include "device-agent/src/trust.h"

#include <string.h>

#include "device-agent/src/slot.h"

enum { TRAILER = OTA_SHA256_LEN };

static bool region_equals(
	const struct ota_flash *flash, unsigned region, uint32_t off, const uint8_t *bytes, uint32_t len)
{
	uint8_t seen[64];

	for (uint32_t at = 0; at < len; at += (uint32_t)sizeof seen) {
		uint32_t n = len - at < sizeof seen ? len - at : (uint32_t)sizeof seen;

		if (flash->read(flash->ctx, region, off + at, seen, n) != OTA_OK ||
			memcmp(seen, bytes + at, n) != 0)
			return false;
	}
	return true;
}

static enum ota_err region_erase(const struct ota_flash *flash, unsigned region, uint32_t need)
{
	struct ota_flash_geometry geo;

	flash->geometry(flash->ctx, region, &geo);
	if (need > geo.size)
		return OTA_NO_SPACE;
	return flash->erase(flash->ctx, region, 0, geo.size);
}

static uint32_t region_read(const struct ota_flash *flash, unsigned region, uint8_t *buf, uint32_t cap)
{
	struct ota_flash_geometry geo;
	uint32_t n;

	flash->geometry(flash->ctx, region, &geo);
	n = geo.size < cap ? geo.size : cap;
	return flash->read(flash->ctx, region, 0, buf, n) == OTA_OK ? n : 0;
}

static enum ota_err identity_copy(const struct ota_flash *flash, const struct ota_crypto *c, unsigned region,
	uint8_t buf[PROVISION_MAX], struct provision *p, uint32_t *len)
{
	uint32_t n = region_read(flash, region, buf, PROVISION_MAX);
	size_t used;
	enum ota_err err = provision_decode(c, buf, n, p, &used);

	if (err == OTA_OK)
		*len = (uint32_t)used;
	return err;
}

enum ota_err identity_load(const struct ota_flash *flash, const struct ota_crypto *c,
	uint8_t buf[PROVISION_MAX], struct provision *p, uint32_t *len)
{
	if (identity_copy(flash, c, OTA_REGION_IDENTITY_A, buf, p, len) == OTA_OK ||
		identity_copy(flash, c, OTA_REGION_IDENTITY_B, buf, p, len) == OTA_OK)
		return OTA_OK;
	return OTA_NOT_FOUND;
}

static enum ota_err identity_write(
	const struct ota_flash *flash, unsigned region, const uint8_t *bytes, uint32_t len)
{
	enum ota_err err = region_erase(flash, region, len);

	return err == OTA_OK ? flash_write(flash, region, 0, bytes, len) : err;
}

enum ota_err identity_store(const struct ota_flash *flash, const uint8_t *bytes, uint32_t len)
{
	enum ota_err err = identity_write(flash, OTA_REGION_IDENTITY_A, bytes, len);

	return err == OTA_OK ? identity_write(flash, OTA_REGION_IDENTITY_B, bytes, len) : err;
}

/* Copy A is written first, so a cut in it leaves B with what was before, and A perhaps readable now and not
 * at the next start. Where A counts and B is valid and another, A is therefore written once more before B is
 * touched. Where B is damaged the cut was in B, and A was read back before that: then A must not be touched.
 */
enum ota_err identity_heal(const struct ota_flash *flash, const struct ota_crypto *c, const uint8_t *bytes,
	uint32_t len, uint8_t *scratch)
{
	bool a = region_equals(flash, OTA_REGION_IDENTITY_A, 0, bytes, len);
	bool b = region_equals(flash, OTA_REGION_IDENTITY_B, 0, bytes, len);
	struct provision other;
	uint32_t other_len;
	enum ota_err err = OTA_OK;

	if (!a ||
		(!b && identity_copy(flash, c, OTA_REGION_IDENTITY_B, scratch, &other, &other_len) == OTA_OK))
		err = identity_write(flash, OTA_REGION_IDENTITY_A, bytes, len);
	if (err == OTA_OK && !b)
		err = identity_write(flash, OTA_REGION_IDENTITY_B, bytes, len);
	return err;
}

/* Read one copy; OTA_OK with the decoded document. The payload was verified before it was stored, and the
 * SHA-256 says that it is still what was stored. */
static enum ota_err root_copy(const struct ota_flash *flash, const struct ota_crypto *c, unsigned region,
	uint8_t buf[ROOT_MAX], uint32_t *len, struct root_doc *doc)
{
	uint32_t n = region_read(flash, region, buf, ROOT_MAX);
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	struct ota_slice item, payload;
	struct cbor_in in;
	uint8_t want[TRAILER], have[TRAILER];
	size_t n_blocks;
	enum ota_err err;

	cbor_in_init(&in, buf, n);
	item = cbor_skip(&in);
	if (in.err != OTA_OK || item.len == 0)
		return OTA_NOT_FOUND;
	ota_sha256(c, &item, 1, want);
	err = flash->read(flash->ctx, region, (uint32_t)item.len, have, TRAILER);
	if (err != OTA_OK || memcmp(want, have, TRAILER) != 0)
		return OTA_NOT_FOUND;
	err = root_split(buf, item.len, blocks, &n_blocks, &payload);
	if (err == OTA_OK)
		err = root_payload_decode(c, payload, doc);
	if (err == OTA_OK)
		*len = (uint32_t)item.len;
	return err;
}

static uint32_t root_copy_version(const struct ota_flash *flash, const struct ota_crypto *c, unsigned region,
	uint8_t buf[ROOT_MAX], uint32_t *len, struct root_doc *doc)
{
	return root_copy(flash, c, region, buf, len, doc) == OTA_OK ? doc->version : 0;
}

enum ota_err root_load(const struct ota_flash *flash, const struct ota_crypto *c, uint8_t buf[ROOT_MAX],
	uint32_t *len, struct root_doc *doc)
{
	uint32_t a = root_copy_version(flash, c, OTA_REGION_ROOT_A, buf, len, doc);
	uint32_t b = root_copy_version(flash, c, OTA_REGION_ROOT_B, buf, len, doc);

	if (a == 0 && b == 0)
		return OTA_NOT_FOUND;
	if (b >= a)
		return OTA_OK;
	/* Torn bits may read well once and not again: then the other copy is the one that was not being
	 * written. */
	if (root_copy(flash, c, OTA_REGION_ROOT_A, buf, len, doc) == OTA_OK)
		return OTA_OK;
	return root_copy(flash, c, OTA_REGION_ROOT_B, buf, len, doc);
}

static enum ota_err root_write(const struct ota_flash *flash, const struct ota_crypto *c, unsigned region,
	const uint8_t *bytes, uint32_t len)
{
	uint8_t join[OTA_PROG_UNIT_MAX + TRAILER];
	struct ota_flash_geometry geo;
	struct ota_slice part = {bytes, len};
	uint32_t whole, rest;
	enum ota_err err = region_erase(flash, region, len + TRAILER);

	if (err != OTA_OK)
		return err;
	/* The trailer starts in the document's last program unit: each unit is programmed once. */
	flash->geometry(flash->ctx, region, &geo);
	rest = len % geo.prog_unit;
	whole = len - rest;
	memcpy(join, bytes + whole, rest);
	ota_sha256(c, &part, 1, join + rest);
	err = flash_write(flash, region, 0, bytes, whole);
	return err == OTA_OK ? flash_write(flash, region, whole, join, rest + TRAILER) : err;
}

static bool root_copy_equals(const struct ota_flash *flash, const struct ota_crypto *c, unsigned region,
	const uint8_t *bytes, uint32_t len)
{
	struct ota_slice part = {bytes, len};
	uint8_t sum[TRAILER];

	ota_sha256(c, &part, 1, sum);
	return region_equals(flash, region, 0, bytes, len) && region_equals(flash, region, len, sum, TRAILER);
}

enum ota_err root_heal(const struct ota_flash *flash, const struct ota_crypto *c, const uint8_t *bytes,
	uint32_t len, uint8_t *scratch)
{
	bool a = root_copy_equals(flash, c, OTA_REGION_ROOT_A, bytes, len);
	bool b = root_copy_equals(flash, c, OTA_REGION_ROOT_B, bytes, len);
	struct root_doc other;
	uint32_t other_len;
	enum ota_err err = OTA_OK;

	if (!a || (!b && root_copy(flash, c, OTA_REGION_ROOT_B, scratch, &other_len, &other) == OTA_OK))
		err = root_write(flash, c, OTA_REGION_ROOT_A, bytes, len);
	if (err == OTA_OK && !b)
		err = root_write(flash, c, OTA_REGION_ROOT_B, bytes, len);
	return err;
}

/* Both copies are valid and equal, or root_heal made them so at start: either may go first. */
enum ota_err root_store(
	const struct ota_flash *flash, const struct ota_crypto *c, const uint8_t *bytes, uint32_t len)
{
	enum ota_err err = root_write(flash, c, OTA_REGION_ROOT_A, bytes, len);

	return err == OTA_OK ? root_write(flash, c, OTA_REGION_ROOT_B, bytes, len) : err;
}
