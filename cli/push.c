#include "cli/push.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"
#include "proto/crypto.h"
#include "proto/fit.h"
#include "proto/limits.h"
#include "proto/suggest.h"

static bool copy_part(char *out, size_t cap, const char *from, const char *to)
{
	size_t len = (size_t)(to - from);

	if (len == 0 || len >= cap)
		return false;
	memcpy(out, from, len);
	out[len] = '\0';
	return true;
}

bool push_parse(const char *text, struct push_file *out)
{
	const char *equals = strchr(text, '='), *colon = strchr(text, ':'), *rest = text;

	memset(out, 0, sizeof *out);
	out->path = text;
	if (access(text, F_OK) == 0)
		return true;
	if (colon && (!equals || colon < equals)) {
		if (!copy_part(out->board, sizeof out->board, rest, colon))
			return false;
		rest = colon + 1;
	}
	if (equals) {
		const char *dot = memchr(rest, '.', (size_t)(equals - rest));

		if (!copy_part(out->component, sizeof out->component, rest, dot ? dot : equals))
			return false;
		if (dot && !copy_part(out->variant, sizeof out->variant, dot + 1, equals))
			return false;
		rest = equals + 1;
	}
	out->path = rest;
	return rest[0] != '\0';
}

json_t *push_board(struct cli *cli, const json_t *boards, const char *name)
{
	struct suggest near = {0};
	json_t *b;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)boards, i, b)
	{
		if (strcmp(js_text(b, "name", ""), name) == 0)
			return b;
		suggest_offer(&near, name, js_text(b, "name", ""));
	}
	(void)cli_fail(cli, "no board '%s'; see: otactl board list", out_safe(name));
	if (near.best)
		cli_hint("did you mean %s?", out_safe(near.best));
	return NULL;
}

static void list_boards(const json_t *boards, const char *chip, char *out, size_t cap)
{
	size_t i, used = 0;
	json_t *b;

	out[0] = '\0';
	json_array_foreach((json_t *)(uintptr_t)boards, i, b)
	{
		if ((!chip[0] || strcmp(js_text(b, "chip", ""), chip) == 0) && used < cap)
			used += (size_t)snprintf(
				out + used, cap - used, "%s%s", used ? ", " : "", js_text(b, "name", "?"));
	}
}

static json_t *board_by_chip(
	struct cli *cli, const json_t *boards, const char *file, const char *chip, int *code)
{
	char names[300], answer[64];
	json_t *b, *hit = NULL;
	size_t i, n = 0;

	json_array_foreach((json_t *)(uintptr_t)boards, i, b)
	{
		if (!chip[0] || strcmp(js_text(b, "chip", ""), chip) == 0) {
			hit = b;
			n++;
		}
	}
	*code = EXIT_USAGE;
	if (n == 1 && chip[0])
		return hit;
	list_boards(boards, chip, names, sizeof names);
	if (n == 0) {
		*code = cli_fail(cli,
			"'%s' is for %s%s and no board has that chip; add one: otactl board add NAME%s%s",
			file, chip[0] ? "chip " : "an unknown chip", chip, chip[0] ? " --chip " : "", chip);
		return NULL;
	}
	if (cli->is_tty) {
		fprintf(stderr, "Which board is '%s' for (%s)? ", file, names);
		if (!fgets(answer, sizeof answer, stdin))
			return NULL;
		answer[strcspn(answer, "\r\n")] = '\0';
		*code = EXIT_FAILED;
		return push_board(cli, boards, answer);
	}
	(void)cli_usage(cli,
		chip[0] ? "several boards have the chip of '%s' (%s): write BOARD:%s"
			: "'%s' does not say its chip (boards: %s): write BOARD:%s",
		file, names, file);
	return NULL;
}

enum { COMPONENTS_MAX = 8 };

/* As the server told it; borrowed from `board`. */
static struct fit_board fit_board_of(const json_t *board, struct fit_component components[COMPONENTS_MAX])
{
	struct fit_board out = {.name = js_text(board, "name", "?"),
		.chip = js_text(board, "chip", ""),
		.components = components};
	json_t *c;
	size_t i;

