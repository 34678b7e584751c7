#include "server/http_internal.h"

#include <limits.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/blob_reply.h"

enum {
	POOL_PLAIN_LEN = 4096, /* bytes a connection: 10,000 idle ones are 50 MB */
	POOL_TLS_LEN = 16384,
	BLOCK_LEN = 65536, /* of a blob that is read and not mapped */
	TICK_MS = 1000,    /* how often the library looks for idle connections when nothing happens */
};

/* A handler's continuation is done, or an upload wants more. */
static void resume(struct req *req)
{
	struct hreq *h = (struct hreq *)req;

	if (!exchange_resume(h))
		return;
	MHD_resume_connection(h->conn->mhd);
	/* The library looks at resumed connections in its next run. */
	h->conn->door->source.has_more = true;
}

/* Answers. */

static ssize_t read_blob(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct hreq *h = cls;
	size_t n;

	switch (blob_read(h->res.blob, &h->req, pos, buf, max, &n)) {
	case BLOB_READ_SOME:
		return (ssize_t)n;
	case BLOB_READ_LATER:
		exchange_pause(h);
		MHD_suspend_connection(h->conn->mhd);
		return 0;
	case BLOB_READ_END:
		return MHD_CONTENT_READER_END_OF_STREAM;
	case BLOB_READ_FAILED:
		break;
	}
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* The casts take const away because the library's type has none; it only reads. */
static void *unconst(const void *p)
{
	return (void *)(uintptr_t)p;
}

/* TLS takes the bytes from us, and so does what the kernel would wait for while it sends. */
static bool is_read(const struct hreq *h)
{
	return h->req.door == DOOR_HTTPS || h->res.blob->is_cold;
}

static struct MHD_Response *blob_response(struct hreq *h)
{
	struct blob_reply *reply = h->res.blob;
	struct MHD_IoVec iov[64];

	if (is_read(h))
		return MHD_create_response_from_callback(reply->total, BLOCK_LEN, read_blob, h, NULL);
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
	struct MHD_Response *response;
	enum MHD_Result rc;

	exchange_settle(h);
	if (h->res.blob && !conn_bytes_sent(h->conn, &h->res.blob->sent_before))
		h->res.blob->sent_before = 0;
	if (h->res.blob)
		response = blob_response(h);
	else
		response = MHD_create_response_from_buffer(
			h->res.body_len, unconst(h->res.body), MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	add_headers(response, &h->res, h->conn->door->http->is_draining);
	rc = MHD_queue_response(h->conn->mhd, h->res.status, response);
	MHD_destroy_response(response);
	h->state = STATE_SENT;
	return rc;
}

static enum MHD_Result act(struct hreq *h, enum turn turn)
{
	switch (turn) {
	case TURN_MORE:
		return MHD_YES;
	case TURN_WAIT:
		MHD_suspend_connection(h->conn->mhd);
		return MHD_YES;
	case TURN_ANSWER:
		return send_answer(h);
	case TURN_DROP:
		break;
	}
	return MHD_NO;
}

/* The library's callbacks. */

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

static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct conn *c = info ? info->socket_context : NULL;

	(void)cls;
	if (!c)
		return NULL;
	/* The request line is there; its header has as long as that of a new connection. */
	conn_set_deadline(c, c->door->http->header_ms);
	c->current = exchange_new(c, target, resume);
	return c->current;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
	const char *version, const char *data, size_t *len, void **ctx)
{
	struct header_list list;
	struct hreq *h = *ctx;

	(void)cls;
	(void)url;
	if (!h)
		return MHD_NO;
	if (h->state != STATE_NEW)
		return act(h, exchange_go_on(h, data, len));
	list.n = 0;
	MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, take_header, &list);
	return act(h, exchange_begin(h, method, version, list.h, list.n));
}

/* The kernel reads the mapping while it sends, and where that fails the library ends the connection as if the
 * peer had gone, or waits for room that is there, until the peer loses patience. Who ended it says nothing,
 * then: what the socket has taken does. */
static void end_blob(struct hreq *h, bool is_whole)
{
	struct blob_reply *reply = h->res.blob;
	uint64_t sent;

	if (is_whole)
		reply->release(reply, BLOB_WHOLE, 0);
	else if (reply->is_unread)
		reply->release(reply, BLOB_STOPPED, reply->unread_at);
	else if (is_read(h))
		reply->release(reply, BLOB_LEFT, 0);
	else if (conn_bytes_sent(h->conn, &sent))
		reply->release(reply, BLOB_STOPPED, sent - reply->sent_before);
	else
		reply->release(reply, BLOB_BROKEN, 0);
}

static void on_completed(
	void *cls, struct MHD_Connection *mhd, void **ctx, enum MHD_RequestTerminationCode why)
{
	struct hreq *h = *ctx;

	(void)cls;
	(void)mhd;
	if (!h)
		return;
	*ctx = NULL;
	/* A job that has the request has the blob, too: exchange_resume ends them. */
	if (h->res.blob && !h->is_suspended)
		end_blob(h, why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
	exchange_end(h);
}

static void on_connection(
	void *cls, struct MHD_Connection *mhd, void **ctx, enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		*ctx = conn_new(cls, mhd, info ? info->connect_fd : -1);
	} else {
		conn_free(*ctx);
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

void http_set_deadlines(struct http *http, int64_t header_ms, int64_t body_ms)
{
	http->header_ms = header_ms;
	http->body_ms = body_ms;
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
	http_set_deadlines(http, HTTP_HEADER_MS, HTTP_BODY_MS);
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
			conn_cut(c);
	}
}

unsigned http_busy(const struct http *http)
{
	unsigned n = http->n_waiting;

	for (const struct conn *c = http->conns; c; c = c->next) {
		const struct hreq *h = c->current;

		if (h && h->is_suspended && h->res.blob)
			n--;
		else if (h && !h->is_suspended && !h->res.blob && h->state != STATE_UPLOAD)
			n++;
	}
	return n;
}

void http_cut(struct http *http)
{
	for (struct conn *c = http->conns; c; c = c->next)
		conn_cut(c);
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
