/* What a noun handler sees: one request, one response, jobs. No type of any HTTP library.
 *
 * Everything here happens on the loop thread, except job functions and upload sinks, which run on the thread
 * of their lane. A handler never opens, reads, writes, syncs or unlinks a file, runs no SQL, resolves no name
 * and hashes at most 64 KiB: that is a job.
 *
 * A request lives until its answer is sent or its connection is gone. While a job or an upload of it runs
 * (H_WAIT), the request and its arena belong to that job; the loop does not touch them. A connection that
 * dies meanwhile is noticed after the continuation ran: continuations always run. */
#ifndef SERVER_HANDLER_H
#define SERVER_HANDLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/arena.h"
#include "proto/errmsg.h"
#include "server/jobs.h"
#include "server/route.h"

struct app;

enum {
	REQ_HEADERS_MAX = 32, /* more: 400 (the gate) */
	REQ_QUERY_MAX = 16,   /* more: 400 */
	REQ_ARENA_MAX = 4 * 1024 * 1024,
	RES_HEADERS_MAX = 16,
};

/* How the peer came in. */
enum door_kind {
	DOOR_SOCKET, /* DIR/otad.sock: the peer's uid is known */
	DOOR_HTTP,
	DOOR_HTTPS,
};

enum principal_kind {
	WHO_NOBODY,
	WHO_SOCKET_ADMIN, /* otad's own uid or root on DIR/otad.sock */
	WHO_TOKEN,
	WHO_DEVICE, /* a right fetch MAC: reads envelopes, roots and images, nothing else */
};

/* Who asks. For WHO_TOKEN and WHO_DEVICE filled by app_hooks.auth. */
struct principal {
	enum principal_kind kind;
	enum role role;        /* ROLE_PUBLIC for nobody, ROLE_FETCH for a device */
	int64_t token_id;      /* WHO_TOKEN */
	char name[64];         /* for the audit log (actor.h): token name, "socket:<uid>", device id */
	uint8_t device_id[16]; /* WHO_DEVICE */
};

struct req_pair {
	const char *name;
	const char *value; /* "" where a query parameter has no '=' */
};

struct upload;

struct req {
	struct app *app;
	const struct route *route;
	struct res *res;   /* the answer under construction, valid as long as the request */
	struct arena *mem; /* freed with the request; at most REQ_ARENA_MAX */
	enum http_method method;
	const char *path; /* percent-decoded, without the query */
	struct route_captures cap;
	struct req_pair headers[REQ_HEADERS_MAX];
	unsigned n_headers;
	struct req_pair query[REQ_QUERY_MAX]; /* percent-decoded */
	unsigned n_query;
	const uint8_t *body; /* never NULL; the whole body, but for ROUTE_UPLOAD */
	size_t body_len;
	int64_t content_length; /* -1: no body or chunked */
	enum door_kind door;
	unsigned doors; /* DOOR_ bits of that door */
	char peer[64];  /* "192.0.2.7", "fe80::1", "uid 1000": for people and for per-address limits */
	uid_t peer_uid; /* DOOR_SOCKET, else (uid_t)-1 */
	struct principal who;
	void *ctx; /* the handler's own, across its continuations */

	/* After req_upload(): how many bytes came and the first error of a write. */
	uint64_t upload_len;
	enum ota_err upload_err;
	struct errmsg upload_e;

	/* The server's own; handlers leave these alone. */
	void (*resume)(struct req *req);
	bool is_begun; /* a job of it was taken */
	struct upload *upload;
	void *conn;
};

/* A blob as the answer: status, ranges, validators and body are blobserve's business. */
struct blob_reply;

struct res {
	unsigned status;          /* 0 until set */
	const char *content_type; /* NULL: none */
	const void *body;         /* in req->mem or constant */
	size_t body_len;
	struct req_pair headers[RES_HEADERS_MAX]; /* names constant, values in req->mem or constant */
	unsigned n_headers;
	struct blob_reply *blob; /* set by blobserve */
	bool close;              /* end the connection after this answer */
};

/* First header of that name (any case); NULL when absent. */
const char *req_header(const struct req *req, const char *name);

/* First query parameter of that name (exact); NULL when absent. */
const char *req_query(const struct req *req, const char *name);

/* 200 and friends with a body. `body` lives in req->mem or is constant. */
enum h_result res_body(
	struct res *res, unsigned status, const char *content_type, const void *body, size_t len);

/* A status without a body (201, 204, 404 for devices). */
enum h_result res_empty(struct res *res, unsigned status);

/* Add a header; false when there are RES_HEADERS_MAX already. */
bool res_header(struct res *res, const char *name, const char *value);

/* A problem document (RFC 9457): {"type":"about:blank","title":<status text>,"status":S,"code":C,"detail":D}.
 * `code` is a constant word programs may act on ("not-found"), the detail is for people. Always H_DONE, so a
 * handler ends in `return res_problem(...)`. */
enum h_result res_problem(struct req *req, unsigned status, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* The problem document for an error: status and code come from one table keyed by `err`, the detail from `e`
 * (its text) or, where that is NULL or empty, from ota_err_text. NO_SPACE is 507, UNAVAILABLE, BUSY and
 * NO_ROOT are 503 with Retry-After. */
enum h_result res_error(struct req *req, enum ota_err err, const struct errmsg *e);

/* HTTP status of that table. */
unsigned res_status_of(enum ota_err err);

/* A job of this request, on the lane whose kind of work it is (jobs.h). `fn` runs there, on JOB_STORE inside
 * a savepoint of the writing connection (anything but OTA_OK rolls that savepoint back); `ctx` is in
 * req->mem. Then, after the store's commit, `done` runs on the loop with fn's error (OTA_IO or OTA_NO_SPACE
 * when the commit itself failed; the words are in `job->e`). `done` answers (H_DONE) or posts the next job
 * (returns what that returned). A handler ends in `return req_job(req, JOB_STORE, fn, ctx, done);`. With
 * inline jobs (tests) everything has happened on return. The first job of a request is answered with 503
 * where its lane is full. */
typedef enum h_result (*req_done_fn)(struct req *req, struct res *res, struct job *job);

enum h_result req_job(struct req *req, enum job_lane lane, job_fn fn, void *ctx, req_done_fn done);

/* The next job of this request in the memory of the one that is done, so that it cannot fail: for what is
 * many jobs, or holds something until its last. `job` is what `done` of that one was called with. */
enum h_result req_job_again(
	struct req *req, enum job_lane lane, struct job *job, job_fn fn, void *ctx, req_done_fn done);

/* Where the bytes of an upload go. Called on JOB_SLOW, in order, never two at a time, at most 256 KiB a call.
 */
struct upload_sink {
	/* Take `len` bytes. After an error no more are offered. */
	enum ota_err (*write)(void *ctx, const uint8_t *bytes, size_t len, struct errmsg *e);
	void *ctx; /* in req->mem */
};

/* Take the body of a ROUTE_UPLOAD request. When all bytes were written, or a write failed, or the client went
 * away (upload_err OTA_TRUNCATED: an answer is then made but never sent), `end` runs on the loop with
 * req->upload_len and req->upload_err set; it usually posts the job that syncs and renames. `end` always runs
 * once req_upload was called. */
enum h_result req_upload(struct req *req, const struct upload_sink *sink, route_fn end);

#endif
