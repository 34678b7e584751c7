/* /healthz and /readyz, and the command that asks them. */
#ifndef SERVER_HEALTH_H
#define SERVER_HEALTH_H

#include "server/handler.h"

/* 200 as long as the loop turns, with the loop's lag and the number of connections. */
enum h_result health_live(struct req *req, struct res *res);

/* 200 when everything is loaded, else 503 that says what is missing. */
enum h_result health_ready(struct req *req, struct res *res);

/* Ask the otad of data directory `dir` over its socket. OTA_OK: its loop turns; whether it waits for a root
 * or for a migration is /readyz's business. */
OTA_MUST_USE enum ota_err health_ask(const char *dir, struct errmsg *e);

#endif
