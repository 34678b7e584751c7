/* Following: the database's changes brought into the registry.
 *
 * The store thread loads what the `change` rows after N name, in order with every commit; the loop applies
 * it. Loading and applying are apart, so that whoever commits a device's change can bring its facts along. */
#ifndef SERVER_FOLLOW_H
#define SERVER_FOLLOW_H

#include "server/domain.h"
#include "server/facts.h"

/* Put a device into the registry: tells whether it has something to be woken for, and ends an assignment
 * whose release the device runs already. Loop thread. */
OTA_MUST_USE enum ota_err follow_put(struct domain *d, const struct reg_facts *f);

/* Load everything (at start): boards, devices, the newest root, the change row it is at. */
OTA_MUST_USE enum ota_err follow_load_all(struct domain *d, struct db *db, struct errmsg *e);

/* Start a round, or ask for one more after the present. Returns the number of the round that has seen all
 * that is committed now. */
uint64_t follow_start(struct domain *d);
/* Has that round ended? */
bool follow_is_done(const struct domain *d, uint64_t round);
/* And has it, or a later one, seen all of it? */
bool follow_is_good(const struct domain *d, uint64_t round);

/* The change rows that a job of our own makes, whose facts it brings along itself: the follower need not load
 * them again. Begin and end on the store thread around the work; done on the loop, after the facts were put.
 */
struct own_changes {
	int64_t from, to; /* from < seq <= to */
};
OTA_MUST_USE enum ota_err follow_own_begin(struct own_changes *own, struct job *job);
OTA_MUST_USE enum ota_err follow_own_end(struct own_changes *own, struct job *job);
/* Also tells whoever waits for changes, and wakes the devices that follow_put found news for. */
void follow_own_done(struct domain *d, const struct own_changes *own);

/* Take a stored root over, as bytes. */
void follow_take_root(struct domain *d, uint32_t version, const uint8_t *bytes, size_t len);

#endif
