#include "server/damaged.h"

#include <stdlib.h>
#include <string.h>

#include "db/image.h"
#include "db/release.h"

struct finding {
	struct arena *mem;
	struct errmsg *e;
	int64_t image;
	struct damaged_row *rows;
	size_t n, cap;
};

static enum ota_err add(struct finding *f, const struct manifest_size *m)
{
	struct damaged_row *row;

	if (f->n == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 16;
		struct damaged_row *rows = arena_array(f->mem, cap, sizeof(*rows));

		if (!rows)
			return errmsg_fail(f->e, OTA_NO_MEMORY, "out of memory");
		if (f->n)
			memcpy(rows, f->rows, f->n * sizeof(*rows));
		f->rows = rows;
		f->cap = cap;
	}
	row = &f->rows[f->n++];
	row->image = f->image;
	memcpy(row->digest, m->digest, 32);
	row->size = m->size;
	return OTA_OK;
}

enum ota_err damaged_load(struct db *db, int64_t image, struct arena *mem, struct damaged_row **rows,
	size_t *n, struct errmsg *e)
{
	struct finding f = {.mem = mem, .e = e, .image = image};
	struct db_page page = {.limit = DB_PAGE_MAX};
	struct image_row row;
	enum ota_err err = image_load_id(db, image, mem, &row, e);

	if (err && err != OTA_NOT_FOUND)
		return err;
	if (err || !row.is_damaged) {
		*rows = NULL;
		*n = 0;
		return OTA_OK;
	}
	do {
		struct manifest_sizes list;

		err = manifest_sizes_of_image(db, row.sha256, &page, mem, &list, e);
		for (size_t i = 0; !err && i < list.n; i++)
			err = add(&f, &list.rows[i]);
		if (err)
			return err;
		page.cursor = list.next;
	} while (page.cursor);
	*rows = f.rows;
	*n = f.n;
	return OTA_OK;
}

void damaged_release(struct damaged *d)
{
	free(d->rows);
	*d = (struct damaged){0};
}

struct damaged_row *damaged_find(const struct damaged *d, const uint8_t digest[32])
{
	for (size_t i = 0; i < d->n; i++) {
		if (memcmp(d->rows[i].digest, digest, 32) == 0)
			return &d->rows[i];
	}
	return NULL;
}

enum ota_err damaged_replace(struct damaged *d, int64_t image, const struct damaged_row *rows, size_t n,
	void (*healed)(void *ctx, const struct damaged_row *row), void *ctx)
{
	struct damaged was = *d;
	struct damaged_row *fresh = NULL;
	size_t kept = 0;

	if (d->n + n) {
		fresh = calloc(d->n + n, sizeof(*fresh));
		if (!fresh)
			return OTA_NO_MEMORY;
	}
	for (size_t i = 0; i < was.n; i++) {
		if (was.rows[i].image != image)
			fresh[kept++] = was.rows[i];
	}
	for (size_t i = 0; i < n; i++)
		fresh[kept + i] = rows[i];
	d->rows = fresh;
	d->n = kept + n;
	for (size_t i = 0; healed && i < was.n; i++) {
		/* Another image of it may still be damaged. */
		if (was.rows[i].image == image && !damaged_find(d, was.rows[i].digest))
			healed(ctx, &was.rows[i]);
	}
	free(was.rows);
	return OTA_OK;
}
