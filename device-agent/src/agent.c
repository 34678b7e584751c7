#include "device-agent/src/agent.h"

#include <string.h>

#include "device-agent/src/slot.h"
#include "device-agent/src/trust.h"
#include "proto/enroll.h"
#include "proto/notice.h"

_Static_assert((int)TICKET_MAX <= (int)OTA_AGENT_MSG && (int)ROOT_MAX <= (int)OTA_AGENT_MSG &&
		       (int)ENROLL_MAX <= (int)OTA_AGENT_MSG &&
		       (int)SUIT_ENVELOPE_MAX <= (int)OTA_AGENT_MSG &&
		       (int)OTA_ENVELOPE_AREA <= (int)OTA_AGENT_MSG,
	"one buffer takes each of them");

void ota_agent_config_defaults(struct ota_agent_config *cfg)
{
	memset(cfg, 0, sizeof *cfg);
	cfg->poll_s = 300;
	cfg->trial_contact_s = 1800;
	cfg->trial_health_s = 21600;
	cfg->ticket_s = 3600;
}

int64_t agent_now(const struct ota_agent *a)
{
	return a->cfg.now_ms(a->cfg.ctx);
}

bool agent_random_bytes(struct ota_agent *a, void *out, size_t len)
{
	return a->cfg.random && a->cfg.random(a->cfg.ctx, out, len) == OTA_OK;
}

/* Only for spreading polls: an LCG seeded from the device's identity will do. */
uint32_t agent_random_below(struct ota_agent *a, uint32_t n)
{
	a->random_state = a->random_state * 1664525U + 1013904223U;
	return n == 0 ? 0 : (a->random_state >> 8) % n;
}

static void event_send(struct ota_agent *a, struct ota_event *ev)
{
	if (a->cfg.event)
		a->cfg.event(a->cfg.ctx, ev);
}

void agent_event(struct ota_agent *a, enum ota_event_kind kind, enum ota_err err)
{
	const struct journal_state *s = &a->journal.s;
	struct ota_event ev = {.kind = kind, .err = err, .status = a->answer.status};
	unsigned from;

	switch (kind) {
	case OTA_EVENT_TRIAL:
	case OTA_EVENT_CONFIRMED:
	case OTA_EVENT_STAYED:
		ev.sequence = s->slot[s->active].sequence;
		ev.digest = s->slot[s->active].digest;
		break;
	case OTA_EVENT_REVERTING:
		from = s->phase == JOURNAL_REVERT ? s->active : agent_other(a);
		ev.sequence = s->slot[from].sequence;
		ev.digest = s->slot[from].digest;
		break;
	case OTA_EVENT_REVERTED:
		ev.sequence = s->slot[s->active].sequence;
		ev.digest = s->result.digest;
		break;
	case OTA_EVENT_REFUSED:
		ev.digest = a->refused.digest;
		break;
	case OTA_EVENT_WITHDRAWN:
		ev.digest = s->result.digest;
		break;
	case OTA_EVENT_ROOT:
		ev.sequence = a->root.version;
		break;
	default:
		ev.sequence = a->fresh.sequence;
		ev.digest = a->fresh.digest;
		break;
	}
	event_send(a, &ev);
}

void agent_event_fetch(struct ota_agent *a, enum ota_event_kind kind, uint32_t done, uint32_t total)
{
	struct ota_event ev = {.kind = kind, .err = OTA_OK};

	ev.sequence = a->fresh.sequence;
	ev.digest = a->fresh.digest;
	ev.done = done;
	ev.total = total;
	event_send(a, &ev);
}

enum ota_err agent_commit(struct ota_agent *a)
{
	enum ota_err err;

	/* Whatever kept them from flash when the root came: no record without them. */
	(void)root_floors_apply(a);
	err = journal_commit(&a->journal);
	if (err != OTA_OK) {
		a->flash_retry_ms = agent_now(a) + AGENT_FLASH_RETRY_MS;
		agent_event(a, OTA_EVENT_FLASH, err);
	}
	return err;
}

void agent_poll_at_once(struct ota_agent *a)
{
	a->phase = PHASE_POLL;
	a->next_poll_ms = agent_now(a);
}

/* What was noticed while a check-in was out is not in its answer. */
static void poll_at(struct ota_agent *a, int64_t at)
{
	a->next_poll_ms = a->is_noticed && a->notice_ms < at ? a->notice_ms : at;
}

