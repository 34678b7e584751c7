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

#include "image_build.h"

static struct build b;
static struct image_info info;

static enum ota_err recognise(void)
{
	return build_recognise(b.p, b.len, &info);
}

/* ---- MCUboot ---- */

static void test_mcuboot_facts(void **state)
{
	struct mcuboot_recipe r = {.is_protected = true, .build_number = 9, .security_counter = 0x0102};
	char line[200];

	(void)state;
	build_clear(&b);
	build_mcuboot(&b, &r);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.format, IMAGE_MCUBOOT);
	assert_string_equal(info.version, "1.2.345+9");
	assert_int_equal(info.checks, IMAGE_CHECK_SHA256);
	assert_true(info.has_security_counter);
	assert_int_equal(info.security_counter, 0x0102);
	assert_true(info.has_ids);
	assert_int_equal(info.vendor_id[15], 0x11);
	assert_int_equal(info.class_id[0], 0x22);
	image_describe(&info, line, sizeof line);
	assert_string_equal(line, "MCUboot image, version 1.2.345+9, SHA-256 holds");

	r = (struct mcuboot_recipe){.pad_to = 8192};
	build_clear(&b);
	build_mcuboot(&b, &r);
	assert_int_equal(recognise(), OTA_OK);
	assert_string_equal(info.version, "1.2.345");
	assert_false(info.has_ids);
	assert_false(info.has_security_counter);
	assert_int_equal(info.size, 8192);
	assert_true(info.image_size < 2000);
	b.p[8192 - 24] = 1; /* confirmed */
	assert_int_equal(recognise(), OTA_OK);
	b.p[5000] = 0x7F; /* neither erased nor the trailer */
	assert_int_equal(recognise(), OTA_SIZE);
	b.p[5000] = 0xFF;
	b.p[8191] ^= 1; /* no trailer, and not erased */
	assert_int_equal(recognise(), OTA_SIZE);
	b.p[8191] ^= 1;
	memset(b.p + info.image_size, 0, 8192 - 16 - info.image_size); /* flash that is erased to zero */
	assert_int_equal(recognise(), OTA_OK);
}

static size_t unprotected_from, unprotected_to;

/* The bytes behind the hash TLV: a signature, which no check of ours covers. */
static bool mcuboot_uncovered(size_t at)
{
	return at >= unprotected_from && at < unprotected_to;
}

static void test_mcuboot_flips(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		struct mcuboot_recipe r = {.is_protected = kind > 0,
			.no_hash = kind > 1,
			.sha384 = kind == 2,
			.sha512 = kind == 3};

		build_clear(&b);
		build_mcuboot(&b, &r);
		unprotected_from = b.len - 12;
		unprotected_to = b.len;
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(build_flip(b.p, b.len, 0, b.len, 1, mcuboot_uncovered), 0);
		for (size_t len = 40; len < b.len; len++)
			assert_int_not_equal(build_recognise(b.p, len, &info), OTA_OK);
	}
}

