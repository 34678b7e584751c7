/* Timer wheel: thousands of deadlines, armed and cancelled in constant time.
 *
 * Two levels of 256 slots (64 ms and 16.4 s wide); longer delays go round again. A timer fires at its due
 * time or up to one tick (64 ms) later, never before. The memory of a timer is its owner's. Loop thread only.
 */
#ifndef SERVER_TIMER_H
#define SERVER_TIMER_H

#include <stdbool.h>
#include <stdint.h>

enum { TIMER_TICK_MS = 64 };

struct timer;
typedef void (*timer_fn)(struct timer *t);

/* Zeroed = not armed. */
struct timer {
	struct timer *next;
	struct timer **link; /* what points here; NULL: not armed */
	int64_t due_ms;
	timer_fn fn;
	void *ctx;
};

struct timer_wheel {
	int64_t now_ms; /* as of the last run */
	uint64_t tick;
	unsigned armed;
	struct timer *near[256];
	struct timer *far[256];
};

void timer_init(struct timer_wheel *w, int64_t now_ms);

/* Arm, or arm anew, for `delay_ms` from the wheel's last run. fn gets `t` and may arm it again. */
void timer_arm(struct timer_wheel *w, struct timer *t, int64_t delay_ms, timer_fn fn, void *ctx);

/* A timer that is not armed is a no-op. */
void timer_cancel(struct timer_wheel *w, struct timer *t);
bool timer_is_armed(const struct timer *t);

/* Fire all that is due at `now_ms` (monotonic). */
void timer_run(struct timer_wheel *w, int64_t now_ms);

/* Milliseconds until the next run is due; -1: nothing is armed. */
int timer_wait_ms(const struct timer_wheel *w, int64_t now_ms);

#endif
