#include "cli/inspect.h"

#include <inttypes.h>
#include <string.h>

#include "cli/file.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "proto/image_host.h"

enum { INFLATED_MAX = 256 << 20 };

static enum ota_err recognise(FILE *f, struct inspected *in)
{
	struct image_file src;
	enum ota_err err = image_file_from_fd(fileno(f), &src);

	if (err == OTA_OK) {
		err = image_recognise(&src.source, &in->info);
		image_file_close(&src);
	}
	return err;
}

static enum ota_err unwrap_into(FILE *f, struct inspected *in, struct inspected *inner)
{
	struct image_file src;
	enum ota_err err = image_file_from_fd(fileno(in->file), &src);

	if (err != OTA_OK)
		return err;
	if (in->info.format == IMAGE_UF2)
		err = image_flatten(&src.source, INFLATED_MAX, fileno(f), &inner->size, &inner->address);
	else
		err = image_inflate(&src.source, &in->info, INFLATED_MAX, fileno(f), &inner->size);
	image_file_close(&src);
	return err;
}

/* A gzip'ed image for a chip goes to the server inflated; a gzip of anything else is the owner's own data and
 * stays. Of a UF2 file goes what a drive would have written into flash. */
static enum ota_err unwrap(struct inspected *in, struct errmsg *e)
{
	bool is_uf2 = in->info.format == IMAGE_UF2;
	struct inspected inner = {.is_flattened = is_uf2};
	FILE *f = tmpfile();

	if (!f)
		return errmsg_fail(e, OTA_IO, "cannot make a temporary file");
	enum ota_err err = unwrap_into(f, in, &inner);

	if (err != OTA_OK) {
		(void)fclose(f);
		return errmsg_fail(e, err, "the %s: %s",
			is_uf2 ? "UF2 file makes no image" : "gzip cannot be inflated", ota_err_text(err));
	}
	err = recognise(f, &inner);
	if (err == OTA_OK && inner.info.format == IMAGE_RAW && !is_uf2) {
		(void)fclose(f);
		return OTA_OK;
	}
	if (is_uf2)
		image_inherit(&inner.info, &in->info);
	(void)fclose(in->file);
	in->file = f;
	in->size = inner.size;
	in->info = inner.info;
	in->is_flattened = inner.is_flattened;
	in->address = inner.address;
	return err;
}

static enum ota_err hash(struct inspected *in, struct errmsg *e)
{
	const struct ota_crypto *c = crypto_openssl();
	struct ota_sha256 h;
	uint8_t block[65536];
	uint64_t total = 0;
	size_t n;

	rewind(in->file);
	c->sha256_init(&h);
	while ((n = fread(block, 1, sizeof block, in->file)) > 0) {
		c->sha256_update(&h, block, n);
		total += n;
	}
	if (ferror(in->file) || total != in->size)
		return errmsg_fail(e, OTA_IO, "the file changed or cannot be read");
	c->sha256_final(&h, in->sha256);
	hex_encode(in->sha256, sizeof in->sha256, in->sha256_hex);
	return OTA_OK;
}

static void describe(struct inspected *in)
{
	size_t len = image_describe(&in->info, in->describe, sizeof in->describe);

	if (in->is_flattened)
		snprintf(in->describe + len, sizeof in->describe - len,
			", of a UF2 file for address 0x%" PRIx32, in->address);
}

enum ota_err inspect_file(const char *path, struct inspected *in, struct errmsg *e)
{
	const char *shown = strcmp(path, "-") == 0 ? "standard input" : path;

	memset(in, 0, sizeof *in);
	enum ota_err err = file_open_input(path, &in->file, &in->size, e);

	if (err != OTA_OK)
		return err;
	if (in->size == 0)
		return errmsg_fail(e, OTA_TRUNCATED, "'%s' is empty", shown);
	err = recognise(in->file, in);
	/* A UF2 file may itself be compressed. */
	for (int layer = 0; layer < 2 && err == OTA_OK; layer++) {
		if (in->info.format != IMAGE_UF2 && (layer > 0 || in->info.format != IMAGE_GZIP))
			break;
		in->info.hint[0] = '\0';
		err = unwrap(in, e);
		if (err != OTA_OK && !in->info.hint[0])
			return err;
	}
	describe(in);
	enum ota_err hashed = hash(in, e);

	if (err != OTA_OK)
		return errmsg_fail(e, err, "'%s': %s%s%s", shown, ota_err_text(err),
			in->info.hint[0] ? ": " : "", in->info.hint);
	return hashed;
}

void inspect_release(struct inspected *in)
{
	if (in->file)
		(void)fclose(in->file);
	in->file = NULL;
}

json_t *inspect_json(const struct inspected *in)
{
	const struct image_info *i = &in->info;
	const char *variant = i->variant == 1 ? "user1" : i->variant == 2 ? "user2" : "";

	return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "sha256", in->sha256_hex,
		"size", (json_int_t)in->size, "format", image_format_name(i->format), "chip", i->chip,
		"version", i->version, "project", i->project, "built", i->built, "sdk", i->sdk, "variant",
		variant, "describe", in->describe);
}
