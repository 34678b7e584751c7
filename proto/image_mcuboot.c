#include <string.h>

#include "proto/image_internal.h"

/* MCUboot, boot/bootutil/include/bootutil/image.h (struct image_header, image_tlv_info, image_tlv) and
 * bootutil_public.c (the slot trailer's magic). */
enum {
	HEADER_LEN = 32,
	HEADER_PROTECTED = 10,
	HEADER_IMG_SIZE = 12,
	HEADER_FLAGS = 16,
	HEADER_VERSION = 20,

	FLAG_ENCRYPTED = 0x0C, /* IMAGE_F_ENCRYPTED_AES128 | _AES256 */

	INFO_LEN = 4,
	INFO_MAGIC = 0x6907,
	INFO_PROTECTED_MAGIC = 0x6908,

	TLV_SHA256 = 0x10,
	TLV_SHA384 = 0x11,
	TLV_SHA512 = 0x12,
	TLV_SIG_PURE = 0x25,
	TLV_ENC_FIRST = 0x30,
	TLV_ENC_LAST = 0x34,
	TLV_SEC_CNT = 0x50,
	TLV_UUID_VID = 0x74,
	TLV_UUID_CID = 0x75,

	SHA384_LEN = 48,
	SHA512_LEN = 64,

	TRAILER_MAGIC_LEN = 16,
	SLOT_FLAGS_LEN = 64, /* magic, and the confirming flag at the largest alignment, 32 */
};
static const uint32_t magic = 0x96F3B83D;

struct mcuboot {
	uint64_t body_end; /* header and image */
	uint64_t hash_end; /* and protected TLVs: what the hash covers */
	uint64_t tlv_end;
	bool has_hash, has_pure_signature, has_encryption, has_vid, has_cid;
	uint8_t hash[OTA_SHA256_LEN];
	unsigned long_len; /* of long_hash: SHA384_LEN, SHA512_LEN or 0 */
	uint8_t long_hash[SHA512_LEN];
};

/* "1.2.3", "1.2.3+4" as imgtool writes it; a zero build number is left out. */
static void read_version(struct image_work *w)
{
	char *out = w->info->version;
	size_t cap = sizeof w->info->version;
	const uint8_t *v = w->head + HEADER_VERSION;

	out[0] = '\0';
	image_append_u32(out, cap, v[0]);
	image_append(out, cap, ".");
	image_append_u32(out, cap, v[1]);
	image_append(out, cap, ".");
	image_append_u32(out, cap, image_le16(v + 2));
	if (image_le32(v + 4) != 0) {
		image_append(out, cap, "+");
		image_append_u32(out, cap, image_le32(v + 4));
	}
}

/* Only protected TLVs are trusted for facts: the hash does not cover the others. */
static enum ota_err take_tlv(
	struct image_work *w, struct mcuboot *m, bool is_protected, unsigned type, unsigned len, uint64_t at)
{
	struct image_info *info = w->info;
	uint8_t word[4];
	enum ota_err err = OTA_OK;

	if (!is_protected && type == TLV_SHA256) {
		if (len != sizeof m->hash || m->has_hash)
			return image_refuse(w, OTA_INVALID, "impossible hash TLV");
		m->has_hash = true;
		return image_read(w, at, m->hash, sizeof m->hash);
	}
	if (!is_protected && (type == TLV_SHA384 || type == TLV_SHA512)) {
		if (len != (type == TLV_SHA384 ? SHA384_LEN : SHA512_LEN) || m->long_len)
			return image_refuse(w, OTA_INVALID, "impossible hash TLV");
		m->long_len = len;
		return image_read(w, at, m->long_hash, len);
	}
	if (!is_protected && type == TLV_SIG_PURE)
		m->has_pure_signature = true;
	if (!is_protected && type >= TLV_ENC_FIRST && type <= TLV_ENC_LAST)
		m->has_encryption = true;
	if (is_protected && type == TLV_SEC_CNT && len == sizeof word) {
		err = image_read(w, at, word, sizeof word);
		if (err)
			return err;
		info->has_security_counter = true;
		info->security_counter = image_le32(word);
	}
	if (is_protected && type == TLV_UUID_VID && len == sizeof info->vendor_id) {
		m->has_vid = true;
		err = image_read(w, at, info->vendor_id, sizeof info->vendor_id);
	}
	if (is_protected && type == TLV_UUID_CID && len == sizeof info->class_id) {
		m->has_cid = true;
		err = image_read(w, at, info->class_id, sizeof info->class_id);
	}
	return err;
}

