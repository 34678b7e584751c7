#include <string.h>

#include "db/blob.h"
#include "db/enroll.h"
#include "db/event.h"
#include "proto/crypto_openssl.h"
#include "proto/enroll.h"
#include "proto/hex.h"
#include "server/domain.h"
#include "server/follow.h"
#include "server/h_device.h"
#include "server/ops.h"

struct enroll_job {
	const struct ota_crypto *crypto;
	const struct keystore *keys;
	const struct blob_store *blobs; /* knows the free space */
	struct enroll_request ask;
	struct enroll_in in;
	struct enroll_out out;
	bool has_facts;
	struct reg_facts facts;
	struct own_changes changes;
};

static const char *const outcome_words[] = {
	[ENROLL_APPROVED] = "enrolled, approved by its secret",
	[ENROLL_PENDING] = "enrolled, waits for approval",
	[ENROLL_REPEATED] = "asked for its enrollment again",
	[ENROLL_WAITING] = "enrolled again: its key stays, the new one waits for approval",
};

/* For people; "" where the device chose bytes that are no text. */
static void serial_text(const struct enroll_job *j, char text[static SERIAL_MAX + 1])
{
	size_t len = j->in.serial_len <= SERIAL_MAX ? j->in.serial_len : 0;

	memcpy(text, j->ask.serial, len);
	text[len] = '\0';
	for (size_t i = 0; i < len; i++) {
		if (text[i] < 0x20 || text[i] >= 0x7f)
			text[0] = '\0';
	}
}

static enum ota_err log_outcome(struct job *job)
{
	const struct enroll_job *j = job->ctx;
	struct event_row event = {.device = j->out.device, .at = j->in.now, .kind = "enrolled"};
	char serial[SERIAL_MAX + 1];

	serial_text(j, serial);
	event.text = arena_printf(
		job->mem, "%s%s%s", outcome_words[j->out.outcome], *serial ? ", serial " : "", serial);
	if (!event.text)
		return errmsg_fail(&job->e, OTA_NO_MEMORY, "out of memory");
	return j->out.outcome == ENROLL_REPEATED ? OTA_OK : event_add(job->db, &event, &job->e);
}

static enum ota_err enroll(struct job *job)
{
	struct enroll_job *j = job->ctx;
	enum ota_err err = j->blobs ? blob_space_rows(j->blobs, &job->e) : OTA_OK;

	if (!err)
		err = follow_own_begin(&j->changes, job);
	if (!err)
		err = enroll_device(job->db, &j->in, &j->out, &job->e);
	if (!err)
		err = log_outcome(job);
	if (err)
		return err;
	err = facts_load_device(job->db, j->crypto, j->keys, j->out.device, job->mem, &j->facts, &job->e);
	j->has_facts = !err;
	/* Not for the registry (revoked): the answer stays the same, its check-ins will be unknown. */
	if (err && err != OTA_NOT_FOUND)
		return err;
	return follow_own_end(&j->changes, job);
}

static enum h_result answer(struct req *req, struct res *res, const struct enroll_job *j)
{
	struct receipt r;
	struct enroll_answer a;
	uint8_t secret[SECRET_LEN], receipt[RECEIPT_MAX];
	uint8_t *buf = arena_alloc(req->mem, ENROLL_MAX);
	size_t receipt_len, len;
	enum ota_err err;

	if (!buf)
		return res_error(req, OTA_NO_MEMORY, NULL);
	memcpy(r.secret_id, j->in.secret_id, sizeof(r.secret_id));
	memcpy(r.device_id, j->in.device_id, sizeof(r.device_id));
	memcpy(r.class_id, j->in.class_id, sizeof(r.class_id));
	memcpy(r.nonce_d, j->in.nonce_d, sizeof(r.nonce_d));
	memcpy(r.nonce_s, j->out.nonce_s, sizeof(r.nonce_s));
	err = receipt_encode(&r, j->crypto, keystore_enroll(j->keys), receipt, sizeof(receipt), &receipt_len);
	if (err)
		return res_error(req, err, NULL);
	memcpy(a.nonce_d, j->in.nonce_d, sizeof(a.nonce_d));
	memcpy(a.nonce_s, j->out.nonce_s, sizeof(a.nonce_s));
	memcpy(a.device_id, j->in.device_id, sizeof(a.device_id));
	a.receipt = (struct ota_slice){receipt, receipt_len};
	keys_enroll_secret(j->crypto, keystore_enroll(j->keys), j->in.secret_id, secret);
	err = enroll_answer_encode(&a, j->crypto, secret, buf, ENROLL_MAX, &len);
	ota_wipe(secret, sizeof(secret));
	if (err)
		return res_error(req, err, NULL);
	return res_body(res, 200, "application/cbor", buf, len);
}

