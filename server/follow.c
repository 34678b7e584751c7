#include "server/follow.h"

#include <string.h>

#include "db/assignment.h"
#include "db/board.h"
#include "db/device.h"
#include "db/event.h"
#include "db/image.h"
#include "db/rootdoc.h"
#include "server/chunk.h"
#include "server/ops.h"
#include "server/wake.h"

enum { FOLLOW_JOB_MAX = 256 * 1024 * 1024 /* arena cap of a chunk; used only as far as needed */ };

/* `was` is NULL for a device that the registry did not know. */
static bool has_news(const struct plan_device *was, const struct reg_live *was_live,
	const struct plan_device *is, const struct reg_live *is_live)
{
	bool is_open = is->task.exists && assign_state_is_open(is->task.state);
	bool was_open, was_held, is_held;

	if (!was)
		return false; /* it is just talking to us */
	was_open = was->task.exists && assign_state_is_open(was->task.state);
	was_held = was->hold || was->task.hold;
	is_held = is->hold || is->task.hold;
	if (is->approved && !was->approved)
		return true;
	if (is_open && (!was_open || was_live->task_row != is_live->task_row ||
			       was->task.attempt != is->task.attempt || (was_held && !is_held)))
		return true;
	/* Taken back, or to give way to a newer one: in a trial it would not listen. */
	if (is_open && is->state != CHECKIN_TRIAL &&
		((is->task.has_next && !was->task.has_next) || (is->task.withdrawn && !was->task.withdrawn)))
		return true;
	return was_open && !is_open && is->task.state == ASSIGN_CANCELLED;
}

struct end_job {
	struct domain *domain; /* the loop's */
	int64_t now;
	size_t n;
	int64_t task[]; /* rows of assignments */
};

static enum ota_err note_already_running(struct job *job, int64_t id, int64_t now)
{
	struct event_row event = {.at = now, .kind = "running", .assignment = id};
	AUTO(arena) struct arena mem;
	struct assignment_row task;
	enum ota_err err;

	arena_init(&mem, (size_t)128 * 1024);
	err = assignment_load(job->db, id, &mem, &task, &job->e);
	if (err)
		return err;
	event.device = task.device;
	event.text = arena_printf(&mem, "runs %s already", task.version);
	return event.text ? event_add(job->db, &event, &job->e) : OTA_NO_MEMORY;
}

static enum ota_err end_already_running(struct job *job)
{
	struct end_job *j = job->ctx;
	struct assignment_move move = {.to = ASSIGN_RUNNING, .now = j->now};

	for (size_t i = 0; i < j->n; i++) {
		bool moved = false;
		enum ota_err err = assignment_advance(job->db, j->task[i], &move, &moved, &job->e);

		if (!err && moved)
			err = note_already_running(job, j->task[i], j->now);

		/* Somebody was first: its change will be followed. */
		if (err && err != OTA_STATE && err != OTA_NOT_FOUND)
			return err;
	}
	return OTA_OK;
}

static void ended_already_running(struct job *job)
{
	struct domain *d = ((struct end_job *)job->ctx)->domain;

	if (job->err)
		log_error("assignments that are done could not be ended: %s", job->e.text);
	domain_changed(d->app);
}

static bool runs_it_already(const struct domain *d, uint32_t at)
{
	struct plan_device dev;

	if (registry_next(d->reg, at) != at)
		return false; /* removed meanwhile */
	registry_view(d->reg, at, &dev);
	return plan_is_already_running(&dev);
}

/* One job for all that a chunk brought. What fails here is said again by the devices' next check-ins. */
static void end_what_runs_already(struct domain *d)
{
	size_t len = sizeof(struct end_job) + d->already.n * sizeof(int64_t);
	struct end_job *j;
	struct job *job;

	if (!d->already.n)
		return;
	job = job_new(len + 4096);
	j = job ? arena_alloc(job->mem, len) : NULL;
	for (size_t i = 0; j && i < d->already.n; i++) {
		struct reg_live live;

		if (!runs_it_already(d, d->already.at[i]))
			continue;
		registry_live(d->reg, d->already.at[i], &live);
		j->task[j->n++] = live.task_row;
	}
	d->already.n = 0;
	if (!j) {
		job_drop(job); /* the next check-in of each ends it */
		return;
	}
	j->domain = d;
	j->now = app_now(d->app);
	job->ctx = j;
	jobs_post(d->app->jobs, JOB_STORE, job, end_already_running, ended_already_running);
}

