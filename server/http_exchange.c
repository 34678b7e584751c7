#include "server/http_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/blob_reply.h"
#include "server/dispatch.h"
#include "server/upload.h"

/* Bytes read of a body that is not wanted, because the library queues no answer before its end. */
enum {
	DISCARD_MAX = 1024 * 1024,
	UPLOAD_DISCARD_MAX = 16 * 1024 * 1024, /* after a failed write: most clients still hear why */
};

static void hreq_free(struct hreq *h)
{
	upload_free(h->req.upload);
	free(h->body);
	free(h->target);
	arena_release(&h->mem);
	free(h);
}

struct hreq *exchange_new(struct conn *c, const char *target, void (*resume)(struct req *req))
{
	struct hreq *h = calloc(1, sizeof *h);
	struct req *req = &h->req;

	if (!h)
		return NULL;
	h->target = strdup(target);
	if (!h->target) {
		free(h);
		return NULL;
	}
	h->conn = c;
	arena_init(&h->mem, REQ_ARENA_MAX);
	req->app = c->door->http->app;
	req->res = &h->res;
	req->mem = &h->mem;
	req->body = (const uint8_t *)"";
	req->door = c->door->spec.kind;
	req->doors = c->door->spec.doors;
	req->peer_uid = c->peer_uid;
	req->resume = resume;
	req->conn = h;
	conn_describe_peer(c, req->peer);
	if (req->door == DOOR_SOCKET && (c->peer_uid == geteuid() || c->peer_uid == 0)) {
		req->who.kind = WHO_SOCKET_ADMIN;
		req->who.role = ROLE_ADMIN;
		snprintf(req->who.name, sizeof req->who.name, "socket:%ld", (long)c->peer_uid);
	}
	return h;
}

static enum turn suspend(struct hreq *h)
{
	h->is_suspended = true;
	h->conn->door->http->n_waiting++;
	return TURN_WAIT;
}

void exchange_pause(struct hreq *h)
{
	(void)suspend(h);
}

bool exchange_resume(struct hreq *h)
{
	if (h->state == STATE_ORPHAN) {
		h->req.app->http->n_waiting--;
		if (h->res.blob)
			h->res.blob->release(h->res.blob, BLOB_LEFT, 0);
		hreq_free(h);
		return false;
	}
	if (h->state != STATE_SENT)
		h->state = upload_is_open(&h->req) ? STATE_UPLOAD : STATE_READY;
	if (!h->is_suspended)
		return false;
	h->is_suspended = false;
	h->conn->door->http->n_waiting--;
	return true;
}

void exchange_settle(struct hreq *h)
{
	struct http *http = h->conn->door->http;

	if (h->res.status == 401 && peer_failed(&http->failures, h->req.peer, http->app->timers->now_ms,
					    (unsigned)http->app->cfg->auth_failures)) {
		log_limited(&http->failures_log, 1, app_now(http->app), LOG_LEVEL_WARN,
			"%s: more than %d wrong credentials in a minute; those that follow are answered 429",
			h->req.peer, (int)http->app->cfg->auth_failures);
		h->res.n_headers = 0;
		res_problem(
			&h->req, 429, "too-many-failures", "too many wrong credentials from this address");
		res_header(&h->res, "Retry-After", "60");
	}
	if (h->res.status == 0)
		res_problem(&h->req, 500, "internal", "no answer was made");
	if (h->res.status >= 400)
		http->n_refused++;
	log_debug("%s %s %u to %s", route_method_name(h->req.method), h->req.path ? h->req.path : "-",
		h->res.status, h->req.peer);
}

/* What a handler returned becomes an answer, a wait, or a body to read. */
static enum turn follow(struct hreq *h, enum h_result result)
{
	if (result == H_DONE)
		return TURN_ANSWER;
	if (upload_is_open(&h->req)) {
		h->state = STATE_UPLOAD;
		return TURN_MORE;
	}
	h->state = STATE_WAITING;
	return suspend(h);
}

static bool announces_body(const struct gate_header *headers, size_t n_headers)
{
	for (size_t i = 0; i < n_headers; i++) {
		if (strcasecmp(headers[i].name, "Transfer-Encoding") == 0 ||
			(strcasecmp(headers[i].name, "Content-Length") == 0 &&
				strcmp(headers[i].value, "0") != 0))
			return true;
	}
	return false;
}

/* An answer queued in the first call ends the connection: right where a body would have to be read first, a
 * waste where there is none. */
static enum turn refuse(struct hreq *h, const struct gate_header *headers, size_t n_headers)
{
	conn_clear_deadline(h->conn);
	if (announces_body(headers, n_headers))
		return TURN_ANSWER;
	h->state = STATE_READY;
	return TURN_MORE;
}

