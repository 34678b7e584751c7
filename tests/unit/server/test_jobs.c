#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/jobs.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/fake_db.h"

static int handle_store, handle_reader;

static enum ota_err open_fake(void *ctx, bool writing, struct db **out, struct errmsg *e)
{
	int *fail_at = ctx;

	if (fail_at && --*fail_at == 0)
		return errmsg_fail(e, OTA_IO, "no database");
	*out = (struct db *)(void *)(writing ? &handle_store : &handle_reader);
	return OTA_OK;
}

static const struct jobs_config with_db = {.db_open = open_fake, .db_close = db_close};

struct note {
	unsigned order; /* in which it ran */
	unsigned done_order;
	enum ota_err give;
	enum ota_err got;
	bool had_db;
	pthread_t thread;
};

static unsigned n_run, n_done;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static sem_t at_gate; /* posted by each job that reaches it */

static enum ota_err work(struct job *job)
{
	struct note *n = *(struct note **)job->ctx;

	n->order = __atomic_add_fetch(&n_run, 1, __ATOMIC_SEQ_CST);
	n->had_db = job->db == (struct db *)(void *)&handle_store ||
		    job->db == (struct db *)(void *)&handle_reader;
	n->thread = pthread_self();
	if (n->give)
		return errmsg_fail(&job->e, n->give, "as told");
	return OTA_OK;
}

static enum ota_err blocked(struct job *job)
{
	(void)job;
	sem_post(&at_gate);
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return OTA_OK;
}

static void done(struct job *job)
{
	struct note *n = *(struct note **)job->ctx;

	n->done_order = ++n_done;
	n->got = job->err;
	assert_null(job->db);
	if (job->err)
		assert_true(job->e.text[0] != '\0');
}

static void post(struct jobs *jobs, enum job_lane lane, struct note *n)
{
	struct job *job = job_new(4096);
	struct note **ctx = arena_alloc(job->mem, sizeof(struct note *));

	*ctx = n;
	job->ctx = ctx;
	jobs_post(jobs, lane, job, work, done);
}

static int reset(void **state)
{
	(void)state;
	memset(&fake_db, 0, sizeof fake_db);
	n_run = n_done = 0;
	assert_int_equal(sem_init(&at_gate, 0, 0), 0);
	return 0;
}

/* Occupy that many threads of a lane until the gate is opened. */
static void block(struct jobs *jobs, enum job_lane lane, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		jobs_post(jobs, lane, job_new(1024), blocked, NULL);
	for (unsigned i = 0; i < n; i++)
		sem_wait(&at_gate);
}

static void wait_done(struct jobs *jobs, unsigned n)
{
	while (n_done < n) {
		struct pollfd p = {.fd = jobs_fd(jobs), .events = POLLIN};

		assert_int_equal(poll(&p, 1, 60000), 1);
		jobs_complete(jobs);
	}
}

static void wait_all(struct jobs *jobs)
{
	while (jobs_pending(jobs) > 0) {
		struct pollfd p = {.fd = jobs_fd(jobs), .events = POLLIN};

		assert_int_equal(poll(&p, 1, 60000), 1);
		jobs_complete(jobs);
	}
}

/* What queues up behind a running batch is one transaction, with a savepoint a job, in order. */
static void batches(void **state)
{
	struct jobs *jobs;
	struct errmsg e;
	struct note n[50];

	(void)state;
	memset(n, 0, sizeof n);
	n[7].give = OTA_EXISTS;
	assert_int_equal(jobs_new(&with_db, &jobs, &e), OTA_OK);
	pthread_mutex_lock(&gate);
	block(jobs, JOB_STORE, 1);
	for (unsigned i = 0; i < 50; i++)
		post(jobs, JOB_STORE, &n[i]);
	assert_int_equal(jobs_pending(jobs), 51);
	pthread_mutex_unlock(&gate);
	wait_all(jobs);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(n[i].order, i + 1);
		assert_int_equal(n[i].done_order, i + 1);
		assert_int_equal(n[i].got, i == 7 ? OTA_EXISTS : OTA_OK);
		assert_true(n[i].had_db);
		assert_false(pthread_equal(n[i].thread, pthread_self()));
	}
	assert_int_equal(fake_db.n_commit[1], 2);
	assert_int_equal(fake_db.n_commit[0], 50);
	assert_int_equal(fake_db.n_rollback[0], 1);
	assert_true(jobs_free(jobs));
	assert_int_equal(fake_db.n_close, 5);
}

