/* Bytes as hex text and as UUID text (RFC 9562), for host programs.
 *
 * Writing is lower case. Reading is strict: exactly the digits asked for, nothing before, between or behind.
 */
#ifndef PROTO_HEX_H
#define PROTO_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/err.h"

enum {
	UUID_LEN = 16,
	UUID_TEXT_LEN = 36, /* without the NUL */
};

enum hex_case {
	HEX_LOWER, /* 0-9 a-f only: identifiers of the protocol have one spelling */
	HEX_ANY,   /* either case, what people type */
};

/* `len` bytes as 2 * len digits and a NUL; `out` has room for 2 * len + 1. */
void hex_encode(const void *bytes, size_t len, char *out);

/* Exactly 2 * len digits at `text`, `text_len` long, into `len` bytes. OTA_INVALID otherwise; `out` is then
 * unchanged. */
OTA_MUST_USE enum ota_err hex_decode(
	const char *text, size_t text_len, enum hex_case letters, void *out, size_t len);

/* True when `text` is exactly `digits` digits of HEX_LOWER and then its NUL. */
bool hex_is_lower(const char *text, size_t digits);

/* 8-4-4-4-12 digits and a NUL. */
void uuid_encode(const uint8_t uuid[static UUID_LEN], char out[static UUID_TEXT_LEN + 1]);

/* NUL-terminated 8-4-4-4-12 or 32 digits without '-', either case. OTA_INVALID otherwise. */
OTA_MUST_USE enum ota_err uuid_decode(const char *text, uint8_t out[static UUID_LEN]);

#endif
