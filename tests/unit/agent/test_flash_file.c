/* The flash in a file: what reaches the disk before what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "device-agent/ports/posix/flash_file.h"

/* 's' a slot is written, 'j' anything else is, '|' a sync, 'x' one that fails. */
static char calls[64];
static unsigned n_calls;
static uint64_t slots_at;
static bool is_sync_bad;

static void note(char what)
{
	if (n_calls + 1 < sizeof calls)
		calls[n_calls++] = what;
}

ssize_t __real_pwrite(int fd, const void *buf, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t at);
int __wrap_fdatasync(int fd);
int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);

ssize_t __wrap_pwrite(int fd, const void *buf, size_t len, off_t at)
{
	note((uint64_t)at >= slots_at ? 's' : 'j');
	return __real_pwrite(fd, buf, len, at);
}

int __wrap_fdatasync(int fd)
{
	(void)fd;
	note(is_sync_bad ? 'x' : '|');
	return is_sync_bad ? -1 : 0;
}

/* Another agent that makes the same flash is done between our open and our lock. */
static const char *published_as;

int __wrap_flock(int fd, int how)
{
	char tmp[64];

	if (published_as) {
		(void)snprintf(tmp, sizeof tmp, "%s.new", published_as);
		assert_int_equal(rename(tmp, published_as), 0);
	}
	return __real_flock(fd, how);
}

static void test_another_was_quicker(void **state)
{
	static const struct flash_options o = {16384, 4096, 4, 1};
	char folder[] = "/tmp/flash-XXXXXX", path[64], tmp[80];
	struct flash_file f = {.fd = -1};
	struct errmsg e;
	FILE *made;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof path, "%s/flash", folder);
	(void)snprintf(tmp, sizeof tmp, "%s.new", path);
	made = fopen(tmp, "w");
	assert_non_null(made);
	assert_true(fputs("whole", made) >= 0);
	assert_int_equal(fclose(made), 0);
	published_as = path;
	assert_int_equal(flash_file_create(&f, path, &o, &e), OTA_BUSY);
	published_as = NULL;
	flash_file_close(&f);
	made = fopen(path, "r");
	assert_non_null(made);
	assert_int_equal(fgetc(made), 'w');
	assert_int_equal(fclose(made), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

static void test_order(void **state)
{
	static const struct flash_options o = {16384, 4096, 4, 1};
	static const uint8_t bytes[8] = {1, 2, 3};
	char folder[] = "/tmp/flash-XXXXXX", path[64];
	struct flash_file f = {.fd = -1};
	const struct ota_flash *flash = &f.flash;
	struct errmsg e;

	(void)state;
	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof path, "%s/flash", folder);
	assert_int_equal(flash_file_create(&f, path, &o, &e), OTA_OK);
	assert_int_equal(flash_file_publish(&f, path, &e), OTA_OK);
	slots_at = flash_file_offset(&f, OTA_REGION_SLOT);
	n_calls = 0;
	assert_int_equal(flash->erase(&f, OTA_REGION_SLOT, 0, 4096), OTA_OK);
	assert_int_equal(flash->prog(&f, OTA_REGION_SLOT, 0, bytes, 8), OTA_OK);
	assert_int_equal(flash->prog(&f, OTA_REGION_JOURNAL, 0, bytes, 8), OTA_OK);
	assert_int_equal(flash->prog(&f, OTA_REGION_JOURNAL, 512, bytes, 8), OTA_OK);
	assert_int_equal(flash->prog(&f, OTA_REGION_SLOT, 8, bytes, 8), OTA_OK);
	assert_int_equal(flash->erase(&f, OTA_REGION_JOURNAL, 4096, 4096), OTA_OK);
	/* What did not get there is not spoken of. */
	assert_int_equal(flash->prog(&f, OTA_REGION_SLOT, 16, bytes, 8), OTA_OK);
	is_sync_bad = true;
	assert_int_equal(flash->prog(&f, OTA_REGION_JOURNAL, 1024, bytes, 8), OTA_FLASH);
	is_sync_bad = false;
	assert_int_equal(flash->prog(&f, OTA_REGION_JOURNAL, 1024, bytes, 8), OTA_OK);
	calls[n_calls] = '\0';
	assert_string_equal(calls, "ss|j|j|s|j|sx|j|");
	flash_file_close(&f);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order), cmocka_unit_test(test_another_was_quicker)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
