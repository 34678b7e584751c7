#include "server/json.h"

#include <jansson.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/hex.h"
#include "proto/json_char.h"
#include "proto/limits.h"

static void auto_json(json_t **j)
{
	json_decref(*j);
}

/* The library recurses as deep as the text says; the text is the client's. */
static bool depth_fits(const uint8_t *bytes, size_t len, unsigned max)
{
	unsigned depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		if (quoted) {
			if (bytes[i] == '\\')
				i++;
			else if (bytes[i] == '"')
				quoted = false;
		} else if (bytes[i] == '"') {
			quoted = true;
		} else if (bytes[i] == '{' || bytes[i] == '[') {
			if (++depth > max)
				return false;
		} else if ((bytes[i] == '}' || bytes[i] == ']') && depth) {
			depth--;
		}
	}
	return true;
}

static const char *kind_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "a list";
	case JSON_STRING:
		return "a text";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "true or false";
	case JSON_NULL:
		break;
	}
	return "null";
}

static enum ota_err read_text(struct arena *mem, const json_t *v, const char *name, bool prose, int64_t min,
	int64_t max, const char **out, struct errmsg *e)
{
	size_t len;

	if (!json_is_string(v))
		return errmsg_fail(e, OTA_INVALID, "'%s' must be a text, not %s", name, kind_name(v));
	len = json_string_length(v);
	if (memchr(json_string_value(v), 0, len))
		return errmsg_fail(e, OTA_INVALID, "'%s' has control characters in it", name);
	if ((int64_t)len < min)
		return errmsg_fail(e, OTA_INVALID,
			len ? "'%s' is too short: at least %" PRId64 " bytes" : "'%s' is empty", name, min);
	if ((int64_t)len > max)
		return errmsg_fail(e, OTA_INVALID, "'%s' is too long: at most %" PRId64 " bytes", name, max);
	if (!limit_text_is_plain(json_string_value(v), prose))
		return errmsg_fail(e, OTA_INVALID, "'%s' has control characters in it", name);
	*out = arena_strdup(mem, json_string_value(v));
	return *out ? OTA_OK : errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
}

static enum ota_err read_object(struct arena *mem, json_t *obj, const char *where,
	const struct js_field *fields, size_t n_fields, void *out, struct errmsg *e);

static enum ota_err read_texts(
	struct arena *mem, const json_t *v, const struct js_field *f, void *out, struct errmsg *e)
{
	struct js_texts t = {.n = json_array_size(v)};

	t.value = arena_array(mem, t.n, sizeof(*t.value));
	if (!t.value)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	for (size_t i = 0; i < t.n; i++) {
		enum ota_err err = read_text(
			mem, json_array_get(v, i), f->name, false, 1, 200, &t.value[i], e);

		if (err)
			return err;
	}
	memcpy(out, &t, sizeof(t));
	return OTA_OK;
}

static enum ota_err read_rows(
	struct arena *mem, const json_t *v, const struct js_field *f, void *out, struct errmsg *e)
{
	struct js_rows rows = {.n = json_array_size(v)};

	rows.row = arena_array(mem, rows.n, f->row_size);
	if (!rows.row)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	for (size_t i = 0; i < rows.n; i++) {
		enum ota_err err = read_object(mem, json_array_get(v, i), f->name, f->row, f->n_row,
			(char *)rows.row + i * f->row_size, e);

		if (err)
			return err;
	}
	memcpy(out, &rows, sizeof(rows));
	return OTA_OK;
}

static enum ota_err read_value(
	struct arena *mem, const json_t *v, const struct js_field *f, void *out, struct errmsg *e)
{
	const char *text = NULL;
	enum ota_err err;

