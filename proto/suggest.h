/* "did you mean lamp?": the nearest of the names that exist. Pure. Host programs only. */
#ifndef PROTO_SUGGEST_H
#define PROTO_SUGGEST_H

#include <stddef.h>

/* Insertions, deletions, changes and swaps of neighbours that turn `a` into `b`, letter case aside; texts
 * above 63 bytes are far from everything. */
unsigned suggest_distance(const char *a, const char *b);

/* The best so far. Zeroed = none. */
struct suggest {
	const char *best; /* borrowed from the caller */
	unsigned distance;
};

/* Offer a name that exists: kept when it is nearer to `wanted` than what is there, and near at all (at most a
 * third of its letters differ, or it begins with `wanted`). */
void suggest_offer(struct suggest *s, const char *wanted, const char *name);

#endif
