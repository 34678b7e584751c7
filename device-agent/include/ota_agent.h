/* The update agent: a state machine without I/O of its own.
 *
 * Call ota_agent_init once after a start, then ota_agent_step again and again: each call does a bounded piece
 * of work and says what it waits for. A port runs one HTTP request at a time and feeds the answer. Nothing
 * here allocates; every object is the caller's and lives as long as the agent. One thread.
 *
 *     ota_agent_step -> OTA_WANT_REQUEST: send want.request to its base URL, then
 *                                         ota_agent_response_begin, _data (any pieces), _end
 *                       OTA_WANT_DATA:    the answer is not complete yet (_end is missing)
 *                       OTA_WANT_NOW:     call again
 *                       OTA_WANT_WAIT:    call again after want.wait_ms, or at once after a notice
 *                       OTA_WANT_RESET:   restart through the bootloader */
#ifndef OTA_AGENT_H
#define OTA_AGENT_H

#include "device-agent/include/ota_flash.h"
#include "device-agent/src/journal.h"
#include "proto/provision.h"
#include "proto/root.h"
#include "proto/suit.h"
#include "proto/ticket.h"

enum {
	OTA_AGENT_MSG = 1024,
	OTA_AGENT_WORK = 2 *
			 PROVISION_MAX, /* bytes of config.work: the identity; the root, or a new identity */
	OTA_AGENT_PATH_MAX = 84,        /* with NUL */
	OTA_AGENT_AUTH_MAX = 104,       /* with NUL */
};

enum ota_health {
	OTA_HEALTH_UNKNOWN, /* not yet */
	OTA_HEALTH_WELL,
	OTA_HEALTH_ILL,
};

/* What happened, for a log or a light. Numbers never change their meaning. */
enum ota_event_kind {
	OTA_EVENT_ENROLLED,
	OTA_EVENT_POLLED,   /* a valid ticket came */
	OTA_EVENT_ASSIGNED, /* sequence, digest: accepted, will be fetched */
	OTA_EVENT_PRESENT,  /* the image is in the other slot already: nothing to fetch */
	OTA_EVENT_FETCHING, /* done of total bytes; at the start, at each record and at the end */
	OTA_EVENT_RESUMED,  /* fetching goes on at `done` */
	OTA_EVENT_VERIFIED, /* read back and matched */
	OTA_EVENT_STAGED,
	OTA_EVENT_HELD,  /* staged, the operator holds it */
	OTA_EVENT_ARMED, /* a reset follows */
	OTA_EVENT_TRIAL, /* this start runs an image on trial */
	OTA_EVENT_CONFIRMED,
	OTA_EVENT_REVERTING, /* err: why; a reset follows */
	OTA_EVENT_REVERTED,  /* err: why; told at start, after the bootloader went back */
	OTA_EVENT_FAILED,    /* err: an accepted update ended; not tried again until `attempt` is higher */
	OTA_EVENT_REFUSED,   /* err: a release or ticket was refused before anything was written */
	OTA_EVENT_WITHDRAWN, /* the server does not name it any more */
	OTA_EVENT_ROOT,      /* sequence: version of the root that was stored */
	OTA_EVENT_UNREACHED, /* err and status (0: no answer): a request failed; it is tried again */
	OTA_EVENT_FLASH,     /* err: flash did not take a record; what it was to say is done again later */
	OTA_EVENT_STAYED,    /* err: why; what runs failed its trial, with nothing to go back to */
	OTA_EVENTS,
};

struct ota_event {
	enum ota_event_kind kind;
	enum ota_err err;
	uint32_t sequence;
	const uint8_t *digest; /* 32 bytes of the manifest, or NULL */
	uint32_t done, total;  /* bytes over all components */
	int status;            /* HTTP */
};

struct ota_component {
	uint8_t id[SUIT_COMPONENT_ID_MAX];
	uint8_t id_len;
};

struct ota_agent_config {
	const struct ota_flash *flash;
	const struct ota_crypto *crypto;
	void *ctx; /* handed to the callbacks */
	/* Working memory of OTA_AGENT_WORK bytes: identity and root as read from flash. */
	uint8_t *work;

