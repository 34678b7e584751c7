/* Generic mode: authenticates and lists any envelope of draft-ietf-suit-manifest-37, as its own examples are.
 * Linked by otactl (`release inspect --generic`) and the tests; never by otad, agent or bootloader. */
#ifndef PROTO_SUIT_GENERIC_H
#define PROTO_SUIT_GENERIC_H

#include "proto/suit.h"

struct suit_generic {
	uint64_t sequence;
	uint8_t digest[32];
	size_t n_blocks, n_components;
	bool has_vendor, has_class, has_validate, has_install, has_invoke, has_load, has_severed;
	uint8_t vendor_id[16], class_id[16];
};

/* Decode and verify with one public key (ES256 -7 is taken as ESP256). OTA_SIG: no block, or none by this
 * key. The whole envelope is read strictly: an unknown key, a severed member whose digest does not match and
 * trailing bytes are errors, as is a manifest without a validate section or with a member of an extension. At
 * most 16 KiB. */
OTA_MUST_USE enum ota_err suit_generic_verify(const struct ota_crypto *c, const void *bytes, size_t len,
	const struct cose_key *key, struct suit_generic *out);

#endif
