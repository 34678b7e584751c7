#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/file.h"
#include "cli/push.h"
#include "cli/show.h"
#include "proto/state.h"

static int64_t now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* Refresh every push object. False after the reason was printed. */
static bool refresh(struct cli *cli, json_t *rollouts)
{
	json_t *r;
	size_t i;

	json_array_foreach(rollouts, i, r)
	{
		json_t *fresh = NULL;
		char path[120];

		if (!cli_path(cli, path, sizeof path, "/v1/rollouts/", js_text(r, "id", ""), "") ||
			!cli_call(cli, "GET", path, NULL, &fresh))
			return false;
		(void)json_array_set_new(rollouts, i, fresh);
	}
	return true;
}

static int64_t count_in(const json_t *rollouts, bool want_open, enum assign_state only)
{
	int64_t n = 0;
	json_t *r;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)rollouts, i, r)
	{
		for (int s = 0; s < ASSIGN_STATES; s++) {
			bool is_counted = want_open ? assign_state_is_open((enum assign_state)s)
						    : s == (int)only;

			if (is_counted)
				n += js_int(js_get(r, "counts"), assign_state_name((enum assign_state)s), 0);
		}
	}
	return n;
}

static int64_t targets_of(const json_t *rollouts)
{
	int64_t n = 0;
	json_t *r;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)rollouts, i, r) n += js_int(r, "targets", 0);
	return n;
}

/* Are there devices that it has not got to yet, or not again? */
static bool is_growing(const json_t *rollouts)
{
	json_t *r;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)rollouts, i, r)
	{
		if (js_bool(r, "growing", false) || strcmp(js_text(r, "doing", ""), "retrying") == 0)
			return true;
	}
	return false;
}

static void show_progress(const struct cli *cli, const json_t *rollouts, char last[200])
{
	char line[200] = "";
	json_t *r;
	size_t i, used = 0;

	json_array_foreach((json_t *)(uintptr_t)rollouts, i, r)
	{
		if (used < sizeof line)
			used += (size_t)snprintf(
				line + used, sizeof line - used, "%s%s", used ? "; " : "", show_counts(r));
	}
	if (strcmp(line, last) == 0)
		return;
	memcpy(last, line, sizeof line);
	if (cli->is_tty)
		fprintf(stderr, "\r\033[K%s", line);
	else
		fprintf(stderr, "%s\n", line);
	(void)fflush(stderr);
}

enum link { LINK_UP, LINK_LOST, LINK_REFUSED };

/* The server did not say what changed. One that is gone or busy comes back; a token that it does not take any
 * more stays refused. */
static enum link lose(struct cli *cli, enum link was, enum ota_err err, const char *path,
	const struct client_answer *a, const struct errmsg *e)
{
	const struct timespec one = {1, 0};

	if (err == OTA_OK && (a->status == 401 || a->status == 403)) {
		(void)cli_problem(cli, "GET", path, a);
		return LINK_REFUSED;
	}
	if (was == LINK_UP && err != OTA_OK)
		fprintf(stderr, "%s; waiting for it\n", e->text);
	else if (was == LINK_UP)
		fprintf(stderr, "%s is busy (%ld); waiting for it\n", client_name(cli->client), a->status);
	(void)nanosleep(&one, NULL);
	return LINK_LOST;
}

/* Sleep on the server until something changes; `*seq` follows. Falls back to one look a second by error.
 * False when there is nothing to wait for any more: interrupted, or refused. */
static bool await_change(struct cli *cli, int64_t *seq, int64_t left_s, enum link *link)
{
	struct client_answer a = {.upload_offset = -1};
	struct errmsg e;
	char path[100];
	int64_t wait = left_s > 25 || left_s <= 0 ? 25 : left_s;

	(void)snprintf(path, sizeof path, "/v1/changes?after=%" PRId64 "&wait=%" PRId64, *seq, wait);
	enum ota_err err = client_call(cli->client, "GET", path, NULL, NULL, 0, (long)wait + 20, &a, &e);

	if (err == OTA_OK && a.status == 200) {
		json_t *o = json_loadb(a.body, a.len, 0, NULL);

		*seq = js_int(o, "seq", *seq);
		json_decref(o);
		*link = LINK_UP;
	} else if (err != OTA_WITHDRAWN) {
		*link = lose(cli, *link, err, path, &a, &e);
	}
	client_answer_clear(&a);
	return !client_interrupted && *link != LINK_REFUSED;
}

