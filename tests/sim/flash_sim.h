/* Flash in memory, under NOR rules, whose power can fail before, inside and after any operation.
 *
 * After a cut every call answers OTA_FLASH and changes nothing until flash_sim_power_on. What a cut inside an
 * operation leaves is one of a few fixed damages. */
#ifndef TESTS_FLASH_SIM_H
#define TESTS_FLASH_SIM_H

#include <stdbool.h>

#include "device-agent/include/ota_flash.h"

/* How the journal refuses an operation: see flash_sim_refuse. */
enum flash_refusal {
	REFUSE_UNDONE,  /* an error, nothing changed */
	REFUSE_HALF,    /* an error, a part of it changed */
	REFUSE_DONE,    /* an error, all of it changed */
	REFUSE_SILENT,  /* nothing changed, and no error of a program */
	REFUSE_READING, /* done, but nothing of the journal can be read until it is over */
	REFUSALS,
};

enum flash_damage {
	DAMAGE_NOTHING,    /* cut before the operation */
	DAMAGE_PREFIX,     /* the first bytes took it */
	DAMAGE_BITS,       /* a seeded subset of the bits took it */
	DAMAGE_UNSTABLE,   /* as BITS, and what is half done reads differently each time */
	DAMAGE_MARGINAL,   /* all of it took it, but for one or two bits that read differently each time */
	DAMAGE_ALL,        /* cut after the operation */
	DAMAGE_UNREADABLE, /* flash with ECC: every program unit of it answers OTA_FLASH until it is erased */
	DAMAGES,
};

struct flash_sim_options {
	uint32_t erase_unit;
	uint16_t prog_unit;
	uint8_t erased;
	uint32_t slot_size;
	uint8_t n_components;
	bool is_write_once; /* a program unit that was touched takes nothing more until erased */
};

struct flash_sim {
	struct flash_sim_options o;
	struct ota_flash flash;
	uint8_t *bytes[OTA_REGIONS];
	uint8_t *shaky[OTA_REGIONS];   /* bits that read differently each time */
	uint8_t *touched[OTA_REGIONS]; /* one byte per program unit: 1 programmed, UNIT_UNREADABLE */
	uint64_t ops;                  /* program and erase calls since flash_sim_init */
	uint64_t slot_ops;             /* of them on slots */
	uint64_t violations;           /* of NOR rules and bounds */
	uint64_t cut_at;               /* index of the op that is cut; UINT64_MAX: none */
	enum flash_damage damage;
	unsigned cut_region;             /* of the op that was cut */
	uint32_t marginal_left;          /* of DAMAGE_MARGINAL in the op that is cut */
	uint32_t damage_num, damage_den; /* how much of the op happened, as a fraction */
	bool is_off;
	uint32_t seed;
	uint64_t fail_reads;             /* answer OTA_FLASH to this many reads of slots from now */
	uint64_t refuse_from, refuse_to; /* of journal_ops */
	enum flash_refusal refusal;
	uint64_t journal_ops;
};

void flash_sim_init(struct flash_sim *f, const struct flash_sim_options *o);
void flash_sim_release(struct flash_sim *f);
/* Cut the op with index f->ops + `after` from now. */
void flash_sim_cut(struct flash_sim *f, uint64_t after, enum flash_damage damage, uint32_t num, uint32_t den);
/* From the journal's operation `after` from now on, the next `n` are refused. The power stays on. */
void flash_sim_refuse(struct flash_sim *f, uint64_t after, uint64_t n, enum flash_refusal how);
/* The next journal operations are taken again. */
void flash_sim_mend(struct flash_sim *f);
void flash_sim_power_on(struct flash_sim *f);
/* Deep copy of the content, for runs from the same start. `to` is a released or zeroed one. */
void flash_sim_copy(struct flash_sim *to, const struct flash_sim *from);
uint32_t flash_sim_random(struct flash_sim *f);

#endif
