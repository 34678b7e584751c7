#include "tests/fuzz/lax.h"

#include <stdlib.h>
#include <string.h>

#include "proto/cose.h"
#include "proto/crypto_openssl.h"

static enum ota_err verify(int alg, const uint8_t *pub, size_t pub_len, const struct ota_slice *parts,
	size_t n_parts, const uint8_t sig[OTA_SIG_LEN])
{
	(void)alg;
	(void)pub;
	(void)pub_len;
	(void)parts;
	(void)n_parts;
	(void)sig;
	return OTA_OK;
}

const struct ota_crypto *lax_crypto(void)
{
	static struct ota_crypto table;

	table = *crypto_openssl();
	table.verify = verify;
	return &table;
}

uint8_t *lax_mac_fix(const uint8_t *data, size_t size, const uint8_t key[32], const char *aad)
{
	uint8_t *copy = malloc(size > 0 ? size : 1), buf[2048];
	struct cose_msg m;
	struct cbor_out out;

	if (!copy)
		abort();
	if (size > 0)
		memcpy(copy, data, size);
	if (cose_decode(copy, size, &m) || !m.is_mac || m.detached || size > sizeof buf)
		return copy;
	cbor_out_init(&out, buf, sizeof buf);
	if (cose_put_mac0(&out, crypto_openssl(), key, m.has_kid ? m.kid : NULL, aad, m.payload) == OTA_OK &&
		out.len == size)
		memcpy(copy, buf, size);
	return copy;
}
