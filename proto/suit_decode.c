#include "proto/suit.h"

#include <string.h>

#include "proto/suit_codes.h"

/* One command sequence: a flat array of command and argument. The first failure stays in `err`; the readers
 * below do nothing after it. */
struct seq {
	struct cbor_in in;
	size_t left; /* commands */
	enum ota_err err;
};

static void seq_fail(struct seq *s, enum ota_err err)
{
	if (!s->err)
		s->err = err;
}

/* A profile error where the bytes are CBOR but not what stands here. */
static void seq_expect(struct seq *s, bool good, enum ota_err err)
{
	if (!good || s->in.err)
		seq_fail(s, err);
}

static void seq_open(struct seq *s, struct ota_slice bytes)
{
	size_t n;

	*s = (struct seq){.err = OTA_OK};
	cbor_in_init(&s->in, bytes.p, bytes.len);
	if (cbor_check(bytes.p, bytes.len)) {
		s->err = OTA_CBOR;
		return;
	}
	n = cbor_array(&s->in);
	seq_expect(s, n % 2 == 0, OTA_COMMAND);
	s->left = n / 2;
}

static enum ota_err seq_done(struct seq *s)
{
	seq_expect(s, s->left == 0, OTA_COMMAND);
	return s->err;
}

/* The next command must be `want`. A component index where none is due is an error of its own. */
static void seq_command(struct seq *s, int64_t want)
{
	int64_t code;

	if (s->err)
		return;
	if (s->left == 0) {
		s->err = OTA_COMMAND;
		return;
	}
	s->left--;
	code = cbor_int(&s->in);
	if (s->in.err || code != want)
		seq_fail(s, code == SUIT_DIR_SET_INDEX ? OTA_COMPONENT : OTA_COMMAND);
}

/* A condition or a directive whose argument is a reporting policy. */
static void seq_condition(struct seq *s, int64_t want)
{
	seq_command(s, want);
	if (s->err)
		return;
	cbor_uint_max(&s->in, SUIT_POLICY);
	seq_expect(s, true, OTA_COMMAND);
}

static void seq_index(struct seq *s, size_t n_components, size_t index)
{
	if (n_components == 1)
		return;
	seq_command(s, SUIT_DIR_SET_INDEX);
	if (s->err)
		return;
	seq_expect(s, cbor_peek(&s->in) == CBOR_UINT && cbor_uint(&s->in) == index, OTA_COMPONENT);
}

/* [-16, bstr 32] */
static enum ota_err read_digest(struct cbor_in *in, uint8_t sha256[32])
{
	const uint8_t *p;
	int64_t alg;

	cbor_array_len(in, 2);
	alg = cbor_int(in);
	if (in->err)
		return OTA_PARAM;
	if (alg != OTA_ALG_SHA256)
		return OTA_ALG;
	p = cbor_bstr_len(in, OTA_SHA256_LEN);
	if (!p)
		return OTA_PARAM;
	memcpy(sha256, p, OTA_SHA256_LEN);
	return OTA_OK;
}

/* The same in a byte string of its own, as parameters have it. */
static enum ota_err read_wrapped_digest(struct cbor_in *in, uint8_t sha256[32])
{
	struct ota_slice s = cbor_bstr(in);
	struct cbor_in inner;
	enum ota_err err;

	if (in->err || cbor_check(s.p, s.len))
		return OTA_PARAM;
	cbor_in_init(&inner, s.p, s.len);
	err = read_digest(&inner, sha256);
	return err ? err : cbor_done(&inner);
}

/* Everything that an override-parameters map of the profile can hold. */
struct params {
	uint32_t seen; /* bit k: parameter k */
	uint8_t vendor_id[16], class_id[16], device_id[16];
	struct suit_image image;
	uint64_t slot;
	struct ota_slice uri;
};

#define PARAM_BIT(name) ((uint32_t)1 << SUIT_PARAM_##name)

static void read_id(struct seq *s, uint8_t id[16], enum ota_err err)
{
	const uint8_t *p = cbor_bstr_len(&s->in, 16);

	if (p)
		memcpy(id, p, 16);
	else
		seq_fail(s, err);
}

static void read_param(struct seq *s, uint64_t key, struct params *p)
{
	enum ota_err err;
	uint64_t size;

	switch (key) {
	case SUIT_PARAM_VENDOR:
		read_id(s, p->vendor_id, OTA_VENDOR);
		break;
	case SUIT_PARAM_CLASS:
		read_id(s, p->class_id, OTA_CLASS);
		break;
	case SUIT_PARAM_DEVICE:
		read_id(s, p->device_id, OTA_DEVICE);
		break;
	case SUIT_PARAM_DIGEST:
		err = read_wrapped_digest(&s->in, p->image.sha256);
		if (err)
			seq_fail(s, err);
		break;
	case SUIT_PARAM_SLOT:
		p->slot = cbor_uint(&s->in);
		break;
	case SUIT_PARAM_SIZE:
		size = cbor_uint_range(&s->in, 1, UINT32_MAX);
		p->image.size = (uint32_t)size;
		break;
	case SUIT_PARAM_URI:
		p->uri = cbor_tstr(&s->in);
		break;
	default:
		seq_fail(s, OTA_PARAM);
	}
}

