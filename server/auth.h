/* Bearer tokens: who may call an operators' route.
 *
 * A token is "otad_<8 hex id>_<43 base64url characters of 32 random bytes>"; the id is the beginning of the
 * one that lists show, and only the SHA-256 of the whole is kept. The
 * table is in memory, loaded at start and after every change of it, so that a request costs one hash and no
 * disk. Loop thread only. */
#ifndef SERVER_AUTH_H
#define SERVER_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/crypto.h"
#include "server/route.h"

enum {
	AUTH_UID_LEN = 8, /* bytes of a token's id: 16 hex digits, the first 8 of which are in the token */
	AUTH_RANDOM_LEN = 32, /* bytes of the secret part */
	AUTH_TOKEN_LEN = 5 + 8 + 1 + 43,
	AUTH_TOKENS_MAX = 1000,
};

struct auth_token {
	int64_t id;
	uint8_t sha256[32]; /* of the whole text */
	enum role role;     /* ROLE_VIEWER .. ROLE_ADMIN */
	int64_t expires;    /* 0: never */
	int64_t used;       /* last noted use, to the minute; 0: never */
	char name[64];
};

/* A zeroed table is empty. */
struct auth {
	struct auth_token *token; /* owned */
	size_t n;
};

void auth_release(struct auth *a);

/* Take the place of the whole table. `tokens` is copied. OTA_NO_MEMORY: the old table stays. */
OTA_MUST_USE enum ota_err auth_replace(struct auth *a, const struct auth_token *tokens, size_t n);

/* The token behind the text of an Authorization header ("Bearer otad_..."). NULL: none, wrong, or expired at
 * `now`; the time taken does not tell how much of a secret was right. */
const struct auth_token *auth_check(
	const struct auth *a, const struct ota_crypto *c, const char *header, int64_t now);

/* A new token's text, its id and what is stored of it, from `random` (AUTH_UID_LEN + AUTH_RANDOM_LEN bytes).
 */
void auth_make(const struct ota_crypto *c, const uint8_t random[AUTH_UID_LEN + AUTH_RANDOM_LEN],
	char text[AUTH_TOKEN_LEN + 1], char uid[2 * AUTH_UID_LEN + 1], uint8_t sha256[32]);

OTA_MUST_USE enum ota_err auth_role_parse(const char *name, enum role *out);

#endif
