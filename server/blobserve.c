#include "server/blobserve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "db/blob.h"
#include "proto/hex.h"
#include "server/app.h"
#include "server/blob_reply.h"
#include "server/log.h"
#include "server/range.h"

enum {
	BLOBS_MAX = 64, /* mapped at once, beside those in use */
	BUCKETS = 256,
	MIB = 1024 * 1024,
	PIECE_TEXT_MAX = 256,
	JOB_MEM_MAX = 16 * 1024,
};

/* One open blob. Loop thread, but for what a job is given of it. */
struct blob {
	struct blobserve *owner;
	uint8_t sha256[32];
	uint64_t size;
	int fd;
	uint8_t *map;     /* NULL for an empty blob */
	uint8_t *faulted; /* a bit per MiB that a worker has populated */
	unsigned refs;
	uint64_t used_at; /* for the oldest one to go first */
	bool is_damaged;
	bool is_checking; /* a worker reads it, because a download of it broke off */
	bool is_dropped;  /* out of the table; freed with its last reference */
	struct blob *next;
};

struct blobserve {
	struct app *app;
	struct blob *table[BUCKETS];
	unsigned n_blobs;
	uint64_t clock;
	bool is_draining; /* downloads are cut by ourselves */
	bool is_ending;   /* the jobs are gone already */
};

/* What a request carries through its jobs. */
struct serve {
	struct blobserve *owner;
	struct blob *blob;
	uint8_t sha256[32];
	struct range_span spans[RANGE_MAX];
	unsigned n_spans; /* 0: all of it */
	/* The open job's result. */
	int fd;
	uint64_t size;
	uint8_t *map;
	/* The prefault job's input. */
	uint64_t fault_first;
	size_t fault_len;
	struct blob_reply reply;
};

static uint8_t *no_map(void)
{
	static uint8_t nothing[1];

	return nothing;
}

enum ota_err blobserve_new(struct app *app, struct blobserve **out, struct errmsg *e)
{
	struct blobserve *bs = calloc(1, sizeof *bs);

	if (!bs)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	bs->app = app;
	*out = bs;
	return OTA_OK;
}

static void blob_free(struct blob *b)
{
	if (b->map)
		munmap(b->map, (size_t)b->size);
	close(b->fd);
	free(b->faulted);
	free(b);
}

static enum ota_err free_job(struct job *job)
{
	blob_free(*(struct blob **)job->ctx);
	return OTA_OK;
}

/* The last descriptor of a removed file is what really removes it, so a worker closes it. */
static void blob_retire(struct blob *b)
{
	struct job *job = b->owner->is_ending ? NULL : job_new(JOB_MEM_MAX);
	struct blob **ctx = job ? arena_alloc(job->mem, sizeof(struct blob *)) : NULL;

	if (!ctx) {
		job_drop(job);
		blob_free(b);
		return;
	}
	*ctx = b;
	job->ctx = ctx;
	jobs_post(b->owner->app->jobs, JOB_SLOW, job, free_job, NULL);
}

static struct blob **find_slot(struct blobserve *bs, const uint8_t sha256[32])
{
	struct blob **p = &bs->table[sha256[0]];

	while (*p && memcmp((*p)->sha256, sha256, 32) != 0)
		p = &(*p)->next;
	return p;
}

static void unlink_slot(struct blobserve *bs, struct blob **slot)
{
	struct blob *b = *slot;

	*slot = b->next;
	b->next = NULL;
	b->is_dropped = true;
	bs->n_blobs--;
	if (b->refs == 0)
		blob_retire(b);
}

static void blob_put(struct blob *b)
{
	b->refs--;
	if (b->refs == 0 && b->is_dropped)
		blob_retire(b);
}

/* Above BLOBS_MAX the one that nobody has used for longest goes. */
static void make_room(struct blobserve *bs)
{
	struct blob **oldest = NULL;

	if (bs->n_blobs < BLOBS_MAX)
		return;
	for (unsigned i = 0; i < BUCKETS; i++) {
		for (struct blob **p = &bs->table[i]; *p; p = &(*p)->next) {
			if ((*p)->refs == 0 && (!oldest || (*p)->used_at < (*oldest)->used_at))
				oldest = p;
		}
	}
	if (oldest)
		unlink_slot(bs, oldest);
}

void blobserve_drop(struct blobserve *bs, const uint8_t sha256[32])
{
	struct blob **slot = bs ? find_slot(bs, sha256) : NULL;

	if (slot && *slot)
		unlink_slot(bs, slot);
}

