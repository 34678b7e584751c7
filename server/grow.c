#include "server/grow.h"

#include <stdio.h>

#include "db/change.h"
#include "db/device.h"
#include "db/event.h"
#include "db/release.h"
#include "db/rollout.h"
#include "db/selector.h"
#include "server/actor.h"
#include "server/again.h"
#include "server/domain.h"
#include "server/upkeep.h"

enum { PIECE_MEM_MAX = 16 * 1024 * 1024 };

enum ota_err grow_note(struct job *job, const char *rollout, const char *by, const char *version,
	int64_t device, int64_t now, const struct assignment_opened *opened)
{
	struct event_row row = {.device = device, .at = now, .kind = "assigned", .assignment = opened->id};
	char text[400], who[ACTOR_TEXT_LEN], again[24] = "";

	by = actor_text(by, who);
	if (opened->attempt > 1)
		snprintf(again, sizeof(again), ", attempt %u", opened->attempt);
	if (opened->is_spent)
		snprintf(text, sizeof(text),
			"%.64s, push %.8s by %.64s: refused, all %d attempts are used up", version, rollout,
			by, ASSIGNMENT_ATTEMPTS);
	else if (opened->runs_it && !opened->is_queued)
		snprintf(text, sizeof(text), "%.64s, push %.8s by %.64s: it runs this already", version,
			rollout, by);
	else
		snprintf(text, sizeof(text), "%.64s%s, push %.8s by %.64s%s%.64s%s", version, again, rollout,
			by, opened->is_queued ? "; waits for " : "", opened->behind,
			opened->is_queued ? " to end" : "");
	row.text = text;
	return event_add(job->db, &row, &job->e);
}

static enum ota_err assign(struct job *job, const struct rollout_row *rollout,
	const struct release_row *release, const struct device_row *device, int64_t now,
	struct grow_unsure *unsure)
{
	struct assignment_opened opened;
	struct errmsg e = {""};
	bool has;
	enum ota_err err = rollout_has(job->db, rollout->id, device->id, &has, &e);

	if (!err && has) /* grow_reach was there */
		return OTA_OK;
	if (!err)
		err = assignment_open(job->db, rollout->id, device->id, release->manifest, now, &opened, &e);
	if (err)
		return errmsg_fail(
			&job->e, err, "%s: %s", device->name, *e.text ? e.text : ota_err_text(err));
	if (unsure && opened.until) {
		unsure->n++;
		unsure->until = opened.until > unsure->until ? opened.until : unsure->until;
	}
	return opened.is_new ? grow_note(job, rollout->uid, rollout->created_by, release->version, device->id,
				       now, &opened)
			     : OTA_OK;
}

/* The devices behind `cursor`, at most `look_max`. */
static enum ota_err assign_behind(struct job *job, const struct rollout_row *rollout, int64_t cursor,
	uint32_t look_max, int64_t now, struct arena *mem, int64_t *next, struct grow_unsure *unsure)
{
	struct release_row release;
	struct selector selector;
	struct device_list list = {0};
	enum ota_err err = release_load(job->db, rollout->release, mem, &release, &job->e);

	if (!err)
		err = selector_parse(rollout->selector, &selector, &job->e);
	if (err == OTA_INVALID) /* it was one when the push was made */
		err = OTA_CORRUPT;
	/* Retired by an otad that did not look: it ends where it is, and those behind it go on. */
	if (!err && !release.retired_at) {
		const struct device_filter filter = {.selector = &selector,
			.board = release.board,
			.state = DEVICE_APPROVED,
			.look_max = look_max};

		err = device_list(job->db, &filter, &(struct db_page){.cursor = cursor}, mem, &list, &job->e);
	}
	for (size_t i = 0; i < list.n && !err; i++)
		err = assign(job, rollout, &release, &list.rows[i], now, unsure);
	*next = list.next;
	return err;
}

