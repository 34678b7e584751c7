/* Crypto as a struct of functions, so that proto runs on OpenSSL (hosts) and BearSSL (bare metal) alike.
 *
 * Algorithms are numbers of the IANA COSE registry. Public keys: P-256 is the 65-byte uncompressed
 * point (SEC 1, 0x04 | X | Y), Ed25519 the 32 bytes of RFC 8032. A signature is always 64 bytes
 * (r | s big-endian, or RFC 8032). kid = the first 8 bytes of SHA-256(public key). */
#ifndef PROTO_CRYPTO_H
#define PROTO_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

enum {
	OTA_ALG_HMAC256 = 5,   /* HMAC-SHA-256, 32-byte tag */
	OTA_ALG_ES256 = -7,    /* generic mode only (the SUIT draft's own examples) */
	OTA_ALG_ESP256 = -9,   /* ECDSA P-256 with SHA-256, the default */
	OTA_ALG_SHA256 = -16,  /* digest */
	OTA_ALG_ED25519 = -19, /* release keys of boards whose agents have it */

	OTA_SHA256_LEN = 32,
	OTA_SIG_LEN = 64,
	OTA_KID_LEN = 8,
	OTA_P256_PUB_LEN = 65,
	OTA_ED25519_PUB_LEN = 32,
	OTA_PUB_MAX = 65,
};

/* Borrowed bytes; whoever fills it says how long they live. */
struct ota_slice {
	const uint8_t *p;
	size_t len;
};

/* Storage for one running SHA-256, owned by the caller. It holds no pointer and may be copied;
 * an abandoned one needs no release. */
struct ota_sha256 {
	uint64_t opaque[16];
};

struct ota_crypto {
	void (*sha256_init)(struct ota_sha256 *h);
	void (*sha256_update)(struct ota_sha256 *h, const void *data, size_t len);
	void (*sha256_final)(struct ota_sha256 *h, uint8_t out[OTA_SHA256_LEN]);

	/* Verify `sig` (64 bytes) over the concatenation of `parts`. OTA_OK, OTA_SIG (wrong, or the key
	 * is no point of the curve) or OTA_ALG (this build has no such algorithm, or `pub_len` is not
	 * the algorithm's). At most 2,048 bytes of message in all. */
	enum ota_err (*verify)(int alg, const uint8_t *pub, size_t pub_len, const struct ota_slice *parts,
		size_t n_parts, const uint8_t sig[OTA_SIG_LEN]);

	/* True where verify() has `alg`. */
	bool (*has_alg)(int alg);
};

/* A private key somewhere: memory, an engine, another process. */
struct ota_signer {
	int alg;
	uint8_t pub[OTA_PUB_MAX];
	size_t pub_len;
	uint8_t kid[OTA_KID_LEN];
	/* Sign the concatenation of `parts`; `sig` is written only on OTA_OK. OTA_IO: the key did not answer.
	 */
	enum ota_err (*sign)(
		void *ctx, const struct ota_slice *parts, size_t n_parts, uint8_t sig[OTA_SIG_LEN]);
	void *ctx;
};

/* One shot SHA-256 over `parts`. */
void ota_sha256(const struct ota_crypto *c, const struct ota_slice *parts, size_t n_parts,
	uint8_t out[OTA_SHA256_LEN]);

/* HMAC-SHA-256 (RFC 2104) over the concatenation of `parts`, built from c's SHA-256. */
void ota_hmac(const struct ota_crypto *c, const uint8_t *key, size_t key_len, const struct ota_slice *parts,
	size_t n_parts, uint8_t out[OTA_SHA256_LEN]);

/* HMAC over an ASCII label without its NUL: how every key of this project is derived. */
void ota_derive(const struct ota_crypto *c, const uint8_t key[OTA_SHA256_LEN], const char *label,
	uint8_t out[OTA_SHA256_LEN]);

/* kid of a public key. */
void ota_kid(const struct ota_crypto *c, const uint8_t *pub, size_t pub_len, uint8_t kid[OTA_KID_LEN]);

/* The bytes of a NUL-terminated constant without its NUL; lives as long as `s`. */
struct ota_slice ota_text(const char *s);

/* Constant time in `len`. */
bool ota_ct_equal(const void *a, const void *b, size_t len);

/* Overwrite secrets; never optimised away. */
void ota_wipe(void *p, size_t len);

#endif
