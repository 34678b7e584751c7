#include "server/http.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/blob_reply.h"
#include "server/dispatch.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/peers.h"
#include "server/upload.h"

enum {
	POOL_PLAIN_LEN = 4096, /* bytes a connection: 10,000 idle ones are 50 MB */
	POOL_TLS_LEN = 16384,
	TLS_BLOCK_LEN = 65536,
	DISCARD_MAX = 1024 * 1024, /* bytes read of a body that is refused anyway */
	UPLOAD_CHECK_MS = 1000,
	TICK_MS = 1000, /* how often the library looks for idle connections when nothing happens */
	FAILURE_SLOTS = 1024,
};

/* One listening socket and the library's daemon behind it. After a new certificate an old daemon lives on,
 * without its socket, until its connections are gone. */
struct door {
	struct http *http;
	struct door_spec spec;
	int listen_fd; /* -1: given up or handed on */
	char *cert, *key;
	struct MHD_Daemon *daemon;
	struct loop_source source;
	unsigned n_conns;
	bool is_retired;
	struct door *next;
};

struct conn {
	struct door *door;
	struct MHD_Connection *mhd;
	int fd;
	struct timer deadline;
	struct hreq *current;
	struct sockaddr_storage addr;
	uid_t peer_uid;
	bool is_over_limit;
	struct conn *next, **link;
};

enum state {
	STATE_NEW,
	STATE_BODY,    /* collecting */
	STATE_DISCARD, /* refused; reading the rest so that the answer can be sent */
	STATE_UPLOAD,
	STATE_WAITING, /* suspended for a job */
	STATE_READY,   /* the answer is there, not queued yet */
	STATE_SENT,
	STATE_ORPHAN, /* the connection is gone, a job still runs */
};

struct hreq {
	struct req req; /* first: a struct req * is a struct hreq * */
	struct res res;
	struct arena mem;
	struct conn *conn;
	enum state state;
	char *target;
	bool is_first_call; /* suspended in the first call: it is repeated after the resume */
	bool is_suspended;
	uint8_t *body;
	size_t body_cap;
	uint64_t discarded;
	int64_t upload_begin_ms;
};

struct http {
	struct app *app;
	struct loop *loop;
	const struct route *routes;
	size_t n_routes;
	struct door *doors;
	struct conn *conns;
	unsigned n_conns;
	unsigned library_limit; /* above every limit of ours that a reload may bring */
	unsigned n_waiting;     /* suspended for a job, orphans too */
	unsigned n_busy;
	bool is_draining;
	uint64_t n_requests, n_refused;
	struct log_limit library_log, limit_log;
	struct timer tick;
	struct peer_failures failures;
};

static void describe_peer(const struct conn *c, char out[static PEER_TEXT_LEN])
{
	if (c->door->spec.kind == DOOR_SOCKET)
		snprintf(out, PEER_TEXT_LEN, "uid %ld", (long)c->peer_uid);
	else
		peer_text(&c->addr, out);
}

/* Deadlines. */

static void cut_conn(struct conn *c)
{
	shutdown(c->fd, SHUT_RDWR);
}

static void deadline_passed(struct timer *t)
{
	cut_conn(t->ctx);
}

static void set_deadline(struct conn *c, int64_t ms)
{
	timer_arm(c->door->http->app->timers, &c->deadline, ms, deadline_passed, c);
}

static void clear_deadline(struct conn *c)
{
	timer_cancel(c->door->http->app->timers, &c->deadline);
}

/* The library takes a short read for the end of what is there and then waits for an edge that has passed,
 * when the last bytes and the end of the stream came together. */
