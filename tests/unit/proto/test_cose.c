#include "tests/unit/proto/util.h"

static const char aad[] = "otad/test/1";

static struct ota_slice hello(void)
{
	return (struct ota_slice){(const uint8_t *)"hello", 5};
}

static size_t make_sign1(const struct ota_signer *s, bool attach, uint8_t *buf, size_t cap)
{
	struct cbor_out out;

	cbor_out_init(&out, buf, cap);
	assert_err(cose_put_sign1(&out, s, aad, hello(), attach), OTA_OK);
	assert_true(out.len <= 5 + COSE_SIGN1_OVERHEAD);
	return out.len;
}

static enum ota_err sign1_verdict(const uint8_t *bytes, size_t len, void *ctx)
{
	struct cose_msg m;
	enum ota_err err = cose_decode(bytes, len, &m);

	if (!err)
		err = cose_verify_sign1(crypto_openssl(), &m, ctx, aad, m.detached ? hello() : m.payload);
	return err;
}

static enum ota_err mac0_verdict(const uint8_t *bytes, size_t len, void *ctx)
{
	struct cose_msg m;
	enum ota_err err = cose_decode(bytes, len, &m);

	if (!err)
		err = cose_verify_mac0(crypto_openssl(), &m, ctx, aad, m.payload);
	return err;
}

static void sign1(void **state)
{
	const struct ota_signer *signer[] = {test_signer(0), test_signer_ed25519()};
	uint8_t buf[128];

	(void)state;
	for (size_t i = 0; i < LEN(signer); i++) {
		struct cose_key key = test_key(signer[i]), other = test_key(signer[1 - i]);

		for (int attach = 0; attach <= 1; attach++) {
			size_t len = make_sign1(signer[i], attach, buf, sizeof buf);
			struct cose_msg m;

			try_bit_flips(buf, len, sign1_verdict, &key);
			try_lengths(buf, len, sign1_verdict, &key);
			assert_err(sign1_verdict(buf, len, &other), OTA_ALG);
			assert_err(cose_decode(buf, len, &m), OTA_OK);
			assert_false(m.is_mac);
			assert_true(m.has_kid);
			assert_int_equal(m.alg, signer[i]->alg);
			assert_int_equal(m.detached, !attach);
			assert_memory_equal(m.kid, signer[i]->kid, OTA_KID_LEN);
			assert_err(cose_verify_sign1(crypto_openssl(), &m, &key, "otad/test/2", hello()),
				OTA_SIG);
			assert_err(cose_verify_sign1(crypto_openssl(), &m, &key, "", hello()), OTA_SIG);
			assert_err(cose_verify_mac0(crypto_openssl(), &m, buf, aad, hello()), OTA_COSE);
		}
	}
}

static void mac0(void **state)
{
	uint8_t key[32], kid[8], buf[128];
	struct cose_key as_key = test_key(test_signer(0));

	(void)state;
	fill(key, 32, 1);
	fill(kid, 8, 2);
	for (int with_kid = 0; with_kid <= 1; with_kid++) {
		struct cbor_out out;
		struct cose_msg m;

		cbor_out_init(&out, buf, sizeof buf);
		assert_err(cose_put_mac0(&out, crypto_openssl(), key, with_kid ? kid : NULL, aad, hello()),
			OTA_OK);
		try_bit_flips(buf, out.len, mac0_verdict, key);
		try_lengths(buf, out.len, mac0_verdict, key);
		assert_err(cose_decode(buf, out.len, &m), OTA_OK);
		assert_true(m.is_mac);
		assert_int_equal(m.has_kid, with_kid);
		assert_err(cose_verify_sign1(crypto_openssl(), &m, &as_key, aad, m.payload), OTA_COSE);
		for (size_t cap = 0; cap < out.len; cap++) {
			struct cbor_out small;
			uint8_t *exact = malloc(cap + 1);

			cbor_out_init(&small, exact, cap);
			assert_err(cose_put_mac0(&small, crypto_openssl(), key, with_kid ? kid : NULL, aad,
					   hello()),
				OTA_NO_SPACE);
			cbor_out_init(&small, exact, cap);
			assert_err(cose_put_sign1(&small, test_signer(0), aad, hello(), true), OTA_NO_SPACE);
			free(exact);
		}
	}
}

