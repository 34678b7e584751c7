#include "tests/unit/proto/util.h"

#include "proto/suit.h"

/* A release of one component, or of what `n` says, filled with plain values. */
static struct suit_manifest release(size_t n)
{
	static const char *const names[] = {"app", "net", "data", "boot"};
	struct suit_manifest m = {.sequence = 1767225600, .n_components = n};

	fill(m.vendor_id, 16, 0x10);
	fill(m.class_id, 16, 0x30);
	for (size_t i = 0; i < n; i++) {
		m.component[i].id_len = (uint8_t)strlen(names[i]);
		memcpy(m.component[i].id, names[i], m.component[i].id_len);
		m.component[i].n_images = 1;
		fill(m.component[i].image[0].sha256, 32, (uint8_t)(0x40 + i));
		m.component[i].image[0].size = 1547296 + (uint32_t)i;
	}
	return m;
}

static void make_fixed(struct suit_component *comp)
{
	comp->n_images = 2;
	fill(comp->image[1].sha256, 32, 0xa0);
	comp->image[1].size = 239220;
}

struct envelope {
	uint8_t manifest[SUIT_ENVELOPE_MAX];
	uint8_t digest[32];
	uint8_t bytes[SUIT_ENVELOPE_MAX];
	size_t manifest_len, len;
};

/* Sign with the test signers first..first + n - 1. */
static void make_envelope(const struct suit_manifest *m, unsigned first, size_t n, struct envelope *e)
{
	uint8_t blocks[SUIT_BLOCKS_MAX][128];
	struct ota_slice slices[SUIT_BLOCKS_MAX];
	const struct ota_crypto *c = crypto_openssl();
	struct ota_slice manifest;

	assert_err(suit_manifest_encode(m, e->manifest, sizeof e->manifest, &e->manifest_len), OTA_OK);
	manifest = (struct ota_slice){e->manifest, e->manifest_len};
	suit_manifest_digest(c, manifest, e->digest);
	for (size_t i = 0; i < n; i++) {
		slices[i].p = blocks[i];
		assert_err(suit_sign(c, test_signer(first + (unsigned)i), e->digest, blocks[i],
				   sizeof blocks[i], &slices[i].len),
			OTA_OK);
	}
	assert_err(suit_envelope_encode(c, manifest, slices, n, e->bytes, sizeof e->bytes, &e->len), OTA_OK);
}

/* A role of the test signers first..first + n - 1. */
struct role {
	struct cose_key key[8];
	struct cose_keyring ring;
};

static void make_role(struct role *r, unsigned first, size_t n, uint8_t threshold)
{
	r->ring = (struct cose_keyring){.n = n, .threshold = threshold};
	for (size_t i = 0; i < n; i++) {
		r->key[i] = test_key(test_signer(first + (unsigned)i));
		r->ring.key[i] = &r->key[i];
	}
}

/* The device's whole way: framing, threshold, profile. */
static enum ota_err accept(const uint8_t *bytes, size_t len, void *ctx)
{
	struct suit_envelope e;
	struct suit_manifest m;
	enum ota_err err = suit_envelope_decode(crypto_openssl(), bytes, len, &e);

	if (!err)
		err = suit_envelope_verify(crypto_openssl(), &e, ctx);
	if (!err)
		err = suit_manifest_decode(e.manifest, &m);
	return err;
}

