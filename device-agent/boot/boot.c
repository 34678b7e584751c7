#include "device-agent/boot/boot.h"

#include <string.h>

#include "device-agent/src/slot.h"
#include "device-agent/src/trust.h"

enum { CHECKS = 4 };

struct boot {
	const struct ota_boot_config *cfg;
	struct ota_boot_work *w;
	struct ota_boot_choice *out;
};

/* A read that fails is tried again: what is decided by it is not undone. */
static enum ota_err check(const struct boot *b, unsigned k)
{
	enum ota_err err = OTA_FLASH;

	for (unsigned i = 0; err == OTA_FLASH && i < CHECKS; i++)
		err = slot_check(b->cfg->flash, b->cfg->crypto, &b->w->journal.s.slot[k], k);
	return err;
}

static uint8_t attempts(const struct boot *b)
{
	return b->cfg->attempts ? b->cfg->attempts : OTA_BOOT_ATTEMPTS;
}

/* Does the envelope in b->w, which `rec` is by, verify under the stored root, or the provisioned one where
 * none is stored? Decoded anew: beside the manifest it would lie on the deepest stack there is. */
static bool is_signed(const struct boot *b, const struct journal_slot *rec, uint32_t envelope_len)
{
	const struct ota_crypto *c = b->cfg->crypto;
	struct root_doc doc;
	uint32_t len;
	unsigned from;

	if (root_load(b->cfg->flash, c, b->w->journal.s.flags, b->w->trust.root, &len, &doc, &from) !=
		OTA_OK) {
		struct provision p;

		if (identity_load(b->cfg->flash, c, b->w->journal.s.flags, b->w->trust.identity, &p, &len,
			    &from) != OTA_OK ||
			root_decode_first(c, p.root.p, p.root.len, &doc) != OTA_OK)
			return false;
	}
	return slot_envelope_is_signed(c, &doc, rec->digest, b->w->envelope, envelope_len);
}

/* The record of slot `k` by its own envelope, which stays in b->w, if its images match it. */
static bool by_envelope(const struct boot *b, unsigned k, struct journal_slot *rec, uint32_t *envelope_len)
{
	const struct ota_crypto *c = b->cfg->crypto;
	struct suit_envelope e;
	struct suit_manifest m;

	return slot_envelope_read(b->cfg->flash, k, b->w->envelope, envelope_len) == OTA_OK &&
	       suit_envelope_decode(c, b->w->envelope, *envelope_len, &e) == OTA_OK &&
	       suit_manifest_decode(e.manifest, &m) == OTA_OK &&
	       slot_record_from(&m, e.digest, k, rec) == OTA_OK &&
	       slot_check(b->cfg->flash, c, rec, k) == OTA_OK;
}

/* Rebuild the slots' records from what is in flash; the counters that are there stay. The best slot starts as
 * a trial. Returns false when nothing boots. */
static bool rebuild(struct boot *b)
{
	struct journal_state *s = &b->w->journal.s;
	bool is_fetching = s->phase == JOURNAL_ACCEPTED || s->phase == JOURNAL_FETCHING;
	bool found = false, best_signed = false;

	for (unsigned k = 0; k < OTA_SLOTS; k++) {
		struct journal_slot rec;
		bool has_signature;
		uint32_t len;

		memset(&s->slot[k], 0, sizeof s->slot[k]);
		journal_unmark(s, JOURNAL_DOUBT, k);
		if (!by_envelope(b, k, &rec, &len))
			continue;
		has_signature = is_signed(b, &rec, len);
		s->slot[k] = rec;
		if (!has_signature)
			journal_mark(s, JOURNAL_EPOCH, k);
		if (found &&
			(has_signature < best_signed || (has_signature == best_signed &&
								rec.sequence <= s->slot[s->active].sequence)))
			continue;
		found = true;
		best_signed = has_signature;
		s->active = (uint8_t)k;
	}
	b->out->is_rebuilt = true;
	/* A device that has no image yet goes on with the one it was fetching. */
	if (!found && is_fetching)
		return false;
	memset(&s->target, 0, sizeof s->target);
	s->phase = found ? JOURNAL_TRIAL : JOURNAL_IDLE;
	s->attempts_left = found ? (uint8_t)(attempts(b) - 1) : 0;
	if (found) {
		memcpy(s->target.digest, s->slot[s->active].digest, sizeof s->target.digest);
		s->target.attempt = 1;
		if (s->slot[s->active ^ 1].component[0].size != 0)
			journal_mark(s, JOURNAL_DOUBT, s->active ^ 1U);
	} else {
		s->active = 1; /* the first image goes to slot 0 */
	}
	return found;
}

/* Go back from the active slot. False: the other one does not verify. */
static bool go_back(struct boot *b, enum ota_err why)
{
	struct journal_state *s = &b->w->journal.s;
	uint8_t other = (uint8_t)(1 - s->active);
	bool ran_before = journal_may_go_back(s) && !journal_is_found(s);

	if (check(b, other) != OTA_OK)
		return false;
	journal_end(s, why, 0);
	b->out->why = why;
	b->out->is_reverted = true;
	if (ran_before)
		s->active = other;
	else
		journal_fall_over(s, (uint8_t)(attempts(b) - 1));
	return true;
}

