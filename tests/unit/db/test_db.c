/* The driver: opening, transactions, statements. */
#include "tests/unit/db/fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "db/audit.h"
#include "db/change.h"
#include "db/migrate.h"
#include "db/setting.h"
#include "db/stmt.h"

static void open_modes(void **state)
{
	struct fixture *f = *state;
	struct db_options options = {.mode = DB_READ_ONLY};
	char other[300], path[320];
	struct db *db = NULL;
	struct stat st;

	temp_dir(other);
	fails(f, OTA_NOT_FOUND, db_open(other, &options, &db, &f->e));
	options.mode = DB_READ_WRITE;
	fails(f, OTA_NOT_FOUND, db_open(other, &options, &db, &f->e));
	options.mode = DB_CREATE;
	fails(f, OTA_NOT_FOUND, db_open("/nonexistent", &options, &db, &f->e));
	assert_null(db);
	/* nobody else reads it */
	(void)snprintf(path, sizeof path, "%s/otad.db", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	(void)snprintf(path, sizeof path, "%s/otad.db-wal", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* an unfinished restore */
	(void)snprintf(path, sizeof path, "%s/.restore", other);
	assert_int_equal(mkdir(path, 0700), 0);
	fails(f, OTA_STATE, db_open(other, &options, &db, &f->e));
	remove_tree(other);
	/* a reader cannot write */
	db = fixture_open(f->dir, DB_READ_ONLY);
	assert_true(db_is_read_only(db));
	fails(f, OTA_DENIED, setting_set(db, "x", "1", NOW, &f->e));
	db_close(db);
	db_close(NULL);
}

/* SQLite's shared lock on the database, as another process would meet it: the unix layout of sqlite's lock
 * bytes. */
static bool shared_lock_is_held(const char *path)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000002, .l_len = 510};
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		int fd = open(path, O_RDWR | O_CLOEXEC);

		_exit(fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 ? lock.l_type != F_UNLCK : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
	return WEXITSTATUS(status) == 1;
}

/* Without that lock a sqlite3 beside otad removes the WAL when it ends, and with it what otad writes. */
static void second_connection_keeps_locks(void **state)
{
	struct fixture *f = *state;
	char path[320];

	(void)snprintf(path, sizeof path, "%s/otad.db", f->dir);
	assert_true(shared_lock_is_held(path));
	struct db *reader = fixture_open(f->dir, DB_READ_ONLY), *maker = fixture_open(f->dir, DB_CREATE);

	assert_true(shared_lock_is_held(path));
	db_close(maker);
	db_close(reader);
	assert_true(shared_lock_is_held(path));
}

static void open_foreign_files(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {{"not a database at all, but long enough to be looked at by the engine ................",
		86}};
	struct fixture *f = *state;
	struct db_options options = {.mode = DB_CREATE, .now = NOW};
	struct db *db = NULL;
	char path[320];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		FILE *out;

		(void)snprintf(path, sizeof path, "%s/foreign-%zu", f->dir, i);
		out = fopen(path, "w");
		assert_non_null(out);
		assert_int_equal(fwrite(rows[i].bytes, 1, rows[i].len, out), rows[i].len);
		assert_int_equal(fclose(out), 0);
		fails(f, OTA_CORRUPT, db_open_file(path, &options, &db, &f->e));
	}
	/* another program's database */
	(void)snprintf(path, sizeof path, "%s/other.db", f->dir);
	ok(f, db_open_file(path, &options, &db, &f->e));
	ok(f, stmt_script(db, "PRAGMA application_id = 7", &f->e));
	db_close(db);
	db = NULL;
	fails(f, OTA_CORRUPT, db_open_file(path, &options, &db, &f->e));
	assert_null(db);
}

static void settings_hold(void **state)
{
	static const char q_keys[] = "PRAGMA foreign_keys";
	static const char q_sync[] = "PRAGMA synchronous";
	static const char q_mode[] = "PRAGMA journal_mode";
	static const char q_typo[] = "SELECT \"typo\" AS x";
	struct fixture *f = *state;
	char mode[8];
	struct stmt *st;

	st = stmt_get(f->db, q_keys);
	ok(f, stmt_row(st, &f->e));
	assert_int_equal(col_i64(st, "foreign_keys"), 1);
	stmt_put(st);
	st = stmt_get(f->db, q_sync);
	ok(f, stmt_row(st, &f->e));
	assert_int_equal(col_i64(st, "synchronous"), 2);
	stmt_put(st);
	st = stmt_get(f->db, q_mode);
	ok(f, stmt_row(st, &f->e));
	col_text_buf(st, "journal_mode", mode, sizeof mode);
	assert_string_equal(mode, "wal");
	stmt_put(st);
	st = stmt_get(f->db, q_typo);
	fails(f, OTA_CORRUPT, stmt_row(st, &f->e));
	stmt_put(st);
	/* STRICT: a text is no number */
	fails(f, OTA_INVALID,
		stmt_script(
			f->db, "INSERT INTO lease (name, holder, until) VALUES ('a', 'b', 'never')", &f->e));
}

