#include <string.h>

#include "cli/cmds.h"

/* "root (socket)", "admin (192.0.2.7)", "otad": the name, and where from. */
static const char *who_text(const json_t *a, char *buf, size_t cap)
{
	const char *who = js_text(a, "who", ""), *from = js_text(a, "from", "");

	if (strncmp(who, "socket:", strlen("socket:")) == 0)
		return js_text(a, "who_text", who);
	(void)snprintf(buf, cap, "%s%s%s%s", who, from[0] ? " (" : "", from, from[0] ? ")" : "");
	return buf;
}

int cmd_audit_list(struct cli *cli, const struct args *args)
{
	static const char *const head[] = {"WHEN", "WHO", "ACTION", "TARGET", NULL};
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
			char start[13], who[200];

			/* An id or a digest: its start is enough, and every command takes it. */
			if (len >= 32 && strspn(target, "0123456789abcdef") == len) {
				(void)snprintf(start, sizeof start, "%.*s", (int)(sizeof start - 1), target);
				target = start;
			}
			out_table_row(
				&t, (const char *const[]){out_time(js_int(a, "at", 0)),
					    who_text(a, who, sizeof who), js_text(a, "action", ""), target});
		}
		out_table_end(&t, "nothing was done yet");
	}
	json_decref(list);
	return EXIT_DONE;
}
