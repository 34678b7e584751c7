/* One device in a process: its flash, the boot code, the agent, the network, until it is told to stop. */
#ifndef PORT_DEVICE_H
#define PORT_DEVICE_H

#include <stdbool.h>

#include "device-agent/ports/posix/flash_file.h"
#include "proto/errmsg.h"

struct device_options {
	const char *provision_path; /* may be NULL once the flash exists */
	const char *flash_path;
	const char *factory_path; /* initial content of slot 0, or NULL */
	const char *image_path;   /* the image that boots is written here, or NULL */
	const char *exec;         /* health hook, or NULL */
	const char *ca_file;      /* or NULL */
	uint32_t interval_s;      /* upper bound between polls; 0: the server's word */
	uint32_t trial_s;         /* without contact before going back */
	struct flash_options flash;
	const char *component[OTA_COMPONENTS_MAX]; /* flash.n_components names */
	bool is_once, is_json, is_exit_on_reset, is_broker_ignored;
};

/* Exit codes of the program. */
enum {
	DEVICE_DONE = 0,
	DEVICE_FAILED = 1,
	DEVICE_USAGE = 2,
	DEVICE_RESET = 3, /* --exit-on-reset: start again to boot */
};

/* Run; the exit code. DEVICE_FAILED with words in `e` (or "" when stdout told already). `stop_fd` becomes
 * readable when it has to end. */
int device_run(const struct device_options *o, int stop_fd, struct errmsg *e);

#endif
