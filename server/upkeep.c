#include "server/upkeep.h"

#include <string.h>

#include "db/assignment.h"
#include "db/blob.h"
#include "db/change.h"
#include "db/gc.h"
#include "db/lease.h"
#include "db/report.h"
#include "server/follow.h"
#include "server/grow.h"
#include "server/trash.h"

enum {
	FLUSH_JOB_MAX = 1024 * 1024,
	GC_JOB_MAX = 1024 * 1024,
	DISK_AGAIN = 16 * 1024 * 1024, /* free above the reserve: it was full, and is no more */
	LEASE_S = 600,                 /* renewed when half of it is over: an idle server writes nothing */
};

/* One database, one otad (the data directory is locked): whoever runs is this holder. */
static const char lease_holder[] = "otad";

/* Grouped writes */

struct flush_job {
	struct domain *domain; /* the loop's */
	struct reg_dirty *rows;
	size_t n;
	int64_t now;
	struct own_changes changes;
	struct errmsg spoilt; /* an assignment that cannot be loaded, and was left out */
};

static enum ota_err store_offers(struct job *job, struct flush_job *j)
{
	struct assignment_move move = {.to = ASSIGN_OFFERED, .now = j->now};

	for (size_t i = 0; i < j->n; i++) {
		enum ota_err err;

		if (!j->rows[i].offered)
			continue;
		err = assignment_advance(job->db, j->rows[i].task_row, &move, NULL, &job->e);
		if (err == OTA_CORRUPT) {
			j->spoilt = job->e;
			assignment_say_whose(job->db, j->rows[i].task_row, &j->spoilt);
			continue;
		}
		/* It has moved on, or is gone. */
		if (err && err != OTA_STATE && err != OTA_NOT_FOUND)
			return err;
	}
	return OTA_OK;
}

static enum ota_err store_group(struct job *job)
{
	struct flush_job *j = job->ctx;
	struct report_touch *touch = arena_array(job->mem, j->n, sizeof(*touch));
	enum ota_err err;

	if (!touch)
		return OTA_NO_MEMORY;
	for (size_t i = 0; i < j->n; i++) {
		const struct reg_dirty *from = &j->rows[i];

		touch[i] = (struct report_touch){
			.device = from->row,
			.seen_at = from->seen,
			.counter = from->counter,
			.enrolment = from->enrolment,
			.target_bytes = from->bytes_done,
			.uptime_s = from->uptime_s,
			.flags = from->flags,
		};
		memcpy(touch[i].counter_digest, from->mark, sizeof(touch[i].counter_digest));
	}
	err = follow_own_begin(&j->changes, job);
	if (!err)
		err = report_touch_many(job->db, touch, j->n, &job->e);
	if (!err)
		err = store_offers(job, j);
	return err ? err : follow_own_end(&j->changes, job);
}

static void group_stored(struct job *job)
{
	struct flush_job *j = job->ctx;
	struct domain *d = j->domain;

	d->is_flushing = false;
	if (job->err) {
		/* Tried five times a second, for as long as the disk is full. */
		log_limited(&d->log_groups, 2, j->now, LOG_LEVEL_ERROR,
			"what devices reported could not be stored: %s", job->e.text);
		registry_give_back(d->reg, j->rows, j->n);
		return;
	}
	if (*j->spoilt.text)
		log_limited(&d->log_spoilt, 2, j->now, LOG_LEVEL_WARN,
			"a task could not be noted as offered: %s", j->spoilt.text);
	/* The offers are in memory already; the rest makes no change rows. */
	follow_own_done(d, &j->changes);
}