static enum dispatch_result judge(struct hreq *h, const char *method, const char *version,
	const struct gate_header *headers, size_t n_headers)
{
	struct http *http = h->conn->door->http;
	struct dispatch_input in = {
		.target = h->target,
		.method = method,
		.version = version,
		.headers = headers,
		.n_headers = n_headers,
		.routes = http->routes,
		.n_routes = http->n_routes,
	};

	if (h->conn->is_over_limit) {
		log_limited(&http->limit_log, 1, app_now(http->app), LOG_LEVEL_WARN,
			"more than %lld connections: answering 503", (long long)http->app->cfg->connections);
		res_problem(&h->req, 503, "too-many-connections", "too many connections");
		res_header(&h->res, "Retry-After", "10");
		h->res.close = true;
		return DISPATCH_REFUSED;
	}
	if (h->req.door == DOOR_SOCKET && h->req.who.kind != WHO_SOCKET_ADMIN) {
		res_problem(&h->req, 403, "not-allowed", "only otad's own user and root are served here");
		h->res.close = true;
		return DISPATCH_REFUSED;
	}
	return dispatch_headers(&h->req, &in);
}

enum turn exchange_begin(struct hreq *h, const char *method, const char *version,
	const struct gate_header *headers, size_t n_headers)
{
	struct conn *c = h->conn;

	c->door->http->n_requests++;
	if (judge(h, method, version, headers, n_headers) == DISPATCH_REFUSED)
		return refuse(h, headers, n_headers);
	if (h->req.route->flags & ROUTE_UPLOAD) {
		enum h_result result;

		h->upload_begin_ms = c->door->http->app->timers->now_ms;
		conn_watch_upload(c);
		result = h->req.route->handler(&h->req, &h->res);
		if (result == H_DONE)
			return refuse(h, headers, n_headers);
		h->is_first_call = result == H_WAIT && !upload_is_open(&h->req);
		return follow(h, result);
	}
	h->state = STATE_BODY;
	if (dispatch_has_body(&h->req))
		conn_set_deadline(c, c->door->http->body_ms);
	else
		conn_clear_deadline(c);
	return TURN_MORE;
}

static void collect(struct hreq *h, const char *data, size_t len)
{
	uint64_t max = dispatch_body_max(&h->req);

	if (len > max - h->req.body_len) {
		dispatch_too_large(&h->req);
		h->state = STATE_DISCARD;
		return;
	}
	if (h->req.body_len + len > h->body_cap) {
		size_t cap = h->req.content_length > 0 ? (size_t)h->req.content_length : 1024;
		uint8_t *bigger;

		while (cap < h->req.body_len + len)
			cap *= 2;
		bigger = realloc(h->body, cap);
		if (!bigger) {
			res_error(&h->req, OTA_NO_MEMORY, NULL);
			h->state = STATE_DISCARD;
			return;
		}
		h->body = bigger;
		h->body_cap = cap;
		h->req.body = h->body;
	}
	memcpy(h->body + h->req.body_len, data, len);
	h->req.body_len += len;
}

static void discard(struct hreq *h, size_t len, uint64_t max)
{
	h->discarded += len;
	if (h->discarded > max)
		conn_cut(h->conn);
}

static enum turn body_call(struct hreq *h, const char *data, size_t *len)
{
	if (*len > 0) {
		if (h->state == STATE_BODY)
			collect(h, data, *len);
		if (h->state == STATE_DISCARD)
			discard(h, *len, DISCARD_MAX);
		*len = 0;
		return TURN_MORE;
	}
	conn_clear_deadline(h->conn);
	if (h->state == STATE_DISCARD)
		return TURN_ANSWER;
	return follow(h, h->req.route->handler(&h->req, &h->res));
}

static enum turn upload_call(struct hreq *h, const char *data, size_t *len)
{
	if (*len > 0) {
		if (h->req.upload_err)
			discard(h, *len, UPLOAD_DISCARD_MAX);
		*len -= upload_feed(&h->req, (const uint8_t *)data, *len);
		if (*len > 0)
			return suspend(h);
		return TURN_MORE;
	}
	conn_clear_deadline(h->conn);
	return follow(h, upload_end(&h->req, OTA_OK));
}

enum turn exchange_go_on(struct hreq *h, const char *data, size_t *len)
{
	if (h->is_first_call) {
		h->is_first_call = false;
		if (h->state == STATE_UPLOAD && *len == 0)
			return TURN_MORE;
	}
	switch (h->state) {
	case STATE_BODY:
	case STATE_DISCARD:
		return body_call(h, data, len);
	case STATE_UPLOAD:
		return upload_call(h, data, len);
	case STATE_READY:
		conn_clear_deadline(h->conn);
		return TURN_ANSWER;
	case STATE_WAITING:
		return suspend(h);
	case STATE_NEW:
	case STATE_SENT:
	case STATE_ORPHAN:
		break;
	}
	return TURN_DROP;
}

void exchange_end(struct hreq *h)
{
	struct conn *c = h->conn;

	c->current = NULL;
	/* The next request of this connection: idle time and its header together. */
	conn_set_idle(c, HTTP_IDLE_MS + c->door->http->header_ms);
	if (h->is_suspended) {
		/* Only at the end of the daemon: the job that still has the request ends it. */
		h->state = STATE_ORPHAN;
		return;
	}
	if (upload_is_open(&h->req)) {
		h->state = STATE_ORPHAN;
		c->door->http->n_waiting++;
		if (upload_end(&h->req, OTA_TRUNCATED) == H_WAIT)
			return;
		c->door->http->n_waiting--;
	}
	hreq_free(h);
}
