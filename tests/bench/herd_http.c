#include "tests/bench/herd_http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct slot {
	int fd; /* -1: not connected */
	bool is_connecting, is_busy, is_done, want_write;
	int64_t started_us;
	size_t sent, len; /* of out */
	size_t used;      /* of in */
	char out[HERD_REQUEST_MAX];
	char in[HERD_ANSWER_MAX + 1];
};

struct herd {
	struct herd_run *run;
	const struct herd_ops *ops;
	void *ctx;
	struct slot *slots;
	int ep;
	bool is_over; /* no new requests */
};

int64_t herd_now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void watch(struct herd *h, unsigned i, bool want_write, int op)
{
	struct epoll_event ev = {.events = EPOLLIN | (want_write ? (uint32_t)EPOLLOUT : 0), .data.u32 = i};

	if (op == EPOLL_CTL_MOD && h->slots[i].want_write == want_write)
		return;
	h->slots[i].want_write = want_write;
	(void)epoll_ctl(h->ep, op, h->slots[i].fd, &ev);
}

static bool open_slot(struct herd *h, unsigned i)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(h->run->port)};
	struct slot *s = &h->slots[i];
	int one = 1;

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return false;
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	s->used = 0;
	s->is_busy = false;
	s->started_us = herd_now_us();
	s->is_connecting = connect(s->fd, (struct sockaddr *)&to, sizeof to) != 0;
	if (s->is_connecting && errno != EINPROGRESS) {
		close(s->fd);
		s->fd = -1;
		return false;
	}
	watch(h, i, true, EPOLL_CTL_ADD);
	return true;
}

static void close_slot(struct slot *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->is_busy = false;
	s->is_connecting = false;
}

static void broke(struct herd *h, unsigned i)
{
	struct slot *s = &h->slots[i];
	bool was_busy = s->is_busy;

	close_slot(s);
	if (was_busy)
		h->ops->answer(h->ctx, i, &(struct herd_answer){.latency_us = herd_now_us() - s->started_us});
	if (h->is_over || s->is_done || !open_slot(h, i))
		s->is_done = true;
}

static void flush_out(struct herd *h, unsigned i)
{
	struct slot *s = &h->slots[i];

	while (s->sent < s->len) {
		ssize_t n = send(s->fd, s->out + s->sent, s->len - s->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			broke(h, i);
			return;
		}
		s->sent += (size_t)n;
	}
	watch(h, i, s->sent < s->len, EPOLL_CTL_MOD);
}

static void next_request(struct herd *h, unsigned i)
{
	struct slot *s = &h->slots[i];
	int rc = h->is_over ? -1 : h->ops->request(h->ctx, i, s->out, sizeof s->out, &s->len);

	if (rc < 0) {
		s->is_done = true;
		close_slot(s);
		return;
	}
	if (rc == 0) { /* idle until the caller has something */
		watch(h, i, false, EPOLL_CTL_MOD);
		return;
	}
	s->sent = 0;
	s->used = 0;
	s->is_busy = true;
	s->started_us = herd_now_us();
	flush_out(h, i);
}

/* Length of the whole answer in s->in, 0 while it is not there, -1 when it is none. */
static long whole_answer(struct slot *s, unsigned *status, size_t *head_len)
{
	char *end = memmem(s->in, s->used, "\r\n\r\n", 4);
	const char *field;
	unsigned long body = 0;

	if (!end)
		return s->used >= HERD_ANSWER_MAX ? -1 : 0;
	*end = '\0';
	field = strcasestr(s->in, "\r\ncontent-length:");
	if (field)
		body = strtoul(field + 17, NULL, 10);
	*head_len = (size_t)(end - s->in) + 4;
	*end = '\r';
	if (s->used < 12 || memcmp(s->in, "HTTP/1.", 7) != 0 || body > HERD_ANSWER_MAX - *head_len)
		return -1;
	*status = (unsigned)strtoul(s->in + 9, NULL, 10);
	return s->used >= *head_len + body ? (long)(*head_len + body) : 0;
}

