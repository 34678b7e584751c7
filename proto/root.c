#include "proto/root.h"

#include <string.h>

#include "proto/fields.h"

enum { KEY_VERSION = 2, KEY_KEYS = 3, KEY_ROLES = 4, KEY_EPOCH = 5, KEY_FLOORS = 6, ALL_OF_6 = 0x7e };

static const char aad[] = "otad/root/1";

/* Root and server keys are P-256 in this format: any device must be able to follow a rotation. */
static bool is_usable(const struct ota_crypto *c, enum root_role role, const struct cose_key *key)
{
	if (role != ROOT_ROLE_RELEASE && key->alg != OTA_ALG_ESP256)
		return false;
	return c->has_alg(key->alg);
}

/* Length of the public keys of the algorithms that this format knows; 0: carried, not judged. */
static size_t pub_len_of(int alg)
{
	if (alg == OTA_ALG_ESP256)
		return OTA_P256_PUB_LEN;
	return alg == OTA_ALG_ED25519 ? OTA_ED25519_PUB_LEN : 0;
}

static bool keys_are_valid(const struct root_doc *d)
{
	if (d->n_keys < 1 || d->n_keys > ROOT_KEYS_MAX)
		return false;
	for (size_t i = 0; i < d->n_keys; i++) {
		const struct cose_key *a = &d->key[i];
		size_t want = pub_len_of(a->alg);

		if (a->pub.len == 0 || (want != 0 && a->pub.len != want))
			return false;
		for (size_t j = 0; j < i; j++) {
			const struct cose_key *b = &d->key[j];

			if (a->pub.len == b->pub.len && memcmp(a->pub.p, b->pub.p, a->pub.len) == 0)
				return false;
		}
	}
	return true;
}

/* Ascending indices of keys, none of them in a role before; `used` has a bit for each. */
static bool role_is_valid(const struct root_doc *d, enum root_role role, uint32_t *used)
{
	unsigned n = d->role[role].n;

	if (n < 1 || n > d->n_keys || d->role[role].threshold < 1 ||
		d->role[role].threshold > ROOT_THRESHOLD_MAX || d->role[role].threshold > n)
		return false;
	for (unsigned i = 0; i < n; i++) {
		uint8_t index = d->role[role].index[i];

		if (index >= d->n_keys || (i > 0 && index <= d->role[role].index[i - 1]))
			return false;
		if ((*used >> index & 1) != 0)
			return false;
		*used |= (uint32_t)1 << index;
	}
	return true;
}

/* In bytewise order of the encoded keys: the row of any class first. */
static bool floors_are_valid(const struct root_doc *d)
{
	if (d->n_floors > ROOT_FLOORS_MAX)
		return false;
	for (size_t i = 1; i < d->n_floors; i++) {
		const struct root_floor *before = &d->floor[i - 1], *f = &d->floor[i];

		if (f->any_class)
			return false;
		if (!before->any_class && memcmp(before->class_id, f->class_id, sizeof f->class_id) >= 0)
			return false;
	}
	return true;
}

/* Everything that a document must keep whoever reads it. */
static bool is_valid(const struct root_doc *d)
{
	uint32_t used = 0;

	if (d->version == 0 || !keys_are_valid(d) || !floors_are_valid(d))
		return false;
	for (unsigned role = 0; role < ROOT_ROLES; role++) {
		if (!role_is_valid(d, (enum root_role)role, &used))
			return false;
	}
	return true;
}

enum ota_err root_payload_encode(const struct root_doc *d, void *buf, size_t cap, size_t *len)
{
	struct cbor_out out;

