#include "tests/unit/proto/util.h"

#include "proto/enroll.h"

static uint8_t secret[SECRET_LEN], nonce_d[NONCE_LEN];

static struct enroll_request request(void)
{
	struct enroll_request r = {.serial_len = 4, .serial = "SN-1"};

	fill(secret, sizeof secret, 0);
	fill(nonce_d, sizeof nonce_d, 0x40);
	fill(r.secret_id, sizeof r.secret_id, 0x80);
	fill(r.vendor_id, sizeof r.vendor_id, 0x10);
	fill(r.class_id, sizeof r.class_id, 0x30);
	memcpy(r.nonce_d, nonce_d, sizeof nonce_d);
	return r;
}

static struct enroll_answer answer(const uint8_t *receipt, size_t len)
{
	struct enroll_answer a = {.receipt = {receipt, len}};

	(void)request();
	memcpy(a.nonce_d, nonce_d, sizeof nonce_d);
	fill(a.nonce_s, sizeof a.nonce_s, 0x60);
	fill(a.device_id, sizeof a.device_id, 0x20);
	return a;
}

static struct receipt slip(void)
{
	struct receipt r = {0};

	(void)request();
	fill(r.secret_id, sizeof r.secret_id, 0x80);
	fill(r.device_id, sizeof r.device_id, 0x20);
	fill(r.class_id, sizeof r.class_id, 0x30);
	fill(r.nonce_d, sizeof r.nonce_d, 0x40);
	fill(r.nonce_s, sizeof r.nonce_s, 0x60);
	return r;
}

static enum ota_err request_verdict(const uint8_t *bytes, size_t len, void *ctx)
{
	struct enroll_request r;

	return enroll_request_decode(crypto_openssl(), bytes, len, ctx, &r);
}

static enum ota_err answer_verdict(const uint8_t *bytes, size_t len, void *ctx)
{
	struct enroll_answer a;

	return enroll_answer_decode(crypto_openssl(), bytes, len, ctx, nonce_d, &a);
}

static enum ota_err receipt_verdict(const uint8_t *bytes, size_t len, void *ctx)
{
	struct receipt r;

	return receipt_decode(crypto_openssl(), bytes, len, ctx, &r);
}

static void requests(void **state)
{
	struct enroll_request r = request(), back;
	uint8_t buf[ENROLL_MAX], id[SECRET_ID_LEN], wide[ENROLL_MAX + 1] = {0};
	size_t len, n;

	(void)state;
	for (r.serial_len = 1; r.serial_len <= SERIAL_MAX; r.serial_len++) {
		assert_err(
			enroll_request_encode(&r, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_OK);
		assert_err(enroll_request_decode(crypto_openssl(), buf, len, secret, &back), OTA_OK);
		assert_memory_equal(back.secret_id, r.secret_id, sizeof r.secret_id);
		assert_memory_equal(back.vendor_id, r.vendor_id, sizeof r.vendor_id);
		assert_memory_equal(back.class_id, r.class_id, sizeof r.class_id);
		assert_int_equal(back.serial_len, r.serial_len);
		assert_memory_equal(back.serial, r.serial, r.serial_len);
		assert_memory_equal(back.nonce_d, r.nonce_d, NONCE_LEN);
		assert_err(enroll_request_peek(buf, len, id), OTA_OK);
		assert_memory_equal(id, r.secret_id, sizeof id);
	}
	assert_err(enroll_request_encode(&r, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_INVALID);
	r.serial_len = 0;
	assert_err(enroll_request_encode(&r, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_INVALID);
	r.serial_len = 4;
	assert_err(enroll_request_encode(&r, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_OK);
	assert_err(enroll_request_encode(&r, crypto_openssl(), secret, buf, len - 1, &n), OTA_NO_SPACE);
	n = try_bit_flips(buf, len, request_verdict, secret);
	n += try_lengths(buf, len, request_verdict, secret);
	print_message("%zu mutations refused\n", n);
	/* What it is not. */
	assert_err(answer_verdict(buf, len, secret), OTA_COSE);
	assert_err(receipt_verdict(buf, len, secret), OTA_COSE);
	assert_err(request_verdict(wide, sizeof wide, secret), OTA_TOO_LARGE);
	assert_err(enroll_request_peek(wide, 1, id), OTA_COSE);
}

static void answers(void **state)
{
	static const uint8_t receipt[RECEIPT_MAX + 1] = {1, 2, 3};
	struct enroll_answer a = answer(receipt, 119), back;
	uint8_t buf[ENROLL_MAX], other[SECRET_LEN];
	size_t len, n;

	(void)state;
	assert_err(enroll_answer_encode(&a, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_OK);
	assert_err(enroll_answer_decode(crypto_openssl(), buf, len, secret, nonce_d, &back), OTA_OK);
	assert_memory_equal(back.nonce_s, a.nonce_s, NONCE_LEN);
	assert_memory_equal(back.device_id, a.device_id, DEVICE_ID_LEN);
	assert_int_equal(back.receipt.len, 119);
	assert_memory_equal(back.receipt.p, receipt, 119);
	n = try_bit_flips(buf, len, answer_verdict, secret);
	n += try_lengths(buf, len, answer_verdict, secret);
	print_message("%zu mutations refused\n", n);
	memcpy(other, nonce_d, NONCE_LEN);
	other[3] ^= 1;
	assert_err(enroll_answer_decode(crypto_openssl(), buf, len, secret, other, &back), OTA_NONCE);
	memcpy(other, secret, SECRET_LEN);
	other[31] ^= 1;
	assert_err(answer_verdict(buf, len, other), OTA_SIG);
	assert_err(request_verdict(buf, len, secret), OTA_COSE);
	assert_err(enroll_answer_encode(&a, crypto_openssl(), secret, buf, len - 1, &n), OTA_NO_SPACE);
	a.receipt.len = 0;
	assert_err(enroll_answer_encode(&a, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_INVALID);
	a.receipt.len = RECEIPT_MAX + 1;
	assert_err(enroll_answer_encode(&a, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_INVALID);
	a.receipt.len = RECEIPT_MAX;
	assert_err(enroll_answer_encode(&a, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_OK);
}

static void receipts(void **state)
{
	struct receipt r = slip(), back;
	uint8_t buf[RECEIPT_MAX], other[KEY_LEN];
	size_t len, n;

	(void)state;
	assert_err(receipt_encode(&r, crypto_openssl(), secret, buf, sizeof buf, &len), OTA_OK);
	print_message("a receipt takes %zu bytes\n", len);
	assert_err(receipt_decode(crypto_openssl(), buf, len, secret, &back), OTA_OK);
	assert_memory_equal(&back, &r, sizeof r);
	n = try_bit_flips(buf, len, receipt_verdict, secret);
	n += try_lengths(buf, len, receipt_verdict, secret);
	print_message("%zu mutations refused\n", n);
	memcpy(other, secret, KEY_LEN);
	other[0] ^= 1;
	assert_err(receipt_verdict(buf, len, other), OTA_SIG);
	assert_err(answer_verdict(buf, len, secret), OTA_SIG);
	assert_err(receipt_encode(&r, crypto_openssl(), secret, buf, len - 1, &n), OTA_NO_SPACE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests), cmocka_unit_test(answers), cmocka_unit_test(receipts)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
