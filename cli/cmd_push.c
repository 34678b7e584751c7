#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cmds.h"
#include "cli/file.h"
#include "cli/push.h"
#include "cli/show.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "proto/limits.h"

struct push {
	int n;
	struct push_file file[PUSH_FILES_MAX];
	json_t *boards;
	char version[LIMIT_VERSION + 1];
	bool is_timed;        /* the version is the time, for want of a better one */
	bool is_again;        /* the version is that of the newest release, which has these bytes */
	const char *selector; /* NULL: nothing is assigned */
	bool is_dry;          /* only say what would happen */
	bool no_broker;       /* it is there to wake devices, and away */
	json_t *preview;      /* for programs: what would happen, a row for each board */
};

static int open_files(struct cli *cli, const struct args *args, struct push *p)
{
	struct errmsg e;
	bool has_stdin = false;
	const char *board = args_get(args, "board");

	if (board && !push_board(cli, p->boards, board))
		return EXIT_FAILED;
	if (args->n > PUSH_FILES_MAX)
		return cli_usage(cli, "at most %d files in one push", PUSH_FILES_MAX);
	for (; p->n < args->n; p->n++) {
		struct push_file *f = &p->file[p->n];

		if (!push_parse(args->pos[p->n], f))
			return cli_usage(
				cli, "'%s': expected [BOARD:][COMPONENT[.VARIANT]=]FILE", args->pos[p->n]);
		if (!f->board[0])
			(void)snprintf(f->board, sizeof f->board, "%s", board ? board : "");
		if (strcmp(f->path, "-") == 0 && has_stdin)
			return cli_usage(cli, "standard input can be only one of the files");
		has_stdin = has_stdin || strcmp(f->path, "-") == 0;
		enum ota_err err = inspect_file(f->path, &f->in, &e);

		if (err != OTA_OK) {
			inspect_release(&f->in);
			(void)cli_fail(cli, "%s", e.text);
			if (p->n > 0)
				cli_hint("each argument is a file; devices are said with --to or --all");
			return EXIT_FAILED;
		}
		fprintf(stderr, "%s: %s, %s\n", strcmp(f->path, "-") == 0 ? "standard input" : f->path,
			f->in.info.format == IMAGE_RAW ? "not recognised" : f->in.describe,
			out_size((int64_t)f->in.size));
		int code = push_resolve(cli, f, p->boards);

		if (code != EXIT_DONE) {
			inspect_release(&f->in);
			return code;
		}
	}
	return EXIT_DONE;
}

/* Does the release hold just the files of its board? */
static bool has_same_bytes(const struct push *p, const json_t *release)
{
	json_t *images = js_array(release, "images"), *image;
	size_t n = 0, same = 0, k;

	for (int i = 0; i < p->n; i++) {
		if (strcmp(p->file[i].board, js_text(release, "board", "")) != 0)
			continue;
		n++;
		json_array_foreach(images, k, image)
			same += strcmp(js_text(image, "sha256", ""), p->file[i].in.sha256_hex) == 0;
	}
	return n == same && n == json_array_size(images);
}

static void mark_released(struct push *p, const char *board)
{
	for (int i = 0; i < p->n; i++)
		p->file[i].is_released = p->file[i].is_released || strcmp(p->file[i].board, board) == 0;
}

/* A version means one set of bytes for ever. A chosen one that is taken ends the push before anything is
 * sent; one that is only the time gets a number behind. */
static int free_version(struct cli *cli, struct push *p)
{
	json_t *list = NULL, *r;
	size_t i;
	int code = EXIT_DONE, number = 1;
	const size_t len = strlen(p->version);

	if (!cli_list(cli, "/v1/releases", &list))
		return EXIT_FAILED;
	for (bool is_free = false; !is_free && code == EXIT_DONE;) {
		is_free = true;
		json_array_foreach(list, i, r)
		{
			bool is_ours = false;

			for (int k = 0; k < p->n; k++)
				is_ours = is_ours || strcmp(p->file[k].board, js_text(r, "board", "")) == 0;
			if (!is_ours || strcmp(js_text(r, "version", ""), p->version) != 0)
				continue;
			if (!p->is_timed && has_same_bytes(p, r)) {
				mark_released(p, js_text(r, "board", ""));
				continue;
			}
			is_free = false;
			if (!p->is_timed)
				code = cli_fail(cli,
					"release %s %s exists with other bytes: say another --version; "
					"nothing was uploaded",
					js_text(r, "board", "?"), out_safe(p->version));
			else
				(void)snprintf(p->version + len, sizeof p->version - len, "-%d", ++number);
			break;
		}
	}
	json_decref(list);
	return code;
}

