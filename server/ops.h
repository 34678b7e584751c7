/* The operators' side of otad: the token table, who waits for changes, what is worth a warning. */
#ifndef SERVER_OPS_H
#define SERVER_OPS_H

#include "server/app.h"
#include "server/auth.h"

struct db;
struct ops;

/* Before the loop runs, on the writing connection: load the tokens, and at the very first start make the
 * administrator's and write it to DIR/admin.token (0600). Fills app->ops. */
OTA_MUST_USE enum ota_err ops_start(struct app *app, struct db *db, struct errmsg *e);
void ops_stop(struct app *app);

/* The Bearer half of app_hooks.auth: fills req->who. OTA_DENIED: no such token. */
OTA_MUST_USE enum ota_err ops_auth(struct app *app, struct req *req);

/* Something was committed: answer those who wait for it (GET /v1/changes). */
void ops_changed(struct app *app);

/* otad ends, or will not wait any longer: answer every waiting request now. */
void ops_release_waiting(struct app *app);

#endif