void agent_poll_begins(struct ota_agent *a)
{
	if (!a->is_noticed)
		return;
	a->is_noticed = false;
	a->notice_poll_ms = agent_now(a);
}

void agent_poll_in(struct ota_agent *a, uint32_t s)
{
	uint32_t ms;

	a->phase = PHASE_POLL;
	if (s > TICKET_POLL_MAX_S)
		s = TICKET_POLL_MAX_S;
	ms = s * 900U + agent_random_below(a, s * 200U);
	if (a->cfg.poll_max_s != 0 && ms / 1000 >= a->cfg.poll_max_s)
		ms = a->cfg.poll_max_s * 1000U;
	poll_at(a, agent_now(a) + ms);
	/* A new poll: each kind of help may be asked for once more. */
	a->root_tried = false;
	a->walked_at = 0;
	a->receipt_tried = false;
	a->hint_tried = false;
}

static uint32_t text_put(char *to, uint32_t at, const char *s)
{
	while (*s)
		to[at++] = *s++;
	return at;
}

static uint32_t hex_put(char *to, uint32_t at, const uint8_t *bytes, uint32_t n)
{
	static const char digit[] = "0123456789abcdef";

	for (uint32_t i = 0; i < n; i++) {
		to[at++] = digit[bytes[i] >> 4];
		to[at++] = digit[bytes[i] & 15];
	}
	return at;
}

void agent_path_hex(struct ota_agent *a, const char *head, const uint8_t digest[32])
{
	uint32_t at = text_put(a->path, 0, head);

	at = hex_put(a->path, at, digest, 32);
	a->path[at] = '\0';
}

void agent_request(struct ota_agent *a, struct ota_want *want, enum agent_request kind, uint32_t answer_max)
{
	a->request = (uint8_t)kind;
	a->is_answered = false;
	a->answer_err = OTA_OK;
	a->answer_max = answer_max;
	memset(&a->answer, 0, sizeof a->answer);
	want->kind = OTA_WANT_REQUEST;
	want->request.base = a->identity.url[a->url_index];
	want->request.path = a->path;
}

void agent_request_authorize(struct ota_agent *a, struct ota_want *want)
{
	uint8_t proof[KEY_LEN];
	uint32_t at = text_put(a->authorization, 0, "OTA ");

	keys_fetch(a->cfg.crypto, a->identity.k_dev, proof);
	at = hex_put(a->authorization, at, a->identity.device_id, DEVICE_ID_LEN);
	a->authorization[at++] = '.';
	at = hex_put(a->authorization, at, proof, sizeof proof);
	a->authorization[at] = '\0';
	ota_wipe(proof, sizeof proof);
	want->request.authorization = a->authorization;
}

uint32_t agent_poll_default(const struct ota_agent *a)
{
	uint32_t s = a->cfg.poll_s ? a->cfg.poll_s : 300;

	return s < TICKET_POLL_MAX_S ? s : TICKET_POLL_MAX_S;
}

bool agent_is_ticket_old(const struct ota_agent *a)
{
	return agent_now(a) - a->ticket_ms > (int64_t)(a->cfg.ticket_s ? a->cfg.ticket_s : 3600) * 1000;
}

/* 10 s, doubled each time, at most the usual interval. */
static void back_off(struct ota_agent *a)
{
	uint32_t most = agent_poll_default(a);

	a->backoff_s = a->backoff_s ? a->backoff_s * 2 : TICKET_POLL_MIN_S;
	if (a->backoff_s > most)
		a->backoff_s = most;
	agent_poll_in(a, a->backoff_s);
}

bool agent_unreached(struct ota_agent *a, enum ota_err err)
{
	agent_event(a, OTA_EVENT_UNREACHED, err);
	a->url_index = (uint8_t)((a->url_index + 1U) % a->identity.n_urls);
	if (++a->urls_failed < a->identity.n_urls)
		return false;
	a->urls_failed = 0;
	back_off(a);
	return true;
}

