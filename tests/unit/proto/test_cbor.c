#include "tests/unit/proto/util.h"

#include "proto/cbor.h"

static enum ota_err check_text(const char *hex)
{
	uint8_t bytes[256];
	size_t len = from_hex(hex, bytes, sizeof bytes);

	return cbor_check(bytes, len);
}

static void verdicts(void **state)
{
	static const char *const good[] = {
		"00", "17", "1818", "18ff", "190100", "1a00010000", "1b0000000100000000",
		"1bffffffffffffffff", "20", "3863", "3bffffffffffffffff", "40", "4401020304", "60", "6161",
		"62c3bc", "64f0908591", "80", "8301820203820405", "a0", "a201020304", "a10001", "f4", "f5",
		"f6", "c0613a", "d86b80", "a241610181616102", /* keys of two types, in order */
		"a301010201616101",                           /* 01 < 02 < 61.. */
		"8181818181818100",                           /* seven arrays */
		"818181818181818100",                         /* eight: the limit */
	};
	static const char *const bad[] = {
		"", "1817", "1900ff", "1a0000ffff", "1b00000000ffffffff", /* longer than needed */
		"5800", "590020", "7800", "9800", "b800", "d817", "5f4101ff", "7f6161ff", "9f01ff",
		"bf0101ff", "ff", /* indefinite */
		"f7", "e0", "f3", "f800", "f8ff", "f818", "f93c00", "fa47c35000", "fb3ff199999999999a", "1c",
		"1d", "1e", "1f", "3c", "5c", "7e", "9d", "be", "dc",       /* reserved */
		"a2010101", "a201010102", "a202010101",                     /* short, duplicate, unsorted */
		"a2616101416102", "a219010001186301",                       /* unsorted by type, by length */
		"61ff", "62c080", "63eda080", "64f4908080", "62c3", "6180", /* UTF-8 */
		"42ff", "18", "19ff", "1a0000", "8201", "a101", "c0", "41", /* cut */
		"9bffffffffffffffff", "bbffffffffffffffff", "5bffffffffffffffff", "7bffffffffffffffff",
		"bb8000000000000000", "baffffffff", "81818181818181818100",
		"c1c1c1c1c1c1c1c1c100", /* nine deep */
		"0000", "8000",         /* something follows */
	};

	(void)state;
	for (size_t i = 0; i < LEN(good); i++) {
		if (check_text(good[i]) != OTA_OK)
			print_error("%s\n", good[i]);
		assert_err(check_text(good[i]), OTA_OK);
	}
	for (size_t i = 0; i < LEN(bad); i++) {
		if (check_text(bad[i]) != OTA_CBOR)
			print_error("%s\n", bad[i]);
		assert_err(check_text(bad[i]), OTA_CBOR);
	}
}

/* Every head of one byte and argument, at each boundary, through writer and reader. */
static void numbers(void **state)
{
	static const uint64_t edges[] = {0, 1, 23, 24, 255, 256, 65535, 65536, 0xffffffff, 0x100000000,
		INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < LEN(edges); i++) {
		uint8_t buf[32];
		struct cbor_out out;
		struct cbor_in in;
		bool fits = edges[i] <= INT64_MAX;

		cbor_out_init(&out, buf, sizeof buf);
		cbor_put_uint(&out, edges[i]);
		assert_int_equal(out.len, cbor_head_len(edges[i]));
		if (fits)
			cbor_put_int(&out, -1 - (int64_t)edges[i]);
		assert_err(out.err, OTA_OK);
		cbor_in_init(&in, buf, out.len);
		assert_int_equal(cbor_peek(&in), CBOR_UINT);
		assert_true(cbor_uint(&in) == edges[i]);
		if (fits) {
			assert_int_equal(cbor_peek(&in), CBOR_NINT);
			assert_true(cbor_int(&in) == -1 - (int64_t)edges[i]);
		}
		assert_int_equal(cbor_peek(&in), CBOR_END);
		assert_err(cbor_done(&in), OTA_OK);
		cbor_in_init(&in, buf, out.len);
		if (fits)
			assert_true(cbor_int(&in) == (int64_t)edges[i]);
		else
			assert_true(cbor_int(&in) == 0 && in.err == OTA_CBOR);
	}
}

