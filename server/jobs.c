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
	BATCH_MAX = 256, /* jobs in one transaction */
	THREADS_MAX = 16,
};

/* What jobs.h says of each lane. */
static const struct lane_row {
	const char *name; /* of its threads; at most 15 characters */
	unsigned threads;
	bool has_db;
	time_t end_wait_s; /* for what is queued when the server ends */
} lane_rows[JOB_LANES] = {
	[JOB_STORE] = {"otad-store", 1, true, 60},
	[JOB_SIGN] = {"otad-sign", 1, false, 10},
	[JOB_READ] = {"otad-read", 2, true, 10},
	[JOB_SLOW] = {"otad-slow", 2, true, 10},
	/* It may sit in a query for ten seconds, which is nobody's loss. */
	[JOB_NAME] = {"otad-name", 1, false, 2},
};

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *head, **tail;
	bool is_closed;
};

struct thread {
	struct jobs *jobs;
	enum job_lane lane;
	struct db *db;
	pthread_t id;
	bool is_running;
};

struct jobs {
	struct jobs_config cfg;
	struct queue queues[JOB_LANES], finished;
	struct thread threads[THREADS_MAX];
	unsigned n_threads;
	int wake_fd;
	size_t pending[JOB_LANES]; /* loop thread only */
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
	const struct thread *t = arg;
	struct job *list;

	while ((list = queue_take(&t->jobs->queues[t->lane], BATCH_MAX, true))) {
		run_batch(list, t->db);
		make_room(list, t->db);
		hand_back(t->jobs, list);
	}
	return NULL;
}

static void *lane_main(void *arg)
{
	const struct thread *t = arg;
	struct job *job;

	while ((job = queue_take(&t->jobs->queues[t->lane], 1, true))) {
		run_plain(job, t->db);
		hand_back(t->jobs, job);
	}
	return NULL;
}

static enum ota_err thread_start(struct jobs *jobs, enum job_lane lane, struct errmsg *e)
{
	struct thread *t = &jobs->threads[jobs->n_threads];
	sigset_t all, before;
	int rc;

	assert(jobs->n_threads < THREADS_MAX);
	t->jobs = jobs;
	t->lane = lane;
	if (jobs->cfg.db_open && lane_rows[lane].has_db) {
		enum ota_err err = jobs->cfg.db_open(jobs->cfg.ctx, lane == JOB_STORE, &t->db, e);

		if (err)
			return err;
	}
	jobs->n_threads++;
	if (jobs->cfg.is_inline)
		return OTA_OK;
	/* Signals are the loop's, by signalfd: no other thread may take one. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&t->id, NULL, lane == JOB_STORE ? store_main : lane_main, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return errmsg_fail_errno(e, rc, "cannot start a thread");
	pthread_setname_np(t->id, lane_rows[lane].name);
	t->is_running = true;
	return OTA_OK;
}

static enum ota_err start_lanes(struct jobs *jobs, struct errmsg *e)
{
	enum ota_err err = OTA_OK;

	/* Inline everything happens on the one writing connection. */
	if (jobs->cfg.is_inline)
		return thread_start(jobs, JOB_STORE, e);
	for (unsigned lane = 0; lane < JOB_LANES; lane++) {
		for (unsigned i = 0; !err && i < lane_rows[lane].threads; i++)
			err = thread_start(jobs, (enum job_lane)lane, e);
	}
	return err;
}

enum ota_err jobs_new(const struct jobs_config *cfg, struct jobs **out, struct errmsg *e)
{
	struct jobs *jobs = calloc(1, sizeof *jobs);
	enum ota_err err = OTA_OK;

	if (!jobs)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	jobs->cfg = *cfg;
	jobs->wake_fd = -1;
	for (unsigned lane = 0; lane < JOB_LANES; lane++)
		queue_init(&jobs->queues[lane]);
	queue_init(&jobs->finished);
	if (!cfg->is_inline) {
		jobs->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (jobs->wake_fd < 0)
			err = errmsg_fail_errno(e, errno, "cannot make an eventfd");
	}
	if (!err)
		err = start_lanes(jobs, e);
	if (err) {
		(void)!jobs_free(jobs); /* nothing is queued */
		return err;
	}
	*out = jobs;
	return OTA_OK;
}

static bool thread_join(struct thread *t)
{
	struct timespec until;

	if (!t->is_running)
		return true;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += lane_rows[t->lane].end_wait_s;
	if (pthread_timedjoin_np(t->id, NULL, &until) == 0)
		return true;
	pthread_detach(t->id);
	return false;
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

/* What the last continuations posted: nobody takes it any more. */
static void drop_queued(struct jobs *jobs)
{
	bool is_empty;

	do {
		is_empty = true;
		for (unsigned lane = 0; lane < JOB_LANES; lane++) {
			struct job *job = queue_take(&jobs->queues[lane], 1, false);

			if (!job)
				continue;
			is_empty = false;
			job->err = OTA_BUSY;
			if (job->mem == &job->own)
				job_drop(job);
			else
				complete(job);
		}
	} while (!is_empty);
}

bool jobs_free(struct jobs *jobs)
{
	bool is_joined = true;

	if (!jobs)
		return true;
	for (unsigned lane = 0; lane < JOB_LANES; lane++)
		queue_close(&jobs->queues[lane]);
	for (unsigned i = 0; i < jobs->n_threads; i++)
		is_joined = thread_join(&jobs->threads[i]) && is_joined;
	if (!is_joined)
		return false;
	jobs_complete(jobs);
	drop_queued(jobs);
	for (unsigned i = 0; i < jobs->n_threads; i++) {
		if (jobs->threads[i].db)
			jobs->cfg.db_close(jobs->threads[i].db);
	}
	if (jobs->wake_fd >= 0)
		close(jobs->wake_fd);
	for (unsigned lane = 0; lane < JOB_LANES; lane++)
		queue_release(&jobs->queues[lane]);
	queue_release(&jobs->finished);
	free(jobs);
	return true;
}

void jobs_post(struct jobs *jobs, enum job_lane lane, struct job *job, job_fn fn, void (*done)(struct job *))
{
	job->lane = lane;
	job->fn = fn;
	job->done = done;
	job->next = NULL;
	job->err = OTA_OK;
	if (jobs->cfg.is_inline) {
		struct db *db = jobs->threads[0].db;

		if (lane == JOB_STORE)
			run_batch(job, db);
		else
			run_plain(job, lane_rows[lane].has_db ? db : NULL);
		complete(job);
		return;
	}
	jobs->pending[lane]++;
	queue_push(&jobs->queues[lane], job, job);
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
		jobs->pending[job->lane]--;
		complete(job);
	}
}

size_t jobs_in_lane(const struct jobs *jobs, enum job_lane lane)
{
	return jobs->pending[lane];
}

size_t jobs_pending(const struct jobs *jobs)
{
	size_t n = 0;

	for (unsigned lane = 0; lane < JOB_LANES; lane++)
		n += jobs->pending[lane];
	return n;
}

bool jobs_is_inline(const struct jobs *jobs)
{
	return jobs->cfg.is_inline;
}
