#include "server/jobs.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "db/db.h"

enum {
	WORKERS_MAX = 8,
	BATCH_MAX = 256, /* jobs in one transaction */
	STORE_WAIT_S = 60,
	WORKER_WAIT_S = 2, /* it may sit in a name query for 10 s, which is nobody's loss */
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *head, **tail;
	bool is_closed;
};

struct lane {
	struct jobs *jobs;
	struct queue *queue;
	struct db *db;
	pthread_t thread;
	bool is_running;
};

struct jobs {
	struct jobs_config cfg;
	struct queue store, work, finished;
	struct lane lanes[1 + WORKERS_MAX]; /* [0] is the store thread */
	unsigned n_lanes;
	int wake_fd;
	size_t pending; /* loop thread only */
};

static void queue_init(struct queue *q)
{
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->more, NULL);
	q->head = NULL;
	q->tail = &q->head;
	q->is_closed = false;
}

static void queue_release(struct queue *q)
{
	pthread_cond_destroy(&q->more);
	pthread_mutex_destroy(&q->lock);
}

static void queue_push(struct queue *q, struct job *list, struct job *last)
{
	pthread_mutex_lock(&q->lock);
	last->next = NULL;
	*q->tail = list;
	q->tail = &last->next;
	pthread_cond_signal(&q->more);
	pthread_mutex_unlock(&q->lock);
}

/* Up to `max` jobs; with `is_waiting` blocks until there is one. NULL: closed and empty, or empty. */
static struct job *queue_take(struct queue *q, unsigned max, bool is_waiting)
{
	struct job *list, *last = NULL;

	pthread_mutex_lock(&q->lock);
	while (is_waiting && !q->head && !q->is_closed)
		pthread_cond_wait(&q->more, &q->lock);
	list = q->head;
	for (struct job *j = list; j && max > 0; j = j->next, max--)
		last = j;
	if (last) {
		q->head = last->next;
		last->next = NULL;
		if (!q->head)
			q->tail = &q->head;
	}
	pthread_mutex_unlock(&q->lock);
	return list;
}

static void queue_close(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->is_closed = true;
	pthread_cond_broadcast(&q->more);
	pthread_mutex_unlock(&q->lock);
}

static void run_plain(struct job *job, struct db *db)
{
	job->db = db;
	job->err = job->fn(job);
	job->db = NULL;
}

/* One job in its own savepoint. */
static void run_in_savepoint(struct job *job, struct db *db)
{
	AUTO(tx) struct db_tx tx = {0};

	job->err = db_begin(db, &tx, &job->e);
	if (job->err)
		return;
	run_plain(job, db);
	if (!job->err)
		job->err = db_commit(&tx, &job->e);
}

/* All of `list` in one transaction with one commit. When the commit fails, nothing of it happened: every job
 * that thought it was done learns the commit's error. */
static void run_batch(struct job *list, struct db *db)
{
	struct errmsg e = {{0}};
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	if (!db) {
		for (struct job *j = list; j; j = j->next)
			run_plain(j, NULL);
		return;
	}
	err = db_begin(db, &tx, &e);
	if (!err) {
		for (struct job *j = list; j; j = j->next)
			run_in_savepoint(j, db);
		err = db_commit(&tx, &e);
	}
	if (!err)
		return;
	for (struct job *j = list; j; j = j->next) {
		if (!j->err) {
			j->err = err;
			j->e = e;
		}
	}
}

static void hand_back(struct jobs *jobs, struct job *list)
{
	struct job *last = list;
	const uint64_t one = 1;
	ssize_t ignored;

	while (last->next)
		last = last->next;
	queue_push(&jobs->finished, list, last);
	ignored = write(jobs->wake_fd, &one, sizeof one);
	(void)ignored; /* EAGAIN: the counter is full, so the loop is woken anyway */
}

/* On a full disk the room that the log has already is all there is: it can be used again once it is copied.
 */
static void make_room(const struct job *list, struct db *db)
{
	struct errmsg e;

	while (list && list->err != OTA_NO_SPACE)
		list = list->next;
	if (list && db)
		(void)!db_checkpoint(db, &e);
}

static void *store_main(void *arg)
{
	struct lane *lane = arg;
	struct job *list;

	pthread_setname_np(pthread_self(), "otad-store");
	while ((list = queue_take(lane->queue, BATCH_MAX, true))) {
		run_batch(list, lane->db);
		make_room(list, lane->db);
		hand_back(lane->jobs, list);
	}
	return NULL;
}

static void *worker_main(void *arg)
{
	struct lane *lane = arg;
	struct job *job;

	pthread_setname_np(pthread_self(), "otad-worker");
	while ((job = queue_take(lane->queue, 1, true))) {
		run_plain(job, lane->db);
		hand_back(lane->jobs, job);
	}
	return NULL;
}

static enum ota_err lane_start(struct jobs *jobs, bool is_store, struct errmsg *e)
{
	struct lane *lane = &jobs->lanes[jobs->n_lanes];
	sigset_t all, before;
	int rc = 0;

