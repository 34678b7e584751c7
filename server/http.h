/* HTTP on the loop. Inside: http_internal.h; http.c is the only user of libmicrohttpd.
 *
 * One daemon per door, each with its epoll descriptor in the loop; nothing here has a thread. Connections
 * above our own limit get 503 with Retry-After; the library's limit lies above it and is never reached while
 * the descriptor budget holds. Deadlines: 10 s for a header, 10 s for a small body, 1 KiB/s after 30 s for an
 * upload, 60 s without a byte taken for a download. Of a body that is refused 1 MiB is read before the
 * connection is cut; of an upload that could not be written on 16 MiB, in 10 s. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/app.h"
#include "server/doors.h"

enum {
	HTTP_HEADER_MS = 10000, /* http_set_deadlines changes it */
	HTTP_BODY_MS = 10000,   /* and this one */
	HTTP_IDLE_MS = 60000,
	HTTP_UPLOAD_GRACE_MS = 30000,
	HTTP_UPLOAD_BYTES_PER_S = 1024,
	HTTP_LIMIT_MARGIN = 256, /* connections that still get their 503 */
};

struct http;

/* No door is open yet. `routes` is the table; it must outlive `http`. */
OTA_MUST_USE enum ota_err http_new(struct app *app, struct loop *loop, const struct route *rows,
	size_t n_rows, struct http **out, struct errmsg *e);

/* How long a header and a small body may take, in place of HTTP_HEADER_MS and HTTP_BODY_MS; before the first
 * door is open. */
void http_set_deadlines(struct http *http, int64_t header_ms, int64_t body_ms);

/* Open a door on a listening socket, which then belongs to `http`. `cert` and `key` are PEM texts (copied)
 * for DOOR_HTTPS, else NULL. */
OTA_MUST_USE enum ota_err http_open(struct http *http, const struct door_spec *spec, int listen_fd,
	const char *cert, const char *key, struct errmsg *e);

/* Put a new certificate behind every HTTPS door: connections that exist keep the old one, the listening
 * sockets go over to new daemons. */
OTA_MUST_USE enum ota_err http_replace_tls(
	struct http *http, const char *cert, const char *key, struct errmsg *e);

/* Take no new connections; what runs goes on. Idle connections are closed. */
void http_stop_listening(struct http *http);

/* Requests whose answer is not sent yet; downloads do not count. */
unsigned http_busy(const struct http *http);

/* Cut every connection. Requests that wait for a job end when it does. */
void http_cut(struct http *http);

/* Requests that wait for a job: http_free only at 0. */
unsigned http_waiting(const struct http *http);

void http_free(struct http *http);

struct http_stats {
	unsigned connections;
	uint64_t requests;
	uint64_t refused; /* 4xx and 5xx */
};

struct http_stats http_stats(const struct http *http);

#endif
