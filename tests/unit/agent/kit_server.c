/* The fake otad of the kit: it answers what the agent asks. */
#include "tests/unit/agent/kit_internal.h"

#include <stdlib.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "proto/enroll.h"
#include "proto/hex.h"

struct answer {
	struct ota_response r;
	const uint8_t *body;
	size_t len;
	bool is_cut;
};

static uint8_t answer_buf[2048];

static void answer_plain(struct answer *a, int status)
{
	memset(a, 0, sizeof *a);
	a->r.status = status;
	a->r.content_length = 0;
}

static void answer_bytes(struct kit *k, struct answer *a, char what, const uint8_t *bytes, size_t len)
{
	answer_plain(a, 200);
	memmove(answer_buf, bytes, len);
	a->body = answer_buf;
	a->len = len;
	if (k->spoil)
		k->spoil(k, what, answer_buf, &a->len);
	a->r.content_length = k->no_length ? -1 : (int64_t)a->len;
}

static void serve_enroll(struct kit *k, const struct ota_request *q, struct answer *a)
{
	struct enroll_request r;
	struct enroll_answer out;
	struct receipt receipt;
	uint8_t receipt_bytes[RECEIPT_MAX], bytes[ENROLL_MAX];
	size_t len;

	k->n_enrolls++;
	if (enroll_request_decode(kit_crypto(), q->body, q->body_len, k->secret, &r) != OTA_OK) {
		answer_plain(a, 401);
		return;
	}
	memset(&receipt, 0, sizeof receipt);
	memcpy(receipt.secret_id, k->secret_id, sizeof receipt.secret_id);
	memcpy(receipt.device_id, k->device_id, sizeof receipt.device_id);
	memcpy(receipt.class_id, k->class_id, sizeof receipt.class_id);
	memcpy(receipt.nonce_d, r.nonce_d, NONCE_LEN);
	memcpy(receipt.nonce_s, k->nonce_s, NONCE_LEN);
	MUST(receipt_encode(
		&receipt, kit_crypto(), k->enroll_key, receipt_bytes, sizeof receipt_bytes, &len));
	memcpy(out.nonce_d, r.nonce_d, NONCE_LEN);
	memcpy(out.nonce_s, k->nonce_s, NONCE_LEN);
	memcpy(out.device_id, k->device_id, DEVICE_ID_LEN);
	out.receipt = (struct ota_slice){receipt_bytes, len};
	MUST(enroll_answer_encode(&out, kit_crypto(), k->secret, bytes, sizeof bytes, &len));
	answer_bytes(k, a, 'n', bytes, len);
}

static enum checkin_state told_as(uint8_t phase)
{
	static const enum checkin_state as[JOURNAL_PHASES] = {[JOURNAL_ACCEPTED] = CHECKIN_FETCHING,
		[JOURNAL_FETCHING] = CHECKIN_FETCHING,
		[JOURNAL_STAGED] = CHECKIN_STAGED,
		[JOURNAL_ARMED] = CHECKIN_STAGED,
		[JOURNAL_TRIAL] = CHECKIN_TRIAL,
		[JOURNAL_REVERT] = CHECKIN_TRIAL,
		[JOURNAL_CONFIRMED] = CHECKIN_CONFIRMED};

	return as[phase];
}

/* Is what a check-in says in the agent's newest record on flash, and, but where flash did more than it owned
 * to, what the next start would find? */
static bool is_true(struct kit *k, const struct checkin *ci)
{
	const struct journal *a = &k->agent.journal;
	struct flash_sim look = k->flash;
	uint8_t bytes[JOURNAL_STRIDE];
	struct journal_state s;
	struct journal j;
	uint32_t number;

	look.flash.ctx = &look;
	flash_sim_mend(&look);
	if (journal_open(&j, &look.flash, kit_crypto()) != OTA_OK ||
		look.flash.read(&look, OTA_REGION_JOURNAL,
			a->group * a->group_len + a->index * JOURNAL_STRIDE, bytes, sizeof bytes) != OTA_OK ||
		journal_decode(kit_crypto(), bytes, sizeof bytes, &s, &number) != OTA_OK)
		return false;
	if (number != j.number && k->flash.refusal != REFUSE_DONE && k->flash.refusal != REFUSE_READING)
		return false;
	if (k->boot_err != OTA_NOT_FOUND && s.active != k->choice.slot)
		return false;
	if (ci->state != told_as(s.phase) || ci->counter >= s.counter_end ||
		ci->has_target != (s.target.attempt != 0) ||
		(ci->has_target && ci->target_attempt != s.target.attempt) ||
		ci->has_running != (s.slot[s.active].sequence != 0) ||
		(ci->has_running && memcmp(ci->running_digest, s.slot[s.active].digest, 32) != 0))
		return false;
	if (s.result.attempt != 0)
		return ci->has_result && ci->result_detail == s.result.detail &&
		       memcmp(ci->result_digest, s.result.digest, 32) == 0;
	return !ci->has_result || k->agent.told_ram_result;
}

