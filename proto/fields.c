#include "proto/fields.h"

enum { KEY_FORMAT = 1, FORMAT = 1 };

enum ota_err fields_open(struct fields *f, struct ota_slice bytes)
{
	uint64_t key, format;

	*f = (struct fields){.last = -1};
	cbor_in_init(&f->in, bytes.p, bytes.len);
	f->left = cbor_map(&f->in);
	if (!fields_next(f, &key) || key != KEY_FORMAT)
		return OTA_CBOR;
	format = cbor_uint(&f->in);
	if (f->in.err)
		return OTA_CBOR;
	return format == FORMAT ? OTA_OK : OTA_FORMAT;
}

bool fields_next(struct fields *f, uint64_t *key)
{
	if (!cbor_map_key(&f->in, &f->left, &f->last, key))
		return false;
	if (*key < 32)
		f->seen |= (uint32_t)1 << *key;
	return true;
}

void fields_unknown(struct fields *f)
{
	f->in.err = OTA_CBOR;
}

enum ota_err fields_done(struct fields *f, uint32_t required)
{
	if (cbor_done(&f->in) || f->left > 0 || (f->seen & required) != required)
		return OTA_CBOR;
	return OTA_OK;
}

bool fields_has(const struct fields *f, unsigned key)
{
	return (f->seen >> key & 1) != 0;
}

void fields_copy(struct fields *f, void *out, size_t len)
{
	cbor_copy(&f->in, out, len);
}