void upkeep_flush(struct domain *d)
{
	struct job *job;
	struct flush_job *j;

	if (d->is_flushing || !registry_dirty(d->reg))
		return;
	job = job_new(FLUSH_JOB_MAX);
	j = job ? arena_alloc(job->mem, sizeof(*j)) : NULL;
	if (j)
		j->rows = arena_array(job->mem, UPKEEP_FLUSH_ROWS, sizeof(*j->rows));
	if (!j || !j->rows) {
		job_drop(job);
		return; /* they stay dirty */
	}
	j->domain = d;
	j->now = app_now(d->app);
	j->n = registry_take_dirty(d->reg, j->rows, UPKEEP_FLUSH_ROWS);
	job->ctx = j;
	d->is_flushing = true;
	jobs_post(d->app->jobs, JOB_STORE, job, store_group, group_stored);
}

void upkeep_flush_all(struct domain *d)
{
	/* As often as there may be groups; a failing store ends it. */
	for (size_t left = registry_dirty(d->reg); left > 0 && registry_dirty(d->reg) > 0;
		left = left > UPKEEP_FLUSH_ROWS ? left - UPKEEP_FLUSH_ROWS : 0) {
		d->is_flushing = false;
		upkeep_flush(d);
	}
}

/* Garbage */

struct gc_job {
	struct domain *domain; /* the loop's */
	const struct blob_store *blobs;
	int64_t now;
	int64_t partial_life_s;
	struct gc_list list;
};

static enum ota_err collect(struct job *job)
{
	struct gc_job *j = job->ctx;

	return gc_collect(job->db, j->now, UPKEEP_GC_GRACE_S, UPKEEP_GC_IMAGES, job->mem, &j->list, &job->e);
}

static enum ota_err find_orphans(struct job *job)
{
	struct gc_job *j = job->ctx;
	enum ota_err err = blob_sweep(j->blobs, j->now, j->partial_life_s, NULL, &job->e);

	if (err)
		return err;
	return gc_orphans(
		job->db, j->blobs, j->now, UPKEEP_GC_GRACE_S, UPKEEP_GC_IMAGES, job->mem, &j->list, &job->e);
}

static void found_garbage(struct job *job)
{
	struct gc_job *j = job->ctx;

	if (job->err) {
		log_error("garbage collection: %s", job->e.text);
		return;
	}
	trash_blobs(j->domain->app, &j->list);
	if (j->list.n)
		domain_changed(j->domain->app);
}

static void post_gc(struct domain *d, enum job_lane lane, job_fn fn)
{
	struct job *job = job_new(GC_JOB_MAX);
	struct gc_job *j = job ? arena_alloc(job->mem, sizeof(*j)) : NULL;

	if (!j) {
		job_drop(job);
		return;
	}
	j->domain = d;
	j->blobs = d->app->blobs;
	j->now = app_now(d->app);
	j->partial_life_s = d->app->cfg->partial_life;
	job->ctx = j;
	jobs_post(d->app->jobs, lane, job, fn, found_garbage);
}

/* Time-outs */

struct sweep_job {
	struct domain *domain;          /* the loop's */
	const struct blob_store *blobs; /* NULL: none */
	uint64_t room;                  /* bytes that have to be free for it to have any */
	enum ota_err space;             /* OTA_NO_SPACE, with words in `full` */
	struct errmsg full;
	int64_t now;
	int64_t default_s;
	int64_t applied; /* change row that the registry is at */
	bool renews_lease, has_lease;
	uint64_t n_expired;
	struct errmsg spoilt; /* an assignment that cannot be loaded, and was left out */
};

/* Old change rows go, but none that the registry has still to follow. */
static enum ota_err trim_changes(struct job *job, const struct sweep_job *j)
{
	int64_t newest;
	enum ota_err err = change_newest(job->db, &newest, &job->e);

	if (err || newest - j->applied >= UPKEEP_CHANGES)
		return err;
	return change_trim(job->db, UPKEEP_CHANGES, &job->e);
}

static enum ota_err sweep(struct job *job)
{
	struct sweep_job *j = job->ctx;
	enum ota_err err = OTA_OK;