/* A task whose image is damaged is there, but named in no ticket. */
static enum ota_err put_facts(struct domain *d, const struct reg_facts *f)
{
	struct reg_facts kept;
	enum ota_err err;

	if (!f->dev.task.exists || !damaged_find(&d->damaged, f->dev.task.digest))
		return registry_put(d->reg, f);
	kept = *f;
	kept.dev.task.envelope_size = 0;
	err = registry_put(d->reg, &kept);
	ota_wipe(kept.k_dev, sizeof(kept.k_dev));
	return err;
}

static void set_envelope_size(struct domain *d, const uint8_t digest[32], uint16_t size)
{
	struct damaged_row *row = damaged_find(&d->damaged, digest);

	if (row)
		row->size = size;
	else
		registry_envelope_size(d->reg, digest, size);
}

static void healed(void *ctx, const struct damaged_row *row)
{
	struct domain *d = ctx;

	registry_envelope_size(d->reg, row->digest, row->size);
}

static enum ota_err take_damaged(struct domain *d, int64_t image, const struct damaged_row *rows, size_t n)
{
	enum ota_err err = damaged_replace(&d->damaged, image, rows, n, healed, d);

	for (size_t i = 0; !err && i < n; i++)
		registry_envelope_size(d->reg, rows[i].digest, 0);
	return err;
}

enum ota_err follow_put(struct domain *d, const struct reg_facts *f)
{
	uint32_t at = registry_find(d->reg, f->id);
	struct plan_device was = {0}, is;
	struct reg_live was_live = {0}, is_live;
	bool known = at != REG_NONE;
	enum ota_err err;

	if (known) {
		registry_view(d->reg, at, &was);
		registry_live(d->reg, at, &was_live);
	}
	err = put_facts(d, f);
	if (err)
		return err;
	at = registry_find(d->reg, f->id);
	registry_view(d->reg, at, &is);
	registry_live(d->reg, at, &is_live);
	if (has_news(known ? &was : NULL, &was_live, &is, &is_live))
		wake_add(&d->news, at);
	if (runs_it_already(d, at))
		wake_add(&d->already, at);
	return OTA_OK;
}

void follow_take_root(struct domain *d, uint32_t version, const uint8_t *bytes, size_t len)
{
	const struct ota_crypto *c = d->app->crypto;
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	struct ota_slice payload;
	struct root_doc doc;
	struct cose_keyring ring;
	size_t n_blocks;

	if (len > sizeof(d->root.bytes))
		return;
	d->has_new_root = d->has_new_root || (d->root.version && version > d->root.version);
	d->root.version = version;
	if (d->root_missing <= version)
		d->root_missing = 0;
	d->root.len = len;
	memcpy(d->root.bytes, bytes, len);
	d->root.server_key_is_listed = false;
	if (root_split(d->root.bytes, len, blocks, &n_blocks, &payload) ||
		root_payload_decode(c, payload, &doc)) {
		log_error("the stored root %u is damaged", version);
		return;
	}
	root_keyring(c, &doc, ROOT_ROLE_SERVER, &ring);
	for (size_t i = 0; i < ring.n; i++) {
		if (memcmp(ring.key[i]->kid, keystore_server_public(d->keys)->kid, OTA_KID_LEN) == 0)
			d->root.server_key_is_listed = true;
	}
	if (!d->root.server_key_is_listed)
		log_warn("root %u does not list this server's key: devices will not take its tickets",
			version);
}

static enum ota_err load_boards(struct domain *d, struct db *db, struct arena *mem, struct errmsg *e)
{
	struct db_page page = {.limit = DB_PAGE_MAX};
	struct board_list list;

	do {
		enum ota_err err = board_list(db, NULL, &page, mem, &list, e);

		for (size_t i = 0; !err && i < list.n; i++) {
			struct reg_board b;

			err = facts_load_board(db, list.rows[i].id, mem, &b, e);
			if (!err && (err = registry_put_board(d->reg, &b)) != OTA_OK)
				errmsg_set(e, "cannot hold board '%s': %s", b.name, ota_err_text(err));
		}
		if (err)
			return err;
		page.cursor = list.next;
		arena_clear(mem);
	} while (page.cursor);
	return OTA_OK;
}

