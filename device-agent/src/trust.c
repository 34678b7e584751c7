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

static unsigned other_of(unsigned region)
{
	return region == OTA_REGION_IDENTITY_A || region == OTA_REGION_ROOT_A ? region + 1U : region - 1U;
}

/* The copy that is not to be trusted after a cut; OTA_REGIONS: both are whole. */
static unsigned suspect(uint8_t flags, enum trust_pair pair)
{
	unsigned a = pair == TRUST_IDENTITY ? OTA_REGION_IDENTITY_A : OTA_REGION_ROOT_A;
	unsigned bits = (unsigned)(flags >> pair) & 3U;

	return bits == 1 ? a : bits == 2 ? a + 1U : (unsigned)OTA_REGIONS;
}

/* Say in the journal that `region` is about to be written; OTA_REGIONS: all is written. */
static enum ota_err announce(struct journal *j, enum trust_pair pair, unsigned region)
{
	unsigned bits = region == OTA_REGIONS                                            ? 0
			: region == OTA_REGION_IDENTITY_A || region == OTA_REGION_ROOT_A ? 1
											 : 2;
	uint8_t flags;

	if (!j)
		return OTA_OK;
	flags = (uint8_t)((j->s.flags & ~(3U << pair)) | bits << pair);
	if (flags == j->s.flags)
		return OTA_OK;
	j->s.flags = flags;
	return journal_commit(j);
}

enum ota_err identity_load(const struct ota_flash *flash, const struct ota_crypto *c, uint8_t flags,
	uint8_t buf[PROVISION_MAX], struct provision *p, uint32_t *len, unsigned *from)
{
	unsigned first = suspect(flags, TRUST_IDENTITY) == OTA_REGION_IDENTITY_A ? OTA_REGION_IDENTITY_B
										 : OTA_REGION_IDENTITY_A;

	*from = first;
	if (identity_copy(flash, c, first, buf, p, len) == OTA_OK)
		return OTA_OK;
	*from = other_of(first);
	return identity_copy(flash, c, *from, buf, p, len) == OTA_OK ? OTA_OK : OTA_NOT_FOUND;
}

static enum ota_err identity_write(
	const struct ota_flash *flash, struct journal *j, unsigned region, const uint8_t *bytes, uint32_t len)
{
	enum ota_err err = announce(j, TRUST_IDENTITY, region);

	if (err == OTA_OK)
		err = region_erase(flash, region, len);
	return err == OTA_OK ? flash_write(flash, region, 0, bytes, len) : err;
}

/* The copy that is written first: one that is suspect already, because then the other is all there is. */
static unsigned first_to_write(const struct journal *j, enum trust_pair pair)
{
	unsigned bad = j ? suspect(j->s.flags, pair) : (unsigned)OTA_REGIONS;

	return bad != OTA_REGIONS ? bad : pair == TRUST_IDENTITY ? OTA_REGION_IDENTITY_A : OTA_REGION_ROOT_A;
}

enum ota_err identity_store(
	const struct ota_flash *flash, struct journal *j, const uint8_t *bytes, uint32_t len)
{
	unsigned first = first_to_write(j, TRUST_IDENTITY);
	enum ota_err err = identity_write(flash, j, first, bytes, len);

	if (err == OTA_OK)
		err = identity_write(flash, j, other_of(first), bytes, len);
	return err == OTA_OK ? announce(j, TRUST_IDENTITY, OTA_REGIONS) : err;
}

