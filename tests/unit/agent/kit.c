#include "tests/unit/agent/kit.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "device-agent/src/trust.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"

static const struct ota_crypto *C(void)
{
	return crypto_openssl();
}

#define MUST(expr) must((expr), __LINE__)

static void must(enum ota_err err, int line)
{
	if (err != OTA_OK) {
		(void)fprintf(stderr, "kit.c:%d: %s\n", line, ota_err_name(err));
		abort();
	}
}

struct flash_sim_options kit_small(void)
{
	return (struct flash_sim_options){
		.erase_unit = 1024, .prog_unit = 4, .erased = 0xFF, .slot_size = 16384, .n_components = 1};
}

static void add_key(struct root_doc *d, enum root_role role, const struct ota_signer *s)
{
	struct cose_key *key = &d->key[d->n_keys];

	key->alg = s->alg;
	key->pub = (struct ota_slice){s->pub, s->pub_len};
	memcpy(key->kid, s->kid, sizeof key->kid);
	d->role[role].threshold = 1;
	d->role[role].index[d->role[role].n++] = (uint8_t)d->n_keys++;
}

static void root_put(struct kit *k, const struct ota_signer *const *by, size_t n_by)
{
	uint8_t payload[ROOT_MAX], block[4][160];
	struct ota_slice blocks[4];
	size_t len, block_len;

	k->doc.version = k->n_roots + 1;
	MUST(root_payload_encode(&k->doc, payload, sizeof payload, &len));
	for (size_t i = 0; i < n_by; i++) {
		MUST(root_sign(
			by[i], (struct ota_slice){payload, len}, block[i], sizeof block[i], &block_len));
		blocks[i] = (struct ota_slice){block[i], block_len};
	}
	MUST(root_encode((struct ota_slice){payload, len}, blocks, n_by, k->root[k->n_roots], ROOT_MAX,
		&k->root_len[k->n_roots]));
	k->n_roots++;
}

void kit_root_add(struct kit *k)
{
	const struct ota_signer *by[1] = {&k->root_key[0]};

	root_put(k, by, 1);
}

static void identity_put(struct kit *k, struct provision *p)
{
	static const char serial[] = "device-1", url[] = "http://one.example/",
			  url2[] = "http://two.example/p/";
	uint8_t bytes[PROVISION_MAX];
	size_t len;

	memcpy(p->vendor_id, k->vendor_id, 16);
	memcpy(p->class_id, k->class_id, 16);
	p->serial = (struct ota_slice){(const uint8_t *)serial, sizeof serial - 1};
	p->n_urls = 2;
	p->url[0] = (struct ota_slice){(const uint8_t *)url, sizeof url - 1};
	p->url[1] = (struct ota_slice){(const uint8_t *)url2, sizeof url2 - 1};
	p->root = (struct ota_slice){k->root[k->provisioned_root - 1], k->root_len[k->provisioned_root - 1]};
	MUST(provision_encode(p, C(), bytes, sizeof bytes, &len));
	MUST(identity_store(&k->flash.flash, NULL, bytes, (uint32_t)len));
}

void kit_provision(struct kit *k)
{
	struct provision p;

	memset(&p, 0, sizeof p);
	p.has_secret = true;
	memcpy(p.secret_id, k->secret_id, sizeof p.secret_id);
	memcpy(p.secret, k->secret, sizeof p.secret);
	identity_put(k, &p);
}

void kit_enrolled(struct kit *k)
{
	struct provision p;
	uint8_t receipt[64];

	memset(&p, 0, sizeof p);
	memset(receipt, 0x5A, sizeof receipt);
	p.is_enrolled = true;
	memcpy(p.device_id, k->device_id, sizeof p.device_id);
	memcpy(p.k_dev, k->k_dev, sizeof p.k_dev);
	p.receipt = (struct ota_slice){receipt, sizeof receipt};
	identity_put(k, &p);
}

