#include "server/openblob.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "db/blob.h"
#include "proto/hex.h"
#include "server/app.h"
#include "server/log.h"

enum {
	BLOBS_MAX = 64, /* mapped at once, beside those in use */
	BUCKETS = 256,
	MIB = 1024 * 1024,
	PAGE_MIN = 4096, /* no machine of ours has smaller ones */
};

struct blob_table {
	struct app *app;
	struct open_blob *buckets[BUCKETS];
	unsigned n_blobs;
	uint64_t clock;
	uint64_t n_drops;
	bool is_ending; /* the jobs are gone already */
};

enum ota_err blob_table_new(struct app *app, struct blob_table **out, struct errmsg *e)
{
	struct blob_table *t = calloc(1, sizeof *t);

	if (!t)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	t->app = app;
	*out = t;
	return OTA_OK;
}

/* Closing */

static void close_blob(struct open_blob *b)
{
	if (b->map)
		munmap(b->map, (size_t)b->size);
	b->map = NULL;
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}

static void free_blob(struct open_blob *b)
{
	close_blob(b);
	free(b->faulted);
	free(b);
}

static enum ota_err close_run(struct job *job)
{
	close_blob(job->ctx);
	return OTA_OK;
}

static void close_done(struct job *job)
{
	free_blob(job->ctx);
}

/* Nobody has it any more: neither is it being checked. */
static void retire(struct blob_table *t, struct open_blob *b)
{
	if (t->is_ending) {
		free_blob(b);
		return;
	}
	b->job.ctx = b;
	jobs_post(t->app->jobs, JOB_SLOW, &b->job, close_run, close_done);
}

/* The table */

static struct open_blob **find_slot(struct blob_table *t, const uint8_t sha256[static 32])
{
	struct open_blob **p = &t->buckets[sha256[0]];

	while (*p && memcmp((*p)->sha256, sha256, 32) != 0)
		p = &(*p)->next;
	return p;
}

static void unlink_slot(struct blob_table *t, struct open_blob **slot)
{
	struct open_blob *b = *slot;

	*slot = b->next;
	b->next = NULL;
	b->is_dropped = true;
	t->n_blobs--;
	if (b->refs == 0)
		retire(t, b);
}

/* The one that nobody has used for longest; NULL: all are in use. */
static struct open_blob **find_oldest(struct blob_table *t)
{
	struct open_blob **oldest = NULL;

	for (unsigned i = 0; i < BUCKETS; i++) {
		for (struct open_blob **p = &t->buckets[i]; *p; p = &(*p)->next) {
			if ((*p)->refs == 0 && (!oldest || (*p)->used_at < (*oldest)->used_at))
				oldest = p;
		}
	}
	return oldest;
}

/* Below BLOBS_MAX again, as soon as those above it are not in use any more. */
static void make_room(struct blob_table *t)
{
	while (t->n_blobs >= BLOBS_MAX) {
		struct open_blob **oldest = find_oldest(t);

		if (!oldest)
			return;
		unlink_slot(t, oldest);
	}
}

static struct open_blob *reference(struct blob_table *t, struct open_blob *b)
{
	b->used_at = ++t->clock;
	b->refs++;
	return b;
}

struct open_blob *blob_table_get(struct blob_table *t, const uint8_t sha256[static 32])
{
	struct open_blob *b = *find_slot(t, sha256);

	return b ? reference(t, b) : NULL;
}

void open_blob_put(struct open_blob *b)
{
	b->refs--;
	if (b->refs == 0 && b->is_dropped)
		retire(b->table, b);
}

void blob_table_drop(struct blob_table *t, const uint8_t sha256[static 32])
{
	struct open_blob **slot = find_slot(t, sha256);

	t->n_drops++;
	if (*slot)
		unlink_slot(t, slot);
}

uint64_t blob_table_drops(const struct blob_table *t)
{
	return t->n_drops;
}

void blob_table_free(struct blob_table *t)
{
	if (!t)
		return;
	t->is_ending = true;
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (t->buckets[i])
			unlink_slot(t, &t->buckets[i]);
	}
	free(t);
}

/* Opening */

