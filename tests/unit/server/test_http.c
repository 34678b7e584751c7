/* The HTTP layer on real sockets: framing, bodies, suspended requests, uploads, deadlines, limits. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/crypto_openssl.h"
#include "server/app.h"
#include "server/datadir.h"
#include "server/http.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/tls.h"
#include "tests/unit/server/cmocka_all.h"

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
	{HTTP_GET, "/hello", ROLE_PUBLIC, 0, h_hello, 0},
	{HTTP_GET, "/slow", ROLE_PUBLIC, 0, h_slow, 0},
	{HTTP_GET, "/twice", ROLE_PUBLIC, 0, h_twice, 0},
	{HTTP_POST, "/echo", ROLE_PUBLIC, 2000, h_echo, 0},
	{HTTP_PATCH, "/echo", ROLE_PUBLIC, 2000, h_echo, 0},
	{HTTP_POST, "/slow", ROLE_PUBLIC, 2000, h_slow, 0},
	{HTTP_DELETE, "/hello", ROLE_PUBLIC, 0, h_hello, 0},
	{HTTP_PUT, "/upload", ROLE_PUBLIC, 0, h_upload, ROUTE_UPLOAD},
	{HTTP_GET, "/token", ROLE_VIEWER, 0, h_hello, 0},
	{HTTP_GET, "/admin", ROLE_ADMIN, 0, h_hello, 0},
	{HTTP_GET, "/rooted", ROLE_PUBLIC, 0, h_hello, ROUTE_NEEDS_ROOT},
};

/* The server, in a thread of its own. */

struct server {
	struct app app;
	struct config cfg;
	struct loop *loop;
	struct loop_source jobs_done, stop;
	int stop_fd;
	pthread_t thread;
	uint16_t port, tls_port;
	char dir[64];
	struct tls_material tls;
};

static int64_t wall(void *ctx)
{
	(void)ctx;
	return 1800000000;
}

static int64_t mono(void *ctx)
{
	(void)ctx;
	return loop_now_ms();
}

static enum ota_err check_token(struct app *app, struct req *req)
{
	const char *auth = req_header(req, "Authorization");

	(void)app;
	if (!auth || strcmp(auth, "Bearer good") != 0)
		return OTA_DENIED;
	req->who.kind = WHO_TOKEN;
	req->who.role = ROLE_VIEWER;
	return OTA_OK;
}

static void on_jobs(struct loop_source *s, uint32_t events)
{
	(void)events;
	jobs_complete(((struct server *)s->ctx)->app.jobs);
}

static void on_stop(struct loop_source *s, uint32_t events)
{
	(void)events;
	loop_stop(((struct server *)s->ctx)->loop);
}

static void *run(void *arg)
{
	loop_run(((struct server *)arg)->loop);
	return NULL;
}

static void must(enum ota_err err, const struct errmsg *e)
{
	if (err)
		fail_msg("%s", e->text);
}

static uint16_t open_door(struct server *s, const char *text, const char *cert, const char *key)
{
	struct door_spec spec;
	struct sockaddr_in addr;
	socklen_t len = sizeof addr;
	struct errmsg e;
	int fd;

	must(door_parse(text, false, &spec, &e), &e);
	must(door_listen(&spec, &fd, &e), &e);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	must(http_open(s->app.http, &spec, fd, cert, key, &e), &e);
	return ntohs(addr.sin_port);
}

