/* Do images fit a board, and are they together a whole release? Asked by otactl before it sends a byte and by
 * otad before it makes a release. Host programs only; pure. */
#ifndef PROTO_FIT_H
#define PROTO_FIT_H

#include "proto/errmsg.h"
#include "proto/image.h"

struct fit_component {
	const char *name;
	const char *format; /* image_format_name() that it takes; "": any */
	uint64_t size_max;  /* bytes of a slot; 0: not known */
};

/* Borrowed throughout. */
struct fit_board {
	const char *name;
	const char *chip; /* "": not known */
	const struct fit_component *components;
	size_t n_components;
};

struct fit_part {
	size_t component;    /* index into the board's */
	const char *variant; /* "": for any slot */
};

/* Does an image fit as component `c`? `label` names it in messages. OTA_IMAGE_FORMAT with words: another
 * chip, a format that the component or the chip does not take, larger than a slot. */
OTA_MUST_USE enum ota_err fit_image(const struct fit_board *board, size_t c, const struct image_info *info,
	const char *label, struct errmsg *e);

/* The variant of an image: what was said ("": nothing), else what the image itself says, else "". OTA_INVALID
 * with words: they differ, or it is no name. `*variant` points to `said` or to a constant. */
OTA_MUST_USE enum ota_err fit_variant(
	const struct image_info *info, const char *said, const char **variant, struct errmsg *e);

/* One image for any slot for each component, or two, each linked for one slot. OTA_INVALID with words. */
OTA_MUST_USE enum ota_err fit_set(
	const struct fit_board *board, const struct fit_part *parts, size_t n_parts, struct errmsg *e);

#endif
