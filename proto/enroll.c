#include "proto/enroll.h"

#include <string.h>

#include "proto/fields.h"

enum { REQUEST_VENDOR = 2, REQUEST_CLASS = 3, REQUEST_SERIAL = 4, REQUEST_NONCE_D = 5 };
enum { ANSWER_NONCE_D = 2, ANSWER_NONCE_S = 3, ANSWER_DEVICE = 4, ANSWER_RECEIPT = 5 };
enum { RECEIPT_SECRET = 2, RECEIPT_DEVICE = 3, RECEIPT_CLASS = 4, RECEIPT_NONCE_D = 5, RECEIPT_NONCE_S = 6 };

enum { ALL_OF_5 = 0x3e, ALL_OF_6 = 0x7e }; /* keys 1..5, 1..6 */

/* External aad and label of the key alike. */
static const char label_request[] = "otad/enroll/1";
static const char label_answer[] = "otad/enrolled/1";
static const char label_receipt[] = "otad/receipt/1";

/* A Mac0 under HMAC(base, label) with aad = label. */
static enum ota_err seal(const struct ota_crypto *c, const uint8_t base[KEY_LEN], const char *label,
	const uint8_t *kid, struct ota_slice payload, void *buf, size_t cap, size_t *len)
{
	uint8_t key[KEY_LEN];
	struct cbor_out out;
	enum ota_err err;

	cbor_out_init(&out, buf, cap);
	ota_derive(c, base, label, key);
	err = cose_put_mac0(&out, c, key, kid, label, payload);
	ota_wipe(key, sizeof key);
	if (!err)
		*len = out.len;
	return err;
}

static enum ota_err open_message(
	const void *bytes, size_t len, size_t max, bool wants_kid, struct cose_msg *m)
{
	enum ota_err err;

	if (len > max)
		return OTA_TOO_LARGE;
	err = cose_decode(bytes, len, m);
	if (!err && (!m->is_mac || m->detached || m->has_kid != wants_kid))
		err = OTA_COSE;
	return err;
}

static enum ota_err authenticate(
	const struct ota_crypto *c, const uint8_t base[KEY_LEN], const char *label, const struct cose_msg *m)
{
	uint8_t key[KEY_LEN];
	enum ota_err err;

	ota_derive(c, base, label, key);
	err = cose_verify_mac0(c, m, key, label, m->payload);
	ota_wipe(key, sizeof key);
	return err;
}

enum ota_err enroll_request_encode(const struct enroll_request *r, const struct ota_crypto *c,
	const uint8_t secret[SECRET_LEN], void *buf, size_t cap, size_t *len)
{
	uint8_t payload[128];
	struct cbor_out out;

	if (r->serial_len < 1 || r->serial_len > SERIAL_MAX)
		return OTA_INVALID;
	cbor_out_init(&out, payload, sizeof payload);
	cbor_put_map(&out, 5);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, REQUEST_VENDOR);
	cbor_put_bstr(&out, r->vendor_id, sizeof r->vendor_id);
	cbor_put_uint(&out, REQUEST_CLASS);
	cbor_put_bstr(&out, r->class_id, sizeof r->class_id);
	cbor_put_uint(&out, REQUEST_SERIAL);
	cbor_put_bstr(&out, r->serial, r->serial_len);
	cbor_put_uint(&out, REQUEST_NONCE_D);
	cbor_put_bstr(&out, r->nonce_d, sizeof r->nonce_d);
	return seal(
		c, secret, label_request, r->secret_id, (struct ota_slice){payload, out.len}, buf, cap, len);
}

enum ota_err enroll_request_peek(const void *bytes, size_t len, uint8_t secret_id[SECRET_ID_LEN])
{
	struct cose_msg m;
	enum ota_err err = open_message(bytes, len, ENROLL_MAX, true, &m);

	if (!err)
		memcpy(secret_id, m.kid, SECRET_ID_LEN);
	return err;
}

static void read_serial(struct fields *f, struct enroll_request *r)
{
	struct ota_slice serial = cbor_bstr(&f->in);

	if (serial.len < 1 || serial.len > SERIAL_MAX) {
		fields_unknown(f);
		return;
	}
	memcpy(r->serial, serial.p, serial.len);
	r->serial_len = serial.len;
}

static enum ota_err read_request(struct ota_slice payload, struct enroll_request *r)
{
	struct fields f;
	uint64_t key;
	enum ota_err err = fields_open(&f, payload);

	if (err)
		return err;
	while (fields_next(&f, &key)) {
		switch (key) {
		case REQUEST_VENDOR:
			fields_copy(&f, r->vendor_id, sizeof r->vendor_id);
			break;
		case REQUEST_CLASS:
			fields_copy(&f, r->class_id, sizeof r->class_id);
			break;
		case REQUEST_SERIAL:
			read_serial(&f, r);
			break;
		case REQUEST_NONCE_D:
			fields_copy(&f, r->nonce_d, sizeof r->nonce_d);
			break;
		default:
			fields_unknown(&f);
		}
	}
	return fields_done(&f, ALL_OF_5);
}

enum ota_err enroll_request_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const uint8_t secret[SECRET_LEN], struct enroll_request *out)
{
	struct cose_msg m;
	struct enroll_request r = {0};
	enum ota_err err = open_message(bytes, len, ENROLL_MAX, true, &m);

	if (!err)
		err = authenticate(c, secret, label_request, &m);
	if (!err)
		err = read_request(m.payload, &r);
	if (err)
		return err;
	memcpy(r.secret_id, m.kid, SECRET_ID_LEN);
	*out = r;
	return OTA_OK;
}

