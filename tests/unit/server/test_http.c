/* The HTTP layer on real sockets: framing, bodies, suspended requests, uploads, deadlines, limits. */
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/httpd.h"

/* Handlers. */

static enum h_result h_hello(struct req *req, struct res *res)
{
	(void)req;
	return res_body(res, 200, "text/plain", "hello", 5);
}

static enum h_result h_echo(struct req *req, struct res *res)
{
	return res_body(res, 200, "application/octet-stream", req->body, req->body_len);
}

static enum ota_err slow(struct job *job)
{
	(void)job;
	usleep(20000);
	return OTA_OK;
}

static enum h_result slow_done(struct req *req, struct res *res, struct job *job)
{
	char *text = arena_printf(req->mem, "after %d, body %zu", job->err, req->body_len);

	return res_body(res, 200, "text/plain", text, strlen(text));
}

static enum h_result h_slow(struct req *req, struct res *res)
{
	(void)res;
	return req_job(req, JOB_READ, slow, NULL, slow_done);
}

static sem_t held_go_on;

static enum ota_err held(struct job *job)
{
	(void)job;
	sem_wait(&held_go_on);
	return OTA_OK;
}

static enum h_result h_held(struct req *req, struct res *res)
{
	(void)res;
	return req_job(req, JOB_SLOW, held, NULL, slow_done);
}

static enum h_result twice_done(struct req *req, struct res *res, struct job *job)
{
	(void)res;
	return req_job(req, JOB_READ, slow, job->ctx, slow_done);
}

static enum h_result h_twice(struct req *req, struct res *res)
{
	(void)res;
	return req_job(req, JOB_READ, slow, NULL, twice_done);
}

struct sum {
	uint64_t sum, len;
	uint64_t fail_after;
	unsigned delay_us;
};

static unsigned n_truncated;

static enum ota_err sum_write(void *ctx, const uint8_t *bytes, size_t len, struct errmsg *e)
{
	struct sum *s = ctx;

	if (s->delay_us)
		usleep(s->delay_us);
	for (size_t i = 0; i < len; i++)
		s->sum = s->sum * 31 + bytes[i];
	s->len += len;
	if (s->fail_after && s->len > s->fail_after)
		return errmsg_fail(e, OTA_NO_SPACE, "the disk is full");
	return OTA_OK;
}

static enum h_result sum_end(struct req *req, struct res *res)
{
	struct sum *s = req->ctx;
	char *text;

	if (req->upload_err == OTA_TRUNCATED)
		__atomic_add_fetch(&n_truncated, 1, __ATOMIC_SEQ_CST);
	if (req->upload_err)
		return res_error(req, req->upload_err, &req->upload_e);
	text = arena_printf(req->mem, "%llu %llu", (unsigned long long)s->len, (unsigned long long)s->sum);
	return res_body(res, 201, "text/plain", text, strlen(text));
}

static enum h_result start_upload(struct req *req)
{
	struct sum *s = arena_alloc(req->mem, sizeof *s);
	struct upload_sink sink = {.write = sum_write, .ctx = s};

	s->fail_after = req_query(req, "fail") ? 300000 : 0;
	s->delay_us = req_query(req, "slow") ? 20000 : 0;
	req->ctx = s;
	return req_upload(req, &sink, sum_end);
}

static enum h_result upload_after_job(struct req *req, struct res *res, struct job *job)
{
	(void)job;
	(void)res;
	return start_upload(req);
}

/* As the image upload does: a job first (may this be taken?), then the body. */
static enum h_result h_upload(struct req *req, struct res *res)
{
	(void)res;
	if (req_query(req, "no"))
		return res_problem(req, 507, "no-space", "no");
	if (req_query(req, "now"))
		return start_upload(req);
	return req_job(req, JOB_READ, slow, NULL, upload_after_job);
}

