#include "proto/keys.h"

#include <string.h>

void keys_d2s(const struct ota_crypto *c, const uint8_t k_dev[KEY_LEN], uint8_t out[KEY_LEN])
{
	ota_derive(c, k_dev, "otad/d2s/1", out);
}

void keys_s2d(const struct ota_crypto *c, const uint8_t k_dev[KEY_LEN], uint8_t out[KEY_LEN])
{
	ota_derive(c, k_dev, "otad/s2d/1", out);
}

void keys_fetch(const struct ota_crypto *c, const uint8_t k_dev[KEY_LEN], uint8_t out[KEY_LEN])
{
	ota_derive(c, k_dev, "otad/fetch/1", out);
}

/* The first 16 bytes of an HMAC: every nonce and link key that is made, not drawn. */
static void hmac_16(const struct ota_crypto *c, const uint8_t key[KEY_LEN], const struct ota_slice *parts,
	size_t n_parts, uint8_t out[16])
{
	uint8_t mac[KEY_LEN];

	ota_hmac(c, key, KEY_LEN, parts, n_parts, mac);
	memcpy(out, mac, 16);
	ota_wipe(mac, sizeof mac);
}

void keys_nonce(const struct ota_crypto *c, const uint8_t k_dev[KEY_LEN], uint64_t counter, uint32_t boot,
	uint8_t nonce[NONCE_LEN])
{
	uint8_t key[KEY_LEN], when[12];
	struct ota_slice part = {when, sizeof when};

	for (unsigned i = 0; i < 8; i++)
		when[i] = (uint8_t)(counter >> (56 - 8 * i));
	for (unsigned i = 0; i < 4; i++)
		when[8 + i] = (uint8_t)(boot >> (24 - 8 * i));
	ota_derive(c, k_dev, "otad/nonce/1", key);
	hmac_16(c, key, &part, 1, nonce);
	ota_wipe(key, sizeof key);
}

void keys_nonce_d(const struct ota_crypto *c, const uint8_t secret[SECRET_LEN], const uint8_t vendor_id[16],
	struct ota_slice serial, uint8_t nonce[NONCE_LEN])
{
	const struct ota_slice parts[] = {ota_text("otad/nonce-d/1"), {vendor_id, 16}, serial};

	hmac_16(c, secret, parts, 3, nonce);
}

void keys_device(const struct ota_crypto *c, const uint8_t secret[SECRET_LEN],
	const uint8_t device_id[DEVICE_ID_LEN], const uint8_t nonce_d[NONCE_LEN],
	const uint8_t nonce_s[NONCE_LEN], uint8_t k_dev[KEY_LEN])
{
	const struct ota_slice parts[] = {ota_text("otad-dev-2"), {device_id, DEVICE_ID_LEN},
		{nonce_d, NONCE_LEN}, {nonce_s, NONCE_LEN}};

	ota_hmac(c, secret, SECRET_LEN, parts, 4, k_dev);
}

void keys_enroll_secret(const struct ota_crypto *c, const uint8_t enroll[KEY_LEN],
	const uint8_t secret_id[SECRET_ID_LEN], uint8_t secret[SECRET_LEN])
{
	const struct ota_slice part = {secret_id, SECRET_ID_LEN};

	ota_hmac(c, enroll, KEY_LEN, &part, 1, secret);
}

void keys_link(const struct ota_crypto *c, const uint8_t link_key[KEY_LEN], const uint8_t sha256[32],
	const uint8_t link_id[16], uint8_t k[16])
{
	uint8_t key[KEY_LEN];
	const struct ota_slice parts[] = {ota_text("otad/link/1"), {sha256, 32}, {link_id, 16}};

	ota_derive(c, link_key, "otad/link/1", key);
	hmac_16(c, key, parts, 3, k);
	ota_wipe(key, sizeof key);
}
