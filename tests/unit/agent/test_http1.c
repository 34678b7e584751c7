#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "device-agent/src/http1.h"
#include "proto/crypto_openssl.h"
#include "tests/unit/agent/kit.h"

/* A request, as bytes. */
static void test_request(void **state)
{
	static const char base[] = "http://h.example:8484/fleet/";
	struct ota_request q = {.base = {(const uint8_t *)base, sizeof base - 1}, .path = "i/00"};
	char buf[HTTP1_REQUEST_MAX];
	size_t len;

	(void)state;
	assert_int_equal(http1_request(&q, buf, sizeof buf, &len), OTA_OK);
	assert_int_equal(len, strlen("GET /fleet/i/00 HTTP/1.1\r\nHost: h.example:8484\r\n\r\n"));
	assert_memory_equal(buf, "GET /fleet/i/00 HTTP/1.1\r\nHost: h.example:8484\r\n\r\n", len);
	q.authorization = "OTA x";
	q.has_range = true;
	q.offset = 4294967295U;
	assert_int_equal(http1_request(&q, buf, sizeof buf, &len), OTA_OK);
	buf[len] = '\0';
	assert_non_null(strstr(buf, "\r\nAuthorization: OTA x\r\nRange: bytes=4294967295-\r\n\r\n"));
	q = (struct ota_request){.base = {(const uint8_t *)base, sizeof base - 1},
		.path = "d/v1/checkin",
		.is_post = true,
		.body_len = 321};
	assert_int_equal(http1_request(&q, buf, sizeof buf, &len), OTA_OK);
	buf[len] = '\0';
	assert_non_null(strstr(buf, "Content-Type: application/cbor\r\nContent-Length: 321\r\n\r\n"));
	for (size_t cap = 0; cap < len; cap++)
		assert_int_equal(http1_request(&q, buf, cap, &len), OTA_NO_SPACE);
	q.base.p = (const uint8_t *)"https://h/";
	q.base.len = 10;
	assert_int_equal(http1_request(&q, buf, sizeof buf, &len), OTA_INVALID);
	q.base.p = (const uint8_t *)"http:///";
	q.base.len = 8;
	assert_int_equal(http1_request(&q, buf, sizeof buf, &len), OTA_INVALID);
}

/* Answers to a check-in: what the head says, and where it ends. */
static const struct {
	const char *bytes;
	enum http1_state end; /* HTTP1_FAILED: refused */
	int status;
	uint32_t retry_after_s;
	bool will_close;
} answers[] = {
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", HTTP1_DONE, 200, 0, false},
	{"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", HTTP1_DONE, 200, 0, false},
	{"HTTP/1.1 200 OK\r\ncontent-LENGTH:3 \r\n\r\nabc", HTTP1_DONE, 200, 0, false},
	{"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n", HTTP1_DONE, 404, 0, true},
	{"HTTP/1.1 429 Too Many\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n", HTTP1_DONE, 429, 17, false},
	{"HTTP/1.1 503 No\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n", HTTP1_DONE, 503,
		UINT32_MAX, false},
	{"HTTP/1.1 503 No\r\nRetry-After: Wed, 21 Oct\r\nContent-Length: 0\r\n\r\n", HTTP1_DONE, 503, 0,
		false},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 None\r\n\r\n", HTTP1_DONE, 204, 0, false},
	{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", HTTP1_DONE, 200, 0, true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", HTTP1_BODY, 200, 0, false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", HTTP1_FAILED, 200, 0, true},
	{"HTTP/1.1 200 OK\r\n\r\nabc", HTTP1_FAILED, 0, 0, true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", HTTP1_FAILED, 0, 0, true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc", HTTP1_FAILED, 0, 0, true},
	{"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc", HTTP1_FAILED, 0, 0, true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n\r\nabc", HTTP1_FAILED, 0, 0, true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc", HTTP1_FAILED, 0, 0, true},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", HTTP1_FAILED, 0, 0,
		true},
	{"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", HTTP1_FAILED, 0, 0, true},
	{"HTTP/2 200\r\nContent-Length: 0\r\n\r\n", HTTP1_FAILED, 0, 0, true},
	{"HTTP/1.1 99 no\r\nContent-Length: 0\r\n\r\n", HTTP1_FAILED, 0, 0, true},
	{"HTTP/1.1 abc\r\n\r\n", HTTP1_FAILED, 0, 0, true},
	{"\x16\x03\x01", HTTP1_STATUS, 0, 0, false},
	{"", HTTP1_STATUS, 0, 0, false},
};