	if (!is_valid(d))
		return OTA_INVALID;
	cbor_out_init(&out, buf, cap);
	cbor_put_map(&out, 6);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, 1);
	cbor_put_uint(&out, KEY_VERSION);
	cbor_put_uint(&out, d->version);
	cbor_put_uint(&out, KEY_KEYS);
	cbor_put_array(&out, d->n_keys);
	for (size_t i = 0; i < d->n_keys; i++) {
		cbor_put_array(&out, 2);
		cbor_put_int(&out, d->key[i].alg);
		cbor_put_bstr(&out, d->key[i].pub.p, d->key[i].pub.len);
	}
	cbor_put_uint(&out, KEY_ROLES);
	cbor_put_map(&out, ROOT_ROLES);
	for (unsigned role = 0; role < ROOT_ROLES; role++) {
		cbor_put_uint(&out, role);
		cbor_put_array(&out, 1 + (size_t)d->role[role].n);
		cbor_put_uint(&out, d->role[role].threshold);
		for (size_t i = 0; i < d->role[role].n; i++)
			cbor_put_uint(&out, d->role[role].index[i]);
	}
	cbor_put_uint(&out, KEY_EPOCH);
	cbor_put_uint(&out, d->epoch);
	cbor_put_uint(&out, KEY_FLOORS);
	cbor_put_map(&out, d->n_floors);
	for (size_t i = 0; i < d->n_floors; i++) {
		cbor_put_bstr(&out, d->floor[i].class_id, d->floor[i].any_class ? 0 : 16);
		cbor_put_uint(&out, d->floor[i].sequence);
	}
	if (!out.err)
		*len = out.len;
	return out.err;
}

enum ota_err root_sign(
	const struct ota_signer *s, struct ota_slice payload, void *buf, size_t cap, size_t *len)
{
	struct cbor_out out;
	enum ota_err err;

	cbor_out_init(&out, buf, cap);
	err = cose_put_sign1(&out, s, aad, payload, false);
	if (!err)
		*len = out.len;
	return err;
}

enum ota_err root_encode(struct ota_slice payload, const struct ota_slice *blocks, size_t n_blocks, void *buf,
	size_t cap, size_t *len)
{
	struct cbor_out out;
	size_t authentication = cbor_head_len(n_blocks);

	if (n_blocks < 1 || n_blocks > ROOT_BLOCKS_MAX)
		return OTA_INVALID;
	for (size_t i = 0; i < n_blocks; i++)
		authentication += blocks[i].len;
	cbor_out_init(&out, buf, cap);
	cbor_put_array(&out, 2);
	cbor_put_bstr_head(&out, authentication);
	cbor_put_array(&out, n_blocks);
	for (size_t i = 0; i < n_blocks; i++)
		cbor_put_raw(&out, blocks[i].p, blocks[i].len);
	cbor_put_bstr(&out, payload.p, payload.len);
	if (out.len > ROOT_MAX)
		return OTA_TOO_LARGE;
	if (!out.err)
		*len = out.len;
	return out.err;
}

static enum ota_err read_blocks(
	struct ota_slice authentication, struct cose_msg blocks[ROOT_BLOCKS_MAX], size_t *n_blocks)
{
	struct cbor_in in;
	size_t n;

	if (cbor_check(authentication.p, authentication.len))
		return OTA_CBOR;
	cbor_in_init(&in, authentication.p, authentication.len);
	n = cbor_array(&in);
	if (in.err)
		return OTA_CBOR;
	if (n == 0)
		return OTA_SIG;
	if (n > ROOT_BLOCKS_MAX)
		return OTA_COSE;
	for (size_t i = 0; i < n; i++) {
		enum ota_err err = cose_decode_next(&in, &blocks[i]);

		if (err)
			return err;
		if (blocks[i].is_mac || !blocks[i].detached)
			return OTA_COSE;
	}
	*n_blocks = n;
	return cbor_done(&in);
}

enum ota_err root_split(const void *bytes, size_t len, struct cose_msg blocks[ROOT_BLOCKS_MAX],
	size_t *n_blocks, struct ota_slice *payload)
{
	struct cbor_in in;
	struct ota_slice authentication, content;
	enum ota_err err;

	if (len > ROOT_MAX)
		return OTA_TOO_LARGE;
	cbor_in_init(&in, bytes, len);
	cbor_array_len(&in, 2);
	authentication = cbor_bstr(&in);
	content = cbor_bstr(&in);
	if (cbor_done(&in))
		return OTA_CBOR;
	err = read_blocks(authentication, blocks, n_blocks);
	if (!err)
		*payload = content;
	return err;
}