	json_array_foreach(js_array(board, "components"), i, c)
	{
		if (i < COMPONENTS_MAX)
			components[out.n_components++] = (struct fit_component){
				.name = js_text(c, "name", ""),
				.format = js_text(c, "format", ""),
				.size_max = (uint64_t)js_int(c, "slot_size", 0),
			};
	}
	return out;
}

/* n_components: none of that name. */
static size_t component_index(const struct fit_board *board, const char *name)
{
	size_t i = 0;

	while (i < board->n_components && strcmp(board->components[i].name, name) != 0)
		i++;
	return i;
}

static const char *shown_name(const struct push_file *f)
{
	return strcmp(f->path, "-") == 0 ? "standard input" : f->path;
}

/* What the board is, and where an image for another chip belongs. */
static void hint_board(const json_t *boards, const struct fit_board *board, const char *chip)
{
	bool is_other = board->chip[0] && chip[0] && strcmp(board->chip, chip) != 0;
	char names[200];

	list_boards(boards, chip, names, sizeof names);
	if (!is_other)
		cli_hint("see: otactl board show %s", board->name);
	else if (names[0])
		cli_hint("for %s there is: %s; see: otactl board list", chip, names);
	else
		cli_hint("see: otactl board show %s; for %s: otactl board add NAME --chip %s", board->name,
			chip, chip);
}

/* What the server would refuse with the release, when all of it has been sent. */
static int check_fit(
	struct cli *cli, struct push_file *f, const json_t *boards, const struct fit_board *board, size_t c)
{
	const struct image_info *info = &f->in.info;
	const char *variant = "";
	struct errmsg e;
	char label[300];

	(void)snprintf(label, sizeof label, "'%s'", shown_name(f));
	if (fit_image(board, c, info, label, &e) != OTA_OK) {
		(void)cli_fail(cli, "%s; nothing was uploaded", e.text);
		hint_board(boards, board, info->chip);
		return EXIT_FAILED;
	}
	if (fit_variant(info, f->variant, &variant, &e) != OTA_OK)
		return cli_fail(cli, "%s: %s; nothing was uploaded", label, e.text);
	if (variant != f->variant)
		(void)snprintf(f->variant, sizeof f->variant, "%s", variant);
	if (board->chip[0] && !info->chip[0] && c == 0 && !board->components[c].format[0])
		fprintf(stderr,
			"warning: %s is no image for chip %s that otactl knows: is it the right file?\n",
			label, board->chip);
	return EXIT_DONE;
}

int push_resolve(struct cli *cli, struct push_file *f, const json_t *boards)
{
	const struct image_info *info = &f->in.info;
	const char *shown = shown_name(f);
	int code = EXIT_FAILED;
	json_t *board = f->board[0] ? push_board(cli, boards, f->board)
				    : board_by_chip(cli, boards, shown, info->chip, &code);

	if (!board)
		return code;
	struct fit_component components[COMPONENTS_MAX];
	const struct fit_board fit = fit_board_of(board, components);

	(void)snprintf(f->board, sizeof f->board, "%s", fit.name);
	if (!f->component[0] && fit.n_components != 1)
		return cli_usage(
			cli, "board %s has several components: write COMPONENT=%s", f->board, f->path);
	if (!f->component[0])
		(void)snprintf(f->component, sizeof f->component, "%s", fit.components[0].name);
	size_t c = component_index(&fit, f->component);

	if (c == fit.n_components)
		return cli_fail(cli, "board %s has no component '%s' (%s); nothing was uploaded", f->board,
			out_safe(f->component), shown);
	if (f->variant[0] && !limit_name_is_valid(f->variant))
		return cli_usage(cli, "'%s' is no name for a variant", out_safe(f->variant));
	return check_fit(cli, f, boards, &fit, c);
}

