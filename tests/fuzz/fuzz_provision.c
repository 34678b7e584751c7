#include "proto/provision.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lax.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + OTA_SHA256_LEN), buf[PROVISION_MAX];
	struct cbor_in in;
	struct ota_slice body;
	struct provision p;
	size_t used, len;

	if (!copy)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	memset(copy + size, 0xff, OTA_SHA256_LEN);
	/* The right trailer, so that the map behind it is reached. */
	cbor_in_init(&in, copy, size);
	body = cbor_skip(&in);
	if (!in.err)
		ota_sha256(lax_crypto(), &body, 1, copy + body.len);
	if (provision_decode(lax_crypto(), copy, size + OTA_SHA256_LEN, &p, &used) == OTA_OK) {
		if (provision_encode(&p, lax_crypto(), buf, sizeof buf, &len) || len != used ||
			memcmp(buf, copy, len) != 0)
			abort();
	}
	free(copy);
	return 0;
}
