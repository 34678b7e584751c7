#include <string.h>

#include "proto/image_internal.h"

/* Images for the RP2040 and RP2350, as they lie in flash. From the headers and linker scripts of the vendor's
 * SDK: boot_stage2 (256 bytes, the last four the CRC of the others), the vector table, behind it the header
 * of the binary information (pico/binary_info/structure.h, defs.h), on the RP2350 a block that says what the
 * image is (boot/picobin.h). Apart from boot_stage2 nothing in such an image checks anything for us: the hash
 * that a sealed image carries is the boot ROM's matter. */
enum {
	BOOT2_LEN = 0x100,
	VECTORS_LEN = 16, /* of it that is looked at: stack, reset, NMI, hard fault */

	/* picotool looks for the header in so much of the image; the boot ROM for the block in so much. */
	INFO_WITHIN = 1024,
	INFO_LEN = 20,
	BLOCK_WITHIN = 4096,
	BLOCK_MAX = 0x280,

	ENTRY_LEN = 12,
	ENTRIES_MAX = 1024, /* ours */
	ENTRY_ID_AND_INT = 5,
	ENTRY_ID_AND_STRING = 6,
	PAGE_LEN = 256,
	TAG_RP = 0x5052, /* "RP" */

	ITEM_IMAGE_TYPE = 0x42,
	ITEM_VERSION = 0x48,
	ITEM_LAST = 0xFF,
	TYPE_EXE = 1,
};
static const uint32_t info_start = 0x7188EBF2, info_end = 0xE71AA390;
static const uint32_t binary_end = 0x68F465DE; /* BINARY_INFO_ID_RP_BINARY_END */
static const uint32_t block_start = 0xFFFFDED3, block_end = 0xAB123579;
static const uint64_t flash_max = 32 << 20; /* two chips of 16 MiB on the RP2350 */
static const uint32_t flash_from = 0x10000000, flash_to = 0x20000000, ram_to = 0x20100000;

static const char cut_off[] = "the image ends before its binary information";

struct rp2 {
	bool has_boot2, lacks_boot2, has_info, has_block;
	uint32_t base;        /* flash address of the file's first byte, where has_info */
	uint32_t first, last; /* of the binary information's pointers */
	uint16_t type;        /* the block's */
	bool has_version;     /* the block's */
	uint32_t version;
};

static bool is_flash(uint32_t addr)
{
	return addr >= flash_from && addr < flash_to;
}

/* Arm: stack in RAM, three handlers of Thumb code in flash. */
static bool is_vectors(const uint8_t *p)
{
	uint32_t stack = image_le32(p);

	for (unsigned i = 4; i < VECTORS_LEN; i += 4) {
		if (!is_flash(image_le32(p + i)) || !(p[i] & 1))
			return false;
	}
	return stack > flash_to && stack <= ram_to && stack % 4 == 0;
}

/* Where the header is: its offset, or 0. */
static uint32_t find_info(const uint8_t *p, size_t len)
{
	for (uint32_t at = VECTORS_LEN; at + INFO_LEN <= len; at += 4) {
		if (image_le32(p + at) == info_start && image_le32(p + at + 16) == info_end)
			return at;
	}
	return 0;
}

/* What the first bytes are: boot_stage2 (its CRC says so), a vector table, a table behind 256 bytes of
 * something else, or none, as on RISC-V. An image starts where flash starts, or, for a slot, where the page
 * of its reset handler does, which the SDK links right behind the header. A wrong guess finds no entries and
 * does no harm. */
static void take_start(struct rp2 *r, const uint8_t *p)
{
	bool is_behind = !is_vectors(p) && is_vectors(p + BOOT2_LEN);

	r->base = flash_from;
	if (is_behind)
		r->has_boot2 = image_crc_eboot(~UINT32_C(0), p, BOOT2_LEN - 4) ==
			       image_le32(p + BOOT2_LEN - 4);
	if (is_vectors(p))
		r->base = image_le32(p + 4) & ~UINT32_C(0xFFF);
	else if (is_behind && !r->has_boot2)
		r->base = image_le32(p + BOOT2_LEN + 4) & ~UINT32_C(0xFFF);
	/* Linked for the start of flash, what stands in front can only be boot_stage2. */
	r->lacks_boot2 = is_behind && !r->has_boot2 && r->base == flash_from;
}