static bool peer_is_gone(const struct conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void upload_check(struct timer *t)
{
	struct conn *c = t->ctx;
	struct hreq *h = c->current;
	struct timer_wheel *timers = c->door->http->app->timers;
	int64_t age_ms, due;

	if (!h)
		return;
	age_ms = timers->now_ms - h->upload_begin_ms;
	due = age_ms > HTTP_UPLOAD_GRACE_MS ? (age_ms - HTTP_UPLOAD_GRACE_MS) / 1000 * HTTP_UPLOAD_BYTES_PER_S
					    : 0;
	if ((int64_t)h->req.upload_len < due || peer_is_gone(c)) {
		cut_conn(c);
		return;
	}
	timer_arm(timers, t, UPLOAD_CHECK_MS, upload_check, c);
}

/* Requests. */

static void hreq_free(struct hreq *h)
{
	upload_free(h->req.upload);
	free(h->body);
	free(h->target);
	arena_release(&h->mem);
	free(h);
}

static void resume(struct req *req);

static struct hreq *hreq_new(struct conn *c, const char *target)
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
	describe_peer(c, req->peer);
	if (req->door == DOOR_SOCKET && (c->peer_uid == geteuid() || c->peer_uid == 0)) {
		req->who.kind = WHO_SOCKET_ADMIN;
		req->who.role = ROLE_ADMIN;
		snprintf(req->who.name, sizeof req->who.name, "socket:%ld", (long)c->peer_uid);
	}
	return h;
}

static enum MHD_Result suspend(struct hreq *h)
{
	struct http *http = h->conn->door->http;

	h->is_suspended = true;
	http->n_waiting++;
	MHD_suspend_connection(h->conn->mhd);
	return MHD_YES;
}

/* A continuation is done, or an upload wants more. */
static void resume(struct req *req)
{
	struct hreq *h = (struct hreq *)req;

	if (h->state == STATE_ORPHAN) {
		req->app->http->n_waiting--;
		hreq_free(h);
		return;
	}
	h->state = upload_is_open(req) ? STATE_UPLOAD : STATE_READY;
	if (!h->is_suspended)
		return;
	h->is_suspended = false;
	h->conn->door->http->n_waiting--;
	MHD_resume_connection(h->conn->mhd);
	/* The library looks at resumed connections in its next run. */
	h->conn->door->source.has_more = true;
}

/* Answers. */

static ssize_t read_tls_blob(void *cls, uint64_t pos, char *buf, size_t max)
{
	const struct blob_reply *reply = cls;

	for (unsigned i = 0; i < reply->n_pieces; i++) {
		const struct blob_piece *piece = &reply->pieces[i];
		size_t n;

		if (pos >= piece->len) {
			pos -= piece->len;
			continue;
		}
		n = piece->len - pos < max ? (size_t)(piece->len - pos) : max;
		if (piece->text) {
			memcpy(buf, piece->text + pos, n);
			return (ssize_t)n;
		}
		n = (size_t)pread(reply->fd, buf, n, (off_t)(piece->first + pos));
		/* An error and a file that is too short are the same here: the blob is not what it was. */
		return (ssize_t)n > 0 ? (ssize_t)n : MHD_CONTENT_READER_END_WITH_ERROR;
	}
	return MHD_CONTENT_READER_END_OF_STREAM;
}

/* The casts take const away because the library's type has none; it only reads. */
static void *unconst(const void *p)
{
	return (void *)(uintptr_t)p;
}

static struct MHD_Response *blob_response(struct hreq *h)
{
	const struct blob_reply *reply = h->res.blob;
	struct MHD_IoVec iov[64];

	if (h->req.door == DOOR_HTTPS)
		return MHD_create_response_from_callback(
			reply->total, TLS_BLOCK_LEN, read_tls_blob, unconst(reply), NULL);
	if (reply->n_pieces == 1)
		return MHD_create_response_from_buffer((size_t)reply->pieces[0].len,
			unconst(reply->base + reply->pieces[0].first), MHD_RESPMEM_PERSISTENT);
	if (reply->n_pieces > sizeof iov / sizeof iov[0])
		return NULL;
	for (unsigned i = 0; i < reply->n_pieces; i++) {
		const struct blob_piece *piece = &reply->pieces[i];

		iov[i].iov_base = piece->text ? (const void *)piece->text : reply->base + piece->first;
		iov[i].iov_len = (size_t)piece->len;
	}
	return MHD_create_response_from_iovec(iov, reply->n_pieces, NULL, NULL);
}

