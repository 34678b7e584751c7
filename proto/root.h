/* Root document: which keys may do what. Signed by the root role; walked one version at a time.
 *
 * [authentication bstr, payload bstr], external_aad "otad/root/1", at most ROOT_MAX bytes. The decoded form
 * borrows from the bytes, which must outlive it. docs/protocol.md has every rule. */
#ifndef PROTO_ROOT_H
#define PROTO_ROOT_H

#include "proto/cose.h"

enum {
	ROOT_MAX = 1024,
	ROOT_KEYS_MAX = 8,
	ROOT_BLOCKS_MAX = 8,
	ROOT_FLOORS_MAX = 8,
	ROOT_THRESHOLD_MAX = 4,
};

enum root_role { ROOT_ROLE_ROOT = 0, ROOT_ROLE_RELEASE = 1, ROOT_ROLE_SERVER = 2, ROOT_ROLES = 3 };

struct root_floor {
	bool any_class; /* the h'' row */
	uint8_t class_id[16];
	uint32_t sequence;
};

struct root_doc {
	uint32_t version; /* >= 1 */
	size_t n_keys;
	struct cose_key key[ROOT_KEYS_MAX]; /* unknown algorithms are carried */
	struct {
		uint8_t threshold; /* 1..4 */
		uint8_t n;
		uint8_t index[ROOT_KEYS_MAX]; /* into key, ascending */
	} role[ROOT_ROLES];
	uint32_t epoch;
	size_t n_floors;
	struct root_floor floor[ROOT_FLOORS_MAX];
};

/* Payload of `d` (roles and floors in the order required). OTA_INVALID: breaks a rule of the document. */
OTA_MUST_USE enum ota_err root_payload_encode(const struct root_doc *d, void *buf, size_t cap, size_t *len);

/* One detached block of a signer over a payload. */
OTA_MUST_USE enum ota_err root_sign(
	const struct ota_signer *s, struct ota_slice payload, void *buf, size_t cap, size_t *len);

/* The document around complete COSE_Sign1 blocks. OTA_INVALID: not 1..8 of them. OTA_TOO_LARGE: above
 * ROOT_MAX. */
OTA_MUST_USE enum ota_err root_encode(struct ota_slice payload, const struct ota_slice *blocks,
	size_t n_blocks, void *buf, size_t cap, size_t *len);

/* Decode the framing only: the blocks and the payload, unverified. */
OTA_MUST_USE enum ota_err root_split(const void *bytes, size_t len, struct cose_msg blocks[ROOT_BLOCKS_MAX],
	size_t *n_blocks, struct ota_slice *payload);

/* Parse a payload that is trusted already (provisioned, or verified before it was stored), and check every
 * rule of the document, among them that this build's algorithms reach each role's threshold (OTA_ALG). */
OTA_MUST_USE enum ota_err root_payload_decode(
	const struct ota_crypto *c, struct ota_slice payload, struct root_doc *out);

/* The first root of a device or server: verified by its own threshold only (trust on provisioning). */
OTA_MUST_USE enum ota_err root_decode_first(
	const struct ota_crypto *c, const void *bytes, size_t len, struct root_doc *out);

/* The root after `cur`: cur's threshold first (OTA_SIG, OTA_THRESHOLD), then parsed (OTA_CBOR, OTA_ALG),
 * version + 1 (else OTA_ROOT_GAP), then its own threshold, then the epoch rules (OTA_EPOCH; OTA_SIG when
 * epoch + 1 keeps a release key). `*out` is written only on OTA_OK. */
OTA_MUST_USE enum ota_err root_decode_next(const struct ota_crypto *c, const struct root_doc *cur,
	const void *bytes, size_t len, struct root_doc *out);

/* Keys of a role that this build can verify. Borrows from `d`. */
void root_keyring(
	const struct ota_crypto *c, const struct root_doc *d, enum root_role role, struct cose_keyring *out);

/* The floor of a class after accepting `next` over `cur_epoch`: table[class], else table[h''], else 0 on a
 * new epoch; max(floor, that) on the same. */
uint32_t root_floor_after(
	const struct root_doc *next, uint32_t cur_epoch, const uint8_t class_id[16], uint32_t floor);

#endif
