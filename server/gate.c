#include "server/gate.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* The byte a percent sign stands for; -1: not two hex digits within `len`. */
static int percent_value(const char *p, size_t len)
{
	int high, low;

	if (len < 3)
		return -1;
	high = hex_value(p[1]);
	low = hex_value(p[2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static const char *check_bytes(const char *target, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)target[i];

		if (c <= 0x20 || c >= 0x7f || c == '#' || c == '\\' || c == '"' || c == '<' || c == '>')
			return "byte in the request target that must be percent-encoded";
		if (c == '%') {
			int v = percent_value(target + i, len - i);

			if (v < 0)
				return "percent sign without two hex digits";
			if (v < 0x20 || v == 0x7f)
				return "encoded control byte in the request target";
		}
	}
	return NULL;
}

/* Is the segment "." or ".." once decoded? */
static bool segment_climbs(const char *p, size_t len)
{
	unsigned dots = 0;

	while (len > 0) {
		if (*p == '.') {
			p++;
			len--;
		} else if (*p == '%' && percent_value(p, len) == '.') {
			p += 3;
			len -= 3;
		} else {
			return false;
		}
		if (++dots > 2)
			return false;
	}
	return dots > 0;
}

static const char *check_path(const char *path, size_t len)
{
	size_t start = 1;

	for (size_t i = 1; i <= len; i++) {
		if (i < len && path[i] == '%') {
			int v = percent_value(path + i, len - i);

			if (v == '/' || v == '\\')
				return "encoded slash in the path";
		}
		if (i < len && path[i] != '/')
			continue;
		if (i == start && i < len)
			return "empty segment in the path";
		if (segment_climbs(path + start, i - start))
			return "dot segment in the path";
		start = i + 1;
	}
	return NULL;
}

const char *gate_check_target(const char *target, size_t len)
{
	const char *query = memchr(target, '?', len);
	const char *wrong;

	if (len == 0 || target[0] != '/')
		return "request target does not begin with '/'";
	if (len > GATE_TARGET_MAX)
		return "request target too long";
	wrong = check_bytes(target, len);
	if (wrong)
		return wrong;
	return check_path(target, query ? (size_t)(query - target) : len);
}

static bool is_token_byte(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *check_field(const struct gate_header *h)
{
	if (h->name_len == 0)
		return "header without a name";
	for (size_t i = 0; i < h->name_len; i++) {
		if (!is_token_byte((unsigned char)h->name[i]))
			return "header name is not a token";
	}
	for (size_t i = 0; i < h->value_len; i++) {
		unsigned char c = (unsigned char)h->value[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return "control byte in a header value";
	}
	return NULL;
}

static bool name_is(const struct gate_header *h, const char *name)
{
	return h->name_len == strlen(name) && strncasecmp(h->name, name, h->name_len) == 0;
}

static bool is_content_length(const char *v, size_t len)
{
	/* 18 digits: every value fits an int64, with room to add. */
	if (len == 0 || len > 18)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (v[i] < '0' || v[i] > '9')
			return false;
	}
	return true;
}

static bool is_host(const char *v, size_t len)
{
	if (len == 0 || len > 255)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)v[i];

		if (c <= 0x20 || c >= 0x7f || strchr("/\\@?#<>\"{}^`|,", c))
			return false;
	}
	return true;
}

/* Fields that a request may carry once: two of them mean two readings. */
static const char *const singletons[] = {
	"Host",
	"Content-Length",
	"Transfer-Encoding",
	"Authorization",
	"Content-Type",
	"Range",
	"If-Range",
	"Upload-Offset",
	"Upload-Length",
	"Expect",
};
enum { SINGLETONS = sizeof singletons / sizeof singletons[0] };

const char *gate_check_headers(const struct gate_header *h, size_t n, const char *http_version)
{
	unsigned seen[SINGLETONS] = {0};
	bool is_10 = strcmp(http_version, "HTTP/1.0") == 0;

	if (!is_10 && strcmp(http_version, "HTTP/1.1") != 0)
		return "HTTP version is not 1.0 or 1.1";
	if (n > GATE_HEADERS_MAX)
		return "too many header fields";
	for (size_t i = 0; i < n; i++) {
		const char *wrong = check_field(&h[i]);

		if (wrong)
			return wrong;
		for (unsigned s = 0; s < SINGLETONS; s++)
			seen[s] += name_is(&h[i], singletons[s]);
		if (name_is(&h[i], "Content-Length") && !is_content_length(h[i].value, h[i].value_len))
			return "Content-Length is not a number";
		if (name_is(&h[i], "Transfer-Encoding") &&
			(h[i].value_len != 7 || strncasecmp(h[i].value, "chunked", 7) != 0))
			return "Transfer-Encoding is not chunked";
		if (name_is(&h[i], "Host") && !is_host(h[i].value, h[i].value_len))
			return "Host is not a host";
	}
	if (seen[1] && seen[2])
		return "Content-Length beside Transfer-Encoding";
	if (seen[2] && is_10)
		return "Transfer-Encoding in HTTP/1.0";
	for (unsigned s = 0; s < SINGLETONS; s++) {
		if (seen[s] > 1)
			return "header field that may stand once stands twice";
	}
	if (!seen[0] && !is_10)
		return "no Host";
	return NULL;
}

size_t gate_decode(const char *text, size_t len, char *out)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		int v = text[i] == '%' ? percent_value(text + i, len - i) : -1;

		if (v >= 0) {
			out[used++] = (char)v;
			i += 2;
		} else {
			out[used++] = text[i];
		}
	}
	out[used] = '\0';
	return used;
}
