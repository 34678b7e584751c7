/* A release: judged before anything is written, and once more before it is handed over. */
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"

static void tell_from_ram(struct ota_agent *a, enum ota_event_kind kind, enum ota_err err, uint32_t offset)
{
	memcpy(a->refused.digest, a->ticket_digest, sizeof a->refused.digest);
	a->refused.attempt = a->ticket_attempt;
	a->refused.err = err;
	a->refused.offset = offset;
	a->refused.is_told = false;
	agent_event(a, kind, err);
	agent_poll_at_once(a);
}

void release_refuse(struct ota_agent *a, enum ota_err err)
{
	tell_from_ram(a, OTA_EVENT_REFUSED, err, 0);
}

void release_give_up(struct ota_agent *a, enum ota_err err, uint32_t offset)
{
	tell_from_ram(a, OTA_EVENT_FAILED, err, offset);
}

void release_fail(struct ota_agent *a, enum ota_err err, uint32_t offset)
{
	journal_end(&a->journal.s, err, offset);
	a->is_fetch_live = false;
	if (agent_commit(a) != OTA_OK) {
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		return;
	}
	agent_event(a, OTA_EVENT_FAILED, err);
	agent_poll_at_once(a);
}

static void target_of(const struct ota_agent *a, struct suit_target *t)
{
	const struct journal_state *s = &a->journal.s;
	const struct journal_slot *running = &s->slot[s->active];

	memset(t, 0, sizeof *t);
	memcpy(t->vendor_id, a->identity.vendor_id, sizeof t->vendor_id);
	memcpy(t->class_id, a->identity.class_id, sizeof t->class_id);
	memcpy(t->device_id, a->identity.device_id, sizeof t->device_id);
	t->floor = s->floor;
	t->has_running = running->sequence != 0;
	t->running_sequence = running->sequence;
	memcpy(t->running_digest, running->digest, sizeof t->running_digest);
	t->n_components = a->cfg.n_components;
	for (unsigned i = 0; i < a->cfg.n_components; i++) {
		t->component[i].id_len = a->cfg.component[i].id_len;
		memcpy(t->component[i].id, a->cfg.component[i].id, sizeof t->component[i].id);
		t->component[i].slot_size = slot_capacity(a->cfg.flash, i);
	}
	t->slot = (uint8_t)agent_other(a);
}

/* Framing, digest container, release threshold, the ticket's digest, and only then the manifest, from where
 * on the bytes are the signers': `*is_authentic`. */
static enum ota_err judge(struct ota_agent *a, const uint8_t *bytes, uint32_t len, struct journal_slot *fresh,
	bool *is_authentic)
{
	const struct ota_crypto *c = a->cfg.crypto;
	const struct suit_image *images[SUIT_COMPONENTS_MAX];
	struct cose_keyring ring;
	struct suit_envelope e;
	struct suit_manifest m;
	struct suit_target t;
	enum ota_err err = suit_envelope_decode(c, bytes, len, &e);

	*is_authentic = false;
	if (err != OTA_OK)
		return err;
	root_keyring(c, &a->root, ROOT_ROLE_RELEASE, &ring);
	err = suit_envelope_verify(c, &e, &ring);
	if (err != OTA_OK)
		return err;
	if (memcmp(e.digest, a->ticket_digest, sizeof e.digest) != 0)
		return OTA_UNASSIGNED;
	*is_authentic = true;
	err = suit_manifest_decode(e.manifest, &m);
	if (err != OTA_OK)
		return err;
	/* Should flash not have taken the record of them. */
	(void)root_floors_apply(a);
	target_of(a, &t);
	err = suit_run(&m, e.digest, &t, images);
	return err == OTA_OK ? slot_record_from(&m, e.digest, agent_other(a), fresh) : err;
}

static void ask_envelope(struct ota_agent *a, struct ota_want *want)
{
	uint32_t most = a->ticket_envelope_size < SUIT_ENVELOPE_MAX ? a->ticket_envelope_size
								    : (uint32_t)SUIT_ENVELOPE_MAX;

	agent_path_hex(a, "d/v1/envelope/", a->ticket_digest);
	agent_request(a, want, REQUEST_ENVELOPE, most);
	agent_request_authorize(a, want);
}

