#include <string.h>

#include "proto/image_internal.h"

/* esp_image_header_t and esp_app_desc_t of ESP-IDF (bootloader_support/include/esp_app_format.h,
 * esp_app_desc.h): 8 common bytes, then wp_pin 8, drive 9..11, chip id 12, chip revisions 14..18, reserved
 * 19..22, hash appended 23. The description starts the first segment. */
enum {
	HEADER_MODE = 2,
	HEADER_WP_PIN = 8,
	HEADER_CHIP = 12,
	HEADER_RESERVED = 19,
	HEADER_HASHED = 23,
	WP_PIN_DISABLED = 0xEE,
	SPI_MODE_MAX = 5, /* ESP_IMAGE_SPI_MODE_SLOW_READ */

	DESC_AT = 0x20,
	DESC_LEN = 256,
	DESC_SECURE_VERSION = 4,
	DESC_VERSION = 16,
	DESC_PROJECT = 48,
	DESC_TIME = 80,
	DESC_DATE = 96,
	DESC_IDF = 112,
	DESC_ELF_SHA256 = 144,

	/* A signed Arduino build: the core's tools/bin_signing.py pads the signature to this. */
	ARDUINO_SIGNATURE_LEN = 512,

	/* Secure boot v2 (espsecure.py, sign_secure_boot_v2): a sector of up to three blocks, each magic,
	 * version, hash kind, reserved, SHA-256 of everything before the sector, key and signature, zlib's
	 * CRC-32 of these, 16 zero bytes; then erased flash. */
	SECTOR_LEN = 4096,
	SECURE_BOOT_LEN = 1216,
	SECURE_BOOT_MAX = 3,
	SECURE_BOOT_MAGIC = 0xE7,
	SECURE_BOOT_RSA = 2,
	SECURE_BOOT_ECDSA = 3,
	SECURE_BOOT_DIGEST = 4,
	SECURE_BOOT_CRC = 1196,

	/* Secure boot v1 (sign_secure_boot_v1): a zero word and the signature behind the image. */
	SECURE_BOOT_V1_LEN = 68,
};
static const uint32_t desc_magic = 0xABCD5432; /* ESP_APP_DESC_MAGIC_WORD */

/* esp_chip_id_t (esp_app_format.h); flash windows: IROM_MAP and DROM_MAP of esptool's targets, widened to
 * what all revisions map. Code or data in a window marks an application; a bootloader has none. */
struct chip {
	uint16_t id;
	uint16_t page_mask; /* of the flash mapping: 64 KiB, or the smallest the chip can be set to */
	const char *name;
	uint32_t flash[2][2]; /* [from, to) twice */
};
static const struct chip chips[] = {
	{0x00, 0xFFFF, "esp32", {{0x3F400000, 0x3F800000}, {0x400D0000, 0x40400000}}},
	{0x02, 0xFFFF, "esp32s2", {{0x3F000000, 0x3FF80000}, {0x40080000, 0x40C00000}}},
	{0x05, 0xFFFF, "esp32c3", {{0x3C000000, 0x3E000000}, {0x42000000, 0x44000000}}},
	{0x09, 0xFFFF, "esp32s3", {{0x3C000000, 0x3E000000}, {0x42000000, 0x44000000}}},
	{0x0C, 0x1FFF, "esp32c2", {{0x3C000000, 0x3E000000}, {0x42000000, 0x44000000}}},
	{0x0D, 0x1FFF, "esp32c6", {{0x42000000, 0x44000000}, {0x42000000, 0x44000000}}},
	{0x10, 0x1FFF, "esp32h2", {{0x42000000, 0x44000000}, {0x42000000, 0x44000000}}},
	{0x12, 0x1FFF, "esp32p4", {{0x40000000, 0x44000000}, {0x40000000, 0x44000000}}},
	{0x14, 0x1FFF, "esp32c61", {{0x42000000, 0x44000000}, {0x42000000, 0x44000000}}},
	{0x17, 0x1FFF, "esp32c5", {{0x42000000, 0x44000000}, {0x42000000, 0x44000000}}},
	{0x19, 0x1FFF, "esp32h21", {{0x42000000, 0x44000000}, {0x42000000, 0x44000000}}},
	{0x1C, 0x1FFF, "esp32h4", {{0x42000000, 0x44000000}, {0x42000000, 0x44000000}}},
};

