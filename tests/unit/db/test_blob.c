#include "tests/unit/db/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/gc.h"
#include "proto/checkin.h"
#include "db/image.h"
#include "proto/hex.h"

static void path_of(struct fixture *f, const uint8_t sha256[32], bool part, char out[400])
{
	char hex[65];

	hex_encode(sha256, 32, hex);
	if (part)
		(void)snprintf(out, 400, "%s/blobs/tmp/%s.part", f->dir, hex);
	else
		(void)snprintf(out, 400, "%s/blobs/%.2s/%s", f->dir, hex, hex);
}

static struct blob_writer *begin(struct fixture *f, const uint8_t sha256[32], uint64_t offset)
{
	struct blob_writer *w = NULL;

	ok(f, blob_begin(f->blobs, sha256, offset, 1 << 20, &w, NULL, &f->e));
	return w;
}

static void whole(void **state)
{
	struct fixture *f = *state;
	uint8_t sha256[32], other[32];
	char path[400], buf[8];
	uint64_t size = 0;
	struct stat st;
	int fd = -1;

	sha_of("other", other);
	fails(f, OTA_NOT_FOUND, blob_stat(f->blobs, other, &size, &f->e));
	fails(f, OTA_NOT_FOUND, blob_open(f->blobs, other, &fd, NULL, &f->e));
	fails(f, OTA_NOT_FOUND, blob_verify(f->blobs, other, &f->e));
	fails(f, OTA_NOT_FOUND, blob_unlink(f->blobs, other, NULL, &f->e));
	make_blob(f->blobs, "content", sha256);
	ok(f, blob_stat(f->blobs, sha256, &size, &f->e));
	assert_int_equal(size, 7);
	path_of(f, sha256, false, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0444);
	ok(f, blob_open(f->blobs, sha256, &fd, &size, &f->e));
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(pread(fd, buf, 7, 0), 7);
	assert_memory_equal(buf, "content", 7);
	{
		void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

		assert_ptr_not_equal(map, MAP_FAILED);
		ok(f, blob_prefault(fd, map, 3, 4, &f->e));
		ok(f, blob_prefault(fd, NULL, 3, 4, &f->e));
		fails(f, OTA_IO, blob_prefault(fd, NULL, 3, 400, &f->e));
		assert_int_equal(munmap(map, 4096), 0);
	}
	close(fd);
	ok(f, blob_verify(f->blobs, sha256, &f->e));
	fails(f, OTA_NOT_FOUND, blob_part_stat(f->blobs, sha256, &size, &f->e));
	/* the same again replaces it */
	make_blob(f->blobs, "content", sha256);
	ok(f, blob_unlink(f->blobs, sha256, NULL, &f->e));
	fails(f, OTA_NOT_FOUND, blob_stat(f->blobs, sha256, &size, &f->e));
	/* an empty one is a blob too */
	make_blob(f->blobs, "", sha256);
	ok(f, blob_verify(f->blobs, sha256, &f->e));
}

static void resumed(void **state)
{
	struct fixture *f = *state;
	struct blob_writer *w, *second = NULL;
	uint8_t sha256[32];
	uint64_t size = 0, at = 0;

	sha_of("first second", sha256);
	w = begin(f, sha256, 0);
	ok(f, blob_write(w, "first ", 6, &f->e));
	fails(f, OTA_BUSY, blob_begin(f->blobs, sha256, 6, 100, &second, &at, &f->e));
	blob_suspend(w);
	ok(f, blob_part_stat(f->blobs, sha256, &size, &f->e));
	assert_int_equal(size, 6);
	fails(f, OTA_CONFLICT, blob_begin(f->blobs, sha256, 0, 100, &w, &at, &f->e));
	assert_int_equal(at, 6);
	fails(f, OTA_CONFLICT, blob_begin(f->blobs, sha256, 7, 100, &w, &at, &f->e));
	w = begin(f, sha256, 6);
	assert_int_equal(blob_written(w), 6);
	ok(f, blob_write(w, "second", 6, &f->e));
	ok(f, blob_finish(w, &size, &f->e));
	assert_int_equal(size, 12);
	ok(f, blob_verify(f->blobs, sha256, &f->e));
	fails(f, OTA_NOT_FOUND, blob_part_stat(f->blobs, sha256, &size, &f->e));
	/* a wrong offset on nothing leaves nothing */
	sha_of("never", sha256);
	fails(f, OTA_CONFLICT, blob_begin(f->blobs, sha256, 5, 100, &w, &at, &f->e));
	assert_int_equal(at, 0);
	fails(f, OTA_NOT_FOUND, blob_part_stat(f->blobs, sha256, &size, &f->e));
}

