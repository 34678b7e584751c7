/* The HTTP layer on real sockets with a test's own routes, its loop in a thread of its own, and a client. */
#ifndef TESTS_HTTPD_H
#define TESTS_HTTPD_H

#include <pthread.h>

#include "server/app.h"
#include "server/loop.h"
#include "server/tls.h"

struct httpd {
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

/* Doors with and without TLS on loopback; at most 40 connections, bodies of 64 MiB, five failures of an
 * address. "Bearer good" is a viewer. */
struct httpd *httpd_start(const struct route *rows, size_t n_rows);
struct httpd *httpd_start_deadlines(
	const struct route *rows, size_t n_rows, int64_t header_ms, int64_t body_ms);
void httpd_stop(struct httpd *s);

int httpd_dial_port(uint16_t port);
int httpd_dial(const struct httpd *s); /* the door without TLS */
void httpd_say(int fd, const char *text);

struct answer {
	int status; /* 0: closed without one, -1: nothing came in time */
	char text[8192];
	size_t len;
	char *body;
	bool is_closed; /* by the server, after the answer */
};

/* Some more bytes of an answer; false: nothing in time, or closed. */
bool httpd_more(int fd, struct answer *a, int timeout_ms);
/* A whole answer. */
void httpd_hear(int fd, struct answer *a, bool is_head);
/* One request on a connection of its own; its status. */
int httpd_ask(const struct httpd *s, const char *request, struct answer *a);

#endif
