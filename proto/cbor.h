/* CBOR (RFC 8949), the deterministic subset of its section 4.2.1 and nothing else.
 *
 * The reader refuses indefinite lengths, longer-than-needed heads, duplicate or unsorted map keys (bytewise
 * order of the encoded keys), floats, simple values other than false/true/null, invalid UTF-8, and lengths
 * past the end. It never allocates and is sticky: after the first error every call returns a zero value, so a
 * caller reads a whole structure and looks at `err` once. Slices point into the input. */
#ifndef PROTO_CBOR_H
#define PROTO_CBOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/crypto.h"
#include "proto/err.h"

enum { CBOR_DEPTH_MAX = 8 }; /* of cbor_skip and cbor_check */

enum cbor_type {
	CBOR_UINT,
	CBOR_NINT,
	CBOR_BSTR,
	CBOR_TSTR,
	CBOR_ARRAY,
	CBOR_MAP,
	CBOR_TAG,
	CBOR_SIMPLE,
	CBOR_END
};

struct cbor_in {
	const uint8_t *p;
	const uint8_t *end;
	enum ota_err err; /* OTA_OK or OTA_CBOR */
};

void cbor_in_init(struct cbor_in *in, const void *bytes, size_t len);

/* Type of the next item without consuming it; CBOR_END at the end or after an error. */
enum cbor_type cbor_peek(const struct cbor_in *in);

uint64_t cbor_uint(struct cbor_in *in);
/* As cbor_uint, but a value above `max` is an error. */
uint64_t cbor_uint_max(struct cbor_in *in, uint64_t max);
int64_t cbor_int(struct cbor_in *in);
struct ota_slice cbor_bstr(struct cbor_in *in);
/* A byte string of exactly `len` bytes; NULL after an error. */
const uint8_t *cbor_bstr_len(struct cbor_in *in, size_t len);
struct ota_slice cbor_tstr(struct cbor_in *in);
void cbor_null(struct cbor_in *in);
/* True, and consumed, if the next item is null. */
bool cbor_is_null(struct cbor_in *in);
uint64_t cbor_tag(struct cbor_in *in);
/* Number of items that follow; more than there are bytes left is an error. */
size_t cbor_array(struct cbor_in *in);
size_t cbor_map(struct cbor_in *in);

/* Copy a byte string of exactly `len` bytes; `out` is left alone after an error. */
void cbor_copy(struct cbor_in *in, void *out, size_t len);
/* An unsigned number in min..max; `min` after an error. */
uint64_t cbor_uint_range(struct cbor_in *in, uint64_t min, uint64_t max);
/* The head of an array of exactly `n` items. */
void cbor_array_len(struct cbor_in *in, size_t n);

/* Keys of a map with small unsigned keys, in order: `*n_left` and `*last` start as the map's size and -1.
 * True with the next key in `*key`; false when none is left. An out-of-order or repeated key is an error. */
bool cbor_map_key(struct cbor_in *in, size_t *n_left, int64_t *last, uint64_t *key);

/* Skip one item with everything in it, checked as strictly as the rest, at most CBOR_DEPTH_MAX deep.
 * The slice is the item's bytes. */
struct ota_slice cbor_skip(struct cbor_in *in);

/* The whole input is consumed: OTA_OK, else OTA_CBOR. */
OTA_MUST_USE enum ota_err cbor_done(struct cbor_in *in);

/* Is this one deterministic item from first to last byte? */
OTA_MUST_USE enum ota_err cbor_check(const void *bytes, size_t len);

/* Writer into the caller's buffer; sticky: past the end it only counts, and `err` is OTA_NO_SPACE. Keys are
 * written in the order given: the caller's duty. */
struct cbor_out {
	uint8_t *p;
	size_t cap;
	size_t len;
	enum ota_err err;
};

void cbor_out_init(struct cbor_out *out, void *buf, size_t cap);
void cbor_put_uint(struct cbor_out *out, uint64_t v);
void cbor_put_int(struct cbor_out *out, int64_t v);
void cbor_put_bstr(struct cbor_out *out, const void *p, size_t len);
void cbor_put_tstr(struct cbor_out *out, const char *s, size_t len);
void cbor_put_array(struct cbor_out *out, size_t n);
void cbor_put_map(struct cbor_out *out, size_t n);
void cbor_put_tag(struct cbor_out *out, uint64_t tag);
void cbor_put_null(struct cbor_out *out);
/* Bytes that are CBOR already. */
void cbor_put_raw(struct cbor_out *out, const void *p, size_t len);
/* Only the head of a byte string whose content follows by cbor_put_raw. */
void cbor_put_bstr_head(struct cbor_out *out, size_t len);

/* Bytes that the head of a string of `len` bytes takes. */
size_t cbor_head_len(uint64_t len);

#endif
