/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <string.h>

#include "image_build.h"

static struct build b;
static struct image_info info;

static enum ota_err recognise(void)
{
	return build_recognise(b.p, b.len, &info);
}

/* ---- ESP32 ---- */

static void test_esp32_facts(void **state)
{
	static const struct {
		struct esp32_recipe recipe;
		const char *chip, *version, *project, *describe;
	} rows[] = {
		{{.chip = 5, .version = "1.2.3", .project = "lamp", .secure_version = 7}, "esp32c3", "1.2.3",
			"lamp", "ESP32 application, chip esp32c3, lamp 1.2.3, checksum and SHA-256 hold"},
		{{.chip = 5,
			 .version = "v1.22.1",
			 .project = "micropython",
			 .text = "MicroPython v1.22.1 on 2024-01-05; x"},
			"esp32c3", "1.22.1", "MicroPython",
			"ESP32 application, chip esp32c3, MicroPython 1.22.1, checksum and SHA-256 hold"},
		{{.chip = 0,
			 .flash_addr = 0x3F400020,
			 .ram_addr = 0x40080000,
			 .text = "MicroPython v1.17-dirty on 2021-09-02"},
			"esp32", "1.17-dirty", "MicroPython",
			"ESP32 application, chip esp32, MicroPython 1.17-dirty, checksum and SHA-256 hold"},
		{{.chip = 9, .text = "MicroPython v%s on %s"}, "esp32s3", "", "",
			"ESP32 application, chip esp32s3, checksum and SHA-256 hold"},
		{{.chip = 9, .text = "MicroPython vMicroPython v1.20.0 on 2023-04-26"}, "esp32s3", "", "",
			"ESP32 application, chip esp32s3, checksum and SHA-256 hold"},
		{{.chip = 0,
			 .flash_addr = 0x400D0020,
			 .ram_addr = 0x40080000,
			 .no_hash = true,
			 .text = "Tasmota/%s (%s)"},
			"esp32", "", "Tasmota", "ESP32 application, chip esp32, Tasmota, checksum holds"},
		{{.chip = 13,
			 .flash_addr = 0x42000020,
			 .version = "esp-idf: v4.4.4",
			 .project = "arduino-lib-builder"},
			"esp32c6", "", "", "ESP32 application, chip esp32c6, checksum and SHA-256 hold"},
		{{.chip = 18,
			 .flash_addr = 0x40000020,
			 .ram_addr = 0x4FF00000,
			 .version = "v2",
			 .project = "cam"},
			"esp32p4", "v2", "cam",
			"ESP32 application, chip esp32p4, cam v2, checksum and SHA-256 hold"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char line[200];

		build_clear(&b);
		build_esp32(&b, &rows[i].recipe);
		assert_int_equal(recognise(), OTA_OK);
		assert_int_equal(info.format, IMAGE_ESP32);
		assert_string_equal(info.chip, rows[i].chip);
		assert_string_equal(info.version, rows[i].version);
		assert_string_equal(info.project, rows[i].project);
		assert_string_equal(info.built, "Jan  5 2024 12:34:56");
		assert_string_equal(info.sdk, "v5.1.2");
		assert_true(info.has_elf_sha256);
		assert_memory_equal(info.elf_sha256, b.p + 0xB0, 32);
		assert_true(info.has_security_counter);
		assert_int_equal(info.security_counter, rows[i].recipe.secure_version);
		assert_int_equal(info.checks,
			IMAGE_CHECK_CHECKSUM | (rows[i].recipe.no_hash ? 0 : IMAGE_CHECK_SHA256));
		assert_int_equal(info.size, b.len);
		assert_int_equal(info.image_size, b.len);
		assert_int_equal(image_describe(&info, line, sizeof line), strlen(rows[i].describe));
		assert_string_equal(line, rows[i].describe);
		assert_int_equal(image_describe(&info, line, 12), 11);
		assert_int_equal(strlen(line), 11);
	}
}

/* No check covers these in an image without SHA-256 (image_esp32.c says so too). */
static bool unhashed_header(size_t at)
{
	return at == 2 || at == 3 || (at >= 4 && at <= 11) || (at >= 14 && at <= 18) ||
	       (at >= 24 && at <= 27);
}

/* Its address, and the byte of its length by which zero padding may come in or fall out. */
static size_t second_segment;

static bool unhashed(size_t at)
{
	return unhashed_header(at) || (at >= second_segment && at <= second_segment + 4);
}

static void test_esp32_flips(void **state)
{
	struct esp32_recipe hashed = {.chip = 5, .version = "1.0.0", .project = "x"};
	struct esp32_recipe no_desc = {.chip = 5, .no_desc = true};
	struct esp32_recipe plain = {.chip = 5, .no_hash = true};

	(void)state;
	build_clear(&b);
	build_esp32(&b, &hashed);
	for (unsigned i = 0; i < 5; i++) /* each time with the next mask */
		assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, NULL), 0);
	build_clear(&b);
	build_esp32(&b, &no_desc);
	assert_int_equal(recognise(), OTA_OK);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, NULL), 0);
	build_clear(&b);
	build_esp32(&b, &plain);
	second_segment = 32 + (size_t)(b.p[28] | b.p[29] << 8);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, unhashed), 0);
}

