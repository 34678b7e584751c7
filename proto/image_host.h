/* Image recognition for the host programs: library ota_image_host. Opens files and memory as an image_source,
 * computes the digests foreign clients know, inflates gzip within limits.
 *
 * Thread-safe as long as one image_file is used by one thread at a time. */
#ifndef PROTO_IMAGE_HOST_H
#define PROTO_IMAGE_HOST_H

#include "proto/image.h"

/* By OpenSSL; constant, never freed. */
const struct image_md5_ops *image_md5_openssl(void);

struct image_file {
	struct image_source
		source; /* valid between open and close; its ctx points into this struct: do not move it */
	int fd;
	bool owns_fd;
	const uint8_t *data; /* memory only, borrowed */
};

/* A regular file by path, or by descriptor (the caller's: close leaves it open), or memory that lives until
 * close. OTA_IO: cannot be opened, or is no regular file (errno says why). */
OTA_MUST_USE enum ota_err image_file_open(const char *path, struct image_file *out);
OTA_MUST_USE enum ota_err image_file_from_fd(int fd, struct image_file *out);
void image_file_from_memory(const void *data, size_t len, struct image_file *out);

/* A zeroed or closed one is a no-op. */
void image_file_close(struct image_file *f);

/* One pass over the file. `info` is what image_recognise said of it: MD5 variants need its format and
 * image_size.
 * `*out` is written only on OTA_OK; OTA_IO, OTA_NO_MEMORY. */
OTA_MUST_USE enum ota_err image_digest(
	const struct image_source *src, const struct image_info *info, struct image_digests *out);

enum { IMAGE_INFLATE_RATIO_MAX = 100 };

/* Inflate a whole IMAGE_GZIP source into `fd` from its current position; `size` bytes of output are written.
 * A trailing signature that `info` names is left out. OTA_TOO_LARGE: more than `size_max` bytes or more than
 * 100 times the input; OTA_TRUNCATED; OTA_CHECKSUM: damaged (gzip's CRC-32 and length are checked); OTA_SIZE:
 * bytes behind the end; OTA_NO_SPACE, OTA_IO, OTA_NO_MEMORY. On an error what was written so far is the
 * caller's to discard. */
OTA_MUST_USE enum ota_err image_inflate(const struct image_source *src, const struct image_info *info,
	uint64_t size_max, int fd, uint64_t *size);

/* Make the flash image of an IMAGE_UF2 source that image_recognise took: the data of its blocks one behind
 * the other, gaps filled as erased flash is, into `fd` from its current position. `size` bytes are written;
 * `*address` is where UF2 says the first of them lies. OTA_TOO_LARGE: more than `size_max`; OTA_INVALID: not
 * such a source; OTA_NO_SPACE, OTA_IO, OTA_NO_MEMORY. On an error what was written is the caller's to
 * discard. */
OTA_MUST_USE enum ota_err image_flatten(
	const struct image_source *src, uint64_t size_max, int fd, uint64_t *size, uint32_t *address);

/* Facts that only the wrapping file tells go over to what was inside. */
void image_inherit(struct image_info *inner, const struct image_info *outer);

#endif