static void failed_commit(void **state)
{
	struct jobs *jobs;
	struct errmsg e;
	struct note n[2] = {{.give = OTA_OK}, {.give = OTA_INVALID}};

	(void)state;
	assert_int_equal(jobs_new(&with_db, &jobs, &e), OTA_OK);
	fake_db.fail_commit = true;
	post(jobs, JOB_STORE, &n[0]);
	wait_all(jobs);
	post(jobs, JOB_STORE, &n[1]);
	wait_all(jobs);
	assert_int_equal(n[0].got, OTA_NO_SPACE);
	assert_int_equal(n[1].got, OTA_INVALID);
	/* a full disk makes the log's room free again */
	assert_int_equal(fake_db.n_checkpoint, 1);
	fake_db.fail_commit = false;
	fake_db.fail_begin = true;
	n[0].order = 0;
	post(jobs, JOB_STORE, &n[0]);
	wait_all(jobs);
	assert_int_equal(n[0].got, OTA_BUSY);
	assert_int_equal(n[0].order, 0);
	assert_true(jobs_free(jobs));
}

/* How many threads each lane has, as jobs.h says. */
static const unsigned threads_of[JOB_LANES] = {
	[JOB_STORE] = 1, [JOB_SIGN] = 1, [JOB_READ] = 2, [JOB_SLOW] = 2, [JOB_NAME] = 1};

/* Every thread of every other lane is stuck, and more waits behind: a lane goes on, in order where it has one
 * thread. */
static void lanes_are_apart(void **state)
{
	(void)state;
	for (unsigned lane = 0; lane < JOB_LANES; lane++) {
		struct note n[20], behind[JOB_LANES];
		struct jobs *jobs;
		struct errmsg e;

		reset(NULL);
		memset(n, 0, sizeof n);
		memset(behind, 0, sizeof behind);
		assert_int_equal(jobs_new(&with_db, &jobs, &e), OTA_OK);
		pthread_mutex_lock(&gate);
		for (unsigned other = 0; other < JOB_LANES; other++) {
			if (other == lane)
				continue;
			block(jobs, (enum job_lane)other, threads_of[other]);
			post(jobs, (enum job_lane)other, &behind[other]);
			assert_int_equal(jobs_in_lane(jobs, (enum job_lane)other), threads_of[other] + 1);
		}
		for (unsigned i = 0; i < 20; i++)
			post(jobs, (enum job_lane)lane, &n[i]);
		wait_done(jobs, 20);
		assert_int_equal(jobs_in_lane(jobs, (enum job_lane)lane), 0);
		for (unsigned i = 0; i < 20; i++) {
			assert_true(n[i].order != 0);
			if (threads_of[lane] == 1)
				assert_int_equal(n[i].order, i + 1);
			assert_int_equal(n[i].had_db, lane != JOB_SIGN && lane != JOB_NAME);
		}
		for (unsigned other = 0; other < JOB_LANES; other++)
			assert_int_equal(behind[other].order, 0);
		pthread_mutex_unlock(&gate);
		wait_all(jobs);
		assert_true(jobs_free(jobs));
	}
}

/* One stuck job of a lane with two threads does not stop that lane. */
static void the_other_thread(void **state)
{
	static const enum job_lane lanes[] = {JOB_READ, JOB_SLOW};

	(void)state;
	for (unsigned k = 0; k < sizeof lanes / sizeof lanes[0]; k++) {
		struct jobs *jobs;
		struct errmsg e;
		struct note n[20];

		reset(NULL);
		memset(n, 0, sizeof n);
		assert_int_equal(jobs_new(&with_db, &jobs, &e), OTA_OK);
		pthread_mutex_lock(&gate);
		block(jobs, lanes[k], 1);
		for (unsigned i = 0; i < 20; i++)
			post(jobs, lanes[k], &n[i]);
		wait_done(jobs, 20);
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(n[i].order, i + 1);
		pthread_mutex_unlock(&gate);
		wait_all(jobs);
		assert_int_equal(fake_db.n_begin, 0);
		assert_true(jobs_free(jobs));
	}
}

/* jobs_free finishes what is queued, continuations too. */
static void ending(void **state)
{
	struct jobs *jobs;
	struct errmsg e;
	struct note n[30];

	(void)state;
	memset(n, 0, sizeof n);
	assert_int_equal(jobs_new(&with_db, &jobs, &e), OTA_OK);
	for (unsigned i = 0; i < 30; i++)
		post(jobs, (enum job_lane)(i % JOB_LANES), &n[i]);
	assert_true(jobs_free(jobs));
	assert_int_equal(n_done, 30);
}

