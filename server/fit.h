/* Does an image fit a board? Asked before a release is made. Pure. */
#ifndef SERVER_FIT_H
#define SERVER_FIT_H

#include "db/board.h"
#include "db/image.h"
#include "proto/errmsg.h"

/* `c` is an index into the board's components; `label` names the image in messages. OTA_IMAGE_FORMAT with
 * words: another chip, a format that the component or the chip does not take, larger than a slot. */
OTA_MUST_USE enum ota_err fit_check(const struct board_row *board, size_t c, const struct image_row *image,
	const char *label, struct errmsg *e);

#endif
