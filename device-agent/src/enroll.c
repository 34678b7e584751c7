/* Enrollment: the provisioned secret becomes a device key. */
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/trust.h"
#include "proto/enroll.h"

/* The same in every try, over resets too: an answer that was lost costs no second use of the secret, and the
 * same secret gives the same key. It needs to be nothing more; the freshness of the key is the server's
 * nonce. */
static void nonce_of(const struct ota_agent *a, uint8_t nonce[NONCE_LEN])
{
	keys_nonce_d(a->cfg.crypto, a->identity.secret, a->identity.vendor_id, a->identity.serial, nonce);
}

void enroll_step(struct ota_agent *a, struct ota_want *want)
{
	struct enroll_request r;
	size_t len;
	enum ota_err err;

	if (agent_now(a) < a->next_poll_ms || !a->identity.has_secret) {
		int64_t left = a->next_poll_ms - agent_now(a);

		want->kind = OTA_WANT_WAIT;
		want->wait_ms = left > 0 && left < 3600000 ? (uint32_t)left : 3600000;
		return;
	}
	agent_poll_begins(a);
	memset(&r, 0, sizeof r);
	memcpy(r.secret_id, a->identity.secret_id, sizeof r.secret_id);
	memcpy(r.vendor_id, a->identity.vendor_id, sizeof r.vendor_id);
	memcpy(r.class_id, a->identity.class_id, sizeof r.class_id);
	r.serial_len = a->identity.serial.len;
	memcpy(r.serial, a->identity.serial.p, r.serial_len);
	nonce_of(a, r.nonce_d);
	err = enroll_request_encode(&r, a->cfg.crypto, a->identity.secret, a->msg, sizeof a->msg, &len);
	if (err != OTA_OK) {
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		a->phase = PHASE_ENROLL;
		return;
	}
	memcpy(a->path, "d/v1/enroll", sizeof "d/v1/enroll");
	agent_request(a, want, REQUEST_ENROLL, ENROLL_MAX);
	want->request.is_post = true;
	want->request.body = a->msg;
	want->request.body_len = len;
}

enum ota_err identity_replace(struct ota_agent *a, const struct provision *p)
{
	uint8_t *scratch = a->cfg.work + PROVISION_MAX;
	enum ota_err err, again;
	unsigned from;
	size_t len;

	/* The scratch half held the root's bytes: root_start reads them again, whatever happens here. */
	err = provision_encode(p, a->cfg.crypto, scratch, PROVISION_MAX, &len);
	if (err == OTA_OK)
		err = identity_store(a->cfg.flash, &a->journal, scratch, (uint32_t)len);
	ota_wipe(scratch, PROVISION_MAX);
	if (err == OTA_OK)
		err = identity_load(a->cfg.flash, a->cfg.crypto, a->journal.s.flags, a->cfg.work,
			&a->identity, &a->identity_len, &from);
	again = root_start(a);
	return err != OTA_OK ? err : again;
}

void enroll_answered(struct ota_agent *a)
{
	struct enroll_answer answer;
	struct provision p;
	uint8_t nonce_d[NONCE_LEN];
	enum ota_err err;

	nonce_of(a, nonce_d);
	if (a->answer.status != 200) {
		agent_defer(a);
		a->phase = PHASE_ENROLL;
		return;
	}
	err = enroll_answer_decode(a->cfg.crypto, a->msg, a->msg_len, a->identity.secret, nonce_d, &answer);
	if (err != OTA_OK) {
		(void)agent_unreached(a, err);
		a->phase = PHASE_ENROLL;
		return;
	}
	p = a->identity;
	p.is_enrolled = true;
	memcpy(p.device_id, answer.device_id, sizeof p.device_id);
	keys_device(a->cfg.crypto, p.secret, p.device_id, nonce_d, answer.nonce_s, p.k_dev);
	p.receipt = answer.receipt;
	err = identity_replace(a, &p);
	ota_wipe(&p, sizeof p);
	if (err != OTA_OK || !a->identity.is_enrolled) {
		agent_event(a, OTA_EVENT_FLASH, err);
		agent_poll_in(a, AGENT_SPREAD_MAX_S);
		a->phase = PHASE_ENROLL;
		return;
	}
	a->backoff_s = 0;
	a->urls_failed = 0;
	agent_event(a, OTA_EVENT_ENROLLED, OTA_OK);
	agent_poll_at_once(a);
}

void enroll_forget_secret(struct ota_agent *a)
{
	struct provision p = a->identity;
	enum ota_err err;

	if (!p.has_secret)
		return;
	p.has_secret = false;
	memset(p.secret, 0, sizeof p.secret);
	memset(p.secret_id, 0, sizeof p.secret_id);
	err = identity_replace(a, &p);
	ota_wipe(&p, sizeof p);
	if (err != OTA_OK)
		agent_event(a, OTA_EVENT_FLASH, err);
}
