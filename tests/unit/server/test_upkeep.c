#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/server/cmocka_all.h"
#include "db/blob.h"
#include "db/image.h"
#include "db/lease.h"
#include "db/release.h"
#include "db/stmt.h"
#include "proto/hex.h"
#include "server/log.h"
#include "server/openblob.h"
#include "server/upkeep.h"
#include "tests/unit/server/fleet.h"

static struct fleet fl;
static struct agent a;
static struct errmsg e;

/* Files that have no name any more and are held open. */
static unsigned nameless(void)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *entry;
	unsigned n = 0;

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL) {
		struct stat st;

		n += fstatat(dirfd(d), entry->d_name, &st, 0) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 0;
	}
	closedir(d);
	return n;
}

static bool is_asking;

/* Somebody asks for the image "two", which is mapped then, as long as it has a name. */
static void ask(void)
{
	struct blob_table *t = fl.f.app.blobs_open;
	struct open_blob *b = NULL;
	uint8_t sha256[32];

	ota_sha256(fl.f.app.crypto, &(struct ota_slice){(const uint8_t *)"two", 3}, 1, sha256);
	b = blob_table_get(t, sha256);
	if (!b && open_blob_new(&fl.f.app, sha256, &b, &e) == OTA_OK)
		b = blob_table_adopt(t, b, blob_table_drops(t));
	if (b)
		open_blob_put(b);
}

/* What each lane was given to do with bytes whose name is gone. */
static unsigned freed[JOB_LANES];

void __real_jobs_post(
	struct jobs *jobs, enum job_lane lane, struct job *job, job_fn fn, void (*done)(struct job *));
void __wrap_jobs_post(
	struct jobs *jobs, enum job_lane lane, struct job *job, job_fn fn, void (*done)(struct job *));
void __wrap_jobs_post(
	struct jobs *jobs, enum job_lane lane, struct job *job, job_fn fn, void (*done)(struct job *))
{
	unsigned before;

	if (is_asking)
		ask();
	before = nameless();
	__real_jobs_post(jobs, lane, job, fn, done);
	freed[lane] += before - nameless();
}

static int set_up(void **state)
{
	(void)state;
	fleet_init(&fl, true);
	agent_join(&fl, &a, "one");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fleet_release(&fl);
	return 0;
}

static void let_time_pass(int64_t ms)
{
	fl.f.mono_ms += ms;
	timer_run(&fl.f.timers, fl.f.mono_ms);
}

static uint64_t stored_counter(void)
{
	struct device_row dev;

	fleet_device(&fl, &a, &dev);
	return dev.said.counter;
}

static void test_groups_by_the_clock(void **state)
{
	uint64_t first = stored_counter();

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(stored_counter(), first);
	let_time_pass(UPKEEP_FLUSH_MS + TIMER_TICK_MS);
	assert_int_equal(stored_counter(), first + 5);
	/* And again: the timer goes on. */
	assert_int_equal(agent_checkin(&fl, &a), 200);
	let_time_pass(UPKEEP_FLUSH_MS + 2 * TIMER_TICK_MS);
	assert_int_equal(stored_counter(), first + 6);
}

/* The database takes nothing: who must be stored is told to come back, nobody else notices, nothing is lost.
 */
static void test_store_that_does_not_answer(void **state)
{
	uint64_t first = stored_counter();
	struct db_tx tx = {0};
	struct device_row dev;
	uint8_t digest[32] = {7};

	(void)state;
	assert_int_equal(db_begin(fl.db, &tx, &e), OTA_OK);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	upkeep_flush(fl.f.app.domain);
	assert_int_equal(registry_dirty(fl.f.app.domain->reg), 1);
	agent_runs(&a, 5, digest, CHECKIN_IDLE);
	assert_int_equal(agent_checkin(&fl, &a), 503);
	assert_non_null(fake_answer_header(&fl.f, "Retry-After"));
	/* Neither the counter nor the word was taken. */
	assert_int_equal(agent_repeat(&fl, &a), 503);
	db_rollback(&tx);
	assert_int_equal(stored_counter(), first);
	upkeep_flush(fl.f.app.domain);
	assert_int_equal(stored_counter(), first + 1);
	/* The device tries again with the very same bytes. */
	assert_int_equal(agent_repeat(&fl, &a), 200);
	fleet_device(&fl, &a, &dev);
	assert_int_equal(dev.said.counter, first + 2);
	assert_memory_equal(dev.said.running_digest, digest, 32);
	assert_int_equal(fleet_events(&fl, &a, "counter-back"), 0);
}

/* A full disk lasts for hours: its line does not come five times a second. */
static void test_a_store_that_stays_away_says_so_seldom(void **state)
{
	int ends[2], saved = dup(STDERR_FILENO);
	struct db_tx tx = {0};
	char got[8192];
	unsigned lines = 0;
	ssize_t n;

	(void)state;
	assert_int_equal(db_begin(fl.db, &tx, &e), OTA_OK);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	for (int i = 0; i < 20; i++)
		upkeep_flush(fl.f.app.domain);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	n = read(ends[0], got, sizeof(got) - 1);
	close(ends[0]);
	db_rollback(&tx);
	assert_true(n > 0);
	got[n] = '\0';
	assert_non_null(strstr(got, "could not be stored"));
	for (const char *p = got; (p = strchr(p, '\n')); p++)
		lines++;
	assert_in_range(lines, 1, 4);
}

