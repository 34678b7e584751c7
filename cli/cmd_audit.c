#include <string.h>

#include "cli/cmds.h"

int cmd_audit_list(struct cli *cli, const struct args *args)
{
	static const char *const head[] = {"WHEN", "WHO", "FROM", "ACTION", "TARGET", NULL};
	struct out_table t;
	json_t *list = NULL, *a;
	size_t i;

	(void)args;
	if (!cli_list(cli, "/v1/audit", &list))
		return EXIT_FAILED;
	if (cli->json) {
		out_json(list);
	} else {
		out_table_init(&t, head);
		json_array_foreach(list, i, a)
		{
			const char *target = js_text(a, "target", "");
			size_t len = strlen(target);
			char start[13];

			/* An id or a digest: its start is enough, and every command takes it. */
			if (len >= 32 && strspn(target, "0123456789abcdef") == len) {
				(void)snprintf(start, sizeof start, "%.*s", (int)(sizeof start - 1), target);
				target = start;
			}
			out_table_row(
				&t, (const char *const[]){out_time(js_int(a, "at", 0)), js_text(a, "who", ""),
					    js_text(a, "from", ""), js_text(a, "action", ""), target});
		}
		out_table_end(&t, "nothing was done yet");
	}
	json_decref(list);
	return EXIT_DONE;
}
