#include "proto/hex.h"

#include <string.h>

void hex_encode(const void *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = bytes;

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

static int digit_value(char c, enum hex_case letters)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (letters == HEX_ANY && c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

enum ota_err hex_decode(const char *text, size_t text_len, enum hex_case letters, void *out, size_t len)
{
	uint8_t *p = out;

	/* len is compared by division: 2 * len could wrap */
	if (text_len % 2 || text_len / 2 != len)
		return OTA_INVALID;
	for (size_t i = 0; i < text_len; i++) {
		if (digit_value(text[i], letters) < 0)
			return OTA_INVALID;
	}
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(digit_value(text[2 * i], letters) << 4 |
				 digit_value(text[2 * i + 1], letters));
	return OTA_OK;
}

bool hex_is_lower(const char *text, size_t digits)
{
	for (size_t i = 0; i < digits; i++) {
		if (digit_value(text[i], HEX_LOWER) < 0)
			return false;
	}
	return text[digits] == '\0';
}

void uuid_encode(const uint8_t uuid[static UUID_LEN], char out[static UUID_TEXT_LEN + 1])
{
	static const uint8_t group_len[] = {4, 2, 2, 2, 6};
	char *p = out;

	for (unsigned g = 0; g < sizeof group_len; g++) {
		if (g)
			*p++ = '-';
		hex_encode(uuid, group_len[g], p);
		p += 2 * group_len[g];
		uuid += group_len[g];
	}
}

enum ota_err uuid_decode(const char *text, uint8_t out[static UUID_LEN])
{
	char digits[2 * UUID_LEN];
	size_t len = strlen(text), n = 0;

	if (len != UUID_TEXT_LEN)
		return hex_decode(text, len, HEX_ANY, out, UUID_LEN);
	for (size_t i = 0; i < len; i++) {
		bool at_dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (at_dash && text[i] != '-')
			return OTA_INVALID;
		if (!at_dash)
			digits[n++] = text[i];
	}
	return hex_decode(digits, n, HEX_ANY, out, UUID_LEN);
}