/* Each of these leaves in the journal what is to be committed, and answers whether s->active may be booted.
 */

static bool select_armed(struct boot *b)
{
	struct journal_state *s = &b->w->journal.s;
	uint8_t fresh = (uint8_t)(1 - s->active);

	if (check(b, fresh) != OTA_OK) {
		journal_end(s, OTA_DIGEST, 0);
		b->out->why = OTA_DIGEST;
		return check(b, s->active) == OTA_OK;
	}
	journal_try(s, (uint8_t)(attempts(b) - 1));
	return true;
}

static bool select_trial(struct boot *b)
{
	struct journal_state *s = &b->w->journal.s;

	if (check(b, s->active) != OTA_OK)
		return go_back(b, OTA_DIGEST);
	if (s->attempts_left > 0) {
		s->attempts_left--;
		return true;
	}
	if (journal_may_go_back(s) && go_back(b, OTA_BOOTS))
		return true;
	/* Nothing to go back to: an image that verifies is better than none. What came as an update failed
	 * and is told so, for on trial it would take no other; what the factory left alone waits for its
	 * server. */
	if (journal_is_marked(s, JOURNAL_DOUBT, s->active) || s->slot[1 - s->active].component[0].size != 0) {
		journal_end(s, OTA_BOOTS, 0);
		b->out->why = OTA_BOOTS;
	}
	return true;
}

static bool select_revert(struct boot *b)
{
	struct journal_state *s = &b->w->journal.s;
	enum ota_err why = ota_err_from_detail(s->result.detail);

	/* The agent that wrote REVERT wrote the result with it. */
	if (check(b, (uint8_t)(1 - s->active)) == OTA_OK) {
		s->active = (uint8_t)(1 - s->active);
		b->out->is_reverted = true;
		b->out->why = why;
	} else {
		journal_mark(s, JOURNAL_DOUBT, s->active);
	}
	memset(&s->target, 0, sizeof s->target);
	s->phase = JOURNAL_IDLE;
	s->attempts_left = 0;
	return check(b, s->active) == OTA_OK;
}

static bool select_running(struct boot *b)
{
	struct journal_state *s = &b->w->journal.s;

	if (check(b, s->active) == OTA_OK)
		return true;
	if (check(b, 1U - s->active) != OTA_OK)
		return false;
	/* The running image rotted. What was being done with the other slot is over: it runs now. */
	b->out->why = OTA_DIGEST;
	b->out->is_reverted = true;
	journal_fall_over(s, (uint8_t)(attempts(b) - 1));
	return true;
}

static bool select_slot(struct boot *b)
{
	switch (b->w->journal.s.phase) {
	case JOURNAL_ARMED:
		return select_armed(b);
	case JOURNAL_TRIAL:
		return select_trial(b);
	case JOURNAL_REVERT:
		return select_revert(b);
	default:
		return select_running(b);
	}
}

static void describe(struct boot *b)
{
	const struct journal_state *s = &b->w->journal.s;

	b->out->slot = s->active;
	b->out->is_trial = s->phase == JOURNAL_TRIAL;
	b->out->sequence = s->slot[s->active].sequence;
}

/* The journal takes no record: nothing is written, and no image is tried whose attempts cannot be counted
 * while there is another. */
static enum ota_err select_read_only(struct boot *b)
{
	struct journal_state *s = &b->w->journal.s;
	bool is_doubtful = s->phase == JOURNAL_REVERT ||
			   (s->phase == JOURNAL_TRIAL && journal_may_go_back(s) && !journal_is_found(s));
	bool is_good;

	*b->out = (struct ota_boot_choice){0};
	if (b->w->journal.is_lost)
		return OTA_FLASH;
	is_good = check(b, s->active) == OTA_OK;
	if ((is_doubtful || !is_good) && check(b, 1U - s->active) == OTA_OK) {
		journal_fall_over(s, 0);
		if (is_doubtful)
			s->phase = JOURNAL_IDLE;
	} else if (!is_good && !rebuild(b)) {
		return OTA_NOT_FOUND;
	}
	describe(b);
	return OTA_FLASH;
}

enum ota_err ota_boot_select(
	const struct ota_boot_config *cfg, struct ota_boot_work *w, struct ota_boot_choice *out)
{
	struct boot b = {cfg, w, out};
	struct journal_state *s = &w->journal.s;
	bool is_bootable = false, is_changed = true;
	enum ota_err err;

	memset(out, 0, sizeof *out);
	out->why = OTA_OK;
	err = journal_open(&w->journal, cfg->flash, cfg->crypto);
	if (err != OTA_OK && err != OTA_NOT_FOUND)
		return err;
	if (err == OTA_OK) {
		uint8_t phase = s->phase, active = s->active, left = s->attempts_left;

		if (journal_commit(&w->journal) != OTA_OK)
			return select_read_only(&b);
		is_bootable = select_slot(&b);
		is_changed = s->phase != phase || s->active != active || s->attempts_left != left;
	}
	if (!is_bootable) {
		is_bootable = rebuild(&b);
		is_changed = true;
	}
	if (is_changed && journal_commit(&w->journal) != OTA_OK)
		return select_read_only(&b);
	describe(&b);
	return is_bootable ? OTA_OK : OTA_NOT_FOUND;
}
