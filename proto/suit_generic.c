#include "proto/suit_generic.h"

#include <string.h>

#include "proto/suit_codes.h"

enum { ENVELOPE_MAX = 16384, BLOCKS_MAX = 16 };

/* Members that may stand in the manifest as a digest and in the envelope, or nowhere, as bytes. */
static const uint8_t severable[] = {
	SUIT_DEPENDENCY_RESOLUTION, SUIT_PAYLOAD_FETCH, SUIT_CANDIDATE_VERIFICATION, SUIT_INSTALL, SUIT_TEXT};

enum { SEVERABLE = sizeof severable / sizeof severable[0] };

struct frame {
	struct ota_slice authentication, manifest;
	struct ota_slice severed[SEVERABLE]; /* content of the envelope's member; NULL: not there */
};

/* SEVERABLE for a key that is none of them. */
static size_t severable_index(uint64_t key)
{
	size_t i = 0;

	while (i < SEVERABLE && severable[i] != key)
		i++;
	return i;
}

static enum ota_err read_frame(const void *bytes, size_t len, struct frame *f)
{
	struct cbor_in in;
	uint64_t key = 0;
	int64_t last = -1;
	size_t left;

	cbor_in_init(&in, bytes, len);
	if (cbor_tag(&in) != SUIT_TAG_ENVELOPE || in.err)
		return OTA_CBOR;
	left = cbor_map(&in);
	if (in.err || left == 0)
		return OTA_CBOR;
	while (left > 0) {
		size_t i;
		struct ota_slice content;

		if (!cbor_map_key(&in, &left, &last, &key))
			return OTA_SEVER;
		i = severable_index(key);
		if (key != SUIT_AUTHENTICATION && key != SUIT_MANIFEST && i == SEVERABLE)
			return OTA_SEVER;
		content = cbor_bstr(&in);
		if (in.err)
			return OTA_CBOR;
		if (key == SUIT_AUTHENTICATION)
			f->authentication = content;
		else if (key == SUIT_MANIFEST)
			f->manifest = content;
		else
			f->severed[i] = content;
	}
	return f->authentication.p && f->manifest.p ? cbor_done(&in) : OTA_CBOR;
}

/* [-16, bstr 32] as the next item of `in`. */
static enum ota_err read_digest(struct cbor_in *in, uint8_t digest[32])
{
	int64_t alg;
	struct ota_slice bytes;

	cbor_array_len(in, 2);
	alg = cbor_int(in);
	bytes = cbor_bstr(in);
	if (in->err)
		return OTA_CBOR;
	if (alg != OTA_ALG_SHA256)
		return OTA_ALG;
	if (bytes.len != OTA_SHA256_LEN)
		return OTA_SIG;
	memcpy(digest, bytes.p, OTA_SHA256_LEN);
	return OTA_OK;
}

/* A Sign1 block as the draft's examples have it, with or without a kid: what cose.h refuses for our own
 * objects. */
struct block {
	int64_t alg;
	struct ota_slice protected_hdr;
	const uint8_t *sig;
};

static enum ota_err read_protected(struct block *b)
{
	struct cbor_in in;
	uint64_t key;
	int64_t last = -1;
	size_t left;

	if (cbor_check(b->protected_hdr.p, b->protected_hdr.len))
		return OTA_CBOR;
	cbor_in_init(&in, b->protected_hdr.p, b->protected_hdr.len);
	left = cbor_map(&in);
	if (!cbor_map_key(&in, &left, &last, &key) || key != 1)
		return OTA_COSE;
	b->alg = cbor_int(&in);
	if (left > 0) {
		if (!cbor_map_key(&in, &left, &last, &key) || key != 4)
			return OTA_COSE;
		cbor_bstr(&in);
	}
	return cbor_done(&in) || left > 0 ? OTA_COSE : OTA_OK;
}

static enum ota_err read_block(struct ota_slice bytes, struct block *b)
{
	struct cbor_in in;
	struct ota_slice sig;

	if (cbor_check(bytes.p, bytes.len))
		return OTA_CBOR;
	cbor_in_init(&in, bytes.p, bytes.len);
	if (cbor_tag(&in) != COSE_TAG_SIGN1 || in.err)
		return OTA_COSE;
	cbor_array_len(&in, 4);
	b->protected_hdr = cbor_bstr(&in);
	if (cbor_map(&in) != 0 || in.err)
		return OTA_COSE;
	cbor_null(&in);
	sig = cbor_bstr(&in);
	if (cbor_done(&in))
		return OTA_COSE;
	if (sig.len != OTA_SIG_LEN)
		return OTA_SIG;
	b->sig = sig.p;
	return read_protected(b);
}

