/* Between rollout.c and assignment.c. */
#ifndef DB_ROLLOUT_END_H
#define DB_ROLLOUT_END_H

#include "db/rollout.h"

/* Set the state and append the change. */
OTA_MUST_USE enum ota_err rollout_set_state(
	struct db *db, int64_t id, enum rollout_state state, int64_t now, struct errmsg *e);

/* A running rollout without open assignments is done. */
OTA_MUST_USE enum ota_err rollout_settle(struct db *db, int64_t id, int64_t now, struct errmsg *e);

#endif