static const struct chip *chip_find(uint16_t id)
{
	for (size_t i = 0; i < sizeof chips / sizeof chips[0]; i++) {
		if (chips[i].id == id)
			return &chips[i];
	}
	return NULL;
}

static bool has_desc(const struct image_work *w)
{
	return w->src->size >= DESC_AT + DESC_LEN && image_le32(w->head + DESC_AT) == desc_magic;
}

/* One damaged byte must not turn a broken application into raw bytes, and random bytes must not become a
 * broken application: take it for one when the description is there, or all but one of the header's seven
 * parts fit. */
static bool looks_esp32(const struct image_work *w)
{
	const uint8_t *h = w->head;
	unsigned fits = 0;

	if (has_desc(w))
		return true;
	if (w->src->size < ESP32_HEADER_LEN)
		return false;
	fits += h[0] == ESP_MAGIC;
	fits += h[1] >= 1 && h[1] <= ESP_SEGMENTS_MAX;
	fits += h[HEADER_MODE] <= SPI_MODE_MAX;
	fits += h[HEADER_WP_PIN] == WP_PIN_DISABLED && h[9] == 0 && h[10] == 0 && h[11] == 0;
	fits += chip_find(image_le16(h + HEADER_CHIP)) != NULL;
	fits += image_le32(h + HEADER_RESERVED) == 0;
	fits += h[HEADER_HASHED] <= 1;
	return fits >= 6;
}

/* The partition table's entries start AA 50, type, subtype, u32 offset, u32 size (esp_partition_info_t,
 * ESP_PARTITION_MAGIC). Where it lies depends on the table's offset and on the flash address the file starts
 * at, so every sector up to 128 KiB is looked at. */
static enum ota_err find_partition_table(struct image_work *w, bool *found)
{
	enum { FIRST = 0x3000, LAST = 0x20000, TYPE_DATA = 1 };
	uint8_t e[12];

	*found = false;
	for (uint32_t at = FIRST; at <= LAST && at + sizeof e <= w->src->size; at += SECTOR_LEN) {
		enum ota_err err = image_read(w, at, e, sizeof e);

		if (err)
			return err;
		if (e[0] == 0xAA && e[1] == 0x50 && e[2] <= TYPE_DATA &&
			image_le32(e + 4) % SECTOR_LEN == 0 && image_le32(e + 4) != 0 &&
			image_le32(e + 8) != 0) {
			*found = true;
			return OTA_OK;
		}
	}
	return OTA_OK;
}

static enum ota_err refuse_factory(struct image_work *w, const uint8_t *boot_header)
{
	const struct chip *chip = chip_find(image_le16(boot_header + HEADER_CHIP));

	w->info->format = IMAGE_FACTORY;
	w->info->checks = 0;
	if (chip)
		image_copy_text(w->info->chip, sizeof w->info->chip, (const uint8_t *)chip->name, 12);
	return image_refuse(w, OTA_UNSUPPORTED,
		"use the application image (app.bin / -app.bin), not the merged factory image");
}

/* A merged image that starts at flash address 0 of a chip whose bootloader lies at 0x1000 or 0x2000 begins
 * with erased flash. */
