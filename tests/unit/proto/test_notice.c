#include "tests/unit/proto/util.h"

#include "proto/notice.h"

static void round_trip(void **state)
{
	static const struct notice rows[] = {{0, 0}, {1, 60}, {UINT32_MAX, NOTICE_SPREAD_MAX_S}};
	uint8_t buf[NOTICE_MAX];
	size_t len;

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct notice back;

		assert_err(notice_encode(&rows[i], buf, sizeof buf, &len), OTA_OK);
		assert_err(notice_decode(buf, len, &back), OTA_OK);
		assert_int_equal(back.revision, rows[i].revision);
		assert_int_equal(back.spread_s, rows[i].spread_s);
		assert_err(notice_encode(&rows[i], buf, len - 1, &len), OTA_NO_SPACE);
	}
}

static void verdicts(void **state)
{
	static const struct {
		const char *hex;
		enum ota_err want;
		uint32_t spread_s;
	} rows[] = {
		{"8301053c", OTA_CBOR, 0}, /* 0x3c opens a number that is cut */
		{"830105183c", OTA_OK, 60},
		{"83010519 0e10", OTA_OK, 3600},
		{"83010519 0e11", OTA_OK, 3600},     /* more is clamped */
		{"8301051a 00015180", OTA_OK, 3600}, /* a day */
		{"8301051bffffffffffffffff", OTA_OK, 3600},
		{"8301001bffffffffffffffff", OTA_OK, 3600},
		{"83011affffffff00", OTA_OK, 0},
		{"83011b000000010000000000", OTA_CBOR, 0}, /* revision above 32 bits */
		{"83020500", OTA_FORMAT, 0},
		{"83200500", OTA_CBOR, 0},
		{"82010500", OTA_CBOR, 0},
		{"8401050000", OTA_CBOR, 0},
		{"8301050000", OTA_CBOR, 0}, /* something follows */
		{"830105", OTA_CBOR, 0},
		{"830105f6", OTA_CBOR, 0},
		{"83010518 05", OTA_CBOR, 0},
		{"", OTA_CBOR, 0},
		{"a0", OTA_CBOR, 0},
		{"7468747470733a2f2f6578616d706c652e636f6d2f", OTA_CBOR, 0},
	};
	uint8_t bytes[NOTICE_MAX + 1] = {0x83, 0x01, 0x05, 0x00};
	struct notice n;

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		uint8_t buf[64];
		size_t len = from_hex(rows[i].hex, buf, sizeof buf);

		n = (struct notice){7, 7};
		if (notice_decode(buf, len, &n) != rows[i].want)
			print_error("%s\n", rows[i].hex);
		assert_err(notice_decode(buf, len, &n), rows[i].want);
		assert_int_equal(n.spread_s, rows[i].want ? 7 : rows[i].spread_s);
	}
	assert_err(notice_decode(bytes, sizeof bytes, &n), OTA_TOO_LARGE);
}

static void topics(void **state)
{
	static const char *const bad_prefix[] = {"", "/otad", "otad/", "$SYS", "a+b", "a/#", "a b", "a\tb",
		"\xc3\xa4", "0123456789012345678901234567890123456789012345678901234567890123x"};
	static const char *const bad_topic[] = {
		"otad/1/d/404142434445464748494a4b4c4d4e4f",  /* another kind */
		"otad/1/b/404142434445464748494a4b4c4d4e4",   /* short */
		"otad/1/b/404142434445464748494a4b4c4d4e4f0", /* long */
		"otad/1/b/404142434445464748494A4b4c4d4e4f",  /* upper case */
		"otad/1/b/404142434445464748494g4b4c4d4e4f",
		"otad/2/b/404142434445464748494a4b4c4d4e4f",
		"otad/1/b+404142434445464748494a4b4c4d4e4f",
		"otad/1+b/404142434445464748494a4b4c4d4e4f",
		"",
	};
	char topic[NOTICE_TOPIC_MAX];
	uint8_t id[16], back[16];

	(void)state;
	fill(id, 16, 0x40);
	for (const char *kind = "bdp"; *kind; kind++) {
		assert_err(notice_topic(NOTICE_PREFIX_DEFAULT, *kind, id, topic), OTA_OK);
		assert_err(notice_topic_id(NOTICE_PREFIX_DEFAULT, *kind, topic, back), OTA_OK);
		assert_memory_equal(id, back, 16);
	}
	assert_err(notice_topic(NOTICE_PREFIX_DEFAULT, 'b', id, topic), OTA_OK);
	assert_string_equal(topic, "otad/1/b/404142434445464748494a4b4c4d4e4f");
	assert_err(notice_topic(NOTICE_PREFIX_DEFAULT, 'x', id, topic), OTA_INVALID);
	assert_err(notice_topic_id(NOTICE_PREFIX_DEFAULT, 'x', topic, back), OTA_INVALID);
	for (size_t i = 0; i < LEN(bad_prefix); i++)
		assert_err(notice_topic(bad_prefix[i], 'b', id, topic), OTA_INVALID);
	for (size_t i = 0; i < LEN(bad_topic); i++)
		assert_err(notice_topic_id(NOTICE_PREFIX_DEFAULT, 'b', bad_topic[i], back), OTA_INVALID);
	/* The longest prefix fits. */
	assert_err(notice_topic(bad_prefix[9] + 1, 'b', id, topic), OTA_OK);
	assert_int_equal(strlen(topic), 64 + 3 + 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(verdicts), cmocka_unit_test(topics)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
