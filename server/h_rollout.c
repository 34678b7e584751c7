/* Pushes: looked at, and made. */
#include <string.h>

#include "db/device.h"
#include "db/rollout.h"
#include "server/api.h"
#include "server/domain.h"
#include "server/find.h"
#include "server/grow.h"
#include "server/h_rollout.h"
#include "server/nouns.h"
#include "server/select.h"
#include "server/upkeep.h"
#include "server/view.h"

static enum ota_err parse_state(const char *text, int *state, struct errmsg *e)
{
	*state = -1;
	if (!text)
		return OTA_OK;
	for (int s = 0; s <= ROLLOUT_STATE_MAX; s++) {
		if (strcmp(view_rollout_state_name((enum rollout_state)s), text) == 0) {
			*state = s;
			return OTA_OK;
		}
	}
	return errmsg_fail(e, OTA_INVALID, "state must be open, done or cancelled, not '%.40s'", text);
}

static enum ota_err item(void *v, const void *row)
{
	view_next(v);
	return view_rollout(v, row);
}

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	struct rollout_list list;
	AUTO(view) struct view v = {0};
	int state;
	enum ota_err err = parse_state(api_query(a->req, "state"), &state, &job->e);

	view_init(&v, a, job);
	if (!err)
		err = rollout_list(job->db, state, a->in, job->mem, &list, &job->e);
	return err ? err : api_items(a, API_ROWS(list), item, &v);
}

enum h_result h_rollout_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}

static enum ota_err answer(struct api_job *a, struct job *job, int64_t id, const struct grow_unsure *unsure)
{
	struct rollout_row row;
	AUTO(view) struct view v = {0};
	enum ota_err err = rollout_load(job->db, id, job->mem, &row, &job->e);

	if (err)
		return err;
	view_init(&v, a, job);
	v.n_unsure = unsure->n;
	v.unsure_until = unsure->until;
	a->revision = row.revision;
	js_object(&a->out, NULL);
	return view_rollout(&v, &row);
}

enum ota_err rollout_answer(struct api_job *a, struct job *job, int64_t id)
{
	return answer(a, job, id, &(struct grow_unsure){0});
}

static enum ota_err get_run(struct api_job *a, struct job *job)
{
	struct rollout_row row;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	return err ? err : rollout_answer(a, job, row.id);
}

enum h_result h_rollout_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, get_run, NULL);
}

enum { PUSH_SEEK = 1000 /* devices looked at in one job for the first that is meant */ };

struct push_in {
	const char *release, *selector;
	int hold, accept_served;
	int64_t timeout_s;
	/* the jobs' own */
	int64_t rollout;
	int64_t cursor; /* how far the search for the first device is */
	struct grow_unsure unsure;
};

static const struct js_field push_fields[] = {
	JS_FIELD(struct push_in, release, JS_TEXT, true, 1, 128),
	JS_FIELD(struct push_in, selector, JS_TEXT, true, 1, SELECTOR_TEXT_MAX),
	JS_FIELD(struct push_in, hold, JS_BOOL, false, 0, 0),
	JS_FIELD(struct push_in, accept_served, JS_BOOL, false, 0, 0),
	JS_FIELD(struct push_in, timeout_s, JS_INT, false, 60, (int64_t)366 * 86400),
};

static enum ota_err push_run(struct api_job *a, struct job *job);

/* Nobody: why not? As many devices are looked at as for the first that is meant: a hint is not worth more of
 * the store's time. */
static enum ota_err nobody(struct api_job *a, struct job *job, const struct selector *selector,
	const struct release_row *release, const char *text)
{
	struct device_filter filter = {.selector = selector,
		.board = release->board,
		.state = DEVICE_PENDING,
		.look_max = PUSH_SEEK};
	uint64_t pending = 0, elsewhere = 0;
	struct view_board board;
	AUTO(view) struct view v = {0};
	enum ota_err err = device_count(job->db, &filter, &pending, &job->e);

	view_init(&v, a, job);
	filter.board = 0;
	filter.state = DEVICE_APPROVED;
	if (!err)
		err = device_count(job->db, &filter, &elsewhere, &job->e);
	if (!err)
		err = view_board(&v, release->board, &board);
	if (err)
		return err;
	if (pending)
		a->hint = "some that match wait for approval: otactl device approve";
	else if (elsewhere)
		a->hint = "devices of other boards match";
	return errmsg_fail(
		&job->e, OTA_STATE, "no approved device of board '%s' matches '%.100s'", board.name, text);
}

/* On the loop, after each piece: those devices can be told, and upkeep need not go on with the push. */
static void push_went_on(struct api_job *a)
{
	if (!a->app->domain)
		return;
	a->app->domain->grown_s = app_now(a->app);
	domain_changed(a->app);
}

static enum ota_err push_more(struct api_job *a, struct job *job);

/* As it is, and who may install what it took the place of. */
static enum ota_err push_answer(struct api_job *a, struct job *job, int64_t rollout)
{
	const struct push_in *in = a->in;

	return answer(a, job, rollout, &in->unsure);
}

/* A piece of it, until it is whole; then the answer. */
static enum ota_err push_grow(struct api_job *a, struct job *job)
{
	struct push_in *in = a->in;
	bool is_whole;
	enum ota_err err = grow_piece(job, in->rollout, a->now, &is_whole, &in->unsure);