/* The newest release of `board` in `list`; NULL: none. */
static json_t *newest_of(const json_t *list, const char *board)
{
	json_t *r, *newest = NULL;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, r)
	{
		if (strcmp(js_text(r, "board", ""), board) == 0 &&
			(!newest || js_int(r, "sequence", 0) > js_int(newest, "sequence", 0)))
			newest = r;
	}
	return newest;
}

/* The version for want of a better one: that of the newest release, where it has these bytes and the push is
 * only run again, else the time. An older release with these bytes is not taken: devices that ran a newer one
 * would refuse it, while as a new release they take it. */
static int version_without_name(struct cli *cli, struct push *p)
{
	json_t *list = NULL;
	const char *version = NULL;
	bool is_again = true;

	if (!cli_list(cli, "/v1/releases", &list))
		return EXIT_FAILED;
	for (int i = 0; i < p->n && is_again; i++) {
		json_t *newest = newest_of(list, p->file[i].board);
		const char *v = js_text(newest, "version", "");

		is_again = newest && has_same_bytes(p, newest) && (!version || strcmp(version, v) == 0);
		version = v;
	}
	if (is_again && version) {
		(void)snprintf(p->version, sizeof p->version, "%s", version);
		p->is_again = true;
	} else {
		time_t now = time(NULL);
		struct tm tm;

		(void)strftime(p->version, sizeof p->version, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
		p->is_timed = true;
	}
	json_decref(list);
	return EXIT_DONE;
}

static int choose_version(struct cli *cli, const struct args *args, struct push *p)
{
	const char *given = args_get(args, "version");
	const char *said = given;

	for (int i = 0; !given && i < p->n; i++) {
		const char *v = p->file[i].in.info.version;

		if (!v[0])
			continue;
		if (said && strcmp(said, v) != 0)
			return cli_usage(cli,
				"the files say different versions (%s, %s): choose with --version", said, v);
		said = v;
	}
	if (said && !limit_version_is_valid(said))
		return cli_usage(cli,
			"version '%s': a version is 1 to %d printable characters without spaces and / \" \\ "
			", =%s",
			out_safe(said), LIMIT_VERSION, given ? "" : "; choose one with --version");
	int code = EXIT_DONE;

	if (said)
		(void)snprintf(p->version, sizeof p->version, "%s", said);
	else
		code = version_without_name(cli, p);
	if (code == EXIT_DONE)
		code = free_version(cli, p);

	if (code == EXIT_DONE)
		fprintf(stderr, "version: %s%s\n", out_safe(p->version),
			given         ? ""
			: said        ? " (the image says so)"
			: p->is_again ? " (already a release: these bytes)"
				      : " (the time: the image says none)");
	return code;
}

/* The first file of each board stands for it. */
static bool is_first_of_board(const struct push *p, int i)
{
	for (int k = 0; k < i; k++) {
		if (strcmp(p->file[k].board, p->file[i].board) == 0)
			return false;
	}
	return true;
}

/* Devices refuse what is older than what they ran; those that say so already are told before anything is
 * sent. A release that is still to be made is newer than all of them. */
static void tell_newer(const struct push *p, const json_t *s)
{
	long long n = (long long)js_int(s, "newer", 0);
	json_t *d, *items = js_array(s, "newer_items");
	char names[300] = "";
	size_t i, used = 0;

	if (n == 0)
		return;
	json_array_foreach(items, i, d)
	{
		if (used < sizeof names)
			used += (size_t)snprintf(names + used, sizeof names - used, "%s%s (%s)",
				i ? ", " : "", js_text(d, "name", "?"),
				js_text(d, "version", "a release unknown here"));
	}
	fprintf(stderr,
		"warning: %lld of them run%s a newer release and will refuse this one: %s%s\n"
		"         to go back push the same file under a new version: --version %s-again\n",
		n, n == 1 ? "s" : "", out_safe(names), n > (long long)json_array_size(items) ? ", ..." : "",
		out_safe(p->version));
}

/* What the server says of who would get the part of board `f`; NULL after the reason was printed. */
static json_t *selection_of(struct cli *cli, const struct push *p, const struct push_file *f)
{
	char head[1100], path[1300], id[140], more[500] = "";
	json_t *s = NULL;

	(void)snprintf(id, sizeof id, "%s:%s", f->board, p->version);
	if (f->is_released && !path_join(more, sizeof more, "&release=", id, "")) {
		(void)cli_usage(cli, "the version is too long");
		return NULL;
	}
	if (!path_join(head, sizeof head, "/v1/selection?board=", f->board, "&selector=") ||
		!path_join(path, sizeof path, head, p->selector, more)) {
		(void)cli_usage(cli, "the selector is empty or too long");
		return NULL;
	}
	return cli_call(cli, "GET", path, NULL, &s) ? s : NULL;
}

static int check_board(struct cli *cli, struct push *p, const struct push_file *f)
{
	json_t *s = selection_of(cli, p, f);

	if (!s)
		return EXIT_FAILED;
	long long n = (long long)js_int(s, "approved", 0), held = (long long)js_int(s, "held", 0),
		  others = (long long)js_int(s, "count", 0) - n;
	int code = EXIT_DONE;

	if (n == 0 && others > 0) {
		code = cli_fail(cli,
			"no approved device of board %s is selected: nothing was uploaded; %lld %s approval "
			"or %s revoked: otactl device list",
			f->board, others, others == 1 ? "waits for" : "wait for", others == 1 ? "is" : "are");
	} else if (n == 0) {
		code = cli_fail(cli,
			"no approved device of board %s is selected: nothing was uploaded; see: "
			"otactl device list",
			f->board);
	} else {
		char waits[60] = "";

		if (held)
			(void)snprintf(waits, sizeof waits, " (%lld on hold: fetched, not installed)", held);
		fprintf(stderr, "to: %lld device%s of board %s%s\n", n, n == 1 ? "" : "s", f->board, waits);
		tell_newer(p, s);
		(void)json_array_append_new(p->preview,
			json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:O}", "board", f->board, "version",
				p->version, "is_released", f->is_released, "devices", (json_int_t)n, "held",
				(json_int_t)held, "newer", (json_int_t)js_int(s, "newer", 0), "newer_items",
				js_array(s, "newer_items")));
	}
	if (n == 0 && js_get(s, "hint"))
		cli_hint("%s", out_safe(js_text(s, "hint", "")));
	long long newer = (long long)js_int(s, "newer", 0);

	json_decref(s);
	if (code == EXIT_DONE && newer && !p->is_dry && !cli->yes) {
		code = cli_confirm_final(cli, "Push it all the same?");
	}
	if (code == EXIT_DONE && strcmp(p->selector, "all") == 0 && !p->is_dry &&
		!cli_confirm(cli, "Push %s to all %lld device%s of %s?", p->version, n, n == 1 ? "" : "s",
			f->board))
		return cli_fail(cli, "nothing was done");
	return code;
}

