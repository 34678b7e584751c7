#include <stdint.h>
#include <string.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
#include "cli/push.h"
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
	struct find_kind kind = find_pushes;
	json_t *r = NULL;

	kind.of_device = "otactl status";
	if (!find_id(cli, &kind, FIND_TO_SHOW, args->pos[0], &r))
		return EXIT_FAILED;
	int code = show_with_devices(cli, r);

	json_decref(r);
	return code;
}

/* `of_device`: what a person who gives a device here may mean. `*push` is the push as it was before: the
 * caller's, NULL where it was not found. */
static bool rollout_verb(struct cli *cli, const char *id, const char *verb, const char *of_device,
	json_t **push, json_t **answer)
{
	struct find_kind kind = find_pushes;
	char path[200];

	*push = NULL;
	kind.of_device = of_device;
	return find_id(cli, &kind, FIND_TO_CHANGE, id, push) &&
	       cli_path(cli, path, sizeof path, "/v1/rollouts/", js_text(*push, "id", ""), verb) &&
	       cli_call(cli, "POST", path, NULL, answer);
}

int cmd_rollout_unhold(struct cli *cli, const struct args *args)
{
	json_t *push, *answer = NULL;
	const bool ok = rollout_verb(
		cli, args->pos[0], "/release-hold", "otactl device unhold", &push, &answer);

	if (ok && cli->json)
		out_json(answer);
	else if (ok)
		puts(js_bool(push, "hold", true) ? "no longer on hold: devices install at their next check-in"
						 : "it is not on hold: nothing was changed");
	json_decref(push);
	json_decref(answer);
	return ok ? EXIT_DONE : EXIT_FAILED;
}

int cmd_retry(struct cli *cli, const struct args *args)
{
	json_t *push, *answer = NULL;
	long long timeout_s;
	int code = push_wait_options(cli, args, &timeout_s);

	if (code != EXIT_DONE)
		return code;
	const bool ok = rollout_verb(cli, args->pos[0], "/retry", "otactl status", &push, &answer);
	long long n = (long long)js_int(answer, "retried", 0);
	bool is_shared = js_bool(answer, "shared", false);
	const bool is_waiting = args_has(args, "wait") && (n || is_shared);

	if (cli->json && ok && !is_waiting)
		out_json(answer);
	else if (!cli->json && (n || is_shared))
		printf("offered again to %lld device%s%s\n", n, n == 1 ? "" : "s",
			is_shared ? ", not counting those of a retry that was under way already" : "");
	json_decref(answer);
	if (!ok)
		code = EXIT_FAILED;
	else if (!n && !is_shared)
		code = cli_fail(cli, "no device of this push failed or lost it: nothing to offer again");
	if (is_waiting) {
		json_t *pushes = json_pack("[O]", push);

		code = push_wait(cli, pushes, timeout_s, args_has(args, "accept-served"), true);
		json_decref(pushes);
	}
	json_decref(push);
	return code;
}

int cmd_cancel(struct cli *cli, const struct args *args)
{
	const char *device = args_get(args, "device");
	json_t *push = NULL, *answer = NULL;
	char path[400];
	bool ok;

	if ((args->n == 1) == (device != NULL))
		return cli_usage(cli, "say what to cancel: a PUSH, or --device DEVICE");
	if (device)
		ok = cli_path(cli, path, sizeof path, "/v1/devices/", device, "/cancel") &&
		     cli_call(cli, "POST", path, NULL, &answer);
	else
		ok = rollout_verb(cli, args->pos[0], "/cancel", "otactl cancel --device", &push, &answer);
	json_decref(push);
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
	const bool is_nothing = !withdrawn && !late && !unsure,
		   is_end = json_is_true(js_get(answer, "ended"));

	if (!cli->json && is_nothing && is_end)
		printf("ended before any device had something to do\n");
	json_decref(answer);
	if (is_nothing && !is_end)
		return cli_fail(cli, "nothing was open%s%s: nothing to withdraw", device ? " on " : "",
			device ? out_safe(device) : "");
	return EXIT_DONE;
}

/* The server's answer of the device `text`: 200 and its object, 404, or another; 0 after the reason was
 * printed. */
static long ask_device(
	struct cli *cli, const char *text, char path[400], struct client_answer *a, json_t **device)
{
	struct errmsg e;

	if (!cli_path(cli, path, 400, "/v1/devices/", text, ""))
		return 0;
	if (client_call(cli->client, "GET", path, NULL, NULL, 0, 0, a, &e) != OTA_OK) {
		(void)cli_fail(cli, "%s", e.text);
		return 0;
	}
	*device = a->status == 200 && a->len ? json_loadb(a->body, a->len, 0, NULL) : NULL;
	return a->status;
}

/* What a person typed after `status` is a device when it is the whole name or id of one, else what starts the
 * id of one push or one device. */
