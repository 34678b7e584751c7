#include "tests/unit/proto/util.h"

#include "proto/checkin.h"
#include "proto/enroll.h"

static uint8_t k_dev[KEY_LEN];

static struct checkin quiet(void)
{
	struct checkin ci = {.root_version = 1};

	fill(k_dev, sizeof k_dev, 0);
	fill(ci.device_id, sizeof ci.device_id, 0x20);
	fill(ci.nonce, sizeof ci.nonce, 0x40);
	return ci;
}

static struct checkin full(void)
{
	static uint8_t receipt[RECEIPT_MAX];
	struct checkin ci = quiet();

	ci.counter = CHECKIN_COUNTER_MAX;
	ci.root_version = UINT32_MAX;
	ci.has_running = true;
	ci.running_sequence = 1767225600;
	fill(ci.running_digest, 32, 0x60);
	ci.state = CHECKIN_CONFIRMED;
	ci.has_target = true;
	fill(ci.target_digest, 32, 0x80);
	ci.target_attempt = 255;
	ci.target_bytes = UINT32_MAX;
	ci.has_result = true;
	fill(ci.result_digest, 32, 0xa0);
	ci.result_attempt = 1;
	ci.result_reason = 12;
	ci.result_detail = UINT16_MAX;
	ci.result_offset = UINT32_MAX;
	ci.uptime_s = UINT32_MAX;
	ci.flags = CHECKIN_FLAG_WANTS_SIGNED | CHECKIN_FLAG_HAS_RANDOM | 0x80000000;
	fill(receipt, sizeof receipt, 1);
	ci.receipt = (struct ota_slice){receipt, sizeof receipt};
	return ci;
}

static enum ota_err verdict(const uint8_t *bytes, size_t len, void *ctx)
{
	struct checkin ci;

	return checkin_decode(crypto_openssl(), bytes, len, ctx, &ci);
}

static size_t encode(const struct checkin *ci, uint8_t buf[CHECKIN_MAX])
{
	size_t len;

	assert_err(checkin_encode(ci, crypto_openssl(), k_dev, buf, CHECKIN_MAX, &len), OTA_OK);
	return len;
}

static void check_round(const struct checkin *ci)
{
	uint8_t buf[CHECKIN_MAX], id[DEVICE_ID_LEN], small[CHECKIN_MAX];
	size_t len = encode(ci, buf), n;
	struct checkin back;

	assert_err(checkin_decode(crypto_openssl(), buf, len, k_dev, &back), OTA_OK);
	assert_err(checkin_peek(buf, len, id), OTA_OK);
	assert_memory_equal(id, ci->device_id, sizeof id);
	assert_memory_equal(back.nonce, ci->nonce, sizeof ci->nonce);
	assert_true(back.counter == ci->counter);
	assert_int_equal(back.root_version, ci->root_version);
	assert_int_equal(back.has_running, ci->has_running);
	assert_int_equal(back.running_sequence, ci->running_sequence);
	assert_memory_equal(back.running_digest, ci->running_digest, 32);
	assert_int_equal(back.state, ci->state);
	assert_int_equal(back.has_target, ci->has_target);
	assert_memory_equal(back.target_digest, ci->target_digest, 32);
	assert_int_equal(back.target_attempt, ci->target_attempt);
	assert_int_equal(back.target_bytes, ci->target_bytes);
	assert_int_equal(back.has_result, ci->has_result);
	assert_memory_equal(back.result_digest, ci->result_digest, 32);
	assert_int_equal(back.result_attempt, ci->result_attempt);
	assert_int_equal(back.result_reason, ci->result_reason);
	assert_int_equal(back.result_detail, ci->result_detail);
	assert_int_equal(back.result_offset, ci->result_offset);
	assert_int_equal(back.uptime_s, ci->uptime_s);
	assert_int_equal(back.flags, ci->flags);
	assert_int_equal(back.receipt.len, ci->receipt.len);
	if (ci->receipt.len)
		assert_memory_equal(back.receipt.p, ci->receipt.p, ci->receipt.len);
	assert_err(checkin_encode(ci, crypto_openssl(), k_dev, small, len - 1, &n), OTA_NO_SPACE);
}

