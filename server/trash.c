#include "server/trash.h"

#include <unistd.h>

#include "server/app.h"
#include "server/jobs.h"
#include "server/log.h"
#include "server/openblob.h"

enum { JOB_MAX = 1024 * 1024 };

struct trash {
	struct app *app; /* the loop's */
	const struct blob_store *blobs;
	struct gc_list list;
	int *held; /* the bytes of those whose names are gone */
	size_t n_held;
};

static enum ota_err unlink_run(struct job *job)
{
	struct trash *t = job->ctx;

	for (size_t i = 0; i < t->list.n; i++) {
		enum ota_err err = gc_unlink(
			job->db, t->blobs, t->list.sha256[i], &t->held[t->n_held], &job->e);

		/* A backup is running: the orphans' turn comes later. */
		if (err && err != OTA_BUSY)
			return err;
		t->n_held += !err && t->held[t->n_held] >= 0;
	}
	return OTA_OK;
}

static enum ota_err close_run(struct job *job)
{
	struct trash *t = job->ctx;

	for (; t->n_held > 0; t->n_held--)
		close(t->held[t->n_held - 1]);
	return OTA_OK;
}

/* NULL: out of memory. */
static struct job *new_job(struct app *app, const struct gc_list *list)
{
	struct job *job = job_new(JOB_MAX);
	struct trash *t = job ? arena_alloc(job->mem, sizeof(*t)) : NULL;

	if (t) {
		t->app = app;
		t->blobs = app->blobs;
		t->list.n = list->n;
		t->list.sha256 = arena_dup(job->mem, list->sha256, list->n * sizeof(*list->sha256));
		t->held = arena_array(job->mem, list->n, sizeof(*t->held));
		job->ctx = t;
	}
	if (!t || !t->list.sha256 || !t->held) {
		job_drop(job);
		return NULL;
	}
	return job;
}

static void unlinked(struct job *job)
{
	struct trash *t = job->ctx;
	struct job *closing = t->n_held ? new_job(t->app, &t->list) : NULL;

	/* Now, and not before: as long as there were names, whoever asked had them mapped again. */
	for (size_t i = 0; t->app->blobs_open && i < t->list.n; i++)
		blob_table_drop(t->app->blobs_open, t->list.sha256[i]);
	if (job->err)
		log_error("garbage collection: %s", job->e.text);
	if (closing) {
		struct trash *later = closing->ctx;

		for (; t->n_held > 0; t->n_held--)
			later->held[later->n_held++] = t->held[t->n_held - 1];
		jobs_post(t->app->jobs, JOB_SLOW, closing, close_run, NULL);
	}
	/* Without memory for a job it is done here, however long it takes: nobody else has them. */
	(void)close_run(job);
}

void trash_blobs(struct app *app, const struct gc_list *list)
{
	struct job *job = list->n ? new_job(app, list) : NULL;

	if (job)
		jobs_post(app->jobs, JOB_STORE, job, unlink_run, unlinked);
}
