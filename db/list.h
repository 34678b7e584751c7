/* Rows and lists in an arena, for the files of db/. */
#ifndef DB_LIST_H
#define DB_LIST_H

#include <string.h>

#include "db/db.h"
#include "db/stmt.h"

/* Rows of a page: 1..DB_PAGE_MAX. */
static inline uint32_t page_limit(const struct db_page *page)
{
	return page->limit == 0 || page->limit > DB_PAGE_MAX ? DB_PAGE_MAX : page->limit;
}

/* Room for one more than `n` rows of `size` bytes: `rows`, or a larger copy of them. NULL: the arena is full.
 */
static inline void *list_room(struct arena *mem, void *rows, size_t n, size_t *cap, size_t size)
{
	size_t larger = *cap ? 2 * *cap : 8;
	void *copy;

	if (n < *cap)
		return rows;
	copy = arena_array(mem, larger, size);
	if (!copy)
		return NULL;
	if (n)
		memcpy(copy, rows, n * size);
	*cap = larger;
	return copy;
}

/* Fill one row from the statement's row. Rows of a list begin with their key, an int64_t. */
typedef enum ota_err (*list_fill_fn)(struct stmt *st, struct arena *mem, void *row, struct errmsg *e);

/* The one row of a statement. OTA_NOT_FOUND: "no such WHAT". */
OTA_MUST_USE enum ota_err row_load(
	struct stmt *st, struct arena *mem, list_fill_fn fill, const char *what, void *row, struct errmsg *e);

/* Where a list goes: every one has its rows, how many, and the cursor of the page after it. */
struct list_out {
	void *rows; /* of the pointer to them */
	size_t *n;
	int64_t *next;
};
#define LIST_OUT(list) (&(struct list_out){&(list)->rows, &(list)->n, &(list)->next})

/* Bind $cursor and $limit (one more than the page's, to see whether there is more). */
void list_bind(struct stmt *st, const struct db_page *page);

/* Run a statement that list_bind was called for into rows of `row_size` bytes:
 *
 *	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e); */
OTA_MUST_USE enum ota_err list_run(struct stmt *st, const struct db_page *page, struct arena *mem,
	size_t row_size, list_fill_fn fill, const struct list_out *out, struct errmsg *e);

static inline enum ota_err no_memory_fail(struct errmsg *e)
{
	return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
}

#endif