/* The header's pointers are addresses. */
static void take_info(struct image_work *w, struct rp2 *r, const uint8_t *p, uint32_t at)
{
	r->first = image_le32(p + at + 4);
	r->last = image_le32(p + at + 8);
	r->has_info = r->first >= r->base && r->last >= r->first && r->last - r->base <= w->src->size &&
		      (r->last - r->first) / 4 <= ENTRIES_MAX;
}

/* The block's items: the image's type comes first, "last" tells their length in words. */
static void take_block(struct rp2 *r, const uint8_t *p, size_t len)
{
	size_t at = 4;

	r->type = image_le16(p + at + 2);
	while (at + 12 <= len) {
		uint32_t head = image_le32(p + at);
		uint32_t words = head >> 8 & (head & 0x80 ? 0xFFFF : 0xFF);

		if ((head & 0xFF) == ITEM_LAST) {
			r->has_block = words == at / 4 - 1 && image_le32(p + at + 8) == block_end;
			return;
		}
		if ((head & 0xFF) == ITEM_VERSION && words >= 2 && !r->has_version) {
			r->has_version = true;
			r->version = image_le32(p + at + 4);
		}
		if (words == 0 || words > (len - at) / 4)
			return;
		at += (size_t)words * 4;
	}
}

static enum ota_err find_block(struct image_work *w, struct rp2 *r, size_t len)
{
	for (size_t at = 0; at + 8 <= len; at += 4) {
		size_t rest;
		enum ota_err err;

		if (image_le32(w->buf + at) != block_start || w->buf[at + 4] != ITEM_IMAGE_TYPE ||
			w->buf[at + 5] != 1)
			continue;
		rest = w->src->size - at < BLOCK_MAX ? (size_t)(w->src->size - at) : BLOCK_MAX;
		err = image_read(w, at, w->buf, rest);
		if (err == OTA_OK)
			take_block(r, w->buf, rest);
		return err;
	}
	return OTA_OK;
}

static enum ota_err read_string(
	struct image_work *w, const struct rp2 *r, uint32_t addr, char *out, size_t cap)
{
	uint8_t text[IMAGE_TEXT_LEN];
	uint64_t rest;
	size_t len;
	enum ota_err err;

	if (out[0] || addr < r->base || addr - r->base >= w->src->size)
		return OTA_OK;
	rest = w->src->size - (addr - r->base);
	len = rest < sizeof text ? (size_t)rest : sizeof text;
	err = image_read(w, addr - r->base, text, len);
	if (err == OTA_OK)
		image_copy_text(out, cap, text, len);
	return err;
}

/* Where the linker says the image ends. Tools that write whole pages, or leave out an empty end, differ by
 * less than a page. */
static enum ota_err check_end(struct image_work *w, const struct rp2 *r, uint32_t end)
{
	if (is_flash(end) && end >= r->base && end - r->base >= w->src->size + PAGE_LEN)
		return image_refuse(w, OTA_TRUNCATED, "the image is shorter than it says of itself");
	return OTA_OK;
}

static enum ota_err read_entry(struct image_work *w, const struct rp2 *r, uint32_t addr)
{
	struct image_info *info = w->info;
	uint8_t e[ENTRY_LEN];
	uint32_t value;
	enum ota_err err;

