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
	BLOB_SENT,
	BLOB_LEFT,   /* the peer went away or took too long, or the server ends */
	BLOB_UNREAD, /* bytes of the blob could not be sent though the peer was there to take them */
};

struct blob_reply {
	const uint8_t *base; /* the mapping; served when the door is plain */
	int fd;              /* served when the door is TLS */
	const struct blob_piece *pieces;
	unsigned n_pieces;
	uint64_t total;
	bool is_unread; /* set by http: a read from `fd` failed */
	/* Once, when the answer is sent or given up. Loop thread. */
	void (*release)(struct blob_reply *reply, enum blob_end end);
	void *ctx;
};

#endif
