#include "tests/unit/proto/util.h"

static void hashes(void **state)
{
	/* FIPS 180-4's "abc", and the empty message. */
	static const uint8_t abc[] = "abc";
	const struct ota_crypto *c = crypto_openssl();
	const struct ota_slice whole[] = {{abc, 3}}, pieces[] = {{abc, 1}, {NULL, 0}, {abc + 1, 2}};
	struct ota_sha256 h, copy;
	uint8_t out[32], again[32];

	(void)state;
	ota_sha256(c, whole, 1, out);
	assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	ota_sha256(c, pieces, 3, out);
	assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	ota_sha256(c, NULL, 0, out);
	assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	/* A running hash is a value: its copy goes on by itself. */
	c->sha256_init(&h);
	c->sha256_update(&h, abc, 1);
	copy = h;
	c->sha256_update(&h, abc + 1, 2);
	c->sha256_final(&h, out);
	c->sha256_update(&copy, abc + 1, 2);
	c->sha256_final(&copy, again);
	assert_memory_equal(out, again, 32);
}

static void macs(void **state)
{
	/* RFC 4231, test cases 1, 6 (key longer than a block). */
	static const uint8_t hi[] = "Hi There",
			     long_text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
	const struct ota_crypto *c = crypto_openssl();
	uint8_t key[131], out[32];
	struct ota_slice part = {hi, sizeof hi - 1};

	(void)state;
	memset(key, 0x0b, 20);
	ota_hmac(c, key, 20, &part, 1, out);
	assert_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	memset(key, 0xaa, sizeof key);
	part = (struct ota_slice){long_text, sizeof long_text - 1};
	ota_hmac(c, key, sizeof key, &part, 1, out);
	assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void helpers(void **state)
{
	uint8_t a[32], b[32];

	(void)state;
	fill(a, 32, 1);
	fill(b, 32, 1);
	assert_true(ota_ct_equal(a, b, 32));
	assert_true(ota_ct_equal(a, b, 0));
	for (size_t i = 0; i < 32; i++) {
		b[i] ^= 0x80;
		assert_false(ota_ct_equal(a, b, 32));
		b[i] ^= 0x80;
	}
	ota_wipe(a + 1, 30);
	assert_int_equal(a[0], 1);
	assert_int_equal(a[1], 0);
	assert_int_equal(a[30], 0);
	assert_int_equal(a[31], 32);
	assert_int_equal(ota_text("").len, 0);
	assert_int_equal(ota_text("otad").len, 4);
	memset(a, 0, sizeof a);
	memset(b, 0, sizeof b);
	assert_err(crypto_random(a, sizeof a), OTA_OK);
	assert_err(crypto_random(b, sizeof b), OTA_OK);
	assert_memory_not_equal(a, b, sizeof a);
}

/* Sign and verify with what a PEM round trip gives back. */
static void check_pem(int alg, const char *passphrase)
{
	static const uint8_t text[] = "message";
	const struct ota_slice parts[] = {{text, 3}, {text + 3, 4}};
	struct ota_signer made = {0}, back = {0};
	uint8_t sig[OTA_SIG_LEN], pub[OTA_PUB_MAX];
	size_t len, pub_len;
	char *pem;
	int pub_alg;

	assert_err(crypto_signer_generate(alg, &made), OTA_OK);
	assert_int_equal(made.alg, alg);
	assert_err(crypto_signer_to_pem(&made, passphrase, &pem, &len), OTA_OK);
	assert_int_equal(strlen(pem), len);
	assert_int_equal(strstr(pem, "ENCRYPTED") != NULL, passphrase != NULL);
	if (passphrase) {
		assert_err(crypto_signer_from_pem(pem, len, NULL, &back), OTA_DENIED);
		assert_err(crypto_signer_from_pem(pem, len, "", &back), OTA_DENIED);
		assert_err(crypto_signer_from_pem(pem, len, "wrong", &back), OTA_DENIED);
		assert_err(crypto_pub_from_pem(pem, len, &pub_alg, pub, &pub_len), OTA_INVALID);
	} else {
		assert_err(crypto_pub_from_pem(pem, len, &pub_alg, pub, &pub_len), OTA_OK);
		assert_int_equal(pub_alg, alg);
		assert_int_equal(pub_len, made.pub_len);
		assert_memory_equal(pub, made.pub, pub_len);
	}
	assert_null(back.ctx);
	assert_err(crypto_signer_from_pem(pem, len, passphrase, &back), OTA_OK);
	free(pem);
	assert_int_equal(back.alg, alg);
	assert_int_equal(back.pub_len, made.pub_len);
	assert_memory_equal(back.pub, made.pub, made.pub_len);
	assert_memory_equal(back.kid, made.kid, OTA_KID_LEN);
	assert_err(back.sign(back.ctx, parts, 2, sig), OTA_OK);
	assert_err(crypto_openssl()->verify(alg, made.pub, made.pub_len, parts, 2, sig), OTA_OK);
	assert_err(crypto_openssl()->verify(alg, made.pub, made.pub_len, parts, 1, sig), OTA_SIG);
	assert_err(crypto_openssl()->verify(alg, made.pub, made.pub_len - 1, parts, 2, sig), OTA_ALG);
	assert_err(crypto_openssl()->verify(-46, made.pub, made.pub_len, parts, 2, sig), OTA_ALG);
	crypto_signer_release(&made);
	crypto_signer_release(&back);
	crypto_signer_release(&back);
}

static void pems(void **state)
{
	struct ota_signer s = {0};
	uint8_t pub[OTA_PUB_MAX];
	size_t pub_len;
	int alg;
	/* An RSA public key is a PEM, but of no algorithm of ours. */
	static const char rsa[] = "-----BEGIN PUBLIC KEY-----\n"
				  "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDBhaLXahqw6JOxvSMq9a/CW2qs\n"
				  "wY/8jHpiJu+qqOQI0cqKgNBZoTzN5v0OvWDT0TZ09sVxshvxLVqnVcvB0uLc8ewx\n"
				  "uQ4T+B4b3s2LGdsSPX8P2tE7eiDf3MwPAGYpP0D7BbXqecOl4TDwQ+yTwkiO2mhW\n"
				  "m/JK7AcYeVHMnk2ZdwIDAQAB\n"
				  "-----END PUBLIC KEY-----\n";

	(void)state;
	check_pem(OTA_ALG_ESP256, NULL);
	check_pem(OTA_ALG_ESP256, "correct horse");
	check_pem(OTA_ALG_ED25519, NULL);
	check_pem(OTA_ALG_ED25519, "pass with \xc3\xa4 and spaces");
	assert_err(crypto_signer_generate(OTA_ALG_ES256, &s), OTA_ALG);
	assert_err(crypto_signer_from_pem("", 0, NULL, &s), OTA_INVALID);
	assert_err(crypto_signer_from_pem("nonsense", 8, "x", &s), OTA_INVALID);
	assert_err(crypto_signer_from_pem(rsa, sizeof rsa - 1, NULL, &s), OTA_INVALID);
	assert_err(crypto_pub_from_pem(rsa, sizeof rsa - 1, &alg, pub, &pub_len), OTA_INVALID);
	assert_err(crypto_pub_from_pem("nonsense", 8, &alg, pub, &pub_len), OTA_INVALID);
	assert_null(s.ctx);
}

static void weak_keys(void **state)
{
	/* Points of small order, with and without the sign bit, and encodings of y >= p: under each of them
	 * the signature R = the point, S = 0 fits a share of all messages. */
	static const char *const weak[] = {
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	};
	static const uint8_t r[][32] = {{1}, {0}};

	(void)state;
	for (size_t i = 0; i < LEN(weak); i++) {
		uint8_t pub[32], sig[OTA_SIG_LEN];

		from_hex(weak[i], pub, sizeof pub);
		for (unsigned m = 0; m < 64; m++) {
			uint8_t text = (uint8_t)m;
			struct ota_slice part = {&text, 1};

			memset(sig, 0, sizeof sig);
			memcpy(sig, m % 3 == 2 ? pub : r[m % 3], 32);
			assert_err(
				crypto_openssl()->verify(OTA_ALG_ED25519, pub, 32, &part, 1, sig), OTA_SIG);
		}
	}
}

static void point_forms(void **state)
{
	/* SEC 1's hybrid form says the same point with another first byte: a second kid for one key. */
	const struct ota_signer *s = test_signer(0);
	struct ota_slice part = {s->kid, sizeof s->kid};
	uint8_t pub[OTA_P256_PUB_LEN], sig[OTA_SIG_LEN];

	(void)state;
	assert_err(s->sign(s->ctx, &part, 1, sig), OTA_OK);
	memcpy(pub, s->pub, sizeof pub);
	assert_err(crypto_openssl()->verify(s->alg, pub, sizeof pub, &part, 1, sig), OTA_OK);
	pub[0] = (uint8_t)(0x06 | (pub[64] & 1));
	assert_err(crypto_openssl()->verify(s->alg, pub, sizeof pub, &part, 1, sig), OTA_SIG);
	/* No point of the curve. */
	pub[0] = 0x04;
	pub[64] ^= 1;
	assert_err(crypto_openssl()->verify(s->alg, pub, sizeof pub, &part, 1, sig), OTA_SIG);
	memset(pub + 1, 0, sizeof pub - 1);
	assert_err(crypto_openssl()->verify(s->alg, pub, sizeof pub, &part, 1, sig), OTA_SIG);
}

static void long_messages(void **state)
{
	static uint8_t text[2049];
	const struct ota_signer *s = test_signer_ed25519();
	struct ota_slice part = {text, 2048};
	uint8_t sig[OTA_SIG_LEN];

	(void)state;
	assert_err(s->sign(s->ctx, &part, 1, sig), OTA_OK);
	assert_err(crypto_openssl()->verify(s->alg, s->pub, s->pub_len, &part, 1, sig), OTA_OK);
	part.len++;
	assert_err(crypto_openssl()->verify(s->alg, s->pub, s->pub_len, &part, 1, sig), OTA_SIG);
	assert_err(s->sign(s->ctx, &part, 1, sig), OTA_INVALID);
}

static void malleable(void **state)
{
	/* (r, n - s) is the same signature to ECDSA: this is why no identity is ever taken from signature
	 * bytes. */
	static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9,
		0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
	const struct ota_signer *s = test_signer(0);
	struct ota_slice part = {order, 5};
	uint8_t sig[OTA_SIG_LEN];
	unsigned borrow = 0;

	(void)state;
	assert_err(s->sign(s->ctx, &part, 1, sig), OTA_OK);
	for (size_t i = 32; i-- > 0;) {
		unsigned v = 0x100u + order[i] - sig[32 + i] - borrow;

		sig[32 + i] = (uint8_t)v;
		borrow = v < 0x100;
	}
	assert_err(crypto_openssl()->verify(s->alg, s->pub, s->pub_len, &part, 1, sig), OTA_OK);
	memset(sig + 32, 0, 32);
	assert_err(crypto_openssl()->verify(s->alg, s->pub, s->pub_len, &part, 1, sig), OTA_SIG);
	memset(sig, 0, 64);
	assert_err(crypto_openssl()->verify(s->alg, s->pub, s->pub_len, &part, 1, sig), OTA_SIG);
	memset(sig, 0xff, 64);
	assert_err(crypto_openssl()->verify(s->alg, s->pub, s->pub_len, &part, 1, sig), OTA_SIG);
}

/* RFC 9562, A.4. */
static void named_uuid(void **state)
{
	static const uint8_t dns[16] = {0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00,
		0xc0, 0x4f, 0xd4, 0x30, 0xc8};
	static const uint8_t want[16] = {0x2e, 0xd6, 0x65, 0x7d, 0xe9, 0x27, 0x56, 0x8b, 0x95, 0xe1, 0x26,
		0x65, 0xa8, 0xae, 0xa6, 0xa2};
	uint8_t got[16];

	(void)state;
	crypto_uuid5(dns, "www.example.com", 15, got);
	assert_memory_equal(got, want, sizeof want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes),
		cmocka_unit_test(macs),
		cmocka_unit_test(helpers),
		cmocka_unit_test(named_uuid),
		cmocka_unit_test(pems),
		cmocka_unit_test(weak_keys),
		cmocka_unit_test(point_forms),
		cmocka_unit_test(long_messages),
		cmocka_unit_test(malleable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