static void test_esp32_filler(void **state)
{
	struct esp32_recipe r = {.chip = 5, .filler = true};

	(void)state;
	for (int no_hash = 0; no_hash <= 1; no_hash++) {
		r.no_hash = no_hash;
		build_clear(&b);
		build_esp32(&b, &r);
		assert_int_equal(recognise(), OTA_OK);
	}
}

static void test_esp32_cut(void **state)
{
	struct esp32_recipe r = {.chip = 5};
	size_t len;

	(void)state;
	build_clear(&b);
	build_esp32(&b, &r);
	len = b.len;
	for (b.len = 32; b.len < len; b.len++)
		assert_int_not_equal(recognise(), OTA_OK);
	b.len = len - 40;
	assert_int_equal(recognise(), OTA_TRUNCATED);
	b.len = len - 10;
	assert_int_equal(recognise(), OTA_TRUNCATED);
	b.len = len;
	assert_int_equal(recognise(), OTA_OK);
	b.p[200] ^= 1;
	assert_int_equal(recognise(), OTA_CHECKSUM);
	b.p[200] ^= 1;
	b.p[3] ^= 1;
	assert_int_equal(recognise(), OTA_DIGEST);
	b.p[3] ^= 1;
	build_noise(&b, 100);
	assert_int_equal(recognise(), OTA_SIZE);
}

static void test_esp32_trailers(void **state)
{
	struct esp32_recipe r = {.chip = 5};
	size_t len;

	(void)state;
	build_clear(&b);
	build_esp32(&b, &r);
	len = b.len;
	build_noise(&b, 512);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.trailer, IMAGE_TRAILER_ESP32_SIGNED);
	assert_int_equal(info.image_size, len);
	assert_int_equal(info.size, len + 512);
	b.len = len;
	build_fill(&b, 0xFF, len + 512);
	assert_int_equal(recognise(), OTA_SIZE);

	/* secure boot v1 */
	b.len = len;
	build_u32(&b, 0);
	build_noise(&b, 64);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.trailer, IMAGE_TRAILER_ESP_SECURE_BOOT);
	assert_int_equal(info.image_size, len);
	build_set_u32(&b, len, 1);
	assert_int_equal(recognise(), OTA_SIZE);
	b.len = len;
	build_fill(&b, 0, len + 68);
	assert_int_equal(recognise(), OTA_SIZE);
}

static size_t secure_boot_at;

/* The 16 zero bytes behind a block's CRC. */
static bool secure_boot_uncovered(size_t at)
{
	return at >= secure_boot_at && at < secure_boot_at + 2 * 1216 && (at - secure_boot_at) % 1216 >= 1200;
}