void kit_init(struct kit *k, const struct flash_sim_options *o)
{
	struct ota_slice serial = {(const uint8_t *)"device-1", 8};
	uint8_t nonce_d[NONCE_LEN];

	memset(k, 0, sizeof *k);
	flash_sim_init(&k->flash, o);
	for (unsigned i = 0; i < 2; i++)
		MUST(crypto_signer_generate(OTA_ALG_ESP256, &k->root_key[i]));
	MUST(crypto_signer_generate(OTA_ALG_ESP256, &k->server_key));
	MUST(crypto_signer_generate(OTA_ALG_ESP256, &k->release_key));
	MUST(crypto_signer_generate(OTA_ALG_ESP256, &k->stranger));
	memset(k->enroll_key, 1, sizeof k->enroll_key);
	memset(k->secret_id, 2, sizeof k->secret_id);
	memset(k->secret, 3, sizeof k->secret);
	memset(k->nonce_s, 4, sizeof k->nonce_s);
	memset(k->vendor_id, 5, sizeof k->vendor_id);
	memset(k->class_id, 6, sizeof k->class_id);
	memset(k->device_id, 7, sizeof k->device_id);
	keys_nonce_d(C(), k->secret, k->vendor_id, serial, nonce_d);
	keys_device(C(), k->secret, k->device_id, nonce_d, k->nonce_s, k->k_dev);
	add_key(&k->doc, ROOT_ROLE_ROOT, &k->root_key[0]);
	add_key(&k->doc, ROOT_ROLE_RELEASE, &k->release_key);
	add_key(&k->doc, ROOT_ROLE_SERVER, &k->server_key);
	k->doc.epoch = 1;
	kit_root_add(k);
	k->provisioned_root = 1;
	k->assigned = -1;
	k->next_poll_s = 300;
	k->flip_byte = k->cut_image = -1;
	k->health = OTA_HEALTH_WELL;
	k->has_random = true;
	k->now = 1000000;
	k->trial_contact_s = 1800;
	k->ticket_signer = &k->server_key;
	kit_provision(k);
}

void kit_end(struct kit *k)
{
	flash_sim_release(&k->flash);
	for (unsigned i = 0; i < KIT_RELEASES; i++) {
		for (unsigned c = 0; c < OTA_COMPONENTS_MAX; c++)
			free(k->release[i].image[c]);
	}
	crypto_signer_release(&k->root_key[0]);
	crypto_signer_release(&k->root_key[1]);
	crypto_signer_release(&k->server_key);
	crypto_signer_release(&k->release_key);
	crypto_signer_release(&k->stranger);
}

void kit_sign(struct kit *k, int i, const struct ota_signer *s)
{
	struct kit_release *r = &k->release[i];
	uint8_t manifest[SUIT_ENVELOPE_MAX], block[160];
	struct ota_slice slice = {manifest, 0}, blocks[1];
	size_t len;

	MUST(suit_manifest_encode(&r->m, manifest, sizeof manifest, &slice.len));
	suit_manifest_digest(C(), slice, r->digest);
	MUST(suit_sign(C(), s, r->digest, block, sizeof block, &len));
	blocks[0] = (struct ota_slice){block, len};
	MUST(suit_envelope_encode(C(), slice, blocks, 1, r->envelope, sizeof r->envelope, &r->envelope_len));
}

static uint8_t *make_image(uint32_t size, uint32_t seed, uint8_t sha256[32])
{
	uint32_t x = seed * 2654435761U + 12345;
	uint8_t *image = malloc(size + 1U);

	for (uint32_t at = 0; at < size; at++) {
		x = x * 1664525U + 1013904223U;
		image[at] = (uint8_t)(x >> 24);
	}
	ota_sha256(C(), &(struct ota_slice){image, size}, 1, sha256);
	return image;
}

void kit_add_component(struct kit *k, int i, const char *name, uint32_t size, uint32_t seed)
{
	struct kit_release *r = &k->release[i];
	struct suit_component *c = &r->m.component[1];

	free(r->image[1]);
	r->m.n_components = 2;
	c->id_len = (uint8_t)strlen(name);
	memcpy(c->id, name, c->id_len);
	c->n_images = 1;
	c->image[0].size = size;
	r->image[1] = make_image(size, seed, c->image[0].sha256);
	kit_sign(k, i, &k->release_key);
}

