#include "proto/suit.h"

#include <string.h>

#include "proto/suit_codes.h"

enum { DIGEST_ENCODED_LEN = 2 + 2 + OTA_SHA256_LEN }; /* [-16, bstr 32] */

/* Writes one part of the manifest. Nested byte strings need their length first, so each part is written
 * twice: once into nothing, to count. */
typedef void (*put_fn)(struct cbor_out *out, const struct suit_manifest *m);

static void put_digest(struct cbor_out *out, const uint8_t sha256[32])
{
	cbor_put_array(out, 2);
	cbor_put_int(out, OTA_ALG_SHA256);
	cbor_put_bstr(out, sha256, OTA_SHA256_LEN);
}

static void put_wrapped_digest(struct cbor_out *out, const uint8_t sha256[32])
{
	cbor_put_bstr_head(out, DIGEST_ENCODED_LEN);
	put_digest(out, sha256);
}

static void put_uri(struct cbor_out *out, const uint8_t sha256[32])
{
	char uri[SUIT_URI_LEN];

	suit_uri(sha256, uri);
	cbor_put_tstr(out, uri, sizeof uri);
}

static void put_condition(struct cbor_out *out, unsigned code)
{
	cbor_put_uint(out, code);
	cbor_put_uint(out, SUIT_POLICY);
}

/* Commands of one component; with more than one component each set begins with its index. */
static void put_index(struct cbor_out *out, const struct suit_manifest *m, size_t index)
{
	if (m->n_components > 1) {
		cbor_put_uint(out, SUIT_DIR_SET_INDEX);
		cbor_put_uint(out, index);
	}
}

static size_t index_items(const struct suit_manifest *m)
{
	return m->n_components > 1 ? 2 : 0;
}

/* The sequence for one slot: everything that depends on where the image is linked. */
static void put_variant(struct cbor_out *out, const struct suit_image *image, unsigned slot)
{
	cbor_put_array(out, 4);
	cbor_put_uint(out, SUIT_DIR_OVERRIDE);
	cbor_put_map(out, 4);
	cbor_put_uint(out, SUIT_PARAM_DIGEST);
	put_wrapped_digest(out, image->sha256);
	cbor_put_uint(out, SUIT_PARAM_SLOT);
	cbor_put_uint(out, slot);
	cbor_put_uint(out, SUIT_PARAM_SIZE);
	cbor_put_uint(out, image->size);
	cbor_put_uint(out, SUIT_PARAM_URI);
	put_uri(out, image->sha256);
	put_condition(out, SUIT_COND_SLOT);
}

static void put_try_each(struct cbor_out *out, const struct suit_component *comp)
{
	cbor_put_uint(out, SUIT_DIR_TRY_EACH);
	cbor_put_array(out, SUIT_SLOTS_MAX);
	for (unsigned slot = 0; slot < SUIT_SLOTS_MAX; slot++) {
		struct cbor_out count;

		cbor_out_init(&count, NULL, 0);
		put_variant(&count, &comp->image[slot], slot);
		cbor_put_bstr_head(out, count.len);
		put_variant(out, &comp->image[slot], slot);
	}
}

static void put_component_shared(
	struct cbor_out *out, const struct suit_manifest *m, const struct suit_component *comp, size_t index)
{
	bool is_fixed = comp->n_images == 2;

	put_index(out, m, index);
	cbor_put_uint(out, SUIT_DIR_OVERRIDE);
	cbor_put_map(out, 2 + (is_fixed ? 0 : (size_t)2) + (size_t)m->has_device_id);
	cbor_put_uint(out, SUIT_PARAM_VENDOR);
	cbor_put_bstr(out, m->vendor_id, sizeof m->vendor_id);
	cbor_put_uint(out, SUIT_PARAM_CLASS);
	cbor_put_bstr(out, m->class_id, sizeof m->class_id);
	if (!is_fixed) {
		cbor_put_uint(out, SUIT_PARAM_DIGEST);
		put_wrapped_digest(out, comp->image[0].sha256);
		cbor_put_uint(out, SUIT_PARAM_SIZE);
		cbor_put_uint(out, comp->image[0].size);
	}
	if (m->has_device_id) {
		cbor_put_uint(out, SUIT_PARAM_DEVICE);
		cbor_put_bstr(out, m->device_id, sizeof m->device_id);
	}
	put_condition(out, SUIT_COND_VENDOR);
	put_condition(out, SUIT_COND_CLASS);
	if (m->has_device_id)
		put_condition(out, SUIT_COND_DEVICE);
	if (is_fixed)
		put_try_each(out, comp);
}

static void put_shared(struct cbor_out *out, const struct suit_manifest *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_components; i++)
		n += index_items(m) + 6 + (m->has_device_id ? 2 : 0) +
		     (m->component[i].n_images == 2 ? 2 : 0);
	cbor_put_array(out, n);
	for (size_t i = 0; i < m->n_components; i++)
		put_component_shared(out, m, &m->component[i], i);
}

static void put_common(struct cbor_out *out, const struct suit_manifest *m)
{
	struct cbor_out count;

	cbor_put_map(out, 2);
	cbor_put_uint(out, SUIT_COMPONENTS);
	cbor_put_array(out, m->n_components);
	for (size_t i = 0; i < m->n_components; i++) {
		cbor_put_array(out, 1);
		cbor_put_bstr(out, m->component[i].id, m->component[i].id_len);
	}
	cbor_put_uint(out, SUIT_SHARED);
	cbor_out_init(&count, NULL, 0);
	put_shared(&count, m);
	cbor_put_bstr_head(out, count.len);
	put_shared(out, m);
}

