/* Between assignment.c and assignment_open.c. */
#ifndef DB_ASSIGNMENT_NEXT_H
#define DB_ASSIGNMENT_NEXT_H

#include "db/assignment.h"

/* The device's latest decision ended as running, and by its newest word the device runs something else or
 * nothing of ours. For queries with assignment a, device d, device_said s and manifest m. */
#define ASSIGNMENT_IS_DRIFTED                                                                                \
	"a.state = 5 AND d.state = 1 AND s.running_digest IS NOT m.digest"                                   \
	" AND NOT EXISTS (SELECT 1 FROM assignment b"                                                        \
	" WHERE b.device = d.id AND b.id > a.id AND b.is_void = 0)"                                          \
	" AND NOT EXISTS (SELECT 1 FROM assignment b"                                                        \
	" WHERE b.device = d.id AND b.ended_at IS NULL AND b.is_queued = 0)"
_Static_assert(ASSIGN_RUNNING == 5, "the state that the query names");

/* Taken back, or its time was over, after the device had been told; and no other of the same manifest is open
 * there or was seen running. Whoever runs it all the same was too far by then. For queries with assignment a.
 */
#define ASSIGNMENT_CAME_TOO_LATE                                                                             \
	"a.state IN (9, 10) AND a.offered_at IS NOT NULL AND NOT EXISTS"                                     \
	" (SELECT 1 FROM assignment c WHERE c.device = a.device AND c.manifest = a.manifest"                 \
	" AND (c.state = 5 OR c.ended_at IS NULL))"
_Static_assert(ASSIGN_CANCELLED == 9 && ASSIGN_TIMED_OUT == 10, "the states that the query names");

/* When the last ticket that let the device install this open one runs out; 0: there was none. */
OTA_MUST_USE enum ota_err assignment_ticket_until(
	struct db *db, const struct assignment_row *row, int64_t *until, struct errmsg *e);

/* `was` has ended by `move`: `next`, which is queued behind it, is the device's open one from now on. Its
 * attempt is chosen anew, for what has just ended may have been the same manifest. */
OTA_MUST_USE enum ota_err assignment_next_open(struct db *db, const struct assignment_row *next,
	const struct assignment_row *was, const struct assignment_move *move, struct errmsg *e);

#endif