/* Sig_structure (RFC 9052 section 4.4) with an empty external_aad. */
static enum ota_err verify_block(const struct ota_crypto *c, const struct block *b,
	const struct cose_key *key, struct ota_slice payload)
{
	uint8_t before[24], between[8];
	struct cbor_out out;
	struct ota_slice parts[4] = {{before, 0}, b->protected_hdr, {between, 0}, payload};
	int64_t alg = b->alg == OTA_ALG_ES256 ? OTA_ALG_ESP256 : b->alg;

	if (alg != key->alg)
		return OTA_ALG;
	cbor_out_init(&out, before, sizeof before);
	cbor_put_array(&out, 4);
	cbor_put_tstr(&out, "Signature1", 10);
	cbor_put_bstr_head(&out, b->protected_hdr.len);
	parts[0].len = out.len;
	cbor_out_init(&out, between, sizeof between);
	cbor_put_bstr(&out, NULL, 0);
	cbor_put_bstr_head(&out, payload.len);
	parts[2].len = out.len;
	return c->verify(key->alg, key->pub.p, key->pub.len, parts, 4, b->sig);
}

/* One block of this key is enough; every block must be well made. */
static enum ota_err authenticate(
	const struct ota_crypto *c, const struct frame *f, const struct cose_key *key, struct suit_generic *g)
{
	struct cbor_in in, container;
	struct ota_slice digest_bytes;
	uint8_t digest[32];
	size_t n;
	bool is_good = false;
	enum ota_err err;

	if (cbor_check(f->authentication.p, f->authentication.len))
		return OTA_CBOR;
	cbor_in_init(&in, f->authentication.p, f->authentication.len);
	n = cbor_array(&in);
	digest_bytes = cbor_bstr(&in);
	if (in.err || cbor_check(digest_bytes.p, digest_bytes.len))
		return OTA_CBOR;
	cbor_in_init(&container, digest_bytes.p, digest_bytes.len);
	err = read_digest(&container, g->digest);
	if (err)
		return err;
	if (n > 1 + BLOCKS_MAX)
		return OTA_COSE;
	g->n_blocks = n - 1;
	for (size_t i = 0; i < g->n_blocks; i++) {
		struct ota_slice bytes = cbor_bstr(&in);
		struct block b = {0};

		if (in.err)
			return OTA_CBOR;
		err = read_block(bytes, &b);
		if (err)
			return err;
		if (verify_block(c, &b, key, digest_bytes) == OTA_OK)
			is_good = true;
	}
	suit_manifest_digest(c, f->manifest, digest);
	return is_good && memcmp(digest, g->digest, sizeof digest) == 0 ? cbor_done(&in) : OTA_SIG;
}

/* A command sequence: commands and arguments in pairs. */
static enum ota_err open_sequence(struct ota_slice bytes, struct cbor_in *in, size_t *n_commands)
{
	size_t n;

	if (cbor_check(bytes.p, bytes.len))
		return OTA_CBOR;
	cbor_in_init(in, bytes.p, bytes.len);
	n = cbor_array(in);
	if (in->err)
		return OTA_CBOR;
	*n_commands = n / 2;
	return n % 2 == 0 ? OTA_OK : OTA_COMMAND;
}

static enum ota_err check_sequence(struct ota_slice bytes)
{
	struct cbor_in in;
	size_t n;
	enum ota_err err = open_sequence(bytes, &in, &n);

	if (err)
		return err;
	for (size_t i = 0; i < n; i++) {
		cbor_int(&in);
		if (in.err)
			return OTA_COMMAND;
		cbor_skip(&in);
	}
	return cbor_done(&in);
}

/* Vendor and class, where an override of the shared sequence sets them as 16 bytes. */
static enum ota_err read_ids(struct cbor_in *in, struct suit_generic *g)
{
	size_t left = cbor_map(in);
	int64_t last = -1;
	uint64_t key;

	while (cbor_map_key(in, &left, &last, &key)) {
		bool is_vendor = key == SUIT_PARAM_VENDOR, is_class = key == SUIT_PARAM_CLASS;
		struct ota_slice id;

		if ((!is_vendor && !is_class) || cbor_peek(in) != CBOR_BSTR) {
			cbor_skip(in);
			continue;
		}
		id = cbor_bstr(in);
		if (in->err || id.len != 16)
			return OTA_PARAM;
		memcpy(is_vendor ? g->vendor_id : g->class_id, id.p, 16);
		g->has_vendor = g->has_vendor || is_vendor;
		g->has_class = g->has_class || is_class;
	}
	return in->err ? OTA_PARAM : OTA_OK;
}

static enum ota_err read_shared(struct ota_slice bytes, struct suit_generic *g)
{
	struct cbor_in in;
	size_t n;
	enum ota_err err = check_sequence(bytes);

	if (!err)
		err = open_sequence(bytes, &in, &n);
	for (size_t i = 0; !err && i < n; i++) {
		if (cbor_int(&in) == SUIT_DIR_OVERRIDE)
			err = read_ids(&in, g);
		else
			cbor_skip(&in);
	}
	return err;
}

/* {? 1 dependencies, 2 components, ? 4 shared sequence} */
static enum ota_err read_common(struct ota_slice bytes, struct suit_generic *g)
{
	struct cbor_in in;
	uint64_t key;
	int64_t last = -1;
	size_t left;