static struct server *start(void)
{
	struct server *s = calloc(1, sizeof *s);
	const struct jobs_config jobs = {.db_open = NULL};
	struct errmsg e = {{0}};

	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	must(config_init(&s->cfg, &e), &e);
	s->cfg.max_image = 64 << 20;
	s->cfg.connections = 40;
	s->cfg.auth_failures = 5;
	snprintf(s->dir, sizeof s->dir, "/tmp/otad-http-test-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	s->cfg.data = s->dir;
	s->app.cfg = &s->cfg;
	s->app.crypto = crypto_openssl();
	s->app.clock = wall;
	s->app.mono_ms = mono;
	s->app.hooks.auth = check_token;
	must(loop_new(&s->loop, &e), &e);
	s->app.loop = s->loop;
	s->app.timers = loop_timers(s->loop);
	must(jobs_new(&jobs, &s->app.jobs, &e), &e);
	s->jobs_done.fn = on_jobs;
	s->jobs_done.ctx = s;
	must(loop_add(s->loop, &s->jobs_done, jobs_fd(s->app.jobs), EPOLLIN, &e), &e);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	s->stop.fn = on_stop;
	s->stop.ctx = s;
	must(loop_add(s->loop, &s->stop, s->stop_fd, EPOLLIN, &e), &e);
	must(http_new(&s->app, s->loop, rows, sizeof rows / sizeof rows[0], &s->app.http, &e), &e);
	s->port = open_door(s, "http://127.0.0.1:0", NULL, NULL);
	must(tls_load(&s->cfg, 1800000000, &s->tls, &e), &e);
	s->tls_port = open_door(s, "https://127.0.0.1:0", s->tls.cert, s->tls.key);
	assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
	return s;
}

static void stop(struct server *s)
{
	const uint64_t one = 1;
	char path[128];

	assert_int_equal(write(s->stop_fd, &one, sizeof one), (int)sizeof one);
	pthread_join(s->thread, NULL);
	/* What waits for a job is let finish, as server.c does. */
	http_cut(s->app.http);
	while (http_waiting(s->app.http) > 0) {
		usleep(1000);
		jobs_complete(s->app.jobs);
	}
	http_free(s->app.http);
	assert_true(jobs_free(s->app.jobs));
	loop_free(s->loop);
	close(s->stop_fd);
	tls_release(&s->tls);
	config_release(&s->cfg);
	snprintf(path, sizeof path, "%s/tls/cert.pem", s->dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/tls/key.pem", s->dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/tls", s->dir);
	rmdir(path);
	rmdir(s->dir);
	free(s);
}

static int up(void **state)
{
	*state = start();
	return 0;
}

static int down(void **state)
{
	stop(*state);
	return 0;
}

/* The client. */

static int dial(const struct server *s)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	size_t len = strlen(text), done = 0;

