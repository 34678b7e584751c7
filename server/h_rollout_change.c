/* A push that is there: cancelled, tried again, released from hold. */
#include "db/assignment.h"
#include "db/rollout.h"
#include "server/again.h"
#include "server/api.h"
#include "server/domain.h"
#include "server/find.h"
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
	bool is_end;                  /* it was going on until then */
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
	js_bool(&a->out, "ended", in->is_end);
	return OTA_OK;
}

/* A piece of it, until all is through; then the answer. */
static enum ota_err cancel_more(struct api_job *a, struct job *job)
{
	struct cancel_in *in = a->in;
	enum ota_err err = rollout_withdraw(job->db, in->rollout, a->now, &in->cursor, &in->done, &job->e);

	if (err) {
		errmsg_prefix(&job->e, "no device is told to install it any more; what came of it will be "
				       "looked at, but not now: ");
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
	in->is_end = row.state == ROLLOUT_RUNNING || row.doing == ROLLOUT_RETRYING;
	if (!err && in->is_end)
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

struct retry_in {
	int64_t rollout;
	uint64_t n_retried;
	bool is_shared; /* another was under way when this one came */
};

/* A piece of it, until all is through; then the answer. */
static enum ota_err retry_more(struct api_job *a, struct job *job)
{
	struct retry_in *in = a->in;
	const uint64_t before = in->n_retried;
	bool is_through, is_retired = false;
	enum ota_err err = again_piece(job, in->rollout, a->now, &in->n_retried, &is_through, &is_retired);

	if (err == OTA_STATE)
		a->hint = is_retired ? "push another release" : "push the release again";
	else if (err && before)
		errmsg_prefix(&job->e, "some devices try again already, and the rest will, but not now: ");
	if (err)
		return err;
	if (!is_through) {
		a->more = retry_more;
		a->after = went_on;
		return OTA_OK;
	}
	js_object(&a->out, NULL);
	js_int(&a->out, "retried", (int64_t)in->n_retried);
	js_bool(&a->out, "shared", in->is_shared);
	return OTA_OK;
}

/* What is assigned after this request came has not gone wrong before it. */
static enum ota_err retry_run(struct api_job *a, struct job *job)
{
	struct retry_in *in = a->in;
	struct rollout_row row;
	int64_t first, last;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	if (a->if_revision && a->if_revision != row.revision)
		return errmsg_fail(&job->e, OTA_CONFLICT, "the push was changed meanwhile");
	err = rollout_span(job->db, row.id, &first, &last, &job->e);
	if (!err)
		err = rollout_retry(job->db, row.id, first ? first - 1 : 0, last, a->req->who.name, &job->e);
	if (err)
		return err;
	in->rollout = row.id;
	in->is_shared = row.doing == ROLLOUT_RETRYING;
	err = retry_more(a, job);
	/* Also where it is not known yet that there is anything to do: upkeep may have to end it. */
	if (!err && (in->n_retried || a->more))
		err = api_audit(a, job, "rollout.retry", row.uid, NULL, NULL);
	return err;
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
