#include "server/upload.h"

#include <stdlib.h>
#include <string.h>

#include "server/app.h"

struct upload {
	struct req *req;
	struct upload_sink sink;
	route_fn end;
	uint8_t *buffer[2];
	size_t fill;      /* bytes in buffer[filling] */
	unsigned filling; /* the buffer the loop fills; the other one is the worker's while is_writing */
	size_t write_len;
	bool is_writing;
	bool is_stalled; /* the connection waits for a buffer */
	bool is_closed;  /* upload_end was called */
	struct job job;
};

static enum h_result start_writing(struct upload *up);

static enum ota_err write_job(struct job *job)
{
	struct upload *up = job->ctx;

	return up->sink.write(up->sink.ctx, up->buffer[up->filling ^ 1], up->write_len, &job->e);
}

static void note_written(struct upload *up)
{
	up->is_writing = false;
	if (up->job.err && !up->req->upload_err) {
		up->req->upload_err = up->job.err;
		up->req->upload_e = up->job.e;
	}
	if (up->req->upload_err && up->req->upload_err != OTA_TRUNCATED)
		up->fill = 0;
}

static void write_done(struct job *job)
{
	struct upload *up = job->ctx;
	struct req *req = up->req;

	note_written(up);
	if (up->fill == UPLOAD_BUFFER_LEN || (up->is_closed && up->fill > 0)) {
		(void)start_writing(up);
	} else if (up->is_closed) {
		if (up->end(req, req->res) == H_DONE)
			req->resume(req);
		return;
	}
	if (up->is_stalled) {
		up->is_stalled = false;
		req->resume(req);
	}
}

/* Give the filled buffer to a worker. */
static enum h_result start_writing(struct upload *up)
{
	struct jobs *jobs = up->req->app->jobs;

	up->filling ^= 1;
	up->write_len = up->fill;
	up->fill = 0;
	up->is_writing = true;
	memset(&up->job, 0, sizeof up->job);
	up->job.ctx = up;
	/* A pointer that is not the job's own arena: the job is not freed by its queue. */
	up->job.mem = up->req->mem;
	if (jobs_is_inline(jobs)) {
		jobs_post(jobs, JOB_SLOW, &up->job, write_job, NULL);
		note_written(up);
		return H_DONE;
	}
	jobs_post(jobs, JOB_SLOW, &up->job, write_job, write_done);
	return H_WAIT;
}

enum h_result req_upload(struct req *req, const struct upload_sink *sink, route_fn end)
{
	struct upload *up = calloc(1, sizeof *up);

	if (up) {
		up->buffer[0] = malloc(UPLOAD_BUFFER_LEN);
		up->buffer[1] = malloc(UPLOAD_BUFFER_LEN);
	}
	if (!up || !up->buffer[0] || !up->buffer[1]) {
		upload_free(up);
		req->upload_err = OTA_NO_MEMORY;
		return end(req, req->res);
	}
	up->req = req;
	up->sink = *sink;
	up->end = end;
	req->upload = up;
	return H_WAIT;
}

size_t upload_feed(struct req *req, const uint8_t *bytes, size_t len)
{
	struct upload *up = req->upload;
	size_t taken = 0;

	while (taken < len) {
		size_t n = UPLOAD_BUFFER_LEN - up->fill;

		if (req->upload_err)
			return len;
		if (n == 0) {
			if (up->is_writing) {
				up->is_stalled = true;
				break;
			}
			(void)start_writing(up);
			continue;
		}
		if (n > len - taken)
			n = len - taken;
		memcpy(up->buffer[up->filling] + up->fill, bytes + taken, n);
		up->fill += n;
		taken += n;
		req->upload_len += n;
	}
	if (up->fill == UPLOAD_BUFFER_LEN && !up->is_writing)
		(void)start_writing(up);
	return taken;
}

enum h_result upload_end(struct req *req, enum ota_err why)
{
	struct upload *up = req->upload;

	up->is_closed = true;
	up->is_stalled = false;
	if (why && !req->upload_err) {
		req->upload_err = why;
		errmsg_set(&req->upload_e, "the body ended early");
	}
	/* What came before the client went away is still written: a resumed upload starts behind it. */
	if (up->is_writing)
		return H_WAIT;
	if (up->fill > 0 && (!req->upload_err || req->upload_err == OTA_TRUNCATED)) {
		if (start_writing(up) == H_WAIT)
			return H_WAIT;
	}
	return up->end(req, req->res);
}

bool upload_is_open(const struct req *req)
{
	return req->upload && !req->upload->is_closed;
}

void upload_free(struct upload *up)
{
	if (!up)
		return;
	free(up->buffer[0]);
	free(up->buffer[1]);
	free(up);
}
