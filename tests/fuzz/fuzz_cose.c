#include "proto/cose.h"
#include "proto/crypto_openssl.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key[32];
	struct cose_msg m;

	if (cose_decode(data, size, &m))
		return 0;
	/* What was taken lies inside the input. */
	if (m.auth < data || m.auth + (m.is_mac ? 32 : 64) > data + size)
		abort();
	if (m.payload.len > 0 && (m.payload.p < data || m.payload.p + m.payload.len > data + size))
		abort();
	if (m.is_mac && cose_verify_mac0(crypto_openssl(), &m, key, "otad/checkin/1", m.payload) == OTA_COSE)
		abort();
	return 0;
}
