/* How the sending of a blob ended, on real sockets, with and without TLS: whole, left by the peer, or at
 * bytes that cannot be read; and what a slow disk holds up. */
#include <errno.h>
#include <openssl/ssl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "server/blob_reply.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/httpd.h"

enum {
	SIZE = 64 << 20,
	READABLE =
		8 << 20, /* of a blob that is cut short: more than the sockets hold, and less than its size */
	MARGIN = 128 << 10, /* what blobserve reads on either side */
};

static int blob_fd;
static uint8_t *blob_map;
static uint64_t stopped_at;
static sem_t ended[BLOB_BROKEN + 1];

/* The disk, as far as a TLS door sees it. */
static _Atomic bool is_cold;      /* the blob at a plain door */
static _Atomic int uncached;      /* errno of a read that must not wait; 0: all is in the page cache */
static _Atomic off_t bad_sector;  /* reads that wait fail from here on; 0: none */
static _Atomic bool is_next_slow; /* the next read that waits does so until `disk` */
static sem_t disk, disk_asked;
static pthread_t loop;            /* who asks the page cache */
static _Atomic off_t job_at = -1; /* where the newest job began; below 0: none since the loop read */
static _Atomic unsigned loop_waits,
	loop_strays; /* reads on the loop that may wait; those no job came before */

ssize_t __real_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int n, off_t at, int flags)
{
	loop = pthread_self();
	if (uncached == 0)
		return __real_preadv2(fd, iov, n, at, flags);
	errno = uncached;
	return -1;
}

ssize_t __real_pread(int fd, void *buf, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t at)
{
	if (pthread_equal(pthread_self(), loop)) {
		loop_waits++;
		loop_strays += job_at != at;
		job_at = -1;
	} else if (job_at < 0) {
		job_at = at;
	}
	if (atomic_exchange(&is_next_slow, false)) {
		sem_post(&disk_asked);
		sem_wait(&disk);
	}
	if (bad_sector != 0 && at + (off_t)len > bad_sector) {
		if (at >= bad_sector) {
			errno = EIO;
			return -1;
		}
		len = (size_t)(bad_sector - at);
	}
	return __real_pread(fd, buf, len, at);
}

static void release(struct blob_reply *reply, enum blob_end end, uint64_t stop)
{
	(void)reply;
	stopped_at = stop;
	sem_post(&ended[end]);
}

static enum h_result h_blob(struct req *req, struct res *res)
{
	struct blob_reply *reply = arena_alloc(req->mem, sizeof *reply);
	struct blob_piece *piece = arena_alloc(req->mem, sizeof *piece);

	piece->len = SIZE;
	*reply = (struct blob_reply){.base = blob_map,
		.fd = blob_fd,
		.is_cold = is_cold,
		.pieces = piece,
		.n_pieces = 1,
		.total = SIZE,
		.release = release};
	res->status = 200;
	res->blob = reply;
	return H_DONE;
}

static enum h_result h_other(struct req *req, struct res *res)
{
	(void)req;
	return res_body(res, 200, "text/plain", "well", 4);
}

static const struct route rows[] = {{HTTP_GET, "/blob", ROLE_PUBLIC, 0, h_blob, 0, NULL},
	{HTTP_GET, "/other", ROLE_PUBLIC, 0, h_other, 0, NULL}};

static int up(void **state)
{
	char name[] = "/tmp/otad-blob-test-XXXXXX";

	blob_fd = mkstemp(name);
	assert_true(blob_fd >= 0);
	unlink(name);
	assert_int_equal(ftruncate(blob_fd, SIZE), 0);
	blob_map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, blob_fd, 0);
	assert_ptr_not_equal(blob_map, MAP_FAILED);
	for (unsigned i = 0; i <= BLOB_BROKEN; i++)
		assert_int_equal(sem_init(&ended[i], 0, 0), 0);
	assert_int_equal(sem_init(&disk, 0, 0), 0);
	assert_int_equal(sem_init(&disk_asked, 0, 0), 0);
	uncached = 0;
	bad_sector = 0;
	is_cold = false;
	*state = httpd_start(rows, 2);
	return 0;
}

