/* Backup, restore, check: beside a writer, damaged, hostile, cut short. */
#include "tests/unit/db/fixture.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "db/backup.h"
#include "db/image.h"
#include "db/keybox.h"
#include "db/setting.h"
#include "db/stmt.h"
#include "proto/hex.h"

static struct backup_options options(const char *passphrase)
{
	return (struct backup_options){.crypto = crypto_openssl(), .passphrase = passphrase, .now = NOW};
}

static void path_in(char out[400], const char *dir, const char *name)
{
	assert_true(snprintf(out, 400, "%s/%s", dir, name) < 400);
}

static void put(const char *dir, const char *name, const char *text)
{
	char path[400];
	FILE *f;

	path_in(path, dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static bool has(const char *dir, const char *name)
{
	char path[400];

	path_in(path, dir, name);
	return access(path, F_OK) == 0;
}

static unsigned count_prefix(const char *dir, const char *prefix)
{
	const struct dirent *entry;
	DIR *d = opendir(dir);
	unsigned n = 0;

	assert_non_null(d);
	while ((entry = readdir(d)) != NULL)
		n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	closedir(d);
	return n;
}

static void fill(struct fixture *f)
{
	int64_t board = make_board(f, "lamp", 1);
	char keys[400];

	(void)make_release(f, board, "1.0", "firmware one", 100);
	(void)make_release(f, board, "2.0", "firmware two", 200);
	say_running(f, make_device(f, "kitchen", board, 'a'), 5, 100, 0);
	path_in(keys, f->dir, "keys");
	assert_int_equal(mkdir(keys, 0700), 0);
	put(keys, "enroll", "secret enroll key");
	put(keys, "server.pem", "secret server key");
	path_in(keys, f->dir, "tls");
	assert_int_equal(mkdir(keys, 0700), 0);
	put(keys, "key.pem", "secret tls key");
}

static void backup(struct fixture *f, const char *passphrase, char path[400])
{
	const struct backup_options o = options(passphrase);

	path_in(path, f->dir, "backup.tar");
	(void)unlink(path);
	ok(f, backup_write_file(f->dir, &o, path, NULL, &f->e));
}

static enum ota_err restore(struct fixture *f, const char *dir, const char *archive, const char *passphrase,
	struct backup_stats *stats)
{
	const struct backup_options o = options(passphrase);
	AUTO(fd) int fd = open(archive, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return backup_restore(dir, &o, fd, stats, &f->e);
}

static void assert_whole(struct fixture *f, const char *dir)
{
	struct db *db = fixture_open(dir, DB_READ_WRITE);
	struct check_report report;
	struct device_row device;
	int64_t id = 0;

	ok(f, device_find(db, "kitchen", &id, &f->e));
	ok(f, device_load(db, id, &f->mem, &device, &f->e));
	assert_string_equal(device.version, "1.0");
	assert_int_equal(device.said.counter, 5);
	db_close(db);
	ok(f, backup_check(dir, crypto_openssl(), NULL, NULL, &report, &f->e));
	assert_int_equal(report.n_images, 2);
	assert_int_equal(report.n_blobs, 2);
	assert_int_equal(report.n_orphans, 0);
	assert_false(has(dir, ".restore"));
	assert_false(has(dir, ".restored"));
}

enum { NOBODY = 65534 };

static void round_trip(void **state)
{
	struct fixture *f = *state;
	struct backup_options o = options(NULL);
	struct backup_stats stats;
	char path[400], to[300], empty[256];
	struct stat st;

	fill(f);
	backup(f, NULL, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fails(f, OTA_EXISTS, backup_write_file(f->dir, &o, path, NULL, &f->e));
	assert_false(has(f->dir, "backup.tar.part"));
	/* into a directory that is not there, and into an empty one */
	(void)snprintf(to, sizeof to, "%s-restored", f->dir);
	ok(f, restore(f, to, path, NULL, &stats));
	assert_int_equal(stats.n_blobs, 2);
	assert_int_equal(stats.n_keys, 0);
	assert_whole(f, to);
	assert_false(has(to, "keys"));
	assert_int_equal(stat(to, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	/* never over something */
	fails(f, OTA_EXISTS, restore(f, to, path, NULL, NULL));
	assert_whole(f, to);
	remove_tree(to);
	temp_dir(empty);
	/* run by root into somebody's directory, it is theirs */
	if (geteuid() == 0)
		assert_int_equal(chown(empty, NOBODY, NOBODY), 0);
	ok(f, restore(f, empty, path, NULL, NULL));
	assert_whole(f, empty);
	for (int i = 0; i < 2 && geteuid() == 0; i++) {
		(void)snprintf(to, sizeof to, "%s/%s", empty, i ? "blobs" : "otad.db");
		assert_int_equal(stat(to, &st), 0);
		assert_int_equal(st.st_uid, NOBODY);
		assert_int_equal(st.st_gid, NOBODY);
	}
	remove_tree(empty);
	/* nothing is left of the copy */
	assert_int_equal(count_prefix(f->dir, ".backup-"), 0);
}

static void keys_are_sealed(void **state)
{
	struct fixture *f = *state;
	struct backup_options o = options("short");
	struct backup_stats stats;
	char path[400], to[300], keys[400], buf[64] = "";
	char *archive;
	struct stat st;
	FILE *file;

	fill(f);
	path_in(path, f->dir, "no.tar");
	fails(f, OTA_INVALID, backup_write_file(f->dir, &o, path, NULL, &f->e));
	assert_false(has(f->dir, "no.tar"));
	assert_false(has(f->dir, "no.tar.part"));
	backup(f, "correct horse battery", path);
	/* the secrets are nowhere in it */
	assert_int_equal(stat(path, &st), 0);
	archive = malloc((size_t)st.st_size);
	file = fopen(path, "rb");
	assert_non_null(file);
	assert_int_equal(fread(archive, 1, (size_t)st.st_size, file), (size_t)st.st_size);
	fclose(file);
	assert_null(memmem(archive, (size_t)st.st_size, "secret enroll", 13));
	assert_non_null(memmem(archive, (size_t)st.st_size, "firmware one", 12));
	free(archive);

	(void)snprintf(to, sizeof to, "%s-restored", f->dir);
	fails(f, OTA_DENIED, restore(f, to, path, NULL, NULL));
	assert_int_not_equal(access(to, F_OK), 0);
	fails(f, OTA_DENIED, restore(f, to, path, "correct horse batterz", NULL));
	assert_int_not_equal(access(to, F_OK), 0);
	ok(f, restore(f, to, path, "correct horse battery", &stats));
	assert_int_equal(stats.n_keys, 3);
	assert_whole(f, to);
	path_in(keys, to, "keys/enroll");
	assert_int_equal(stat(keys, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	file = fopen(keys, "r");
	assert_non_null(file);
	assert_non_null(fgets(buf, sizeof buf, file));
	fclose(file);
	assert_string_equal(buf, "secret enroll key");
	assert_true(has(to, "tls/key.pem"));
	remove_tree(to);
}

static void boxes(void **state)
{
	static const size_t at[] = {0, 11, 52};
	uint8_t box[100], out[100];
	struct errmsg e;

	(void)state;
	assert_int_equal(keybox_seal("12345678", "plain", 5, box, &e), OTA_OK);
	assert_int_equal(keybox_open("12345678", box, 5 + KEYBOX_OVERHEAD, out, &e), OTA_OK);
	assert_memory_equal(out, "plain", 5);
	/* a changed byte is refused: in the magic, in the header that is only authenticated, in the tag */
	for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
		box[at[i]] ^= 1;
		assert_int_not_equal(keybox_open("12345678", box, 5 + KEYBOX_OVERHEAD, out, &e), OTA_OK);
		box[at[i]] ^= 1;
	}
	assert_int_equal(keybox_open("12345678", box, KEYBOX_OVERHEAD - 1, out, &e), OTA_FORMAT);
	box[8] = 40;
	assert_int_equal(keybox_open("12345678", box, 5 + KEYBOX_OVERHEAD, out, &e), OTA_FORMAT);
	assert_int_equal(keybox_seal("1234567", "plain", 5, box, &e), OTA_INVALID);
}

struct writer {
	const char *dir;
	bool stop;
	unsigned n;
};

static void *write_on(void *ctx)
{
	struct writer *w = ctx;
	struct db *db = fixture_open(w->dir, DB_READ_WRITE);
	struct errmsg e;

	while (!__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		/* two settings that are always equal: a torn moment would show */
		AUTO(tx) struct db_tx tx = {0};

		if (db_begin(db, &tx, &e) != OTA_OK || setting_set_i64(db, "a", w->n, NOW, &e) != OTA_OK ||
			setting_set_i64(db, "b", w->n, NOW, &e) != OTA_OK || db_commit(&tx, &e) != OTA_OK)
			break;
		__atomic_add_fetch(&w->n, 1, __ATOMIC_ACQ_REL);
	}
	db_close(db);
	return NULL;
}

static void beside_a_writer(void **state)
{
	struct fixture *f = *state;
	struct writer w = {.dir = f->dir};
	pthread_t thread;
	char path[400], to[300];

	fill(f);
	assert_int_equal(pthread_create(&thread, NULL, write_on, &w), 0);
	while (__atomic_load_n(&w.n, __ATOMIC_ACQUIRE) < 3)
		usleep(1000);
	for (int i = 0; i < 3; i++) {
		int64_t a = -1, b = -2;
		struct db *db;

		backup(f, NULL, path);
		(void)snprintf(to, sizeof to, "%s-restored", f->dir);
		ok(f, restore(f, to, path, NULL, NULL));
		assert_whole(f, to);
		db = fixture_open(to, DB_READ_ONLY);
		ok(f, setting_get_i64(db, "a", &a, &f->e));
		ok(f, setting_get_i64(db, "b", &b, &f->e));
		assert_int_equal(a, b);
		db_close(db);
		remove_tree(to);
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELEASE);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(w.n >= 3);
}

static void without_a_server(void **state)
{
	struct fixture *f = *state;
	struct check_report report;
	char path[400];

	fill(f);
	db_close(f->db);
	f->db = NULL;
	backup(f, NULL, path);
	ok(f, backup_check(f->dir, crypto_openssl(), NULL, NULL, &report, &f->e));
	f->db = fixture_open(f->dir, DB_READ_WRITE);
}

/* Every cut and a flip in every block: refused, and nothing is left behind. */
static void damaged_archives(void **state)
{
	struct fixture *f = *state;
	char path[400], bad[400], to[300];
	struct stat st;
	uint8_t *bytes;
	unsigned accepted = 0;
	int fd;

	fill(f);
	backup(f, NULL, path);
	path_in(bad, f->dir, "bad.tar");
	(void)snprintf(to, sizeof to, "%s-restored", f->dir);
	assert_int_equal(stat(path, &st), 0);
	bytes = malloc((size_t)st.st_size);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	for (off_t at = 0; at < st.st_size - 1024; at += 5 * 4096 + 77) {
		enum ota_err err;

		fd = open(bad, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(write(fd, bytes, (size_t)at), at);
		close(fd);
		err = restore(f, to, bad, NULL, NULL);
		assert_true(err == OTA_TRUNCATED || err == OTA_FORMAT || err == OTA_IO);
		assert_int_not_equal(access(to, F_OK), 0);
		bytes[at] ^= 1;
		fd = open(bad, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(write(fd, bytes, (size_t)st.st_size), st.st_size);
		close(fd);
		bytes[at] ^= 1;
		err = restore(f, to, bad, NULL, NULL);
		if (err == OTA_OK) {
			/* padding, or a field that says nothing: then what came back is whole all the same */
			assert_whole(f, to);
			accepted++;
		}
		remove_tree(to);
	}
	assert_in_range(accepted, 0, 3);
	free(bytes);
}

static void add(struct archive *a, const char *name, const void *bytes, size_t len, unsigned type)
{
	struct archive_entry *entry = archive_entry_new();

	archive_entry_set_pathname(entry, name);
	archive_entry_set_size(entry, (la_int64_t)len);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, 0644);
	if (type == AE_IFLNK)
		archive_entry_set_symlink(entry, "/etc/passwd");
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	if (len)
		assert_int_equal(archive_write_data(a, bytes, len), len);
	archive_entry_free(entry);
}

/* Names that want out, links, other orders, extra entries. */
static void hostile_archives(void **state)
{
	static const struct {
		const char *name;
		unsigned type;
	} rows[] = {
		{"../escaped", AE_IFREG},
		{"/absolute", AE_IFREG},
		{"blobs/../../escaped", AE_IFREG},
		{"blobs/AB00000000000000000000000000000000000000000000000000000000000000", AE_IFREG},
		{"keys/enroll", AE_IFREG},
		{"otad.db", AE_IFREG},
		{"blobs/link", AE_IFLNK},
		{"blobs", AE_IFDIR},
		{"blobs/fifo", AE_IFIFO},
	};
	struct fixture *f = *state;
	char path[400], bad[400], to[300], manifest[1100], outside[300];
	struct stat st;

	fill(f);
	backup(f, NULL, path);
	path_in(bad, f->dir, "bad.tar");
	(void)snprintf(to, sizeof to, "%s-restored", f->dir);
	(void)snprintf(outside, sizeof outside, "%s-escaped", f->dir);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct archive *a = archive_write_new(), *in = archive_read_new();
		struct archive_entry *entry;
		enum ota_err err;

		archive_write_set_format_pax_restricted(a);
		assert_int_equal(archive_write_open_filename(a, bad), ARCHIVE_OK);
		archive_read_support_format_tar(in);
		assert_int_equal(archive_read_open_filename(in, path, 65536), ARCHIVE_OK);
		/* the honest entries but the last image, and then the bad one in its place */
		for (int k = 0; k < 3; k++) {
			size_t len;
			uint8_t *bytes;

			assert_int_equal(archive_read_next_header(in, &entry), ARCHIVE_OK);
			len = (size_t)archive_entry_size(entry);
			bytes = malloc(len + 1);
			assert_int_equal(archive_read_data(in, bytes, len), len);
			if (k == 0) {
				memcpy(manifest, bytes, len);
				manifest[len] = '\0';
			}
			add(a, archive_entry_pathname(entry), bytes, len, AE_IFREG);
			free(bytes);
		}
		add(a, rows[i].name, "x", rows[i].type == AE_IFREG ? 1 : 0, rows[i].type);
		assert_int_equal(archive_write_free(a), ARCHIVE_OK);
		assert_int_equal(archive_read_free(in), ARCHIVE_OK);
		err = restore(f, to, bad, NULL, NULL);
		assert_int_equal(err, OTA_FORMAT);
		assert_int_not_equal(lstat(to, &st), 0);
		assert_int_not_equal(lstat(outside, &st), 0);
	}
	assert_non_null(strstr(manifest, "blobs 2\n"));
	/* no archive at all */
	put(f->dir, "bad.tar", "this is a text and no archive of any kind");
	assert_int_not_equal(restore(f, to, bad, NULL, NULL), OTA_OK);
	put(f->dir, "bad.tar", "");
	assert_int_not_equal(restore(f, to, bad, NULL, NULL), OTA_OK);
	assert_int_not_equal(lstat(to, &st), 0);
}

/* A backup that lacks an image its database names; and a data directory that does. */
static void missing_image(void **state)
{
	struct fixture *f = *state;
	struct backup_options o = options(NULL);
	struct check_report report;
	uint8_t sha256[32];
	char path[400];

	fill(f);
	sha_of("firmware one", sha256);
	ok(f, blob_unlink(f->blobs, sha256, NULL, &f->e));
	path_in(path, f->dir, "b.tar");
	fails(f, OTA_CORRUPT, backup_write_file(f->dir, &o, path, NULL, &f->e));
	assert_false(has(f->dir, "b.tar"));
	fails(f, OTA_CORRUPT, backup_check(f->dir, crypto_openssl(), NULL, NULL, &report, &f->e));
	assert_int_equal(report.n_damaged, 1);
	/* known to be damaged: the rest can be saved */
	ok(f, image_set_damaged(f->db, sha256, true, &f->e));
	ok(f, backup_write_file(f->dir, &o, path, NULL, &f->e));
	{
		char to[300];

		(void)snprintf(to, sizeof to, "%s-restored", f->dir);
		ok(f, restore(f, to, path, NULL, NULL));
		remove_tree(to);
	}
}

static void count_line(void *ctx, const char *line)
{
	unsigned *n = ctx;

	assert_true(strlen(line) > 10);
	(*n)++;
}

static void check_finds(void **state)
{
	struct fixture *f = *state;
	struct check_report report;
	uint8_t sha256[32];
	char hex[65], path[400];
	unsigned n = 0;
	int fd;

	fill(f);
	sha_of("firmware two", sha256);
	hex_encode(sha256, 32, hex);
	(void)snprintf(path, sizeof path, "%s/blobs/%.2s/%s", f->dir, hex, hex);
	assert_int_equal(chmod(path, 0600), 0);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "F", 1, 0), 1);
	close(fd);
	make_blob(f->blobs, "orphan", sha256);
	path_in(path, f->dir, "blobs/tmp");
	put(path, "x.part", "x");
	ok(f, stmt_script(f->db,
		      "PRAGMA foreign_keys = OFF; INSERT INTO event (device, at, kind, line)"
		      " VALUES (77, 1, 'a', 'b')",
		      &f->e));
	fails(f, OTA_CORRUPT, backup_check(f->dir, crypto_openssl(), count_line, &n, &report, &f->e));
	assert_int_equal(report.n_images, 2);
	assert_int_equal(report.n_blobs, 3);
	assert_int_equal(report.n_damaged, 1);
	assert_int_equal(report.n_orphans, 1);
	assert_int_equal(report.n_partial, 1);
	assert_int_equal(report.n_database, 1);
	assert_int_equal(n, 3);
}

/* A restore that was cut short: before its moment it is undone, after it is finished. */
static void cut_short(void **state)
{
	struct fixture *f = *state;
	char path[400], to[300], a[400], b[400];

	fill(f);
	backup(f, NULL, path);
	(void)snprintf(to, sizeof to, "%s-restored", f->dir);
	ok(f, restore(f, to, path, NULL, NULL));
	/* back to the moment in the middle of the moves: blobs are up, the database is not */
	path_in(a, to, ".restored");
	assert_int_equal(mkdir(a, 0700), 0);
	path_in(a, to, "otad.db");
	path_in(b, to, ".restored/otad.db");
	assert_int_equal(rename(a, b), 0);
	{
		const struct db_options create = {.mode = DB_CREATE, .now = NOW};
		struct db *db = NULL;

		fails(f, OTA_STATE, db_open(to, &create, &db, &f->e));
	}
	ok(f, backup_recover(to, &f->e));
	assert_whole(f, to);
	ok(f, backup_recover(to, &f->e));
	remove_tree(to);
	/* before the moment */
	assert_int_equal(mkdir(to, 0700), 0);
	path_in(a, to, ".restore");
	assert_int_equal(mkdir(a, 0700), 0);
	put(a, "otad.db", "half");
	ok(f, backup_recover(to, &f->e));
	assert_false(has(to, ".restore"));
	assert_int_equal(mkdir(a, 0700), 0);
	put(a, "otad.db", "half");
	ok(f, restore(f, to, path, NULL, NULL));
	assert_whole(f, to);
	remove_tree(to);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(round_trip),
		test(keys_are_sealed),
		cmocka_unit_test(boxes),
		test(beside_a_writer),
		test(without_a_server),
		test(damaged_archives),
		test(hostile_archives),
		test(missing_image),
		test(check_finds),
		test(cut_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
