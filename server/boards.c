#include "server/boards.h"

#include <assert.h>
#include <stdlib.h>

void boards_release(struct boards *b)
{
	free(b->at);
	*b = (struct boards){0};
}

uint32_t boards_find(const struct boards *b, int64_t row)
{
	for (uint32_t i = 0; i < b->n; i++) {
		if (b->at[i].row == row)
			return i;
	}
	return REG_NONE;
}

/* A position that is free. */
static enum ota_err make_room(struct boards *b, uint32_t *at)
{
	uint32_t unused = boards_find(b, 0);

	if (unused != REG_NONE) {
		*at = unused;
		return OTA_OK;
	}
	/* A device names its board in 16 bits; the highest means none. */
	if (b->n == UINT16_MAX - 1)
		return OTA_LIMIT;
	if (b->n == b->cap) {
		uint32_t cap = b->cap ? b->cap * 2 : 8;
		struct reg_board *more = realloc(b->at, cap * sizeof(*more));

		if (!more)
			return OTA_NO_MEMORY;
		b->at = more;
		b->cap = cap;
	}
	*at = b->n++;
	return OTA_OK;
}

enum ota_err boards_put(struct boards *b, const struct reg_board *board)
{
	uint32_t at = boards_find(b, board->row);
	struct reg_board keep = {0};

	assert(board->row > 0);
	if (at != REG_NONE) {
		keep = b->at[at];
	} else {
		enum ota_err err = make_room(b, &at);

		if (err)
			return err;
	}
	b->at[at] = *board;
	b->at[at].n_devices = keep.n_devices;
	b->at[at].revision = keep.revision > board->revision ? keep.revision : board->revision;
	return OTA_OK;
}

void boards_remove(struct boards *b, int64_t row)
{
	uint32_t at = boards_find(b, row);

	if (at != REG_NONE && b->at[at].n_devices == 0)
		b->at[at].row = 0;
}
