/* Many keep-alive HTTP connections to one loopback port from one thread, each with at most one request under
 * way.
 *
 * The caller makes requests and reads answers in callbacks; latency is from the first byte sent to the last
 * byte read. */
#ifndef BENCH_HERD_HTTP_H
#define BENCH_HERD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HERD_REQUEST_MAX = 2048, HERD_ANSWER_MAX = 8192 };

struct herd_answer {
	unsigned status;
	const uint8_t *body; /* valid during the callback */
	size_t len;
	int64_t latency_us;
};

struct herd_ops {
	/* Write the next request for slot `slot` into `buf` and set its length. 0: nothing to send now; asked
	 * again after the next turn. -1: this connection is done. */
	int (*request)(void *ctx, unsigned slot, char *buf, size_t cap, size_t *len);
	/* An answer came; status 0 when the connection broke instead. */
	void (*answer)(void *ctx, unsigned slot, const struct herd_answer *a);
};

struct herd_run {
	uint16_t port;
	unsigned connections;
	double seconds;     /* 0: until every connection is done */
	bool is_close;      /* a new connection for every request */
	int64_t connect_us; /* longest time a connection took to be accepted; output */
};

/* Monotonic microseconds. */
int64_t herd_now_us(void);

/* Run to the end. False: no connection could be made; a line was printed. */
bool herd_http(struct herd_run *run, const struct herd_ops *ops, void *ctx);

#endif
