#include "server/registry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/digests.h"

enum { CHUNK = 256 };

enum {
	F_USED = 1 << 0,
	F_APPROVED = 1 << 1,
	F_HOLD = 1 << 2,
	F_HEARD = 1 << 3,
	F_TASK = 1 << 4,
	F_TASK_HOLD = 1 << 5,
	F_BUSY = 1 << 6,
	F_DIRTY = 1 << 7,
	F_OFFERED = 1 << 8, /* waits for the grouped write */
	F_PRESENCE = 1 << 9,
	F_ONLINE = 1 << 10,
	F_ALARMED = 1 << 11,
	F_TASK_NEXT = 1 << 12,
	F_TASK_WITHDRAWN = 1 << 13,
};

/* Times in 32 bits, counted from 2020-01-01: good until 2156. */
#define REG_EPOCH 1577836800

struct reg_device {
	uint8_t id[DEVICE_ID_LEN];
	uint8_t k_dev[KEY_LEN];
	int64_t row;
	int64_t task_row;
	uint64_t counter;
	uint8_t mark[PLAN_MARK_LEN];
	uint8_t result_mark[PLAN_MARK_LEN];
	uint32_t seen;
	uint32_t root_version;
	uint32_t running; /* digest */
	uint32_t running_sequence;
	uint32_t task; /* digest */
	uint32_t bytes_done;
	uint32_t uptime_s;
	uint32_t enrolment;
	uint16_t board;
	uint16_t flags;
	uint8_t task_state;
	uint8_t task_attempt;
	uint8_t state;
	uint8_t agent_flags; /* the check-in's; those that we know fit */
};

_Static_assert(sizeof(struct reg_device) <= 128, "a device costs at most 128 bytes");

struct registry {
	struct reg_device **chunk; /* of CHUNK devices: none moves, and none is kept in reserve */
	uint32_t n, n_chunks, cap_chunks,
		free; /* free: position + 1 of the first free one, chained by `seen` */
	size_t count, dirty;
	uint32_t dirty_at; /* where the last grouped write stopped */
	uint64_t seed;
	struct index by_id, by_row;
	struct digests digests;
	struct boards boards;
};

static struct reg_device *slot(const struct registry *r, uint32_t at)
{
	return &r->chunk[at / CHUNK][at % CHUNK];
}

static uint64_t hash_id(const struct registry *r, const uint8_t id[DEVICE_ID_LEN])
{
	uint64_t v[2];

	memcpy(v, id, sizeof(v));
	return index_mix(r->seed, v[0] ^ index_mix(r->seed, v[1]));
}

static uint64_t hash_by_id(const void *owner, uint32_t value)
{
	const struct registry *r = owner;

	return hash_id(r, slot(r, value)->id);
}

static uint64_t hash_by_row(const void *owner, uint32_t value)
{
	const struct registry *r = owner;

	return index_mix(r->seed, (uint64_t)slot(r, value)->row);
}

static uint32_t pack_time(int64_t t)
{
	if (t <= REG_EPOCH)
		return 0;
	return t - REG_EPOCH > UINT32_MAX ? UINT32_MAX : (uint32_t)(t - REG_EPOCH);
}

static int64_t unpack_time(uint32_t t)
{
	return t ? (int64_t)t + REG_EPOCH : 0;
}

struct registry *registry_new(uint64_t seed)
{
	struct registry *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->seed = seed;
	index_init(&r->by_id, hash_by_id, r);
	index_init(&r->by_row, hash_by_row, r);
	digests_init(&r->digests, seed);
	return r;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->n_chunks; i++) {
		ota_wipe(r->chunk[i], CHUNK * sizeof(*r->chunk[i]));
		free(r->chunk[i]);
	}
	free(r->chunk);
	boards_release(&r->boards);
	index_release(&r->by_id);
	index_release(&r->by_row);
	digests_release(&r->digests);
	free(r);
}

struct reg_board *registry_board(struct registry *r, uint32_t at)
{
	return at < r->boards.n && r->boards.at[at].row ? &r->boards.at[at] : NULL;
}

uint32_t registry_boards(const struct registry *r)
{
	return r->boards.n;
}

struct reg_board *registry_board_by_row(struct registry *r, int64_t row)
{
	uint32_t at = boards_find(&r->boards, row);

	return at == REG_NONE ? NULL : &r->boards.at[at];
}

enum ota_err registry_put_board(struct registry *r, const struct reg_board *b)
{
	return boards_put(&r->boards, b);
}

void registry_remove_board(struct registry *r, int64_t board_row)
{
	boards_remove(&r->boards, board_row);
}

