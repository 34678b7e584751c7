/* The agent's HTTP/1.1 reader: any bytes, in pieces, into an agent that waits for an answer. The first byte
 * says for what, the second how large the pieces are. */
#include <stdlib.h>
#include <string.h>

#include "device-agent/src/agent.h"
#include "device-agent/src/http1.h"
#include "proto/crypto_openssl.h"
#include "tests/fuzz/fuzz.h"

static uint8_t slot[4096];

static enum ota_err flash_read(void *ctx, unsigned region, uint32_t off, void *buf, uint32_t len)
{
	(void)ctx, (void)region;
	if (off > sizeof slot || len > sizeof slot - off)
		return OTA_FLASH;
	memcpy(buf, slot + off, len);
	return OTA_OK;
}

static enum ota_err flash_prog(void *ctx, unsigned region, uint32_t off, const void *buf, uint32_t len)
{
	(void)ctx, (void)region;
	if (off > sizeof slot || len > sizeof slot - off)
		abort(); /* past the slot */
	memcpy(slot + off, buf, len);
	return OTA_OK;
}

static enum ota_err flash_erase(void *ctx, unsigned region, uint32_t off, uint32_t len)
{
	(void)ctx, (void)region;
	if (off > sizeof slot || len > sizeof slot - off)
		abort();
	memset(slot + off, 0xFF, len);
	return OTA_OK;
}

static void flash_geometry(void *ctx, unsigned region, struct ota_flash_geometry *out)
{
	(void)ctx, (void)region;
	*out = (struct ota_flash_geometry){sizeof slot, 512, 4, 0xFF};
}

static int64_t now_ms(void *ctx)
{
	(void)ctx;
	return 1000;
}

static const struct ota_flash flash = {NULL, flash_read, flash_prog, flash_erase, flash_geometry};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct ota_agent a;
	static uint8_t work[OTA_AGENT_WORK];
	struct ota_want want;
	struct http1 h;
	size_t piece;

	if (size < 2)
		return 0;
	memset(&a, 0, sizeof a);
	memset(slot, 0, sizeof slot);
	a.cfg.flash = &flash;
	a.cfg.crypto = crypto_openssl();
	a.cfg.work = work;
	a.cfg.now_ms = now_ms;
	a.cfg.n_components = 1;
	a.journal.flash = &flash;
	a.journal.crypto = crypto_openssl();
	flash_geometry(NULL, 0, &a.journal.geo);
	a.journal.group_len = 4096;
	a.journal.per_group = 8;
	a.journal.n_groups = 1;
	a.journal.s.format = JOURNAL_FORMAT;
	a.identity.n_urls = 1;
	a.identity.is_enrolled = true;
	a.fresh.component[0].size = 2500;
	a.ticket_ms = 1000;
	a.phase = PHASE_FETCH;
	a.is_fetch_live = true;
	a.pos = (data[0] & 8) ? 1024 : 0;
	a.erased_to = a.pos;
	memset(&want, 0, sizeof want);
	agent_request(&a, &want, (enum agent_request)(1 + data[0] % 5), TICKET_MAX);
	piece = data[1] ? data[1] : 1000;
	data += 2;
	size -= 2;

	http1_start(&h, &a);
	while (size > 0 && h.state != HTTP1_FAILED) {
		size_t n = size < piece ? size : piece;

		if (http1_feed(&h, data, n) != OTA_OK)
			break;
		data += n;
		size -= n;
	}
	http1_end(&h);
	if (a.msg_len > sizeof a.msg || a.pos > 2500)
		abort();
	return 0;
}
