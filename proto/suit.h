/* Release: a SUIT envelope (draft-ietf-suit-manifest-37) in the profile "otad-suit-1".
 *
 * The identity of a release is the digest of its manifest (SHA-256 over the bstr-wrapped manifest, header
 * included), never the envelope's bytes: signatures can be added and replaced. docs/protocol.md has the
 * profile. Order of use: suit_envelope_decode, suit_envelope_verify, and only then suit_manifest_decode. */
#ifndef PROTO_SUIT_H
#define PROTO_SUIT_H

#include "proto/cose.h"

enum {
	SUIT_ENVELOPE_MAX = 1024,
	SUIT_BLOCKS_MAX = 4,
	SUIT_COMPONENTS_MAX = 4,
	SUIT_COMPONENT_ID_MAX = 8,
	SUIT_SLOTS_MAX = 2,
	SUIT_URI_LEN = 2 + 64, /* "i/" + hex digest */
};

struct suit_image {
	uint8_t sha256[32];
	uint32_t size; /* bytes, > 0 */
};

struct suit_component {
	uint8_t id[SUIT_COMPONENT_ID_MAX]; /* ASCII name of the component: "app" */
	uint8_t id_len;
	uint8_t n_images; /* 1: the same image for any slot; 2: image[k] is linked for slot k */
	struct suit_image image[SUIT_SLOTS_MAX];
};

struct suit_manifest {
	uint32_t sequence; /* > 0 */
	uint8_t vendor_id[16], class_id[16];
	bool has_device_id; /* a release for one device alone */
	uint8_t device_id[16];
	size_t n_components; /* 1..4, in the board's order */
	struct suit_component component[SUIT_COMPONENTS_MAX];
	bool has_text_digest; /* of the text that otad and otactl keep beside the envelope */
	uint8_t text_sha256[32];
	bool invoke;
};

struct suit_envelope {
	uint8_t digest[32]; /* as the authentication container says; checked against the manifest */
	struct ota_slice digest_bytes; /* the SUIT_Digest that the blocks sign */
	struct ota_slice manifest;     /* content of the manifest bstr */
	size_t n_blocks;
	struct cose_msg block[SUIT_BLOCKS_MAX];
};

/* Encode the manifest (content of the bstr). OTA_NO_SPACE, OTA_INVALID (fields outside the profile). */
OTA_MUST_USE enum ota_err suit_manifest_encode(
	const struct suit_manifest *m, void *buf, size_t cap, size_t *len);

/* The only URI an image has: "i/" and its digest in lower-case hex, without NUL. */
void suit_uri(const uint8_t sha256[32], char uri[SUIT_URI_LEN]);

bool suit_component_id_equal(const struct suit_component *a, const struct suit_component *b);

/* Digest of a manifest's content, over its bstr wrapping. */
void suit_manifest_digest(const struct ota_crypto *c, struct ota_slice manifest, uint8_t digest[32]);

/* Decode strictly in the profile, checking everything that needs no knowledge of the device: OTA_CBOR,
 * OTA_MANIFEST_VERSION, OTA_ROLLBACK (sequence 0), OTA_COMMAND, OTA_COMPONENT, OTA_PARAM, OTA_SEVER, OTA_ALG,
 * and OTA_VENDOR, OTA_CLASS, OTA_DEVICE (an id that is missing, malformed or not the same for every
 * component). Call it on authentic bytes. */
OTA_MUST_USE enum ota_err suit_manifest_decode(struct ota_slice manifest, struct suit_manifest *out);

/* Framing of an envelope: OTA_TOO_LARGE, OTA_CBOR, OTA_SEVER, OTA_COSE, OTA_ALG; OTA_SIG when there is no
 * block, or the digest container does not match the manifest. Slices point into `bytes`. */
OTA_MUST_USE enum ota_err suit_envelope_decode(
	const struct ota_crypto *c, const void *bytes, size_t len, struct suit_envelope *out);

/* Do the blocks reach the release role's threshold? As cose_verify_threshold. */
OTA_MUST_USE enum ota_err suit_envelope_verify(
	const struct ota_crypto *c, const struct suit_envelope *e, const struct cose_keyring *release);

/* One signature over a manifest digest, as a tagged COSE_Sign1 block. */
OTA_MUST_USE enum ota_err suit_sign(const struct ota_crypto *c, const struct ota_signer *s,
	const uint8_t digest[32], void *buf, size_t cap, size_t *len);

/* Envelope around a manifest with these blocks (complete COSE_Sign1 items, 0..4; none is a draft that no
 * device accepts). OTA_TOO_LARGE: above SUIT_ENVELOPE_MAX. OTA_NO_SPACE. */
OTA_MUST_USE enum ota_err suit_envelope_encode(const struct ota_crypto *c, struct ota_slice manifest,
	const struct ota_slice *blocks, size_t n_blocks, void *buf, size_t cap, size_t *len);

/* What the device is, for suit_run. */
struct suit_target {
	uint8_t vendor_id[16], class_id[16], device_id[16];
	uint32_t floor; /* lowest sequence that may be installed */
	bool has_running;
	uint32_t running_sequence;
	uint8_t running_digest[32];
	size_t n_components; /* the board's, in its order */
	struct {
		uint8_t id[SUIT_COMPONENT_ID_MAX];
		uint8_t id_len;
		uint32_t slot_size; /* bytes that fit into a slot of it */
	} component[SUIT_COMPONENTS_MAX];
	uint8_t slot; /* the slot that would be written, 0 or 1 */
};

/* Run the decoded manifest against the device: may it be installed, and which image goes into which
 * component? `images[i]` is set for each component. Order of checks: OTA_ROLLBACK, OTA_ALREADY,
 * OTA_SEQ_REUSE, OTA_VENDOR, OTA_CLASS, OTA_DEVICE, OTA_COMPONENT, OTA_PARAM (size 0), OTA_SLOT_SIZE. */
OTA_MUST_USE enum ota_err suit_run(const struct suit_manifest *m, const uint8_t digest[32],
	const struct suit_target *t, const struct suit_image *images[SUIT_COMPONENTS_MAX]);

#endif
