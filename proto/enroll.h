/* Enrollment: a secret becomes a device key; and the receipt that survives a restored backup.
 *
 * Request: COSE_Mac0 with kid = secret id, key HMAC(secret, "otad/enroll/1"), aad the same. Answer:
 * COSE_Mac0, key HMAC(secret, "otad/enrolled/1"), aad the same. Receipt: COSE_Mac0, aad "otad/receipt/1", key
 * HMAC(server's enroll key, "otad/receipt/1"). */
#ifndef PROTO_ENROLL_H
#define PROTO_ENROLL_H

#include "proto/cose.h"
#include "proto/keys.h"

enum { ENROLL_MAX = 512, RECEIPT_MAX = 192 };

struct enroll_request {
	uint8_t secret_id[SECRET_ID_LEN];
	uint8_t vendor_id[16], class_id[16];
	uint8_t serial[SERIAL_MAX];
	size_t serial_len; /* 1..32 */
	uint8_t nonce_d[NONCE_LEN];
};

struct enroll_answer {
	uint8_t nonce_d[NONCE_LEN], nonce_s[NONCE_LEN];
	uint8_t device_id[DEVICE_ID_LEN];
	struct ota_slice receipt; /* 1..RECEIPT_MAX bytes */
};

struct receipt {
	uint8_t secret_id[SECRET_ID_LEN];
	uint8_t device_id[DEVICE_ID_LEN];
	uint8_t class_id[16];
	uint8_t nonce_d[NONCE_LEN], nonce_s[NONCE_LEN];
};

OTA_MUST_USE enum ota_err enroll_request_encode(const struct enroll_request *r, const struct ota_crypto *c,
	const uint8_t secret[SECRET_LEN], void *buf, size_t cap, size_t *len);
/* The claimed secret id, to find the secret by. */
OTA_MUST_USE enum ota_err enroll_request_peek(
	const void *bytes, size_t len, uint8_t secret_id[SECRET_ID_LEN]);
OTA_MUST_USE enum ota_err enroll_request_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const uint8_t secret[SECRET_LEN], struct enroll_request *out);

OTA_MUST_USE enum ota_err enroll_answer_encode(const struct enroll_answer *a, const struct ota_crypto *c,
	const uint8_t secret[SECRET_LEN], void *buf, size_t cap, size_t *len);
/* OTA_NONCE: answers another request. `receipt` points into `bytes`. */
OTA_MUST_USE enum ota_err enroll_answer_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const uint8_t secret[SECRET_LEN], const uint8_t nonce_d[NONCE_LEN], struct enroll_answer *out);

OTA_MUST_USE enum ota_err receipt_encode(const struct receipt *r, const struct ota_crypto *c,
	const uint8_t enroll_key[KEY_LEN], void *buf, size_t cap, size_t *len);
OTA_MUST_USE enum ota_err receipt_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const uint8_t enroll_key[KEY_LEN], struct receipt *out);

#endif
