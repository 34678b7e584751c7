/* Requests of the commands: cli_call, cli_list and their kin of cli.h. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/file.h"

bool cli_path(
	const struct cli *cli, char *out, size_t cap, const char *prefix, const char *part, const char *tail)
{
	if (path_join(out, cap, prefix, part, tail))
		return true;
	(void)cli_fail(cli, "'%s' names nothing that a server has", out_safe(part));
	return false;
}

bool cli_call(struct cli *cli, const char *method, const char *path, json_t *take_body, json_t **out)
{
	struct client_answer a = {.upload_offset = -1};
	struct errmsg e;
	char *body = take_body ? json_dumps(take_body, JSON_COMPACT) : NULL;
	bool ok = false;

	enum ota_err err = client_call(
		cli->client, method, path, "application/json", body, body ? strlen(body) : 0, 0, &a, &e);

	json_decref(take_body);
	free(body);
	if (err != OTA_OK) {
		(void)cli_fail(cli, "%s", e.text);
	} else if (a.status < 200 || a.status > 299) {
		(void)cli_problem(cli, method, path, &a);
	} else {
		json_t *answer = a.len ? json_loadb(a.body, a.len, 0, NULL) : NULL;

		/* What was asked for and not said is not to be shown as nothing there. */
		ok = json_is_object(answer) || (a.len == 0 && strcmp(method, "GET") != 0);
		if (!ok)
			(void)cli_fail(cli, "%s %s at %s answered with no JSON object: is an otad there?",
				method, path, client_name(cli->client));
		if (out && ok)
			*out = answer;
		else
			json_decref(answer);
	}
	client_answer_clear(&a);
	return ok;
}

int cli_expires(const struct cli *cli, const struct args *args, json_t *body)
{
	const char *text = args_get(args, "expires");
	long long seconds = 0;

	if (!text)
		return EXIT_DONE;
	if (!args_duration(text, &seconds) || seconds < 60 || seconds > 10LL * 366 * 86400)
		return cli_usage(
			cli, "--expires takes a time such as 90m, 12h or 30d, of a minute to ten years");
	(void)json_object_set_new(body, "expires_s", json_integer(seconds));
	return EXIT_DONE;
}

/* A GET of which nobody hears when it fails. */
static bool try_get(struct cli *cli, const char *path, long limit_s, json_t **out)
{
	struct client_answer a = {.upload_offset = -1};
	struct errmsg e;

	*out = NULL;
	if (client_call(cli->client, "GET", path, NULL, NULL, 0, limit_s, &a, &e) == OTA_OK &&
		a.status == 200)
		*out = json_loadb(a.body, a.len, 0, NULL);
	client_answer_clear(&a);
	return *out != NULL;
}

int cli_show(const struct cli *cli, json_t *take, void (*show)(const json_t *object))
{
	if (cli->json)
		out_json(take);
	else
		show(take);
	json_decref(take);
	return EXIT_DONE;
}

/* One page behind `*next`, which becomes the next one's or NULL. */
static bool list_page(struct cli *cli, const char *path, long quiet_s, json_t *all, char **next)
{
	char page[1024];
	json_t *answer = NULL;

	(void)snprintf(page, sizeof page, "%s%climit=500%s%s", path, strchr(path, '?') ? '&' : '?',
		*next ? "&after=" : "", *next ? *next : "");
	free(*next);
	*next = NULL;
	bool ok = quiet_s ? try_get(cli, page, quiet_s, &answer) : cli_call(cli, "GET", page, NULL, &answer);

	if (ok && !js_array(answer, "items")) {
		ok = false;
		if (!quiet_s)
			(void)cli_fail(cli, "%s at %s answered with no list: is an otad there?", path,
				client_name(cli->client));
	} else if (ok) {
		const char *cursor = js_text(answer, "next", NULL);

		(void)json_array_extend(all, js_array(answer, "items"));
		*next = cursor ? strdup(cursor) : NULL;
	}
	json_decref(answer);
	return ok;
}

bool cli_list(struct cli *cli, const char *path, json_t **out)
{
	json_t *all = json_array();
	char *next = NULL;
	bool ok;

	do
		ok = list_page(cli, path, 0, all, &next);
	while (ok && next);
	free(next);
	if (ok)
		*out = all;
	else
		json_decref(all);
	return ok;
}

json_t *cli_try_list(struct cli *cli, const char *path, long limit_s)
{
	const time_t end = time(NULL) + limit_s;
	json_t *all = json_array();
	char *next = NULL;
	bool ok;

	do
		ok = list_page(cli, path, limit_s, all, &next);
	while (ok && next && time(NULL) < end);
	free(next);
	return all;
}
