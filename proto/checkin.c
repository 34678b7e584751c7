#include "proto/checkin.h"

#include <string.h>

#include "proto/enroll.h"
#include "proto/fields.h"

enum {
	KEY_DEVICE = 2,
	KEY_NONCE = 3,
	KEY_COUNTER = 4,
	KEY_ROOT = 5,
	KEY_RUNNING = 6,
	KEY_STATE = 7,
	KEY_TARGET = 8,
	KEY_RESULT = 9,
	KEY_UPTIME = 10,
	KEY_FLAGS = 11,
	KEY_RECEIPT = 12,
};

enum {
	REQUIRED = 1 << 1 | 1 << KEY_DEVICE | 1 << KEY_NONCE | 1 << KEY_COUNTER | 1 << KEY_ROOT |
		   1 << KEY_RUNNING | 1 << KEY_STATE | 1 << KEY_UPTIME | 1 << KEY_FLAGS,
	REASON_MAX = 12,   /* SUIT_Report reasons, see proto/err.h */
	PAYLOAD_MAX = 512, /* 167 without a receipt */
};

static const char aad[] = "otad/checkin/1";

static bool is_valid(const struct checkin *ci)
{
	if (ci->counter > CHECKIN_COUNTER_MAX || ci->root_version == 0 || ci->state > CHECKIN_CONFIRMED ||
		ci->receipt.len > RECEIPT_MAX)
		return false;
	if (ci->has_target && ci->target_attempt == 0)
		return false;
	return !ci->has_result || (ci->result_attempt > 0 && ci->result_reason <= REASON_MAX);
}

static void put_payload(struct cbor_out *out, const struct checkin *ci)
{
	cbor_put_map(
		out, 9 + (size_t)ci->has_target + (size_t)ci->has_result + (size_t)(ci->receipt.len > 0));
	cbor_put_uint(out, 1);
	cbor_put_uint(out, 1);
	cbor_put_uint(out, KEY_DEVICE);
	cbor_put_bstr(out, ci->device_id, sizeof ci->device_id);
	cbor_put_uint(out, KEY_NONCE);
	cbor_put_bstr(out, ci->nonce, sizeof ci->nonce);
	cbor_put_uint(out, KEY_COUNTER);
	cbor_put_uint(out, ci->counter);
	cbor_put_uint(out, KEY_ROOT);
	cbor_put_uint(out, ci->root_version);
	cbor_put_uint(out, KEY_RUNNING);
	if (ci->has_running) {
		cbor_put_array(out, 2);
		cbor_put_uint(out, ci->running_sequence);
		cbor_put_bstr(out, ci->running_digest, sizeof ci->running_digest);
	} else {
		cbor_put_null(out);
	}
	cbor_put_uint(out, KEY_STATE);
	cbor_put_uint(out, ci->state);
	if (ci->has_target) {
		cbor_put_uint(out, KEY_TARGET);
		cbor_put_array(out, 3);
		cbor_put_bstr(out, ci->target_digest, sizeof ci->target_digest);
		cbor_put_uint(out, ci->target_attempt);
		cbor_put_uint(out, ci->target_bytes);
	}
	if (ci->has_result) {
		cbor_put_uint(out, KEY_RESULT);
		cbor_put_array(out, 5);
		cbor_put_bstr(out, ci->result_digest, sizeof ci->result_digest);
		cbor_put_uint(out, ci->result_attempt);
		cbor_put_uint(out, ci->result_reason);
		cbor_put_uint(out, ci->result_detail);
		cbor_put_uint(out, ci->result_offset);
	}
	cbor_put_uint(out, KEY_UPTIME);
	cbor_put_uint(out, ci->uptime_s);
	cbor_put_uint(out, KEY_FLAGS);
	cbor_put_uint(out, ci->flags);
	if (ci->receipt.len > 0) {
		cbor_put_uint(out, KEY_RECEIPT);
		cbor_put_bstr(out, ci->receipt.p, ci->receipt.len);
	}
}

enum ota_err checkin_encode(const struct checkin *ci, const struct ota_crypto *c,
	const uint8_t k_dev[KEY_LEN], void *buf, size_t cap, size_t *len)
{
	uint8_t payload[PAYLOAD_MAX], key[KEY_LEN];
	struct cbor_out out;
	enum ota_err err;

	if (!is_valid(ci))
		return OTA_INVALID;
	cbor_out_init(&out, payload, sizeof payload);
	put_payload(&out, ci);
	struct ota_slice content = {payload, out.len};

	cbor_out_init(&out, buf, cap);
	keys_d2s(c, k_dev, key);
	err = cose_put_mac0(&out, c, key, NULL, aad, content);
	ota_wipe(key, sizeof key);
	if (!err)
		*len = out.len;
	return err;
}

/* The framing that a check-in has, whoever sent it. */
static enum ota_err open_message(const void *bytes, size_t len, struct cose_msg *m)
{
	enum ota_err err;

	if (len > CHECKIN_MAX)
		return OTA_TOO_LARGE;
	err = cose_decode(bytes, len, m);
	if (!err && (!m->is_mac || m->has_kid || m->detached))
		err = OTA_COSE;
	return err;
}

