#include <string.h>

#include "proto/image_internal.h"

/* UF2 as the format's own specification has it: 512-byte blocks, each with two magics in front and one
 * behind. */
enum {
	BLOCK_FLAGS = 8,
	BLOCK_ADDR = 12,
	BLOCK_PAYLOAD = 16,
	BLOCK_NUMBER = 20,
	BLOCK_TOTAL = 24,
	BLOCK_FAMILY = 28,
	BLOCK_DATA = 32,
	BLOCK_END = 508,
	DATA_MAX = 476,

	FLAG_NOT_FLASH = 0x0001,
	FLAG_CONTAINER = 0x1000,
	FLAG_FAMILY = 0x2000,
	FLAG_MD5 = 0x4000,

	MD5_LEN = 16,
	MD5_PART = 24, /* address, length, MD5: the end of the data area */

	GAP_MAX = 16 << 20, /* ours; what lies further off is no part of one image */
};
static const uint32_t magic_start0 = 0x0A324655, magic_start1 = 0x9E5D5157, magic_end = 0x0AB16F30;

/* pico-sdk boot/uf2.h: addressed to no family; picotool puts one such block, for the last page of a 16 MiB
 * window, in front (RP2350 erratum E10). */
static const uint32_t family_absolute = 0xE48BFF57, erratum_addr = 0x10FFFF00;

/* uf2families.json of the specification's repository. */
static const struct {
	uint32_t family;
	const char *chip;
} families[] = {
	{0x7EAB61ED, "esp8266"},
	{0x1C5F21B0, "esp32"},
	{0xBFDD4EEE, "esp32s2"},
	{0xC47E5767, "esp32s3"},
	{0xD42BA06C, "esp32c3"},
	{0x2B88D29C, "esp32c2"},
	{0x540DDF62, "esp32c6"},
	{0x332726F6, "esp32h2"},
	{0x3D308E94, "esp32p4"},
	{0xF71C0343, "esp32c5"},
	{0x77D850C4, "esp32c61"},
	{0xB6DD00AF, "esp32h21"},
	{0x9E0BAA8A, "esp32h4"},
	{0xE48BFF56, "rp2040"},
	{0xE48BFF59, "rp2350"}, /* Arm, secure */
	{0xE48BFF5A, "rp2350"}, /* RISC-V */
	{0xE48BFF5B, "rp2350"}, /* Arm, non-secure */
	{0xADA52840, "nrf52840"},
	{0x68ED2B88, "samd21"},
	{0x57755A57, "stm32f4"},
};

struct uf2 {
	uint32_t next, total;            /* within the running numbering */
	uint32_t family;                 /* of all blocks for flash; 0 where they name none */
	uint32_t end;                    /* flash address behind the last block */
	uint64_t flash_blocks, digested; /* the latter carry an MD5 of their own data */
};

static const char *chip_of(uint32_t family)
{
	for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
		if (families[i].family == family)
			return families[i].chip;
	}
	return NULL;
}

static bool is_erratum(const uint8_t *b)
{
	return (image_le32(b + BLOCK_FLAGS) & FLAG_FAMILY) &&
	       image_le32(b + BLOCK_FAMILY) == family_absolute &&
	       image_le32(b + BLOCK_ADDR) == erratum_addr && image_le32(b + BLOCK_NUMBER) == 0 &&
	       image_le32(b + BLOCK_TOTAL) == 2;
}

bool uf2_flash_piece(const uint8_t block[UF2_BLOCK_LEN], bool is_first, struct uf2_piece *out)
{
	if ((is_first && is_erratum(block)) ||
		image_le32(block + BLOCK_FLAGS) & (FLAG_NOT_FLASH | FLAG_CONTAINER))
		return false;
	*out = (struct uf2_piece){.addr = image_le32(block + BLOCK_ADDR),
		.len = image_le32(block + BLOCK_PAYLOAD),
		.data = block + BLOCK_DATA};
	return true;
}

/* The blocks for flash must make one image: one chip's, one behind the other, without wide gaps. */
static enum ota_err check_piece(
	struct image_work *w, struct uf2 *u, const uint8_t *b, const struct uf2_piece *p)
{
	/* Where the RP chips map flash; their other addresses are RAM. The rest write what a block says. */
	static const uint32_t xip_from = 0x10000000, xip_to = 0x20000000, rp_first = 0xE48BFF56,
			      rp_last = 0xE48BFF5B;
	bool has_family = image_le32(b + BLOCK_FLAGS) & FLAG_FAMILY;
	uint32_t family = has_family ? image_le32(b + BLOCK_FAMILY) : 0;
	bool is_rp = family >= rp_first && family <= rp_last;

	if (p->len == 0 || p->addr > UINT32_MAX - p->len)
		return image_refuse(w, OTA_INVALID, "impossible address or length in a block");
	if (u->flash_blocks == 0)
		u->family = family;
	else if (u->family != family)
		return image_refuse(
			w, OTA_UNSUPPORTED, "holds images for several chips; use the file for yours");
	else if (p->addr < u->end)
		return image_refuse(w, OTA_INVALID, "blocks overlap, or do not follow each other in flash");
	else if (p->addr - u->end > GAP_MAX)
		return image_refuse(w, OTA_UNSUPPORTED,
			"its blocks lie too far apart for one image; use the image (.bin) of the same build");
	if (is_rp && (p->addr < xip_from || p->addr >= xip_to))
		return image_refuse(
			w, OTA_UNSUPPORTED, "is loaded into RAM and cannot be installed in flash");
	u->end = p->addr + p->len;
	return OTA_OK;
}