static void read_keys(const struct ota_crypto *c, struct cbor_in *in, struct root_doc *d)
{
	size_t n = cbor_array(in);

	if (n > ROOT_KEYS_MAX) {
		in->err = OTA_CBOR;
		return;
	}
	for (size_t i = 0; i < n && !in->err; i++) {
		struct cose_key *key = &d->key[i];
		int64_t alg;

		cbor_array_len(in, 2);
		alg = cbor_int(in);
		key->pub = cbor_bstr(in);
		/* 0 is reserved in the registry: a number that no int holds is none that we know either. */
		key->alg = alg >= INT32_MIN && alg <= INT32_MAX ? (int)alg : 0;
		if (!in->err)
			ota_kid(c, key->pub.p, key->pub.len, key->kid);
		for (size_t j = 0; j < i; j++) {
			if (memcmp(key->kid, d->key[j].kid, OTA_KID_LEN) == 0)
				in->err = OTA_CBOR;
		}
	}
	d->n_keys = n;
}

static void read_role(struct cbor_in *in, struct root_doc *d, uint64_t role)
{
	size_t n = cbor_array(in);

	if (n < 2 || n > 1 + ROOT_KEYS_MAX) {
		in->err = OTA_CBOR;
		return;
	}
	d->role[role].threshold = (uint8_t)cbor_uint_range(in, 1, ROOT_THRESHOLD_MAX);
	d->role[role].n = (uint8_t)(n - 1);
	for (size_t i = 0; i < n - 1; i++)
		d->role[role].index[i] = (uint8_t)cbor_uint_max(in, ROOT_KEYS_MAX - 1);
}

static void read_roles(struct cbor_in *in, struct root_doc *d)
{
	size_t left = cbor_map(in);
	int64_t last = -1;
	uint64_t role;

	while (cbor_map_key(in, &left, &last, &role)) {
		if (role < ROOT_ROLES)
			read_role(in, d, role);
		else
			cbor_skip(in);
	}
}

static void read_floors(struct cbor_in *in, struct root_doc *d)
{
	size_t n = cbor_map(in);

	if (n > ROOT_FLOORS_MAX) {
		in->err = OTA_CBOR;
		return;
	}
	for (size_t i = 0; i < n && !in->err; i++) {
		struct root_floor *f = &d->floor[i];
		struct ota_slice class_id = cbor_bstr(in);

		if (class_id.len == sizeof f->class_id)
			memcpy(f->class_id, class_id.p, sizeof f->class_id);
		else if (class_id.len != 0)
			in->err = OTA_CBOR;
		f->any_class = class_id.len == 0;
		f->sequence = (uint32_t)cbor_uint_max(in, UINT32_MAX);
	}
	d->n_floors = n;
}

static enum ota_err read_payload(const struct ota_crypto *c, struct ota_slice payload, struct root_doc *d)
{
	struct fields f;
	uint64_t key;
	enum ota_err err = fields_open(&f, payload);

	if (err)
		return err;
	while (fields_next(&f, &key)) {
		switch (key) {
		case KEY_VERSION:
			d->version = (uint32_t)cbor_uint_range(&f.in, 1, UINT32_MAX);
			break;
		case KEY_KEYS:
			read_keys(c, &f.in, d);
			break;
		case KEY_ROLES:
			read_roles(&f.in, d);
			break;
		case KEY_EPOCH:
			d->epoch = (uint32_t)cbor_uint_max(&f.in, UINT32_MAX);
			break;
		case KEY_FLOORS:
			read_floors(&f.in, d);
			break;
		default:
			fields_unknown(&f);
		}
	}
	return fields_done(&f, ALL_OF_6);
}

enum ota_err root_payload_decode(const struct ota_crypto *c, struct ota_slice payload, struct root_doc *out)
{
	struct root_doc d;
	enum ota_err err;

	memset(&d, 0, sizeof d);
	err = read_payload(c, payload, &d);
	if (err)
		return err;
	if (!is_valid(&d))
		return OTA_CBOR;
	for (unsigned role = 0; role < ROOT_ROLES; role++) {
		struct cose_keyring ring;

		root_keyring(c, &d, (enum root_role)role, &ring);
		if (ring.n < ring.threshold)
			return OTA_ALG;
	}
	*out = d;
	return OTA_OK;
}

