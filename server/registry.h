/* Registry: every enrolled device in memory, so that a poll costs no disk.
 *
 * It follows the database: rows are put, replaced and removed as `change` rows say (follow.h). Authoritative
 * here alone are last-seen, poll counters, progress and presence; they go to the database grouped. A device
 * takes 128 bytes (its K_dev among them, derived at start and never stored) and 11 to 22 of the two indexes;
 * boards and manifest digests are shared. Revoked devices are not in it: they are unknown.
 *
 * Indexes (uint32_t) stay valid until that device is removed; REG_NONE is no device. Loop thread only. */
#ifndef SERVER_REGISTRY_H
#define SERVER_REGISTRY_H

#include "proto/keys.h"
#include "server/boards.h"
#include "server/plan.h"

struct registry;

/* All that the database knows of one device: what a follower loads. */
struct reg_facts {
	int64_t row;      /* the device's, in the database */
	int64_t task_row; /* the latest assignment's; 0: none */
	int64_t board_row;
	uint8_t id[DEVICE_ID_LEN];
	uint8_t k_dev[KEY_LEN];
	uint32_t enrolment; /* the key's, see db/report.h */
	int64_t seen;
	uint32_t uptime_s;
	uint32_t bytes_done;
	struct plan_device dev;
};

/* What only the registry knows of a device. */
struct reg_live {
	int64_t row;
	int64_t task_row;
	int64_t seen;       /* 0: never */
	uint32_t enrolment; /* that its key is of */
	uint32_t uptime_s;
	uint32_t bytes_done;
	uint16_t board; /* for registry_board */
	bool presence_known, online;
	bool is_busy; /* a check-in of it waits for its commit */
};

/* One row of a grouped write. */
struct reg_dirty {
	int64_t row;
	int64_t task_row;
	uint64_t counter;
	uint8_t mark[PLAN_MARK_LEN];
	uint32_t enrolment; /* that said it */
	int64_t seen;
	uint32_t uptime_s;
	uint32_t bytes_done;
	uint32_t flags; /* of the check-in */
	bool offered;   /* the assignment is now OFFERED */
};

/* `seed` keys the index. NULL: out of memory. */
struct registry *registry_new(uint64_t seed);
void registry_free(struct registry *r);

/* Add or replace a board; its count and revision stay. OTA_NO_MEMORY, OTA_LIMIT (65,534 boards). */
OTA_MUST_USE enum ota_err registry_put_board(struct registry *r, const struct reg_board *b);
/* A board without devices goes; another stays. */
void registry_remove_board(struct registry *r, int64_t board_row);
/* By position, 0 .. registry_boards(); NULL past the end or where a board was removed. */
struct reg_board *registry_board(struct registry *r, uint32_t at);
uint32_t registry_boards(const struct registry *r);
struct reg_board *registry_board_by_row(struct registry *r, int64_t row);

/* Add or replace what the database says of a device. What the registry knows better stays: a newer counter
 * with its mark, last-seen, uptime, progress of the same assignment, presence. OTA_NOT_FOUND: its board is
 * not here. OTA_NO_MEMORY: nothing changed. */
OTA_MUST_USE enum ota_err registry_put(struct registry *r, const struct reg_facts *f);
void registry_remove(struct registry *r, uint32_t at);

uint32_t registry_find(const struct registry *r, const uint8_t id[DEVICE_ID_LEN]);
uint32_t registry_find_row(const struct registry *r, int64_t row);
size_t registry_count(const struct registry *r);
/* Walk: the first device at or after `at`; REG_NONE: no more. Start with 0, go on with the result + 1. */
uint32_t registry_next(const struct registry *r, uint32_t at);

void registry_id(const struct registry *r, uint32_t at, uint8_t id[DEVICE_ID_LEN]);
/* Borrowed; valid until the next put or remove. */
const uint8_t *registry_key(const struct registry *r, uint32_t at);
void registry_view(const struct registry *r, uint32_t at, struct plan_device *out);
void registry_live(const struct registry *r, uint32_t at, struct reg_live *out);

/* After a check-in: the device as plan_take left it, and the rest of what it told. `is_stored`: the database
 * has it already. OTA_NO_MEMORY: nothing changed. */
OTA_MUST_USE enum ota_err registry_checked_in(struct registry *r, uint32_t at, const struct plan_device *d,
	int64_t now, uint32_t uptime_s, uint32_t bytes_done, bool is_stored);
/* Its counter went back: true the first time since it was last heard. */
bool registry_alarm(struct registry *r, uint32_t at);
/* Its WAITING assignment was named in a ticket. */
void registry_offered(struct registry *r, uint32_t at);
void registry_set_busy(struct registry *r, uint32_t at, bool is_busy);
void registry_set_presence(struct registry *r, uint32_t at, bool online);

/* Devices with something for the next grouped write. */
size_t registry_dirty(const struct registry *r);
/* Take up to `max` of them; they are clean then. */
size_t registry_take_dirty(struct registry *r, struct reg_dirty *out, size_t max);
/* The grouped write failed: these are dirty again (a row that is gone meanwhile is skipped). */
void registry_give_back(struct registry *r, const struct reg_dirty *rows, size_t n);

/* The envelope of a manifest got another size (another signature). */
void registry_envelope_size(struct registry *r, const uint8_t digest[32], uint16_t size);

/* Bytes in use, without the names of boards: what holds a device to its 128 bytes. */
size_t registry_bytes(const struct registry *r);

#endif
