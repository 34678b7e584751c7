/* GET and HEAD /i/<64 hex>: immutable images by their SHA-256, with everything RFC 9110 says of ranges and
 * validators.
 *
 * Plain HTTP answers from a shared mapping whose first touched MiB a job has populated (MADV_POPULATE_READ
 * reports an error where a touch would be SIGBUS); TLS answers from the file descriptor. When an
 * answer breaks off, a job reads what is around the place where it stopped; a read error marks the image
 * damaged (app_hooks.image_damaged): it answers 503 from then on. */
#ifndef SERVER_BLOBSERVE_H
#define SERVER_BLOBSERVE_H

#include "server/handler.h"

enum h_result blobserve_get(struct req *req, struct res *res);

#endif
