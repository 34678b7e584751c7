/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
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

/* ---- flips ---- */

/* Header bytes that no check of the format covers; image_esp32.c and image_esp8266.c say why. */
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

static size_t flip_sampled(const char *file, size_t header, bool (*may)(size_t at), unsigned samples)
{
	size_t len = load(file), passed;

	passed = build_flip(bytes, len, 0, header, 1, may);
	passed += build_flip(bytes, len, header, len, len / samples, may);
	passed += build_flip(bytes, len, len - 36, len, 3, may);
	return passed;
}

static void test_flips_esp32(void **state)
{
	(void)state;
	assert_int_equal(flip_sampled("micropython-esp32-v1.17-app.bin", 34, NULL, 24), 0);
	assert_int_equal(flip_sampled("micropython-esp32-v1.15-app.bin", 34, NULL, 24), 0);
	assert_int_equal(flip_sampled("tasmota32-app.bin", 34, tasmota32, 24), 0);
}

static void test_flips_esp8266(void **state)
{
	(void)state;
	assert_int_equal(flip_sampled("micropython-esp8266-v1.22.1.bin", 18, mpy_esp8266, 60), 0);
	assert_int_equal(
		build_flip(bytes, load("micropython-esp8266-v1.22.1.bin"), 0x8FF8, 0x9002, 1, NULL), 0);
	assert_int_equal(flip_sampled("tasmota-esp8266-arduino.bin", 18, tasmota8266, 60), 0);
	assert_int_equal(
		build_flip(bytes, load("tasmota-esp8266-arduino.bin"), 0x1000, 0x1020, 1, tasmota8266), 0);
	assert_int_equal(flip_sampled("esp8266-sdk-user1.bin", 18, NULL, 60), 0);
	assert_int_equal(flip_sampled("esp8266-sdk-user2.bin", 18, NULL, 60), 0);
}

/* Headers of all further segments: address, where SHA-256 covers it, and length. */
static void test_flips_segments(void **state)
{
	static const char *const hashed[] = {"micropython-esp32-v1.17-app.bin", "tasmota32-app.bin"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		size_t len = load(hashed[i]), at = 24;

		for (unsigned seg = 0; seg < bytes[1]; seg++) {
			uint32_t seg_len = (uint32_t)bytes[at + 4] | (uint32_t)bytes[at + 5] << 8 |
					   (uint32_t)bytes[at + 6] << 16 | (uint32_t)bytes[at + 7] << 24;
			bool last = seg + 1u == bytes[1];

			/* tasmota32's last length may move within zero padding */
			assert_int_equal(
				build_flip(bytes, len, i == 0 ? at : at + 4 + last, at + 8, 1, NULL), 0);
			at += 8 + seg_len;
		}
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
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_flips_esp32),
		cmocka_unit_test(test_flips_esp8266),
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
