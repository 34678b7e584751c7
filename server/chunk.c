#include "server/chunk.h"

#include <string.h>

#include "db/assignment.h"
#include "db/release.h"
#include "db/rollout.h"
#include "db/rootdoc.h"

enum {
	SCRATCH_MAX = 8 * 1024 * 1024, /* for one row and what hangs on it */
	SEEN_MAX = 4096,
};

struct loading {
	struct chunk *ch;
	struct job *job;
	struct arena scratch;
	int64_t *seen; /* devices that were loaded already; open addressing, 0: free */
	size_t seen_cap, seen_n;
};

/* True the first time that a device is named. */
static bool is_first(struct loading *l, int64_t device)
{
	size_t at = (size_t)((uint64_t)device * 0x9e3779b97f4a7c15u) & (l->seen_cap - 1);

	while (l->seen[at]) {
		if (l->seen[at] == device)
			return false;
		at = (at + 1) & (l->seen_cap - 1);
	}
	if (l->seen_n * 4 < l->seen_cap * 3) {
		l->seen[at] = device;
		l->seen_n++;
	}
	return true;
}

static enum ota_err add_gone(struct loading *l, enum change_kind kind, int64_t row)
{
	struct gone *g = arena_alloc(l->job->mem, sizeof(*g));

	if (!g)
		return OTA_NO_MEMORY;
	*g = (struct gone){kind, row, l->ch->gone};
	l->ch->gone = g;
	return OTA_OK;
}

static enum ota_err load_device(struct loading *l, int64_t device)
{
	struct found_device *f;
	enum ota_err err;

	if (!is_first(l, device))
		return OTA_OK;
	f = arena_alloc(l->job->mem, sizeof(*f));
	if (!f)
		return OTA_NO_MEMORY;
	arena_clear(&l->scratch);
	err = facts_load_device(
		l->job->db, l->ch->crypto, l->ch->keys, device, &l->scratch, &f->facts, &l->job->e);
	if (err == OTA_NOT_FOUND)
		return add_gone(l, CHANGE_DEVICE, device);
	if (err)
		return err;
	f->next = l->ch->devices;
	l->ch->devices = f;
	return OTA_OK;
}

static enum ota_err load_assignment(struct loading *l, int64_t id)
{
	struct assignment_row row;
	enum ota_err err;

	arena_clear(&l->scratch);
	err = assignment_load(l->job->db, id, &l->scratch, &row, &l->job->e);
	if (err == OTA_NOT_FOUND)
		return OTA_OK; /* gone with its device or rollout, which have rows of their own */
	return err ? err : load_device(l, row.device);
}

/* A changed rollout touches its open assignments (hold, cancel): a part of them, from `*cursor` on; 0 when it
 * is all. A new one has a row for each already. */
static enum ota_err load_rollout(struct loading *l, int64_t id, int64_t *cursor)
{
	const struct db_page page = {.cursor = *cursor, .limit = CHUNK_DEVICES};
	AUTO(arena) struct arena mem;
	struct rollout_tasks list;
	struct rollout_row row;
	enum ota_err err;

	arena_init(&mem, 64 * 1024); /* load_device clears the scratch */
	arena_clear(&l->scratch);
	*cursor = 0;
	err = rollout_load(l->job->db, id, &l->scratch, &row, &l->job->e);
	if (err == OTA_NOT_FOUND || (!err && row.revision == 1))
		return OTA_OK;
	if (!err)
		err = rollout_list_open(l->job->db, id, &page, &mem, &list, &l->job->e);
	for (size_t i = 0; !err && i < list.n; i++)
		err = load_device(l, list.rows[i].device);
	if (!err)
		*cursor = list.next;
	return err;
}

static enum ota_err add_size(struct loading *l, const struct manifest_size *m)
{
	struct found_size *s = arena_alloc(l->job->mem, sizeof(*s));

	if (!s)
		return OTA_NO_MEMORY;
	memcpy(s->digest, m->digest, 32);
	s->size = m->size;
	s->next = l->ch->sizes;
	l->ch->sizes = s;
	return OTA_OK;
}

static enum ota_err load_release(struct loading *l, int64_t id)
{
	struct db_page page = {.limit = DB_PAGE_MAX};
	struct manifest_sizes list;

