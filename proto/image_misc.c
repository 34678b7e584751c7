#include <string.h>

#include "proto/image_internal.h"

/* ---- gzip (RFC 1952): recognised by its header, inflated and checked by the caller ---- */

bool image_try_gzip(struct image_work *w, enum ota_err *verdict)
{
	enum {
		HEADER_LEN = 10,
		FOOTER_LEN = 8,
		METHOD_DEFLATE = 8,
		FLAGS_RESERVED = 0xE0,
		RSA2048_LEN = 256
	};
	uint64_t trailer = RSA2048_LEN + 4;
	uint8_t word[4];

	if (w->src->size < 3 || w->head[0] != 0x1F || w->head[1] != 0x8B)
		return false;
	w->info->format = IMAGE_GZIP;
	*verdict = OTA_OK;
	if (w->head[2] != METHOD_DEFLATE || w->head[3] & FLAGS_RESERVED) {
		*verdict = image_refuse(
			w, OTA_UNSUPPORTED, "gzip with an unknown compression method or flags");
	} else if (w->src->size < HEADER_LEN + FOOTER_LEN) {
		*verdict = image_refuse(w, OTA_TRUNCATED, "the gzip file is cut off");
	} else if (w->src->size > HEADER_LEN + FOOTER_LEN + trailer) {
		/* The Arduino core signs the compressed file. Without a signature the last word is the
		 * inflated length, and no image is 256 bytes long. */
		*verdict = image_read(w, w->src->size - sizeof word, word, sizeof word);
		if (*verdict == OTA_OK && image_le32(word) == RSA2048_LEN) {
			w->info->trailer = IMAGE_TRAILER_ESP8266_SIGNED;
			w->info->image_size = w->src->size - trailer;
		}
	}
	return true;
}

/* ---- ELF and Intel HEX: what a linker leaves, not what a board boots ---- */

bool image_try_elf(struct image_work *w, enum ota_err *verdict)
{
	static const uint8_t magic[4] = {0x7F, 'E', 'L', 'F'};

	if (w->src->size < sizeof magic || memcmp(w->head, magic, sizeof magic) != 0)
		return false;
	w->info->format = IMAGE_ELF;
	*verdict = image_refuse(w, OTA_UNSUPPORTED,
		"this is the linker's ELF file; use the image made from it (.bin, by objcopy or elf2image)");
	return true;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Intel HEX: ':' length address type data checksum, in hex; the bytes of a record sum to 0. */
bool image_try_ihex(struct image_work *w, enum ota_err *verdict)
{
	enum { FIXED_BYTES = 5, RECORD_MAX = 1 + 2 * (FIXED_BYTES + 255) };
	size_t len = w->src->size < RECORD_MAX ? (size_t)w->src->size : RECORD_MAX;
	unsigned bytes = FIXED_BYTES;
	uint8_t sum = 0;

	for (unsigned i = 1; i <= 8; i++) {
		if (w->head[0] != ':' || hex_digit(w->head[i]) < 0)
			return false;
	}
	w->info->format = IMAGE_IHEX;
	*verdict = image_read(w, 0, w->buf, len);
	if (*verdict)
		return true;
	bytes += (unsigned)(hex_digit(w->buf[1]) << 4 | hex_digit(w->buf[2]));
	for (unsigned i = 0; i < bytes; i++) {
		size_t at = 1 + 2 * (size_t)i;
		int hi = at + 1 < len ? hex_digit(w->buf[at]) : -1,
		    lo = at + 1 < len ? hex_digit(w->buf[at + 1]) : -1;

		if (hi < 0 || lo < 0) {
			*verdict = image_refuse(w, OTA_TRUNCATED, "the first Intel HEX record is cut off");
			return true;
		}
		sum = (uint8_t)(sum + (hi << 4 | lo));
	}
	*verdict =
		sum != 0
			? image_refuse(
				  w, OTA_CHECKSUM, "the first Intel HEX record's checksum does not match")
			: image_refuse(w, OTA_UNSUPPORTED,
				  "this is an Intel HEX file; use the binary image (.bin) of the same build");
	return true;
}

/* ---- MicroPython romfs ---- */

/* extmod/vfs_rom.c and VfsRomWriter of MicroPython: records of kind, length (both base-128, most significant
 * group first) and payload; the magic is the outermost record's kind. Directories and files start with a name
 * and hold records. The format carries no checksum: only its structure can be held against it. */
enum {
	ROMFS_DATA_POINTER = 3,
	ROMFS_DIRECTORY = 4,
	ROMFS_FILE = 5,

	ROMFS_MAGIC_LEN = 3,
	ROMFS_DEPTH_MAX = 32,    /* directories within each other; ours, files are found by paths of 255 */
	ROMFS_UINT_LEN_MAX = 40, /* writers pad numbers with 0x80 to align data */
	ROMFS_RECORDS_MAX = 1 << 20, /* ours: bounds the walk over a hostile file */
};

struct romfs {
	struct image_work *w;
	uint64_t pos;
	uint64_t from; /* file offset of w->buf */
	size_t len;    /* bytes of it that are filled */
	uint64_t end[ROMFS_DEPTH_MAX];
	unsigned depth;
};

static enum ota_err romfs_byte(struct romfs *r, uint64_t end, uint8_t *out)
{
	if (r->pos >= end)
		return image_refuse(r->w, OTA_TRUNCATED, "a romfs record is cut off");
	if (r->pos < r->from || r->pos - r->from >= r->len) {
		uint64_t rest = r->w->src->size - r->pos;
		size_t len = rest < sizeof r->w->buf ? (size_t)rest : sizeof r->w->buf;
		enum ota_err err = image_read(r->w, r->pos, r->w->buf, len);

		if (err)
			return err;
		r->from = r->pos;
		r->len = len;
	}
	*out = r->w->buf[r->pos - r->from];
	r->pos++;
	return OTA_OK;
}

static enum ota_err romfs_uint(struct romfs *r, uint64_t end, uint32_t *out)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < ROMFS_UINT_LEN_MAX; i++) {
		uint8_t c = 0;
		enum ota_err err = romfs_byte(r, end, &c);

