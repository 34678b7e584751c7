/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "image_build.h"

static struct build b;

static int temp_file(const void *p, size_t len)
{
	FILE *f = tmpfile();
	int fd;

	assert_non_null(f);
	fd = dup(fileno(f));
	fclose(f);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
	return fd;
}

static void test_open(void **state)
{
	struct image_file f = {0};
	struct image_info info;
	struct esp32_recipe r = {.chip = 5};
	char path[64];
	int fd;

	(void)state;
	image_file_close(&f); /* zeroed: a no-op, standard input stays open */
	assert_int_not_equal(fcntl(0, F_GETFD), -1);
	build_clear(&b);
	build_esp32(&b, &r);
	fd = temp_file(b.p, b.len);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	assert_int_equal(image_file_open(path, &f), OTA_OK);
	assert_int_equal(image_recognise(&f.source, &info), OTA_OK);
	assert_int_equal(info.format, IMAGE_ESP32);
	image_file_close(&f);
	image_file_close(&f);
	assert_int_equal(image_file_from_fd(fd, &f), OTA_OK);
	assert_int_equal(image_recognise(&f.source, &info), OTA_OK);
	/* a file that shrinks under the reader is an error of reading */
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(image_recognise(&f.source, &info), OTA_IO);
	image_file_close(&f);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	close(fd);

	assert_int_equal(image_file_open("/nonexistent/file", &f), OTA_IO);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(image_file_open("/", &f), OTA_IO);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(image_file_open("/dev/null", &f), OTA_IO);
	assert_int_equal(errno, EINVAL);
}

