/* Any bytes as an image: the verdict is the same twice, facts are printable and inside their fields, and what
 * is accepted is still accepted after its facts were used (digests, inflate). */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/image_host.h"
#include "tests/fuzz/fuzz.h"

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_text(const char *s, size_t cap)
{
	size_t n = 0;

	while (n < cap && s[n]) {
		check(s[n] >= 0x20 && s[n] < 0x7F);
		n++;
	}
	check(n < cap);
}

static void check_info(const struct image_info *info, size_t len, enum ota_err err)
{
	char line[256];
	size_t said = image_describe(info, line, sizeof line);

	check(said == strlen(line) && said > 0);
	check(strcmp(image_format_name(info->format), "unknown") != 0);
	check_text(line, sizeof line);
	check_text(info->chip, sizeof info->chip);
	check_text(info->version, sizeof info->version);
	check_text(info->project, sizeof info->project);
	check_text(info->built, sizeof info->built);
	check_text(info->sdk, sizeof info->sdk);
	check_text(info->hint, sizeof info->hint);
	check(info->size == len && info->image_size <= len);
	check(err == OTA_OK || info->hint[0]);
	check(err == OTA_OK || err == OTA_CHECKSUM || err == OTA_DIGEST || err == OTA_TRUNCATED ||
		err == OTA_SIZE || err == OTA_INVALID || err == OTA_UNSUPPORTED || err == OTA_TOO_LARGE);
}

static void try_inflate(const struct image_file *f, const struct image_info *info)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	uint64_t size = 0;

	if (fd < 0)
		return;
	if (image_inflate(&f->source, info, 1 << 20, fd, &size) == OTA_OK)
		check(size <= 1 << 20 && size <= f->source.size * IMAGE_INFLATE_RATIO_MAX);
	close(fd);
}

/* What the recogniser took always makes an image, if it is not too large. */
static void try_flatten(const struct image_file *f)
{
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	uint64_t size = 0;
	uint32_t address = 0;
	enum ota_err err;

	if (fd < 0)
		return;
	err = image_flatten(&f->source, 1 << 20, fd, &size, &address);
	check(err == OTA_TOO_LARGE || (err == OTA_OK && size > 0 && size <= 1 << 20));
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_file f;
	struct image_info info, again;
	struct image_digests digests;
	enum ota_err err;

	image_file_from_memory(data, size, &f);
	err = image_recognise(&f.source, &info);
	check_info(&info, size, err);
	check(image_recognise(&f.source, &again) == err && again.format == info.format &&
		again.checks == info.checks && again.image_size == info.image_size &&
		strcmp(again.version, info.version) == 0 && strcmp(again.hint, info.hint) == 0);
	if (err == OTA_OK) {
		check(image_digest(&f.source, &info, &digests) == OTA_OK);
		if (info.format == IMAGE_GZIP)
			try_inflate(&f, &info);
		if (info.format == IMAGE_UF2)
			try_flatten(&f);
	}
	image_file_close(&f);
	return 0;
}