	/* Milliseconds since any fixed moment of this start; never goes back. */
	int64_t (*now_ms)(void *ctx);
	/* Fill with random bytes; OTA_OK or anything else. NULL, or an error: nonces come from the device
	 * key, the counter and the boot count. */
	enum ota_err (*random)(void *ctx, void *out, size_t len);
	/* Is the application on trial well? Asked about once a second. NULL: well as soon as it runs. */
	enum ota_health (*app_health)(void *ctx);
	/* Foreign bootloaders only: boot `slot` next, on trial. NULL: ota_boot_select reads the journal. */
	enum ota_err (*boot_select)(void *ctx, uint8_t slot);
	/* May be NULL. Called from within step and response; must not call back. */
	void (*event)(void *ctx, const struct ota_event *ev);

	/* Components of this board, in its order. n_components 0: one, called "app". */
	uint8_t n_components;
	struct ota_component component[OTA_COMPONENTS_MAX];

	/* True where ota_boot_select ran at this start; else the agent appends the journal's state itself. */
	bool has_own_boot;
	/* Slot that runs, plus 1, where the board can tell (by the address of this code, say); 0: the
	 * journal's active one. A bootloader that could not write down where it went is believed by this
	 * alone. */
	uint8_t running;
	/* Seconds between polls before a ticket said otherwise; 0: 300. */
	uint32_t poll_s;
	/* Upper bound of the seconds between polls, whatever the server says; 0: none. */
	uint32_t poll_max_s;
	/* Seconds of uptime on trial without an authenticated check-in before going back; 0: never. Default
	 * 1,800.
	 */
	uint32_t trial_contact_s;
	/* Seconds of uptime on trial without the application having called itself well; 0: never. Default
	 * 21,600.
	 */
	uint32_t trial_health_s;
	/* Seconds from a check-in for which its ticket is a permission to fetch; 0: 3,600. */
	uint32_t ticket_s;
};

enum ota_want_kind { OTA_WANT_NOW, OTA_WANT_REQUEST, OTA_WANT_DATA, OTA_WANT_WAIT, OTA_WANT_RESET };

/* One HTTP request. Everything is borrowed and valid until the answer begins or the next step. Redirects are
 * not followed. Timeouts are the port's: about 10 s to connect, 30 s for a small answer, and a download that
 * moves less than 1 KiB/s for a minute is ended. */
struct ota_request {
	bool is_post;              /* POST application/cbor with `body`, else GET */
	struct ota_slice base;     /* URL that ends in '/' */
	const char *path;          /* to be appended */
	const char *authorization; /* header value, or NULL */
	bool has_range;            /* Range: bytes=`offset`- */
	uint32_t offset;
	const uint8_t *body;
	size_t body_len;
};

struct ota_want {
	enum ota_want_kind kind;
	uint32_t wait_ms;
	struct ota_request request;
};

/* Status line and the headers that matter. */
struct ota_response {
	int status;
	int64_t content_length; /* -1: not given */
	bool has_content_range; /* "bytes first-last/total", all three numbers given */
	uint64_t range_first, range_last, range_total;
	uint32_t retry_after_s; /* 0: not given or not a number */
};

/* Private; its size is public so that a caller can place it. */
struct ota_agent {
	struct ota_agent_config cfg;
	struct journal journal;
	struct provision identity; /* borrows from cfg.work */
	struct root_doc root;      /* borrows from cfg.work */
	uint32_t identity_len, root_len;

	uint8_t msg[OTA_AGENT_MSG]; /* ticket, envelope and root in turn; write buffer while fetching */
	uint32_t msg_len;
	char path[OTA_AGENT_PATH_MAX];
	char authorization[OTA_AGENT_AUTH_MAX];

	uint8_t phase;           /* enum agent_phase */
	uint8_t request;         /* enum agent_request, outstanding or none */
	bool is_answered;        /* the answer began */
	enum ota_err answer_err; /* set while it came: too long, not what was asked */
	struct ota_response answer;
	uint32_t answer_max;

