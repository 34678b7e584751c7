#include <stdint.h>
#include <string.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
#include "cli/show.h"

static int show_with_devices(struct cli *cli, const json_t *r)
{
	char path[200];
	json_t *rows = NULL;

	if (!cli_path(cli, path, sizeof path, "/v1/rollouts/", js_text(r, "id", ""), "/assignments") ||
		!cli_list(cli, path, &rows))
		return EXIT_FAILED;
	if (cli->json) {
		json_t *both = json_copy((json_t *)(uintptr_t)r);

		(void)json_object_set(both, "assignments", rows);
		out_json(both);
		json_decref(both);
	} else {
		show_rollout(r);
		putchar('\n');
		show_assignments(rows);
	}
	json_decref(rows);
	return EXIT_DONE;
}

int cmd_rollout_list(struct cli *cli, const struct args *args)
{
	json_t *list = NULL;

	(void)args;
	if (!cli_list(cli, "/v1/rollouts", &list))
		return EXIT_FAILED;
	if (cli->json)
		out_json(list);
	else
		show_rollouts(list, "no pushes yet");
	json_decref(list);
	return EXIT_DONE;
}

int cmd_rollout_show(struct cli *cli, const struct args *args)
{
	json_t *r = NULL;

	if (!find_id(cli, &find_pushes, args->pos[0], &r))
		return EXIT_FAILED;
	int code = show_with_devices(cli, r);

	json_decref(r);
	return code;
}

static bool rollout_verb(struct cli *cli, const char *id, const char *verb, json_t **answer)
{
	char path[200];
	json_t *r = NULL;
	bool ok = find_id(cli, &find_pushes, id, &r) &&
		  cli_path(cli, path, sizeof path, "/v1/rollouts/", js_text(r, "id", ""), verb) &&
		  cli_call(cli, "POST", path, NULL, answer);

	json_decref(r);
	return ok;
}

int cmd_rollout_unhold(struct cli *cli, const struct args *args)
{
	json_t *answer = NULL;

	if (!rollout_verb(cli, args->pos[0], "/release-hold", &answer))
		return EXIT_FAILED;
	if (cli->json)
		out_json(answer);
	else
		puts("no longer on hold: devices install at their next check-in");
	json_decref(answer);
	return EXIT_DONE;
}

int cmd_retry(struct cli *cli, const struct args *args)
{
	json_t *answer = NULL;

	if (!rollout_verb(cli, args->pos[0], "/retry", &answer))
		return EXIT_FAILED;
	if (cli->json)
		out_json(answer);
	else
		printf("offered again to %lld device%s\n", (long long)js_int(answer, "retried", 0),
			js_int(answer, "retried", 0) == 1 ? "" : "s");
	json_decref(answer);
	return EXIT_DONE;
}

int cmd_cancel(struct cli *cli, const struct args *args)
{
	const char *device = args_get(args, "device");
	json_t *answer = NULL;
	char path[400];
	bool ok;

	if ((args->n == 1) == (device != NULL))
		return cli_usage(cli, "say what to cancel: a PUSH, or --device DEVICE");
	if (device)
		ok = cli_path(cli, path, sizeof path, "/v1/devices/", device, "/cancel") &&
		     cli_call(cli, "POST", path, NULL, &answer);
	else
		ok = rollout_verb(cli, args->pos[0], "/cancel", &answer);
	if (!ok)
		return EXIT_FAILED;
	long long withdrawn = (long long)js_int(answer, "withdrawn", 0),
		  late = (long long)js_int(answer, "committed", 0),
		  unsure = (long long)js_int(answer, "unsure", 0);

	if (cli->json)
		out_json(answer);
	else if (withdrawn || late)
		printf("withdrawn on %lld device%s; %lld past the point of no return\n", withdrawn,
			withdrawn == 1 ? "" : "s", late);
	if (!cli->json && unsure)
		printf("%lld may still install it: the last ticket there is good until %s; what the device "
		       "says next settles it\n",
			unsure, out_time(js_int(answer, "until", 0)));
	json_decref(answer);
	if (!withdrawn && !late && !unsure)
		return cli_fail(cli, "nothing was open%s%s: nothing to withdraw", device ? " on " : "",
			device ? out_safe(device) : "");
	return EXIT_DONE;
}

/* What a person typed after `status` is a push when its hex starts one, else a device. */
static int status_of(struct cli *cli, const struct args *args)
{
	const char *text = args->pos[0];
	json_t *list = NULL, *r, *hit = NULL;
	size_t i, n = 0, len = strlen(text);
	int code;

	if (len >= 6 && strspn(text, "0123456789abcdef") == len && cli_list(cli, "/v1/rollouts", &list)) {
		json_array_foreach(list, i, r)
		{
			if (strncmp(js_text(r, "id", ""), text, len) == 0) {
				hit = r;
				n++;
			}
		}
	}
	code = n == 1 ? show_with_devices(cli, hit) : cmd_device_show(cli, args);
	json_decref(list);
	return code;
}

int cmd_status(struct cli *cli, const struct args *args)
{
	json_t *s = NULL, *devices = NULL, *item;
	size_t i;

	if (args->n)
		return status_of(cli, args);
	if (!cli_call(cli, "GET", "/v1/status", NULL, &s))
		return EXIT_FAILED;
	if (cli->json) {
		out_json(s);
	} else if (cli_list(cli, "/v1/devices", &devices)) {
		json_array_foreach(js_array(s, "warnings"), i, item)
			printf("! %s\n", out_safe(json_string_value(item)));
		show_devices(
			devices, "no devices; provision one: otactl provision --board BOARD --name NAME");
		if (json_array_size(js_array(s, "rollouts")) > 0) {
			putchar('\n');
			show_rollouts(js_array(s, "rollouts"), NULL);
		}
		json_array_foreach(js_array(s, "pending"), i, item)
			printf("waits for approval: otactl device approve %s\n",
				out_safe(js_text(item, "name", "?")));
	}
	json_decref(devices);
	json_decref(s);
	return EXIT_DONE;
}