void agent_defer(struct ota_agent *a)
{
	/* Only of the two that also prolong a trial: with others a wait could outlast it. */
	bool has_time = a->answer.status == 429 || a->answer.status == 503;
	uint32_t s = has_time ? a->answer.retry_after_s : 0;

	agent_event(a, OTA_EVENT_UNREACHED, OTA_UNAVAILABLE);
	a->urls_failed = 0;
	/* Whoever answers like this may not be the server at all. */
	a->url_index = (uint8_t)((a->url_index + 1U) % a->identity.n_urls);
	if (s == 0) {
		back_off(a);
		return;
	}
	if (s < TICKET_POLL_MIN_S)
		s = TICKET_POLL_MIN_S;
	/* A server that asks for time gets it, whatever poll_max_s says, and up to a tenth more, so that not
	 * all come back at once: an hour in all. */
	if (s > AGENT_SPREAD_MAX_S * 10 / 11)
		s = AGENT_SPREAD_MAX_S * 10 / 11;
	agent_poll_in(a, s);
	poll_at(a, agent_now(a) + s * 1000 + agent_random_below(a, s * 100));
}

/* The regions that the agent needs, once, so that nothing later trips over them. */
static enum ota_err check_geometry(const struct ota_agent *a)
{
	static const struct {
		uint8_t region;
		uint16_t least;
	} need[] = {{OTA_REGION_IDENTITY_A, OTA_IDENTITY_MIN}, {OTA_REGION_IDENTITY_B, OTA_IDENTITY_MIN},
		{OTA_REGION_ROOT_A, OTA_ROOT_MIN}, {OTA_REGION_ROOT_B, OTA_ROOT_MIN},
		{OTA_REGION_JOURNAL, 1}};
	struct ota_flash_geometry geo;
	unsigned n_need = (unsigned)(sizeof need / sizeof need[0]);

	for (unsigned i = 0; i < n_need + (unsigned)OTA_SLOTS * a->cfg.n_components; i++) {
		unsigned region = i < n_need ? need[i].region : (unsigned)OTA_REGION_SLOT + i - n_need;

		a->cfg.flash->geometry(a->cfg.flash->ctx, region, &geo);
		if (geo.size < (i < n_need ? need[i].least : 1U) || geo.erase_unit == 0 ||
			geo.size % geo.erase_unit != 0 || geo.prog_unit == 0 ||
			geo.prog_unit > OTA_PROG_UNIT_MAX || geo.erase_unit % geo.prog_unit != 0 ||
			AGENT_CHUNK % geo.prog_unit != 0)
			return OTA_INVALID;
	}
	for (unsigned c = 0; c < a->cfg.n_components; c++) {
		if (slot_capacity(a->cfg.flash, c) == 0)
			return OTA_INVALID;
	}
	return OTA_OK;
}

static void seed_random(struct ota_agent *a)
{
	struct ota_slice parts[2] = {{a->identity.serial.p, a->identity.serial.len},
		{(const uint8_t *)&a->journal.number, sizeof a->journal.number}};
	uint8_t sum[32];

	ota_sha256(a->cfg.crypto, parts, 2, sum);
	memcpy(&a->random_state, sum, sizeof a->random_state);
}

/* What runs is not what the journal says: the bootloader could not write it down, or is another's. What was
 * on trial failed, what was being done with a slot is over. True when the journal changed. */
static bool running_adopt(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;
	bool is_other = a->cfg.running != s->active + 1;
	bool is_back = s->phase == JOURNAL_REVERT ||
		       (s->phase == JOURNAL_TRIAL && journal_may_go_back(s) && !journal_is_found(s));

	if (a->cfg.running == 0)
		return false;
	if (is_other && s->phase == JOURNAL_ARMED) {
		journal_try(s, OTA_BOOT_ATTEMPTS - 1);
	} else if (is_other) {
		if (s->phase == JOURNAL_TRIAL || s->phase == JOURNAL_REVERT)
			journal_end(s, OTA_BOOTS, 0);
		else if (s->phase == JOURNAL_ACCEPTED || s->phase == JOURNAL_FETCHING)
			journal_end(s, OTA_DIGEST, 0);
		if (is_back)
			s->active ^= 1;
		else
			journal_fall_over(s, OTA_BOOT_ATTEMPTS - 1);
	} else if (s->phase == JOURNAL_REVERT) {
		s->phase = JOURNAL_IDLE;
	} else if (s->phase == JOURNAL_ARMED && !a->cfg.has_own_boot) {
		journal_end(s, OTA_BOOTS, 0);
	} else {
		return false;
	}
	return true;
}

enum ota_err ota_agent_init(struct ota_agent *a, const struct ota_agent_config *cfg)
{
	struct journal_state *s;
	unsigned from;
	bool is_new;
	enum ota_err err;