static void transactions_nest(void **state)
{
	struct fixture *f = *state;
	int64_t before, after;

	ok(f, change_newest(f->db, &before, &f->e));
	{
		AUTO(tx) struct db_tx outer = {0};

		ok(f, db_begin(f->db, &outer, &f->e));
		{
			AUTO(tx) struct db_tx job = {0};

			ok(f, db_begin(f->db, &job, &f->e));
			ok(f, setting_set(f->db, "kept", "1", NOW, &f->e));
			ok(f, db_commit(&job, &f->e));
		}
		{
			AUTO(tx) struct db_tx job = {0};

			ok(f, db_begin(f->db, &job, &f->e));
			ok(f, setting_set(f->db, "dropped", "1", NOW, &f->e));
			assert_true(has_setting(f, f->db, "dropped"));
		}
		ok(f, db_commit(&outer, &f->e));
	}
	assert_true(has_setting(f, f->db, "kept"));
	assert_false(has_setting(f, f->db, "dropped"));
	ok(f, change_newest(f->db, &after, &f->e));
	assert_int_equal(after, before + 1);
	{
		AUTO(tx) struct db_tx outer = {0};

		ok(f, db_begin(f->db, &outer, &f->e));
		ok(f, setting_set(f->db, "lost", "1", NOW, &f->e));
	}
	assert_false(has_setting(f, f->db, "lost"));
}

static void reader_sees_one_moment(void **state)
{
	struct fixture *f = *state;
	struct db *reader = fixture_open(f->dir, DB_READ_ONLY);

	{
		AUTO(tx) struct db_tx tx = {0};

		ok(f, db_begin(reader, &tx, &f->e));
		ok(f, setting_set(f->db, "later", "1", NOW, &f->e));
		assert_false(has_setting(f, reader, "later"));
		ok(f, db_commit(&tx, &f->e));
	}
	assert_true(has_setting(f, reader, "later"));
	ok(f, db_checkpoint(f->db, &f->e));
	db_close(reader);
}

static void second_writer_is_busy(void **state)
{
	struct fixture *f = *state;
	struct db_options options = {.mode = DB_READ_WRITE, .busy_timeout_ms = 20};
	struct db *other = NULL;

	ok(f, db_open(f->dir, &options, &other, &f->e));
	{
		AUTO(tx) struct db_tx tx = {0};

		ok(f, db_begin(f->db, &tx, &f->e));
		fails(f, OTA_BUSY, setting_set(other, "x", "1", NOW, &f->e));
	}
	ok(f, setting_set(other, "x", "1", NOW, &f->e));
	db_close(other);
}

/* The engine rolls everything back when the disk is full; later jobs of the group must not commit by
 * themselves. */
