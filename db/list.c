#include "db/list.h"

enum ota_err row_load(
	struct stmt *st, struct arena *mem, list_fill_fn fill, const char *what, void *row, struct errmsg *e)
{
	enum ota_err err = stmt_row(st, e);

	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no such %s", what);
	return err == OTA_OK ? fill(st, mem, row, e) : err;
}

void list_bind(struct stmt *st, const struct db_page *page)
{
	bind_i64(st, "cursor", page->cursor);
	bind_i64(st, "limit", (int64_t)page_limit(page) + 1);
}

enum ota_err list_run(struct stmt *st, const struct db_page *page, struct arena *mem, size_t row_size,
	list_fill_fn fill, struct list_page *out, struct errmsg *e)
{
	struct list_page list = {0};
	uint32_t limit = page_limit(page);
	int64_t key = 0;
	size_t cap = 0;
	enum ota_err err;

	while ((err = stmt_row(st, e)) == OTA_OK) {
		uint8_t *row;

		if (list.n == limit) {
			list.next = key;
			break;
		}
		list.rows = list_room(mem, list.rows, list.n, &cap, row_size);
		if (!list.rows)
			return no_memory_fail(e);
		row = (uint8_t *)list.rows + list.n * row_size;
		err = fill(st, mem, row, e);
		if (err != OTA_OK)
			return err;
		memcpy(&key, row, sizeof key);
		list.n++;
	}
	if (err != OTA_OK && err != OTA_NOT_FOUND)
		return err;
	*out = list;
	return OTA_OK;
}
