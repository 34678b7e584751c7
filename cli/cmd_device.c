#include <stdlib.h>
#include <string.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
#include "cli/show.h"

/* An empty list of a selector with a typo in it is no news of the fleet. */
static void tell_hint(struct cli *cli, const char *selector)
{
	char path[1500];
	json_t *s = NULL;

	if (path_join(path, sizeof path, "/v1/selection?selector=", selector, "") &&
		cli_call(cli, "GET", path, NULL, &s) && js_get(s, "hint"))
		fprintf(stderr, "%s\n", out_safe(js_text(s, "hint", "")));
	json_decref(s);
}

int cmd_device_list(struct cli *cli, const struct args *args)
{
	static const struct {
		const char *option, *parameter;
	} filters[] = {{"state", "state"}, {"board", "board"}, {"to", "selector"}};
	char path[1500] = "/v1/devices";
	json_t *list = NULL;

	for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
		const char *value = args_get(args, filters[i].option);
		char head[40];

		if (!value)
			continue;
		(void)snprintf(
			head, sizeof head, "%c%s=", strchr(path, '?') ? '&' : '?', filters[i].parameter);
		if (!path_join(path + strlen(path), sizeof path - strlen(path), head, value, ""))
			return cli_usage(cli, "--%s is empty or too long", filters[i].option);
	}
	if (!cli_list(cli, path, &list))
		return EXIT_FAILED;
	if (cli->json)
		out_json(list);
	else {
		show_devices(list, strchr(path, '?') ? "no such device" : "no devices; see: otactl status");
		show_drifted(list);
		show_alarms(list);
	}
	if (json_array_size(list) == 0 && args_has(args, "to"))
		tell_hint(cli, args_get(args, "to"));
	json_decref(list);
	return EXIT_DONE;
}

int cmd_device_show(struct cli *cli, const struct args *args)
{
	json_t *d = NULL;
	int code = find_device(cli, args->pos[0], &d);

	return code == EXIT_DONE ? cli_show(cli, d, show_device) : code;
}

/* What each_device asks for, and what it says of each device: `idle` where the server found nothing to
 * change. */
struct verb {
	const char *method, *tail, *body, *done, *idle;
};

/* One of each_device: the call, and what it says for people and, in `all`, for programs. */
static int one_device(struct cli *cli, const char *ref, const struct verb *v, json_t *all)
{
	char path[400];
	json_t *answer = NULL;
	int code = EXIT_DONE;

	if (!find_device_path(cli, path, ref, v->tail))
		code = EXIT_USAGE;
	else if (!cli_call(cli, v->method, path, v->body ? json_loads(v->body, 0, NULL) : NULL, &answer))
		code = EXIT_FAILED;
	if (code != EXIT_DONE)
		(void)json_array_append_new(
			all, json_pack("{s:o, s:o}", "device", js_string(ref), "error", fail_json()));
	else if (answer)
		(void)json_array_append(all, answer);
	else
		(void)json_array_append_new(
			all, json_pack("{s:o, s:s}", "device", js_string(ref), "done", v->done));
	if (code == EXIT_DONE && !cli->json)
		printf("%s %s\n", v->idle && !js_bool(answer, "changed", true) ? v->idle : v->done,
			out_safe(js_text(answer, "name", ref)));
	json_decref(answer);
	return code;
}

/* The same call for each device named; goes on after a failure, so that one typo does not hold up the rest.
 * Programs get a list with a row for each: the device, or its error. */
static int each_device(struct cli *cli, int n, const char *const *refs, const struct verb *v)
{
	json_t *all = json_array();
	int code = EXIT_DONE;

	for (int i = 0; i < n; i++) {
		int one = one_device(cli, refs[i], v, all);

		code = code == EXIT_DONE ? one : code;
	}
	if (cli->json)
		out_json(all);
	json_decref(all);
	return code;
}

static int each_arg(struct cli *cli, const struct args *args, const struct verb *v)
{
	return each_device(cli, args->n, (const char *const *)args->pos, v);
}

