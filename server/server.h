/* otad as a process: start in order, run, end in order. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "server/config.h"

/* Serve until SIGTERM or SIGINT. argv and env are read again at SIGHUP. Returns after a clean end; the error
 * of a start that failed otherwise. `cfg` stays the caller's. */
OTA_MUST_USE enum ota_err server_run(
	struct config *cfg, int argc, char *const *argv, char *const *env, struct errmsg *e);

#endif
