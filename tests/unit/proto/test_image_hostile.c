/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "image_build.h"

/* Every format as hostile as bytes can make it: cut anywhere, with lengths that lie, larger than any file,
 * and with reads that fail. */

static struct build b;
static struct image_info info;

static void make_esp32(void)
{
	build_esp32(&b, &(struct esp32_recipe){.chip = 5});
}

static void make_esp32_plain(void)
{
	build_esp32(&b, &(struct esp32_recipe){.chip = 5, .no_hash = true});
}

static void make_secure_boot(void)
{
	build_esp32(&b, &(struct esp32_recipe){.chip = 5});
	build_secure_boot(&b, 2, 0, 3);
}

static void make_arduino(void)
{
	build_esp8266_arduino(&b, true);
}

static void make_arduino_old(void)
{
	build_esp8266_arduino(&b, false);
}

static void make_esp8266(void)
{
	build_esp8266_plain(&b);
}

static void make_mpy(void)
{
	build_esp8266_mpy(&b, "x");
}

static void make_sdk(void)
{
	build_esp8266_sdk(&b, 0x40201010, 2);
}

static void make_mcuboot(void)
{
	build_mcuboot(&b, &(struct mcuboot_recipe){.is_protected = true});
}

static void make_mcuboot_padded(void)
{
	build_mcuboot(&b, &(struct mcuboot_recipe){.no_hash = true, .sha512 = true, .pad_to = 8192});
}

static void make_rp2(void)
{
	build_rp2(&b, &(struct rp2_recipe){.boot2 = true, .block = true, .name = "lamp", .version = "1"});
}

static void make_uf2(void)
{
	build_uf2(&b, 0xE48BFF56, 20, true, "x");
}

static void make_romfs(void)
{
	build_romfs(&b);
}

static const struct format {
	void (*make)(void);
	enum image_format format;
	size_t known_from; /* so long, a cut file is still taken for its format */
	size_t slack;      /* so many bytes may be missing */
	size_t words[2];   /* besides the file's start: where else lengths and addresses stand */
} all[] = {
	{make_esp32, IMAGE_ESP32, 24, 0, {32, 32}},
	{make_esp32_plain, IMAGE_ESP32, 24, 0, {32, 32}},
	{make_secure_boot, IMAGE_ESP32, 24, 0, {4096, 4096 + 1216}},
	{make_arduino, IMAGE_ESP8266_ARDUINO, 12, 0, {0x1000, 0x1018}},
	{make_arduino_old, IMAGE_ESP8266_ARDUINO, 12, 0, {0x1000, 0x1018}},
	{make_esp8266, IMAGE_ESP8266, 12, 0, {16, 16}},
	{make_mpy, IMAGE_ESP8266_MPY, 12, 0, {0x8FF0, 0x9000}},
	{make_sdk, IMAGE_ESP8266_SDK, 16, 0, {16, 16}},
	{make_mcuboot, IMAGE_MCUBOOT, 32, 0, {0x200 + 1000, 0x200 + 1100}},
	{make_mcuboot_padded, IMAGE_MCUBOOT, 32, 0, {0x200 + 1000, 0x200 + 1100}},
	{make_rp2, IMAGE_RP2, 0x1D4, 255, {0x1C0, 0x200}},
	{make_uf2, IMAGE_UF2, 8, 0, {512, 544}},
	{make_romfs, IMAGE_ROMFS, 4, 0, {0, 0}},
};
enum { FORMATS = sizeof all / sizeof all[0] };

/* ---- cut, or with something behind it ---- */

/* `whole`: the image without what follows it, a signature or a slot's padding. */
static bool may_pass(const struct format *f, size_t cut, size_t len, size_t whole)
{
	if (cut < f->known_from || cut == whole || cut >= len - f->slack)
		return true;
	/* MicroPython's boot segments are an image by themselves. */
	return (f->format == IMAGE_MCUBOOT && cut > whole) ||
	       (f->format == IMAGE_ESP8266_MPY && info.format == IMAGE_ESP8266);
}

static void test_cuts(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		size_t len, whole;

		build_clear(&b);
		all[i].make();
		len = b.len;
		assert_int_equal(build_recognise(b.p, len, &info), OTA_OK);
		whole = (size_t)info.image_size;
		assert_int_equal(info.format, all[i].format);
		for (size_t cut = 0; cut < len;) {
			if (build_recognise(b.p, cut, &info) == OTA_OK && !may_pass(&all[i], cut, len, whole))
				fail_msg("%zu of %zu bytes of row %zu passed as %s", cut, len, i,
					image_format_name(info.format));
			cut += cut < 1200 || cut + 1200 > len ? 1 : 41;
		}
		/* Tools pad romfs and RP images; nothing else may grow. */
		for (size_t more = 1; more < 40; more++) {
			build_noise(&b, 1);
			b.p[b.len - 1] |= 1;
			if (build_recognise(b.p, b.len, &info) == OTA_OK && all[i].format != IMAGE_RP2)
				fail_msg("%zu bytes behind row %zu passed", more, i);
		}
	}
}

/* ---- lengths that lie ---- */