/* One whose place another took is not among those that only wait: asked about before any is let in. */
static int ask_revoked(const struct cli *cli, const json_t *all)
{
	json_t *d;
	size_t i, n = 0;

	json_array_foreach((json_t *)(uintptr_t)all, i, d)
	{
		if (strcmp(js_text(d, "state", ""), "revoked") != 0)
			continue;
		n++;
		fprintf(stderr, "%s is revoked: another took its place (device replace); last seen %s\n",
			out_safe(js_text(d, "name", "?")), out_ago(js_int(d, "last_seen", 0)));
	}
	return n ? cli_confirm_final(cli, "Let %s in again?", n == 1 ? "it" : "them") : EXIT_DONE;
}

/* By their ids: a name may be another's by the time that the question is answered. */
int cmd_device_approve(struct cli *cli, const struct args *args)
{
	static const struct verb approve = {
		"POST", "/approve", NULL, "approved", "approved already, nothing waits:"};
	int code;
	json_t *all = find_devices(cli, args, &code);
	const size_t n = json_array_size(all);
	const char **ids = all ? calloc(n + 1, sizeof *ids) : NULL;

	for (size_t i = 0; ids && i < n; i++)
		ids[i] = js_text(json_array_get(all, i), "id", "?");
	if (all)
		code = ids ? ask_revoked(cli, all) : cli_fail(cli, "out of memory");
	if (code == EXIT_DONE)
		code = each_device(cli, (int)n, ids, &approve);
	free(ids);
	json_decref(all);
	return code;
}

int cmd_device_reject(struct cli *cli, const struct args *args)
{
	static const struct verb reject = {"POST", "/reject", NULL, "refused the new key of", NULL};

	return each_arg(cli, args, &reject);
}

int cmd_device_ack(struct cli *cli, const struct args *args)
{
	static const struct verb ack = {"POST", "/ack", NULL, "acknowledged:", "there is no alarm:"};

	return each_arg(cli, args, &ack);
}

int cmd_device_hold(struct cli *cli, const struct args *args)
{
	static const struct verb hold = {"PATCH", "", "{\"hold\":true}", "on hold:", NULL};

	return each_arg(cli, args, &hold);
}

int cmd_device_unhold(struct cli *cli, const struct args *args)
{
	static const struct verb unhold = {"PATCH", "", "{\"hold\":false}", "not on hold:", NULL};

	return each_arg(cli, args, &unhold);
}

static int patch_device(struct cli *cli, const char *ref, json_t *take_body)
{
	char path[400];
	json_t *d = NULL;

	if (!find_device_path(cli, path, ref, "")) {
		json_decref(take_body);
		return EXIT_USAGE;
	}
	if (!cli_call(cli, "PATCH", path, take_body, &d))
		return EXIT_FAILED;
	return cli_show(cli, d, show_device);
}

int cmd_device_rename(struct cli *cli, const struct args *args)
{
	return patch_device(cli, args->pos[0], json_pack("{s:s}", "name", args->pos[1]));
}

int cmd_device_tag(struct cli *cli, const struct args *args)
{
	json_t *add = json_array(), *drop = json_array();

	for (int i = 1; i < args->n; i++) {
		bool is_drop = args->pos[i][0] == '-';

		if (!args->pos[i][is_drop]) {
			json_decref(add);
			json_decref(drop);
			return cli_usage(cli, "a tag cannot be empty");
		}
		(void)json_array_append_new(is_drop ? drop : add, json_string(args->pos[i] + is_drop));
	}
	return patch_device(cli, args->pos[0], json_pack("{s:o, s:o}", "tags_add", add, "tags_remove", drop));
}

int cmd_log(struct cli *cli, const struct args *args)
{
	static const char *const head[] = {"WHEN", "WHAT", "RELEASE", "TEXT", NULL};
	char path[400];
	struct out_table t;
	json_t *list = NULL, *row;
	size_t i;

	if (!find_device_path(cli, path, args->pos[0], "/log"))
		return EXIT_USAGE;
	if (!cli_list(cli, path, &list))
		return EXIT_FAILED;
	if (cli->json) {
		out_json(list);
	} else {
		out_table_init(&t, head);
		json_array_foreach(list, i, row)
		{
			out_table_row(&t, (const char *const[]){out_time(js_int(row, "at", 0)),
						  js_text(row, "kind", ""), js_text(row, "release", ""),
						  js_text(row, "text", "")});
		}
		out_table_end(&t, "nothing happened yet");
	}
	json_decref(list);
	return EXIT_DONE;
}