static int down(void **state)
{
	if (*state)
		httpd_stop(*state);
	munmap(blob_map, SIZE);
	close(blob_fd);
	return 0;
}

/* A client, with TLS or without. */
struct client {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
};

static long hear(struct client *c, void *bytes, size_t len)
{
	return c->ssl ? SSL_read(c->ssl, bytes, (int)len) : (long)recv(c->fd, bytes, len, 0);
}

/* Ask, and take the answer's first bytes. */
static void ask(struct httpd *s, bool is_tls, struct client *c)
{
	static const char request[] = "GET /blob HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
	char first[200];

	memset(c, 0, sizeof *c);
	c->fd = httpd_dial_port(is_tls ? s->tls_port : s->port);
	if (is_tls) {
		c->ctx = SSL_CTX_new(TLS_client_method());
		c->ssl = SSL_new(c->ctx);
		assert_int_equal(SSL_set_fd(c->ssl, c->fd), 1);
		assert_int_equal(SSL_connect(c->ssl), 1);
		assert_int_equal(SSL_write(c->ssl, request, sizeof request - 1), sizeof request - 1);
	} else {
		httpd_say(c->fd, request);
	}
	assert_true(hear(c, first, sizeof first) > 0);
	assert_memory_equal(first, "HTTP/1.1 200", 12);
}

static void hang_up(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	close(c->fd);
}

/* Until there is no more, or that many. */
static size_t hear_some(struct client *c, size_t len)
{
	static char bytes[1 << 16];
	size_t total = 0;
	long n = 1;

	while (total < len && n > 0) {
		n = hear(c, bytes, sizeof bytes);
		total += n > 0 ? (size_t)n : 0;
	}
	return total;
}

static void whole(void **state)
{
	for (int is_tls = 0; is_tls < 2; is_tls++) {
		struct client c;

		ask(*state, is_tls, &c);
		assert_true(hear_some(&c, SIZE_MAX) > SIZE - 1000);
		sem_wait(&ended[BLOB_WHOLE]);
		hang_up(&c);
	}
}

/* Nothing of it is in the page cache, or the file system does not tell: it comes all the same. */
static void cold(void **state)
{
	static const int answers[] = {EAGAIN, EOPNOTSUPP, EINTR};

	is_cold = true;
	for (size_t i = 0; i < 2 * sizeof answers / sizeof answers[0]; i++) {
		struct client c;

		uncached = answers[i / 2];
		job_at = -1;
		loop_waits = loop_strays = 0;
		ask(*state, i % 2, &c);
		assert_true(hear_some(&c, SIZE_MAX) > SIZE - 1000);
		sem_wait(&ended[BLOB_WHOLE]);
		hang_up(&c);
		/* The loop waits for no bytes but those that its job has read a moment ago. */
		assert_true(loop_waits > 0);
		if (answers[i / 2] != EOPNOTSUPP)
			assert_int_equal(loop_strays, 0);
	}
}

/* While the disk takes its time over a blob, everybody else is answered. */
static void slow_at(struct httpd *s, bool is_tls)
{
	static const char other[] = "GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
	struct answer a;
	struct client c;

	uncached = EAGAIN;
	is_next_slow = true;
	ask(s, is_tls, &c);
	sem_wait(&disk_asked);
	assert_int_equal(httpd_ask(s, other, &a), 200);
	sem_post(&disk);
	assert_true(hear_some(&c, SIZE_MAX) > SIZE - 1000);
	sem_wait(&ended[BLOB_WHOLE]);
	hang_up(&c);

	/* Nobody is there any more when the bytes are. */
	is_next_slow = true;
	ask(s, is_tls, &c);
	sem_wait(&disk_asked);
	hang_up(&c);
	assert_int_equal(httpd_ask(s, other, &a), 200);
	sem_post(&disk);
	sem_wait(&ended[BLOB_LEFT]);
}

static void slow(void **state)
{
	slow_at(*state, true);
}

static void slow_and_plain(void **state)
{
	is_cold = true;
	slow_at(*state, false);
}