static void check_round(const struct suit_manifest *m)
{
	uint8_t buf[SUIT_ENVELOPE_MAX];
	struct suit_manifest back;
	size_t len;

	assert_err(suit_manifest_encode(m, buf, sizeof buf, &len), OTA_OK);
	assert_err(suit_manifest_decode((struct ota_slice){buf, len}, &back), OTA_OK);
	assert_int_equal(back.sequence, m->sequence);
	assert_memory_equal(back.vendor_id, m->vendor_id, 16);
	assert_memory_equal(back.class_id, m->class_id, 16);
	assert_int_equal(back.has_device_id, m->has_device_id);
	assert_memory_equal(back.device_id, m->device_id, 16);
	assert_int_equal(back.invoke, m->invoke);
	assert_int_equal(back.has_text_digest, m->has_text_digest);
	assert_memory_equal(back.text_sha256, m->text_sha256, 32);
	assert_int_equal(back.n_components, m->n_components);
	for (size_t i = 0; i < m->n_components; i++) {
		const struct suit_component *a = &m->component[i], *b = &back.component[i];

		assert_true(suit_component_id_equal(a, b));
		assert_int_equal(a->n_images, b->n_images);
		for (size_t k = 0; k < a->n_images; k++) {
			assert_int_equal(a->image[k].size, b->image[k].size);
			assert_memory_equal(a->image[k].sha256, b->image[k].sha256, 32);
		}
	}
	/* Every cut of the manifest alone is refused too, and no buffer but one that fits is taken. */
	for (size_t n = 0; n < len; n++) {
		assert_err(suit_manifest_decode((struct ota_slice){buf, n}, &back), OTA_CBOR);
		assert_err(suit_manifest_encode(m, buf, n, &len), OTA_NO_SPACE);
		assert_err(suit_manifest_encode(m, buf, sizeof buf, &len), OTA_OK);
	}
}

static void round_trips(void **state)
{
	struct suit_manifest m = release(1);

	(void)state;
	check_round(&m);
	m.invoke = true;
	check_round(&m);
	m.has_text_digest = true;
	fill(m.text_sha256, 32, 0xc0);
	check_round(&m);
	m.has_device_id = true;
	fill(m.device_id, 16, 0x77);
	check_round(&m);
	make_fixed(&m.component[0]);
	check_round(&m);
	m = release(2);
	check_round(&m);
	make_fixed(&m.component[1]);
	m.invoke = true;
	m.has_device_id = true;
	check_round(&m);
	m = release(4);
	m.sequence = UINT32_MAX;
	m.component[3].image[0].size = UINT32_MAX;
	check_round(&m);
}

static void refuses_to_encode(void **state)
{
	uint8_t buf[SUIT_ENVELOPE_MAX];
	size_t len;
	struct suit_manifest good = release(2), m;

	(void)state;
	m = good;
	m.sequence = 0;
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
	m = good;
	m.n_components = 0;
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
	m.n_components = 5;
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
	m = good;
	m.component[1].image[0].size = 0;
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
	m = good;
	m.component[1].id_len = 0;
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
	m.component[1].id_len = 9;
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
	m = good;
	m.component[1] = m.component[0];
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
	m = good;
	m.component[0].n_images = 3;
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
	m.component[0].n_images = 0;
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_INVALID);
}

static void sizes(void **state)
{
	struct suit_manifest m = release(1);
	struct envelope e;

	(void)state;
	m.has_text_digest = true;
	make_envelope(&m, 0, 1, &e);
	print_message("one component, one signature: %zu bytes\n", e.len);
	assert_in_range(e.len, 300, 450);
	m = release(2);
	m.has_text_digest = true;
	make_envelope(&m, 0, 4, &e);
	print_message("two components, four signatures: %zu bytes\n", e.len);
	assert_in_range(e.len, 700, 900);
}

static void mutations(void **state)
{
	struct suit_manifest m = release(1);
	struct envelope e;
	struct role role;
	size_t n;

	(void)state;
	make_role(&role, 0, 1, 1);
	m.invoke = m.has_text_digest = true;
	make_envelope(&m, 0, 1, &e);
	n = try_bit_flips(e.bytes, e.len, accept, &role.ring);
	n += try_lengths(e.bytes, e.len, accept, &role.ring);
	m = release(2);
	make_fixed(&m.component[1]);
	make_role(&role, 0, 2, 2);
	make_envelope(&m, 0, 2, &e);
	n += try_lengths(e.bytes, e.len, accept, &role.ring);
	print_message("%zu mutations refused\n", n);
}

