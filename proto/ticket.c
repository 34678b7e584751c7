#include "proto/ticket.h"

#include <string.h>

#include "proto/fields.h"
#include "proto/url.h"

enum {
	KEY_DEVICE = 2,
	KEY_NONCE = 3,
	KEY_ROOT = 4,
	KEY_ASSIGNMENT = 5,
	KEY_POLL = 6,
	KEY_FLAGS = 7,
	KEY_COUNTER = 8,
	KEY_URLS = 9,
};

enum {
	REQUIRED = 1 << 1 | 1 << KEY_DEVICE | 1 << KEY_NONCE | 1 << KEY_ROOT | 1 << KEY_POLL | 1 << KEY_FLAGS
};

static const char aad[] = "otad/ticket/1";

static bool is_valid(const struct ticket *t)
{
	if (t->root_version == 0 || t->n_urls > TICKET_URLS_MAX)
		return false;
	if (t->has_assignment && (t->attempt == 0 || t->envelope_size == 0))
		return false;
	for (size_t i = 0; i < t->n_urls; i++) {
		if (!url_is_base(t->url[i]))
			return false;
	}
	return true;
}

static void put_payload(struct cbor_out *out, const struct ticket *t)
{
	cbor_put_map(out, 6 + (size_t)t->has_assignment + (size_t)t->has_counter + (size_t)(t->n_urls > 0));
	cbor_put_uint(out, 1);
	cbor_put_uint(out, 1);
	cbor_put_uint(out, KEY_DEVICE);
	cbor_put_bstr(out, t->device_id, sizeof t->device_id);
	cbor_put_uint(out, KEY_NONCE);
	cbor_put_bstr(out, t->nonce, sizeof t->nonce);
	cbor_put_uint(out, KEY_ROOT);
	cbor_put_uint(out, t->root_version);
	if (t->has_assignment) {
		cbor_put_uint(out, KEY_ASSIGNMENT);
		cbor_put_array(out, 3);
		cbor_put_bstr(out, t->digest, sizeof t->digest);
		cbor_put_uint(out, t->envelope_size);
		cbor_put_uint(out, t->attempt);
	}
	cbor_put_uint(out, KEY_POLL);
	cbor_put_uint(out, t->next_poll_s);
	cbor_put_uint(out, KEY_FLAGS);
	cbor_put_uint(out, t->flags);
	if (t->has_counter) {
		cbor_put_uint(out, KEY_COUNTER);
		cbor_put_uint(out, t->counter);
	}
	if (t->n_urls > 0) {
		cbor_put_uint(out, KEY_URLS);
		cbor_put_array(out, t->n_urls);
		for (size_t i = 0; i < t->n_urls; i++)
			cbor_put_tstr(out, (const char *)t->url[i].p, t->url[i].len);
	}
}

enum ota_err ticket_encode_signed(
	const struct ticket *t, const struct ota_signer *server, void *buf, size_t cap, size_t *len)
{
	uint8_t payload[TICKET_MAX - COSE_SIGN1_OVERHEAD];
	struct cbor_out out;
	enum ota_err err;

	if (!is_valid(t))
		return OTA_INVALID;
	cbor_out_init(&out, payload, sizeof payload);
	put_payload(&out, t);
	if (out.err)
		return OTA_TOO_LARGE;
	struct ota_slice content = {payload, out.len};

	cbor_out_init(&out, buf, cap);
	err = cose_put_sign1(&out, server, aad, content, true);
	if (!err)
		*len = out.len;
	return err;
}

enum ota_err ticket_encode_mac(const struct ticket *t, const struct ota_crypto *c,
	const uint8_t k_dev[KEY_LEN], void *buf, size_t cap, size_t *len)
{
	uint8_t payload[128], key[KEY_LEN];
	struct cbor_out out;
	enum ota_err err;

	if (!is_valid(t) || t->has_assignment || t->n_urls > 0)
		return OTA_INVALID;
	cbor_out_init(&out, payload, sizeof payload);
	put_payload(&out, t);
	struct ota_slice content = {payload, out.len};

	cbor_out_init(&out, buf, cap);
	keys_s2d(c, k_dev, key);
	err = cose_put_mac0(&out, c, key, NULL, aad, content);
	ota_wipe(key, sizeof key);
	if (!err)
		*len = out.len;
	return err;
}

