#include "proto/notice.h"

#include <string.h>

enum { FORMAT = 1, ID_HEX_LEN = 32 };

static const char hex_digits[] = "0123456789abcdef";

enum ota_err notice_encode(const struct notice *n, void *buf, size_t cap, size_t *len)
{
	struct cbor_out out;

	cbor_out_init(&out, buf, cap);
	cbor_put_array(&out, 3);
	cbor_put_uint(&out, FORMAT);
	cbor_put_uint(&out, n->revision);
	cbor_put_uint(&out, n->spread_s);
	if (!out.err)
		*len = out.len;
	return out.err;
}

enum ota_err notice_decode(const void *bytes, size_t len, struct notice *out)
{
	struct cbor_in in;
	uint64_t format, revision, spread_s;

	if (len > NOTICE_MAX)
		return OTA_TOO_LARGE;
	cbor_in_init(&in, bytes, len);
	cbor_array_len(&in, 3);
	format = cbor_uint(&in);
	if (!in.err && format != FORMAT)
		return OTA_FORMAT;
	revision = cbor_uint_max(&in, UINT32_MAX);
	spread_s = cbor_uint(&in);
	if (cbor_done(&in))
		return OTA_CBOR;
	out->revision = (uint32_t)revision;
	out->spread_s = spread_s > NOTICE_SPREAD_MAX_S ? NOTICE_SPREAD_MAX_S : (uint32_t)spread_s;
	return OTA_OK;
}

bool notice_prefix_is_valid(struct ota_slice prefix)
{
	if (prefix.len < 1 || prefix.len > NOTICE_PREFIX_MAX)
		return false;
	if (prefix.p[0] == '/' || prefix.p[0] == '$' || prefix.p[prefix.len - 1] == '/')
		return false;
	for (size_t i = 0; i < prefix.len; i++) {
		uint8_t ch = prefix.p[i];

		if (ch <= 0x20 || ch >= 0x7f || ch == '+' || ch == '#')
			return false;
	}
	return true;
}

static bool kind_is_valid(char kind)
{
	return kind == 'b' || kind == 'd' || kind == 'p';
}

enum ota_err notice_topic(const char *prefix, char kind, const uint8_t id[16], char topic[NOTICE_TOPIC_MAX])
{
	struct ota_slice p = ota_text(prefix);
	char *t = topic;

	_Static_assert(NOTICE_PREFIX_MAX + 3 + ID_HEX_LEN < NOTICE_TOPIC_MAX, "every topic must fit");
	if (!kind_is_valid(kind) || !notice_prefix_is_valid(p))
		return OTA_INVALID;
	memcpy(t, p.p, p.len);
	t += p.len;
	*t++ = '/';
	*t++ = kind;
	*t++ = '/';
	for (size_t i = 0; i < 16; i++) {
		*t++ = hex_digits[id[i] >> 4];
		*t++ = hex_digits[id[i] & 15];
	}
	*t = '\0';
	return OTA_OK;
}

/* 16 for anything but a lower-case digit, as topics have them. */
static uint8_t hex_value(char ch)
{
	uint8_t v = 0;

	while (v < 16 && hex_digits[v] != ch)
		v++;
	return v;
}

enum ota_err notice_topic_id(const char *prefix, char kind, const char *topic, uint8_t id[16])
{
	struct ota_slice p = ota_text(prefix), t = ota_text(topic);
	uint8_t bytes[16];
	const char *hex;

	if (!kind_is_valid(kind) || t.len != p.len + 3 + ID_HEX_LEN || memcmp(t.p, p.p, p.len) != 0)
		return OTA_INVALID;
	hex = topic + p.len;
	if (hex[0] != '/' || hex[1] != kind || hex[2] != '/')
		return OTA_INVALID;
	hex += 3;
	for (size_t i = 0; i < 16; i++) {
		uint8_t high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);

		if (high > 15 || low > 15)
			return OTA_INVALID;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(id, bytes, sizeof bytes);
	return OTA_OK;
}
