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

enum blob_end {
	BLOB_WHOLE,
	BLOB_LEFT,    /* given up, and not for its bytes */
	BLOB_STOPPED, /* after `stop` bytes of the body, or, after a fault in the mapping, up to 64 KiB later
		       */
	BLOB_BROKEN,  /* somewhere */
};

struct blob_reply {
	const uint8_t *base; /* the mapping; served when the door is plain */
	int fd;              /* served when the door is TLS */
	const struct blob_piece *pieces;
	unsigned n_pieces;
	uint64_t total;
	bool is_unread; /* http: a read from `fd` failed, at `unread_at` */
	uint64_t unread_at;
	uint64_t sent_before; /* http: bytes of the connection before this answer */
	/* Once, when the answer is sent whole, or given up for whatever reason. Loop thread. */
	void (*release)(struct blob_reply *reply, enum blob_end end, uint64_t stop);
	void *ctx;
};

#endif
