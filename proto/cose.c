#include "proto/cose.h"

#include <string.h>

enum { LABEL_ALG = 1, LABEL_KID = 4, MAC_LEN = 32 };

/* The largest protected header we write: {1: alg, 4: kid}. */
enum { PROTECTED_MAX = 16 };

/* Sig_structure and MAC_structure (RFC 9052 sections 4.4 and 6.3) as pieces, so that nothing is copied. */
struct to_auth {
	uint8_t before[32];
	uint8_t between[48];
	struct ota_slice part[4];
};

enum { TO_AUTH_PARTS = 4 };

/* False: the aad label is longer than any of ours. */
static bool to_auth_init(struct to_auth *t, bool is_mac, struct ota_slice protected_hdr, const char *aad,
	struct ota_slice payload)
{
	struct ota_slice context = ota_text(is_mac ? "MAC0" : "Signature1");
	struct ota_slice label = ota_text(aad);
	struct cbor_out out;
	size_t before_len;

	cbor_out_init(&out, t->before, sizeof t->before);
	cbor_put_array(&out, 4);
	cbor_put_tstr(&out, (const char *)context.p, context.len);
	cbor_put_bstr_head(&out, protected_hdr.len);
	before_len = out.len;
	cbor_out_init(&out, t->between, sizeof t->between);
	cbor_put_bstr(&out, label.p, label.len);
	cbor_put_bstr_head(&out, payload.len);
	t->part[0] = (struct ota_slice){t->before, before_len};
	t->part[1] = protected_hdr;
	t->part[2] = (struct ota_slice){t->between, out.len};
	t->part[3] = payload;
	return out.err == OTA_OK;
}

/* Content of the protected bstr: exactly {1: alg} or {1: alg, 4: kid}. */
static enum ota_err decode_protected(struct cose_msg *m)
{
	struct cbor_in in;
	size_t left;
	int64_t last = -1, alg;
	uint64_t key;
	const uint8_t *kid = NULL;

	if (m->protected_hdr.len == 0)
		return OTA_COSE;
	if (cbor_check(m->protected_hdr.p, m->protected_hdr.len))
		return OTA_CBOR;
	cbor_in_init(&in, m->protected_hdr.p, m->protected_hdr.len);
	left = cbor_map(&in);
	if (!cbor_map_key(&in, &left, &last, &key) || key != LABEL_ALG)
		return OTA_COSE;
	alg = cbor_int(&in);
	if (in.err)
		return OTA_COSE;
	if (m->is_mac ? alg != OTA_ALG_HMAC256 : alg != OTA_ALG_ESP256 && alg != OTA_ALG_ED25519)
		return OTA_ALG;
	if (cbor_map_key(&in, &left, &last, &key)) {
		kid = key == LABEL_KID ? cbor_bstr_len(&in, OTA_KID_LEN) : NULL;
		if (!kid)
			return OTA_COSE;
		memcpy(m->kid, kid, OTA_KID_LEN);
	}
	if (in.err || left > 0 || (!m->is_mac && !kid))
		return OTA_COSE;
	m->alg = (int)alg;
	m->has_kid = kid != NULL;
	return OTA_OK;
}

/* `item` is one CBOR item already known to be deterministic. */
static enum ota_err decode_item(struct ota_slice item, struct cose_msg *m)
{
	struct cbor_in in;
	uint64_t tag;
	struct ota_slice auth;
	enum ota_err err;

	cbor_in_init(&in, item.p, item.len);
	tag = cbor_tag(&in);
	if (in.err || (tag != COSE_TAG_SIGN1 && tag != COSE_TAG_MAC0))
		return OTA_COSE;
	m->is_mac = tag == COSE_TAG_MAC0;
	if (cbor_array(&in) != 4)
		return OTA_COSE;
	m->protected_hdr = cbor_bstr(&in);
	if (in.err)
		return OTA_COSE;
	err = decode_protected(m);
	if (err)
		return err;
	if (cbor_map(&in) != 0 || in.err)
		return OTA_COSE;
	m->detached = cbor_is_null(&in);
	if (!m->detached)
		m->payload = cbor_bstr(&in);
	auth = cbor_bstr(&in);
	if (cbor_done(&in))
		return OTA_COSE;
	if (auth.len != (m->is_mac ? (size_t)MAC_LEN : (size_t)OTA_SIG_LEN))
		return OTA_SIG;
	m->auth = auth.p;
	return OTA_OK;
}

enum ota_err cose_decode_next(struct cbor_in *in, struct cose_msg *out)
{
	struct ota_slice item = cbor_skip(in);
	struct cose_msg m = {0};
	enum ota_err err;

	if (in->err)
		return OTA_CBOR;
	err = decode_item(item, &m);
	if (!err)
		*out = m;
	return err;
}

enum ota_err cose_decode(const void *bytes, size_t len, struct cose_msg *out)
{
	struct cose_msg m = {0};
	enum ota_err err;

	if (cbor_check(bytes, len))
		return OTA_CBOR;
	err = decode_item((struct ota_slice){bytes, len}, &m);
	if (!err)
		*out = m;
	return err;
}

enum ota_err cose_verify_sign1(const struct ota_crypto *c, const struct cose_msg *m,
	const struct cose_key *key, const char *aad, struct ota_slice payload)
{
	struct to_auth t;

	if (m->is_mac || !to_auth_init(&t, false, m->protected_hdr, aad, payload))
		return OTA_COSE;
	if (m->alg != key->alg)
		return OTA_ALG;
	return c->verify(key->alg, key->pub.p, key->pub.len, t.part, TO_AUTH_PARTS, m->auth);
}

