/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image_build.h"

/* Real firmware, where it is there: every file is what its README says, and damage is refused. */

enum { FILE_MAX = 2 << 20 };

struct firmware {
	const char *file;
	enum ota_err err;
	enum image_format format;
	uint32_t checks;
	const char *chip, *project, *version, *built, *sdk;
	int variant;
	bool has_elf_sha256;
	const char *hint;
};

static const struct firmware files[] = {
	{"micropython-esp32-v1.15-app.bin", OTA_OK, IMAGE_ESP32, IMAGE_CHECK_CHECKSUM | IMAGE_CHECK_SHA256,
		"esp32", "MicroPython", "1.15", "May  1 2021 11:20:56", "v4.2", 0, true, ""},
	{"micropython-esp32-v1.17-app.bin", OTA_OK, IMAGE_ESP32, IMAGE_CHECK_CHECKSUM | IMAGE_CHECK_SHA256,
		"esp32", "MicroPython", "1.17", "Sep  2 2021 01:06:23", "v4.2.2", 0, true, ""},
	{"micropython-esp32-v1.17-factory.bin", OTA_UNSUPPORTED, IMAGE_FACTORY, 0, "esp32", "", "", "", "", 0,
		false, "use the application image (app.bin / -app.bin), not the merged factory image"},
	{"tasmota32-app.bin", OTA_OK, IMAGE_ESP32, IMAGE_CHECK_CHECKSUM, "esp32", "Tasmota", "", "",
		"4.4.4.20230218", 0, false, ""},
	{"micropython-esp8266-v1.22.1.bin", OTA_OK, IMAGE_ESP8266_MPY, IMAGE_CHECK_CHECKSUM | IMAGE_CHECK_MD5,
		"esp8266", "MicroPython", "1.22.1", "2024-01-05", "", 0, false, ""},
	{"tasmota-esp8266-arduino.bin", OTA_OK, IMAGE_ESP8266_ARDUINO, IMAGE_CHECK_CHECKSUM, "esp8266", "",
		"", "", "", 0, false, ""},
	{"esp8266-sdk-user1.bin", OTA_OK, IMAGE_ESP8266_SDK, IMAGE_CHECK_CHECKSUM | IMAGE_CHECK_CRC,
		"esp8266", "", "", "", "", 1, false, "needs user1 and user2: push both files of the pair"},
	{"esp8266-sdk-user2.bin", OTA_OK, IMAGE_ESP8266_SDK, IMAGE_CHECK_CHECKSUM | IMAGE_CHECK_CRC,
		"esp8266", "", "", "", "", 2, false, "needs user1 and user2: push both files of the pair"},
};

static char folder[512];
static uint8_t bytes[FILE_MAX];

static size_t load(const char *file)
{
	char path[600];
	size_t len;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, file);
	f = fopen(path, "rb");
	assert_non_null(f);
	len = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	assert_in_range(len, 1, FILE_MAX - 1);
	return len;
}

static void test_facts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		const struct firmware *f = &files[i];
		size_t len = load(f->file);
		struct image_info info;

		assert_int_equal(build_recognise(bytes, len, &info), f->err);
		assert_int_equal(info.format, f->format);
		assert_int_equal(info.checks, f->checks);
		assert_int_equal(info.size, len);
		assert_int_equal(info.image_size, len);
		assert_string_equal(info.chip, f->chip);
		assert_string_equal(info.project, f->project);
		assert_string_equal(info.version, f->version);
		assert_string_equal(info.built, f->built);
		assert_string_equal(info.sdk, f->sdk);
		assert_int_equal(info.variant, f->variant);
		assert_int_equal(info.has_elf_sha256, f->has_elf_sha256);
		assert_string_equal(info.hint, f->hint);
		if (f->has_elf_sha256)
			assert_memory_equal(info.elf_sha256, bytes + 0xB0, 32);
	}
}

/* A file that nobody looked at proves nothing: each has its row, and each row its file. */
static void test_every_file_has_a_row(void **state)
{
	const size_t rows = sizeof files / sizeof files[0];
	size_t seen = 0;
	struct dirent *entry;
	DIR *dir = opendir(folder);

	(void)state;
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		size_t i = 0;

		if (entry->d_name[0] == '.')
			continue;
		while (i < rows && strcmp(files[i].file, entry->d_name) != 0)
			i++;
		if (i == rows)
			fail_msg("'%s' has no row here", entry->d_name);
		seen++;
	}
	closedir(dir);
	assert_int_equal(seen, rows);
}

/* ---- flips ---- */

/* Bytes that no check of the format covers; image_esp32.c and image_esp8266.c say why. */
static bool mpy_esp8266(size_t at)
{
	return at == 2 || at == 3;
}

static bool tasmota32(size_t at)
{
	return at == 2 || at == 3 || (at >= 4 && at <= 11) || (at >= 14 && at <= 18) ||
	       (at >= 24 && at <= 27);
}

static bool tasmota8266(size_t at)
{
	return (at >= 2 && at <= 7) || at == 12 || (at >= 0x580 && at < 0x1000) ||
	       (at >= 0x1002 && at <= 0x1007);
}

/* What the formats hold in its own place is flipped byte by byte, the first range with five masks where no
 * digest covers it; the rest at `samples` places. */
