#include <stdlib.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/find.h"
#include "cli/show.h"

int cmd_token_create(struct cli *cli, const struct args *args)
{
	const char *role = args_get(args, "role");
	json_t *answer = NULL,
	       *body = json_pack("{s:s, s:s}", "name", args->pos[0], "role", role ? role : "viewer");

	if (cli_expires(cli, args, body) != EXIT_DONE) {
		json_decref(body);
		return EXIT_USAGE;
	}
	if (!cli_call(cli, "POST", "/v1/tokens", body, &answer))
		return EXIT_FAILED;
	out_hide();
	if (cli->json) {
		out_json(answer);
	} else {
		printf("%s\n", out_safe(js_text(answer, "token", "?")));
		fprintf(stderr, "token %s, role %s: shown this once, keep it\n", js_text(answer, "id", "?"),
			js_text(answer, "role", "?"));
	}
	json_decref(answer);
	return EXIT_DONE;
}

int cmd_token_list(struct cli *cli, const struct args *args)
{
	static const char *const head[] = {"ID", "NAME", "ROLE", "EXPIRES", "LAST USED", "STATE", NULL};
	struct out_table t;
	json_t *list = NULL, *k;
	size_t i;

	(void)args;
	if (!cli_list(cli, "/v1/tokens", &list))
		return EXIT_FAILED;
	if (cli->json) {
		out_json(list);
	} else {
		out_table_init(&t, head);
		json_array_foreach(list, i, k)
		{
			out_table_row(&t,
				(const char *const[]){js_text(k, "id", "?"), js_text(k, "name", ""),
					js_text(k, "role", ""),
					js_get(k, "expires") ? out_time(js_int(k, "expires", 0)) : "never",
					out_ago(js_int(k, "used", 0)), show_token_state(k)});
		}
		out_table_end(&t, "no tokens");
	}
	json_decref(list);
	return EXIT_DONE;
}

int cmd_token_revoke(struct cli *cli, const struct args *args)
{
	char path[300];
	json_t *k = NULL;

	if (!find_id(cli, &find_tokens, FIND_TO_CHANGE, args->pos[0], &k))
		return EXIT_FAILED;
	const bool was_revoked = js_get(k, "revoked") != NULL;
	bool ok = was_revoked || (path_join(path, sizeof path, "/v1/tokens/", js_text(k, "id", ""), "") &&
					 cli_call(cli, "DELETE", path, NULL, NULL));

	if (ok)
		out_done(cli->json, was_revoked && !cli->json ? "revoked already:" : "revoked",
			js_text(k, "id", ""), "");
	json_decref(k);
	return ok ? EXIT_DONE : EXIT_FAILED;
}