/* A digest of SHA-384's kind is not compared; the block's CRC is. */
static void test_secure_boot(void **state)
{
	static const struct {
		uint8_t version, hash_kind;
		unsigned blocks;
		enum ota_err err;
	} rows[] = {
		{2, 0, 1, OTA_OK},
		{2, 0, 3, OTA_OK},
		{3, 0, 2, OTA_OK},
		{3, 1, 2, OTA_OK},
		{2, 0, 0, OTA_SIZE},
		{1, 0, 1, OTA_SIZE},
		{4, 0, 1, OTA_SIZE},
	};
	const struct esp32_recipe hashed = {.chip = 12, .flash_addr = 0x42000020};
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		build_clear(&b);
		build_esp32(&b, &hashed);
		len = b.len;
		build_secure_boot(&b, rows[i].version, rows[i].hash_kind, rows[i].blocks);
		assert_int_equal(recognise(), rows[i].err);
		if (rows[i].err)
			continue;
		assert_int_equal(info.trailer, IMAGE_TRAILER_ESP_SECURE_BOOT);
		assert_int_equal(info.image_size, len);
	}
	build_clear(&b);
	build_esp32(&b, &hashed);
	secure_boot_at = 4096;
	build_secure_boot(&b, 3, 0, 2);
	assert_int_equal(b.len, 8192);
	assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, secure_boot_uncovered), 0);
	for (size_t cut = 1; cut < b.len - 600; cut += 7)
		assert_int_not_equal(build_recognise(b.p, b.len - cut, &info), OTA_OK);
}

static void test_esp32_refused(void **state)
{
	struct esp32_recipe bootloader = {.chip = 5, .no_desc = true, .bootloader = true};
	struct esp32_recipe future = {.chip = 0x77};
	struct esp32_recipe odd_entry = {.chip = 5, .no_hash = true};
	size_t last;

	(void)state;
	build_clear(&b);
	build_esp32(&b, &bootloader);
	assert_int_equal(recognise(), OTA_UNSUPPORTED);
	assert_non_null(strstr(info.hint, "bootloader"));
	build_clear(&b);
	build_esp32(&b, &future);
	assert_int_equal(recognise(), OTA_OK);
	assert_string_equal(info.chip, "");
	future.no_hash = true;
	build_clear(&b);
	build_esp32(&b, &future);
	assert_int_equal(recognise(), OTA_UNSUPPORTED);
	assert_non_null(strstr(info.hint, "chip id"));
	build_clear(&b);
	build_esp32(&b, &odd_entry);
	build_set_u32(&b, 4, 0x12345678);
	assert_int_equal(recognise(), OTA_INVALID);
	b.p[1] = 0;
	assert_int_equal(recognise(), OTA_INVALID);
	/* Linked for the chip of the recipe, not for the one that the header says now. */
	build_clear(&b);
	build_esp32(&b, &odd_entry);
	b.p[12] = 0;
	assert_int_equal(recognise(), OTA_INVALID);
	assert_non_null(strstr(info.hint, "another chip"));
	/* The last segment one byte shorter, all checks repaired: the bootloader would refuse it. */
	build_clear(&b);
	build_esp32(&b, &odd_entry);
	last = 32 + (size_t)(b.p[28] | b.p[29] << 8) + 8;
	b.p[b.len - 1] ^= b.p[last + 199];
	b.p[last + 199] = 0;
	build_set_u32(&b, last - 4, 199);
	assert_int_equal(recognise(), OTA_INVALID);
	build_set_u32(&b, last - 4, 200);
	assert_int_equal(recognise(), OTA_OK);
	b.p[1] = 17;
	assert_int_equal(recognise(), OTA_INVALID);
}

static void test_factory(void **state)
{
	static struct build shifted;

	(void)state;
	build_clear(&b);
	build_factory(&b);
	assert_int_equal(recognise(), OTA_UNSUPPORTED);
	assert_int_equal(info.format, IMAGE_FACTORY);
	assert_string_equal(info.chip, "esp32c3");
	assert_string_equal(
		info.hint, "use the application image (app.bin / -app.bin), not the merged factory image");

	/* from flash address 0 of a chip whose bootloader lies at 0x1000 or 0x2000 */
	for (size_t at = 0x1000; at <= 0x2000; at += 0x1000) {
		struct esp32_recipe boot = {.chip = 0, .no_desc = true, .bootloader = true};

		build_clear(&shifted);
		build_fill(&shifted, 0xFF, at);
		build_esp32(&shifted, &boot);
		build_partition_table(&shifted, 0x8000);
		assert_int_equal(build_recognise(shifted.p, shifted.len, &info), OTA_UNSUPPORTED);
		assert_int_equal(info.format, IMAGE_FACTORY);
		assert_string_equal(info.chip, "esp32");
	}
	/* erased flash alone is not one */
	build_clear(&shifted);
	build_fill(&shifted, 0xFF, 0x9000);
	assert_int_equal(build_recognise(shifted.p, shifted.len, &info), OTA_OK);
	assert_int_equal(info.format, IMAGE_RAW);
}

