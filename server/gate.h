/* The request gate: what libmicrohttpd 0.9.75 lets through and RFC 9110/9112 forbids, as pure functions.
 *
 * A request that two parsers could read differently is refused with 400 and its connection closed: two
 * lengths, two hosts, a length beside a coding, an unknown coding, NUL bytes, paths that climb or hide a
 * slash. Bare CR and LF are gone before a handler can see them. */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

#include <stdbool.h>
#include <stddef.h>

enum {
	GATE_HEADERS_MAX = 32,
	GATE_TARGET_MAX = 2048,
};

/* One header field as the library parsed it, lengths included: a NUL inside shows as a difference to strlen.
 */
struct gate_header {
	const char *name;
	size_t name_len;
	const char *value;
	size_t value_len;
};

/* Check the raw request target ("/v1/x?y=z", undecoded). NULL: good; else a constant text of what is wrong.
 */
const char *gate_check_target(const char *target, size_t len);

/* Check the header fields of a request of `http_version` ("HTTP/1.1"). NULL: good. */
const char *gate_check_headers(const struct gate_header *h, size_t n, const char *http_version);

/* Decode the percent signs of `len` bytes of a target that passed gate_check_target ('+' stays '+'). `out`
 * has room for len + 1 and gets a NUL behind. Returns the decoded length. */
size_t gate_decode(const char *text, size_t len, char *out);

#endif