static void look_start(struct ota_agent *a)
{
	const struct journal_slot *there = &a->journal.s.slot[agent_other(a)];

	memset(a->mark, 0, sizeof a->mark);
	a->phase = PHASE_ACCEPT;
	/* Where a record tells that it is something else, hashing cannot find it. */
	if (there->component[0].size != 0 &&
		memcmp(there->component, a->fresh.component, sizeof there->component) != 0)
		return;
	a->phase = PHASE_LOOK;
	a->component = 0;
	a->pos = 0;
	a->cfg.crypto->sha256_init(&a->sha);
}

static void look_step(struct ota_agent *a)
{
	unsigned c = a->component, region = slot_region(c, agent_other(a));
	uint32_t size = a->fresh.component[c].size;
	uint32_t n = size - a->pos < AGENT_STEP_BYTES ? size - a->pos : (uint32_t)AGENT_STEP_BYTES;
	uint8_t sha256[32];

	if (slot_hash(a->cfg.flash, a->cfg.crypto, region, a->pos, n, &a->sha) != OTA_OK) {
		a->phase = PHASE_ACCEPT;
		return;
	}
	a->pos += n;
	if (a->pos < size)
		return;
	a->cfg.crypto->sha256_final(&a->sha, sha256);
	if (memcmp(sha256, a->fresh.component[c].sha256, sizeof sha256) == 0)
		a->mark[c] = fetch_keep(a, c, size);
	a->pos = 0;
	a->component++;
	a->cfg.crypto->sha256_init(&a->sha);
	if (a->component == a->cfg.n_components)
		a->phase = PHASE_ACCEPT;
}

static void accept(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;

	s->phase = JOURNAL_ACCEPTED;
	memset(&s->slot[agent_other(a)], 0, sizeof s->slot[0]);
	journal_unmark(s, JOURNAL_DOUBT, agent_other(a));
	memcpy(s->target.digest, a->ticket_digest, sizeof s->target.digest);
	s->target.attempt = a->ticket_attempt;
	s->target.bytes = 0;
	if (agent_commit(a) != OTA_OK) {
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		return;
	}
	agent_event_fetch(a, OTA_EVENT_ASSIGNED, 0, fetch_total(a));
	fetch_start(a);
}

/* After a reset: what the journal says is in flash, hashed again before it is built on. */
static void resume(struct ota_agent *a)
{
	uint32_t left = a->journal.s.target.bytes;

	for (unsigned c = 0; c < a->cfg.n_components; c++) {
		uint32_t size = a->fresh.component[c].size;
		uint32_t have = left < size ? left : size;

		a->mark[c] = fetch_keep(a, c, have);
		left -= have;
	}
	fetch_start(a);
}

static void envelope_judged(struct ota_agent *a)
{
	const struct journal_state *s = &a->journal.s;
	bool is_pending = s->phase == JOURNAL_ACCEPTED || s->phase == JOURNAL_FETCHING;

	a->is_restarted = false;
	if (is_pending)
		resume(a);
	else
		look_start(a);
}

/* The release is refused: by what its signers wrote, or by bytes that anybody on the line may have sent.
 * Those never end what was accepted for good. */
static void refuse_or_fail(struct ota_agent *a, enum ota_err err, bool is_authentic)
{
	uint32_t done = a->journal.s.target.bytes;

	if (a->journal.s.phase == JOURNAL_IDLE)
		release_refuse(a, err);
	else if (is_authentic)
		release_fail(a, err, done);
	else
		release_give_up(a, err, done);
}

