#include "image_build.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

void build_clear(struct build *b)
{
	b->len = 0;
}

void build_bytes(struct build *b, const void *p, size_t len)
{
	assert(len <= BUILD_MAX - b->len);
	memcpy(b->p + b->len, p, len);
	b->len += len;
}

void build_u8(struct build *b, uint8_t v)
{
	build_bytes(b, &v, 1);
}

void build_u16(struct build *b, uint16_t v)
{
	uint8_t p[2] = {(uint8_t)v, (uint8_t)(v >> 8)};

	build_bytes(b, p, sizeof p);
}

void build_u32(struct build *b, uint32_t v)
{
	build_u16(b, (uint16_t)v);
	build_u16(b, (uint16_t)(v >> 16));
}

void build_text(struct build *b, const char *s)
{
	build_bytes(b, s, strlen(s) + 1);
}

void build_fill(struct build *b, uint8_t value, size_t to)
{
	assert(to >= b->len);
	while (b->len < to)
		build_u8(b, value);
}

void build_noise(struct build *b, size_t len)
{
	uint32_t x = 0x2545F491u + (uint32_t)b->len;

	while (len-- > 0) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		build_u8(b, (uint8_t)(x >> 24));
	}
}

void build_set_u32(struct build *b, size_t at, uint32_t v)
{
	size_t len = b->len;

	b->len = at;
	build_u32(b, v);
	b->len = len;
}