	while (done < len) {
		ssize_t n = send(fd, text + done, len - done, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

struct answer {
	int status; /* 0: closed without one, -1: nothing came in time */
	char text[8192];
	size_t len;
	char *body;
	bool is_closed; /* by the server, after the answer */
};

static bool more(int fd, struct answer *a, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, timeout_ms) <= 0)
		return false;
	n = recv(fd, a->text + a->len, sizeof a->text - 1 - a->len, 0);
	if (n <= 0) {
		a->is_closed = true;
		return false;
	}
	a->len += (size_t)n;
	a->text[a->len] = '\0';
	return true;
}

static void hear(int fd, struct answer *a, bool is_head)
{
	char *end, *field;
	size_t need;

	memset(a, 0, sizeof *a);
	while (!(end = strstr(a->text, "\r\n\r\n"))) {
		if (!more(fd, a, 15000)) {
			a->status = a->is_closed ? 0 : -1;
			return;
		}
	}
	a->body = end + 4;
	a->status = atoi(a->text + 9);
	field = strcasestr(a->text, "\r\nContent-Length:");
	need = field && field < end && !is_head && a->status != 304 && a->status != 204
		       ? (size_t)atol(field + 17)
		       : 0;
	while ((size_t)(a->text + a->len - a->body) < need && more(fd, a, 15000))
		;
	if (strcasestr(a->text, "Connection: close"))
		a->is_closed = true;
}

static int ask(const struct server *s, const char *request, struct answer *a)
{
	int fd = dial(s);

	say(fd, request);
	hear(fd, a, strncmp(request, "HEAD", 4) == 0);
	close(fd);
	return a->status;
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
		if (ask(*state, cases[i].request, &a) != cases[i].status || !strstr(a.text, cases[i].has))
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
	int fd = dial(*state);
	struct answer a;

	for (unsigned i = 0; i < 2 * N; i++) {
		say(fd, requests[i % N]);
		hear(fd, &a, false);
		if (a.status != statuses_wanted[i % N] || a.is_closed)
			fail_msg("request %u: %d%s: %s", i, a.status, a.is_closed ? ", closed" : "", a.text);
	}
	/* All at once: the answers come in order. */
	for (unsigned i = 0; i < 3; i++)
		say(fd, requests[i]);
	memset(&a, 0, sizeof a);
	while (!strstr(a.text, "\r\n\r\nabc") && more(fd, &a, 5000))
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
		int fd = dial(*state);
		char head[128];

		snprintf(head, sizeof head, "PUT /upload%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
			ways[w], LEN);
		say(fd, head);
		say(fd, bytes);
		hear(fd, &a, false);
		assert_int_equal(a.status, 201);
		assert_string_equal(a.body, want);
		say(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
		hear(fd, &a, false);
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
	int fd = dial(*state);

	memset(bytes, 'x', LEN);
	bytes[LEN] = '\0';
	say(fd, "PUT /upload?fail HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
	say(fd, bytes);
	hear(fd, &a, false);
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
	int fd = dial(*state);

	say(fd, "PUT /upload?fail HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n");
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
		int fd = dial(*state);

		say(fd, i % 2 ? "PUT /upload?slow HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"
			      : "PUT /upload?now HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
		bytes[i * 50000] = '\0';
		say(fd, bytes);
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
		int fd = dial(*state);

		say(fd, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
		close(fd);
	}
	usleep(100000);
	assert_int_equal(ask(*state, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &a), 200);
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
	assert_int_equal(ask(*state, request, &a), 413);
	assert_true(a.is_closed);
}

static void too_many_headers(void **state)
{
	char request[2048] = "GET /hello HTTP/1.1\r\nHost: a\r\n";
	struct answer a;

	for (unsigned i = 0; i < 40; i++)
		strcat(request, "X: y\r\n");
	strcat(request, "\r\n");
	assert_int_equal(ask(*state, request, &a), 400);
}

static void connection_limit(void **state)
{
	int fds[40];
	struct answer a;

	for (unsigned i = 0; i < 40; i++) {
		fds[i] = dial(*state);
		say(fds[i], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
		hear(fds[i], &a, false);
		assert_int_equal(a.status, 200);
	}
	assert_int_equal(ask(*state, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &a), 503);
	assert_non_null(strstr(a.text, "Retry-After: 10"));
	assert_true(a.is_closed);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	for (unsigned i = 0; i < 50; i++) {
		usleep(10000);
		if (ask(*state, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", &a) == 200)
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
		last = ask(*state, wrong, &a);
	assert_int_equal(last, 429);
	/* The right one still passes: others behind the same address are not locked out. */
	assert_int_equal(
		ask(*state, "GET /token HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n\r\n", &a), 200);
}

static void slow_header(void **state)
{
	int drip = dial(*state), silent = dial(*state), body = dial(*state), failed = dial(*state);
	int64_t begin_ms = loop_now_ms();
	struct answer a = {.status = 0};
	bool is_open[4] = {true, true, true, true};
	int fds[4] = {drip, silent, body, failed};
	static char part[800001];

	say(drip, "GET /hello HTTP/1.1\r\nHost: a\r\n");
	say(body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
	/* Its write fails; what follows drips. */
	memset(part, 'x', sizeof part - 1);
	say(failed, "PUT /upload?fail HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
	say(failed, part);
	while (loop_now_ms() - begin_ms < 13000 && (is_open[0] || is_open[1] || is_open[2] || is_open[3])) {
		usleep(250000);
		if (is_open[0])
			say(drip, "X: y\r\n");
		if (is_open[3])
			say(failed, "xxxxxxxxxxxxxxxx");
		for (unsigned i = 0; i < 4; i++) {
			if (!is_open[i])
				continue;
			a.len = 0;
			a.is_closed = false;
			(void)more(fds[i], &a, 0);
			if (a.is_closed) {
				is_open[i] = false;
				if (loop_now_ms() - begin_ms < 9500)
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
		cmocka_unit_test_setup_teardown(slow_header, up, down),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
