/* Work that may wait: files, SQL, names, big hashes. Two workers and the store thread.
 *
 * A job owns what it needs: its inputs lie in its arena, its result goes back the same way, nothing else is
 * shared and nothing but the queues is locked. `done` runs on the loop thread, woken through an eventfd.
 * The store thread takes its jobs in order, many per transaction, each in its own savepoint, one commit, and
 * completes them only then. */
#ifndef SERVER_JOBS_H
#define SERVER_JOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "proto/errmsg.h"

struct db;
struct job;
struct jobs;

enum job_queue {
	JOB_STORE,  /* the one writing database connection */
	JOB_WORKER, /* two workers; job->db is that worker's read-only connection */
};

/* Not on the loop thread. Fills `job->e` on failure and returns the error. */
typedef enum ota_err (*job_fn)(struct job *job);

struct job {
	struct arena *mem; /* the job's while it runs */
	void *ctx;         /* inputs and results, in `mem` */
	struct db *db;     /* set while fn runs; NULL where the server runs without a database */
	enum ota_err err;  /* what fn returned, or the failed commit's error */
	struct errmsg e;

	/* The queue's own. */
	enum job_queue queue;
	job_fn fn;
	void (*done)(struct job *job);
	void *owner;
	struct arena own;
	struct job *next;
};

/* Results of opening connections in the threads that use them. */
struct jobs_config {
	/* How a thread gets its connection: called once in each thread (or at once, inline). NULL: no
	 * database. */
	enum ota_err (*db_open)(void *ctx, bool writing, struct db **out, struct errmsg *e);
	void (*db_close)(struct db *db);
	void *ctx;
	unsigned workers; /* 2 */
	bool is_inline;   /* tests: a posted job has run, committed and completed when jobs_post returns */
};

/* Start the threads. `*out` is freed by jobs_free, which finishes what is queued first. */
OTA_MUST_USE enum ota_err jobs_new(const struct jobs_config *cfg, struct jobs **out, struct errmsg *e);
void jobs_free(struct jobs *jobs);

/* A job of its own (no request): an arena of at most `mem_max` bytes. NULL: out of memory. */
struct job *job_new(size_t mem_max);
/* End a job of job_new that is not handed over after all; NULL is a no-op. */
void job_drop(struct job *job);

/* Hand it over. `done` (may be NULL) runs on the loop; after it a job made by job_new is freed. */
void jobs_post(
	struct jobs *jobs, enum job_queue queue, struct job *job, job_fn fn, void (*done)(struct job *));

/* Readable when finished jobs wait; -1 inline. */
int jobs_fd(const struct jobs *jobs);

/* Run `done` of every finished job. Loop thread. */
void jobs_complete(struct jobs *jobs);

/* Jobs posted and not completed. */
size_t jobs_pending(const struct jobs *jobs);
bool jobs_is_inline(const struct jobs *jobs);

#endif
