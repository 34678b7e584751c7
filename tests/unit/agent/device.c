#include "tests/unit/agent/device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct kit k;

int set_up(void **state)
{
	struct flash_sim_options o = kit_small();

	(void)state;
	kit_init(&k, &o);
	kit_make(&k, 0, 1000, 5000, 1);
	kit_make(&k, 1, 2000, 9000, 2);
	kit_make(&k, 2, 3000, 9000, 3);
	return 0;
}

int tear_down(void **state)
{
	(void)state;
	kit_end(&k);
	return 0;
}

void settled(void)
{
	kit_factory(&k, 0, 0);
	kit_enrolled(&k);
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	kit_forget(&k);
}

void poll_once(void)
{
	int64_t end = k.now + 3 * 3600 * 1000;
	unsigned before = k.n_checkins;

	while (k.n_checkins == before && k.now < end)
		kit_step(&k);
	(void)kit_run(&k, 3 * 3600);
}

void assert_refused(enum ota_err err)
{
	uint64_t slot_ops = k.flash.slot_ops;
	uint32_t number = k.agent.journal.number;
	int assigned = k.assigned;

	poll_once();
	assert_int_equal(kit_err_of(&k, OTA_EVENT_REFUSED), err);
	assert_int_equal(k.flash.slot_ops, slot_ops);
	assert_int_equal(k.agent.journal.number, number); /* told from RAM, nothing written */
	assert_true(k.told.has_result);
	assert_int_equal(k.told.result_detail, ota_err_detail(err));
	assert_int_equal(k.told.result_reason, ota_err_reason(err));
	assert_memory_equal(k.told.result_digest, k.release[assigned].digest, 32);
	assert_true(kit_runs(&k, 0));
}

void begin_update(void)
{
	settled();
	kit_assign(&k, 1, 1);
}

void staged_on_hold(void)
{
	begin_update();
	k.flags = TICKET_FLAG_HOLD;
	poll_once();
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_STAGED);
}

void on_trial(void)
{
	begin_update();
	while (!kit_runs(&k, 1))
		kit_step(&k);
}

/* A reset in the middle: what is in flash is hashed again, and at most one mark is fetched again. */
void big_update(uint32_t size)
{
	struct flash_sim_options o = kit_small();

	(void)tear_down(NULL);
	o.erase_unit = 4096;
	o.slot_size = 262144;
	kit_init(&k, &o);
	kit_make(&k, 0, 1000, 5000, 1);
	kit_make(&k, 1, 2000, size, 2);
	kit_make(&k, 2, 3000, 9000, 3);
	begin_update();
}