static struct jobs *ending_jobs;
static unsigned n_refused;

static enum ota_err never(struct job *job)
{
	(void)job;
	fail_msg("a lane that has ended ran a job");
	return OTA_OK;
}

static void refused(struct job *job)
{
	assert_int_equal(job->err, OTA_BUSY);
	n_refused++;
}

/* Goes on for ever, by a job of its own and by one that somebody else keeps. */
static void goes_on(struct job *job)
{
	static struct arena mem;
	static struct job kept;
	struct job *next = job_new(4096);

	(void)job;
	assert_non_null(next);
	kept.mem = &mem;
	jobs_post(ending_jobs, JOB_STORE, next, never, goes_on);
	jobs_post(ending_jobs, JOB_SIGN, &kept, never, refused);
}

static enum ota_err nothing(struct job *job)
{
	(void)job;
	return OTA_OK;
}

static void ending_in_the_middle(void **state)
{
	struct errmsg e;
	struct job *job = job_new(4096);

	(void)state;
	n_refused = 0;
	assert_non_null(job);
	assert_int_equal(jobs_new(&with_db, &ending_jobs, &e), OTA_OK);
	jobs_post(ending_jobs, JOB_SLOW, job, nothing, goes_on);
	assert_true(jobs_free(ending_jobs));
	assert_int_equal(n_refused, 1);
}

/* A name that is not answered holds up the end for its two seconds, not for its own. */
static void ending_without_an_answer(void **state)
{
	static struct jobs *jobs; /* stays, as jobs.h says */
	struct pollfd p = {.events = POLLIN};
	struct errmsg e;
	struct note n = {.order = 0};

	(void)state;
	assert_int_equal(jobs_new(&with_db, &jobs, &e), OTA_OK);
	pthread_mutex_lock(&gate);
	block(jobs, JOB_NAME, 1);
	post(jobs, JOB_STORE, &n);
	assert_false(jobs_free(jobs));
	assert_int_equal(n.order, 1);
	assert_int_equal(n_done, 0);
	assert_int_equal(fake_db.n_close, 0);
	jobs_complete(jobs);
	assert_int_equal(n_done, 1);
	pthread_mutex_unlock(&gate);
	p.fd = jobs_fd(jobs);
	assert_int_equal(poll(&p, 1, 60000), 1);
	jobs_complete(jobs);
	assert_int_equal(jobs_pending(jobs), 0);
}

static void inline_jobs(void **state)
{
	struct jobs_config cfg = with_db;
	struct jobs *jobs;
	struct errmsg e;
	struct note n[2] = {{.give = OTA_OK}, {.give = OTA_EXISTS}};

	(void)state;
	cfg.is_inline = true;
	assert_int_equal(jobs_new(&cfg, &jobs, &e), OTA_OK);
	assert_true(jobs_is_inline(jobs));
	post(jobs, JOB_STORE, &n[0]);
	assert_int_equal(n[0].done_order, 1);
	assert_true(pthread_equal(n[0].thread, pthread_self()));
	post(jobs, JOB_STORE, &n[1]);
	assert_int_equal(n[1].got, OTA_EXISTS);
	assert_int_equal(fake_db.n_commit[1], 2);
	assert_int_equal(fake_db.n_rollback[0], 1);
	assert_int_equal(jobs_fd(jobs), -1);
	assert_true(jobs_free(jobs));
	assert_int_equal(fake_db.n_close, 1);
}

static void failing_starts(void **state)
{
	(void)state;
	for (int at = 1; at <= 5; at++) {
		struct jobs_config cfg = with_db;
		struct jobs *jobs;
		struct errmsg e;
		int fail_at = at;

		cfg.ctx = &fail_at;
		memset(&fake_db, 0, sizeof fake_db);
		assert_int_equal(jobs_new(&cfg, &jobs, &e), OTA_IO);
		assert_string_equal(e.text, "no database");
		assert_int_equal(fake_db.n_close, at - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(batches, reset),
		cmocka_unit_test_setup(failed_commit, reset),
		cmocka_unit_test_setup(lanes_are_apart, reset),
		cmocka_unit_test_setup(the_other_thread, reset),
		cmocka_unit_test_setup(ending, reset),
		cmocka_unit_test_setup(ending_in_the_middle, reset),
		cmocka_unit_test_setup(ending_without_an_answer, reset),
		cmocka_unit_test_setup(inline_jobs, reset),
		cmocka_unit_test_setup(failing_starts, reset),
	};

	return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
