/* COSE_Sign1 and COSE_Mac0 (RFC 9052), in the one form this project uses.
 *
 * Tagged (18, 17); protected header exactly {1: alg, 4: kid} (Sign1), {1: 5} (Mac0) or {1: 5, 4: secret id}
 * (Mac0 of an enrollment request); unprotected {}; payload attached, or nil where it is detached. Anything
 * else is OTA_COSE; bytes that are no CBOR are OTA_CBOR; an algorithm we never use is OTA_ALG; a signature or
 * tag of the wrong length is OTA_SIG. */
#ifndef PROTO_COSE_H
#define PROTO_COSE_H

#include "proto/cbor.h"
#include "proto/crypto.h"

enum {
	COSE_TAG_SIGN1 = 18,
	COSE_TAG_MAC0 = 17,
	COSE_SIGN1_OVERHEAD = 90, /* bound on what a Sign1 adds to its payload */
	COSE_RING_MAX = 8,        /* keys in a ring */
	COSE_BLOCKS_MAX = 8,      /* signature blocks that are looked at */
};

/* A decoded, unverified message. Slices point into the input. */
struct cose_msg {
	bool is_mac;
	int alg;
	bool has_kid;
	uint8_t kid[OTA_KID_LEN];
	struct ota_slice protected_hdr; /* content of the protected bstr */
	bool detached;
	struct ota_slice payload; /* empty when detached */
	const uint8_t *auth;      /* 64-byte signature or 32-byte tag */
};

/* A public key somebody trusts; `pub` is borrowed. */
struct cose_key {
	int alg;
	struct ota_slice pub;
	uint8_t kid[OTA_KID_LEN];
};

/* Keys of one role with its threshold. */
struct cose_keyring {
	const struct cose_key *key[COSE_RING_MAX];
	size_t n;
	uint8_t threshold;
};

/* Decode one tagged message that fills `bytes` exactly. */
OTA_MUST_USE enum ota_err cose_decode(const void *bytes, size_t len, struct cose_msg *out);
/* Decode the next item of `in` as one tagged message. */
OTA_MUST_USE enum ota_err cose_decode_next(struct cbor_in *in, struct cose_msg *out);

/* Verify a Sign1 with one key. `aad` is an ASCII label ("" for none); `payload` the attached or detached
 * payload. OTA_SIG, OTA_ALG (also: the message's algorithm is not the key's), or OTA_COSE when `m` is a Mac0.
 */
OTA_MUST_USE enum ota_err cose_verify_sign1(const struct ota_crypto *c, const struct cose_msg *m,
	const struct cose_key *key, const char *aad, struct ota_slice payload);

/* Verify a Sign1 by whichever key of the ring has its kid (threshold ignored). OTA_SIG: no such key. */
OTA_MUST_USE enum ota_err cose_verify_ring(const struct ota_crypto *c, const struct cose_msg *m,
	const struct cose_keyring *ring, const char *aad, struct ota_slice payload);

/* Do `n` detached Sign1 blocks reach the ring's threshold? Blocks of unknown kid are skipped, each known
 * kid is tried once, no key counts twice. OTA_OK, OTA_THRESHOLD (some but too few), OTA_SIG (none), OTA_ALG
 * (none, and one named another algorithm than its key's), OTA_COSE (a block is a Mac0 or attached, or more
 * than COSE_BLOCKS_MAX). */
OTA_MUST_USE enum ota_err cose_verify_threshold(const struct ota_crypto *c, const struct cose_msg *blocks,
	size_t n, const struct cose_keyring *ring, const char *aad, struct ota_slice payload);

OTA_MUST_USE enum ota_err cose_verify_mac0(const struct ota_crypto *c, const struct cose_msg *m,
	const uint8_t key[32], const char *aad, struct ota_slice payload);

/* Append a Sign1 to `out`; detached when `attach` is false. OTA_NO_SPACE, or what the signer says. */
OTA_MUST_USE enum ota_err cose_put_sign1(struct cbor_out *out, const struct ota_signer *s, const char *aad,
	struct ota_slice payload, bool attach);

/* Append a Mac0 with its payload attached; `kid` may be NULL. */
OTA_MUST_USE enum ota_err cose_put_mac0(struct cbor_out *out, const struct ota_crypto *c,
	const uint8_t key[32], const uint8_t *kid, const char *aad, struct ota_slice payload);

#endif
