/* Pushes: /v1/rollouts, /v1/assignments, /v1/selection. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db/assignment.h"
#include "db/device.h"
#include "db/rollout.h"
#include "server/api.h"
#include "server/domain.h"
#include "server/find.h"
#include "server/grow.h"
#include "server/nouns.h"
#include "server/select.h"
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

static enum ota_err answer_rollout(struct api_job *a, struct job *job, int64_t id)
{
	struct rollout_row row;
	AUTO(view) struct view v = {0};
	enum ota_err err = rollout_load(job->db, id, job->mem, &row, &job->e);

	if (err)
		return err;
	view_init(&v, a, job);
	a->revision = row.revision;
	js_object(&a->out, NULL);
	return view_rollout(&v, &row);
}

static enum ota_err get_run(struct api_job *a, struct job *job)
{
	struct rollout_row row;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	return err ? err : answer_rollout(a, job, row.id);
}

enum h_result h_rollout_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, get_run, NULL);
}

/* Who would get it: a look before a push, and the push itself. */
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

static enum ota_err selection_run(struct api_job *a, struct job *job)
{
	const char *board_name = api_query(a->req, "board"), *release_id = api_query(a->req, "release");
	struct release_row release;
	struct picked p = {.a = a, .job = job};
	struct board_row board = {0};
	struct selector selector;
	struct device_filter filter = {.selector = &selector, .state = -1};
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
	return err;
}

enum h_result h_selection_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, selection_run, NULL);
}

enum { PUSH_SEEK = 1000 /* devices looked at in one job for the first that is meant */ };

struct push_in {
	const char *release, *selector;
	int hold, accept_served;
	int64_t timeout_s;
	/* the jobs' own */
	int64_t rollout;
	int64_t cursor; /* how far the search for the first device is */
};

static const struct js_field push_fields[] = {
	JS_FIELD(struct push_in, release, JS_TEXT, true, 1, 128),
	JS_FIELD(struct push_in, selector, JS_TEXT, true, 1, SELECTOR_TEXT_MAX),
	JS_FIELD(struct push_in, hold, JS_BOOL, false, 0, 0),
	JS_FIELD(struct push_in, accept_served, JS_BOOL, false, 0, 0),
	JS_FIELD(struct push_in, timeout_s, JS_INT, false, 60, (int64_t)366 * 86400),
};

static enum ota_err push_run(struct api_job *a, struct job *job);

/* Nobody: why not? */
static enum ota_err nobody(struct api_job *a, struct job *job, const struct selector *selector,
	const struct release_row *release, const char *text)
{
	struct device_filter filter = {
		.selector = selector, .board = release->board, .state = DEVICE_PENDING};
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
		a->hint = arena_printf(
			job->mem, "%" PRIu64 " of them wait for approval: otactl device approve", pending);
	else if (elsewhere)
		a->hint = arena_printf(job->mem, "%" PRIu64 " of other boards match", elsewhere);
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

/* A piece of it, until it is whole; then the answer. */
static enum ota_err push_grow(struct api_job *a, struct job *job)
{
	const struct push_in *in = a->in;
	bool is_whole;
	enum ota_err err = grow_piece(job, in->rollout, a->now, &is_whole);

	if (err)
		return err;
	if (is_whole)
		return answer_rollout(a, job, in->rollout);
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
	return row->is_growing ? push_grow(a, job) : answer_rollout(a, job, row->id);
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
	/* A repeated request stays the same one when the device it names was renamed or removed meanwhile. */
	if (err == OTA_NOT_FOUND && exists && old.release == row.release)
		return push_again(a, job, &old);
	if (err)
		return err;
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
		errmsg_set(&e,
			"a push is named by 1 to 63 letters, digits, '.', '_' and '-' that its client chose");
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	}
	return api_store(req, push_run, in);
}

static enum ota_err assignment_json(void *ctx, const void *of)
{
	struct view *v = ctx;
	const struct assignment_row *row = of;
	struct js_out *o = &v->a->out;
	struct device_row device;
	enum ota_err err;

	view_next(v);
	err = device_load(v->job->db, row->device, &v->tmp, &device, &v->job->e);
	if (err)
		return err;
	js_object(o, "device");
	js_text(o, "id", device.uid);
	js_text(o, "name", device.name);
	js_bool(o, "hold", device.is_held);
	js_end(o);
	err = view_assignment(v, row, &device);
	js_text(o, "running_version", *device.version ? device.version : NULL);
	js_time(o, "last_seen", device.said.seen_at);
	return err;
}

