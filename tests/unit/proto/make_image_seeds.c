/* make_image_seeds FOLDER: writes the seeds of tests/fuzz/corpus/image, all of them made here. */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "image_build.h"

static struct build b;

static int save(const char *folder, const char *name)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "wb");
	if (!f || fwrite(b.p, 1, b.len, f) != b.len || fclose(f) != 0) {
		perror(path);
		return 1;
	}
	build_clear(&b);
	return 0;
}

static int save_gzip(const char *folder)
{
	static struct build plain;
	z_stream s = {0};

	build_clear(&plain);
	build_esp8266_plain(&plain);
	if (deflateInit2(&s, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY) != Z_OK)
		return 1;
	s.next_in = plain.p;
	s.avail_in = (uInt)plain.len;
	s.next_out = b.p;
	s.avail_out = BUILD_MAX;
	deflate(&s, Z_FINISH);
	b.len = s.total_out;
	deflateEnd(&s);
	return save(folder, "gzip");
}

static int save_text(const char *folder, const char *name, const char *text)
{
	build_bytes(&b, text, strlen(text));
	return save(folder, name);
}

int main(int argc, char **argv)
{
	const struct esp32_recipe hashed = {.chip = 5, .version = "1.2.3", .project = "lamp"};
	const struct esp32_recipe plain = {.chip = 0,
		.flash_addr = 0x3F400020,
		.ram_addr = 0x40080000,
		.no_hash = true,
		.text = "MicroPython v1.22.1 on 2024-01-05; x"};
	const struct esp32_recipe boot = {.chip = 9, .no_desc = true, .bootloader = true};
	const struct mcuboot_recipe mcuboot = {
		.is_protected = true, .build_number = 9, .security_counter = 5};
	const struct mcuboot_recipe long_hash = {.no_hash = true, .sha384 = true};
	const struct rp2_recipe rp2040 = {.boot2 = true, .name = "lamp", .version = "1.2.3", .sdk = "1.5.1"};
	const struct rp2_recipe rp2350 = {
		.block = true, .type = 0x1021, .block_version = 0x10002, .name = "lamp"};
	const struct mcuboot_recipe padded = {.pad_to = 4096};
	int failed = 0;

	if (argc != 2) {
		fputs("usage: make_image_seeds FOLDER\n", stderr);
		return 2;
	}
	build_esp32(&b, &hashed);
	failed |= save(argv[1], "esp32");
	build_esp32(&b, &plain);
	build_noise(&b, 512);
	failed |= save(argv[1], "esp32-signed");
	build_esp32(&b, &hashed);
	build_secure_boot(&b, 3, 0, 2);
	failed |= save(argv[1], "esp32-secure-boot");
	build_esp32(&b, &boot);
	build_partition_table(&b, 0x3000);
	failed |= save(argv[1], "factory");
	build_esp8266_arduino(&b, true);
	failed |= save(argv[1], "esp8266-arduino");
	build_esp8266_plain(&b);
	failed |= save(argv[1], "esp8266");
	build_esp8266_sdk(&b, 0x40281010, 2);
	failed |= save(argv[1], "esp8266-sdk");
	build_mcuboot(&b, &mcuboot);
	failed |= save(argv[1], "mcuboot");
	build_mcuboot(&b, &padded);
	failed |= save(argv[1], "mcuboot-padded");
	build_uf2(&b, 0xE48BFF56, 3, true, "MicroPython v1.22.1 on 2024-01-05; x");
	failed |= save(argv[1], "uf2");
	build_rp2(&b, &rp2040);
	failed |= save(argv[1], "rp2040");
	build_rp2(&b, &rp2350);
	failed |= save(argv[1], "rp2350");
	build_esp8266_mpy(&b, "MicroPython v1.22.1 on 2024-01-05; x");
	failed |= save(argv[1], "esp8266-mpy");
	build_mcuboot(&b, &long_hash);
	failed |= save(argv[1], "mcuboot-sha384");
	build_romfs(&b);
	failed |= save(argv[1], "romfs");
	failed |= save_gzip(argv[1]);
	failed |= save_text(
		argv[1], "ihex", ":10010000214601360121470136007EFE09D2190140\r\n:00000001FF\r\n");
	failed |= save_text(argv[1], "elf",
		"\x7f"
		"ELF\x01\x01\x01");
	failed |= save_text(argv[1], "raw", "hello");
	return failed;
}
