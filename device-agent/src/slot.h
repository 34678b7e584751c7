/* Slots: what is in them, and whether it is what a record says. Shared by agent and bootloader. */
#ifndef OTA_SLOT_H
#define OTA_SLOT_H

#include "device-agent/src/journal.h"
#include "proto/root.h"
#include "proto/suit.h"

/* Region of component `c` in slot `k`. */
unsigned slot_region(unsigned c, unsigned k);

/* Bytes an image of component `c` may have: the slot without the envelope's area. 0: no such slot. */
uint32_t slot_capacity(const struct ota_flash *flash, unsigned c);

/* Hash `len` bytes of a region into `h`, in small reads. OTA_FLASH. */
OTA_MUST_USE enum ota_err slot_hash(const struct ota_flash *flash, const struct ota_crypto *c,
	unsigned region, uint32_t off, uint32_t len, struct ota_sha256 *h);

/* Do all images of slot `k` match their record? OTA_OK; OTA_NOT_FOUND: the record is empty; OTA_DIGEST;
 * OTA_FLASH.
 */
OTA_MUST_USE enum ota_err slot_check(const struct ota_flash *flash, const struct ota_crypto *c,
	const struct journal_slot *rec, unsigned k);

/* The envelope stored in slot `k`: its bytes are read into `buf`, and `*len` is where the envelope ends.
 * OTA_NOT_FOUND: none there. Nothing is verified. */
OTA_MUST_USE enum ota_err slot_envelope_read(
	const struct ota_flash *flash, unsigned k, uint8_t buf[OTA_ENVELOPE_AREA], uint32_t *len);

/* Is the envelope `bytes`, as slot_envelope_read gave it, the one of the manifest with this digest, signed by
 * release keys that `root` trusts? */
bool slot_envelope_is_signed(const struct ota_crypto *c, const struct root_doc *root,
	const uint8_t digest[32], const uint8_t *bytes, uint32_t len);

/* The record of a manifest for slot `k`. OTA_COMPONENT: more components than a record has. */
OTA_MUST_USE enum ota_err slot_record_from(
	const struct suit_manifest *m, const uint8_t digest[32], unsigned k, struct journal_slot *rec);

/* Program `len` bytes at `off` (a multiple of the program unit), padding the last unit with the erased value,
 * and read them back. OTA_FLASH. */
OTA_MUST_USE enum ota_err flash_write(
	const struct ota_flash *flash, unsigned region, uint32_t off, const uint8_t *bytes, uint32_t len);

#endif
