/* A whole device and its server in one process: simulated flash, boot code, agent, and a fake otad on the
 * proto encoders with keys of its own. Time is virtual. */
#ifndef TESTS_AGENT_KIT_H
#define TESTS_AGENT_KIT_H

#include "device-agent/boot/boot.h"
#include "device-agent/include/ota_agent.h"
#include "proto/checkin.h"
#include "tests/sim/flash_sim.h"

enum { KIT_ROOTS = 64, KIT_RELEASES = 8, KIT_IMAGE_MAX = 300000, KIT_EVENTS = 512 };

struct kit_release {
	struct suit_manifest m;
	uint8_t *image[OTA_COMPONENTS_MAX];
	uint8_t digest[32];
	uint8_t envelope[SUIT_ENVELOPE_MAX + 64];
	size_t envelope_len;
};

struct kit {
	struct flash_sim flash;
	struct ota_agent agent;
	struct ota_boot_work boot;
	struct ota_boot_choice choice;
	uint8_t work[OTA_AGENT_WORK];
	int64_t now;
	uint32_t wait_max_ms; /* 0: waits are taken whole */
	uint8_t boot_attempts;
	uint32_t poll_max_s, trial_contact_s;
	enum ota_health health;
	bool has_random, is_off_line;
	bool is_down; /* flash kept it from starting: tried again, as a bootloader does */

	/* The server. */
	struct ota_signer root_key[2], server_key, release_key, stranger;
	uint8_t enroll_key[KEY_LEN], secret_id[SECRET_ID_LEN], secret[SECRET_LEN], nonce_s[NONCE_LEN];
	uint8_t vendor_id[16], class_id[16], device_id[DEVICE_ID_LEN], k_dev[KEY_LEN];
	uint8_t root[KIT_ROOTS][ROOT_MAX];
	size_t root_len[KIT_ROOTS];
	uint32_t n_roots;    /* root[0] is version 1 */
	struct root_doc doc; /* of the newest */
	struct kit_release release[KIT_RELEASES];
	int assigned; /* -1: nothing */
	uint8_t attempt;
	uint32_t flags, next_poll_s;
	size_t n_urls; /* new ones, in the next signed ticket */
	struct ota_slice url[TICKET_URLS_MAX];
	uint64_t last_counter;
	bool is_unknown;           /* 404 until a receipt comes */
	uint32_t provisioned_root; /* version in the provisioning file */

	/* What was seen. */
	struct checkin last;
	struct checkin told, told_first; /* the last and the first one with a result */
	unsigned n_checkins, n_enrolls, n_envelopes, n_images, n_roots_asked, n_starts, n_results, n_409;
	uint64_t image_bytes; /* sent */
	bool saw_receipt, saw_confirmed, counter_went_back, asked_signed;
	uint8_t events[KIT_EVENTS];
	enum ota_err event_err[KIT_EVENTS];
	uint32_t event_sequence[KIT_EVENTS];
	unsigned n_events;
	enum ota_err boot_err;
	bool told_untrue; /* a check-in said what is not on flash */

	/* What goes wrong. */
	int status; /* answer every check-in with this; 0: properly */
	uint32_t retry_after_s;
	/* Whoever answers at the first base URL is a stranger: with `status`, or 200 and a few bytes for 0.
	 */
	bool is_first_url_taken;
	int image_status;    /* answer every image request with this; 0: properly */
	int64_t flip_byte;   /* of images: this byte wrong; -1: none */
	int64_t cut_image;   /* end an image's answer after so many bytes, once; -1: never */
	int64_t extra;       /* bytes more (or less) than the image has, and a length that fits them */
	bool no_length;      /* leave Content-Length out */
	int64_t piece_ms;    /* time from one piece of an answer to the next; made 1 */
	bool ignore_range;   /* 200 and all of it */
	int64_t wrong_range; /* shift Content-Range by this */
	/* Change an answer before it goes out: what is 't'icket, 'e'nvelope, 'r'oot, 'n'rollment answer. */
	void (*spoil)(struct kit *k, char what, uint8_t *bytes, size_t *len);
	bool ticket_is_signed; /* without an assignment too */
	uint8_t old_nonce[NONCE_LEN];
	bool use_old_nonce, use_other_device;
	const struct ota_signer *ticket_signer;
};

void kit_init(struct kit *k, const struct flash_sim_options *o);
void kit_end(struct kit *k);
/* Small default: 1 KiB erase units, 4-byte programs, 16 KiB slots, one component. */
struct flash_sim_options kit_small(void);

/* Release `i`: one component of `size` bytes made from `seed`, signed by k->release_key. */
void kit_make(struct kit *k, int i, uint32_t sequence, uint32_t size, uint32_t seed);
/* A second component for release `i`, which is signed again. */
void kit_add_component(struct kit *k, int i, const char *name, uint32_t size, uint32_t seed);
/* Encode and sign k->release[i].m again. */
void kit_sign(struct kit *k, int i, const struct ota_signer *s);
/* Put release `i` into slot `slot` as the factory does, envelope and all. */
void kit_factory(struct kit *k, int i, unsigned slot);
/* Provision the flash (again). */
void kit_provision(struct kit *k);
/* Write the identity as it is after enrollment. */
void kit_enrolled(struct kit *k);
void kit_assign(struct kit *k, int i, uint8_t attempt);
/* The next root, signed by the keys of the last: k->doc was changed by the caller, its version is counted up
 * here. */
void kit_root_add(struct kit *k);

/* Power on: boot code, agent. False: nothing boots and nothing starts. */
bool kit_start(struct kit *k);
/* Run until settled, off, or `seconds` of virtual time passed. True: settled. */
bool kit_run(struct kit *k, int64_t seconds);
/* Run for so long, settled or not. */
void kit_live(struct kit *k, int64_t seconds);
/* One step with everything it asks for. */
void kit_step(struct kit *k);

bool kit_runs(const struct kit *k, int i); /* release i is in the active slot, by record and by bytes */
unsigned kit_count(const struct kit *k, enum ota_event_kind kind);
enum ota_err kit_err_of(const struct kit *k, enum ota_event_kind kind); /* of its last event */
uint32_t kit_sequence_of(const struct kit *k, enum ota_event_kind kind);
void kit_forget(struct kit *k); /* counts and events to zero */

#endif