void root_keyring(
	const struct ota_crypto *c, const struct root_doc *d, enum root_role role, struct cose_keyring *out)
{
	out->n = 0;
	out->threshold = d->role[role].threshold;
	for (size_t i = 0; i < d->role[role].n; i++) {
		const struct cose_key *key = &d->key[d->role[role].index[i]];

		if (is_usable(c, role, key))
			out->key[out->n++] = key;
	}
}

/* `blocks` reach the threshold of d's root role. */
static enum ota_err verify_by(const struct ota_crypto *c, const struct root_doc *d,
	const struct cose_msg *blocks, size_t n_blocks, struct ota_slice payload)
{
	struct cose_keyring ring;

	root_keyring(c, d, ROOT_ROLE_ROOT, &ring);
	return cose_verify_threshold(c, blocks, n_blocks, &ring, aad, payload);
}

enum ota_err root_decode_first(
	const struct ota_crypto *c, const void *bytes, size_t len, struct root_doc *out)
{
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	struct ota_slice payload;
	size_t n_blocks;
	struct root_doc d;
	enum ota_err err = root_split(bytes, len, blocks, &n_blocks, &payload);

	if (!err)
		err = root_payload_decode(c, payload, &d);
	if (err)
		return err;
	err = verify_by(c, &d, blocks, n_blocks, payload);
	if (!err)
		*out = d;
	return err;
}

static bool has_release_key(const struct root_doc *d, const struct cose_key *key)
{
	for (size_t i = 0; i < d->role[ROOT_ROLE_RELEASE].n; i++) {
		const struct cose_key *own = &d->key[d->role[ROOT_ROLE_RELEASE].index[i]];

		if (memcmp(own->kid, key->kid, OTA_KID_LEN) == 0)
			return true;
	}
	return false;
}

static enum ota_err check_epoch(const struct root_doc *cur, const struct root_doc *next)
{
	if (next->epoch == cur->epoch)
		return OTA_OK;
	if (next->epoch < cur->epoch || next->epoch - cur->epoch > 1)
		return OTA_EPOCH;
	/* A new epoch lowers floors: whoever drove the sequence up must not sign in it. */
	for (size_t i = 0; i < next->role[ROOT_ROLE_RELEASE].n; i++) {
		if (has_release_key(cur, &next->key[next->role[ROOT_ROLE_RELEASE].index[i]]))
			return OTA_SIG;
	}
	return OTA_OK;
}

enum ota_err root_decode_next(const struct ota_crypto *c, const struct root_doc *cur, const void *bytes,
	size_t len, struct root_doc *out)
{
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	struct ota_slice payload;
	size_t n_blocks;
	struct root_doc next;
	enum ota_err err = root_split(bytes, len, blocks, &n_blocks, &payload);

	if (!err)
		err = verify_by(c, cur, blocks, n_blocks, payload);
	if (!err)
		err = root_payload_decode(c, payload, &next);
	if (err)
		return err;
	if (cur->version == UINT32_MAX || next.version != cur->version + 1)
		return OTA_ROOT_GAP;
	err = verify_by(c, &next, blocks, n_blocks, payload);
	if (!err)
		err = check_epoch(cur, &next);
	if (!err)
		*out = next;
	return err;
}

uint32_t root_floor_after(
	const struct root_doc *next, uint32_t cur_epoch, const uint8_t class_id[16], uint32_t floor)
{
	uint32_t any = 0, own = 0;
	bool has_own = false;

	for (size_t i = 0; i < next->n_floors; i++) {
		const struct root_floor *f = &next->floor[i];

		if (f->any_class) {
			any = f->sequence;
		} else if (memcmp(f->class_id, class_id, sizeof f->class_id) == 0) {
			own = f->sequence;
			has_own = true;
		}
	}
	if (!has_own)
		own = any;
	return next->epoch == cur_epoch && floor > own ? floor : own;
}