void kit_make(struct kit *k, int i, uint32_t sequence, uint32_t size, uint32_t seed)
{
	struct kit_release *r = &k->release[i];

	memset(&r->m, 0, sizeof r->m);
	free(r->image[0]);
	r->m.sequence = sequence;
	memcpy(r->m.vendor_id, k->vendor_id, 16);
	memcpy(r->m.class_id, k->class_id, 16);
	r->m.n_components = 1;
	memcpy(r->m.component[0].id, "app", 3);
	r->m.component[0].id_len = 3;
	r->m.component[0].n_images = 1;
	r->m.component[0].image[0].size = size;
	r->image[0] = make_image(size, seed, r->m.component[0].image[0].sha256);
	kit_sign(k, i, &k->release_key);
}

void kit_factory(struct kit *k, int i, unsigned slot)
{
	const struct kit_release *r = &k->release[i];
	const struct ota_flash *f = &k->flash.flash;

	MUST(f->erase(f->ctx, slot_region(0, slot), 0, k->flash.o.slot_size));
	MUST(flash_write(f, slot_region(0, slot), 0, r->image[0], r->m.component[0].image[0].size));
	MUST(flash_write(f, slot_region(0, slot), k->flash.o.slot_size - OTA_ENVELOPE_AREA, r->envelope,
		(uint32_t)r->envelope_len));
}

void kit_assign(struct kit *k, int i, uint8_t attempt)
{
	k->assigned = i;
	k->attempt = attempt;
}

/* ---- the device's callbacks ---- */

static int64_t kit_now(void *ctx)
{
	return ((struct kit *)ctx)->now;
}

static enum ota_err kit_random(void *ctx, void *out, size_t len)
{
	struct kit *k = ctx;
	uint8_t *p = out;

	if (!k->has_random)
		return OTA_IO;
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)flash_sim_random(&k->flash);
	return OTA_OK;
}

static enum ota_health kit_health(void *ctx)
{
	return ((struct kit *)ctx)->health;
}

static void kit_event(void *ctx, const struct ota_event *ev)
{
	struct kit *k = ctx;

	if (k->flash.is_off || k->n_events == KIT_EVENTS)
		return;
	k->events[k->n_events] = (uint8_t)ev->kind;
	k->event_err[k->n_events++] = ev->err;
}

bool kit_start(struct kit *k)
{
	struct ota_boot_config boot = {.flash = &k->flash.flash, .crypto = C(), .attempts = k->boot_attempts};
	struct ota_agent_config cfg;

	k->n_starts++;
	k->boot_err = ota_boot_select(&boot, &k->boot, &k->choice);
	k->is_down = true;
	if (k->boot_err != OTA_OK && k->boot_err != OTA_NOT_FOUND &&
		(k->boot_err != OTA_FLASH || k->choice.sequence == 0))
		return false;
	ota_agent_config_defaults(&cfg);
	cfg.flash = &k->flash.flash;
	cfg.crypto = C();
	cfg.ctx = k;
	cfg.work = k->work;
	cfg.now_ms = kit_now;
	cfg.random = kit_random;
	cfg.app_health = kit_health;
	cfg.event = kit_event;
	cfg.has_own_boot = true;
	cfg.running = k->boot_err == OTA_NOT_FOUND ? 0 : (uint8_t)(k->choice.slot + 1);
	cfg.poll_max_s = k->poll_max_s;
	cfg.trial_contact_s = k->trial_contact_s;
	cfg.n_components = k->flash.o.n_components;
	memcpy(cfg.component[0].id, "app", 3);
	cfg.component[0].id_len = 3;
	memcpy(cfg.component[1].id, "data", 4);
	cfg.component[1].id_len = 4;
	k->is_down = ota_agent_init(&k->agent, &cfg) != OTA_OK;
	return !k->is_down;
}