static struct kit k;

/* An agent that waits for the answer to a check-in. */
static void asked(void)
{
	struct ota_want want;

	assert_true(kit_start(&k));
	ota_agent_step(&k.agent, &want);
	assert_int_equal(want.kind, OTA_WANT_REQUEST);
}

static void test_answers(void **state)
{
	struct flash_sim_options o = kit_small();

	(void)state;
	kit_init(&k, &o);
	kit_enrolled(&k);
	for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
		size_t len = strlen(answers[i].bytes);

		for (size_t piece = 1; piece <= len + 1; piece += len > 8 ? len / 4 : 1) {
			struct http1 h;
			enum ota_err err = OTA_OK;

			asked();
			http1_start(&h, &k.agent);
			for (size_t at = 0; at < len && err == OTA_OK; at += piece) {
				size_t n = len - at < piece ? len - at : piece;

				err = http1_feed(&h, (const uint8_t *)answers[i].bytes + at, n);
			}
			if (h.state != answers[i].end)
				print_message("answer %u in pieces of %zu\n", i, piece);
			assert_int_equal(h.state, answers[i].end);
			assert_int_equal(err == OTA_OK, answers[i].end != HTTP1_FAILED);
			assert_int_equal(h.will_close, answers[i].will_close);
			if (answers[i].end == HTTP1_DONE) {
				assert_int_equal(k.agent.answer.status, answers[i].status);
				assert_int_equal(k.agent.answer.retry_after_s, answers[i].retry_after_s);
			}
			http1_end(&h);
			assert_int_equal(k.agent.request, 0);
		}
	}
	kit_end(&k);
}

static void test_content_range(void **state)
{
	static const struct {
		const char *line;
		bool has;
		uint64_t first, last, total;
	} rows[] = {
		{"Content-Range: bytes 5-9/10", true, 5, 9, 10},
		{"content-range:bytes 0-0/1", true, 0, 0, 1},
		{"Content-Range: bytes 5-9/*", false, 0, 0, 0},
		{"Content-Range: bytes */10", false, 0, 0, 0},
		{"Content-Range: items 5-9/10", false, 0, 0, 0},
		{"Content-Range: bytes 5-9/10, 11-12/13", false, 0, 0, 0},
		{"Content-Range: bytes 5-9/100000000000000000000", false, 0, 0, 0},
		{"Content-Ranges: bytes 5-9/10", false, 0, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ota_response r = {.content_length = -1};

		assert_int_equal(http1_field(&r, rows[i].line, strlen(rows[i].line)), OTA_OK);
		assert_int_equal(r.has_content_range, rows[i].has);
		if (rows[i].has) {
			assert_int_equal(r.range_first, rows[i].first);
			assert_int_equal(r.range_last, rows[i].last);
			assert_int_equal(r.range_total, rows[i].total);
		}
	}
}

/* A head without end, and lines without end. */
static void test_limits(void **state)
{
	struct flash_sim_options o = kit_small();
	struct http1 h;
	char *big = malloc(8192);

	(void)state;
	kit_init(&k, &o);
	kit_enrolled(&k);
	memset(big, 'a', 8192);
	memcpy(big, "HTTP/1.1 200 OK\r\nX: ", 20);
	asked();
	http1_start(&h, &k.agent);
	assert_int_not_equal(http1_feed(&h, (const uint8_t *)big, 8192), OTA_OK);
	http1_end(&h);
	/* One long line that says nothing about the body is passed over. */
	memcpy(big + 3000, "\r\nContent-Length: 0\r\n\r\n", 23);
	asked();
	http1_start(&h, &k.agent);
	assert_int_equal(http1_feed(&h, (const uint8_t *)big, 3023), OTA_OK);
	assert_int_equal(h.state, HTTP1_DONE);
	http1_end(&h);
	free(big);
	kit_end(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_content_range),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
