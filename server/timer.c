#include "server/timer.h"

#include <stddef.h>
#include <string.h>

enum { SLOTS = 256 };

static uint64_t tick_of(int64_t ms)
{
	return (uint64_t)ms / TIMER_TICK_MS;
}

static void link_at(struct timer **slot, struct timer *t)
{
	t->next = *slot;
	t->link = slot;
	if (t->next)
		t->next->link = &t->next;
	*slot = t;
}

static void unlink_timer(struct timer *t)
{
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	t->next = NULL;
	t->link = NULL;
}

/* A timer waits in the near wheel when it is due within its next turn, else in the far slot it passes next.
 */
static void place(struct timer_wheel *w, struct timer *t)
{
	uint64_t due = tick_of(t->due_ms + TIMER_TICK_MS - 1);
	uint64_t first = w->tick + 1;

	if (due < first)
		due = first;
	if (due - first < SLOTS) {
		link_at(&w->near[due % SLOTS], t);
		return;
	}
	if (due / SLOTS - w->tick / SLOTS >= SLOTS)
		due = (w->tick / SLOTS + SLOTS - 1) * SLOTS;
	link_at(&w->far[due / SLOTS % SLOTS], t);
}

void timer_init(struct timer_wheel *w, int64_t now_ms)
{
	memset(w, 0, sizeof *w);
	w->now_ms = now_ms;
	w->tick = tick_of(now_ms);
}

void timer_arm(struct timer_wheel *w, struct timer *t, int64_t delay_ms, timer_fn fn, void *ctx)
{
	timer_cancel(w, t);
	t->due_ms = w->now_ms + (delay_ms > 0 ? delay_ms : 0);
	t->fn = fn;
	t->ctx = ctx;
	place(w, t);
	w->armed++;
}

void timer_cancel(struct timer_wheel *w, struct timer *t)
{
	if (!t->link)
		return;
	unlink_timer(t);
	w->armed--;
}

bool timer_is_armed(const struct timer *t)
{
	return t->link != NULL;
}

/* Move a far slot whose turn begins into the near wheel (or round again). The list is taken off first:
 * place() may put a timer of a later round back into the same slot. */
static void cascade(struct timer_wheel *w, struct timer **slot)
{
	struct timer *list = *slot;

	*slot = NULL;
	while (list) {
		struct timer *t = list;

		list = t->next;
		t->link = NULL;
		t->next = NULL;
		place(w, t);
	}
}

/* The list is taken off first: what is armed meanwhile for a whole turn later belongs into the same slot. */
static void fire(struct timer_wheel *w, struct timer **slot)
{
	struct timer *list = *slot;

	*slot = NULL;
	if (list)
		list->link = &list;
	while (list) {
		struct timer *t = list;

		timer_cancel(w, t);
		t->fn(t);
	}
}

void timer_run(struct timer_wheel *w, int64_t now_ms)
{
	uint64_t target = tick_of(now_ms);

	if (now_ms > w->now_ms)
		w->now_ms = now_ms;
	if (!w->armed && target > w->tick)
		w->tick = target;
	while (w->tick < target) {
		uint64_t next = w->tick + 1;

		/* The slot of a new turn is spread while `tick` is still before it, so that what is due at
		 * its first tick fires in this step. */
		if (next % SLOTS == 0)
			cascade(w, &w->far[next / SLOTS % SLOTS]);
		w->tick = next;
		fire(w, &w->near[next % SLOTS]);
	}
}

int timer_wait_ms(const struct timer_wheel *w, int64_t now_ms)
{
	uint64_t tick = w->tick + 1;
	int64_t wait_ms;

	if (!w->armed)
		return -1;
	/* Never past the next turn of the far wheel: its slot has to be spread then. */
	while (tick % SLOTS != 0 && !w->near[tick % SLOTS])
		tick++;
	wait_ms = (int64_t)(tick * TIMER_TICK_MS) - now_ms;
	return wait_ms > 0 ? (int)wait_ms : 0;
}
