/* Backups, restores, blobs: one call of the system or of the engine fails, at every place in turn. It is
 * said, nothing half done can be taken for whole, and the same works when the fault is over. */
#include "tests/unit/db/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/backup.h"
#include "db/setting.h"
#include "tests/unit/fault.h"

ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __real_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
ssize_t __real_pread(int fd, void *buf, size_t n, off_t at);
ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t at);
ssize_t __real_pwrite(int fd, const void *buf, size_t n, off_t at);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t at);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_renameat2(int a, const char *from, int b, const char *to, unsigned flags);
int __wrap_renameat2(int a, const char *from, int b, const char *to, unsigned flags);
int __real_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to);
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __real_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode);
int __real_openat(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat(int dir, const char *path, int flags, mode_t mode);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_read(fd, buf, n);
}

ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_write(fd, buf, n);
}

ssize_t __wrap_pread(int fd, void *buf, size_t n, off_t at)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_pread(fd, buf, n, at);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_pwrite(fd, buf, n, at);
}

int __wrap_fsync(int fd)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_fdatasync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_rename(from, to);
}

int __wrap_renameat(int a, const char *from, int b, const char *to)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_renameat(a, from, b, to);
}

int __wrap_renameat2(int a, const char *from, int b, const char *to, unsigned flags)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_renameat2(a, from, b, to, flags);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_mkdir(path, mode);
}

int __wrap_open(const char *path, int flags, mode_t mode)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_open(path, flags, mode);
}

int __wrap_openat(int dir, const char *path, int flags, mode_t mode)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_openat(dir, path, flags, mode);
}

int __wrap_fstat(int fd, struct stat *st)
{
	return fault_fires(FAULT_ANY) ? -1 : __real_fstat(fd, st);
}

/* ---- a data directory ---- */

static struct backup_options options(void)
{
	return (struct backup_options){.crypto = crypto_openssl(), .now = NOW};
}

static void fill(struct fixture *f)
{
	int64_t board = make_board(f, "lamp", 1);

	(void)make_release(f, board, "1.0", "firmware one", 100);
	(void)make_release(f, board, "2.0", "firmware two", 200);
	(void)make_device(f, "kitchen", board, 'a');
}

/* `err` is an answer under a fault at `at`. */
static void expect_said(struct fixture *f, const char *what, unsigned at, enum ota_err err)
{
	if (err == OTA_OK)
		fail_msg("%s: the fault at %u is not told", what, at);
	if (f->e.text[0] == '\0')
		fail_msg("%s: the fault at %u has no words", what, at);
	f->e.text[0] = '\0';
}

static void backups(void **state)
{
	struct fixture *f = *state;
	const struct backup_options o = options();
	char path[300], part[310];
	unsigned at;

	fill(f);
	(void)snprintf(path, sizeof path, "%s/backup.tar", f->dir);
	(void)snprintf(part, sizeof part, "%s.part", path);
	for (at = 0;; at++) {
		enum ota_err err;

		fault_arm(FAULT_ANY, at);
		err = backup_write_file(f->dir, &o, path, NULL, &f->e);
		if (!fault_over()) {
			ok(f, err);
			break;
		}
		expect_said(f, "backup", at, err);
		assert_int_not_equal(access(part, F_OK), 0);
		/* Where only the directory's sync failed the file stands, whole. */
		if (access(path, F_OK) == 0)
			assert_int_equal(unlink(path), 0);
	}
	assert_true(at > 30);
	print_message("backup: %u faults\n", at);
}