enum ota_err grow_piece(struct job *job, int64_t id, int64_t now, bool *is_whole, struct grow_unsure *unsure)
{
	AUTO(arena) struct arena mem;
	struct rollout_row rollout;
	int64_t next = 0;
	enum ota_err err;

	arena_init(&mem, PIECE_MEM_MAX);
	err = rollout_load(job->db, id, &mem, &rollout, &job->e);
	if (!err && !rollout.is_growing) {
		*is_whole = true;
		return OTA_OK;
	}
	/* An older push that is not whole yet would take devices from this one when it gets to them. */
	if (!err)
		err = rollout_load_growing(job->db, 0, &mem, &rollout, &job->e);
	if (!err)
		err = assign_behind(job, &rollout, rollout.cursor, GROW_PIECE, now, &mem, &next,
			rollout.id == id ? unsure : NULL);
	if (!err)
		err = rollout_grown(job->db, rollout.id, next, next == 0, now, &job->e);
	if (!err)
		*is_whole = next == 0 && rollout.id == id;
	return err;
}

enum ota_err grow_reach(struct job *job, int64_t device, int64_t now)
{
	AUTO(arena) struct arena mem;
	struct rollout_row rollout = {.id = 0};
	int64_t next;

	arena_init(&mem, PIECE_MEM_MAX);
	for (;;) {
		enum ota_err err = rollout_load_growing(job->db, rollout.id, &mem, &rollout, NULL);

		if (err == OTA_NOT_FOUND)
			return OTA_OK;
		if (!err && rollout.cursor < device)
			err = assign_behind(job, &rollout, device - 1, 1, now, &mem, &next, NULL);
		if (err)
			return err;
	}
}

struct rest_job {
	struct domain *domain; /* the loop's */
	int64_t now;
	struct grow_place place;
	bool has_more;
	struct errmsg spoilt; /* what cannot be loaded, and was left out */
};

/* The next piece of a cancel. Until it is in force devices are told to install what it takes back: then its
 * own request goes on with it, or the next sweep does. */
static enum ota_err withdraw(struct job *job, struct rest_job *j, const struct rollout_row *row)
{
	struct rollout_cancelled cancelled = {0};
	int64_t cursor = row->doing_cursor;
	bool is_new;
	enum ota_err err = change_is_after(
		job->db, j->place.applied, CHANGE_ROLLOUT, row->id, &is_new, &job->e);

	if (err)
		return err;
	if (is_new) {
		j->place.after = row->id;
		return OTA_OK;
	}
	return rollout_withdraw(job->db, row->id, j->now, &cursor, &cancelled, &job->e);
}

static enum ota_err go_on(struct job *job, struct rest_job *j, const struct rollout_row *row)
{
	uint64_t n = 0;
	bool is_through, is_retired = false;
	enum ota_err err;

	if (row->doing == ROLLOUT_CANCELLING)
		return withdraw(job, j, row);
	err = again_piece(job, row->id, j->now, &n, &is_through, &is_retired);
	/* It ends where it is, and those behind it go on. */
	return is_retired ? rollout_did(job->db, row->id, ROLLOUT_RETRYING, 0, j->now, &job->e) : err;
}

/* Rows that do not load by being tried again: there is nothing to wait for. */
static bool is_spoilt(enum ota_err err)
{
	return err == OTA_CORRUPT || err == OTA_NOT_FOUND;
}

static void leave_out(struct job *job, struct rest_job *j, const struct rollout_row *row)
{
	j->place.has_spoilt = true;
	j->spoilt = job->e;
	if (row->uid)
		errmsg_prefix(&j->spoilt, "push '%s': ", row->uid);
}

/* The next piece of what grows; `*is_none`: nothing does. What is newer would be overtaken by one that is
 * left out now, so it waits with it. */
static enum ota_err rest_grow(struct job *job, struct rest_job *j, bool *is_none)
{
	AUTO(tx) struct db_tx tx = {0};
	struct rollout_row row = {0};
	bool is_whole;
	enum ota_err err = db_begin(job->db, &tx, &job->e);