/* ---- ESP8266 ---- */

static void test_arduino(void **state)
{
	(void)state;
	for (int new_core = 0; new_core <= 1; new_core++) {
		size_t len;

		build_clear(&b);
		build_esp8266_arduino(&b, new_core);
		len = b.len;
		assert_int_equal(recognise(), OTA_OK);
		assert_int_equal(info.format, IMAGE_ESP8266_ARDUINO);
		assert_string_equal(info.chip, "esp8266");
		assert_int_equal(info.checks, IMAGE_CHECK_CHECKSUM | (new_core ? IMAGE_CHECK_CRC : 0));
		assert_int_equal(info.trailer, IMAGE_TRAILER_NONE);

		build_noise(&b, 256);
		build_u32(&b, 256);
		assert_int_equal(recognise(), OTA_OK);
		assert_int_equal(info.trailer, IMAGE_TRAILER_ESP8266_SIGNED);
		assert_int_equal(info.image_size, len);
		b.p[b.len - 3] ^= 2;
		assert_int_equal(recognise(), OTA_SIZE);
		for (b.len = 16; b.len < len; b.len++)
			assert_int_not_equal(recognise(), OTA_OK);
	}
}

/* Mode, size, entry and load addresses of both headers, and what fills the sector behind eboot. */
static bool old_core(size_t at)
{
	size_t in = at % 0x1000;

	if (at >= 2 && in >= 2 && in <= 7)
		return true;
	return (at >= 400 && at < 0x1000) || (in >= 316 && in <= 340);
}

static void test_arduino_flips(void **state)
{
	(void)state;
	build_clear(&b);
	build_esp8266_arduino(&b, true);
	assert_int_equal(build_flip(b.p, b.len, 0, 420, 1, NULL), 0);
	assert_int_equal(build_flip(b.p, b.len, 420, 0x1000, 37, NULL), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0x1000, b.len, 1, NULL), 0);
	build_clear(&b);
	build_esp8266_arduino(&b, false);
	assert_int_equal(build_flip(b.p, b.len, 0, 420, 1, old_core), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0x1000, b.len, 1, old_core), 0);
}

static bool mpy_uncovered(size_t at)
{
	return at == 2 || at == 3;
}

static void test_mpy(void **state)
{
	size_t first_end;

	(void)state;
	build_clear(&b);
	build_esp8266_plain(&b);
	first_end = b.len;
	build_clear(&b);
	build_esp8266_mpy(&b, "3.4.0; MicroPython v1.22.1 on 2024-01-05");
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.format, IMAGE_ESP8266_MPY);
	assert_string_equal(info.version, "1.22.1");
	assert_string_equal(info.project, "MicroPython");
	assert_string_equal(info.built, "2024-01-05");
	assert_int_equal(info.checks, IMAGE_CHECK_CHECKSUM | IMAGE_CHECK_MD5);
	assert_int_equal(build_flip(b.p, b.len, 0, 400, 1, mpy_uncovered), 0);
	assert_int_equal(build_flip(b.p, b.len, 400, 0x8FF0, 1511, NULL), 0);
	assert_int_equal(build_flip(b.p, b.len, 0x8FF8, 0x9004, 1, NULL), 0);
	assert_int_equal(build_flip(b.p, b.len, 0x9004, b.len - 20, 111, NULL), 0);
	assert_int_equal(build_flip(b.p, b.len, b.len - 20, b.len, 1, NULL), 0);
	b.len -= 5;
	assert_int_equal(recognise(), OTA_TRUNCATED);
	b.len += 5;
	build_u8(&b, 0);
	assert_int_equal(recognise(), OTA_SIZE);
	/* Cut where the boot part ends, what remains is a whole image of its own: nobody can tell. */
	for (size_t len = 32; len < b.len - 1; len += 97) {
		if (len == first_end)
			continue;
		assert_int_not_equal(build_recognise(b.p, len, &info), OTA_OK);
	}
}