static void add_headers(struct MHD_Response *response, const struct res *res, bool is_draining)
{
	if (res->content_type)
		MHD_add_response_header(response, "Content-Type", res->content_type);
	for (unsigned i = 0; i < res->n_headers; i++)
		MHD_add_response_header(response, res->headers[i].name, res->headers[i].value);
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (res->close || is_draining)
		MHD_add_response_header(response, "Connection", "close");
}

static enum MHD_Result send_answer(struct hreq *h)
{
	struct http *http = h->conn->door->http;
	struct MHD_Response *response;
	enum MHD_Result rc;

	if (h->res.status == 401 && peer_failed(&http->failures, h->req.peer, http->app->timers->now_ms,
					    (unsigned)http->app->cfg->auth_failures)) {
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
	if (h->res.blob)
		response = blob_response(h);
	else
		response = MHD_create_response_from_buffer(
			h->res.body_len, unconst(h->res.body), MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	add_headers(response, &h->res, http->is_draining);
	rc = MHD_queue_response(h->conn->mhd, h->res.status, response);
	MHD_destroy_response(response);
	h->state = STATE_SENT;
	return rc;
}

/* What a handler returned becomes an answer, a wait, or a body to read. */
static enum MHD_Result follow(struct hreq *h, enum h_result result)
{
	if (result == H_DONE)
		return send_answer(h);
	if (upload_is_open(&h->req)) {
		h->state = STATE_UPLOAD;
		return MHD_YES;
	}
	h->state = STATE_WAITING;
	return suspend(h);
}

/* Header part. */

struct header_list {
	struct gate_header h[GATE_HEADERS_MAX + 1];
	size_t n;
};

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
	const char *value, size_t value_len)
{
	struct header_list *list = cls;

	(void)kind;
	if (list->n > GATE_HEADERS_MAX)
		return MHD_NO;
	list->h[list->n].name = name;
	list->h[list->n].name_len = name_len;
	list->h[list->n].value = value ? value : "";
	list->h[list->n].value_len = value ? value_len : 0;
	list->n++;
	return MHD_YES;
}

static bool announces_body(const struct header_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		if (strcasecmp(list->h[i].name, "Transfer-Encoding") == 0 ||
			(strcasecmp(list->h[i].name, "Content-Length") == 0 &&
				strcmp(list->h[i].value, "0") != 0))
			return true;
	}
	return false;
}

/* An answer queued in the first call ends the connection: right where a body would have to be read first, a
 * waste where there is none. */
static enum MHD_Result refuse(struct hreq *h, const struct header_list *list)
{
	clear_deadline(h->conn);
	if (announces_body(list))
		return send_answer(h);
	h->state = STATE_READY;
	return MHD_YES;
}

static enum dispatch_result judge(
	struct hreq *h, const char *method, const char *version, const struct header_list *list)
{
	struct http *http = h->conn->door->http;
	struct dispatch_input in = {
		.target = h->target,
		.method = method,
		.version = version,
		.headers = list->h,
		.n_headers = list->n,
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

static enum MHD_Result first_call(struct hreq *h, const char *method, const char *version)
{
	struct header_list list = {.n = 0};
	struct conn *c = h->conn;

