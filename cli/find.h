/* Finding what a person names by the start of its id, and releases. */
#ifndef CLI_FIND_H
#define CLI_FIND_H

#include "cli/cli.h"

/* A list of the server whose rows have an id. */
struct find_kind {
	const char *path, *field;
	const char *noun, *list; /* for people: "push", "otactl rollout list" */
	const char *name; /* a field that is unique too among those not revoked, taken whole; NULL: none */
	const char *of_device; /* the command for a device, which may be meant; NULL: none */
};

extern const struct find_kind find_pushes, find_images, find_secrets, find_tokens;

enum find_use {
	FIND_TO_SHOW,
	FIND_TO_CHANGE, /* the start of an id needs FIND_START_MIN digits, as otad wants of a device's */
};

enum { FIND_START_MIN = 4 };

/* The one row whose id or name is `text`, or whose id starts with it. False after the reason was printed; the
 * object is the caller's. */
bool find_id(
	struct cli *cli, const struct find_kind *kind, enum find_use use, const char *text, json_t **out);

/* The row of `list` whose id or name is `text`, else the one whose id starts with it: borrowed. Returns how
 * many start with it, 1 for the whole id or name; `*hit` is set when that is 1. */
size_t find_among(const json_t *list, const struct find_kind *kind, const char *text, json_t **hit);

/* Is `text` the whole name or id of this device? */
bool find_is_wholly(const json_t *device, const char *text);

/* The path of a request about the device `ref`; false after the reason was printed (exit: usage). */
bool find_device_path(const struct cli *cli, char path[400], const char *ref, const char *tail);
/* The device of that name, start of an id, MAC address or serial. EXIT_*, after the reason was printed; the
 * object is the caller's. */
int find_device(struct cli *cli, const char *ref, json_t **out);

/* Are they the same row? */
bool find_is_same(const json_t *a, const json_t *b);
/* The devices that the operands name, each once, in their order: an array, the caller's. NULL, with EXIT_* in
 * `*code`, after the reason was printed: one that is not there stops all of it. */
json_t *find_devices(struct cli *cli, const struct args *args, int *code);

/* The release "[BOARD:]VERSION", where without a board it must be the only one of that version, or the start
 * of its digest (8 digits or more). */
bool find_release(struct cli *cli, const char *text, json_t **out);

#endif
