/* Facts: what the database knows of a device or a board, as the registry holds it. Store thread, or before
 * the loop runs. */
#ifndef SERVER_FACTS_H
#define SERVER_FACTS_H

#include "db/device.h"
#include "server/keystore.h"
#include "server/registry.h"

/* A device with its latest assignment and its key, which is derived here. OTA_NOT_FOUND: it is gone, revoked
 * or not one of our agents: not for the registry. Temporary memory comes from `mem`. */
OTA_MUST_USE enum ota_err facts_load_device(struct db *db, const struct ota_crypto *c,
	const struct keystore *k, int64_t device, struct arena *mem, struct reg_facts *out, struct errmsg *e);

/* The same for a row that is loaded already. */
OTA_MUST_USE enum ota_err facts_of_row(struct db *db, const struct ota_crypto *c, const struct keystore *k,
	const struct device_row *row, struct arena *mem, struct reg_facts *out, struct errmsg *e);

/* OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err facts_load_board(
	struct db *db, int64_t id, struct arena *mem, struct reg_board *out, struct errmsg *e);

#endif