uint32_t registry_find(const struct registry *r, const uint8_t id[DEVICE_ID_LEN])
{
	size_t at = index_start(&r->by_id, hash_id(r, id));
	uint32_t value;

	while (index_step(&r->by_id, &at, &value)) {
		if (memcmp(slot(r, value)->id, id, DEVICE_ID_LEN) == 0)
			return value;
	}
	return REG_NONE;
}

uint32_t registry_find_row(const struct registry *r, int64_t row)
{
	size_t at = index_start(&r->by_row, index_mix(r->seed, (uint64_t)row));
	uint32_t value;

	while (index_step(&r->by_row, &at, &value)) {
		if (slot(r, value)->row == row)
			return value;
	}
	return REG_NONE;
}

size_t registry_count(const struct registry *r)
{
	return r->count;
}

uint32_t registry_next(const struct registry *r, uint32_t at)
{
	for (; at < r->n; at++) {
		if (slot(r, at)->flags & F_USED)
			return at;
	}
	return REG_NONE;
}

static struct reg_device *device(const struct registry *r, uint32_t at)
{
	assert(at < r->n && (slot(r, at)->flags & F_USED));
	return slot(r, at);
}

static void set_flag(struct reg_device *d, unsigned flag, bool on)
{
	d->flags = (uint16_t)(on ? d->flags | flag : d->flags & ~flag);
}

static void set_dirty(struct registry *r, struct reg_device *d)
{
	if (!(d->flags & F_DIRTY)) {
		set_flag(d, F_DIRTY, true);
		r->dirty++;
	}
}

static void set_clean(struct registry *r, struct reg_device *d)
{
	if (d->flags & F_DIRTY) {
		set_flag(d, F_DIRTY, false);
		r->dirty--;
	}
}

/* Take references for what `d` runs and is assigned, then give back the old ones. */
static enum ota_err set_digests(struct registry *r, struct reg_device *to, const struct plan_device *d)
{
	uint32_t running = 0, task = 0;

	if (d->has_running && digests_take(&r->digests, d->running_digest, &running))
		return OTA_NO_MEMORY;
	if (d->task.exists && digests_take(&r->digests, d->task.digest, &task)) {
		digests_drop(&r->digests, running);
		return OTA_NO_MEMORY;
	}
	digests_drop(&r->digests, to->running);
	digests_drop(&r->digests, to->task);
	to->running = running;
	to->task = task;
	if (task)
		r->digests.row[task].envelope_size = d->task.envelope_size;
	return OTA_OK;
}

static enum ota_err make_room(struct registry *r)
{
	if (index_reserve(&r->by_id) || index_reserve(&r->by_row))
		return OTA_NO_MEMORY;
	if (r->free || r->n < r->n_chunks * CHUNK)
		return OTA_OK;
	if (r->n_chunks == r->cap_chunks) {
		uint32_t cap = r->cap_chunks ? r->cap_chunks * 2 : 16;
		struct reg_device **chunk = realloc(r->chunk, cap * sizeof(struct reg_device *));

		if (!chunk)
			return OTA_NO_MEMORY;
		r->chunk = chunk;
		r->cap_chunks = cap;
	}
	r->chunk[r->n_chunks] = calloc(CHUNK, sizeof(struct reg_device));
	if (!r->chunk[r->n_chunks])
		return OTA_NO_MEMORY;
	r->n_chunks++;
	return OTA_OK;
}

static enum ota_err add(struct registry *r, const struct reg_facts *f, uint32_t *at)
{
	struct reg_device *d;

	if (make_room(r))
		return OTA_NO_MEMORY;
	if (r->free) {
		*at = r->free - 1;
		r->free = slot(r, *at)->seen;
	} else {
		*at = r->n++;
	}
	d = slot(r, *at);
	memset(d, 0, sizeof(*d));
	memcpy(d->id, f->id, DEVICE_ID_LEN);
	d->row = f->row;
	d->flags = F_USED;
	d->board = UINT16_MAX;
	index_add(&r->by_id, *at);
	index_add(&r->by_row, *at);
	r->count++;
	return OTA_OK;
}

static void set_board(struct registry *r, struct reg_device *d, uint32_t board)
{
	if (d->board != UINT16_MAX)
		r->boards.at[d->board].n_devices--;
	d->board = (uint16_t)board;
	r->boards.at[board].n_devices++;
}

/* What the device said last, unless memory has heard something newer than the database. */
static void set_told(struct reg_device *to, const struct reg_facts *f)
{
	const struct plan_device *d = &f->dev;
	uint32_t seen = pack_time(f->seen);

	if (d->heard && (!(to->flags & F_HEARD) || d->counter > to->counter)) {
		to->counter = d->counter;
		memcpy(to->mark, d->mark, PLAN_MARK_LEN);
	}
	if (seen > to->seen)
		to->seen = seen;
	if (!(to->flags & F_HEARD)) {
		to->uptime_s = f->uptime_s;
		to->bytes_done = f->bytes_done;
	}
	set_flag(to, F_HEARD, d->heard || (to->flags & F_HEARD));
	to->root_version = d->root_version;
	to->running_sequence = d->running_sequence;
	to->state = (uint8_t)d->state;
	to->agent_flags = (uint8_t)d->flags;
	memcpy(to->result_mark, d->result_mark, PLAN_MARK_LEN);
}