/* Is what was given for `board` a whole release of it? */
static int check_set(
	struct cli *cli, const struct push_file *files, int n, const json_t *boards, const char *name)
{
	struct fit_component components[COMPONENTS_MAX];
	struct fit_part parts[PUSH_FILES_MAX];
	size_t n_parts = 0;
	struct errmsg e;
	const json_t *board = push_board(cli, boards, name);

	if (!board)
		return EXIT_FAILED;
	const struct fit_board fit = fit_board_of(board, components);

	for (int i = 0; i < n; i++) {
		const struct push_file *f = &files[i];

		if (strcmp(f->board, name) != 0)
			continue;
		/* An image of the SDK that does not say which of the two it is has no other one. */
		if (f->in.info.needs_pair && !f->in.info.variant)
			return cli_fail(
				cli, "'%s': %s; nothing was uploaded", shown_name(f), f->in.info.hint);
		parts[n_parts++] = (struct fit_part){
			.component = component_index(&fit, f->component), .variant = f->variant};
	}
	return fit_set(&fit, parts, n_parts, &e) == OTA_OK
		       ? EXIT_DONE
		       : cli_fail(cli, "%s; nothing was uploaded", e.text);
}

int push_check_sets(struct cli *cli, const struct push_file *files, int n, const json_t *boards)
{
	int code = EXIT_DONE;

	for (int i = 0; i < n && code == EXIT_DONE; i++)
		code = check_set(cli, files, n, boards, files[i].board);
	return code;
}

static void show_upload(void *ctx, uint64_t done, uint64_t size)
{
	out_bar_set(ctx, done, size);
}

static bool fail_cut(const struct cli *cli, const struct errmsg *e)
{
	(void)cli_fail(cli, "%s", e->text);
	cli_hint("run the same push again: it goes on with what has arrived");
	return false;
}

bool push_upload(struct cli *cli, struct push_file *f)
{
	struct client_answer a = {.upload_offset = -1};
	struct out_bar bar = {.what = "upload", .is_tty = cli->is_tty, .last_permille = -1};
	struct errmsg e;
	char path[120];
	int tries = 0;

	(void)snprintf(path, sizeof path, "/v1/images/%s", f->in.sha256_hex);
	for (;;) {
		if (client_call(cli->client, "HEAD", path, NULL, NULL, 0, 0, &a, &e) != OTA_OK)
			return tries ? fail_cut(cli, &e) : cli_fail(cli, "%s", e.text) == EXIT_DONE;
		long status = a.status;
		uint64_t offset = a.upload_offset > 0 ? (uint64_t)a.upload_offset : 0;

		client_answer_clear(&a);
		if (status == 200)
			return true;
		if (status != 404 && status != 204) {
			/* A HEAD has no body, so the reason is asked for. */
			if (client_call(cli->client, "GET", path, NULL, NULL, 0, 0, &a, &e) != OTA_OK)
				return cli_fail(cli, "%s", e.text) == EXIT_DONE;
			(void)cli_problem(cli, "GET", path, &a);
			client_answer_clear(&a);
			return false;
		}
		if (offset > f->in.size)
			offset = 0;
		if (offset && !tries)
			fprintf(stderr, "upload: goes on at byte %llu\n", (unsigned long long)offset);
		if (client_upload(cli->client, path, f->in.file, offset, f->in.size, show_upload, &bar, &a,
			    &e) != OTA_OK) {
			if (cli->is_tty)
				fputc('\n', stderr);
			/* What arrived is kept: one more try goes on from there. */
			if (++tries < 3 && !client_interrupted)
				continue;
			return fail_cut(cli, &e);
		}
		status = a.status;
		if (status == 409 && ++tries < 3) {
			client_answer_clear(&a);
			continue;
		}
		const bool is_taken = status == 200 || status == 201;

		if (is_taken) {
			out_bar_end(&bar, f->in.size);
		} else {
			if (cli->is_tty)
				fputc('\n', stderr);
			(void)cli_problem(cli, "PUT", path, &a);
		}
		client_answer_clear(&a);
		return is_taken;
	}
}
