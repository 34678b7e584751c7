/* A blob as the body of an answer: pieces of text and of the blob, in order. Between blobserve and http. */
#ifndef SERVER_BLOB_REPLY_H
#define SERVER_BLOB_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the blob, or, with `text`, bytes in the request's arena. */
struct blob_piece {
	const char *text;
	uint64_t first;
	uint64_t len;
};

struct blob_reply {
	const uint8_t *base; /* the mapping; served when the door is plain */
	int fd;              /* served when the door is TLS */
	const struct blob_piece *pieces;
	unsigned n_pieces;
	uint64_t total;
	/* Once, when the answer is sent or given up. `is_whole`: every byte went out. Loop thread. */
	void (*release)(struct blob_reply *reply, bool is_whole);
	void *ctx;
};

#endif
