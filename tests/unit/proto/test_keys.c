#include "tests/unit/proto/util.h"

/* Values computed by another implementation (tests/tools/otaproto.py); docs/protocol.md prints some of them.
 */
static void values(void **state)
{
	const struct ota_crypto *c = crypto_openssl();
	uint8_t k[KEY_LEN], id[16], nonce_d[16], nonce_s[16], out[KEY_LEN], secret_id[SECRET_ID_LEN];
	static const uint8_t serial[] = "SN-1";

	(void)state;
	fill(k, sizeof k, 0x00);
	fill(id, sizeof id, 0x20);
	fill(nonce_d, sizeof nonce_d, 0x40);
	fill(nonce_s, sizeof nonce_s, 0x60);
	fill(secret_id, sizeof secret_id, 0x80);
	keys_d2s(c, k, out);
	assert_hex(out, 32, "67fd04cff50d6f42fe3acc89d91079f9c5c68880f6e2fe475eab5b9ad1ef17fa");
	keys_s2d(c, k, out);
	assert_hex(out, 32, "fb58565f404ffa4c26a07565a1fe508a65f818c5109b6593e09c45fcaa3e874c");
	keys_fetch(c, k, out);
	assert_hex(out, 32, "30a5d238381476c797a4db23c9c09df453bc5b1fcef9403cb28853222bb20592");
	keys_nonce(c, k, 0x0102030405060708, 0x090a0b0c, out);
	assert_hex(out, 16, "afaa783df85f151fd0fbf6186dfda9e5");
	keys_nonce_d(c, k, id, (struct ota_slice){serial, 4}, out);
	assert_hex(out, 16, "a6a4738118466169dfae8241a77aec07");
	keys_device(c, k, id, nonce_d, nonce_s, out);
	assert_hex(out, 32, "e09114202d215dc0f3b7805a9e5385b7b4780c6be80350b4cf6d5b3ef7cc82a0");
	keys_enroll_secret(c, k, secret_id, out);
	assert_hex(out, 32, "5fb71eec390b954fa7cea905e04d921a048cfb0505d5379bb805f2faa359adb7");
	keys_link(c, k, k, id, out);
	assert_hex(out, 16, "9b5cf6de206032ac4557964d2bf58a2d");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(values)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