static const struct route rows[] = {
	{HTTP_GET, "/hello", ROLE_PUBLIC, 0, h_hello, 0, NULL},
	{HTTP_GET, "/slow", ROLE_PUBLIC, 0, h_slow, 0, NULL},
	{HTTP_GET, "/twice", ROLE_PUBLIC, 0, h_twice, 0, NULL},
	{HTTP_POST, "/echo", ROLE_PUBLIC, 2000, h_echo, 0, NULL},
	{HTTP_PATCH, "/echo", ROLE_PUBLIC, 2000, h_echo, 0, NULL},
	{HTTP_POST, "/slow", ROLE_PUBLIC, 2000, h_slow, 0, NULL},
	{HTTP_POST, "/held", ROLE_PUBLIC, 2000, h_held, 0, NULL},
	{HTTP_DELETE, "/hello", ROLE_PUBLIC, 0, h_hello, 0, NULL},
	{HTTP_PUT, "/upload", ROLE_PUBLIC, 0, h_upload, ROUTE_UPLOAD, NULL},
	{HTTP_GET, "/token", ROLE_VIEWER, 0, h_hello, 0, NULL},
	{HTTP_GET, "/admin", ROLE_ADMIN, 0, h_hello, 0, NULL},
	{HTTP_GET, "/rooted", ROLE_PUBLIC, 0, h_hello, ROUTE_NEEDS_ROOT, NULL},
};

static int up(void **state)
{
	*state = httpd_start(rows, sizeof rows / sizeof rows[0]);
	return 0;
}

/* As long as no test but one of deadlines could stand. */
enum { SHORT_MS = 1500 };

static int up_short(void **state)
{
	*state = httpd_start_deadlines(rows, sizeof rows / sizeof rows[0], SHORT_MS, SHORT_MS);
	return 0;
}

/* No deadline is over while a test runs. */
static int up_long(void **state)
{
	*state = httpd_start_deadlines(rows, sizeof rows / sizeof rows[0], 600000, 600000);
	return 0;
}

static int down(void **state)
{
	httpd_stop(*state);
	return 0;
}

/* Tests. */