	uint8_t url_index, urls_failed;
	uint8_t walked_at; /* bit n: base URL n gave a ticket that does not verify, and was asked for a root
			    */
	uint32_t backoff_s;
	int64_t next_poll_ms, flash_retry_ms, moved_ms;
	/* When the last notice asked for a poll, until one is sent; when one was sent because of it. */
	int64_t notice_ms, notice_poll_ms;
	bool is_noticed;
	uint32_t board_revision;
	bool has_board_revision;
	uint32_t random_state;

	/* The check-in that is out, and what the last ticket said. */
	uint8_t nonce[NONCE_LEN];
	uint64_t counter; /* next to use; valid when has_counter */
	bool has_counter;
	bool told_result, told_confirmed, told_ram_result;
	bool with_receipt, receipt_tried, hint_tried, root_tried;
	int64_t asked_ms;  /* when it went out */
	int64_t ticket_ms; /* when that went out which the ticket answers: its time counts from there */
	int64_t signed_ms, root_asked_ms;
	uint8_t ticket_digest[32];
	uint16_t ticket_envelope_size;
	uint8_t ticket_attempt;
	bool is_held, is_held_told;

	/* A refusal, told from RAM. */
	struct {
		uint8_t digest[32];
		uint8_t attempt; /* 0: none */
		enum ota_err err;
		uint32_t offset;
		bool is_told;
	} refused;

	/* The release that is being installed. */
	struct journal_slot fresh;
	bool is_fetch_live; /* component, pos, erased_to and sha fit `fresh` */
	bool is_restarted, is_asked_twice,
		is_staged_again; /* once each: of a component, an envelope, a root */
	uint8_t component;
	uint8_t bad_answers;
	uint32_t asked_pos;                /* where the outstanding request began */
	uint32_t pos;                      /* bytes of the component in flash */
	uint32_t erased_to;                /* bytes of its slot that are erased or written */
	uint32_t mark[OTA_COMPONENTS_MAX]; /* bytes of each component that are in the slot already */
	struct ota_sha256 sha;

	/* Trial. */
	bool has_contact;
	bool is_other_named; /* the last ticket names a release that does not run, and does not hold it */
	int64_t trial_start_ms, trial_end_ms;
	int64_t start_ms;
};

/* Fill with the defaults named above; the rest is zero. */
void ota_agent_config_defaults(struct ota_agent_config *cfg);

/* Start. Reads identity, root and journal, mends damaged copies. `cfg` is copied, what it points to must
 * outlive the agent. OTA_NOT_FOUND: no identity (not provisioned). OTA_CORRUPT: the provisioned root does not
 * verify. OTA_INVALID: bad geometry or config. OTA_FLASH. */
OTA_MUST_USE enum ota_err ota_agent_init(struct ota_agent *a, const struct ota_agent_config *cfg);

void ota_agent_step(struct ota_agent *a, struct ota_want *want);

/* The answer to the outstanding request. `begin` is left out when there was none. OTA_OK: go on; anything
 * else: end the transfer and call `end`. */
OTA_MUST_USE enum ota_err ota_agent_response_begin(struct ota_agent *a, const struct ota_response *r);
OTA_MUST_USE enum ota_err ota_agent_response_data(struct ota_agent *a, const uint8_t *bytes, size_t len);
/* `is_complete`: the answer ended as its framing says. */
void ota_agent_response_end(struct ota_agent *a, bool is_complete);

/* A notice came (MQTT payload). `is_board`: on the board's topic, retained. At most one poll a minute comes
 * from notices, and none makes a poll later. Bad payloads are ignored. */
void ota_agent_notice(struct ota_agent *a, bool is_board, const uint8_t *payload, size_t len);

/* Nothing is going on: polled at least once since the start, and nothing to tell or to do until the next
 * poll. */
bool ota_agent_is_settled(const struct ota_agent *a);

/* The image that runs is on trial. */
bool ota_agent_is_on_trial(const struct ota_agent *a);

/* Device-id, or NULL before enrollment. */
const uint8_t *ota_agent_device_id(const struct ota_agent *a);

#endif