static void read_slot(struct herd *h, unsigned i)
{
	struct slot *s = &h->slots[i];
	ssize_t n = recv(s->fd, s->in + s->used, HERD_ANSWER_MAX - s->used, 0);
	unsigned status = 0;
	size_t head_len = 0;
	long len;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		broke(h, i);
		return;
	}
	s->used += (size_t)n;
	len = whole_answer(s, &status, &head_len);
	if (len < 0) {
		broke(h, i);
		return;
	}
	if (len == 0 || !s->is_busy)
		return;
	s->is_busy = false;
	h->ops->answer(h->ctx, i,
		&(struct herd_answer){.status = status,
			.body = (const uint8_t *)s->in + head_len,
			.len = (size_t)len - head_len,
			.latency_us = herd_now_us() - s->started_us});
	if (h->run->is_close && !h->is_over) {
		close_slot(s);
		if (!open_slot(h, i))
			s->is_done = true;
		return;
	}
	next_request(h, i);
}

static void ready(struct herd *h, unsigned i, uint32_t events)
{
	struct slot *s = &h->slots[i];

	if (s->fd < 0)
		return;
	if (s->is_connecting || (!s->is_busy && (events & EPOLLOUT))) {
		int64_t took = herd_now_us() - s->started_us;
		int err = 0;
		socklen_t size = sizeof err;

		(void)getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &size);
		if (err || (events & EPOLLHUP)) {
			s->is_busy = true; /* count it as an answer that broke */
			broke(h, i);
			return;
		}
		s->is_connecting = false;
		if (took > h->run->connect_us)
			h->run->connect_us = took;
		next_request(h, i);
		return;
	}
	if (events & EPOLLOUT)
		flush_out(h, i);
	if (s->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		read_slot(h, i);
}

static bool all_done(const struct herd *h)
{
	for (unsigned i = 0; i < h->run->connections; i++) {
		if (!h->slots[i].is_done && (!h->is_over || h->slots[i].is_busy))
			return false;
	}
	return true;
}

static void turns(struct herd *h)
{
	int64_t end = h->run->seconds > 0 ? herd_now_us() + (int64_t)(h->run->seconds * 1e6) : INT64_MAX / 2;
	struct epoll_event events[256];

	while (!all_done(h)) {
		int n = epoll_wait(h->ep, events, 256, 1);
		int64_t now = herd_now_us();

		for (int k = 0; k < n; k++)
			ready(h, events[k].data.u32, events[k].events);
		if (now > end)
			h->is_over = true;
		if (now > end + 10000000) /* what is not answered by now never will be */
			break;
		if (n > 0)
			continue;
		for (unsigned i = 0; i < h->run->connections; i++) {
			struct slot *s = &h->slots[i];

			if (s->fd >= 0 && !s->is_busy && !s->is_connecting && !s->is_done)
				next_request(h, i);
		}
	}
}

bool herd_http(struct herd_run *run, const struct herd_ops *ops, void *ctx)
{
	struct herd h = {.run = run, .ops = ops, .ctx = ctx, .ep = epoll_create1(EPOLL_CLOEXEC)};
	bool is_good = false;

	h.slots = calloc(run->connections, sizeof *h.slots);
	if (!h.slots || h.ep < 0) {
		fputs("herd: out of memory\n", stderr);
		free(h.slots);
		return false;
	}
	for (unsigned i = 0; i < run->connections; i++) {
		if (open_slot(&h, i))
			is_good = true;
		else
			h.slots[i].is_done = true;
	}
	if (is_good)
		turns(&h);
	else
		fprintf(stderr, "herd: cannot connect to port %u: %s\n", run->port, strerror(errno));
	for (unsigned i = 0; i < run->connections; i++) {
		if (h.slots[i].is_busy) /* never answered */
			ops->answer(ctx, i,
				&(struct herd_answer){.latency_us = herd_now_us() - h.slots[i].started_us});
		close_slot(&h.slots[i]);
	}
	close(h.ep);
	free(h.slots);
	return is_good;
}
