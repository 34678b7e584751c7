/* How the sending of a blob ended, on real sockets, with and without TLS: whole, left by the peer, or at
 * bytes that cannot be read. */
#include <openssl/ssl.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
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
		.pieces = piece,
		.n_pieces = 1,
		.total = SIZE,
		.release = release};
	res->status = 200;
	res->blob = reply;
	return H_DONE;
}

static const struct route rows[] = {{HTTP_GET, "/blob", ROLE_PUBLIC, 0, h_blob, 0, NULL}};

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
	*state = httpd_start(rows, 1);
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
	ask(*state, true, &c);
	assert_in_range(hear_some(&c, SIZE_MAX), READABLE / 2, READABLE + 1000);
	sem_wait(&ended[BLOB_STOPPED]);
	assert_int_equal(stopped_at, READABLE);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole, up, down),
		cmocka_unit_test_setup_teardown(left, up, down),
		cmocka_unit_test_setup_teardown(ending, up, down),
		cmocka_unit_test_setup_teardown(unread, up, down),
		cmocka_unit_test_setup_teardown(kept_alive, up, down),
	};

	return cmocka_run_group_tests_name("http_blob", tests, NULL, NULL);
}