static void test_enrollment_while_the_store_is_away(void **state)
{
	struct agent b = {.serial = "two"};
	struct db_tx tx = {0};

	(void)state;
	fleet_secret(&fl, &(struct fleet_secret){.is_approving = true}, &b);
	assert_int_equal(db_begin(fl.db, &tx, &e), OTA_OK);
	struct enroll_request r = {.serial_len = 3};
	uint8_t body[ENROLL_MAX];
	size_t len;

	memcpy(r.secret_id, b.secret_id, sizeof(r.secret_id));
	memcpy(r.vendor_id, fl.vendor_id, 16);
	memcpy(r.class_id, fl.class_id, 16);
	memcpy(r.serial, "two", 3);
	assert_int_equal(
		enroll_request_encode(&r, fl.f.app.crypto, b.secret, body, sizeof(body), &len), OTA_OK);
	assert_int_equal(fleet_post(&fl, "/d/v1/enroll", body, len), 503);
	db_rollback(&tx);
	assert_int_equal(agent_enroll(&fl, &b), 200);
	assert_int_equal(agent_checkin(&fl, &b), 200);
}

static bool has_blob(const uint8_t sha256[32])
{
	uint64_t size;

	return blob_stat(fl.f.app.blobs, sha256, &size, &e) == OTA_OK;
}

static void test_garbage(void **state)
{
	uint8_t kept[32], gone[32], digest[32];
	int64_t release;

	(void)state;
	fleet_release_of(&fl, "1.0", "one", digest);
	release = fleet_release_of(&fl, "2.0", "two", digest);
	ota_sha256(fl.f.app.crypto, &(struct ota_slice){(const uint8_t *)"one", 3}, 1, kept);
	ota_sha256(fl.f.app.crypto, &(struct ota_slice){(const uint8_t *)"two", 3}, 1, gone);
	assert_int_equal(release_delete(fl.db, release, &e), OTA_OK);
	upkeep_sweep(fl.f.app.domain);
	assert_true(has_blob(gone));
	/* Young ones are left alone; an upload comes before its release. */
	fl.f.now += UPKEEP_GC_S + 1;
	upkeep_sweep(fl.f.app.domain);
	assert_true(has_blob(gone));
	fl.f.now += UPKEEP_GC_GRACE_S;
	memset(freed, 0, sizeof(freed));
	upkeep_sweep(fl.f.app.domain);
	assert_false(has_blob(gone));
	assert_true(has_blob(kept));
	/* Devices wait for the store: it takes the name away, the bytes go elsewhere. */
	assert_int_equal(freed[JOB_SLOW], 1);
	assert_int_equal(freed[JOB_STORE], 0);
	assert_int_equal(nameless(), 0);
}

/* What is collected and was asked for until the end is not served on from what is still open, and keeps no
 * disk. */
static void test_garbage_that_is_asked_for(void **state)
{
	uint8_t digest[32], sha256[32];
	int64_t release = fleet_release_of(&fl, "2.0", "two", digest);
	struct open_blob *left;

	(void)state;
	ota_sha256(fl.f.app.crypto, &(struct ota_slice){(const uint8_t *)"two", 3}, 1, sha256);
	assert_int_equal(blob_table_new(&fl.f.app, &fl.f.app.blobs_open, &e), OTA_OK);
	assert_int_equal(release_delete(fl.db, release, &e), OTA_OK);
	fl.f.now += UPKEEP_GC_GRACE_S + UPKEEP_GC_S + 1;
	is_asking = true;
	upkeep_sweep(fl.f.app.domain);
	is_asking = false;
	assert_false(has_blob(sha256));
	left = blob_table_get(fl.f.app.blobs_open, sha256);
	assert_null(left);
	assert_int_equal(nameless(), 0);
	blob_table_free(fl.f.app.blobs_open);
	fl.f.app.blobs_open = NULL;
}

/* The row went and a crash came before the blob did: it is found after the next start. */
static void test_a_blob_that_a_crash_left(void **state)
{
	const struct timespec then[2] = {{.tv_sec = fl.f.now}, {.tv_sec = fl.f.now}};
	struct image_row row;
	uint8_t digest[32], sha256[32];
	char hex[65], path[200];
	int64_t release = fleet_release_of(&fl, "1.0", "one", digest);

	(void)state;
	ota_sha256(fl.f.app.crypto, &(struct ota_slice){(const uint8_t *)"one", 3}, 1, sha256);
	hex_encode(sha256, 32, hex);
	snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", fl.dir, hex, hex);
	assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
	assert_int_equal(release_delete(fl.db, release, &e), OTA_OK);
	assert_int_equal(image_delete(fl.db, sha256, &e), OTA_OK);
	assert_int_equal(image_load(fl.db, sha256, &fl.mem, &row, &e), OTA_NOT_FOUND);
	fleet_restart(&fl);
	fl.f.now += UPKEEP_GC_GRACE_S - 1;
	upkeep_sweep(fl.f.app.domain);
	assert_true(has_blob(sha256));
	fl.f.now += UPKEEP_GC_S + 1;
	upkeep_sweep(fl.f.app.domain);
	assert_false(has_blob(sha256));
	assert_int_equal(nameless(), 0);
}

