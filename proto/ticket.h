/* Ticket: the server's answer to one check-in of one device.
 *
 * COSE_Sign1 (tag 18) by a key of the server role, or COSE_Mac0 (tag 17) under HMAC(K_dev, "otad/s2d/1") when
 * there is nothing to do; external_aad "otad/ticket/1" in both. Fresh by the nonce it echoes; no clock, no
 * counter. */
#ifndef PROTO_TICKET_H
#define PROTO_TICKET_H

#include "proto/cose.h"
#include "proto/keys.h"

enum {
	TICKET_MAX = 1024,
	TICKET_URLS_MAX = 3,
	TICKET_FLAG_HOLD = 1, /* fetch and stage, do not arm */
	TICKET_POLL_MIN_S = 10,
	TICKET_POLL_MAX_S = 7 * 86400,
};

struct ticket {
	bool is_signed; /* Sign1; set by decode, chosen by which encode is called */
	uint8_t device_id[DEVICE_ID_LEN];
	uint8_t nonce[NONCE_LEN];
	uint32_t root_version;
	bool has_assignment;
	uint8_t digest[32];     /* of the assigned manifest */
	uint16_t envelope_size; /* bytes */
	uint8_t attempt;        /* 1..255 */
	uint32_t next_poll_s;
	uint32_t flags;
	bool has_counter; /* with HTTP 409 only */
	uint64_t counter;
	size_t n_urls; /* new base URLs; Sign1 only */
	struct ota_slice url[TICKET_URLS_MAX];
};

/* OTA_INVALID: a field outside its range (root version 0, attempt 0, a URL that is no base). OTA_TOO_LARGE.
 */
OTA_MUST_USE enum ota_err ticket_encode_signed(
	const struct ticket *t, const struct ota_signer *server, void *buf, size_t cap, size_t *len);

/* OTA_INVALID when it carries an assignment or URLs: those need a signature. `k_dev` is the device's key. */
OTA_MUST_USE enum ota_err ticket_encode_mac(const struct ticket *t, const struct ota_crypto *c,
	const uint8_t k_dev[KEY_LEN], void *buf, size_t cap, size_t *len);

/* Decode and authenticate, and check that it is for this device and this nonce. `next_poll_s` comes out
 * clamped. OTA_TOO_LARGE, OTA_CBOR, OTA_FORMAT, OTA_COSE (Mac0 with an assignment), OTA_ALG, OTA_SIG,
 * OTA_DEVICE, OTA_NONCE. URLs point into `bytes`. */
OTA_MUST_USE enum ota_err ticket_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const struct cose_keyring *server, const uint8_t k_dev[KEY_LEN],
	const uint8_t device_id[DEVICE_ID_LEN], const uint8_t nonce[NONCE_LEN], struct ticket *out);

#endif
