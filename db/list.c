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
	list_fill_fn fill, const struct list_out *out, struct errmsg *e)
{
	uint32_t limit = page_limit(page);
	int64_t key = 0, next = 0;
	size_t n = 0, cap = 0;
	void *rows = NULL;
	enum ota_err err;

	while ((err = stmt_row(st, e)) == OTA_OK) {
		uint8_t *row;

		if (n == limit) {
			next = key;
			break;
		}
		rows = list_room(mem, rows, n, &cap, row_size);
		if (!rows)
			return no_memory_fail(e);
		row = (uint8_t *)rows + n * row_size;
		err = fill(st, mem, row, e);
		if (err != OTA_OK)
			return err;
		memcpy(&key, row, sizeof key);
		n++;
	}
	if (err != OTA_OK && err != OTA_NOT_FOUND)
		return err;
	memcpy(out->rows, &rows, sizeof rows);
	*out->n = n;
	*out->next = next;
	return OTA_OK;
}
