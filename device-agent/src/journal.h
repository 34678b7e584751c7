/* Journal: the only store of update state. Append-only records in a ring of groups of erase units.
 *
 * A record sits at a multiple of JOURNAL_STRIDE; a group holds at least JOURNAL_GROUP_MIN of them, a journal
 * at least two groups. Record, little-endian: u16 format, u16 length (of all before the check), u32 number,
 * the state, then the first 8 bytes of SHA-256 over those `length` bytes, padded to the program unit. The
 * highest valid number wins. A number belongs to its place: it is the head's plus the index in the group. The
 * first commit of a start clears the other groups of what is no record, or goes above it: a torn record that
 * comes back to life does not outrank one written after it.
 *
 * Format 1 is frozen. Later formats only append fields; what a reader does not know it keeps and writes back
 * (JOURNAL_TAIL_MAX bytes). */
#ifndef OTA_JOURNAL_H
#define OTA_JOURNAL_H

#include <stdbool.h>

#include "device-agent/include/ota_flash.h"
#include "proto/crypto.h"

enum {
	JOURNAL_STRIDE = 512,
	JOURNAL_GROUP_MIN = 8,
	JOURNAL_FORMAT = 1,
	JOURNAL_LEN_1 = 363, /* bytes of format 1 before the check */
	JOURNAL_TAIL_MAX = 64,
	JOURNAL_CHECK_LEN = 8,
	OTA_BOOT_ATTEMPTS =
		3, /* starts of an image on trial, where the bootloader's port says nothing else */
};

/* Bits of flags, plus k. */
enum journal_mark {
	/* Slot k's image was never confirmed, for all that is known: staged, or its trial failed, or found
	 * without a record beside the one that went first. */
	JOURNAL_DOUBT = 4,
	JOURNAL_EPOCH = 6, /* slot k's release was not judged in this release-key epoch */
};

enum journal_phase {
	JOURNAL_IDLE,
	JOURNAL_ACCEPTED,  /* the release may be installed; nothing of it is in flash */
	JOURNAL_FETCHING,  /* target.bytes of it are in flash */
	JOURNAL_STAGED,    /* whole, read back, envelope stored */
	JOURNAL_ARMED,     /* the bootloader takes it at the next start */
	JOURNAL_TRIAL,     /* runs, not confirmed */
	JOURNAL_CONFIRMED, /* confirmed, the server has not acknowledged it yet */
	JOURNAL_REVERT,    /* the bootloader goes back at the next start */
	JOURNAL_PHASES,
};

/* What is in a slot. Valid only where component[0].size is not 0. */
struct journal_slot {
	uint32_t sequence;  /* 0: an image without a release */
	uint8_t digest[32]; /* of its manifest */
	struct {
		uint32_t size; /* bytes, 0: no such component */
		uint8_t sha256[32];
	} component[OTA_COMPONENTS_MAX];
};

struct journal_state {
	uint8_t phase;  /* enum journal_phase */
	uint8_t active; /* slot that runs */
	uint8_t attempts_left;
	uint8_t flags; /* copies that are being written: trust.h; enum journal_mark */
	uint32_t epoch;
	uint32_t floor; /* lowest sequence that may be installed */
	uint32_t boots;
	uint64_t counter_end; /* check-in counters below this are used or reserved */
	struct journal_slot slot[OTA_SLOTS];
	struct {
		uint8_t digest[32]; /* of the manifest that is being installed, or on trial */
		uint8_t attempt;    /* 0: no target */
		uint32_t bytes;     /* in flash, over all components in their order */
	} target;
	struct {
		uint8_t digest[32];
		uint8_t attempt; /* 0: none */
	} failed;
	struct {
		uint8_t digest[32];
		uint8_t attempt; /* 0: no result waits to be told */
		uint8_t reason;
		uint16_t detail;
		uint32_t offset;
	} result;
	uint32_t move_unit; /* of the layout that moves images; 0 here */
	uint8_t move_phase;
	/* Fields of a later format, kept. */
	uint16_t format;
	uint16_t tail_len;
	uint8_t tail[JOURNAL_TAIL_MAX];
};

