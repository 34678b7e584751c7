#include "proto/provision.h"

#include <string.h>

#include "proto/fields.h"
#include "proto/notice.h"
#include "proto/url.h"

enum {
	KEY_VENDOR = 2,
	KEY_CLASS = 3,
	KEY_SERIAL = 4,
	KEY_URLS = 5,
	KEY_SECRET_ID = 6,
	KEY_SECRET = 7,
	KEY_ROOT = 8,
	KEY_BROKER = 9,
	KEY_DEVICE = 10,
	KEY_K_DEV = 11,
	KEY_RECEIPT = 12,
};

enum {
	REQUIRED = 1 << 1 | 1 << KEY_VENDOR | 1 << KEY_CLASS | 1 << KEY_SERIAL | 1 << KEY_URLS |
		   1 << KEY_ROOT,
	TRAILER_LEN = OTA_SHA256_LEN,
};

static bool is_len(struct ota_slice s, size_t min, size_t max)
{
	return s.len >= min && s.len <= max;
}

static bool broker_is_valid(const struct provision *p)
{
	return is_len(p->broker_url, 1, PROVISION_URL_LEN_MAX) && url_is_plain(p->broker_url) &&
	       p->broker_user.len <= PROVISION_BROKER_USER_MAX &&
	       p->broker_password.len <= PROVISION_BROKER_PASSWORD_MAX &&
	       notice_prefix_is_valid(p->topic_prefix);
}

/* What holds for every provisioning, written or read. */
static bool is_valid(const struct provision *p)
{
	if (!is_len(p->serial, 1, SERIAL_MAX) || !is_len(p->root, 1, ROOT_MAX))
		return false;
	if (p->n_urls < 1 || p->n_urls > PROVISION_URLS_MAX)
		return false;
	for (size_t i = 0; i < p->n_urls; i++) {
		if (!url_is_base(p->url[i]))
			return false;
	}
	if (p->has_broker && !broker_is_valid(p))
		return false;
	if (p->is_enrolled && !is_len(p->receipt, 1, RECEIPT_MAX))
		return false;
	return p->has_secret || p->is_enrolled;
}

static void put_text(struct cbor_out *out, struct ota_slice s)
{
	cbor_put_tstr(out, (const char *)s.p, s.len);
}

static void put_map(struct cbor_out *out, const struct provision *p)
{
	cbor_put_map(out, 6 + (p->has_secret ? (size_t)2 : 0) + (size_t)p->has_broker +
				  (p->is_enrolled ? (size_t)3 : 0));
	cbor_put_uint(out, 1);
	cbor_put_uint(out, 1);
	cbor_put_uint(out, KEY_VENDOR);
	cbor_put_bstr(out, p->vendor_id, sizeof p->vendor_id);
	cbor_put_uint(out, KEY_CLASS);
	cbor_put_bstr(out, p->class_id, sizeof p->class_id);
	cbor_put_uint(out, KEY_SERIAL);
	cbor_put_bstr(out, p->serial.p, p->serial.len);
	cbor_put_uint(out, KEY_URLS);
	cbor_put_array(out, p->n_urls);
	for (size_t i = 0; i < p->n_urls; i++)
		put_text(out, p->url[i]);
	if (p->has_secret) {
		cbor_put_uint(out, KEY_SECRET_ID);
		cbor_put_bstr(out, p->secret_id, sizeof p->secret_id);
		cbor_put_uint(out, KEY_SECRET);
		cbor_put_bstr(out, p->secret, sizeof p->secret);
	}
	cbor_put_uint(out, KEY_ROOT);
	cbor_put_bstr(out, p->root.p, p->root.len);
	if (p->has_broker) {
		cbor_put_uint(out, KEY_BROKER);
		cbor_put_array(out, 4);
		put_text(out, p->broker_url);
		put_text(out, p->broker_user);
		put_text(out, p->broker_password);
		put_text(out, p->topic_prefix);
	}
	if (p->is_enrolled) {
		cbor_put_uint(out, KEY_DEVICE);
		cbor_put_bstr(out, p->device_id, sizeof p->device_id);
		cbor_put_uint(out, KEY_K_DEV);
		cbor_put_bstr(out, p->k_dev, sizeof p->k_dev);
		cbor_put_uint(out, KEY_RECEIPT);
		cbor_put_bstr(out, p->receipt.p, p->receipt.len);
	}
}

