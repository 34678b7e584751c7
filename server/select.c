#include "server/select.h"

#include <limits.h>
#include <string.h>

#include "proto/suggest.h"
#include "server/find.h"

/* A name that a term has, among those that exist. */
struct seek {
	const char *wanted;
	struct suggest near;
	struct arena *mem; /* keeps the nearest, since a page goes */
	bool is_there;
};

static void seek_offer(struct seek *k, const char *name)
{
	const char *before = k->near.best;

	k->is_there = k->is_there || strcmp(k->wanted, name) == 0;
	suggest_offer(&k->near, k->wanted, name);
	if (k->near.best != before)
		k->near.best = arena_strdup(k->mem, name);
}

/* Among the first `pages` of the devices. */
static enum ota_err seek_devices(struct job *job, enum selector_key key, unsigned pages, struct seek *k)
{
	struct db_page page = {.limit = DB_PAGE_MAX};

	do {
		AUTO(arena) struct arena mem;
		struct device_list list = {0};
		enum ota_err err;

		arena_init(&mem, (size_t)16 * 1024 * 1024);
		err = device_list(job->db, NULL, &page, &mem, &list, NULL);
		if (err)
			return err;
		for (size_t i = 0; i < list.n; i++) {
			if (key == SELECTOR_NAME)
				seek_offer(k, list.rows[i].name);
			for (size_t t = 0; key == SELECTOR_TAG && t < list.rows[i].n_tags; t++)
				seek_offer(k, list.rows[i].tags[t]);
		}
		page.cursor = list.next;
	} while (page.cursor && --pages && !k->is_there);
	return OTA_OK;
}

/* What stands alone is a device's name: it may be that of something else. A page of devices is looked at, a
 * hint is not worth more. */
static void hint_alone(struct api_job *a, struct job *job, const char *text)
{
	struct seek tag = {.wanted = text, .mem = job->mem};
	struct board_row board;

	if (!board_load_name(job->db, text, job->mem, &board, NULL))
		a->hint = arena_printf(job->mem, "it is a board: all of its devices are board=%s", text);
	else if (!seek_devices(job, SELECTOR_TAG, 1, &tag) && tag.is_there)
		a->hint = arena_printf(job->mem, "it is a tag: its devices are tag=%s", text);
	else if (!a->hint)
		a->hint = "a selector names one device, or has terms joined by ',': tag=kitchen,board=lamp";
}

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
		if (err == OTA_NOT_FOUND)
			hint_alone(a, job, text);
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

/* The words for one term; NULL: it is there. */
static const char *term_hint(struct api_job *a, struct job *job, const struct selector_term *t)
{
	struct seek k = {.wanted = t->value, .mem = job->mem};
	struct board_row board;

	if (t->key == SELECTOR_BOARD) {
		if (find_board(a, job, t->value, &board) != OTA_NOT_FOUND)
			return NULL;
	} else if (seek_devices(job, t->key, UINT_MAX, &k) || k.is_there) {
		return NULL;
	} else if (t->key == SELECTOR_TAG) {
		errmsg_set(&job->e, "no device has the tag '%s'", t->value);
		a->hint = k.near.best ? arena_printf(job->mem, "did you mean %s?", k.near.best) : NULL;
	} else {
		(void)find_absent(a, job, t->value);
		if (!a->hint && k.near.best)
			a->hint = arena_printf(job->mem, "did you mean %s?", k.near.best);
	}
	return arena_printf(job->mem, "%s%s%s", job->e.text, a->hint ? ": " : "", a->hint ? a->hint : "");
}

const char *select_hint(struct api_job *a, struct job *job, const struct selector *s)
{
	const char *hint = NULL;

	for (size_t i = 0; i < s->n && !hint; i++) {
		const enum selector_key key = s->term[i].key;

		if (s->term[i].op == SELECTOR_EQ &&
			(key == SELECTOR_TAG || key == SELECTOR_NAME || key == SELECTOR_BOARD))
			hint = term_hint(a, job, &s->term[i]);
	}
	a->hint = NULL;
	job->e.text[0] = '\0';
	return hint;
}
