/* Provisioning file and identity region: who a device is and whom it trusts.
 *
 * CBOR map, then SHA-256 of all before. As a flash region: that, padded with the erased value, in each of two
 * copies. Before enrollment it carries a secret (keys 6, 7); afterwards the agent adds device-id, K_dev and
 * receipt (10..12), and drops 6 and 7 after the first valid ticket. It holds secrets: 0600. */
#ifndef PROTO_PROVISION_H
#define PROTO_PROVISION_H

#include "proto/enroll.h"
#include "proto/root.h"

enum {
	PROVISION_MAX = 2560,
	PROVISION_URLS_MAX = 3,
	PROVISION_URL_LEN_MAX = 200,
	PROVISION_BROKER_USER_MAX = 64,
	PROVISION_BROKER_PASSWORD_MAX = 128,
};

/* Slices point into the bytes it was decoded from, or are the caller's. */
struct provision {
	uint8_t vendor_id[16], class_id[16];
	struct ota_slice serial; /* 1..32 */
	size_t n_urls;           /* 1..3, each ends in '/' */
	struct ota_slice url[PROVISION_URLS_MAX];
	bool has_secret;
	uint8_t secret_id[SECRET_ID_LEN];
	uint8_t secret[SECRET_LEN];
	struct ota_slice root; /* root document */
	bool has_broker;
	struct ota_slice broker_url, broker_user, broker_password, topic_prefix;
	bool is_enrolled;
	uint8_t device_id[DEVICE_ID_LEN];
	uint8_t k_dev[KEY_LEN];
	struct ota_slice receipt;
};

/* OTA_INVALID: a field outside its range, or neither a secret nor an enrollment. */
OTA_MUST_USE enum ota_err provision_encode(
	const struct provision *p, const struct ota_crypto *c, void *buf, size_t cap, size_t *len);

/* Decode from the start of `bytes`; what follows the trailer (padding of a region) is ignored and `*used`
 * says where it begins. OTA_DIGEST: the trailer does not match. OTA_CBOR, OTA_FORMAT, OTA_INVALID. */
OTA_MUST_USE enum ota_err provision_decode(
	const struct ota_crypto *c, const void *bytes, size_t len, struct provision *out, size_t *used);

#endif