static void stage(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;
	unsigned other = agent_other(a), region = slot_region(0, other);
	struct ota_flash_geometry geo;

	a->cfg.flash->geometry(a->cfg.flash->ctx, region, &geo);
	if (flash_write(a->cfg.flash, region, geo.size - OTA_ENVELOPE_AREA, a->msg, a->msg_len) != OTA_OK) {
		release_fail(a, OTA_FLASH, fetch_total(a));
		return;
	}
	s->slot[other] = a->fresh;
	journal_mark(s, JOURNAL_DOUBT, other);
	if (a->root.epoch < s->epoch)
		journal_mark(s, JOURNAL_EPOCH, other);
	else
		journal_unmark(s, JOURNAL_EPOCH, other);
	s->phase = JOURNAL_STAGED;
	s->target.bytes = fetch_total(a);
	a->is_fetch_live = false;
	if (agent_commit(a) != OTA_OK) {
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		return;
	}
	agent_event(a, OTA_EVENT_STAGED, OTA_OK);
	a->phase = PHASE_ARM;
}

/* The stored envelope does not verify: it rotted, or another root counts by now, under which the same
 * manifest may have been signed again. The image stays, and is staged anew with the envelope that the server
 * has. */
static void stage_again(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;

	s->phase = JOURNAL_FETCHING;
	memset(&s->slot[agent_other(a)], 0, sizeof s->slot[0]);
	if (agent_commit(a) != OTA_OK) {
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		return;
	}
	a->is_staged_again = true;
	a->is_asked_twice = false;
	a->phase = PHASE_ENVELOPE;
}

static void arm(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;
	struct journal_slot again;
	bool is_authentic = false;
	uint32_t len;
	enum ota_err err;

	if (a->is_held) {
		if (!a->is_held_told)
			agent_event(a, OTA_EVENT_HELD, OTA_HELD);
		a->is_held_told = true;
		a->phase = PHASE_POLL;
		return;
	}
	a->is_held_told = false;
	if (agent_now(a) - a->ticket_ms > AGENT_ARM_TICKET_MS) {
		agent_poll_at_once(a);
		return;
	}
	/* Under the root of this moment: it may have changed since the envelope was stored. */
	err = slot_envelope_read(a->cfg.flash, agent_other(a), a->msg, &len);
	if (err == OTA_OK)
		err = judge(a, a->msg, len, &again, &is_authentic);
	if (err == OTA_OK && memcmp(&again, &s->slot[agent_other(a)], sizeof again) != 0)
		err = OTA_DIGEST;
	if (err != OTA_OK) {
		if (!is_authentic && !a->is_staged_again)
			stage_again(a);
		else
			release_fail(a, err, s->target.bytes);
		return;
	}
	s->phase = JOURNAL_ARMED;
	if (agent_commit(a) != OTA_OK) {
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		return;
	}
	a->fresh = again;
	if (a->cfg.boot_select && a->cfg.boot_select(a->cfg.ctx, (uint8_t)agent_other(a)) != OTA_OK) {
		release_fail(a, OTA_FLASH, s->target.bytes);
		return;
	}
	agent_event(a, OTA_EVENT_ARMED, OTA_OK);
	a->phase = PHASE_RESET;
}

void release_step(struct ota_agent *a, struct ota_want *want)
{
	switch (a->phase) {
	case PHASE_ENVELOPE:
	case PHASE_STAGE:
		if (agent_is_ticket_old(a))
			agent_poll_at_once(a);
		else
			ask_envelope(a, want);
		return;
	case PHASE_LOOK:
		look_step(a);
		return;
	case PHASE_ACCEPT:
		accept(a);
		return;
	default:
		arm(a);
		return;
	}
}

void release_answered(struct ota_agent *a)
{
	struct journal_slot fresh;
	bool is_authentic = false;
	enum ota_err err = a->answer_err;

	if (a->answer.status != 200) {
		agent_defer(a);
		return;
	}
	if (err == OTA_OK)
		err = judge(a, a->msg, a->msg_len, &fresh, &is_authentic);
	if (err != OTA_OK) {
		/* One more try: bytes that were spoilt on the way are no reason to refuse a release. */
		if (!is_authentic && !a->is_asked_twice) {
			a->is_asked_twice = true;
			return;
		}
		refuse_or_fail(a, err, is_authentic);
		return;
	}
	a->fresh = fresh;
	if (a->phase == PHASE_STAGE)
		stage(a);
	else
		envelope_judged(a);
}