static void set_task(struct reg_device *to, const struct reg_facts *f)
{
	const struct plan_task *t = &f->dev.task;
	bool same = to->task_row == f->task_row && to->task_attempt == t->attempt;
	/* A ticket has named it, only the grouped write has not come by yet. */
	bool offered = same && (to->flags & F_OFFERED) && t->state == ASSIGN_WAITING;

	if (!same)
		to->bytes_done = f->bytes_done;
	to->task_row = f->task_row;
	to->task_state = (uint8_t)(offered ? ASSIGN_OFFERED : t->state);
	to->task_attempt = t->attempt;
	set_flag(to, F_TASK, t->exists);
	set_flag(to, F_TASK_HOLD, t->hold);
	set_flag(to, F_TASK_NEXT, t->has_next);
	set_flag(to, F_TASK_WITHDRAWN, t->withdrawn);
	set_flag(to, F_OFFERED, offered);
}

enum ota_err registry_put(struct registry *r, const struct reg_facts *f)
{
	uint32_t board = boards_find(&r->boards, f->board_row), at = registry_find(r, f->id);
	struct reg_device *d, was = {0};
	enum ota_err err;

	if (board == REG_NONE)
		return OTA_NOT_FOUND;
	/* The id can come back under a new row (removed, enrolled again). */
	if (at != REG_NONE && slot(r, at)->row != f->row) {
		registry_remove(r, at);
		at = REG_NONE;
	}
	if (at == REG_NONE) {
		err = set_digests(r, &was, &f->dev);
		if (!err)
			err = add(r, f, &at);
		if (err) {
			digests_drop(&r->digests, was.running);
			digests_drop(&r->digests, was.task);
			return err;
		}
		slot(r, at)->running = was.running;
		slot(r, at)->task = was.task;
	} else {
		err = set_digests(r, slot(r, at), &f->dev);
		if (err)
			return err;
	}
	d = slot(r, at);
	set_board(r, d, board);
	/* Another key is another start: its counter begins anew. */
	if (d->enrolment != f->enrolment)
		set_flag(d, F_HEARD, false);
	d->enrolment = f->enrolment;
	memcpy(d->k_dev, f->k_dev, KEY_LEN);
	set_flag(d, F_APPROVED, f->dev.approved);
	set_flag(d, F_HOLD, f->dev.hold);
	set_told(d, f);
	set_task(d, f);
	return OTA_OK;
}

void registry_remove(struct registry *r, uint32_t at)
{
	struct reg_device *d = device(r, at);

	index_remove(&r->by_id, at);
	index_remove(&r->by_row, at);
	digests_drop(&r->digests, d->running);
	digests_drop(&r->digests, d->task);
	r->boards.at[d->board].n_devices--;
	set_clean(r, d);
	ota_wipe(d, sizeof(*d));
	d->seen = r->free;
	r->free = at + 1;
	r->count--;
}

void registry_id(const struct registry *r, uint32_t at, uint8_t id[DEVICE_ID_LEN])
{
	memcpy(id, device(r, at)->id, DEVICE_ID_LEN);
}

const uint8_t *registry_key(const struct registry *r, uint32_t at)
{
	return device(r, at)->k_dev;
}

void registry_view(const struct registry *r, uint32_t at, struct plan_device *out)
{
	const struct reg_device *d = device(r, at);

	memset(out, 0, sizeof(*out));
	out->approved = d->flags & F_APPROVED;
	out->hold = d->flags & F_HOLD;
	out->heard = d->flags & F_HEARD;
	out->counter = d->counter;
	memcpy(out->mark, d->mark, PLAN_MARK_LEN);
	out->root_version = d->root_version;
	out->has_running = d->running;
	out->running_sequence = d->running_sequence;
	if (d->running)
		memcpy(out->running_digest, r->digests.row[d->running].digest, 32);
	out->state = (enum checkin_state)d->state;
	out->flags = d->agent_flags;
	memcpy(out->result_mark, d->result_mark, PLAN_MARK_LEN);
	if (!(d->flags & F_TASK))
		return;
	out->task.exists = true;
	out->task.state = (enum assign_state)d->task_state;
	memcpy(out->task.digest, r->digests.row[d->task].digest, 32);
	out->task.envelope_size = r->digests.row[d->task].envelope_size;
	out->task.attempt = d->task_attempt;
	out->task.hold = d->flags & F_TASK_HOLD;
	out->task.has_next = d->flags & F_TASK_NEXT;
	out->task.withdrawn = d->flags & F_TASK_WITHDRAWN;
}

