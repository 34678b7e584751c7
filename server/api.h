/* What the operators' handlers share: one job per request, its answer made where the rows are.
 *
 * A handler reads its body on the loop, posts one job, and is done: the job function runs the SQL, writes the
 * audit row and builds the JSON, all in one savepoint; afterwards the loop sends it, tells the registry, and
 * wakes whoever waits for changes. */
#ifndef SERVER_API_H
#define SERVER_API_H

#include "db/db.h"
#include "server/app.h"
#include "server/handler.h"
#include "server/json.h"

struct api_job {
	struct app *app;
	const struct req *req; /* the request's texts and body; belongs to the job while it runs */
	int64_t now;
	int64_t if_revision;         /* of If-Match; 0: none */
	int64_t poll_s, poll_spread; /* settings as they were when the request came */
	void *in;                    /* the handler's own inputs */

	/* The answer. */
	unsigned status; /* 200 unless the job says otherwise; 204 sends no body */
	struct js_out out;
	int64_t revision;         /* ETag; 0: none */
	int64_t change;           /* X-Otad-Change; 0: none */
	const char *hint;         /* of a failure */
	struct req_pair header;   /* one more; name NULL: none */
	const char *content_type; /* with `body`: sent instead of `out` */
	const void *body;
	size_t body_len;
	/* Set by the job of a write that is too long for one: what was done is committed, and this is run as
	 * the next job instead of answering. Others' jobs come in between. */
	enum ota_err (*more)(struct api_job *a, struct job *job);
	/* With `more`: not before the registry is where this commit is, and has handed over who was heard
	 * until then. */
	bool is_settled_first;
	/* Nothing of it is in the registry, and its answer may be a secret that is told this once: it is
	 * answered also where the registry cannot follow. */
	bool is_not_followed;
	/* On the loop, after the commit of each job, before the answer; NULL: nothing. */
	void (*after)(struct api_job *a);
	void *after_ctx;
};

/* The job's function. `a->out` is ready for one value. An error rolls everything back. */
typedef enum ota_err (*api_fn)(struct api_job *a, struct job *job);

/* Run on the store thread, or on a worker with its read-only connection; then answer. One that walks a whole
 * fleet is a slow job: devices' envelopes would wait behind it. */
enum h_result api_store(struct req *req, api_fn fn, void *in);
enum h_result api_read_job(struct req *req, api_fn fn, void *in);
enum h_result api_slow_job(struct req *req, api_fn fn, void *in);

/* api_read_job for a list: `a->in` is the struct db_page of the query. */
enum h_result api_list(struct req *req, api_fn fn);

/* Read the body by table into `out`; false: `*res` is the answer already (400). */
bool api_body(struct req *req, const struct js_field *fields, size_t n_fields, void *out, enum h_result *res);

/* limit and after of a list's query. OTA_INVALID. */
enum { API_PAGE = 100, API_PAGE_MAX = 500 };
OTA_MUST_USE enum ota_err api_page(const struct req *req, struct db_page *out, struct errmsg *e);

/* The rows of any of db/'s lists: API_ROWS(list). */
struct api_rows {
	const void *rows;
	size_t n, size, id_at; /* of one row, and where its id is in it */
	int64_t next;
};
#define API_ROWS(list)                                                                                       \
	(&(const struct api_rows){(list).rows, (list).n, sizeof((list).rows[0]),                             \
		offsetof(__typeof__((list).rows[0]), id), (list).next})

/* The members of a row's object, which is open. */
typedef enum ota_err (*api_row_fn)(void *ctx, const void *row);

/* The answer of a list: {"items":[ ... ],"next":...}. A page may end before its limit, where its text has
 * become this long; a client goes by `next` alone. */
enum { API_ANSWER_MAX = 1024 * 1024 - 64 * 1024 }; /* the text doubles: with one more row it is below 1 MiB */
OTA_MUST_USE enum ota_err api_items(struct api_job *a, const struct api_rows *list, api_row_fn fn, void *ctx);

/* The audit row of what this request does; in the same savepoint. `before` and `after` are JSON or NULL. */
OTA_MUST_USE enum ota_err api_audit(struct api_job *a, struct job *job, const char *action,
	const char *target, const char *before, const char *after);

/* The audit's JSON: a one-level object of texts; NULL values are left out. Ends with a NULL name. */
const char *api_facts(struct arena *mem, const char *name, ...) __attribute__((sentinel));

/* An error answer with a hint ("did you mean lamp?"); `hint` NULL: none. */
enum h_result api_fail(
	struct req *req, unsigned status, enum ota_err err, const struct errmsg *e, const char *hint);

/* An optional text query parameter: NULL when absent or empty. */
const char *api_query(const struct req *req, const char *name);

/* A whole decimal number from min to max and nothing else. */
bool api_number(const char *text, int64_t min, int64_t max, int64_t *out);

/* A SHA-256 in the path. OTA_INVALID with words. */
OTA_MUST_USE enum ota_err api_sha256(const char *text, uint8_t out[32], struct errmsg *e);

#endif
