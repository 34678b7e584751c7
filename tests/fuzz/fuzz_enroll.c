#include "proto/enroll.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lax.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t secret[SECRET_LEN];

static uint8_t *fix(const uint8_t *data, size_t size, const char *label)
{
	uint8_t key[KEY_LEN];

	ota_derive(lax_crypto(), secret, label, key);
	return lax_mac_fix(data, size, key, label);
}

/* Everything that is taken is written again to the same bytes. */
static void check(
	enum ota_err encoded, const uint8_t *got, const size_t *len, const uint8_t *want, size_t want_len)
{
	if (encoded || *len != want_len || memcmp(got, want, want_len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ota_crypto *c = lax_crypto();
	uint8_t buf[ENROLL_MAX], nonce_d[NONCE_LEN] = {0}, *fixed;
	struct enroll_request request;
	struct enroll_answer answer;
	struct receipt receipt;
	struct cose_msg m;
	size_t len;

	fixed = fix(data, size, "otad/enroll/1");
	if (enroll_request_decode(c, fixed, size, secret, &request) == OTA_OK)
		check(enroll_request_encode(&request, c, secret, buf, sizeof buf, &len), buf, &len, fixed,
			size);
	free(fixed);
	fixed = fix(data, size, "otad/enrolled/1");
	if (cose_decode(fixed, size, &m) == OTA_OK && m.payload.len > 21)
		memcpy(nonce_d, m.payload.p + 5, sizeof nonce_d);
	if (enroll_answer_decode(c, fixed, size, secret, nonce_d, &answer) == OTA_OK)
		check(enroll_answer_encode(&answer, c, secret, buf, sizeof buf, &len), buf, &len, fixed,
			size);
	free(fixed);
	fixed = fix(data, size, "otad/receipt/1");
	if (receipt_decode(c, fixed, size, secret, &receipt) == OTA_OK)
		check(receipt_encode(&receipt, c, secret, buf, sizeof buf, &len), buf, &len, fixed, size);
	free(fixed);
	return 0;
}
