#include "db/stmt.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/sqlite.h"

enum { TRACKED_MAX = 64 }; /* columns and parameters of one statement that are watched */

struct stmt {
	struct db *db;
	const char *sql;
	sqlite3_stmt *s;
	struct stmt *next; /* in its bucket */
	bool is_busy;
	enum ota_err err; /* sticky */
	struct errmsg words;
	int n_columns, n_params;
	int column_last; /* where the last column was found: they are read in order, mostly */
	bool has_row;
	bool had_row;
	uint64_t bound; /* bit per parameter */
	uint64_t read;  /* bit per column, over all rows of this use */
};

/* A programmer's mistake, never the input's. */
__attribute__((noreturn)) static void bug(const struct stmt *st, const char *what, const char *name)
{
	(void)fprintf(stderr, "BUG: %s '%s' in: %s\n", what, name, st->sql);
	abort();
}

static void fail(struct stmt *st, enum ota_err err, const char *what, const char *name)
{
	if (st->err != OTA_OK)
		return;
	st->err = err;
	errmsg_set(&st->words, "database: %s '%s'", what, name);
}

static uint64_t bits(int n)
{
	return n >= TRACKED_MAX ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static void prepare(struct stmt *st)
{
	int rc = sqlite3_prepare_v3(st->db->h, st->sql, -1, SQLITE_PREPARE_PERSISTENT, &st->s, NULL);

	if (rc != SQLITE_OK) {
		st->err = sqlite_fail(st->db, rc, "cannot prepare", &st->words);
		/* our own SQL on a sound database prepares: a table or column is missing */
		if (rc == SQLITE_ERROR)
			st->err = OTA_CORRUPT;
		return;
	}
	st->n_columns = sqlite3_column_count(st->s);
	st->n_params = sqlite3_bind_parameter_count(st->s);
	if (st->n_columns > TRACKED_MAX || st->n_params > TRACKED_MAX)
		bug(st, "too many columns or parameters", "");
}

static struct stmt **bucket_of(struct db *db, const char *sql)
{
	return &db->cache[((uintptr_t)sql >> 4) % DB_CACHE_BUCKETS];
}

/* What stmt_get gives when the heap is empty: every use of it ends in OTA_NO_MEMORY, and it is never written.
 */
static struct stmt no_memory = {.err = OTA_NO_MEMORY, .words = {"out of memory"}};

struct stmt *stmt_get(struct db *db, const char *sql)
{
	struct stmt **bucket = bucket_of(db, sql);
	struct stmt *st;

	for (st = *bucket; st; st = st->next) {
		if (st->sql == sql && !st->is_busy)
			break;
	}
	if (!st) {
		st = calloc(1, sizeof *st);
		if (!st)
			return &no_memory;
		st->db = db;
		st->sql = sql;
		st->next = *bucket;
		*bucket = st;
	}
	st->is_busy = true;
	if (!st->s)
		prepare(st);
	return st;
}

static void reset(struct stmt *st)
{
	/* a caller that failed before it read anything of a row is no mistake */
	if (st->had_row && st->read && st->err == OTA_OK && st->read != bits(st->n_columns)) {
		int i = 0;

		while (st->read >> i & 1)
			i++;
		bug(st, "column never read", sqlite3_column_name(st->s, i));
	}
	sqlite3_reset(st->s);
	sqlite3_clear_bindings(st->s);
	st->err = OTA_OK;
	st->words.text[0] = '\0';
	st->has_row = st->had_row = false;
	st->bound = st->read = 0;
	st->column_last = 0;
}

void stmt_put(struct stmt *st)
{
	if (!st || st == &no_memory)
		return;
	if (st->s)
		reset(st);
	/* one that did not prepare may do so next time */
	st->err = OTA_OK;
	st->is_busy = false;
}

void stmt_again(struct stmt *st)
{
	if (st->s)
		reset(st);
}

void stmt_cache_free(struct db *db)
{
	for (unsigned i = 0; i < DB_CACHE_BUCKETS; i++) {
		while (db->cache[i]) {
			struct stmt *st = db->cache[i];

			db->cache[i] = st->next;
			sqlite3_finalize(st->s);
			free(st);
		}
	}
}

/* Index of a parameter, or 0 when the statement is of no use any more. */
static int param_of(struct stmt *st, const char *name)
{
	char dollar[48];
	int i;

	if (st->err != OTA_OK)
		return 0;
	(void)snprintf(dollar, sizeof dollar, "$%s", name);
	i = sqlite3_bind_parameter_index(st->s, dollar);
	if (i == 0)
		bug(st, "unknown parameter", name);
	st->bound |= UINT64_C(1) << (i - 1);
	return i;
}

static void bound(struct stmt *st, int rc)
{
	if (rc != SQLITE_OK && st->err == OTA_OK)
		st->err = sqlite_fail(st->db, rc, "cannot bind", &st->words);
}

void bind_i64(struct stmt *st, const char *name, int64_t value)
{
	int i = param_of(st, name);

	if (i)
		bound(st, sqlite3_bind_int64(st->s, i, value));
}

void bind_u64(struct stmt *st, const char *name, uint64_t value)
{
	if (value > INT64_MAX)
		fail(st, OTA_INVALID, "number is too large for", name);
	bind_i64(st, name, (int64_t)value);
}

void bind_null(struct stmt *st, const char *name)
{
	int i = param_of(st, name);

	if (i)
		bound(st, sqlite3_bind_null(st->s, i));
}

void bind_time(struct stmt *st, const char *name, int64_t at)
{
	if (at == 0)
		bind_null(st, name);
	else
		bind_i64(st, name, at);
}

void bind_text(struct stmt *st, const char *name, const char *text)
{
	int i = param_of(st, name);

	if (!i)
		return;
	if (!text)
		bound(st, sqlite3_bind_null(st->s, i));
	else
		bound(st, sqlite3_bind_text64(st->s, i, text, strlen(text), SQLITE_TRANSIENT, SQLITE_UTF8));
}

void bind_blob(struct stmt *st, const char *name, const void *bytes, size_t len)
{
	int i = param_of(st, name);

	if (!i)
		return;
	if (!bytes)
		bound(st, sqlite3_bind_null(st->s, i));
	else
		bound(st, sqlite3_bind_blob64(st->s, i, len ? bytes : "", len, SQLITE_TRANSIENT));
}

enum ota_err stmt_status(struct stmt *st, struct errmsg *e)
{
	if (st->err != OTA_OK)
		errmsg_set(e, "%s", st->words.text);
	return st->err;
}

enum ota_err stmt_row(struct stmt *st, struct errmsg *e)
{
	int rc;

	if (st->err != OTA_OK)
		return stmt_status(st, e);
	if (st->bound != bits(st->n_params))
		bug(st, "unbound parameter", "");
	if (sqlite_tx_is_lost(st->db)) {
		st->err = st->db->lost;
		errmsg_set(
			&st->words, "database: the transaction was rolled back: %s", ota_err_text(st->err));
		return stmt_status(st, e);
	}
	rc = sqlite3_step(st->s);
	st->has_row = rc == SQLITE_ROW;
	if (st->has_row) {
		st->had_row = true;
		return OTA_OK;
	}
	if (rc == SQLITE_DONE)
		return OTA_NOT_FOUND;
	st->err = sqlite_fail(st->db, rc, "cannot run a statement", &st->words);
	/* the statement's own locks and journal go now, not when its scope ends */
	sqlite3_reset(st->s);
	return stmt_status(st, e);
}

enum ota_err stmt_done(struct stmt *st, struct errmsg *e)
{
	enum ota_err err;

	while ((err = stmt_row(st, e)) == OTA_OK)
		st->read = bits(st->n_columns);
	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

enum ota_err stmt_i64(struct stmt *st, const char *name, int64_t *value, struct errmsg *e)
{
	enum ota_err err = stmt_row(st, e);
	int64_t got;

	if (err != OTA_OK)
		return err;
	got = col_i64(st, name);
	err = stmt_done(st, e);
	if (err == OTA_OK)
		*value = got;
	return err;
}

enum ota_err stmt_id(struct stmt *st, int64_t *id, struct errmsg *e)
{
	return stmt_i64(st, "id", id, e);
}

enum ota_err stmt_count(struct stmt *st, uint64_t *n, struct errmsg *e)
{
	int64_t got;
	enum ota_err err = stmt_i64(st, "n", &got, e);

	if (err == OTA_OK)
		*n = (uint64_t)got;
	return err;
}

enum ota_err stmt_yes(struct stmt *st, bool *yes, struct errmsg *e)
{
	int64_t got;
	enum ota_err err = stmt_i64(st, "yes", &got, e);

	if (err == OTA_OK)
		*yes = got != 0;
	return err;
}

int64_t stmt_changes(const struct stmt *st)
{
	return st->db ? sqlite3_changes64(st->db->h) : 0;
}

/* Index of a column; a mistake to ask without a row. */
static int column_of(struct stmt *st, const char *name)
{
	if (!st->has_row)
		bug(st, "no row for column", name);
	for (int n = 0; n < st->n_columns; n++) {
		int i = st->column_last;

		st->column_last = i + 1 < st->n_columns ? i + 1 : 0;
		if (strcmp(sqlite3_column_name(st->s, i), name) == 0) {
			st->read |= UINT64_C(1) << i;
			return i;
		}
	}
	bug(st, "unknown column", name);
}

bool col_is_null(struct stmt *st, const char *name)
{
	return sqlite3_column_type(st->s, column_of(st, name)) == SQLITE_NULL;
}

int64_t col_i64_or(struct stmt *st, const char *name, int64_t when_null)
{
	int i = column_of(st, name);

	switch (sqlite3_column_type(st->s, i)) {
	case SQLITE_NULL:
		return when_null;
	case SQLITE_INTEGER:
		return sqlite3_column_int64(st->s, i);
	default:
		fail(st, OTA_CORRUPT, "no number in column", name);
		return when_null;
	}
}

int64_t col_i64(struct stmt *st, const char *name)
{
	int i = column_of(st, name);

	if (sqlite3_column_type(st->s, i) != SQLITE_INTEGER) {
		fail(st, OTA_CORRUPT, "no number in column", name);
		return 0;
	}
	return sqlite3_column_int64(st->s, i);
}

uint64_t col_u64(struct stmt *st, const char *name)
{
	int64_t v = col_i64(st, name);

	if (v < 0) {
		fail(st, OTA_CORRUPT, "negative number in column", name);
		return 0;
	}
	return (uint64_t)v;
}

uint32_t col_u32(struct stmt *st, const char *name)
{
	uint64_t v = col_u64(st, name);

	if (v > UINT32_MAX) {
		fail(st, OTA_CORRUPT, "number too large in column", name);
		return 0;
	}
	return (uint32_t)v;
}

int64_t col_time(struct stmt *st, const char *name)
{
	return col_i64_or(st, name, 0);
}

bool col_bool(struct stmt *st, const char *name)
{
	return col_enum(st, name, 1) == 1;
}

int col_enum(struct stmt *st, const char *name, int max)
{
	int64_t v = col_i64(st, name);

	if (v < 0 || v > max) {
		fail(st, OTA_CORRUPT, "unknown value in column", name);
		return 0;
	}
	return (int)v;
}

/* Text of a column and its length; NULL for NULL. Valid until the next step. */
static const char *text_at(struct stmt *st, int i, size_t *len)
{
	const unsigned char *text = sqlite3_column_text(st->s, i);

	*len = text ? (size_t)sqlite3_column_bytes(st->s, i) : 0;
	return (const char *)text;
}

char *col_text_or(struct stmt *st, const char *name, struct arena *mem, const char *when_null)
{
	static char empty[1];
	int i = column_of(st, name);
	size_t len;
	const char *text = text_at(st, i, &len);
	char *copy;

	if (!text && sqlite3_column_type(st->s, i) != SQLITE_NULL) {
		fail(st, OTA_NO_MEMORY, "out of memory at column", name);
		return empty;
	}
	if (!text) {
		if (!when_null)
			return NULL;
		text = when_null;
		len = strlen(when_null);
	}
	copy = arena_strndup(mem, text, len);
	if (!copy) {
		fail(st, OTA_NO_MEMORY, "out of memory at column", name);
		return empty;
	}
	return copy;
}

char *col_text(struct stmt *st, const char *name, struct arena *mem)
{
	if (sqlite3_column_type(st->s, column_of(st, name)) != SQLITE_TEXT)
		fail(st, OTA_CORRUPT, "no text in column", name);
	return col_text_or(st, name, mem, "");
}

void col_text_buf(struct stmt *st, const char *name, char *buf, size_t size)
{
	size_t len;
	const char *text = text_at(st, column_of(st, name), &len);

	if (len >= size) {
		fail(st, OTA_CORRUPT, "text too long in column", name);
		len = 0;
	}
	if (text)
		memcpy(buf, text, len);
	buf[len] = '\0';
}

bool col_blob_exact(struct stmt *st, const char *name, void *buf, size_t len)
{
	int i = column_of(st, name);

	memset(buf, 0, len);
	if (sqlite3_column_type(st->s, i) == SQLITE_NULL)
		return false;
	if (sqlite3_column_type(st->s, i) != SQLITE_BLOB || (size_t)sqlite3_column_bytes(st->s, i) != len) {
		fail(st, OTA_CORRUPT, "wrong length of column", name);
		return false;
	}
	memcpy(buf, sqlite3_column_blob(st->s, i), len);
	return true;
}

const uint8_t *col_blob(struct stmt *st, const char *name, struct arena *mem, size_t *len)
{
	int i = column_of(st, name);
	const void *bytes = sqlite3_column_blob(st->s, i);
	size_t n = (size_t)sqlite3_column_bytes(st->s, i);
	uint8_t *copy;

	*len = 0;
	if (sqlite3_column_type(st->s, i) == SQLITE_NULL)
		return NULL;
	copy = arena_dup(mem, bytes, n);
	if (!copy) {
		fail(st, OTA_NO_MEMORY, "out of memory at column", name);
		return NULL;
	}
	*len = n;
	return copy;
}
