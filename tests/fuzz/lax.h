/* Crypto that finds every signature and MAC right, so that a fuzzer reaches what lies behind them; its hash
 * is OpenSSL's. A MAC is compared with HMAC, so mac_fix() puts the right one behind an object first. */
#ifndef TESTS_FUZZ_LAX_H
#define TESTS_FUZZ_LAX_H

#include "proto/crypto.h"

const struct ota_crypto *lax_crypto(void);

/* A copy of `data` in which the last 32 bytes, where they are the tag of a COSE_Mac0, fit `key` and `aad`.
 * Free it. */
uint8_t *lax_mac_fix(const uint8_t *data, size_t size, const uint8_t key[32], const char *aad);

#endif
