#include "proto/root.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lax.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct root_doc d, next;
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	struct ota_slice payload;
	size_t n, len;
	uint8_t buf[ROOT_MAX];

	if (root_payload_decode(lax_crypto(), (struct ota_slice){data, size}, &d) == OTA_OK &&
		size <= sizeof buf) {
		/* A document with roles that we do not know comes out shorter; never another one. */
		if (root_payload_encode(&d, buf, sizeof buf, &len) || len > size)
			abort();
		if (len == size && memcmp(buf, data, len) != 0)
			abort();
	}
	if (root_split(data, size, blocks, &n, &payload) == OTA_OK && (n < 1 || n > ROOT_BLOCKS_MAX))
		abort();
	if (root_decode_first(lax_crypto(), data, size, &d) == OTA_OK &&
		root_decode_next(lax_crypto(), &d, data, size, &next) == OTA_OK)
		abort(); /* no root follows itself */
	return 0;
}