static void tell(const struct enroll_job *j, const char *peer)
{
	char uid[2 * DEVICE_ID_LEN + 1], serial[SERIAL_MAX + 1];

	serial_text(j, serial);
	hex_encode(j->in.device_id, sizeof(j->in.device_id), uid);
	if (j->out.outcome != ENROLL_REPEATED)
		log_info("device %s, serial %s, from %s: %s", uid, *serial ? serial : "(no text)", peer,
			outcome_words[j->out.outcome]);
}

static enum h_result enrolled(struct req *req, struct res *res, struct job *job)
{
	struct enroll_job *j = job->ctx;
	struct domain *d = req->app->domain;

	switch (job->err) {
	case OTA_OK:
		break;
	case OTA_NOT_FOUND:
	case OTA_DENIED:
	case OTA_CLASS:
	case OTA_VENDOR:
	case OTA_INVALID:
		/* Who is refused learns nothing; the operator does. */
		log_limited(&d->log_strangers, 10, app_now(req->app), LOG_LEVEL_WARN,
			"an enrollment from %s is refused: %s", req->peer, job->e.text);
		return res_empty(res, 401);
	default:
		return res_error(req, job->err, &job->e);
	}
	tell(j, req->peer);
	if (j->has_facts && follow_put(d, &j->facts)) {
		log_error("the registry cannot take a new device: out of memory");
		(void)follow_start(d);
	} else {
		follow_own_done(d, &j->changes);
	}
	ota_wipe(j->facts.k_dev, KEY_LEN);
	return answer(req, res, j);
}

enum h_result h_device_enroll(struct req *req, struct res *res)
{
	struct app *app = req->app;
	struct domain *d = app->domain;
	struct enroll_job *j = arena_alloc(req->mem, sizeof(*j));
	uint8_t secret[SECRET_LEN];
	enum ota_err err;

	if (!j)
		return res_error(req, OTA_NO_MEMORY, NULL);
	j->crypto = app->crypto;
	j->keys = d->keys;
	j->blobs = app->blobs;
	err = enroll_request_peek(req->body, req->body_len, j->ask.secret_id);
	if (err)
		return res_empty(res, 400);
	if (device_is_herd(app))
		return device_come_back(req, res, 429);
	keys_enroll_secret(app->crypto, keystore_enroll(d->keys), j->ask.secret_id, secret);
	err = enroll_request_decode(app->crypto, req->body, req->body_len, secret, &j->ask);
	ota_wipe(secret, sizeof(secret));
	if (err)
		return res_empty(res, err == OTA_SIG ? 401 : 400);
	j->in.now = app_now(app);
	j->in.devices_max = (uint64_t)app->cfg->max_devices;
	memcpy(j->in.secret_id, j->ask.secret_id, sizeof(j->in.secret_id));
	memcpy(j->in.vendor_id, j->ask.vendor_id, sizeof(j->in.vendor_id));
	memcpy(j->in.class_id, j->ask.class_id, sizeof(j->in.class_id));
	memcpy(j->in.nonce_d, j->ask.nonce_d, sizeof(j->in.nonce_d));
	j->in.serial = j->ask.serial;
	j->in.serial_len = j->ask.serial_len;
	crypto_uuid5(j->ask.vendor_id, j->ask.serial, j->ask.serial_len, j->in.device_id);
	if (crypto_random(j->in.nonce_s, sizeof(j->in.nonce_s)) ||
		crypto_random(j->in.link_id, sizeof(j->in.link_id)))
		return res_error(req, OTA_IO, NULL);
	return req_job(req, JOB_STORE, enroll, j, enrolled);
}
