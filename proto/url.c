#include "proto/url.h"

#include <string.h>

bool url_is_plain(struct ota_slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.p[i] <= 0x20 || text.p[i] >= 0x7f)
			return false;
	}
	return text.len > 0;
}

/* Bytes of the scheme with "://"; 0: neither of ours. */
static size_t scheme_len(struct ota_slice url)
{
	if (url.len >= 7 && memcmp(url.p, "http://", 7) == 0)
		return 7;
	if (url.len >= 8 && memcmp(url.p, "https://", 8) == 0)
		return 8;
	return 0;
}

bool url_is_base(struct ota_slice url)
{
	size_t host = scheme_len(url);

	if (host == 0 || url.len > URL_BASE_MAX || !url_is_plain(url))
		return false;
	if (url.len <= host + 1 || url.p[host] == '/' || url.p[url.len - 1] != '/')
		return false;
	for (size_t i = host; i < url.len; i++) {
		if (url.p[i] == '?' || url.p[i] == '#' || url.p[i] == '\\')
			return false;
	}
	return true;
}
