#include "server/blobserve.h"

#include <fcntl.h>
#include <string.h>

#include "db/blob.h"
#include "proto/hex.h"
#include "server/app.h"
#include "server/blob_reply.h"
#include "server/openblob.h"
#include "server/range.h"

/* Read again on either side of where a download stopped: more than the header that was sent before the body
 * and is counted with it, and than the kernel leaves out at a fault. */
enum { CHECK_LEN = 128 * 1024 };

/* What a request carries through its jobs. */
struct serve {
	const struct app *app;
	struct open_blob *blob; /* what open_run opened; then a reference */
	uint64_t drops;         /* of the table, before that */
	uint8_t sha256[32];
	struct range_span spans[RANGE_MAX];
	unsigned n_spans; /* 0: all of it */
	/* The prefault job's input. */
	uint64_t fault_first;
	size_t fault_len;
	bool is_faulting; /* and is under way */
	struct blob_reply reply;
};

static uint8_t *no_map(void)
{
	static uint8_t nothing[1];

	return nothing;
}

/* Jobs. */

static enum ota_err open_run(struct job *job)
{
	struct serve *sv = job->ctx;

	return open_blob_new(sv->app, sv->sha256, &sv->blob, &job->e);
}

static enum ota_err fault_run(struct job *job)
{
	struct serve *sv = job->ctx;
	const struct open_blob *b = sv->blob;
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

/* Where in the blob the body was after `stop` bytes. */
static uint64_t place_of(const struct blob_reply *reply, uint64_t stop)
{
	uint64_t at = 0;

	for (unsigned i = 0; i < reply->n_pieces; i++) {
		const struct blob_piece *piece = &reply->pieces[i];

		if (!piece->text)
			at = piece->first + (stop < piece->len ? stop : piece->len);
		if (stop < piece->len)
			break;
		stop -= piece->len;
	}
	return at;
}

/* A download that broke off is mostly a client that went away; but bytes that cannot be read look the same,
 * so a job reads what is around the place where it stopped. No more than that: whoever asks for an image and
 * hangs up must not make the disk read all of it. */
static void release(struct blob_reply *reply, enum blob_end end, uint64_t stop)
{
	struct serve *sv = reply->ctx;
	struct open_blob *b = sv->blob;
	uint64_t at, first;

	sv->blob = NULL;
	switch (b->size > 0 ? end : BLOB_LEFT) {
	case BLOB_WHOLE:
	case BLOB_LEFT:
		open_blob_put(b);
		return;
	case BLOB_STOPPED:
		at = place_of(reply, stop);
		first = at > CHECK_LEN ? at - CHECK_LEN : 0;
		open_blob_check(b, first, b->size - first < 2 * CHECK_LEN ? b->size - first : 2 * CHECK_LEN);
		return;
	case BLOB_BROKEN:
		open_blob_check(b, 0, b->size);
		return;
	}
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
	open_blob_put(sv->blob);
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

static bool is_cached(const struct serve *sv)
{
	if (sv->reply.total > OPEN_BLOB_ASK_MAX)
		return false;
	for (unsigned i = 0; i < sv->reply.n_pieces; i++) {
		const struct blob_piece *piece = &sv->reply.pieces[i];

		if (!piece->text && !open_blob_is_cached(sv->blob, piece->first, piece->len))
			return false;
	}
	return true;
}

static enum h_result answer(struct req *req, struct serve *sv, unsigned status)
{
	struct open_blob *b = sv->blob;
	enum h_result result;

	sv->reply.base = b->map ? b->map : no_map();
	sv->reply.fd = b->fd;
	sv->reply.release = release;
	sv->reply.ctx = sv;
	result = sv->n_spans > 1 ? answer_multipart(req, sv) : answer_single(req, sv, status);
	if (req->res->status >= 400)
		return result;
	sv->reply.is_cold = req->door != DOOR_HTTPS && req->method != HTTP_HEAD && !is_cached(sv);
	req->res->blob = &sv->reply;
	return result;
}

static enum h_result answer_faulted(struct req *req, struct serve *sv);

static enum h_result fault_done(struct req *req, struct res *res, struct job *job)
{
	struct serve *sv = job->ctx;

	(void)res;
	sv->is_faulting = false;
	if (job->err) {
		struct open_blob *b = sv->blob;

		if (job->err == OTA_IO)
			open_blob_damaged(b);
		open_blob_put(b);
		return job->err == OTA_IO ? answer_damaged(req) : res_error(req, job->err, &job->e);
	}
	open_blob_note_faulted(sv->blob, sv->fault_first, sv->fault_len);
	return answer_faulted(req, sv);
}

/* The reference is the job's until it is done; a job that was refused is none. */
static enum h_result fault(struct req *req, struct serve *sv)
{
	enum h_result result;

	sv->is_faulting = true;
	result = req_job(req, JOB_READ, fault_run, sv, fault_done);
	if (result == H_DONE && sv->is_faulting)
		open_blob_put(sv->blob);
	return result;
}

/* Populate the first MiB of each part, one job after the other, then answer. */
static enum h_result answer_faulted(struct req *req, struct serve *sv)
{
	struct range_span all = {.first = 0, .len = sv->blob->size};
	unsigned status = sv->n_spans > 0 ? 206 : 200;

	if (sv->blob->is_damaged) {
		open_blob_put(sv->blob);
		return answer_damaged(req);
	}
	if (req->method == HTTP_HEAD)
		return answer(req, sv, status);
	for (unsigned i = 0; i < (sv->n_spans ? sv->n_spans : 1); i++) {
		const struct range_span *span = sv->n_spans ? &sv->spans[i] : &all;

		if (open_blob_needs_fault(sv->blob, span->first, span->len, &sv->fault_first, &sv->fault_len))
			return fault(req, sv);
	}
	return answer(req, sv, status);
}

/* The blob is open: conditions and ranges decide. The reference is the request's. */
static enum h_result serve_blob(struct req *req, struct serve *sv)
{
	struct open_blob *b = sv->blob;
	const char *if_range = req_header(req, "If-Range");
	char *etag = arena_alloc(req->mem, 67);

	if (!etag)
		return no_memory(req, sv);
	etag[0] = '"';
	hex_encode(b->sha256, 32, etag + 1);
	etag[65] = '"';
	switch (range_conditions(req_header(req, "If-Match"), req_header(req, "If-None-Match"), etag)) {
	case RANGE_FAILED:
		open_blob_put(b);
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
			open_blob_put(b);
			return res_problem(
				req, 416, "range", "the image has %llu bytes", (unsigned long long)b->size);
		}
	}
	return answer_faulted(req, sv);
}

static enum h_result open_done(struct req *req, struct res *res, struct job *job)
{
	struct serve *sv = job->ctx;

	(void)res;
	if (job->err == OTA_NOT_FOUND)
		return answer_not_found(req);
	if (job->err)
		return res_error(req, job->err, &job->e);
	sv->blob = blob_table_adopt(req->app->blobs_open, sv->blob, sv->drops);
	return serve_blob(req, sv);
}

enum h_result blobserve_get(struct req *req, struct res *res)
{
	struct serve *sv = arena_alloc(req->mem, sizeof *sv);

	(void)res;
	if (!sv)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (hex_decode(req->cap.value[0], strlen(req->cap.value[0]), HEX_LOWER, sv->sha256, 32) != OTA_OK)
		return answer_not_found(req);
	sv->app = req->app;
	sv->drops = blob_table_drops(req->app->blobs_open);
	sv->blob = blob_table_get(req->app->blobs_open, sv->sha256);
	return sv->blob ? serve_blob(req, sv) : req_job(req, JOB_READ, open_run, sv, open_done);
}
