/* Boards: a hardware class, what it can install and how its devices talk. */
#ifndef DB_BOARD_H
#define DB_BOARD_H

#include "db/db.h"

enum {
	BOARD_COMPONENTS_MAX = 4,  /* signed-objects 1: components 1 to 4 */
	BOARD_ALG_ESP256 = 1 << 0, /* bits of `algorithms`: what its agents verify releases with */
	BOARD_ALG_ED25519 = 1 << 1,
};

/* Stored: append only. How its devices talk. */
enum client_kind {
	CLIENT_OTAD = 0, /* our agent */
	CLIENT_URL = 1,  /* fetches by URL alone */
	CLIENT_DDI = 2,  /* hawkBit direct device integration */
	CLIENT_MQTT = 3,
	CLIENT_KIND_MAX = CLIENT_MQTT,
};

struct board_component {
	uint8_t id[8];              /* SUIT component id */
	uint8_t id_len;             /* 1..8 */
	char name[DB_NAME_MAX + 1]; /* what operators call it: "firmware"; unique on the board */
	uint64_t size_max;          /* bytes of one slot; 0 = not known */
	char format[24];            /* image_format_name() that it takes; "" = any */
};

struct board_row {
	int64_t id;
	int64_t revision;                    /* rises by one with every change; starts at 1 */
	const char *name;                    /* unique, changeable */
	uint8_t vendor_id[16], class_id[16]; /* class_id unique; neither changes */
	const char *chip;                    /* as proto/image.h names them; "" = not said */
	enum client_kind client;
	uint32_t algorithms;   /* BOARD_ALG_* bits */
	uint32_t envelope_max; /* bytes its agents take; 1,024 unless said */
	uint32_t poll_s;       /* asked poll interval; 0 = the server's default */
	size_t n_components;   /* 1..4, in the board's order */
	struct board_component components[BOARD_COMPONENTS_MAX];
	uint32_t sequence; /* highest of its manifests; 0 = none yet. Not read by insert and update */
	int64_t created_at;
	const char *created_by;
};

struct board_list {
	struct board_row *rows;
	size_t n;
	int64_t next;
};

/* Add a board; id, revision and sequence are not read. OTA_EXISTS: the name or the class-id is in use.
 * OTA_INVALID: name, component names or counts. */
OTA_MUST_USE enum ota_err board_insert(
	struct db *db, const struct board_row *row, int64_t *id, struct errmsg *e);

/* Change name, chip, client, algorithms, limits and components (their number and ids only while the board has
 * no release: OTA_STATE). OTA_CONFLICT: revision. OTA_EXISTS: name. `*revision` (may be NULL) is the new one.
 */
OTA_MUST_USE enum ota_err board_update(struct db *db, int64_t id, int64_t if_revision,
	const struct board_row *row, int64_t *revision, struct errmsg *e);

/* Remove a board that nothing needs, and its secrets that are used up, expired at `now` or revoked.
 * OTA_STATE: it has devices, releases or other secrets, and the words how many. OTA_NOT_FOUND, OTA_CONFLICT.
 */
OTA_MUST_USE enum ota_err board_delete(
	struct db *db, int64_t id, int64_t if_revision, int64_t now, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err board_load(
	struct db *db, int64_t id, struct arena *mem, struct board_row *out, struct errmsg *e);
OTA_MUST_USE enum ota_err board_load_name(
	struct db *db, const char *name, struct arena *mem, struct board_row *out, struct errmsg *e);
OTA_MUST_USE enum ota_err board_load_class(struct db *db, const uint8_t class_id[static 16],
	struct arena *mem, struct board_row *out, struct errmsg *e);

/* Oldest first. `chip` NULL for all, else only boards of that chip (which board is this image for?). */
OTA_MUST_USE enum ota_err board_list(struct db *db, const char *chip, const struct db_page *page,
	struct arena *mem, struct board_list *out, struct errmsg *e);

#endif
