#include "server/handler.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/json_char.h"
#include "server/app.h"
#include "server/upload.h"

struct req_job {
	struct job job;
	struct req *req;
	req_done_fn done;
};

const char *req_header(const struct req *req, const char *name)
{
	for (unsigned i = 0; i < req->n_headers; i++) {
		if (strcasecmp(req->headers[i].name, name) == 0)
			return req->headers[i].value;
	}
	return NULL;
}

const char *req_query(const struct req *req, const char *name)
{
	for (unsigned i = 0; i < req->n_query; i++) {
		if (strcmp(req->query[i].name, name) == 0)
			return req->query[i].value;
	}
	return NULL;
}

enum h_result res_body(
	struct res *res, unsigned status, const char *content_type, const void *body, size_t len)
{
	res->status = status;
	res->content_type = content_type;
	res->body = body;
	res->body_len = len;
	return H_DONE;
}

enum h_result res_empty(struct res *res, unsigned status)
{
	return res_body(res, status, NULL, "", 0);
}

bool res_header(struct res *res, const char *name, const char *value)
{
	if (res->n_headers == RES_HEADERS_MAX || !value)
		return false;
	res->headers[res->n_headers].name = name;
	res->headers[res->n_headers].value = value;
	res->n_headers++;
	return true;
}

static const char *status_title(unsigned status)
{
	static const struct {
		unsigned status;
		const char *title;
	} titles[] = {
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{415, "Unsupported Media Type"},
		{416, "Range Not Satisfiable"},
		{422, "Unprocessable Content"},
		{428, "Precondition Required"},
		{429, "Too Many Requests"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{503, "Service Unavailable"},
		{507, "Insufficient Storage"},
	};

	for (unsigned i = 0; i < sizeof titles / sizeof titles[0]; i++) {
		if (titles[i].status == status)
			return titles[i].title;
	}
	return "Error";
}

/* `text` as the inside of a JSON string: a problem document must always be readable. */
static char *json_escape(struct arena *mem, const char *text)
{
	const size_t len = strlen(text);
	char *out = arena_alloc(mem, len * JSON_CHAR_MAX + 1);
	size_t used = 0;

	if (!out)
		return NULL;
	for (size_t i = 0, taken; i < len; i += taken) {
		char piece[JSON_CHAR_MAX];
		size_t n = json_char(text + i, len - i, piece, &taken);

		memcpy(out + used, piece, n);
		used += n;
	}
	out[used] = '\0';
	return out;
}

static enum h_result problem(struct req *req, unsigned status, const char *code, const char *detail)
{
	static const char no_memory[] =
		"{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
		"\"code\":\"no-memory\",\"detail\":\"out of memory\"}";
	struct res *res = req->res;
	char *escaped = json_escape(req->mem, detail);
	char *body = NULL;

	if (escaped)
		body = arena_printf(req->mem,
			"{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%u,\"code\":\"%s\",\"detail\":"
			"\"%s\"}",
			status_title(status), status, code, escaped);
	if (!body)
		return res_body(res, 503, "application/problem+json", no_memory, sizeof no_memory - 1);
	return res_body(res, status, "application/problem+json", body, strlen(body));
}

enum h_result res_problem(struct req *req, unsigned status, const char *code, const char *fmt, ...)
{
	va_list ap;
	char *detail;

	va_start(ap, fmt);
	detail = arena_vprintf(req->mem, fmt, ap);
	va_end(ap);
	return problem(req, status, code, detail ? detail : "");
}

struct err_status {
	enum ota_err err;
	unsigned status;
	const char *code;
};

/* What a caller of the API can act on; the rest is 422 for a refused value and 500 for our own trouble. */
static const struct err_status err_statuses[] = {
	{OTA_NOT_FOUND, 404, "not-found"},
	{OTA_EXISTS, 409, "exists"},
	{OTA_CONFLICT, 412, "changed-meanwhile"},
	{OTA_STATE, 409, "wrong-state"},
	{OTA_DENIED, 403, "not-allowed"},
	{OTA_INVALID, 422, "invalid"},
	{OTA_TOO_LARGE, 413, "too-large"},
	{OTA_LIMIT, 429, "limit"},
	{OTA_NO_SPACE, 507, "no-space"},
	{OTA_NO_MEMORY, 503, "no-memory"},
	{OTA_BUSY, 503, "busy"},
	{OTA_UNAVAILABLE, 503, "unavailable"},
	{OTA_NO_ROOT, 503, "no-root"},
	{OTA_CORRUPT, 500, "damaged"},
	{OTA_IO, 500, "io"},
	{OTA_TIMEOUT, 503, "timeout"},
	{OTA_TRUNCATED, 400, "truncated"},
	{OTA_UNSUPPORTED, 422, "unsupported"},
	{OTA_DIGEST, 422, "wrong-digest"},
	{OTA_SIZE, 422, "wrong-size"},
	{OTA_CHECKSUM, 422, "wrong-checksum"},
	{OTA_IMAGE_FORMAT, 422, "image-format"},
};

static struct err_status status_row(enum ota_err err)
{
	for (unsigned i = 0; i < sizeof err_statuses / sizeof err_statuses[0]; i++) {
		if (err_statuses[i].err == err)
			return err_statuses[i];
	}
	/* Reasons 1 to 10 are refusals of what the caller sent. */
	if (ota_err_reason(err) <= 10)
		return (struct err_status){err, 422, "refused"};
	return (struct err_status){err, 500, "internal"};
}

unsigned res_status_of(enum ota_err err)
{
	return status_row(err).status;
}

enum h_result res_error(struct req *req, enum ota_err err, const struct errmsg *e)
{
	struct err_status row = status_row(err);

	if (row.status == 503 || row.status == 429)
		res_header(req->res, "Retry-After", row.status == 429 ? "60" : "5");
	return problem(req, row.status, row.code, e && e->text[0] ? e->text : ota_err_text(err));
}

static void req_job_finished(struct job *job)
{
	struct req_job *rj = job->owner;
	struct req *req = rj->req;

	/* A continuation that took the upload waits for its bytes: the connection goes on for them. */
	if (rj->done(req, req->res, job) == H_DONE || upload_is_open(req))
		req->resume(req);
}

enum h_result req_job_again(
	struct req *req, enum job_lane lane, struct job *job, job_fn fn, void *ctx, req_done_fn done)
{
	struct req_job *rj = job->owner;
	struct jobs *jobs = req->app->jobs;

	rj->done = done;
	job->ctx = ctx;
	job->e = (struct errmsg){""};
	if (jobs_is_inline(jobs)) {
		jobs_post(jobs, lane, job, fn, NULL);
		return done(req, req->res, job);
	}
	jobs_post(jobs, lane, job, fn, req_job_finished);
	return H_WAIT;
}

enum h_result req_job(struct req *req, enum job_lane lane, job_fn fn, void *ctx, req_done_fn done)
{
	struct jobs *jobs = req->app->jobs;
	struct req_job *rj = arena_alloc(req->mem, sizeof *rj);

	if (!rj)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (!req->is_begun && jobs_in_lane(jobs, lane) >= JOB_LANE_MAX)
		return res_error(req, OTA_BUSY, NULL);
	req->is_begun = true;
	rj->req = req;
	rj->job.owner = rj;
	rj->job.mem = req->mem;
	return req_job_again(req, lane, &rj->job, fn, ctx, done);
}