/* The copy that was read from is touched last, and only if it is the suspect one. */
enum ota_err identity_heal(
	const struct ota_flash *flash, struct journal *j, const uint8_t *bytes, uint32_t len, unsigned from)
{
	unsigned bad = suspect(j->s.flags, TRUST_IDENTITY);
	unsigned other = other_of(from);
	enum ota_err err = OTA_OK;

	if (bad == other || !region_equals(flash, other, 0, bytes, len))
		err = identity_write(flash, j, other, bytes, len);
	if (err == OTA_OK && bad == from)
		err = identity_write(flash, j, from, bytes, len);
	if (err != OTA_OK)
		return bad == from ? err : OTA_OK;
	return announce(j, TRUST_IDENTITY, OTA_REGIONS);
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

	if (n == 0)
		return OTA_FLASH;
	cbor_in_init(&in, buf, n);
	item = cbor_skip(&in);
	if (in.err != OTA_OK)
		return OTA_NOT_FOUND;
	ota_sha256(c, &item, 1, want);
	err = flash->read(flash->ctx, region, (uint32_t)item.len, have, TRAILER);
	if (err != OTA_OK)
		return err;
	if (memcmp(want, have, TRAILER) != 0)
		return OTA_NOT_FOUND;
	err = root_split(buf, item.len, blocks, &n_blocks, &payload);
	if (err == OTA_OK)
		err = root_payload_decode(c, payload, doc);
	if (err == OTA_OK)
		*len = (uint32_t)item.len;
	return err;
}

enum ota_err root_load(const struct ota_flash *flash, const struct ota_crypto *c, uint8_t flags,
	uint8_t buf[ROOT_MAX], uint32_t *len, struct root_doc *doc, unsigned *from)
{
	unsigned bad = suspect(flags, TRUST_ROOT), first = OTA_REGION_ROOT_B;
	enum ota_err err, again;

	if (bad == OTA_REGION_ROOT_B ||
		(bad == OTA_REGIONS && root_copy(flash, c, OTA_REGION_ROOT_A, buf, len, doc) == OTA_OK)) {
		uint32_t a = bad == OTA_REGIONS ? doc->version : UINT32_MAX;

		first = bad == OTA_REGIONS &&
					root_copy(flash, c, OTA_REGION_ROOT_B, buf, len, doc) == OTA_OK &&
					doc->version > a
				? OTA_REGION_ROOT_B
				: OTA_REGION_ROOT_A;
	}
	*from = first;
	err = root_copy(flash, c, first, buf, len, doc);
	if (err == OTA_OK)
		return OTA_OK;
	*from = other_of(first);
	again = root_copy(flash, c, *from, buf, len, doc);
	if (again == OTA_OK)
		return OTA_OK;
	/* Flash with ECC cannot read what a cut left: no copy, like any other torn one. */
	if (*from == bad)
		again = OTA_NOT_FOUND;
	return err == OTA_FLASH || again == OTA_FLASH ? OTA_FLASH : OTA_NOT_FOUND;
}

static enum ota_err root_write(const struct ota_flash *flash, const struct ota_crypto *c, struct journal *j,
	unsigned region, const uint8_t *bytes, uint32_t len)
{
	uint8_t join[OTA_PROG_UNIT_MAX + TRAILER];
	struct ota_flash_geometry geo;
	struct ota_slice part = {bytes, len};
	uint32_t whole, rest;
	enum ota_err err = announce(j, TRUST_ROOT, region);

	if (err == OTA_OK)
		err = region_erase(flash, region, len + TRAILER);
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

enum ota_err root_heal(const struct ota_flash *flash, const struct ota_crypto *c, struct journal *j,
	const uint8_t *bytes, uint32_t len, unsigned from)
{
	unsigned bad = suspect(j->s.flags, TRUST_ROOT);
	unsigned other = other_of(from);
	enum ota_err err = OTA_OK;

	if (bad == other || !root_copy_equals(flash, c, other, bytes, len))
		err = root_write(flash, c, j, other, bytes, len);
	if (err == OTA_OK && bad == from)
		err = root_write(flash, c, j, from, bytes, len);
	if (err != OTA_OK)
		return bad == from ? err : OTA_OK;
	return announce(j, TRUST_ROOT, OTA_REGIONS);
}

enum ota_err root_store(const struct ota_flash *flash, const struct ota_crypto *c, struct journal *j,
	const uint8_t *bytes, uint32_t len)
{
	unsigned first = first_to_write(j, TRUST_ROOT);
	enum ota_err err = root_write(flash, c, j, first, bytes, len);

	if (err == OTA_OK)
		err = root_write(flash, c, j, other_of(first), bytes, len);
	return err == OTA_OK ? announce(j, TRUST_ROOT, OTA_REGIONS) : err;
}
