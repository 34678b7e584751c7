/* Work that may wait: files, SQL, names, big hashes, signatures. Lanes with threads of their own.
 *
 * A job owns what it needs: its inputs lie in its arena, its result goes back the same way, nothing else is
 * shared and nothing but the queues is locked. `done` runs on the loop thread, woken through an eventfd.
 *
 * A lane is chosen by how long its jobs may take, so that nobody waits behind work that is longer than his
 * own by orders of magnitude. Each lane has its own queue and takes from it in order; no thread serves two
 * lanes, and a job never waits for another lane. What a device waits for at a check-in is on JOB_STORE and
 * JOB_SIGN alone.
 *
 * How much may wait: a request has one job at a time, so a lane holds at most one a connection and one of
 * each of the server's own tasks. A request whose first job would be number JOB_LANE_MAX + 1 of its lane is
 * refused (503, Retry-After); a request that was begun, and the server's own tasks, are taken always. */
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

enum job_lane {
	/* The one writing connection, one thread: many jobs in one transaction, each in its own savepoint,
	 * one commit, and only then they are complete. */
	JOB_STORE,
	/* Signatures of tickets, one thread: arithmetic alone, well below a millisecond. No file, no name, no
	 * database (job->db is NULL). */
	JOB_SIGN,
	/* Reads that are short and that somebody waits for, two threads: envelopes, roots, lists, opening a
	 * blob and reading its first MiB, or the next one where it goes out by TLS. job->db is that thread's
	 * read-only connection. */
	JOB_READ,
	/* What may take as long as a blob is large, two threads: writing, hashing, syncing and inspecting
	 * uploads, reading a blob that broke off, unmapping, looking for garbage and freeing its bytes,
	 * settings read anew, a walk through a whole fleet. job->db as above. */
	JOB_SLOW,
	/* Names, one thread: a silent name server holds it for ten seconds. No database. */
	JOB_NAME,
	JOB_LANES
};

enum { JOB_LANE_MAX = 8192 };

/* Not on the loop thread. Fills `job->e` on failure and returns the error. */
typedef enum ota_err (*job_fn)(struct job *job);

struct job {
	struct arena *mem; /* the job's while it runs */
	void *ctx;         /* inputs and results, in `mem` */
	struct db *db;     /* set while fn runs; NULL where the server runs without a database */
	enum ota_err err;  /* what fn returned, or the failed commit's error */
	struct errmsg e;

	/* The queue's own. */
	enum job_lane lane;
	job_fn fn;
	void (*done)(struct job *job);
	void *owner;
	struct arena own;
	struct job *next;
};

/* Results of opening connections in the threads that use them. */
struct jobs_config {
	/* How a thread gets its connection: called once for each thread whose lane has one (or once,
	 * writing, inline). NULL: no database. */
	enum ota_err (*db_open)(void *ctx, bool writing, struct db **out, struct errmsg *e);
	void (*db_close)(struct db *db);
	void *ctx;
	bool is_inline; /* tests: a posted job has run, committed and completed when jobs_post returns */
};

/* Start the threads. */
OTA_MUST_USE enum ota_err jobs_new(const struct jobs_config *cfg, struct jobs **out, struct errmsg *e);

/* The end: what is queued is done first, and its continuations run. What those post is not done: a job of
 * job_new is dropped, any other is complete at once with OTA_BUSY. A lane gets a limited time for that (the
 * store a minute, others ten seconds, names two). False: a thread did not come back. It goes on with its job
 * while the process ends, as it would be cut off by a crash, so whatever jobs use must stay; the
 * continuations of no lane were run. NULL is a no-op. */
OTA_MUST_USE bool jobs_free(struct jobs *jobs);

/* A job of its own (no request): an arena of at most `mem_max` bytes. NULL: out of memory. */
struct job *job_new(size_t mem_max);
/* End a job of job_new that is not handed over after all; NULL is a no-op. */
void job_drop(struct job *job);

/* Hand it over. `done` (may be NULL) runs on the loop; after it a job made by job_new is freed. */
void jobs_post(struct jobs *jobs, enum job_lane lane, struct job *job, job_fn fn, void (*done)(struct job *));

/* Readable when finished jobs wait; -1 inline. */
int jobs_fd(const struct jobs *jobs);

/* Run `done` of every finished job. Loop thread. */
void jobs_complete(struct jobs *jobs);

/* Jobs posted to a lane and not completed; of all lanes. */
size_t jobs_in_lane(const struct jobs *jobs, enum job_lane lane);
size_t jobs_pending(const struct jobs *jobs);
bool jobs_is_inline(const struct jobs *jobs);

#endif
