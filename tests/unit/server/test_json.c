/* Strict bodies in, well-formed answers out. */
#include "server/json.h"
#include "tests/unit/server/cmocka_all.h"

#include <string.h>

struct part {
	const char *name;
	int64_t size;
};

struct body {
	const char *name, *notes;
	int64_t count;
	int hold;
	uint8_t digest[4];
	struct js_texts tags;
	struct js_rows parts;
};

static const struct js_field part_fields[] = {
	{.name = "name",
		.kind = JS_TEXT,
		.required = true,
		.offset = offsetof(struct part, name),
		.min = 1,
		.max = 4},
	{.name = "size", .kind = JS_INT, .offset = offsetof(struct part, size), .min = 0, .max = 9},
};

static const struct js_field fields[] = {
	{.name = "name",
		.kind = JS_TEXT,
		.required = true,
		.offset = offsetof(struct body, name),
		.min = 1,
		.max = 8},
	{.name = "notes", .kind = JS_PROSE, .offset = offsetof(struct body, notes), .max = 20},
	{.name = "count", .kind = JS_INT, .offset = offsetof(struct body, count), .min = 1, .max = 10},
	{.name = "hold", .kind = JS_BOOL, .offset = offsetof(struct body, hold)},
	{.name = "digest", .kind = JS_HEX, .offset = offsetof(struct body, digest), .max = 4},
	{.name = "tags", .kind = JS_TEXTS, .offset = offsetof(struct body, tags), .min = 0, .max = 2},
	{.name = "parts",
		.kind = JS_ROWS,
		.offset = offsetof(struct body, parts),
		.min = 1,
		.max = 2,
		.row = part_fields,
		.n_row = 2,
		.row_size = sizeof(struct part)},
};

static enum ota_err read(struct arena *mem, const char *text, struct body *out, struct errmsg *e)
{
	*out = (struct body){.hold = -1, .count = 5};
	return js_read(mem, text, strlen(text), fields, sizeof(fields) / sizeof(fields[0]), out, e);
}

static void test_read_whole(void **state)
{
	struct arena mem;
	struct errmsg e;
	struct body b;
	const struct part *parts;

	(void)state;
	arena_init(&mem, 65536);
	assert_int_equal(
		read(&mem,
			"{\"name\":\"l\303\244mp\",\"notes\":\"a\\nb\",\"count\":10,\"hold\":true,\"digest\":"
			"\"00ff10ab\",\"tags\":[\"x\",\"y\"],\"parts\":[{\"name\":\"app\",\"size\":9}]}",
			&b, &e),
		OTA_OK);
	assert_string_equal(b.name, "l\303\244mp");
	assert_string_equal(b.notes, "a\nb");
	assert_int_equal(b.count, 10);
	assert_int_equal(b.hold, 1);
	assert_memory_equal(b.digest, "\x00\xff\x10\xab", 4);
	assert_int_equal(b.tags.n, 2);
	assert_string_equal(b.tags.value[1], "y");
	parts = b.parts.row;
	assert_int_equal(b.parts.n, 1);
	assert_string_equal(parts[0].name, "app");
	assert_int_equal(parts[0].size, 9);
	arena_release(&mem);
}

static void test_read_leaves_what_is_absent(void **state)
{
	struct arena mem;
	struct errmsg e;
	struct body b;

	(void)state;
	arena_init(&mem, 65536);
	assert_int_equal(read(&mem, "{\"name\":\"x\",\"hold\":null}", &b, &e), OTA_OK);
	assert_int_equal(b.hold, -1);
	assert_int_equal(b.count, 5);
	assert_null(b.notes);
	assert_int_equal(js_read(&mem, "", 0, fields + 1, 1, &b, &e), OTA_OK);
	arena_release(&mem);
}

