#include "server/health.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/app.h"
#include "server/http.h"
#include "server/loop.h"
#include "server/mqtt.h"

enum { ASK_TIMEOUT_MS = 4000 };

enum h_result health_live(struct req *req, struct res *res)
{
	struct app *app = req->app;
	struct loop_lag lag = loop_lag(app->loop, false);
	struct http_stats stats = http_stats(app->http);
	char *body = arena_printf(req->mem,
		"{\"status\":\"ok\",\"version\":\"%s\",\"connections\":%u,\"requests\":%llu,\"jobs\":%zu,"
		"\"broker\":\"%s\",\"loop\":{\"turns\":%llu,\"p50_us\":%llu,\"p99_us\":%llu,\"worst_us\":%"
		"llu}}\n",
		OTAD_VERSION, stats.connections, (unsigned long long)stats.requests, jobs_pending(app->jobs),
		!app->mqtt                     ? "none"
		: mqtt_is_connected(app->mqtt) ? "connected"
					       : "away",
		(unsigned long long)lag.turns, (unsigned long long)lag.p50_us, (unsigned long long)lag.p99_us,
		(unsigned long long)lag.worst_us);

	if (!body)
		return res_error(req, OTA_NO_MEMORY, NULL);
	res_header(res, "Cache-Control", "no-store");
	return res_body(res, 200, "application/json", body, strlen(body));
}

enum h_result health_ready(struct req *req, struct res *res)
{
	static const char ready[] = "{\"status\":\"ready\"}\n";
	struct errmsg e = {{0}};

	if (req->app->hooks.ready && req->app->hooks.ready(req->app, &e) != OTA_OK)
		return res_error(req, OTA_UNAVAILABLE, &e);
	res_header(res, "Cache-Control", "no-store");
	return res_body(res, 200, "application/json", ready, sizeof ready - 1);
}

static enum ota_err exchange(int fd, char *answer, size_t room, struct errmsg *e)
{
	static const char ask[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
	size_t used = 0;

	if (send(fd, ask, sizeof ask - 1, MSG_NOSIGNAL) != (ssize_t)sizeof ask - 1)
		return errmsg_fail_errno(e, errno, "cannot ask otad");
	while (used + 1 < room) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, ASK_TIMEOUT_MS) <= 0)
			return errmsg_fail(e, OTA_TIMEOUT, "otad does not answer");
		n = read(fd, answer + used, room - 1 - used);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	answer[used] = '\0';
	return OTA_OK;
}

static enum ota_err unreachable(const char *path, int error, struct errmsg *e)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return errmsg_fail(e, OTA_IO,
			"there is no socket '%s': otad does not run there, or has another --data", path);
	case ECONNREFUSED:
		return errmsg_fail(e, OTA_IO, "nobody listens on '%s': otad has ended", path);
	case EAGAIN:
		return errmsg_fail(e, OTA_TIMEOUT, "otad does not answer");
	case EACCES:
	case EPERM:
		return errmsg_fail(e, OTA_IO,
			"'%s' is for root and otad's own user only: run this as one of them", path);
	default:
		return errmsg_fail_errno(e, error, "cannot reach otad at '%s'", path);
	}
}

enum ota_err health_ask(const char *dir, struct errmsg *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	/* Bounds connect() too, which waits for room in the backlog of a loop that takes nobody. */
	const struct timeval bound = {.tv_sec = ASK_TIMEOUT_MS / 1000};
	char answer[2048];
	enum ota_err err;
	int fd;

	if ((size_t)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/otad.sock", dir) >=
		sizeof addr.sun_path)
		return errmsg_fail(e, OTA_INVALID, "the path of '%.60s/otad.sock' is too long", dir);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make a socket");
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound) != 0)
		err = errmsg_fail_errno(e, errno, "cannot bound the wait for otad");
	else if (connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0)
		err = unreachable(addr.sun_path, errno, e);
	else
		err = exchange(fd, answer, sizeof answer, e);
	close(fd);
	if (err)
		return err;
	if (strncmp(answer, "HTTP/1.1 200", 12) != 0) {
		const char *detail = strstr(answer, "\"detail\":\"");

		detail = detail ? detail + 10 : "no reason given";
		return errmsg_fail(
			e, OTA_UNAVAILABLE, "otad is not well: %.*s", (int)strcspn(detail, "\""), detail);
	}
	return OTA_OK;
}