enum ota_err provision_encode(
	const struct provision *p, const struct ota_crypto *c, void *buf, size_t cap, size_t *len)
{
	struct cbor_out out;
	struct ota_slice body;
	uint8_t digest[TRAILER_LEN];

	if (!is_valid(p))
		return OTA_INVALID;
	cbor_out_init(&out, buf, cap);
	put_map(&out, p);
	if (out.err)
		return out.err;
	body = (struct ota_slice){out.p, out.len};
	ota_sha256(c, &body, 1, digest);
	cbor_put_raw(&out, digest, sizeof digest);
	if (!out.err)
		*len = out.len;
	return out.err;
}

static void read_urls(struct cbor_in *in, struct provision *p)
{
	size_t n = cbor_array(in);

	if (n > PROVISION_URLS_MAX) {
		in->err = OTA_CBOR;
		return;
	}
	for (p->n_urls = 0; p->n_urls < n; p->n_urls++)
		p->url[p->n_urls] = cbor_tstr(in);
}

static void read_broker(struct cbor_in *in, struct provision *p)
{
	cbor_array_len(in, 4);
	p->broker_url = cbor_tstr(in);
	p->broker_user = cbor_tstr(in);
	p->broker_password = cbor_tstr(in);
	p->topic_prefix = cbor_tstr(in);
	p->has_broker = true;
}

/* Keys that only come together: all of them or none. */
static bool is_all_or_none(const struct fields *f, uint32_t keys)
{
	return (f->seen & keys) == 0 || (f->seen & keys) == keys;
}

static enum ota_err read_map(struct ota_slice body, struct provision *p)
{
	struct fields f;
	uint64_t key;
	enum ota_err err = fields_open(&f, body);

	if (err)
		return err;
	while (fields_next(&f, &key)) {
		switch (key) {
		case KEY_VENDOR:
			fields_copy(&f, p->vendor_id, sizeof p->vendor_id);
			break;
		case KEY_CLASS:
			fields_copy(&f, p->class_id, sizeof p->class_id);
			break;
		case KEY_SERIAL:
			p->serial = cbor_bstr(&f.in);
			break;
		case KEY_URLS:
			read_urls(&f.in, p);
			break;
		case KEY_SECRET_ID:
			fields_copy(&f, p->secret_id, sizeof p->secret_id);
			break;
		case KEY_SECRET:
			fields_copy(&f, p->secret, sizeof p->secret);
			break;
		case KEY_ROOT:
			p->root = cbor_bstr(&f.in);
			break;
		case KEY_BROKER:
			read_broker(&f.in, p);
			break;
		case KEY_DEVICE:
			fields_copy(&f, p->device_id, sizeof p->device_id);
			break;
		case KEY_K_DEV:
			fields_copy(&f, p->k_dev, sizeof p->k_dev);
			break;
		case KEY_RECEIPT:
			p->receipt = cbor_bstr(&f.in);
			break;
		default:
			fields_unknown(&f);
		}
	}
	err = fields_done(&f, REQUIRED);
	if (err)
		return err;
	if (!is_all_or_none(&f, 1 << KEY_SECRET_ID | 1 << KEY_SECRET) ||
		!is_all_or_none(&f, 1 << KEY_DEVICE | 1 << KEY_K_DEV | 1 << KEY_RECEIPT))
		return OTA_INVALID;
	p->has_secret = fields_has(&f, KEY_SECRET);
	p->is_enrolled = fields_has(&f, KEY_DEVICE);
	return is_valid(p) ? OTA_OK : OTA_INVALID;
}

enum ota_err provision_decode(
	const struct ota_crypto *c, const void *bytes, size_t len, struct provision *out, size_t *used)
{
	struct cbor_in in;
	struct ota_slice body;
	uint8_t digest[TRAILER_LEN];
	struct provision p = {0};
	enum ota_err err;

	cbor_in_init(&in, bytes, len);
	body = cbor_skip(&in);
	if (in.err || len - body.len < TRAILER_LEN)
		return OTA_CBOR;
	ota_sha256(c, &body, 1, digest);
	if (memcmp(digest, body.p + body.len, TRAILER_LEN) != 0)
		return OTA_DIGEST;
	err = read_map(body, &p);
	if (!err) {
		*out = p;
		*used = body.len + TRAILER_LEN;
	}
	ota_wipe(&p, sizeof p);
	return err;
}