	switch (f->kind) {
	case JS_TEXT:
	case JS_PROSE:
		err = read_text(mem, v, f->name, f->kind == JS_PROSE, f->min, f->max, &text, e);
		if (!err)
			memcpy(out, &text, sizeof(text));
		return err;
	case JS_INT: {
		int64_t value;

		if (!json_is_integer(v) || json_integer_value(v) < f->min || json_integer_value(v) > f->max)
			return errmsg_fail(e, OTA_INVALID,
				"'%s' must be a whole number from %" PRId64 " to %" PRId64, f->name, f->min,
				f->max);
		value = json_integer_value(v);
		memcpy(out, &value, sizeof(value));
		return OTA_OK;
	}
	case JS_BOOL: {
		int value = json_is_true(v);

		if (!json_is_boolean(v))
			return errmsg_fail(
				e, OTA_INVALID, "'%s' must be true or false, not %s", f->name, kind_name(v));
		memcpy(out, &value, sizeof(value));
		return OTA_OK;
	}
	case JS_HEX:
		if (!json_is_string(v) || hex_decode(json_string_value(v), json_string_length(v), HEX_LOWER,
						  out, (size_t)f->max))
			return errmsg_fail(e, OTA_INVALID, "'%s' must be %" PRId64 " lower-case hex digits",
				f->name, 2 * f->max);
		return OTA_OK;
	case JS_TEXTS:
	case JS_ROWS:
		if (!json_is_array(v))
			return errmsg_fail(
				e, OTA_INVALID, "'%s' must be a list, not %s", f->name, kind_name(v));
		if ((int64_t)json_array_size(v) < f->min || (int64_t)json_array_size(v) > f->max)
			return errmsg_fail(e, OTA_INVALID,
				"'%s' must have %" PRId64 " to %" PRId64 " entries", f->name, f->min, f->max);
		return f->kind == JS_TEXTS ? read_texts(mem, v, f, out, e) : read_rows(mem, v, f, out, e);
	}
	return errmsg_fail(e, OTA_INVALID, "'%s' is not understood", f->name);
}

static enum ota_err read_object(struct arena *mem, json_t *obj, const char *where,
	const struct js_field *fields, size_t n_fields, void *out, struct errmsg *e)
{
	const char *key;
	json_t *v;

	if (!json_is_object(obj))
		return errmsg_fail(e, OTA_INVALID,
			where ? "'%s' must hold objects" : "the body must be a JSON object", where);
	json_object_foreach(obj, key, v)
	{
		size_t i = 0;

		while (i < n_fields && strcmp(fields[i].name, key) != 0)
			i++;
		if (i == n_fields)
			return errmsg_fail(e, OTA_INVALID,
				where ? "unknown field '%.40s' in '%s'" : "unknown field '%.40s'", key,
				where);
		if (!json_is_null(v)) {
			enum ota_err err = read_value(mem, v, &fields[i], (char *)out + fields[i].offset, e);

			if (err)
				return err;
		}
	}
	for (size_t i = 0; i < n_fields; i++) {
		if (fields[i].required) {
			v = json_object_get(obj, fields[i].name);
			if (!v || json_is_null(v))
				return errmsg_fail(e, OTA_INVALID,
					where ? "'%s' is missing in '%s'" : "'%s' is missing", fields[i].name,
					where);
		}
	}
	return OTA_OK;
}

void js_seed(void)
{
	json_object_seed(0);
}

enum ota_err js_read(struct arena *mem, const void *bytes, size_t len, const struct js_field *fields,
	size_t n_fields, void *out, struct errmsg *e)
{
	json_error_t why;
	__attribute__((cleanup(auto_json))) json_t *root = NULL;

	if (!depth_fits(bytes, len, JS_DEPTH_MAX))
		return errmsg_fail(e, OTA_INVALID, "the body is nested deeper than %d", JS_DEPTH_MAX);
	root = len ? json_loadb(bytes, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why) : json_object();
	if (!root)
		return errmsg_fail(
			e, OTA_INVALID, "the body is not JSON: line %d: %.100s", why.line, why.text);
	return read_object(mem, root, NULL, fields, n_fields, out, e);
}