/* Framing: everything that is CBOR but not exactly our form. SIG and MAC stand for good bytes of that length.
 */
#define SIG "5840" Z32 Z32
#define MAC "5820" Z32
#define Z8 "0000000000000000"
#define Z32 Z8 Z8 Z8 Z8
#define KID "0448" Z8

static void framing(void **state)
{
	static const struct {
		const char *hex;
		enum ota_err want;
	} rows[] = {
		{"d2 84 4d a20128" KID " a0 f6 " SIG, OTA_OK},
		{"d2 84 4d a20132" KID " a0 43 010203 " SIG, OTA_OK},
		{"d1 84 43 a10105 a0 43 010203 " MAC, OTA_OK},
		{"d1 84 4d a20105" KID " a0 43 010203 " MAC, OTA_OK},
		{"84 4d a20128" KID " a0 f6 " SIG, OTA_COSE},      /* untagged */
		{"d862 84 4d a20128" KID " a0 f6 " SIG, OTA_COSE}, /* COSE_Sign */
		{"d861 84 43 a10105 a0 43 010203 " MAC, OTA_COSE}, /* COSE_Mac */
		{"d2 d2 84 4d a20128" KID " a0 f6 " SIG, OTA_COSE},
		{"d2 84 43 a10128 a0 f6 " SIG, OTA_COSE},                 /* no kid */
		{"d2 84 40 a0 f6 " SIG, OTA_COSE},                        /* no header */
		{"d2 84 4b a1" KID " a0 f6 " SIG, OTA_COSE},              /* no alg */
		{"d2 84 4b a1" KID " a10128 f6 " SIG, OTA_COSE},          /* alg unprotected */
		{"d2 84 4d a20128" KID " a1182100 f6 " SIG, OTA_COSE},    /* something unprotected */
		{"d2 84 50 a30128" KID "182100 a0 f6 " SIG, OTA_COSE},    /* a further label */
		{"d2 84 50 a3 0128 028104 " KID " a0 f6 " SIG, OTA_COSE}, /* crit */
		{"d2 84 4d a20126" KID " a0 f6 " SIG, OTA_ALG},           /* ES256: generic mode only */
		{"d2 84 4d a20105" KID " a0 f6 " SIG, OTA_ALG},
		{"d2 84 4d a20100" KID " a0 f6 " SIG, OTA_ALG},
		{"d2 84 4e a201382d" KID " a0 f6 " SIG, OTA_ALG}, /* -46 */
		{"d1 84 43 a10104 a0 43 010203 " MAC, OTA_ALG},   /* HMAC 256/64 */
		{"d1 84 43 a10128 a0 43 010203 " MAC, OTA_ALG},
		{"d2 84 4c a2012804 47 00000000000000 a0 f6 " SIG, OTA_COSE},
		{"d2 84 4e a2012804 49 000000000000000000 a0 f6 " SIG, OTA_COSE},
		{"d2 84 52 a2 01 65 4553323536 " KID " a0 f6 " SIG, OTA_COSE}, /* alg as text */
		{"d2 84 4d a20128" KID " a0 f6 583f" Z32 Z8 Z8 Z8 "00000000000000", OTA_SIG},
		{"d2 84 4d a20128" KID " a0 f6 5841" Z32 Z32 "00", OTA_SIG},
		{"d2 84 4d a20128" KID " a0 f6 40", OTA_SIG},
		{"d1 84 43 a10105 a0 43 010203 48" Z8, OTA_SIG}, /* a short tag */
		{"d2 83 4d a20128" KID " a0 f6", OTA_COSE},
		{"d2 85 4d a20128" KID " a0 f6 " SIG "00", OTA_COSE},
		{"d2 84 4d a20128" KID " a0 f4 " SIG, OTA_COSE},
		{"d2 84 a20128" KID " a0 f6 " SIG, OTA_COSE},       /* header not wrapped */
		{"d2 84 4d a20448" Z8 "0128 a0 f6 " SIG, OTA_CBOR}, /* unsorted */
		{"d2 84 45 a201280128 a0 f6 " SIG, OTA_CBOR},       /* twice */
		{"d2 84 4e a2013808" KID " a0 f6 " SIG, OTA_CBOR},  /* -9 in two bytes */
		{"d2 84 4e a20128" KID "00 a0 f6 " SIG, OTA_CBOR},
		{"d8 12 84 4d a20128" KID " a0 f6 " SIG, OTA_CBOR}, /* tag 18 in two bytes */
		{"d2 9f 4d a20128" KID " a0 f6 " SIG "ff", OTA_CBOR},
		{"80", OTA_COSE},
		{"", OTA_CBOR},
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		uint8_t bytes[256];
		size_t len = from_hex(rows[i].hex, bytes, sizeof bytes);
		struct cose_msg m;

		if (cose_decode(bytes, len, &m) != rows[i].want)
			print_error("row %zu: %s\n", i, rows[i].hex);
		assert_err(cose_decode(bytes, len, &m), rows[i].want);
	}
}