enum ota_err open_blob_new(
	const struct app *app, const uint8_t sha256[static 32], struct open_blob **out, struct errmsg *e)
{
	struct open_blob *b = calloc(1, sizeof *b);
	enum ota_err err;

	if (!b)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	memcpy(b->sha256, sha256, sizeof b->sha256);
	b->fd = -1;
	err = blob_open(app->blobs, sha256, &b->fd, &b->size, e);
	if (err)
		goto out;
	b->faulted = calloc(1, (size_t)(b->size / MIB / 8 + 1));
	if (!b->faulted) {
		err = errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
		goto out;
	}
	if (b->size > 0) {
		void *map = mmap(NULL, (size_t)b->size, PROT_READ, MAP_SHARED, b->fd, 0);

		if (map == MAP_FAILED) {
			err = errmsg_fail_errno(e, errno, "cannot map an image");
			goto out;
		}
		b->map = map;
	}
	*out = b;
	return OTA_OK;
out:
	free_blob(b);
	return err;
}

struct open_blob *blob_table_adopt(struct blob_table *t, struct open_blob *fresh, uint64_t drops)
{
	struct open_blob *there = *find_slot(t, fresh->sha256);

	fresh->table = t;
	if (there) {
		retire(t, fresh);
		return reference(t, there);
	}
	/* It may be what was dropped. Whoever asked gets it, and it is closed after that. */
	if (drops != t->n_drops) {
		fresh->is_dropped = true;
		return reference(t, fresh);
	}
	make_room(t);
	fresh->next = t->buckets[fresh->sha256[0]];
	t->buckets[fresh->sha256[0]] = fresh;
	t->n_blobs++;
	return reference(t, fresh);
}

/* Reading */

bool open_blob_needs_fault(const struct open_blob *b, uint64_t first, uint64_t len, uint64_t *at, size_t *n)
{
	uint64_t mib = first / MIB;
	uint64_t end = first + (len < MIB ? len : MIB);

	if (len == 0)
		return false;
	for (; mib * MIB < end; mib++) {
		if (!(b->faulted[mib / 8] & 1u << mib % 8)) {
			*at = mib * MIB;
			*n = (size_t)(b->size - *at < 2 * MIB ? b->size - *at : 2 * MIB);
			return true;
		}
	}
	return false;
}

void open_blob_note_faulted(struct open_blob *b, uint64_t at, size_t n)
{
	for (uint64_t mib = at / MIB; mib * MIB < at + n; mib++)
		b->faulted[mib / 8] |= (uint8_t)(1u << mib % 8);
}

bool open_blob_is_cached(const struct open_blob *b, uint64_t first, uint64_t len)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), end = first + len;
	unsigned char pages[MIB / PAGE_MIN];

	for (uint64_t at = first & ~(page - 1); at < end; at += MIB) {
		const size_t n = end - at < MIB ? (size_t)(end - at) : MIB;

		if (mincore(b->map + at, n, pages))
			return false;
		for (size_t i = 0; i < (n + page - 1) / page; i++) {
			if (!(pages[i] & 1))
				return false;
		}
	}
	return true;
}

void open_blob_damaged(struct open_blob *b)
{
	struct app *app = b->table->app;
	char hex[65];

	if (b->is_damaged)
		return;
	b->is_damaged = true;
	hex_encode(b->sha256, 32, hex);
	log_error("image %s cannot be read: it is not offered any more", hex);
	if (app->hooks.image_damaged)
		app->hooks.image_damaged(app, b->sha256);
}

static enum ota_err check_run(struct job *job)
{
	const struct open_blob *b = job->ctx;

	return blob_prefault(b->fd, b->map, b->check_first, (size_t)b->check_len, &job->e);
}

static void check_done(struct job *job)
{
	struct open_blob *b = job->ctx;

	b->is_checking = false;
	if (job->err == OTA_IO)
		open_blob_damaged(b);
	open_blob_put(b);
}

void open_blob_check(struct open_blob *b, uint64_t first, uint64_t len)
{
	if (b->is_damaged || b->is_checking) {
		open_blob_put(b);
		return;
	}
	b->is_checking = true;
	b->check_first = first;
	b->check_len = len;
	b->job.ctx = b;
	jobs_post(b->table->app->jobs, JOB_SLOW, &b->job, check_run, check_done);
}
