#include <string.h>

#include "proto/image_internal.h"

/* Memory of the chip as the SDK's and the Arduino core's linker scripts have it (eagle.app.v6.*.ld):
 * dram0_0_seg, iram1_0_seg (eboot.ld puts eboot at 0x4010F000), irom0_0_seg (1 MiB of flash is mapped). */
struct region {
	uint32_t from, to;
};
static const struct region regions[] = {
	{0x3FFE8000, 0x40000000},
	{0x40100000, 0x40110000},
	{0x40200000, 0x40300000},
};

enum {
	HEADER_MODE = 2,
	HEADER_SIZE_FREQ = 3,
	SPI_MODE_MAX = 3, /* QIO, QOUT, DIO, DOUT */

	/* Arduino core, tools/elf2bin.py: eboot padded to one sector, then the application; its first segment
	 * starts with the file's length and CRC (zero while the CRC is computed). Old cores have neither. */
	ARDUINO_APP = 0x1000,
	ARDUINO_LENGTH = 0x1010,
	ARDUINO_CRC = 0x1014,
	ARDUINO_WORDS_END = 0x1018,

	/* MicroPython, ports/esp8266/makeimg.py: boot segments padded with 0xFF, the size word in the last 4
	 * bytes before SEGS_MAX_SIZE, irom text, MD5 of [4, size) at `size`. */
	MPY_SIZE_WORD = 0x8FFC,
	MPY_IROM = 0x9000,
	MPY_MD5_FROM = 4,
	MD5_LEN = 16,

	/* SDK, tools/gen_appbin.py (boot_v1.2 and later): magic, 4, mode, size, entry; one irom segment with
	 * load address 0; then a whole 0xE9 image; then the CRC. */
	SDK_MAGIC = 0xEA,
	SDK_COUNT = 4,
	SDK_IROM = 16,
	CRC_LEN = 4,
};
static const uint32_t eboot_addr = 0x4010F000;
static const uint64_t flash_max = 16 << 20; /* the largest flash the size nibble names */

static bool is_loadable(uint32_t addr, uint32_t len)
{
	for (size_t i = 0; i < sizeof regions / sizeof regions[0]; i++) {
		if (addr >= regions[i].from && addr < regions[i].to)
			return len <= regions[i].to - addr;
	}
	return false;
}

static bool is_executable(uint32_t addr)
{
	return addr >= regions[1].from && is_loadable(addr, 0);
}

/* 16 bytes: the header and the first segment's. `whole`: all of it must fit, else one mistake is forgiven so
 * that a damaged image is not taken for raw bytes. */
static bool looks_esp8266(const uint8_t *h, bool whole)
{
	bool magic = h[0] == ESP_MAGIC;
	bool small = h[1] >= 1 && h[1] <= ESP_SEGMENTS_MAX && h[HEADER_MODE] <= SPI_MODE_MAX;
	bool entry = is_executable(image_le32(h + 4));
	bool load = is_loadable(image_le32(h + 8), 0);

	return magic + small + entry + load >= (whole ? 4 : 3);
}

static enum ota_err check_header(struct image_work *w, const uint8_t *h)
{
	uint8_t freq = h[HEADER_SIZE_FREQ] & 0x0F;

	/* Flash sizes and frequencies: the SDK's flash map (0..9) and 40, 26, 20, 80 MHz (0, 1, 2, 15). */
	if (h[HEADER_MODE] > SPI_MODE_MAX || h[HEADER_SIZE_FREQ] >> 4 > 9 || (freq > 2 && freq != 15))
		return image_refuse(w, OTA_INVALID, "impossible flash mode, size or frequency in the header");
	return OTA_OK;
}

/* Walk the image at `at` and hold its layout and checksum; `feed` goes along with its data. */
static enum ota_err check_part(
	struct image_work *w, uint64_t at, uint64_t limit, unsigned feed, struct esp_image *img)
{
	uint8_t h[ESP8266_HEADER_LEN];
	enum ota_err err = esp_walk(w, at, ESP8266_HEADER_LEN, limit, img);