bool image_try_esp_factory(struct image_work *w, enum ota_err *verdict)
{
	uint8_t boot[ESP32_HEADER_LEN];
	bool found = false;

	for (size_t i = 0; i < sizeof w->head; i++) {
		if (w->head[i] != 0xFF)
			return false;
	}
	for (uint32_t at = 0x1000; at <= 0x2000 && at + sizeof boot <= w->src->size; at += 0x1000) {
		*verdict = image_read(w, at, boot, sizeof boot);
		if (*verdict)
			return true;
		if (boot[0] != ESP_MAGIC)
			continue;
		*verdict = find_partition_table(w, &found);
		if (*verdict == OTA_OK && found)
			*verdict = refuse_factory(w, boot);
		return *verdict != OTA_OK;
	}
	return false;
}

static bool is_in_flash(const struct chip *chip, const struct esp_segment *seg)
{
	for (unsigned i = 0; i < 2; i++) {
		if (seg->len > 0 && seg->addr >= chip->flash[i][0] && seg->addr < chip->flash[i][1])
			return true;
	}
	return false;
}

static enum ota_err read_desc(struct image_work *w, const struct esp_image *img)
{
	/* Arduino's description is the prebuilt libraries', the same in every sketch: its version is no
	 * release's version. */
	static const char arduino_libs[] = "arduino-lib-builder";
	struct image_info *info = w->info;
	uint8_t d[DESC_LEN];
	uint8_t any = 0;
	enum ota_err err;

	if (!has_desc(w) || img->seg[0].len < DESC_LEN)
		return OTA_OK;
	err = image_read(w, DESC_AT, d, sizeof d);
	if (err)
		return err;
	image_copy_text(info->version, sizeof info->version, d + DESC_VERSION, 32);
	image_copy_text(info->project, sizeof info->project, d + DESC_PROJECT, 32);
	image_copy_text(info->sdk, sizeof info->sdk, d + DESC_IDF, 32);
	image_copy_text(info->built, 17, d + DESC_DATE, 16);
	if (d[DESC_TIME] && d[DESC_DATE]) {
		char time[17];

		image_copy_text(time, sizeof time, d + DESC_TIME, 16);
		image_append(info->built, sizeof info->built, " ");
		image_append(info->built, sizeof info->built, time);
	}
	if (memcmp(info->project, arduino_libs, sizeof arduino_libs) == 0)
		info->version[0] = info->project[0] = '\0';
	for (unsigned i = 0; i < 32; i++)
		any |= d[DESC_ELF_SHA256 + i];
	info->has_elf_sha256 = any != 0;
	memcpy(info->elf_sha256, d + DESC_ELF_SHA256, 32);
	info->has_security_counter = true;
	info->security_counter = image_le32(d + DESC_SECURE_VERSION);
	return OTA_OK;
}

static enum ota_err check_hash(struct image_work *w, uint64_t end)
{
	uint8_t said[OTA_SHA256_LEN], is[OTA_SHA256_LEN];
	enum ota_err err;

	if (w->src->size < end + sizeof said)
		return image_refuse(w, OTA_TRUNCATED, "the SHA-256 at the image's end is cut off");
	err = image_read(w, end, said, sizeof said);
	if (err)
		return err;
	w->src->crypto->sha256_init(&w->sha);
	err = image_stream(w, 0, end, IMAGE_FEED_SHA256);
	if (err)
		return err;
	w->src->crypto->sha256_final(&w->sha, is);
	if (memcmp(said, is, sizeof is) != 0)
		return image_refuse(w, OTA_DIGEST, "the SHA-256 at the image's end does not match");
	w->info->checks |= IMAGE_CHECK_SHA256;
	return OTA_OK;
}

static enum ota_err check_secure_boot_block(
	struct image_work *w, uint64_t at, const uint8_t is[OTA_SHA256_LEN])
{
	uint8_t head[SECURE_BOOT_DIGEST + OTA_SHA256_LEN], crc[4];
	enum ota_err err = image_read(w, at, head, sizeof head);

