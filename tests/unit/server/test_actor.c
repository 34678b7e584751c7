/* Who did something, in words. */
#include "cmocka_all.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/actor.h"

static void test_words(void **state)
{
	static const struct {
		const char *actor, *text;
	} rows[] = {
		{"socket:0", "root (socket)"},
		{"socket:4294967294", "uid 4294967294 (socket)"},
		{"socket:", "socket:"},
		{"socket:0x", "socket:0x"},
		{"socket:99999999999999999999", "socket:99999999999999999999"},
		{"admin", "admin"},
		{"otad", "otad"},
		{"", ""},
	};
	char out[ACTOR_TEXT_LEN];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(actor_text(rows[i].actor, out), rows[i].text);
	assert_null(actor_text(NULL, out));
}

/* Only the name of otad's own user is looked up, and only at the start. */
static void test_own_user(void **state)
{
	const uid_t root = geteuid(), other = 65534;
	const struct passwd *pw;
	char out[ACTOR_TEXT_LEN], actor[40], want[ACTOR_TEXT_LEN];

	(void)state;
	if (root == 0 && seteuid(other))
		skip();
	pw = getpwuid(geteuid());
	snprintf(actor, sizeof(actor), "socket:%lu", (unsigned long)geteuid());
	snprintf(want, sizeof(want), "uid %lu (socket)", (unsigned long)geteuid());
	assert_string_equal(actor_text(actor, out), want);
	if (pw)
		snprintf(want, sizeof(want), "%.32s (socket)", pw->pw_name);
	actor_start();
	if (root == 0)
		assert_int_equal(seteuid(0), 0);
	assert_string_equal(actor_text(actor, out), want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_own_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
