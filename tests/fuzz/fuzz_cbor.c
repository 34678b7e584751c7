#include "proto/cbor.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cbor_in in;
	struct ota_slice item;

	cbor_in_init(&in, data, size);
	while (cbor_peek(&in) != CBOR_END) {
		item = cbor_skip(&in);
		/* What was skipped as good must be good by itself. */
		if (!in.err && cbor_check(item.p, item.len) != OTA_OK)
			abort();
	}
	return 0;
}
