/* Check-in: one MACed question, one authenticated answer. */
#include <string.h>

#include "device-agent/src/agent.h"
#include "proto/checkin.h"

/* Counters are reserved in blocks, so that a poll writes nothing: what a block had left is skipped by a
 * reset. */
static enum ota_err counter_reserve(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;
	uint64_t next = a->has_counter ? a->counter : s->counter_end;
	enum ota_err err;

	if (a->has_counter && next < s->counter_end)
		return OTA_OK;
	if (!a->has_counter)
		s->boots++;
	s->counter_end = next + AGENT_COUNTERS;
	err = agent_commit(a);
	if (err == OTA_OK) {
		a->counter = next;
		a->has_counter = true;
	}
	return err;
}

static enum checkin_state state_of(const struct journal_state *s)
{
	switch (s->phase) {
	case JOURNAL_ACCEPTED:
	case JOURNAL_FETCHING:
		return CHECKIN_FETCHING;
	case JOURNAL_STAGED:
	case JOURNAL_ARMED:
		return CHECKIN_STAGED;
	case JOURNAL_TRIAL:
	case JOURNAL_REVERT:
		return CHECKIN_TRIAL;
	case JOURNAL_CONFIRMED:
		return CHECKIN_CONFIRMED;
	default:
		return CHECKIN_IDLE;
	}
}

static void tell_result(struct ota_agent *a, struct checkin *ci)
{
	const struct journal_state *s = &a->journal.s;

	a->told_result = s->result.attempt != 0;
	a->told_ram_result = !a->told_result && a->refused.attempt != 0 && !a->refused.is_told;
	ci->has_result = a->told_result || a->told_ram_result;
	if (a->told_result) {
		memcpy(ci->result_digest, s->result.digest, sizeof ci->result_digest);
		ci->result_attempt = s->result.attempt;
		ci->result_reason = s->result.reason;
		ci->result_detail = s->result.detail;
		ci->result_offset = s->result.offset;
	} else if (a->told_ram_result) {
		memcpy(ci->result_digest, a->refused.digest, sizeof ci->result_digest);
		ci->result_attempt = a->refused.attempt;
		ci->result_reason = ota_err_reason(a->refused.err);
		ci->result_detail = ota_err_detail(a->refused.err);
		ci->result_offset = a->refused.offset;
	}
}

static void fill(struct ota_agent *a, struct checkin *ci)
{
	const struct journal_state *s = &a->journal.s;
	const struct journal_slot *running = &s->slot[s->active];
	int64_t now = agent_now(a);

	memset(ci, 0, sizeof *ci);
	memcpy(ci->device_id, a->identity.device_id, sizeof ci->device_id);
	ci->counter = a->counter;
	if (agent_random_bytes(a, a->nonce, sizeof a->nonce))
		ci->flags |= CHECKIN_FLAG_HAS_RANDOM;
	else
		keys_nonce(a->cfg.crypto, a->identity.k_dev, a->counter, s->boots, a->nonce);
	memcpy(ci->nonce, a->nonce, sizeof ci->nonce);
	if (now - a->signed_ms >= AGENT_DAY_MS)
		ci->flags |= CHECKIN_FLAG_WANTS_SIGNED;
	if (journal_is_stuck(s))
		ci->flags |= CHECKIN_FLAG_STUCK;
	ci->root_version = a->root.version;
	ci->has_running = running->sequence != 0;
	ci->running_sequence = running->sequence;
	memcpy(ci->running_digest, running->digest, sizeof ci->running_digest);
	if (!ci->has_running)
		memset(ci->running_digest, 0, sizeof ci->running_digest);
	ci->state = state_of(s);
	ci->has_target = s->target.attempt != 0;
	if (ci->has_target) {
		memcpy(ci->target_digest, s->target.digest, sizeof ci->target_digest);
		ci->target_attempt = s->target.attempt;
		ci->target_bytes = a->is_fetch_live ? fetch_done(a) : s->target.bytes;
	}
	tell_result(a, ci);
	a->told_confirmed = ci->state == CHECKIN_CONFIRMED;
	ci->uptime_s = (uint32_t)((now - a->start_ms) / 1000);
	if (a->with_receipt)
		ci->receipt = a->identity.receipt;
}

void checkin_send(struct ota_agent *a, struct ota_want *want)
{
	struct checkin ci;
	size_t len;

	agent_poll_begins(a);
	if (counter_reserve(a) != OTA_OK) {
		agent_poll_in(a, agent_poll_default(a));
		return;
	}
	fill(a, &ci);
	a->counter++;
	a->with_receipt = false;
	if (checkin_encode(&ci, a->cfg.crypto, a->identity.k_dev, a->msg, sizeof a->msg, &len) != OTA_OK) {
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		return;
	}
	a->asked_ms = agent_now(a);
	memcpy(a->path, "d/v1/checkin", sizeof "d/v1/checkin");
	agent_request(a, want, REQUEST_CHECKIN, TICKET_MAX);
	want->request.is_post = true;
	want->request.body = a->msg;
	want->request.body_len = len;
}

static enum ota_err ticket_read(struct ota_agent *a, struct ticket *t)
{
	struct cose_keyring ring;

	root_keyring(a->cfg.crypto, &a->root, ROOT_ROLE_SERVER, &ring);
	return ticket_decode(a->cfg.crypto, a->msg, a->msg_len, &ring, a->identity.k_dev,
		a->identity.device_id, a->nonce, t);
}

/* The server has seen a higher counter (our journal was lost): go on above it. */
static bool counter_take_hint(struct ota_agent *a)
{
	struct ticket t;

	if (a->hint_tried || ticket_read(a, &t) != OTA_OK || !t.has_counter || t.counter < a->counter ||
		t.counter > CHECKIN_COUNTER_MAX - 2 * AGENT_COUNTERS)
		return false;
	a->hint_tried = true;
	a->counter = t.counter + 1; /* the next check-in reserves a block from here, if it has to */
	return true;
}

void checkin_answered(struct ota_agent *a)
{
	struct ticket t;
	enum ota_err err;

	switch (a->answer.status) {
	case 200:
		err = ticket_read(a, &t);
		if (err == OTA_OK) {
			ticket_act(a, &t);
			return;
		}
		/* The server's key may have changed while we were away: that needs no authenticity, and what
		 * a stranger said at another address does not count here. */
		if ((a->walked_at & 1U << a->url_index) != 0) {
			(void)agent_unreached(a, err);
			return;
		}
		agent_event(a, OTA_EVENT_UNREACHED, err);
		a->walked_at |= (uint8_t)(1U << a->url_index);
		a->root_tried = true;
		a->phase = PHASE_ROOT;
		return;
	case 409:
		if (counter_take_hint(a))
			agent_poll_at_once(a);
		else
			agent_defer(a);
		return;
	case 404:
		if (!a->receipt_tried && a->identity.receipt.len > 0) {
			a->receipt_tried = true;
			a->with_receipt = true;
			agent_poll_at_once(a);
			return;
		}
		agent_defer(a);
		return;
	case 429:
	case 503:
		agent_defer(a);
		trial_prolong(a);
		return;
	default:
		agent_defer(a);
		return;
	}
}