static void statuses(void **state)
{
	static const struct {
		const char *request;
		int status;
		const char *has;
	} cases[] = {
		{"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 200, "\r\n\r\nhello"},
		{"GET /hello?x=1&y HTTP/1.1\r\nHost: a\r\n\r\n", 200, "hello"},
		{"GET /%68ello HTTP/1.1\r\nHost: a\r\n\r\n", 200, "hello"},
		{"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n", 200, "Content-Length: 5"},
		{"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", 200, "after 0, body 0"},
		{"GET /twice HTTP/1.1\r\nHost: a\r\n\r\n", 200, "after 0, body 0"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200, "\r\n\r\nabc"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 200, "Content-Length: 0"},
		{"PATCH /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200, "\r\n\r\nabc"},
		{"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200, "after 0, body 3"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
			200, "\r\n\r\nabcde"},
		{"DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n", 200, "hello"},
		{"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404, "application/problem+json"},
		{"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405,
			"Allow: GET, HEAD, DELETE"},
		{"PUT /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405, "Connection: close"},
		{"PATCH /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 405,
			"Connection: close"},
		{"BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n", 501, "problem"},
		{"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 413, "Connection: close"},
		{"GET /hello HTTP/1.1\r\n\r\n", 400, ""},
		{"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "twice"},
		{"GET /a/../hello HTTP/1.1\r\nHost: a\r\n\r\n", 400, "dot segment"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
		 "chunked\r\n\r\n0\r\n\r\n",
			400, "Connection: close"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, ""},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2001\r\n\r\n", 413, "2000 bytes"},
		{"GET /token HTTP/1.1\r\nHost: a\r\n\r\n", 401, "WWW-Authenticate: Bearer"},
		{"GET /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n\r\n", 200, "hello"},
		{"GET /admin HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n\r\n", 403, "not-allowed"},
		{"GET /rooted HTTP/1.1\r\nHost: a\r\n\r\n", 503, "run otactl init"},
		{"PUT /upload?no HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 507,
			"Connection: close"},
		{"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 201, "\r\n\r\n3 "},
		{"PUT /upload?now HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 201, "\r\n\r\n3 "},
		{"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 201, "\r\n\r\n0 "},
		{"PUT /upload?now HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 201, "\r\n\r\n0 "},
		{"PUT /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
			201, "3 "},
		{"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 67108865\r\n\r\n", 413, ""},
	};
	struct answer a;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		if (httpd_ask(*state, cases[i].request, &a) != cases[i].status ||
			!strstr(a.text, cases[i].has))
			fail_msg("%s\n-> %d, not %d with '%s':\n%s", cases[i].request, a.status,
				cases[i].status, cases[i].has, a.text);
	}
}

/* Many requests of one connection, pipelined too, with and without jobs and bodies. */
static void keep_alive(void **state)
{
	static const char *const requests[] = {
		"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab",
		"GET /token HTTP/1.1\r\nHost: a\r\n\r\n",
	};
	static const int statuses_wanted[] = {200, 200, 200, 200, 201, 404, 200, 401};
	enum { N = sizeof requests / sizeof requests[0] };
	int fd = httpd_dial(*state);
	struct answer a;

	for (unsigned i = 0; i < 2 * N; i++) {
		httpd_say(fd, requests[i % N]);
		httpd_hear(fd, &a, false);
		if (a.status != statuses_wanted[i % N] || a.is_closed)
			fail_msg("request %u: %d%s: %s", i, a.status, a.is_closed ? ", closed" : "", a.text);
	}
	/* All at once: the answers come in order. */
	for (unsigned i = 0; i < 3; i++)
		httpd_say(fd, requests[i]);
	memset(&a, 0, sizeof a);
	while (!strstr(a.text, "\r\n\r\nabc") && httpd_more(fd, &a, 5000))
		;
	assert_non_null(strstr(a.text, "hello"));
	assert_true(strstr(a.text, "hello") < strstr(a.text, "after 0"));
	assert_true(strstr(a.text, "after 0") < strstr(a.text, "\r\n\r\nabc"));
	close(fd);
}

static void big_uploads(void **state)
{
	static const char *const ways[] = {"", "?now", "?slow", "?now&slow"};
	enum { LEN = 3 * 1000 * 1000 + 17 };
	char *bytes = malloc(LEN + 1);
	uint64_t sum = 0;
	struct answer a;
	char want[64];

	for (unsigned i = 0; i < LEN; i++) {
		bytes[i] = (char)('a' + i * 7 % 26);
		sum = sum * 31 + (uint8_t)bytes[i];
	}
	bytes[LEN] = '\0';
	snprintf(want, sizeof want, "%d %llu", LEN, (unsigned long long)sum);
	for (unsigned w = 0; w < 4; w++) {
		int fd = httpd_dial(*state);
		char head[128];

		snprintf(head, sizeof head, "PUT /upload%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
			ways[w], LEN);
		httpd_say(fd, head);
		httpd_say(fd, bytes);
		httpd_hear(fd, &a, false);
		assert_int_equal(a.status, 201);
		assert_string_equal(a.body, want);
		httpd_say(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
		httpd_hear(fd, &a, false);
		assert_int_equal(a.status, 200);
		close(fd);
	}
	free(bytes);
}

static void failing_upload(void **state)
{
	enum { LEN = 900000 };
	char *bytes = malloc(LEN + 1);
	struct answer a;
	int fd = httpd_dial(*state);

	memset(bytes, 'x', LEN);
	bytes[LEN] = '\0';
	httpd_say(fd, "PUT /upload?fail HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
	httpd_say(fd, bytes);
	httpd_hear(fd, &a, false);
	assert_int_equal(a.status, 507);
	assert_non_null(strstr(a.text, "the disk is full"));
	close(fd);
	free(bytes);
}

/* After a failed write so much is read that the answer can be heard, and no more. */
static void endless_failing_upload(void **state)
{
	enum { LEN = 60 * 1000 * 1000, STEP = 100000 };
	static char bytes[STEP];
	size_t sent = 0;
	int fd = httpd_dial(*state);

	httpd_say(fd, "PUT /upload?fail HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n");
	while (sent < LEN) {
		ssize_t n = send(fd, bytes, STEP, MSG_NOSIGNAL);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	if (sent >= LEN || sent < 16u << 20)
		fail_msg("%zu bytes were taken", sent);
	close(fd);
}

/* The client goes away in the middle: the handler's end runs, and nothing is left behind (ASan looks). */
static void broken_uploads(void **state)
{
	char *bytes = malloc(400001);
	unsigned before = __atomic_load_n(&n_truncated, __ATOMIC_SEQ_CST);

	memset(bytes, 'x', 400000);
	bytes[400000] = '\0';
	for (unsigned i = 0; i < 8; i++) {
		int fd = httpd_dial(*state);

		httpd_say(
			fd, i % 2 ? "PUT /upload?slow HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"
				  : "PUT /upload?now HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
		bytes[i * 50000] = '\0';
		httpd_say(fd, bytes);
		bytes[i * 50000] = 'x';
		close(fd);
	}
	for (unsigned i = 0; i < 300 && __atomic_load_n(&n_truncated, __ATOMIC_SEQ_CST) < before + 8; i++)
		usleep(10000);
	assert_int_equal(__atomic_load_n(&n_truncated, __ATOMIC_SEQ_CST), before + 8);
	free(bytes);
}

/* The client goes away while a job runs. */
static void broken_waits(void **state)
{
	struct answer a;

	for (unsigned i = 0; i < 10; i++) {
		int fd = httpd_dial(*state);

		httpd_say(fd, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
		close(fd);
	}
	usleep(100000);
	assert_int_equal(httpd_ask(*state, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &a), 200);
}

static void body_over_the_limit_chunked(void **state)
{
	char request[8000] = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
	char piece[1024];
	struct answer a;

	memset(piece, 'x', 1000);
	piece[1000] = '\0';
	for (unsigned i = 0; i < 3; i++) {
		strcat(request, "3e8\r\n");
		strcat(request, piece);
		strcat(request, "\r\n");
	}
	strcat(request, "0\r\n\r\n");
	assert_int_equal(httpd_ask(*state, request, &a), 413);
	assert_true(a.is_closed);
}

static void too_many_headers(void **state)
{
	char request[2048] = "GET /hello HTTP/1.1\r\nHost: a\r\n";
	struct answer a;

	for (unsigned i = 0; i < 40; i++)
		strcat(request, "X: y\r\n");
	strcat(request, "\r\n");
	assert_int_equal(httpd_ask(*state, request, &a), 400);
}

static void connection_limit(void **state)
{
	int fds[40];
	struct answer a;

	for (unsigned i = 0; i < 40; i++) {
		fds[i] = httpd_dial(*state);
		httpd_say(fds[i], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
		httpd_hear(fds[i], &a, false);
		assert_int_equal(a.status, 200);
	}
	assert_int_equal(httpd_ask(*state, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &a), 503);
	assert_non_null(strstr(a.text, "Retry-After: 10"));
	assert_true(a.is_closed);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	for (unsigned i = 0; i < 50; i++) {
		usleep(10000);
		if (httpd_ask(*state, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &a) == 200)
			return;
	}
	fail_msg("still %d after the others left", a.status);
}

static void wrong_credentials(void **state)
{
	static const char wrong[] = "GET /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer bad\r\n\r\n";
	struct answer a;
	int last = 0;

	for (unsigned i = 0; i < 8; i++)
		last = httpd_ask(*state, wrong, &a);
	assert_int_equal(last, 429);
	/* The right one still passes: others behind the same address are not locked out. */
	assert_int_equal(
		httpd_ask(*state, "GET /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n\r\n", &a),
		200);
}

static void slow_header(void **state)
{
	/* Before the first of them begins: none of their deadlines is over sooner than SHORT_MS from here. */
	int64_t begin_ms = loop_now_ms();
	int drip = httpd_dial(*state), silent = httpd_dial(*state), body = httpd_dial(*state),
	    failed = httpd_dial(*state);
	struct answer a = {.status = 0};
	bool is_open[4] = {true, true, true, true};
	int fds[4] = {drip, silent, body, failed};
	static char part[800001];

	httpd_say(drip, "GET /hello HTTP/1.1\r\nHost: a\r\n");
	httpd_say(body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	/* Its write fails; what follows drips. */
	memset(part, 'x', sizeof part - 1);
	httpd_say(failed, "PUT /upload?fail HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
	httpd_say(failed, part);
	while (loop_now_ms() - begin_ms < 30000 && (is_open[0] || is_open[1] || is_open[2] || is_open[3])) {
		usleep(100000);
		if (is_open[0])
			httpd_say(drip, "X: y\r\n");
		if (is_open[3])
			httpd_say(failed, "xxxxxxxxxxxxxxxx");
		for (unsigned i = 0; i < 4; i++) {
			if (!is_open[i])
				continue;
			a.len = 0;
			a.is_closed = false;
			(void)httpd_more(fds[i], &a, 0);
			if (a.is_closed) {
				is_open[i] = false;
				if (loop_now_ms() - begin_ms < SHORT_MS - 100)
					fail_msg("closed after %lld ms",
						(long long)(loop_now_ms() - begin_ms));
			}
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		if (is_open[i])
			fail_msg("connection %u is still open", i);
		close(fds[i]);
	}
}

/* The end of the stream in the very segment of the last bytes: the library sees the bytes alone. */
static int say_and_end(const struct httpd *s, const char *text)
{
	int fd = httpd_dial(s);

	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_MORE), (ssize_t)strlen(text));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	return fd;
}

/* Should the test have failed: what is held would keep the server from its end. */
static int down_held(void **state)
{
	sem_post(&held_go_on);
	return down(state);
}

/* Half a request whose other half cannot come any more is ended long before its deadline; who has said all
 * and waits for the answer gets it, however long that takes. */
static void half_requests(void **state)
{
	static const char *const halves[] = {
		"POST /ec",
		"GET /hello HTTP/1.1\r\nHost: a\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	};
	enum { N = sizeof halves / sizeof halves[0] };
	static char large[3200];
	struct answer a;
	int fd[N + 1], waiting;

	assert_int_equal(sem_init(&held_go_on, 0, 0), 0);
	waiting = say_and_end(*state, "POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
	for (unsigned i = 0; i < N; i++)
		fd[i] = say_and_end(*state, halves[i]);
	/* What is read only to be thrown away. */
	snprintf(large, sizeof large,
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nbb8\r\n%03000d\r\n", 0);
	fd[N] = say_and_end(*state, large);
	for (unsigned i = 0; i <= N; i++) {
		httpd_hear(fd[i], &a, false);
		assert_int_equal(a.status, 0);
		close(fd[i]);
	}
	/* It was looked at as often as they were. */
	sem_post(&held_go_on);
	httpd_hear(waiting, &a, false);
	assert_int_equal(a.status, 200);
	/* Nothing more can come: it is not kept as an idle connection. */
	(void)httpd_more(waiting, &a, 15000);
	assert_true(a.is_closed);
	close(waiting);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(statuses, up, down),
		cmocka_unit_test_setup_teardown(keep_alive, up, down),
		cmocka_unit_test_setup_teardown(big_uploads, up, down),
		cmocka_unit_test_setup_teardown(failing_upload, up, down),
		cmocka_unit_test_setup_teardown(endless_failing_upload, up, down),
		cmocka_unit_test_setup_teardown(broken_uploads, up, down),
		cmocka_unit_test_setup_teardown(broken_waits, up, down),
		cmocka_unit_test_setup_teardown(body_over_the_limit_chunked, up, down),
		cmocka_unit_test_setup_teardown(too_many_headers, up, down),
		cmocka_unit_test_setup_teardown(connection_limit, up, down),
		cmocka_unit_test_setup_teardown(wrong_credentials, up, down),
		cmocka_unit_test_setup_teardown(slow_header, up_short, down),
		cmocka_unit_test_setup_teardown(half_requests, up_long, down_held),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
