/* Root walk: one version at a time, each stored before the next is asked for. */
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/trust.h"

static uint8_t *root_bytes(const struct ota_agent *a)
{
	return a->cfg.work + PROVISION_MAX;
}

bool root_floors_apply(struct ota_agent *a)
{
	struct journal_state *s = &a->journal.s;
	uint32_t floor = root_floor_after(&a->root, s->epoch, a->identity.class_id, s->floor);

	/* None, or an older one because the newest was lost in flash: what it once set stays. */
	if (a->root.epoch < s->epoch)
		return false;
	if (s->floor == floor && s->epoch == a->root.epoch)
		return false;
	/* A journal that has begun with this root comes out of no epoch before it: what is in the slots was
	 * judged by the bootloader. */
	for (unsigned k = 0; k < OTA_SLOTS && s->epoch != a->root.epoch && s->counter_end != 0; k++)
		journal_mark(s, JOURNAL_EPOCH, k);
	s->floor = floor;
	s->epoch = a->root.epoch;
	return true;
}

enum ota_err root_start(struct ota_agent *a)
{
	const struct ota_crypto *c = a->cfg.crypto;
	struct root_doc provisioned;
	unsigned from;
	enum ota_err stored = root_load(
		a->cfg.flash, c, a->journal.s.flags, root_bytes(a), &a->root_len, &a->root, &from);
	enum ota_err first;

	if (stored == OTA_FLASH) {
		/* Not the provisioned one instead: its keys may have been replaced for a reason. */
		memset(&a->root, 0, sizeof a->root);
		return stored;
	}
	first = root_decode_first(c, a->identity.root.p, a->identity.root.len, &provisioned);
	if (stored != OTA_OK && first != OTA_OK)
		return OTA_CORRUPT;
	if (stored == OTA_OK && (first != OTA_OK || a->root.version >= provisioned.version)) {
		stored = root_heal(a->cfg.flash, c, &a->journal, root_bytes(a), a->root_len, from);
		if (stored != OTA_OK)
			return stored;
	} else {
		a->root = provisioned;
	}
	/* A cut between storing a root and recording its floors is made good here. */
	return root_floors_apply(a) ? agent_commit(a) : OTA_OK;
}

static void path_root(struct ota_agent *a, uint32_t version)
{
	static const char head[] = "d/v1/root/";
	char digits[10];
	unsigned n = 0, at = sizeof head - 1;

	memcpy(a->path, head, sizeof head - 1);
	do {
		digits[n++] = (char)('0' + version % 10);
		version /= 10;
	} while (version > 0);
	while (n > 0)
		a->path[at++] = digits[--n];
	a->path[at] = '\0';
}

void root_step(struct ota_agent *a, struct ota_want *want)
{
	a->root_asked_ms = agent_now(a);
	path_root(a, a->root.version + 1);
	agent_request(a, want, REQUEST_ROOT, ROOT_MAX);
	agent_request_authorize(a, want);
}

void root_answered(struct ota_agent *a)
{
	struct root_doc next;
	enum ota_err err, again;

	if (a->answer.status == 404) {
		/* The newest is known. Whatever was read under an older one is judged again. */
		agent_poll_at_once(a);
		return;
	}
	if (a->answer.status != 200) {
		agent_defer(a);
		return;
	}
	err = root_decode_next(a->cfg.crypto, &a->root, a->msg, a->msg_len, &next);
	if (err != OTA_OK) {
		(void)agent_unreached(a, err);
		a->phase = PHASE_POLL;
		return;
	}
	err = root_store(a->cfg.flash, a->cfg.crypto, &a->journal, a->msg, a->msg_len);
	/* Read it again: the document borrows from the bytes that stay, and one copy may have been written.
	 */
	again = root_start(a);
	a->is_fetch_live = a->is_staged_again = false;
	a->refused.attempt = 0;
	if (err != OTA_OK || again != OTA_OK) {
		agent_event(a, OTA_EVENT_FLASH, err != OTA_OK ? err : again);
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		return;
	}
	agent_event(a, OTA_EVENT_ROOT, OTA_OK);
	a->phase = PHASE_ROOT;
}
