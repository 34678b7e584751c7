/* Trial: the new image runs, and has to show that it is well and that it can be reached. */
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"

enum { READS = 4 }; /* of what is decided by */

void trial_start(struct ota_agent *a)
{
	a->trial_start_ms = a->start_ms;
	a->trial_end_ms = a->start_ms + (int64_t)a->cfg.trial_contact_s * 1000;
	agent_event(a, OTA_EVENT_TRIAL, OTA_OK);
}

void trial_prolong(struct ota_agent *a)
{
	/* From the poll that was asked for: nobody is given up while they were told to be silent. */
	int64_t end = a->next_poll_ms + (int64_t)a->cfg.trial_contact_s * 1000;
	int64_t most = a->trial_start_ms + (int64_t)AGENT_TRIAL_MAX_S * 1000;

	if (end > most)
		end = most;
	if (a->journal.s.phase == JOURNAL_TRIAL && end > a->trial_end_ms)
		a->trial_end_ms = end;
}

/* `waited_s`: for how long nobody said that it is well; 0 where somebody said that it is not. */
static void give_up(struct ota_agent *a, enum ota_err why, uint32_t waited_s)
{
	struct journal_state *s = &a->journal.s;
	/* Whether it verifies is the bootloader's to judge: to hash a slot takes more than a step may. */
	bool has_other = journal_may_go_back(s) && s->slot[agent_other(a)].component[0].size != 0;
	bool is_found = journal_is_found(s);

	/* Nothing to go back to: without contact it goes on trying, ill it is told and stays. */
	if (!has_other && why == OTA_CONTACT) {
		a->trial_end_ms = agent_now(a) + (int64_t)a->cfg.trial_contact_s * 1000;
		return;
	}
	journal_end(s, why, waited_s);
	if (has_other && is_found)
		journal_fall_over(s, OTA_BOOT_ATTEMPTS);
	else if (has_other)
		s->phase = JOURNAL_REVERT;
	if (agent_commit(a) != OTA_OK)
		return;
	agent_event(a, has_other ? OTA_EVENT_REVERTING : OTA_EVENT_STAYED, why);
	if (has_other)
		a->phase = PHASE_RESET;
	else
		agent_poll_at_once(a);
}

/* Is what runs, and was staged in an earlier epoch, signed by release keys that count now? A sequence that
 * others once wrote is no floor: they may have driven it so high that their successors' releases would all be
 * below. A root of an epoch that was left, where the newer is lost, tells nothing of that. */
static bool is_signed(struct ota_agent *a)
{
	unsigned k = a->journal.s.active;
	enum ota_err err = OTA_FLASH;
	uint32_t len = 0;

	if (a->root.epoch < a->journal.s.epoch)
		return false;
	for (unsigned i = 0; err == OTA_FLASH && i < READS; i++)
		err = slot_envelope_read(a->cfg.flash, k, a->msg, &len);
	return err == OTA_OK &&
	       slot_envelope_is_signed(a->cfg.crypto, &a->root, a->journal.s.slot[k].digest, a->msg, len);
}

/* Its last start, as far as anybody counted, and nobody assigned it: it is all there is, and the bootloader
 * starts it without an end. What the server names instead is not kept waiting by it. */
static bool gives_way(const struct ota_agent *a)
{
	const struct journal_state *s = &a->journal.s;

	return a->is_other_named && s->attempts_left == 0 &&
	       !journal_is_marked(s, JOURNAL_DOUBT, s->active) &&
	       s->slot[agent_other(a)].component[0].size == 0 &&
	       agent_now(a) - a->trial_start_ms >= AGENT_LAST_START_MS;
}

static void confirm(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;

	/* Confirm and floor are one record: never one without the other. */
	s->phase = JOURNAL_CONFIRMED;
	if (s->floor < s->slot[s->active].sequence &&
		(!journal_is_marked(s, JOURNAL_EPOCH, s->active) || is_signed(a)))
		s->floor = s->slot[s->active].sequence;
	journal_unmark(s, JOURNAL_DOUBT, s->active);
	memset(&s->target, 0, sizeof s->target);
	s->attempts_left = 0;
	if (agent_commit(a) != OTA_OK)
		return;
	agent_event(a, OTA_EVENT_CONFIRMED, OTA_OK);
	agent_poll_at_once(a);
}

bool trial_step(struct ota_agent *a, struct ota_want *want)
{
	enum ota_health health = a->cfg.app_health ? a->cfg.app_health(a->cfg.ctx) : OTA_HEALTH_WELL;
	int64_t now = agent_now(a);

	/* It ends with a record, or not yet. */
	if (now < a->flash_retry_ms)
		return false;
	if (health == OTA_HEALTH_ILL)
		give_up(a, OTA_HEALTH, 0);
	else if (health == OTA_HEALTH_WELL && a->has_contact)
		confirm(a);
	else if (!a->has_contact && a->cfg.trial_contact_s != 0 && now >= a->trial_end_ms)
		give_up(a, OTA_CONTACT, 0);
	else if (health != OTA_HEALTH_WELL && a->cfg.trial_health_s != 0 &&
		 now - a->trial_start_ms >= (int64_t)a->cfg.trial_health_s * 1000)
		give_up(a, OTA_HEALTH, a->cfg.trial_health_s);
	else if (gives_way(a))
		give_up(a, OTA_BOOTS, 0);
	want->kind = OTA_WANT_NOW;
	return a->journal.s.phase != JOURNAL_TRIAL;
}
