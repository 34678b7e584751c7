/* Every derived key and label of the protocol, in one place (docs/protocol.md "Keys").
 *
 * HMAC is HMAC-SHA-256, labels are ASCII without NUL, integers big-endian. Outputs are secrets: wipe them. */
#ifndef PROTO_KEYS_H
#define PROTO_KEYS_H

#include "proto/crypto.h"

enum {
	DEVICE_ID_LEN = 16,
	SECRET_ID_LEN = 8,
	SECRET_LEN = 32,
	NONCE_LEN = 16,
	KEY_LEN = 32,
	SERIAL_MAX = 32,
};

/* From a device's key. */
void keys_d2s(const struct ota_crypto *c, const uint8_t k_dev[KEY_LEN], uint8_t out[KEY_LEN]);
void keys_s2d(const struct ota_crypto *c, const uint8_t k_dev[KEY_LEN], uint8_t out[KEY_LEN]);
/* The proof in `Authorization: OTA <device-id>.<hex>`. */
void keys_fetch(const struct ota_crypto *c, const uint8_t k_dev[KEY_LEN], uint8_t out[KEY_LEN]);
/* Nonce of a board without a random source: HMAC(HMAC(K_dev, "otad/nonce/1"), counter | boot)[0..16). */
void keys_nonce(const struct ota_crypto *c, const uint8_t k_dev[KEY_LEN], uint64_t counter, uint32_t boot,
	uint8_t nonce[NONCE_LEN]);
/* Likewise for enrollment: HMAC(secret, "otad/nonce-d/1" | vendor-id | serial)[0..16). */
void keys_nonce_d(const struct ota_crypto *c, const uint8_t secret[SECRET_LEN], const uint8_t vendor_id[16],
	struct ota_slice serial, uint8_t nonce[NONCE_LEN]);

/* K_dev = HMAC(secret, "otad-dev-2" | device-id | nonce_d | nonce_s). */
void keys_device(const struct ota_crypto *c, const uint8_t secret[SECRET_LEN],
	const uint8_t device_id[DEVICE_ID_LEN], const uint8_t nonce_d[NONCE_LEN],
	const uint8_t nonce_s[NONCE_LEN], uint8_t k_dev[KEY_LEN]);

/* From the server's enroll key (DIR/keys/enroll). */
void keys_enroll_secret(const struct ota_crypto *c, const uint8_t enroll[KEY_LEN],
	const uint8_t secret_id[SECRET_ID_LEN], uint8_t secret[SECRET_LEN]);

/* k of an image link: HMAC(HMAC(link key, "otad/link/1"), "otad/link/1" | sha256 | link id)[0..16). */
void keys_link(const struct ota_crypto *c, const uint8_t link_key[KEY_LEN], const uint8_t sha256[32],
	const uint8_t link_id[16], uint8_t k[16]);

/* Device-id = UUIDv5(vendor-id, serial) needs SHA-1, which only enrollment's answerer has: the server
 * computes it and the device takes it from the answer. */

#endif
