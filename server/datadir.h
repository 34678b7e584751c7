/* The data directory: made, locked, and the sockets that stand in the file system. */
#ifndef SERVER_DATADIR_H
#define SERVER_DATADIR_H

#include "proto/errmsg.h"
#include "server/doors.h"

/* Make DIR (0700) where it is missing and take DIR/lock. `*lock_fd` holds it as long as it is open. OTA_BUSY:
 * another otad has it; the words name its process. */
OTA_MUST_USE enum ota_err datadir_lock(const char *dir, int *lock_fd, struct errmsg *e);

/* The words for a database that cannot be used: those of the engine in `e`, and what to do. OTA_CORRUPT. */
OTA_MUST_USE enum ota_err datadir_damaged(const char *dir, struct errmsg *e);

/* A listening socket at DIR/otad.sock, 0600; a stale one is replaced (the lock is held). */
OTA_MUST_USE enum ota_err datadir_listen_socket(
	const char *dir, struct door_spec *spec, int *fd, struct errmsg *e);
void datadir_unlink_socket(const char *dir);

/* A listening socket for a door. */
OTA_MUST_USE enum ota_err door_listen(const struct door_spec *spec, int *fd, struct errmsg *e);

/* Raise the soft limit of descriptors to the hard one and make `*connections` fit below it. Returns how many
 * descriptors there are. */
int64_t datadir_fit_descriptors(int64_t *connections);

#endif
