/* Identity and root: two regions of two copies each, replaced one copy at a time, the second only after the
 * first was read back.
 *
 * An identity copy is a provisioning file (proto/provision.h) and padding. A root copy is a root document,
 * the SHA-256 of it, and padding. Before a copy is touched the journal says which one: a write that was cut
 * may read well now and not at the next start, so that reading alone cannot tell which copy to trust. Two
 * bits of the journal's flags for each pair: 0 both are whole, 1 copy A is being written, 2 copy B is. */
#ifndef OTA_TRUST_H
#define OTA_TRUST_H

#include "device-agent/src/journal.h"
#include "proto/provision.h"
#include "proto/root.h"

enum trust_pair { TRUST_IDENTITY = 0, TRUST_ROOT = 2 }; /* place of its bits in the flags */

/* Read the identity into `buf` (PROVISION_MAX bytes; `*p` borrows from it). `flags`: the journal's, 0 without
 * one. A copy that was being written counts only where the other is damaged, else A does. `*from` is the
 * region. OTA_NOT_FOUND: neither copy is valid. Writes nothing. */
OTA_MUST_USE enum ota_err identity_load(const struct ota_flash *flash, const struct ota_crypto *c,
	uint8_t flags, uint8_t buf[PROVISION_MAX], struct provision *p, uint32_t *len, unsigned *from);

/* Write `len` bytes of an encoded identity into both copies. `j` is NULL only where there is no device yet:
 * when it is made. OTA_NO_SPACE, OTA_FLASH. */
OTA_MUST_USE enum ota_err identity_store(
	const struct ota_flash *flash, struct journal *j, const uint8_t *bytes, uint32_t len);

/* Make both copies whole and equal to what identity_load gave, before anything is done by it. Writes only
 * where that is not so. OTA_OK too where the other copy takes nothing, if `from` was never in doubt: it is
 * worn out, stays suspect, and each store tries it before it touches the good one. OTA_FLASH. */
OTA_MUST_USE enum ota_err identity_heal(
	const struct ota_flash *flash, struct journal *j, const uint8_t *bytes, uint32_t len, unsigned from);

/* Read the stored root into `buf` (ROOT_MAX bytes; `*doc` borrows from it): as identity_load, but of two
 * whole copies the higher version counts. OTA_NOT_FOUND: none was stored yet. OTA_FLASH: there may be one,
 * but it cannot be read. Writes nothing. */
OTA_MUST_USE enum ota_err root_load(const struct ota_flash *flash, const struct ota_crypto *c, uint8_t flags,
	uint8_t buf[ROOT_MAX], uint32_t *len, struct root_doc *doc, unsigned *from);

/* Write a verified root document into both copies. */
OTA_MUST_USE enum ota_err root_store(const struct ota_flash *flash, const struct ota_crypto *c,
	struct journal *j, const uint8_t *bytes, uint32_t len);

/* As identity_heal, for the document that root_load gave. */
OTA_MUST_USE enum ota_err root_heal(const struct ota_flash *flash, const struct ota_crypto *c,
	struct journal *j, const uint8_t *bytes, uint32_t len, unsigned from);

#endif