/* override-parameters with exactly these parameters. A missing vendor or class is the condition's failure. */
static void seq_override(struct seq *s, uint32_t want, struct params *p)
{
	size_t left;
	int64_t last = -1;
	uint64_t key;
	uint32_t missing;

	memset(p, 0, sizeof *p);
	seq_command(s, SUIT_DIR_OVERRIDE);
	if (s->err)
		return;
	left = cbor_map(&s->in);
	while (!s->err && cbor_map_key(&s->in, &left, &last, &key)) {
		seq_expect(s, key < 32 && (want >> key & 1) != 0, OTA_PARAM);
		if (s->err)
			return;
		p->seen |= (uint32_t)1 << key;
		read_param(s, key, p);
	}
	missing = want & ~p->seen;
	seq_expect(s, true, OTA_PARAM);
	seq_expect(s, (missing & PARAM_BIT(VENDOR)) == 0, OTA_VENDOR);
	seq_expect(s, (missing & PARAM_BIT(CLASS)) == 0, OTA_CLASS);
	seq_expect(s, missing == 0, OTA_PARAM);
}

static void check_uri(struct seq *s, struct ota_slice uri, const struct suit_image *image)
{
	char want[SUIT_URI_LEN];

	if (s->err)
		return;
	suit_uri(image->sha256, want);
	seq_expect(s, uri.len == sizeof want && memcmp(uri.p, want, sizeof want) == 0, OTA_PARAM);
}

static enum ota_err read_variant(struct ota_slice bytes, unsigned slot, struct suit_image *image)
{
	struct seq s;
	struct params p;

	seq_open(&s, bytes);
	seq_override(&s, PARAM_BIT(DIGEST) | PARAM_BIT(SLOT) | PARAM_BIT(SIZE) | PARAM_BIT(URI), &p);
	seq_expect(&s, p.slot == slot, OTA_PARAM);
	check_uri(&s, p.uri, &p.image);
	seq_condition(&s, SUIT_COND_SLOT);
	*image = p.image;
	return seq_done(&s);
}

/* The one try-each of the profile: an image for each slot. */
static void read_try_each(struct seq *s, struct suit_component *comp)
{
	seq_command(s, SUIT_DIR_TRY_EACH);
	if (s->err)
		return;
	seq_expect(s, cbor_array(&s->in) == SUIT_SLOTS_MAX, OTA_COMMAND);
	for (unsigned slot = 0; slot < SUIT_SLOTS_MAX && !s->err; slot++) {
		struct ota_slice bytes = cbor_bstr(&s->in);

		seq_expect(s, true, OTA_COMMAND);
		if (!s->err)
			s->err = read_variant(bytes, slot, &comp->image[slot]);
	}
	comp->n_images = SUIT_SLOTS_MAX;
}

/* Parameters that the next command, an override, names; 0 when it is none. */
static uint32_t peek_override(const struct seq *s)
{
	struct cbor_in in = s->in;
	size_t left;
	int64_t last = -1;
	uint64_t key;
	uint32_t seen = 0;

	if (s->err || cbor_int(&in) != SUIT_DIR_OVERRIDE)
		return 0;
	left = cbor_map(&in);
	while (cbor_map_key(&in, &left, &last, &key)) {
		if (key < 32)
			seen |= (uint32_t)1 << key;
		cbor_skip(&in);
	}
	return seen;
}

/* A component is in the try-each form when its own override leaves digest and size out and a try-each comes.
 */
static bool peek_is_fixed(const struct seq *s, uint32_t seen)
{
	struct cbor_in in = s->in;
	size_t n = 2 * s->left;

	if (s->err || (seen & (PARAM_BIT(DIGEST) | PARAM_BIT(SIZE))) != 0)
		return false;
	for (; n >= 2; n -= 2) {
		int64_t code = cbor_peek(&in) <= CBOR_NINT ? cbor_int(&in) : -1;

		if (in.err || code == SUIT_DIR_TRY_EACH)
			return !in.err;
		if (code == SUIT_DIR_SET_INDEX || code == -1)
			return false;
		cbor_skip(&in);
	}
	return false;
}