static void rings(void **state)
{
	struct cose_key key[3] = {
		test_key(test_signer(0)), test_key(test_signer(1)), test_key(test_signer_ed25519())};
	struct cose_keyring ring = {.key = {&key[0], &key[1], &key[2]}, .n = 3, .threshold = 2};
	const struct ota_crypto *c = crypto_openssl();
	uint8_t buf[4][128];
	struct cose_msg m[4], many[9];
	size_t len;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		len = make_sign1(
			i == 2 ? test_signer_ed25519() : test_signer(i), false, buf[i], sizeof buf[i]);
		assert_err(cose_decode(buf[i], len, &m[i]), OTA_OK);
		assert_err(cose_verify_ring(c, &m[i], &ring, aad, hello()), i == 3 ? OTA_SIG : OTA_OK);
	}
	assert_err(cose_verify_threshold(c, m, 4, &ring, aad, hello()), OTA_OK);
	assert_err(cose_verify_threshold(c, m + 2, 2, &ring, aad, hello()), OTA_THRESHOLD);
	assert_err(cose_verify_threshold(c, m + 3, 1, &ring, aad, hello()), OTA_SIG);
	assert_err(cose_verify_threshold(c, m, 0, &ring, aad, hello()), OTA_SIG);
	assert_err(cose_verify_threshold(c, m, 4, &ring, "otad/test/2", hello()), OTA_SIG);
	/* Bounded: more blocks than anybody needs are not looked at. */
	for (size_t i = 0; i < LEN(many); i++)
		many[i] = m[0];
	assert_err(cose_verify_threshold(c, many, 8, &ring, aad, hello()), OTA_THRESHOLD);
	assert_err(cose_verify_threshold(c, many, 9, &ring, aad, hello()), OTA_COSE);
	/* A kid whose key is of another algorithm. */
	key[0].alg = OTA_ALG_ED25519;
	assert_err(cose_verify_ring(c, &m[0], &ring, aad, hello()), OTA_ALG);
	assert_err(cose_verify_threshold(c, m, 1, &ring, aad, hello()), OTA_ALG);
	assert_err(cose_verify_threshold(c, m, 2, &ring, aad, hello()), OTA_THRESHOLD);
	/* An attached block where only detached ones belong. */
	len = make_sign1(test_signer(0), true, buf[0], sizeof buf[0]);
	assert_err(cose_decode(buf[0], len, &m[0]), OTA_OK);
	assert_err(cose_verify_threshold(c, m, 2, &ring, aad, hello()), OTA_COSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(sign1), cmocka_unit_test(mac0),
		cmocka_unit_test(framing), cmocka_unit_test(rings)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
