/* Inside the agent: phases, and what its files offer one another. */
#ifndef OTA_AGENT_INTERNAL_H
#define OTA_AGENT_INTERNAL_H

#include "device-agent/include/ota_agent.h"

/* What the next step does. RAM only: what survives a reset is journal_state.phase. */
enum agent_phase {
	PHASE_ENROLL,    /* ask for a device key */
	PHASE_POLL,      /* check in when it is time */
	PHASE_ROOT,      /* ask for the next root */
	PHASE_ENVELOPE,  /* ask for the assigned release, to judge it */
	PHASE_LOOK,      /* is it in the other slot already? */
	PHASE_ACCEPT,    /* record that it will be installed */
	PHASE_REHASH,    /* hash what is in flash before going on */
	PHASE_FETCH,     /* get the image, or copy it from the running slot */
	PHASE_READ_BACK, /* hash what was written */
	PHASE_STAGE,     /* ask for the envelope again, store it */
	PHASE_ARM,       /* judge the stored envelope once more, hand over to the bootloader */
	PHASE_RESET,
};

enum agent_request {
	REQUEST_NONE,
	REQUEST_ENROLL,
	REQUEST_CHECKIN,
	REQUEST_ROOT,
	REQUEST_ENVELOPE,
	REQUEST_IMAGE,
};

enum {
	AGENT_CHUNK = OTA_AGENT_MSG, /* written at once */
	AGENT_MARK = 65536,          /* progress is recorded per max(erase unit, this) */
	AGENT_STEP_BYTES = 16384,    /* hashed or copied in one step */
	AGENT_COUNTERS = 1024,       /* check-in counters reserved at once */
	AGENT_SPREAD_MAX_S = 3600,
	AGENT_NOTICE_GAP_MS = 60000,
	AGENT_MOVE_GAP_MS =
		3600000, /* between two changes of the server's addresses: each wears the identity */
	AGENT_DAY_MS = 86400000,
	AGENT_ARM_TICKET_MS = 60000,
	AGENT_TRIAL_MAX_S = 21600, /* 429 and 503 prolong a trial to this at most */
	AGENT_BAD_ANSWERS = 5,
	AGENT_LAST_START_MS = 60000,  /* on trial, before it gives way to another release */
	AGENT_FLASH_RETRY_MS = 60000, /* between tries of a record that flash did not take, on trial */
};

/* agent.c */
int64_t agent_now(const struct ota_agent *a);
uint32_t agent_random_below(struct ota_agent *a, uint32_t n);
bool agent_random_bytes(struct ota_agent *a, void *out, size_t len);
void agent_event(struct ota_agent *a, enum ota_event_kind kind, enum ota_err err);
void agent_event_fetch(struct ota_agent *a, enum ota_event_kind kind, uint32_t done, uint32_t total);
/* Commit the journal, with the floors of the root that counts. When flash does not take it the journal is as
 * before, and a->flash_retry_ms says when to try again. */
OTA_MUST_USE enum ota_err agent_commit(struct ota_agent *a);
void agent_poll_at_once(struct ota_agent *a);
/* The next poll in `s` seconds, some percent around it; earlier where a notice that no poll has answered yet
 * asked for that. */
void agent_poll_in(struct ota_agent *a, uint32_t s);
/* A check-in, or an enrollment, is made now: it answers what was noticed before. */
void agent_poll_begins(struct ota_agent *a);
/* Is the last ticket too old to go on by? */
bool agent_is_ticket_old(const struct ota_agent *a);
/* Seconds between polls where no ticket says. */
uint32_t agent_poll_default(const struct ota_agent *a);
/* Text for a->path: `head` and the hex of `digest`. */
void agent_path_hex(struct ota_agent *a, const char *head, const uint8_t digest[32]);
/* Fill want->request for a->path. `answer_max` bounds the body. */
void agent_request(struct ota_agent *a, struct ota_want *want, enum agent_request kind, uint32_t answer_max);
void agent_request_authorize(struct ota_agent *a, struct ota_want *want);
/* A request came to nothing: the next base URL at once, or, when all were tried, the next poll later. True:
 * all were tried. */
bool agent_unreached(struct ota_agent *a, enum ota_err err);
/* What an answer that is not the wanted one means for the time of the next poll: Retry-After, or the backoff.
 */
void agent_defer(struct ota_agent *a);

static inline unsigned agent_other(const struct ota_agent *a)
{
	return 1U - a->journal.s.active;
}

/* enroll.c */
void enroll_step(struct ota_agent *a, struct ota_want *want);
void enroll_answered(struct ota_agent *a);
/* After the first valid ticket: the secret leaves the identity. */
void enroll_forget_secret(struct ota_agent *a);
/* Write `p` over both identity copies and read it again into cfg.work. `p` may borrow from there. */
OTA_MUST_USE enum ota_err identity_replace(struct ota_agent *a, const struct provision *p);

/* checkin.c */
void checkin_send(struct ota_agent *a, struct ota_want *want);
void checkin_answered(struct ota_agent *a);

/* ticket_act.c: what a valid ticket changes */
void ticket_act(struct ota_agent *a, const struct ticket *t);

/* rootwalk.c */
OTA_MUST_USE enum ota_err root_start(struct ota_agent *a);
/* Epoch and floor of the root that counts, into the journal's state. True when that changed anything. */
bool root_floors_apply(struct ota_agent *a);
void root_step(struct ota_agent *a, struct ota_want *want);
void root_answered(struct ota_agent *a);

/* release.c: from envelope to ACCEPTED, and from read-back to ARMED */
void release_step(struct ota_agent *a, struct ota_want *want);
void release_answered(struct ota_agent *a);
/* Refused before anything was written: told from RAM. */
void release_refuse(struct ota_agent *a, enum ota_err err);
/* It cannot be fetched. What came is not authentic, so that nothing stored changes by it: told from RAM, and
 * left to the server to withdraw. */
void release_give_up(struct ota_agent *a, enum ota_err err, uint32_t offset);
/* An accepted release ended. */
void release_fail(struct ota_agent *a, enum ota_err err, uint32_t offset);

/* fetch.c */
void fetch_start(struct ota_agent *a);
void fetch_step(struct ota_agent *a, struct ota_want *want);
OTA_MUST_USE enum ota_err fetch_begin(struct ota_agent *a);
OTA_MUST_USE enum ota_err fetch_data(struct ota_agent *a, const uint8_t *bytes, size_t len);
void fetch_answered(struct ota_agent *a, bool is_complete);
uint32_t fetch_total(const struct ota_agent *a);
/* Bytes in flash over all components. */
uint32_t fetch_done(const struct ota_agent *a);
/* Of `have` verified bytes at the start of a component's slot: how many can stay when writing goes on behind
 * them? All of an unfinished image; all of a whole one if what follows it in its erase unit is erased. */
uint32_t fetch_keep(const struct ota_agent *a, unsigned component, uint32_t have);

/* trial.c */
void trial_start(struct ota_agent *a);
/* A 429 or 503: the server lives and asks for time, until next_poll_ms. */
void trial_prolong(struct ota_agent *a);
/* Judge the trial; true when the step is used up by what it did. */
bool trial_step(struct ota_agent *a, struct ota_want *want);

#endif
