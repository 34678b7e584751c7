/* The operators' side of otad: the token table and who waits for changes. Loop thread, but for ops_start. */
#ifndef SERVER_OPS_H
#define SERVER_OPS_H

#include "server/app.h"
#include "server/auth.h"
#include "server/timer.h"

struct db;
struct ops;

/* Before the loop runs, on the writing connection: load the tokens, and at the very first start make the
 * administrator's and write it to DIR/admin.token (0600). Fills app->ops. */
OTA_MUST_USE enum ota_err ops_start(struct app *app, struct db *db, struct errmsg *e);
void ops_stop(struct app *app);

/* The Bearer half of app_hooks.auth: fills req->who. OTA_DENIED: no such token. */
OTA_MUST_USE enum ota_err ops_auth(struct app *app, struct req *req);

/* After a change of the tokens: judge by these from now on. */
void ops_tokens(struct app *app, const struct auth_token *tokens, size_t n);

/* Is the device on the broker? A hint, never evidence. */
void ops_presence(struct app *app, const uint8_t device_id[16], bool *known, bool *online);

/* Something was committed: wake those who wait for it (GET /v1/changes), many commits at a time. */
void ops_changed(struct app *app);

/* otad ends, or will not wait any longer: wake every waiting request, and let none wait again. */
void ops_release_waiting(struct app *app);

/* One who waits; the memory is the request's. */
struct ops_waiter {
	void (*woken)(struct ops_waiter *w); /* once: by ops_changed, or when the time is over */
	void *ctx;
	struct timer timer;
	struct app *app;
	struct ops_waiter *next, **link;
};

enum { OPS_WAITERS_MAX = 1000 };

/* Wait for the next change, at most `ms`. False: too many wait already, or otad ends; answer at once. */
bool ops_wait(struct app *app, struct ops_waiter *w, int64_t ms);

#endif
