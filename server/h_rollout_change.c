/* A push that is there: cancelled, tried again, released from hold. */
#include "db/assignment.h"
#include "db/release.h"
#include "db/rollout.h"
#include "server/api.h"
#include "server/domain.h"
#include "server/find.h"
#include "server/grow.h"
#include "server/h_rollout.h"
#include "server/nouns.h"

/* On the loop, after each piece: what it changed can be told. */
static void went_on(struct api_job *a)
{
	if (a->app->domain)
		domain_changed(a->app);
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
		a->after = went_on;
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

/* Once more where it did not work, or where the device runs it no more: the same manifest, after a failure
 * one attempt higher. A device counts by its newest attempt, and one that has something else to do by now is
 * left alone; so the same request again goes on with one that was killed. */
enum { RETRY_PIECE = 100 };

struct retry_in {
	int64_t rollout, cursor;
	int64_t last; /* what is assigned after this request came has not gone wrong before it */
	uint64_t n_retried;
};

static enum ota_err retry_load(struct job *job, int64_t id, int64_t device, struct arena *mem,
	struct assignment_row *was, bool *is_meant)
{
	struct assignment_list newest;
	enum ota_err err = assignment_load(job->db, id, mem, was, &job->e);

	*is_meant = false;
	if (err)
		return err;
	if (was->state != ASSIGN_FAILED && was->state != ASSIGN_REVERTED && was->state != ASSIGN_TIMED_OUT &&
		!was->is_drifted)
		return OTA_OK;
	if (!was->offered_at && was->detail == ota_err_detail(OTA_LIMIT))
		return OTA_OK; /* nothing has changed since it had no attempt left */
	err = assignment_history(job->db, device, &(struct db_page){.limit = 1}, mem, &newest, &job->e);
	*is_meant = !err && newest.n && newest.rows[0].id == id;
	return err;
}

static enum ota_err retry_one(
	struct api_job *a, struct job *job, const struct rollout_row *row, const struct rollout_task *task)
{
	struct retry_in *in = a->in;
	AUTO(arena) struct arena mem;
	struct assignment_opened opened = {0};
	struct assignment_row was;
	bool is_meant;
	enum ota_err err;

	arena_init(&mem, (size_t)1024 * 1024);
	err = retry_load(job, task->id, task->device, &mem, &was, &is_meant);
	if (err || !is_meant)
		return err;
	err = assignment_open(job->db, row->id, was.device, was.manifest, a->now, &opened, &job->e);
	if (err == OTA_CONFLICT)
		return OTA_OK; /* revoked meanwhile */
	if (err)
		return err;
	in->n_retried += opened.is_new && !opened.is_spent;
	return grow_note(job, row->uid, a->req->who.name, was.version, was.device, a->now, &opened);
}

/* A piece of it, until all is through; then the answer. */
static enum ota_err retry_more(struct api_job *a, struct job *job)
{
	struct retry_in *in = a->in;
	const struct db_page page = {.cursor = in->cursor, .limit = RETRY_PIECE};
	const uint64_t before = in->n_retried;
	AUTO(arena) struct arena mem; /* the request's lasts for all of its pieces */
	struct rollout_tasks list = {0};
	struct release_row release;
	struct rollout_row row;
	enum ota_err err;

	arena_init(&mem, (size_t)1024 * 1024);
	err = rollout_load(job->db, in->rollout, &mem, &row, &job->e);
	if (!err && row.state == ROLLOUT_CANCELLED) {
		a->hint = "push the release again";
		return errmsg_fail(&job->e, OTA_STATE, "push '%s' was cancelled", row.uid);
	}
	if (!err)
		err = release_load(job->db, row.release, &mem, &release, &job->e);
	/* Its images may be gone: nobody would get through. */
	if (!err && release.retired_at) {
		a->hint = "push another release";
		return errmsg_fail(&job->e, OTA_STATE, "release '%s' is retired", release.version);
	}
	if (!err)
		err = rollout_list_tasks(job->db, row.id, in->last, &page, &mem, &list, &job->e);
	for (size_t i = 0; i < list.n && !err; i++)
		err = retry_one(a, job, &row, &list.rows[i]);
	if (!err && !before && in->n_retried)
		err = api_audit(a, job, "rollout.retry", row.uid, NULL, NULL);
	if (err && before)
		errmsg_prefix(&job->e, "some devices try again already, ask again for the rest: ");
	if (err)
		return err;
	in->cursor = list.next;
	if (in->cursor) {
		a->more = retry_more;
		a->after = went_on;
		return OTA_OK;
	}
	js_object(&a->out, NULL);
	js_int(&a->out, "retried", (int64_t)in->n_retried);
	return OTA_OK;
}

static enum ota_err retry_run(struct api_job *a, struct job *job)
{
	struct retry_in *in = a->in;
	struct rollout_row row;
	int64_t first;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	if (a->if_revision && a->if_revision != row.revision)
		return errmsg_fail(&job->e, OTA_CONFLICT, "the push was changed meanwhile");
	err = rollout_span(job->db, row.id, &first, &in->last, &job->e);
	if (err)
		return err;
	in->rollout = row.id;
	in->cursor = first ? first - 1 : 0;
	return retry_more(a, job);
}

enum h_result h_rollout_retry(struct req *req, struct res *res)
{
	struct retry_in *in = arena_alloc(req->mem, sizeof(*in));

	(void)res;
	return in ? api_store(req, retry_run, in) : res_error(req, OTA_NO_MEMORY, NULL);
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
	return err ? err : rollout_answer(a, job, row.id);
}

enum h_result h_rollout_unhold(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, unhold_run, NULL);
}
