/* What a board has to bring: fill these in, in a file of your own, and link it with port.c. PORTING.md tells
 * how. */
#ifndef PORT_TEMPLATE_BOARD_H
#define PORT_TEMPLATE_BOARD_H

#include "device-agent/include/ota_agent.h"

/* Flash: read, program, erase and geometry of every region of ota_flash.h. */
extern const struct ota_flash board_flash;

/* SHA-256 and signature verification. */
extern const struct ota_crypto board_crypto;

/* Milliseconds since the start; never goes back. */
int64_t board_now_ms(void);

/* Random bytes of a real source; anything but OTA_OK when there is none. */
enum ota_err board_random(void *out, size_t len);

/* Slot that this code runs from: 0 or 1. */
unsigned board_running_slot(void);

/* Is the application well? Asked about once a second while it is on trial. */
enum ota_health board_app_health(void);

/* Connect to the host of an http:// base URL. True: connected. At most 10 seconds. */
bool board_connect(struct ota_slice base);
/* Send all of it. False: the connection is gone. */
bool board_send(const void *bytes, size_t len);
/* Up to `cap` bytes as they come; 0: the connection ended, or nothing came for 30 seconds. */
size_t board_receive(void *buf, size_t cap);
void board_disconnect(void);

/* Sleep, with a look at what else there is to do; may return early. */
void board_sleep_ms(uint32_t ms);

/* Restart the processor, which runs the bootloader. Does not return. */
void board_reset(void) __attribute__((noreturn));

/* Start the image in `slot` (bootloader only). Does not return. */
void board_jump(unsigned slot) __attribute__((noreturn));

#endif
