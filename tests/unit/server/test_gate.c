#include <string.h>

#include "server/gate.h"
#include "tests/unit/server/cmocka_all.h"

static void targets(void **state)
{
	static const struct {
		const char *target;
		int good;
	} rows[] = {
		{"/", 1},
		{"/v1/devices", 1},
		{"/v1/devices/", 1},
		{"/v1/devices?limit=10&name=a%20b", 1},
		{"/a..b/c.d", 1},
		{"/...", 1},
		{"/.hidden", 1},
		{"/v1/%41", 1},
		{"/q?x=/../y", 1},
		{"/q?x=%2f", 1},
		{"", 0},
		{"*", 0},
		{"v1", 0},
		{"http://host/v1", 0},
		{"/..", 0},
		{"/../x", 0},
		{"/a/..", 0},
		{"/a/../b", 0},
		{"/a/./b", 0},
		{"/.", 0},
		{"/%2e%2e/x", 0},
		{"/.%2E/x", 0},
		{"/%2e", 0},
		{"//", 0},
		{"//x", 0},
		{"/a//b", 0},
		{"/a%2fb", 0},
		{"/a%2Fb", 0},
		{"/a%5cb", 0},
		{"/a\\b", 0},
		{"/a%00", 0},
		{"/a?b=%00", 0},
		{"/a%0d%0a", 0},
		{"/a%7f", 0},
		{"/a%", 0},
		{"/a%4", 0},
		{"/a%zz", 0},
		{"/a?b=%4", 0},
		{"/a b", 0},
		{"/a\tb", 0},
		{"/a\x80", 0},
		{"/a#b", 0},
		{"/a?<x>", 0},
	};
	char longest[GATE_TARGET_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *wrong = gate_check_target(rows[i].target, strlen(rows[i].target));

		if ((wrong == NULL) != (rows[i].good == 1))
			fail_msg("target '%s': %s", rows[i].target, wrong ? wrong : "let through");
	}
	assert_non_null(gate_check_target("/a\0b", 4));
	memset(longest, 'a', sizeof longest);
	longest[0] = '/';
	assert_null(gate_check_target(longest, GATE_TARGET_MAX));
	assert_non_null(gate_check_target(longest, GATE_TARGET_MAX + 1));
}

struct fields {
	const char *version;
	const char *text; /* "name:value|name:value" */
	int good;
};

static size_t split(const char *text, char *copy, struct gate_header *h)
{
	size_t n = 0;

	strcpy(copy, text);
	for (char *p = strtok(copy, "|"); p; p = strtok(NULL, "|")) {
		char *colon = strchr(p, ':');

		*colon = '\0';
		h[n++] = (struct gate_header){p, strlen(p), colon + 1, strlen(colon + 1)};
	}
	return n;
}

static void headers(void **state)
{
	static const struct fields rows[] = {
		{"HTTP/1.1", "Host:a", 1},
		{"HTTP/1.1", "host:a:80|content-length:0", 1},
		{"HTTP/1.1", "Host:[::1]:80", 1},
		{"HTTP/1.0", "Accept:x", 1},
		{"HTTP/1.1", "Host:a|Transfer-Encoding:chunked", 1},
		{"HTTP/1.1", "Host:a|Transfer-Encoding:CHUNKED", 1},
		{"HTTP/1.1", "Host:a|X:a\tb", 1},
		{"HTTP/1.1", "Host:a|Accept:x|Accept:y", 1},
		{"HTTP/1.1", "Accept:x", 0},
		{"HTTP/1.1", "Host:a|Host:a", 0},
		{"HTTP/1.1", "Host:a|host:b", 0},
		{"HTTP/1.1", "Host:a b", 0},
		{"HTTP/1.1", "Host:a/b", 0},
		{"HTTP/1.1", "Host:a,b", 0},
		{"HTTP/1.1", "Host:u@a", 0},
		{"HTTP/1.1", "Host:a|Content-Length:1|Content-Length:1", 0},
		{"HTTP/1.1", "Host:a|Content-Length:1|Transfer-Encoding:chunked", 0},
		{"HTTP/1.1", "Host:a|Content-Length:+1", 0},
		{"HTTP/1.1", "Host:a|Content-Length:-1", 0},
		{"HTTP/1.1", "Host:a|Content-Length:1,1", 0},
		{"HTTP/1.1", "Host:a|Content-Length:0x1", 0},
		{"HTTP/1.1", "Host:a|Content-Length:1 ", 0},
		{"HTTP/1.1", "Host:a|Content-Length:9999999999999999999", 0},
		{"HTTP/1.1", "Host:a|Transfer-Encoding:xchunked", 0},
		{"HTTP/1.1", "Host:a|Transfer-Encoding:gzip, chunked", 0},
		{"HTTP/1.1", "Host:a|Transfer-Encoding:chunked|Transfer-Encoding:chunked", 0},
		{"HTTP/1.0", "Host:a|Transfer-Encoding:chunked", 0},
		{"HTTP/1.1", "Host:a|Authorization:x|Authorization:y", 0},
		{"HTTP/1.1", "Host:a|Range:x|Range:y", 0},
		{"HTTP/1.1", "Host:a|X y:z", 0},
		{"HTTP/1.1", "Host:a|X\x01:z", 0},
		{"HTTP/1.1", "Host:a|X:a\x01", 0},
		{"HTTP/1.1", "Host:a|X:a\x7f", 0},
		{"HTTP/1.1", "Host:a|X:a\r\nY", 0},
		{"HTTP/1.2", "Host:a", 0},
		{"HTTP/2.0", "Host:a", 0},
		{"", "Host:a", 0},
	};
	struct gate_header h[GATE_HEADERS_MAX + 1];
	char copy[256];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = split(rows[i].text, copy, h);
		const char *wrong = gate_check_headers(h, n, rows[i].version);

		if ((wrong == NULL) != (rows[i].good == 1))
			fail_msg("headers '%s': %s", rows[i].text, wrong ? wrong : "let through");
	}
	for (size_t i = 0; i <= GATE_HEADERS_MAX; i++)
		h[i] = (struct gate_header){"X", 1, "y", 1};
	h[0] = (struct gate_header){"Host", 4, "a", 1};
	assert_null(gate_check_headers(h, GATE_HEADERS_MAX, "HTTP/1.1"));
	assert_non_null(gate_check_headers(h, GATE_HEADERS_MAX + 1, "HTTP/1.1"));
	h[1] = (struct gate_header){"X", 1, "a\0b", 3};
	assert_non_null(gate_check_headers(h, 2, "HTTP/1.1"));
	h[1] = (struct gate_header){"X\0Y", 3, "a", 1};
	assert_non_null(gate_check_headers(h, 2, "HTTP/1.1"));
	h[1] = (struct gate_header){"", 0, "a", 1};
	assert_non_null(gate_check_headers(h, 2, "HTTP/1.1"));
}

static void decoding(void **state)
{
	char out[32];

	(void)state;
	assert_int_equal(gate_decode("/a%20b+c%41", 11, out), 7);
	assert_string_equal(out, "/a b+cA");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets),
		cmocka_unit_test(headers),
		cmocka_unit_test(decoding),
	};

	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
