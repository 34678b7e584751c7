/* Open blobs: who closes them and where, how many there are, and when one is read again. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "db/blob.h"
#include "proto/hex.h"
#include "server/blob_reply.h"
#include "server/blobserve.h"
#include "server/log.h"
#include "server/openblob.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/fake.h"

enum { SIZE = 18 << 20 };

/* The blob store: one file for every name. */
static int file;
static uint64_t read_from, n_read; /* bytes that were to be read */
static enum ota_err read_gives;
static unsigned n_damaged;

enum ota_err blob_open(const struct blob_store *bs, const uint8_t sha256[static 32], int *fd, uint64_t *size,
	struct errmsg *e)
{
	(void)bs;
	if (sha256[0] == 0xff)
		return errmsg_fail(e, OTA_NOT_FOUND, "none");
	*fd = dup(file);
	*size = SIZE;
	return OTA_OK;
}

enum ota_err blob_prefault(int fd, void *map, uint64_t offset, size_t len, struct errmsg *e)
{
	(void)fd;
	(void)map;
	read_from = offset;
	n_read += len;
	return read_gives ? errmsg_fail(e, read_gives, "as told") : OTA_OK;
}

static pthread_t tester;
static unsigned n_unmapped, n_unmapped_here;

int __real_munmap(void *map, size_t len);
int __wrap_munmap(void *map, size_t len);
int __wrap_munmap(void *map, size_t len)
{
	if (len == SIZE) {
		__atomic_add_fetch(&n_unmapped, 1, __ATOMIC_SEQ_CST);
		if (pthread_equal(pthread_self(), tester))
			n_unmapped_here++;
	}
	return __real_munmap(map, len);
}

static bool is_lane_full;

size_t __real_jobs_in_lane(const struct jobs *jobs, enum job_lane lane);
size_t __wrap_jobs_in_lane(const struct jobs *jobs, enum job_lane lane);
size_t __wrap_jobs_in_lane(const struct jobs *jobs, enum job_lane lane)
{
	return is_lane_full ? JOB_LANE_MAX : __real_jobs_in_lane(jobs, lane);
}

static void damaged(struct app *app, const uint8_t sha256[32])
{
	(void)app;
	(void)sha256;
	n_damaged++;
}

static int up(void **state)
{
	struct fake *f = calloc(1, sizeof *f);
	struct errmsg e;

	log_setup(LOG_LEVEL_ERROR + 1, LOG_FORMAT_TEXT);
	fake_init(f, NULL);
	f->cfg.public_images = true;
	f->app.hooks.image_damaged = damaged;
	assert_int_equal(blob_table_new(&f->app, &f->app.blobs_open, &e), OTA_OK);
	file = memfd_create("blob", MFD_CLOEXEC);
	assert_int_equal(ftruncate(file, SIZE), 0);
	tester = pthread_self();
	n_unmapped = n_unmapped_here = n_damaged = 0;
	n_read = 0;
	read_gives = OTA_OK;
	*state = f;
	return 0;
}

static int down(void **state)
{
	struct fake *f = *state;

	blob_table_free(f->app.blobs_open);
	fake_release(f);
	close(file);
	free(f);
	return 0;
}

/* The same with real threads. */
static int up_threads(void **state)
{
	const struct jobs_config threads = {.db_open = NULL};
	struct errmsg e;
	struct fake *f;

	up(state);
	f = *state;
	assert_true(jobs_free(f->app.jobs));
	assert_int_equal(jobs_new(&threads, &f->app.jobs, &e), OTA_OK);
	return 0;
}

static void settle(const struct fake *f)
{
	while (jobs_pending(f->app.jobs) > 0) {
		struct pollfd p = {.fd = jobs_fd(f->app.jobs), .events = POLLIN};

		assert_int_equal(poll(&p, 1, 60000), 1);
		jobs_complete(f->app.jobs);
	}
}

static struct open_blob *opened(const struct fake *f, uint8_t name, uint8_t second)
{
	const uint8_t sha256[32] = {name, second};
	struct open_blob *b;
	struct errmsg e;

	assert_int_equal(open_blob_new(&f->app, sha256, &b, &e), OTA_OK);
	return b;
}

/* Two requests opened the same blob at the same time; then it is removed while one still sends it. */
static void closed_off_the_loop(void **state)
{
	struct fake *f = *state;
	struct blob_table *t = f->app.blobs_open;
	struct open_blob *first = opened(f, 1, 0), *second = opened(f, 1, 0);

	assert_ptr_equal(blob_table_adopt(t, first, blob_table_drops(t)), first);
	assert_ptr_equal(blob_table_adopt(t, second, blob_table_drops(t)), first);
	settle(f);
	assert_int_equal(n_unmapped, 1);
	assert_ptr_equal(blob_table_get(t, first->sha256), first);
	open_blob_put(first);
	open_blob_put(first);
	blob_table_drop(t, first->sha256);
	assert_null(blob_table_get(t, first->sha256));
	settle(f);
	assert_int_equal(n_unmapped, 1);
	open_blob_put(first);
	settle(f);
	assert_int_equal(n_unmapped, 2);
	assert_int_equal(n_unmapped_here, 0);
}

