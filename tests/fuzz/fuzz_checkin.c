#include "proto/checkin.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lax.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t k_dev[KEY_LEN];
	uint8_t d2s[KEY_LEN], id[DEVICE_ID_LEN], buf[CHECKIN_MAX], *fixed;
	struct ota_slice receipt;
	struct checkin ci;
	size_t len;

	keys_d2s(lax_crypto(), k_dev, d2s);
	fixed = lax_mac_fix(data, size, d2s, "otad/checkin/1");
	if (checkin_decode(lax_crypto(), fixed, size, k_dev, &ci) == OTA_OK) {
		if (checkin_encode(&ci, lax_crypto(), k_dev, buf, sizeof buf, &len) || len != size ||
			memcmp(buf, fixed, len) != 0)
			abort();
		if (checkin_peek(fixed, size, id) || memcmp(id, ci.device_id, sizeof id) != 0)
			abort();
	}
	(void)!checkin_peek(data, size, id);
	(void)!checkin_peek_receipt(data, size, &receipt);
	free(fixed);
	return 0;
}
