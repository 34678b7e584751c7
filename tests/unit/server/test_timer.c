#include <stdlib.h>
#include <string.h>

#include "server/timer.h"
#include "tests/unit/server/cmocka_all.h"

struct probe {
	struct timer timer;
	struct timer_wheel *wheel;
	int64_t due_ms;
	unsigned n_fired;
	unsigned again;
	bool is_punctual; /* the wheel is run at every tick that it asks for */
};

static int64_t now_ms;

static void fired(struct timer *t)
{
	struct probe *p = t->ctx;

	p->n_fired++;
	assert_true(now_ms >= p->due_ms);
	if (p->is_punctual && now_ms > p->due_ms + TIMER_TICK_MS)
		fail_msg("%lld ms late", (long long)(now_ms - p->due_ms));
	assert_false(timer_is_armed(t));
	if (p->again > 0) {
		p->again--;
		p->due_ms = now_ms + 100;
		timer_arm(p->wheel, t, 100, fired, p);
	}
}

/* Every delay up to two hours fires at its time or within a tick, when the wheel is run each tick. */
static void delays(void **state)
{
	static const int64_t delays_ms[] = {0, 1, 63, 64, 65, 1000, 16319, 16320, 16383, 16384, 16385, 20000,
		32767, 60000, 3600000, 4194303, 4194304, 4200000, 7200000};
	enum { N = sizeof delays_ms / sizeof delays_ms[0] };
	const int64_t starts_ms[] = {0, 17, 16383, 123456789};

	(void)state;
	for (unsigned s = 0; s < sizeof starts_ms / sizeof starts_ms[0]; s++) {
		struct timer_wheel w;
		struct probe p[N];

		memset(p, 0, sizeof p);
		now_ms = starts_ms[s];
		timer_init(&w, now_ms);
		for (unsigned i = 0; i < N; i++) {
			p[i].due_ms = now_ms + delays_ms[i];
			p[i].is_punctual = true;
			timer_arm(&w, &p[i].timer, delays_ms[i], fired, &p[i]);
		}
		while (w.armed > 0 && now_ms < starts_ms[s] + 7300000) {
			int wait_ms = timer_wait_ms(&w, now_ms);

			assert_true(wait_ms >= 0 && wait_ms <= 256 * TIMER_TICK_MS);
			now_ms += wait_ms > 0 ? wait_ms : 1;
			timer_run(&w, now_ms);
		}
		for (unsigned i = 0; i < N; i++) {
			if (p[i].n_fired != 1)
				fail_msg("start %u delay %lld fired %u times", s, (long long)delays_ms[i],
					p[i].n_fired);
		}
	}
}

static void cancelling(void **state)
{
	struct timer_wheel w;
	struct probe p[1000];

	(void)state;
	memset(p, 0, sizeof p);
	now_ms = 5000;
	timer_init(&w, now_ms);
	assert_int_equal(timer_wait_ms(&w, now_ms), -1);
	srand(1);
	for (unsigned i = 0; i < 1000; i++) {
		int64_t delay_ms = rand() % 100000;

		p[i].due_ms = now_ms + delay_ms;
		timer_arm(&w, &p[i].timer, delay_ms, fired, &p[i]);
	}
	for (unsigned i = 0; i < 1000; i += 2)
		timer_cancel(&w, &p[i].timer);
	timer_cancel(&w, &p[0].timer);
	for (unsigned i = 1; i < 1000; i += 4) {
		p[i].due_ms = now_ms + 50000;
		timer_arm(&w, &p[i].timer, 50000, fired, &p[i]);
	}
	assert_int_equal(w.armed, 500);
	/* One leap over everything: nothing is lost, nothing fires twice. */
	now_ms += 200000;
	timer_run(&w, now_ms);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(p[i].n_fired, i % 2);
	assert_int_equal(w.armed, 0);
}

static void arming_again_inside(void **state)
{
	struct timer_wheel w;
	struct probe p = {.wheel = &w, .again = 3};

	(void)state;
	now_ms = 0;
	timer_init(&w, 0);
	timer_arm(&w, &p.timer, 0, fired, &p);
	for (; now_ms < 2000; now_ms += 10)
		timer_run(&w, now_ms);
	assert_int_equal(p.n_fired, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays),
		cmocka_unit_test(cancelling),
		cmocka_unit_test(arming_again_inside),
	};

	return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
