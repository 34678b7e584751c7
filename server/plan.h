/* Plan: facts and time in, next steps out. Pure: no memory, no I/O, no clock of its own.
 *
 * What an assignment becomes through a check-in, what ticket a device gets now, when it should look again and
 * whom to wake. Everything that acts on devices asks here; nothing here acts. Times are Unix seconds. */
#ifndef SERVER_PLAN_H
#define SERVER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/checkin.h"
#include "proto/state.h"
#include "proto/ticket.h"

enum {
	PLAN_MARK_LEN = 8,        /* of a check-in's bytes, of a result */
	PLAN_HINTS_MAX = 1000,    /* more targets: the board's revision only */
	PLAN_HINTS_PER_S = 50,    /* a wave of hints is spread so that about so many devices look a second */
	PLAN_RETRY_MIN_S = 5,     /* Retry-After under a herd */
	PLAN_RETRY_SPREAD_S = 25, /* and how far it is spread */
	PLAN_AGENT_SPREAD = 10,   /* per cent: an agent spreads what it is told once more */
	PLAN_POLL_GRACE_S = 60,   /* a poll this late is still on time: boot, a slow link */
	PLAN_JOBS_MAX = 4096,     /* jobs in flight; beyond, check-ins are told to come back */
	PLAN_TEXT_MAX = 160,      /* words of a failure, with NUL */
};

/* The latest assignment of a device, open or ended. */
struct plan_task {
	bool exists;
	enum assign_state state;
	uint8_t digest[32];     /* of the assigned manifest */
	uint16_t envelope_size; /* 0: a draft, no ticket names it */
	uint8_t attempt;        /* 1..255 */
	bool hold;              /* the rollout's: fetch and stage, do not arm */
	bool has_next;          /* a newer one waits until this one has ended */
	bool withdrawn;         /* named in no ticket any more; what the device says next ends it */
};

/* A device as otad last saw it. */
struct plan_device {
	bool approved; /* false: pending */
	bool hold;     /* the operator's, on the device */
	bool heard;    /* a check-in with a right MAC was committed */
	uint64_t counter;
	uint8_t mark[PLAN_MARK_LEN]; /* first bytes of the last check-in's SHA-256 */
	uint32_t root_version;
	bool has_running;
	uint32_t running_sequence;
	uint8_t running_digest[32];
	enum checkin_state state;
	uint32_t flags;                     /* CHECKIN_FLAG_... */
	uint8_t result_mark[PLAN_MARK_LEN]; /* plan_result_mark of the last result; zero: none */
	struct plan_task task;
};

struct plan_policy {
	uint32_t poll_s;
	uint32_t poll_spread;  /* per cent, both ways */
	uint32_t root_version; /* newest here */
};

enum plan_counter {
	PLAN_COUNTER_NEW,
	PLAN_COUNTER_REPEAT, /* the same check-in again: answer anew, count nothing */
	PLAN_COUNTER_BACK,   /* 409 with a hint, one alarm, nothing used */
};

/* Judge the counter of a check-in whose MAC is right; `mark` is of its bytes. */
enum plan_counter plan_counter(
	const struct plan_device *d, uint64_t counter, const uint8_t mark[PLAN_MARK_LEN]);

/* A stand-in for a result: equal for equal results, zero for none. */
void plan_result_mark(
	const struct ota_crypto *c, const struct checkin *ci, uint8_t mark[static PLAN_MARK_LEN]);

/* What follows from a check-in. */
struct plan_step {
	bool commit; /* it changes root version, running, state or result: store it before answering */
	bool running_is_new;
	bool result_is_new;
	bool has_move; /* the assignment goes to `to` */
	enum assign_state to;
	bool has_reason; /* with FAILED and REVERTED: what the device said */
	uint8_t reason;
	uint16_t detail;
	uint32_t offset;
	/* It knows a failure under the task's number that nobody heard of here: the task goes on under the
	 * next one. */
	bool counts_up;
	bool is_claim; /* says it runs, confirmed, what this assignment does not name: flag if never assigned
			*/
	bool root_missing; /* the device has a newer root than we */
};

/* Only moves that proto/state.h allows come out. The check-in is authentic and its counter new. */
void plan_checkin(const struct plan_device *d, const struct plan_policy *pol, const struct ota_crypto *c,
	const struct checkin *ci, struct plan_step *out);

/* The device after that check-in (its counter and mark included), without the move. */
void plan_take(struct plan_device *d, const struct ota_crypto *c, const struct checkin *ci,
	const uint8_t mark[PLAN_MARK_LEN]);

struct plan_ticket {
	bool must_sign; /* Sign1; else Mac0 "nothing to do" */
	bool has_assignment;
	bool offers;    /* this ticket is the first to name it: WAITING -> OFFERED */
	uint32_t flags; /* TICKET_FLAG_... */
	uint32_t next_poll_s;
};

/* The ticket for a device now. `wants_signed` is the check-in's flag; `random` spreads the poll. */
void plan_ticket(const struct plan_device *d, const struct plan_policy *pol, bool wants_signed,
	uint32_t random, struct plan_ticket *out);
/* Is `t`, made a moment ago, what this device would be told now? */
bool plan_still_says(const struct plan_device *d, const struct ticket *t);

/* True for the running firmware of a device that is not in trial and not stuck with what failed its trial:
 * what runs then has been confirmed. */
bool plan_is_confirmed(const struct plan_device *d);

/* A new assignment that names what the device runs, confirmed, is done at once. */
bool plan_is_already_running(const struct plan_device *d);

/* Seconds until the next poll: poll_s +- spread, within what an agent accepts. */
uint32_t plan_poll_s(const struct plan_policy *pol, uint32_t random);

/* By when a device seen at `seen` should have looked again, at the latest: one that is woken, or that was
 * told a shorter interval on its own side, comes sooner, and nothing here knows that before it does. */
int64_t plan_next_poll_by(const struct plan_policy *pol, int64_t seen);

/* Seconds for Retry-After while a herd is here. */
uint32_t plan_retry_after_s(uint32_t random);

/* Is the server too busy to take one more job for a device? */
bool plan_is_herd(size_t jobs_pending);

struct plan_wake {
	bool board; /* raise the board's retained revision */
	bool hints; /* one hint for each target */
	uint32_t board_spread_s;
	uint32_t hint_spread_s;
};

/* Whom to wake when `n_targets` of a board's `n_devices` have something new. Hints up to PLAN_HINTS_MAX
 * targets. The board's revision, which every device of the board follows and which survives a broker's
 * absence, where there are more, or where the whole board is no more than a wave of hints anyway. */
void plan_wake(size_t n_targets, size_t n_devices, uint32_t notice_spread_s, struct plan_wake *out);

/* The next revision of a board: above the last, never behind the clock, so that it also rises over a restart
 * without being stored. */
uint32_t plan_revision_next(uint32_t last, int64_t now);

/* Words for a result: "signature or MAC does not verify (reason 4, detail 40)", with the byte or the seconds
 * of `offset` where the failure has them; other words for one that ended without a result (0, 0). FAILED,
 * though it ran: it runs on. */
void plan_result_text(enum assign_state end, uint8_t reason, uint16_t detail, uint32_t offset,
	char out[static PLAN_TEXT_MAX]);

#endif