	if (err == OTA_OK)
		err = image_read(w, at + SECURE_BOOT_CRC, crc, sizeof crc);
	if (err)
		return err;
	if (head[0] != SECURE_BOOT_MAGIC || (head[1] != SECURE_BOOT_RSA && head[1] != SECURE_BOOT_ECDSA))
		return image_refuse(w, OTA_SIZE, "unknown bytes follow the image");
	w->crc = ~(uint32_t)0;
	err = image_stream(w, at, at + SECURE_BOOT_CRC, IMAGE_FEED_CRC_ZLIB);
	if (err)
		return err;
	if (image_le32(crc) != ~w->crc)
		return image_refuse(w, OTA_CHECKSUM, "the secure boot block's CRC-32 does not match");
	/* ECDSA with SHA-384 says so in the third byte, and has another digest there. */
	if (head[2] == 0 && memcmp(head + SECURE_BOOT_DIGEST, is, OTA_SHA256_LEN) != 0)
		return image_refuse(w, OTA_DIGEST, "the secure boot block's digest does not match");
	return OTA_OK;
}

/* Digests and CRCs are checked; the signatures are the boot ROM's matter. */
static enum ota_err check_secure_boot(struct image_work *w, uint64_t sector)
{
	uint64_t at = sector;
	uint8_t is[OTA_SHA256_LEN], magic = SECURE_BOOT_MAGIC;
	bool empty = false;
	enum ota_err err;

	w->src->crypto->sha256_init(&w->sha);
	err = image_stream(w, 0, sector, IMAGE_FEED_SHA256);
	if (err)
		return err;
	w->src->crypto->sha256_final(&w->sha, is);
	for (unsigned i = 0; i < SECURE_BOOT_MAX && magic == SECURE_BOOT_MAGIC; i++) {
		err = check_secure_boot_block(w, at, is);
		if (err)
			return err;
		at += SECURE_BOOT_LEN;
		err = image_read(w, at, &magic, 1);
		if (err)
			return err;
	}
	err = image_is_filled(w, at, w->src->size, 0xFF, &empty);
	if (err)
		return err;
	if (!empty)
		return image_refuse(w, OTA_SIZE, "unknown bytes follow the secure boot block");
	w->info->trailer = IMAGE_TRAILER_ESP_SECURE_BOOT;
	return OTA_OK;
}

/* A signature behind the image is something: neither zeros nor erased flash. */
static enum ota_err check_signature(struct image_work *w, uint64_t from, enum image_trailer trailer)
{
	bool empty = false;
	enum ota_err err = image_is_filled(w, from, w->src->size, 0xFF, &empty);

	if (err == OTA_OK && !empty)
		err = image_is_filled(w, from, w->src->size, 0, &empty);
	if (err)
		return err;
	if (empty)
		return image_refuse(w, OTA_SIZE, "empty bytes follow the image");
	w->info->trailer = trailer;
	return OTA_OK;
}

/* What may follow the image: nothing, a secure boot sector, a signature of secure boot v1 or of the Arduino
 * core. No check of the format covers the latter two's own bytes. */
static enum ota_err check_trailer(struct image_work *w, uint64_t end)
{
	uint64_t rest = w->src->size - end;
	uint64_t sector = (end + SECTOR_LEN - 1) / SECTOR_LEN * SECTOR_LEN;
	uint8_t word[4];
	enum ota_err err;

	w->info->image_size = end;
	if (rest == 0)
		return OTA_OK;
	if (w->src->size == sector + SECTOR_LEN)
		return check_secure_boot(w, sector);
	if (rest == ARDUINO_SIGNATURE_LEN)
		return check_signature(w, end, IMAGE_TRAILER_ESP32_SIGNED);
	if (rest == SECURE_BOOT_V1_LEN) {
		err = image_read(w, end, word, sizeof word);
		if (err)
			return err;
		if (image_le32(word) == 0)
			return check_signature(w, end + sizeof word, IMAGE_TRAILER_ESP_SECURE_BOOT);
	}
	return image_refuse(w, OTA_SIZE, "unknown bytes follow the image");
}

static enum ota_err check_layout(struct image_work *w, const struct chip *chip, const struct esp_image *img)
{
	bool flash = has_desc(w);

