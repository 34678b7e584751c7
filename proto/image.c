#include "proto/image.h"

#include <string.h>

#include "proto/image_internal.h"

enum ota_err image_refuse(struct image_work *w, enum ota_err err, const char *hint)
{
	w->info->hint[0] = '\0';
	image_append(w->info->hint, sizeof w->info->hint, hint);
	return err;
}

void image_append(char *out, size_t cap, const char *s)
{
	size_t n = 0;

	while (n < cap && out[n])
		n++;
	for (; *s && n + 1 < cap; s++)
		out[n++] = *s;
	if (n < cap)
		out[n] = '\0';
}

void image_append_u32(char *out, size_t cap, uint32_t value)
{
	char digits[11];
	size_t at = sizeof digits - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	image_append(out, cap, digits + at);
}

void image_copy_text(char *out, size_t cap, const uint8_t *p, size_t len)
{
	size_t n = 0;

	while (n < len && n + 1 < cap && p[n] >= 0x20 && p[n] < 0x7F) {
		out[n] = (char)p[n];
		n++;
	}
	out[n] = '\0';
}

enum ota_err image_read(struct image_work *w, uint64_t offset, void *buf, size_t len)
{
	if (offset > w->src->size || len > w->src->size - offset)
		return image_refuse(w, OTA_TRUNCATED, "the file ends too early");
	if (len > 0 && w->src->read(w->src->ctx, offset, buf, len) != OTA_OK)
		return image_refuse(w, OTA_IO, "the file cannot be read");
	return OTA_OK;
}

/* Both CRCs take 4 bits at a time: small enough for bare metal, fast enough for an upload. */
uint32_t image_crc_zlib(uint32_t crc, const uint8_t *p, size_t len)
{
	/* The remainders of 0..15 for the reflected polynomial 0xEDB88320. */
	static const uint32_t table[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190,
		0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

uint32_t image_crc_eboot(uint32_t crc, const uint8_t *p, size_t len)
{
	/* The remainders of 0..15 for the polynomial 0x04C11DB7, most significant bit first. */
	static const uint32_t table[16] = {0x00000000, 0x04c11db7, 0x09823b6e, 0x0d4326d9, 0x130476dc,
		0x17c56b6b, 0x1a864db2, 0x1e475005, 0x2608edb8, 0x22c9f00f, 0x2f8ad6d6, 0x2b4bcb61,
		0x350c9b64, 0x31cd86d3, 0x3c8ea00a, 0x384fbdbd};

	for (size_t i = 0; i < len; i++) {
		crc ^= (uint32_t)p[i] << 24;
		crc = crc << 4 ^ table[crc >> 28];
		crc = crc << 4 ^ table[crc >> 28];
	}
	return crc;
}

static uint8_t xor_of(const uint8_t *p, size_t len)
{
	uint64_t wide = 0, word;
	uint8_t x = 0;

	for (; len >= sizeof word; p += sizeof word, len -= sizeof word) {
		memcpy(&word, p, sizeof word);
		wide ^= word;
	}
	for (; wide; wide >>= 8)
		x ^= (uint8_t)wide;
	while (len-- > 0)
		x ^= *p++;
	return x;
}

enum ota_err image_stream(struct image_work *w, uint64_t from, uint64_t to, unsigned feed)
{
	while (from < to) {
		size_t len = to - from < sizeof w->buf ? (size_t)(to - from) : sizeof w->buf;
		enum ota_err err = image_read(w, from, w->buf, len);

		if (err)
			return err;
		if (feed & IMAGE_FEED_XOR)
			w->xor ^= xor_of(w->buf, len);
		if (feed & IMAGE_FEED_SHA256)
			w->src->crypto->sha256_update(&w->sha, w->buf, len);
		if (feed & IMAGE_FEED_SHA512)
			w->src->sha512->update(&w->sha512, w->buf, len);
		if (feed & IMAGE_FEED_MD5)
			w->src->md5->update(&w->md5, w->buf, len);
		if (feed & IMAGE_FEED_CRC_ZLIB)
			w->crc = image_crc_zlib(w->crc, w->buf, len);
		if (feed & IMAGE_FEED_CRC_EBOOT)
			w->crc = image_crc_eboot(w->crc, w->buf, len);
		if (feed & IMAGE_FEED_TEXT)
			image_text_feed(&w->text, w->buf, len);
		from += len;
	}
	return OTA_OK;
}

enum ota_err image_is_filled(struct image_work *w, uint64_t from, uint64_t to, uint8_t value, bool *same)
{
	while (from < to) {
		size_t len = to - from < sizeof w->buf ? (size_t)(to - from) : sizeof w->buf;
		enum ota_err err = image_read(w, from, w->buf, len);

		if (err)
			return err;
		for (size_t i = 0; i < len; i++) {
			if (w->buf[i] != value) {
				*same = false;
				return OTA_OK;
			}
		}
		from += len;
	}
	*same = true;
	return OTA_OK;
}

enum ota_err image_recognise(const struct image_source *src, struct image_info *out)
{
	/* Those with long magics first; ESP8266 before ESP32, whose header is the looser one. */
	static image_try_fn *const tries[] = {image_try_gzip, image_try_elf, image_try_uf2, image_try_mcuboot,
		image_try_rp2, image_try_romfs, image_try_ihex, image_try_esp8266, image_try_esp32,
		image_try_esp_factory};
	struct image_work w = {.src = src, .info = out};
	enum ota_err err;

	memset(out, 0, sizeof *out);
	out->size = out->image_size = src->size;
	if (src->size == 0)
		return image_refuse(&w, OTA_TRUNCATED, "the file is empty");
	err = image_read(&w, 0, w.head, src->size < sizeof w.head ? (size_t)src->size : sizeof w.head);
	if (err)
		return err;
	for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
		err = OTA_OK;
		if (!tries[i](&w, &err))
			continue;
		image_text_apply(&w.text, out);
		return err;
	}
	return OTA_OK;
}

static const struct {
	const char *name;  /* for programs */
	const char *words; /* for people */
} formats[] = {
	[IMAGE_RAW] = {"raw", "raw bytes of no known format"},
	[IMAGE_ESP32] = {"esp32", "ESP32 application"},
	[IMAGE_ESP8266_ARDUINO] = {"esp8266-arduino", "ESP8266 Arduino application"},
	[IMAGE_ESP8266_MPY] = {"esp8266-micropython", "ESP8266 MicroPython firmware"},
	[IMAGE_ESP8266_SDK] = {"esp8266-sdk", "ESP8266 SDK image"},
	[IMAGE_ESP8266] = {"esp8266", "ESP8266 image"},
	[IMAGE_MCUBOOT] = {"mcuboot", "MCUboot image"},
	[IMAGE_UF2] = {"uf2", "UF2 file"},
	[IMAGE_ROMFS] = {"romfs", "MicroPython romfs"},
	[IMAGE_ELF] = {"elf", "ELF file"},
	[IMAGE_IHEX] = {"ihex", "Intel HEX file"},
	[IMAGE_GZIP] = {"gzip", "gzip file"},
	[IMAGE_FACTORY] = {"factory", "merged ESP factory image"},
	[IMAGE_RP2] = {"rp2", "RP2040 family image"},
};

const char *image_format_name(enum image_format format)
{
	return (size_t)format < sizeof formats / sizeof formats[0] ? formats[format].name : "unknown";
}

/* "checksum, MD5 and CRC-32 hold" */
static void describe_checks(uint32_t checks, char *buf, size_t cap)
{
	static const struct {
		uint32_t bit;
		const char *words;
	} names[] = {
		{IMAGE_CHECK_CHECKSUM, "checksum"},
		{IMAGE_CHECK_SHA256, "SHA-256"},
		{IMAGE_CHECK_SHA384, "SHA-384"},
		{IMAGE_CHECK_SHA512, "SHA-512"},
		{IMAGE_CHECK_MD5, "MD5"},
		{IMAGE_CHECK_CRC, "CRC-32"},
		{IMAGE_CHECK_BLOCKS, "block numbers"},
	};
	unsigned count = 0, said = 0;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		count += (checks & names[i].bit) != 0;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (!(checks & names[i].bit))
			continue;
		image_append(buf, cap, said == 0 || said + 1 < count ? ", " : " and ");
		image_append(buf, cap, names[i].words);
		said++;
	}
	if (count > 0)
		image_append(buf, cap, count == 1 && checks != IMAGE_CHECK_BLOCKS ? " holds" : " hold");
}

