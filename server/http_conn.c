#include "server/http_internal.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "server/upload.h"

enum { CHECK_MS = 1000 };

void conn_describe_peer(const struct conn *c, char out[static PEER_TEXT_LEN])
{
	if (c->door->spec.kind == DOOR_SOCKET)
		snprintf(out, PEER_TEXT_LEN, "uid %ld", (long)c->peer_uid);
	else
		peer_text(&c->addr, out);
}

void conn_cut(struct conn *c)
{
	/* The close that follows resets. With a mere end of stream a peer whose window is full would be told
	 * nothing: the kernel's remnant of the socket goes on announcing no room, for a minute. */
	const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	shutdown(c->fd, SHUT_RDWR);
}

/* The library takes a short read for the end of what is there and then waits for an edge that has passed,
 * when the last bytes and the end of the stream came together. */
static bool peer_is_gone(const struct conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Nothing of a request can be answered before its end has come. */
static bool wants_bytes(const struct conn *c)
{
	const struct hreq *h = c->current;

	return !h || h->state == STATE_NEW || h->state == STATE_BODY || h->state == STATE_DISCARD;
}

static void deadline_check(struct timer *t);

static void watch(struct conn *c)
{
	struct timer_wheel *timers = c->door->http->app->timers;
	int64_t left = c->deadline_ms - timers->now_ms;

	timer_arm(timers, &c->deadline, left < CHECK_MS ? left : CHECK_MS, deadline_check, c);
}

/* Wake the library for an end that it has overlooked: closing our side of that direction makes a new edge,
 * and it reads what there is (TLS records that only it can see, too) up to the end. */
static void show_end(const struct conn *c)
{
	if (peer_is_gone(c))
		shutdown(c->fd, SHUT_RD);
}

static void deadline_check(struct timer *t)
{
	struct conn *c = t->ctx;

	if (c->door->http->app->timers->now_ms >= c->deadline_ms) {
		conn_cut(c);
		return;
	}
	if (wants_bytes(c))
		show_end(c);
	watch(c);
}

static void idle_passed(struct timer *t)
{
	conn_cut(t->ctx);
}

bool conn_bytes_sent(const struct conn *c, uint64_t *bytes)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof info;
	int queued;

	if (c->door->spec.kind == DOOR_SOCKET || getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
		ioctl(c->fd, SIOCOUTQ, &queued) != 0)
		return false;
	*bytes = (uint64_t)info.tcpi_bytes_acked + (uint64_t)queued;
	return true;
}

void conn_set_deadline(struct conn *c, int64_t ms)
{
	c->deadline_ms = c->door->http->app->timers->now_ms + ms;
	watch(c);
}

void conn_set_idle(struct conn *c, int64_t ms)
{
	timer_arm(c->door->http->app->timers, &c->deadline, ms, idle_passed, c);
	/* It said all that it had to say, and its end came with that. What it is still to be sent it gets. */
	show_end(c);
}

void conn_clear_deadline(struct conn *c)
{
	timer_cancel(c->door->http->app->timers, &c->deadline);
}

static void upload_check(struct timer *t)
{
	struct conn *c = t->ctx;
	struct hreq *h = c->current;
	int64_t age_ms, due;

	if (!h)
		return;
	if (upload_is_open(&h->req) && h->req.upload_err) {
		conn_set_deadline(c, c->door->http->body_ms);
		return;
	}
	age_ms = c->door->http->app->timers->now_ms - h->upload_begin_ms;
	due = age_ms > HTTP_UPLOAD_GRACE_MS ? (age_ms - HTTP_UPLOAD_GRACE_MS) / 1000 * HTTP_UPLOAD_BYTES_PER_S
					    : 0;
	if ((int64_t)h->req.upload_len < due || peer_is_gone(c)) {
		conn_cut(c);
		return;
	}
	conn_watch_upload(c);
}

void conn_watch_upload(struct conn *c)
{
	timer_arm(c->door->http->app->timers, &c->deadline, CHECK_MS, upload_check, c);
}

struct conn *conn_new(struct door *door, struct MHD_Connection *mhd, int fd)
{
	struct http *http = door->http;
	struct conn *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->door = door;
	c->mhd = mhd;
	c->peer_uid = (uid_t)-1;
	c->fd = fd;
	if (door->spec.kind == DOOR_SOCKET) {
		struct ucred cred;
		socklen_t len = sizeof cred;

		if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0)
			c->peer_uid = cred.uid;
	} else {
		socklen_t len = sizeof c->addr;

		if (getpeername(c->fd, (struct sockaddr *)&c->addr, &len) != 0)
			c->addr.ss_family = AF_UNSPEC;
	}
	c->next = http->conns;
	c->link = &http->conns;
	if (c->next)
		c->next->link = &c->next;
	http->conns = c;
	http->n_conns++;
	door->n_conns++;
	c->is_over_limit = http->n_conns > (unsigned)http->app->cfg->connections;
	conn_set_deadline(c, http->header_ms);
	return c;
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	conn_clear_deadline(c);
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	c->door->http->n_conns--;
	c->door->n_conns--;
	free(c);
}
