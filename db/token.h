/* Operators' tokens. Only the SHA-256 of a token is stored; a token has 256 random bits, so that is enough.
 */
#ifndef DB_TOKEN_H
#define DB_TOKEN_H

#include "db/db.h"

/* Stored: append only. Each may do what those before it may. */
enum token_role {
	TOKEN_VIEWER = 0,   /* reads */
	TOKEN_UPLOADER = 1, /* brings images and releases */
	TOKEN_OPERATOR = 2, /* changes the fleet */
	TOKEN_ADMIN = 3,    /* also tokens, roots, settings */
	TOKEN_ROLE_MAX = TOKEN_ADMIN,
};

struct token_row {
	int64_t id;
	char uid[17];     /* 16 hex digits, shown to operators */
	const char *name; /* unique among tokens that are not revoked */
	enum token_role role;
	uint8_t sha256[32];
	int64_t created_at;
	const char *created_by;
	int64_t expires_at; /* 0 = never; from this second on it is refused */
	int64_t used_at;    /* last use, to the minute; 0 = never */
	int64_t revoked_at; /* 0 = not revoked */
};

struct token_list {
	struct token_row *rows;
	size_t n;
	int64_t next;
};

/* Store a new token. Read: uid, name, role, sha256, created_at, created_by, expires_at. OTA_EXISTS: name, uid
 * or hash in use. OTA_INVALID: name. */
OTA_MUST_USE enum ota_err token_insert(
	struct db *db, const struct token_row *row, int64_t *id, struct errmsg *e);

/* Expired and revoked ones too (the caller asks token_is_valid). OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err token_load(
	struct db *db, int64_t id, struct arena *mem, struct token_row *out, struct errmsg *e);
/* By name (not revoked) or uid. */
OTA_MUST_USE enum ota_err token_find(
	struct db *db, const char *name_or_uid, struct arena *mem, struct token_row *out, struct errmsg *e);

/* Neither revoked nor expired at `now`. */
bool token_is_valid(const struct token_row *row, int64_t now);

/* Note a use. Writes at most once a minute per token and appends no change. */
OTA_MUST_USE enum ota_err token_used(struct db *db, int64_t id, int64_t now, struct errmsg *e);

/* Revoke for ever. Again: OTA_OK, nothing changed. OTA_NOT_FOUND. OTA_STATE: the last valid administrator's.
 */
OTA_MUST_USE enum ota_err token_revoke(struct db *db, int64_t id, int64_t now, struct errmsg *e);

/* The same without that check, for who gets in without a token. */
OTA_MUST_USE enum ota_err token_revoke_even_last(struct db *db, int64_t id, int64_t now, struct errmsg *e);

/* Oldest first, revoked ones too. */
OTA_MUST_USE enum ota_err token_list(struct db *db, const struct db_page *page, struct arena *mem,
	struct token_list *out, struct errmsg *e);
/* Those that are valid at `now` alone: what was revoked or has expired stays in the table for ever. */
OTA_MUST_USE enum ota_err token_list_valid(struct db *db, int64_t now, const struct db_page *page,
	struct arena *mem, struct token_list *out, struct errmsg *e);

#endif