static const struct flips {
	const char *file;
	bool (*may)(size_t at);
	unsigned samples;
	size_t range[4][2];
} flips[] = {
	/* header, first segment's header, descriptor */
	{"micropython-esp32-v1.15-app.bin", NULL, 15, {{0, 34}, {0x20, 0x34}, {0xB0, 0xB4}}},
	{"micropython-esp32-v1.17-app.bin", NULL, 15, {{0, 34}, {0x20, 0x34}, {0xB0, 0xB4}}},
	/* bootloader's header, partition table, the application's header: no flip makes it an application */
	{"micropython-esp32-v1.17-factory.bin", NULL, 15, {{0, 34}, {0x7000, 0x7040}, {0xF000, 0xF022}}},
	{"tasmota32-app.bin", tasmota32, 20, {{0, 34}, {0x20, 0x34}, {0xB0, 0xB4}}},
	/* header, size word, code's first bytes */
	{"micropython-esp8266-v1.22.1.bin", mpy_esp8266, 150, {{0, 34}, {0x8FF8, 0x9010}}},
	/* eboot's header, its checksum, the application's header */
	{"tasmota-esp8266-arduino.bin", tasmota8266, 150, {{0, 34}, {0x56C, 0x580}, {0x1000, 0x1020}}},
	{"esp8266-sdk-user1.bin", NULL, 150, {{0, 34}}},
	{"esp8266-sdk-user2.bin", NULL, 150, {{0, 34}}},
};

/* Checksums and digests stand in the last 33 bytes. */
static void test_flips(void **state)
{
	(void)state;
	assert_int_equal(sizeof flips / sizeof flips[0], sizeof files / sizeof files[0]);
	for (size_t i = 0; i < sizeof flips / sizeof flips[0]; i++) {
		const struct flips *f = &flips[i];
		size_t len = load(f->file), passed = 0;

		for (unsigned mask = 1; f->may && mask < 5; mask++)
			passed += build_flip(bytes, len, f->range[0][0], f->range[0][1], 1, f->may);
		for (unsigned k = 0; k < 4; k++)
			passed += build_flip(bytes, len, f->range[k][0], f->range[k][1], 1, f->may);
		passed += build_flip(bytes, len, 0x121, len, len / f->samples, f->may);
		passed += build_flip(bytes, len, len - 33, len - 4, 4, f->may);
		passed += build_flip(bytes, len, len - 4, len, 1, f->may);
		if (passed)
			fail_msg("%zu flips of '%s' passed", passed, f->file);
	}
}

/* The segments of the application at `at`: their headers (the address where `has_addr`), and the first and
 * last byte of each one's data. Only tasmota32's last length may move, within zero padding. */
static size_t flip_segments(size_t len, size_t at, size_t header_len, bool has_addr, bool is_last_loose)
{
	unsigned count = bytes[at + 1];
	size_t passed = 0;

	at += header_len;
	for (unsigned seg = 0; seg < count; seg++) {
		uint32_t seg_len = (uint32_t)bytes[at + 4] | (uint32_t)bytes[at + 5] << 8 |
				   (uint32_t)bytes[at + 6] << 16 | (uint32_t)bytes[at + 7] << 24;
		size_t loose = seg + 1 == count && is_last_loose;
		size_t end = at + 8 + seg_len;

		passed += build_flip(bytes, len, has_addr ? at : at + 4 + loose, at + 8, 1, NULL);
		passed += build_flip(bytes, len, at + 8, at + 10, 1, NULL);
		passed += build_flip(bytes, len, end - 2, end, 1, NULL);
		at = end;
	}
	return passed;
}

static void test_flips_segments(void **state)
{
	size_t len;

	(void)state;
	len = load("micropython-esp32-v1.17-app.bin");
	assert_int_equal(flip_segments(len, 0, 24, true, false), 0);
	len = load("tasmota32-app.bin");
	assert_int_equal(flip_segments(len, 0, 24, false, true), 0);
	len = load("micropython-esp8266-v1.22.1.bin");
	assert_int_equal(flip_segments(len, 0, 8, true, false), 0);
	len = load("tasmota-esp8266-arduino.bin");
	assert_int_equal(flip_segments(len, 0x1000, 8, false, true), 0);
	for (int k = 1; k <= 2; k++) {
		len = load(k == 1 ? "esp8266-sdk-user1.bin" : "esp8266-sdk-user2.bin");
		assert_int_equal(bytes[0], 0xEA);
		size_t code_end = 16 + ((size_t)bytes[12] | (size_t)bytes[13] << 8 | (size_t)bytes[14] << 16);

		assert_int_equal(flip_segments(len, code_end, 8, true, false), 0);
	}
}

static void test_cuts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		size_t len = load(files[i].file);
		struct image_info info;

		for (size_t cut = 64; cut < len; cut += len / 23)
			assert_int_not_equal(build_recognise(bytes, cut, &info), OTA_OK);
		assert_int_not_equal(build_recognise(bytes, len - 1, &info), OTA_OK);
		assert_int_not_equal(build_recognise(bytes, len + 1, &info), OTA_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_file_has_a_row),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_flips),
		cmocka_unit_test(test_flips_segments),
		cmocka_unit_test(test_cuts),
	};
	const char *shared = getenv("OTA_SHARED");

	snprintf(folder, sizeof folder, "%s/firmware", shared ? shared : "../shared");
	if (access(folder, R_OK) != 0) {
		puts("skipped: no shared data");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
