/* The journal: any bytes in its region. It is opened, committed to and opened again; what was committed is
 * found. */
#include <stdlib.h>
#include <string.h>

#include "device-agent/src/journal.h"
#include "proto/crypto_openssl.h"
#include "tests/fuzz/fuzz.h"

static uint8_t bytes[2 * 4096];

static enum ota_err flash_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	(void)ctx, (void)region;
	if (off > sizeof bytes || len > sizeof bytes - off)
		abort();
	memcpy(buf, bytes + off, len);
	return OTA_OK;
}

static enum ota_err flash_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	const uint8_t *from = buf;

	(void)ctx, (void)region;
	if (off > sizeof bytes || len > sizeof bytes - off)
		abort();
	for (uint32_t i = 0; i < len; i++)
		bytes[off + i] &= from[i];
	return OTA_OK;
}

static enum ota_err flash_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	(void)ctx, (void)region;
	if (off > sizeof bytes || len > sizeof bytes - off)
		abort();
	memset(bytes + off, 0xFF, len);
	return OTA_OK;
}

static void flash_geometry(void *ctx, unsigned region, struct ota_flash_geometry *out)
{
	(void)ctx, (void)region;
	*out = (struct ota_flash_geometry){sizeof bytes, 4096, 4, 0xFF};
}

/* Behind the right check every field can be anything: the checks of the input's records are made right. */
static void mend_checks(void)
{
	for (size_t at = 0; at < sizeof bytes; at += JOURNAL_STRIDE) {
		size_t len = (size_t)bytes[at + 2] | (size_t)bytes[at + 3] << 8;
		struct ota_slice part = {bytes + at, len};
		uint8_t sum[32];

		if (len > JOURNAL_STRIDE - JOURNAL_CHECK_LEN)
			continue;
		ota_sha256(crypto_openssl(), &part, 1, sum);
		memcpy(bytes + at + len, sum, JOURNAL_CHECK_LEN);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ota_flash flash = {NULL, flash_read, flash_prog, flash_erase, flash_geometry};
	struct journal j;
	enum ota_err err;

	memset(bytes, 0xFF, sizeof bytes);
	if (size < 1)
		return 0;
	memcpy(bytes, data + 1, size - 1 < sizeof bytes ? size - 1 : sizeof bytes);
	if (data[0] & 1)
		mend_checks();
	err = journal_open(&j, &flash, crypto_openssl());
	if (err != OTA_OK && err != OTA_NOT_FOUND)
		abort();
	if (j.number > 0xFFFFFF00U)
		return 0; /* four thousand million records: no journal lives to write them */
	j.s.floor = 0x5A5A5A5A;
	if (journal_commit(&j) != OTA_OK)
		return 0;
	if (journal_open(&j, &flash, crypto_openssl()) != OTA_OK || j.s.floor != 0x5A5A5A5A)
		abort();
	return 0;
}