static void wrong_bytes(void **state)
{
	struct fixture *f = *state;
	struct blob_writer *w;
	uint8_t sha256[32];
	uint64_t size = 0;

	sha_of("announced", sha256);
	w = begin(f, sha256, 0);
	ok(f, blob_write(w, "delivered", 9, &f->e));
	fails(f, OTA_DIGEST, blob_finish(w, &size, &f->e));
	fails(f, OTA_NOT_FOUND, blob_stat(f->blobs, sha256, &size, &f->e));
	fails(f, OTA_NOT_FOUND, blob_part_stat(f->blobs, sha256, &size, &f->e));
	w = begin(f, sha256, 0);
	blob_abort(w);
	fails(f, OTA_NOT_FOUND, blob_part_stat(f->blobs, sha256, &size, &f->e));
	/* more than allowed; what fitted stays for a resume */
	ok(f, blob_begin(f->blobs, sha256, 0, 8, &w, NULL, &f->e));
	ok(f, blob_write(w, "12345", 5, &f->e));
	fails(f, OTA_TOO_LARGE, blob_write(w, "6789", 4, &f->e));
	blob_suspend(w);
	ok(f, blob_part_stat(f->blobs, sha256, &size, &f->e));
	assert_int_equal(size, 5);
	blob_abort(NULL);
	blob_suspend(NULL);
}

static void damaged(void **state)
{
	struct fixture *f = *state;
	uint8_t sha256[32];
	char path[400];
	int fd;

	make_blob(f->blobs, "content", sha256);
	path_of(f, sha256, false, path);
	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "C", 1, 0), 1);
	fails(f, OTA_DIGEST, blob_verify(f->blobs, sha256, &f->e));
	assert_int_equal(ftruncate(fd, 3), 0);
	close(fd);
	fails(f, OTA_DIGEST, blob_verify(f->blobs, sha256, &f->e));
	make_blob(f->blobs, "content", sha256);
	ok(f, blob_verify(f->blobs, sha256, &f->e));
	/* a symbolic link in the store is not followed */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/etc/hostname", path), 0);
	fd = -1;
	assert_int_not_equal(blob_open(f->blobs, sha256, &fd, NULL, &f->e), OTA_OK);
	assert_int_equal(fd, -1);
}

/* What a crash leaves: a partial file, which goes on; a whole one that nobody named, which is collected. */
static void leftovers(void **state)
{
	struct fixture *f = *state;
	struct blob_writer *w;
	uint8_t sha256[32], busy[32];
	unsigned n = 9;
	uint64_t size;
	char path[400];
	const struct timeval old[2] = {{NOW - 90000, 0}, {NOW - 90000, 0}};

	sha_of("partial", sha256);
	w = begin(f, sha256, 0);
	ok(f, blob_write(w, "par", 3, &f->e));
	blob_suspend(w);
	sha_of("busy", busy);
	w = begin(f, busy, 0);
	path_of(f, sha256, true, path);
	assert_int_equal(utimes(path, old), 0);
	path_of(f, busy, true, path);
	assert_int_equal(utimes(path, old), 0);
	ok(f, blob_sweep(f->blobs, NOW - 90000 + 86399, 86400, &n, &f->e));
	assert_int_equal(n, 0);
	/* one that is being written is never swept */
	ok(f, blob_sweep(f->blobs, NOW, 86400, &n, &f->e));
	assert_int_equal(n, 1);
	fails(f, OTA_NOT_FOUND, blob_part_stat(f->blobs, sha256, &size, &f->e));
	ok(f, blob_part_stat(f->blobs, busy, &size, &f->e));
	blob_abort(w);
}

static void reserve(void **state)
{
	struct fixture *f = *state;
	const struct blob_options options = {.crypto = crypto_openssl(), .reserve = UINT64_MAX / 2};
	struct blob_store *bs = NULL;
	struct blob_writer *w = NULL;
	uint8_t sha256[32];

	sha_of("x", sha256);
	ok(f, blob_space(f->blobs, 1 << 20, &f->e));
	fails(f, OTA_NO_SPACE, blob_space(f->blobs, UINT64_MAX, &f->e));
	ok(f, blob_store_open(f->dir, &options, &bs, &f->e));
	fails(f, OTA_NO_SPACE, blob_begin(bs, sha256, 0, 10, &w, NULL, &f->e));
	blob_store_close(bs);
}

