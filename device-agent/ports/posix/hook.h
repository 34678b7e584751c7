/* Health hook: a command that says whether the firmware on trial is well.
 *
 * Run by /bin/sh, again and again a second after each end, until it says 0 (well) or 1 (ill); any other end
 * means "not yet". It never blocks the agent. How it ended is said in words when that is not how it ended
 * last time: a hook that fails otherwise than it means to is to be seen, and not once a second. */
#ifndef PORT_HOOK_H
#define PORT_HOOK_H

#include <sys/types.h>

#include "device-agent/include/ota_agent.h"
#include "proto/errmsg.h"

struct hook {
	const char *command; /* NULL: none, always well */
	pid_t pid;           /* 0: not running */
	int64_t next_ms;
	enum ota_health health;
	bool has_ended; /* in this trial */
	int ended;      /* as waitpid says it; below 0: -errno of a start that failed */
	bool is_news;   /* `ended` was not said yet */
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

/* Can `command` be run, as far as its first word tells? Where only the shell knows what that is (a variable,
 * quotes, a redirection), nothing is said. NULL is no hook. OTA_INVALID: it is empty; OTA_NOT_FOUND: no such
 * command; OTA_DENIED, OTA_IO: no file that may be executed. With words. */
OTA_MUST_USE enum ota_err hook_check(const char *command, struct errmsg *e);

/* A new trial: forget what was said. */
void hook_start(struct hook *h);
enum ota_health hook_ask(struct hook *h, const struct hook_env *env, int64_t now_ms);
/* How it ended, where that is news; false: nothing to say. */
bool hook_news(struct hook *h, struct errmsg *words);
/* End a command that still runs. */
void hook_stop(struct hook *h);

#endif
