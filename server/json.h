/* JSON of the operators' API: strict bodies in, answers out. The only user of the JSON library in the server.
 *
 * Reading is by table: one row per field, everything else is refused by name, duplicates too. Nothing is
 * coerced. Writing appends to a text in an arena and cannot fail in between: running out of memory shows in
 * js_finish. */
#ifndef SERVER_JSON_H
#define SERVER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "proto/errmsg.h"
#include "server/handler.h"

enum { JS_DEPTH_MAX = 6 };

enum js_kind {
	JS_TEXT,  /* const char *; one line, no control characters; min..max bytes */
	JS_PROSE, /* const char *; newlines and tabs are welcome */
	JS_INT,   /* int64_t, min..max */
	JS_BOOL,  /* int: 0 or 1 */
	JS_HEX,   /* uint8_t[max]: exactly 2 * max lower-case digits */
	JS_TEXTS, /* struct js_texts: min..max one-line texts of 1..200 bytes each */
	JS_ROWS,  /* struct js_rows: min..max objects, each read by `row` */
};

struct js_texts {
	size_t n;
	const char **value;
};

struct js_rows {
	size_t n;
	void *row; /* n structs of row_size */
};

struct js_field {
	const char *name;
	enum js_kind kind;
	bool required;
	size_t offset; /* in the caller's struct */
	int64_t min, max;
	const struct js_field *row; /* JS_ROWS */
	size_t n_row;
	size_t row_size;
};

/* A row of such a table, for the member of that name; `least` and `most` are 0 where its kind has no bounds.
 */
#define JS_FIELD(in, member, of_kind, is_required, least, most)                                              \
	{                                                                                                    \
		.name = #member, .kind = (of_kind), .required = (is_required),                               \
		.offset = offsetof(in, member), .min = (least), .max = (most)                                \
	}
/* Objects, each read by the table `fields` into a `row_of`. */
#define JS_ROWS_FIELD(in, member, is_required, least, most, fields, row_of)                                  \
	{                                                                                                    \
		.name = #member, .kind = JS_ROWS, .required = (is_required), .offset = offsetof(in, member), \
		.min = (least), .max = (most), .row = (fields),                                              \
		.n_row = sizeof(fields) / sizeof((fields)[0]), .row_size = sizeof(row_of)                    \
	}

/* Seed the library's hash tables, which opens a device: once at start, so that the loop never does. */
void js_seed(void);

/* Read an object. `out` keeps what the caller put there for fields that are absent or null; texts live in
 * `mem`. OTA_INVALID: not JSON, not this object; the words name the field. An empty body is an empty object.
 */
OTA_MUST_USE enum ota_err js_read(struct arena *mem, const void *bytes, size_t len,
	const struct js_field *fields, size_t n_fields, void *out, struct errmsg *e);

struct js_out {
	struct arena *mem;
	char *text;
	size_t len, cap;
	unsigned depth;
	char close[JS_DEPTH_MAX + 2];
	bool has_member;
	bool failed;
};

void js_init(struct js_out *o, struct arena *mem);

/* `key` is NULL inside arrays and at the top. Keys are constants of this program. */
void js_object(struct js_out *o, const char *key);
void js_array(struct js_out *o, const char *key);
void js_end(struct js_out *o);
void js_text(struct js_out *o, const char *key, const char *text); /* NULL: null; invalid UTF-8 is shown */
void js_textn(struct js_out *o, const char *key, const char *text, size_t len);
void js_int(struct js_out *o, const char *key, int64_t value);
void js_bool(struct js_out *o, const char *key, bool value);
void js_null(struct js_out *o, const char *key);
void js_time(struct js_out *o, const char *key, int64_t at); /* 0: null */
void js_hex(struct js_out *o, const char *key, const void *bytes, size_t len);
/* A number as text, as ids are ("17"); 0: null. */
void js_id(struct js_out *o, const char *key, int64_t id);
/* A value that is JSON already. */
void js_raw(struct js_out *o, const char *key, const char *json);

/* The whole text, everything closed; NULL: out of memory. */
const char *js_finish(struct js_out *o, size_t *len);

/* Answer with it as application/json. */
enum h_result js_answer(struct req *req, unsigned status, struct js_out *o);

#endif
