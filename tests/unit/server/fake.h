/* Requests without a network: the gate, the routes and the handlers as otad runs them, with inline jobs.
 *
 *	struct fake f;
 *	fake_init(&f, NULL);
 *	f.app.hooks.auth = ...;
 *	fake_header(&f, "Authorization", "Bearer x");
 *	fake_request(&f, routes, n_routes, "PUT", "/v1/boards/lamp", "{}");
 *	assert_int_equal(f.res.status, 201);
 *	fake_release(&f); */
#ifndef TESTS_FAKE_H
#define TESTS_FAKE_H

#include "server/app.h"
#include "server/dispatch.h"

struct fake {
	struct app app;
	struct config cfg;
	struct timer_wheel timers;
	struct arena mem;
	struct req req; /* as the last request left it */
	struct res res;
	int64_t now; /* what app_now says */
	int64_t mono_ms;
	struct gate_header headers[GATE_HEADERS_MAX];
	size_t n_headers;
	struct principal who; /* every request comes from; zeroed: nobody, so that hooks.auth decides */
	unsigned n_resumed;
	bool is_waiting; /* the last request said H_WAIT */
};

/* Defaults of the settings, a clock at 1,800,000,000, inline jobs. `jobs` (may be NULL: no database) says how
 * connections are opened; is_inline is set here. */
void fake_init(struct fake *f, const struct jobs_config *jobs);
void fake_release(struct fake *f);

/* For the next request only. */
void fake_header(struct fake *f, const char *name, const char *value);

/* Run one request; `body` may be NULL. A ROUTE_UPLOAD body is streamed in pieces of 1,000 bytes. f->res is
 * the answer; its texts live until the next request. */
void fake_request_bytes(struct fake *f, const struct route *rows, size_t n_rows, const char *method,
	const char *target, const void *body, size_t body_len);
void fake_request(struct fake *f, const struct route *rows, size_t n_rows, const char *method,
	const char *target, const char *body);

/* The body of the answer as text. */
const char *fake_body(struct fake *f);

/* A header of the answer; NULL: absent. */
const char *fake_answer_header(const struct fake *f, const char *name);

#endif
