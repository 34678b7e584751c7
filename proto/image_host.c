#include "proto/image_host.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/md5.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "proto/crypto_openssl.h"
#include "proto/image_internal.h"

enum { CHUNK_LEN = 64 * 1024 };

/* The low-level calls are deprecated in OpenSSL 3, but they alone work in the caller's storage, as image_md5
 * and image_sha512 must. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
_Static_assert(sizeof(MD5_CTX) <= sizeof(struct image_md5), "image_md5 holds OpenSSL's state");

static void md5_init(struct image_md5 *m)
{
	MD5_Init((MD5_CTX *)m->opaque);
}

static void md5_update(struct image_md5 *m, const void *data, size_t len)
{
	MD5_Update((MD5_CTX *)m->opaque, data, len);
}

static void md5_final(struct image_md5 *m, uint8_t out[16])
{
	MD5_Final(out, (MD5_CTX *)m->opaque);
}

_Static_assert(sizeof(SHA512_CTX) <= sizeof(struct image_sha512), "image_sha512 holds OpenSSL's state");

static void sha512_init(struct image_sha512 *h, size_t len)
{
	if (len == SHA384_DIGEST_LENGTH)
		SHA384_Init((SHA512_CTX *)h->opaque);
	else
		SHA512_Init((SHA512_CTX *)h->opaque);
}

static void sha512_update(struct image_sha512 *h, const void *data, size_t len)
{
	SHA512_Update((SHA512_CTX *)h->opaque, data, len);
}

/* The state knows which of the two it is. */
static void sha512_final(struct image_sha512 *h, uint8_t *out)
{
	SHA512_Final(out, (SHA512_CTX *)h->opaque);
}
#pragma GCC diagnostic pop

const struct image_md5_ops *image_md5_openssl(void)
{
	static const struct image_md5_ops ops = {md5_init, md5_update, md5_final};

	return &ops;
}

static const struct image_sha512_ops *image_sha512_openssl(void)
{
	static const struct image_sha512_ops ops = {sha512_init, sha512_update, sha512_final};

	return &ops;
}

static enum ota_err file_read(void *ctx, uint64_t offset, void *buf, size_t len)
{
	struct image_file *f = ctx;
	uint8_t *p = buf;

