/* Finding pushes and releases by what a person types. */
#ifndef CLI_FIND_H
#define CLI_FIND_H

#include "cli/cli.h"

/* The push whose id starts with `text`. False after the reason was printed; the object is the caller's. */
bool find_rollout(struct cli *cli, const char *text, json_t **out);

/* The release "[BOARD:]VERSION"; without a board it must be the only one of that version. */
bool find_release(struct cli *cli, const char *text, json_t **out);

#endif