void registry_live(const struct registry *r, uint32_t at, struct reg_live *out)
{
	const struct reg_device *d = device(r, at);

	*out = (struct reg_live){
		.row = d->row,
		.task_row = d->task_row,
		.seen = unpack_time(d->seen),
		.enrolment = d->enrolment,
		.uptime_s = d->uptime_s,
		.bytes_done = d->bytes_done,
		.board = d->board,
		.presence_known = d->flags & F_PRESENCE,
		.online = d->flags & F_ONLINE,
		.is_busy = d->flags & F_BUSY,
	};
}

enum ota_err registry_checked_in(struct registry *r, uint32_t at, const struct plan_device *d, int64_t now,
	uint32_t uptime_s, uint32_t bytes_done, bool is_stored)
{
	struct reg_device *to = device(r, at);
	enum ota_err err = set_digests(r, to, d);

	if (err)
		return err;
	to->counter = d->counter;
	memcpy(to->mark, d->mark, PLAN_MARK_LEN);
	memcpy(to->result_mark, d->result_mark, PLAN_MARK_LEN);
	to->root_version = d->root_version;
	to->running_sequence = d->running_sequence;
	to->state = (uint8_t)d->state;
	to->agent_flags = (uint8_t)d->flags;
	to->seen = pack_time(now);
	to->uptime_s = uptime_s;
	to->bytes_done = bytes_done;
	set_flag(to, F_HEARD, true);
	set_flag(to, F_ALARMED, false);
	if (!is_stored)
		set_dirty(r, to);
	return OTA_OK;
}

bool registry_alarm(struct registry *r, uint32_t at)
{
	struct reg_device *d = device(r, at);
	bool is_first = !(d->flags & F_ALARMED);

	set_flag(d, F_ALARMED, true);
	return is_first;
}

void registry_offered(struct registry *r, uint32_t at)
{
	struct reg_device *d = device(r, at);

	if (!(d->flags & F_TASK) || d->task_state != ASSIGN_WAITING)
		return;
	d->task_state = ASSIGN_OFFERED;
	set_flag(d, F_OFFERED, true);
	set_dirty(r, d);
}

void registry_set_busy(struct registry *r, uint32_t at, bool is_busy)
{
	set_flag(device(r, at), F_BUSY, is_busy);
}

void registry_set_presence(struct registry *r, uint32_t at, bool online)
{
	set_flag(device(r, at), F_PRESENCE, true);
	set_flag(device(r, at), F_ONLINE, online);
}

size_t registry_dirty(const struct registry *r)
{
	return r->dirty;
}

size_t registry_take_dirty(struct registry *r, struct reg_dirty *out, size_t max)
{
	size_t n = 0;

	/* Round and round from where the last one stopped, so that a busy front starves nobody. */
	for (uint32_t seen = 0; seen < r->n && n < max && r->dirty; seen++) {
		struct reg_device *d;

		if (r->dirty_at >= r->n)
			r->dirty_at = 0;
		d = slot(r, r->dirty_at++);
		if (!(d->flags & F_DIRTY))
			continue;
		out[n++] = (struct reg_dirty){
			.row = d->row,
			.task_row = d->task_row,
			.counter = d->counter,
			.enrolment = d->enrolment,
			.seen = unpack_time(d->seen),
			.uptime_s = d->uptime_s,
			.bytes_done = d->bytes_done,
			.flags = d->agent_flags,
			.offered = d->flags & F_OFFERED,
		};
		memcpy(out[n - 1].mark, d->mark, PLAN_MARK_LEN);
		set_flag(d, F_OFFERED, false);
		set_clean(r, d);
	}
	return n;
}

void registry_give_back(struct registry *r, const struct reg_dirty *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t at = registry_find_row(r, rows[i].row);

		if (at == REG_NONE)
			continue;
		if (rows[i].offered && slot(r, at)->task_row == rows[i].task_row &&
			slot(r, at)->task_state == ASSIGN_OFFERED)
			set_flag(slot(r, at), F_OFFERED, true);
		set_dirty(r, slot(r, at));
	}
}

void registry_envelope_size(struct registry *r, const uint8_t digest[32], uint16_t size)
{
	uint32_t ref = digests_find(&r->digests, digest);

	if (ref)
		r->digests.row[ref].envelope_size = size;
}

size_t registry_bytes(const struct registry *r)
{
	return sizeof(*r) + r->n_chunks * CHUNK * sizeof(struct reg_device) +
	       (r->by_id.cap + r->by_row.cap) * sizeof(uint32_t) + r->digests.cap * sizeof(*r->digests.row) +
	       r->digests.ix.cap * sizeof(uint32_t) + r->boards.cap * sizeof(*r->boards.at);
}