static void expect(const char *name, const void *p, size_t len, const uint8_t *is)
{
	uint8_t out[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	assert_int_equal(EVP_Digest(p, len, out, &n, EVP_get_digestbyname(name), NULL), 1);
	assert_memory_equal(is, out, n);
}

static void test_digests(void **state)
{
	struct esp32_recipe r = {.chip = 5};

	(void)state;
	for (int signature = 0; signature <= 1; signature++) {
		struct image_file f;
		struct image_info info;
		struct image_digests d;
		uint8_t mode;

		build_clear(&b);
		build_esp32(&b, &r);
		if (signature)
			build_noise(&b, 512);
		image_file_from_memory(b.p, b.len, &f);
		assert_int_equal(image_recognise(&f.source, &info), OTA_OK);
		assert_int_equal(image_digest(&f.source, &info, &d), OTA_OK);
		expect("SHA256", b.p, b.len, d.sha256);
		expect("SHA1", b.p, b.len, d.sha1);
		expect("MD5", b.p, b.len, d.md5);
		assert_true(d.has_md5_variants);
		mode = b.p[2];
		for (uint8_t k = 0; k < 4; k++) {
			b.p[2] = k;
			expect("MD5", b.p, info.image_size, d.md5_variant[k]);
		}
		b.p[2] = mode;
		image_file_close(&f);
	}
}

/* Larger than one chunk, so that the passes' seams are met; raw bytes have no variants. */
static void test_digests_large(void **state)
{
	struct image_file f;
	struct image_info info;
	struct image_digests d;

	(void)state;
	build_clear(&b);
	build_noise(&b, 200001);
	image_file_from_memory(b.p, b.len, &f);
	assert_int_equal(image_recognise(&f.source, &info), OTA_OK);
	assert_int_equal(image_digest(&f.source, &info, &d), OTA_OK);
	assert_false(d.has_md5_variants);
	expect("SHA256", b.p, b.len, d.sha256);
	expect("SHA1", b.p, b.len, d.sha1);
	expect("MD5", b.p, b.len, d.md5);

	build_clear(&b);
	build_esp8266_mpy(&b, "x");
	build_fill(&b, 0, 150000);
	image_file_from_memory(b.p, b.len, &f);
	info.format = IMAGE_ESP8266;
	info.image_size = 140000;
	assert_int_equal(image_digest(&f.source, &info, &d), OTA_OK);
	b.p[2] = 3;
	expect("MD5", b.p, 140000, d.md5_variant[3]);
}

/* ---- gzip ---- */

static struct build z;

static void compress_build(const struct build *from)
{
	z_stream s = {0};

	build_clear(&z);
	assert_int_equal(deflateInit2(&s, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
	s.next_in = (Bytef *)(uintptr_t)from->p;
	s.avail_in = (uInt)from->len;
	s.next_out = z.p;
	s.avail_out = BUILD_MAX;
	assert_int_equal(deflate(&s, Z_FINISH), Z_STREAM_END);
	z.len = s.total_out;
	deflateEnd(&s);
}

static enum ota_err inflate_build(size_t len, uint64_t max, uint8_t *out, size_t cap, uint64_t *size)
{
	struct image_file f;
	struct image_info info;
	int fd = temp_file("", 0);
	enum ota_err err;

	image_file_from_memory(z.p, len, &f);
	err = image_recognise(&f.source, &info);
	if (err == OTA_OK) {
		assert_int_equal(info.format, IMAGE_GZIP);
		err = image_inflate(&f.source, &info, max, fd, size);
	}
	if (err == OTA_OK && out)
		assert_int_equal(pread(fd, out, cap, 0), *size);
	close(fd);
	return err;
}

static void test_inflate(void **state)
{
	static uint8_t out[BUILD_MAX];
	static const size_t lens[] = {0, 1, 1000, 65535, 65536, 65537, 131072, 200000};
	uint64_t size = 7;

	(void)state;
	for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
		build_clear(&b);
		build_noise(&b, lens[i] / 2);
		for (size_t k = 0; k < lens[i] - lens[i] / 2; k++)
			build_u8(&b, (uint8_t)(k / 7));
		compress_build(&b);
		assert_int_equal(inflate_build(z.len, 1 << 20, out, sizeof out, &size), OTA_OK);
		assert_int_equal(size, b.len);
		assert_memory_equal(out, b.p, b.len);
		/* a signature behind it is left out */
		build_noise(&z, 256);
		build_u32(&z, 256);
		if (lens[i] > 1000)
			assert_int_equal(inflate_build(z.len, 1 << 20, out, sizeof out, &size), OTA_OK);
	}
}

static void test_inflate_limits(void **state)
{
	uint64_t size = 7;
	size_t len;

	(void)state;
	build_clear(&b);
	build_noise(&b, 50000);
	compress_build(&b);
	len = z.len;
	assert_int_equal(inflate_build(len, 50000, NULL, 0, &size), OTA_OK);
	size = 7;
	assert_int_equal(inflate_build(len, 49999, NULL, 0, &size), OTA_TOO_LARGE);
	assert_int_equal(size, 7);
	for (size_t cut = 18; cut < len; cut += 501)
		assert_int_equal(inflate_build(cut, 1 << 20, NULL, 0, &size), OTA_TRUNCATED);
	assert_int_equal(inflate_build(len - 1, 1 << 20, NULL, 0, &size), OTA_TRUNCATED);
	build_u8(&z, 0);
	assert_int_equal(inflate_build(z.len, 1 << 20, NULL, 0, &size), OTA_SIZE);
	z.len = len;
	for (size_t at = 16; at < len; at += 101) {
		z.p[at] ^= 0x10;
		assert_int_not_equal(inflate_build(len, 1 << 20, NULL, 0, &size), OTA_OK);
		z.p[at] ^= 0x10;
	}
	z.p[len - 8] ^= 1; /* gzip's own CRC */
	assert_int_equal(inflate_build(len, 1 << 20, NULL, 0, &size), OTA_CHECKSUM);
	/* 250 KB of zeros deflate to some 300 bytes: more than 100 : 1 */
	build_clear(&b);
	build_fill(&b, 0, 250000);
	compress_build(&b);
	assert_true(z.len < 2500);
	assert_int_equal(inflate_build(z.len, 1 << 20, NULL, 0, &size), OTA_TOO_LARGE);
}

static void test_inflate_disk(void **state)
{
	struct image_file f;
	struct image_info info;
	uint64_t size = 0;
	int fd = open("/dev/full", O_WRONLY);

	(void)state;
	if (fd < 0)
		skip();
	build_clear(&b);
	build_noise(&b, 1000);
	compress_build(&b);
	image_file_from_memory(z.p, z.len, &f);
	assert_int_equal(image_recognise(&f.source, &info), OTA_OK);
	assert_int_equal(image_inflate(&f.source, &info, 1 << 20, fd, &size), OTA_NO_SPACE);
	close(fd);
	fd = open("/dev/null", O_RDONLY);
	assert_int_equal(image_inflate(&f.source, &info, 1 << 20, fd, &size), OTA_IO);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_digests),
		cmocka_unit_test(test_digests_large),
		cmocka_unit_test(test_inflate),
		cmocka_unit_test(test_inflate_limits),
		cmocka_unit_test(test_inflate_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
