/* Devices replaced and removed: all that are named are looked up first, and it is asked about, with who they
 * are and when each was last seen. */
#include <string.h>
#include <time.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
#include "cli/show.h"

enum { SHOWN_MAX = 20, ALIVE_S = 3600 };

static void describe(const char *what, const json_t *d)
{
	int64_t seen = js_int(d, "last_seen", 0);

	fprintf(stderr, "  %s%s (%.8s), %s%s, %s, %s%s\n", what, out_safe(js_text(d, "name", "?")),
		js_text(d, "id", "?"), js_get(d, "board") ? "a " : "",
		out_safe(js_text(d, "board", "of no board")), js_text(d, "state", "?"),
		seen ? "last seen " : "never seen", seen ? out_ago(seen) : "");
}

/* What -y answers before it is asked. */
static void describe_all(const struct cli *cli, const json_t *all)
{
	size_t n = json_array_size(all);

	for (size_t i = 0; i < n && i < SHOWN_MAX && !cli->yes; i++)
		describe("", json_array_get(all, i));
	if (n > SHOWN_MAX && !cli->yes)
		fprintf(stderr, "  and %zu more\n", n - SHOWN_MAX);
}

/* One that is known to be there; programs get its row in `rows`. */
static int remove_one(struct cli *cli, const json_t *d, json_t *rows)
{
	char path[400];
	const char *name = js_text(d, "name", "?");

	if (!cli_path(cli, path, sizeof path, "/v1/devices/", js_text(d, "id", ""), "") ||
		!cli_call(cli, "DELETE", path, NULL, NULL)) {
		(void)json_array_append_new(
			rows, json_pack("{s:s, s:o}", "device", name, "error", fail_json()));
		return EXIT_FAILED;
	}
	(void)json_array_append_new(rows, json_pack("{s:s, s:s}", "device", name, "done", "removed"));
	if (!cli->json)
		printf("removed %s\n", out_safe(name));
	return EXIT_DONE;
}

int cmd_device_remove(struct cli *cli, const struct args *args)
{
	int code;
	json_t *all = find_devices(cli, args, &code), *rows;

	if (!all)
		return code;
	const size_t n = json_array_size(all);

	describe_all(cli, all);
	code = cli_confirm_final(cli,
		"This ends the key for good, also of every copy of the flash. Remove %zu device%s?", n,
		n == 1 ? "" : "s");
	if (code == EXIT_DONE) {
		rows = json_array();
		for (size_t i = 0; i < n; i++) {
			if (remove_one(cli, json_array_get(all, i), rows) != EXIT_DONE)
				code = EXIT_FAILED;
		}
		if (cli->json)
			out_json(rows);
		json_decref(rows);
	}
	json_decref(all);
	return code;
}

/* What the server would refuse, before it is asked about. */
static int check_pair(struct cli *cli, const json_t *old, const json_t *new)
{
	if (find_is_same(old, new))
		return cli_fail(cli, "'%s' cannot replace itself", out_safe(js_text(old, "name", "?")));
	if (strcmp(js_text(new, "state", ""), "revoked") == 0)
		return cli_fail(cli, "'%s' is revoked: the new device comes second: device replace OLD NEW",
			out_safe(js_text(new, "name", "?")));
	if (js_get(old, "board") && js_get(new, "board") &&
		strcmp(js_text(old, "board", ""), js_text(new, "board", "")) != 0)
		return cli_fail(cli, "'%s' and '%s' are of different boards",
			out_safe(js_text(old, "name", "?")), out_safe(js_text(new, "name", "?")));
	return EXIT_DONE;
}

/* The old one works, and the new one is no newcomer: OLD and NEW may be the wrong way round. */
static bool looks_swapped(const json_t *old, const json_t *new)
{
	/* Beside the new one's, which is by the same clock. */
	int64_t old_seen = js_int(old, "last_seen", 0), new_seen = js_int(new, "last_seen", 0);
	bool is_alive = old_seen && new_seen && new_seen - old_seen < ALIVE_S;
	bool is_newcomer = !js_get(new, "assignment") &&
			   js_int(new, "created", 0) >= js_int(old, "created", 0);

	return is_alive && !is_newcomer;
}

static int ask_replace(const struct cli *cli, const json_t *old, const json_t *new)
{
	const char *old_name = js_text(old, "name", "?"), *new_name = js_text(new, "name", "?");

	if (!cli->yes) {
		describe("old: ", old);
		describe("new: ", new);
	}
	if (looks_swapped(old, new))
		fprintf(stderr,
			"warning: the old one, %s, was seen %s, and the new one, %s, is not new here:\n"
			"         are they the wrong way round? It is: device replace OLD NEW\n",
			out_safe(old_name), out_ago(js_int(old, "last_seen", 0)), out_safe(new_name));
	return cli_confirm_final(cli,
		"Name, tags and history of %s go to %s (%.8s), and the key of the old device ends. "
		"Replace it?",
		out_safe(old_name), out_safe(new_name), js_text(new, "id", "?"));
}

int cmd_device_replace(struct cli *cli, const struct args *args)
{
	char path[400];
	json_t *d = NULL;
	int code;
	json_t *pair = find_devices(cli, args, &code);

	if (!pair)
		return code;
	/* One row: both arguments name it. */
	const json_t *old = json_array_get(pair, 0), *new = json_array_get(pair, json_array_size(pair) - 1);

	code = check_pair(cli, old, new);
	if (code == EXIT_DONE)
		code = ask_replace(cli, old, new);
	if (code == EXIT_DONE &&
		(!cli_path(cli, path, sizeof path, "/v1/devices/", js_text(old, "id", ""), "/replace") ||
			!cli_call(cli, "POST", path, json_pack("{s:s}", "new", js_text(new, "id", "")), &d)))
		code = EXIT_FAILED;
	json_decref(pair);
	return code == EXIT_DONE ? cli_show(cli, d, show_device) : code;
}
