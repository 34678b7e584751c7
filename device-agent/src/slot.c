#include "device-agent/src/slot.h"

#include <string.h>

#include "proto/cbor.h"

enum { CHUNK = 128 };

unsigned slot_region(unsigned c, unsigned k)
{
	return (unsigned)OTA_REGION_SLOT + OTA_SLOTS * c + k;
}

uint32_t slot_capacity(const struct ota_flash *flash, unsigned c)
{
	struct ota_flash_geometry a, b;
	uint32_t size;

	flash->geometry(flash->ctx, slot_region(c, 0), &a);
	flash->geometry(flash->ctx, slot_region(c, 1), &b);
	size = a.size < b.size ? a.size : b.size;
	return size > OTA_ENVELOPE_AREA ? size - OTA_ENVELOPE_AREA : 0;
}

enum ota_err slot_hash(const struct ota_flash *flash, const struct ota_crypto *c, unsigned region,
	uint32_t off, uint32_t len, struct ota_sha256 *h)
{
	uint8_t buf[CHUNK];

	while (len > 0) {
		uint32_t n = len < CHUNK ? len : CHUNK;
		enum ota_err err = flash->read(flash->ctx, region, off, buf, n);

		if (err != OTA_OK)
			return err;
		c->sha256_update(h, buf, n);
		off += n;
		len -= n;
	}
	return OTA_OK;
}

enum ota_err slot_check(
	const struct ota_flash *flash, const struct ota_crypto *c, const struct journal_slot *rec, unsigned k)
{
	if (rec->component[0].size == 0)
		return OTA_NOT_FOUND;
	for (unsigned i = 0; i < OTA_COMPONENTS_MAX; i++) {
		uint32_t size = rec->component[i].size;
		struct ota_sha256 h;
		uint8_t sha256[32];
		enum ota_err err;

		if (size == 0)
			continue;
		if (size > slot_capacity(flash, i))
			return OTA_DIGEST;
		c->sha256_init(&h);
		err = slot_hash(flash, c, slot_region(i, k), 0, size, &h);
		if (err != OTA_OK)
			return err;
		c->sha256_final(&h, sha256);
		if (memcmp(sha256, rec->component[i].sha256, sizeof sha256) != 0)
			return OTA_DIGEST;
	}
	return OTA_OK;
}

enum ota_err slot_envelope_read(
	const struct ota_flash *flash, unsigned k, uint8_t buf[OTA_ENVELOPE_AREA], uint32_t *len)
{
	struct ota_flash_geometry geo;
	struct cbor_in in;
	struct ota_slice item;
	enum ota_err err;

	flash->geometry(flash->ctx, slot_region(0, k), &geo);
	if (geo.size <= OTA_ENVELOPE_AREA)
		return OTA_NOT_FOUND;
	err = flash->read(
		flash->ctx, slot_region(0, k), geo.size - OTA_ENVELOPE_AREA, buf, OTA_ENVELOPE_AREA);
	if (err != OTA_OK)
		return err;
	cbor_in_init(&in, buf, OTA_ENVELOPE_AREA);
	item = cbor_skip(&in);
	if (in.err != OTA_OK)
		return OTA_NOT_FOUND;
	*len = (uint32_t)item.len;
	return OTA_OK;
}

bool slot_envelope_is_signed(const struct ota_crypto *c, const struct root_doc *root,
	const uint8_t digest[32], const uint8_t *bytes, uint32_t len)
{
	struct suit_envelope e;
	struct cose_keyring ring;

	if (suit_envelope_decode(c, bytes, len, &e) != OTA_OK ||
		memcmp(e.digest, digest, sizeof e.digest) != 0)
		return false;
	root_keyring(c, root, ROOT_ROLE_RELEASE, &ring);
	return suit_envelope_verify(c, &e, &ring) == OTA_OK;
}

enum ota_err slot_record_from(
	const struct suit_manifest *m, const uint8_t digest[32], unsigned k, struct journal_slot *rec)
{
	if (m->n_components == 0 || m->n_components > OTA_COMPONENTS_MAX)
		return OTA_COMPONENT;
	memset(rec, 0, sizeof *rec);
	rec->sequence = m->sequence;
	memcpy(rec->digest, digest, sizeof rec->digest);
	for (unsigned i = 0; i < m->n_components; i++) {
		const struct suit_component *comp = &m->component[i];
		const struct suit_image *image = &comp->image[comp->n_images > 1 ? k : 0];

		rec->component[i].size = image->size;
		memcpy(rec->component[i].sha256, image->sha256, sizeof image->sha256);
	}
	return OTA_OK;
}

enum ota_err flash_write(
	const struct ota_flash *flash, unsigned region, uint32_t off, const uint8_t *bytes, uint32_t len)
{
	struct ota_flash_geometry geo;
	uint8_t tail[OTA_PROG_UNIT_MAX], seen[CHUNK];
	uint32_t whole, rest;
	enum ota_err err = OTA_OK;

	flash->geometry(flash->ctx, region, &geo);
	rest = len % geo.prog_unit;
	whole = len - rest;
	if (whole > 0)
		err = flash->prog(flash->ctx, region, off, bytes, whole);
	if (err == OTA_OK && rest > 0) {
		memset(tail, geo.erased, sizeof tail);
		memcpy(tail, bytes + whole, rest);
		err = flash->prog(flash->ctx, region, off + whole, tail, geo.prog_unit);
	}
	for (uint32_t at = 0; err == OTA_OK && at < len; at += CHUNK) {
		uint32_t n = len - at < CHUNK ? len - at : CHUNK;

		err = flash->read(flash->ctx, region, off + at, seen, n);
		if (err == OTA_OK && memcmp(seen, bytes + at, n) != 0)
			err = OTA_FLASH;
	}
	return err;
}
