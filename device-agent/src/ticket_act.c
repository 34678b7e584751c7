/* What a valid ticket changes. */
#include <string.h>

#include "device-agent/src/agent.h"

/* The check-in that this ticket answers was committed by the server: what it told needs no telling again. */
static bool acknowledge(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;
	bool is_changed = false;

	if (a->told_result) {
		memset(&s->result, 0, sizeof s->result);
		is_changed = true;
	}
	if (a->told_confirmed && s->phase == JOURNAL_CONFIRMED) {
		s->phase = JOURNAL_IDLE;
		is_changed = true;
	}
	if (a->told_ram_result)
		a->refused.is_told = true;
	a->told_result = a->told_confirmed = a->told_ram_result = false;
	return is_changed;
}

static bool has_pending(const struct journal_state *s)
{
	/* ARMED, and no bootloader took it: flash did not take the record, or it is another's. Armed again.
	 */
	return s->phase >= JOURNAL_ACCEPTED && s->phase <= JOURNAL_ARMED;
}

static bool names_pending(const struct journal_state *s, const struct ticket *t)
{
	return t->has_assignment && memcmp(s->target.digest, t->digest, sizeof t->digest) == 0;
}

static void withdraw(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;

	journal_end(s, OTA_WITHDRAWN, s->target.bytes);
	a->is_fetch_live = false;
}

static bool url_is_in(struct ota_slice url, const struct ota_slice *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i].len == url.len && memcmp(list[i].p, url.p, url.len) == 0)
			return true;
	}
	return false;
}

/* The server moves: its new addresses go first, and at least one old one stays to fall back on. */
static void take_urls(struct ota_agent *a, const struct ticket *t)
{
	struct provision p = a->identity;
	size_t n = t->n_urls < PROVISION_URLS_MAX ? t->n_urls : PROVISION_URLS_MAX - 1U;
	enum ota_err err;

	if (t->n_urls == 0 || url_is_in(t->url[0], a->identity.url, 1) ||
		agent_now(a) - a->moved_ms < AGENT_MOVE_GAP_MS)
		return;
	a->moved_ms = agent_now(a);
	for (size_t i = 0; i < n; i++)
		p.url[i] = t->url[i];
	for (size_t i = 0; i < a->identity.n_urls && n < PROVISION_URLS_MAX; i++) {
		if (!url_is_in(a->identity.url[i], t->url, t->n_urls))
			p.url[n++] = a->identity.url[i];
	}
	p.n_urls = n;
	err = identity_replace(a, &p);
	ota_wipe(&p, sizeof p);
	a->url_index = 0;
	if (err != OTA_OK)
		agent_event(a, OTA_EVENT_FLASH, err);
}

/* It runs, its trial failed, and there was nothing to go back to: it is tried once more where it is, from a
 * start of its own. */
static void trial_again(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;

	if (a->is_held)
		return;
	if (agent_now(a) - a->ticket_ms > AGENT_ARM_TICKET_MS) {
		agent_poll_at_once(a);
		return;
	}
	memcpy(s->target.digest, a->ticket_digest, sizeof s->target.digest);
	s->target.attempt = a->ticket_attempt;
	s->target.bytes = 0;
	s->phase = JOURNAL_TRIAL;
	s->attempts_left = OTA_BOOT_ATTEMPTS;
	if (agent_commit(a) != OTA_OK)
		return;
	a->fresh = s->slot[s->active];
	agent_event(a, OTA_EVENT_ARMED, OTA_OK);
	a->phase = PHASE_RESET;
}

/* Take up what the ticket names, in phase IDLE or with a release pending. Written is only its new attempt. */
static void take_assignment(struct ota_agent *a, const struct ticket *t)
{
	struct journal_state *s = &a->journal.s;
	const struct journal_slot *running = &s->slot[s->active];
	bool runs_it;

	memcpy(a->ticket_digest, t->digest, sizeof a->ticket_digest);
	a->ticket_attempt = t->attempt;
	a->ticket_envelope_size = t->envelope_size;
	a->is_held = (t->flags & TICKET_FLAG_HOLD) != 0;
	/* Not now: the server counts from the question too, and an answer may have been long on its way. */
	a->ticket_ms = a->asked_ms;
	if (a->refused.attempt == t->attempt && memcmp(a->refused.digest, t->digest, sizeof t->digest) == 0) {
		/* Judged already in this start. Told again, because the server still names it. */
		a->refused.is_told = false;
		return;
	}
	runs_it = running->sequence != 0 && memcmp(running->digest, t->digest, sizeof t->digest) == 0;
	if (runs_it && !journal_is_stuck(s)) {
		release_refuse(a, OTA_ALREADY);
		return;
	}
	if (s->failed.attempt != 0 && t->attempt <= s->failed.attempt &&
		memcmp(s->failed.digest, t->digest, sizeof t->digest) == 0) {
		release_refuse(a, OTA_ATTEMPT);
		return;
	}
	if (runs_it) {
		trial_again(a);
		return;
	}
	a->is_asked_twice = false;
	if (has_pending(s) && s->target.attempt != t->attempt) {
		s->target.attempt = t->attempt;
		if (agent_commit(a) != OTA_OK)
			return;
	}
	if (s->phase >= JOURNAL_STAGED)
		a->phase = PHASE_ARM;
	else if (a->is_fetch_live && has_pending(s))
		a->phase = PHASE_FETCH;
	else
		a->phase = PHASE_ENVELOPE;
}

void ticket_act(struct ota_agent *a, const struct ticket *t)
{
	struct journal_state *s = &a->journal.s;
	bool is_newer_root = t->root_version > a->root.version;
	bool is_changed, is_withdrawn = false;

	a->has_contact = true;
	a->urls_failed = 0;
	a->backoff_s = 0;
	if (t->is_signed)
		a->signed_ms = agent_now(a);
	is_changed = acknowledge(a);
	if (is_newer_root && !a->root_tried) {
		/* Not acted on until the walk is done and a new check-in was answered. */
		if (is_changed && agent_commit(a) != OTA_OK) {
			agent_poll_in(a, t->next_poll_s);
			return;
		}
		a->root_tried = true;
		a->phase = PHASE_ROOT;
		return;
	}
	agent_poll_in(a, t->next_poll_s);
	if (!is_newer_root && has_pending(s) && !names_pending(s, t)) {
		withdraw(a);
		is_changed = is_withdrawn = true;
	}
	if (is_changed && agent_commit(a) != OTA_OK)
		return;
	if (is_withdrawn) {
		/* Told at once; what the ticket names instead comes with its answer. */
		agent_event(a, OTA_EVENT_WITHDRAWN, OTA_WITHDRAWN);
		agent_poll_at_once(a);
		return;
	}
	agent_event(a, OTA_EVENT_POLLED, OTA_OK);
	if (is_newer_root)
		return;
	if (t->is_signed)
		take_urls(a, t);
	enroll_forget_secret(a);
	a->is_other_named = t->has_assignment && (t->flags & TICKET_FLAG_HOLD) == 0 &&
			    memcmp(s->slot[s->active].digest, t->digest, sizeof t->digest) != 0;
	if (agent_now(a) - a->root_asked_ms >= AGENT_DAY_MS) {
		a->root_tried = true;
		a->phase = PHASE_ROOT;
	} else if (t->has_assignment && (s->phase == JOURNAL_IDLE || has_pending(s))) {
		take_assignment(a, t);
	}
}