static void test_mcuboot_hashes(void **state)
{
	static const struct {
		struct mcuboot_recipe recipe;
		enum ota_err err;
		uint32_t checks;
	} rows[] = {
		{{.no_hash = true}, OTA_DIGEST, 0},
		{{.no_hash = true, .sha384 = true}, OTA_OK, IMAGE_CHECK_SHA384},
		{{.no_hash = true, .sha512 = true}, OTA_OK, IMAGE_CHECK_SHA512},
		{{.sha512 = true}, OTA_OK, IMAGE_CHECK_SHA256 | IMAGE_CHECK_SHA512},
		{{.no_hash = true, .sha384 = true, .sha512 = true}, OTA_INVALID, 0},
		{{.no_hash = true, .pure = true}, OTA_OK, 0},
		{{.no_hash = true, .sha512 = true, .encrypted = true, .enc_tlv = true}, OTA_OK, 0},
		{{.encrypted = true, .enc_tlv = true}, OTA_OK, 0},
		{{.encrypted = true}, OTA_INVALID, 0},
		{{.enc_tlv = true}, OTA_INVALID, 0},
		{{.is_protected = true, .protected_lie = 4}, OTA_INVALID, 0},
		{{.protected_lie = 4}, OTA_CHECKSUM, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		build_clear(&b);
		build_mcuboot(&b, &rows[i].recipe);
		assert_int_equal(recognise(), rows[i].err);
		assert_int_equal(info.format, IMAGE_MCUBOOT);
		assert_int_equal(info.checks, rows[i].checks);
	}
}

/* Where nothing computes SHA-512, as on bare metal, it is said that nothing was checked. */
static void test_mcuboot_without_sha512(void **state)
{
	struct mcuboot_recipe r = {.no_hash = true, .sha512 = true};
	struct image_file f;
	char line[200];

	(void)state;
	build_clear(&b);
	build_mcuboot(&b, &r);
	assert_int_equal(recognise(), OTA_OK);
	image_describe(&info, line, sizeof line);
	assert_string_equal(line, "MCUboot image, version 1.2.345, SHA-512 holds");
	b.p[600] ^= 1;
	assert_int_equal(recognise(), OTA_DIGEST);
	image_file_from_memory(b.p, b.len, &f);
	f.source.sha512 = NULL;
	assert_int_equal(image_recognise(&f.source, &info), OTA_OK);
	assert_int_equal(info.checks, 0);
	image_describe(&info, line, sizeof line);
	assert_string_equal(line, "MCUboot image, version 1.2.345, hash not checked");
	image_file_close(&f);
}

/* ---- romfs ---- */

static void test_romfs(void **state)
{
	size_t len;

	(void)state;
	build_clear(&b);
	build_romfs(&b);
	len = b.len;
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.format, IMAGE_ROMFS);
	assert_int_equal(info.checks, 0);
	for (size_t cut = 4; cut < len; cut++)
		assert_int_equal(build_recognise(b.p, cut, &info), OTA_TRUNCATED);
	build_fill(&b, 0xFF, 4096);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.image_size, len);
	b.p[4000] = 1;
	assert_int_equal(recognise(), OTA_SIZE);
	b.len = len;
	b.p[len - 1] = 0x7F; /* the pointer's offset */
	assert_int_equal(recognise(), OTA_INVALID);
	b.p[len - 1] = 0x13;
	b.p[len - 2] = 0x7F; /* its length */
	assert_int_equal(recognise(), OTA_INVALID);
	b.p[len - 2] = 5;
	assert_int_equal(recognise(), OTA_OK);
	b.p[6] = 0x7F; /* the directory's length */
	assert_int_equal(recognise(), OTA_TRUNCATED);
	/* a number without end */
	build_clear(&b);
	build_bytes(&b, "\xD2\xCD\x31", 3);
	build_fill(&b, 0x80, 1000);
	assert_int_equal(recognise(), OTA_INVALID);
}

/* Directories within directories, deeper than any path: refused, without recursion. */
static void test_romfs_depth(void **state)
{
	enum { DEPTH = 3000 };

	(void)state;
	build_clear(&b);
	build_bytes(&b, "\xD2\xCD\x31", 3);
	build_bytes(&b, "\x80\x80\x80", 3);
	for (unsigned i = DEPTH; i > 0; i--) {
		uint32_t inner = 6 * (i - 1);
		uint32_t len = inner + 1;

		if (i == DEPTH) {
			uint32_t all = 6 * DEPTH;

			b.len = 3;
			build_u8(&b, (uint8_t)(0x80 | all >> 14));
			build_u8(&b, (uint8_t)(0x80 | (all >> 7 & 0x7F)));
			build_u8(&b, (uint8_t)(all & 0x7F));
		}
		build_u8(&b, 4);
		build_u8(&b, 0x80);
		build_u8(&b, (uint8_t)(0x80 | (len >> 14 & 0x7F)));
		build_u8(&b, (uint8_t)(0x80 | (len >> 7 & 0x7F)));
		build_u8(&b, (uint8_t)(len & 0x7F));
		build_u8(&b, 0);
	}
	assert_int_equal(recognise(), OTA_TOO_LARGE);
}

/* ---- ELF, Intel HEX, gzip, raw ---- */

