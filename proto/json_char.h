/* Text as the inside of a JSON string, for host programs; the one place that knows how. */
#ifndef PROTO_JSON_CHAR_H
#define PROTO_JSON_CHAR_H

#include <stddef.h>

enum { JSON_CHAR_MAX = 6 };

/* The first character of `text`, of `len` bytes (1 or more), as a JSON string has it: escaped where it must
 * be or is a control character, U+FFFD for a byte that is no UTF-8. Returns how many bytes of `out` are used,
 * without a NUL; `*taken` is how many of `text` they stand for, 1 or more. */
size_t json_char(const char *text, size_t len, char out[static JSON_CHAR_MAX], size_t *taken);

#endif