void blobserve_drain(struct blobserve *bs)
{
	bs->is_draining = true;
}

void blobserve_free(struct blobserve *bs)
{
	if (!bs)
		return;
	bs->is_ending = true;
	for (unsigned i = 0; i < BUCKETS; i++) {
		while (bs->table[i])
			unlink_slot(bs, &bs->table[i]);
	}
	free(bs);
}

static void mark_damaged(struct blob *b)
{
	struct app *app = b->owner->app;
	char hex[65];

	if (b->is_damaged)
		return;
	b->is_damaged = true;
	hex_encode(b->sha256, 32, hex);
	log_error("image %s cannot be read: it is not offered any more", hex);
	if (app->hooks.image_damaged)
		app->hooks.image_damaged(app, b->sha256);
}

/* Which part of the blob must be in memory before the answer begins: the first MiB that it touches. */
static bool needs_fault(const struct blob *b, uint64_t first, uint64_t len, uint64_t *at, size_t *n)
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

static void note_faulted(struct blob *b, uint64_t at, size_t n)
{
	for (uint64_t mib = at / MIB; mib * MIB < at + n; mib++)
		b->faulted[mib / 8] |= (uint8_t)(1u << mib % 8);
}

/* Jobs. */

static enum ota_err open_job(struct job *job)
{
	struct serve *sv = job->ctx;
	enum ota_err err = blob_open(sv->owner->app->blobs, sv->sha256, &sv->fd, &sv->size, &job->e);

	if (err)
		return err;
	sv->map = NULL;
	if (sv->size > 0) {
		sv->map = mmap(NULL, (size_t)sv->size, PROT_READ, MAP_SHARED, sv->fd, 0);
		if (sv->map == MAP_FAILED) {
			int saved = errno;

			close(sv->fd);
			return errmsg_fail_errno(&job->e, saved, "cannot map an image");
		}
	}
	return OTA_OK;
}

static enum ota_err fault_job(struct job *job)
{
	struct serve *sv = job->ctx;
	const struct blob *b = sv->blob;
	enum ota_err err = blob_prefault(b->fd, b->map, sv->fault_first, sv->fault_len, &job->e);

	/* The rest is asked for and not waited for. */
	if (!err)
		posix_fadvise(b->fd, (off_t)sv->fault_first, 0, POSIX_FADV_WILLNEED);
	return err;
}

/* Answers. */

static enum h_result answer_not_found(struct req *req)
{
	return res_problem(req, 404, "not-found", "no such image");
}

static enum h_result answer_damaged(struct req *req)
{
	res_header(req->res, "Retry-After", "300");
	return res_problem(req, 503, "damaged", "this image cannot be read at present");
}

struct check {
	struct blob *blob;
	uint64_t first, len;
};

static enum ota_err check_job(struct job *job)
{
	const struct check *c = job->ctx;

	return blob_prefault(c->blob->fd, c->blob->map, c->first, (size_t)c->len, &job->e);
}

static void check_done(struct job *job)
{
	struct check *c = job->ctx;

	c->blob->is_checking = false;
	if (job->err == OTA_IO)
		mark_damaged(c->blob);
	blob_put(c->blob);
}

/* A download ended early. Mostly the client went away; but a read error closes the connection too, so a
 * worker reads what was to be sent. `ref` is passed on. */
static void check_blob(struct blob *b, uint64_t first, uint64_t len)
{
	bool is_wanted = !b->is_damaged && !b->is_checking && !b->owner->is_draining;
	struct job *job = is_wanted ? job_new(JOB_MEM_MAX) : NULL;
	struct check *c = job ? arena_alloc(job->mem, sizeof *c) : NULL;

	if (!c) {
		job_drop(job);
		blob_put(b);
		return;
	}
	b->is_checking = true;
	c->blob = b;
	c->first = first;
	c->len = len;
	job->ctx = c;
	jobs_post(b->owner->app->jobs, JOB_SLOW, job, check_job, check_done);
}

static void release(struct blob_reply *reply, bool is_whole)
{
	struct serve *sv = reply->ctx;
	struct blob *b = sv->blob;

	sv->blob = NULL;
	if (is_whole || b->size == 0) {
		blob_put(b);
		return;
	}
	if (sv->n_spans == 1)
		check_blob(b, sv->spans[0].first, sv->spans[0].len);
	else
		check_blob(b, 0, b->size);
}

