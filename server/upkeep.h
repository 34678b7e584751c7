/* Upkeep: what comes by itself with time. Grouped writes of counters each 200 ms, assignments that time out,
 * unfinished uploads and unneeded images that go. Only while this otad holds the lease. Loop thread. */
#ifndef SERVER_UPKEEP_H
#define SERVER_UPKEEP_H

#include "server/domain.h"

enum {
	UPKEEP_FLUSH_MS = 200,
	UPKEEP_FLUSH_ROWS = 1000,
	UPKEEP_SWEEP_MS = 15000,
	UPKEEP_GC_S = 600, /* between two collections */
	UPKEEP_GC_GRACE_S = 86400,
	UPKEEP_GC_IMAGES = 50,   /* in one collection */
	UPKEEP_CHANGES = 100000, /* change rows that are kept */
};

void upkeep_start(struct domain *d);
void upkeep_stop(struct domain *d);

/* Write what is dirty now (at most one group at a time is under way). */
void upkeep_flush(struct domain *d);
/* Time-outs and what is due of the rest. */
void upkeep_sweep(struct domain *d);

/* At the end, after the loop: everything that is dirty, in jobs. */
void upkeep_flush_all(struct domain *d);

#endif