/* How many devices each board's part would reach; an empty one stops the push before anything is sent. */
static int check_selection(struct cli *cli, struct push *p)
{
	int code = EXIT_DONE;

	for (int i = 0; i < p->n && code == EXIT_DONE; i++) {
		if (is_first_of_board(p, i))
			code = check_board(cli, p, &p->file[i]);
	}
	return code;
}

static json_t *make_release(struct cli *cli, const struct args *args, const struct push *p, const char *board)
{
	json_t *images = json_array(), *answer = NULL;
	json_t *body = json_pack("{s:s, s:s, s:o}", "board", board, "version", p->version, "images", images);

	for (int i = 0; i < p->n; i++) {
		const struct push_file *f = &p->file[i];

		if (strcmp(f->board, board) == 0)
			(void)json_array_append_new(
				images, json_pack("{s:s, s:s, s:s}", "component", f->component, "variant",
						f->variant, "sha256", f->in.sha256_hex));
	}
	if (args_has(args, "notes"))
		(void)json_object_set_new(body, "notes", json_string(args_get(args, "notes")));
	return cli_call(cli, "POST", "/v1/releases", body, &answer) ? answer : NULL;
}

static json_t *make_rollout(
	struct cli *cli, const struct args *args, const struct push *p, const json_t *release)
{
	uint8_t random[16];
	char path[80] = "/v1/rollouts/";
	json_t *answer = NULL;

