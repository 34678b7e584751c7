/* Shared by the tests of the contract: fixed keys, hex, files, and the mutations that every signed object has
 * to survive (each single-bit flip, each truncation, appended bytes). */
#ifndef TESTS_UNIT_PROTO_UTIL_H
#define TESTS_UNIT_PROTO_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cose.h"
#include "proto/crypto_openssl.h"
#include "proto/keys.h"

#define LEN(a) (sizeof(a) / sizeof(a)[0])

/* A decoder under mutation: its verdict on `len` bytes, which lie in a heap block of exactly that size. */
typedef enum ota_err (*verdict_fn)(const uint8_t *bytes, size_t len, void *ctx);

/* Hex text to bytes; white space is skipped. Fails the test on anything else. Returns the length. */
size_t from_hex(const char *hex, void *buf, size_t cap);

#define assert_hex(p, len, hex) check_hex((p), (len), (hex), __FILE__, __LINE__)
void check_hex(const void *p, size_t len, const char *hex, const char *file, int line);

/* Compare error codes; a failure prints both names. */
#define assert_err(got, want) check_err((got), (want), __FILE__, __LINE__)
void check_err(enum ota_err got, enum ota_err want, const char *file, int line);

/* The verdict on a copy in a block of its own. */
enum ota_err verdict_on(const uint8_t *bytes, size_t len, verdict_fn fn, void *ctx);
/* The good bytes are OK, and every single-bit flip is refused. Returns how many flips were tried. */
size_t try_bit_flips(const uint8_t *bytes, size_t len, verdict_fn fn, void *ctx);
/* Every truncation and 1..16 appended bytes are refused with wire reason 1. */
size_t try_lengths(const uint8_t *bytes, size_t len, verdict_fn fn, void *ctx);

/* Change `from` into `to` (same length) at its only place in `bytes`. */
void replace_once(uint8_t *bytes, size_t len, const void *from, const void *to, size_t n);

enum { TEST_SIGNERS = 12 };
/* The n-th fixed P-256 signer, and an Ed25519 one; they live until the program ends. */
const struct ota_signer *test_signer(unsigned n);
const struct ota_signer *test_signer_ed25519(void);
/* The same as trusted keys. */
struct cose_key test_key(const struct ota_signer *s);

/* `n` bytes first, first + 1, ... */
void fill(void *out, size_t n, uint8_t first);

/* A file under $OTA_SHARED or ../shared; NULL when it is not there. Free it. */
uint8_t *shared_file(const char *name, size_t *len);
/* A file of the source tree; fails the test when it is not there. Free it; a NUL follows. */
uint8_t *source_file(const char *name, size_t *len);
/* For main(): says so and exits 77 where there is no shared data. */
void need_shared(void);

#endif
