/* A payload of the protocol: one CBOR map with small unsigned keys in order, key 1 being its format.
 *
 * Between fields_open and fields_done the caller loops over fields_next and reads each value from `in`.
 * Unknown keys are the caller's to refuse: fields_unknown. */
#ifndef PROTO_FIELDS_H
#define PROTO_FIELDS_H

#include "proto/cbor.h"

struct fields {
	struct cbor_in in;
	size_t left;
	int64_t last;
	uint32_t seen; /* bit k: key k was there */
};

/* Open the map in `bytes`, which it must fill, and read its key 1. OTA_CBOR: no such map. OTA_FORMAT: a
 * format other than 1. */
OTA_MUST_USE enum ota_err fields_open(struct fields *f, struct ota_slice bytes);
/* The next key; false when none is left or after an error. */
bool fields_next(struct fields *f, uint64_t *key);
/* A key that this format does not have. */
void fields_unknown(struct fields *f);
/* All read, nothing follows, and every key of the `required` bits was there: OTA_OK, else OTA_CBOR. */
OTA_MUST_USE enum ota_err fields_done(struct fields *f, uint32_t required);

bool fields_has(const struct fields *f, unsigned key);
/* Copy a byte string of exactly `len` bytes to `out`, which is left alone after an error. */
void fields_copy(struct fields *f, void *out, size_t len);

#endif
