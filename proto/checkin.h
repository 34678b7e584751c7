/* Check-in: what a device tells, and asks, each time.
 *
 * COSE_Mac0, external_aad "otad/checkin/1", key HMAC(K_dev, "otad/d2s/1"), at most CHECKIN_MAX bytes. */
#ifndef PROTO_CHECKIN_H
#define PROTO_CHECKIN_H

#include "proto/cose.h"
#include "proto/keys.h"

enum {
	CHECKIN_MAX = 1024,
	CHECKIN_FLAG_WANTS_SIGNED = 1, /* asks for a Sign1 ticket */
	CHECKIN_FLAG_HAS_RANDOM = 2,
	CHECKIN_FLAG_STUCK = 4, /* what runs failed its trial, and there was nothing to go back to */
};

/* A counter that every store can hold. Whoever reaches it needs a new key. */
#define CHECKIN_COUNTER_MAX ((uint64_t)INT64_MAX)

enum checkin_state { CHECKIN_IDLE, CHECKIN_FETCHING, CHECKIN_STAGED, CHECKIN_TRIAL, CHECKIN_CONFIRMED };

struct checkin {
	uint8_t device_id[DEVICE_ID_LEN];
	uint8_t nonce[NONCE_LEN];
	uint64_t counter; /* at most CHECKIN_COUNTER_MAX */
	uint32_t root_version;
	bool has_running; /* false: no record tells what runs */
	uint32_t running_sequence;
	uint8_t running_digest[32]; /* manifest that the bootloader verified at this boot */
	enum checkin_state state;
	bool has_target;
	uint8_t target_digest[32];
	uint8_t target_attempt;
	uint32_t target_bytes; /* done so far, all components */
	bool has_result;
	uint8_t result_digest[32];
	uint8_t result_attempt;
	uint8_t result_reason; /* wire reason, 0 success */
	uint16_t result_detail;
	uint32_t result_offset; /* of a byte; with OTA_HEALTH seconds without a word that it is well */
	uint32_t uptime_s;
	uint32_t flags;
	struct ota_slice receipt; /* empty: none */
};

/* Of what a check-in said, in it or kept from it. What runs failed its trial, and there was nothing to go
 * back to. */
static inline bool checkin_is_stuck(bool has_running, enum checkin_state state, uint32_t flags)
{
	return has_running && state != CHECKIN_TRIAL && (flags & CHECKIN_FLAG_STUCK) != 0;
}

/* It runs a release, in any state but trial, and is not stuck with it. */
static inline bool checkin_is_confirmed(bool has_running, enum checkin_state state, uint32_t flags)
{
	return has_running && state != CHECKIN_TRIAL && (flags & CHECKIN_FLAG_STUCK) == 0;
}

OTA_MUST_USE enum ota_err checkin_encode(const struct checkin *ci, const struct ota_crypto *c,
	const uint8_t k_dev[KEY_LEN], void *buf, size_t cap, size_t *len);

/* The claimed device-id, to find the key by, and nothing else: the rest is not to be used before the MAC is
 * right. */
OTA_MUST_USE enum ota_err checkin_peek(const void *bytes, size_t len, uint8_t device_id[DEVICE_ID_LEN]);

/* The receipt that a check-in of an unknown device shows, unverified: it has a MAC of its own, and only its
 * content gives the key to verify the check-in with. OTA_NOT_FOUND: it shows none. Points into `bytes`. */
OTA_MUST_USE enum ota_err checkin_peek_receipt(const void *bytes, size_t len, struct ota_slice *receipt);

/* OTA_TOO_LARGE, OTA_CBOR, OTA_COSE, OTA_FORMAT, OTA_SIG. `receipt` points into `bytes`. */
OTA_MUST_USE enum ota_err checkin_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const uint8_t k_dev[KEY_LEN], struct checkin *out);

#endif
