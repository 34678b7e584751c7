/* The cheapest HTTP server there is: one thread, epoll, one canned answer of 200 bytes. What a request costs
 * here is what the kernel and the wire cost; ./dev bench measures otad against it.
 *
 * usage: floor PORT */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16384, HEAD_MAX = 4096 };

struct conn {
	size_t used; /* bytes of a request that did not arrive whole */
	char head[HEAD_MAX];
};

static struct conn *conns[CONNECTIONS_MAX];

static char answer[512];
static size_t answer_len;

static void make_answer(void)
{
	char body[201];

	memset(body, 'x', 200);
	body[200] = '\0';
	answer_len = (size_t)snprintf(answer, sizeof answer,
		"HTTP/1.1 200 OK\r\nContent-Type: application/cbor\r\nContent-Length: 200\r\n\r\n%s", body);
}

static void drop(int fd)
{
	free(conns[fd]);
	conns[fd] = NULL;
	close(fd);
}

/* Whole requests in c->head are taken out; how many there were, -1 for one that is none. */
static int take_requests(struct conn *c)
{
	int n = 0;

	for (;;) {
		char *end = memmem(c->head, c->used, "\r\n\r\n", 4);
		const char *field;
		size_t len, body = 0;

		if (!end)
			return c->used == HEAD_MAX ? -1 : n;
		len = (size_t)(end - c->head) + 4;
		*end = '\0';
		field = strcasestr(c->head, "\r\ncontent-length:");
		if (field)
			body = strtoul(field + 17, NULL, 10);
		*end = '\r';
		if (c->used < len + body)
			return len + body > HEAD_MAX ? -1 : n;
		c->used -= len + body;
		memmove(c->head, c->head + len + body, c->used);
		n++;
	}
}

static void serve(int fd)
{
	struct conn *c = conns[fd];
	ssize_t got = recv(fd, c->head + c->used, HEAD_MAX - c->used, 0);
	int n;

	if (got <= 0) {
		drop(fd);
		return;
	}
	c->used += (size_t)got;
	n = take_requests(c);
	for (; n > 0; n--) {
		if (send(fd, answer, answer_len, MSG_NOSIGNAL) != (ssize_t)answer_len)
			n = -1;
	}
	if (n < 0)
		drop(fd);
}

static void take_connections(int listener, int ep)
{
	for (;;) {
		struct epoll_event ev = {.events = EPOLLIN};
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;

		if (fd < 0)
			return;
		if (fd >= CONNECTIONS_MAX) {
			close(fd);
			continue;
		}
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		conns[fd] = calloc(1, sizeof *conns[fd]);
		ev.data.fd = fd;
		if (!conns[fd] || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
			drop(fd);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event ev = {.events = EPOLLIN}, events[128];
	int listener, ep = epoll_create1(EPOLL_CLOEXEC), one = 1;

	if (argc != 2) {
		fputs("usage: floor PORT\n", stderr);
		return 2;
	}
	at.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	(void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) {
		perror("floor: cannot listen");
		return 1;
	}
	make_answer();
	ev.data.fd = listener;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev))
		return 1;
	for (;;) {
		int n = epoll_wait(ep, events, 128, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				take_connections(listener, ep);
			else
				serve(events[i].data.fd);
		}
	}
}
