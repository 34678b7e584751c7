#include "server/index.h"

#include <assert.h>
#include <stdlib.h>

uint64_t index_mix(uint64_t seed, uint64_t v)
{
	/* Two rounds of multiply and fold; the seed is random, so that chosen ids make no long runs. */
	uint64_t h = (v ^ seed) * 0x9e3779b97f4a7c15u;

	h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93u;
	h ^= seed >> 7;
	h = (h ^ (h >> 29)) * 0xd6e8feb86659fd93u;
	return h ^ (h >> 32);
}

void index_init(struct index *ix, uint64_t (*hash)(const void *owner, uint32_t value), const void *owner)
{
	*ix = (struct index){.hash = hash, .owner = owner};
}

void index_release(struct index *ix)
{
	free(ix->slot);
	ix->slot = NULL;
	ix->cap = ix->n = 0;
}

static void place(uint32_t *slot, size_t cap, uint64_t hash, uint32_t value)
{
	size_t at = (size_t)hash & (cap - 1);

	while (slot[at])
		at = (at + 1) & (cap - 1);
	slot[at] = value + 1;
}

enum ota_err index_reserve(struct index *ix)
{
	size_t cap = ix->cap ? ix->cap * 2 : 16;
	uint32_t *slot;

	/* At most three quarters full. */
	if (ix->cap && (ix->n + 1) * 4 <= ix->cap * 3)
		return OTA_OK;
	slot = calloc(cap, sizeof(*slot));
	if (!slot)
		return OTA_NO_MEMORY;
	for (size_t i = 0; i < ix->cap; i++) {
		if (ix->slot[i])
			place(slot, cap, ix->hash(ix->owner, ix->slot[i] - 1), ix->slot[i] - 1);
	}
	free(ix->slot);
	ix->slot = slot;
	ix->cap = cap;
	return OTA_OK;
}

void index_add(struct index *ix, uint32_t value)
{
	assert(ix->n < ix->cap);
	place(ix->slot, ix->cap, ix->hash(ix->owner, value), value);
	ix->n++;
}

void index_remove(struct index *ix, uint32_t value)
{
	size_t mask = ix->cap - 1, at, next;

	if (!ix->cap)
		return;
	at = (size_t)ix->hash(ix->owner, value) & mask;
	while (ix->slot[at] != value + 1) {
		if (!ix->slot[at])
			return;
		at = (at + 1) & mask;
	}
	/* Close the gap: what was pushed past it moves back. */
	for (next = (at + 1) & mask; ix->slot[next]; next = (next + 1) & mask) {
		size_t home = (size_t)ix->hash(ix->owner, ix->slot[next] - 1) & mask;

		if (((next - home) & mask) >= ((next - at) & mask)) {
			ix->slot[at] = ix->slot[next];
			at = next;
		}
	}
	ix->slot[at] = 0;
	ix->n--;
}

size_t index_start(const struct index *ix, uint64_t hash)
{
	return ix->cap ? (size_t)hash & (ix->cap - 1) : 0;
}

bool index_step(const struct index *ix, size_t *at, uint32_t *value)
{
	if (!ix->cap || !ix->slot[*at])
		return false;
	*value = ix->slot[*at] - 1;
	*at = (*at + 1) & (ix->cap - 1);
	return true;
}