static void test_read_refuses_by_name(void **state)
{
	static const struct {
		const char *text, *words;
	} rows[] = {
		{"{", "not JSON"},
		{"{\"name\":\"x\"} x", "not JSON"},
		{"{\"name\":\"x\",\"name\":\"y\"}", "not JSON"},
		{"{\"name\":\"\xff\"}", "not JSON"},
		{"[]", "must be a JSON object"},
		{"7", "not JSON"},
		{"{}", "'name' is missing"},
		{"{\"name\":null}", "'name' is missing"},
		{"{\"name\":\"x\",\"nmae\":1}", "unknown field 'nmae'"},
		{"{\"name\":7}", "'name' must be a text, not a number"},
		{"{\"name\":\"\"}", "'name' is empty"},
		{"{\"name\":\"123456789\"}", "'name' is too long: at most 8"},
		{"{\"name\":\"a\\u0000b\"}", "control characters"},
		{"{\"name\":\"a\\nb\"}", "control characters"},
		{"{\"name\":\"a\\u007fb\"}", "control characters"},
		{"{\"name\":\"x\",\"notes\":\"a\\u001bb\"}", "control characters"},
		{"{\"name\":\"x\",\"count\":0}", "'count' must be a whole number from 1 to 10"},
		{"{\"name\":\"x\",\"count\":1.5}", "'count' must be a whole number"},
		{"{\"name\":\"x\",\"count\":\"1\"}", "'count' must be a whole number"},
		{"{\"name\":\"x\",\"count\":99999999999999999999}", "not JSON"},
		{"{\"name\":\"x\",\"hold\":1}", "'hold' must be true or false"},
		{"{\"name\":\"x\",\"digest\":\"00FF10AB\"}", "'digest' must be 8 lower-case hex digits"},
		{"{\"name\":\"x\",\"digest\":\"00ff\"}", "'digest' must be 8"},
		{"{\"name\":\"x\",\"tags\":{}}", "'tags' must be a list, not an object"},
		{"{\"name\":\"x\",\"tags\":[\"a\",\"b\",\"c\"]}", "'tags' must have 0 to 2 entries"},
		{"{\"name\":\"x\",\"tags\":[1]}", "'tags' must be a text"},
		{"{\"name\":\"x\",\"parts\":[]}", "'parts' must have 1 to 2"},
		{"{\"name\":\"x\",\"parts\":[1]}", "'parts' must hold objects"},
		{"{\"name\":\"x\",\"parts\":[{\"size\":1}]}", "'name' is missing in 'parts'"},
		{"{\"name\":\"x\",\"parts\":[{\"name\":\"a\",\"b\":1}]}", "unknown field 'b' in 'parts'"},
		{"[[[[[[[1]]]]]]]", "nested deeper"},
	};
	struct body b;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arena mem;
		struct errmsg e = {""};

		arena_init(&mem, 65536);
		assert_int_equal(read(&mem, rows[i].text, &b, &e), OTA_INVALID);
		if (!strstr(e.text, rows[i].words))
			fail_msg("%s: '%s' does not say '%s'", rows[i].text, e.text, rows[i].words);
		arena_release(&mem);
	}
}

static void test_depth_is_judged_outside_of_texts(void **state)
{
	struct arena mem;
	struct errmsg e;
	struct body b;

	(void)state;
	arena_init(&mem, 65536);
	assert_int_equal(read(&mem, "{\"name\":\"[[[[[\\\"[[\"}", &b, &e), OTA_OK);
	assert_string_equal(b.name, "[[[[[\"[[");
	arena_release(&mem);
}

static void test_write(void **state)
{
	struct arena mem;
	struct js_out o;
	const char *text;
	size_t len;

	(void)state;
	arena_init(&mem, 65536);
	js_init(&o, &mem);
	js_object(&o, NULL);
	js_text(&o, "a", "q\"\\\n\x7f\303\244\xff\xed\xa0\x80");
	js_text(&o, "none", NULL);
	js_array(&o, "list");
	js_int(&o, NULL, -9223372036854775807 - 1);
	js_bool(&o, NULL, true);
	js_object(&o, NULL);
	js_end(&o);
	js_hex(&o, NULL, "\x0f\xa0", 2);
	js_end(&o);
	js_time(&o, "t", 0);
	js_id(&o, "id", 17);
	js_id(&o, "no", 0);
	js_raw(&o, "raw", "{}");
	text = js_finish(&o, &len);
	assert_string_equal(text,
		"{\"a\":\"q\\\"\\\\\\u000a\\u007f\303\244\357\277\275\357\277\275\357\277\275\357\277\275\","
		"\"none\":null,\"list\":[-9223372036854775808,true,{},\"0fa0\"],\"t\":null,"
		"\"id\":\"17\",\"no\":null,\"raw\":{}}\n");
	assert_int_equal(len, strlen(text));
	arena_release(&mem);
}

static void test_write_without_memory(void **state)
{
	struct arena mem;
	struct js_out o;
	size_t len;

	(void)state;
	arena_init(&mem, 2000);
	js_init(&o, &mem);
	js_array(&o, NULL);
	for (int i = 0; i < 1000; i++)
		js_text(&o, NULL, "some words");
	assert_null(js_finish(&o, &len));
	arena_release(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_whole),
		cmocka_unit_test(test_read_leaves_what_is_absent),
		cmocka_unit_test(test_read_refuses_by_name),
		cmocka_unit_test(test_depth_is_judged_outside_of_texts),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
