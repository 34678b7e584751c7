/* Images that nobody assigned: the factory's alone in its flash, and what a lost journal leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "proto/ticket.h"
#include "tests/unit/agent/device.h"

static void rot(unsigned slot)
{
	k.flash.bytes[slot_region(0, slot)][100] ^= 1;
}

static void lose_journal(void)
{
	memset(k.flash.bytes[OTA_REGION_JOURNAL], 0xFF, 8192);
	kit_forget(&k);
}

/* ---- alone, and never well for as long as it lives ---- */

static void factory_uses_its_starts_up(void)
{
	kit_factory(&k, 0, 0);
	kit_enrolled(&k);
	k.health = OTA_HEALTH_UNKNOWN;
	for (unsigned i = 0; i < 2 * OTA_BOOT_ATTEMPTS; i++) {
		assert_true(kit_start(&k));
		kit_live(&k, 300);
		assert_int_equal(k.last.state, CHECKIN_TRIAL);
	}
}

/* It resets every ten minutes. What is assigned ends its trial, and comes, in pieces if need be. */
static void test_alone_gives_way(void **state)
{
	(void)state;
	factory_uses_its_starts_up();
	assert_int_equal(k.n_results, 0);
	kit_assign(&k, 1, 1);
	kit_forget(&k);
	for (unsigned i = 0; i < 3 && !kit_runs(&k, 1); i++) {
		assert_true(kit_start(&k));
		kit_live(&k, 600);
	}
	assert_true(kit_runs(&k, 1));
	assert_int_equal(kit_err_of(&k, OTA_EVENT_STAYED), OTA_BOOTS);
	assert_int_equal(k.told.result_detail, ota_err_detail(OTA_BOOTS));
	assert_memory_equal(k.told.result_digest, k.release[0].digest, 32);
	k.health = OTA_HEALTH_WELL;
	assert_true(kit_run(&k, 3600));
	assert_true(k.saw_confirmed);
	assert_int_equal(k.agent.journal.s.floor, 2000);
}

/* The one after it is no better: back to what ran. */
static void test_alone_is_gone_back_to(void **state)
{
	(void)state;
	factory_uses_its_starts_up();
	kit_assign(&k, 1, 1);
	while (!kit_runs(&k, 1))
		kit_step(&k);
	k.health = OTA_HEALTH_ILL;
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 0));
	assert_memory_equal(k.told.result_digest, k.release[1].digest, 32);
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
}

static void in_a_minute_it_is_well(void)
{
	kit_live(&k, 50);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	k.health = OTA_HEALTH_WELL;
	kit_live(&k, 5);
	assert_true(k.agent.journal.s.phase == JOURNAL_CONFIRMED || k.saw_confirmed);
	assert_int_equal(kit_count(&k, OTA_EVENT_STAYED), 0);
}

/* Nothing ends by what is no reason: a start that has only begun, its own release named, none named, starts
 * that are left, one that is held. */
static void test_alone_stays(void **state)
{
	static const struct {
		int assigned;
		unsigned starts;
		bool is_late;
		uint32_t flags;
	} rows[] = {{1, 3, false, 0}, {0, 3, true, 0}, {-1, 3, true, 0}, {1, 2, true, 0},
		{1, 3, true, TICKET_FLAG_HOLD}};

	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		(void)tear_down(state);
		(void)set_up(state);
		kit_factory(&k, 0, 0);
		kit_enrolled(&k);
		k.health = OTA_HEALTH_UNKNOWN;
		k.flags = rows[i].flags;
		kit_assign(&k, rows[i].assigned, 1);
		for (unsigned n = 0; n < rows[i].starts; n++)
			assert_true(kit_start(&k));
		if (!rows[i].is_late) {
			in_a_minute_it_is_well();
			continue;
		}
		kit_live(&k, 3600);
		assert_int_equal(kit_count(&k, OTA_EVENT_STAYED), 0);
		assert_int_equal(k.n_results, 0);
		assert_true(kit_runs(&k, 0));
	}
}

/* Off the line it names nothing any more. */
static void test_alone_and_withdrawn(void **state)
{
	(void)state;
	kit_factory(&k, 0, 0);
	kit_enrolled(&k);
	k.health = OTA_HEALTH_UNKNOWN;
	for (unsigned n = 0; n < OTA_BOOT_ATTEMPTS; n++)
		assert_true(kit_start(&k));
	k.next_poll_s = 30;
	kit_assign(&k, 1, 1);
	kit_live(&k, 10);
	kit_assign(&k, -1, 1);
	kit_live(&k, 3600);
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	assert_int_equal(k.n_results, 0);
}

/* What somebody assigned is judged by what it shows itself to be, in its last start too: with an image to go
 * back to, and without. */
static void test_assigned_gives_no_way(void **state)
{
	for (unsigned is_first = 0; is_first < 2; is_first++) {
		(void)tear_down(state);
		(void)set_up(state);
		if (!is_first) {
			on_trial();
		} else {
			assert_true(kit_start(&k));
			kit_assign(&k, 1, 1);
		}
		k.health = OTA_HEALTH_UNKNOWN;
		for (unsigned i = 0; i < 5000 && k.agent.journal.s.phase != JOURNAL_TRIAL; i++)
			kit_step(&k);
		while (k.agent.journal.s.attempts_left > 0)
			assert_true(kit_start(&k));
		kit_assign(&k, 2, 1);
		k.next_poll_s = 30;
		kit_live(&k, 600);
		assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
		assert_true(k.agent.is_other_named);
		assert_true(kit_runs(&k, 1));
		assert_int_equal(k.n_results, 0);
	}
}

/* ---- two, and no journal that tells which of them ran well ---- */