/* Runs in a child that has a small file system of its own. */
static int fill_disk(struct fixture *f, const char *dir)
{
	struct blob_store *bs = fixture_blobs(dir);
	struct blob_writer *w = NULL;
	struct errmsg e = {.text = ""};
	static char chunk[60001]; /* no multiple of a page: the last write is a short one */
	uint8_t sha256[32];
	uint64_t size = 0, written;
	enum ota_err err = OTA_OK;

	(void)f;
	memset(sha256, 1, sizeof sha256);
	if (blob_begin(bs, sha256, 0, UINT64_C(1) << 30, &w, NULL, &e) != OTA_OK)
		return 1;
	while (err == OTA_OK)
		err = blob_write(w, chunk, sizeof chunk, &e);
	if (err != OTA_NO_SPACE)
		return 2;
	written = blob_written(w);
	blob_suspend(w);
	/* the file is exactly as long as what was acknowledged, so that it can go on */
	if (blob_part_stat(bs, sha256, &size, &e) != OTA_OK || size != written || size == 0)
		return 3;
	if (blob_sweep(bs, INT64_MAX / 2, 0, NULL, &e) != OTA_OK)
		return 4;
	/* and after space was made it works again, without a restart */
	make_blob(bs, "small", sha256);
	if (blob_verify(bs, sha256, &e) != OTA_OK)
		return 5;
	blob_store_close(bs);
	return 0;
}

