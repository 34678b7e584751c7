#include "proto/crypto.h"

#include <string.h>

enum { HMAC_BLOCK = 64 };

void ota_sha256(const struct ota_crypto *c, const struct ota_slice *parts, size_t n_parts,
	uint8_t out[OTA_SHA256_LEN])
{
	struct ota_sha256 h;

	c->sha256_init(&h);
	for (size_t i = 0; i < n_parts; i++)
		c->sha256_update(&h, parts[i].p, parts[i].len);
	c->sha256_final(&h, out);
	ota_wipe(&h, sizeof h);
}

void ota_hmac(const struct ota_crypto *c, const uint8_t *key, size_t key_len, const struct ota_slice *parts,
	size_t n_parts, uint8_t out[OTA_SHA256_LEN])
{
	struct ota_sha256 h;
	uint8_t pad[HMAC_BLOCK] = {0};
	uint8_t inner[OTA_SHA256_LEN];

	if (key_len > HMAC_BLOCK) {
		struct ota_slice whole = {key, key_len};

		ota_sha256(c, &whole, 1, pad);
	} else if (key_len > 0) {
		memcpy(pad, key, key_len);
	}

	for (size_t i = 0; i < HMAC_BLOCK; i++)
		pad[i] ^= 0x36;
	c->sha256_init(&h);
	c->sha256_update(&h, pad, HMAC_BLOCK);
	for (size_t i = 0; i < n_parts; i++)
		c->sha256_update(&h, parts[i].p, parts[i].len);
	c->sha256_final(&h, inner);

	for (size_t i = 0; i < HMAC_BLOCK; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	c->sha256_init(&h);
	c->sha256_update(&h, pad, HMAC_BLOCK);
	c->sha256_update(&h, inner, sizeof inner);
	c->sha256_final(&h, out);

	ota_wipe(&h, sizeof h);
	ota_wipe(pad, sizeof pad);
	ota_wipe(inner, sizeof inner);
}

void ota_derive(const struct ota_crypto *c, const uint8_t key[OTA_SHA256_LEN], const char *label,
	uint8_t out[OTA_SHA256_LEN])
{
	struct ota_slice part = ota_text(label);

	ota_hmac(c, key, OTA_SHA256_LEN, &part, 1, out);
}

void ota_kid(const struct ota_crypto *c, const uint8_t *pub, size_t pub_len, uint8_t kid[OTA_KID_LEN])
{
	struct ota_slice part = {pub, pub_len};
	uint8_t digest[OTA_SHA256_LEN];

	ota_sha256(c, &part, 1, digest);
	memcpy(kid, digest, OTA_KID_LEN);
}

struct ota_slice ota_text(const char *s)
{
	struct ota_slice t = {(const uint8_t *)s, 0};

	while (s[t.len])
		t.len++;
	return t;
}

bool ota_ct_equal(const void *a, const void *b, size_t len)
{
	const volatile uint8_t *x = a, *y = b;
	uint8_t diff = 0;

	for (size_t i = 0; i < len; i++)
		diff = (uint8_t)(diff | (x[i] ^ y[i]));
	return diff == 0;
}

void ota_wipe(void *p, size_t len)
{
	volatile uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		b[i] = 0;
}
