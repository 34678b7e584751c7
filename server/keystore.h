/* DIR/keys: the server's secrets, apart from the database and from backups.
 *
 *	server.pem   signs tickets (server role of the root), PKCS#8
 *	release.pem  the hosted release key, where there is one
 *	enroll       32 bytes: every enrollment secret and receipt comes from it
 *	link         32 bytes: image links
 *
 * The directory is 0700, the files 0600; a file appears whole and is never written again. Made at the first
 * start only: where the database already knows devices or a root, a missing key is an error, for new ones
 * would make every device a stranger. Opening and making wait for the disk. */
#ifndef SERVER_KEYSTORE_H
#define SERVER_KEYSTORE_H

#include <stdbool.h>

#include "proto/crypto.h"
#include "proto/errmsg.h"
#include "proto/keys.h"

struct keystore;

/* Open DIR/keys. `may_make`: this is a first start, missing keys are made. OTA_NOT_FOUND: a key is missing
 * and may not be made. OTA_CORRUPT: a file is no key. OTA_DENIED: not ours to read, or open to others. */
OTA_MUST_USE enum ota_err keystore_open(
	const char *dir, bool may_make, struct keystore **out, struct errmsg *e);
/* Wipes. NULL is a no-op. */
void keystore_free(struct keystore *k);

/* Constant from keystore_open on; any thread. */
const uint8_t *keystore_enroll(const struct keystore *k); /* KEY_LEN bytes */
const uint8_t *keystore_link(const struct keystore *k);   /* KEY_LEN bytes */
/* The public half of the server key: alg, pub, pub_len, kid. Not for signing. */
const struct ota_signer *keystore_server_public(const struct keystore *k);

/* Borrow the server key for signing; any thread, one borrower at a time each. NULL: all are lent out (there
 * are more than threads). */
struct ota_signer *keystore_lend(struct keystore *k);
void keystore_give_back(struct keystore *k, struct ota_signer *s);

/* The hosted release key; NULL while there is none. Its public half may be read on any thread, signing is
 * the store thread's. */
const struct ota_signer *keystore_release(const struct keystore *k);
/* Make it. Store thread. OTA_EXISTS: there is one. */
OTA_MUST_USE enum ota_err keystore_make_release(struct keystore *k, struct errmsg *e);

#endif