void js_init(struct js_out *o, struct arena *mem)
{
	memset(o, 0, sizeof(*o));
	o->mem = mem;
}

static void put(struct js_out *o, const char *text, size_t len)
{
	if (o->failed)
		return;
	if (len > o->cap - o->len) {
		size_t cap = o->cap ? 2 * o->cap : 512;
		char *text_new;

		while (cap - o->len < len)
			cap *= 2;
		text_new = arena_alloc(o->mem, cap);
		if (!text_new) {
			o->failed = true;
			return;
		}
		if (o->len)
			memcpy(text_new, o->text, o->len);
		o->text = text_new;
		o->cap = cap;
	}
	memcpy(o->text + o->len, text, len);
	o->len += len;
}

static void member(struct js_out *o, const char *key)
{
	if (o->has_member)
		put(o, ",", 1);
	o->has_member = true;
	if (key) {
		put(o, "\"", 1);
		put(o, key, strlen(key));
		put(o, "\":", 2);
	}
}

static void open_with(struct js_out *o, const char *key, const char *first, char last)
{
	member(o, key);
	put(o, first, 1);
	if (o->depth == sizeof(o->close)) {
		o->failed = true;
		return;
	}
	o->close[o->depth++] = last;
	o->has_member = false;
}

void js_object(struct js_out *o, const char *key)
{
	open_with(o, key, "{", '}');
}

void js_array(struct js_out *o, const char *key)
{
	open_with(o, key, "[", ']');
}

void js_end(struct js_out *o)
{
	if (o->failed || !o->depth)
		return;
	put(o, &o->close[--o->depth], 1);
	o->has_member = true;
}

void js_textn(struct js_out *o, const char *key, const char *text, size_t len)
{
	member(o, key);
	put(o, "\"", 1);
	for (size_t i = 0, taken; i < len; i += taken) {
		char piece[JSON_CHAR_MAX];
		size_t n = json_char(text + i, len - i, piece, &taken);

		put(o, piece, n);
	}
	put(o, "\"", 1);
}

void js_text(struct js_out *o, const char *key, const char *text)
{
	if (text)
		js_textn(o, key, text, strlen(text));
	else
		js_null(o, key);
}

void js_raw(struct js_out *o, const char *key, const char *json)
{
	member(o, key);
	put(o, json, strlen(json));
}

void js_int(struct js_out *o, const char *key, int64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRId64, value);
	js_raw(o, key, digits);
}

void js_bool(struct js_out *o, const char *key, bool value)
{
	js_raw(o, key, value ? "true" : "false");
}

void js_null(struct js_out *o, const char *key)
{
	js_raw(o, key, "null");
}

void js_time(struct js_out *o, const char *key, int64_t at)
{
	if (at)
		js_int(o, key, at);
	else
		js_null(o, key);
}

void js_hex(struct js_out *o, const char *key, const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = bytes;

	member(o, key);
	put(o, "\"", 1);
	for (size_t i = 0; i < len; i++) {
		const char two[2] = {digits[b[i] >> 4], digits[b[i] & 15]};

		put(o, two, 2);
	}
	put(o, "\"", 1);
}

void js_id(struct js_out *o, const char *key, int64_t id)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRId64, id);
	js_text(o, key, id ? digits : NULL);
}

const char *js_finish(struct js_out *o, size_t *len)
{
	while (o->depth && !o->failed)
		js_end(o);
	put(o, "\n", 2); /* with its NUL */
	if (o->failed)
		return NULL;
	*len = o->len - 1;
	return o->text;
}

enum h_result js_answer(struct req *req, unsigned status, struct js_out *o)
{
	size_t len;
	const char *text = js_finish(o, &len);

	if (!text)
		return res_error(req, OTA_NO_MEMORY, NULL);
	/* Some answers hold secrets, and none is worth keeping. */
	res_header(req->res, "Cache-Control", "no-store");
	return res_body(req->res, status, "application/json", text, len);
}
