/* Health hook: a command that says whether the firmware on trial is well.
 *
 * Run by /bin/sh, again and again a second after each end, until it says 0 (well) or 1 (ill); any other end
 * means "not yet". It never blocks the agent. */
#ifndef PORT_HOOK_H
#define PORT_HOOK_H

#include <sys/types.h>

#include "device-agent/include/ota_agent.h"

struct hook {
	const char *command; /* NULL: none, always well */
	pid_t pid;           /* 0: not running */
	int64_t next_ms;
	enum ota_health health;
};

/* What the command finds in its environment, beside the agent's own: OTA_SLOT, OTA_SLOT_FILE,
 * OTA_SLOT_OFFSET, OTA_IMAGE_SIZE, OTA_SEQUENCE, and OTA_IMAGE where the image is written to a file. */
struct hook_env {
	unsigned slot;
	const char *slot_file;
	uint64_t slot_offset;
	uint32_t image_size, sequence;
	const char *image; /* or NULL */
};

/* A new trial: forget what was said. */
void hook_start(struct hook *h);
enum ota_health hook_ask(struct hook *h, const struct hook_env *env, int64_t now_ms);
/* End a command that still runs. */
void hook_stop(struct hook *h);

#endif