	if (err == OTA_OK)
		err = image_read(w, at, h, sizeof h);
	if (err == OTA_OK)
		err = check_header(w, h);
	if (err)
		return err;
	for (unsigned i = 0; i < img->count; i++) {
		if (!is_loadable(img->seg[i].addr, img->seg[i].len))
			return image_refuse(w, OTA_INVALID, "a segment loads outside the chip's memory");
	}
	err = esp_entry_holds(w, img);
	if (err == OTA_OK)
		err = esp_xor(w, img, feed);
	return err;
}

static enum ota_err check_part_xor(
	struct image_work *w, uint64_t at, uint64_t limit, unsigned feed, struct esp_image *img)
{
	enum ota_err err = check_part(w, at, limit, feed, img);

	if (err == OTA_OK)
		err = esp_xor_holds(w, img);
	return err;
}

/* Arduino core, Updater: RSA signature of the key's length, then that length as a little-endian word. */
static enum ota_err check_signature_trailer(struct image_work *w, uint64_t end)
{
	uint64_t rest = w->src->size - end;
	uint8_t word[4];
	uint32_t len;
	enum ota_err err;

	w->info->image_size = end;
	if (rest == 0)
		return OTA_OK;
	if (rest > sizeof word) {
		err = image_read(w, w->src->size - sizeof word, word, sizeof word);
		if (err)
			return err;
		len = image_le32(word);
		if ((len == 256 || len == 384 || len == 512) && rest == len + sizeof word) {
			w->info->trailer = IMAGE_TRAILER_ESP8266_SIGNED;
			return OTA_OK;
		}
	}
	return image_refuse(w, OTA_SIZE, "unknown bytes follow the image");
}

/* Flash is mapped as it lies, so code must be linked for its own offset in the file; eboot has one place. */
static enum ota_err check_addresses(struct image_work *w, const struct esp_image *img)
{
	for (unsigned i = 0; i < img->count; i++) {
		const struct esp_segment *seg = &img->seg[i];

		if (seg->addr >= regions[2].from && seg->addr - regions[2].from != seg->data)
			return image_refuse(w, OTA_INVALID, "code is linked for another place in flash");
	}
	return OTA_OK;
}

static enum ota_err eboot_crc(struct image_work *w, uint64_t end, uint32_t *crc)
{
	static const uint8_t zero[ARDUINO_WORDS_END - ARDUINO_LENGTH];
	enum ota_err err;

	w->crc = ~(uint32_t)0;
	err = image_stream(w, 0, ARDUINO_LENGTH, IMAGE_FEED_CRC_EBOOT);
	if (err)
		return err;
	w->crc = image_crc_eboot(w->crc, zero, sizeof zero);
	err = image_stream(w, ARDUINO_WORDS_END, end, IMAGE_FEED_CRC_EBOOT);
	if (err)
		return err;
	*crc = w->crc;
	return OTA_OK;
}

/* The length or the CRC alone says that this core wrote them; then both must hold, so that one damaged byte
 * in either cannot pass for an old core's image. In images of old cores no check covers mode, size and
 * frequency, the filling between eboot and 0x1000, the low bits of entry points and of load addresses in RAM,
 * and a last length that takes in or leaves out nothing but zero padding. */
static enum ota_err check_arduino(struct image_work *w)
{
	uint8_t words[ARDUINO_WORDS_END - ARDUINO_LENGTH];
	struct esp_image img;
	uint64_t end;
	uint32_t crc = 0;
	uint8_t stored_xor;
	bool length_fits, crc_fits;
	enum ota_err err = check_part_xor(w, 0, ARDUINO_APP, 0, &img);

