/* The parts of otactl that need no server: operands of push, paths, base64, printable text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/base64.h"
#include "cli/client.h"
#include "cli/file.h"
#include "cli/out.h"
#include "cli/push.h"

static void push_operands(void **state)
{
	static const struct {
		const char *text, *board, *component, *variant, *path; /* path NULL: refused */
	} rows[] = {
		{"fw.bin", "", "", "", "fw.bin"},
		{"-", "", "", "", "-"},
		{"lamp:-", "lamp", "", "", "-"},
		{"lamp:fw.bin", "lamp", "", "", "fw.bin"},
		{"app=fw.bin", "", "app", "", "fw.bin"},
		{"app.user1=fw.bin", "", "app", "user1", "fw.bin"},
		{"lamp:app.user2=a=b.bin", "lamp", "app", "user2", "a=b.bin"},
		{"lamp:", "lamp", "", "", NULL},
		{":fw.bin", "", "", "", NULL},
		{"=fw.bin", "", "", "", NULL},
		{"app.=fw.bin", "", "", "", NULL},
		{".user1=fw.bin", "", "", "", NULL},
		{"app=", "", "", "", NULL},
		{"a-name-that-is-longer-than-any-component=fw.bin", "", "", "", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct push_file f;
		bool ok = push_parse(rows[i].text, &f);

		if (ok != (rows[i].path != NULL))
			fail_msg("'%s' is %s", rows[i].text, ok ? "taken" : "refused");
		if (!ok)
			continue;
		assert_string_equal(f.board, rows[i].board);
		assert_string_equal(f.component, rows[i].component);
		assert_string_equal(f.variant, rows[i].variant);
		assert_string_equal(f.path, rows[i].path);
	}
}

static void a_file_with_a_colon_is_a_file(void **state)
{
	char dir[] = "/tmp/otactl-test-XXXXXX", path[80];
	struct push_file f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/a:b=c.bin", dir);
	FILE *made = fopen(path, "w");

	assert_non_null(made);
	(void)fclose(made);
	assert_true(push_parse(path, &f));
	assert_string_equal(f.path, path);
	assert_string_equal(f.board, "");
	(void)unlink(path);
	(void)rmdir(dir);
}

static void paths_are_escaped(void **state)
{
	char out[40];

	(void)state;
	assert_true(path_join(out, sizeof out, "/v1/x/", "a/b c", "/t"));
	assert_string_equal(out, "/v1/x/a%2Fb%20c/t");
	assert_true(path_join(out, sizeof out, "/", "..", ""));
	assert_false(path_join(out, sizeof out, "/v1/x/", "", ""));
	assert_false(path_join(out, sizeof out, "/v1/x/", "0123456789012345678901234567890123456789", ""));
	/* 40 bytes with the NUL: to the last one, and no further */
	assert_true(path_join(out, sizeof out, "/v1/x/", "0123456789012345678901234567890", "/t"));
	assert_string_equal(out, "/v1/x/0123456789012345678901234567890/t");
	assert_false(path_join(out, sizeof out, "/v1/x/", "01234567890123456789012345678901", "/t"));
	assert_true(path_join(out, sizeof out, "/v1/x/", "012345678901234567890123456789 ", ""));
	assert_false(path_join(out, sizeof out, "/v1/x/", "0123456789012345678901234567890 ", ""));
	assert_false(path_join(out, 6, "/v1/x/", "0", ""));
}

static void base64_vectors(void **state)
{
	/* RFC 4648, section 10 */
	static const char *const rows[][2] = {{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"},
		{"Zm9vYg==", "foob"}, {"Zm9vYmE=", "fooba"}, {"Zm9vYmFy", "foobar"}};
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Z===", "Zm9v\n", "Zm 9", "Zg==Zg==", "Zm9*"};
	uint8_t out[16];
	size_t len = 0;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_true(base64_decode(rows[i][0], out, sizeof out, &len));
		assert_int_equal(len, strlen(rows[i][1]));
		assert_memory_equal(out, rows[i][1], len);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		if (base64_decode(bad[i], out, sizeof out, &len))
			fail_msg("'%s' is taken", bad[i]);
	}
	assert_false(base64_decode("Zm9vYmFyZm9vYmFyZm9vYmFy", out, sizeof out, &len));
}

static void text_is_made_printable(void **state)
{
	(void)state;
	assert_string_equal(out_safe("lamp\033[2J\n\x7f"), "lamp?[2J??");
	assert_string_equal(out_safe("K\xc3\xbc"
				     "che"),
		"K\xc3\xbc"
		"che");
	assert_string_equal(out_safe("\xc2\x9b"
				     "31m"),
		"??31m");
	assert_string_equal(out_size(0), "0 B");
	assert_string_equal(out_size(1536), "1.5 KiB");
	assert_string_equal(out_time(0), "never");
}

/* Another machine is asked over https only: the token would be there for everybody on the way. */
static void no_token_in_the_clear(void **state)
{
	static const struct {
		const char *url;
		enum ota_err err;
	} rows[] = {{"https://otad.example:8485", OTA_OK}, {"http://localhost", OTA_OK},
		{"http://localhost:8484/", OTA_OK}, {"http://127.0.0.1:8484", OTA_OK},
		{"http://127.9.9.9", OTA_OK}, {"http://[::1]:8484", OTA_OK},
		{"http://192.0.2.1:8484", OTA_INVALID}, {"http://otad.example", OTA_INVALID},
		{"http://localhost.example", OTA_INVALID}, {"http://127.example:80", OTA_INVALID},
		{"http://127.0.0.1@otad.example", OTA_INVALID}, {"http://[::1].example", OTA_INVALID},
		{"http://[fd00::1]:8484", OTA_INVALID}, {"http://", OTA_INVALID},
		{"ftp://localhost", OTA_INVALID}};
	struct client_target t;
	struct errmsg e;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (client_resolve(rows[i].url, NULL, NULL, &t, &e) != rows[i].err)
			fail_msg("%s", rows[i].url);
	}
}

static void a_secret_file_is_never_replaced(void **state)
{
	char dir[] = "/tmp/otactl-test-XXXXXX", path[80];
	struct errmsg e;
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof path, "%s/key", dir);
	assert_int_equal(file_write_new(path, 0600, "one", 3, &e), OTA_OK);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_write_new(path, 0600, "two", 3, &e), OTA_EXISTS);
	uint8_t *data = NULL;
	size_t len = 0;

	assert_int_equal(file_read(path, 10, &data, &len, &e), OTA_OK);
	assert_memory_equal(data, "one", 3);
	free(data);
	assert_int_equal(file_read(path, 2, &data, &len, &e), OTA_TOO_LARGE);
	(void)unlink(path);
	(void)rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(push_operands),
		cmocka_unit_test(a_file_with_a_colon_is_a_file),
		cmocka_unit_test(paths_are_escaped),
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(text_is_made_printable),
		cmocka_unit_test(no_token_in_the_clear),
		cmocka_unit_test(a_secret_file_is_never_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
