#include "proto/cbor.h"

#include <string.h>

#include "proto/utf8.h"

/* Simple values that are ours (RFC 8949 section 3.3). */
enum { SIMPLE_FALSE = 20, SIMPLE_TRUE = 21, SIMPLE_NULL = 22 };

struct head {
	enum cbor_type type;
	uint64_t arg;
};

void cbor_in_init(struct cbor_in *in, const void *bytes, size_t len)
{
	in->p = bytes;
	in->end = in->p ? in->p + len : in->p;
	in->err = OTA_OK;
}

static size_t bytes_left(const struct cbor_in *in)
{
	return (size_t)(in->end - in->p);
}

static void fail(struct cbor_in *in)
{
	in->err = OTA_CBOR;
}

/* Read one head (RFC 8949 section 3), shortest form only. False: `in` has failed. */
static bool read_head(struct cbor_in *in, struct head *h)
{
	uint8_t info;
	size_t n;
	uint64_t v = 0;

	if (in->err || in->p == in->end) {
		fail(in);
		return false;
	}
	h->type = (enum cbor_type)(*in->p >> 5);
	info = *in->p & 0x1f;
	if (info < 24) {
		in->p++;
		h->arg = info;
		return true;
	}
	if (info > 27 || h->type == CBOR_SIMPLE) {
		fail(in);
		return false;
	}
	n = (size_t)1 << (info - 24);
	if (bytes_left(in) < 1 + n) {
		fail(in);
		return false;
	}
	for (size_t i = 1; i <= n; i++)
		v = v << 8 | in->p[i];
	if (cbor_head_len(v) != 1 + n) {
		fail(in);
		return false;
	}
	in->p += 1 + n;
	h->arg = v;
	return true;
}

/* The argument of a head of this type; 0 after a failure. */
static uint64_t read_type(struct cbor_in *in, enum cbor_type type)
{
	struct head h;

	if (!read_head(in, &h))
		return 0;
	if (h.type != type) {
		fail(in);
		return 0;
	}
	return h.arg;
}

enum cbor_type cbor_peek(const struct cbor_in *in)
{
	if (in->err || in->p == in->end)
		return CBOR_END;
	return (enum cbor_type)(*in->p >> 5);
}

uint64_t cbor_uint(struct cbor_in *in)
{
	return read_type(in, CBOR_UINT);
}

uint64_t cbor_uint_max(struct cbor_in *in, uint64_t max)
{
	uint64_t v = read_type(in, CBOR_UINT);

	if (v > max) {
		fail(in);
		return 0;
	}
	return v;
}

int64_t cbor_int(struct cbor_in *in)
{
	struct head h;

	if (!read_head(in, &h))
		return 0;
	if ((h.type != CBOR_UINT && h.type != CBOR_NINT) || h.arg > INT64_MAX) {
		fail(in);
		return 0;
	}
	return h.type == CBOR_UINT ? (int64_t)h.arg : -1 - (int64_t)h.arg;
}

static struct ota_slice read_bytes(struct cbor_in *in, uint64_t len)
{
	struct ota_slice s = {0};

	if (in->err)
		return s;
	if (len > bytes_left(in)) {
		fail(in);
		return s;
	}
	s.p = in->p;
	s.len = (size_t)len;
	in->p += s.len;
	return s;
}

struct ota_slice cbor_bstr(struct cbor_in *in)
{
	return read_bytes(in, read_type(in, CBOR_BSTR));
}

const uint8_t *cbor_bstr_len(struct cbor_in *in, size_t len)
{
	struct ota_slice s = cbor_bstr(in);

	if (!in->err && s.len != len)
		fail(in);
	return in->err ? NULL : s.p;
}

static bool is_utf8(struct ota_slice s)
{
	size_t n;

	for (size_t i = 0; i < s.len; i += n) {
		n = utf8_char(s.p + i, s.len - i);
		if (n == 0)
			return false;
	}
	return true;
}

struct ota_slice cbor_tstr(struct cbor_in *in)
{
	struct ota_slice s = read_bytes(in, read_type(in, CBOR_TSTR));