	if (!err)
		err = rollout_load_growing(job->db, 0, job->mem, &row, &job->e);
	*is_none = err == OTA_NOT_FOUND;
	if (!err)
		err = grow_piece(job, row.id, j->now, &is_whole, NULL);
	if (!err)
		err = db_commit(&tx, &job->e);
	if (is_spoilt(err) && !*is_none) {
		j->place.is_stuck = true;
		leave_out(job, j, &row);
		return OTA_OK;
	}
	return *is_none ? OTA_OK : err;
}

/* The next piece of what is taken back or tried again. */
static enum ota_err rest_work(struct job *job, struct rest_job *j)
{
	AUTO(tx) struct db_tx tx = {0};
	struct rollout_row row = {0};
	int64_t id;
	enum ota_err err = rollout_next_doing(job->db, j->place.after, &id, &job->e);

	j->has_more = !err;
	if (err)
		return err == OTA_NOT_FOUND ? OTA_OK : err;
	err = db_begin(job->db, &tx, &job->e);
	if (!err)
		err = rollout_load(job->db, id, job->mem, &row, &job->e);
	if (!err)
		err = go_on(job, j, &row);
	if (!err)
		return db_commit(&tx, &job->e);
	if (!is_spoilt(err))
		return err;
	j->place.after = id;
	leave_out(job, j, &row);
	return OTA_OK;
}

static enum ota_err rest_run(struct job *job)
{
	struct rest_job *j = job->ctx;
	bool is_none = j->place.is_stuck;
	enum ota_err err = OTA_OK;

	j->has_more = true;
	if (!is_none)
		err = rest_grow(job, j, &is_none);
	return err || !is_none ? err : rest_work(job, j);
}

/* One that cannot be loaded is said, and stays said until all could be. */
static void tell_spoilt(struct domain *d, const struct rest_job *j)
{
	d->place = j->place;
	if (*j->spoilt.text) {
		d->grow_e = j->spoilt;
		errmsg_prefix(&d->grow_e, "a push cannot go on: ");
		log_limited(&d->log_spoilt, 2, j->now, LOG_LEVEL_WARN, "%s", d->grow_e.text);
	} else if (!j->has_more && !j->place.has_spoilt) {
		d->grow_e = (struct errmsg){""};
	}
}

static void rest_post(struct domain *d);

static void rest_done(struct job *job)
{
	struct rest_job *j = job->ctx;
	struct domain *d = j->domain;

	/* A request has come that may do the same, or leave it for later. */
	if (!job->err)
		tell_spoilt(d, j);
	d->is_growing = j->has_more && !job->err && !d->n_in_pieces && !*d->follow_e.text;
	if (job->err) /* the next sweep tries again */
		log_error("a push cannot go on: %s", job->e.text[0] ? job->e.text : ota_err_text(job->err));
	if (j->has_more || d->news.n)
		domain_changed(d->app);
	if (d->is_growing)
		rest_post(d);
}

static void rest_post(struct domain *d)
{
	struct job *job = job_new(1024 * 1024);
	struct rest_job *j = job ? arena_alloc(job->mem, sizeof(*j)) : NULL;

	d->is_growing = j != NULL;
	if (!j) {
		job_drop(job);
		return;
	}
	j->domain = d;
	j->now = app_now(d->app);
	j->place = d->place;
	job->ctx = j;
	jobs_post(d->app->jobs, JOB_STORE, job, rest_run, rest_done);
}

void grow_rest(struct domain *d)
{
	if (d->is_growing || d->n_in_pieces || app_now(d->app) < d->grown_s + GROW_REST_S)
		return;
	/* Tickets still name what a cancel took back that is not in force: too early to say who got it. */
	if (*d->follow_e.text)
		return;
	/* A cancel goes by who was heard. */
	d->place = (struct grow_place){.applied = d->applied};
	upkeep_flush_all(d);
	rest_post(d);
}
