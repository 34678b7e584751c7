/* Boards: the hardware classes of the registry. They are few: found by walking. Part of the registry. */
#ifndef SERVER_BOARDS_H
#define SERVER_BOARDS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/err.h"

enum { REG_NAME_MAX = 64 };

#define REG_NONE UINT32_MAX

/* A hardware class. */
struct reg_board {
	int64_t row;
	uint8_t vendor_id[16], class_id[16];
	char name[REG_NAME_MAX];
	uint32_t poll_s;    /* 0: the server's */
	uint32_t revision;  /* of its notice; 0: none published yet */
	uint32_t n_devices; /* in the registry */
	/* Between two lines of wake_send. */
	uint32_t n_woken; /* of its list */
	bool is_hinted;
	uint32_t hint_spread_s;
};

/* Zeroed to begin. Positions stay valid until that board is removed. */
struct boards {
	struct reg_board *at; /* row 0: free */
	uint32_t n, cap;
};

void boards_release(struct boards *b);

/* The position; REG_NONE: not here. */
uint32_t boards_find(const struct boards *b, int64_t row);

/* As registry_put_board and registry_remove_board say. */
OTA_MUST_USE enum ota_err boards_put(struct boards *b, const struct reg_board *board);
void boards_remove(struct boards *b, int64_t row);

#endif