/* `state`: only these; -1: all. */
static enum ota_err assignments_json(
	struct api_job *a, struct job *job, const struct assignment_filter *filter, int state)
{
	struct assignment_list list;
	AUTO(view) struct view v = {0};
	size_t n = 0;
	enum ota_err err = assignment_list(job->db, filter, a->in, job->mem, &list, &job->e);

	if (err)
		return err;
	for (size_t i = 0; i < list.n; i++) {
		if (state < 0 || (int)list.rows[i].state == state)
			list.rows[n++] = list.rows[i];
	}
	list.n = n;
	view_init(&v, a, job);
	return api_items(a, API_ROWS(list), assignment_json, &v);
}

static enum ota_err rollout_assignments_run(struct api_job *a, struct job *job)
{
	struct rollout_row row;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	return err ? err : assignments_json(a, job, &(struct assignment_filter){.rollout = row.id}, -1);
}

enum h_result h_rollout_assignments(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, rollout_assignments_run);
}

static enum ota_err assignments_run(struct api_job *a, struct job *job)
{
	const char *device = api_query(a->req, "device"), *state = api_query(a->req, "state");
	struct assignment_filter filter = {0};
	enum assign_state wanted = ASSIGN_WAITING;
	enum ota_err err = OTA_OK;

	if (device) {
		struct device_row row;

		err = find_device(a, job, device, &row);
		filter.device = row.id;
	}
	if (!err && state && strcmp(state, "open") == 0) {
		filter.only_open = true;
		state = NULL;
	} else if (!err && state && assign_state_parse(state, &wanted)) {
		err = errmsg_fail(&job->e, OTA_INVALID, "there is no assignment state '%.40s'", state);
	}
	return err ? err : assignments_json(a, job, &filter, state ? (int)wanted : -1);
}

enum h_result h_assignment_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, assignments_run);
}

struct cancel_in {
	int64_t rollout, cursor;
	uint64_t n_open, n_cancelled; /* before */
	struct rollout_cancelled done;
};

static uint64_t count_open(const struct rollout_counts *counts)
{
	uint64_t n = 0;

	for (int s = 0; s < ASSIGN_STATES; s++)
		n += assign_state_is_open((enum assign_state)s) ? counts->by_state[s] : 0;
	return n;
}

/* Devices that were removed meanwhile are in the one and not in the other. */
static uint64_t without(uint64_t n, uint64_t less)
{
	return n > less ? n - less : 0;
}

/* A device that spoke while the others were taken back ended its own: as cancelled, or by what it had begun.
 */
static enum ota_err cancel_answer(struct api_job *a, struct job *job)
{
	const struct cancel_in *in = a->in;
	struct rollout_counts counts;
	uint64_t withdrawn;
	enum ota_err err = rollout_count(job->db, in->rollout, &counts, &job->e);

	if (err)
		return err;
	withdrawn = without(counts.by_state[ASSIGN_CANCELLED], in->n_cancelled);
	js_object(&a->out, NULL);
	js_int(&a->out, "withdrawn", (int64_t)withdrawn);
	js_int(&a->out, "committed", (int64_t)without(in->n_open, withdrawn + in->done.n_unsure));
	js_int(&a->out, "unsure", (int64_t)in->done.n_unsure);
	js_time(&a->out, "until", in->done.until);
	return OTA_OK;
}

/* On the loop, after each piece: what was taken back can be told. */
static void cancel_went_on(struct api_job *a)
{
	if (a->app->domain)
		domain_changed(a->app);
}

/* A piece of it, until all is through; then the answer. */
static enum ota_err cancel_more(struct api_job *a, struct job *job)
{
	struct cancel_in *in = a->in;
	enum ota_err err = rollout_withdraw(job->db, in->rollout, a->now, &in->cursor, &in->done, &job->e);

	if (err) {
		errmsg_prefix(&job->e, "no device is told to install it any more, but ask again: ");
		return err;
	}
	if (in->cursor) {
		a->more = cancel_more;
		a->after = cancel_went_on;
		return OTA_OK;
	}
	return cancel_answer(a, job);
}