/* Of each push every device, where the server says it. False after the reason why not was printed: then there
 * is no table, which would leave devices out. */
static bool closing_table(struct cli *cli, json_t *rollouts)
{
	json_t *r, *all = json_array();
	bool ok = true;
	size_t i;

	json_array_foreach(rollouts, i, r)
	{
		json_t *rows = NULL;
		char path[140];

		ok = ok &&
		     cli_path(
			     cli, path, sizeof path, "/v1/rollouts/", js_text(r, "id", ""), "/assignments") &&
		     cli_list(cli, path, &rows);
		if (rows && cli->json)
			(void)json_object_set(r, "assignments", rows);
		if (rows)
			(void)json_array_extend(all, rows);
		json_decref(rows);
	}
	if (cli->json)
		out_json(rollouts);
	else if (ok)
		show_assignments(all);
	json_decref(all);
	return ok;
}

static void print_follow(const json_t *rollouts)
{
	json_t *r;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)rollouts, i, r) fprintf(stderr,
		"the push goes on; follow it: otactl status %.8s   withdraw it: otactl cancel %.8s\n",
		js_text(r, "id", ""), js_text(r, "id", ""));
}

enum { QUIET_S = 20, AGAIN_S = 60, NAMED_MAX = 5, INTERVAL_S = 300, NAMES_S = 10 };

/* The waiting devices of one push, the first few by name. `*due` becomes the earliest time at which one of
 * them has to have looked, where that is still to come. */
static void name_waiting(struct cli *cli, const json_t *rollout, bool is_again, int64_t *due)
{
	json_t *rows = NULL, *row;
	char path[140];
	size_t i, n = 0;

	if (!cli_path(cli, path, sizeof path, "/v1/rollouts/", js_text(rollout, "id", ""), "/assignments"))
		return;
	rows = cli_try_list(cli, path, NAMES_S);
	json_array_foreach(rows, i, row)
	{
		const json_t *d = js_get(row, "device");
		int64_t by = js_int(row, "next_poll_by", 0), now = time(NULL);

		if (strcmp(js_text(row, "state", ""), "waiting") != 0)
			continue;
		if (by > now && (!*due || by < *due))
			*due = by;
		if (n++ >= NAMED_MAX)
			continue;
		fprintf(stderr, "%s: %slast seen %s", show_label(d), is_again ? "still not seen; " : "",
			out_ago(js_int(row, "last_seen", 0)));
		if (js_bool(d, "hold", false))
			fputs(", on hold: it installs nothing", stderr);
		else if (by)
			fprintf(stderr, ", its next look %s%s", by > now ? "" : "was ", out_by(by));
		fputc('\n', stderr);
	}
	if (n > NAMED_MAX)
		fprintf(stderr, "and %zu more: otactl status %.8s\n", n - NAMED_MAX,
			js_text(rollout, "id", ""));
	json_decref(rows);
}

/* When nothing was heard for a while: a device may look minutes from now. Returns after how many seconds to
 * say it again: once what is due has passed. */
static int64_t explain_silence(struct cli *cli, const json_t *rollouts, bool is_again)
{
	int64_t due = 0, left;
	json_t *r;
	size_t i;

	if (cli->is_tty)
		fputc('\n', stderr);
	if (!is_again)
		fputs("a device takes it when it checks in next, a connected one within a minute (Ctrl-C "
		      "ends the "
		      "waiting only)\n",
			stderr);
	json_array_foreach((json_t *)(uintptr_t)rollouts, i, r) name_waiting(cli, r, is_again, &due);
	left = due ? due - (int64_t)time(NULL) + 1 : INTERVAL_S;
	return left > AGAIN_S ? left : AGAIN_S;
}

/* What had ended before the waiting began, and is not waited for: all zeros for a push. */
struct ended_before {
	int64_t targets, running, served;
	bool is_superseded;
};

/* A retry is for those that are open behind it; what became of the others is known. */
static struct ended_before not_retried(const json_t *rollouts)
{
	const json_t *r = json_array_get(rollouts, 0);