		if (err)
			return err;
		value = value << 7 | (c & 0x7F);
		if (value > UINT32_MAX)
			break;
		if (!(c & 0x80)) {
			*out = (uint32_t)value;
			return OTA_OK;
		}
	}
	return image_refuse(r->w, OTA_INVALID, "impossible number in the romfs");
}

/* Enter a directory or file: behind its name its records follow. */
static enum ota_err romfs_enter(struct romfs *r, uint64_t end)
{
	uint32_t name_len = 0;
	enum ota_err err = romfs_uint(r, end, &name_len);

	if (err)
		return err;
	if (name_len > end - r->pos)
		return image_refuse(r->w, OTA_TRUNCATED, "a romfs name is cut off");
	if (r->depth == ROMFS_DEPTH_MAX)
		return image_refuse(r->w, OTA_TOO_LARGE, "romfs directories are nested too deep");
	r->pos += name_len;
	r->end[r->depth++] = end;
	return OTA_OK;
}

static enum ota_err romfs_record(struct romfs *r)
{
	uint64_t outer = r->end[r->depth - 1], end;
	uint32_t kind = 0, len = 0, data_len = 0, data_at = 0;
	enum ota_err err = romfs_uint(r, outer, &kind);

	if (err == OTA_OK)
		err = romfs_uint(r, outer, &len);
	if (err)
		return err;
	if (len > outer - r->pos)
		return image_refuse(r->w, OTA_TRUNCATED, "a romfs record reaches behind its end");
	end = r->pos + len;
	if (kind == ROMFS_DIRECTORY || kind == ROMFS_FILE)
		return romfs_enter(r, end);
	if (kind == ROMFS_DATA_POINTER) {
		err = romfs_uint(r, end, &data_len);
		if (err == OTA_OK)
			err = romfs_uint(r, end, &data_at);
		if (err)
			return err;
		if (data_at > r->end[0] || data_len > r->end[0] - data_at)
			return image_refuse(r->w, OTA_INVALID, "a romfs file points outside the file system");
	}
	r->pos = end;
	return OTA_OK;
}

static enum ota_err check_romfs(struct image_work *w)
{
	struct romfs r = {.w = w, .pos = ROMFS_MAGIC_LEN};
	uint32_t len = 0;
	bool empty = false;
	enum ota_err err = romfs_uint(&r, w->src->size, &len);

	if (err)
		return err;
	if (len > w->src->size - r.pos)
		return image_refuse(w, OTA_TRUNCATED, "the romfs is longer than the file");
	r.end[0] = r.pos + len;
	r.depth = 1;
	for (uint32_t n = 0; r.depth > 0; n++) {
		if (n == ROMFS_RECORDS_MAX)
			return image_refuse(w, OTA_TOO_LARGE, "too many romfs records");
		if (r.pos == r.end[r.depth - 1]) {
			r.depth--;
			continue;
		}
		err = romfs_record(&r);
		if (err)
			return err;
	}
	/* Partition images are padded with erased flash or zeros. */
	w->info->image_size = r.end[0];
	err = image_is_filled(w, r.end[0], w->src->size, 0xFF, &empty);
	if (err == OTA_OK && !empty)
		err = image_is_filled(w, r.end[0], w->src->size, 0, &empty);
	if (err == OTA_OK && !empty)
		err = image_refuse(w, OTA_SIZE, "unknown bytes follow the romfs");
	return err;
}

bool image_try_romfs(struct image_work *w, enum ota_err *verdict)
{
	static const uint8_t magic[ROMFS_MAGIC_LEN] = {0xD2, 0xCD, 0x31};

	if (w->src->size <= sizeof magic || memcmp(w->head, magic, sizeof magic) != 0)
		return false;
	w->info->format = IMAGE_ROMFS;
	*verdict = check_romfs(w);
	return true;
}