static void restores(void **state)
{
	struct fixture *f = *state;
	const struct backup_options o = options();
	struct check_report report;
	char path[300], to[300];
	unsigned at;

	fill(f);
	(void)snprintf(path, sizeof path, "%s/backup.tar", f->dir);
	(void)snprintf(to, sizeof to, "%s-restored", f->dir);
	ok(f, backup_write_file(f->dir, &o, path, NULL, &f->e));
	for (at = 0;; at++) {
		int fd = __real_open(path, O_RDONLY | O_CLOEXEC, 0);
		enum ota_err err;
		struct db *db = NULL;

		assert_true(fd >= 0);
		fault_arm(FAULT_ANY, at);
		err = backup_restore(to, &o, fd, NULL, &f->e);
		if (fault_over()) {
			const struct db_options how = {.mode = DB_READ_WRITE};

			expect_said(f, "restore", at, err);
			/* Nothing to open, or all of it: never a part. */
			if (access(to, F_OK) == 0) {
				err = backup_recover(to, &f->e);
				if (err == OTA_OK && db_open(to, &how, &db, &f->e) == OTA_OK) {
					db_close(db);
					ok(f, backup_check(to, crypto_openssl(), NULL, NULL, &report, &f->e));
					assert_int_equal(report.n_blobs, 2);
				}
				remove_tree(to);
			}
			assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
			err = backup_restore(to, &o, fd, NULL, &f->e);
		}
		close(fd);
		ok(f, err);
		ok(f, backup_check(to, crypto_openssl(), NULL, NULL, &report, &f->e));
		assert_int_equal(report.n_images, 2);
		assert_int_equal(report.n_blobs, 2);
		remove_tree(to);
		if (!fault_over())
			break;
	}
	assert_true(at > 30);
	print_message("restore: %u faults\n", at);
}

static void checks(void **state)
{
	struct fixture *f = *state;
	unsigned at;

	fill(f);
	for (at = 0;; at++) {
		struct check_report report;
		enum ota_err err;

		fault_arm(FAULT_ANY, at);
		err = backup_check(f->dir, crypto_openssl(), NULL, NULL, &report, &f->e);
		if (!fault_over()) {
			ok(f, err);
			break;
		}
		expect_said(f, "check", at, err);
	}
	assert_true(at > 10);
	print_message("check: %u faults\n", at);
}

static enum ota_err store_blob(struct fixture *f, const char *text, const uint8_t sha256[32], uint64_t from)
{
	struct blob_writer *bw;
	enum ota_err err = blob_begin(f->blobs, sha256, from, 1 << 20, &bw, NULL, &f->e);

	if (err)
		return err;
	err = blob_write(bw, text + from, strlen(text) - from, &f->e);
	if (err) {
		blob_abort(bw);
		return err;
	}
	return blob_finish(bw, NULL, &f->e);
}

static void blobs(void **state)
{
	struct fixture *f = *state;
	unsigned at;

	for (at = 0;; at++) {
		char text[32];
		uint8_t sha256[32];
		uint64_t from = 0;
		enum ota_err err;

		(void)snprintf(text, sizeof text, "image %u", at);
		sha_of(text, sha256);
		fault_arm(FAULT_ANY, at);
		err = store_blob(f, text, sha256, 0);
		if (fault_over()) {
			expect_said(f, "blob", at, err);
			/* What was uploaded is gone on with. */
			if (blob_part_stat(f->blobs, sha256, &from, &f->e) != OTA_OK)
				from = 0;
			assert_true(from <= strlen(text));
			err = store_blob(f, text, sha256, from);
			if (err == OTA_EXISTS) /* only what came after its name was made failed */
				err = OTA_OK;
		}
		ok(f, err);
		ok(f, blob_verify(f->blobs, sha256, &f->e));
		if (!fault_over())
			break;
	}
	assert_true(at > 3);
	print_message("blob: %u faults\n", at);
}

static void opening(void **state)
{
	struct fixture *f = *state;
	const struct db_options how = {.mode = DB_CREATE, .now = NOW};
	char dir[300];
	unsigned at;

	for (at = 0;; at++) {
		struct db *db = NULL;
		enum ota_err err;

		(void)snprintf(dir, sizeof dir, "%s/new-%u", f->dir, at);
		assert_int_equal(__real_mkdir(dir, 0700), 0);
		fault_arm(FAULT_ANY, at);
		err = db_open(dir, &how, &db, &f->e);
		if (fault_over()) {
			expect_said(f, "open", at, err);
			assert_null(db);
			err = db_open(dir, &how, &db, &f->e);
		}
		ok(f, err);
		ok(f, setting_set(db, "a", "b", NOW, &f->e));
		db_close(db);
		if (!fault_over())
			break;
	}
	assert_true(at > 5);
	print_message("open: %u faults\n", at);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {T(backups), T(restores), T(checks), T(blobs), T(opening)};

	/* Memory, where there is some to write to: each fault has its own syncs. */
	if (access("/dev/shm", W_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