static void round_trips(void **state)
{
	struct checkin ci = quiet();

	(void)state;
	check_round(&ci);
	for (ci.state = CHECKIN_IDLE; ci.state < CHECKIN_CONFIRMED; ci.state++)
		check_round(&ci);
	ci = full();
	check_round(&ci);
}

static void mutations(void **state)
{
	struct checkin ci = full();
	uint8_t buf[CHECKIN_MAX];
	size_t len = encode(&ci, buf), n;

	(void)state;
	n = try_bit_flips(buf, len, verdict, k_dev);
	n += try_lengths(buf, len, verdict, k_dev);
	print_message("%zu mutations refused\n", n);
}

static void other_key(void **state)
{
	struct checkin ci = full();
	uint8_t buf[CHECKIN_MAX], key[KEY_LEN], wide[CHECKIN_MAX + 1] = {0}, id[DEVICE_ID_LEN];
	size_t len = encode(&ci, buf);

	(void)state;
	memcpy(key, k_dev, sizeof key);
	key[31] ^= 1;
	assert_err(verdict(buf, len, key), OTA_SIG);
	assert_err(verdict(wide, sizeof wide, k_dev), OTA_TOO_LARGE);
	assert_err(checkin_peek(wide, sizeof wide, id), OTA_TOO_LARGE);
	assert_err(checkin_peek(wide, 1, id), OTA_COSE);
}

static void strangers(void **state)
{
	struct checkin ci = full();
	uint8_t buf[CHECKIN_MAX];
	size_t len = encode(&ci, buf);
	struct ota_slice receipt = {0};

	(void)state;
	/* Nobody needs a key to see which receipt is shown; the receipt has a MAC of its own. */
	assert_err(checkin_peek_receipt(buf, len, &receipt), OTA_OK);
	assert_int_equal(receipt.len, RECEIPT_MAX);
	assert_memory_equal(receipt.p, ci.receipt.p, RECEIPT_MAX);
	assert_err(checkin_peek_receipt(buf, len - 1, &receipt), OTA_CBOR);
	ci = quiet();
	len = encode(&ci, buf);
	assert_err(checkin_peek_receipt(buf, len, &receipt), OTA_NOT_FOUND);
}

static void refuses_to_encode(void **state)
{
	uint8_t buf[CHECKIN_MAX];
	size_t len;
	struct checkin ci;

	(void)state;
	ci = full();
	ci.root_version = 0;
	assert_err(checkin_encode(&ci, crypto_openssl(), k_dev, buf, sizeof buf, &len), OTA_INVALID);
	ci = full();
	ci.counter++;
	assert_err(checkin_encode(&ci, crypto_openssl(), k_dev, buf, sizeof buf, &len), OTA_INVALID);
	ci = full();
	ci.target_attempt = 0;
	assert_err(checkin_encode(&ci, crypto_openssl(), k_dev, buf, sizeof buf, &len), OTA_INVALID);
	ci = full();
	ci.result_attempt = 0;
	assert_err(checkin_encode(&ci, crypto_openssl(), k_dev, buf, sizeof buf, &len), OTA_INVALID);
	ci = full();
	ci.result_reason = 13;
	assert_err(checkin_encode(&ci, crypto_openssl(), k_dev, buf, sizeof buf, &len), OTA_INVALID);
	ci = full();
	ci.receipt.len++;
	assert_err(checkin_encode(&ci, crypto_openssl(), k_dev, buf, sizeof buf, &len), OTA_INVALID);
}

#define D "0250202122232425262728292a2b2c2d2e2f"
#define N "0350404142434445464748494a4b4c4d4e4f"
#define H "5820 808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"