	lane->jobs = jobs;
	lane->queue = is_store ? &jobs->store : &jobs->work;
	if (jobs->cfg.db_open) {
		enum ota_err err = jobs->cfg.db_open(jobs->cfg.ctx, is_store, &lane->db, e);

		if (err)
			return err;
	}
	jobs->n_lanes++;
	if (jobs->cfg.is_inline)
		return OTA_OK;
	/* Signals are the loop's, by signalfd: no other thread may take one. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&lane->thread, NULL, is_store ? store_main : worker_main, lane);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return errmsg_fail_errno(e, rc, "cannot start a thread");
	lane->is_running = true;
	return OTA_OK;
}

enum ota_err jobs_new(const struct jobs_config *cfg, struct jobs **out, struct errmsg *e)
{
	struct jobs *jobs = calloc(1, sizeof *jobs);
	unsigned workers = cfg->workers ? cfg->workers : 2;
	enum ota_err err;

	if (!jobs)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	assert(workers <= WORKERS_MAX);
	jobs->cfg = *cfg;
	jobs->wake_fd = -1;
	queue_init(&jobs->store);
	queue_init(&jobs->work);
	queue_init(&jobs->finished);
	if (!cfg->is_inline) {
		jobs->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (jobs->wake_fd < 0) {
			err = errmsg_fail_errno(e, errno, "cannot make an eventfd");
			goto out;
		}
	}
	err = lane_start(jobs, true, e);
	for (unsigned i = 0; !err && !cfg->is_inline && i < workers; i++)
		err = lane_start(jobs, false, e);
	if (!err) {
		*out = jobs;
		return OTA_OK;
	}
out:
	jobs_free(jobs);
	return err;
}

static bool lane_join(struct lane *lane)
{
	struct timespec until;

	if (!lane->is_running)
		return true;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += lane->queue == &lane->jobs->store ? STORE_WAIT_S : WORKER_WAIT_S;
	if (pthread_timedjoin_np(lane->thread, NULL, &until) == 0)
		return true;
	pthread_detach(lane->thread);
	return false;
}

void jobs_free(struct jobs *jobs)
{
	bool is_joined = true;

	if (!jobs)
		return;
	queue_close(&jobs->store);
	queue_close(&jobs->work);
	for (unsigned i = 0; i < jobs->n_lanes; i++)
		is_joined = lane_join(&jobs->lanes[i]) && is_joined;
	/* A thread that does not come back keeps what it uses; the process is about to end. */
	if (!is_joined)
		return;
	jobs_complete(jobs);
	for (unsigned i = 0; i < jobs->n_lanes; i++) {
		if (jobs->lanes[i].db)
			jobs->cfg.db_close(jobs->lanes[i].db);
	}
	if (jobs->wake_fd >= 0)
		close(jobs->wake_fd);
	queue_release(&jobs->store);
	queue_release(&jobs->work);
	queue_release(&jobs->finished);
	free(jobs);
}

struct job *job_new(size_t mem_max)
{
	struct job *job = calloc(1, sizeof *job);

	if (!job)
		return NULL;
	arena_init(&job->own, mem_max);
	job->mem = &job->own;
	return job;
}

void job_drop(struct job *job)
{
	if (job)
		arena_release(&job->own);
	free(job);
}

/* `done` may end the life of a job that is not our own, so what is needed after it is read before. */
static void complete(struct job *job)
{
	bool is_own = job->mem == &job->own;

	if (job->done)
		job->done(job);
	if (is_own)
		job_drop(job);
}

void jobs_post(
	struct jobs *jobs, enum job_queue queue, struct job *job, job_fn fn, void (*done)(struct job *))
{
	job->queue = queue;
	job->fn = fn;
	job->done = done;
	job->next = NULL;
	job->err = OTA_OK;
	if (jobs->cfg.is_inline) {
		if (queue == JOB_STORE)
			run_batch(job, jobs->lanes[0].db);
		else
			run_plain(job, jobs->lanes[0].db);
		complete(job);
		return;
	}
	jobs->pending++;
	queue_push(queue == JOB_STORE ? &jobs->store : &jobs->work, job, job);
}

int jobs_fd(const struct jobs *jobs)
{
	return jobs->wake_fd;
}

void jobs_complete(struct jobs *jobs)
{
	uint64_t count;
	ssize_t ignored;
	struct job *list;

	if (jobs->wake_fd < 0)
		return;
	ignored = read(jobs->wake_fd, &count, sizeof count);
	(void)ignored; /* EAGAIN: nothing new, the queue says the rest */
	list = queue_take(&jobs->finished, UINT32_MAX, false);
	while (list) {
		struct job *job = list;

		list = job->next;
		jobs->pending--;
		complete(job);
	}
}

size_t jobs_pending(const struct jobs *jobs)
{
	return jobs->pending;
}

bool jobs_is_inline(const struct jobs *jobs)
{
	return jobs->cfg.is_inline;
}
