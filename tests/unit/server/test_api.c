/* The frame of every list: pages, and where one ends before its limit. */
#include <stdio.h>
#include <string.h>

#include "server/api.h"
#include "tests/unit/server/cmocka_all.h"

enum { ROWS = 200, TEXT_LEN = 10000 };

struct row {
	char other[5];
	int64_t id;
};

struct row_list {
	struct row *rows;
	size_t n;
	int64_t next;
};

static unsigned n_items;

static enum ota_err big_item(void *out, const void *of)
{
	static char text[TEXT_LEN + 1];
	const struct row *row = of;

	memset(text, 'x', TEXT_LEN);
	js_int(out, "id", row->id);
	js_text(out, "text", text);
	n_items++;
	return OTA_OK;
}

static enum ota_err small_item(void *out, const void *of)
{
	const struct row *row = of;

	js_int(out, "id", row->id);
	n_items++;
	return row->id == 666 ? OTA_IO : OTA_OK;
}

static struct row rows[ROWS];
static struct arena mem;

static int up(void **state)
{
	(void)state;
	arena_init(&mem, REQ_ARENA_MAX);
	for (int i = 0; i < ROWS; i++)
		rows[i].id = 1000 + i;
	n_items = 0;
	return 0;
}

static int down(void **state)
{
	(void)state;
	arena_release(&mem);
	return 0;
}

static const char *answer(size_t n, int64_t next, api_row_fn fn, enum ota_err expected)
{
	struct row_list list = {.rows = rows, .n = n, .next = next};
	struct api_job a = {0};

	js_init(&a.out, &mem);
	assert_int_equal(api_items(&a, API_ROWS(list), fn, &a.out), expected);
	return arena_strndup(&mem, (const char *)a.out.text, a.out.len);
}

static void whole_pages(void **state)
{
	(void)state;
	assert_string_equal(answer(0, 0, small_item, OTA_OK), "{\"items\":[],\"next\":null}");
	assert_string_equal(
		answer(2, 0, small_item, OTA_OK), "{\"items\":[{\"id\":1000},{\"id\":1001}],\"next\":null}");
	assert_non_null(strstr(answer(2, 77, small_item, OTA_OK), "\"next\":\"77\"}"));
	rows[1].id = 666;
	n_items = 0;
	(void)answer(3, 0, small_item, OTA_IO);
	assert_int_equal(n_items, 2);
}

/* It goes on behind the last row that is in it, and the answer stays below 1 MiB. */
static void a_page_that_is_full(void **state)
{
	const char *text = answer(ROWS, 0, big_item, OTA_OK);
	char next[40];

	(void)state;
	assert_in_range(n_items, API_ANSWER_MAX / (TEXT_LEN + 100), API_ANSWER_MAX / TEXT_LEN + 1);
	assert_in_range(strlen(text), API_ANSWER_MAX, 1 << 20);
	snprintf(next, sizeof next, "\"next\":\"%d\"}", 1000 + (int)n_items - 1);
	assert_non_null(strstr(text, next));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(whole_pages, up, down),
		cmocka_unit_test_setup_teardown(a_page_that_is_full, up, down),
	};

	return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