/* The peer hangs up, in every way that there is, with most of the blob unsent. */
static void left(void **state)
{
	for (int is_tls = 0; is_tls < 2; is_tls++) {
		for (int how = 0; how < 3; how++) {
			const struct linger reset = {.l_onoff = 1};
			struct client c;

			ask(*state, is_tls, &c);
			if (how == 1)
				shutdown(c.fd, SHUT_RDWR);
			if (how == 2)
				assert_int_equal(
					setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
			hang_up(&c);
			sem_wait(&ended[is_tls ? BLOB_LEFT : BLOB_STOPPED]);
			assert_true(stopped_at < SIZE / 2);
		}
	}
}

/* The server itself gives it up. */
static void ending(void **state)
{
	struct client plain, tls;

	ask(*state, false, &plain);
	ask(*state, true, &tls);
	httpd_stop(*state);
	*state = NULL;
	sem_wait(&ended[BLOB_STOPPED]);
	sem_wait(&ended[BLOB_LEFT]);
	hang_up(&plain);
	hang_up(&tls);
}

/* Bytes that are not there any more: what a bad sector is to who sends. The place is known, whoever gives up.
 */
static void unread(void **state)
{
	struct client c;

	assert_int_equal(ftruncate(blob_fd, READABLE), 0);
	ask(*state, false, &c);
	assert_true(hear_some(&c, READABLE - MARGIN) >= READABLE - MARGIN);
	hang_up(&c);
	sem_wait(&ended[BLOB_STOPPED]);
	assert_in_range(stopped_at, READABLE - MARGIN, READABLE + MARGIN);
	for (int round = 0; round < 2; round++) {
		ask(*state, true, &c);
		assert_in_range(hear_some(&c, SIZE_MAX), READABLE / 2, READABLE + 1000);
		sem_wait(&ended[BLOB_STOPPED]);
		assert_int_equal(stopped_at, READABLE);
		hang_up(&c);
		uncached = EAGAIN;
	}
	/* A sector that does not begin where anything else does. */
	bad_sector = READABLE - (1 << 20) - 4096;
	ask(*state, true, &c);
	assert_in_range(hear_some(&c, SIZE_MAX), READABLE / 2, READABLE);
	sem_wait(&ended[BLOB_STOPPED]);
	assert_int_equal(stopped_at, bad_sector);
	hang_up(&c);
}

/* The second answer of a connection is counted from its own beginning. */
static void kept_alive(void **state)
{
	static const char request[] = "GET /blob HTTP/1.1\r\nHost: a\r\n\r\n";
	struct client c = {.fd = httpd_dial_port(((struct httpd *)*state)->port)};

	httpd_say(c.fd, request);
	assert_true(hear_some(&c, SIZE) >= SIZE);
	sem_wait(&ended[BLOB_WHOLE]);
	httpd_say(c.fd, request);
	assert_true(hear_some(&c, READABLE) >= READABLE);
	hang_up(&c);
	sem_wait(&ended[BLOB_STOPPED]);
	assert_in_range(stopped_at, READABLE - 1000, SIZE / 2 + READABLE);
}

/* A client that says no more gets all of it, and then the end. */
static void half_closed(void **state)
{
	static const char request[] = "GET /blob HTTP/1.1\r\nHost: a\r\n\r\n";
	struct client c = {.fd = httpd_dial_port(((struct httpd *)*state)->port)};

	assert_int_equal(send(c.fd, request, sizeof request - 1, MSG_MORE), sizeof request - 1);
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
	assert_true(hear_some(&c, SIZE_MAX) > SIZE);
	sem_wait(&ended[BLOB_WHOLE]);
	hang_up(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole, up, down),
		cmocka_unit_test_setup_teardown(cold, up, down),
		cmocka_unit_test_setup_teardown(slow, up, down),
		cmocka_unit_test_setup_teardown(slow_and_plain, up, down),
		cmocka_unit_test_setup_teardown(left, up, down),
		cmocka_unit_test_setup_teardown(ending, up, down),
		cmocka_unit_test_setup_teardown(unread, up, down),
		cmocka_unit_test_setup_teardown(kept_alive, up, down),
		cmocka_unit_test_setup_teardown(half_closed, up, down),
	};

	return cmocka_run_group_tests_name("http_blob", tests, NULL, NULL);
}
