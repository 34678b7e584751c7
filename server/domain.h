/* The nouns' side of otad: registry, plan, keys, hooks. */
#ifndef SERVER_DOMAIN_H
#define SERVER_DOMAIN_H

#include "server/app.h"

/* Load the registry and the keys, fill app->hooks and app->domain. Before the loop runs: may read files and
 * the database. */
OTA_MUST_USE enum ota_err domain_start(struct app *app, struct errmsg *e);

/* After the loop ended and every job is done. */
void domain_stop(struct app *app);

#endif