static void test_sdk(void **state)
{
	static const struct {
		uint32_t base;
		uint8_t size_map;
		int variant;
		const char *hint;
	} rows[] = {
		{0x40201010, 2, 1, "needs user1 and user2"},
		{0x40281010, 2, 2, "needs user1 and user2"},
		{0x40241010, 0, 2, "needs user1 and user2"},
		{0x40201010, 6, 0, ""}, /* 1024+1024: one image for both slots */
		{0x50000000, 2, 0, "does not say which"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		build_clear(&b);
		build_esp8266_sdk(&b, rows[i].base, rows[i].size_map);
		assert_int_equal(recognise(), OTA_OK);
		assert_int_equal(info.format, IMAGE_ESP8266_SDK);
		assert_int_equal(info.variant, rows[i].variant);
		assert_int_equal(info.checks, IMAGE_CHECK_CHECKSUM | IMAGE_CHECK_CRC);
		assert_non_null(strstr(info.hint, rows[i].hint));
		assert_int_equal(info.needs_pair, rows[i].hint[0] != '\0');
		assert_int_equal(info.hint[0] == '\0', rows[i].hint[0] == '\0');
		for (size_t len = 16; len < b.len; len += 3)
			assert_int_not_equal(build_recognise(b.p, len, &info), OTA_OK);
		assert_int_equal(build_recognise(b.p, b.len - 4, &info), OTA_TRUNCATED);
	}
	build_clear(&b);
	build_esp8266_sdk(&b, 0x40201010, 2);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, NULL), 0);
}

/* gen_appbin.py's two cases: both must be met by changing one byte until the CRC's top bit is as wanted. */
static void test_sdk_crc_cases(void **state)
{
	bool seen[2] = {false, false};

	(void)state;
	for (unsigned i = 0; i < 32; i++) {
		build_clear(&b);
		build_esp8266_sdk(&b, 0x40201010 + 4 * i, 2);
		seen[b.p[b.len - 1] >> 7] = true;
		assert_int_equal(recognise(), OTA_OK);
		/* both cases leave the top bit clear, so any image with it set has a damaged CRC */
		assert_int_equal(b.p[b.len - 1] >> 7, 0);
	}
	assert_true(seen[0]);
}

static bool plain_uncovered(size_t at)
{
	return (at >= 2 && at <= 11) || (at >= 316 && at <= 320);
}

static void test_plain(void **state)
{
	(void)state;
	build_clear(&b);
	build_esp8266_plain(&b);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.format, IMAGE_ESP8266);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, plain_uncovered), 0);
	build_noise(&b, 7);
	assert_int_equal(recognise(), OTA_SIZE);
}

/* Bytes that merely start with 0xE9 or 0xEA are raw. */
static void test_not_esp(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		build_clear(&b);
		build_u8(&b, (uint8_t)(0xE9 + i));
		build_noise(&b, 5000);
		assert_int_equal(recognise(), OTA_OK);
		assert_int_equal(info.format, IMAGE_RAW);
		b.len = 5;
		assert_int_equal(recognise(), OTA_OK);
		assert_int_equal(info.format, IMAGE_RAW);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_esp32_facts),
		cmocka_unit_test(test_esp32_flips),
		cmocka_unit_test(test_esp32_filler),
		cmocka_unit_test(test_esp32_cut),
		cmocka_unit_test(test_esp32_trailers),
		cmocka_unit_test(test_secure_boot),
		cmocka_unit_test(test_esp32_refused),
		cmocka_unit_test(test_factory),
		cmocka_unit_test(test_arduino),
		cmocka_unit_test(test_arduino_flips),
		cmocka_unit_test(test_mpy),
		cmocka_unit_test(test_sdk),
		cmocka_unit_test(test_sdk_crc_cases),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_not_esp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