	memset(a, 0, sizeof *a);
	a->cfg = *cfg;
	if (!cfg->flash || !cfg->crypto || !cfg->work || !cfg->now_ms ||
		cfg->n_components > OTA_COMPONENTS_MAX || cfg->running > OTA_SLOTS)
		return OTA_INVALID;
	if (a->cfg.n_components == 0) {
		a->cfg.n_components = 1;
		a->cfg.component[0].id_len = 3;
		memcpy(a->cfg.component[0].id, "app", 3);
	}
	err = check_geometry(a);
	if (err != OTA_OK)
		return err;
	err = journal_open(&a->journal, cfg->flash, cfg->crypto);
	if (err != OTA_OK && err != OTA_NOT_FOUND)
		return err;
	s = &a->journal.s;
	is_new = err == OTA_NOT_FOUND;
	err = identity_load(
		cfg->flash, cfg->crypto, s->flags, cfg->work, &a->identity, &a->identity_len, &from);
	if (err != OTA_OK)
		return err;
	if (is_new)
		s->active = 1; /* nothing is known to run here: the first image goes to slot 0 */
	if (cfg->has_own_boot)
		journal_was_appended(&a->journal);
	if (running_adopt(a) || is_new || !cfg->has_own_boot) {
		err = journal_commit(&a->journal);
		if (err != OTA_OK)
			return err;
	}
	err = identity_heal(cfg->flash, &a->journal, cfg->work, a->identity_len, from);
	if (err != OTA_OK)
		return err;
	err = root_start(a);
	if (err != OTA_OK)
		return err;
	seed_random(a);
	a->start_ms = agent_now(a);
	a->signed_ms = a->start_ms;
	a->root_asked_ms = a->start_ms;
	a->notice_poll_ms = a->start_ms - AGENT_NOTICE_GAP_MS;
	a->moved_ms = a->start_ms - AGENT_MOVE_GAP_MS;
	a->next_poll_ms = a->start_ms;
	a->phase = a->identity.is_enrolled ? PHASE_POLL : PHASE_ENROLL;
	if (s->phase == JOURNAL_TRIAL)
		trial_start(a);
	else if (s->phase == JOURNAL_REVERT)
		a->phase = PHASE_RESET;
	if (s->phase == JOURNAL_IDLE && s->result.attempt != 0) {
		bool runs_it = memcmp(s->result.digest, s->slot[s->active].digest, sizeof s->result.digest) ==
			       0;

		agent_event(a, runs_it && journal_is_stuck(s) ? OTA_EVENT_STAYED : OTA_EVENT_REVERTED,
			ota_err_from_detail(s->result.detail));
	}
	return OTA_OK;
}

static uint32_t wait_ms(struct ota_agent *a, int64_t until)
{
	int64_t left = until - agent_now(a);
	int64_t most = a->journal.s.phase == JOURNAL_TRIAL ? 1000 : 3600000;

	return (uint32_t)(left < 1 ? 1 : left > most ? most : left);
}

static void poll_step(struct ota_agent *a, struct ota_want *want)
{
	if (agent_now(a) < a->next_poll_ms) {
		want->kind = OTA_WANT_WAIT;
		want->wait_ms = wait_ms(a, a->next_poll_ms);
		return;
	}
	checkin_send(a, want);
}

void ota_agent_step(struct ota_agent *a, struct ota_want *want)
{
	memset(want, 0, sizeof *want);
	want->kind = OTA_WANT_NOW;
	if (a->request != REQUEST_NONE) {
		want->kind = OTA_WANT_DATA;
		return;
	}
	if (a->journal.is_lost)
		journal_reload(&a->journal);
	if (a->journal.is_lost || (a->root.version == 0 && root_start(a) != OTA_OK)) {
		want->kind = OTA_WANT_WAIT;
		want->wait_ms = AGENT_FLASH_RETRY_MS;
		return;
	}
	/* A root walk is finished first: confirming would cut it short. */
	if ((a->phase == PHASE_POLL || a->phase == PHASE_ENROLL) && a->journal.s.phase == JOURNAL_TRIAL &&
		trial_step(a, want))
		return;
	switch ((enum agent_phase)a->phase) {
	case PHASE_ENROLL:
		enroll_step(a, want);
		return;
	case PHASE_POLL:
		poll_step(a, want);
		return;
	case PHASE_ROOT:
		root_step(a, want);
		return;
	case PHASE_ENVELOPE:
	case PHASE_LOOK:
	case PHASE_ACCEPT:
	case PHASE_STAGE:
	case PHASE_ARM:
		release_step(a, want);
		return;
	case PHASE_REHASH:
	case PHASE_FETCH:
	case PHASE_READ_BACK:
		fetch_step(a, want);
		return;
	case PHASE_RESET:
		want->kind = OTA_WANT_RESET;
		return;
	}
}