/* Release 1 was stuck, 2 ran well after it, and its journal is lost. */
static void stuck_then_well_then_lost(void)
{
	assert_true(kit_start(&k));
	k.health = OTA_HEALTH_ILL;
	kit_assign(&k, 1, 1);
	assert_true(kit_run(&k, 7200));
	k.health = OTA_HEALTH_WELL;
	kit_assign(&k, 2, 1);
	poll_once();
	assert_true(kit_runs(&k, 2));
	lose_journal();
	k.health = OTA_HEALTH_UNKNOWN;
	assert_true(kit_start(&k));
	assert_true(k.choice.is_rebuilt && k.choice.is_trial);
	assert_true(kit_runs(&k, 2));
}

static void assert_other_is_tried(enum ota_err why)
{
	assert_true(kit_runs(&k, 1));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_TRIAL);
	assert_int_equal(k.agent.journal.s.result.detail, ota_err_detail(why));
	assert_memory_equal(k.agent.journal.s.result.digest, k.release[2].digest, 32);
	assert_int_equal(k.agent.journal.s.attempts_left, OTA_BOOT_ATTEMPTS - 1);
	assert_false(k.saw_confirmed);
}

/* However the first one ends: the other is tried like any, and is what it shows itself to be. */
static void test_found_and_tried(void **state)
{
	enum how { ILL, CUT, ROTTEN, ADOPTED, HOWS };

	for (unsigned i = 0; i < 2 * HOWS; i++) {
		static const enum ota_err why[] = {OTA_HEALTH, OTA_BOOTS, OTA_DIGEST, OTA_BOOTS};
		bool is_well = i / HOWS != 0;
		struct ota_agent_config cfg;

		(void)tear_down(state);
		(void)set_up(state);
		stuck_then_well_then_lost();
		switch ((enum how)(i % HOWS)) {
		case ILL:
			k.health = OTA_HEALTH_ILL;
			while (!kit_runs(&k, 1))
				kit_step(&k);
			k.health = OTA_HEALTH_UNKNOWN;
			while (k.agent.phase == PHASE_RESET)
				kit_step(&k);
			assert_int_equal(kit_count(&k, OTA_EVENT_REVERTING), 1);
			assert_int_equal(kit_sequence_of(&k, OTA_EVENT_REVERTING), 3000);
			break;
		case CUT:
			for (unsigned n = 0; n < OTA_BOOT_ATTEMPTS; n++)
				assert_true(kit_start(&k));
			break;
		case ROTTEN:
			rot(k.agent.journal.s.active);
			assert_true(kit_start(&k));
			break;
		default:
			cfg = k.agent.cfg;
			cfg.running = (uint8_t)(2 - k.agent.journal.s.active);
			assert_int_equal(ota_agent_init(&k.agent, &cfg), OTA_OK);
			break;
		}
		assert_other_is_tried(why[i % HOWS]);
		k.health = is_well ? OTA_HEALTH_WELL : OTA_HEALTH_ILL;
		assert_true(kit_run(&k, 3600));
		assert_true(kit_runs(&k, 1));
		assert_int_equal(k.saw_confirmed, is_well);
		assert_int_equal((k.last.flags & CHECKIN_FLAG_STUCK) != 0, !is_well);
		assert_memory_equal(k.told.result_digest, k.release[is_well ? 2 : 1].digest, 32);
	}
}

/* A journal that takes no record right then: the one in doubt is no better to run than the one on trial. */
static void test_found_and_nothing_written(void **state)
{
	(void)state;
	stuck_then_well_then_lost();
	flash_sim_refuse(&k.flash, 0, UINT32_MAX, REFUSE_UNDONE);
	for (unsigned i = 0; i < 2 * OTA_BOOT_ATTEMPTS; i++) {
		(void)kit_start(&k);
		assert_int_equal(k.boot_err, OTA_FLASH);
		assert_int_equal(k.choice.sequence, 3000);
		assert_true(k.choice.is_trial);
	}
	flash_sim_mend(&k.flash);
	k.health = OTA_HEALTH_WELL;
	assert_true(kit_start(&k));
	assert_true(kit_run(&k, 3600));
	assert_true(kit_runs(&k, 2));
	assert_true(k.saw_confirmed);
	assert_int_equal(k.n_results, 0);
}

/* Nothing to go back to: the other one is gone, and what runs is told as ill. */
static void test_found_and_the_other_rots(void **state)
{
	(void)state;
	stuck_then_well_then_lost();
	rot(k.agent.journal.s.active ^ 1U);
	k.health = OTA_HEALTH_ILL;
	assert_true(kit_run(&k, 3 * 3600));
	assert_true(kit_runs(&k, 2));
	assert_int_equal(k.agent.journal.s.phase, JOURNAL_IDLE);
	assert_true(k.last.flags & CHECKIN_FLAG_STUCK);
	assert_false(k.saw_confirmed);
}

/* It runs well, and rots much later: the other one starts on trial. */
static void test_found_and_rots_later(void **state)
{
	(void)state;
	stuck_then_well_then_lost();
	k.health = OTA_HEALTH_WELL;
	assert_true(kit_run(&k, 3600));
	assert_true(k.saw_confirmed);
	rot(k.agent.journal.s.active);
	k.health = OTA_HEALTH_UNKNOWN;
	assert_true(kit_start(&k));
	assert_true(kit_runs(&k, 1));
	assert_true(k.choice.is_trial);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_alone_gives_way),
		T(test_alone_is_gone_back_to),
		T(test_alone_stays),
		T(test_alone_and_withdrawn),
		T(test_assigned_gives_no_way),
		T(test_found_and_tried),
		T(test_found_and_nothing_written),
		T(test_found_and_the_other_rots),
		T(test_found_and_rots_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