static enum ota_err load_damaged(struct domain *d, struct db *db, struct arena *mem, struct errmsg *e)
{
	struct db_page page = {.limit = DB_PAGE_MAX};
	struct image_list list;

	do {
		enum ota_err err = image_list(db, &page, mem, &list, e);

		for (size_t i = 0; !err && i < list.n; i++) {
			struct damaged_row *rows = NULL;
			size_t n = 0;

			if (!list.rows[i].is_damaged)
				continue;
			err = damaged_load(db, list.rows[i].id, mem, &rows, &n, e);
			if (!err)
				err = take_damaged(d, list.rows[i].id, rows, n);
		}
		if (err)
			return err;
		page.cursor = list.next;
		arena_clear(mem);
	} while (page.cursor);
	return OTA_OK;
}

static enum ota_err load_devices(struct domain *d, struct db *db, struct arena *mem, struct errmsg *e)
{
	struct db_page page = {.limit = DB_PAGE_MAX};
	struct device_list list;

	do {
		enum ota_err err = device_list(db, NULL, &page, mem, &list, e);

		for (size_t i = 0; !err && i < list.n; i++) {
			struct reg_facts f;

			err = facts_of_row(db, d->app->crypto, d->keys, &list.rows[i], mem, &f, e);
			if (err == OTA_NOT_FOUND) {
				err = OTA_OK;
				continue;
			}
			if (!err && (err = put_facts(d, &f)) != OTA_OK)
				errmsg_set(e, "cannot hold device '%s': %s", list.rows[i].uid,
					ota_err_text(err));
			ota_wipe(&f, sizeof(f));
		}
		if (err)
			return err;
		page.cursor = list.next;
		arena_clear(mem);
	} while (page.cursor);
	return OTA_OK;
}

enum ota_err follow_load_all(struct domain *d, struct db *db, struct errmsg *e)
{
	AUTO(arena) struct arena mem;
	AUTO(tx) struct db_tx tx = {0};
	struct rootdoc_row root;
	enum ota_err err;

	arena_init(&mem, 64 * 1024 * 1024);
	/* One consistent read. */
	err = db_begin(db, &tx, e);
	if (!err)
		err = change_newest(db, &d->applied, e);
	if (!err)
		err = load_boards(d, db, &mem, e);
	if (!err)
		err = load_damaged(d, db, &mem, e);
	if (!err)
		err = load_devices(d, db, &mem, e);
	if (!err) {
		err = rootdoc_newest(db, &mem, &root, e);
		if (!err)
			follow_take_root(d, root.version, root.document, root.document_len);
		else if (err == OTA_NO_ROOT)
			err = OTA_OK;
	}
	return err ? err : db_commit(&tx, e);
}

static void apply_gone(struct domain *d, const struct gone *g)
{
	uint32_t at;

	if (g->kind == CHANGE_BOARD) {
		registry_remove_board(d->reg, g->row);
		return;
	}
	at = registry_find_row(d->reg, g->row);
	if (at != REG_NONE)
		registry_remove(d->reg, at);
}

static enum ota_err apply_chunk(struct domain *d, const struct chunk *ch)
{
	enum ota_err err = OTA_OK;

	for (const struct found_board *b = ch->boards; b && !err; b = b->next)
		err = registry_put_board(d->reg, &b->board);
	for (const struct found_image *f = ch->images; f && !err; f = f->next)
		err = take_damaged(d, f->image, f->rows, f->n);
	for (const struct found_device *f = ch->devices; f && !err; f = f->next) {
		err = follow_put(d, &f->facts);
		/* Its board came behind this chunk, and so did a row of its own. */
		if (err == OTA_NOT_FOUND)
			err = OTA_OK;
	}
	for (const struct gone *g = ch->gone; g; g = g->next)
		apply_gone(d, g);
	for (const struct found_size *s = ch->sizes; s; s = s->next)
		set_envelope_size(d, s->digest, s->size);
	if (ch->root_version)
		follow_take_root(d, ch->root_version, ch->root, ch->root_len);
	return err;
}