	if (err)
		return err;
	if (is_whole)
		return push_answer(a, job, in->rollout);
	a->more = push_more;
	a->after = push_went_on;
	return OTA_OK;
}

static enum ota_err push_more(struct api_job *a, struct job *job)
{
	enum ota_err err = push_grow(a, job);

	if (err)
		errmsg_prefix(&job->e, "the push is there and goes on by itself, but not now: ");
	return err;
}

/* The same request again: the same push, and the same wait until it is whole. */
static enum ota_err push_again(struct api_job *a, struct job *job, const struct rollout_row *row)
{
	struct push_in *in = a->in;

	in->rollout = row->id;
	a->status = 200;
	return row->is_growing ? push_grow(a, job) : push_answer(a, job, row->id);
}

static enum ota_err push_make(struct api_job *a, struct job *job, struct rollout_row *row)
{
	struct push_in *in = a->in;
	bool is_new;
	enum ota_err err = rollout_insert(job->db, row, &in->rollout, &is_new, &job->e);

	if (err == OTA_CONFLICT)
		return errmsg_fail(
			&job->e, OTA_EXISTS, "push '%s' exists with another release or selector", row->uid);
	if (err)
		return err;
	if (!is_new) {
		err = rollout_load(job->db, in->rollout, job->mem, row, &job->e);
		return err ? err : push_again(a, job, row);
	}
	err = api_audit(a, job, "rollout.create", row->uid, NULL,
		api_facts(job->mem, "release", in->release, "selector", in->selector, "hold",
			in->hold ? "true" : "false", NULL));
	a->status = 201;
	return err ? err : push_grow(a, job);
}

/* Is there anybody? Looks at some devices; `*found`: the first is in->cursor. Else the search goes on in the
 * next job, or fails. Nothing is written before there is a device to assign to. */
static enum ota_err push_seek(struct api_job *a, struct job *job, const struct selector *selector,
	const struct release_row *release, bool *found)
{
	struct push_in *in = a->in;
	const struct device_filter filter = {.selector = selector,
		.board = release->board,
		.state = DEVICE_APPROVED,
		.look_max = PUSH_SEEK};
	AUTO(arena) struct arena mem;
	struct device_list list;
	enum ota_err err;

	arena_init(&mem, (size_t)1024 * 1024);
	err = device_list(
		job->db, &filter, &(struct db_page){.cursor = in->cursor, .limit = 1}, &mem, &list, &job->e);
	if (err)
		return err;
	*found = list.n > 0;
	if (!*found && list.next == 0)
		return nobody(a, job, selector, release, in->selector);
	if (!*found)
		a->more = push_run;
	in->cursor = *found ? list.rows[0].id - 1 : list.next;
	return OTA_OK;
}

/* Is it what the push was asked for, word for word? */
static bool is_as_typed(const struct rollout_row *old, const char *selector)
{
	return strcmp(old->selector, selector) == 0 ||
	       (strncmp(old->selector, "name=", 5) == 0 && strcmp(old->selector + 5, selector) == 0);
}

static enum ota_err push_run(struct api_job *a, struct job *job)
{
	struct push_in *in = a->in;
	struct rollout_row row = {
		.uid = a->req->cap.value[0],
		.is_held = in->hold,
		.accepts_served = in->accept_served,
		.timeout_s = (uint32_t)in->timeout_s,
		.created_by = a->req->who.name,
		.created_at = a->now,
		.is_growing = true,
	};
	struct release_row release;
	struct rollout_row old;
	struct selector selector;
	bool found = true, exists;
	enum ota_err err = find_release(a, job, in->release, &release);

	if (err)
		return err;
	row.release = release.id;
	exists = !rollout_load_uid(job->db, row.uid, job->mem, &old, NULL);
	err = select_parse(a, job, in->selector, &selector, &row.selector);
	/* A repeated request stays the same one when the device it names was renamed or removed meanwhile,
	 * also where that word means another device by now. */
	if (exists && is_as_typed(&old, in->selector)) {
		row.selector = old.selector;
		err = OTA_OK;
	}
	if (err)
		return err;
	if (!exists && release.manifest && !release.is_complete)
		a->hint = "otad holds no release key, and this version has no command that signs with one "
			  "kept elsewhere";
	if (!exists && (!release.manifest || !release.is_complete || release.retired_at))
		return errmsg_fail(&job->e, OTA_STATE,
			release.retired_at
				? "release %s is retired"
				: "release %s is a draft: it still needs signatures of the release key",
			in->release);
	if (!exists)
		err = push_seek(a, job, &selector, &release, &found);
	row.cursor = in->cursor;
	return err || !found ? err : push_make(a, job, &row);
}

enum h_result h_rollout_put(struct req *req, struct res *res)
{
	struct push_in *in = arena_alloc(req->mem, sizeof(*in));
	struct errmsg e = {""};
	enum h_result answer;

	(void)res;
	if (!in)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (!api_body(req, push_fields, sizeof(push_fields) / sizeof(push_fields[0]), in, &answer))
		return answer;
	if (!limit_name_is_valid(req->cap.value[0])) {
		errmsg_set(&e, "a push is named by 1 to 64 characters of a-z, A-Z, 0-9, '.', '_' and '-' "
			       "that its client chose");
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	}
	/* What it takes the place of goes by who was told. */
	if (req->app->domain)
		upkeep_flush_all(req->app->domain);
	return api_store(req, push_run, in);
}