	if (f->data) {
		memcpy(p, f->data + offset, len);
		return OTA_OK;
	}
	while (len > 0) {
		ssize_t n = pread(f->fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return OTA_IO;
		p += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return OTA_OK;
}

static void set_up(struct image_file *f, uint64_t size)
{
	f->source = (struct image_source){.size = size,
		.read = file_read,
		.ctx = f,
		.crypto = crypto_openssl(),
		.md5 = image_md5_openssl(),
		.sha512 = image_sha512_openssl()};
}

enum ota_err image_file_from_fd(int fd, struct image_file *out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return OTA_IO;
	if (!S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return OTA_IO;
	}
	*out = (struct image_file){.fd = fd};
	set_up(out, (uint64_t)st.st_size);
	return OTA_OK;
}

enum ota_err image_file_open(const char *path, struct image_file *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	enum ota_err err;

	if (fd < 0)
		return OTA_IO;
	err = image_file_from_fd(fd, out);
	if (err) {
		int saved = errno;

		close(fd);
		errno = saved;
		return err;
	}
	out->owns_fd = true;
	return OTA_OK;
}

void image_file_from_memory(const void *data, size_t len, struct image_file *out)
{
	*out = (struct image_file){.fd = -1, .data = data};
	set_up(out, len);
}

void image_file_close(struct image_file *f)
{
	if (f->owns_fd)
		close(f->fd);
	*f = (struct image_file){.fd = -1};
}

struct digesting {
	struct ota_sha256 sha256;
	EVP_MD_CTX *sha1;
	struct image_md5 md5, variant[4];
};

static bool has_flash_mode(enum image_format format)
{
	return format == IMAGE_ESP32 || format == IMAGE_ESP8266 || format == IMAGE_ESP8266_ARDUINO ||
	       format == IMAGE_ESP8266_MPY || format == IMAGE_ESP8266_SDK;
}

/* Bytes [at, at + len) of the image proper, with the flash mode byte replaced in each variant. */
static void feed_variants(struct digesting *d, uint8_t *p, uint64_t at, size_t len)
{
	enum { FLASH_MODE_AT = 2 };
	bool has_byte = at <= FLASH_MODE_AT && len > FLASH_MODE_AT - at;
	uint8_t *mode = has_byte ? p + (FLASH_MODE_AT - at) : NULL;
	uint8_t was = has_byte ? *mode : 0;

	for (uint8_t k = 0; k < 4; k++) {
		if (has_byte)
			*mode = k;
		md5_update(&d->variant[k], p, len);
	}
	if (has_byte)
		*mode = was;
}

static enum ota_err digest_pass(
	const struct image_source *src, uint64_t image_size, bool variants, struct digesting *d, uint8_t *buf)
{
	for (uint64_t at = 0; at < src->size;) {
		size_t len = src->size - at < CHUNK_LEN ? (size_t)(src->size - at) : CHUNK_LEN;

		if (src->read(src->ctx, at, buf, len) != OTA_OK)
			return OTA_IO;
		src->crypto->sha256_update(&d->sha256, buf, len);
		if (!EVP_DigestUpdate(d->sha1, buf, len))
			return OTA_NO_MEMORY;
		md5_update(&d->md5, buf, len);
		if (variants && at < image_size)
			feed_variants(d, buf, at, image_size - at < len ? (size_t)(image_size - at) : len);
		at += len;
	}
	return OTA_OK;
}

enum ota_err image_digest(
	const struct image_source *src, const struct image_info *info, struct image_digests *out)
{
	struct digesting d = {.sha1 = EVP_MD_CTX_new()};
	uint8_t *buf = malloc(CHUNK_LEN);
	bool variants = has_flash_mode(info->format);
	enum ota_err err = OTA_NO_MEMORY;

	if (!buf || !d.sha1 || !EVP_DigestInit_ex(d.sha1, EVP_sha1(), NULL))
		goto out;
	src->crypto->sha256_init(&d.sha256);
	md5_init(&d.md5);
	for (unsigned k = 0; k < 4; k++)
		md5_init(&d.variant[k]);
	err = digest_pass(src, info->image_size, variants, &d, buf);
	if (err)
		goto out;
	if (!EVP_DigestFinal_ex(d.sha1, buf, NULL)) {
		err = OTA_NO_MEMORY;
		goto out;
	}
	memset(out, 0, sizeof *out);
	memcpy(out->sha1, buf, sizeof out->sha1);
	src->crypto->sha256_final(&d.sha256, out->sha256);
	md5_final(&d.md5, out->md5);
	for (unsigned k = 0; variants && k < 4; k++)
		md5_final(&d.variant[k], out->md5_variant[k]);
	out->has_md5_variants = variants;
out:
	EVP_MD_CTX_free(d.sha1);
	free(buf);
	return err;
}

struct inflating {
	z_stream z;
	const struct image_source *src;
	uint64_t in_at, in_end;
	uint64_t out_len, out_max;
	int fd;
	uint8_t in[CHUNK_LEN], out[CHUNK_LEN];
};

static enum ota_err write_all(int fd, const uint8_t *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSPC || errno == EDQUOT ? OTA_NO_SPACE : OTA_IO;
		p += n;
		len -= (size_t)n;
	}
	return OTA_OK;
}

static enum ota_err refill(struct inflating *f)
{
	size_t len = f->in_end - f->in_at < CHUNK_LEN ? (size_t)(f->in_end - f->in_at) : CHUNK_LEN;

	if (f->z.avail_in > 0)
		return OTA_OK;
	if (len == 0)
		return OTA_TRUNCATED;
	if (f->src->read(f->src->ctx, f->in_at, f->in, len) != OTA_OK)
		return OTA_IO;
	f->in_at += len;
	f->z.next_in = f->in;
	f->z.avail_in = (uInt)len;
	return OTA_OK;
}

static enum ota_err drain(struct inflating *f)
{
	size_t len = CHUNK_LEN - f->z.avail_out;

	if (len > f->out_max - f->out_len)
		return OTA_TOO_LARGE;
	f->out_len += len;
	f->z.next_out = f->out;
	f->z.avail_out = CHUNK_LEN;
	return write_all(f->fd, f->out, len);
}

static enum ota_err inflate_loop(struct inflating *f)
{
	bool is_full = false; /* the output filled up, so there may be more without new input */
	int rc = Z_OK;

