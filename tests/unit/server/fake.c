#include "tests/unit/server/fake.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/crypto_openssl.h"
#include "server/upload.h"

static int64_t fake_clock(void *ctx)
{
	return ((struct fake *)ctx)->now;
}

static int64_t fake_mono(void *ctx)
{
	return ((struct fake *)ctx)->mono_ms;
}

static void fake_resume(struct req *req)
{
	struct fake *f = req->conn;

	f->n_resumed++;
	f->is_waiting = false;
}

void fake_init(struct fake *f, const struct jobs_config *jobs)
{
	struct jobs_config cfg = {.is_inline = true};
	struct errmsg e = {{0}};

	memset(f, 0, sizeof *f);
	if (jobs) {
		cfg = *jobs;
		cfg.is_inline = true;
	}
	if (config_init(&f->cfg, &e) != OTA_OK || jobs_new(&cfg, &f->app.jobs, &e) != OTA_OK) {
		fprintf(stderr, "fake: %s\n", e.text);
		assert(false);
	}
	timer_init(&f->timers, 0);
	f->now = 1800000000;
	f->app.cfg = &f->cfg;
	f->app.crypto = crypto_openssl();
	f->app.timers = &f->timers;
	f->app.clock = fake_clock;
	f->app.mono_ms = fake_mono;
	f->app.clock_ctx = f;
	arena_init(&f->mem, REQ_ARENA_MAX);
}

void fake_release(struct fake *f)
{
	upload_free(f->req.upload);
	f->req.upload = NULL;
	(void)!jobs_free(f->app.jobs); /* inline: no thread to wait for */
	arena_release(&f->mem);
	config_release(&f->cfg);
}

void fake_header(struct fake *f, const char *name, const char *value)
{
	assert(f->n_headers < GATE_HEADERS_MAX);
	f->headers[f->n_headers++] = (struct gate_header){name, strlen(name), value, strlen(value)};
}

static void begin(struct fake *f)
{
	upload_free(f->req.upload);
	arena_clear(&f->mem);
	memset(&f->req, 0, sizeof f->req);
	memset(&f->res, 0, sizeof f->res);
	f->req.app = &f->app;
	f->req.res = &f->res;
	f->req.mem = &f->mem;
	f->req.body = (const uint8_t *)"";
	f->req.door = DOOR_HTTP;
	f->req.doors = DOOR_ALL;
	f->req.peer_uid = (uid_t)-1;
	f->req.who = f->who;
	f->req.resume = fake_resume;
	f->req.conn = f;
	f->is_waiting = false;
	snprintf(f->req.peer, sizeof f->req.peer, "192.0.2.1");
}

static void run_upload(struct fake *f, const uint8_t *body, size_t len)
{
	enum h_result result = f->req.route->handler(&f->req, &f->res);

	if (!upload_is_open(&f->req)) {
		f->is_waiting = result == H_WAIT;
		return;
	}
	for (size_t at = 0; at < len;) {
		size_t n = len - at < 1000 ? len - at : 1000;

		at += upload_feed(&f->req, body + at, n);
	}
	f->is_waiting = upload_end(&f->req, OTA_OK) == H_WAIT;
}

void fake_request_bytes(struct fake *f, const struct route *rows, size_t n_rows, const char *method,
	const char *target, const void *body, size_t body_len)
{
	struct dispatch_input in = {
		.target = target,
		.method = method,
		.version = "HTTP/1.1",
		.routes = rows,
		.n_routes = n_rows,
	};
	char length[32];

	begin(f);
	fake_header(f, "Host", "otad.example");
	if (body) {
		snprintf(length, sizeof length, "%zu", body_len);
		fake_header(f, "Content-Length", length);
	}
	in.headers = f->headers;
	in.n_headers = f->n_headers;
	/* The header texts live as long as the request, as they do in the HTTP library. */
	for (size_t i = 0; i < f->n_headers; i++)
		f->headers[i].value = arena_strdup(&f->mem, f->headers[i].value);
	f->n_headers = 0;
	if (dispatch_headers(&f->req, &in) == DISPATCH_REFUSED)
		return;
	if (f->req.route->flags & ROUTE_UPLOAD) {
		run_upload(f, body, body_len);
		return;
	}
	if (body_len > dispatch_body_max(&f->req)) {
		res_problem(&f->req, 413, "too-large", "too large");
		return;
	}
	if (body) {
		f->req.body = arena_dup(&f->mem, body, body_len);
		f->req.body_len = body_len;
	}
	f->is_waiting = f->req.route->handler(&f->req, &f->res) == H_WAIT;
}

void fake_request(struct fake *f, const struct route *rows, size_t n_rows, const char *method,
	const char *target, const char *body)
{
	fake_request_bytes(f, rows, n_rows, method, target, body, body ? strlen(body) : 0);
}

const char *fake_body(struct fake *f)
{
	return arena_strndup(&f->mem, f->res.body ? f->res.body : "", f->res.body_len);
}

const char *fake_answer_header(const struct fake *f, const char *name)
{
	for (unsigned i = 0; i < f->res.n_headers; i++) {
		if (strcasecmp(f->res.headers[i].name, name) == 0)
			return f->res.headers[i].value;
	}
	return NULL;
}