static void lie(size_t from, size_t to, size_t len)
{
	const uint32_t values[] = {0, 1, 15, 16, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFC, 0xFFFFFFFF,
		(uint32_t)len, (uint32_t)len - 1, (uint32_t)len + 1, (uint32_t)len * 2};

	for (size_t at = from; at < to && at + 4 <= len; at += 2) {
		uint8_t was[4];

		memcpy(was, b.p + at, 4);
		for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
			build_set_u32(&b, at, values[v]);
			(void)build_recognise(b.p, len, &info);
			assert_true(info.image_size <= info.size && info.size == len);
		}
		memcpy(b.p + at, was, 4);
	}
}

static void test_lies(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		build_clear(&b);
		all[i].make();
		lie(0, 64, b.len);
		lie(all[i].words[0], all[i].words[1], b.len);
		assert_int_equal(build_recognise(b.p, b.len, &info), OTA_OK);
	}
}

/* ---- sources ---- */

/* A file that is never in memory: `head` repeated every `period` bytes over `size`. */
struct virtual
{
	const uint8_t *head;
	size_t period;
	unsigned reads, fail_at;
};

static enum ota_err virtual_read(void *ctx, uint64_t offset, void *buf, size_t len)
{
	struct virtual *v = ctx;
	uint8_t *p = buf;

	if (++v->reads == v->fail_at)
		return OTA_IO;
	for (size_t i = 0; i < len; i++)
		p[i] = v->head[(offset + i) % v->period];
	return OTA_OK;
}

static enum ota_err recognise_virtual(struct virtual *v, uint64_t size)
{
	struct image_file f;
	struct image_source src;

	image_file_from_memory("", 0, &f);
	src = f.source;
	src.size = size;
	src.read = virtual_read;
	src.ctx = v;
	return image_recognise(&src, &info);
}

static void test_hostile_sizes(void **state)
{
	static uint8_t zero_segments[4096] = {0xE9, 16, 2, 0x20, 8, 0, 0x38, 0x40, 0xEE, 0, 0, 0, 5};
	static uint8_t big_segment[4096] = {0xE9, 1, 2, 0x20, 8, 0, 0x38, 0x40, 0xEE, 0, 0, 0, 5, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x3C, 0xFF, 0xFF, 0xFF, 0xFF};
	static uint8_t uf2[512], rp2[4096], romfs[4096], tlvs[1 << 17];
	static const uint64_t sizes[] = {64 << 20, UINT64_C(1) << 40, UINT64_MAX};
	clock_t start = clock();

	(void)state;
	build_clear(&b);
	build_uf2_block(&b, 0x2000, 0, "x", 1, 0, UINT32_MAX, 0);
	memcpy(uf2, b.p, sizeof uf2);
	build_clear(&b);
	build_rp2(&b, &(struct rp2_recipe){.boot2 = true, .name = "x"});
	memcpy(rp2, b.p, b.len);
	/* a romfs that says it is 200 MB of 2-byte records */
	memcpy(romfs, "\xD2\xCD\x31\xE0\x80\x80\x00", 7);
	/* 64 KiB of empty TLVs */
	memcpy(tlvs, "\x3d\xb8\xf3\x96\0\0\0\0\x20\0\0\0\x10\0\0\0", 16);
	memcpy(tlvs + 48, "\x07\x69\xfc\xff", 4);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct virtual v = {.head = zero_segments, .period = sizeof zero_segments};

		assert_int_not_equal(recognise_virtual(&v, sizes[i]), OTA_OK);
		assert_true(v.reads < 200);
		v = (struct virtual){.head = big_segment, .period = sizeof big_segment};
		assert_int_not_equal(recognise_virtual(&v, i == 2 ? 1 << 20 : 64 << 20), OTA_OK);
		assert_true(v.reads < 20000);
		v = (struct virtual){.head = uf2, .period = sizeof uf2};
		assert_int_not_equal(recognise_virtual(&v, sizes[i]), OTA_OK);
		assert_true(v.reads < 20);
		v = (struct virtual){.head = rp2, .period = sizeof rp2};
		assert_int_equal(recognise_virtual(&v, sizes[i]), OTA_SIZE);
		assert_true(v.reads < 20);
		v = (struct virtual){.head = romfs, .period = sizeof romfs};
		assert_int_not_equal(recognise_virtual(&v, sizes[i]), OTA_OK);
		assert_true(v.reads < 2000);
		v = (struct virtual){.head = tlvs, .period = sizeof tlvs};
		assert_int_not_equal(recognise_virtual(&v, sizes[i]), OTA_OK);
		assert_true(v.reads < 40000);
	}
	assert_true(clock() - start < 8 * CLOCKS_PER_SEC);
}

/* Every read fails once: the answer is OTA_IO each time, never another verdict. */
static void test_read_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct virtual v = {.head = b.p};
		unsigned reads;

		build_clear(&b);
		all[i].make();
		v.period = b.len;
		assert_int_equal(recognise_virtual(&v, b.len), OTA_OK);
		reads = v.reads;
		for (unsigned n = 1; n <= reads; n++) {
			v.reads = 0;
			v.fail_at = n;
			assert_int_equal(recognise_virtual(&v, b.len), OTA_IO);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_hostile_sizes),
		cmocka_unit_test(test_read_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
