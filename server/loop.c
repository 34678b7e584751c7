#include "server/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS_MAX = 64,
	LAG_STEPS = 8, /* buckets between two powers of two */
	LAG_BUCKETS = 32 * LAG_STEPS,
};

struct loop {
	int epoll_fd;
	bool is_stopping;
	struct timer_wheel timers;
	struct loop_source *sources;
	struct epoll_event events[EVENTS_MAX];
	int n_events;
	struct {
		uint64_t turns;
		uint64_t worst_us, recent_worst_us;
		uint64_t bucket[LAG_BUCKETS];
	} lag;
};

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t loop_now_ms(void)
{
	return now_us() / 1000;
}

enum ota_err loop_new(struct loop **out, struct errmsg *e)
{
	struct loop *loop = calloc(1, sizeof *loop);

	if (!loop)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int saved = errno;

		free(loop);
		return errmsg_fail_errno(e, saved, "cannot make an epoll descriptor");
	}
	timer_init(&loop->timers, loop_now_ms());
	*out = loop;
	return OTA_OK;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	close(loop->epoll_fd);
	free(loop);
}

enum ota_err loop_add(struct loop *loop, struct loop_source *s, int fd, uint32_t events, struct errmsg *e)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		return errmsg_fail_errno(e, errno, "cannot watch a descriptor");
	s->fd = fd;
	s->has_more = false;
	s->next = loop->sources;
	loop->sources = s;
	return OTA_OK;
}

void loop_change(struct loop *loop, struct loop_source *s, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev);
}

void loop_remove(struct loop *loop, struct loop_source *s)
{
	for (struct loop_source **p = &loop->sources; *p; p = &(*p)->next) {
		if (*p != s)
			continue;
		*p = s->next;
		/* Fails where the owner closed the descriptor first; it is then gone from the set already. */
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
		s->next = NULL;
		s->has_more = false;
		break;
	}
	for (int i = 0; i < loop->n_events; i++) {
		if (loop->events[i].data.ptr == s)
			loop->events[i].data.ptr = NULL;
	}
}

struct timer_wheel *loop_timers(struct loop *loop)
{
	return &loop->timers;
}

/* Logarithmic with LAG_STEPS linear steps a power of two: about 12 % wide. */
static unsigned lag_bucket(uint64_t us)
{
	unsigned power = 0;
	unsigned i;

	if (us < LAG_STEPS)
		return (unsigned)us;
	power = 63u - (unsigned)__builtin_clzll(us);
	i = (power - 2) * LAG_STEPS + (unsigned)((us >> (power - 3)) & (LAG_STEPS - 1));
	return i < LAG_BUCKETS ? i : LAG_BUCKETS - 1;
}

static uint64_t lag_bucket_top(unsigned i)
{
	unsigned power;

	if (i < LAG_STEPS)
		return i;
	power = i / LAG_STEPS + 2;
	return ((uint64_t)(LAG_STEPS + i % LAG_STEPS + 1) << (power - 3)) - 1;
}

static void lag_note(struct loop *loop, uint64_t us)
{
	loop->lag.turns++;
	loop->lag.bucket[lag_bucket(us)]++;
	if (us > loop->lag.worst_us)
		loop->lag.worst_us = us;
	if (us > loop->lag.recent_worst_us)
		loop->lag.recent_worst_us = us;
}

static uint64_t lag_percentile(const struct loop *loop, uint64_t per_mille)
{
	uint64_t wanted = loop->lag.turns * per_mille / 1000;
	uint64_t seen = 0;

	for (unsigned i = 0; i < LAG_BUCKETS; i++) {
		seen += loop->lag.bucket[i];
		if (seen > wanted)
			return lag_bucket_top(i);
	}
	return loop->lag.worst_us;
}

struct loop_lag loop_lag(struct loop *loop, bool reset)
{
	struct loop_lag lag = {
		.turns = loop->lag.turns,
		.p50_us = lag_percentile(loop, 500),
		.p99_us = lag_percentile(loop, 990),
		.worst_us = loop->lag.worst_us,
		.recent_worst_us = loop->lag.recent_worst_us,
	};

	if (reset)
		loop->lag.recent_worst_us = 0;
	return lag;
}

static bool any_has_more(const struct loop *loop)
{
	for (const struct loop_source *s = loop->sources; s; s = s->next) {
		if (s->has_more)
			return true;
	}
	return false;
}

static void run_rest(struct loop *loop)
{
	struct loop_source *next;

	for (struct loop_source *s = loop->sources; s; s = next) {
		/* A source may remove itself; others are only removed by their owners' own calls. */
		next = s->next;
		if (s->has_more)
			s->fn(s, 0);
	}
}

static void turn(struct loop *loop)
{
	int wait_ms = any_has_more(loop) ? 0 : timer_wait_ms(&loop->timers, loop_now_ms());
	int n = epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, wait_ms);
	int64_t begin_us = now_us();

	loop->n_events = n > 0 ? n : 0;
	timer_run(&loop->timers, begin_us / 1000);
	run_rest(loop);
	for (int i = 0; i < loop->n_events; i++) {
		struct loop_source *s = loop->events[i].data.ptr;

		if (s)
			s->fn(s, loop->events[i].events);
	}
	loop->n_events = 0;
	lag_note(loop, (uint64_t)(now_us() - begin_us));
}

void loop_run(struct loop *loop)
{
	loop->is_stopping = false;
	while (!loop->is_stopping)
		turn(loop);
}

void loop_stop(struct loop *loop)
{
	loop->is_stopping = true;
}