static void read_assignment(struct cbor_in *in, struct ticket *t)
{
	cbor_array_len(in, 3);
	cbor_copy(in, t->digest, sizeof t->digest);
	t->envelope_size = (uint16_t)cbor_uint_range(in, 1, UINT16_MAX);
	t->attempt = (uint8_t)cbor_uint_range(in, 1, UINT8_MAX);
	t->has_assignment = true;
}

static void read_urls(struct fields *f, struct ticket *t)
{
	size_t n = cbor_array(&f->in);

	if (n < 1 || n > TICKET_URLS_MAX) {
		fields_unknown(f);
		return;
	}
	for (t->n_urls = 0; t->n_urls < n; t->n_urls++) {
		struct ota_slice url = cbor_tstr(&f->in);

		if (!url_is_base(url)) {
			fields_unknown(f);
			return;
		}
		t->url[t->n_urls] = url;
	}
}

/* Any number is taken and brought into the range, so that no server can push a device out of reach. */
static uint32_t clamp_poll(uint64_t s)
{
	if (s < TICKET_POLL_MIN_S)
		return TICKET_POLL_MIN_S;
	return s > TICKET_POLL_MAX_S ? TICKET_POLL_MAX_S : (uint32_t)s;
}

static enum ota_err read_payload(struct ota_slice payload, struct ticket *t)
{
	struct fields f;
	uint64_t key;
	enum ota_err err = fields_open(&f, payload);

	if (err)
		return err;
	while (fields_next(&f, &key)) {
		switch (key) {
		case KEY_DEVICE:
			fields_copy(&f, t->device_id, sizeof t->device_id);
			break;
		case KEY_NONCE:
			fields_copy(&f, t->nonce, sizeof t->nonce);
			break;
		case KEY_ROOT:
			t->root_version = (uint32_t)cbor_uint_range(&f.in, 1, UINT32_MAX);
			break;
		case KEY_ASSIGNMENT:
			read_assignment(&f.in, t);
			break;
		case KEY_POLL:
			t->next_poll_s = clamp_poll(cbor_uint(&f.in));
			break;
		case KEY_FLAGS:
			t->flags = (uint32_t)cbor_uint_max(&f.in, UINT32_MAX);
			break;
		case KEY_COUNTER:
			t->counter = cbor_uint(&f.in);
			t->has_counter = true;
			break;
		case KEY_URLS:
			read_urls(&f, t);
			break;
		default:
			fields_unknown(&f);
		}
	}
	return fields_done(&f, REQUIRED);
}

static enum ota_err authenticate(const struct ota_crypto *c, const struct cose_msg *m,
	const struct cose_keyring *server, const uint8_t k_dev[KEY_LEN])
{
	uint8_t key[KEY_LEN];
	enum ota_err err;

	if (m->detached || (m->is_mac && m->has_kid))
		return OTA_COSE;
	if (!m->is_mac)
		return cose_verify_ring(c, m, server, aad, m->payload);
	keys_s2d(c, k_dev, key);
	err = cose_verify_mac0(c, m, key, aad, m->payload);
	ota_wipe(key, sizeof key);
	return err;
}

enum ota_err ticket_decode(const struct ota_crypto *c, const void *bytes, size_t len,
	const struct cose_keyring *server, const uint8_t k_dev[KEY_LEN],
	const uint8_t device_id[DEVICE_ID_LEN], const uint8_t nonce[NONCE_LEN], struct ticket *out)
{
	struct cose_msg m;
	struct ticket t = {0};
	enum ota_err err;

	if (len > TICKET_MAX)
		return OTA_TOO_LARGE;
	err = cose_decode(bytes, len, &m);
	if (!err)
		err = authenticate(c, &m, server, k_dev);
	if (!err)
		err = read_payload(m.payload, &t);
	if (err)
		return err;
	t.is_signed = !m.is_mac;
	if (m.is_mac && (t.has_assignment || t.n_urls > 0))
		return OTA_COSE;
	if (memcmp(t.device_id, device_id, DEVICE_ID_LEN) != 0)
		return OTA_DEVICE;
	if (memcmp(t.nonce, nonce, NONCE_LEN) != 0)
		return OTA_NONCE;
	*out = t;
	return OTA_OK;
}
