#include "proto/ticket.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lax.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t k_dev[KEY_LEN], pub[OTA_P256_PUB_LEN] = {4};
	uint8_t s2d[KEY_LEN], device[DEVICE_ID_LEN], nonce[NONCE_LEN], buf[TICKET_MAX], *fixed;
	struct cose_key key = {.alg = OTA_ALG_ESP256, .pub = {pub, sizeof pub}};
	struct cose_keyring ring = {.key = {&key}, .n = 1, .threshold = 1};
	struct cose_msg m;
	struct ticket t;
	size_t len;

	keys_s2d(lax_crypto(), k_dev, s2d);
	fixed = lax_mac_fix(data, size, s2d, "otad/ticket/1");
	/* Device and nonce as the ticket has them, where it has them first. */
	memset(device, 0, sizeof device);
	memset(nonce, 0, sizeof nonce);
	if (cose_decode(fixed, size, &m) == OTA_OK && m.payload.len > 39) {
		memcpy(key.kid, m.kid, sizeof key.kid);
		memcpy(device, m.payload.p + 5, sizeof device);
		memcpy(nonce, m.payload.p + 23, sizeof nonce);
	}
	if (ticket_decode(lax_crypto(), fixed, size, &ring, k_dev, device, nonce, &t) == OTA_OK &&
		!t.is_signed && ticket_encode_mac(&t, lax_crypto(), k_dev, buf, sizeof buf, &len))
		abort();
	free(fixed);
	return 0;
}