static void lost_transaction(void **state)
{
	struct fixture *f = *state;
	struct rlimit old, small;
	enum ota_err err;
	struct stat st;
	char path[320];
	char *big = malloc(4 << 20);

	assert_non_null(big);
	memset(big, 'x', 4 << 20);
	(void)snprintf(path, sizeof path, "%s/otad.db-wal", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_IGN);
	{
		static const char q_blob[] = "INSERT INTO audit (at, who, action, target, peer, after_json)"
					     " VALUES (1, 'a', 'b', 'c', 'd', $big)";
		AUTO(tx) struct db_tx outer = {0};

		ok(f, stmt_script(f->db, "PRAGMA cache_size = 10; PRAGMA cache_spill = ON", &f->e));
		ok(f, db_begin(f->db, &outer, &f->e));
		ok(f, setting_set(f->db, "first", "1", NOW, &f->e));
		small = (struct rlimit){(rlim_t)st.st_size + 65536, old.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		big[(4 << 20) - 1] = '\0';
		{
			struct stmt *st_big = stmt_get(f->db, q_blob);

			bind_text(st_big, "big", big);
			err = stmt_done(st_big, &f->e);
			stmt_put(st_big);
		}
		assert_true(err == OTA_NO_SPACE || err == OTA_IO);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		/* the next job of the same group */
		err = setting_set(f->db, "second", "1", NOW, &f->e);
		if (err == OTA_OK) {
			/* only that statement was undone */
			ok(f, db_commit(&outer, &f->e));
			assert_true(has_setting(f, f->db, "first"));
		} else {
			assert_int_not_equal(db_commit(&outer, &f->e), OTA_OK);
			assert_false(has_setting(f, f->db, "first"));
			assert_false(has_setting(f, f->db, "second"));
		}
	}
	free(big);
	/* and it works again */
	ok(f, setting_set(f->db, "third", "1", NOW, &f->e));
}

/* The same, certain: nothing of the group's later jobs commits by itself once the transaction is gone. */
static void nothing_after_a_loss(void **state)
{
	struct fixture *f = *state;
	const struct audit_row row = {.at = NOW, .who = "a", .action = "b.c"};
	const struct db_page page = {0};
	struct audit_list list;

	{
		AUTO(tx) struct db_tx outer = {0};
		AUTO(tx) struct db_tx job = {0};

		ok(f, db_begin(f->db, &outer, &f->e));
		ok(f, db_begin(f->db, &job, &f->e));
		ok(f, setting_set(f->db, "first", "1", NOW, &f->e));
		ok(f, stmt_script(f->db, "ROLLBACK", &f->e));
		/* with a transaction of its own, without one, and as a script */
		fails(f, OTA_IO, setting_set(f->db, "second", "1", NOW, &f->e));
		fails(f, OTA_IO, audit_add(f->db, &row, NULL, &f->e));
		fails(f, OTA_IO, stmt_script(f->db, "DELETE FROM audit", &f->e));
		fails(f, OTA_IO, db_commit(&job, &f->e));
		fails(f, OTA_IO, setting_set(f->db, "third", "1", NOW, &f->e));
		fails(f, OTA_IO, db_commit(&outer, &f->e));
	}
	assert_false(has_setting(f, f->db, "first"));
	assert_false(has_setting(f, f->db, "third"));
	ok(f, audit_list(f->db, NULL, &page, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 0);
	ok(f, setting_set(f->db, "fourth", "1", NOW, &f->e));
}

static void statement_errors_are_sticky(void **state)
{
	static const char q_set[] =
		"INSERT INTO setting (name, value, updated_at) VALUES ($name, $value, $at)";
	static const char q_get[] = "SELECT name, value, updated_at FROM setting WHERE name = $name";
	struct fixture *f = *state;
	struct arena tiny;
	struct stmt *st, *nested;
	char small[2];

	st = stmt_get(f->db, q_set);
	bind_text(st, "name", "a");
	bind_text(st, "value", "a long value");
	bind_u64(st, "at", UINT64_MAX);
	fails(f, OTA_INVALID, stmt_done(st, &f->e));
	stmt_again(st);
	bind_text(st, "name", "a");
	bind_text(st, "value", "a long value");
	bind_u64(st, "at", INT64_MAX);
	ok(f, stmt_done(st, &f->e));
	stmt_again(st);
	bind_text(st, "name", "a");
	bind_text(st, "value", NULL);
	bind_i64(st, "at", 0);
	fails(f, OTA_INVALID, stmt_done(st, &f->e));
	stmt_put(st);

	st = stmt_get(f->db, q_get);
	nested = stmt_get(f->db, q_get);
	assert_ptr_not_equal(st, nested);
	stmt_put(nested);
	bind_text(st, "name", "a");
	ok(f, stmt_row(st, &f->e));
	(void)col_u32(st, "updated_at");
	fails(f, OTA_CORRUPT, stmt_status(st, &f->e));
	fails(f, OTA_CORRUPT, stmt_row(st, &f->e));
	stmt_again(st);
	bind_text(st, "name", "a");
	ok(f, stmt_row(st, &f->e));
	col_text_buf(st, "value", small, sizeof small);
	assert_string_equal(small, "");
	fails(f, OTA_CORRUPT, stmt_status(st, &f->e));
	stmt_again(st);
	arena_init(&tiny, 8);
	bind_text(st, "name", "a");
	ok(f, stmt_row(st, &f->e));
	assert_string_equal(col_text(st, "value", &tiny), "");
	fails(f, OTA_NO_MEMORY, stmt_status(st, &f->e));
	arena_release(&tiny);
	stmt_put(st);
}

static void expect_abort(void (*fn)(struct fixture *f), struct fixture *f)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = {0, 0};

		(void)setrlimit(RLIMIT_CORE, &none);
		(void)close(STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		fn(f);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static const char q_pair[] = "SELECT 1 AS a, 2 AS b WHERE $x = $x";

static void unknown_column(struct fixture *f)
{
	struct stmt *st = stmt_get(f->db, q_pair);

	bind_i64(st, "x", 1);
	(void)!stmt_row(st, NULL);
	(void)col_i64(st, "c");
}

static void unread_column(struct fixture *f)
{
	struct stmt *st = stmt_get(f->db, q_pair);

	bind_i64(st, "x", 1);
	(void)!stmt_row(st, NULL);
	(void)col_i64(st, "a");
	stmt_put(st);
}

static void unbound_parameter(struct fixture *f)
{
	(void)!stmt_row(stmt_get(f->db, q_pair), NULL);
}

static void unknown_parameter(struct fixture *f)
{
	bind_i64(stmt_get(f->db, q_pair), "y", 1);
}

static void mistakes_abort(void **state)
{
	struct fixture *f = *state;

	expect_abort(unknown_column, f);
	expect_abort(unread_column, f);
	expect_abort(unbound_parameter, f);
	expect_abort(unknown_parameter, f);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(open_modes),
		test(second_connection_keeps_locks),
		test(open_foreign_files),
		test(settings_hold),
		test(transactions_nest),
		test(reader_sees_one_moment),
		test(second_writer_is_busy),
		test(lost_transaction),
		test(nothing_after_a_loss),
		test(statement_errors_are_sticky),
		test(mistakes_abort),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