	if (err)
		return err;
	if (img.seg[0].addr != eboot_addr)
		return image_refuse(w, OTA_INVALID, "eboot is linked for another place in memory");
	if (w->src->size < ARDUINO_WORDS_END)
		return image_refuse(w, OTA_TRUNCATED, "the file ends before the application at 0x1000");
	err = check_part(w, ARDUINO_APP, w->src->size, IMAGE_FEED_TEXT, &img);
	if (err == OTA_OK)
		err = check_addresses(w, &img);
	if (err == OTA_OK)
		err = image_read(w, ARDUINO_LENGTH, words, sizeof words);
	if (err)
		return err;
	end = img.end;
	stored_xor = w->xor ;
	err = eboot_crc(w, end, &crc);
	if (err)
		return err;
	length_fits = image_le32(words) == end;
	crc_fits = image_le32(words + 4) == crc;
	if (length_fits != crc_fits)
		return image_refuse(w, OTA_CHECKSUM, "the file's CRC-32 does not match");
	if (crc_fits)
		w->info->checks |= IMAGE_CHECK_CRC;
	err = esp_xor_holds(w, &img);
	if (err == OTA_CHECKSUM && crc_fits) {
		/* elf2bin.py writes the words after the checksum, which still counts them as zero. */
		w->xor = stored_xor;
		for (size_t i = 0; i < sizeof words; i++)
			w->xor ^= words[i];
		err = esp_xor_holds(w, &img);
	}
	if (err)
		return err;
	w->info->hint[0] = '\0';
	w->info->checks |= IMAGE_CHECK_CHECKSUM;
	return check_signature_trailer(w, end);
}

static enum ota_err mpy_md5(struct image_work *w, uint64_t end, bool *holds)
{
	uint8_t said[MD5_LEN], is[MD5_LEN];
	enum ota_err err = image_read(w, end, said, sizeof said);

	if (err)
		return err;
	w->src->md5->init(&w->md5);
	err = image_stream(w, MPY_MD5_FROM, end, IMAGE_FEED_MD5 | IMAGE_FEED_TEXT);
	if (err)
		return err;
	w->src->md5->final(&w->md5, is);
	*holds = memcmp(said, is, sizeof is) == 0;
	return OTA_OK;
}

/* The MD5 leaves out the first 4 bytes (flashing tools rewrite mode, size and frequency); of them, the magic
 * and the segment count are held by the layout, mode, size and frequency by nothing. */
static enum ota_err check_mpy(struct image_work *w, bool md5_holds)
{
	struct esp_image img;
	enum ota_err err = check_part_xor(w, 0, MPY_SIZE_WORD, 0, &img);

	if (err)
		return err;
	w->info->checks |= IMAGE_CHECK_CHECKSUM;
	if (!md5_holds)
		return image_refuse(w, OTA_CHECKSUM, "the MD5 at the image's end does not match");
	w->info->checks |= IMAGE_CHECK_MD5;
	return OTA_OK;
}

static bool try_mpy(struct image_work *w, enum ota_err *verdict)
{
	uint8_t tail[8]; /* the padding's last word, the size word */
	uint64_t size = w->src->size, said;
	bool looks = looks_esp8266(w->head, false), md5_holds = false;
	bool padded;

	if (size < MPY_IROM + MD5_LEN || size > flash_max)
		return false;
	*verdict = image_read(w, MPY_SIZE_WORD - 4, tail, sizeof tail);
	if (*verdict)
		return true;
	said = image_le32(tail + 4);
	padded = looks && image_le32(tail) == UINT32_MAX && said >= MPY_IROM && said <= flash_max;
	if (said != size - MD5_LEN && !looks)
		return false;
	if (padded && said > size - MD5_LEN) {
		w->info->format = IMAGE_ESP8266_MPY;
		*verdict = image_refuse(w, OTA_TRUNCATED, "the file is shorter than its size word says");
		return true;
	}
	*verdict = mpy_md5(w, size - MD5_LEN, &md5_holds);
	if (*verdict == OTA_OK && said != size - MD5_LEN && !md5_holds && !padded)
		return false;
	w->info->format = IMAGE_ESP8266_MPY;
	if (*verdict)
		return true;
	if (said == size - MD5_LEN)
		*verdict = check_mpy(w, md5_holds);
	else
		*verdict = image_refuse(w, OTA_SIZE, "the size word does not fit the file");
	return true;
}