static void add_validators(struct req *req, const char *etag)
{
	res_header(req->res, "ETag", etag);
	res_header(req->res, "Accept-Ranges", "bytes");
	res_header(req->res, "Cache-Control",
		req->app->cfg->public_images ? "public, max-age=31536000, immutable"
					     : "private, max-age=31536000, immutable");
}

static enum h_result no_memory(struct req *req, struct serve *sv)
{
	blob_put(sv->blob);
	return res_error(req, OTA_NO_MEMORY, NULL);
}

/* The parts of multipart/byteranges (RFC 9110 14.6) with their heads. */
static enum h_result answer_multipart(struct req *req, struct serve *sv)
{
	unsigned n = 2 * sv->n_spans + 1;
	struct blob_piece *pieces = arena_array(req->mem, n, sizeof *pieces);
	char boundary[41];
	const char *type;

	if (!pieces)
		return no_memory(req, sv);
	/* The digest is no secret and is not in the image's own bytes by accident. */
	hex_encode(sv->blob->sha256, 20, boundary);
	type = arena_printf(req->mem, "multipart/byteranges; boundary=%s", boundary);
	for (unsigned i = 0; i < sv->n_spans; i++) {
		struct blob_piece *head = &pieces[2 * i], *body = head + 1;

		head->text = arena_printf(req->mem,
			"\r\n--%s\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes "
			"%llu-%llu/%llu\r\n\r\n",
			boundary, (unsigned long long)sv->spans[i].first,
			(unsigned long long)(sv->spans[i].first + sv->spans[i].len - 1),
			(unsigned long long)sv->blob->size);
		if (!head->text)
			return no_memory(req, sv);
		head->len = strlen(head->text);
		body->first = sv->spans[i].first;
		body->len = sv->spans[i].len;
		sv->reply.total += head->len + body->len;
	}
	pieces[n - 1].text = arena_printf(req->mem, "\r\n--%s--\r\n", boundary);
	if (!type || !pieces[n - 1].text)
		return no_memory(req, sv);
	pieces[n - 1].len = strlen(pieces[n - 1].text);
	sv->reply.total += pieces[n - 1].len;
	sv->reply.pieces = pieces;
	sv->reply.n_pieces = n;
	req->res->status = 206;
	req->res->content_type = type;
	return H_DONE;
}

static enum h_result answer_single(struct req *req, struct serve *sv, unsigned status)
{
	struct blob_piece *piece = arena_alloc(req->mem, sizeof *piece);

	if (!piece)
		return no_memory(req, sv);
	piece->len = sv->blob->size;
	if (sv->n_spans == 1) {
		const char *range = arena_printf(req->mem, "bytes %llu-%llu/%llu",
			(unsigned long long)sv->spans[0].first,
			(unsigned long long)(sv->spans[0].first + sv->spans[0].len - 1),
			(unsigned long long)sv->blob->size);

		piece->first = sv->spans[0].first;
		piece->len = sv->spans[0].len;
		if (!range)
			return no_memory(req, sv);
		res_header(req->res, "Content-Range", range);
	}
	sv->reply.pieces = piece;
	sv->reply.n_pieces = 1;
	sv->reply.total = piece->len;
	req->res->status = status;
	req->res->content_type = "application/octet-stream";
	return H_DONE;
}

static enum h_result answer(struct req *req, struct serve *sv, unsigned status)
{
	struct blob *b = sv->blob;
	enum h_result result;

	sv->reply.base = b->map ? b->map : no_map();
	sv->reply.fd = b->fd;
	sv->reply.release = release;
	sv->reply.ctx = sv;
	result = sv->n_spans > 1 ? answer_multipart(req, sv) : answer_single(req, sv, status);
	if (req->res->status < 400)
		req->res->blob = &sv->reply;
	return result;
}

static enum h_result answer_faulted(struct req *req, struct serve *sv);

static enum h_result fault_done(struct req *req, struct res *res, struct job *job)
{
	struct serve *sv = job->ctx;

	(void)res;
	if (job->err) {
		struct blob *b = sv->blob;

		if (job->err == OTA_IO)
			mark_damaged(b);
		blob_put(b);
		return job->err == OTA_IO ? answer_damaged(req) : res_error(req, job->err, &job->e);
	}
	note_faulted(sv->blob, sv->fault_first, sv->fault_len);
	return answer_faulted(req, sv);
}

/* Populate the first MiB of each part, one job after the other, then answer. */
static enum h_result answer_faulted(struct req *req, struct serve *sv)
{
	struct range_span all = {.first = 0, .len = sv->blob->size};
	unsigned status = sv->n_spans > 0 ? 206 : 200;