	c->door->http->n_requests++;
	MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, take_header, &list);
	if (judge(h, method, version, &list) == DISPATCH_REFUSED)
		return refuse(h, &list);
	if (h->req.route->flags & ROUTE_UPLOAD) {
		enum h_result result;

		h->upload_begin_ms = c->door->http->app->timers->now_ms;
		timer_arm(c->door->http->app->timers, &c->deadline, UPLOAD_CHECK_MS, upload_check, c);
		result = h->req.route->handler(&h->req, &h->res);
		if (result == H_DONE)
			return refuse(h, &list);
		h->is_first_call = result == H_WAIT && !upload_is_open(&h->req);
		return follow(h, result);
	}
	h->state = STATE_BODY;
	if (dispatch_has_body(&h->req))
		set_deadline(c, HTTP_BODY_MS);
	else
		clear_deadline(c);
	return MHD_YES;
}

/* Body. */

static void collect(struct hreq *h, const char *data, size_t len)
{
	uint64_t max = dispatch_body_max(&h->req);

	if (len > max - h->req.body_len) {
		res_problem(&h->req, 413, "too-large", "the body is larger than %llu bytes",
			(unsigned long long)max);
		h->res.close = true;
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

static enum MHD_Result body_call(struct hreq *h, const char *data, size_t *len)
{
	if (*len > 0) {
		if (h->state == STATE_BODY)
			collect(h, data, *len);
		if (h->state == STATE_DISCARD) {
			h->discarded += *len;
			if (h->discarded > DISCARD_MAX)
				cut_conn(h->conn);
		}
		*len = 0;
		return MHD_YES;
	}
	clear_deadline(h->conn);
	if (h->state == STATE_DISCARD)
		return send_answer(h);
	return follow(h, h->req.route->handler(&h->req, &h->res));
}

static enum MHD_Result upload_call(struct hreq *h, const char *data, size_t *len)
{
	if (*len > 0) {
		size_t taken = upload_feed(&h->req, (const uint8_t *)data, *len);

		*len -= taken;
		if (*len > 0)
			return suspend(h);
		return MHD_YES;
	}
	clear_deadline(h->conn);
	return follow(h, upload_end(&h->req, OTA_OK));
}

/* The library's callbacks. */

static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct conn *c = info ? info->socket_context : NULL;

	(void)cls;
	if (!c)
		return NULL;
	/* The request line is there; its header has as long as that of a new connection. */
	set_deadline(c, HTTP_HEADER_MS);
	c->current = hreq_new(c, target);
	return c->current;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
	const char *version, const char *data, size_t *len, void **ctx)
{
	struct hreq *h = *ctx;

	(void)cls;
	(void)mhd;
	(void)url;
	if (!h)
		return MHD_NO;
	if (h->is_first_call) {
		h->is_first_call = false;
		if (h->state == STATE_UPLOAD && *len == 0)
			return MHD_YES;
	}
	switch (h->state) {
	case STATE_NEW:
		return first_call(h, method, version);
	case STATE_BODY:
	case STATE_DISCARD:
		return body_call(h, data, len);
	case STATE_UPLOAD:
		return upload_call(h, data, len);
	case STATE_READY:
		clear_deadline(h->conn);
		return send_answer(h);
	case STATE_WAITING:
		return suspend(h);
	case STATE_SENT:
	case STATE_ORPHAN:
		break;
	}
	return MHD_NO;
}

static void on_completed(
	void *cls, struct MHD_Connection *mhd, void **ctx, enum MHD_RequestTerminationCode why)
{
	struct hreq *h = *ctx;
	struct conn *c;

	(void)cls;
	(void)mhd;
	if (!h)
		return;
	*ctx = NULL;
	c = h->conn;
	c->current = NULL;
	/* The next request of this connection: idle time and its header together. */
	set_deadline(c, HTTP_IDLE_MS + HTTP_HEADER_MS);
	if (h->res.blob && h->res.blob->release)
		h->res.blob->release(h->res.blob, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
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

static void conn_open(struct door *door, struct MHD_Connection *mhd, void **ctx)
{
	struct http *http = door->http;
	struct conn *c = calloc(1, sizeof *c);
	const union MHD_ConnectionInfo *info;

	*ctx = c;
	if (!c)
		return;
	c->door = door;
	c->mhd = mhd;
	c->peer_uid = (uid_t)-1;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	c->fd = info ? info->connect_fd : -1;
	if (door->spec.kind == DOOR_SOCKET) {
		struct ucred cred;
		socklen_t len = sizeof cred;

		if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
			c->peer_uid = cred.uid;
	} else {
		socklen_t len = sizeof c->addr;

		if (getpeername(c->fd, (struct sockaddr *)&c->addr, &len) != 0)
			c->addr.ss_family = AF_UNSPEC;
	}
	c->next = http->conns;
	c->link = &http->conns;
	if (c->next)
		c->next->link = &c->next;
	http->conns = c;
	http->n_conns++;
	door->n_conns++;
	c->is_over_limit = http->n_conns > (unsigned)http->app->cfg->connections;
	set_deadline(c, HTTP_HEADER_MS);
}

static void conn_close(struct conn *c)
{
	if (!c)
		return;
	clear_deadline(c);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->door->http->n_conns--;
	c->door->n_conns--;
	free(c);
}

static void on_connection(
	void *cls, struct MHD_Connection *mhd, void **ctx, enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		conn_open(cls, mhd, ctx);
	} else {
		conn_close(*ctx);
		*ctx = NULL;
	}
}

static void on_library_log(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_library_log(void *cls, const char *fmt, va_list ap)
{
	struct http *http = cls;
	char text[256];
	size_t len;

	vsnprintf(text, sizeof text, fmt, ap);
	len = strlen(text);
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	log_limited(&http->library_log, 20, app_now(http->app), LOG_LEVEL_DEBUG, "http: %s", text);
}

/* Doors. */

static void door_turn(struct loop_source *s, uint32_t events)
{
	struct door *door = s->ctx;
	MHD_UNSIGNED_LONG_LONG wait_ms;

	(void)events;
	s->has_more = false;
	MHD_run(door->daemon);
	/* 0 ms: connections are ready though their sockets say nothing (data in the library's buffers). */
	if (MHD_get_timeout(door->daemon, &wait_ms) == MHD_YES && wait_ms == 0)
		s->has_more = true;
}

static struct MHD_Daemon *start_daemon(struct door *door)
{
	struct http *http = door->http;
	const bool is_tls = door->spec.kind == DOOR_HTTPS;
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, door->cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, door->key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, unconst("NORMAL:-VERS-TLS1.0:-VERS-TLS1.1:-VERS-DTLS-ALL")},
		{MHD_OPTION_END, 0, NULL},
	};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	if (is_tls)
		flags |= MHD_USE_TLS;
	/* The logger stands first: the library uses it while it reads the other options. */
	return MHD_start_daemon(flags, 0, NULL, NULL, on_request, door, MHD_OPTION_EXTERNAL_LOGGER,
		on_library_log, http, MHD_OPTION_LISTEN_SOCKET, door->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
		http->library_limit, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(HTTP_IDLE_MS / 1000),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(is_tls ? POOL_TLS_LEN : POOL_PLAIN_LEN),
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, door, MHD_OPTION_NOTIFY_COMPLETED, on_completed, door,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, door, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		(unsigned)http->app->cfg->connections_per_address, MHD_OPTION_ARRAY, is_tls ? tls : none,
		MHD_OPTION_END);
}

static enum ota_err door_start(struct door *door, struct errmsg *e)
{
	const union MHD_DaemonInfo *info;

	door->daemon = start_daemon(door);
	if (!door->daemon)
		return errmsg_fail(e, OTA_IO, "cannot open %s%s", door->spec.text,
			door->spec.kind == DOOR_HTTPS ? " (is the certificate one of this key?)" : "");
	info = MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	door->source.fn = door_turn;
	door->source.ctx = door;
	return loop_add(door->http->loop, &door->source, info->epoll_fd, EPOLLIN, e);
}

static void door_free(struct door *door)
{
	if (door->daemon) {
		loop_remove(door->http->loop, &door->source);
		MHD_stop_daemon(door->daemon);
	} else if (door->listen_fd >= 0) {
		close(door->listen_fd);
	}
	free(door->cert);
	if (door->key)
		explicit_bzero(door->key, strlen(door->key));
	free(door->key);
	free(door);
}

static struct door *door_new(
	struct http *http, const struct door_spec *spec, int listen_fd, const char *cert, const char *key)
{
	struct door *door = calloc(1, sizeof *door);

	if (!door)
		return NULL;
	door->http = http;
	door->spec = *spec;
	door->listen_fd = listen_fd;
	door->cert = cert ? strdup(cert) : NULL;
	door->key = key ? strdup(key) : NULL;
	if ((cert && !door->cert) || (key && !door->key)) {
		door->listen_fd = -1;
		door_free(door);
		return NULL;
	}
	return door;
}

enum ota_err http_open(struct http *http, const struct door_spec *spec, int listen_fd, const char *cert,
	const char *key, struct errmsg *e)
{
	struct door *door = door_new(http, spec, listen_fd, cert, key);
	enum ota_err err;

	if (!door) {
		close(listen_fd);
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	}
	err = door_start(door, e);
	if (err) {
		door_free(door);
		return err;
	}
	door->next = http->doors;
	http->doors = door;
	return OTA_OK;
}

enum ota_err http_replace_tls(struct http *http, const char *cert, const char *key, struct errmsg *e)
{
	for (struct door *old = http->doors; old; old = old->next) {
		struct door *fresh;
		enum ota_err err;
		int fd;

		if (old->spec.kind != DOOR_HTTPS || old->is_retired)
			continue;
		fd = MHD_quiesce_daemon(old->daemon);
		fresh = door_new(http, &old->spec, fd, cert, key);
		err = fresh ? door_start(fresh, e) : errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
		if (err) {
			/* The old certificate goes on behind the same socket. */
			struct door *again = door_new(http, &old->spec, fd, old->cert, old->key);
			struct errmsg ignored;

			if (fresh) {
				fresh->listen_fd = -1;
				door_free(fresh);
			}
			if (!again || door_start(again, &ignored) != OTA_OK)
				return err;
			fresh = again;
		}
		old->is_retired = true;
		old->listen_fd = -1;
		fresh->next = http->doors;
		http->doors = fresh;
		if (err)
			return err;
	}
	return OTA_OK;
}

static void drop_retired(struct http *http)
{
	for (struct door **p = &http->doors; *p;) {
		struct door *door = *p;

		if (door->is_retired && door->n_conns == 0 && !http->is_draining) {
			*p = door->next;
			door_free(door);
		} else {
			p = &door->next;
		}
	}
}

/* The library ends idle connections only when it runs. */
static void tick(struct timer *t)
{
	struct http *http = t->ctx;

	for (struct door *door = http->doors; door; door = door->next)
		door->source.has_more = true;
	drop_retired(http);
	timer_arm(http->app->timers, t, TICK_MS, tick, http);
}

/* All descriptors that this process may have. */
static unsigned descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
		return INT_MAX;
	return (unsigned)limit.rlim_cur;
}

enum ota_err http_new(struct app *app, struct loop *loop, const struct route *rows, size_t n_rows,
	struct http **out, struct errmsg *e)
{
	struct http *http = calloc(1, sizeof *http);