static void note_checkin(struct kit *k, const struct checkin *ci)
{
	k->n_checkins++;
	if (!is_true(k, ci))
		k->told_untrue = true;
	k->last = *ci;
	k->last.receipt = (struct ota_slice){0};
	if (ci->receipt.len > 0)
		k->saw_receipt = true;
	if (ci->has_result) {
		if (k->n_results++ == 0)
			k->told_first = *ci;
		k->told = *ci;
	}
	if (ci->state == CHECKIN_CONFIRMED)
		k->saw_confirmed = true;
	if (ci->flags & CHECKIN_FLAG_WANTS_SIGNED)
		k->asked_signed = true;
}

static void ticket_for(struct kit *k, const struct checkin *ci, struct ticket *t)
{
	memset(t, 0, sizeof *t);
	memcpy(t->device_id, k->device_id, DEVICE_ID_LEN);
	if (k->use_other_device)
		t->device_id[0] ^= 1;
	memcpy(t->nonce, k->use_old_nonce ? k->old_nonce : ci->nonce, NONCE_LEN);
	memcpy(k->old_nonce, ci->nonce, NONCE_LEN);
	t->root_version = k->n_roots;
	t->next_poll_s = k->next_poll_s;
	t->flags = k->flags;
	t->n_urls = k->n_urls;
	memcpy(t->url, k->url, sizeof t->url);
	if (k->assigned >= 0) {
		const struct kit_release *r = &k->release[k->assigned];

		t->has_assignment = true;
		memcpy(t->digest, r->digest, 32);
		t->envelope_size = (uint16_t)r->envelope_len;
		t->attempt = k->attempt;
	}
}

static void serve_checkin(struct kit *k, const struct ota_request *q, struct answer *a)
{
	uint8_t bytes[TICKET_MAX];
	struct checkin ci;
	struct ticket t;
	size_t len;

	if (checkin_decode(kit_crypto(), q->body, q->body_len, k->k_dev, &ci) != OTA_OK) {
		answer_plain(a, 401);
		return;
	}
	if (k->is_unknown && ci.receipt.len == 0) {
		note_checkin(k, &ci);
		answer_plain(a, 404);
		return;
	}
	k->is_unknown = false;
	if (ci.counter <= k->last_counter && k->last_counter != 0) {
		memset(&t, 0, sizeof t);
		memcpy(t.device_id, k->device_id, DEVICE_ID_LEN);
		memcpy(t.nonce, ci.nonce, NONCE_LEN);
		t.root_version = k->n_roots;
		t.next_poll_s = k->next_poll_s;
		t.has_counter = true;
		t.counter = k->last_counter;
		k->n_409++;
		k->counter_went_back = true;
		MUST(ticket_encode_mac(&t, kit_crypto(), k->k_dev, bytes, sizeof bytes, &len));
		answer_bytes(k, a, 't', bytes, len);
		a->r.status = 409;
		return;
	}
	note_checkin(k, &ci);
	k->last_counter = ci.counter;
	/* Success ends the assignment, as otad does it. */
	if (k->assigned >= 0 && ci.state == CHECKIN_CONFIRMED && ci.has_running &&
		memcmp(ci.running_digest, k->release[k->assigned].digest, 32) == 0)
		k->assigned = -1;
	if (k->assigned >= 0 && ci.has_result && ci.result_detail != 0 && ci.result_attempt == k->attempt &&
		memcmp(ci.result_digest, k->release[k->assigned].digest, 32) == 0)
		k->assigned = -1;
	ticket_for(k, &ci, &t);
	if (t.has_assignment || t.n_urls > 0 || k->ticket_is_signed || (ci.flags & CHECKIN_FLAG_WANTS_SIGNED))
		MUST(ticket_encode_signed(&t, k->ticket_signer, bytes, sizeof bytes, &len));
	else
		MUST(ticket_encode_mac(&t, kit_crypto(), k->k_dev, bytes, sizeof bytes, &len));
	answer_bytes(k, a, 't', bytes, len);
}

static bool is_authorized(const struct kit *k, const struct ota_request *q)
{
	uint8_t proof[KEY_LEN];
	char want[OTA_AGENT_AUTH_MAX] = "OTA ";

	keys_fetch(kit_crypto(), k->k_dev, proof);
	hex_encode(k->device_id, 16, want + 4);
	want[36] = '.';
	hex_encode(proof, 32, want + 37);
	return q->authorization && strcmp(q->authorization, want) == 0;
}

static void serve_envelope(struct kit *k, const struct ota_request *q, struct answer *a)
{
	char hex[65];

	k->n_envelopes++;
	for (unsigned i = 0; i < KIT_RELEASES; i++) {
		hex_encode(k->release[i].digest, 32, hex);
		if (k->release[i].image[0] && strcmp(q->path + strlen("d/v1/envelope/"), hex) == 0) {
			answer_bytes(k, a, 'e', k->release[i].envelope, k->release[i].envelope_len);
			return;
		}
	}
	answer_plain(a, 404);
}