	if (sv->blob->is_damaged) {
		blob_put(sv->blob);
		return answer_damaged(req);
	}
	if (req->method == HTTP_HEAD)
		return answer(req, sv, status);
	for (unsigned i = 0; i < (sv->n_spans ? sv->n_spans : 1); i++) {
		const struct range_span *span = sv->n_spans ? &sv->spans[i] : &all;

		if (needs_fault(sv->blob, span->first, span->len, &sv->fault_first, &sv->fault_len))
			return req_job(req, JOB_READ, fault_job, sv, fault_done);
	}
	return answer(req, sv, status);
}

/* The blob is open: conditions and ranges decide. The reference is the request's. */
static enum h_result serve_blob(struct req *req, struct serve *sv)
{
	struct blob *b = sv->blob;
	const char *if_range = req_header(req, "If-Range");
	char *etag = arena_alloc(req->mem, 67);

	if (!etag)
		return no_memory(req, sv);
	etag[0] = '"';
	hex_encode(b->sha256, 32, etag + 1);
	etag[65] = '"';
	switch (range_conditions(req_header(req, "If-Match"), req_header(req, "If-None-Match"), etag)) {
	case RANGE_FAILED:
		blob_put(b);
		return res_problem(req, 412, "precondition", "the image has another entity tag");
	case RANGE_NOT_MODIFIED:
		add_validators(req, etag);
		return answer(req, sv, 304);
	case RANGE_GO:
		break;
	}
	add_validators(req, etag);
	if (range_if_range(if_range, etag)) {
		switch (range_parse(req_header(req, "Range"), b->size, sv->spans, &sv->n_spans)) {
		case RANGE_WHOLE:
		case RANGE_PART:
			break;
		case RANGE_UNSATISFIABLE:
			res_header(req->res, "Content-Range",
				arena_printf(req->mem, "bytes */%llu", (unsigned long long)b->size));
			blob_put(b);
			return res_problem(
				req, 416, "range", "the image has %llu bytes", (unsigned long long)b->size);
		}
	}
	return answer_faulted(req, sv);
}

/* Put the freshly opened blob into the table, or use the one that another request put there meanwhile. */
static struct blob *adopt(struct blobserve *bs, struct serve *sv)
{
	struct blob **slot = find_slot(bs, sv->sha256);
	struct blob *b = *slot;

	if (!b) {
		uint64_t bits = sv->size / MIB + 1;

		b = calloc(1, sizeof *b);
		if (b)
			b->faulted = calloc(1, bits / 8 + 1);
		if (!b || !b->faulted) {
			free(b);
			return NULL;
		}
		make_room(bs);
		b->owner = bs;
		memcpy(b->sha256, sv->sha256, 32);
		b->size = sv->size;
		b->fd = sv->fd;
		b->map = sv->map;
		b->next = bs->table[b->sha256[0]];
		bs->table[b->sha256[0]] = b;
		bs->n_blobs++;
		sv->fd = -1;
	}
	b->used_at = ++bs->clock;
	b->refs++;
	return b;
}

static enum h_result open_done(struct req *req, struct res *res, struct job *job)
{
	struct serve *sv = job->ctx;

	(void)res;
	if (job->err == OTA_NOT_FOUND)
		return answer_not_found(req);
	if (job->err)
		return res_error(req, job->err, &job->e);
	sv->blob = adopt(sv->owner, sv);
	if (sv->fd >= 0) {
		if (sv->map)
			munmap(sv->map, (size_t)sv->size);
		close(sv->fd);
	}
	if (!sv->blob)
		return res_error(req, OTA_NO_MEMORY, NULL);
	return serve_blob(req, sv);
}

enum h_result blobserve_get(struct req *req, struct res *res)
{
	struct blobserve *bs = req->app->blobserve;
	struct serve *sv = arena_alloc(req->mem, sizeof *sv);
	struct blob *b;

	(void)res;
	if (!sv)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (hex_decode(req->cap.value[0], strlen(req->cap.value[0]), HEX_LOWER, sv->sha256, 32) != OTA_OK)
		return answer_not_found(req);
	sv->owner = bs;
	sv->fd = -1;
	b = *find_slot(bs, sv->sha256);
	if (!b)
		return req_job(req, JOB_READ, open_job, sv, open_done);
	b->used_at = ++bs->clock;
	b->refs++;
	sv->blob = b;
	return serve_blob(req, sv);
}