static void digest(struct build *b, const EVP_MD *md, size_t from, size_t to)
{
	uint8_t out[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int ok = EVP_Digest(b->p + from, to - from, out, &len, md, NULL);

	assert(ok == 1);
	(void)ok;
	build_bytes(b, out, len);
}

void build_sha256(struct build *b, size_t from, size_t to)
{
	digest(b, EVP_sha256(), from, to);
}

void build_sha512(struct build *b, size_t from, size_t to, size_t len)
{
	digest(b, len == 48 ? EVP_sha384() : EVP_sha512(), from, to);
}

void build_md5(struct build *b, size_t from, size_t to)
{
	digest(b, EVP_md5(), from, to);
}

/* ---- ESP ---- */

struct segment {
	size_t at; /* of its header */
	uint8_t * xor ;
};

static struct segment segment_begin(struct build *b, uint32_t addr, uint8_t * xor)
{
	struct segment s = {b->len, xor};

	build_u32(b, addr);
	build_u32(b, 0);
	return s;
}

static void segment_end(struct build *b, struct segment s)
{
	while ((b->len - s.at) % 4)
		build_u8(b, 0);
	build_set_u32(b, s.at + 4, (uint32_t)(b->len - s.at - 8));
	for (size_t i = s.at + 8; i < b->len; i++)
		*s.xor ^= b->p[i];
}

static void checksum(struct build *b, uint8_t xor)
{
	build_fill(b, 0, b->len | 15);
	build_u8(b, xor);
}

static void fixed_text(struct build *b, const char *s, size_t len)
{
	size_t end = b->len + len;

	build_bytes(b, s, strlen(s));
	build_fill(b, 0, end);
}

void build_esp32(struct build *b, const struct esp32_recipe *r)
{
	uint32_t flash = r->flash_addr ? r->flash_addr : 0x3C000020,
		 ram = r->ram_addr ? r->ram_addr : 0x40380000;
	size_t start = b->len;
	uint8_t xor = 0xEF;
	struct segment s;

	build_u8(b, 0xE9);
	build_u8(b, r->filler ? 3 : 2);
	build_u8(b, 2);
	build_u8(b, 0x2F);
	build_u32(b, ram + 8);
	build_u32(b, 0xEE);
	build_u16(b, r->chip);
	build_fill(b, 0, start + 23);
	build_u8(b, !r->no_hash);
	s = segment_begin(b, r->bootloader ? 0x3FCD0000 : flash, &xor);
	if (!r->no_desc) {
		build_u32(b, 0xABCD5432);
		build_u32(b, r->secure_version);
		build_u32(b, 0);
		build_u32(b, 0);
		fixed_text(b, r->version ? r->version : "", 32);
		fixed_text(b, r->project ? r->project : "", 32);
		fixed_text(b, "12:34:56", 16);
		fixed_text(b, "Jan  5 2024", 16);
		fixed_text(b, "v5.1.2", 32);
		build_noise(b, 32);
		build_fill(b, 0, b->len + 80);
	}
	build_noise(b, 100);
	if (r->text)
		build_text(b, r->text);
	segment_end(b, s);
	s = segment_begin(b, ram, &xor);
	build_noise(b, 200);
	segment_end(b, s);
	if (r->filler) { /* as esptool fills the gap before a mapped segment */
		s = segment_begin(b, 0, &xor);
		build_fill(b, 0, b->len + 40);
		segment_end(b, s);
	}
	checksum(b, xor);
	if (!r->no_hash)
		build_sha256(b, start, b->len);
}

void build_secure_boot(struct build *b, uint8_t version, uint8_t hash_kind, unsigned blocks)
{
	size_t sector = (b->len + 4095) / 4096 * 4096;

	build_fill(b, 0xFF, sector);
	for (unsigned i = 0; i < blocks; i++) {
		size_t at = b->len;

		build_u8(b, 0xE7);
		build_u8(b, version);
		build_u8(b, hash_kind);
		build_u8(b, 0);
		if (hash_kind)
			build_sha512(b, 0, sector, 48);
		else
			build_sha256(b, 0, sector);
		build_noise(b, at + 1196 - b->len);
		build_u32(b, (uint32_t)crc32(0, b->p + at, 1196));
		build_fill(b, 0, at + 1216);
	}
	build_fill(b, 0xFF, sector + 4096);
}

void build_partition_table(struct build *b, size_t at)
{
	build_fill(b, 0xFF, at);
	build_u32(b, 0x020150AA);
	build_u32(b, 0x9000);
	build_u32(b, 0x6000);
	fixed_text(b, "nvs", 16);
	build_u32(b, 0);
}

void build_factory(struct build *b)
{
	struct esp32_recipe boot = {.chip = 5, .no_desc = true, .bootloader = true}, app = {.chip = 5};

	build_esp32(b, &boot);
	build_partition_table(b, 0x8000);
	build_fill(b, 0xFF, 0x10000);
	build_esp32(b, &app);
}

static void esp8266_part(struct build *b, uint32_t addr, bool words, const char *text)
{
	uint8_t xor = 0xEF;
	struct segment s;

	build_u8(b, 0xE9);
	build_u8(b, 2);
	build_u8(b, 0);
	build_u8(b, 0x40);
	build_u32(b, addr + 4);
	s = segment_begin(b, addr, &xor);
	if (words) {
		build_u32(b, 0);
		build_u32(b, 0);
	}
	build_noise(b, 300);
	if (text)
		build_text(b, text);
	segment_end(b, s);
	s = segment_begin(b, 0x3FFE8000, &xor);
	build_noise(b, 61);
	segment_end(b, s);
	checksum(b, xor);
}

/* Bit by bit, as elf2bin.py describes it. */
static uint32_t eboot_crc(const uint8_t *p, size_t len)
{
	uint32_t crc = 0xFFFFFFFF;

	for (size_t i = 0; i < len; i++) {
		for (unsigned bit = 0x80; bit; bit >>= 1) {
			bool top = crc >> 31;

			if (p[i] & bit)
				top = !top;
			crc <<= 1;
			if (top)
				crc ^= 0x04C11DB7;
		}
	}
	return crc;
}

void build_esp8266_arduino(struct build *b, bool new_core)
{
	esp8266_part(b, 0x4010F000, false, NULL);
	build_fill(b, 0xAA, 0x1000);
	esp8266_part(b, 0x40201010, true, NULL);
	if (new_core) {
		uint32_t crc = eboot_crc(b->p, b->len);

		build_set_u32(b, 0x1010, (uint32_t)b->len);
		build_set_u32(b, 0x1014, crc);
	}
}

void build_esp8266_plain(struct build *b)
{
	esp8266_part(b, 0x40100000, false, NULL);
}

void build_esp8266_mpy(struct build *b, const char *text)
{
	esp8266_part(b, 0x40100000, false, NULL);
	build_fill(b, 0xFF, 0x8FFC);
	build_u32(b, 0);
	build_noise(b, 3000);
	build_text(b, text);
	build_noise(b, 500);
	build_set_u32(b, 0x8FFC, (uint32_t)b->len);
	build_md5(b, 4, b->len);
}

void build_esp8266_sdk(struct build *b, uint32_t irom_base, uint8_t size_map)
{
	uint32_t crc;
	size_t len_at;

	build_u8(b, 0xEA);
	build_u8(b, 4);
	build_u8(b, 0);
	build_u8(b, (uint8_t)(size_map << 4));
	build_u32(b, 0x40100004);
	build_u32(b, 0);
	len_at = b->len;
	build_u32(b, 0);
	for (uint32_t i = 0; i < 64; i++) {
		build_noise(b, 28);
		build_u32(b, irom_base + 8 * i);
	}
	build_fill(b, 0, (b->len + 15) & ~(size_t)15);
	build_set_u32(b, len_at, (uint32_t)b->len - 16);
	esp8266_part(b, 0x40100000, false, NULL);
	crc = (uint32_t)crc32(0, b->p, (uInt)b->len);
	build_u32(b, crc & 0x80000000 ? ~crc : crc + 1);
}

/* ---- MCUboot ---- */

static void tlv(struct build *b, uint16_t type, const void *p, uint16_t len)
{
	build_u16(b, type);
	build_u16(b, len);
	build_bytes(b, p, len);
}

void build_mcuboot(struct build *b, const struct mcuboot_recipe *r)
{
	uint8_t counter[4] = {(uint8_t)r->security_counter, (uint8_t)(r->security_counter >> 8)};
	uint8_t vid[16], cid[16], other[64] = {0};
	size_t hash_end;

	memset(vid, 0x11, sizeof vid);
	memset(cid, 0x22, sizeof cid);
	build_u32(b, 0x96F3B83D);
	build_u32(b, 0);
	build_u16(b, 0x200);
	build_u16(b, (uint16_t)((r->is_protected ? 4 + 8 + 20 + 20 : 0) + r->protected_lie));
	build_u32(b, 1000);
	build_u32(b, r->encrypted ? 4 : 0);
	build_u8(b, 1);
	build_u8(b, 2);
	build_u16(b, 345);
	build_u32(b, r->build_number);
	build_u32(b, 0);
	build_fill(b, 0, 0x200);
	build_noise(b, 1000);
	if (r->is_protected) {
		build_u16(b, 0x6908);
		build_u16(b, 4 + 8 + 20 + 20);
		tlv(b, 0x50, counter, 4);
		tlv(b, 0x74, vid, 16);
		tlv(b, 0x75, cid, 16);
	}
	hash_end = b->len;
	build_u16(b, 0x6907);
	build_u16(b, (uint16_t)(4 + (r->no_hash ? 0 : 36) + (r->sha384 ? 52 : 0) + (r->sha512 ? 68 : 0) +
				(r->pure ? 4 : 0) + (r->enc_tlv ? 20 : 0) + 12));
	if (!r->no_hash) {
		build_u16(b, 0x10);
		build_u16(b, 32);
		build_sha256(b, 0, hash_end);
	}
	if (r->sha384) {
		build_u16(b, 0x11);
		build_u16(b, 48);
		build_sha512(b, 0, hash_end, 48);
	}
	if (r->sha512) {
		build_u16(b, 0x12);
		build_u16(b, 64);
		build_sha512(b, 0, hash_end, 64);
	}
	if (r->pure)
		tlv(b, 0x25, other, 0);
	if (r->enc_tlv)
		tlv(b, 0x31, other, 16);
	tlv(b, 0x22, other, 8);
	if (r->pad_to) {
		static const uint8_t magic[16] = {0x77, 0xc2, 0x95, 0xf3, 0x60, 0xd2, 0xef, 0x7f, 0x35, 0x52,
			0x50, 0x0f, 0x2c, 0xb6, 0x79, 0x80};

		build_fill(b, 0xFF, r->pad_to - sizeof magic);
		build_bytes(b, magic, sizeof magic);
	}
}

/* ---- UF2, romfs ---- */

void build_uf2_block(struct build *b, uint32_t flags, uint32_t addr, const void *data, uint32_t len,
	uint32_t number, uint32_t total, uint32_t family)
{
	size_t start = b->len;

	build_u32(b, 0x0A324655);
	build_u32(b, 0x9E5D5157);
	build_u32(b, flags);
	build_u32(b, addr);
	build_u32(b, len);
	build_u32(b, number);
	build_u32(b, total);
	build_u32(b, family);
	build_bytes(b, data, len);
	if (flags & 0x4000) {
		build_fill(b, 0, start + 508 - 24);
		build_u32(b, addr);
		build_u32(b, len);
		build_md5(b, start + 32, start + 32 + len);
	}
	build_fill(b, 0, start + 508);
	build_u32(b, 0x0AB16F30);
}

/* `text` is laid across the border of the first two blocks' data. */
void build_uf2(struct build *b, uint32_t family, unsigned blocks, bool md5, const char *text)
{
	static struct build data;

	build_clear(&data);
	build_noise(&data, 250);
	build_text(&data, text);
	build_noise(&data, 256 * (size_t)blocks - data.len);
	for (unsigned i = 0; i < blocks; i++)
		build_uf2_block(b, md5 ? 0x6000 : 0x2000, 0x10000000 + 256 * i, data.p + 256 * (size_t)i, 256,
			i, blocks, family);
}

void build_romfs(struct build *b)
{
	/* d/  a.txt "hello" inside, then b.txt by pointer to the same 5 bytes */
	static const uint8_t fs[] = {0xD2, 0xCD, 0x31, 0x80, 0x1F, /* magic, padded length 31 */
		0x04, 0x11, 0x01, 'd',                             /* directory, 17 bytes, name "d" */
		0x05, 0x0D, 0x05, 'a', '.', 't', 'x', 't', 0x02, 0x05, 'h', 'e', 'l', 'l', 'o', /* file */
		0x05, 0x0A, 0x05, 'b', '.', 't', 'x', 't', 0x03, 0x02, 0x05, 0x13}; /* file by pointer */

	build_bytes(b, fs, sizeof fs);
}

/* ---- RP2040, RP2350 ---- */

static uint32_t boot2_crc(const uint8_t *p, size_t len)
{
	uint32_t crc = ~UINT32_C(0);

	for (size_t i = 0; i < len; i++) {
		crc ^= (uint32_t)p[i] << 24;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 31 ? 0x04C11DB7 : 0);
	}
	return crc;
}

