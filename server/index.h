/* Index: a set of small numbers found by the hash of what they stand for. Open addressing, 4 bytes a slot.
 *
 * The owner keeps the things; the index keeps their positions and asks the owner for a hash. Values are below
 * UINT32_MAX. Not thread-safe. */
#ifndef SERVER_INDEX_H
#define SERVER_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

struct index {
	uint32_t *slot; /* value + 1; 0: free */
	size_t cap;     /* a power of two, or 0 */
	size_t n;
	uint64_t (*hash)(const void *owner, uint32_t value);
	const void *owner;
};

/* Mix 8 bytes well enough for open addressing under a secret seed. */
uint64_t index_mix(uint64_t seed, uint64_t v);

void index_init(struct index *ix, uint64_t (*hash)(const void *owner, uint32_t value), const void *owner);
void index_release(struct index *ix);

/* Room for one more, so that the next index_add cannot fail. */
OTA_MUST_USE enum ota_err index_reserve(struct index *ix);
/* Add a value that is not there; index_reserve came before. */
void index_add(struct index *ix, uint32_t value);
void index_remove(struct index *ix, uint32_t value);

/* Walk the values whose slot may follow `hash`: `*at` starts as index_start; false: no more. */
size_t index_start(const struct index *ix, uint64_t hash);
bool index_step(const struct index *ix, size_t *at, uint32_t *value);

#endif