	if (!http)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	http->app = app;
	http->loop = loop;
	http->routes = rows;
	http->n_routes = n_rows;
	http->library_limit = descriptors();
	timer_arm(app->timers, &http->tick, TICK_MS, tick, http);
	*out = http;
	return OTA_OK;
}

void http_stop_listening(struct http *http)
{
	http->is_draining = true;
	for (struct door *door = http->doors; door; door = door->next) {
		if (door->listen_fd >= 0 && !door->is_retired) {
			int fd = MHD_quiesce_daemon(door->daemon);

			if (fd >= 0)
				close(fd);
			door->listen_fd = -1;
		}
	}
	for (struct conn *c = http->conns; c; c = c->next) {
		if (!c->current)
			cut_conn(c);
	}
}

unsigned http_busy(const struct http *http)
{
	unsigned n = http->n_waiting;

	for (const struct conn *c = http->conns; c; c = c->next) {
		const struct hreq *h = c->current;

		if (h && !h->is_suspended && !h->res.blob && h->state != STATE_UPLOAD)
			n++;
	}
	return n;
}

void http_cut(struct http *http)
{
	for (struct conn *c = http->conns; c; c = c->next)
		cut_conn(c);
}

unsigned http_waiting(const struct http *http)
{
	return http->n_waiting;
}

void http_free(struct http *http)
{
	if (!http)
		return;
	timer_cancel(http->app->timers, &http->tick);
	while (http->doors) {
		struct door *door = http->doors;

		http->doors = door->next;
		door_free(door);
	}
	/* Uploads that were cut off just now still write what they had. */
	while (http->n_waiting > 0) {
		struct pollfd p = {.fd = jobs_fd(http->app->jobs), .events = POLLIN};

		poll(&p, 1, TICK_MS);
		jobs_complete(http->app->jobs);
	}
	free(http);
}

struct http_stats http_stats(const struct http *http)
{
	return (struct http_stats){
		.connections = http->n_conns,
		.requests = http->n_requests,
		.refused = http->n_refused,
	};
}
