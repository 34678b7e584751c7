/* The device side of HTTP: /d/v1/. CBOR in and out, statuses as docs/protocol.md says, no words for
 * strangers. */
#ifndef SERVER_H_DEVICE_H
#define SERVER_H_DEVICE_H

#include "server/handler.h"

enum h_result h_device_enroll(struct req *req, struct res *res);   /* POST /d/v1/enroll */
enum h_result h_device_checkin(struct req *req, struct res *res);  /* POST /d/v1/checkin */
enum h_result h_device_envelope(struct req *req, struct res *res); /* GET /d/v1/envelope/:digest */
enum h_result h_device_root(struct req *req, struct res *res);     /* GET /d/v1/root/:n */

/* Do so many requests wait for the store and for signatures that devices are told to come back? */
bool device_is_herd(const struct app *app);

/* 429 or 503 with a Retry-After that spreads a herd. */
enum h_result device_come_back(struct req *req, struct res *res, unsigned status);

/* The device half of app_hooks.auth: "Authorization: OTA <device-id>.<proof>", or the proof in an image link
 * (?d=&k=). Fills req->who. OTA_DENIED: neither is right. OTA_NOT_FOUND: the request shows no such thing. */
OTA_MUST_USE enum ota_err device_auth(struct app *app, struct req *req);

#endif