/* Index of the key with the message's kid; ring->n when there is none. */
static size_t ring_find(const struct cose_keyring *ring, const struct cose_msg *m)
{
	size_t i = 0;

	while (i < ring->n && memcmp(ring->key[i]->kid, m->kid, OTA_KID_LEN) != 0)
		i++;
	return i;
}

enum ota_err cose_verify_ring(const struct ota_crypto *c, const struct cose_msg *m,
	const struct cose_keyring *ring, const char *aad, struct ota_slice payload)
{
	size_t i;

	if (m->is_mac)
		return OTA_COSE;
	i = ring_find(ring, m);
	if (i == ring->n)
		return OTA_SIG;
	return cose_verify_sign1(c, m, ring->key[i], aad, payload);
}

enum ota_err cose_verify_threshold(const struct ota_crypto *c, const struct cose_msg *blocks, size_t n,
	const struct cose_keyring *ring, const char *aad, struct ota_slice payload)
{
	bool tried[COSE_RING_MAX] = {false};
	size_t good = 0;
	enum ota_err none = OTA_SIG;

	if (n > COSE_BLOCKS_MAX || ring->n > COSE_RING_MAX)
		return OTA_COSE;
	for (size_t i = 0; i < n; i++) {
		if (blocks[i].is_mac || !blocks[i].detached)
			return OTA_COSE;
	}
	for (size_t i = 0; i < n; i++) {
		size_t k = ring_find(ring, &blocks[i]);
		enum ota_err err;

		if (k == ring->n || tried[k])
			continue;
		tried[k] = true;
		err = cose_verify_sign1(c, &blocks[i], ring->key[k], aad, payload);
		if (!err)
			good++;
		else if (err == OTA_ALG)
			none = OTA_ALG;
	}
	if (ring->threshold > 0 && good >= ring->threshold)
		return OTA_OK;
	return good > 0 ? OTA_THRESHOLD : none;
}

static void mac0_tag(
	const struct ota_crypto *c, const uint8_t key[32], const struct to_auth *t, uint8_t tag[MAC_LEN])
{
	ota_hmac(c, key, 32, t->part, TO_AUTH_PARTS, tag);
}

enum ota_err cose_verify_mac0(const struct ota_crypto *c, const struct cose_msg *m, const uint8_t key[32],
	const char *aad, struct ota_slice payload)
{
	struct to_auth t;
	uint8_t tag[MAC_LEN];

	if (!m->is_mac || !to_auth_init(&t, true, m->protected_hdr, aad, payload))
		return OTA_COSE;
	mac0_tag(c, key, &t, tag);
	return ota_ct_equal(tag, m->auth, MAC_LEN) ? OTA_OK : OTA_SIG;
}

/* {1: alg, 4: kid} or {1: alg} into `buf`. */
static struct ota_slice encode_protected(uint8_t buf[PROTECTED_MAX], int alg, const uint8_t *kid)
{
	struct cbor_out out;

	cbor_out_init(&out, buf, PROTECTED_MAX);
	cbor_put_map(&out, kid ? 2 : 1);
	cbor_put_uint(&out, LABEL_ALG);
	cbor_put_int(&out, alg);
	if (kid) {
		cbor_put_uint(&out, LABEL_KID);
		cbor_put_bstr(&out, kid, OTA_KID_LEN);
	}
	return (struct ota_slice){buf, out.len};
}

/* Everything before the signature or tag. */
static void put_message_head(struct cbor_out *out, uint64_t tag, struct ota_slice protected_hdr,
	struct ota_slice payload, bool attach)
{
	cbor_put_tag(out, tag);
	cbor_put_array(out, 4);
	cbor_put_bstr(out, protected_hdr.p, protected_hdr.len);
	cbor_put_map(out, 0);
	if (attach)
		cbor_put_bstr(out, payload.p, payload.len);
	else
		cbor_put_null(out);
}

enum ota_err cose_put_sign1(struct cbor_out *out, const struct ota_signer *s, const char *aad,
	struct ota_slice payload, bool attach)
{
	uint8_t hdr[PROTECTED_MAX], sig[OTA_SIG_LEN];
	struct ota_slice protected_hdr = encode_protected(hdr, s->alg, s->kid);
	struct to_auth t;
	enum ota_err err;

	if (!to_auth_init(&t, false, protected_hdr, aad, payload))
		return OTA_INVALID;
	put_message_head(out, COSE_TAG_SIGN1, protected_hdr, payload, attach);
	if (out->err)
		return out->err;
	err = s->sign(s->ctx, t.part, TO_AUTH_PARTS, sig);
	if (err)
		return err;
	cbor_put_bstr(out, sig, sizeof sig);
	return out->err;
}

enum ota_err cose_put_mac0(struct cbor_out *out, const struct ota_crypto *c, const uint8_t key[32],
	const uint8_t *kid, const char *aad, struct ota_slice payload)
{
	uint8_t hdr[PROTECTED_MAX], tag[MAC_LEN];
	struct ota_slice protected_hdr = encode_protected(hdr, OTA_ALG_HMAC256, kid);
	struct to_auth t;

	if (!to_auth_init(&t, true, protected_hdr, aad, payload))
		return OTA_INVALID;
	put_message_head(out, COSE_TAG_MAC0, protected_hdr, payload, true);
	mac0_tag(c, key, &t, tag);
	cbor_put_bstr(out, tag, sizeof tag);
	return out->err;
}
