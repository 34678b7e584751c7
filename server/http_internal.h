/* What http.c, http_conn.c and http_exchange.c share; nobody else includes it.
 *
 * http.c speaks to libmicrohttpd: its callbacks, its responses, a daemon behind each door. http_conn.c is a
 * connection: who is at the other end and how long it may take. http_exchange.c is a request from its header
 * to its answer. These two know the library's objects by name only. Loop thread only. */
#ifndef SERVER_HTTP_INTERNAL_H
#define SERVER_HTTP_INTERNAL_H

#include "server/gate.h"
#include "server/http.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/peers.h"

struct MHD_Connection;
struct MHD_Daemon;

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
	int64_t deadline_ms;
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
	uint64_t discarded; /* bytes read of a body that is not wanted any more */
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
	bool is_draining;
	int64_t header_ms, body_ms; /* deadlines */
	uint64_t n_requests, n_refused;
	struct log_limit library_log, limit_log;
	struct timer tick;
	struct peer_failures failures;
	struct log_limit failures_log;
};

/* A new connection on `fd`, which stays the library's. NULL: out of memory. Ends with conn_free. */
struct conn *conn_new(struct door *door, struct MHD_Connection *mhd, int fd);
void conn_free(struct conn *c); /* NULL is a no-op */

/* In words, for people and for per-address limits. */
void conn_describe_peer(const struct conn *c, char out[static PEER_TEXT_LEN]);

/* Bytes that the socket has taken since the connection began, whether they have arrived or not; one more once
 * it is closed. False: it does not tell (no TCP). */
bool conn_bytes_sent(const struct conn *c, uint64_t *bytes);

/* Cut the connection in `ms`, or within a second after its stream has ended in the middle of a request, which
 * the library may not notice by itself. Replaces what was set before, as each of these does. */
void conn_set_deadline(struct conn *c, int64_t ms);
/* Cut it in `ms`: a request was answered, and there is no other yet. */
void conn_set_idle(struct conn *c, int64_t ms);
void conn_clear_deadline(struct conn *c);

/* Instead of a deadline: cut the connection when its upload is slower than it may be or the peer is gone, and
 * when what follows a failed write takes longer than a small body may. */
void conn_watch_upload(struct conn *c);

/* Both directions, now. The library then ends the request and the connection in its own time. */
void conn_cut(struct conn *c);

/* What is to be done with a request next. */
enum turn {
	TURN_MORE,   /* nothing: more bytes or another call will come */
	TURN_WAIT,   /* suspend the connection until req.resume */
	TURN_ANSWER, /* exchange_settle, then send h->res */
	TURN_DROP,   /* end the connection without an answer */
};

/* The request line is there. `resume` becomes req.resume. NULL: out of memory. It ends in exchange_end. */
struct hreq *exchange_new(struct conn *c, const char *target, void (*resume)(struct req *req));

/* The header is there; `h->state` was STATE_NEW. The fields live as long as the request. */
enum turn exchange_begin(struct hreq *h, const char *method, const char *version,
	const struct gate_header *headers, size_t n_headers);

/* Another call for a request that has begun: `*len` bytes of the body, of which it leaves in `*len` what was
 * not taken; 0: the body is over. */
enum turn exchange_go_on(struct hreq *h, const char *data, size_t *len);

/* An answer that is being sent waits for a job. The caller suspends the connection; exchange_resume follows.
 */
void exchange_pause(struct hreq *h);

/* A continuation is done, or an upload or an answer goes on. True: resume the connection. False: it was not
 * suspended, or it is gone and `h` was freed. */
bool exchange_resume(struct hreq *h);

/* The last changes to the answer before it is sent. */
void exchange_settle(struct hreq *h);

/* The library is through with the request. Frees `h` now or, where a job still has it, when that is done. */
void exchange_end(struct hreq *h);

#endif