	do {
		enum ota_err err;

		arena_clear(&l->scratch);
		err = manifest_sizes_of_release(l->job->db, id, &page, &l->scratch, &list, &l->job->e);
		for (size_t i = 0; !err && i < list.n; i++)
			err = add_size(l, &list.rows[i]);
		if (err)
			return err;
		page.cursor = list.next;
	} while (page.cursor);
	return OTA_OK;
}

static enum ota_err load_image(struct loading *l, int64_t id)
{
	struct found_image *f = arena_alloc(l->job->mem, sizeof(*f));
	enum ota_err err;

	if (!f)
		return OTA_NO_MEMORY;
	arena_clear(&l->scratch);
	err = damaged_load(l->job->db, id, &l->scratch, &f->rows, &f->n, &l->job->e);
	if (err)
		return err;
	if (f->n) {
		f->rows = arena_dup(l->job->mem, f->rows, f->n * sizeof(*f->rows));
		if (!f->rows)
			return OTA_NO_MEMORY;
	}
	f->image = id;
	f->next = l->ch->images;
	l->ch->images = f;
	return OTA_OK;
}

static enum ota_err load_board(struct loading *l, int64_t id)
{
	struct found_board *b = arena_alloc(l->job->mem, sizeof(*b));
	enum ota_err err;

	if (!b)
		return OTA_NO_MEMORY;
	arena_clear(&l->scratch);
	err = facts_load_board(l->job->db, id, &l->scratch, &b->board, &l->job->e);
	if (err == OTA_NOT_FOUND)
		return add_gone(l, CHANGE_BOARD, id);
	if (err)
		return err;
	b->next = l->ch->boards;
	l->ch->boards = b;
	return OTA_OK;
}

static enum ota_err load_root(struct loading *l)
{
	struct rootdoc_row row;
	enum ota_err err;

	arena_clear(&l->scratch);
	err = rootdoc_newest(l->job->db, &l->scratch, &row, &l->job->e);
	if (err || row.document_len > ROOT_MAX)
		return err == OTA_NO_ROOT ? OTA_OK : err;
	l->ch->root_version = row.version;
	l->ch->root_len = row.document_len;
	memcpy(l->ch->root, row.document, row.document_len);
	return OTA_OK;
}

static enum ota_err load_change(struct loading *l, const struct change_row *row, int64_t *cursor)
{
	switch (row->kind) {
	case CHANGE_DEVICE:
		return load_device(l, row->id);
	case CHANGE_ASSIGNMENT:
		return load_assignment(l, row->id);
	case CHANGE_ROLLOUT:
		return load_rollout(l, row->id, cursor);
	case CHANGE_RELEASE:
		return load_release(l, row->id);
	case CHANGE_BOARD:
		return load_board(l, row->id);
	case CHANGE_ROOT:
		return load_root(l);
	case CHANGE_IMAGE:
		return load_image(l, row->id);
	case CHANGE_ENROLL:
	case CHANGE_TOKEN:
	case CHANGE_SETTING:
		break; /* nothing of these is in the registry */
	}
	return OTA_OK;
}

enum ota_err chunk_load(struct job *job)
{
	struct loading l = {.ch = job->ctx, .job = job, .seen_cap = SEEN_MAX};
	struct db_page page = {.cursor = l.ch->from, .limit = CHUNK_CHANGES};
	struct chunk_within within;
	struct change_list list;
	enum ota_err err = change_list(job->db, &page, job->mem, &list, &job->e);

	if (err == OTA_TRUNCATED) {
		l.ch->is_lost = true;
		return OTA_OK;
	}
	if (err)
		return err;
	l.seen = arena_array(job->mem, l.seen_cap, sizeof(*l.seen));
	if (!l.seen)
		return OTA_NO_MEMORY;
	l.ch->to = l.ch->from;
	arena_init(&l.scratch, SCRATCH_MAX);
	within = l.ch->within;
	l.ch->within = (struct chunk_within){0};
	for (size_t i = 0; !err && i < list.n && !l.ch->within.seq; i++) {
		const struct change_row *row = &list.rows[i];
		int64_t cursor = row->seq == within.seq ? within.cursor : 0;

		err = load_change(&l, row, &cursor);
		if (cursor)
			l.ch->within = (struct chunk_within){row->seq, cursor};
		else
			l.ch->to = row->seq;
	}
	arena_release(&l.scratch);
	l.ch->has_more = list.next != 0 || l.ch->within.seq;
	return err;
}
