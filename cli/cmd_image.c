#include <stdlib.h>
#include <string.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
#include "cli/inspect.h"
#include "cli/show.h"

int cmd_image_list(struct cli *cli, const struct args *args)
{
	static const char *const head[] = {
		"IMAGE", "SIZE", "FORMAT", "CHIP", "PROJECT", "VERSION", "UPLOADED", NULL};
	struct out_table t;
	json_t *list = NULL, *image;
	size_t i;

	(void)args;
	if (!cli_list(cli, "/v1/images", &list))
		return EXIT_FAILED;
	if (cli->json) {
		out_json(list);
	} else {
		out_table_init(&t, head);
		json_array_foreach(list, i, image)
		{
			char id[13], format[48];

			(void)snprintf(id, sizeof id, "%.12s", js_text(image, "sha256", "?"));
			(void)snprintf(format, sizeof format, "%s%s", js_text(image, "format", ""),
				js_bool(image, "damaged", false) ? " (damaged)" : "");
			out_table_row(&t,
				(const char *const[]){id, out_size(js_int(image, "size", 0)), format,
					js_text(image, "chip", ""), js_text(image, "project", ""),
					js_text(image, "version", ""), out_ago(js_int(image, "created", 0))});
		}
		out_table_end(&t, "no images");
	}
	json_decref(list);
	return EXIT_DONE;
}

int cmd_image_show(struct cli *cli, const struct args *args)
{
	json_t *image = NULL;

	if (!find_id(cli, &find_images, FIND_TO_SHOW, args->pos[0], &image))
		return EXIT_FAILED;
	return cli_show(cli, image, show_image);
}

enum { NAMES_S = 10 };

/* The server says that a release uses it; this says which. */
static void name_users(struct cli *cli, const char *sha256)
{
	json_t *list = cli_try_list(cli, "/v1/releases", NAMES_S), *r, *image;
	size_t i, k;

	json_array_foreach(list, i, r)
	{
		json_array_foreach(js_array(r, "images"), k, image)
		{
			if (strcmp(js_text(image, "sha256", ""), sha256) == 0)
				fprintf(stderr, "        release %s:%s has it\n", js_text(r, "board", "?"),
					js_text(r, "version", "?"));
		}
	}
	json_decref(list);
}

int cmd_image_remove(struct cli *cli, const struct args *args)
{
	char path[200];
	json_t *image = NULL;

	if (!find_id(cli, &find_images, FIND_TO_CHANGE, args->pos[0], &image))
		return EXIT_FAILED;
	bool ok = cli_path(cli, path, sizeof path, "/v1/images/", js_text(image, "sha256", ""), "") &&
		  cli_call(cli, "DELETE", path, NULL, NULL);

	if (ok)
		out_done(cli->json, "removed", js_text(image, "sha256", ""), "");
	else if (!cli->json)
		name_users(cli, js_text(image, "sha256", ""));
	json_decref(image);
	return ok ? EXIT_DONE : EXIT_FAILED;
}

int cmd_image_inspect(struct cli *cli, const struct args *args)
{
	struct inspected in;
	struct errmsg e;
	enum ota_err err = inspect_file(args->pos[0], &in, &e);

	if (err != OTA_OK && !in.file)
		return cli_fail(cli, "%s", e.text);
	json_t *facts = inspect_json(&in);

	if (cli->json) {
		(void)json_object_set_new(facts, "valid", json_boolean(err == OTA_OK));
		if (err != OTA_OK)
			(void)json_object_set_new(facts, "error", json_string(e.text));
		out_json(facts);
	} else {
		show_image(facts);
		if (err == OTA_OK && in.info.hint[0])
			out_field("note", "%s", in.info.hint);
	}
	if (err != OTA_OK)
		(void)cli_fail(cli, "%s", e.text);
	json_decref(facts);
	inspect_release(&in);
	return err == OTA_OK ? EXIT_DONE : EXIT_FAILED;
}
