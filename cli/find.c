#include "cli/find.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "cli/file.h"
#include "proto/suggest.h"

const struct find_kind find_pushes = {"/v1/rollouts", "id", "push", "otactl rollout list", NULL, NULL};
const struct find_kind find_images = {"/v1/images", "sha256", "image", "otactl image list", NULL, NULL};
const struct find_kind find_secrets = {
	"/v1/enroll-secrets", "id", "enrollment secret", "otactl enroll list", "name", NULL};
const struct find_kind find_tokens = {"/v1/tokens", "id", "token", "otactl token list", "name", NULL};

static bool is_text(const json_t *row, const char *field, const char *text)
{
	return field && text[0] && strcmp(js_text(row, field, ""), text) == 0;
}

/* A name may have been another's before, who was revoked or has used it up. */
static bool is_live(const json_t *row)
{
	return !js_get(row, "revoked") && js_int(row, "uses_left", 1) > 0;
}

size_t find_among(const json_t *list, const struct find_kind *kind, const char *text, json_t **hit)
{
	size_t i, n = 0, len = strlen(text);
	json_t *r, *last = NULL, *named = NULL;

	json_array_foreach((json_t *)(uintptr_t)list, i, r)
	{
		/* Clients choose the ids of pushes: one may be the start of another. */
		if (is_text(r, kind->field, text)) {
			*hit = r;
			return 1;
		}
		/* The newest comes first. */
		if (is_text(r, kind->name, text) && (!named || (is_live(r) && !is_live(named))))
			named = r;
		if (text[0] && strncasecmp(js_text(r, kind->field, ""), text, len) == 0) {
			last = r;
			n++;
		}
	}
	if (named) {
		*hit = named;
		return 1;
	}
	if (n == 1)
		*hit = last;
	return n;
}

bool find_is_wholly(const json_t *device, const char *text)
{
	return strcmp(js_text(device, "name", ""), text) == 0 || strcmp(js_text(device, "id", ""), text) == 0;
}

/* Without a word where it is none. */
static bool is_device(struct cli *cli, const char *text)
{
	struct client_answer a = {.upload_offset = -1};
	json_t *device = NULL;
	struct errmsg e;
	char path[400];

	if (path_join(path, sizeof path, "/v1/devices/", text, "") &&
		client_call(cli->client, "GET", path, NULL, NULL, 0, 0, &a, &e) == OTA_OK &&
		a.status == 200 && a.len)
		device = json_loadb(a.body, a.len, 0, NULL);
	const bool is = device && find_is_wholly(device, text);

	client_answer_clear(&a);
	json_decref(device);
	return is;
}

static int fail_unknown(struct cli *cli, const struct find_kind *kind, const char *text, const json_t *list)
{
	struct suggest near = {0};
	json_t *r;
	size_t i;

	if (kind->of_device && is_device(cli, text))
		return cli_fail(cli, "'%s' is a device, not a %s: %s %s", out_safe(text), kind->noun,
			kind->of_device, out_safe(text));
	json_array_foreach((json_t *)(uintptr_t)list, i, r)
	{
		if (kind->name && is_live(r))
			suggest_offer(&near, text, js_text(r, kind->name, ""));
	}
	(void)cli_fail(cli, "no %s '%s'; see: %s", kind->noun, out_safe(text), kind->list);
	if (near.best)
		cli_hint("did you mean %s?", out_safe(near.best));
	return EXIT_FAILED;
}

bool find_id(struct cli *cli, const struct find_kind *kind, enum find_use use, const char *text, json_t **out)
{
	json_t *list = NULL, *hit = NULL;

	if (!cli_list(cli, kind->path, &list))
		return false;
	size_t n = find_among(list, kind, text, &hit);
	bool is_short = use == FIND_TO_CHANGE && strlen(text) < FIND_START_MIN && hit &&
			!is_text(hit, kind->field, text) && !is_text(hit, kind->name, text);

	if (n == 1 && !is_short)
		*out = json_incref(hit);
	else if (n == 1)
		(void)cli_fail(cli,
			"'%s' is short for the start of a %s's id that is to be changed: give %d digits or "
			"more; see: %s",
			out_safe(text), kind->noun, FIND_START_MIN, kind->list);
	else if (n > 1)
		(void)cli_fail(cli, "'%s' is the start of %zu %s ids: give more of it; see: %s",
			out_safe(text), n, kind->noun, kind->list);
	else
		(void)fail_unknown(cli, kind, text, list);
	json_decref(list);
	return n == 1 && !is_short;
}

bool find_device_path(const struct cli *cli, char path[400], const char *ref, const char *tail)
{
	if (path_join(path, 400, "/v1/devices/", ref, tail))
		return true;
	(void)cli_usage(cli, "'%s' is no device: use its name, an id prefix, a MAC address or its serial",
		out_safe(ref));
	return false;
}

int find_device(struct cli *cli, const char *ref, json_t **out)
{
	char path[400];

	if (!find_device_path(cli, path, ref, ""))
		return EXIT_USAGE;
	return cli_call(cli, "GET", path, NULL, out) ? EXIT_DONE : EXIT_FAILED;
}

bool find_is_same(const json_t *a, const json_t *b)
{
	return strcmp(js_text(a, "id", ""), js_text(b, "id", "")) == 0;
}

json_t *find_devices(struct cli *cli, const struct args *args, int *code)
{
	json_t *all = json_array(), *d, *other;
	size_t k;

	*code = EXIT_DONE;
	for (int i = 0; i < args->n && *code == EXIT_DONE; i++) {
		bool is_again = false;

		d = NULL;
		*code = find_device(cli, args->pos[i], &d);
		json_array_foreach(all, k, other) is_again = is_again || (d && find_is_same(d, other));
		if (d && !is_again)
			(void)json_array_append(all, d);
		json_decref(d);
	}
	if (*code != EXIT_DONE) {
		fputs("        nothing was done\n", stderr);
		json_decref(all);
		return NULL;
	}
	return all;
}

/* A release named by the start of its manifest's digest, as status and device show print it. */
static json_t *by_digest(const json_t *releases, const char *text, size_t *n)
{
	size_t i, len = strlen(text);
	json_t *r, *hit = NULL;

	*n = 0;
	if (len < 8 || strspn(text, "0123456789abcdef") != len)
		return NULL;
	json_array_foreach((json_t *)(uintptr_t)releases, i, r)
	{
		if (strncmp(js_text(r, "digest", ""), text, len) == 0) {
			hit = r;
			++*n;
		}
	}
	return hit;
}

static void fail_release(
	const struct cli *cli, const json_t *list, const char *board, const char *version, const char *text)
{
	struct suggest near = {0};
	json_t *r;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, r)
	{
		if (!board[0] || strcmp(js_text(r, "board", ""), board) == 0)
			suggest_offer(&near, version, js_text(r, "version", ""));
	}
	(void)cli_fail(cli, "no release '%s'; see: otactl release list", out_safe(text));
	if (near.best)
		cli_hint("did you mean %s%s%s?", board, board[0] ? ":" : "", out_safe(near.best));
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
	if (n == 0)
		hit = by_digest(list, text, &n);
	if (n == 1)
		*out = json_incref(hit);
	else if (n > 1)
		(void)cli_fail(cli, "several boards have a release %s: write BOARD:%s", out_safe(version),
			out_safe(version));
	else
		fail_release(cli, list, board, version, text);
	json_decref(list);
	return n == 1;
}