static void sticky_reader(void **state)
{
	static const uint8_t bytes[] = {0x83, 0x01, 0x41, 0xaa, 0x18, 0x2a, 0x05};
	struct cbor_in in;
	uint8_t copy = 7;

	(void)state;
	cbor_in_init(&in, bytes, sizeof bytes);
	assert_int_equal(cbor_array(&in), 3);
	assert_int_equal(cbor_uint_max(&in, 0), 0); /* 1 is above 0 */
	assert_err(in.err, OTA_CBOR);
	assert_int_equal(cbor_peek(&in), CBOR_END);
	assert_int_equal(cbor_uint(&in), 0);
	assert_int_equal(cbor_bstr(&in).len, 0);
	assert_null(cbor_bstr_len(&in, 1));
	assert_int_equal(cbor_tstr(&in).len, 0);
	assert_false(cbor_is_null(&in));
	assert_int_equal(cbor_array(&in), 0);
	assert_int_equal(cbor_map(&in), 0);
	assert_int_equal(cbor_tag(&in), 0);
	assert_int_equal(cbor_skip(&in).len, 0);
	cbor_copy(&in, &copy, 1);
	assert_int_equal(copy, 7);
	assert_int_equal(cbor_uint_range(&in, 3, 9), 3);
	assert_err(cbor_done(&in), OTA_CBOR);

	cbor_in_init(&in, bytes, sizeof bytes);
	cbor_array_len(&in, 3);
	assert_int_equal(cbor_uint_range(&in, 1, 1), 1);
	cbor_copy(&in, &copy, 1);
	assert_int_equal(copy, 0xaa);
	assert_int_equal(cbor_uint_range(&in, 1, 41), 1);
	assert_err(in.err, OTA_CBOR);

	cbor_in_init(&in, bytes, sizeof bytes);
	cbor_array_len(&in, 2);
	assert_err(in.err, OTA_CBOR);
	cbor_in_init(&in, bytes, sizeof bytes);
	assert_int_equal(cbor_skip(&in).len, 6);
	assert_err(in.err, OTA_OK);
	assert_err(cbor_done(&in), OTA_CBOR); /* one byte is left */
}

static void keys(void **state)
{
	static const struct {
		const char *hex;
		size_t good; /* keys before the end or the error */
		enum ota_err want;
	} rows[] = {
		{"a0", 0, OTA_OK},
		{"a3010002000300", 3, OTA_OK},
		{"a2010001 00", 1, OTA_CBOR},
		{"a2020001 00", 1, OTA_CBOR},
		{"a1200000", 0, OTA_CBOR},
		{"a1616100", 0, OTA_CBOR},
		{"a11bffffffffffffffff00", 0, OTA_CBOR},
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		uint8_t bytes[32];
		struct cbor_in in;
		size_t left, n = 0;
		int64_t last = -1;
		uint64_t key;

		cbor_in_init(&in, bytes, from_hex(rows[i].hex, bytes, sizeof bytes));
		left = cbor_map(&in);
		while (cbor_map_key(&in, &left, &last, &key)) {
			cbor_skip(&in);
			n++;
		}
		assert_int_equal(n, rows[i].good);
		assert_err(in.err, rows[i].want);
	}
}

static void put_all(struct cbor_out *out)
{
	cbor_put_map(out, 2);
	cbor_put_uint(out, 1);
	cbor_put_array(out, 3);
	cbor_put_null(out);
	cbor_put_tstr(out, "text", 4);
	cbor_put_tag(out, 107);
	cbor_put_int(out, -16);
	cbor_put_uint(out, 2);
	cbor_put_bstr_head(out, 3);
	cbor_put_raw(out, "abc", 3);
}

static void writer(void **state)
{
	uint8_t buf[64];
	struct cbor_out out, count;

	(void)state;
	cbor_out_init(&out, buf, sizeof buf);
	put_all(&out);
	assert_err(out.err, OTA_OK);
	assert_hex(buf, out.len, "a2 01 83 f6 64 74657874 d86b 2f 02 43 616263");
	assert_err(cbor_check(buf, out.len), OTA_OK);
	/* Past the end it only counts, whatever the size. */
	for (size_t cap = 0; cap < out.len; cap++) {
		uint8_t *exact = malloc(cap + 1);

		assert_non_null(exact);
		exact[cap] = 0x5a;
		cbor_out_init(&count, exact, cap);
		put_all(&count);
		assert_err(count.err, OTA_NO_SPACE);
		assert_int_equal(count.len, out.len);
		assert_int_equal(exact[cap], 0x5a);
		free(exact);
	}
	cbor_out_init(&count, NULL, 0);
	put_all(&count);
	assert_int_equal(count.len, out.len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts),
		cmocka_unit_test(numbers),
		cmocka_unit_test(sticky_reader),
		cmocka_unit_test(keys),
		cmocka_unit_test(writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
