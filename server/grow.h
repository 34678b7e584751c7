/* Growing: the devices of a push are assigned a piece at a time, each piece a transaction, so that whoever
 * reports meanwhile waits for a piece and not for a fleet.
 *
 * The row of the push says how far it is. Whoever finds it unfinished may go on with it: the request that
 * made it, the same request repeated, and upkeep, where neither is there any more (the client went away, otad
 * was killed). */
#ifndef SERVER_GROW_H
#define SERVER_GROW_H

#include "db/assignment.h"
#include "server/jobs.h"

struct domain;

enum {
	GROW_PIECE = 100, /* devices looked at in one job: some 10 ms of the store thread */
	GROW_REST_S = 5,  /* what a request goes on with is left to it */
};

/* Devices whose last ticket names what the push took the place of, and until when the last of these is good.
 */
struct grow_unsure {
	int64_t n, until;
};

/* Store thread: the next piece, of the oldest push that grows: the newest decision has the last word on every
 * device, so pushes grow one after the other. `*is_whole` when `rollout` has none left (also: it was
 * cancelled). Adds to `*unsure`, which may be NULL. */
OTA_MUST_USE enum ota_err grow_piece(
	struct job *job, int64_t rollout, int64_t now, bool *is_whole, struct grow_unsure *unsure);

/* Store thread: assign this device what pushes have for it that have not got to it yet, so that what is done
 * to it next is the newest decision. They leave it out when they get there. */
OTA_MUST_USE enum ota_err grow_reach(struct job *job, int64_t device, int64_t now);

/* A line in the device's log for what assignment_open did. */
OTA_MUST_USE enum ota_err grow_note(struct job *job, const char *rollout, const char *by, const char *version,
	int64_t device, int64_t now, const struct assignment_opened *opened);

/* Loop thread: go on with what nobody goes on with: what grows, is being taken back or tried again. */
void grow_rest(struct domain *d);

#endif