/* First no ticket names it any more. Who was told to install it is known for certain only then. */
static enum ota_err cancel_run(struct api_job *a, struct job *job)
{
	struct cancel_in *in = a->in;
	struct rollout_counts counts;
	struct rollout_row row;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	err = rollout_end(job->db, row.id, a->if_revision, ROLLOUT_CANCELLED, a->now, &job->e);
	if (err == OTA_STATE)
		return errmsg_fail(&job->e, err, "push '%s' is done; there is nothing to cancel", row.uid);
	if (!err && row.state == ROLLOUT_RUNNING)
		err = api_audit(a, job, "rollout.cancel", row.uid, NULL, NULL);
	if (!err)
		err = rollout_count(job->db, row.id, &counts, &job->e);
	if (err)
		return err;
	in->rollout = row.id;
	in->n_open = count_open(&counts);
	in->n_cancelled = counts.by_state[ASSIGN_CANCELLED];
	a->more = cancel_more;
	a->is_settled_first = true;
	return OTA_OK;
}

enum h_result h_rollout_cancel(struct req *req, struct res *res)
{
	struct cancel_in *in = arena_alloc(req->mem, sizeof(*in));

	(void)res;
	return in ? api_store(req, cancel_run, in) : res_error(req, OTA_NO_MEMORY, NULL);
}

/* Once more where it did not work: the same manifest, one attempt higher. A device counts by its newest
 * attempt, and one that has something else to do by now is left alone. */
static enum ota_err retry_run(struct api_job *a, struct job *job)
{
	struct db_page page = {.limit = DB_PAGE_MAX};
	struct rollout_row row;
	uint64_t retried = 0;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	if (a->if_revision && a->if_revision != row.revision)
		return errmsg_fail(&job->e, OTA_CONFLICT, "the push was changed meanwhile");
	if (row.state == ROLLOUT_CANCELLED) {
		a->hint = "push the release again";
		return errmsg_fail(&job->e, OTA_STATE, "push '%s' was cancelled", row.uid);
	}
	do {
		AUTO(arena) struct arena mem;
		struct assignment_list list = {0};

		arena_init(&mem, (size_t)16 * 1024 * 1024);
		err = assignment_list(
			job->db, &(struct assignment_filter){.rollout = row.id}, &page, &mem, &list, &job->e);
		for (size_t i = 0; i < list.n && !err; i++) {
			const struct assignment_row *was = &list.rows[i];
			struct assignment_opened opened = {0};
			struct assignment_list newest;

			if (was->state != ASSIGN_FAILED && was->state != ASSIGN_REVERTED &&
				was->state != ASSIGN_TIMED_OUT)
				continue;
			if (!was->offered_at && was->detail == ota_err_detail(OTA_LIMIT))
				continue; /* nothing has changed since it had no attempt left */
			err = assignment_history(
				job->db, was->device, &(struct db_page){.limit = 1}, &mem, &newest, &job->e);
			if (err || newest.n == 0 || newest.rows[0].id != was->id)
				continue;
			err = assignment_open(
				job->db, row.id, was->device, was->manifest, a->now, &opened, &job->e);
			if (err == OTA_CONFLICT)
				err = OTA_OK; /* revoked meanwhile */
			else if (!err)
				err = grow_note(job, row.uid, a->req->who.name, was->version, was->device,
					a->now, &opened);
			retried += !err && opened.is_new && !opened.is_spent;
		}
		page.cursor = list.next;
	} while (page.cursor && !err);
	if (!err && retried)
		err = api_audit(a, job, "rollout.retry", row.uid, NULL, NULL);
	js_object(&a->out, NULL);
	js_int(&a->out, "retried", (int64_t)retried);
	return err;
}

enum h_result h_rollout_retry(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, retry_run, NULL);
}

static enum ota_err unhold_run(struct api_job *a, struct job *job)
{
	struct rollout_row row;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	err = rollout_unhold(job->db, row.id, a->if_revision, &job->e);
	if (err == OTA_STATE)
		return errmsg_fail(&job->e, err, "push '%s' has ended", row.uid);
	if (!err && row.is_held)
		err = api_audit(a, job, "rollout.release-hold", row.uid, NULL, NULL);
	return err ? err : answer_rollout(a, job, row.id);
}

enum h_result h_rollout_unhold(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, unhold_run, NULL);
}
