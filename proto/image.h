/* Image recognition: what is this file, is it whole, and what does it say of itself?
 *
 * Reads through callbacks, so that a file, a mapping or an upload being inspected costs no copy and bare
 * metal can use it. Nothing here allocates; a whole-image pass reads 4 KiB at a time. Sources of the
 * formats stand at each recogniser (image_esp32.c, image_esp8266.c, image_mcuboot.c, image_rp2.c,
 * image_uf2.c, image_misc.c). */
#ifndef PROTO_IMAGE_H
#define PROTO_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/crypto.h"

enum image_format {
	IMAGE_RAW,             /* nothing recognised: bytes of the owner's own kind */
	IMAGE_ESP32,           /* ESP32 family application */
	IMAGE_ESP8266_ARDUINO, /* eboot at 0, application at 0x1000 */
	IMAGE_ESP8266_MPY,     /* MicroPython: size at 0x8FFC, MD5 at the end */
	IMAGE_ESP8266_SDK,     /* NonOS SDK user1/user2: 0xEA, CRC-32 at the end */
	IMAGE_ESP8266,         /* any other ESP8266 image with a good checksum */
	IMAGE_MCUBOOT,
	IMAGE_UF2,     /* the caller flattens (image_host.h) and asks again */
	IMAGE_ROMFS,   /* MicroPython romfs */
	IMAGE_ELF,     /* refused with a hint */
	IMAGE_IHEX,    /* refused with a hint */
	IMAGE_GZIP,    /* the caller inflates and asks again */
	IMAGE_FACTORY, /* merged flash image: refused with a hint */
	IMAGE_RP2,     /* RP2040 or RP2350, as it lies in flash */
	IMAGE_FORMAT_LAST = IMAGE_RP2
};

/* What was checked and held (bits). */
enum {
	IMAGE_CHECK_CHECKSUM = 1 << 0, /* ESP XOR checksum */
	IMAGE_CHECK_SHA256 = 1 << 1,   /* appended SHA-256, or MCUboot's hash TLV */
	IMAGE_CHECK_MD5 = 1 << 2,      /* MicroPython ESP8266 */
	IMAGE_CHECK_CRC = 1 << 3,      /* SDK CRC-32, or eboot CRC */
	IMAGE_CHECK_BLOCKS = 1 << 4,   /* UF2 block numbers and magics */
	IMAGE_CHECK_SHA384 = 1 << 5,   /* MCUboot's hash TLV, where the source brings that hash */
	IMAGE_CHECK_SHA512 = 1 << 6,   /* likewise */
};

enum image_trailer {
	IMAGE_TRAILER_NONE,
	IMAGE_TRAILER_ESP8266_SIGNED, /* RSA signature, u32le length: Arduino core for ESP8266 */
	IMAGE_TRAILER_ESP32_SIGNED,   /* 512-byte padded signature: Arduino core for ESP32 3.3 and later */
	IMAGE_TRAILER_ESP_SECURE_BOOT /* v2: signature blocks at the next 4 KiB boundary; v1: 68 bytes behind
					 it */
};

/* Chip names are those of the vendors' tools: esp8266 esp32 esp32s2 esp32s3 esp32c2 esp32c3 esp32c5 esp32c6
 * esp32c61 esp32h2 esp32h4 esp32h21 esp32p4 rp2040 rp2350 nrf52840 samd21 stm32f4; "" where the format says
 * none. */