enum ota_err enroll_answer_encode(const struct enroll_answer *a, const struct ota_crypto *c,
	const uint8_t secret[SECRET_LEN], void *buf, size_t cap, size_t *len)
{
	uint8_t payload[ENROLL_MAX];
	struct cbor_out out;

	if (a->receipt.len < 1 || a->receipt.len > RECEIPT_MAX)
		return OTA_INVALID;
	cbor_out_init(&out, payload, sizeof payload);
	cbor_put_map(&out, 5);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, ANSWER_NONCE_D);
	cbor_put_bstr(&out, a->nonce_d, sizeof a->nonce_d);
	cbor_put_uint(&out, ANSWER_NONCE_S);
	cbor_put_bstr(&out, a->nonce_s, sizeof a->nonce_s);
	cbor_put_uint(&out, ANSWER_DEVICE);
	cbor_put_bstr(&out, a->device_id, sizeof a->device_id);
	cbor_put_uint(&out, ANSWER_RECEIPT);
	cbor_put_bstr(&out, a->receipt.p, a->receipt.len);
	return seal(c, secret, label_answer, NULL, (struct ota_slice){payload, out.len}, buf, cap, len);
}

static void read_receipt(struct fields *f, struct enroll_answer *a)
{
	a->receipt = cbor_bstr(&f->in);
	if (a->receipt.len < 1 || a->receipt.len > RECEIPT_MAX)
		fields_unknown(f);
}

static enum ota_err read_answer(struct ota_slice payload, struct enroll_answer *a)
{
	struct fields f;
	uint64_t key;
	enum ota_err err = fields_open(&f, payload);

	if (err)
		return err;
	while (fields_next(&f, &key)) {
		switch (key) {
		case ANSWER_NONCE_D:
			fields_copy(&f, a->nonce_d, sizeof a->nonce_d);
			break;
		case ANSWER_NONCE_S:
			fields_copy(&f, a->nonce_s, sizeof a->nonce_s);
			break;
		case ANSWER_DEVICE:
			fields_copy(&f, a->device_id, sizeof a->device_id);
			break;
		case ANSWER_RECEIPT:
			read_receipt(&f, a);
			break;
		default:
			fields_unknown(&f);
		}
	}
	return fields_done(&f, ALL_OF_5);
}

enum ota_err enroll_answer_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const uint8_t secret[SECRET_LEN], const uint8_t nonce_d[NONCE_LEN], struct enroll_answer *out)
{
	struct cose_msg m;
	struct enroll_answer a = {0};
	enum ota_err err = open_message(bytes, len, ENROLL_MAX, false, &m);

	if (!err)
		err = authenticate(c, secret, label_answer, &m);
	if (!err)
		err = read_answer(m.payload, &a);
	if (err)
		return err;
	if (memcmp(a.nonce_d, nonce_d, NONCE_LEN) != 0)
		return OTA_NONCE;
	*out = a;
	return OTA_OK;
}

enum ota_err receipt_encode(const struct receipt *r, const struct ota_crypto *c,
	const uint8_t enroll_key[KEY_LEN], void *buf, size_t cap, size_t *len)
{
	uint8_t payload[128];
	struct cbor_out out;

	cbor_out_init(&out, payload, sizeof payload);
	cbor_put_map(&out, 6);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, RECEIPT_SECRET);
	cbor_put_bstr(&out, r->secret_id, sizeof r->secret_id);
	cbor_put_uint(&out, RECEIPT_DEVICE);
	cbor_put_bstr(&out, r->device_id, sizeof r->device_id);
	cbor_put_uint(&out, RECEIPT_CLASS);
	cbor_put_bstr(&out, r->class_id, sizeof r->class_id);
	cbor_put_uint(&out, RECEIPT_NONCE_D);
	cbor_put_bstr(&out, r->nonce_d, sizeof r->nonce_d);
	cbor_put_uint(&out, RECEIPT_NONCE_S);
	cbor_put_bstr(&out, r->nonce_s, sizeof r->nonce_s);
	return seal(c, enroll_key, label_receipt, NULL, (struct ota_slice){payload, out.len}, buf, cap, len);
}

static enum ota_err read_receipt_payload(struct ota_slice payload, struct receipt *r)
{
	struct fields f;
	uint64_t key;
	enum ota_err err = fields_open(&f, payload);

	if (err)
		return err;
	while (fields_next(&f, &key)) {
		switch (key) {
		case RECEIPT_SECRET:
			fields_copy(&f, r->secret_id, sizeof r->secret_id);
			break;
		case RECEIPT_DEVICE:
			fields_copy(&f, r->device_id, sizeof r->device_id);
			break;
		case RECEIPT_CLASS:
			fields_copy(&f, r->class_id, sizeof r->class_id);
			break;
		case RECEIPT_NONCE_D:
			fields_copy(&f, r->nonce_d, sizeof r->nonce_d);
			break;
		case RECEIPT_NONCE_S:
			fields_copy(&f, r->nonce_s, sizeof r->nonce_s);
			break;
		default:
			fields_unknown(&f);
		}
	}
	return fields_done(&f, ALL_OF_6);
}

enum ota_err receipt_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const uint8_t enroll_key[KEY_LEN], struct receipt *out)
{
	struct cose_msg m;
	struct receipt r = {0};
	enum ota_err err = open_message(bytes, len, RECEIPT_MAX, false, &m);

	if (!err)
		err = authenticate(c, enroll_key, label_receipt, &m);
	if (!err)
		err = read_receipt_payload(m.payload, &r);
	if (!err)
		*out = r;
	return err;
}
