/* Between assignment.c and assignment_open.c. */
#ifndef DB_ASSIGNMENT_NEXT_H
#define DB_ASSIGNMENT_NEXT_H

#include "db/assignment.h"

/* `was` has ended by `move`: `next`, which is queued behind it, is the device's open one from now on. Its
 * attempt is chosen anew, for what has just ended may have been the same manifest. */
OTA_MUST_USE enum ota_err assignment_next_open(struct db *db, const struct assignment_row *next,
	const struct assignment_row *was, const struct assignment_move *move, struct errmsg *e);

#endif