	f->z.next_out = f->out;
	f->z.avail_out = CHUNK_LEN;
	while (rc != Z_STREAM_END) {
		enum ota_err err = is_full ? OTA_OK : refill(f);

		if (err)
			return err;
		rc = inflate(&f->z, Z_NO_FLUSH);
		if (rc == Z_MEM_ERROR)
			return OTA_NO_MEMORY;
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			return OTA_CHECKSUM;
		is_full = f->z.avail_out == 0;
		err = drain(f);
		if (err)
			return err;
	}
	return f->z.avail_in == 0 && f->in_at == f->in_end ? OTA_OK : OTA_SIZE;
}

enum ota_err image_inflate(const struct image_source *src, const struct image_info *info, uint64_t size_max,
	int fd, uint64_t *size)
{
	enum { GZIP_ONLY = 16 }; /* zlib.h: added to windowBits */
	uint64_t end = info->image_size < src->size ? info->image_size : src->size;
	uint64_t ratio_max = end > UINT64_MAX / IMAGE_INFLATE_RATIO_MAX ? UINT64_MAX
									: end * IMAGE_INFLATE_RATIO_MAX;
	struct inflating *f = calloc(1, sizeof *f);
	enum ota_err err = OTA_NO_MEMORY;

	if (!f)
		return err;
	f->src = src;
	f->in_end = end;
	f->out_max = size_max < ratio_max ? size_max : ratio_max;
	f->fd = fd;
	if (inflateInit2(&f->z, MAX_WBITS + GZIP_ONLY) == Z_OK) {
		err = inflate_loop(f);
		inflateEnd(&f->z);
	}
	if (err == OTA_OK)
		*size = f->out_len;
	free(f);
	return err;
}

static enum ota_err fill(int fd, uint64_t len)
{
	uint8_t erased[4096];

	memset(erased, 0xFF, sizeof erased);
	while (len > 0) {
		size_t n = len < sizeof erased ? (size_t)len : sizeof erased;
		enum ota_err err = write_all(fd, erased, n);

		if (err)
			return err;
		len -= n;
	}
	return OTA_OK;
}

static enum ota_err put_piece(
	const struct uf2_piece *piece, uint64_t size_max, int fd, uint64_t *written, uint32_t *address)
{
	uint64_t at;
	enum ota_err err;

	if (*written == 0)
		*address = piece->addr;
	if (piece->addr < *address || piece->len > UF2_BLOCK_LEN - 36)
		return OTA_INVALID;
	at = piece->addr - *address;
	if (at < *written)
		return OTA_INVALID;
	if (at + piece->len > size_max)
		return OTA_TOO_LARGE;
	err = fill(fd, at - *written);
	if (err == OTA_OK)
		err = write_all(fd, piece->data, piece->len);
	*written = at + piece->len;
	return err;
}

enum ota_err image_flatten(
	const struct image_source *src, uint64_t size_max, int fd, uint64_t *size, uint32_t *address)
{
	uint8_t *buf = malloc(CHUNK_LEN);
	enum ota_err err = OTA_OK;
	uint64_t written = 0;
	uint32_t first = 0;

	if (!buf)
		return OTA_NO_MEMORY;
	for (uint64_t at = 0; err == OTA_OK && at + UF2_BLOCK_LEN <= src->size;) {
		size_t len = src->size - at < CHUNK_LEN ? (size_t)(src->size - at) : CHUNK_LEN;
		struct uf2_piece piece;

		err = src->read(src->ctx, at, buf, len) == OTA_OK ? OTA_OK : OTA_IO;
		for (size_t i = 0; err == OTA_OK && i + UF2_BLOCK_LEN <= len; i += UF2_BLOCK_LEN) {
			if (uf2_flash_piece(buf + i, at + i == 0, &piece))
				err = put_piece(&piece, size_max, fd, &written, &first);
		}
		at += len;
	}
	free(buf);
	if (err == OTA_OK && written == 0)
		err = OTA_INVALID;
	if (err)
		return err;
	*size = written;
	*address = first;
	return OTA_OK;
}

void image_inherit(struct image_info *inner, const struct image_info *outer)
{
	if (!inner->chip[0])
		memcpy(inner->chip, outer->chip, sizeof inner->chip);
	if (!inner->project[0] && !inner->version[0]) {
		memcpy(inner->project, outer->project, sizeof inner->project);
		memcpy(inner->version, outer->version, sizeof inner->version);
		memcpy(inner->built, outer->built, sizeof inner->built);
	}
}
