#include "tests/unit/proto/util.h"

#include "proto/suit_generic.h"

/* The examples of draft-ietf-suit-manifest-37 and what is in them. */
static const struct {
	const char *name;
	uint64_t sequence;
	size_t n_components;
	bool has_install, has_invoke, has_load, has_severed;
} signed_examples[] = {
	{"example0", 0, 1, false, true, false, false},
	{"example1", 1, 1, true, false, false, false},
	{"example2", 2, 1, true, true, false, true},
	{"example2-severed", 2, 1, true, true, false, true},
	{"example3", 3, 1, true, false, false, false},
	{"example4", 4, 3, true, true, true, false},
	{"example5", 5, 2, true, true, false, false},
};

static const char *const unsigned_examples[] = {
	"example0", "example1", "example2-severed", "example3", "example4", "example5"};

static struct cose_key draft_key(void)
{
	static uint8_t pub[OTA_PUB_MAX];
	size_t len, pub_len;
	int alg;
	uint8_t *pem = shared_file("vectors/suit/trust_anchor_secp256r1_pub.pem", &len);
	struct cose_key key = {0};

	assert_non_null(pem);
	assert_err(crypto_pub_from_pem(pem, len, &alg, pub, &pub_len), OTA_OK);
	free(pem);
	assert_int_equal(alg, OTA_ALG_ESP256);
	key.alg = alg;
	key.pub = (struct ota_slice){pub, pub_len};
	ota_kid(crypto_openssl(), pub, pub_len, key.kid);
	return key;
}

static uint8_t *example(const char *name, const char *kind, size_t *len)
{
	char path[128];
	uint8_t *bytes;

	snprintf(path, sizeof path, "vectors/suit/draft37-%s-%s.suit", name, kind);
	bytes = shared_file(path, len);
	assert_non_null(bytes);
	return bytes;
}

static enum ota_err generic(const uint8_t *bytes, size_t len, void *ctx)
{
	struct suit_generic g;

	return suit_generic_verify(crypto_openssl(), bytes, len, ctx, &g);
}

/* The whole way of a device that trusts the draft's key as its release key. */
static enum ota_err profile(const uint8_t *bytes, size_t len, void *ctx)
{
	struct suit_envelope e;
	struct suit_manifest m;
	struct cose_keyring ring = {.key = {ctx}, .n = 1, .threshold = 1};
	enum ota_err err = suit_envelope_decode(crypto_openssl(), bytes, len, &e);

	if (!err)
		err = suit_envelope_verify(crypto_openssl(), &e, &ring);
	if (!err)
		err = suit_manifest_decode(e.manifest, &m);
	return err;
}

static void signed_verify(void **state)
{
	static const uint8_t vendor[16] = {0xfa, 0x6b, 0x4a, 0x53, 0xd5, 0xad, 0x5f, 0xdf, 0xbe, 0x9d, 0xe6,
		0x63, 0xe4, 0xd4, 0x1f, 0xfe};
	struct cose_key key = draft_key();

	(void)state;
	for (size_t i = 0; i < LEN(signed_examples); i++) {
		size_t len;
		uint8_t *bytes = example(signed_examples[i].name, "signed", &len);
		struct suit_generic g;

		assert_err(suit_generic_verify(crypto_openssl(), bytes, len, &key, &g), OTA_OK);
		assert_int_equal(g.sequence, signed_examples[i].sequence);
		assert_int_equal(g.n_components, signed_examples[i].n_components);
		assert_int_equal(g.n_blocks, 1);
		assert_true(g.has_validate && g.has_vendor && g.has_class);
		assert_memory_equal(g.vendor_id, vendor, 16);
		assert_int_equal(g.has_install, signed_examples[i].has_install);
		assert_int_equal(g.has_invoke, signed_examples[i].has_invoke);
		assert_int_equal(g.has_load, signed_examples[i].has_load);
		assert_int_equal(g.has_severed, signed_examples[i].has_severed);
		/* An envelope that only generic mode takes is refused by a device. */
		assert_true(profile(bytes, len, &key) != OTA_OK);
		free(bytes);
	}
}

static void unsigned_refused(void **state)
{
	struct cose_key key = draft_key();

	(void)state;
	for (size_t i = 0; i < LEN(unsigned_examples); i++) {
		size_t len;
		uint8_t *bytes = example(unsigned_examples[i], "unsigned", &len);

		assert_err(generic(bytes, len, &key), OTA_SIG);
		assert_err(profile(bytes, len, &key), OTA_SIG);
		free(bytes);
	}
}

static void flips_and_cuts(void **state)
{
	struct cose_key key = draft_key();
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < LEN(signed_examples); i++) {
		size_t len;
		uint8_t *bytes = example(signed_examples[i].name, "signed", &len);

		n += try_bit_flips(bytes, len, generic, &key);
		n += try_lengths(bytes, len, generic, &key);
		free(bytes);
	}
	print_message("%zu mutations refused\n", n);
}

static void other_key(void **state)
{
	struct cose_key key = test_key(test_signer(0)), ed = test_key(test_signer_ed25519());
	size_t len;
	uint8_t *bytes = example("example1", "signed", &len);

	(void)state;
	assert_err(generic(bytes, len, &key), OTA_SIG);
	assert_err(generic(bytes, len, &ed), OTA_SIG);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signed_verify),
		cmocka_unit_test(unsigned_refused),
		cmocka_unit_test(flips_and_cuts),
		cmocka_unit_test(other_key),
	};

	need_shared();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
