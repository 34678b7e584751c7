/* A streamed request body: two buffers between the loop and the worker that writes.
 *
 * While a worker writes one buffer the loop fills the other; with both full the connection is suspended until
 * one is free. Between http_exchange.c and handler.c; handlers use req_upload(). Loop thread only. */
#ifndef SERVER_UPLOAD_H
#define SERVER_UPLOAD_H

#include "server/handler.h"

enum { UPLOAD_BUFFER_LEN = 256 * 1024 };

/* Offer bytes; returns how many were taken. Fewer than `len`: stop reading until req->resume is called. After
 * an error all are taken and dropped. */
size_t upload_feed(struct req *req, const uint8_t *bytes, size_t len);

/* No more bytes will come; `why` is OTA_OK after the last one, OTA_TRUNCATED when the client is gone. Runs
 * the handler's `end` when everything is written: H_DONE when that is now, else H_WAIT and req->resume later.
 */
enum h_result upload_end(struct req *req, enum ota_err why);

/* True between req_upload() and upload_end(). */
bool upload_is_open(const struct req *req);

void upload_free(struct upload *up);

#endif