static void put_validate(struct cbor_out *out, const struct suit_manifest *m)
{
	cbor_put_array(out, m->n_components * (index_items(m) + 2));
	for (size_t i = 0; i < m->n_components; i++) {
		put_index(out, m, i);
		put_condition(out, SUIT_COND_IMAGE);
	}
}

static void put_install(struct cbor_out *out, const struct suit_manifest *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->n_components; i++)
		n += index_items(m) + (m->component[i].n_images == 2 ? 4 : 6);
	cbor_put_array(out, n);
	for (size_t i = 0; i < m->n_components; i++) {
		put_index(out, m, i);
		if (m->component[i].n_images != 2) {
			cbor_put_uint(out, SUIT_DIR_OVERRIDE);
			cbor_put_map(out, 1);
			cbor_put_uint(out, SUIT_PARAM_URI);
			put_uri(out, m->component[i].image[0].sha256);
		}
		put_condition(out, SUIT_DIR_FETCH);
		put_condition(out, SUIT_COND_IMAGE);
	}
}

/* The first component is what runs. */
static void put_invoke(struct cbor_out *out, const struct suit_manifest *m)
{
	cbor_put_array(out, index_items(m) + 2);
	put_index(out, m, 0);
	put_condition(out, SUIT_DIR_INVOKE);
}

static void put_section(struct cbor_out *out, unsigned key, put_fn put, const struct suit_manifest *m)
{
	struct cbor_out count;

	cbor_out_init(&count, NULL, 0);
	put(&count, m);
	cbor_put_uint(out, key);
	cbor_put_bstr_head(out, count.len);
	put(out, m);
}

static bool component_is_valid(const struct suit_component *comp)
{
	if (comp->id_len < 1 || comp->id_len > SUIT_COMPONENT_ID_MAX)
		return false;
	if (comp->n_images < 1 || comp->n_images > SUIT_SLOTS_MAX)
		return false;
	for (size_t i = 0; i < comp->n_images; i++) {
		if (comp->image[i].size == 0)
			return false;
	}
	return true;
}

static bool is_valid(const struct suit_manifest *m)
{
	if (m->sequence == 0 || m->n_components < 1 || m->n_components > SUIT_COMPONENTS_MAX)
		return false;
	for (size_t i = 0; i < m->n_components; i++) {
		if (!component_is_valid(&m->component[i]))
			return false;
		for (size_t j = 0; j < i; j++) {
			if (suit_component_id_equal(&m->component[i], &m->component[j]))
				return false;
		}
	}
	return true;
}

enum ota_err suit_manifest_encode(const struct suit_manifest *m, void *buf, size_t cap, size_t *len)
{
	struct cbor_out out;

	if (!is_valid(m))
		return OTA_INVALID;
	cbor_out_init(&out, buf, cap);
	cbor_put_map(&out, 5 + (size_t)m->invoke + (size_t)m->has_text_digest);
	cbor_put_uint(&out, SUIT_VERSION);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, SUIT_SEQUENCE);
	cbor_put_uint(&out, m->sequence);
	put_section(&out, SUIT_COMMON, put_common, m);
	put_section(&out, SUIT_VALIDATE, put_validate, m);
	if (m->invoke)
		put_section(&out, SUIT_INVOKE, put_invoke, m);
	put_section(&out, SUIT_INSTALL, put_install, m);
	if (m->has_text_digest) {
		cbor_put_uint(&out, SUIT_TEXT);
		put_digest(&out, m->text_sha256);
	}
	if (!out.err)
		*len = out.len;
	return out.err;
}

enum ota_err suit_sign(const struct ota_crypto *c, const struct ota_signer *s, const uint8_t digest[32],
	void *buf, size_t cap, size_t *len)
{
	uint8_t container[DIGEST_ENCODED_LEN];
	struct cbor_out out;
	enum ota_err err;

	(void)c;
	cbor_out_init(&out, container, sizeof container);
	put_digest(&out, digest);
	cbor_out_init(&out, buf, cap);
	err = cose_put_sign1(&out, s, "", (struct ota_slice){container, sizeof container}, false);
	if (!err)
		*len = out.len;
	return err;
}

static void put_authentication(
	struct cbor_out *out, const uint8_t digest[32], const struct ota_slice *blocks, size_t n_blocks)
{
	cbor_put_array(out, 1 + n_blocks);
	put_wrapped_digest(out, digest);
	for (size_t i = 0; i < n_blocks; i++)
		cbor_put_bstr(out, blocks[i].p, blocks[i].len);
}

enum ota_err suit_envelope_encode(const struct ota_crypto *c, struct ota_slice manifest,
	const struct ota_slice *blocks, size_t n_blocks, void *buf, size_t cap, size_t *len)
{
	struct cbor_out out, count;
	uint8_t digest[OTA_SHA256_LEN];

	if (n_blocks > SUIT_BLOCKS_MAX)
		return OTA_INVALID;
	suit_manifest_digest(c, manifest, digest);
	cbor_out_init(&out, buf, cap);
	cbor_put_tag(&out, SUIT_TAG_ENVELOPE);
	cbor_put_map(&out, 2);
	cbor_put_uint(&out, SUIT_AUTHENTICATION);
	cbor_out_init(&count, NULL, 0);
	put_authentication(&count, digest, blocks, n_blocks);
	cbor_put_bstr_head(&out, count.len);
	put_authentication(&out, digest, blocks, n_blocks);
	cbor_put_uint(&out, SUIT_MANIFEST);
	cbor_put_bstr(&out, manifest.p, manifest.len);
	if (out.len > SUIT_ENVELOPE_MAX)
		return OTA_TOO_LARGE;
	if (!out.err)
		*len = out.len;
	return out.err;
}
