#include "proto/suit.h"

#include <string.h>

#include "proto/suit_codes.h"

void suit_uri(const uint8_t sha256[32], char uri[SUIT_URI_LEN])
{
	static const char digits[] = "0123456789abcdef";

	uri[0] = 'i';
	uri[1] = '/';
	for (size_t i = 0; i < 32; i++) {
		uri[2 + 2 * i] = digits[sha256[i] >> 4];
		uri[3 + 2 * i] = digits[sha256[i] & 15];
	}
}

bool suit_component_id_equal(const struct suit_component *a, const struct suit_component *b)
{
	return a->id_len == b->id_len && memcmp(a->id, b->id, a->id_len) == 0;
}

void suit_manifest_digest(const struct ota_crypto *c, struct ota_slice manifest, uint8_t digest[32])
{
	uint8_t head[9];
	struct cbor_out out;

	cbor_out_init(&out, head, sizeof head);
	cbor_put_bstr_head(&out, manifest.len);
	const struct ota_slice parts[] = {{head, out.len}, manifest};

	ota_sha256(c, parts, 2, digest);
}

/* The SUIT_Digest in its byte string: what the blocks sign. */
static enum ota_err read_container(struct cbor_in *in, struct suit_envelope *e)
{
	struct cbor_in inner;
	int64_t alg;
	struct ota_slice digest;

	e->digest_bytes = cbor_bstr(in);
	if (in->err || cbor_check(e->digest_bytes.p, e->digest_bytes.len))
		return OTA_CBOR;
	cbor_in_init(&inner, e->digest_bytes.p, e->digest_bytes.len);
	cbor_array_len(&inner, 2);
	alg = cbor_int(&inner);
	digest = cbor_bstr(&inner);
	if (cbor_done(&inner))
		return OTA_CBOR;
	if (alg != OTA_ALG_SHA256)
		return OTA_ALG;
	if (digest.len != OTA_SHA256_LEN)
		return OTA_SIG;
	memcpy(e->digest, digest.p, OTA_SHA256_LEN);
	return OTA_OK;
}

static enum ota_err read_block(struct cbor_in *in, struct cose_msg *m)
{
	struct ota_slice block = cbor_bstr(in);
	enum ota_err err;

	if (in->err)
		return OTA_CBOR;
	err = cose_decode(block.p, block.len, m);
	if (!err && (m->is_mac || !m->detached))
		err = OTA_COSE;
	return err;
}

/* [bstr digest container, 1..4 bstr block] */
static enum ota_err read_authentication(struct ota_slice bytes, struct suit_envelope *e)
{
	struct cbor_in in;
	size_t n;
	enum ota_err err;

	if (cbor_check(bytes.p, bytes.len))
		return OTA_CBOR;
	cbor_in_init(&in, bytes.p, bytes.len);
	n = cbor_array(&in);
	err = read_container(&in, e);
	if (err)
		return err;
	if (n == 1)
		return OTA_SIG;
	if (n > 1 + SUIT_BLOCKS_MAX)
		return OTA_COSE;
	for (size_t i = 0; i < n - 1; i++) {
		err = read_block(&in, &e->block[i]);
		if (err)
			return err;
	}
	e->n_blocks = n - 1;
	return cbor_done(&in);
}

/* Tag 107 around {2: authentication, 3: manifest}. The whole input is deterministic CBOR already. */
static enum ota_err read_frame(
	const void *bytes, size_t len, struct ota_slice *authentication, struct ota_slice *manifest)
{
	struct cbor_in in;
	uint64_t key = 0;
	int64_t last = -1;
	size_t left, n;

	cbor_in_init(&in, bytes, len);
	if (cbor_tag(&in) != SUIT_TAG_ENVELOPE || in.err)
		return OTA_CBOR;
	left = n = cbor_map(&in);
	if (in.err || n == 0)
		return OTA_CBOR;
	/* A text key is an integrated payload; any other number a severed or unknown member. */
	if (!cbor_map_key(&in, &left, &last, &key) || key != SUIT_AUTHENTICATION)
		return OTA_SEVER;
	*authentication = cbor_bstr(&in);
	if (in.err || left == 0)
		return OTA_CBOR;
	if (!cbor_map_key(&in, &left, &last, &key) || key != SUIT_MANIFEST)
		return OTA_SEVER;
	*manifest = cbor_bstr(&in);
	if (in.err)
		return OTA_CBOR;
	return n == 2 ? cbor_done(&in) : OTA_SEVER;
}

enum ota_err suit_envelope_decode(
	const struct ota_crypto *c, const void *bytes, size_t len, struct suit_envelope *out)
{
	struct suit_envelope e = {0};
	struct ota_slice authentication;
	uint8_t digest[OTA_SHA256_LEN];
	enum ota_err err;

	if (len > SUIT_ENVELOPE_MAX)
		return OTA_TOO_LARGE;
	if (cbor_check(bytes, len))
		return OTA_CBOR;
	err = read_frame(bytes, len, &authentication, &e.manifest);
	if (!err)
		err = read_authentication(authentication, &e);
	if (err)
		return err;
	suit_manifest_digest(c, e.manifest, digest);
	if (memcmp(digest, e.digest, sizeof digest) != 0)
		return OTA_SIG;
	*out = e;
	return OTA_OK;
}

enum ota_err suit_envelope_verify(
	const struct ota_crypto *c, const struct suit_envelope *e, const struct cose_keyring *release)
{
	return cose_verify_threshold(c, e->block, e->n_blocks, release, "", e->digest_bytes);
}

static enum ota_err run_component(const struct suit_component *comp, const struct suit_target *t, size_t i,
	const struct suit_image **image)
{
	const struct suit_image *chosen = &comp->image[comp->n_images == 2 ? t->slot & 1 : 0];

	if (comp->id_len != t->component[i].id_len || memcmp(comp->id, t->component[i].id, comp->id_len) != 0)
		return OTA_COMPONENT;
	if (chosen->size == 0)
		return OTA_PARAM;
	if (chosen->size > t->component[i].slot_size)
		return OTA_SLOT_SIZE;
	*image = chosen;
	return OTA_OK;
}

enum ota_err suit_run(const struct suit_manifest *m, const uint8_t digest[32], const struct suit_target *t,
	const struct suit_image *images[SUIT_COMPONENTS_MAX])
{
	const struct suit_image *chosen[SUIT_COMPONENTS_MAX] = {0};

	if (m->sequence == 0 || m->sequence < t->floor)
		return OTA_ROLLBACK;
	if (t->has_running && memcmp(digest, t->running_digest, OTA_SHA256_LEN) == 0)
		return OTA_ALREADY;
	if (t->has_running && m->sequence == t->running_sequence)
		return OTA_SEQ_REUSE;
	if (memcmp(m->vendor_id, t->vendor_id, sizeof m->vendor_id) != 0)
		return OTA_VENDOR;
	if (memcmp(m->class_id, t->class_id, sizeof m->class_id) != 0)
		return OTA_CLASS;
	if (m->has_device_id && memcmp(m->device_id, t->device_id, sizeof m->device_id) != 0)
		return OTA_DEVICE;
	if (m->n_components != t->n_components || m->n_components > SUIT_COMPONENTS_MAX)
		return OTA_COMPONENT;
	for (size_t i = 0; i < m->n_components; i++) {
		enum ota_err err = run_component(&m->component[i], t, i, &chosen[i]);

		if (err)
			return err;
	}
	memcpy(images, chosen, sizeof chosen);
	return OTA_OK;
}