/* One TLV area, info header included; `*end` is behind it. At most 64 KiB, so at most 16,383 entries. */
static enum ota_err walk_area(
	struct image_work *w, struct mcuboot *m, uint64_t at, bool is_protected, uint64_t *end)
{
	uint8_t head[INFO_LEN];
	uint64_t pos = at + INFO_LEN;
	enum ota_err err = image_read(w, at, head, sizeof head);

	if (err)
		return image_refuse(w, err, "the TLV area is cut off");
	if (image_le16(head) != (is_protected ? INFO_PROTECTED_MAGIC : INFO_MAGIC))
		return image_refuse(w, OTA_CHECKSUM, "the TLV area's magic is damaged");
	*end = at + image_le16(head + 2);
	if (*end < pos)
		return image_refuse(w, OTA_INVALID, "impossible length of a TLV area");
	if (*end > w->src->size)
		return image_refuse(w, OTA_TRUNCATED, "the TLV area is cut off");
	while (pos < *end) {
		unsigned len;

		if (*end - pos < sizeof head)
			return image_refuse(w, OTA_INVALID, "a TLV reaches behind its area");
		err = image_read(w, pos, head, sizeof head);
		if (err)
			return err;
		pos += sizeof head;
		len = image_le16(head + 2);
		if (len > *end - pos)
			return image_refuse(w, OTA_INVALID, "a TLV reaches behind its area");
		err = take_tlv(w, m, is_protected, image_le16(head), len, pos);
		if (err)
			return err;
		pos += len;
	}
	return OTA_OK;
}

/* Hold what was streamed against the TLVs. */
static enum ota_err compare_hashes(struct image_work *w, const struct mcuboot *m, unsigned feed)
{
	uint8_t is[SHA512_LEN];
	bool holds = true;

	if (feed & IMAGE_FEED_SHA256) {
		w->src->crypto->sha256_final(&w->sha, is);
		holds = memcmp(is, m->hash, sizeof m->hash) == 0;
	}
	if (feed & IMAGE_FEED_SHA512) {
		w->src->sha512->final(&w->sha512, is);
		holds = holds && memcmp(is, m->long_hash, m->long_len) == 0;
	}
	if (!holds)
		return image_refuse(w, OTA_DIGEST, "the image's hash does not match");
	if (feed & IMAGE_FEED_SHA256)
		w->info->checks |= IMAGE_CHECK_SHA256;
	if (feed & IMAGE_FEED_SHA512)
		w->info->checks |= m->long_len == SHA384_LEN ? IMAGE_CHECK_SHA384 : IMAGE_CHECK_SHA512;
	return OTA_OK;
}

/* The hash covers header, image and protected TLVs (image_validate.c). An encrypted image's hash is that of
 * its plaintext, and a pure signature stands for the hash: there, in the unprotected TLVs of any image, and
 * where the source brings no SHA-512 for an image that has nothing else, no check of the format holds the
 * bytes for us. */
static enum ota_err check_hash(struct image_work *w, const struct mcuboot *m)
{
	bool is_encrypted = image_le32(w->head + HEADER_FLAGS) & FLAG_ENCRYPTED;
	unsigned feed = 0;
	enum ota_err err;

	if (is_encrypted != m->has_encryption)
		return image_refuse(w, OTA_INVALID, "header and TLVs disagree on encryption");
	if (!m->has_hash && !m->long_len && !m->has_pure_signature)
		return image_refuse(w, OTA_DIGEST, "the image carries no hash");
	if (is_encrypted)
		return OTA_OK;
	if (m->has_hash) {
		feed |= IMAGE_FEED_SHA256;
		w->src->crypto->sha256_init(&w->sha);
	}
	if (m->long_len && w->src->sha512) {
		feed |= IMAGE_FEED_SHA512;
		w->src->sha512->init(&w->sha512, m->long_len);
	}
	err = image_stream(w, 0, m->body_end, feed | IMAGE_FEED_TEXT);
	if (err == OTA_OK)
		err = image_stream(w, m->body_end, m->hash_end, feed);
	return err ? err : compare_hashes(w, m, feed);
}

