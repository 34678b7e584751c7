/* What the recognisers share: one buffer, one running set of digests, bounds-checked reads.
 *
 * image_recognise owns one struct image_work on its stack; a recogniser is asked once, answers whether the
 * file is its format, and if so gives the verdict. */
#ifndef PROTO_IMAGE_INTERNAL_H
#define PROTO_IMAGE_INTERNAL_H

#include "proto/image.h"

enum { IMAGE_HEAD_LEN = 64, IMAGE_BUF_LEN = 4096, IMAGE_TEXT_LEN = 64 };

enum { IMAGE_NEEDLES = 5 };

/* Looks for version texts in bytes as they stream by. */
struct image_text {
	uint8_t at[IMAGE_NEEDLES]; /* progress in each needle */
	uint8_t taking;            /* 1 + the needle whose tail is being collected, or 0 */
	uint8_t len;               /* of tail */
	bool has_version;          /* project, version (and built) are final */
	char tail[IMAGE_TEXT_LEN];
	const char *project; /* constant, or NULL */
	char version[IMAGE_TEXT_LEN];
	char built[16];
	char esphome[16];                                          /* its version, or "" */
	char esphome_project[33], esphome_version[IMAGE_TEXT_LEN]; /* what is built with it */
};

struct image_work {
	const struct image_source *src;
	struct image_info *info;
	uint8_t head[IMAGE_HEAD_LEN]; /* the first bytes, zeros behind the file's end */
	uint8_t buf[IMAGE_BUF_LEN];   /* scratch of whoever reads */
	struct ota_sha256 sha;
	struct image_md5 md5;
	struct image_sha512 sha512;
	uint32_t crc;
	uint8_t xor ;
	struct image_text text;
};

/* What image_stream feeds. The caller initialises and finishes the digests it asks for. */
enum {
	IMAGE_FEED_XOR = 1 << 0,
	IMAGE_FEED_SHA256 = 1 << 1,
	IMAGE_FEED_MD5 = 1 << 2,
	IMAGE_FEED_CRC_ZLIB = 1 << 3,  /* reflected 0xEDB88320 */
	IMAGE_FEED_CRC_EBOOT = 1 << 4, /* MSB first 0x04C11DB7 */
	IMAGE_FEED_TEXT = 1 << 5,
	IMAGE_FEED_SHA512 = 1 << 6,
};

/* Read `len` bytes at `offset`. OTA_TRUNCATED where the file ends before that, OTA_IO. */
OTA_MUST_USE enum ota_err image_read(struct image_work *w, uint64_t offset, void *buf, size_t len);

/* Feed the bytes [from, to) through w->buf to what `feed` names. OTA_TRUNCATED, OTA_IO. */
OTA_MUST_USE enum ota_err image_stream(struct image_work *w, uint64_t from, uint64_t to, unsigned feed);

/* Continue a CRC over `len` bytes; start with ~0. */
uint32_t image_crc_zlib(uint32_t crc, const uint8_t *p, size_t len);
uint32_t image_crc_eboot(uint32_t crc, const uint8_t *p, size_t len);

/* Continue the search for version texts. */
void image_text_feed(struct image_text *t, const uint8_t *p, size_t len);

/* Put what was found into `info` where the format itself was silent. */
void image_text_apply(struct image_text *t, struct image_info *info);

/* Set the hint and return `err`. */
OTA_MUST_USE enum ota_err image_refuse(struct image_work *w, enum ota_err err, const char *hint);

/* Copy printable ASCII up to a NUL, an unprintable byte, `len` or `cap` - 1; ends with a NUL. */
void image_copy_text(char *out, size_t cap, const uint8_t *p, size_t len);

/* Append a string, or a decimal, to the NUL-terminated `out` of `cap` bytes, cutting what does not fit. */
void image_append(char *out, size_t cap, const char *s);
void image_append_u32(char *out, size_t cap, uint32_t value);

/* Is every byte of [from, to) `value`? OTA_OK writes `*same`. */
OTA_MUST_USE enum ota_err image_is_filled(
	struct image_work *w, uint64_t from, uint64_t to, uint8_t value, bool *same);

static inline uint16_t image_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t image_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* A recogniser: false = not this format and nothing touched; true = this format, `*verdict` is the answer
 * (also OTA_IO). */
typedef bool image_try_fn(struct image_work *w, enum ota_err *verdict);

image_try_fn image_try_gzip, image_try_elf, image_try_ihex, image_try_romfs, image_try_uf2, image_try_mcuboot,
	image_try_rp2, image_try_esp8266, image_try_esp32, image_try_esp_factory;

/* UF2 (image_uf2.c), also for whoever flattens. */

enum { UF2_BLOCK_LEN = 512 };

struct uf2_piece {
	uint32_t addr, len;
	const uint8_t *data; /* in the block */
};

/* What a block of a file that image_recognise took puts into flash. False: nothing. */
bool uf2_flash_piece(const uint8_t block[UF2_BLOCK_LEN], bool is_first, struct uf2_piece *out);

/* ---- shared by both ESP families (image_esp.c) ---- */

enum { ESP_MAGIC = 0xE9, ESP_SEGMENTS_MAX = 16, ESP8266_HEADER_LEN = 8, ESP32_HEADER_LEN = 24 };

struct esp_segment {
	uint32_t addr;
	uint32_t len;
	uint64_t data; /* file offset */
};

struct esp_image {
	uint32_t entry;
	unsigned count;
	struct esp_segment seg[ESP_SEGMENTS_MAX];
	uint64_t data_end; /* behind the last segment */
	uint64_t end;      /* behind the checksum byte */
};

/* Walk the segment headers of the image at `at`, all of it below `limit`. OTA_TRUNCATED, OTA_INVALID, OTA_IO.
 */
OTA_MUST_USE enum ota_err esp_walk(
	struct image_work *w, uint64_t at, size_t header_len, uint64_t limit, struct esp_image *out);

/* XOR of all segment data, seeded; w->xor. Also feeds `feed`. */
OTA_MUST_USE enum ota_err esp_xor(struct image_work *w, const struct esp_image *img, unsigned feed);

/* OTA_OK where w->xor is the checksum byte and the padding before it is zero; OTA_CHECKSUM, OTA_IO. */
OTA_MUST_USE enum ota_err esp_xor_holds(struct image_work *w, const struct esp_image *img);

/* OTA_INVALID unless the entry point lies in a segment. */
OTA_MUST_USE enum ota_err esp_entry_holds(struct image_work *w, const struct esp_image *img);

#endif
