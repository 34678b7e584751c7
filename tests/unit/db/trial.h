/* A device with 1.0 of r1 on trial, and two more releases and rollouts. */
#ifndef TESTS_DB_TRIAL_H
#define TESTS_DB_TRIAL_H

#include "tests/unit/db/fixture.h"

#include "db/assignment.h"

struct world {
	struct fixture *f;
	int64_t board, device, r1, r2, r3, m1, m2, m3;
	struct assignment_opened trial;
};

struct world make_world(void **state);

/* At NOW + 50. */
void advance(const struct world *w, int64_t id, enum assign_state to);
/* At NOW + 10, for the world's device. */
struct assignment_opened open_it(const struct world *w, int64_t rollout, int64_t manifest);

struct assignment_row row_of(const struct world *w, int64_t id);
enum rollout_state rollout_is(const struct world *w, int64_t id);
/* That one is what the device has to do. */
void is_open(const struct world *w, int64_t id);

extern const struct device_change nothing;

#endif