struct image_info {
	enum image_format format;
	uint64_t size;       /* bytes of the whole file */
	uint64_t image_size; /* bytes without a trailing signature; = size where there is none */
	uint32_t checks;     /* IMAGE_CHECK_* that held */
	enum image_trailer trailer;
	char chip[12];
	char version[64]; /* what the image says; "" where it says nothing. Printable ASCII only */
	char project[33];
	char built[40];      /* "Jan  5 2024 12:00:00" as found, or an ISO date */
	char sdk[33];        /* version of ESP-IDF or the Pico SDK */
	int8_t variant;      /* SDK: 1 = user1, 2 = user2; else 0 */
	bool needs_pair;     /* SDK: useless without the other of user1 and user2; the hint says so */
	bool has_elf_sha256; /* false as well when the field is all zero */
	uint8_t elf_sha256[32];
	bool has_security_counter;
	uint32_t security_counter; /* MCUboot TLV, or ESP32 secure_version */
	bool has_ids;              /* MCUboot UUID_VID / UUID_CID both present */
	uint8_t vendor_id[16], class_id[16];
	char hint[160]; /* what to do instead, when refused; else "" */
};

/* MD5 (RFC 1321) for the formats that carry one; it detects damage here and never protects. */
struct image_md5 {
	uint64_t opaque[16];
};
struct image_md5_ops {
	void (*init)(struct image_md5 *m);
	void (*update)(struct image_md5 *m, const void *data, size_t len);
	void (*final)(struct image_md5 *m, uint8_t out[16]);
};

/* SHA-384 and SHA-512 (FIPS 180-4), which only hosts have: bare metal has SHA-256 alone. */
struct image_sha512 {
	uint64_t opaque[28];
};
struct image_sha512_ops {
	void (*init)(struct image_sha512 *h, size_t len); /* 48 or 64: which of the two */
	void (*update)(struct image_sha512 *h, const void *data, size_t len);
	void (*final)(struct image_sha512 *h, uint8_t *out); /* writes that many bytes */
};

struct image_source {
	uint64_t size;
	/* Read exactly `len` bytes at `offset` (always inside size). OTA_IO ends the recognition with it. */
	enum ota_err (*read)(void *ctx, uint64_t offset, void *buf, size_t len);
	void *ctx;
	const struct ota_crypto *crypto;       /* its SHA-256 */
	const struct image_md5_ops *md5;       /* never NULL */
	const struct image_sha512_ops *sha512; /* NULL: images that carry nothing shorter go unchecked */
};

/* Recognise and validate. OTA_OK: `*out` says what it is and everything the format can check held
 * (IMAGE_GZIP, IMAGE_UF2: inflate or flatten, then ask again with what comes out). Recognised but damaged:
 * OTA_CHECKSUM, OTA_DIGEST, OTA_TRUNCATED (ends too early), OTA_SIZE (bytes behind its end, or lengths that
 * contradict each other), OTA_INVALID (a field no such image can have). OTA_UNSUPPORTED: recognised, but not
 * to be installed (factory image, bootloader, ELF, Intel HEX, a UF2 file that makes no one image for flash).
 * OTA_IO: read failed. `*out` is always written: format, hint and what was read so far.
 *
 * IMAGE_RAW is the answer only where nothing points at a known format; a file whose magic alone is damaged is
 * still taken for what the rest of it says. Work is linear in the file's size, stack below 6 KiB. */
OTA_MUST_USE enum ota_err image_recognise(const struct image_source *src, struct image_info *out);

/* "esp32", "esp8266-arduino", ...: stable names for JSON and tables. */
const char *image_format_name(enum image_format format);

/* One line for people: "ESP32 application, chip esp32c3, MicroPython 1.22.1, checksum and SHA-256 hold".
 * Cut to `cap` (> 0) with its NUL; returns the length written. The hint is not part of it. */
size_t image_describe(const struct image_info *info, char *buf, size_t cap);

/* Digests that foreign clients name a running build by, computed at upload in one pass over the image:
 * md5_variant[k] is the MD5 of the image without its trailer with byte 2 (flash mode) set to k
 * (ESP8266's updater rewrites that byte). MD5 and SHA-1 here identify; they never protect. */
struct image_digests {
	uint8_t sha256[32]; /* of the whole file */
	uint8_t sha1[20];   /* of the whole file */
	uint8_t md5[16];    /* of the whole file */
	uint8_t md5_variant[4][16];
	bool has_md5_variants; /* ESP formats only */
};

#endif
