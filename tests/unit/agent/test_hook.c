/* The health hook: what its ends mean, and in which words they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device-agent/ports/posix/hook.h"

static const struct hook_env env = {.slot = 1, .slot_file = "flash", .sequence = 17};
static bool is_fork_failing;

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	if (!is_fork_failing)
		return __real_fork();
	errno = EAGAIN;
	return -1;
}

/* Start it, wait for its end without taking that away from the hook, and ask again. */
static enum ota_health run_once(struct hook *h, int64_t *now_ms)
{
	siginfo_t info;

	*now_ms += 1000;
	assert_int_equal(hook_ask(h, &env, *now_ms), OTA_HEALTH_UNKNOWN);
	if (h->pid != 0)
		assert_int_equal(waitid(P_PID, (id_t)h->pid, &info, WEXITED | WNOWAIT), 0);
	return hook_ask(h, &env, *now_ms);
}

static void test_ends(void **state)
{
	static const struct {
		const char *command;
		enum ota_health health;
		const char *words;
	} cases[] = {
		{"exit 0", OTA_HEALTH_WELL, "the hook ended 0: the new firmware is well"},
		{"exit 1", OTA_HEALTH_ILL, "the hook ended 1: the new firmware is ill"},
		{"exit 3", OTA_HEALTH_UNKNOWN, "the hook ended 3: the new firmware is not confirmed yet"},
		{"/no/such/program 2>/dev/null", OTA_HEALTH_UNKNOWN,
			"the hook ended 127, as a shell says of what it cannot run: the new firmware is not "
			"confirmed yet"},
		{"kill -KILL $$", OTA_HEALTH_UNKNOWN,
			"the hook was ended by signal 9 (Killed): the new firmware is not confirmed yet"},
		/* A real-time signal has no name. */
		{"kill -40 $$", OTA_HEALTH_UNKNOWN,
			"the hook was ended by signal 40 (no name): the new firmware is not confirmed yet"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct hook h = {.command = cases[i].command};
		struct errmsg words;
		int64_t now_ms = 0;

		hook_start(&h);
		assert_false(hook_news(&h, &words));
		assert_int_equal(run_once(&h, &now_ms), cases[i].health);
		assert_true(hook_news(&h, &words));
		assert_string_equal(words.text, cases[i].words);
		assert_false(hook_news(&h, &words));
	}
}

/* The same end is said once a trial; another one, and the next trial's, again. */
static void test_news(void **state)
{
	struct hook h = {.command = "exit 3"};
	struct errmsg words;
	int64_t now_ms = 0;

	(void)state;
	hook_start(&h);
	(void)run_once(&h, &now_ms);
	assert_true(hook_news(&h, &words));
	(void)run_once(&h, &now_ms);
	assert_false(hook_news(&h, &words));
	h.command = "exit 4";
	(void)run_once(&h, &now_ms);
	assert_true(hook_news(&h, &words));
	(void)run_once(&h, &now_ms);
	assert_false(hook_news(&h, &words));
	hook_start(&h);
	assert_false(hook_news(&h, &words));
	(void)run_once(&h, &now_ms);
	assert_true(hook_news(&h, &words));
}

static void test_no_start(void **state)
{
	struct hook h = {.command = "exit 0"};
	struct errmsg words;
	int64_t now_ms = 0;

	(void)state;
	hook_start(&h);
	is_fork_failing = true;
	assert_int_equal(run_once(&h, &now_ms), OTA_HEALTH_UNKNOWN);
	is_fork_failing = false;
	assert_true(hook_news(&h, &words));
	assert_string_equal(words.text, "the hook cannot be started: Resource temporarily unavailable: the "
					"new firmware is not confirmed yet");
	assert_int_equal(run_once(&h, &now_ms), OTA_HEALTH_WELL);
}

/* What cannot be run is said before anything depends on it; what only the shell can tell is left to it. */
static void test_check(void **state)
{
	static const struct {
		const char *command;
		enum ota_err err;
		const char *words;
	} cases[] = {
		{NULL, OTA_OK, ""},
		{"true", OTA_OK, ""},
		{" exit 3", OTA_OK, ""},
		{"if true; then exit 0; fi", OTA_OK, ""},
		{"/bin/sh -c 'exit 0'", OTA_OK, ""},
		{"\"$OTA_IMAGE\" --check", OTA_OK, ""},
		{"A=b /no/such", OTA_OK, ""},
		{"2>/dev/null true", OTA_OK, ""},
		{"! /no/such", OTA_OK, ""},
		{"-x", OTA_OK, ""},
		{"", OTA_INVALID, "the hook is empty: --exec needs a command"},
		{" \n", OTA_INVALID, "the hook is empty: --exec needs a command"},
		{"no-such-command 1", OTA_NOT_FOUND,
			"cannot run the hook: there is no command 'no-such-command'"},
		{"/no/such/program --now", OTA_NOT_FOUND,
			"cannot run the hook '/no/such/program': No such file or directory"},
		{"/etc/passwd; exit 0", OTA_DENIED, "cannot run the hook '/etc/passwd': Permission denied"},
		{"/etc", OTA_IO, "cannot run the hook '/etc': it is not a file"},
	};
	char long_name[300];
	struct errmsg e;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		e.text[0] = '\0';
		assert_int_equal(hook_check(cases[i].command, &e), cases[i].err);
		assert_string_equal(e.text, cases[i].words);
	}
	memset(long_name, 'x', sizeof long_name);
	long_name[sizeof long_name - 1] = '\0';
	assert_int_equal(hook_check(long_name, &e), OTA_OK);
	is_fork_failing = true;
	assert_int_equal(hook_check("no-such-command", &e), OTA_OK);
	is_fork_failing = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_news),
		cmocka_unit_test(test_no_start),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
