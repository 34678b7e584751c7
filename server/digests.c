#include "server/digests.h"

#include <stdlib.h>
#include <string.h>

static uint64_t hash_of(const struct digests *d, const uint8_t digest[32])
{
	uint64_t v;

	memcpy(&v, digest, sizeof(v));
	return index_mix(d->seed, v);
}

static uint64_t hash_row(const void *owner, uint32_t value)
{
	const struct digests *d = owner;

	return hash_of(d, d->row[value].digest);
}

void digests_init(struct digests *d, uint64_t seed)
{
	memset(d, 0, sizeof(*d));
	d->seed = seed;
	d->n = 1;
	index_init(&d->ix, hash_row, d);
}

void digests_release(struct digests *d)
{
	index_release(&d->ix);
	free(d->row);
	d->row = NULL;
	d->n = 1;
	d->cap = d->free = 0;
}

uint32_t digests_find(const struct digests *d, const uint8_t digest[32])
{
	size_t at = index_start(&d->ix, hash_of(d, digest));
	uint32_t value;

	while (index_step(&d->ix, &at, &value)) {
		if (memcmp(d->row[value].digest, digest, 32) == 0)
			return value;
	}
	return 0;
}

static enum ota_err grow(struct digests *d)
{
	uint32_t cap = d->cap ? d->cap * 2 : 64;
	struct digest_row *row;

	if (d->free || d->n < d->cap)
		return OTA_OK;
	row = realloc(d->row, cap * sizeof(*row));
	if (!row)
		return OTA_NO_MEMORY;
	d->row = row;
	d->cap = cap;
	return OTA_OK;
}

enum ota_err digests_take(struct digests *d, const uint8_t digest[32], uint32_t *ref)
{
	uint32_t at = digests_find(d, digest);

	if (!at) {
		if (grow(d) || index_reserve(&d->ix))
			return OTA_NO_MEMORY;
		at = d->free;
		if (at)
			d->free = d->row[at].next_free;
		else
			at = d->n++;
		memset(&d->row[at], 0, sizeof(d->row[at]));
		memcpy(d->row[at].digest, digest, 32);
		index_add(&d->ix, at);
	}
	d->row[at].refs++;
	*ref = at;
	return OTA_OK;
}

void digests_drop(struct digests *d, uint32_t ref)
{
	if (!ref || --d->row[ref].refs)
		return;
	index_remove(&d->ix, ref);
	d->row[ref].next_free = d->free;
	d->free = ref;
}
