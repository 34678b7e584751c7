#include <stdlib.h>
#include <string.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "proto/hex.h"

static bool add_components(const struct cli *cli, const struct args *args, json_t *board)
{
	json_t *list = json_array();
	const char *text;

	for (int k = 0; (text = args_nth(args, "component", k)); k++) {
		const char *colon = strchr(text, ':');
		char name[32];
		long long size = 0;
		bool is_size = !colon || args_size(colon + 1, &size);

		(void)snprintf(
			name, sizeof name, "%.*s", colon ? (int)(colon - text) : (int)strlen(text), text);
		if (!name[0] || !is_size) {
			json_decref(list);
			(void)cli_usage(cli,
				"--component %s: expected NAME or NAME:SIZE, such as app:0x1e0000, app:1920K "
				"or app:2M",
				out_safe(text));
			return false;
		}
		(void)json_array_append_new(
			list, json_pack("{s:s, s:I}", "name", name, "slot_size", (json_int_t)size));
	}
	if (json_array_size(list) > 0)
		(void)json_object_set(board, "components", list);
	json_decref(list);
	return true;
}

static void print_board(const json_t *b)
{
	size_t i;
	json_t *c;

	out_field("name", "%s", js_text(b, "name", "?"));
	if (js_text(b, "chip", "")[0])
		out_field("chip", "%s", js_text(b, "chip", ""));
	out_field("vendor-id", "%s", js_text(b, "vendor_id", "?"));
	out_field("class-id", "%s", js_text(b, "class_id", "?"));
	out_field("client", "%s", js_text(b, "client", "?"));
	json_array_foreach(js_array(b, "components"), i, c)
	{
		int64_t size = js_int(c, "slot_size", 0);

		out_field("component", "%s%s%s", js_text(c, "name", "?"), size ? ", slot of " : "",
			size ? out_size(size) : "");
	}
}

/* Said in the names of options: the server knows those of its JSON. */
static int check_ids(const struct cli *cli, const struct args *args)
{
	static const char *const texts[] = {"chip", "domain", "model", "client"}, *const ids[] = {"vendor-id",
											  "class-id"};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const char *text = args_get(args, texts[i]);

		if (text && !text[0])
			return cli_usage(cli, "--%s is empty: leave it out where there is none", texts[i]);
	}
	for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
		const char *text = args_get(args, ids[i]);
		uint8_t id[UUID_LEN];

		if (text && uuid_decode(text, id) != OTA_OK)
			return cli_usage(cli, "--%s takes a UUID, not '%s'", ids[i], out_safe(text));
	}
	return EXIT_DONE;
}

int cmd_board_add(struct cli *cli, const struct args *args)
{
	static const char *const plain[] = {"chip", "domain", "model", "client", NULL};

	if (check_ids(cli, args) != EXIT_DONE)
		return EXIT_USAGE;
	json_t *answer = NULL, *body = json_pack("{s:s}", "name", args->pos[0]);

	for (int i = 0; plain[i]; i++) {
		if (args_has(args, plain[i]))
			(void)json_object_set_new(body, plain[i], json_string(args_get(args, plain[i])));
	}
	if (args_has(args, "vendor-id"))
		(void)json_object_set_new(body, "vendor_id", json_string(args_get(args, "vendor-id")));
	if (args_has(args, "class-id"))
		(void)json_object_set_new(body, "class_id", json_string(args_get(args, "class-id")));
	if (!add_components(cli, args, body)) {
		json_decref(body);
		return EXIT_USAGE;
	}
	if (!cli_call(cli, "POST", "/v1/boards", body, &answer))
		return EXIT_FAILED;
	return cli_show(cli, answer, print_board);
}

int cmd_board_list(struct cli *cli, const struct args *args)
{
	static const char *const head[] = {"BOARD", "CHIP", "CLIENT", "COMPONENTS", "CLASS-ID", NULL};
	struct out_table t;
	json_t *list = NULL, *b, *c;
	size_t i, k;

	(void)args;
	if (!cli_list(cli, "/v1/boards", &list))
		return EXIT_FAILED;
	if (cli->json) {
		out_json(list);
	} else {
		out_table_init(&t, head);
		json_array_foreach(list, i, b)
		{
			char names[128] = "";

			json_array_foreach(js_array(b, "components"), k, c)
			{
				size_t used = strlen(names);

				(void)snprintf(names + used, sizeof names - used, "%s%s", k ? " " : "",
					js_text(c, "name", "?"));
			}
			out_table_row(
				&t, (const char *const[]){js_text(b, "name", "?"), js_text(b, "chip", ""),
					    js_text(b, "client", ""), names, js_text(b, "class_id", "")});
		}
		out_table_end(&t, "no boards yet; add one: otactl board add NAME --chip CHIP");
	}
	json_decref(list);
	return EXIT_DONE;
}

static int get_board(struct cli *cli, const char *name, const char *tail, json_t **out)
{
	char path[300];

	if (!path_join(path, sizeof path, "/v1/boards/", name, tail))
		return cli_usage(cli, "'%s' is no board name", out_safe(name));
	return cli_call(cli, "GET", path, NULL, out) ? EXIT_DONE : EXIT_FAILED;
}

int cmd_board_show(struct cli *cli, const struct args *args)
{
	json_t *b = NULL;
	int code = get_board(cli, args->pos[0], "", &b);

	return code == EXIT_DONE ? cli_show(cli, b, print_board) : code;
}

int cmd_board_export(struct cli *cli, const struct args *args)
{
	json_t *card = NULL;
	struct errmsg e;
	int code = get_board(cli, args->pos[0], "/card", &card);

	if (code == EXIT_DONE) {
		const char *file = args_get(args, "output");
		char *text = json_dumps(card, JSON_INDENT(2));

		if (!text || file_write(file, 0644, text, strlen(text), &e) != OTA_OK)
			code = cli_fail(cli, "%s", text ? e.text : "out of memory");
		else if (!file)
			putchar('\n');
		else
			out_file(cli->json, file);
		free(text);
	}
	json_decref(card);
	return code;
}

int cmd_board_remove(struct cli *cli, const struct args *args)
{
	char path[300];

	if (!path_join(path, sizeof path, "/v1/boards/", args->pos[0], ""))
		return cli_usage(cli, "'%s' is no board name", out_safe(args->pos[0]));
	if (!cli_call(cli, "DELETE", path, NULL, NULL))
		return EXIT_FAILED;
	out_done(cli->json, "removed", args->pos[0], "");
	return EXIT_DONE;
}