	if (j->blobs)
		j->space = blob_space(j->blobs, j->room, &j->full);
	if (j->renews_lease) {
		err = lease_take(job->db, "plan", lease_holder, j->now, LEASE_S, &job->e);
		if (err == OTA_BUSY)
			return OTA_OK;
		j->has_lease = !err;
	}
	if (!err)
		err = assignment_expire(job->db, j->now, j->default_s, &j->n_expired, &j->spoilt, &job->e);
	if (!err)
		err = trim_changes(job, j);
	return err;
}

static void tell_spoilt(struct domain *d, const struct sweep_job *j)
{
	d->sweep_e = j->spoilt;
	if (!*j->spoilt.text)
		return;
	errmsg_prefix(&d->sweep_e, "an assignment cannot be timed out: ");
	log_limited(&d->log_spoilt, 2, j->now, LOG_LEVEL_WARN, "%s", d->sweep_e.text);
}

/* Once when it begins and once when it is over; a disk that does not answer is neither. */
static void tell_disk(struct domain *d, const struct sweep_job *j)
{
	if (j->space == OTA_NO_SPACE && !d->is_disk_full) {
		log_warn("nothing can be uploaded: %s", j->full.text);
		d->is_disk_full = true;
	} else if (j->space == OTA_OK && d->is_disk_full) {
		log_info("the disk has room for uploads again");
		d->is_disk_full = false;
	}
}

static void swept(struct job *job)
{
	struct sweep_job *j = job->ctx;
	struct domain *d = j->domain;

	tell_disk(d, j);
	if (job->err)
		log_error("assignments could not be timed out: %s", job->e.text);
	else if (j->n_expired)
		log_info("%llu assignments timed out", (unsigned long long)j->n_expired);
	if (!job->err && j->has_lease)
		tell_spoilt(d, j);
	/* Also what a failed round of following left. */
	domain_changed(d->app);
	if (!job->err && j->renews_lease && j->has_lease)
		d->lease_renew_s = j->now + LEASE_S / 2;
	if (job->err || !j->has_lease || j->now < d->next_gc_s || !d->app->blobs)
		return;
	d->next_gc_s = j->now + UPKEEP_GC_S;
	post_gc(d, JOB_STORE, collect);
	post_gc(d, JOB_SLOW, find_orphans);
}

void upkeep_sweep(struct domain *d)
{
	struct job *job = job_new(65536);
	struct sweep_job *j = job ? arena_alloc(job->mem, sizeof(*j)) : NULL;

	if (!j) {
		job_drop(job);
		return;
	}
	j->domain = d;
	j->blobs = d->app->blobs;
	j->space = OTA_IO; /* until it was asked */
	j->room = d->is_disk_full ? DISK_AGAIN : 1;
	j->now = app_now(d->app);
	j->default_s = d->app->cfg->task_timeout;
	j->applied = d->applied;
	j->renews_lease = j->now >= d->lease_renew_s;
	j->has_lease = !j->renews_lease;
	job->ctx = j;
	jobs_post(d->app->jobs, JOB_STORE, job, sweep, swept);
}

static void flush_due(struct timer *t)
{
	struct domain *d = t->ctx;

	upkeep_flush(d);
	timer_arm(d->app->timers, t, UPKEEP_FLUSH_MS, flush_due, d);
}

static void sweep_due(struct timer *t)
{
	struct domain *d = t->ctx;

	upkeep_sweep(d);
	grow_rest(d);
	timer_arm(d->app->timers, t, UPKEEP_SWEEP_MS, sweep_due, d);
}

void upkeep_start(struct domain *d)
{
	/* A young server has better to do. */
	d->next_gc_s = app_now(d->app) + UPKEEP_GC_S;
	timer_arm(d->app->timers, &d->flush, UPKEEP_FLUSH_MS, flush_due, d);
	timer_arm(d->app->timers, &d->sweep, UPKEEP_SWEEP_MS, sweep_due, d);
}

void upkeep_stop(struct domain *d)
{
	timer_cancel(d->app->timers, &d->flush);
	timer_cancel(d->app->timers, &d->sweep);
}
