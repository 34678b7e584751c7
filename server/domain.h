/* The nouns' side of otad: registry, plan, keys, hooks.
 *
 * The registry follows the database through its `change` rows (follow.h), on the store thread and in order:
 * what a job committed is in the registry once domain_settle has continued, or one turn of the follower
 * later. Notices to devices come out of following: whoever's task changed is woken. Loop thread only. */
#ifndef SERVER_DOMAIN_H
#define SERVER_DOMAIN_H

#include "proto/root.h"
#include "server/app.h"
#include "server/chunk.h"
#include "server/damaged.h"
#include "server/keystore.h"
#include "server/log.h"
#include "server/registry.h"

struct db;

/* Devices with news, gathered until a round of following is over (wake.h). */
struct wake_list {
	uint32_t *at; /* registry positions; owned */
	size_t n, cap;
};

/* The newest root as the loop needs it. version 0: none yet. */
struct domain_root {
	uint32_t version;
	size_t len;
	uint8_t bytes[ROOT_MAX];
	bool server_key_is_listed; /* our server key is in its server role */
};

/* Going on with pushes (grow.c): where the next piece is looked for. */
struct grow_place {
	int64_t applied; /* what was in force when it began, and who was heard until then is stored */
	bool is_stuck;   /* what grows cannot be loaded: on with what is taken back or tried again */
	int64_t after;   /* of these, behind this one, which has to wait; 0: from the oldest on */
	bool has_spoilt; /* one was left out because it cannot be loaded */
};

struct domain {
	struct app *app;
	struct keystore *keys;
	struct registry *reg;
	struct domain_root root;
	uint32_t root_missing; /* highest root that a device has and we have not; 0: none */

	/* The follower's (follow.c). */
	int64_t applied;            /* change row that the registry is at */
	struct chunk_within within; /* and what it has of the next one */
	bool is_following;
	bool follow_again;
	uint64_t rounds_begun, rounds_done;
	uint64_t round_good;    /* the newest that brought the registry to the database */
	struct errmsg follow_e; /* why the last one did not; empty: it did */
	struct wake_list news;
	struct wake_list already; /* devices that run what they were just assigned */
	struct damaged damaged;   /* manifests that no ticket may name now */
	bool has_new_root;
	unsigned
		n_in_pieces; /* requests that are a job after the other: the news wait until they are whole */

	/* Timers. */
	struct timer flush, sweep;
	bool is_flushing;
	int64_t next_gc_s;
	int64_t lease_renew_s;
	bool is_growing;         /* grow.c goes on with a push */
	struct grow_place place; /* how far that is */
	struct errmsg grow_e;    /* why one of them cannot; empty: all can */
	struct errmsg sweep_e;   /* why an assignment cannot be timed out; empty: all can */
	bool is_disk_full;       /* up to its reserve, as the log says */
	int64_t grown_s;         /* when a request last went on with one */

	struct log_limit log_strangers, log_alarms, log_groups, log_spoilt;
	uint64_t random; /* state of domain_random */
};

/* Load the registry and the keys, fill app->hooks and app->domain. Before the loop runs: may read files and
 * the database. */
OTA_MUST_USE enum ota_err domain_start(struct app *app, struct errmsg *e);

/* The same on an open writing connection (tests). */
OTA_MUST_USE enum ota_err domain_start_db(struct app *app, struct db *db, struct errmsg *e);

/* After the loop ended and every job is done. */
void domain_stop(struct app *app);

/* Something was committed: bring the registry up to it, wake devices, tell ops_changed. */
void domain_changed(struct app *app);

/* The same for a request that wants to answer only when the registry is there: `then` continues it. A done
 * function of a store job ends in `return domain_settle(req, job, then);`; `then` is called in any case.
 * job->err of `then` is OTA_UNAVAILABLE, with words, where the registry could not follow: what was committed
 * stays, and is not in force yet. */
enum h_result domain_settle(struct req *req, struct job *job, req_done_fn then);

/* Spreads things; not for secrets. */
uint32_t domain_random(struct domain *d);

/* The poll and root facts that the plan goes by, for a device of that board. */
struct plan_policy domain_policy(const struct domain *d, const struct reg_board *board);

#endif
