/* Enrollment: secrets' ids, and which secret and nonces each device's key came from.
 *
 * Neither a secret nor a device's key is stored: both are derived from DIR/keys and what stands here. */
#ifndef DB_ENROLL_H
#define DB_ENROLL_H

#include "db/db.h"

struct secret_row {
	int64_t id;
	uint8_t secret_id[8]; /* unique */
	int64_t board;        /* whose devices it enrolls */
	const char *note;
	const char *name;      /* the device's name, for a secret made for one device; "" = none */
	const uint8_t *serial; /* only this one may use it; NULL = any */
	size_t serial_len;     /* 1..32 */
	uint32_t uses_max;     /* > 0 */
	uint32_t uses;         /* so far. Not read by insert */
	bool is_approving;     /* its devices need no operator */
	int64_t created_at;
	const char *created_by;
	int64_t expires_at; /* 0 = never; from this second on it is refused */
	int64_t revoked_at;
};

struct secret_list {
	struct secret_row *rows;
	size_t n;
	int64_t next;
};

/* Add. OTA_EXISTS: secret_id, or `name` is a device's or another unused secret's. OTA_NOT_FOUND: board.
 * OTA_STATE: a device, or an unused secret, of another board of the vendor has the serial, so both would be
 * one device. OTA_INVALID: name, serial, uses_max. */
OTA_MUST_USE enum ota_err secret_insert(
	struct db *db, const struct secret_row *row, int64_t *id, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err secret_load(struct db *db, const uint8_t secret_id[static 8], struct arena *mem,
	struct secret_row *out, struct errmsg *e);

/* Revoke: no further enrollment; devices that have enrolled stay. Again: OTA_OK. OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err secret_revoke(
	struct db *db, const uint8_t secret_id[static 8], int64_t now, struct errmsg *e);

/* Newest first. */
OTA_MUST_USE enum ota_err secret_list(struct db *db, const struct db_page *page, struct arena *mem,
	struct secret_list *out, struct errmsg *e);
/* Those made for a device of that name, never used and not revoked (expired ones too). */
OTA_MUST_USE enum ota_err secret_list_unused(struct db *db, const char *name, const struct db_page *page,
	struct arena *mem, struct secret_list *out, struct errmsg *e);

/* A request whose MAC under the secret was right, or a receipt whose MAC was. */
struct enroll_in {
	uint8_t secret_id[8];
	uint8_t device_id[16]; /* UUIDv5(vendor-id, serial) */
	uint8_t vendor_id[16]; /* not read by enroll_restore */
	uint8_t class_id[16];
	const uint8_t *serial; /* NULL for a receipt */
	size_t serial_len;
	uint8_t nonce_d[16];
	uint8_t nonce_s[16]; /* enroll_device: a fresh random one, used if this nonce_d is new */
	uint8_t link_id[16]; /* a fresh random one */
	int64_t now;
	uint64_t devices_max; /* 0 = no limit */
};

enum enroll_outcome {
	ENROLL_APPROVED, /* a new device, approved by its secret */
	ENROLL_PENDING,  /* a new device, waits for the operator */
	ENROLL_REPEATED, /* the same request again: the same answer, no use counted */
	ENROLL_WAITING,  /* the device exists: its key stays, the new one waits for enroll_accept */
};

struct enroll_out {
	int64_t device;
	enum enroll_outcome outcome;
	uint8_t nonce_s[16]; /* for the answer */
};

/* Enroll: count a use, add the device with its identity, or find it. OTA_NOT_FOUND: no such secret.
 * OTA_DENIED: revoked, expired, used up, or made for another serial. OTA_CLASS: no board of that class, or
 * not the secret's, or not that of the device with this id. OTA_VENDOR. OTA_LIMIT: devices_max. A name that
 * is taken meanwhile does not fail: the device is then called by its uid. */
OTA_MUST_USE enum ota_err enroll_device(
	struct db *db, const struct enroll_in *in, struct enroll_out *out, struct errmsg *e);

/* A receipt of a device that the database does not know (a restored backup): add it as pending with the
 * nonces of the receipt. A device that is there: ENROLL_REPEATED when its nonces are these, else
 * ENROLL_WAITING and nothing changed. OTA_DENIED: that enrolment's device was removed, or it was refused,
 * here. OTA_CLASS, OTA_LIMIT. */
OTA_MUST_USE enum ota_err enroll_restore(
	struct db *db, const struct enroll_in *in, struct enroll_out *out, struct errmsg *e);

/* The waiting enrolment becomes the device's key; its counter starts anew. OTA_NOT_FOUND: none waits. */
OTA_MUST_USE enum ota_err enroll_accept(struct db *db, int64_t device, int64_t now, struct errmsg *e);

/* The waiting enrolment is over: its request, repeated, makes none wait. OTA_NOT_FOUND: none waits. */
OTA_MUST_USE enum ota_err enroll_refuse(struct db *db, int64_t device, int64_t now, struct errmsg *e);

#endif
