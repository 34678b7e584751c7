/* crypto.h on OpenSSL 3, for the host programs: a library of its own (ota_crypto), the only code of
 * proto with a heap. Also makes, loads and stores keys. Thread-safe; a signer is used by one thread at a
 * time. */
#ifndef PROTO_CRYPTO_OPENSSL_H
#define PROTO_CRYPTO_OPENSSL_H

#include "proto/crypto.h"

/* The table; constant, never freed. Has ESP256 and ED25519; verify() takes ES256 as ESP256 (generic mode). */
const struct ota_crypto *crypto_openssl(void);

/* Fill with `len` random bytes of the operating system. OTA_IO when there are none. */
OTA_MUST_USE enum ota_err crypto_random(void *out, size_t len);

/* UUID version 5 (RFC 9562 5.5) of a name in a namespace: vendor-ids, class-ids and device-ids. SHA-1 names
 * here and never protects. At most 512 bytes of name. */
void crypto_uuid5(const uint8_t space[16], const void *name, size_t len, uint8_t uuid[16]);

/* Make a key pair for `alg` in memory. `*out` is written only on OTA_OK; end it with crypto_signer_release.
 */
OTA_MUST_USE enum ota_err crypto_signer_generate(int alg, struct ota_signer *out);

/* Load a PEM private key. `passphrase` may be NULL (an encrypted key then answers OTA_DENIED, as does a
 * wrong passphrase). OTA_INVALID: not a PEM private key of P-256 or Ed25519. */
OTA_MUST_USE enum ota_err crypto_signer_from_pem(
	const void *pem, size_t len, const char *passphrase, struct ota_signer *out);

/* Write the private key as PKCS#8 PEM, encrypted (AES-256-CBC, scrypt) when `passphrase` is not NULL.
 * `*out` is malloc'ed, NUL-terminated, `*out_len` without the NUL; wipe and free it. */
OTA_MUST_USE enum ota_err crypto_signer_to_pem(
	const struct ota_signer *s, const char *passphrase, char **out, size_t *out_len);

/* Public key out of a PEM ("PUBLIC KEY", or a private key without passphrase). `*alg` is OTA_ALG_ESP256 or
 * OTA_ALG_ED25519. OTA_INVALID: neither. */
OTA_MUST_USE enum ota_err crypto_pub_from_pem(
	const void *pem, size_t len, int *alg, uint8_t pub[OTA_PUB_MAX], size_t *pub_len);

/* Wipe and free the key. A zeroed signer is a no-op. */
void crypto_signer_release(struct ota_signer *s);

#endif
