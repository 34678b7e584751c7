/* Look at an image file before anything is sent: what it is, whether it is whole, and its digest. */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include <stdio.h>

#include "cli/json.h"
#include "proto/errmsg.h"
#include "proto/image.h"

struct inspected {
	FILE *file; /* open, owned; NULL when it could not be opened */
	uint64_t size;
	uint8_t sha256[32];
	char sha256_hex[65];
	struct image_info info;
	bool is_flattened; /* `file` is the flash image of a UF2 file, `address` where that puts it */
	uint32_t address;
	char describe[256];
};

/* Open ("-" is standard input), unwrap, hash and recognise: of a gzip'ed image or a UF2 file `in` has what
 * goes to the server. On an error of recognition `in->file` stays open and `in` has what was read; release it
 * in every case. */
OTA_MUST_USE enum ota_err inspect_file(const char *path, struct inspected *in, struct errmsg *e);
void inspect_release(struct inspected *in);

/* The image object of the API, as far as a file tells. */
json_t *inspect_json(const struct inspected *in);

#endif
