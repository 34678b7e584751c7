#include "cli/find.h"

#include <string.h>

#include "cli/file.h"

bool find_rollout(struct cli *cli, const char *text, json_t **out)
{
	json_t *list = NULL, *r, *hit = NULL;
	size_t i, n = 0;

	if (!cli_list(cli, "/v1/rollouts", &list))
		return false;
	json_array_foreach(list, i, r)
	{
		if (text[0] && strncmp(js_text(r, "id", ""), text, strlen(text)) == 0) {
			hit = r;
			n++;
		}
	}
	if (n == 1)
		*out = json_incref(hit);
	else
		(void)cli_fail(cli,
			n ? "'%s' is the start of several pushes: give more of the id"
			  : "no push '%s'; see: otactl rollout list",
			out_safe(text));
	json_decref(list);
	return n == 1;
}

bool find_release(struct cli *cli, const char *text, json_t **out)
{
	const char *colon = strchr(text, ':'), *version = colon ? colon + 1 : text;
	char board[64] = "";
	json_t *list = NULL, *r, *hit = NULL;
	size_t i, n = 0;

	if (colon)
		(void)snprintf(board, sizeof board, "%.*s", (int)(colon - text), text);
	if (!cli_list(cli, "/v1/releases", &list))
		return false;
	json_array_foreach(list, i, r)
	{
		if (strcmp(js_text(r, "version", ""), version) == 0 &&
			(!board[0] || strcmp(js_text(r, "board", ""), board) == 0)) {
			hit = r;
			n++;
		}
	}
	if (n == 1)
		*out = json_incref(hit);
	else if (n > 1)
		(void)cli_fail(cli, "several boards have a release %s: write BOARD:%s", out_safe(version),
			out_safe(version));
	else
		(void)cli_fail(cli, "no release '%s'; see: otactl release list", out_safe(text));
	json_decref(list);
	return n == 1;
}