static void read_component_shared(struct seq *s, size_t index, struct suit_manifest *m)
{
	struct suit_component *comp = &m->component[index];
	uint32_t want = PARAM_BIT(VENDOR) | PARAM_BIT(CLASS), seen;
	struct params p;
	bool is_fixed;

	seq_index(s, m->n_components, index);
	seen = peek_override(s);
	is_fixed = peek_is_fixed(s, seen);
	if (!is_fixed)
		want |= PARAM_BIT(DIGEST) | PARAM_BIT(SIZE);
	want |= seen & PARAM_BIT(DEVICE);
	seq_override(s, want, &p);
	seq_condition(s, SUIT_COND_VENDOR);
	seq_condition(s, SUIT_COND_CLASS);
	if (want & PARAM_BIT(DEVICE))
		seq_condition(s, SUIT_COND_DEVICE);
	if (is_fixed)
		read_try_each(s, comp);
	if (s->err)
		return;
	if (!is_fixed) {
		comp->image[0] = p.image;
		comp->n_images = 1;
	}
	if (index == 0) {
		memcpy(m->vendor_id, p.vendor_id, sizeof m->vendor_id);
		memcpy(m->class_id, p.class_id, sizeof m->class_id);
		memcpy(m->device_id, p.device_id, sizeof m->device_id);
		m->has_device_id = (want & PARAM_BIT(DEVICE)) != 0;
		return;
	}
	/* One release, one board: what the others say must be what the first said. */
	seq_expect(s, memcmp(m->vendor_id, p.vendor_id, sizeof m->vendor_id) == 0, OTA_VENDOR);
	seq_expect(s, memcmp(m->class_id, p.class_id, sizeof m->class_id) == 0, OTA_CLASS);
	seq_expect(s,
		m->has_device_id == ((want & PARAM_BIT(DEVICE)) != 0) &&
			memcmp(m->device_id, p.device_id, sizeof m->device_id) == 0,
		OTA_DEVICE);
}

static enum ota_err read_shared(struct ota_slice bytes, struct suit_manifest *m)
{
	struct seq s;

	seq_open(&s, bytes);
	for (size_t i = 0; i < m->n_components && !s.err; i++)
		read_component_shared(&s, i, m);
	return seq_done(&s);
}

/* [+ [bstr 1..8]], each once */
static enum ota_err read_components(struct cbor_in *in, struct suit_manifest *m)
{
	size_t n = cbor_array(in);

	if (n < 1 || n > SUIT_COMPONENTS_MAX)
		return OTA_COMPONENT;
	for (size_t i = 0; i < n; i++) {
		struct suit_component *comp = &m->component[i];
		struct ota_slice id;

		cbor_array_len(in, 1);
		id = cbor_bstr(in);
		if (in->err || id.len < 1 || id.len > SUIT_COMPONENT_ID_MAX)
			return OTA_COMPONENT;
		memcpy(comp->id, id.p, id.len);
		comp->id_len = (uint8_t)id.len;
		for (size_t j = 0; j < i; j++) {
			if (suit_component_id_equal(comp, &m->component[j]))
				return OTA_COMPONENT;
		}
	}
	m->n_components = n;
	return OTA_OK;
}

static enum ota_err read_common(struct ota_slice bytes, struct suit_manifest *m)
{
	struct cbor_in in;
	struct ota_slice shared;
	uint64_t key;
	int64_t last = -1;
	size_t left;
	enum ota_err err;

	if (cbor_check(bytes.p, bytes.len))
		return OTA_CBOR;
	cbor_in_init(&in, bytes.p, bytes.len);
	left = cbor_map(&in);
	if (left != 2 || !cbor_map_key(&in, &left, &last, &key) || key != SUIT_COMPONENTS)
		return OTA_COMPONENT;
	err = read_components(&in, m);
	if (err)
		return err;
	if (!cbor_map_key(&in, &left, &last, &key) || key != SUIT_SHARED)
		return OTA_COMMAND;
	shared = cbor_bstr(&in);
	if (cbor_done(&in))
		return OTA_COMMAND;
	return read_shared(shared, m);
}

static enum ota_err read_validate(struct ota_slice bytes, const struct suit_manifest *m)
{
	struct seq s;

	seq_open(&s, bytes);
	for (size_t i = 0; i < m->n_components; i++) {
		seq_index(&s, m->n_components, i);
		seq_condition(&s, SUIT_COND_IMAGE);
	}
	return seq_done(&s);
}

static enum ota_err read_install(struct ota_slice bytes, const struct suit_manifest *m)
{
	struct seq s;

	seq_open(&s, bytes);
	for (size_t i = 0; i < m->n_components; i++) {
		const struct suit_component *comp = &m->component[i];

		seq_index(&s, m->n_components, i);
		if (comp->n_images == 1) {
			struct params p;

			seq_override(&s, PARAM_BIT(URI), &p);
			check_uri(&s, p.uri, &comp->image[0]);
		}
		seq_condition(&s, SUIT_DIR_FETCH);
		seq_condition(&s, SUIT_COND_IMAGE);
	}
	return seq_done(&s);
}

