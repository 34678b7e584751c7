/* A device, what it says and a policy, as the tests of the plan begin. */
#ifndef TESTS_PLAN_CASE_H
#define TESTS_PLAN_CASE_H

#include "server/plan.h"

enum { OLD = 1, NEW = 2, OTHER = 3 };

extern const struct plan_policy plan_case_policy;

/* The digest of OLD, NEW or OTHER. */
void plan_case_digest(int which, uint8_t out[32]);

/* An approved device that runs OLD, with an assignment of NEW, attempt 2, in `state`. */
struct plan_device plan_case_device(enum assign_state state);

/* Its next check-in: in `state`, running one of the three. */
struct checkin plan_case_said(enum checkin_state state, int running);

#endif