	if (crypto_random(random, sizeof random) != OTA_OK) {
		(void)cli_fail(cli, "no random numbers");
		return NULL;
	}
	hex_encode(random, sizeof random, path + strlen(path));
	json_t *body = json_pack("{s:s, s:s, s:b}", "release", js_text(release, "id", ""), "selector",
		p->selector, "hold", args_has(args, "hold"));

	if (!cli_call(cli, "PUT", path, body, &answer))
		return NULL;
	if (js_int(answer, "unsure", 0) > 0)
		fprintf(stderr,
			"%lld may still install what they were told before: the last ticket there is good "
			"until %s; this comes after it\n",
			(long long)js_int(answer, "unsure", 0), out_time(js_int(answer, "until", 0)));
	return answer;
}

/* Upload, release, assign. `*rollouts` gets the push objects. */
static int carry_out(
	struct cli *cli, const struct args *args, struct push *p, json_t *releases, json_t *rollouts)
{
	for (int i = 0; i < p->n; i++) {
		if (!push_upload(cli, &p->file[i]))
			return EXIT_FAILED;
	}
	/* All releases before the first assignment: a refused second board must not leave half a push. */
	for (int i = 0; i < p->n; i++) {
		json_t *r = is_first_of_board(p, i) ? make_release(cli, args, p, p->file[i].board) : NULL;

		if (r) {
			fprintf(stderr, "release: %s %s, sequence %lld, %s\n", js_text(r, "board", "?"),
				out_safe(js_text(r, "version", "?")), (long long)js_int(r, "sequence", 0),
				js_text(r, "state", "?"));
			(void)json_array_append_new(releases, r);
		} else if (is_first_of_board(p, i)) {
			return EXIT_FAILED;
		}
	}
	for (size_t i = 0; p->selector && i < json_array_size(releases); i++) {
		json_t *r = make_rollout(cli, args, p, json_array_get(releases, i));

		if (!r)
			return EXIT_FAILED;
		fprintf(stderr, "push: %.8s to %lld device%s\n", js_text(r, "id", "?"),
			(long long)js_int(r, "targets", 0), js_int(r, "targets", 0) == 1 ? "" : "s");
		if (js_int(r, "queued", 0) > 0)
			fprintf(stderr, "of them %lld once the update under way there has ended\n",
				(long long)js_int(r, "queued", 0));
		(void)json_array_append_new(rollouts, r);
	}
	return EXIT_DONE;
}

/* Without a root no release can be made: said before anything is uploaded for one. */
static int check_root(struct cli *cli, struct push *p)
{
	json_t *server = NULL;

	if (!cli_call(cli, "GET", "/v1/server", NULL, &server))
		return EXIT_FAILED;
	long long root = (long long)js_int(server, "root_version", 0);
	const char *broker = js_text(js_get(server, "broker"), "state", "");

	p->no_broker = strcmp(broker, "connecting") == 0 || strcmp(broker, "refused") == 0;
	json_decref(server);
	return root > 0 ? EXIT_DONE : cli_fail(cli, "no root yet: run otactl init; nothing was uploaded");
}

static void tell_held(const json_t *rollouts, bool is_waiting)
{
	json_t *r;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)rollouts, i, r)
		fprintf(stderr, "on hold; let it install%s: otactl rollout unhold %.8s\n",
			is_waiting ? ", which is waited for" : "", js_text(r, "id", "?"));
}

