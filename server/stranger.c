#include "server/stranger.h"

#include <string.h>

#include "db/enroll.h"
#include "db/event.h"
#include "proto/crypto_openssl.h"
#include "proto/enroll.h"
#include "proto/hex.h"
#include "server/domain.h"
#include "server/follow.h"

/* Inputs and results of the job that stores it. In req->mem. */
struct stranger {
	const struct ota_crypto *crypto;
	struct keystore *keys;
	struct enroll_in restore;
	struct reg_facts facts;
	struct own_changes changes;
	route_fn then;
};

static enum ota_err store_restored(struct job *job)
{
	struct stranger *s = job->ctx;
	struct event_row event = {.at = s->restore.now,
		.kind = "restored",
		.text = "was unknown here, showed its receipt, waits for approval"};
	struct enroll_out out = {.device = 0};
	enum ota_err err = follow_own_begin(&s->changes, job);

	if (!err)
		err = enroll_restore(job->db, &s->restore, &out, &job->e);
	/* Known, with another key: what this check-in was verified with is not its own. */
	if (!err && out.outcome == ENROLL_WAITING)
		err = OTA_NOT_FOUND;
	event.device = out.device;
	if (!err)
		err = event_add(job->db, &event, &job->e);
	if (!err)
		err = facts_load_device(
			job->db, s->crypto, s->keys, out.device, job->mem, &s->facts, &job->e);
	return err ? err : follow_own_end(&s->changes, job);
}

static enum h_result restored(struct req *req, struct res *res, struct job *job)
{
	struct domain *d = req->app->domain;
	struct stranger *s = job->ctx;
	char hex[2 * DEVICE_ID_LEN + 1];
	enum ota_err err;

	/* Its board is gone, or the operator removed or revoked it: unknown, as before. */
	if (job->err == OTA_NOT_FOUND || job->err == OTA_CLASS || job->err == OTA_DENIED)
		return res_empty(res, 404);
	if (job->err)
		return res_error(req, job->err, &job->e);
	err = follow_put(d, &s->facts);
	ota_wipe(s->facts.k_dev, KEY_LEN);
	if (err)
		return res_error(req, OTA_NO_MEMORY, NULL);
	follow_own_done(d, &s->changes);
	hex_encode(s->restore.device_id, DEVICE_ID_LEN, hex);
	log_info("device %s was unknown and showed its receipt: it waits for approval", hex);
	return s->then(req, res);
}

/* K_dev comes out of the receipt, whose MAC is ours; then the check-in must have its MAC too, so that a
 * receipt somebody read on the wire brings nobody in. */
static bool receipt_is_right(const struct req *req, const struct stranger *s, const uint8_t *id,
	struct receipt *r, struct checkin *ci)
{
	const uint8_t *enroll = keystore_enroll(s->keys);
	uint8_t secret[SECRET_LEN], k_dev[KEY_LEN];
	struct ota_slice bytes;
	enum ota_err err;

	if (checkin_peek_receipt(req->body, req->body_len, &bytes) ||
		receipt_decode(s->crypto, bytes.p, bytes.len, enroll, r) ||
		memcmp(r->device_id, id, DEVICE_ID_LEN) != 0)
		return false;
	keys_enroll_secret(s->crypto, enroll, r->secret_id, secret);
	keys_device(s->crypto, secret, r->device_id, r->nonce_d, r->nonce_s, k_dev);
	err = checkin_decode(s->crypto, req->body, req->body_len, k_dev, ci);
	ota_wipe(secret, sizeof(secret));
	ota_wipe(k_dev, sizeof(k_dev));
	return !err;
}

static struct enroll_in enroll_of(const struct receipt *r, const struct app *app)
{
	struct enroll_in in = {.now = app_now(app), .devices_max = (uint64_t)app->cfg->max_devices};

	memcpy(in.secret_id, r->secret_id, sizeof(r->secret_id));
	memcpy(in.device_id, r->device_id, sizeof(r->device_id));
	memcpy(in.class_id, r->class_id, sizeof(r->class_id));
	memcpy(in.nonce_d, r->nonce_d, sizeof(r->nonce_d));
	memcpy(in.nonce_s, r->nonce_s, sizeof(r->nonce_s));
	return in;
}

enum h_result stranger_come_in(struct req *req, struct res *res, const uint8_t id[static DEVICE_ID_LEN],
	struct checkin *ci, route_fn then)
{
	struct app *app = req->app;
	struct stranger *s = arena_alloc(req->mem, sizeof(*s));
	struct receipt r;

	if (!s)
		return res_error(req, OTA_NO_MEMORY, NULL);
	s->crypto = app->crypto;
	s->keys = app->domain->keys;
	s->then = then;
	if (!receipt_is_right(req, s, id, &r, ci))
		return res_empty(res, 404);
	s->restore = enroll_of(&r, app);
	if (crypto_random(s->restore.link_id, sizeof(s->restore.link_id)))
		return res_error(req, OTA_IO, NULL);
	return req_job(req, JOB_STORE, store_restored, s, restored);
}
