#include "tests/unit/server/plan_case.h"

#include <string.h>

const struct plan_policy plan_case_policy = {.poll_s = 300, .poll_spread = 10, .root_version = 4};

void plan_case_digest(int which, uint8_t out[32])
{
	memset(out, which, 32);
}

struct plan_device plan_case_device(enum assign_state state)
{
	struct plan_device d = {
		.approved = true,
		.heard = true,
		.counter = 100,
		.root_version = 4,
		.has_running = true,
		.running_sequence = 10,
		.state = CHECKIN_IDLE,
		.task = {.exists = true, .state = state, .attempt = 2, .envelope_size = 370},
	};

	plan_case_digest(OLD, d.running_digest);
	plan_case_digest(NEW, d.task.digest);
	memset(d.mark, 7, sizeof(d.mark));
	return d;
}

struct checkin plan_case_said(enum checkin_state state, int running)
{
	struct checkin ci = {.counter = 101,
		.root_version = 4,
		.has_running = true,
		.running_sequence = 10,
		.state = state};

	plan_case_digest(running, ci.running_digest);
	return ci;
}
