/* The event loop: one thread, one epoll, no waiting anywhere else.
 *
 * Each turn runs the sources that are ready, then the timers, then every source that said it has more to do.
 * How long a turn takes is how long everybody else waits: that is measured and kept as the loop's lag. */
#ifndef SERVER_LOOP_H
#define SERVER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/errmsg.h"
#include "server/timer.h"

struct loop;
struct loop_source;

/* Called when the descriptor is ready, and each turn while the source is `has_more`. `events` are epoll's. */
typedef void (*loop_fn)(struct loop_source *s, uint32_t events);

/* The owner's memory; `fn` and `ctx` are set before loop_add, the rest by the loop. */
struct loop_source {
	loop_fn fn;
	void *ctx;
	bool has_more; /* set by fn: call again in the next turn without waiting */
	int fd;
	struct loop_source *next;
};

OTA_MUST_USE enum ota_err loop_new(struct loop **out, struct errmsg *e);
void loop_free(struct loop *loop);

/* Watch `fd` for `events` (EPOLLIN, ...). */
OTA_MUST_USE enum ota_err loop_add(
	struct loop *loop, struct loop_source *s, int fd, uint32_t events, struct errmsg *e);
void loop_change(struct loop *loop, struct loop_source *s, uint32_t events);

/* Stop watching; not added is a no-op. Safe inside its own fn. */
void loop_remove(struct loop *loop, struct loop_source *s);

struct timer_wheel *loop_timers(struct loop *loop);

/* Monotonic milliseconds. */
int64_t loop_now_ms(void);

/* Turn until loop_stop. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Length of the turns in microseconds: since the start, and of the worst one since the last call with
 * `reset`. */
struct loop_lag {
	uint64_t turns;
	uint64_t p50_us, p99_us, worst_us;
	uint64_t recent_worst_us;
};

struct loop_lag loop_lag(struct loop *loop, bool reset);

#endif
