/* Between enroll.c and secret.c. */
#ifndef DB_SECRET_H
#define DB_SECRET_H

#include "db/enroll.h"

/* Count a use. OTA_DENIED: there is none left. */
OTA_MUST_USE enum ota_err secret_use(struct db *db, int64_t id, struct errmsg *e);

#endif
