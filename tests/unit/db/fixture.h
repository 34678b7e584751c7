/* A data directory for one test: database, blob store, and short ways to fill them. */
#ifndef TESTS_DB_FIXTURE_H
#define TESTS_DB_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "db/blob.h"
#include "db/board.h"
#include "db/db.h"
#include "db/device.h"
#include "db/release.h"
#include "db/rollout.h"
#include "proto/crypto_openssl.h"

enum { NOW = 1700000000 };

struct fixture {
	char dir[256];
	struct db *db;
	struct blob_store *blobs;
	struct arena mem;
	struct errmsg e;
};

/* cmocka setup and teardown: *state is a struct fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* A temporary directory of our own, and its end with everything in it. */
void temp_dir(char out[256]);
void remove_tree(const char *dir);

struct db *fixture_open(const char *dir, enum db_mode mode);
struct blob_store *fixture_blobs(const char *dir);

#define ok(f, call) assert_ota((f), (call), OTA_OK, #call, __FILE__, __LINE__)
#define fails(f, want, call) assert_ota((f), (call), (want), #call, __FILE__, __LINE__)
void assert_ota(
	struct fixture *f, enum ota_err got, enum ota_err want, const char *call, const char *file, int line);

/* SHA-256 of a text. */
void sha_of(const char *text, uint8_t out[32]);

/* Store a text as blob and image; its digest in `sha256` (may be NULL). */
int64_t make_image(struct fixture *f, const char *text, uint8_t sha256[32]);
void make_blob(struct blob_store *bs, const char *text, uint8_t sha256[32]);

/* One component "app". */
int64_t make_board(struct fixture *f, const char *name, uint8_t class_byte);

/* A release of one image made of `text`, with a complete normal manifest of that sequence. */
int64_t make_release(
	struct fixture *f, int64_t board, const char *version, const char *text, uint32_t sequence);

/* A manifest of a release; kind return when `after` is not 0. Its digest is that of "manifest <sequence>". */
int64_t make_manifest(struct fixture *f, int64_t release, int64_t after, uint32_t sequence);
void manifest_digest(uint32_t sequence, uint8_t out[32]);

/* An approved device; its uid is the digit repeated. */
int64_t make_device(struct fixture *f, const char *name, int64_t board, char uid_digit);

int64_t make_rollout(struct fixture *f, const char *uid, int64_t release);

/* Cancelled, and all that can be is taken back. */
struct rollout_cancelled cancel_rollout(struct fixture *f, int64_t rollout, int64_t now);

/* The device says that it runs the manifest of this sequence, in this check-in state. */
void say_running(struct fixture *f, int64_t device, uint64_t counter, uint32_t sequence, int agent_state);

/* Is there a setting of that name, as `db` sees it? */
bool has_setting(struct fixture *f, struct db *db, const char *name);

#endif