/* user1 and user2 are linked for where they lie in flash. Literals that point into the image's own mapped
 * code tell which: the SDK's eagle.app.v6.new.*.app1.ld start irom at 0x40201010, app2.ld at 0x40241010 (512
 * KB flash) or 0x40281010 (1024 and more). The maps 1024+1024 (size nibble 5, 6, 8, 9) map either half to the
 * same addresses: one image serves both slots. */
static enum ota_err tell_variant(struct image_work *w, uint32_t irom_len)
{
	static const uint32_t base[] = {0x40201010, 0x40241010, 0x40281010};
	uint32_t votes[3] = {0, 0, 0};
	uint32_t second;
	uint64_t end = (uint64_t)SDK_IROM + irom_len;

	for (uint64_t at = SDK_IROM; at + 4 <= end;) {
		size_t len = end - at < sizeof w->buf ? (size_t)(end - at) & ~(size_t)3 : sizeof w->buf;
		enum ota_err err = image_read(w, at, w->buf, len);

		if (err)
			return err;
		for (size_t i = 0; i < len; i += 4) {
			for (unsigned b = 0; b < 3; b++)
				votes[b] += image_le32(w->buf + i) - base[b] < irom_len;
		}
		at += len;
	}
	second = votes[1] > votes[2] ? votes[1] : votes[2];
	/* Chance hits are a handful; real images have hundreds. */
	if (votes[0] > 4 * second + 4)
		w->info->variant = 1;
	else if (second > 4 * votes[0] + 4)
		w->info->variant = 2;
	return OTA_OK;
}

/* gen_appbin.py appends |signed CRC-32| +- 1: the complement where the top bit is set, CRC + 1 where it is
 * not. */
static enum ota_err sdk_crc_holds(struct image_work *w, uint64_t end, bool *holds)
{
	uint8_t word[CRC_LEN];
	uint32_t crc;
	enum ota_err err = image_read(w, end, word, sizeof word);

	if (err)
		return err;
	w->crc = ~(uint32_t)0;
	err = image_stream(w, 0, end, IMAGE_FEED_CRC_ZLIB);
	if (err)
		return err;
	crc = ~w->crc;
	*holds = image_le32(word) == (crc & 0x80000000 ? ~crc : crc + 1);
	return OTA_OK;
}

static enum ota_err check_sdk(struct image_work *w)
{
	uint32_t irom_len = image_le32(w->head + 12);
	uint64_t boot = (uint64_t)SDK_IROM + irom_len;
	struct esp_image img;
	bool holds = false;
	enum ota_err err;

	if (w->head[0] != SDK_MAGIC || w->head[1] != SDK_COUNT || image_le32(w->head + 8) != 0)
		return image_refuse(w, OTA_CHECKSUM, "the image's first bytes are damaged");
	if (irom_len % 16 != 0)
		return image_refuse(w, OTA_INVALID, "the code segment's length is no multiple of 16");
	if (boot > w->src->size)
		return image_refuse(w, OTA_TRUNCATED, "the code segment reaches behind the file's end");
	err = check_part_xor(w, boot, w->src->size, 0, &img);
	if (err)
		return err;
	w->info->checks |= IMAGE_CHECK_CHECKSUM;
	if (w->src->size - img.end < CRC_LEN)
		return image_refuse(w, OTA_TRUNCATED, "the CRC-32 at the image's end is cut off");
	if (w->src->size - img.end > CRC_LEN)
		return image_refuse(w, OTA_SIZE, "unknown bytes follow the image");
	err = sdk_crc_holds(w, img.end, &holds);
	if (err == OTA_OK && !holds)
		err = image_refuse(w, OTA_CHECKSUM, "the CRC-32 at the image's end does not match");
	if (err == OTA_OK)
		err = tell_variant(w, irom_len);
	if (err)
		return err;
	w->info->checks |= IMAGE_CHECK_CRC;
	switch (w->head[HEADER_SIZE_FREQ] >> 4) {
	case 5:
	case 6:
	case 8:
	case 9:
		w->info->variant = 0;
		return OTA_OK;
	default:
		w->info->needs_pair = true;
		return image_refuse(w, OTA_OK,
			w->info->variant ? "needs user1 and user2: push both files of the pair"
					 : "needs user1 and user2, and does not say which of them it is");
	}
}

