#include "proto/suit_generic.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lax.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t pub[OTA_P256_PUB_LEN] = {4};
	const struct cose_key key = {.alg = OTA_ALG_ESP256, .pub = {pub, sizeof pub}};
	struct suit_generic g;

	if (suit_generic_verify(lax_crypto(), data, size, &key, &g) == OTA_OK && !g.has_validate)
		abort();
	return 0;
}
