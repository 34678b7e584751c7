/* Base64 (RFC 4648, section 4) as JSON carries binary objects. */
#ifndef CLI_BASE64_H
#define CLI_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strict: padded, no white space. False when it is not base64 or does not fit into `cap` (which needs 2 spare
 * bytes). */
bool base64_decode(const char *text, uint8_t *out, size_t cap, size_t *len);

#endif
