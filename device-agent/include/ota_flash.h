/* Flash as the agent and the bootloader see it: regions with a geometry, and three functions.
 *
 * NOR rules: programming only moves bits away from the erased value, whole program units at a time, each unit
 * once between two erases. Offsets and lengths are bytes inside a region. Power may fail inside any call. */
#ifndef OTA_FLASH_H
#define OTA_FLASH_H

#include <stdint.h>

#include "proto/err.h"

enum {
	OTA_SLOTS = 2,
	OTA_COMPONENTS_MAX = 2,   /* of a board that runs this agent */
	OTA_ENVELOPE_AREA = 1024, /* last bytes of component 0's slots: the release envelope */
	OTA_PROG_UNIT_MAX = 32,
	OTA_IDENTITY_MIN = 2560,  /* smallest identity region (one copy) */
	OTA_ROOT_MIN = 1024 + 32, /* smallest root region (one copy) */
};

enum ota_region {
	OTA_REGION_IDENTITY_A,
	OTA_REGION_IDENTITY_B,
	OTA_REGION_ROOT_A,
	OTA_REGION_ROOT_B,
	OTA_REGION_JOURNAL,
	OTA_REGION_SLOT, /* slot k of component c is OTA_REGION_SLOT + 2 * c + k */
	OTA_REGIONS = OTA_REGION_SLOT + OTA_SLOTS * OTA_COMPONENTS_MAX,
};

struct ota_flash_geometry {
	uint32_t size;       /* bytes, a multiple of erase_unit; 0: the region does not exist */
	uint32_t erase_unit; /* bytes, a multiple of prog_unit */
	uint16_t prog_unit;  /* bytes, 1..OTA_PROG_UNIT_MAX, a power of two */
	uint8_t erased;      /* value of an erased byte, 0xFF or 0x00 */
};

/* The port's driver. `ctx` is handed back unchanged. Every function answers OTA_OK or OTA_FLASH. */
struct ota_flash {
	void *ctx;
	enum ota_err (*read)(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len);
	/* `off` and `len` are multiples of prog_unit. */
	enum ota_err (*prog)(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len);
	/* `off` and `len` are multiples of erase_unit. */
	enum ota_err (*erase)(void *ctx, unsigned region, uint32_t off, uint32_t len);
	/* Constant over the life of `ctx`; never fails. */
	void (*geometry)(void *ctx, unsigned region, struct ota_flash_geometry *out);
};

#endif
