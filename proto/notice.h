/* Notice: "look soon", by MQTT. A hint, never evidence: no URL, no command, no state.
 *
 * Topics under a prefix (default "otad/1"): PREFIX/b/<class-id hex> retained, PREFIX/d/<device-id hex> not
 * retained, QoS 1, payload CBOR [1, revision uint32, spread s]. Presence: PREFIX/p/<device-id hex>, QoS 0,
 * one byte '1', last will '0'. */
#ifndef PROTO_NOTICE_H
#define PROTO_NOTICE_H

#include "proto/cbor.h"

enum {
	NOTICE_MAX = 32,
	NOTICE_SPREAD_MAX_S = 3600,
	NOTICE_TOPIC_MAX = 128, /* with NUL */
	NOTICE_PREFIX_MAX = 64,
};

#define NOTICE_PREFIX_DEFAULT "otad/1"

struct notice {
	uint32_t revision;
	uint32_t spread_s; /* clamped by decode to NOTICE_SPREAD_MAX_S */
};

OTA_MUST_USE enum ota_err notice_encode(const struct notice *n, void *buf, size_t cap, size_t *len);
OTA_MUST_USE enum ota_err notice_decode(const void *bytes, size_t len, struct notice *out);

/* 1..NOTICE_PREFIX_MAX printable ASCII characters without wildcards, neither beginning nor ending with '/',
 * nor beginning with '$'. */
bool notice_prefix_is_valid(struct ota_slice prefix);

/* kind is 'b', 'd' or 'p'. Writes a NUL-terminated topic. OTA_INVALID: bad kind, prefix too long or with a
 * wildcard. */
OTA_MUST_USE enum ota_err notice_topic(
	const char *prefix, char kind, const uint8_t id[16], char topic[NOTICE_TOPIC_MAX]);
/* The id in a topic of that kind under the prefix; OTA_INVALID when it is none. */
OTA_MUST_USE enum ota_err notice_topic_id(const char *prefix, char kind, const char *topic, uint8_t id[16]);

#endif
