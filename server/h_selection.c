/* Who would get it: /v1/selection, a look before a push. */
#include "db/device.h"
#include "server/api.h"
#include "server/find.h"
#include "server/nouns.h"
#include "server/select.h"

struct picked {
	struct api_job *a;
	struct job *job;
	uint64_t n, n_held;
	/* Who runs something newer than the release that was asked about: a device never goes back. */
	const struct release_row *release; /* NULL: none was */
	uint64_t n_newer;
	struct {
		const char *name, *version;
		uint32_t sequence;
	} newer[5];
};

static enum ota_err pick_newer(struct picked *p, const struct device_row *row)
{
	enum { MAX = sizeof(p->newer) / sizeof(p->newer[0]) };

	if (!p->release || !row->said.has_running || row->said.running_sequence <= p->release->sequence)
		return OTA_OK;
	if (p->n_newer < MAX) {
		p->newer[p->n_newer].name = arena_strdup(p->job->mem, row->name);
		p->newer[p->n_newer].version = arena_strdup(p->job->mem, row->version);
		p->newer[p->n_newer].sequence = row->said.running_sequence;
		if (!p->newer[p->n_newer].name || !p->newer[p->n_newer].version)
			return errmsg_fail(&p->job->e, OTA_NO_MEMORY, "out of memory");
	}
	p->n_newer++;
	return OTA_OK;
}

static void newer_json(const struct picked *p)
{
	struct js_out *o = &p->a->out;

	js_int(o, "newer", (int64_t)p->n_newer);
	js_array(o, "newer_items");
	for (uint64_t i = 0; i < p->n_newer && i < sizeof(p->newer) / sizeof(p->newer[0]); i++) {
		js_object(o, NULL);
		js_text(o, "name", p->newer[i].name);
		js_text(o, "version", *p->newer[i].version ? p->newer[i].version : NULL);
		js_int(o, "sequence", p->newer[i].sequence);
		js_end(o);
	}
	js_end(o);
}

static enum ota_err pick_device(void *ctx, const struct device_row *row)
{
	struct picked *p = ctx;

	p->n++;
	p->n_held += row->is_held;
	if (p->n <= 10) {
		js_object(&p->a->out, NULL);
		js_text(&p->a->out, "id", row->uid);
		js_text(&p->a->out, "name", row->name);
		js_bool(&p->a->out, "hold", row->is_held);
		js_end(&p->a->out);
	}
	return pick_newer(p, row);
}

/* Why there is none: a name that nothing has, or devices that are of another board than the one asked for. */
static enum ota_err hint_nobody(
	struct api_job *a, struct job *job, const struct selector *s, int64_t board, const char **hint)
{
	const struct device_filter elsewhere = {.selector = s, .state = DEVICE_APPROVED};
	const struct db_page page = {.limit = 2};
	struct device_list list = {0};
	struct board_row other;
	enum ota_err err;

	*hint = select_hint(a, job, s);
	if (*hint || !board || !s->n)
		return OTA_OK;
	err = device_list(job->db, &elsewhere, &page, job->mem, &list, &job->e);
	if (err || !list.n)
		return err;
	if (!list.rows[0].board) {
		*hint = arena_printf(job->mem, "%s has no board", list.rows[0].name);
		return OTA_OK;
	}
	err = board_load(job->db, list.rows[0].board, job->mem, &other, &job->e);
	if (err)
		return err;
	*hint = list.n > 1 ? "devices of other boards match"
			   : arena_printf(job->mem, "%s is of board %s", list.rows[0].name, other.name);
	return OTA_OK;
}

static enum ota_err selection_run(struct api_job *a, struct job *job)
{
	const char *board_name = api_query(a->req, "board"), *release_id = api_query(a->req, "release");
	struct release_row release;
	struct picked p = {.a = a, .job = job};
	struct board_row board = {0};
	struct selector selector;
	struct device_filter filter = {.selector = &selector, .state = -1};
	const char *hint = NULL;
	uint64_t count = 0;
	enum ota_err err = OTA_OK;

	if (board_name)
		err = find_board(a, job, board_name, &board);
	if (!err)
		err = select_parse(a, job, api_query(a->req, "selector"), &selector, NULL);
	if (!err && release_id) {
		err = find_release(a, job, release_id, &release);
		p.release = &release;
		board.id = release.board;
	}
	filter.board = board.id;
	if (!err)
		err = device_count(job->db, &filter, &count, &job->e);
	if (err)
		return err;
	js_object(&a->out, NULL);
	js_int(&a->out, "count", (int64_t)count);
	js_array(&a->out, "items");
	err = select_each(job, &selector, board.id, pick_device, &p);
	js_end(&a->out);
	js_int(&a->out, "approved", (int64_t)p.n);
	js_int(&a->out, "held", (int64_t)p.n_held);
	newer_json(&p);
	if (!err && !count)
		err = hint_nobody(a, job, &selector, board.id, &hint);
	js_text(&a->out, "hint", hint);
	return err;
}

enum h_result h_selection_get(struct req *req, struct res *res)
{
	(void)res;
	return api_slow_job(req, selection_run, NULL);
}