static void thresholds(void **state)
{
	static const struct {
		unsigned role_first;
		size_t role_n;
		uint8_t threshold;
		unsigned sign_first;
		size_t sign_n;
		enum ota_err want;
	} rows[] = {
		{0, 1, 1, 0, 1, OTA_OK}, {0, 1, 1, 1, 1, OTA_SIG}, /* a key of no role */
		{0, 1, 1, 0, 4, OTA_OK},                           /* unknown kids are skipped */
		{2, 2, 2, 0, 4, OTA_OK},                           /* wherever they stand */
		{0, 3, 2, 0, 1, OTA_THRESHOLD},
		{0, 3, 2, 2, 2, OTA_THRESHOLD}, /* only one of the two is of the role */
		{0, 4, 4, 0, 4, OTA_OK}, {0, 4, 4, 0, 3, OTA_THRESHOLD},
		{0, 4, 0, 0, 4, OTA_THRESHOLD}, /* a threshold of nothing is never reached */
	};
	struct suit_manifest m = release(1);

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct envelope e;
		struct role role;

		make_role(&role, rows[i].role_first, rows[i].role_n, rows[i].threshold);
		make_envelope(&m, rows[i].sign_first, rows[i].sign_n, &e);
		assert_err(accept(e.bytes, e.len, &role.ring), rows[i].want);
	}
}

/* Envelopes around blocks that somebody put together wrongly. */
static void bad_blocks(void **state)
{
	const struct ota_crypto *c = crypto_openssl();
	struct suit_manifest m = release(1);
	struct envelope e;
	struct role role;
	uint8_t a[128], b[128], other_digest[32], out[SUIT_ENVELOPE_MAX];
	struct ota_slice manifest, blocks[4];
	size_t len;

	(void)state;
	make_envelope(&m, 0, 0, &e);
	manifest = (struct ota_slice){e.manifest, e.manifest_len};
	make_role(&role, 0, 2, 2);

	/* No block at all. */
	assert_err(accept(e.bytes, e.len, &role.ring), OTA_SIG);

	/* The same key twice. */
	blocks[0].p = a;
	blocks[1].p = b;
	assert_err(suit_sign(c, test_signer(0), e.digest, a, sizeof a, &blocks[0].len), OTA_OK);
	assert_err(suit_sign(c, test_signer(0), e.digest, b, sizeof b, &blocks[1].len), OTA_OK);
	assert_err(suit_envelope_encode(c, manifest, blocks, 2, out, sizeof out, &len), OTA_OK);
	assert_err(accept(out, len, &role.ring), OTA_THRESHOLD);

	/* One good, one over another manifest. */
	memset(other_digest, 7, sizeof other_digest);
	assert_err(suit_sign(c, test_signer(1), other_digest, b, sizeof b, &blocks[1].len), OTA_OK);
	assert_err(suit_envelope_encode(c, manifest, blocks, 2, out, sizeof out, &len), OTA_OK);
	assert_err(accept(out, len, &role.ring), OTA_THRESHOLD);

	/* kid of one key, signature of another: the same key under two kids, and nothing of a kid alone. */
	assert_err(suit_sign(c, test_signer(0), e.digest, b, sizeof b, &blocks[1].len), OTA_OK);
	replace_once(b, blocks[1].len, test_signer(0)->kid, test_signer(1)->kid, OTA_KID_LEN);
	assert_err(suit_envelope_encode(c, manifest, blocks, 2, out, sizeof out, &len), OTA_OK);
	assert_err(accept(out, len, &role.ring), OTA_THRESHOLD);
	assert_err(suit_envelope_encode(c, manifest, blocks + 1, 1, out, sizeof out, &len), OTA_OK);
	assert_err(accept(out, len, &role.ring), OTA_SIG);

	/* Another label than a release has. */
	struct cbor_out w;
	uint8_t container[36] = {0x82, 0x2f, 0x58, 0x20};

	memcpy(container + 4, e.digest, 32);
	cbor_out_init(&w, b, sizeof b);
	assert_err(
		cose_put_sign1(&w, test_signer(0), "otad/ticket/1", (struct ota_slice){container, 36}, false),
		OTA_OK);
	blocks[1].len = w.len;
	make_role(&role, 0, 1, 1);
	assert_err(suit_envelope_encode(c, manifest, blocks + 1, 1, out, sizeof out, &len), OTA_OK);
	assert_err(accept(out, len, &role.ring), OTA_SIG);

	/* Attached payload. */
	uint8_t wide[256];
	struct ota_slice wide_block = {wide, 0};

	cbor_out_init(&w, wide, sizeof wide);
	assert_err(cose_put_sign1(&w, test_signer(0), "", (struct ota_slice){container, 36}, true), OTA_OK);
	wide_block.len = w.len;
	assert_err(suit_envelope_encode(c, manifest, &wide_block, 1, out, sizeof out, &len), OTA_OK);
	assert_err(accept(out, len, &role.ring), OTA_COSE);

	/* A MAC under the public key. */
	cbor_out_init(&w, wide, sizeof wide);
	assert_err(cose_put_mac0(&w, c, test_signer(0)->pub, NULL, "", (struct ota_slice){container, 36}),
		OTA_OK);
	wide_block.len = w.len;
	assert_err(suit_envelope_encode(c, manifest, &wide_block, 1, out, sizeof out, &len), OTA_OK);
	assert_err(accept(out, len, &role.ring), OTA_COSE);
	assert_err(suit_envelope_encode(c, manifest, blocks, 5, out, sizeof out, &len), OTA_INVALID);
}