	return (struct ended_before){
		.targets = targets_of(rollouts) - count_in(rollouts, true, ASSIGN_WAITING),
		.running = count_in(rollouts, false, ASSIGN_RUNNING),
		.served = count_in(rollouts, false, ASSIGN_SERVED),
		.is_superseded = js_get(r, "superseded_by") != NULL,
	};
}

/* How it ended, and whether that is what was waited for. */
static int tell_end(struct cli *cli, json_t *rollouts, const struct ended_before *before, bool is_late,
	bool accept_served)
{
	const bool is_told = closing_table(cli, rollouts);
	int64_t running = count_in(rollouts, false, ASSIGN_RUNNING) - before->running,
		served = count_in(rollouts, false, ASSIGN_SERVED) - before->served;
	int64_t targets = targets_of(rollouts) - before->targets;
	json_t *r;
	size_t i;

	if (is_late) {
		fprintf(stderr, "otactl: not done in time: %" PRId64 " of %" PRId64 " seen running it\n",
			running, targets);
		print_follow(rollouts);
		return EXIT_FAILED;
	}
	json_array_foreach(rollouts, i, r)
	{
		if (js_get(r, "superseded_by") && !before->is_superseded)
			fprintf(stderr, "otactl: push %.8s was superseded by %s\n", js_text(r, "id", ""),
				out_safe(js_text(r, "superseded_by", "?")));
	}
	if (running + (accept_served ? served : 0) == targets && targets > 0) {
		if (!cli->json)
			printf("%" PRId64 " of %" PRId64 " seen running it%s\n", running, targets,
				served ? ", the rest served" : "");
		return is_told ? EXIT_DONE : EXIT_FAILED;
	}
	fprintf(stderr, "otactl: %" PRId64 " of %" PRId64 " seen running it", running, targets);
	if (served)
		fprintf(stderr, ", %" PRId64 " served (they can tell no more; --accept-served takes that)",
			served);
	fputc('\n', stderr);
	return EXIT_FAILED;
}

int push_wait_options(const struct cli *cli, const struct args *args, long long *timeout_s)
{
	const char *timeout = args_get(args, "timeout");

	*timeout_s = 0;
	if (!args_has(args, "wait") && (timeout || args_has(args, "accept-served")))
		return cli_usage(cli, "--%s is for a push that waits: add --wait",
			timeout ? "timeout" : "accept-served");
	if (timeout && (!args_duration(timeout, timeout_s) || *timeout_s == 0))
		return cli_usage(cli, "--timeout takes a time such as 90s or 15m");
	return EXIT_DONE;
}

int push_wait(struct cli *cli, json_t *rollouts, long long timeout_s, bool accept_served, bool is_retry)
{
	/* The second that has begun is none of them. */
	int64_t end = timeout_s ? now_s() + timeout_s + 1 : 0, seq = 0;
	int64_t explain_at = now_s() + QUIET_S;
	bool is_late = false, is_explained = false;
	struct ended_before before = {0};
	enum link link = LINK_UP;
	char last[200] = "";

	for (;;) {
		if (link == LINK_UP && !refresh(cli, rollouts)) {
			if (client_interrupted)
				break;
			link = LINK_LOST;
		}
		if (link == LINK_UP) {
			if (is_retry && !is_growing(rollouts))
				before = not_retried(rollouts);
			is_retry = is_retry && is_growing(rollouts);
			show_progress(cli, rollouts, last);
			if (count_in(rollouts, true, ASSIGN_WAITING) == 0 && !is_growing(rollouts))
				break;
			if (now_s() >= explain_at && count_in(rollouts, false, ASSIGN_WAITING) > 0) {
				explain_at = now_s() + explain_silence(cli, rollouts, is_explained);
				is_explained = true;
			}
		}
		is_late = end && now_s() >= end;
		if (is_late || !await_change(cli, &seq, end ? end - now_s() : 0, &link))
			break;
	}
	if (cli->is_tty)
		fputc('\n', stderr);
	if (!client_interrupted && link != LINK_REFUSED)
		return tell_end(cli, rollouts, &before, is_late, accept_served);
	if (cli->json)
		out_json(rollouts);
	print_follow(rollouts);
	return EXIT_FAILED;
}
