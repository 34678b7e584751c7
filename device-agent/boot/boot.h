/* Bootloader logic: which slot runs now.
 *
 * It boots a slot whose images match the journal's record of it, or, where no record tells, the slot's own
 * envelope; of those one whose signature verifies under the stored or the provisioned root goes first, then
 * the higher sequence. Signatures and floors gate installing, never booting what was once confirmed. A boot
 * attempt of a trial is written down before the jump. */
#ifndef OTA_BOOT_H
#define OTA_BOOT_H

#include "device-agent/src/journal.h"
#include "proto/provision.h"

struct ota_boot_config {
	const struct ota_flash *flash;
	const struct ota_crypto *crypto;
	uint8_t attempts; /* starts of an image on trial before going back; 0: OTA_BOOT_ATTEMPTS */
};

/* Working memory, used only while ota_boot_select runs. */
struct ota_boot_work {
	struct journal journal;
	union {
		uint8_t identity[PROVISION_MAX];
		uint8_t root[ROOT_MAX];
	} trust;
	uint8_t envelope[OTA_ENVELOPE_AREA];
};

struct ota_boot_choice {
	uint8_t slot;
	bool is_trial;
	bool is_reverted; /* this start went back to another image */
	bool is_rebuilt;  /* no journal told: found by the envelopes */
	enum ota_err why; /* it went back, or a trial ended: OTA_HEALTH, OTA_CONTACT, OTA_BOOTS, OTA_DIGEST */
	uint32_t sequence; /* of what boots, 0: no release */
};

/* Choose. OTA_OK: jump to `out->slot`. OTA_NOT_FOUND: no slot holds an image that verifies (the journal
 * stands; a port whose agent lives elsewhere goes on, a bootloader waits for a cable). OTA_INVALID: bad
 * geometry. OTA_FLASH: flash takes no record, or cannot be read; where `out->sequence` is not 0, `out->slot`
 * may be booted: it verifies, and is the one that ran before a trial as long as that verifies. Nothing can be
 * installed, and the agent has to be told which slot runs (ota_agent_config.running). */
OTA_MUST_USE enum ota_err ota_boot_select(
	const struct ota_boot_config *cfg, struct ota_boot_work *w, struct ota_boot_choice *out);

#endif