	/* The description lies in mapped flash: where no hash holds the chip id, this does. */
	if (flash && !w->head[HEADER_HASHED] && chip && !is_in_flash(chip, &img->seg[0]))
		return image_refuse(
			w, OTA_INVALID, "the code is linked for another chip than the header says");
	for (unsigned i = 0; i < img->count; i++) {
		/* The bootloader refuses such lengths too (esp_image_format.c, process_segment). */
		if (img->seg[i].len % 4 != 0)
			return image_refuse(w, OTA_INVALID, "a segment's length is no multiple of 4");
		/* esptool fills gaps with segments for address 0, but with an empty one only before a hash
		 * (--secure-pad): else it is padding read as a segment header, and the count is damaged. */
		if (img->seg[i].addr == 0 && img->seg[i].len == 0 && !w->head[HEADER_HASHED])
			return image_refuse(w, OTA_INVALID, "the last segment is empty");
		if (!chip || !is_in_flash(chip, &img->seg[i]))
			continue;
		flash = true;
		/* Whole pages are mapped; the bootloader refuses a mismatch too (esp_image_format.c). */
		if ((img->seg[i].addr ^ img->seg[i].data) & chip->page_mask)
			return image_refuse(w, OTA_INVALID, "a segment is linked for another place in flash");
	}
	if (!flash)
		return image_refuse(w, OTA_UNSUPPORTED,
			"this looks like a bootloader; use the application image (app.bin)");
	return esp_entry_holds(w, img);
}

/* Without an appended hash (Arduino builds of Tasmota and others) only the XOR over segment data remains: no
 * check covers header bytes 2, 3, 8..11 and 14..18, a chip id that becomes that of a chip with the same
 * memory map, nor the entry point and load addresses as long as they stay within their memory (in flash, by
 * whole pages); the rest of the header and the segment lengths are held by the layout they describe, but for
 * the last length where the change takes in or leaves out nothing but zero padding. */
static enum ota_err check_esp32(struct image_work *w)
{
	const struct chip *chip = chip_find(image_le16(w->head + HEADER_CHIP));
	struct esp_image img;
	uint64_t end;
	enum ota_err err = esp_walk(w, 0, ESP32_HEADER_LEN, w->src->size, &img);

	if (err)
		return err;
	/* A chip newer than the table: fine where a hash holds the header together, else it may be damage. */
	if (!chip && !w->head[HEADER_HASHED])
		return image_refuse(w, OTA_UNSUPPORTED, "the chip id in the header is none we know");
	if (chip)
		image_copy_text(w->info->chip, sizeof w->info->chip, (const uint8_t *)chip->name, 12);
	err = read_desc(w, &img);
	if (err == OTA_OK)
		err = esp_xor(w, &img, IMAGE_FEED_TEXT);
	if (err == OTA_OK)
		err = esp_xor_holds(w, &img);
	if (err)
		return err;
	w->info->checks |= IMAGE_CHECK_CHECKSUM;
	if (!w->head[HEADER_HASHED] && image_le32(w->head + HEADER_RESERVED) != 0)
		return image_refuse(w, OTA_INVALID, "reserved header bytes are not zero");
	end = img.end;
	if (w->head[HEADER_HASHED]) {
		err = check_hash(w, end);
		if (err)
			return err;
		end += OTA_SHA256_LEN;
	}
	err = check_trailer(w, end);
	if (err == OTA_OK)
		err = check_layout(w, chip, &img);
	return err;
}

bool image_try_esp32(struct image_work *w, enum ota_err *verdict)
{
	bool factory = false;

	if (!looks_esp32(w))
		return false;
	w->info->format = IMAGE_ESP32;
	if (!has_desc(w)) {
		*verdict = find_partition_table(w, &factory);
		if (*verdict)
			return true;
	}
	*verdict = factory ? refuse_factory(w, w->head) : check_esp32(w);
	return true;
}
