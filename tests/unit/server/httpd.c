#include "tests/unit/server/httpd.h"

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
	jobs_complete(((struct httpd *)s->ctx)->app.jobs);
}

static void on_stop(struct loop_source *s, uint32_t events)
{
	(void)events;
	loop_stop(((struct httpd *)s->ctx)->loop);
}

static void *run(void *arg)
{
	loop_run(((struct httpd *)arg)->loop);
	return NULL;
}

static void must(enum ota_err err, const struct errmsg *e)
{
	if (err)
		fail_msg("%s", e->text);
}

static uint16_t open_door(struct httpd *s, const char *text, const char *cert, const char *key)
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

struct httpd *httpd_start_deadlines(
	const struct route *rows, size_t n_rows, int64_t header_ms, int64_t body_ms)
{
	struct httpd *s = calloc(1, sizeof *s);
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
	must(http_new(&s->app, s->loop, rows, n_rows, &s->app.http, &e), &e);
	http_set_deadlines(s->app.http, header_ms, body_ms);
	s->port = open_door(s, "http://127.0.0.1:0", NULL, NULL);
	must(tls_load(&s->cfg, 1800000000, &s->tls, &e), &e);
	s->tls_port = open_door(s, "https://127.0.0.1:0", s->tls.cert, s->tls.key);
	assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
	return s;
}

struct httpd *httpd_start(const struct route *rows, size_t n_rows)
{
	return httpd_start_deadlines(rows, n_rows, HTTP_HEADER_MS, HTTP_BODY_MS);
}

void httpd_stop(struct httpd *s)
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

/* The client. */

int httpd_dial_port(uint16_t port)
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	return fd;
}

int httpd_dial(const struct httpd *s)
{
	return httpd_dial_port(s->port);
}

void httpd_say(int fd, const char *text)
{
	size_t len = strlen(text), done = 0;

	while (done < len) {
		ssize_t n = send(fd, text + done, len - done, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		done += (size_t)n;
	}
}

bool httpd_more(int fd, struct answer *a, int timeout_ms)
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

void httpd_hear(int fd, struct answer *a, bool is_head)
{
	char *end, *field;
	size_t need;

	memset(a, 0, sizeof *a);
	while (!(end = strstr(a->text, "\r\n\r\n"))) {
		if (!httpd_more(fd, a, 15000)) {
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
	while ((size_t)(a->text + a->len - a->body) < need && httpd_more(fd, a, 15000))
		;
	if (strcasestr(a->text, "Connection: close"))
		a->is_closed = true;
}

int httpd_ask(const struct httpd *s, const char *request, struct answer *a)
{
	int fd = httpd_dial(s);

	httpd_say(fd, request);
	httpd_hear(fd, a, strncmp(request, "HEAD", 4) == 0);
	close(fd);
	return a->status;
}