/* Payloads under the right key, by hand. */
static void payloads(void **state)
{
	static const struct {
		const char *hex;
		enum ota_err want;
	} rows[] = {
		{"a9 0101 " D N "0400 0501 06f6 0700 0a00 0b00", OTA_OK},
		{"a9 0101 " D N "0400 0501 068201 " H "0700 0a00 0b00", OTA_OK},
		{"a9 0102 " D N "0400 0501 06f6 0700 0a00 0b00", OTA_FORMAT},
		{"a8 0101 " D N "0400 0501 0700 0a00 0b00", OTA_CBOR},      /* no key 6 */
		{"a8 0101 " D N "0400 0501 06f6 0700 0a00", OTA_CBOR},      /* no flags */
		{"a9 0101 " D N "0400 0500 06f6 0700 0a00 0b00", OTA_CBOR}, /* root 0 */
		{"a9 0101 " D N "0400 0501 06f6 0705 0a00 0b00", OTA_CBOR}, /* state 5 */
		{"a9 0101 " D N "041b7fffffffffffffff 0501 06f6 0700 0a00 0b00", OTA_OK},
		{"a9 0101 " D N "041b8000000000000000 0501 06f6 0700 0a00 0b00", OTA_CBOR},
		{"a9 0101 " D N "0420 0501 06f6 0700 0a00 0b00", OTA_CBOR},
		{"a9 0101 " D N "0400 0501 0680 0700 0a00 0b00", OTA_CBOR},
		{"a9 0101 " D N "0400 0501 06820141aa 0700 0a00 0b00", OTA_CBOR},
		{"aa 0101 " D N "0400 0501 06f6 0700 08f6 0a00 0b00", OTA_CBOR},
		{"aa 0101 " D N "0400 0501 06f6 0700 0883" H "0100 0a00 0b00", OTA_OK},
		{"aa 0101 " D N "0400 0501 06f6 0700 0883" H "0000 0a00 0b00", OTA_CBOR},
		{"aa 0101 " D N "0400 0501 06f6 0700 0883" H "011b0000000100000000 0a00 0b00", OTA_CBOR},
		{"aa 0101 " D N "0400 0501 06f6 0700 0985" H "01 0b 1879 00 0a00 0b00", OTA_OK},
		{"aa 0101 " D N "0400 0501 06f6 0700 0985" H "01 0d 1879 00 0a00 0b00", OTA_CBOR},
		{"aa 0101 " D N "0400 0501 06f6 0700 0985" H "01 0b 1a00010000 00 0a00 0b00", OTA_CBOR},
		{"aa 0101 " D N "0400 0501 06f6 0700 0a00 0b00 0c40", OTA_CBOR},
		{"aa 0101 " D N "0400 0501 06f6 0700 0a00 0b00 0c4101", OTA_OK},
		{"aa 0101 " D N "0400 0501 06f6 0700 0a00 0b00 0d00", OTA_CBOR},
		{"a9 0101 " D N "0400 0501 06f6 0700 0a00 0b00 00", OTA_CBOR},
		{"80", OTA_CBOR},
	};
	uint8_t d2s[KEY_LEN];

	(void)state;
	fill(k_dev, sizeof k_dev, 0);
	keys_d2s(crypto_openssl(), k_dev, d2s);
	for (size_t i = 0; i < LEN(rows); i++) {
		uint8_t payload[256], buf[512], id[DEVICE_ID_LEN];
		struct ota_slice p = {payload, from_hex(rows[i].hex, payload, sizeof payload)};
		struct cbor_out out;

		cbor_out_init(&out, buf, sizeof buf);
		assert_err(cose_put_mac0(&out, crypto_openssl(), d2s, NULL, "otad/checkin/1", p), OTA_OK);
		if (verdict(buf, out.len, k_dev) != rows[i].want)
			print_error("row %zu\n", i);
		assert_err(verdict(buf, out.len, k_dev), rows[i].want);
		/* Peeking looks at the first two keys and no further. */
		assert_err(checkin_peek(buf, out.len, id), rows[i].want == OTA_FORMAT ? OTA_FORMAT
							   : p.len < 9                ? OTA_CBOR
										      : OTA_OK);
		cbor_out_init(&out, buf, sizeof buf);
		assert_err(cose_put_mac0(&out, crypto_openssl(), d2s, NULL, "otad/ticket/1", p), OTA_OK);
		assert_err(verdict(buf, out.len, k_dev), OTA_SIG);
		cbor_out_init(&out, buf, sizeof buf);
		assert_err(cose_put_mac0(&out, crypto_openssl(), d2s, d2s, "otad/checkin/1", p), OTA_OK);
		assert_err(verdict(buf, out.len, k_dev), OTA_COSE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(mutations),
		cmocka_unit_test(other_key),
		cmocka_unit_test(strangers),
		cmocka_unit_test(refuses_to_encode),
		cmocka_unit_test(payloads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