static int status_of(struct cli *cli, const struct args *args)
{
	struct client_answer a = {.upload_offset = -1};
	const char *text = args->pos[0];
	json_t *list = NULL, *push = NULL, *device = NULL;
	char path[400], words[200];
	long status = ask_device(cli, text, path, &a, &device);
	int code = EXIT_FAILED;
	size_t n;

	if (status == 0)
		goto out;
	if (!find_is_wholly(device, text) && !cli_list(cli, find_pushes.path, &list))
		goto out;
	n = find_among(list, &find_pushes, text, &push);

	if (n && device) {
		code = cli_fail(cli, "'%s' is the start of a push's id and names device %s: give more of it",
			out_safe(text), js_text(device, "name", "?"));
	} else if (n == 1) {
		code = show_with_devices(cli, push);
	} else if (device) {
		if (cli->json)
			out_json(device);
		else
			show_device(device);
		code = EXIT_DONE;
	} else if (n > 1) {
		code = cli_fail(cli, "'%s' is the start of %zu push ids: give more of it; see: %s",
			out_safe(text), n, find_pushes.list);
	} else {
		json_t *problem = json_loadb(a.body, a.len, 0, NULL);
		/* Of a name that waits for its device the server knows more. */
		const bool is_none = status == 404 &&
				     strncmp(js_text(problem, "detail", ""), "there is no device", 18) == 0;

		(void)snprintf(words, sizeof words, "there is no device and no push '%.100s'", text);
		code = cli_problem_is(cli, "GET", path, &a, is_none ? words : NULL);
		json_decref(problem);
	}
out:
	client_answer_clear(&a);
	json_decref(list);
	json_decref(device);
	return code;
}

enum { ASK_S = 5 };

/* The devices that the fleet is made of: one that was replaced has ended. */
static json_t *without_revoked(const json_t *devices, size_t *n_revoked)
{
	json_t *rest = json_array(), *d;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)devices, i, d)
	{
		if (strcmp(js_text(d, "state", ""), "revoked") != 0)
			(void)json_array_append(rest, d);
	}
	*n_revoked = json_array_size(devices) - json_array_size(rest);
	return rest;
}

static void show_fleet(struct cli *cli, const json_t *devices)
{
	if (json_array_size(devices) > 0) {
		show_devices(devices, NULL);
		return;
	}
	/* A viewer may not list secrets, and is told less. */
	json_t *secrets = cli_try_list(cli, "/v1/enroll-secrets", ASK_S);

	show_awaited(secrets);
	json_decref(secrets);
}

static void show_summary(const json_t *s)
{
	const json_t *n = js_get(s, "devices");
	json_t *row;
	size_t i;

	printf("devices: %lld; %lld approved, %lld pending, %lld on hold, %lld seen in the last day\n",
		(long long)js_int(n, "total", 0), (long long)js_int(n, "approved", 0),
		(long long)js_int(n, "pending", 0), (long long)js_int(n, "held", 0),
		(long long)js_int(n, "seen_24h", 0));
	json_array_foreach(js_array(s, "running"), i, row)
	{
		if (js_bool(row, "other", false))
			printf("%lld run something else\n", (long long)js_int(row, "count", 0));
		else
			printf("%lld run %s %s\n", (long long)js_int(row, "count", 0),
				out_safe(js_text(row, "board", "?")),
				out_safe(js_text(row, "version", "a release unknown here")));
	}
}

/* Without `devices`: their counts. */
static void show_status(struct cli *cli, const json_t *s, const json_t *devices, size_t n_revoked)
{
	json_t *item;
	size_t i;

	json_array_foreach(js_array(s, "warnings"), i, item)
		printf("! %s\n", out_safe(json_string_value(item)));
	if (devices) {
		show_drifted(devices);
		show_to_retry(devices);
		show_fleet(cli, devices);
	} else {
		show_summary(s);
	}
	if (n_revoked)
		printf("%zu replaced, not shown; see: otactl device list\n", n_revoked);
	if (json_array_size(js_array(s, "rollouts")) > 0) {
		putchar('\n');
		show_rollouts(js_array(s, "rollouts"), NULL);
	}
	json_array_foreach(js_array(s, "pending"), i, item) show_waiting(item);
}

int cmd_status(struct cli *cli, const struct args *args)
{
	json_t *s = NULL, *all = NULL, *devices = NULL;
	const bool is_summary = args_has(args, "summary");
	int code = EXIT_FAILED;
	size_t n_revoked = 0;

	if (args->n && is_summary)
		return cli_usage(cli, "--summary is of all devices");
	if (args->n)
		return status_of(cli, args);
	if (!cli_call(cli, "GET", "/v1/status", NULL, &s))
		return EXIT_FAILED;
	if (!is_summary && !cli_list(cli, "/v1/devices", &all))
		goto out;
	if (all)
		devices = without_revoked(all, &n_revoked);
	/* Beside the server's counts what the table has, in the same words as `device list`. */
	if (devices)
		(void)json_object_set(s, "fleet", devices);
	if (cli->json)
		out_json(s);
	else
		show_status(cli, s, devices, n_revoked);
	code = EXIT_DONE;
out:
	json_decref(all);
	json_decref(devices);
	json_decref(s);
	return code;
}