size_t image_describe(const struct image_info *info, char *buf, size_t cap)
{
	static const char *const trailers[] = {
		[IMAGE_TRAILER_NONE] = "",
		[IMAGE_TRAILER_ESP8266_SIGNED] = ", with a signature of the Arduino core",
		[IMAGE_TRAILER_ESP32_SIGNED] = ", with a signature of the Arduino core",
		[IMAGE_TRAILER_ESP_SECURE_BOOT] = ", with a secure boot signature",
	};
	size_t len = 0;

	buf[0] = '\0';
	image_append(buf, cap,
		(size_t)info->format < sizeof formats / sizeof formats[0] ? formats[info->format].words
									  : "unknown");
	if (info->variant)
		image_append(buf, cap, info->variant == 1 ? " user1" : " user2");
	if (info->chip[0]) {
		image_append(buf, cap, ", chip ");
		image_append(buf, cap, info->chip);
	}
	if (info->project[0] || info->version[0]) {
		image_append(buf, cap, ", ");
		image_append(buf, cap, info->project[0] ? info->project : "version");
	}
	if (info->version[0]) {
		image_append(buf, cap, " ");
		image_append(buf, cap, info->version);
	}
	describe_checks(info->checks, buf, cap);
	if (info->format == IMAGE_RAW || info->format == IMAGE_ROMFS || info->format == IMAGE_RP2)
		image_append(buf, cap, ", carries no check");
	else if (info->format == IMAGE_MCUBOOT && info->checks == 0)
		image_append(buf, cap, ", hash not checked");
	image_append(buf, cap, trailers[info->trailer]);
	while (buf[len])
		len++;
	return len;
}
