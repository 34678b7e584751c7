/* A blob as the body of an answer: pieces of text and of the blob, in order. Between blobserve and http.
 *
 * A plain door sends from the mapping what is in the page cache as a whole when the answer begins. The rest,
 * and all of a TLS door's, is read: what is in the page cache is copied, what is not is read by a job first.
 * There the loop waits for the disk only where 64 KiB have left the cache between their job and the copy, or
 * where the file system does not tell what is cached. Each answer that is read has a buffer of 64 KiB
 * (http.c's BLOCK_LEN) until it ends. */
#ifndef SERVER_BLOB_REPLY_H
#define SERVER_BLOB_REPLY_H

#include "server/jobs.h"

struct req;

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

/* blob_read.c's own: what a job has read of the blob, so that it is in the page cache. */
struct blob_ahead {
	struct job job;
	struct req *req;
	int fd;
	uint64_t from, to;
	bool is_known;   /* [from, to) was read, and `to` is where that ended */
	bool cannot_ask; /* this file system does not tell what is in the page cache */
};

struct blob_reply {
	const uint8_t *base; /* the mapping */
	int fd;              /* the same, to be read */
	bool is_cold;        /* not all of it is in the page cache: it is read at a plain door, too */
	const struct blob_piece *pieces;
	unsigned n_pieces;
	uint64_t total;
	struct blob_ahead ahead;
	bool is_unread; /* blob_read: a read from `fd` failed, at `unread_at` */
	uint64_t unread_at;
	uint64_t sent_before; /* http: bytes of the connection before this answer */
	/* Once, when the answer is sent whole, or given up for whatever reason. Loop thread. */
	void (*release)(struct blob_reply *reply, enum blob_end end, uint64_t stop);
	void *ctx;
};

enum blob_read {
	BLOB_READ_SOME,
	BLOB_READ_END,
	BLOB_READ_LATER, /* req->resume is called once; ask again then. `reply` and `req` have to live till
			    then */
	BLOB_READ_FAILED,
};

/* Bytes of the body from `pos` on, at most `max`, for the answer to `req`. `*n` is written with
 * BLOB_READ_SOME, and is above 0. Loop thread. */
enum blob_read blob_read(
	struct blob_reply *reply, struct req *req, uint64_t pos, char *buf, size_t max, size_t *n);

#endif
