#include "server/follow.h"

#include <string.h>

#include "db/assignment.h"
#include "db/board.h"
#include "db/change.h"
#include "db/device.h"
#include "db/image.h"
#include "db/release.h"
#include "db/rollout.h"
#include "db/rootdoc.h"
#include "proto/hex.h"
#include "server/ops.h"
#include "server/wake.h"

enum {
	FOLLOW_JOB_MAX = 256 * 1024 * 1024, /* arena cap of a round; used only as far as needed */
	SCRATCH_MAX = 8 * 1024 * 1024,      /* for one row and what hangs on it */
	ROLLOUT_PAGE = 500,
};

static void take_said(const struct ota_crypto *c, const struct device_said *said, struct reg_facts *f)
{
	struct checkin ci = {
		.has_result = said->has_result,
		.result_attempt = said->result_attempt,
		.result_reason = said->result_reason,
		.result_detail = said->result_detail,
		.result_offset = said->result_offset,
	};
	struct plan_device *d = &f->dev;

	memcpy(ci.result_digest, said->result_digest, 32);
	plan_result_mark(c, &ci, d->result_mark);
	d->heard = said->seen_at != 0;
	d->counter = said->counter;
	memcpy(d->mark, said->counter_digest, PLAN_MARK_LEN);
	d->root_version = said->root_version;
	d->has_running = said->has_running;
	d->running_sequence = said->running_sequence;
	memcpy(d->running_digest, said->running_digest, 32);
	d->state = (enum checkin_state)said->agent_state;
	d->flags = said->flags;
	f->seen = said->seen_at;
	f->uptime_s = said->uptime_s;
	f->bytes_done = said->target_bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)said->target_bytes;
}

static void take_task(const struct assignment_row *a, struct reg_facts *f)
{
	struct plan_task *t = &f->dev.task;

	f->task_row = a->id;
	t->exists = true;
	t->state = a->state;
	memcpy(t->digest, a->digest, 32);
	/* Size 0: no ticket names it. */
	t->envelope_size = a->is_complete && a->envelope_len <= UINT16_MAX ? (uint16_t)a->envelope_len : 0;
	t->attempt = a->attempt;
	t->hold = a->is_held;
}

static enum ota_err facts_of(struct db *db, const struct ota_crypto *c, const struct keystore *k,
	const struct device_row *row, struct arena *mem, struct reg_facts *out, struct errmsg *e)
{
	struct reg_facts f = {.row = row->id, .board_row = row->board};
	struct assignment_list tasks;
	uint8_t secret[SECRET_LEN];
	enum ota_err err;

	if (row->state == DEVICE_REVOKED || !row->has_enrolment || !row->board)
		return errmsg_fail(e, OTA_NOT_FOUND, "device '%s' does not check in here", row->uid);
	if (hex_decode(row->uid, strlen(row->uid), HEX_LOWER, f.id, sizeof(f.id)))
		return errmsg_fail(e, OTA_NOT_FOUND, "device '%s' has no device-id", row->uid);
	err = assignment_history(db, row->id, &(struct db_page){.limit = 1}, mem, &tasks, e);
	if (err)
		return err;
	f.dev.approved = row->state == DEVICE_APPROVED;
	f.dev.hold = row->is_held;
	take_said(c, &row->said, &f);
	if (tasks.n)
		take_task(&tasks.rows[0], &f);
	keys_enroll_secret(c, keystore_enroll(k), row->enrolment.secret_id, secret);
	keys_device(c, secret, f.id, row->enrolment.nonce_d, row->enrolment.nonce_s, f.k_dev);
	ota_wipe(secret, sizeof(secret));
	*out = f;
	return OTA_OK;
}

enum ota_err follow_load_device(struct db *db, const struct ota_crypto *c, const struct keystore *k,
	int64_t device, struct arena *mem, struct reg_facts *out, struct errmsg *e)
{
	struct device_row row;
	enum ota_err err = device_load(db, device, mem, &row, e);

	return err ? err : facts_of(db, c, k, &row, mem, out, e);
}

static enum ota_err board_facts(
	struct db *db, int64_t id, struct arena *mem, struct reg_board *out, struct errmsg *e)
{
	struct board_row row;
	struct reg_board b = {.row = id};
	enum ota_err err = board_load(db, id, mem, &row, e);
	size_t len;

