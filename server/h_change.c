/* What has changed, as it happens: /v1/changes. */
#include <string.h>

#include "db/assignment.h"
#include "db/board.h"
#include "db/change.h"
#include "db/device.h"
#include "db/release.h"
#include "db/rollout.h"
#include "proto/hex.h"
#include "server/api.h"
#include "server/nouns.h"
#include "server/ops.h"
#include "server/view.h"

enum { WAIT_MAX_S = 55 };

static const char *kind_name(enum change_kind kind)
{
	switch (kind) {
	case CHANGE_BOARD:
		return "board";
	case CHANGE_IMAGE:
		return "image";
	case CHANGE_RELEASE:
		return "release";
	case CHANGE_DEVICE:
		return "device";
	case CHANGE_ENROLL:
		return "secret";
	case CHANGE_ROLLOUT:
		return "rollout";
	case CHANGE_ASSIGNMENT:
		return "assignment";
	case CHANGE_TOKEN:
		return "token";
	case CHANGE_SETTING:
		return "setting";
	case CHANGE_ROOT:
		return "root";
	}
	return "other";
}

/* The name the API knows the row by; NULL: it is gone, or has none. An assignment's is its device's. */
static enum ota_err public_id(struct view *v, const struct change_row *row, const char **out)
{
	struct db *db = v->job->db;
	struct arena *mem = v->job->mem;
	enum ota_err err = OTA_OK;

	*out = NULL;
	switch (row->kind) {
	case CHANGE_BOARD: {
		struct board_row board;

		err = board_load(db, row->id, mem, &board, &v->job->e);
		if (!err)
			*out = board.name;
		break;
	}
	case CHANGE_DEVICE: {
		struct device_row device;

		err = device_load(db, row->id, mem, &device, &v->job->e);
		if (!err)
			*out = arena_strdup(mem, device.uid);
		break;
	}
	case CHANGE_ASSIGNMENT: {
		struct assignment_row assignment;

		err = assignment_load(db, row->id, mem, &assignment, &v->job->e);
		if (!err)
			*out = arena_strdup(mem, assignment.device_uid);
		break;
	}
	case CHANGE_ROLLOUT: {
		struct rollout_row rollout;

		err = rollout_load(db, row->id, mem, &rollout, &v->job->e);
		if (!err)
			*out = rollout.uid;
		break;
	}
	case CHANGE_RELEASE: {
		struct release_row release;

		err = release_load(db, row->id, mem, &release, &v->job->e);
		if (!err)
			err = view_release_id(v, release.board, release.version, out);
		break;
	}
	case CHANGE_IMAGE:
	case CHANGE_ENROLL:
	case CHANGE_TOKEN:
	case CHANGE_SETTING:
	case CHANGE_ROOT:
		break;
	}
	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

struct watch_in {
	int64_t after;
	int64_t until_ms; /* monotonic; 0: do not wait */
	int64_t newest;
	bool has_any;
	struct js_out out;
	struct ops_waiter waiter;
};

static enum ota_err items_json(struct view *v, struct watch_in *in)
{
	struct js_out *o = &in->out;
	struct db_page page = {.cursor = in->after, .limit = 500};
	struct change_list list;
	int64_t newest;
	enum ota_err err = change_newest(v->job->db, &newest, &v->job->e);

	if (!err)
		err = change_list(v->job->db, &page, v->job->mem, &list, &v->job->e);
	in->newest = newest;
	in->has_any = err == OTA_TRUNCATED || (!err && list.n > 0) || in->after > newest;
	js_object(o, NULL);
	if (err == OTA_TRUNCATED || in->after > newest) {
		/* The caller missed some, or counts from another database: look at everything again. */
		js_int(o, "seq", newest);
		js_bool(o, "all", true);
		js_array(o, "items");
		js_end(o);
		return OTA_OK;
	}
	if (err)
		return err;
	js_int(o, "seq", list.n ? list.rows[list.n - 1].seq : newest);
	js_bool(o, "all", false);
	js_array(o, "items");
	for (size_t i = 0; i < list.n; i++) {
		const char *id;

		err = public_id(v, &list.rows[i], &id);
		if (err)
			return err;
		js_object(o, NULL);
		js_int(o, "seq", list.rows[i].seq);
		js_text(o, "kind", kind_name(list.rows[i].kind));
		js_text(o, "id", id);
		js_end(o);
	}
	js_end(o);
	return OTA_OK;
}

static enum ota_err look_run(struct job *job)
{
	struct watch_in *in = job->ctx;
	struct api_job a = {0};
	AUTO(view) struct view v = {0};
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err = db_begin(job->db, &tx, &job->e);

	view_init(&v, &a, job);
	js_init(&in->out, job->mem);
	return err ? err : items_json(&v, in);
}

static enum h_result look_done(struct req *req, struct res *res, struct job *job);

static enum h_result look(struct req *req)
{
	return req_job(req, JOB_READ, look_run, req->ctx, look_done);
}

/* Somebody committed, or the time is over: look once more. */
static void woken(struct ops_waiter *w)
{
	struct req *req = w->ctx;

	if (look(req) == H_DONE)
		req->resume(req);
}

static enum h_result look_done(struct req *req, struct res *res, struct job *job)
{
	struct watch_in *in = job->ctx;
	int64_t now_ms = req->app->mono_ms(req->app->clock_ctx);

	(void)res;
	if (job->err)
		return api_fail(req, res_status_of(job->err), job->err, &job->e, NULL);
	if (in->has_any || now_ms >= in->until_ms)
		return js_answer(req, 200, &in->out);
	in->waiter.ctx = req;
	in->waiter.woken = woken;
	if (!ops_wait(req->app, &in->waiter, in->until_ms - now_ms))
		return js_answer(req, 200, &in->out);
	return H_WAIT;
}

enum h_result h_change_list(struct req *req, struct res *res)
{
	const char *after = api_query(req, "after"), *wait = api_query(req, "wait");
	struct watch_in *in = arena_alloc(req->mem, sizeof(*in));
	struct errmsg e = {""};
	int64_t wait_s = 0;

	(void)res;
	if (!in)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (after && !api_number(after, 0, INT64_MAX, &in->after))
		errmsg_set(&e, "after must be a seq of an earlier answer");
	else if (wait && !api_number(wait, 0, WAIT_MAX_S, &wait_s))
		errmsg_set(&e, "wait must be a whole number of seconds from 0 to %d", WAIT_MAX_S);
	if (*e.text)
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	in->until_ms = wait_s ? req->app->mono_ms(req->app->clock_ctx) + wait_s * 1000 : 0;
	req->ctx = in;
	return look(req);
}