	if (cbor_check(bytes.p, bytes.len))
		return OTA_CBOR;
	cbor_in_init(&in, bytes.p, bytes.len);
	left = cbor_map(&in);
	while (cbor_map_key(&in, &left, &last, &key)) {
		enum ota_err err = OTA_OK;

		switch (key) {
		case SUIT_COMPONENTS:
			g->n_components = cbor_array(&in);
			for (size_t i = 0; i < g->n_components; i++)
				cbor_skip(&in);
			break;
		case SUIT_SHARED:
			err = read_shared(cbor_bstr(&in), g);
			break;
		default:
			return OTA_COMPONENT;
		}
		if (err)
			return err;
	}
	if (cbor_done(&in) || left > 0)
		return OTA_CBOR;
	return g->n_components > 0 ? OTA_OK : OTA_COMPONENT;
}

/* A member that may be severed: a digest here and, if at all, its bytes in the envelope; or its bytes here.
 */
static enum ota_err read_severable(
	const struct ota_crypto *c, struct cbor_in *in, uint64_t key, struct frame *f, struct suit_generic *g)
{
	struct ota_slice *content = &f->severed[severable_index(key)];
	uint8_t want[32], got[32];
	enum ota_err err = OTA_OK;

	if (cbor_peek(in) == CBOR_ARRAY) {
		g->has_severed = true;
		err = read_digest(in, want);
		if (err || !content->p)
			return err;
		suit_manifest_digest(c, *content, got);
		if (memcmp(want, got, sizeof want) != 0)
			return OTA_DIGEST;
	} else {
		if (content->p)
			return OTA_SEVER;
		*content = cbor_bstr(in);
		if (in->err)
			return OTA_CBOR;
	}
	err = key == SUIT_TEXT ? cbor_check(content->p, content->len) : check_sequence(*content);
	/* Taken: what is left afterwards belongs to no key of the manifest. */
	*content = (struct ota_slice){0};
	return err;
}

static enum ota_err read_member(
	const struct ota_crypto *c, struct cbor_in *in, uint64_t key, struct frame *f, struct suit_generic *g)
{
	g->has_validate = g->has_validate || key == SUIT_VALIDATE;
	g->has_load = g->has_load || key == SUIT_LOAD;
	g->has_invoke = g->has_invoke || key == SUIT_INVOKE;
	g->has_install = g->has_install || key == SUIT_INSTALL;
	switch (key) {
	case SUIT_VERSION:
		return cbor_uint(in) == 1 && !in->err ? OTA_OK : OTA_MANIFEST_VERSION;
	case SUIT_SEQUENCE:
		g->sequence = cbor_uint(in);
		return in->err;
	case SUIT_COMMON:
		return read_common(cbor_bstr(in), g);
	case SUIT_REFERENCE_URI:
		cbor_tstr(in);
		return in->err;
	case SUIT_VALIDATE:
	case SUIT_LOAD:
	case SUIT_INVOKE:
		return check_sequence(cbor_bstr(in));
	case SUIT_DEPENDENCY_RESOLUTION:
	case SUIT_PAYLOAD_FETCH:
	case SUIT_CANDIDATE_VERIFICATION:
	case SUIT_INSTALL:
	case SUIT_TEXT:
		return read_severable(c, in, key, f, g);
	default:
		return OTA_UNSUPPORTED;
	}
}

static enum ota_err read_manifest(const struct ota_crypto *c, struct frame *f, struct suit_generic *g)
{
	struct cbor_in in;
	uint64_t key;
	int64_t last = -1;
	uint32_t seen = 0;
	size_t left;

	if (cbor_check(f->manifest.p, f->manifest.len))
		return OTA_CBOR;
	cbor_in_init(&in, f->manifest.p, f->manifest.len);
	left = cbor_map(&in);
	while (cbor_map_key(&in, &left, &last, &key)) {
		enum ota_err err = read_member(c, &in, key, f, g);

		if (err)
			return err;
		seen |= (uint32_t)1 << (key & 31);
	}
	if (cbor_done(&in) || left > 0)
		return OTA_CBOR;
	for (size_t i = 0; i < SEVERABLE; i++) {
		if (f->severed[i].p)
			return OTA_SEVER;
	}
	if ((seen & 0x0e) != 0x0e) /* version, sequence, common */
		return OTA_CBOR;
	return g->has_validate ? OTA_OK : OTA_COMMAND;
}

enum ota_err suit_generic_verify(const struct ota_crypto *c, const void *bytes, size_t len,
	const struct cose_key *key, struct suit_generic *out)
{
	struct frame f = {0};
	struct suit_generic g = {0};
	enum ota_err err;

	if (len > ENVELOPE_MAX)
		return OTA_TOO_LARGE;
	if (cbor_check(bytes, len))
		return OTA_CBOR;
	err = read_frame(bytes, len, &f);
	if (!err)
		err = authenticate(c, &f, key, &g);
	if (!err)
		err = read_manifest(c, &f, &g);
	if (!err)
		*out = g;
	return err;
}
