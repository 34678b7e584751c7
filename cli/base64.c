#include "cli/base64.h"

#include <string.h>

static int value_of(char c)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

bool base64_decode(const char *text, uint8_t *out, size_t cap, size_t *len)
{
	size_t n = strlen(text), done = 0, pad = 0;

	if (n % 4 || n / 4 * 3 > cap)
		return false;
	while (pad < 2 && pad < n && text[n - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < n; i += 4) {
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			bool is_pad = i + k >= n - pad;
			int d = is_pad ? 0 : value_of(text[i + k]);

			if (d < 0)
				return false;
			v = v << 6 | (uint32_t)d;
		}
		out[done++] = (uint8_t)(v >> 16);
		out[done++] = (uint8_t)(v >> 8);
		out[done++] = (uint8_t)v;
	}
	*len = done - pad;
	return true;
}
