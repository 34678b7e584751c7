#include <poll.h>
#include <pthread.h>
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

static const struct jobs_config with_db = {.db_open = open_fake, .db_close = db_close, .workers = 2};

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

static void post(struct jobs *jobs, enum job_queue queue, struct note *n)
{
	struct job *job = job_new(4096);
	struct note **ctx = arena_alloc(job->mem, sizeof(struct note *));

	*ctx = n;
	job->ctx = ctx;
	jobs_post(jobs, queue, job, work, done);
}

static void wait_all(struct jobs *jobs)
{
	while (jobs_pending(jobs) > 0) {
		struct pollfd p = {.fd = jobs_fd(jobs), .events = POLLIN};

		assert_int_equal(poll(&p, 1, 5000), 1);
		jobs_complete(jobs);
	}
}

static int reset(void **state)
{
	(void)state;
	memset(&fake_db, 0, sizeof fake_db);
	n_run = n_done = 0;
	return 0;
}

/* What queues up behind a running batch is one transaction, with a savepoint a job, in order. */
static void batches(void **state)
{
	struct jobs *jobs;
	struct errmsg e;
	struct note n[50];
	struct job *first;

	(void)state;
	memset(n, 0, sizeof n);
	n[7].give = OTA_EXISTS;
	assert_int_equal(jobs_new(&with_db, &jobs, &e), OTA_OK);
	pthread_mutex_lock(&gate);
	first = job_new(1024);
	jobs_post(jobs, JOB_STORE, first, blocked, NULL);
	usleep(50000);
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
	jobs_free(jobs);
	assert_int_equal(fake_db.n_close, 3);
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
	jobs_free(jobs);
}

static void workers(void **state)
{
	struct jobs *jobs;
	struct errmsg e;
	struct note n[20];

	(void)state;
	memset(n, 0, sizeof n);
	assert_int_equal(jobs_new(&with_db, &jobs, &e), OTA_OK);
	/* One worker is stuck; the other goes on. */
	pthread_mutex_lock(&gate);
	jobs_post(jobs, JOB_WORKER, job_new(1024), blocked, NULL);
	for (unsigned i = 0; i < 20; i++)
		post(jobs, JOB_WORKER, &n[i]);
	while (n_done < 20) {
		struct pollfd p = {.fd = jobs_fd(jobs), .events = POLLIN};

		assert_int_equal(poll(&p, 1, 5000), 1);
		jobs_complete(jobs);
	}
	pthread_mutex_unlock(&gate);
	wait_all(jobs);
	for (unsigned i = 0; i < 20; i++)
		assert_true(n[i].had_db);
	assert_int_equal(fake_db.n_begin, 0);
	jobs_free(jobs);
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
		post(jobs, i % 2 ? JOB_STORE : JOB_WORKER, &n[i]);
	jobs_free(jobs);
	assert_int_equal(n_done, 30);
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
	jobs_free(jobs);
	assert_int_equal(fake_db.n_close, 1);
}

static void failing_starts(void **state)
{
	(void)state;
	for (int at = 1; at <= 3; at++) {
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
		cmocka_unit_test_setup(workers, reset),
		cmocka_unit_test_setup(ending, reset),
		cmocka_unit_test_setup(inline_jobs, reset),
		cmocka_unit_test_setup(failing_starts, reset),
	};

	return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
