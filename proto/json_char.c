#include "proto/json_char.h"

#include <string.h>

#include "proto/utf8.h"

size_t json_char(const char *text, size_t len, char out[static JSON_CHAR_MAX], size_t *taken)
{
	static const char digits[] = "0123456789abcdef", unknown[] = "\xef\xbf\xbd";
	const unsigned char c = (unsigned char)text[0];
	size_t n = utf8_char(text, len);

	*taken = n ? n : 1;
	if (n == 0) {
		memcpy(out, unknown, sizeof unknown - 1);
		return sizeof unknown - 1;
	}
	if (c == '"' || c == '\\') {
		out[0] = '\\';
		out[1] = text[0];
		return 2;
	}
	if (c < 0x20 || c == 0x7f) {
		memcpy(out, "\\u00", 4);
		out[4] = digits[c >> 4];
		out[5] = digits[c & 15];
		return 6;
	}
	memcpy(out, text, n);
	return n;
}
