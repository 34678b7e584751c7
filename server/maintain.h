/* The commands backup, restore and check of a data directory. */
#ifndef SERVER_MAINTAIN_H
#define SERVER_MAINTAIN_H

#include <stdbool.h>

#include "server/config.h"

/* Position in argv of the first word that is neither an option nor an option's value; 0: there is none. */
int maintain_find_command(int argc, char *const *argv);

bool maintain_is_command(const char *word);

/* argv[0] is the command; its own arguments may stand among options of the settings. OTA_INVALID: usage. */
OTA_MUST_USE enum ota_err maintain_run(
	struct config *cfg, int argc, char *const *argv, char *const *env, struct errmsg *e);

#endif
