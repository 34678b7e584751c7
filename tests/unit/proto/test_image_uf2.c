/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image_build.h"

/* UF2 files, the flash images that are made of them, and the RP chips' own images, which they mostly hold. */

static struct build b;
static struct image_info info;

static enum ota_err recognise(void)
{
	return build_recognise(b.p, b.len, &info);
}

static void test_uf2(void **state)
{
	static const struct {
		uint32_t family;
		const char *chip;
	} rows[] = {{0xE48BFF56, "rp2040"}, {0xE48BFF59, "rp2350"}, {0xC47E5767, "esp32s3"},
		{0xADA52840, "nrf52840"}, {0x57755A57, "stm32f4"}, {0x12345678, ""}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (int md5 = 0; md5 <= 1; md5++) {
			build_clear(&b);
			build_uf2(&b, rows[i].family, 20, md5, "MicroPython v1.22.1 on 2024-01-05; Pico");
			assert_int_equal(recognise(), OTA_OK);
			assert_int_equal(info.format, IMAGE_UF2);
			assert_string_equal(info.chip, rows[i].chip);
			assert_string_equal(info.version, "1.22.1");
			assert_int_equal(info.checks, IMAGE_CHECK_BLOCKS | (md5 ? IMAGE_CHECK_MD5 : 0));
		}
	}
}

static bool uf2_md5_uncovered(size_t at)
{
	size_t in = at % 512;

	/* flags, family, the room behind the data */
	return (in >= 8 && in < 12) || (in >= 28 && in < 32) || (in >= 288 && in < 508 - 24);
}

static bool uf2_uncovered(size_t at)
{
	size_t in = at % 512;

	return (in >= 8 && in < 20) || (in >= 28 && in < 508);
}

static void test_uf2_flips(void **state)
{
	(void)state;
	build_clear(&b);
	build_uf2(&b, 0xE48BFF56, 3, true, "");
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, uf2_md5_uncovered), 0);
	build_clear(&b);
	build_uf2(&b, 0xE48BFF56, 3, false, "");
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, uf2_uncovered), 0);
	for (size_t len = 8; len < b.len; len++)
		assert_int_equal(build_recognise(b.p, len, &info), OTA_TRUNCATED);
}

static void block(uint32_t addr, uint32_t number, uint32_t total, uint32_t family)
{
	static uint8_t page[256];

	build_uf2_block(&b, family ? 0x2000 : 0, addr, page, sizeof page, number, total, family);
}

