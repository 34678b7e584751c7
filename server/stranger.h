/* A device that is unknown here and shows its receipt: the database was restored from before it enrolled, or
 * lost. What it shows brings it back with its key, waiting for approval; without a receipt of ours it stays a
 * stranger. */
#ifndef SERVER_STRANGER_H
#define SERVER_STRANGER_H

#include "proto/checkin.h"
#include "server/handler.h"

/* Judge the check-in in req->body of the unknown device `id`. When its receipt and its MAC are right, `*ci`
 * is filled, the device is stored and put into the registry, and `then` continues the request. Else the
 * answer is 404, as to any stranger. `ci` is in req->mem. */
enum h_result stranger_come_in(struct req *req, struct res *res, const uint8_t id[static DEVICE_ID_LEN],
	struct checkin *ci, route_fn then);

#endif