enum ota_err ota_agent_response_begin(struct ota_agent *a, const struct ota_response *r)
{
	a->answer = *r;
	a->is_answered = true;
	a->msg_len = a->request == REQUEST_IMAGE ? a->msg_len : 0;
	if (a->request == REQUEST_IMAGE)
		a->answer_err = fetch_begin(a);
	else if (r->content_length > (int64_t)a->answer_max)
		a->answer_err = r->status == 200 ? OTA_TOO_LARGE : OTA_FETCH;
	return a->answer_err;
}

enum ota_err ota_agent_response_data(struct ota_agent *a, const uint8_t *bytes, size_t len)
{
	if (!a->is_answered || a->answer_err != OTA_OK)
		return a->answer_err != OTA_OK ? a->answer_err : OTA_STATE;
	if (a->request == REQUEST_IMAGE) {
		a->answer_err = fetch_data(a, bytes, len);
		return a->answer_err;
	}
	if (len > a->answer_max - a->msg_len) {
		a->answer_err = OTA_TOO_LARGE;
		return a->answer_err;
	}
	memcpy(a->msg + a->msg_len, bytes, len);
	a->msg_len += (uint32_t)len;
	return OTA_OK;
}

void ota_agent_response_end(struct ota_agent *a, bool is_complete)
{
	enum agent_request request = (enum agent_request)a->request;

	a->request = REQUEST_NONE;
	if (request == REQUEST_NONE)
		return;
	if (request == REQUEST_IMAGE) {
		fetch_answered(a, is_complete && a->is_answered);
		return;
	}
	/* An answer that a firewall's page or a liar made too long is no answer. */
	if (!a->is_answered || (a->answer.status == 200 && a->answer_err == OTA_OK && !is_complete) ||
		(a->answer.status == 200 && a->answer_err != OTA_OK && request != REQUEST_ENVELOPE)) {
		a->answer.status = a->is_answered ? a->answer.status : 0;
		(void)agent_unreached(a, OTA_FETCH);
		if (!a->identity.is_enrolled)
			a->phase = PHASE_ENROLL;
		return;
	}
	switch (request) {
	case REQUEST_ENROLL:
		enroll_answered(a);
		return;
	case REQUEST_CHECKIN:
		checkin_answered(a);
		return;
	case REQUEST_ROOT:
		root_answered(a);
		return;
	case REQUEST_ENVELOPE:
		release_answered(a);
		return;
	case REQUEST_NONE:
	case REQUEST_IMAGE:
		return;
	}
}

void ota_agent_notice(struct ota_agent *a, bool is_board, const uint8_t *payload, size_t len)
{
	struct notice n;
	int64_t at, now = agent_now(a);

	if (notice_decode(payload, len, &n) != OTA_OK)
		return;
	if (is_board) {
		/* Retained: it comes again with every connection. */
		if (a->has_board_revision && a->board_revision == n.revision)
			return;
		a->has_board_revision = true;
		a->board_revision = n.revision;
	}
	at = now + (n.spread_s ? (int64_t)agent_random_below(a, n.spread_s * 1000U) : 0);
	if (at < a->notice_poll_ms + AGENT_NOTICE_GAP_MS)
		at = a->notice_poll_ms + AGENT_NOTICE_GAP_MS;
	if (a->is_noticed && at >= a->notice_ms)
		return;
	a->is_noticed = true;
	a->notice_ms = at;
	if (at < a->next_poll_ms)
		a->next_poll_ms = at;
}

bool ota_agent_is_settled(const struct ota_agent *a)
{
	const struct journal_state *s = &a->journal.s;

	return a->phase == PHASE_POLL && a->request == REQUEST_NONE && a->has_contact &&
	       agent_now(a) < a->next_poll_ms && s->result.attempt == 0 &&
	       (s->phase == JOURNAL_IDLE || (s->phase == JOURNAL_STAGED && a->is_held));
}

bool ota_agent_is_on_trial(const struct ota_agent *a)
{
	return a->journal.s.phase == JOURNAL_TRIAL;
}

const uint8_t *ota_agent_device_id(const struct ota_agent *a)
{
	return a->identity.is_enrolled ? a->identity.device_id : (const uint8_t *)0;
}