struct journal {
	const struct ota_flash *flash;
	const struct ota_crypto *crypto;
	struct ota_flash_geometry geo;
	uint32_t group_len;    /* bytes */
	uint32_t n_groups;     /* >= 2 */
	uint32_t per_group;    /* records */
	uint32_t group, index; /* of the record that counts */
	uint32_t next;         /* index of the next record to write; per_group or more: the group is full */
	uint32_t number;
	uint32_t head;          /* number of the next group's head: above all that this start tried */
	bool is_swept;          /* no group has what could outrank the next record */
	bool is_empty;          /* no record yet */
	bool is_lost;           /* s is not what is on flash: journal_reload before anything is done by it */
	struct journal_state s; /* change it, then journal_commit */
};

/* Find the record that counts. OTA_OK with it in j->s; OTA_NOT_FOUND when there is none (j->s is zero, in
 * format 1; journal_commit makes a new journal); OTA_INVALID: the region holds no two groups; OTA_FLASH:
 * nothing of it can be read. A single place that cannot be read is junk: flash with ECC answers so what a cut
 * left. Writes nothing. `flash` and `crypto` must outlive `j`. */
OTA_MUST_USE enum ota_err journal_open(
	struct journal *j, const struct ota_flash *flash, const struct ota_crypto *crypto);

/* Append j->s and read it back; on a full group erase the next one first. OTA_OK: it is what the next start
 * finds. OTA_FLASH: no place took it, or only one that a torn record may outrank, and j->s is again what is
 * on flash (or j->is_lost): nobody is told of what a reset undoes. Called once after journal_open before
 * anything is done by what was found: a torn record may read as valid now and be gone at the next start. */
OTA_MUST_USE enum ota_err journal_commit(struct journal *j);

/* The record that counts was written in this very start: nothing was begun behind it that left no trace. */
void journal_was_appended(struct journal *j);

/* j->s as the record that counts has it; j->is_lost when that cannot be read. */
void journal_reload(struct journal *j);

/* The release that is being installed or on trial ended with `err`: the result to tell, no target, IDLE. The
 * same attempt of it is not taken again, but after OTA_WITHDRAWN. An image whose trial this ends is marked.
 */
void journal_end(struct journal_state *s, enum ota_err err, uint32_t offset);

/* The active slot's image does not boot any more, and the other one's runs in its place: an image that was
 * never confirmed here (held, withdrawn or gone back from) is marked and on trial, `left` starts after this
 * one. */
void journal_fall_over(struct journal_state *s, uint8_t left);

/* What is armed runs now, on trial, with `left` starts after this one. */
void journal_try(struct journal_state *s, uint8_t left);

/* Doubt is over when the image is confirmed, when another takes its place, and when it is tried with
 * something to go back to; the epoch's mark when a release is staged. */
void journal_mark(struct journal_state *s, enum journal_mark m, unsigned k);
void journal_unmark(struct journal_state *s, enum journal_mark m, unsigned k);
bool journal_is_marked(const struct journal_state *s, enum journal_mark m, unsigned k);
/* What runs failed its trial, and there was nothing to go back to: nobody calls it confirmed until another
 * trial of it went well. */
bool journal_is_stuck(const struct journal_state *s);

/* This trial is of an image that was found without a record, as was the other slot's: whether that one ever
 * ran well nobody knows, so that it goes on trial where this one fails. No fetch led here, and nothing failed
 * yet. Asked before journal_end, which marks. */
bool journal_is_found(const struct journal_state *s);

/* Is the other slot's image, should it verify, what to go back to from this trial? What ran before is; beside
 * an image in doubt, only one that was confirmed. Asked before journal_end, which marks. */
bool journal_may_go_back(const struct journal_state *s);

/* Record of `s` under `number`; returns its length before padding. Exposed for tests. */
uint32_t journal_encode(const struct ota_crypto *c, const struct journal_state *s, uint32_t number,
	uint8_t out[JOURNAL_STRIDE]);
/* OTA_OK, or OTA_CORRUPT: no valid record. Takes any bytes. */
OTA_MUST_USE enum ota_err journal_decode(const struct ota_crypto *c, const uint8_t *bytes, uint32_t len,
	struct journal_state *s, uint32_t *number);

#endif
