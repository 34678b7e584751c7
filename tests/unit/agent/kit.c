#include "tests/unit/agent/kit_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/slot.h"
#include "device-agent/src/trust.h"
#include "proto/crypto_openssl.h"

const struct ota_crypto *kit_crypto(void)
{
	return crypto_openssl();
}

void kit_must(enum ota_err err, const char *file, int line)
{
	if (err != OTA_OK) {
		(void)fprintf(stderr, "%s:%d: %s\n", file, line, ota_err_name(err));
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
	MUST(provision_encode(p, kit_crypto(), bytes, sizeof bytes, &len));
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
	keys_nonce_d(kit_crypto(), k->secret, k->vendor_id, serial, nonce_d);
	keys_device(kit_crypto(), k->secret, k->device_id, nonce_d, k->nonce_s, k->k_dev);
	add_key(&k->doc, ROOT_ROLE_ROOT, &k->root_key[0]);
	add_key(&k->doc, ROOT_ROLE_RELEASE, &k->release_key);
	add_key(&k->doc, ROOT_ROLE_SERVER, &k->server_key);
	k->doc.epoch = 1;
	kit_root_add(k);
	k->provisioned_root = 1;
	k->assigned = -1;
	k->next_poll_s = 300;
	k->flip_byte = k->cut_image = -1;
	k->piece_ms = 1;
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
	suit_manifest_digest(kit_crypto(), slice, r->digest);
	MUST(suit_sign(kit_crypto(), s, r->digest, block, sizeof block, &len));
	blocks[0] = (struct ota_slice){block, len};
	MUST(suit_envelope_encode(
		kit_crypto(), slice, blocks, 1, r->envelope, sizeof r->envelope, &r->envelope_len));
}

static uint8_t *make_image(uint32_t size, uint32_t seed, uint8_t sha256[32])
{
	uint32_t x = seed * 2654435761U + 12345;
	uint8_t *image = malloc(size + 1U);

	for (uint32_t at = 0; at < size; at++) {
		x = x * 1664525U + 1013904223U;
		image[at] = (uint8_t)(x >> 24);
	}
	ota_sha256(kit_crypto(), &(struct ota_slice){image, size}, 1, sha256);
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

	for (unsigned c = 0; c < r->m.n_components && c < k->flash.o.n_components; c++) {
		MUST(f->erase(f->ctx, slot_region(c, slot), 0, k->flash.o.slot_size));
		MUST(flash_write(f, slot_region(c, slot), 0, r->image[c], r->m.component[c].image[0].size));
	}
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
	k->event_sequence[k->n_events] = ev->sequence;
	k->event_err[k->n_events++] = ev->err;
}

bool kit_start(struct kit *k)
{
	struct ota_boot_config boot = {
		.flash = &k->flash.flash, .crypto = kit_crypto(), .attempts = k->boot_attempts};
	struct ota_agent_config cfg;

	k->n_starts++;
	k->boot_err = ota_boot_select(&boot, &k->boot, &k->choice);
	k->is_down = true;
	if (k->boot_err != OTA_OK && k->boot_err != OTA_NOT_FOUND &&
		(k->boot_err != OTA_FLASH || k->choice.sequence == 0))
		return false;
	ota_agent_config_defaults(&cfg);
	cfg.flash = &k->flash.flash;
	cfg.crypto = kit_crypto();
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
		kit_exchange(k, &want.request);
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

	if (memcmp(s->slot[s->active].digest, r->digest, 32) != 0)
		return false;
	for (unsigned c = 0; c < r->m.n_components && c < k->flash.o.n_components; c++) {
		if (memcmp(k->flash.bytes[slot_region(c, s->active)], r->image[c],
			    r->m.component[c].image[0].size) != 0)
			return false;
	}
	return true;
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

uint32_t kit_sequence_of(const struct kit *k, enum ota_event_kind kind)
{
	for (unsigned i = k->n_events; i > 0; i--) {
		if (k->events[i - 1] == kind)
			return k->event_sequence[i - 1];
	}
	return 0;
}

void kit_forget(struct kit *k)
{
	k->n_checkins = k->n_enrolls = k->n_envelopes = k->n_images = k->n_roots_asked = k->n_starts = 0;
	k->n_results = k->n_409 = k->n_events = 0;
	k->image_bytes = 0;
	k->saw_receipt = k->saw_confirmed = k->counter_went_back = k->asked_signed = false;
	memset(&k->told, 0, sizeof k->told);
}