static int run_push(struct cli *cli, const struct args *args, struct push *p, long long timeout_s)
{
	json_t *releases, *rollouts;
	int code = open_files(cli, args, p);

	if (code == EXIT_DONE)
		code = push_check_sets(cli, p->file, p->n, p->boards);
	if (code == EXIT_DONE)
		code = choose_version(cli, args, p);
	if (code == EXIT_DONE)
		code = check_root(cli, p);
	if (code == EXIT_DONE && p->selector)
		code = check_selection(cli, p);
	if (code != EXIT_DONE)
		return code;
	for (int i = 0; i < p->n && p->is_dry && !p->selector; i++) {
		if (is_first_of_board(p, i))
			(void)json_array_append_new(p->preview,
				json_pack("{s:s, s:s, s:b, s:i}", "board", p->file[i].board, "version",
					p->version, "is_released", p->file[i].is_released, "devices", 0));
	}
	if (p->is_dry) {
		if (cli->json)
			out_json(p->preview);
		else
			puts("dry run: nothing was uploaded or changed");
		return EXIT_DONE;
	}
	releases = json_array();
	rollouts = json_array();
	code = carry_out(cli, args, p, releases, rollouts);
	if (code == EXIT_DONE && !p->selector)
		fprintf(stderr, "nothing was assigned: add --all or --to SELECTOR to send it to devices\n");
	if (code == EXIT_DONE && p->selector && p->no_broker)
		fprintf(stderr, "the broker is away: devices learn of it at their next poll\n");
	if (code == EXIT_DONE && args_has(args, "hold"))
		tell_held(rollouts, args_has(args, "wait"));
	if (code == EXIT_DONE && args_has(args, "wait") && p->selector)
		code = push_wait(cli, rollouts, timeout_s, args_has(args, "accept-served"), false);
	else if (code == EXIT_DONE && cli->json)
		out_json(p->selector ? rollouts : releases);
	else if (code == EXIT_DONE && p->selector)
		printf("follow it: otactl status %.8s\n", js_text(json_array_get(rollouts, 0), "id", "?"));
	json_decref(releases);
	json_decref(rollouts);
	return code;
}

/* The server would refuse them with the release, when the images have been sent already. */
static int check_notes(struct cli *cli, const char *notes)
{
	if (!notes)
		return EXIT_DONE;
	if (strlen(notes) > LIMIT_TEXT)
		return cli_usage(cli, "--notes: %zu bytes, at most %d are kept; nothing was uploaded",
			strlen(notes), LIMIT_TEXT);
	if (!limit_text_is_plain(notes, true))
		return cli_usage(cli, "--notes takes plain UTF-8 text without control characters");
	return EXIT_DONE;
}

int cmd_push(struct cli *cli, const struct args *args)
{
	const char *to = args_get(args, "to");
	struct push *p = NULL;
	long long timeout_s;
	json_t *boards = NULL;
	int code;

	if (to && args_has(args, "all"))
		return cli_usage(cli, "--to and --all exclude each other");
	if (to && !to[0])
		return cli_usage(cli, "--to needs a selector, for example tag=kitchen");
	if (!to && !args_has(args, "all") && (args_has(args, "wait") || args_has(args, "hold")))
		return cli_usage(cli, "--%s needs --all or --to: nothing would be assigned",
			args_has(args, "wait") ? "wait" : "hold");
	code = push_wait_options(cli, args, &timeout_s);
	if (code == EXIT_DONE)
		code = check_notes(cli, args_get(args, "notes"));
	if (code != EXIT_DONE)
		return code;
	if (!cli_list(cli, "/v1/boards", &boards))
		return EXIT_FAILED;
	p = calloc(1, sizeof *p);
	if (!p) {
		json_decref(boards);
		return cli_fail(cli, "out of memory");
	}
	p->boards = boards;
	p->selector = args_has(args, "all") ? "all" : to;
	p->is_dry = args_has(args, "dry-run");
	p->preview = json_array();
	code = run_push(cli, args, p, timeout_s);
	for (int i = 0; i < p->n; i++)
		inspect_release(&p->file[i].in);
	json_decref(p->preview);
	free(p);
	json_decref(boards);
	return code;
}