static bool try_sdk(struct image_work *w, enum ota_err *verdict)
{
	const uint8_t *h = w->head;
	uint64_t boot = (uint64_t)SDK_IROM + image_le32(h + 12);
	uint8_t next[16];
	bool head = h[0] == SDK_MAGIC && h[1] == SDK_COUNT && is_executable(image_le32(h + 4));

	if (w->src->size < SDK_IROM || w->src->size > flash_max)
		return false;
	if (!head) {
		if (image_le32(h + 8) != 0 || boot > w->src->size || w->src->size - boot < sizeof next)
			return false;
		*verdict = image_read(w, boot, next, sizeof next);
		if (*verdict == OTA_OK && !looks_esp8266(next, true))
			return false;
	}
	w->info->format = IMAGE_ESP8266_SDK;
	if (head || *verdict == OTA_OK)
		*verdict = check_sdk(w);
	return true;
}

/* The XOR is all such an image has, unless the tool that made it appended the SDK's CRC. No check covers the
 * header's mode, size and frequency, the low bits of entry point and load addresses, and a last length that
 * takes in or leaves out nothing but zero padding. */
static enum ota_err check_plain(struct image_work *w)
{
	struct esp_image img;
	bool holds = false;
	enum ota_err err = check_part_xor(w, 0, w->src->size, IMAGE_FEED_TEXT, &img);

	if (err)
		return err;
	w->info->checks |= IMAGE_CHECK_CHECKSUM;
	if (w->src->size - img.end == CRC_LEN) {
		err = sdk_crc_holds(w, img.end, &holds);
		if (err)
			return err;
		if (holds) {
			w->info->checks |= IMAGE_CHECK_CRC;
			return OTA_OK;
		}
		return image_refuse(w, OTA_CHECKSUM, "the CRC-32 at the image's end does not match");
	}
	return check_signature_trailer(w, img.end);
}

static bool try_arduino(struct image_work *w, bool looks, enum ota_err *verdict)
{
	uint8_t app[16];
	bool is = looks && image_le32(w->head + 8) == eboot_addr;

	if (w->src->size > flash_max)
		return false;
	if (!is && w->src->size >= ARDUINO_APP + sizeof app) {
		*verdict = image_read(w, ARDUINO_APP, app, sizeof app);
		if (*verdict)
			return true;
		is = looks_esp8266(app, true);
	}
	if (!is)
		return false;
	w->info->format = IMAGE_ESP8266_ARDUINO;
	*verdict = check_arduino(w);
	return true;
}

bool image_try_esp8266(struct image_work *w, enum ota_err *verdict)
{
	bool looks = looks_esp8266(w->head, false);
	bool is = try_sdk(w, verdict) || try_arduino(w, looks, verdict) || try_mpy(w, verdict);

	if (!is && looks) {
		is = true;
		w->info->format = IMAGE_ESP8266;
		*verdict = w->src->size > flash_max
				   ? image_refuse(w, OTA_SIZE, "larger than the largest flash of this chip")
				   : check_plain(w);
	}
	if (is)
		image_copy_text(w->info->chip, sizeof w->info->chip, (const uint8_t *)"esp8266", 7);
	return is;
}
