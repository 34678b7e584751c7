#include <string.h>
#include <time.h>

#include "cli/show.h"
#include "proto/err.h"

static const char *const states[] = {"running", "served", "trial", "staged", "fetching", "offered", "waiting",
	"failed", "reverted", "timed-out", "superseded", "cancelled", NULL};

/* For each device of a push the number of its last attempt. */
static json_t *last_attempts(const json_t *rows)
{
	json_t *last = json_object(), *row;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)rows, i, row)
	{
		const char *id = js_text(js_get(row, "device"), "id", "?");
		int64_t attempt = js_int(row, "attempt", 1);

		if (attempt > js_int(last, id, 0))
			(void)json_object_set_new(last, id, json_integer(attempt));
	}
	return last;
}

enum { UPDATE_MAX = 36 };

void show_assignments(const json_t *rows)
{
	static const char *const head[] = {"DEVICE", "UPDATE", "RUNNING", "SEEN", "NEXT POLL", NULL};
	struct out_table t;
	json_t *row;
	size_t i;

	bool is_older = false, is_reverted = false;
	json_t *last = last_attempts(rows);

	out_table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)rows, i, row)
	{
		const json_t *d = js_get(row, "device");
		int64_t attempt = js_int(row, "attempt", 1);
		char update[300], attempted[340], runs[120];

		/* What an earlier attempt came to is in the device's log. */
		if (attempt < js_int(last, js_text(d, "id", "?"), 0))
			continue;
		const char *state = show_update(row, update, sizeof update);
		bool is_on_hold = js_bool(d, "hold", false) && js_get(row, "next_poll_by");
		char number[40] = "";

		if (attempt > 1)
			(void)snprintf(number, sizeof number, " (attempt %lld)", (long long)attempt);
		/* The table is 80 columns wide; `status DEVICE` has the number too. */
		if (strlen(state) + strlen(number) > UPDATE_MAX)
			number[0] = '\0';
		(void)snprintf(
			attempted, sizeof attempted, "%s%s%s", state, is_on_hold ? ", on hold" : "", number);
		is_reverted = is_reverted || strcmp(js_text(row, "state", ""), "reverted") == 0;
		is_older = is_older || js_int(row, "detail", 0) == ota_err_detail(OTA_ROLLBACK);

		out_table_row(&t,
			(const char *const[]){show_label(d), attempted, show_running(row, runs, sizeof runs),
				out_ago(js_int(row, "last_seen", 0)),
				js_get(row, "next_poll_by") ? out_by(js_int(row, "next_poll_by", 0)) : "-"});
	}
	out_table_end(&t, "no devices");
	json_decref(last);
	if (is_reverted)
		fprintf(stderr,
			"what went back runs the release it had; once the cause is mended: otactl retry PUSH "
			"offers it again\n");
	if (is_older)
		fprintf(stderr,
			"a device ran a newer release already; to go back push the old image under a new "
			"version: --version V\n");
}

/* Those of `n` that were seen running it: what was reached, and what is now. */
static void count_running(const json_t *rollout, long long n, char *buf, size_t cap)
{
	long long left = n - (long long)js_int(rollout, "gone", 0);

	if (left >= n)
		(void)snprintf(buf, cap, "%lld running", n);
	else if (left > 0)
		(void)snprintf(buf, cap, "%lld ran it, %lld now", n, left);
	else
		(void)snprintf(buf, cap, "%lld ran it, none now", n);
}

const char *show_counts(const json_t *rollout)
{
	static char text[240];
	const json_t *counts = js_get(rollout, "counts");
	size_t used = 0;

	text[0] = '\0';
	for (int i = 0; states[i] && used < sizeof text; i++) {
		long long n = (long long)js_int(counts, states[i], 0),
			  queued = (long long)js_int(rollout, "queued", 0);
		char one[100];

		if (n <= 0)
			continue;
		(void)snprintf(one, sizeof one, "%lld %s", n, states[i]);
		if (strcmp(states[i], "running") == 0)
			count_running(rollout, n, one, sizeof one);
		else if (strcmp(states[i], "waiting") == 0 && queued > 0)
			(void)snprintf(
				one, sizeof one, "%lld waiting (%lld behind another update)", n, queued);
		used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", one);
	}
	return text[0] ? text : "no devices";
}

/* A push that ended is not plainly done where devices do not run it. */
static const char *rollout_state(const json_t *r, char *buf, size_t cap)
{
	static const char *const bad[] = {"failed", "reverted", "timed-out"};
	const char *state = js_text(r, "doing", js_text(r, "state", "?"));
	size_t used = (size_t)snprintf(buf, cap, "%s", state);

	for (size_t i = 0; i < sizeof bad / sizeof bad[0] && strcmp(state, "done") == 0 && used < cap; i++) {
		long long n = (long long)js_int(js_get(r, "counts"), bad[i], 0);

		if (n > 0)
			used += (size_t)snprintf(buf + used, cap - used, ", %lld %s", n, bad[i]);
	}
	return buf;
}

/* What a push that has ended was made with holds nothing back any more. */
static bool is_held(const json_t *r)
{
	return js_bool(r, "hold", false) && strcmp(js_text(r, "state", ""), "open") == 0;
}

void show_rollout(const json_t *r)
{
	char state[120];

	out_field("push", "%s", js_text(r, "id", "?"));
	out_field("release", "%s %s", js_text(r, "board", "?"), js_text(r, "version", "?"));
	out_field("to", "%s", js_text(r, "selector", "all"));
	out_field("state", "%s%s", rollout_state(r, state, sizeof state), is_held(r) ? ", on hold" : "");
	out_field("devices", "%lld: %s%s", (long long)js_int(r, "targets", 0), show_counts(r),
		js_bool(r, "growing", false) ? ", and more to come" : "");
	out_field("made", "%s by %s", out_time(js_int(r, "created", 0)),
		js_text(r, "by_text", js_text(r, "by", "?")));
	if (js_get(r, "superseded_by"))
		out_field("superseded by", "%s", js_text(r, "superseded_by", "?"));
}

void show_rollouts(const json_t *list, const char *none)
{
	static const char *const head[] = {
		"PUSH", "BOARD", "VERSION", "TO", "STATE", "DEVICES", "MADE", NULL};
	struct out_table t;
	json_t *r;
	size_t i;

	out_table_init(&t, head);
	json_array_foreach((json_t *)(uintptr_t)list, i, r)
	{
		char id[9], plain[120], state[140];

		(void)snprintf(id, sizeof id, "%.8s", js_text(r, "id", "?"));
		(void)snprintf(state, sizeof state, "%s%s", rollout_state(r, plain, sizeof plain),
			is_held(r) ? ", on hold" : "");
		out_table_row(&t, (const char *const[]){id, js_text(r, "board", ""),
					  js_text(r, "version", ""), js_text(r, "selector", "all"), state,
					  show_counts(r), out_ago(js_int(r, "created", 0))});
	}
	out_table_end(&t, none);
}
