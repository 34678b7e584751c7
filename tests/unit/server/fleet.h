/* A server with a real database in a new directory and devices that speak the protocol, without a network:
 * for the tests of the devices' side. Everything here fails the test when it cannot do its work. */
#ifndef TESTS_FLEET_H
#define TESTS_FLEET_H

#include "db/assignment.h"
#include "db/db.h"
#include "db/device.h"
#include "db/rollout.h"
#include "proto/checkin.h"
#include "proto/enroll.h"
#include "proto/root.h"
#include "proto/ticket.h"
#include "server/domain.h"
#include "tests/unit/server/fake.h"

enum { FLEET_ROOTS_MAX = 4 };

struct fleet {
	char dir[64];
	struct fake f;
	struct db *db; /* the test's own writing connection */
	struct arena mem;
	struct ota_signer root_key;
	uint32_t root_version;
	uint8_t root[ROOT_MAX];
	size_t root_len;
	struct root_doc root_doc;
	int64_t board;
	uint8_t vendor_id[16], class_id[16];
	unsigned n_rollouts;
};

/* An agent, as far as the server can tell. */
struct agent {
	uint8_t secret_id[SECRET_ID_LEN], secret[SECRET_LEN];
	char serial[SERIAL_MAX];
	uint8_t nonce_d[NONCE_LEN];
	uint8_t id[DEVICE_ID_LEN];
	uint8_t k_dev[KEY_LEN];
	uint8_t receipt[RECEIPT_MAX];
	size_t receipt_len;
	struct checkin ci; /* the next check-in; counter and nonce are set by agent_checkin */
	uint8_t sent[CHECKIN_MAX];
	size_t sent_len;
	struct ticket ticket; /* of the last answer that had one */
};

/* A started server with a board "lamp", a hosted release key and, unless `has_root` is false, root 1. */
void fleet_init(struct fleet *fl, bool has_root);
void fleet_release(struct fleet *fl);
/* Stop and start on the same directory; what was not committed is gone. */
void fleet_restart(struct fleet *fl);
/* Store the next root and let the server follow. */
void fleet_next_root(struct fleet *fl);
/* Another connection changed the database: follow. */
void fleet_follow(struct fleet *fl);

struct fleet_secret {
	const char *name, *serial; /* NULL: none */
	uint32_t uses;
	bool is_approving;
	int64_t expires_at;
	int64_t board; /* 0: lamp */
};
/* A new secret, for `a` to enroll with. */
void fleet_secret(struct fleet *fl, const struct fleet_secret *s, struct agent *a);

/* Store an image whose bytes are `text`. */
void fleet_image(struct fleet *fl, const char *text, uint8_t sha256[32]);
/* A signed release of lamp whose image's bytes are `text`. */
int64_t fleet_release_of(struct fleet *fl, const char *version, const char *text, uint8_t digest[32]);
/* Assign it, in a rollout of its own; returns the rollout. */
int64_t fleet_push(struct fleet *fl, int64_t release, const struct agent *a, bool is_held);
/* Assign it to several in one rollout, then follow. */
int64_t fleet_push_many(struct fleet *fl, int64_t release, const struct agent *agents, size_t n);
/* Cancel it as its handler does. */
struct rollout_cancelled fleet_cancel(struct fleet *fl, int64_t rollout);
/* The device's latest assignment. */
void fleet_task(struct fleet *fl, const struct agent *a, struct assignment_row *out);
void fleet_device(struct fleet *fl, const struct agent *a, struct device_row *out);
/* Remove it, as an operator does. */
void fleet_remove(struct fleet *fl, const struct agent *a);
/* It is not there and never was: the database is one restored from before it enrolled. */
void fleet_lose(struct fleet *fl, const struct agent *a);
/* How many events of that kind the device has. */
unsigned fleet_events(struct fleet *fl, const struct agent *a, const char *kind);

/* Requests; they return the status. */
unsigned fleet_post(struct fleet *fl, const char *path, const void *body, size_t len);
unsigned fleet_get(struct fleet *fl, const char *path, const char *authorization);

/* Enroll with a.secret and a.serial. 200: id, key and receipt are set. */
unsigned agent_enroll(struct fleet *fl, struct agent *a);
/* A secret, an enrollment and a first check-in, approved. */
void agent_join(struct fleet *fl, struct agent *a, const char *serial);
/* Encode a.ci under the next counter and a new nonce, send, take the ticket of a 200 or 409. */
unsigned agent_checkin(struct fleet *fl, struct agent *a);
/* Send a.sent once more. */
unsigned agent_repeat(struct fleet *fl, struct agent *a);
/* a.ci says: runs this digest, in that state. */
void agent_runs(struct agent *a, uint32_t sequence, const uint8_t digest[32], enum checkin_state state);
void agent_fetches(struct agent *a, enum checkin_state state, uint32_t bytes);
void agent_failed(struct agent *a, uint8_t attempt, uint8_t reason, uint16_t detail, uint32_t offset);
/* "OTA <id>.<proof>" */
const char *agent_authorization(const struct agent *a);

/* Its latest assignment is in that state. */
void agent_expect_task(struct fleet *fl, const struct agent *a, enum assign_state want);
/* The answer was 200 with an unsigned ticket that assigns nothing; with a signed one that assigns this. */
void agent_expect_nothing(const struct agent *a, unsigned status);
void agent_expect_assigned(const struct agent *a, unsigned status, const uint8_t digest[32], uint8_t attempt);

#endif
