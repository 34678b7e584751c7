/* What went wrong, once for people on stderr and once for programs: cli_fail, cli_usage and cli_problem of
 * cli.h remember what they say, fail_json tells it again. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static struct {
	char text[600], hint[300], code[40];
	long status;
} last;

__attribute__((format(printf, 2, 0))) static void complain(const char *code, const char *fmt, va_list ap)
{
	(void)vsnprintf(last.text, sizeof last.text, fmt, ap);
	(void)snprintf(last.code, sizeof last.code, "%s", code);
	last.hint[0] = '\0';
	last.status = 0;
	fprintf(stderr, "otactl: %s\n", last.text);
}

int cli_fail(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	(void)cli;
	va_start(ap, fmt);
	complain("failed", fmt, ap);
	va_end(ap);
	return EXIT_FAILED;
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	(void)cli;
	va_start(ap, fmt);
	complain("usage", fmt, ap);
	va_end(ap);
	return EXIT_USAGE;
}

void cli_hint(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(last.hint, sizeof last.hint, fmt, ap);
	va_end(ap);
	fprintf(stderr, "        %s\n", last.hint);
}

/* Where to look up what was not found. */
static const char *list_for(const char *path)
{
	static const struct {
		const char *path, *list;
	} rows[] = {
		{"/v1/devices/", "otactl device list"},
		{"/v1/boards/", "otactl board list"},
		{"/v1/releases/", "otactl release list"},
		{"/v1/provisions", "otactl board list"},
		{"/v1/enroll-secrets", "otactl board list"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (strncmp(path, rows[i].path, strlen(rows[i].path)) == 0)
			return rows[i].list;
	}
	return NULL;
}

int cli_problem(
	const struct cli *cli, const char *method, const char *path, const struct client_answer *answer)
{
	return cli_problem_is(cli, method, path, answer, NULL);
}

int cli_problem_is(const struct cli *cli, const char *method, const char *path,
	const struct client_answer *answer, const char *detail)
{
	json_t *problem = json_loadb(answer->body, answer->len, 0, NULL);
	const char *hint = js_text(problem, "hint", NULL);

	if (!detail)
		detail = js_text(problem, "detail", NULL);
	const char *where = client_name(cli->client);

	if (detail)
		(void)cli_fail(cli, "%s", out_safe(detail));
	else if (answer->status == 401 || answer->status == 403)
		(void)cli_fail(cli, "%s (%s) does not take this token", where, client_from(cli->client));
	else if (answer->status == 429 || answer->status == 503)
		(void)cli_fail(cli, "%s is busy (%ld): try again in a moment", where, answer->status);
	else
		(void)cli_fail(cli, "%s %s at %s answered %ld: is an otad there?", method, path, where,
			answer->status);
	bool is_other_door = strcmp(js_text(problem, "code", ""), "other-door") == 0;

	if (hint && hint[0])
		cli_hint("%s", out_safe(hint));
	else if (is_other_door)
		cli_hint("asked at %s (%s)", where, client_from(cli->client));
	else if (answer->status == 404 && list_for(path))
		cli_hint("see: %s", list_for(path));
	else if (answer->status == 507)
		cli_hint("make room: otactl release remove (release retire where it was pushed), then otactl "
			 "image remove; or lower disk-reserve, see otad.conf(5)");
	else if (answer->status == 401)
		cli_hint("asked at %s (%s); log in again: otactl login URL", where, client_from(cli->client));
	(void)snprintf(last.code, sizeof last.code, "%s", js_text(problem, "code", "failed"));
	last.status = answer->status;
	json_decref(problem);
	return EXIT_FAILED;
}

json_t *fail_json(void)
{
	json_t *error = json_object();

	(void)json_object_set_new(error, "code", js_string(last.code));
	(void)json_object_set_new(error, "detail", js_string(last.text));
	if (last.hint[0])
		(void)json_object_set_new(error, "hint", js_string(last.hint));
	if (last.status)
		(void)json_object_set_new(error, "status", json_integer(last.status));
	return error;
}

bool fail_is_told(void)
{
	return last.text[0] != '\0';
}

bool fail_is_usage(void)
{
	return strcmp(last.code, "usage") == 0 || strcmp(last.code, "bad-request") == 0 ||
	       strcmp(last.code, "invalid") == 0;
}
