/* The bootloader's half of a port: choose, jump. */
#include "device-agent/boot/boot.h"
#include "device-agent/ports/template/board.h"

enum { WAIT_MAX_MS = 3600000 };

static struct ota_boot_work work;

void boot_run(void);

/* Call it from the reset handler, once clocks and flash are up; it does not return. */
void boot_run(void)
{
	struct ota_boot_config cfg = {.flash = &board_flash, .crypto = &board_crypto};
	struct ota_boot_choice choice = {0};

	for (uint32_t wait_ms = 1000;; wait_ms = wait_ms < WAIT_MAX_MS / 2 ? wait_ms * 2 : WAIT_MAX_MS) {
		enum ota_err err = ota_boot_select(&cfg, &work, &choice);

		/* OTA_FLASH with a choice: the journal is worn out, what ran before still runs. */
		if (err == OTA_OK || (err == OTA_FLASH && choice.sequence != 0))
			board_jump(choice.slot);
		/* Nothing verifies: a read may fail once. Less and less often, because each look is a record.
		 */
		board_sleep_ms(wait_ms);
	}
}
