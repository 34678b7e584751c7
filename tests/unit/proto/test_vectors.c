#include "tests/unit/proto/util.h"

#include <jansson.h>

#include "proto/cbor.h"

/* Other people's vectors, read from the shared data: Wycheproof's verdicts on signatures and MACs, and the
 * examples of RFC 8949 appendix A. */

static size_t field(json_t *object, const char *name, uint8_t *buf, size_t cap)
{
	const char *hex = json_string_value(json_object_get(object, name));

	assert_non_null(hex);
	assert_true(strlen(hex) <= 2 * cap);
	return from_hex(hex, buf, cap);
}

static json_t *load(const char *name)
{
	size_t len;
	uint8_t *text = shared_file(name, &len);
	json_error_t error;
	/* As reals: the appendix has integers that no int64 holds; the counts are small. */
	json_t *root;

	assert_non_null(text);
	root = json_loadb((const char *)text, len, JSON_DECODE_INT_AS_REAL, &error);
	free(text);
	assert_non_null(root);
	return root;
}

/* Is our verdict the file's? "acceptable" may be either. */
static void judge(json_t *test, bool is_valid, size_t *n)
{
	const char *want = json_string_value(json_object_get(test, "result"));
	double id = json_number_value(json_object_get(test, "tcId"));

	assert_non_null(want);
	*n += 1;
	if (strcmp(want, "acceptable") == 0 || is_valid == (strcmp(want, "valid") == 0))
		return;
	print_error("tcId %.0f: want %s\n", id, want);
	fail();
}

static void signatures(const char *name, int alg, const char *key_field, const char *pub_field)
{
	json_t *root = load(name), *groups = json_object_get(root, "testGroups"), *group, *test;
	size_t i, j, n = 0;

	json_array_foreach(groups, i, group)
	{
		uint8_t pub[OTA_PUB_MAX + 8];
		size_t pub_len = field(json_object_get(group, key_field), pub_field, pub, sizeof pub);

		json_array_foreach(json_object_get(group, "tests"), j, test)
		{
			static uint8_t msg[4096];
			uint8_t sig[256];
			size_t sig_len = field(test, "sig", sig, sizeof sig);
			struct ota_slice part = {msg, field(test, "msg", msg, sizeof msg)};

			/* Another length never gets as far as a verification: COSE refuses it. */
			judge(test,
				sig_len == OTA_SIG_LEN &&
					crypto_openssl()->verify(alg, pub, pub_len, &part, 1, sig) == OTA_OK,
				&n);
		}
	}
	assert_int_equal(n, (size_t)json_number_value(json_object_get(root, "numberOfTests")));
	print_message("%zu cases\n", n);
	json_decref(root);
}

static void p256(void **state)
{
	(void)state;
	signatures("vectors/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json", OTA_ALG_ESP256, "publicKey",
		"uncompressed");
}

static void ed25519(void **state)
{
	(void)state;
	signatures("vectors/wycheproof/ed25519_test.json", OTA_ALG_ED25519, "publicKey", "pk");
}

static void hmac(void **state)
{
	json_t *root = load("vectors/wycheproof/hmac_sha256_test.json"), *group, *test;
	size_t i, j, n = 0;

	(void)state;
	json_array_foreach(json_object_get(root, "testGroups"), i, group)
	{
		size_t tag_len = (size_t)json_number_value(json_object_get(group, "tagSize")) / 8;

		json_array_foreach(json_object_get(group, "tests"), j, test)
		{
			static uint8_t msg[4096];
			uint8_t key[256], tag[64], got[32];
			size_t key_len = field(test, "key", key, sizeof key);
			size_t len = field(test, "tag", tag, sizeof tag);
			struct ota_slice part = {msg, field(test, "msg", msg, sizeof msg)};

			ota_hmac(crypto_openssl(), key, key_len, &part, 1, got);
			judge(test, len == tag_len && len <= 32 && ota_ct_equal(got, tag, len), &n);
		}
	}
	assert_int_equal(n, (size_t)json_number_value(json_object_get(root, "numberOfTests")));
	print_message("%zu cases\n", n);
	json_decref(root);
}

/* Outside the deterministic subset that we read: floats, simple values but false, true and null, and
 * indefinite lengths. Everything else in the appendix is taken. */
static bool is_outside(const char *hex)
{
	static const char *const simple[] = {"f7", "f0", "f818", "f8ff"};
	size_t len = strlen(hex);

	if (strncmp(hex, "f9", 2) == 0 || strncmp(hex, "fa", 2) == 0 || strncmp(hex, "fb", 2) == 0)
		return true;
	for (size_t i = 0; i < LEN(simple); i++) {
		if (strcmp(hex, simple[i]) == 0)
			return true;
	}
	if (strncmp(hex, "c1fb", 4) == 0) /* a date as a float */
		return true;
	/* In this file nothing else ends in a break or opens with one of these. */
	return len >= 2 && strcmp(hex + len - 2, "ff") == 0 && strcmp(hex, "1bffffffffffffffff") != 0 &&
	       strcmp(hex, "3bffffffffffffffff") != 0;
}

static void appendix_a(void **state)
{
	json_t *root = load("vectors/cbor/appendix_a.json"), *test;
	size_t i, taken = 0, refused = 0;

	(void)state;
	json_array_foreach(root, i, test)
	{
		const char *hex = json_string_value(json_object_get(test, "hex"));
		uint8_t bytes[256];
		size_t len = from_hex(hex, bytes, sizeof bytes);
		/* An indefinite length anywhere inside counts, wherever its break is. */
		bool refuse = is_outside(hex) || strcmp(hex, "83018202039f0405ff") == 0 ||
			      strcmp(hex, "83019f0203ff820405") == 0 ||
			      strcmp(hex, "826161bf61626163ff") == 0;

		if (cbor_check(bytes, len) != (refuse ? OTA_CBOR : OTA_OK)) {
			print_error("%s\n", hex);
			fail();
		}
		refused += refuse;
		taken += !refuse;
		if (refuse)
			print_message("outside: %s\n", hex);
	}
	print_message("%zu taken, %zu refused\n", taken, refused);
	assert_true(taken > 40);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(p256),
		cmocka_unit_test(ed25519),
		cmocka_unit_test(hmac),
		cmocka_unit_test(appendix_a),
	};

	need_shared();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
