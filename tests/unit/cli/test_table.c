/* The command table, its man page and what the parser makes of argv. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cmds.h"
#include "cli/file.h"

/* The man page without its escapes, so that names can be looked for as they are typed. */
static char *man_page(void)
{
	struct errmsg e;
	uint8_t *text = NULL;
	size_t len = 0, n = 0;

	assert_int_equal(file_read("man/otactl.1", 1 << 20, &text, &len, &e), OTA_OK);
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\\')
			text[n++] = text[i];
	}
	text[n] = 0;
	return (char *)text;
}

static void man_has_every_command_and_option(void **state)
{
	char *man = man_page(), want[200];

	(void)state;
	for (size_t i = 0; i < n_cmds; i++) {
		(void)snprintf(want, sizeof want, ".It Ic %s%s%s", cmds[i].noun, cmds[i].verb ? " " : "",
			cmds[i].verb ? cmds[i].verb : "");
		const char *at = strstr(man, want);

		if (!at)
			fail_msg("man/otactl.1 has no \"%s\"", want);
		for (const struct opt *o = cmds[i].opts; o && o->name; o++) {
			const char *end = strstr(at + 1, ".It Ic ");

			(void)snprintf(want, sizeof want, "Fl -%s", o->name);
			const char *hit = strstr(at, want);

			if (!hit || (end && hit > end))
				fail_msg("man/otactl.1: %s has no --%s", cmds[i].noun, o->name);
		}
	}
	for (const struct opt *o = global_opts; o->name; o++) {
		(void)snprintf(want, sizeof want, "Fl -%s", o->name);
		if (!strstr(man, want))
			fail_msg("man/otactl.1 has no --%s", o->name);
	}
	free(man);
}

static void man_has_nothing_else(void **state)
{
	char *man = man_page(), noun[40], verb[40];

	(void)state;
	for (const char *at = man; (at = strstr(at, ".It Ic ")); at++) {
		bool found = false;

		verb[0] = '\0';
		(void)sscanf(at, ".It Ic %39s %39s", noun, verb);
		for (size_t i = 0; i < n_cmds && !found; i++)
			found = strcmp(cmds[i].noun, noun) == 0 &&
				(!cmds[i].verb || strcmp(cmds[i].verb, verb) == 0);
		if (!found)
			fail_msg("man/otactl.1 describes '%s %s', which is no command", noun, verb);
	}
	free(man);
}

static void rows_are_in_groups_and_short(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_cmds; i++) {
		assert_true(strlen(cmds[i].help) < 60);
		assert_non_null(cmds[i].fn);
		for (size_t k = i + 2; k < n_cmds; k++) {
			if (strcmp(cmds[i].noun, cmds[k].noun) == 0)
				assert_string_equal(cmds[k - 1].noun, cmds[i].noun);
		}
	}
}

static int call(const char *const *words)
{
	char *argv[12] = {(char *)(uintptr_t) "otactl"};
	int argc = 1;

	while (*words)
		argv[argc++] = (char *)(uintptr_t)*words++;
	return cmd_main(argc, argv);
}

static void wrong_use_is_2(void **state)
{
	static const char *const calls[][6] = {
		{NULL},
		{"bord", NULL},
		{"board", NULL},
		{"board", "lst", NULL},
		{"board", "add", NULL},
		{"board", "list", "extra", NULL},
		{"--nonsense", NULL},
		{"image", "inspect", "--json=yes", "x", NULL},
		{"push", NULL},
		{"status", "a", "b", NULL},
		{"--url", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		if (call(calls[i]) != EXIT_USAGE)
			fail_msg("call %zu is not a usage error", i);
	}
}

static void help_is_0(void **state)
{
	static const char *const calls[][4] = {{"--help", NULL}, {"-h", NULL}, {"push", "--help", NULL},
		{"board", "--help", NULL}, {"--version", NULL}, {"--complete", "board", NULL}};

	(void)state;
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
		assert_int_equal(call(calls[i]), EXIT_DONE);
}

static void a_missing_server_is_1(void **state)
{
	const char *const words[] = {"--data", "/nonexistent", "board", "list", NULL};

	(void)state;
	assert_int_equal(call(words), EXIT_FAILED);
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		long long seconds; /* -1: refused */
	} rows[] = {{"0", -1}, {"90", -1}, {"0s", 0}, {"90s", 90}, {"15m", 900}, {"2h", 7200}, {"7d", 604800},
		{"", -1}, {"m", -1}, {"-1", -1}, {"1w", -1}, {"1hh", -1}, {"99999999999999999999", -1},
		{"9223372036854775807d", -1}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		long long got = -1;

		assert_int_equal(args_duration(rows[i].text, &got), rows[i].seconds >= 0);
		assert_int_equal(got, rows[i].seconds);
	}
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		long long bytes; /* -1: refused */
	} rows[] = {{"0", 0}, {"200000", 200000}, {"0x30000", 0x30000}, {"192K", 196608}, {"192KiB", 196608},
		{"1M", 1048576}, {"1MiB", 1048576}, {"4096M", 1LL << 32}, {"010", 10}, {"4097M", -1},
		{"", -1}, {"K", -1}, {"-1", -1}, {" 1", -1}, {"+1", -1}, {"1k", -1}, {"1KB", -1}, {"1G", -1},
		{"0x", -1}, {"1.5M", -1}, {"99999999999999999999", -1}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		long long got = -1;

		if (args_size(rows[i].text, &got) != (rows[i].bytes >= 0) || got != rows[i].bytes)
			fail_msg("'%s' is %lld", rows[i].text, got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(man_has_every_command_and_option),
		cmocka_unit_test(man_has_nothing_else),
		cmocka_unit_test(rows_are_in_groups_and_short),
		cmocka_unit_test(wrong_use_is_2),
		cmocka_unit_test(help_is_0),
		cmocka_unit_test(a_missing_server_is_1),
		cmocka_unit_test(durations),
		cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
