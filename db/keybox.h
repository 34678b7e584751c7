/* A few secrets under a passphrase: scrypt (RFC 7914; N 2^17, r 8, p 1) and AES-256-GCM.
 *
 * 	"otadkey1" | log2 N (1) | r (1) | p (1) | 0 | salt (16) | nonce (12) | ciphertext | tag (16)
 *
 * Everything before the ciphertext is authenticated too. */
#ifndef DB_KEYBOX_H
#define DB_KEYBOX_H

#include <stddef.h>
#include <stdint.h>

#include "proto/errmsg.h"

enum { KEYBOX_OVERHEAD = 8 + 4 + 16 + 12 + 16, KEYBOX_PASSPHRASE_MIN = 8 };

/* `out` has room for len + KEYBOX_OVERHEAD. OTA_INVALID: the passphrase is too short. */
OTA_MUST_USE enum ota_err keybox_seal(
	const char *passphrase, const void *bytes, size_t len, uint8_t *out, struct errmsg *e);

/* `out` has room for len - KEYBOX_OVERHEAD. OTA_DENIED: wrong passphrase, or changed bytes (nobody can tell
 * which). OTA_FORMAT: no such box. */
OTA_MUST_USE enum ota_err keybox_open(
	const char *passphrase, const uint8_t *box, size_t len, uint8_t *out, struct errmsg *e);

#endif
