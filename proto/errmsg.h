/* Words for an error: the caller's fixed buffer, filled by the function that failed.
 *
 * Host programs only; proto and the agent return numbers. A function that takes a `struct errmsg *e` writes
 * it only when it fails, once, at the spot where the cause is known. Callers may prefix. The top logs or
 * prints it once. `e` may be NULL wherever a function takes one. */
#ifndef PROTO_ERRMSG_H
#define PROTO_ERRMSG_H

#include "proto/err.h"

/* NUL-terminated UTF-8, lower case, no full stop; a text that is too long ends in "...". */
struct errmsg {
	char text[256];
};

/* Replace the text. */
void errmsg_set(struct errmsg *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put words before the text that is there: errmsg_prefix(e, "board '%s': ", name). */
void errmsg_prefix(struct errmsg *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Replace the text and return `err`, so that a failing function ends in one line. */
enum ota_err errmsg_fail(struct errmsg *e, enum ota_err err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As errmsg_fail, with ": <strerror>" of `errnum` behind; the error is errmsg_errno's. */
enum ota_err errmsg_fail_errno(struct errmsg *e, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* What an errno means to a caller: ENOSPC, EDQUOT -> OTA_NO_SPACE; ENOENT -> OTA_NOT_FOUND; EEXIST ->
 * OTA_EXISTS; EACCES, EPERM, EROFS -> OTA_DENIED; ENOMEM -> OTA_NO_MEMORY; EMFILE, ENFILE -> OTA_LIMIT; all
 * else -> OTA_IO. */
enum ota_err errmsg_errno(int errnum);

#endif