/* ---- the fake server ---- */

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
	if (enroll_request_decode(C(), q->body, q->body_len, k->secret, &r) != OTA_OK) {
		answer_plain(a, 401);
		return;
	}
	memset(&receipt, 0, sizeof receipt);
	memcpy(receipt.secret_id, k->secret_id, sizeof receipt.secret_id);
	memcpy(receipt.device_id, k->device_id, sizeof receipt.device_id);
	memcpy(receipt.class_id, k->class_id, sizeof receipt.class_id);
	memcpy(receipt.nonce_d, r.nonce_d, NONCE_LEN);
	memcpy(receipt.nonce_s, k->nonce_s, NONCE_LEN);
	MUST(receipt_encode(&receipt, C(), k->enroll_key, receipt_bytes, sizeof receipt_bytes, &len));
	memcpy(out.nonce_d, r.nonce_d, NONCE_LEN);
	memcpy(out.nonce_s, k->nonce_s, NONCE_LEN);
	memcpy(out.device_id, k->device_id, DEVICE_ID_LEN);
	out.receipt = (struct ota_slice){receipt_bytes, len};
	MUST(enroll_answer_encode(&out, C(), k->secret, bytes, sizeof bytes, &len));
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
	if (journal_open(&j, &look.flash, C()) != OTA_OK ||
		look.flash.read(&look, OTA_REGION_JOURNAL,
			a->group * a->group_len + a->index * JOURNAL_STRIDE, bytes, sizeof bytes) != OTA_OK ||
		journal_decode(C(), bytes, sizeof bytes, &s, &number) != OTA_OK)
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

	if (checkin_decode(C(), q->body, q->body_len, k->k_dev, &ci) != OTA_OK) {
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
		MUST(ticket_encode_mac(&t, C(), k->k_dev, bytes, sizeof bytes, &len));
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
		MUST(ticket_encode_mac(&t, C(), k->k_dev, bytes, sizeof bytes, &len));
	answer_bytes(k, a, 't', bytes, len);
}

static bool is_authorized(const struct kit *k, const struct ota_request *q)
{
	uint8_t proof[KEY_LEN];
	char want[OTA_AGENT_AUTH_MAX] = "OTA ";

	keys_fetch(C(), k->k_dev, proof);
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

static void exchange(struct kit *k, const struct ota_request *q)
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

		k->now += 1;
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

void kit_step(struct kit *k)
{
	struct ota_want want;

	if (k->is_down) {
		k->now += 60000;
		(void)kit_start(k);
		return;
	}
	ota_agent_step(&k->agent, &want);
	if (k->flash.is_off)
		return;
	switch (want.kind) {
	case OTA_WANT_REQUEST:
		k->now += 2;
		exchange(k, &want.request);
		break;
	case OTA_WANT_WAIT:
		k->now += k->wait_max_ms && want.wait_ms > k->wait_max_ms ? k->wait_max_ms : want.wait_ms;
		break;
	case OTA_WANT_RESET:
		(void)kit_start(k);
		break;
	case OTA_WANT_NOW:
	case OTA_WANT_DATA:
		break;
	}
}

bool kit_run(struct kit *k, int64_t seconds)
{
	int64_t end = k->now + seconds * 1000;

	for (unsigned i = 0; i < 200000 && k->now < end && !k->flash.is_off; i++) {
		if (!k->is_down && ota_agent_is_settled(&k->agent))
			return true;
		kit_step(k);
	}
	return !k->flash.is_off && !k->is_down && ota_agent_is_settled(&k->agent);
}

void kit_live(struct kit *k, int64_t seconds)
{
	int64_t end = k->now + seconds * 1000;

	for (unsigned i = 0; i < 200000 && k->now < end && !k->flash.is_off; i++) {
		k->wait_max_ms = (uint32_t)(end - k->now);
		kit_step(k);
	}
	k->wait_max_ms = 0;
}

bool kit_runs(const struct kit *k, int i)
{
	const struct journal_state *s = &k->agent.journal.s;
	const struct kit_release *r = &k->release[i];

	return memcmp(s->slot[s->active].digest, r->digest, 32) == 0 &&
	       memcmp(k->flash.bytes[slot_region(0, s->active)], r->image[0],
		       r->m.component[0].image[0].size) == 0;
}

unsigned kit_count(const struct kit *k, enum ota_event_kind kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->n_events; i++)
		n += k->events[i] == kind;
	return n;
}

enum ota_err kit_err_of(const struct kit *k, enum ota_event_kind kind)
{
	for (unsigned i = k->n_events; i > 0; i--) {
		if (k->events[i - 1] == kind)
			return k->event_err[i - 1];
	}
	return OTA_OK;
}

void kit_forget(struct kit *k)
{
	k->n_checkins = k->n_enrolls = k->n_envelopes = k->n_images = k->n_roots_asked = k->n_starts = 0;
	k->n_results = k->n_409 = k->n_events = 0;
	k->image_bytes = 0;
	k->saw_receipt = k->saw_confirmed = k->counter_went_back = k->asked_signed = false;
	memset(&k->told, 0, sizeof k->told);
}