/* It was removed while it was being opened: who asked gets it, nobody else does, and its disk is freed. */
static void dropped_while_it_opened(void **state)
{
	struct fake *f = *state;
	struct blob_table *t = f->app.blobs_open;
	uint64_t drops = blob_table_drops(t);
	struct open_blob *late = opened(f, 1, 0);

	blob_table_drop(t, late->sha256);
	assert_ptr_equal(blob_table_adopt(t, late, drops), late);
	assert_null(blob_table_get(t, late->sha256));
	settle(f);
	assert_int_equal(n_unmapped, 0);
	open_blob_put(late);
	settle(f);
	assert_int_equal(n_unmapped, 1);
}

/* 64 stay open; the one that nobody has used for longest goes, but none in use. */
static void bounded(void **state)
{
	struct fake *f = *state;
	struct blob_table *t = f->app.blobs_open;
	struct open_blob *used = blob_table_adopt(t, opened(f, 1, 0), blob_table_drops(t)), *kept;

	for (unsigned i = 1; i < 64; i++)
		open_blob_put(
			blob_table_adopt(t, opened(f, (uint8_t)(i % 5), (uint8_t)i), blob_table_drops(t)));
	assert_int_equal(n_unmapped, 0);
	open_blob_put(blob_table_get(t, (const uint8_t[32]){1, 1})); /* now the newest */
	open_blob_put(blob_table_adopt(t, opened(f, 9, 9), blob_table_drops(t)));
	settle(f);
	assert_int_equal(n_unmapped, 1);
	assert_null(blob_table_get(t, (const uint8_t[32]){2, 2}));
	kept = blob_table_get(t, (const uint8_t[32]){1, 1});
	assert_non_null(kept);
	open_blob_put(kept);
	open_blob_put(used);
}

/* A hundred in use at once are a hundred; afterwards no more than 64 stay. */
static void bounded_again(void **state)
{
	struct fake *f = *state;
	struct blob_table *t = f->app.blobs_open;
	struct open_blob *used[100];

	for (unsigned i = 0; i < 100; i++)
		used[i] = blob_table_adopt(t, opened(f, 1, (uint8_t)i), blob_table_drops(t));
	for (unsigned i = 0; i < 100; i++)
		open_blob_put(used[i]);
	settle(f);
	assert_int_equal(n_unmapped, 0);
	open_blob_put(blob_table_adopt(t, opened(f, 9, 9), blob_table_drops(t)));
	settle(f);
	assert_int_equal(n_unmapped, 37);
}

static void read_again(void **state)
{
	struct fake *f = *state;
	struct blob_table *t = f->app.blobs_open;
	struct open_blob *b = blob_table_adopt(t, opened(f, 1, 0), blob_table_drops(t));

	/* While one check runs no other is begun. */
	open_blob_check(b, 1000, SIZE - 1000);
	assert_ptr_equal(blob_table_get(t, b->sha256), b);
	open_blob_check(b, 0, SIZE);
	settle(f);
	assert_int_equal(n_read, SIZE - 1000);
	assert_int_equal(n_damaged, 0);
	read_gives = OTA_NO_MEMORY;
	open_blob_check(blob_table_get(t, b->sha256), 0, 5);
	settle(f);
	assert_false(b->is_damaged);
	read_gives = OTA_IO;
	open_blob_check(blob_table_get(t, b->sha256), 0, 5);
	settle(f);
	assert_true(b->is_damaged);
	assert_int_equal(n_damaged, 1);
	n_read = 0;
	open_blob_check(blob_table_get(t, b->sha256), 0, 5);
	settle(f);
	assert_int_equal(n_read, 0);
	assert_int_equal(n_damaged, 1);
}

static const struct route rows[] = {{HTTP_GET, "/i/:sha256", ROLE_FETCH, 0, blobserve_get, 0, NULL}};

static struct blob_reply *get(struct fake *f, uint8_t name, const char *range)
{
	const uint8_t sha256[32] = {name};
	char target[80] = "/i/";

	hex_encode(sha256, 32, target + 3);
	if (range)
		fake_header(f, "Range", range);
	fake_request(f, rows, 1, "GET", target, NULL);
	return f->res.blob;
}

/* Somebody who asks and hangs up makes the disk read what is around the place where he stopped, and no more.
 */