	/* Entries that lie in RAM at run time are found by a table of their own; these strings never do. */
	if (!is_flash(addr) || addr < r->base)
		return OTA_OK;
	if (addr - r->base > w->src->size || w->src->size - (addr - r->base) < sizeof e)
		return r->has_boot2 ? image_refuse(w, OTA_TRUNCATED, cut_off) : OTA_OK;
	err = image_read(w, addr - r->base, e, sizeof e);
	if (err || image_le16(e + 2) != TAG_RP)
		return err;
	value = image_le32(e + 8);
	if (image_le16(e) == ENTRY_ID_AND_INT && image_le32(e + 4) == binary_end)
		return check_end(w, r, value);
	if (image_le16(e) != ENTRY_ID_AND_STRING)
		return OTA_OK;
	switch (image_le32(e + 4)) {
	case 0x02031C86: /* BINARY_INFO_ID_RP_PROGRAM_NAME */
		return read_string(w, r, value, info->project, sizeof info->project);
	case 0x11A9BC3A: /* .._PROGRAM_VERSION_STRING */
		return read_string(w, r, value, info->version, sizeof info->version);
	case 0x9DA22254: /* .._PROGRAM_BUILD_DATE_STRING */
		return read_string(w, r, value, info->built, sizeof info->built);
	case 0x5360B3AB: /* .._SDK_VERSION */
		return read_string(w, r, value, info->sdk, sizeof info->sdk);
	default:
		return OTA_OK;
	}
}

static enum ota_err read_facts(struct image_work *w, const struct rp2 *r)
{
	const char *chip = r->has_boot2 ? "rp2040" : "";
	uint8_t pointer[4];

	if (r->has_block) /* PICOBIN_IMAGE_TYPE_EXE_CHIP */
		chip = (r->type >> 12 & 7) == 0 ? "rp2040" : (r->type >> 12 & 7) == 1 ? "rp2350" : "";
	image_append(w->info->chip, sizeof w->info->chip, chip);
	for (uint32_t at = r->first; r->has_info && r->last - at >= 4; at += 4) {
		enum ota_err err = image_read(w, at - r->base, pointer, sizeof pointer);

		if (err == OTA_OK)
			err = read_entry(w, r, image_le32(pointer));
		if (err)
			return err;
	}
	if (r->has_block && r->has_version && !w->info->version[0]) {
		image_append_u32(w->info->version, sizeof w->info->version, r->version >> 16);
		image_append(w->info->version, sizeof w->info->version, ".");
		image_append_u32(w->info->version, sizeof w->info->version, r->version & 0xFFFF);
	}
	return image_stream(w, 0, w->src->size, IMAGE_FEED_TEXT);
}

bool image_try_rp2(struct image_work *w, enum ota_err *verdict)
{
	size_t len = w->src->size < BLOCK_WITHIN ? (size_t)w->src->size : BLOCK_WITHIN;
	struct rp2 r = {0};
	uint32_t info_at;

	if (len < BOOT2_LEN + VECTORS_LEN)
		return false;
	*verdict = image_read(w, 0, w->buf, len);
	if (*verdict)
		return true;
	take_start(&r, w->buf);
	info_at = find_info(w->buf, len < INFO_WITHIN ? len : INFO_WITHIN);
	if (info_at)
		take_info(w, &r, w->buf, info_at);
	if (r.lacks_boot2 && info_at > BOOT2_LEN) {
		w->info->format = IMAGE_RP2;
		*verdict = image_refuse(
			w, OTA_CHECKSUM, "the CRC-32 of the image's first 256 bytes does not match");
		return true;
	}
	if (r.has_boot2 && info_at && !r.has_info && is_flash(r.last) && r.last - flash_from > w->src->size) {
		w->info->format = IMAGE_RP2;
		*verdict = image_refuse(w, OTA_TRUNCATED, cut_off);
		return true;
	}
	*verdict = find_block(w, &r, len);
	if (*verdict)
		return true;
	r.has_block = r.has_block && (r.type & 0xF) == TYPE_EXE;
	if (!r.has_boot2 && !r.has_info && !r.has_block)
		return false;
	w->info->format = IMAGE_RP2;
	*verdict = w->src->size > flash_max
			   ? image_refuse(w, OTA_SIZE, "larger than the largest flash of these chips")
			   : read_facts(w, &r);
	return true;
}
