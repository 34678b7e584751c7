/* The operators' handlers on a real database and blob store, with inline jobs and no network.
 *
 *	struct nouns n;
 *	nouns_init(&n);
 *	nouns_root(&n);
 *	nouns_call(&n, ROLE_OPERATOR, "POST", "/v1/boards", "{\"name\":\"lamp\"}");
 *	assert_int_equal(n.status, 201);
 *	assert_string_equal(nouns_text(&n, "name"), "lamp");
 *	nouns_release(&n); */
#ifndef TESTS_NOUNS_H
#define TESTS_NOUNS_H

#include <jansson.h>

#include "db/db.h"
#include "proto/root.h"
#include "tests/unit/server/fake.h"

struct nouns {
	struct fake f;
	char dir[128];
	struct db *db; /* the jobs' own connection */
	unsigned status;
	json_t *json; /* the answer, NULL where it is no JSON */
	struct ota_signer root_key, release_key;
	enum role role; /* who the next request comes from; ROLE_PUBLIC: as its headers say */
	enum ota_err (*auth)(struct app *app, struct req *req); /* the domain's own */
};

/* A fresh data directory: keys, an administrator's token, no root. */
void nouns_init(struct nouns *n);
void nouns_release(struct nouns *n);

/* The same for cmocka, one at a time: no root, root 1, root 1 offline, root 1 and a board 'lamp' of esp32c3.
 */
int nouns_setup_rootless(void **state);
int nouns_setup(void **state);
int nouns_setup_offline(void **state);
int nouns_setup_lamp(void **state);
int nouns_teardown(void **state);

/* POST /v1/keys/release and root 1, as otactl init does. */
void nouns_root(struct nouns *n);

/* Root 1 as otactl init --offline makes it: n->release_key is its release role. */
void nouns_root_offline(struct nouns *n);

/* A signer's key as a root names it; its slice is the signer's. */
struct cose_key nouns_key(const struct ota_signer *signer);

/* Ask to take `d`, with key i alone in role i, signed by `signer`. */
void nouns_put_root(struct nouns *n, struct root_doc *d, const struct ota_signer *signer);

/* One request from somebody of that role (ROLE_PUBLIC: without a token). `body` NULL: none. */
void nouns_call(struct nouns *n, enum role role, const char *method, const char *target, const char *body);
void nouns_call_bytes(struct nouns *n, enum role role, const char *method, const char *target,
	const void *body, size_t len);

/* The same, and nothing in the database may have changed by it. */
void nouns_refused(struct nouns *n, enum role role, const char *method, const char *target, const char *body,
	unsigned status, const char *words);

struct nouns_refusal {
	const char *method, *path, *body;
	unsigned status;
	const char *words;
};
void nouns_refused_all(struct nouns *n, enum role role, const struct nouns_refusal *rows, size_t n_rows);

/* The items of all pages of a list, one after the other; the caller's to release. `path` has a query. */
json_t *nouns_pages(struct nouns *n, const char *path, unsigned *n_pages);

/* Members of the answer by a path of keys and positions: "items.0.name". NULL, -1 where there is none. */
const char *nouns_text(const struct nouns *n, const char *path);
int64_t nouns_int(const struct nouns *n, const char *path);
const json_t *nouns_at(const struct nouns *n, const char *path);

/* Upload made-up bytes (an ESP32 image for `chip`, or raw where `chip` is ""); its SHA-256 in hex. `seed`
 * makes them different. */
void nouns_image(struct nouns *n, const char *chip, uint8_t seed, char hex[65]);

/* A board of that chip with a signed release of one image; the release's id is BOARD:VERSION. */
void nouns_board(struct nouns *n, const char *name, const char *chip);
void nouns_make_release(
	struct nouns *n, const char *board, const char *version, const char *chip, uint8_t seed);
/* What asks for a release of one image. */
void nouns_release_body(char body[300], const char *board, const char *version, const char *sha256);

/* Ask for a push; what else than `status` fails the test. */
void nouns_push(struct nouns *n, const char *id, const char *release, const char *selector, unsigned status);

/* An approved device that our agent would be, straight into the database; returns its row. */
int64_t nouns_device(struct nouns *n, const char *board, const char *name, bool approved);
/* NAME-0, NAME-1, ...: the last one's row. */
int64_t nouns_devices(struct nouns *n, const char *board, const char *name, unsigned count, bool approved);

/* Rows by the thousand: `sql` inserts from the table `many`, whose column `i` goes from 1 to `count`. */
void nouns_many(struct nouns *n, unsigned count, const char *sql);

#endif
