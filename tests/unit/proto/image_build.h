/* Makes small images of every format, from the formats' descriptions and with digests of OpenSSL and zlib, so
 * that the recognisers are tested against something they did not compute themselves. */
#ifndef TESTS_IMAGE_BUILD_H
#define TESTS_IMAGE_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/image_host.h"

enum { BUILD_MAX = 256 * 1024 };

struct build {
	size_t len;
	uint8_t p[BUILD_MAX];
};

void build_clear(struct build *b);
void build_u8(struct build *b, uint8_t v);
void build_u16(struct build *b, uint16_t v);
void build_u32(struct build *b, uint32_t v);
void build_bytes(struct build *b, const void *p, size_t len);
void build_text(struct build *b, const char *s);
void build_fill(struct build *b, uint8_t value, size_t to); /* up to length `to` */
void build_noise(struct build *b, size_t len);              /* bytes that look like code */
void build_set_u32(struct build *b, size_t at, uint32_t v);
void build_sha256(struct build *b, size_t from, size_t to);             /* appends the digest */
void build_sha512(struct build *b, size_t from, size_t to, size_t len); /* 48: SHA-384 */
void build_md5(struct build *b, size_t from, size_t to);

struct esp32_recipe {
	uint16_t chip;
	uint32_t flash_addr, ram_addr;
	bool no_hash, no_desc, bootloader, filler;
	const char *version, *project, *text;
	uint32_t secure_version;
};
void build_esp32(struct build *b, const struct esp32_recipe *r);
/* A sector behind the image: `blocks` of RSA (2) or ECDSA (3), hash kind 0 or 1 (SHA-384). */
void build_secure_boot(struct build *b, uint8_t version, uint8_t hash_kind, unsigned blocks);
void build_partition_table(struct build *b, size_t at);
void build_factory(struct build *b);
void build_esp8266_arduino(struct build *b, bool new_core);
void build_esp8266_plain(struct build *b);
void build_esp8266_mpy(struct build *b, const char *text);
void build_esp8266_sdk(struct build *b, uint32_t irom_base, uint8_t size_map);

struct mcuboot_recipe {
	bool is_protected, no_hash, sha384, sha512, pure, encrypted, enc_tlv;
	uint16_t protected_lie; /* added to what the header says */
	uint32_t build_number, security_counter;
	size_t pad_to;
};
void build_mcuboot(struct build *b, const struct mcuboot_recipe *r);
void build_uf2(struct build *b, uint32_t family, unsigned blocks, bool md5, const char *text);
void build_uf2_block(struct build *b, uint32_t flags, uint32_t addr, const void *data, uint32_t len,
	uint32_t number, uint32_t total, uint32_t family);
void build_romfs(struct build *b);

struct rp2_recipe {
	uint32_t base; /* 0: where flash starts */
	bool boot2, no_info, riscv;
	bool front; /* 256 bytes of somebody's own header */
	bool block; /* the RP2350's, of this type, with this version unless 0 */
	uint16_t type;
	uint32_t block_version;
	const char *name, *version, *date, *sdk, *text;
};
void build_rp2(struct build *b, const struct rp2_recipe *r);

/* Recognise memory. */
enum ota_err build_recognise(const void *p, size_t len, struct image_info *info);

/* Flip bits of every byte in turn (masks rotate) from `from` to `to` in steps; returns the number of flips
 * that were still accepted where `may` (may be NULL) did not say they may be; prints them. */
size_t build_flip(uint8_t *p, size_t len, size_t from, size_t to, size_t step, bool (*may)(size_t at));

#endif
