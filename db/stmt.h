/* Statements: the one place that talks to the SQL engine. For the files of db/ only.
 *
 * 	static const char q_name[] = "SELECT id, name FROM board WHERE chip = $chip";
 *
 * 	AUTO(stmt) struct stmt *st = stmt_get(db, q_name);
 * 	bind_text(st, "chip", chip);
 * 	while ((err = stmt_row(st, e)) == OTA_OK)
 * 		... col_i64(st, "id") ...
 * 	if (err != OTA_NOT_FOUND)
 * 		return err;
 *
 * Mistakes of the programmer abort: a parameter that is
 * unknown or left unbound, a column that is unknown or never read. Everything else is sticky: the first error
 * (arena full, value out of range) is kept in the statement and comes out of the next stmt_row, stmt_done or
 * stmt_status. */
#ifndef DB_STMT_H
#define DB_STMT_H

#include "db/db.h"

struct stmt;

/* The statement for `sql`, prepared once per connection and found again by the text's address: it must be
 * static. Never NULL; a failure to prepare (damaged file, no memory) is sticky. Nested use of one text gives
 * a second one. */
struct stmt *stmt_get(struct db *db, const char *sql);

/* Reset, clear the bindings and give back to the cache. NULL is a no-op. */
void stmt_put(struct stmt *st);

static inline void auto_stmt(struct stmt **st)
{
	stmt_put(*st);
}

/* Parameters are named without their '$'. Texts and blobs are copied at once. */
void bind_i64(struct stmt *st, const char *name, int64_t value);
void bind_u64(struct stmt *st, const char *name, uint64_t value);    /* above INT64_MAX: sticky OTA_INVALID */
void bind_time(struct stmt *st, const char *name, int64_t at);       /* 0 is bound as NULL */
void bind_text(struct stmt *st, const char *name, const char *text); /* NULL is bound as NULL */
void bind_blob(struct stmt *st, const char *name, const void *bytes, size_t len); /* NULL bytes: NULL */
void bind_null(struct stmt *st, const char *name);

/* Step: OTA_OK is a row, OTA_NOT_FOUND is the end (no words in `e`), anything else an error.
 * A violated UNIQUE is OTA_EXISTS, a foreign key OTA_CONFLICT, a CHECK or NOT NULL OTA_INVALID. */
OTA_MUST_USE enum ota_err stmt_row(struct stmt *st, struct errmsg *e);

/* Run to the end, passing over rows. */
OTA_MUST_USE enum ota_err stmt_done(struct stmt *st, struct errmsg *e);

/* Run a statement that returns one row of one column, to its end. OTA_NOT_FOUND as of stmt_row. */
OTA_MUST_USE enum ota_err stmt_i64(struct stmt *st, const char *name, int64_t *value, struct errmsg *e);
OTA_MUST_USE enum ota_err stmt_id(struct stmt *st, int64_t *id, struct errmsg *e);    /* the column `id` */
OTA_MUST_USE enum ota_err stmt_count(struct stmt *st, uint64_t *n, struct errmsg *e); /* the column `n` */
OTA_MUST_USE enum ota_err stmt_yes(struct stmt *st, bool *yes, struct errmsg *e);     /* the column `yes` */

/* The sticky error, OTA_OK when there is none: after reading the columns of a row. */
OTA_MUST_USE enum ota_err stmt_status(struct stmt *st, struct errmsg *e);

/* Ready for other bindings of the same statement (loops). */
void stmt_again(struct stmt *st);

/* Rows changed by the last INSERT, UPDATE or DELETE that ran to its end on this connection. */
int64_t stmt_changes(const struct stmt *st);

/* Columns of the row, by name. A NULL where none is expected and a value out of range are sticky OTA_CORRUPT.
 */
int64_t col_i64(struct stmt *st, const char *name);
int64_t col_i64_or(struct stmt *st, const char *name, int64_t when_null);
uint64_t col_u64(struct stmt *st, const char *name);
uint32_t col_u32(struct stmt *st, const char *name);
int64_t col_time(struct stmt *st, const char *name); /* NULL is 0 */
bool col_bool(struct stmt *st, const char *name);
/* An enum value: outside [0, max] is sticky OTA_CORRUPT and reads as 0. */
int col_enum(struct stmt *st, const char *name, int max);
bool col_is_null(struct stmt *st, const char *name); /* counts as read */
char *col_text(struct stmt *st, const char *name, struct arena *mem);
char *col_text_or(struct stmt *st, const char *name, struct arena *mem, const char *when_null);
/* A text into a fixed buffer; longer than that is sticky OTA_CORRUPT. NULL is "". */
void col_text_buf(struct stmt *st, const char *name, char *buf, size_t size);
/* Exactly `len` bytes; false (and zeroes) for NULL. Another length is sticky OTA_CORRUPT. */
bool col_blob_exact(struct stmt *st, const char *name, void *buf, size_t len);
/* Copy in the arena; `*len` 0 and NULL for NULL. */
const uint8_t *col_blob(struct stmt *st, const char *name, struct arena *mem, size_t *len);

/* Run SQL text of several statements (migrations, pragmas); no parameters, rows are passed over. */
OTA_MUST_USE enum ota_err stmt_script(struct db *db, const char *sql, struct errmsg *e);

#endif
