#include "server/select.h"

#include <string.h>

#include "server/find.h"

enum ota_err select_parse(
	struct api_job *a, struct job *job, const char *text, struct selector *out, const char **plain)
{
	struct device_row row;
	enum ota_err err;

	if (!text || !*text || strcmp(text, "*") == 0)
		text = "all";
	if (strchr(text, ',') && !strpbrk(text, "=!<>"))
		return errmsg_fail(&job->e, OTA_INVALID,
			"'%.64s' is no selector: it names one device, or has terms like tag=TAG that all "
			"hold; "
			"for several devices: otactl device tag DEVICE TAG, then tag=TAG",
			text);
	if (strcmp(text, "all") != 0 && !strpbrk(text, "=!<>")) {
		err = find_device(a, job, text, &row);
		if (err)
			return err;
		text = arena_printf(job->mem, "name=%s", row.name);
		if (!text)
			return errmsg_fail(&job->e, OTA_NO_MEMORY, "out of memory");
	}
	if (plain)
		*plain = text;
	return selector_parse(text, out, &job->e);
}

enum ota_err select_each(
	struct job *job, const struct selector *selector, int64_t board, select_fn fn, void *ctx)
{
	const struct device_filter filter = {.selector = selector, .board = board, .state = DEVICE_APPROVED};
	struct db_page page = {.limit = DB_PAGE_MAX};

	do {
		AUTO(arena) struct arena mem;
		struct device_list list = {0};
		enum ota_err err;

		arena_init(&mem, (size_t)16 * 1024 * 1024);
		err = device_list(job->db, &filter, &page, &mem, &list, &job->e);
		for (size_t i = 0; i < list.n && !err; i++)
			err = fn(ctx, &list.rows[i]);
		if (err)
			return err;
		page.cursor = list.next;
	} while (page.cursor);
	return OTA_OK;
}