	if (!in->err && !is_utf8(s)) {
		fail(in);
		return (struct ota_slice){0};
	}
	return s;
}

void cbor_null(struct cbor_in *in)
{
	if (read_type(in, CBOR_SIMPLE) != SIMPLE_NULL)
		fail(in);
}

bool cbor_is_null(struct cbor_in *in)
{
	if (in->err || in->p == in->end || *in->p != (CBOR_SIMPLE << 5 | SIMPLE_NULL))
		return false;
	in->p++;
	return true;
}

uint64_t cbor_tag(struct cbor_in *in)
{
	return read_type(in, CBOR_TAG);
}

/* An item takes at least one byte, so a count above what is left is a lie that no loop has to find out. */
static size_t read_count(struct cbor_in *in, uint64_t n, size_t bytes_each)
{
	if (in->err)
		return 0;
	if (n > bytes_left(in) / bytes_each) {
		fail(in);
		return 0;
	}
	return (size_t)n;
}

size_t cbor_array(struct cbor_in *in)
{
	return read_count(in, read_type(in, CBOR_ARRAY), 1);
}

size_t cbor_map(struct cbor_in *in)
{
	return read_count(in, read_type(in, CBOR_MAP), 2);
}

bool cbor_map_key(struct cbor_in *in, size_t *n_left, int64_t *last, uint64_t *key)
{
	uint64_t k;

	if (in->err || *n_left == 0)
		return false;
	k = cbor_uint_max(in, INT64_MAX);
	if (in->err)
		return false;
	if ((int64_t)k <= *last) {
		fail(in);
		return false;
	}
	*last = (int64_t)k;
	*n_left -= 1;
	*key = k;
	return true;
}

void cbor_copy(struct cbor_in *in, void *out, size_t len)
{
	const uint8_t *p = cbor_bstr_len(in, len);

	if (p)
		memcpy(out, p, len);
}

uint64_t cbor_uint_range(struct cbor_in *in, uint64_t min, uint64_t max)
{
	uint64_t v = cbor_uint_max(in, max);

	if (!in->err && v < min)
		fail(in);
	return in->err ? min : v;
}

void cbor_array_len(struct cbor_in *in, size_t n)
{
	if (cbor_array(in) != n && !in->err)
		fail(in);
}

/* One open array, map or tag while cbor_skip walks. */
struct frame {
	size_t left; /* items still to come, the current one included */
	bool is_map;
	const uint8_t *key;        /* where the current key begins */
	struct ota_slice last_key; /* the encoded key before it */
};

/* Bytewise order of encoded keys (RFC 8949 section 4.2.1). No key is a prefix of another. */
static bool key_follows(struct ota_slice last, struct ota_slice key)
{
	size_t n = last.len < key.len ? last.len : key.len;

	return last.p == NULL || memcmp(last.p, key.p, n) < 0;
}

/* An item inside `f` ends at in->p. */
static void frame_item_done(struct cbor_in *in, struct frame *f)
{
	bool was_key = f->is_map && f->left % 2 == 0;

	if (was_key) {
		struct ota_slice key = {f->key, (size_t)(in->p - f->key)};

		if (!key_follows(f->last_key, key))
			fail(in);
		f->last_key = key;
	}
	f->left--;
	f->key = in->p;
}

/* Read a head and, of a string, its bytes. True: it opens `*f`. */
static bool skip_one(struct cbor_in *in, struct frame *f)
{
	struct head h;

	*f = (struct frame){0};
	if (!read_head(in, &h))
		return false;
	switch (h.type) {
	case CBOR_UINT:
	case CBOR_NINT:
	case CBOR_END:
		return false;
	case CBOR_BSTR:
		read_bytes(in, h.arg);
		return false;
	case CBOR_TSTR:
		if (!is_utf8(read_bytes(in, h.arg)))
			fail(in);
		return false;
	case CBOR_SIMPLE:
		if (h.arg != SIMPLE_FALSE && h.arg != SIMPLE_TRUE && h.arg != SIMPLE_NULL)
			fail(in);
		return false;
	case CBOR_ARRAY:
		f->left = read_count(in, h.arg, 1);
		break;
	case CBOR_MAP:
		f->left = 2 * read_count(in, h.arg, 2);
		f->is_map = true;
		break;
	case CBOR_TAG:
		f->left = 1;
		break;
	}
	f->key = in->p;
	return true;
}