static void full_disk(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		char dir[300];

		(void)snprintf(dir, sizeof dir, "%s/small", f->dir);
		if (mkdir(dir, 0700) < 0 || unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) < 0 ||
			mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			mount("tmpfs", dir, "tmpfs", 0, "size=1m") < 0)
			_exit(77);
		_exit(fill_disk(f, dir));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("skipped: needs root\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

struct seen {
	unsigned n_blobs, n_others;
};

static enum ota_err see(
	void *ctx, const uint8_t *sha256, const char *name, uint64_t size, int64_t mtime, struct errmsg *e)
{
	struct seen *s = ctx;

	(void)name;
	(void)size;
	(void)mtime;
	(void)e;
	if (sha256)
		s->n_blobs++;
	else
		s->n_others++;
	return OTA_OK;
}

static void listed(void **state)
{
	struct fixture *f = *state;
	struct seen s = {0};
	uint8_t sha256[32];
	char path[420];
	FILE *file;

	make_blob(f->blobs, "one", sha256);
	path_of(f, sha256, false, path);
	strcat(path, "x");
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	make_blob(f->blobs, "two", sha256);
	(void)snprintf(path, sizeof path, "%s/blobs/stray", f->dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	ok(f, blob_each(f->blobs, see, &s, &f->e));
	assert_int_equal(s.n_blobs, 2);
	assert_int_equal(s.n_others, 2);
}

static void read_only_store(void **state)
{
	struct fixture *f = *state;
	const struct blob_options options = {.crypto = crypto_openssl(), .is_read_only = true};
	struct blob_store *bs = NULL;
	char empty[256], path[300];

	temp_dir(empty);
	fails(f, OTA_NOT_FOUND, blob_store_open(empty, &options, &bs, &f->e));
	(void)snprintf(path, sizeof path, "%s/blobs", empty);
	assert_int_not_equal(access(path, F_OK), 0);
	remove_tree(empty);
	fails(f, OTA_NOT_FOUND, blob_store_open("/nonexistent", &options, &bs, &f->e));
	ok(f, blob_store_open(f->dir, &options, &bs, &f->e));
	blob_store_close(bs);
	blob_store_close(NULL);
}

/* The name is gone, and the bytes with the descriptor. */
static void remove_garbage(struct fixture *f, const uint8_t sha256[32], bool is_removed)
{
	struct stat st;
	int held = -2;

	ok(f, gc_unlink(f->db, f->blobs, sha256, &held, &f->e));
	if (!is_removed) {
		assert_int_equal(held, -1);
		return;
	}
	assert_int_equal(fstat(held, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_true(st.st_size > 0);
	close(held);
}

static struct gc_list collect(struct fixture *f, int64_t now)
{
	struct gc_list list;

	ok(f, gc_collect(f->db, now, 3600, 100, &f->mem, &list, &f->e));
	for (size_t i = 0; i < list.n; i++)
		remove_garbage(f, list.sha256[i], true);
	return list;
}

static bool is_there(struct fixture *f, const char *text)
{
	uint8_t sha256[32];
	uint64_t size;

	sha_of(text, sha256);
	return blob_stat(f->blobs, sha256, &size, &f->e) == OTA_OK;
}

static void garbage(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1);
	int64_t v1 = make_release(f, board, "1.0", "one", 100),
		v2 = make_release(f, board, "2.0", "two", 200), v3;
	int64_t device = make_device(f, "d", board, 'd');
	struct release_row row;
	struct gc_list list;
	int64_t id = 0;

	(void)make_manifest(f, v1, v2, 201);
	(void)make_image(f, "nobody's", NULL);
	/* too young, then nobody's alone */
	assert_int_equal(collect(f, NOW + 3599).n, 0);
	assert_int_equal(collect(f, NOW + 3600).n, 1);
	assert_false(is_there(f, "nobody's"));
	assert_true(is_there(f, "one"));

	/* retired, but the way back from 2.0 */
	ok(f, release_retire(f->db, v1, NOW, &f->e));
	assert_int_equal(collect(f, NOW + 9999).n, 0);
	/* 2.0 retired too: 1.0 is what the device runs, then what it reverts to */
	say_running(f, device, 1, 100, 0);
	ok(f, release_retire(f->db, v2, NOW, &f->e));
	assert_int_equal(collect(f, NOW + 9999).n, 1);
	assert_true(is_there(f, "one"));
	assert_false(is_there(f, "two"));
	v3 = make_release(f, board, "3.0", "three", 300);
	(void)v3;
	say_running(f, device, 2, 300, 0);
	assert_int_equal(collect(f, NOW + 9999).n, 0);
	assert_true(is_there(f, "one"));
	{
		int64_t v4 = make_release(f, board, "4.0", "four", 400);

		(void)v4;
		say_running(f, device, 3, 400, 0);
	}
	list = collect(f, NOW + 9999);
	assert_int_equal(list.n, 1);
	assert_false(is_there(f, "one"));
	/* what the release was is not forgotten, and the same bytes bring it back */
	ok(f, release_load(f->db, v1, &f->mem, &row, &f->e));
	assert_true(row.is_collected);
	assert_int_equal(row.n_items, 1);
	fails(f, OTA_STATE, release_retire(f->db, v1, 0, &f->e));
	id = make_image(f, "one", NULL);
	assert_true(id > 0);
	ok(f, release_load(f->db, v1, &f->mem, &row, &f->e));
	assert_false(row.is_collected);
	ok(f, release_retire(f->db, v1, 0, &f->e));
}

/* In trial a device goes back to what it confirmed last, which is neither what runs nor what ran before that.
 */
static void garbage_of_a_trial(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), v1 = make_release(f, board, "1.0", "one", 100);
	int64_t device = make_device(f, "d", board, 'd');
	bool installed = false;

	(void)make_release(f, board, "2.0", "two", 200);
	say_running(f, device, 1, 100, CHECKIN_CONFIRMED);
	say_running(f, device, 2, 200, CHECKIN_TRIAL);
	ok(f, release_is_installed(f->db, v1, &installed, &f->e));
	assert_true(installed);
	fails(f, OTA_STATE, release_delete(f->db, v1, &f->e));
	ok(f, release_retire(f->db, v1, NOW, &f->e));
	assert_int_equal(collect(f, NOW + 9999).n, 0);
	assert_true(is_there(f, "one"));
}

static void garbage_races(void **state)
{
	struct fixture *f = *state;
	struct gc_list list;
	uint8_t sha256[32];
	int lock = -1, held = -2;

	(void)make_image(f, "uploaded again", sha256);
	ok(f, gc_collect(f->db, NOW + 9999, 3600, 100, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	/* a new upload of the same bytes was recorded before the unlink's turn */
	(void)make_image(f, "uploaded again", NULL);
	remove_garbage(f, sha256, false);
	assert_true(is_there(f, "uploaded again"));
	/* a backup is reading */
	ok(f, gc_collect(f->db, NOW + 9999, 3600, 100, &f->mem, &list, &f->e));
	ok(f, blob_lock_shared(f->blobs, &lock, &f->e));
	fails(f, OTA_BUSY, gc_unlink(f->db, f->blobs, sha256, &held, &f->e));
	assert_int_equal(held, -2);
	assert_true(is_there(f, "uploaded again"));
	close(lock);
	/* found as an orphan later, not while it is young */
	ok(f, gc_orphans(f->db, f->blobs, 0, 3600, 10, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 0);
	ok(f, gc_orphans(f->db, f->blobs, INT64_MAX, 3600, 10, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_memory_equal(list.sha256[0], sha256, 32);
	remove_garbage(f, sha256, true);
	remove_garbage(f, sha256, false);
	assert_false(is_there(f, "uploaded again"));
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(whole),
		test(resumed),
		test(wrong_bytes),
		test(damaged),
		test(leftovers),
		test(reserve),
		test(full_disk),
		test(listed),
		test(read_only_store),
		test(garbage),
		test(garbage_of_a_trial),
		test(garbage_races),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
