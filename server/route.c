#include "server/route.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proto/suggest.h"

enum { QUERY_NAME_MAX = 31 };

static const char *const method_names[HTTP_METHODS] = {
	[HTTP_GET] = "GET",
	[HTTP_HEAD] = "HEAD",
	[HTTP_POST] = "POST",
	[HTTP_PUT] = "PUT",
	[HTTP_PATCH] = "PATCH",
	[HTTP_DELETE] = "DELETE",
};

/* Length of the segment at `p` (which stands behind its '/'). */
static size_t segment_len(const char *p)
{
	return (size_t)(strchrnul(p, '/') - p);
}

/* Does `path` have the shape of `pattern`? `*literals` gets a bit per segment that matched literally, first
 * segment highest, so that the larger number is the more literal pattern. */
static bool pattern_matches(const char *pattern, const char *path, unsigned *literals)
{
	*literals = 0;
	while (*pattern == '/' && *path == '/') {
		size_t want_len, have_len;

		pattern++;
		path++;
		want_len = segment_len(pattern);
		have_len = segment_len(path);
		*literals <<= 1;
		if (*pattern == ':') {
			if (have_len == 0 || have_len > ROUTE_CAPTURE_LEN_MAX)
				return false;
		} else {
			if (want_len != have_len || memcmp(pattern, path, want_len) != 0)
				return false;
			*literals |= 1;
		}
		pattern += want_len;
		path += have_len;
	}
	return *pattern == '\0' && *path == '\0';
}

static void pattern_capture(const char *pattern, const char *path, struct route_captures *cap)
{
	cap->n = 0;
	while (*pattern == '/') {
		size_t len;

		pattern++;
		path++;
		len = segment_len(path);
		if (*pattern == ':') {
			assert(cap->n < ROUTE_CAPTURES_MAX);
			memcpy(cap->text[cap->n], path, len);
			cap->text[cap->n][len] = '\0';
			cap->value[cap->n] = cap->text[cap->n];
			cap->n++;
		}
		pattern += segment_len(pattern);
		path += len;
	}
}

enum route_match route_find(const struct route *rows, size_t n_rows, enum http_method method,
	const char *path, const struct route **found, struct route_captures *cap, unsigned *allow)
{
	const struct route *best = NULL;
	unsigned best_literals = 0;
	unsigned methods = 0;

	for (size_t i = 0; i < n_rows; i++) {
		unsigned literals;
		bool is_mine;

		if (!pattern_matches(rows[i].path, path, &literals))
			continue;
		methods |= 1u << rows[i].method;
		if (rows[i].method == HTTP_GET)
			methods |= 1u << HTTP_HEAD;
		is_mine = rows[i].method == method || (rows[i].method == HTTP_GET && method == HTTP_HEAD);
		if (is_mine && (!best || literals > best_literals)) {
			best = &rows[i];
			best_literals = literals;
		}
	}
	if (best) {
		*found = best;
		pattern_capture(best->path, path, cap);
		return ROUTE_FOUND;
	}
	if (methods) {
		*allow = methods;
		return ROUTE_OTHER_METHOD;
	}
	return ROUTE_NOT_FOUND;
}

bool route_takes_query(const struct route *row, const char *name, const char **meant, size_t *meant_len)
{
	const size_t name_len = strlen(name);
	struct suggest near = {0};
	char known[QUERY_NAME_MAX + 1];
	size_t len;

	*meant = NULL;
	*meant_len = 0;
	if (!row->query)
		return true;
	for (const char *at = row->query; *at; at += len + (at[len] == ' ')) {
		const char *best = near.best;

		len = strcspn(at, " ");
		assert(len <= QUERY_NAME_MAX);
		if (len == name_len && memcmp(at, name, len) == 0)
			return true;
		memcpy(known, at, len);
		known[len] = '\0';
		suggest_offer(&near, name, known);
		if (near.best != best) {
			near.best = at; /* compared as a mark only */
			*meant = at;
			*meant_len = len;
		}
	}
	return false;
}

void route_allow_text(unsigned methods, char out[static ROUTE_ALLOW_LEN])
{
	size_t used = 0;

	out[0] = '\0';
	for (unsigned m = 0; m < HTTP_METHODS; m++) {
		if (methods & 1u << m) {
			int n = snprintf(out + used, ROUTE_ALLOW_LEN - used, "%s%s", used ? ", " : "",
				method_names[m]);

			used += (size_t)n;
		}
	}
}

enum http_method route_method(const char *name)
{
	for (int m = 0; m < HTTP_METHODS; m++) {
		if (strcmp(name, method_names[m]) == 0)
			return (enum http_method)m;
	}
	return HTTP_METHODS;
}

const char *route_method_name(enum http_method method)
{
	return method < HTTP_METHODS ? method_names[method] : "?";
}

const char *role_name(enum role role)
{
	switch (role) {
	case ROLE_VIEWER:
		return "viewer";
	case ROLE_UPLOADER:
		return "uploader";
	case ROLE_OPERATOR:
		return "operator";
	case ROLE_ADMIN:
		return "admin";
	default:
		return "nobody";
	}
}

unsigned route_doors(enum role role)
{
	switch (role) {
	case ROLE_PUBLIC:
	case ROLE_FETCH:
		return DOOR_ALL;
	case ROLE_DEVICE:
		return DOOR_DEVICES;
	case ROLE_CLIENT:
		return DOOR_CLIENTS;
	case ROLE_VIEWER:
	case ROLE_UPLOADER:
	case ROLE_OPERATOR:
	case ROLE_ADMIN:
		return DOOR_OPERATORS;
	}
	return 0;
}