/* The digest is that of a flash region; only where the region is this block's own data can it be checked. */
static enum ota_err check_md5(struct image_work *w, const uint8_t *b, uint32_t payload, bool *checked)
{
	const uint8_t *part = b + BLOCK_DATA + DATA_MAX - MD5_PART;
	uint8_t is[MD5_LEN];

	*checked = false;
	if (!(image_le32(b + BLOCK_FLAGS) & FLAG_MD5))
		return OTA_OK;
	if (payload > DATA_MAX - MD5_PART)
		return image_refuse(w, OTA_INVALID, "a block's data reaches into its MD5");
	if (image_le32(part) != image_le32(b + BLOCK_ADDR) || image_le32(part + 4) != payload)
		return OTA_OK;
	w->src->md5->init(&w->md5);
	w->src->md5->update(&w->md5, b + BLOCK_DATA, payload);
	w->src->md5->final(&w->md5, is);
	if (memcmp(is, part + 8, sizeof is) != 0)
		return image_refuse(w, OTA_CHECKSUM, "a block's MD5 does not match");
	*checked = true;
	return OTA_OK;
}

/* Numbers run 0..total-1; a file may hold several such runs one behind the other (one for each family). */
static enum ota_err check_number(struct image_work *w, struct uf2 *u, const uint8_t *b, uint64_t blocks_left)
{
	uint32_t number = image_le32(b + BLOCK_NUMBER), total = image_le32(b + BLOCK_TOTAL);

	if (u->next == u->total) {
		if (total == 0 || number != 0)
			return image_refuse(w, OTA_INVALID, "block numbers do not run from 0");
		if (total > blocks_left)
			return image_refuse(w, OTA_TRUNCATED, "fewer blocks than the first one says");
		u->next = 0;
		u->total = total;
	}
	if (number != u->next || total != u->total)
		return image_refuse(w, OTA_INVALID, "block numbers do not run on");
	u->next++;
	return OTA_OK;
}

/* No check covers data and flags of blocks without an MD5, nor the room behind the data of any; their
 * addresses only have to rise. */
static enum ota_err check_block(struct image_work *w, struct uf2 *u, const uint8_t *b, uint64_t blocks_left)
{
	bool is_first = blocks_left * UF2_BLOCK_LEN == w->src->size, checked = false;
	struct uf2_piece piece;
	enum ota_err err;

	if (image_le32(b) != magic_start0 || image_le32(b + 4) != magic_start1 ||
		image_le32(b + BLOCK_END) != magic_end)
		return image_refuse(w, OTA_CHECKSUM, "a block's magic is damaged");
	if (image_le32(b + BLOCK_PAYLOAD) > DATA_MAX)
		return image_refuse(w, OTA_INVALID, "a block says more data than it holds");
	if (is_first && is_erratum(b))
		return OTA_OK;
	err = check_number(w, u, b, blocks_left);
	if (err || !uf2_flash_piece(b, is_first, &piece))
		return err;
	err = check_md5(w, b, piece.len, &checked);
	if (err == OTA_OK)
		err = check_piece(w, u, b, &piece);
	image_text_feed(&w->text, piece.data, piece.len);
	u->flash_blocks++;
	u->digested += checked;
	return err;
}

static enum ota_err check_uf2(struct image_work *w)
{
	struct uf2 u = {0};
	uint64_t size = w->src->size;
	const char *chip;

	if (size % UF2_BLOCK_LEN != 0)
		return image_refuse(w, OTA_TRUNCATED, "the last block is cut off");
	for (uint64_t at = 0; at < size;) {
		size_t len = size - at < sizeof w->buf ? (size_t)(size - at) : sizeof w->buf;
		enum ota_err err = image_read(w, at, w->buf, len);

		for (size_t i = 0; err == OTA_OK && i < len; i += UF2_BLOCK_LEN)
			err = check_block(w, &u, w->buf + i, (size - at - i) / UF2_BLOCK_LEN);
		if (err)
			return err;
		at += len;
	}
	if (u.next != u.total || u.total == 0)
		return image_refuse(w, OTA_TRUNCATED, "blocks are missing at the end");
	if (u.digested > 0 && u.digested < u.flash_blocks)
		return image_refuse(w, OTA_INVALID, "some blocks lack the MD5 of their data");
	if (u.flash_blocks == 0)
		return image_refuse(w, OTA_UNSUPPORTED, "nothing in it is for flash");
	chip = chip_of(u.family);
	if (chip)
		image_append(w->info->chip, sizeof w->info->chip, chip);
	w->info->checks |= IMAGE_CHECK_BLOCKS | (u.digested ? IMAGE_CHECK_MD5 : 0u);
	return image_refuse(
		w, OTA_OK, "a UF2 file is for a drive, not for flash: 'otactl push' makes the image of it");
}

bool image_try_uf2(struct image_work *w, enum ota_err *verdict)
{
	uint8_t end[4] = {0};
	int fits = (image_le32(w->head) == magic_start0) + (image_le32(w->head + 4) == magic_start1);

	if (w->src->size < 8 || fits == 0)
		return false;
	if (fits == 1 && w->src->size >= UF2_BLOCK_LEN) {
		*verdict = image_read(w, BLOCK_END, end, sizeof end);
		if (*verdict)
			return true;
	}
	if (fits < 2 && image_le32(end) != magic_end)
		return false;
	w->info->format = IMAGE_UF2;
	*verdict = check_uf2(w);
	return true;
}
