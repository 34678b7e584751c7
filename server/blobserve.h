/* /i/<64 hex>: immutable images by their SHA-256, with everything RFC 9110 says of ranges and validators.
 *
 * Plain HTTP answers from a shared mapping whose first touched MiB a worker has populated (MADV_POPULATE_READ
 * reports an error where a touch would be SIGBUS); TLS answers from the file descriptor. A read error marks
 * the image damaged (app_hooks.image_damaged): it answers 503 from then on. */
#ifndef SERVER_BLOBSERVE_H
#define SERVER_BLOBSERVE_H

#include "server/handler.h"

struct blobserve;

OTA_MUST_USE enum ota_err blobserve_new(struct app *app, struct blobserve **out, struct errmsg *e);
void blobserve_free(struct blobserve *bs);

/* otad ends: downloads that break off from now on say nothing about the disk. */
void blobserve_drain(struct blobserve *bs);

/* The handler of GET and HEAD /i/:sha256. */
enum h_result blobserve_get(struct req *req, struct res *res);

/* Forget the mapping of an image that was removed. */
void blobserve_drop(struct blobserve *bs, const uint8_t sha256[32]);

#endif
