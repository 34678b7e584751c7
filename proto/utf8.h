/* What is well-formed UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef PROTO_UTF8_H
#define PROTO_UTF8_H

#include <stddef.h>

/* How many bytes the character at `text` has, of which `len` may be read; 0: none is there, or no UTF-8. */
size_t utf8_char(const void *text, size_t len);

#endif