enum ota_err checkin_peek(const void *bytes, size_t len, uint8_t device_id[DEVICE_ID_LEN])
{
	struct cose_msg m;
	struct fields f;
	uint64_t key;
	const uint8_t *id;
	enum ota_err err = open_message(bytes, len, &m);

	if (!err)
		err = fields_open(&f, m.payload);
	if (err)
		return err;
	if (!fields_next(&f, &key) || key != KEY_DEVICE)
		return OTA_CBOR;
	id = cbor_bstr_len(&f.in, DEVICE_ID_LEN);
	if (!id)
		return OTA_CBOR;
	memcpy(device_id, id, DEVICE_ID_LEN);
	return OTA_OK;
}

static void read_running(struct cbor_in *in, struct checkin *ci)
{
	if (cbor_is_null(in))
		return;
	cbor_array_len(in, 2);
	ci->running_sequence = (uint32_t)cbor_uint_max(in, UINT32_MAX);
	cbor_copy(in, ci->running_digest, sizeof ci->running_digest);
	ci->has_running = true;
}

static void read_target(struct cbor_in *in, struct checkin *ci)
{
	cbor_array_len(in, 3);
	cbor_copy(in, ci->target_digest, sizeof ci->target_digest);
	ci->target_attempt = (uint8_t)cbor_uint_range(in, 1, UINT8_MAX);
	ci->target_bytes = (uint32_t)cbor_uint_max(in, UINT32_MAX);
	ci->has_target = true;
}

static void read_result(struct cbor_in *in, struct checkin *ci)
{
	cbor_array_len(in, 5);
	cbor_copy(in, ci->result_digest, sizeof ci->result_digest);
	ci->result_attempt = (uint8_t)cbor_uint_range(in, 1, UINT8_MAX);
	ci->result_reason = (uint8_t)cbor_uint_max(in, REASON_MAX);
	ci->result_detail = (uint16_t)cbor_uint_max(in, UINT16_MAX);
	ci->result_offset = (uint32_t)cbor_uint_max(in, UINT32_MAX);
	ci->has_result = true;
}

static void read_receipt(struct fields *f, struct checkin *ci)
{
	ci->receipt = cbor_bstr(&f->in);
	if (ci->receipt.len < 1 || ci->receipt.len > RECEIPT_MAX)
		fields_unknown(f);
}

static enum ota_err read_payload(struct ota_slice payload, struct checkin *ci)
{
	struct fields f;
	uint64_t key;
	enum ota_err err = fields_open(&f, payload);

	if (err)
		return err;
	while (fields_next(&f, &key)) {
		switch (key) {
		case KEY_DEVICE:
			fields_copy(&f, ci->device_id, sizeof ci->device_id);
			break;
		case KEY_NONCE:
			fields_copy(&f, ci->nonce, sizeof ci->nonce);
			break;
		case KEY_COUNTER:
			ci->counter = cbor_uint_max(&f.in, CHECKIN_COUNTER_MAX);
			break;
		case KEY_ROOT:
			ci->root_version = (uint32_t)cbor_uint_range(&f.in, 1, UINT32_MAX);
			break;
		case KEY_RUNNING:
			read_running(&f.in, ci);
			break;
		case KEY_STATE:
			ci->state = (enum checkin_state)cbor_uint_max(&f.in, CHECKIN_CONFIRMED);
			break;
		case KEY_TARGET:
			read_target(&f.in, ci);
			break;
		case KEY_RESULT:
			read_result(&f.in, ci);
			break;
		case KEY_UPTIME:
			ci->uptime_s = (uint32_t)cbor_uint_max(&f.in, UINT32_MAX);
			break;
		case KEY_FLAGS:
			ci->flags = (uint32_t)cbor_uint_max(&f.in, UINT32_MAX);
			break;
		case KEY_RECEIPT:
			read_receipt(&f, ci);
			break;
		default:
			fields_unknown(&f);
		}
	}
	return fields_done(&f, REQUIRED);
}

enum ota_err checkin_peek_receipt(const void *bytes, size_t len, struct ota_slice *receipt)
{
	struct cose_msg m;
	struct checkin ci = {0};
	enum ota_err err = open_message(bytes, len, &m);

	if (!err)
		err = read_payload(m.payload, &ci);
	if (!err && ci.receipt.len == 0)
		err = OTA_NOT_FOUND;
	if (!err)
		*receipt = ci.receipt;
	return err;
}

enum ota_err checkin_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const uint8_t k_dev[KEY_LEN], struct checkin *out)
{
	uint8_t key[KEY_LEN];
	struct cose_msg m;
	struct checkin ci = {0};
	enum ota_err err = open_message(bytes, len, &m);

	if (err)
		return err;
	keys_d2s(c, k_dev, key);
	err = cose_verify_mac0(c, &m, key, aad, m.payload);
	ota_wipe(key, sizeof key);
	if (!err)
		err = read_payload(m.payload, &ci);
	if (!err)
		*out = ci;
	return err;
}