static void post_chunk(struct domain *d);

/* Ended: `why` NULL, all that was committed when it began is in the registry. */
static void count_round(struct domain *d, const char *why)
{
	bool failed_before = *d->follow_e.text;

	d->is_following = false;
	d->rounds_done++;
	if (!why) {
		d->round_good = d->rounds_done;
		d->follow_e = (struct errmsg){""};
		if (failed_before)
			log_info("the database is followed again");
		return;
	}
	errmsg_set(&d->follow_e, "cannot follow the database: %s", why);
	/* Every commit asks for a round: one line tells it, until it is over. */
	if (!failed_before)
		log_error("%s", d->follow_e.text);
}

static void end_round(struct domain *d, const char *why)
{
	count_round(d, why);
	if (d->has_new_root) {
		d->has_new_root = false;
		d->news.n = 0;
		wake_boards(d);
	}
	/* Piece by piece a whole fleet would be woken as if it were a few devices. */
	if (!d->n_in_pieces && !d->is_growing)
		wake_send(d, &d->news);
	ops_changed(d->app);
	if (d->follow_again) {
		d->follow_again = false;
		follow_start(d);
	}
}

static void chunk_done(struct job *job)
{
	struct chunk *ch = job->ctx;
	struct domain *d = ch->domain;
	enum ota_err err;

	if (job->err) {
		/* The rows stay; the next change, or the sweep, tries again. */
		end_round(d, job->e.text[0] ? job->e.text : ota_err_text(job->err));
		return;
	}
	if (ch->is_lost) { /* upkeep.c trims behind us only: somebody else did */
		end_round(d, "changes were removed before they were seen: restart otad");
		return;
	}
	err = apply_chunk(d, ch);
	for (struct found_device *f = ch->devices; f; f = f->next)
		ota_wipe(f->facts.k_dev, KEY_LEN);
	if (err && err != OTA_NO_MEMORY)
		log_error("the registry cannot take a change: %s", ota_err_text(err));
	if (err == OTA_NO_MEMORY) { /* the next change, or the sweep, starts from the same row */
		end_round(d, ota_err_text(err));
		return;
	}
	/* A job that committed after this one was loaded may have gone past. */
	if (ch->to > d->applied)
		d->applied = ch->to;
	d->within = ch->within;
	end_what_runs_already(d);
	if (ch->has_more)
		post_chunk(d);
	else
		end_round(d, NULL);
}

static void post_chunk(struct domain *d)
{
	struct job *job = job_new(FOLLOW_JOB_MAX);
	struct chunk *ch = job ? arena_alloc(job->mem, sizeof(*ch)) : NULL;

	if (!ch) {
		job_drop(job);
		count_round(d, ota_err_text(OTA_NO_MEMORY));
		return;
	}
	ch->crypto = d->app->crypto;
	ch->keys = d->keys;
	ch->from = d->applied;
	ch->within = d->within;
	ch->domain = d;
	job->ctx = ch;
	jobs_post(d->app->jobs, JOB_STORE, job, chunk_load, chunk_done);
}

uint64_t follow_start(struct domain *d)
{
	uint64_t round;

	if (d->is_following) {
		d->follow_again = true;
		return d->rounds_begun + 1;
	}
	d->is_following = true;
	round = ++d->rounds_begun;
	post_chunk(d);
	return round;
}

bool follow_is_done(const struct domain *d, uint64_t round)
{
	return d->rounds_done >= round;
}

bool follow_is_good(const struct domain *d, uint64_t round)
{
	return d->round_good >= round;
}

enum ota_err follow_own_begin(struct own_changes *own, struct job *job)
{
	return change_newest(job->db, &own->from, &job->e);
}

enum ota_err follow_own_end(struct own_changes *own, struct job *job)
{
	return change_newest(job->db, &own->to, &job->e);
}

void follow_own_done(struct domain *d, const struct own_changes *own)
{
	end_what_runs_already(d);
	if (own->from == own->to)
		return;
	/* Rows of others in between: their facts are not here yet. */
	if (d->applied != own->from) {
		follow_start(d);
		return;
	}
	d->applied = own->to;
	if (!d->is_following)
		wake_send(d, &d->news);
	ops_changed(d->app);
}
