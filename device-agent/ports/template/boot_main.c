/* The bootloader's half of a port: choose, jump. */
#include "device-agent/boot/boot.h"
#include "device-agent/ports/template/board.h"

static struct ota_boot_work work;

void boot_run(void);

/* Call it from the reset handler, once clocks and flash are up; it does not return. */
void boot_run(void)
{
	struct ota_boot_config cfg = {.flash = &board_flash, .crypto = &board_crypto};
	struct ota_boot_choice choice = {0};

	for (;;) {
		enum ota_err err = ota_boot_select(&cfg, &work, &choice);

		/* OTA_FLASH with a choice: the journal is worn out, what ran before still runs. */
		if (err == OTA_OK || (err == OTA_FLASH && choice.sequence != 0))
			board_jump(choice.slot);
		board_sleep_ms(1000); /* nothing verifies: a read may fail once */
	}
}