static enum ota_err read_invoke(struct ota_slice bytes, const struct suit_manifest *m)
{
	struct seq s;

	seq_open(&s, bytes);
	seq_index(&s, m->n_components, 0);
	seq_condition(&s, SUIT_DIR_INVOKE);
	return seq_done(&s);
}

/* What a manifest key that the profile does not have is. */
static enum ota_err unknown_key(uint64_t key)
{
	switch (key) {
	case SUIT_DEPENDENCY_RESOLUTION:
	case SUIT_PAYLOAD_FETCH:
	case SUIT_CANDIDATE_VERIFICATION:
	case SUIT_COSWID:
		return OTA_SEVER;
	case SUIT_LOAD:
	case SUIT_UNINSTALL:
		return OTA_COMMAND;
	case SUIT_COMPONENT_ID:
		return OTA_COMPONENT;
	default:
		return OTA_CBOR;
	}
}

/* The members of the manifest, not looked into. */
struct members {
	struct ota_slice common, validate, invoke, install;
};

static enum ota_err read_version(struct cbor_in *in)
{
	uint64_t version = cbor_uint(in);

	if (in->err)
		return OTA_CBOR;
	return version == 1 ? OTA_OK : OTA_MANIFEST_VERSION;
}

static enum ota_err read_sequence(struct cbor_in *in, uint32_t *sequence)
{
	uint64_t n = cbor_uint(in);

	if (in->err)
		return OTA_CBOR;
	if (n > UINT32_MAX)
		return OTA_PARAM;
	*sequence = (uint32_t)n;
	return n > 0 ? OTA_OK : OTA_ROLLBACK;
}

/* A member that the draft lets be severed must stand in the manifest itself. */
static enum ota_err read_section(struct cbor_in *in, struct ota_slice *out)
{
	if (cbor_peek(in) == CBOR_ARRAY)
		return OTA_SEVER;
	*out = cbor_bstr(in);
	return in->err;
}

static enum ota_err read_text(struct cbor_in *in, struct suit_manifest *m)
{
	if (cbor_peek(in) != CBOR_ARRAY)
		return OTA_SEVER;
	m->has_text_digest = true;
	return read_digest(in, m->text_sha256);
}

static enum ota_err read_member(
	struct cbor_in *in, uint64_t key, struct members *parts, struct suit_manifest *m)
{
	switch (key) {
	case SUIT_SEQUENCE:
		return read_sequence(in, &m->sequence);
	case SUIT_COMMON:
		return read_section(in, &parts->common);
	case SUIT_VALIDATE:
		return read_section(in, &parts->validate);
	case SUIT_INVOKE:
		return read_section(in, &parts->invoke);
	case SUIT_INSTALL:
		return read_section(in, &parts->install);
	case SUIT_TEXT:
		return read_text(in, m);
	default:
		return unknown_key(key);
	}
}

static enum ota_err read_members(struct ota_slice manifest, struct members *parts, struct suit_manifest *m)
{
	struct cbor_in in;
	size_t left;
	int64_t last = -1;
	uint64_t key;
	enum ota_err err;

	if (cbor_check(manifest.p, manifest.len))
		return OTA_CBOR;
	cbor_in_init(&in, manifest.p, manifest.len);
	left = cbor_map(&in);
	if (!cbor_map_key(&in, &left, &last, &key))
		return OTA_CBOR;
	if (key != SUIT_VERSION)
		return OTA_MANIFEST_VERSION;
	err = read_version(&in);
	while (!err && cbor_map_key(&in, &left, &last, &key))
		err = read_member(&in, key, parts, m);
	return err ? err : cbor_done(&in);
}

enum ota_err suit_manifest_decode(struct ota_slice manifest, struct suit_manifest *out)
{
	struct suit_manifest m = {0};
	struct members parts = {0};
	enum ota_err err = read_members(manifest, &parts, &m);

	if (err)
		return err;
	if (m.sequence == 0)
		return OTA_CBOR;
	if (!parts.common.p)
		return OTA_COMPONENT;
	if (!parts.validate.p || !parts.install.p)
		return OTA_COMMAND;
	err = read_common(parts.common, &m);
	if (!err)
		err = read_validate(parts.validate, &m);
	if (!err)
		err = read_install(parts.install, &m);
	if (!err && parts.invoke.p)
		err = read_invoke(parts.invoke, &m);
	if (err)
		return err;
	m.invoke = parts.invoke.p != NULL;
	*out = m;
	return OTA_OK;
}
