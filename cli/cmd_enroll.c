#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
#include "cli/show.h"
#include "proto/crypto.h"

static const char *approval(const json_t *secret)
{
	return js_bool(secret, "approve", false) ? "are approved at once" : "wait for: otactl device approve";
}

void cli_secret_revoke(struct cli *cli, const char *id)
{
	char path[200];

	if (path_join(path, sizeof path, "/v1/enroll-secrets/", id, ""))
		(void)cli_call(cli, "DELETE", path, NULL, NULL);
}

/* All that the provisioning files of a batch have in common, as `provision --batch` reads it. */
static int make_batch(struct cli *cli, const char *path, json_t *take_body)
{
	json_t *answer = NULL;
	struct errmsg e;
	int code = EXIT_DONE;

	if (file_check_new(path, &e) != OTA_OK) {
		json_decref(take_body);
		return path[0] ? cli_fail(cli, "%s", e.text) : cli_usage(cli, "%s", e.text);
	}
	if (!cli_call(cli, "POST", "/v1/provisions", take_body, &answer))
		return EXIT_FAILED;
	char *text = json_dumps(answer, JSON_INDENT(2));

	if (!text || file_write_new(path, 0600, text, strlen(text), &e) != OTA_OK)
		code = cli_fail(cli, "%s", text ? e.text : "out of memory");
	if (code != EXIT_DONE)
		cli_secret_revoke(cli, js_text(answer, "secret_id", ""));
	if (text)
		ota_wipe(text, strlen(text));
	free(text);
	if (code == EXIT_DONE) {
		out_file(cli->json, path);
		fprintf(stderr,
			"batch %s: %lld devices of board %s, which %s\n"
			"one file for each of them: otactl provision --batch %s --id SERIAL -o FILE\n",
			js_text(answer, "secret_id", "?"), (long long)js_int(answer, "uses", 0),
			out_safe(js_text(answer, "board", "?")), approval(answer), path);
	}
	json_decref(answer);
	return code;
}

int cmd_enroll_create(struct cli *cli, const struct args *args)
{
	const char *board = args_get(args, "board"), *uses = args_get(args, "uses");
	json_t *answer = NULL, *body = json_object();
	char *end = NULL;

	if (!board) {
		json_decref(body);
		return cli_usage(cli, "--board BOARD is needed: an enrollment secret is for one board");
	}
	long long n = uses ? strtoll(uses, &end, 10) : 1;

	int code = EXIT_DONE;

	if (n < 1 || n > 1000000 || (end && (*end || end == uses)))
		code = cli_usage(cli, "--uses takes a number from 1 to 1000000");
	if (code == EXIT_DONE)
		code = cli_expires(cli, args, body);
	if (code != EXIT_DONE) {
		json_decref(body);
		return code;
	}
	(void)json_object_set_new(body, "board", json_string(board));
	(void)json_object_set_new(body, "uses", json_integer(n));
	(void)json_object_set_new(body, "approve", json_boolean(args_has(args, "approve")));
	if (args_has(args, "output"))
		return make_batch(cli, args_get(args, "output"), body);
	if (!cli_call(cli, "POST", "/v1/enroll-secrets", body, &answer))
		return EXIT_FAILED;
	out_hide();
	if (cli->json) {
		out_json(answer);
	} else {
		out_field("id", "%s", js_text(answer, "id", "?"));
		out_field("secret", "%s", js_text(answer, "secret", "?"));
		out_field("board", "%s", js_text(answer, "board", "?"));
		out_field("uses", "%lld", (long long)js_int(answer, "uses", 0));
	}
	fprintf(stderr, "the secret is shown this once; devices made with it %s\n", approval(answer));
	json_decref(answer);
	return EXIT_DONE;
}

enum { SERIAL_SHOWN = 12 };

/* A file of a serial alone may be for a device that is known, which lost its flash: its new key waits. */
static const char *approves(const json_t *secret, const char *name)
{
	if (!js_bool(secret, "approve", false))
		return "no";
	return !name[0] && js_get(secret, "serial") ? "if new" : "yes";
}

int cmd_enroll_list(struct cli *cli, const struct args *args)
{
	static const char *const head[] = {
		"ID", "BOARD", "FOR", "USES LEFT", "APPROVES", "EXPIRES", "STATE", NULL};
	struct out_table t;
	json_t *list = NULL, *s;
	size_t i;

	(void)args;
	if (!cli_list(cli, "/v1/enroll-secrets", &list))
		return EXIT_FAILED;
	if (cli->json) {
		out_json(list);
	} else {
		out_table_init(&t, head);
		json_array_foreach(list, i, s)
		{
			const char *name = js_text(s, "name", ""), *serial = js_text(s, "serial", "");
			const bool is_long = strlen(serial) > SERIAL_SHOWN;
			char left[48], made_for[SERIAL_SHOWN + 4];

			(void)snprintf(made_for, sizeof made_for, "%.*s%s",
				is_long ? SERIAL_SHOWN - 3 : SERIAL_SHOWN, serial, is_long ? "..." : "");

			(void)snprintf(left, sizeof left, "%lld of %lld",
				(long long)js_int(s, "uses_left", 0), (long long)js_int(s, "uses", 0));
			out_table_row(&t,
				(const char *const[]){js_text(s, "id", "?"), js_text(s, "board", "?"),
					name[0] ? name : made_for, left, approves(s, name),
					js_get(s, "expires") ? out_time(js_int(s, "expires", 0)) : "never",
					show_secret_state(s)});
		}
		out_table_end(&t, "no enrollment secrets");
	}
	json_decref(list);
	return EXIT_DONE;
}

int cmd_enroll_revoke(struct cli *cli, const struct args *args)
{
	const char *text = args->pos[0];
	char path[300];
	json_t *s = NULL;

	if (!find_id(cli, &find_secrets, FIND_TO_CHANGE, text, &s))
		return EXIT_FAILED;
	const char *id = js_text(s, "id", ""), *name = js_text(s, "name", "");
	const bool was_revoked = js_get(s, "revoked") != NULL;
	int code = EXIT_FAILED;

	if (strcmp(text, name) == 0 && !was_revoked && js_int(s, "uses_left", 0) == 0)
		(void)cli_fail(cli,
			"the provisioning file that '%s' was made with is used; another secret is ended by "
			"its "
			"id: otactl enroll list; the device itself: otactl device remove",
			out_safe(name));
	else if (was_revoked || (path_join(path, sizeof path, "/v1/enroll-secrets/", id, "") &&
					cli_call(cli, "DELETE", path, NULL, NULL)))
		code = EXIT_DONE;
	if (code == EXIT_DONE)
		out_done(cli->json, was_revoked && !cli->json ? "revoked already:" : "revoked", id,
			": no further device can enroll with it");
	json_decref(s);
	return code;
}
