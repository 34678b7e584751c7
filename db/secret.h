/* Of secret.c, for enroll.c and board.c. */
#ifndef DB_SECRET_H
#define DB_SECRET_H

#include "db/enroll.h"

/* Count a use. OTA_DENIED: there is none left. */
OTA_MUST_USE enum ota_err secret_use(struct db *db, int64_t id, struct errmsg *e);

/* Drop a board's secrets that no device can use any more. The keys that came of them stay what they are:
 * a key is derived from a secret's id, not from this row. */
OTA_MUST_USE enum ota_err secret_forget(struct db *db, int64_t board, int64_t now, struct errmsg *e);

#endif