static void test_refused_by_name(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum image_format format;
		enum ota_err err;
		const char *hint;
	} rows[] = {
		{"\x7f"
		 "ELF\x01\x01\x01",
			7, IMAGE_ELF, OTA_UNSUPPORTED, ".bin"},
		{":10010000214601360121470136007EFE09D2190140\r\n", 45, IMAGE_IHEX, OTA_UNSUPPORTED, ".bin"},
		{":020000040800F2\n", 16, IMAGE_IHEX, OTA_UNSUPPORTED, ".bin"},
		{":020000040800F3\n", 16, IMAGE_IHEX, OTA_CHECKSUM, "checksum"},
		{":020000040800", 13, IMAGE_IHEX, OTA_TRUNCATED, "cut off"},
		{":100100002146013601", 19, IMAGE_IHEX, OTA_TRUNCATED, "cut off"},
		{"\x1f\x8b\x08\x00\x00", 5, IMAGE_GZIP, OTA_TRUNCATED, "cut off"},
		{"\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20,
			IMAGE_GZIP, OTA_UNSUPPORTED, "gzip"},
		{"\x1f\x8b\x08\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20,
			IMAGE_GZIP, OTA_UNSUPPORTED, "gzip"},
		{"", 0, IMAGE_RAW, OTA_TRUNCATED, "empty"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(build_recognise(rows[i].bytes, rows[i].len, &info), rows[i].err);
		assert_int_equal(info.format, rows[i].format);
		assert_non_null(strstr(info.hint, rows[i].hint));
	}
}

static void test_raw(void **state)
{
	char line[100];

	(void)state;
	for (size_t len = 1; len < 3000; len += 7) {
		build_clear(&b);
		build_noise(&b, len);
		assert_int_equal(recognise(), OTA_OK);
		assert_int_equal(info.format, IMAGE_RAW);
		assert_int_equal(info.size, len);
		assert_string_equal(info.hint, "");
	}
	assert_int_equal(build_recognise(":) not hex", 10, &info), OTA_OK);
	assert_int_equal(info.format, IMAGE_RAW);
	image_describe(&info, line, sizeof line);
	assert_string_equal(line, "raw bytes of no known format, carries no check");
}

static void test_gzip_trailer(void **state)
{
	(void)state;
	build_clear(&b);
	build_bytes(&b, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10);
	build_noise(&b, 900);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.format, IMAGE_GZIP);
	assert_int_equal(info.trailer, IMAGE_TRAILER_NONE);
	build_noise(&b, 256);
	build_u32(&b, 256);
	assert_int_equal(recognise(), OTA_OK);
	assert_int_equal(info.trailer, IMAGE_TRAILER_ESP8266_SIGNED);
	assert_int_equal(info.image_size, 910);
}

static void test_format_names(void **state)
{
	(void)state;
	for (int f = IMAGE_RAW; f <= IMAGE_FORMAT_LAST; f++) {
		const char *name = image_format_name((enum image_format)f);

		assert_string_not_equal(name, "unknown");
		for (int other = IMAGE_RAW; other < f; other++)
			assert_string_not_equal(name, image_format_name((enum image_format)other));
	}
	assert_string_equal(image_format_name((enum image_format)99), "unknown");
}

/* The manual lists every format. */
static void test_format_docs(void **state)
{
	static char text[1 << 16];
	FILE *f = fopen("docs/operations.md", "r");
	size_t len;

	(void)state;
	assert_non_null(f);
	len = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	assert_in_range(len, 1, sizeof text - 2);
	text[len] = '\0';
	for (int i = IMAGE_RAW; i <= IMAGE_FORMAT_LAST; i++) {
		char quoted[40];

		snprintf(quoted, sizeof quoted, "`%s`", image_format_name((enum image_format)i));
		if (!strstr(text, quoted))
			fail_msg("docs/operations.md does not name %s", quoted);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mcuboot_facts),
		cmocka_unit_test(test_mcuboot_flips),
		cmocka_unit_test(test_mcuboot_hashes),
		cmocka_unit_test(test_mcuboot_without_sha512),
		cmocka_unit_test(test_romfs),
		cmocka_unit_test(test_romfs_depth),
		cmocka_unit_test(test_refused_by_name),
		cmocka_unit_test(test_raw),
		cmocka_unit_test(test_gzip_trailer),
		cmocka_unit_test(test_format_names),
		cmocka_unit_test(test_format_docs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