/* What no drive could make one image of is refused; so is what contradicts itself. */
static void test_uf2_refused(void **state)
{
	enum { RP2040 = 0, NONE = 1, RP2350 = 2, NRF = 3 };
	static const uint32_t families[] = {0xE48BFF56, 0, 0xE48BFF59, 0xADA52840};
	static const struct {
		uint32_t addr[2];
		uint8_t number[2], total[2], family[2];
		enum ota_err err;
		const char *hint;
	} rows[] = {
		{{0x10000000, 0x10000100}, {0, 1}, {2, 2}, {RP2040, RP2040}, OTA_OK, "otactl push"},
		{{0x10000000, 0x10000200}, {0, 1}, {2, 2}, {RP2040, RP2040}, OTA_OK, "otactl push"},
		{{0x10000000, 0x11000100}, {0, 1}, {2, 2}, {RP2040, RP2040}, OTA_OK, "otactl push"},
		{{0x10000000, 0x11000101}, {0, 1}, {2, 2}, {RP2040, RP2040}, OTA_UNSUPPORTED,
			"too far apart"},
		{{0x10000000, 0x100000FF}, {0, 1}, {2, 2}, {RP2040, RP2040}, OTA_INVALID, "overlap"},
		{{0x10000000, 0x10000000}, {0, 1}, {2, 2}, {RP2040, RP2040}, OTA_INVALID, "overlap"},
		{{0x10000100, 0x10000000}, {0, 1}, {2, 2}, {RP2040, RP2040}, OTA_INVALID, "overlap"},
		{{0x20000000, 0x20000100}, {0, 1}, {2, 2}, {RP2040, RP2040}, OTA_UNSUPPORTED, "RAM"},
		{{0x00000000, 0x00000100}, {0, 1}, {2, 2}, {RP2350, RP2350}, OTA_UNSUPPORTED, "RAM"},
		{{0x00000000, 0x00000100}, {0, 1}, {2, 2}, {NONE, NONE}, OTA_OK, "otactl push"},
		{{0x00001000, 0xFFFFFE00}, {0, 1}, {2, 2}, {NRF, NRF}, OTA_UNSUPPORTED, "too far apart"},
		{{0xFFFFFF00, 0xFFFFFF80}, {0, 1}, {2, 2}, {NRF, NRF}, OTA_INVALID, "impossible address"},
		{{0x10000000, 0x10000100}, {0, 1}, {2, 2}, {RP2040, RP2350}, OTA_UNSUPPORTED,
			"several chips"},
		{{0x10000000, 0x10000100}, {0, 1}, {2, 2}, {RP2040, NONE}, OTA_UNSUPPORTED, "several chips"},
		{{0x10000000, 0x10000000}, {0, 0}, {1, 1}, {RP2040, RP2350}, OTA_UNSUPPORTED,
			"several chips"},
		{{0x10000000, 0x10000100}, {0, 2}, {2, 2}, {RP2040, RP2040}, OTA_INVALID, "run on"},
		{{0x10000000, 0x10000100}, {0, 1}, {2, 3}, {RP2040, RP2040}, OTA_INVALID, "run on"},
		{{0x10000000, 0x10000100}, {0, 1}, {3, 3}, {RP2040, RP2040}, OTA_TRUNCATED, "fewer blocks"},
		{{0x10000000, 0x10000100}, {1, 2}, {2, 2}, {RP2040, RP2040}, OTA_INVALID, "from 0"},
		{{0x10000000, 0x10000100}, {0, 0}, {0, 0}, {RP2040, RP2040}, OTA_INVALID, "from 0"},
		{{0x10000000, 0x10000100}, {0, 0}, {1, 2}, {RP2040, RP2040}, OTA_TRUNCATED, "fewer blocks"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		build_clear(&b);
		for (unsigned k = 0; k < 2; k++)
			block(rows[i].addr[k], rows[i].number[k], rows[i].total[k],
				families[rows[i].family[k]]);
		if (recognise() != rows[i].err || !strstr(info.hint, rows[i].hint))
			fail_msg("row %zu: %s", i, info.hint);
		assert_int_equal(info.format, IMAGE_UF2);
	}
}

static void test_uf2_blocks(void **state)
{
	uint8_t page[256] = {0};

	(void)state;
	/* the RP2350 erratum's block in front is no part of the image */
	build_clear(&b);
	build_uf2_block(&b, 0xA000, 0x10FFFF00, page, 256, 0, 2, 0xE48BFF57);
	build_uf2(&b, 0xE48BFF59, 3, false, "");
	assert_int_equal(recognise(), OTA_OK);
	assert_string_equal(info.chip, "rp2350");
	b.len -= 512;
	assert_int_equal(recognise(), OTA_TRUNCATED);
	/* more blocks than the file has, no data, more data than a block holds, nothing for flash */
	build_clear(&b);
	build_uf2_block(&b, 0x2000, 0x10000000, page, 256, 0, UINT32_MAX, 0xE48BFF56);
	assert_int_equal(recognise(), OTA_TRUNCATED);
	build_clear(&b);
	build_uf2_block(&b, 0x2000, 0x10000000, page, 256, 0, 1, 0xE48BFF56);
	build_set_u32(&b, 16, 476);
	assert_int_equal(recognise(), OTA_OK);
	build_set_u32(&b, 16, 477);
	assert_int_equal(recognise(), OTA_INVALID);
	build_set_u32(&b, 16, UINT32_MAX);
	assert_int_equal(recognise(), OTA_INVALID);
	build_set_u32(&b, 16, 0);
	assert_int_equal(recognise(), OTA_INVALID);
	build_set_u32(&b, 16, 256);
	build_set_u32(&b, 8, 0x2001);
	assert_int_equal(recognise(), OTA_UNSUPPORTED);
	build_set_u32(&b, 8, 0x3000);
	assert_int_equal(recognise(), OTA_UNSUPPORTED);
}

/* ---- flattened ---- */

static struct build flat;

static enum ota_err flatten(uint64_t max, uint64_t *size, uint32_t *address)
{
	FILE *out = tmpfile();
	struct image_file f;
	enum ota_err err;

	assert_non_null(out);
	image_file_from_memory(b.p, b.len, &f);
	err = image_flatten(&f.source, max, fileno(out), size, address);
	image_file_close(&f);
	rewind(out);
	build_clear(&flat);
	flat.len = fread(flat.p, 1, sizeof flat.p, out);
	fclose(out);
	return err;
}

static void test_flatten(void **state)
{
	uint8_t page[476], erased[0x400];
	uint64_t size = 7;
	uint32_t address = 7;

	(void)state;
	memset(erased, 0xFF, sizeof erased);
	build_clear(&b);
	memset(page, 0xEE, sizeof page);
	build_uf2_block(&b, 0xA000, 0x10FFFF00, page, 256, 0, 2, 0xE48BFF57);
	memset(page, 1, sizeof page);
	build_uf2_block(&b, 0x2000, 0x10004000, page, 256, 0, 4, 0xE48BFF59);
	memset(page, 2, sizeof page);
	build_uf2_block(&b, 0x2000, 0x10004100, page, 476, 1, 4, 0xE48BFF59);
	build_uf2_block(&b, 0x2001, 0x10000000, "comment", 7, 2, 4, 0xE48BFF59);
	memset(page, 3, sizeof page);
	build_uf2_block(&b, 0x2000, 0x10004600, page, 1, 3, 4, 0xE48BFF59);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(flatten(0x601, &size, &address), OTA_OK);
	assert_int_equal(size, 0x601);
	assert_int_equal(address, 0x10004000);
	assert_int_equal(flat.len, 0x601);
	memset(page, 1, sizeof page);
	assert_memory_equal(flat.p, page, 256);
	memset(page, 2, sizeof page);
	assert_memory_equal(flat.p + 0x100, page, 476);
	assert_memory_equal(flat.p + 0x100 + 476, erased, 0x600 - 0x100 - 476);
	assert_int_equal(flat.p[0x600], 3);
	/* bounded, and nothing is said on an error */
	size = address = 7;
	assert_int_equal(flatten(0x600, &size, &address), OTA_TOO_LARGE);
	assert_int_equal(size, 7);
	assert_int_equal(address, 7);
	/* a gap cannot make more than is allowed */
	build_clear(&b);
	block(0x10000000, 0, 2, 0xE48BFF56);
	block(0x10FFFF00, 1, 2, 0xE48BFF56);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(flatten(1 << 20, &size, &address), OTA_TOO_LARGE);
	assert_in_range(flat.len, 0, 1 << 20);
	/* what was not recognised does no harm */
	build_set_u32(&b, 512 + 12, 0x0FFFFF00);
	assert_int_equal(flatten(1 << 20, &size, &address), OTA_INVALID);
	build_set_u32(&b, 512 + 12, 0x10000080);
	assert_int_equal(flatten(1 << 20, &size, &address), OTA_INVALID);
	build_set_u32(&b, 512 + 12, 0x10000100);
	build_set_u32(&b, 512 + 16, 477);
	assert_int_equal(flatten(1 << 20, &size, &address), OTA_INVALID);
	b.len = 511;
	assert_int_equal(flatten(1 << 20, &size, &address), OTA_INVALID);
	assert_int_equal(size, 7);
}

static void test_flatten_disk(void **state)
{
	struct image_file f;
	uint64_t size = 7;
	uint32_t address = 7;
	int fd = open("/dev/full", O_WRONLY);

	(void)state;
	if (fd < 0)
		skip();
	build_clear(&b);
	build_uf2(&b, 0xE48BFF56, 3, false, "");
	image_file_from_memory(b.p, b.len, &f);
	assert_int_equal(image_flatten(&f.source, 1 << 20, fd, &size, &address), OTA_NO_SPACE);
	close(fd);
	fd = open("/dev/null", O_RDONLY);
	assert_int_equal(image_flatten(&f.source, 1 << 20, fd, &size, &address), OTA_IO);
	close(fd);
	assert_int_equal(size, 7);
	assert_int_equal(address, 7);
}

/* An application of another format is found again, with its own checks. */
static void test_flatten_esp32(void **state)
{
	const struct esp32_recipe recipe = {.chip = 9, .version = "2.0", .project = "lamp"};
	static struct build app;
	uint64_t size = 0;
	uint32_t address = 1;

	(void)state;
	build_clear(&app);
	build_esp32(&app, &recipe);
	build_clear(&b);
	for (uint32_t at = 0; at < app.len; at += 256) {
		uint32_t len = app.len - at < 256 ? (uint32_t)app.len - at : 256;

		build_uf2_block(&b, 0x2000, at, app.p + at, len, at / 256, (uint32_t)(app.len + 255) / 256,
			0xC47E5767);
	}
	assert_int_equal(recognise(), OTA_OK);
	assert_string_equal(info.chip, "esp32s3");
	assert_int_equal(flatten(1 << 20, &size, &address), OTA_OK);
	assert_int_equal(address, 0);
	assert_int_equal(size, app.len);
	assert_memory_equal(flat.p, app.p, app.len);
	assert_int_equal(build_recognise(flat.p, flat.len, &info), OTA_OK);
	assert_int_equal(info.format, IMAGE_ESP32);
	b.p[512 * 2 + 100] ^= 4; /* no check of UF2 sees it, the application's own does */
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(flatten(1 << 20, &size, &address), OTA_OK);
	assert_int_not_equal(build_recognise(flat.p, flat.len, &info), OTA_OK);
}

static void test_inherit(void **state)
{
	struct image_info outer = {
		.chip = "rp2040", .project = "MicroPython", .version = "1.22.1", .built = "2024-01-05"};
	struct image_info bare = {.format = IMAGE_RAW}, own = {.chip = "rp2350", .version = "2.0"};

	(void)state;
	image_inherit(&bare, &outer);
	assert_string_equal(bare.chip, "rp2040");
	assert_string_equal(bare.version, "1.22.1");
	assert_string_equal(bare.built, "2024-01-05");
	image_inherit(&own, &outer);
	assert_string_equal(own.chip, "rp2350");
	assert_string_equal(own.version, "2.0");
	assert_string_equal(own.project, "");
}

/* ---- the RP chips' images ---- */

static void test_rp2(void **state)
{
	static const struct {
		struct rp2_recipe recipe;
		enum image_format format;
		const char *chip, *project, *version, *built, *sdk;
	} rows[] = {
		{{.boot2 = true, .name = "lamp", .version = "1.2.3", .date = "Jan  5 2024", .sdk = "1.5.1"},
			IMAGE_RP2, "rp2040", "lamp", "1.2.3", "Jan  5 2024", "1.5.1"},
		{{.boot2 = true}, IMAGE_RP2, "rp2040", "", "", "", ""},
		{{.boot2 = true, .no_info = true}, IMAGE_RP2, "rp2040", "", "", "", ""},
		{{.block = true, .type = 0x1021, .name = "lamp", .version = "2.0"}, IMAGE_RP2, "rp2350",
			"lamp", "2.0", "", ""},
		{{.block = true, .type = 0x1021, .block_version = 0x00010006}, IMAGE_RP2, "rp2350", "", "1.6",
			"", ""},
		{{.block = true, .type = 0x1021, .block_version = 0x00010006, .version = "9"}, IMAGE_RP2,
			"rp2350", "", "9", "", ""},
		{{.block = true, .type = 0x1121, .riscv = true, .no_info = true}, IMAGE_RP2, "rp2350", "", "",
			"", ""},
		{{.block = true, .type = 0x1121, .riscv = true, .name = "lamp"}, IMAGE_RP2, "rp2350", "lamp",
			"", "", ""},
		{{.block = true, .type = 0x1022, .no_info = true}, IMAGE_RAW, "", "", "", "",
			""}, /* data, no program */
		/* for a slot behind somebody's bootloader: the chip is not told */
		{{.base = 0x10010000, .name = "lamp", .version = "1.0"}, IMAGE_RP2, "", "lamp", "1.0", "",
			""},
		/* the same behind a header of that bootloader's, linked with it */
		{{.base = 0x10010000, .front = true, .name = "lamp", .version = "1.0"}, IMAGE_RP2, "", "lamp",
			"1.0", "", ""},
		{{.base = 0x10010000, .no_info = true}, IMAGE_RAW, "", "", "", "", ""},
		{{.boot2 = true, .text = "MicroPython v1.22.1 on 2024-01-05; Raspberry Pi Pico"}, IMAGE_RP2,
			"rp2040", "MicroPython", "1.22.1", "2024-01-05", ""},
		{{.boot2 = true,
			 .name = "MicroPython",
			 .version = "v1.22.1",
			 .text = "MicroPython v1.22.1 on 2024-01-05; Raspberry Pi Pico"},
			IMAGE_RP2, "rp2040", "MicroPython", "v1.22.1", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		build_clear(&b);
		build_rp2(&b, &rows[i].recipe);
		assert_int_equal(recognise(), OTA_OK);
		if (info.format != rows[i].format || strcmp(info.chip, rows[i].chip) != 0 ||
			strcmp(info.project, rows[i].project) != 0 ||
			strcmp(info.version, rows[i].version) != 0 ||
			strcmp(info.built, rows[i].built) != 0 || strcmp(info.sdk, rows[i].sdk) != 0)
			fail_msg("row %zu: %s, '%s', '%s', '%s', '%s', '%s'", i,
				image_format_name(info.format), info.chip, info.project, info.version,
				info.built, info.sdk);
	}
}

static void test_rp2_boot2(void **state)
{
	const struct rp2_recipe recipe = {.boot2 = true, .name = "lamp"};
	char line[100];

	(void)state;
	build_clear(&b);
	build_rp2(&b, &recipe);
	assert_int_equal(recognise(), OTA_OK);
	image_describe(&info, line, sizeof line);
	assert_string_equal(line, "RP2040 family image, chip rp2040, lamp, carries no check");
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0, 0x100, 1, NULL), 0);
}

