#include "cli/push.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/file.h"
#include "proto/crypto.h"
#include "proto/limits.h"

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
	json_t *b;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)boards, i, b)
	{
		if (strcmp(js_text(b, "name", ""), name) == 0)
			return b;
	}
	(void)cli_fail(cli, "no board '%s'; see: otactl board list", out_safe(name));
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
		*code = cli_usage(cli,
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

/* The board's firmware itself, of whatever format the chip's images have: chips of some families always say
 * what they are, and the server refuses what does not. */
static bool is_main_of(const json_t *board, const char *component)
{
	const json_t *first = json_array_get(js_array(board, "components"), 0);

	return strcmp(js_text(first, "name", ""), component) == 0 && !js_text(first, "format", "")[0];
}

static bool has_component(const json_t *board, const char *name)
{
	json_t *c;
	size_t i;

	json_array_foreach(js_array(board, "components"), i, c)
	{
		if (strcmp(js_text(c, "name", ""), name) == 0)
			return true;
	}
	return false;
}

int push_resolve(struct cli *cli, struct push_file *f, const json_t *boards)
{
	const struct image_info *info = &f->in.info;
	const char *shown = strcmp(f->path, "-") == 0 ? "standard input" : f->path;
	int code = EXIT_FAILED;
	json_t *board = f->board[0] ? push_board(cli, boards, f->board)
				    : board_by_chip(cli, boards, shown, info->chip, &code);

	if (!board)
		return code;
	const char *chip = js_text(board, "chip", "");

	if (chip[0] && info->chip[0] && strcmp(chip, info->chip) != 0)
		return cli_fail(cli, "'%s' is for chip %s, board %s has %s", shown, info->chip,
			js_text(board, "name", "?"), chip);
	(void)snprintf(f->board, sizeof f->board, "%s", js_text(board, "name", ""));
	if (!f->component[0]) {
		json_t *components = js_array(board, "components");

		if (json_array_size(components) != 1)
			return cli_usage(cli, "board %s has several components: write COMPONENT=%s", f->board,
				f->path);
		(void)snprintf(f->component, sizeof f->component, "%s",
			js_text(json_array_get(components, 0), "name", "app"));
	}
	if (!has_component(board, f->component))
		return cli_fail(cli, "board %s has no component '%s' (%s); nothing was uploaded", f->board,
			out_safe(f->component), shown);
	if (f->variant[0] && !limit_name_is_valid(f->variant))
		return cli_usage(cli, "'%s' is no name for a variant", out_safe(f->variant));
	bool is_odd = chip[0] && !info->chip[0] && is_main_of(board, f->component);

	if (is_odd && strncmp(chip, "esp", 3) == 0)
		return cli_fail(cli,
			"'%s' is no firmware of board %s: no %s image is recognised in it; nothing was "
			"uploaded",
			shown, f->board, chip);
	if (is_odd)
		fprintf(stderr,
			"warning: '%s' is no image for chip %s that otactl knows: is it the right file?\n",
			shown, chip);
	if (!f->variant[0] && info->variant)
		(void)snprintf(f->variant, sizeof f->variant, "user%d", info->variant);
	return EXIT_DONE;
}

static void show_upload(void *ctx, uint64_t done, uint64_t size)
{
	out_bar_set(ctx, done, size);
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
			return cli_fail(cli, "%s", e.text) == EXIT_DONE;
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
		if (client_upload(cli->client, path, f->in.file, offset, f->in.size, show_upload, &bar, &a,
			    &e) != OTA_OK) {
			if (cli->is_tty)
				fputc('\n', stderr);
			/* What arrived is kept: one more try goes on from there. */
			if (++tries < 3 && !client_interrupted)
				continue;
			return cli_fail(cli, "%s; the upload can be continued: run the same push again",
				       e.text) == EXIT_DONE;
		}
		status = a.status;
		if (status == 409 && ++tries < 3) {
			client_answer_clear(&a);
			continue;
		}
		out_bar_end(&bar, f->in.size);
		if (status != 200 && status != 201)
			(void)cli_problem(cli, "PUT", path, &a);
		client_answer_clear(&a);
		return status == 200 || status == 201;
	}
}
