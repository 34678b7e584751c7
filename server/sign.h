/* Signing: tickets on JOB_SIGN, releases of the hosted key on the store thread. */
#ifndef SERVER_SIGN_H
#define SERVER_SIGN_H

#include "db/release.h"
#include "proto/root.h"
#include "proto/suit.h"
#include "proto/ticket.h"
#include "server/keystore.h"

enum {
	SIGN_SEQUENCE_STEP = 8,        /* between two releases of a board; the seven between are returns */
	SIGN_SEQUENCE_AHEAD_S = 86400, /* an offline sequence may be so far ahead of clock and board */
};

/* A signed ticket. JOB_SIGN. */
OTA_MUST_USE enum ota_err sign_ticket(
	struct keystore *k, const struct ticket *t, uint8_t buf[static TICKET_MAX], size_t *len);

/* The next sequence of a board: max(now, highest + 8). OTA_LIMIT: the number is used up (a root with a new
 * epoch heals that). */
OTA_MUST_USE enum ota_err sign_next_sequence(uint32_t highest, int64_t now, uint32_t *out);

/* May a manifest of this sequence, signed elsewhere, be taken? OTA_ROLLBACK: not above the board's highest.
 * OTA_LIMIT: more than a day ahead of both. */
OTA_MUST_USE enum ota_err sign_check_sequence(
	uint32_t sequence, uint32_t highest, int64_t now, struct errmsg *e);

/* The manifest of a release: its board's ids and components in order, each with its image, or with two for
 * two slots (variants in the order of their names). Store thread or a reader. OTA_INVALID: variants that no
 * manifest can say; OTA_NOT_FOUND: an image is gone. */
OTA_MUST_USE enum ota_err sign_manifest_of(struct db *db, int64_t release, uint32_t sequence,
	struct arena *mem, struct suit_manifest *out, struct errmsg *e);

/* Make, sign with the hosted key and store the normal manifest of a release; a release that has a complete
 * one keeps it (`*out` is that). Without a hosted key, or where the root does not list it, the manifest is
 * stored as a draft (is_complete false). Store thread. OTA_NO_ROOT: no root yet. */
OTA_MUST_USE enum ota_err sign_release(struct db *db, const struct ota_crypto *c, struct keystore *k,
	int64_t release, int64_t now, struct arena *mem, struct manifest_row *out, struct errmsg *e);

/* Judge an envelope by the newest root: how many distinct valid signatures of release keys it has, and
 * whether they are enough. The envelope's framing and digest are checked. Any thread but the loop. */
struct sign_verdict {
	uint32_t n_signatures;
	bool is_complete;
	uint32_t root_version;
};
OTA_MUST_USE enum ota_err sign_judge(struct db *db, const struct ota_crypto *c, struct ota_slice envelope,
	struct arena *mem, struct sign_verdict *out, struct errmsg *e);

#endif
