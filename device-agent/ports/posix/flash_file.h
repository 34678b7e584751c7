/* Flash in a file, under NOR rules: programming clears bits only, erasing goes by whole units.
 *
 * The first 4,096 bytes describe the geometry, so that a flash is opened as it was made; the regions follow
 * in the order of enum ota_region. The file is locked while it is open. Identity, root and journal are on
 * disk when a call returns; slots are before anything of the next of these is. */
#ifndef PORT_FLASH_FILE_H
#define PORT_FLASH_FILE_H

#include <stdbool.h>

#include "device-agent/include/ota_flash.h"
#include "proto/errmsg.h"

struct flash_options {
	uint32_t slot_size;  /* bytes, a multiple of erase_unit */
	uint32_t erase_unit; /* bytes */
	uint16_t prog_unit;  /* bytes */
	uint8_t n_components;
};

struct flash_file {
	int fd;
	struct flash_options made; /* of the open file */
	bool has_unsynced;         /* slots were written since the last sync */
	struct ota_flash flash;
};

/* Make a new one, all erased, under a temporary name until flash_file_publish. OTA_INVALID: bad geometry;
 * OTA_EXISTS; OTA_BUSY: another agent is making it. */
OTA_MUST_USE enum ota_err flash_file_create(
	struct flash_file *f, const char *path, const struct flash_options *o, struct errmsg *e);
/* Give a new one its name, on disk when this returns: what is half made is never taken for a flash. */
OTA_MUST_USE enum ota_err flash_file_publish(struct flash_file *f, const char *path, struct errmsg *e);
/* Sync the folder that holds `path`, so that a name given or replaced there outlives a power cut. False:
 * errno. */
bool folder_sync(const char *path);
/* Throw away one that was not published. */
void flash_file_discard(struct flash_file *f, const char *path);
/* OTA_NOT_FOUND: no such file (no message); OTA_BUSY: in use; OTA_CORRUPT: no flash file of this program. */
OTA_MUST_USE enum ota_err flash_file_open(struct flash_file *f, const char *path, struct errmsg *e);
/* Offset of a region in the file. */
uint64_t flash_file_offset(const struct flash_file *f, unsigned region);
/* A zeroed one is not open: set fd to -1. */
void flash_file_close(struct flash_file *f);

#endif