static void left_alone(void **state)
{
	struct fake *f = *state;
	struct blob_reply *reply = get(f, 1, NULL);

	assert_in_range(n_read, 1, 2 << 20); /* before the answer begins */
	n_read = 0;
	reply->release(reply, BLOB_WHOLE, 0);
	reply = get(f, 1, NULL);
	reply->release(reply, BLOB_LEFT, 0);
	assert_int_equal(n_read, 0);
	for (uint64_t stop = 0; stop <= SIZE; stop += 99999) {
		n_read = 0;
		reply = get(f, 1, NULL);
		reply->release(reply, BLOB_STOPPED, stop);
		assert_in_range(n_read, 1, 256 << 10);
		assert_in_range(stop, read_from, read_from + n_read);
	}
	reply = get(f, 1, "bytes=1000000-2000000");
	n_read = 0;
	reply->release(reply, BLOB_STOPPED, 500000);
	assert_in_range(n_read, 1, 256 << 10);
	assert_in_range(1500000, read_from, read_from + n_read);
	/* Parts: a head of text, a hundred bytes, another head, the second part. */
	reply = get(f, 1, "bytes=0-99,4000000-5000000");
	n_read = 0;
	reply->release(reply, BLOB_STOPPED, 700000);
	assert_in_range(n_read, 1, 256 << 10);
	assert_in_range(4699700, read_from, read_from + n_read);
	n_read = 0;
	reply = get(f, 1, "bytes=0-99,200-299");
	read_gives = OTA_IO;
	reply->release(reply, BLOB_BROKEN, 0);
	assert_int_equal(n_read, SIZE);
	assert_int_equal(n_damaged, 1);
	assert_null(get(f, 1, NULL));
	assert_int_equal(f->res.status, 503);
	assert_null(get(f, 0xff, NULL));
	assert_int_equal(f->res.status, 404);
	/* Its beginning is read before the answer begins. */
	assert_null(get(f, 2, NULL));
	assert_int_equal(f->res.status, 503);
	assert_int_equal(n_damaged, 2);
}

/* A request that is refused because the readers are busy holds nothing. */
static void busy(void **state)
{
	struct fake *f = *state;
	struct blob_reply *reply = get(f, 1, "bytes=0-99");

	reply->release(reply, BLOB_WHOLE, 0);
	is_lane_full = true;
	assert_null(get(f, 1, "bytes=4000000-4000099"));
	assert_int_equal(f->res.status, 503);
	is_lane_full = false;
	blob_table_drop(f->app.blobs_open, (const uint8_t[32]){1});
	assert_int_equal(n_unmapped, 1);
}

/* A plain door sends from the mapping what is in the page cache, and reads the rest by jobs: a hole in the
 * file of this test is in no cache. */
static void cold_is_read(void **state)
{
	static const struct {
		const char *range;
		bool is_cold;
	} asked[] = {
		{NULL, true},
		{"bytes=0-1048575", false},
		{"bytes=3145700-3145727", false},
		{"bytes=3145728-3145728", true},
		{"bytes=3211264-3300000", false}, /* behind it, whatever a page's size is */
		{"bytes=0-99,3145800-3145900", true},
		{"bytes=0-99,200-299", false},
		/* So much is not asked for at once, however it is cut. */
		{"bytes=0-3145727", false},
		{"bytes=3211264-18874367", false},
		{"bytes=0-3145727,3211264-18874367", true},
	};
	static const uint8_t bytes[1 << 20];
	struct fake *f = *state;
	struct blob_reply *reply;

	for (off_t at = 0; at < SIZE; at += (off_t)sizeof bytes)
		assert_int_equal(pwrite(file, bytes, sizeof bytes, at), sizeof bytes);
	reply = get(f, 1, "bytes=0-16777215");
	assert_false(reply->is_cold);
	reply->release(reply, BLOB_LEFT, 0);
	assert_int_equal(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3 << 20, 65536), 0);
	for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
		reply = get(f, 1, asked[i].range);
		assert_int_equal(reply->is_cold, asked[i].is_cold);
		reply->release(reply, BLOB_LEFT, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(closed_off_the_loop, up_threads, down),
		cmocka_unit_test_setup_teardown(dropped_while_it_opened, up_threads, down),
		cmocka_unit_test_setup_teardown(bounded, up_threads, down),
		cmocka_unit_test_setup_teardown(bounded_again, up_threads, down),
		cmocka_unit_test_setup_teardown(read_again, up_threads, down),
		cmocka_unit_test_setup_teardown(left_alone, up, down),
		cmocka_unit_test_setup_teardown(busy, up, down),
		cmocka_unit_test_setup_teardown(cold_is_read, up, down),
	};

	return cmocka_run_group_tests_name("openblob", tests, NULL, NULL);
}