/* Pointers that lead anywhere: no read outside, no facts of it. */
static void test_rp2_hostile(void **state)
{
	const struct rp2_recipe recipe = {.boot2 = true, .name = "lamp", .version = "1.2.3"};
	static const uint32_t values[] = {0, 1, 0x0FFFFFFF, 0x10000000, 0x10000001, 0x100001FF, 0x10FFFFFF,
		0x20000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF};
	size_t len;

	(void)state;
	build_clear(&b);
	build_rp2(&b, &recipe);
	len = b.len;
	for (size_t at = 0x100; at + 4 <= len; at += 4) {
		uint8_t was[4];

		memcpy(was, b.p + at, 4);
		for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
			build_set_u32(&b, at, values[v]);
			(void)recognise();
		}
		memcpy(b.p + at, was, 4);
	}
	/* It says where it ends; pages may be cut short or filled up. */
	for (size_t cut = 0x100 + 0xC0 + 20; cut < len; cut++)
		assert_int_equal(build_recognise(b.p, cut, &info), cut <= len - 256 ? OTA_TRUNCATED : OTA_OK);
	build_fill(&b, 0xFF, len + 3000);
	assert_int_equal(recognise(), OTA_OK);
	assert_string_equal(info.version, "1.2.3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uf2),
		cmocka_unit_test(test_uf2_flips),
		cmocka_unit_test(test_uf2_refused),
		cmocka_unit_test(test_uf2_blocks),
		cmocka_unit_test(test_flatten),
		cmocka_unit_test(test_flatten_disk),
		cmocka_unit_test(test_flatten_esp32),
		cmocka_unit_test(test_inherit),
		cmocka_unit_test(test_rp2),
		cmocka_unit_test(test_rp2_boot2),
		cmocka_unit_test(test_rp2_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
