/* Settings that live in the database: what otad itself decided or an operator set at run time (not
 * otad.conf). */
#ifndef DB_SETTING_H
#define DB_SETTING_H

#include "db/db.h"

/* The text of a setting, in `mem`. OTA_NOT_FOUND: never set. */
OTA_MUST_USE enum ota_err setting_get(
	struct db *db, const char *name, struct arena *mem, const char **value, struct errmsg *e);

/* As setting_get, as a decimal number. OTA_CORRUPT: not a number. */
OTA_MUST_USE enum ota_err setting_get_i64(struct db *db, const char *name, int64_t *value, struct errmsg *e);

/* Set; value NULL removes. OTA_INVALID: name outside limit_name_is_valid, or a value above 4,096 bytes. */
OTA_MUST_USE enum ota_err setting_set(
	struct db *db, const char *name, const char *value, int64_t now, struct errmsg *e);
OTA_MUST_USE enum ota_err setting_set_i64(
	struct db *db, const char *name, int64_t value, int64_t now, struct errmsg *e);

/* All of them, by name. */
struct setting_row {
	const char *name, *value;
	int64_t updated_at;
};
struct setting_list {
	struct setting_row *rows;
	size_t n;
};
OTA_MUST_USE enum ota_err setting_list(
	struct db *db, struct arena *mem, struct setting_list *out, struct errmsg *e);

#endif
