#include "server/auth.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/hex.h"

enum ota_err auth_role_parse(const char *name, enum role *out)
{
	for (enum role role = ROLE_VIEWER; role <= ROLE_ADMIN; role++) {
		if (strcmp(role_name(role), name) == 0) {
			*out = role;
			return OTA_OK;
		}
	}
	return OTA_INVALID;
}

void auth_release(struct auth *a)
{
	free(a->token);
	a->token = NULL;
	a->n = 0;
}

enum ota_err auth_replace(struct auth *a, const struct auth_token *tokens, size_t n)
{
	struct auth_token *copy = calloc(n ? n : 1, sizeof(*copy));

	if (!copy)
		return OTA_NO_MEMORY;
	if (n)
		memcpy(copy, tokens, n * sizeof(*copy));
	auth_release(a);
	a->token = copy;
	a->n = n;
	return OTA_OK;
}

static bool is_base64url(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			    c == '-' || c == '_'))
			return false;
	}
	return true;
}

const struct auth_token *auth_check(
	const struct auth *a, const struct ota_crypto *c, const char *header, int64_t now)
{
	const struct auth_token *found = NULL;
	uint8_t sha256[32];
	const char *text;

	if (!header || strncasecmp(header, "Bearer ", 7) != 0)
		return NULL;
	text = header + 7;
	if (strlen(text) != AUTH_TOKEN_LEN || memcmp(text, "otad_", 5) != 0 || text[13] != '_' ||
		!is_base64url(text + 5, 8) || !is_base64url(text + 14, 43))
		return NULL;
	ota_sha256(c, &(struct ota_slice){(const uint8_t *)text, AUTH_TOKEN_LEN}, 1, sha256);
	for (size_t i = 0; i < a->n; i++) {
		if (ota_ct_equal(a->token[i].sha256, sha256, sizeof(sha256)))
			found = &a->token[i];
	}
	return found && found->expires && found->expires <= now ? NULL : found;
}

void auth_make(const struct ota_crypto *c, const uint8_t random[AUTH_UID_LEN + AUTH_RANDOM_LEN],
	char text[AUTH_TOKEN_LEN + 1], char uid[2 * AUTH_UID_LEN + 1], uint8_t sha256[32])
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *r = random + AUTH_UID_LEN;
	size_t at = 14;

	memcpy(text, "otad_", 5);
	hex_encode(random, AUTH_UID_LEN, uid);
	memcpy(text + 5, uid, 8);
	text[13] = '_';
	/* RFC 4648 5, without padding: 32 bytes are 43 characters. */
	for (size_t i = 0; i < AUTH_RANDOM_LEN; i += 3) {
		size_t left = AUTH_RANDOM_LEN - i;
		uint32_t three = (uint32_t)r[i] << 16 | (left > 1 ? (uint32_t)r[i + 1] << 8 : 0) |
				 (left > 2 ? (uint32_t)r[i + 2] : 0);

		for (size_t k = 0; k < 4 && k <= left; k++)
			text[at++] = alphabet[three >> (18 - 6 * k) & 63];
	}
	text[at] = '\0';
	ota_sha256(c, &(struct ota_slice){(const uint8_t *)text, AUTH_TOKEN_LEN}, 1, sha256);
}
