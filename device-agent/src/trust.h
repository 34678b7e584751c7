/* Identity and root: two regions of two copies each, replaced one copy at a time, the second only after the
 * first was read back.
 *
 * An identity copy is a provisioning file (proto/provision.h) and padding. A root copy is a root document,
 * the SHA-256 of it, and padding. A copy that is damaged, or older than the other, is written again from the
 * good one. */
#ifndef OTA_TRUST_H
#define OTA_TRUST_H

#include "device-agent/include/ota_flash.h"
#include "proto/provision.h"
#include "proto/root.h"

/* Read the identity into `buf` (PROVISION_MAX bytes; `*p` borrows from it). Copy A counts where both are
 * valid: it is written first. OTA_NOT_FOUND: neither copy is valid. Writes nothing. */
OTA_MUST_USE enum ota_err identity_load(const struct ota_flash *flash, const struct ota_crypto *c,
	uint8_t buf[PROVISION_MAX], struct provision *p, uint32_t *len);

/* Write `len` bytes of an encoded identity into both copies. OTA_NO_SPACE, OTA_FLASH. */
OTA_MUST_USE enum ota_err identity_store(const struct ota_flash *flash, const uint8_t *bytes, uint32_t len);

/* Make the copies equal to the `len` bytes that identity_load gave, before anything is done by them. Writes
 * only where the copies differ; a copy that may have been torn is written again even if it reads well.
 * `scratch` has PROVISION_MAX bytes. */
OTA_MUST_USE enum ota_err identity_heal(const struct ota_flash *flash, const struct ota_crypto *c,
	const uint8_t *bytes, uint32_t len, uint8_t *scratch);

/* Read the stored root of the highest version into `buf` (ROOT_MAX bytes; `*doc` borrows from it).
 * OTA_NOT_FOUND: none was stored yet. Writes nothing. */
OTA_MUST_USE enum ota_err root_load(const struct ota_flash *flash, const struct ota_crypto *c,
	uint8_t buf[ROOT_MAX], uint32_t *len, struct root_doc *doc);

/* Write a verified root document into both copies. They must be equal before, or absent: root_heal at start.
 */
OTA_MUST_USE enum ota_err root_store(
	const struct ota_flash *flash, const struct ota_crypto *c, const uint8_t *bytes, uint32_t len);

/* As identity_heal, for the document that root_load gave; `scratch` has ROOT_MAX bytes. */
OTA_MUST_USE enum ota_err root_heal(const struct ota_flash *flash, const struct ota_crypto *c,
	const uint8_t *bytes, uint32_t len, uint8_t *scratch);

#endif
