#include "proto/limits.h"

#include <stddef.h>
#include <string.h>

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '_' || c == '-';
}

bool limit_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > LIMIT_NAME || name[0] == '.' || name[0] == '-')
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!is_name_char(name[i]))
			return false;
	}
	return true;
}

bool limit_version_is_valid(const char *version)
{
	size_t len = strlen(version);

	if (len == 0 || len > LIMIT_VERSION)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (version[i] <= ' ' || version[i] > '~' || strchr("/\"\\,=", version[i]))
			return false;
	}
	return true;
}

bool limit_text_is_plain(const char *text, bool is_prose)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == 0x7f || (c < 0x20 && !(is_prose && (c == '\n' || c == '\t'))))
			return false;
	}
	return true;
}