	if (err)
		return err;
	memcpy(b.vendor_id, row.vendor_id, sizeof(b.vendor_id));
	memcpy(b.class_id, row.class_id, sizeof(b.class_id));
	b.poll_s = row.poll_s;
	len = strnlen(row.name, sizeof(b.name) - 1);
	memcpy(b.name, row.name, len);
	*out = b;
	return OTA_OK;
}

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
	return was_open && !is_open && is->task.state == ASSIGN_CANCELLED;
}

struct end_job {
	struct domain *domain; /* the loop's */
	int64_t task;
	int64_t now;
};

static enum ota_err end_already_running(struct job *job)
{
	struct end_job *j = job->ctx;
	struct assignment_move move = {.to = ASSIGN_RUNNING, .now = j->now};
	enum ota_err err = assignment_advance(job->db, j->task, &move, NULL, &job->e);

	/* Somebody was first: its change will be followed. */
	return err == OTA_STATE || err == OTA_NOT_FOUND ? OTA_OK : err;
}

static void ended_already_running(struct job *job)
{
	struct domain *d = ((struct end_job *)job->ctx)->domain;

	if (job->err)
		log_error("an assignment that is done could not be ended: %s", job->e.text);
	domain_changed(d->app);
}

static void check_already_running(struct domain *d, uint32_t at)
{
	struct plan_device dev;
	struct reg_live live;
	struct end_job *j;
	struct job *job;

	registry_view(d->reg, at, &dev);
	if (!plan_is_already_running(&dev))
		return;
	registry_live(d->reg, at, &live);
	job = job_new(4096);
	j = job ? arena_alloc(job->mem, sizeof(*j)) : NULL;
	if (!j)
		return; /* its next check-in says it again */
	*j = (struct end_job){.domain = d, .task = live.task_row, .now = app_now(d->app)};
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
	check_already_running(d, at);
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

			err = board_facts(db, list.rows[i].id, mem, &b, e);
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

			err = facts_of(db, d->app->crypto, d->keys, &list.rows[i], mem, &f, e);
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

struct gone {
	enum change_kind kind;
	int64_t row;
	struct gone *next;
};

struct found_device {
	struct reg_facts facts;
	struct found_device *next;
};

struct found_board {
	struct reg_board board;
	struct found_board *next;
};

struct found_size {
	uint8_t digest[32];
	uint16_t size;
	struct found_size *next;
};

struct found_image {
	int64_t image;
	struct damaged_row *rows;
	size_t n;
	struct found_image *next;
};

struct chunk {
	struct domain *domain; /* the loop's */
	const struct ota_crypto *crypto;
	const struct keystore *keys;
	int64_t from; /* changes after this */
	/* results */
	int64_t to;
	bool has_more;
	bool is_lost; /* rows were trimmed before we saw them */
	struct gone *gone;
	struct found_device *devices;
	struct found_board *boards;
	struct found_size *sizes;
	struct found_image *images;
	uint32_t root_version; /* 0: not changed */
	size_t root_len;
	uint8_t root[ROOT_MAX];

	/* while loading */
	struct job *job;
	struct arena scratch;
	int64_t *seen; /* devices that were loaded already; open addressing, 0: free */
	size_t seen_cap, seen_n;
};

/* True the first time that a device is named. */
static bool is_first(struct chunk *ch, int64_t device)
{
	size_t at = (size_t)((uint64_t)device * 0x9e3779b97f4a7c15u) & (ch->seen_cap - 1);

	while (ch->seen[at]) {
		if (ch->seen[at] == device)
			return false;
		at = (at + 1) & (ch->seen_cap - 1);
	}
	if (ch->seen_n * 4 < ch->seen_cap * 3) {
		ch->seen[at] = device;
		ch->seen_n++;
	}
	return true;
}

static enum ota_err add_gone(struct chunk *ch, enum change_kind kind, int64_t row)
{
	struct gone *g = arena_alloc(ch->job->mem, sizeof(*g));

	if (!g)
		return OTA_NO_MEMORY;
	*g = (struct gone){kind, row, ch->gone};
	ch->gone = g;
	return OTA_OK;
}

static enum ota_err load_device(struct chunk *ch, int64_t device)
{
	struct found_device *f;
	enum ota_err err;

	if (!is_first(ch, device))
		return OTA_OK;
	f = arena_alloc(ch->job->mem, sizeof(*f));
	if (!f)
		return OTA_NO_MEMORY;
	arena_clear(&ch->scratch);
	err = follow_load_device(
		ch->job->db, ch->crypto, ch->keys, device, &ch->scratch, &f->facts, &ch->job->e);
	if (err == OTA_NOT_FOUND)
		return add_gone(ch, CHANGE_DEVICE, device);
	if (err)
		return err;
	f->next = ch->devices;
	ch->devices = f;
	return OTA_OK;
}

static enum ota_err load_assignment(struct chunk *ch, int64_t id)
{
	struct assignment_row row;
	enum ota_err err;

	arena_clear(&ch->scratch);
	err = assignment_load(ch->job->db, id, &ch->scratch, &row, &ch->job->e);
	if (err == OTA_NOT_FOUND)
		return OTA_OK; /* gone with its device or rollout, which have rows of their own */
	return err ? err : load_device(ch, row.device);
}

/* A changed rollout touches its open assignments (hold). A new one has a row for each already. */
static enum ota_err load_rollout(struct chunk *ch, int64_t id)
{
	struct assignment_filter filter = {.rollout = id, .only_open = true};
	struct db_page page = {.limit = ROLLOUT_PAGE};
	struct rollout_row row;
	enum ota_err err;

	arena_clear(&ch->scratch);
	err = rollout_load(ch->job->db, id, &ch->scratch, &row, &ch->job->e);
	if (err == OTA_NOT_FOUND || (!err && row.revision == 1))
		return OTA_OK;
	do {
		struct assignment_list list;
		int64_t device[ROLLOUT_PAGE];

		arena_clear(&ch->scratch);
		if (!err)
			err = assignment_list(ch->job->db, &filter, &page, &ch->scratch, &list, &ch->job->e);
		if (err)
			return err;
		/* load_device clears the scratch. */
		for (size_t i = 0; i < list.n; i++)
			device[i] = list.rows[i].device;
		for (size_t i = 0; !err && i < list.n; i++)
			err = load_device(ch, device[i]);
		page.cursor = list.next;
	} while (!err && page.cursor);
	return err;
}

static enum ota_err load_release(struct chunk *ch, int64_t id)
{
	struct db_page page = {.limit = DB_PAGE_MAX};
	struct manifest_list list;
	enum ota_err err;

	arena_clear(&ch->scratch);
	err = manifest_list(ch->job->db, id, &page, &ch->scratch, &list, &ch->job->e);
	if (err)
		return err == OTA_NOT_FOUND ? OTA_OK : err;
	for (size_t i = 0; i < list.n; i++) {
		const struct manifest_row *m = &list.rows[i];
		struct found_size *s = arena_alloc(ch->job->mem, sizeof(*s));

		if (!s)
			return OTA_NO_MEMORY;
		memcpy(s->digest, m->digest, 32);
		s->size = m->is_complete && m->envelope_len <= UINT16_MAX ? (uint16_t)m->envelope_len : 0;
		s->next = ch->sizes;
		ch->sizes = s;
	}
	return OTA_OK;
}

static enum ota_err load_image(struct chunk *ch, int64_t id)
{
	struct found_image *f = arena_alloc(ch->job->mem, sizeof(*f));
	enum ota_err err;

	if (!f)
		return OTA_NO_MEMORY;
	arena_clear(&ch->scratch);
	err = damaged_load(ch->job->db, id, &ch->scratch, &f->rows, &f->n, &ch->job->e);
	if (err)
		return err;
	if (f->n) {
		f->rows = arena_dup(ch->job->mem, f->rows, f->n * sizeof(*f->rows));
		if (!f->rows)
			return OTA_NO_MEMORY;
	}
	f->image = id;
	f->next = ch->images;
	ch->images = f;
	return OTA_OK;
}

static enum ota_err load_board(struct chunk *ch, int64_t id)
{
	struct found_board *b = arena_alloc(ch->job->mem, sizeof(*b));
	enum ota_err err;

	if (!b)
		return OTA_NO_MEMORY;
	arena_clear(&ch->scratch);
	err = board_facts(ch->job->db, id, &ch->scratch, &b->board, &ch->job->e);
	if (err == OTA_NOT_FOUND)
		return add_gone(ch, CHANGE_BOARD, id);
	if (err)
		return err;
	b->next = ch->boards;
	ch->boards = b;
	return OTA_OK;
}

static enum ota_err load_root(struct chunk *ch)
{
	struct rootdoc_row row;
	enum ota_err err;

	arena_clear(&ch->scratch);
	err = rootdoc_newest(ch->job->db, &ch->scratch, &row, &ch->job->e);
	if (err || row.document_len > ROOT_MAX)
		return err == OTA_NO_ROOT ? OTA_OK : err;
	ch->root_version = row.version;
	ch->root_len = row.document_len;
	memcpy(ch->root, row.document, row.document_len);
	return OTA_OK;
}

static enum ota_err load_change(struct chunk *ch, const struct change_row *row)
{
	switch (row->kind) {
	case CHANGE_DEVICE:
		return load_device(ch, row->id);
	case CHANGE_ASSIGNMENT:
		return load_assignment(ch, row->id);
	case CHANGE_ROLLOUT:
		return load_rollout(ch, row->id);
	case CHANGE_RELEASE:
		return load_release(ch, row->id);
	case CHANGE_BOARD:
		return load_board(ch, row->id);
	case CHANGE_ROOT:
		return load_root(ch);
	case CHANGE_IMAGE:
		return load_image(ch, row->id);
	case CHANGE_ENROLL:
	case CHANGE_TOKEN:
	case CHANGE_SETTING:
		break; /* nothing of these is in the registry */
	}
	return OTA_OK;
}

static enum ota_err load_chunk(struct job *job)
{
	struct chunk *ch = job->ctx;
	struct db_page page = {.cursor = ch->from, .limit = FOLLOW_CHUNK};
	struct change_list list;
	enum ota_err err;

	ch->job = job;
	err = change_list(job->db, &page, job->mem, &list, &job->e);
	if (err == OTA_TRUNCATED) {
		ch->is_lost = true;
		return OTA_OK;
	}
	if (err)
		return err;
	ch->seen_cap = 4096;
	ch->seen = arena_array(job->mem, ch->seen_cap, sizeof(*ch->seen));
	if (!ch->seen)
		return OTA_NO_MEMORY;
	ch->to = ch->from;
	arena_init(&ch->scratch, SCRATCH_MAX);
	for (size_t i = 0; !err && i < list.n; i++) {
		err = load_change(ch, &list.rows[i]);
		ch->to = list.rows[i].seq;
	}
	arena_release(&ch->scratch);
	ch->has_more = list.next != 0;
	return err;
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

static void apply_chunk(struct domain *d, const struct chunk *ch)
{
	enum ota_err err = OTA_OK;

	for (const struct found_board *b = ch->boards; b && !err; b = b->next)
		err = registry_put_board(d->reg, &b->board);
	for (const struct found_image *f = ch->images; f && !err; f = f->next)
		err = take_damaged(d, f->image, f->rows, f->n);
	for (const struct found_device *f = ch->devices; f && !err; f = f->next)
		err = follow_put(d, &f->facts);
	for (const struct gone *g = ch->gone; g; g = g->next)
		apply_gone(d, g);
	for (const struct found_size *s = ch->sizes; s; s = s->next)
		set_envelope_size(d, s->digest, s->size);
	if (ch->root_version)
		follow_take_root(d, ch->root_version, ch->root, ch->root_len);
	if (err)
		log_error("the registry cannot take a change: %s", ota_err_text(err));
}

static void post_chunk(struct domain *d);

static void end_round(struct domain *d)
{
	d->is_following = false;
	d->rounds_done++;
	if (d->has_new_root) {
		d->has_new_root = false;
		d->news.n = 0;
		wake_boards(d);
	}
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

	if (job->err) {
		/* The rows stay; the next change, or the sweep, tries again. */
		log_error("cannot follow the database: %s", job->e.text);
		end_round(d);
		return;
	}
	if (ch->is_lost) /* upkeep.c trims behind us only: somebody else did */
		log_error("changes were removed before they were followed: restart otad");
	/* A job that committed after this one was loaded may have gone past. */
	if (ch->to > d->applied)
		d->applied = ch->to;
	apply_chunk(d, ch);
	for (struct found_device *f = ch->devices; f; f = f->next)
		ota_wipe(f->facts.k_dev, KEY_LEN);
	if (ch->has_more)
		post_chunk(d);
	else
		end_round(d);
}

static void post_chunk(struct domain *d)
{
	struct job *job = job_new(FOLLOW_JOB_MAX);
	struct chunk *ch = job ? arena_alloc(job->mem, sizeof(*ch)) : NULL;

	if (!ch) {
		log_error("cannot follow the database: out of memory");
		d->is_following = false;
		d->rounds_done++;
		return;
	}
	ch->crypto = d->app->crypto;
	ch->keys = d->keys;
	ch->from = d->applied;
	ch->domain = d;
	job->ctx = ch;
	jobs_post(d->app->jobs, JOB_STORE, job, load_chunk, chunk_done);
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