static struct suit_target target(const struct suit_manifest *m)
{
	struct suit_target t = {.floor = 100, .n_components = m->n_components};

	memcpy(t.vendor_id, m->vendor_id, 16);
	memcpy(t.class_id, m->class_id, 16);
	for (size_t i = 0; i < m->n_components; i++) {
		memcpy(t.component[i].id, m->component[i].id, sizeof t.component[i].id);
		t.component[i].id_len = m->component[i].id_len;
		t.component[i].slot_size = 2 << 20;
	}
	return t;
}

static void runs(void **state)
{
	const struct suit_image *images[SUIT_COMPONENTS_MAX];
	struct suit_manifest m = release(2);
	struct suit_target good = target(&m), t;
	uint8_t digest[32];

	(void)state;
	fill(digest, 32, 0);
	make_fixed(&m.component[1]);
	assert_err(suit_run(&m, digest, &good, images), OTA_OK);
	assert_ptr_equal(images[0], &m.component[0].image[0]);
	assert_ptr_equal(images[1], &m.component[1].image[0]);
	t = good;
	t.slot = 1;
	assert_err(suit_run(&m, digest, &t, images), OTA_OK);
	assert_ptr_equal(images[0], &m.component[0].image[0]);
	assert_ptr_equal(images[1], &m.component[1].image[1]);

	t = good;
	t.floor = m.sequence;
	assert_err(suit_run(&m, digest, &t, images), OTA_OK);
	t.floor = m.sequence + 1;
	assert_err(suit_run(&m, digest, &t, images), OTA_ROLLBACK);
	t = good;
	t.has_running = true;
	t.running_sequence = m.sequence;
	assert_err(suit_run(&m, digest, &t, images), OTA_SEQ_REUSE);
	memcpy(t.running_digest, digest, 32);
	assert_err(suit_run(&m, digest, &t, images), OTA_ALREADY);
	t.floor = m.sequence + 1;
	assert_err(suit_run(&m, digest, &t, images), OTA_ROLLBACK);
	t = good;
	t.vendor_id[3] ^= 1;
	assert_err(suit_run(&m, digest, &t, images), OTA_VENDOR);
	t = good;
	t.class_id[15] ^= 1;
	assert_err(suit_run(&m, digest, &t, images), OTA_CLASS);
	t = good;
	t.n_components = 1;
	assert_err(suit_run(&m, digest, &t, images), OTA_COMPONENT);
	t = good;
	t.component[1].id[0] ^= 1;
	assert_err(suit_run(&m, digest, &t, images), OTA_COMPONENT);
	t = good;
	t.component[0].id_len--;
	assert_err(suit_run(&m, digest, &t, images), OTA_COMPONENT);
	t = good;
	t.component[0].slot_size = m.component[0].image[0].size;
	assert_err(suit_run(&m, digest, &t, images), OTA_OK);
	t.component[0].slot_size--;
	assert_err(suit_run(&m, digest, &t, images), OTA_SLOT_SIZE);
	m.has_device_id = true;
	fill(m.device_id, 16, 1);
	assert_err(suit_run(&m, digest, &good, images), OTA_DEVICE);
	t = good;
	memcpy(t.device_id, m.device_id, 16);
	assert_err(suit_run(&m, digest, &t, images), OTA_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(refuses_to_encode),
		cmocka_unit_test(sizes),
		cmocka_unit_test(mutations),
		cmocka_unit_test(thresholds),
		cmocka_unit_test(bad_blocks),
		cmocka_unit_test(runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
