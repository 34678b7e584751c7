/* Identities: how a device is known to the outside. (kind, value) is unique; a device may have several. */
#ifndef DB_IDENTITY_H
#define DB_IDENTITY_H

#include "db/db.h"

/* Stored: append only. */
enum identity_kind {
	IDENTITY_OTAD = 0,      /* device-id of our agent, 32 hex digits; its key is derived (enroll.h) */
	IDENTITY_MAC = 1,       /* 12 hex digits, lower case: a weak name */
	IDENTITY_DDI = 2,       /* controller id */
	IDENTITY_CERT = 3,      /* SHA-256 of the certificate's public key, hex */
	IDENTITY_TOPIC = 4,     /* MQTT topic of a foreign client */
	IDENTITY_URL_TOKEN = 5, /* SHA-256 of a token inside a URL, hex */
	IDENTITY_TOKEN = 6,     /* SHA-256 of a bearer token, hex */
	IDENTITY_KIND_MAX = IDENTITY_TOKEN,
};

struct identity_row {
	int64_t id;
	int64_t device;
	enum identity_kind kind;
	const char *value;         /* 1..256 bytes, normalised by the caller (MAC: identity_mac) */
	const uint8_t *credential; /* the kind's own: a hash, never a secret in clear; NULL = none */
	size_t credential_len;     /* <= 256 */
	uint8_t link_id[16];       /* for image links (?d=); chosen by the caller, unique */
	int64_t created_at;
	int64_t revoked_at; /* 0 = valid */
};

struct identity_list {
	struct identity_row *rows;
	size_t n;
	int64_t next;
};

/* Add. id and revoked_at are not read. OTA_EXISTS: (kind, value) or the link id is taken, also by a revoked
 * one. OTA_NOT_FOUND: no such device. */
OTA_MUST_USE enum ota_err identity_insert(
	struct db *db, const struct identity_row *row, int64_t *id, struct errmsg *e);

/* OTA_NOT_FOUND. Revoked ones are found too: refuse them. */
OTA_MUST_USE enum ota_err identity_load(struct db *db, enum identity_kind kind, const char *value,
	struct arena *mem, struct identity_row *out, struct errmsg *e);
OTA_MUST_USE enum ota_err identity_load_link(struct db *db, const uint8_t link_id[static 16],
	struct arena *mem, struct identity_row *out, struct errmsg *e);

/* Replace the credential (NULL = none). OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err identity_set_credential(
	struct db *db, int64_t id, const uint8_t *credential, size_t len, struct errmsg *e);

/* Revoke (now > 0) or bring back (now = 0). OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err identity_revoke(struct db *db, int64_t id, int64_t now, struct errmsg *e);

/* Of one device (0: of all), oldest first. */
OTA_MUST_USE enum ota_err identity_list(struct db *db, int64_t device, const struct db_page *page,
	struct arena *mem, struct identity_list *out, struct errmsg *e);

/* "AA:BB:CC:DD:EE:FF", with '-', '.' or nothing between, as 12 lower-case digits. OTA_INVALID. */
OTA_MUST_USE enum ota_err identity_mac(const char *typed, char out[static 13]);

#endif