struct ota_slice cbor_skip(struct cbor_in *in)
{
	struct frame open[CBOR_DEPTH_MAX];
	size_t depth = 0;
	const uint8_t *start = in->p;

	do {
		struct frame f;

		if (skip_one(in, &f)) {
			if (depth == CBOR_DEPTH_MAX)
				fail(in);
			else
				open[depth++] = f;
		} else if (depth > 0) {
			frame_item_done(in, &open[depth - 1]);
		}
		while (!in->err && depth > 0 && open[depth - 1].left == 0) {
			depth--;
			if (depth > 0)
				frame_item_done(in, &open[depth - 1]);
		}
	} while (!in->err && depth > 0);
	if (in->err)
		return (struct ota_slice){0};
	return (struct ota_slice){start, (size_t)(in->p - start)};
}

enum ota_err cbor_done(struct cbor_in *in)
{
	if (!in->err && in->p != in->end)
		fail(in);
	return in->err;
}

enum ota_err cbor_check(const void *bytes, size_t len)
{
	struct cbor_in in;

	cbor_in_init(&in, bytes, len);
	cbor_skip(&in);
	return cbor_done(&in);
}

void cbor_out_init(struct cbor_out *out, void *buf, size_t cap)
{
	*out = (struct cbor_out){buf, cap, 0, OTA_OK};
}

void cbor_put_raw(struct cbor_out *out, const void *p, size_t len)
{
	if (out->err || len > out->cap - out->len)
		out->err = OTA_NO_SPACE;
	else if (len > 0)
		memcpy(out->p + out->len, p, len);
	out->len += len;
}

size_t cbor_head_len(uint64_t len)
{
	if (len < 24)
		return 1;
	if (len <= 0xff)
		return 2;
	if (len <= 0xffff)
		return 3;
	return len <= 0xffffffff ? 5 : 9;
}

static void put_head(struct cbor_out *out, enum cbor_type type, uint64_t arg)
{
	/* The additional information of a head of 1, 2, 3, 5 and 9 bytes. */
	static const uint8_t info_of_len[10] = {[2] = 24, [3] = 25, [5] = 26, [9] = 27};
	uint8_t head[9];
	size_t n = cbor_head_len(arg);

	head[0] = (uint8_t)((unsigned)type << 5 | (n == 1 ? (uint8_t)arg : info_of_len[n]));
	for (size_t i = 1; i < n; i++)
		head[i] = (uint8_t)(arg >> (8 * (n - 1 - i)));
	cbor_put_raw(out, head, n);
}

void cbor_put_uint(struct cbor_out *out, uint64_t v)
{
	put_head(out, CBOR_UINT, v);
}

void cbor_put_int(struct cbor_out *out, int64_t v)
{
	if (v >= 0)
		put_head(out, CBOR_UINT, (uint64_t)v);
	else
		put_head(out, CBOR_NINT, (uint64_t)(-1 - v));
}

void cbor_put_bstr_head(struct cbor_out *out, size_t len)
{
	put_head(out, CBOR_BSTR, len);
}

void cbor_put_bstr(struct cbor_out *out, const void *p, size_t len)
{
	put_head(out, CBOR_BSTR, len);
	cbor_put_raw(out, p, len);
}

void cbor_put_tstr(struct cbor_out *out, const char *s, size_t len)
{
	put_head(out, CBOR_TSTR, len);
	cbor_put_raw(out, s, len);
}

void cbor_put_array(struct cbor_out *out, size_t n)
{
	put_head(out, CBOR_ARRAY, n);
}

void cbor_put_map(struct cbor_out *out, size_t n)
{
	put_head(out, CBOR_MAP, n);
}

void cbor_put_tag(struct cbor_out *out, uint64_t tag)
{
	put_head(out, CBOR_TAG, tag);
}

void cbor_put_null(struct cbor_out *out)
{
	put_head(out, CBOR_SIMPLE, SIMPLE_NULL);
}
