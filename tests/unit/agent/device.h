/* One device of the kit, with three releases: what the agent's tests begin with. */
#ifndef TESTS_AGENT_DEVICE_H
#define TESTS_AGENT_DEVICE_H

#include "tests/unit/agent/kit.h"

extern struct kit k;

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int set_up(void **state);
int tear_down(void **state);

/* A device that runs release 0, confirmed, and has nothing to tell. */
void settled(void);
/* ... and release 1 is assigned. */
void begin_update(void);
/* ... and is staged, on hold. */
void staged_on_hold(void);
/* ... and runs on trial. */
void on_trial(void);
/* begin_update with larger slots and a release 1 of `size` bytes. */
void big_update(uint32_t size);
/* Poll once more: until the next settled moment behind the next poll. */
void poll_once(void);
/* The next poll ends in a refusal that is told and writes nothing. */
void assert_refused(enum ota_err err);

#endif