static void serve_root(struct kit *k, const struct ota_request *q, struct answer *a)
{
	unsigned long n = strtoul(q->path + strlen("d/v1/root/"), NULL, 10);

	k->n_roots_asked++;
	if (n < 1 || n > k->n_roots)
		answer_plain(a, 404);
	else
		answer_bytes(k, a, 'r', k->root[n - 1], k->root_len[n - 1]);
}

static const uint8_t *image_named(const struct kit *k, const char *path, uint32_t *size)
{
	char hex[65];

	for (unsigned i = 0; i < KIT_RELEASES; i++) {
		const struct suit_manifest *m = &k->release[i].m;

		for (unsigned c = 0; c < m->n_components; c++) {
			hex_encode(m->component[c].image[0].sha256, 32, hex);
			*size = m->component[c].image[0].size;
			if (k->release[i].image[c] && strcmp(path + 2, hex) == 0)
				return k->release[i].image[c];
		}
	}
	return NULL;
}

static uint8_t image_buf[KIT_IMAGE_MAX];

static void serve_image(struct kit *k, const struct ota_request *q, struct answer *a)
{
	uint32_t size = 0, from = q->has_range ? q->offset : 0;
	const uint8_t *image = image_named(k, q->path, &size);

	k->n_images++;
	answer_plain(a, image ? 200 : 404);
	if (k->image_status)
		a->r.status = k->image_status;
	if (!image || k->image_status || from >= size)
		return;
	if (k->ignore_range)
		from = 0;
	memcpy(image_buf, image, size);
	memset(image_buf + size, 0xEE, sizeof image_buf - size);
	if (k->flip_byte >= 0 && k->flip_byte < size)
		image_buf[k->flip_byte] ^= 0x10;
	a->body = image_buf + from;
	a->len = (size_t)((int64_t)(size - from) + k->extra);
	a->r.content_length = k->no_length ? -1 : (int64_t)a->len;
	if (from > 0) {
		a->r.status = 206;
		a->r.has_content_range = true;
		a->r.range_first = (uint64_t)(from + k->wrong_range);
		a->r.range_last = size - 1U;
		a->r.range_total = size;
	}
	if (k->cut_image >= 0 && (uint64_t)k->cut_image < a->len) {
		a->len = (size_t)k->cut_image;
		a->is_cut = true;
		k->cut_image = -1;
	}
	k->image_bytes += a->len;
}

static void serve_stranger(struct kit *k, struct answer *a)
{
	answer_plain(a, k->status ? k->status : 200);
	a->r.retry_after_s = k->retry_after_s;
	if (k->status == 0) {
		a->body = (const uint8_t *)"hello";
		a->len = 5;
		a->r.content_length = 5;
	}
}

static void serve(struct kit *k, const struct ota_request *q, struct answer *a)
{
	bool is_first = memcmp(q->base.p, "http://one", 10) == 0;

	if (k->is_first_url_taken && is_first) {
		serve_stranger(k, a);
	} else if (strcmp(q->path, "d/v1/enroll") == 0) {
		serve_enroll(k, q, a);
	} else if (strcmp(q->path, "d/v1/checkin") == 0) {
		if (k->status && !k->is_first_url_taken) {
			answer_plain(a, k->status);
			a->r.retry_after_s = k->retry_after_s;
			k->n_checkins++;
		} else {
			serve_checkin(k, q, a);
		}
	} else if (!is_authorized(k, q)) {
		answer_plain(a, 401);
	} else if (strncmp(q->path, "d/v1/envelope/", 14) == 0) {
		serve_envelope(k, q, a);
	} else if (strncmp(q->path, "d/v1/root/", 10) == 0) {
		serve_root(k, q, a);
	} else if (strncmp(q->path, "i/", 2) == 0) {
		serve_image(k, q, a);
	} else {
		answer_plain(a, 404);
	}
}

void kit_exchange(struct kit *k, const struct ota_request *q)
{
	enum { PIECE = 700 };
	struct answer a;
	bool is_complete;

	if (k->is_off_line) {
		ota_agent_response_end(&k->agent, false);
		return;
	}
	serve(k, q, &a);
	is_complete = !a.is_cut;
	if (ota_agent_response_begin(&k->agent, &a.r) != OTA_OK)
		is_complete = false;
	for (size_t at = 0; is_complete && at < a.len; at += PIECE) {
		size_t n = a.len - at < PIECE ? a.len - at : (size_t)PIECE;

		k->now += k->piece_ms;
		if (ota_agent_response_data(&k->agent, a.body + at, n) != OTA_OK)
			is_complete = false;
	}
	if (a.is_cut) {
		for (size_t at = 0; at < a.len; at += PIECE) {
			size_t n = a.len - at < PIECE ? a.len - at : (size_t)PIECE;

			if (ota_agent_response_data(&k->agent, a.body + at, n) != OTA_OK)
				break;
		}
	}
	ota_agent_response_end(&k->agent, is_complete);
}