static void rp2_block(struct build *b, const struct rp2_recipe *r)
{
	unsigned words = 1;

	build_u32(b, 0xFFFFDED3);
	build_u8(b, 0x42);
	build_u8(b, 1);
	build_u16(b, r->type);
	if (r->block_version) {
		build_u32(b, 0x00000248);
		build_u32(b, r->block_version);
		words += 2;
	}
	build_u8(b, 0xFF);
	build_u16(b, (uint16_t)words);
	build_u8(b, 0);
	build_u32(b, 0);
	build_u32(b, 0xAB123579);
}

/* One entry of an identifier and a string, its pointer put into the table at `*pointer`. */
static void rp2_string(struct build *b, uint32_t base, size_t *pointer, uint32_t id, const char *s)
{
	if (!s)
		return;
	build_fill(b, 0, (b->len + 3) & ~(size_t)3);
	build_set_u32(b, *pointer, base + (uint32_t)b->len);
	*pointer += 4;
	build_u16(b, 6);
	build_u16(b, 0x5052);
	build_u32(b, id);
	build_u32(b, base + (uint32_t)b->len + 4);
	build_text(b, s);
	build_u8(b, 0);
}

void build_rp2(struct build *b, const struct rp2_recipe *r)
{
	uint32_t base = r->base ? r->base : 0x10000000;
	size_t header, table, end_at, entries = 6;

	if (r->front)
		build_noise(b, 256);
	if (r->boot2) {
		build_noise(b, 252);
		build_u32(b, boot2_crc(b->p, 252));
	}
	build_u32(b, r->riscv ? 0x1A1B1C1D : 0x20042000);
	for (unsigned i = 1; i < 48; i++)
		build_u32(b, r->riscv ? 0x30401073 : base + 0x301);
	header = b->len;
	if (!r->no_info) {
		build_u32(b, 0x7188EBF2);
		build_fill(b, 0, b->len + 12);
		build_u32(b, 0xE71AA390);
	}
	if (r->block)
		rp2_block(b, r);
	build_noise(b, 600);
	build_fill(b, 0, (b->len + 3) & ~(size_t)3);
	if (r->text)
		build_text(b, r->text);
	build_u8(b, 0);
	build_fill(b, 0, (b->len + 3) & ~(size_t)3);
	if (r->no_info)
		return;
	/* the table: an entry of another kind, then the strings; what is left stays without meaning */
	table = b->len;
	build_fill(b, 0, table + 4 * entries);
	build_set_u32(b, header + 4, base + (uint32_t)table);
	build_set_u32(b, header + 8, base + (uint32_t)b->len);
	build_set_u32(b, table, base + (uint32_t)b->len);
	table += 4;
	build_u16(b, 5);
	build_u16(b, 0x5052);
	build_u32(b, 0x68F465DE);
	end_at = b->len;
	build_u32(b, 0);
	rp2_string(b, base, &table, 0x02031C86, r->name);
	rp2_string(b, base, &table, 0x11A9BC3A, r->version);
	rp2_string(b, base, &table, 0x9DA22254, r->date);
	rp2_string(b, base, &table, 0x5360B3AB, r->sdk);
	build_noise(b, 700);
	build_set_u32(b, end_at, base + (uint32_t)b->len);
}

/* ---- checks ---- */

enum ota_err build_recognise(const void *p, size_t len, struct image_info *info)
{
	struct image_file f;
	enum ota_err err;

	image_file_from_memory(p, len, &f);
	err = image_recognise(&f.source, info);
	image_file_close(&f);
	return err;
}

size_t build_flip(uint8_t *p, size_t len, size_t from, size_t to, size_t step, bool (*may)(size_t at))
{
	static const uint8_t masks[] = {0x01, 0x80, 0xFF, 0x10, 0x04};
	static size_t turn;
	size_t passed = 0;

	for (size_t at = from; at < to; at += step) {
		uint8_t mask = masks[turn++ % sizeof masks];
		struct image_info info;
		enum ota_err err;

		p[at] ^= mask;
		err = build_recognise(p, len, &info);
		p[at] ^= mask;
		if (err == OTA_OK && !(may && may(at))) {
			printf("flip %02x at 0x%zx passed as %s\n", mask, at, image_format_name(info.format));
			passed++;
		}
	}
	return passed;
}