/* An assignment that cannot be loaded keeps no other waiting, neither to be noted as offered nor for its end.
 */
static void test_spoilt(void **state)
{
	struct agent b;
	uint8_t digest[32];
	struct assignment_row task;

	(void)state;
	agent_join(&fl, &b, "two");
	(void)fleet_push(&fl, fleet_release_of(&fl, "1.0", "one", digest), &a, false);
	(void)fleet_push(&fl, fleet_release_of(&fl, "2.0", "two", digest), &b, false);
	fleet_task(&fl, &a, &task);
	assert_int_equal(agent_checkin(&fl, &a), 200);
	assert_int_equal(agent_checkin(&fl, &b), 200);
	assert_int_equal(task.id, 1);
	assert_int_equal(
		stmt_script(fl.db,
			"PRAGMA ignore_check_constraints = 1; UPDATE assignment SET state = 77 WHERE id = 1",
			&e),
		OTA_OK);
	upkeep_flush(fl.f.app.domain);
	agent_expect_task(&fl, &b, ASSIGN_OFFERED);

	fl.f.cfg.task_timeout = 3600;
	fl.f.now += 3601;
	upkeep_sweep(fl.f.app.domain);
	agent_expect_task(&fl, &b, ASSIGN_TIMED_OUT);
	assert_non_null(strstr(fl.f.app.domain->sweep_e.text, "cannot be timed out: device '"));
	assert_int_equal(stmt_script(fl.db, "UPDATE assignment SET state = 0 WHERE id = 1", &e), OTA_OK);
	upkeep_sweep(fl.f.app.domain);
	agent_expect_task(&fl, &a, ASSIGN_TIMED_OUT);
	assert_string_equal(fl.f.app.domain->sweep_e.text, "");
}

/* An idle server leaves the disk alone. */
static void test_idle(void **state)
{
	int64_t before;

	(void)state;
	upkeep_flush_all(fl.f.app.domain);
	upkeep_sweep(fl.f.app.domain);
	struct lease_row lease;

	assert_int_equal(lease_load(fl.db, "plan", &fl.mem, &lease, &e), OTA_OK);
	before = lease.until;
	for (int i = 0; i < 10; i++) {
		fl.f.now += UPKEEP_SWEEP_MS / 1000;
		upkeep_sweep(fl.f.app.domain);
		upkeep_flush(fl.f.app.domain);
	}
	assert_int_equal(lease_load(fl.db, "plan", &fl.mem, &lease, &e), OTA_OK);
	assert_int_equal(lease.until, before);
	fl.f.now += 300;
	upkeep_sweep(fl.f.app.domain);
	assert_int_equal(lease_load(fl.db, "plan", &fl.mem, &lease, &e), OTA_OK);
	assert_true(lease.until > before);
}

/* What a sweep says, at warning or below. */
static const char *sweep_words(void)
{
	static char said[2048];
	FILE *file = tmpfile();
	int was = dup(STDERR_FILENO);
	size_t n;

	assert_non_null(file);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
	upkeep_sweep(fl.f.app.domain);
	assert_true(dup2(was, STDERR_FILENO) >= 0);
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
	close(was);
	rewind(file);
	n = fread(said, 1, sizeof(said) - 1, file);
	said[n] = '\0';
	fclose(file);
	return said;
}

/* Said once when it begins, and once when there is room again, not by the byte. */
static void test_a_full_disk_is_noticed(void **state)
{
	struct blob_store *blobs = fl.f.app.blobs;
	uint64_t free_bytes, reserve;

	(void)state;
	assert_string_equal(sweep_words(), "");
	blob_store_set_reserve(blobs, UINT64_C(1) << 62);
	assert_non_null(strstr(sweep_words(), "warn  nothing can be uploaded: the disk is nearly full"));
	assert_string_equal(sweep_words(), "");
	assert_int_equal(blob_disk(blobs, &free_bytes, &reserve, &e), OTA_OK);
	blob_store_set_reserve(blobs, free_bytes - 8 * 1024 * 1024);
	assert_string_equal(sweep_words(), "");
	blob_store_set_reserve(blobs, 1);
	assert_non_null(strstr(sweep_words(), "info  the disk has room for uploads again"));
	assert_string_equal(sweep_words(), "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_groups_by_the_clock),
		TEST(test_store_that_does_not_answer),
		TEST(test_a_store_that_stays_away_says_so_seldom),
		TEST(test_enrollment_while_the_store_is_away),
		TEST(test_garbage),
		TEST(test_garbage_that_is_asked_for),
		TEST(test_a_blob_that_a_crash_left),
		TEST(test_spoilt),
		TEST(test_idle),
		TEST(test_a_full_disk_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