/* Behind the TLVs: nothing, erased flash, or erased flash with the slot trailer at its end (imgtool --pad).
 */
static enum ota_err check_slot_padding(struct image_work *w, const struct mcuboot *m)
{
	/* boot_img_magic for an alignment of 8; for others the first 2 bytes are the alignment. */
	static const uint8_t aligned8[TRAILER_MAGIC_LEN] = {0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f,
		0x35, 0x52, 0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80};
	static const uint8_t any[TRAILER_MAGIC_LEN - 2] = {
		0x2d, 0xe1, 0x5d, 0x29, 0x41, 0x0b, 0x8d, 0x77, 0x67, 0x9c, 0x11, 0x0f, 0x1f, 0x8a};
	uint64_t rest = w->src->size - m->tlv_end, end = w->src->size;
	uint8_t tail[TRAILER_MAGIC_LEN];
	bool empty = false, erased_as_zero = false;
	enum ota_err err;

	w->info->image_size = m->tlv_end;
	if (rest == 0)
		return OTA_OK;
	if (rest >= sizeof tail) {
		err = image_read(w, w->src->size - sizeof tail, tail, sizeof tail);
		if (err)
			return err;
		if (memcmp(tail, aligned8, sizeof tail) == 0 || memcmp(tail + 2, any, sizeof any) == 0) {
			/* Beside the magic, imgtool writes at most the flag that confirms the image. */
			end = rest > SLOT_FLAGS_LEN ? w->src->size - SLOT_FLAGS_LEN : m->tlv_end;
			erased_as_zero = true;
		}
	}
	err = image_is_filled(w, m->tlv_end, end, 0xFF, &empty);
	if (err == OTA_OK && !empty && erased_as_zero)
		err = image_is_filled(w, m->tlv_end, end, 0, &empty);
	if (err == OTA_OK && !empty)
		err = image_refuse(w, OTA_SIZE, "unknown bytes follow the image");
	return err;
}

static enum ota_err check_mcuboot(struct image_work *w, uint64_t body_end)
{
	struct mcuboot m = {.body_end = body_end};
	unsigned protected_len = image_le16(w->head + HEADER_PROTECTED);
	enum ota_err err;

	if (image_le32(w->head) != magic)
		return image_refuse(w, OTA_CHECKSUM, "the image's magic is damaged");
	read_version(w);
	if (image_le32(w->head + HEADER_IMG_SIZE) == 0)
		return image_refuse(w, OTA_INVALID, "the image is empty");
	if (image_le16(w->head + 8) < HEADER_LEN)
		return image_refuse(w, OTA_INVALID, "impossible header length");
	if (body_end > w->src->size)
		return image_refuse(w, OTA_TRUNCATED, "the image reaches behind the file's end");
	m.hash_end = body_end;
	if (protected_len) {
		err = walk_area(w, &m, body_end, true, &m.hash_end);
		if (err)
			return err;
		if (m.hash_end - body_end != protected_len)
			return image_refuse(
				w, OTA_INVALID, "header and protected TLVs disagree on their length");
	}
	err = walk_area(w, &m, m.hash_end, false, &m.tlv_end);
	if (err == OTA_OK)
		err = check_hash(w, &m);
	if (err)
		return err;
	w->info->has_ids = m.has_vid && m.has_cid;
	return check_slot_padding(w, &m);
}

bool image_try_mcuboot(struct image_work *w, enum ota_err *verdict)
{
	const uint8_t *h = w->head;
	uint64_t body_end = (uint64_t)image_le16(h + 8) + image_le32(h + HEADER_IMG_SIZE);
	uint8_t info[2];

	if (w->src->size < HEADER_LEN)
		return false;
	if (image_le32(h) != magic) {
		/* A damaged magic: the header must lead to a TLV area, its padding be zero. */
		if (image_le16(h + 8) < HEADER_LEN || image_le32(h + 28) != 0 ||
			body_end + INFO_LEN > w->src->size)
			return false;
		*verdict = image_read(w, body_end, info, sizeof info);
		if (*verdict)
			return true;
		if (image_le16(info) != INFO_MAGIC && image_le16(info) != INFO_PROTECTED_MAGIC)
			return false;
	}
	w->info->format = IMAGE_MCUBOOT;
	*verdict = check_mcuboot(w, body_end);
	return true;
}
