#include "cli/complete.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "proto/crypto.h"

enum { ASK_S = 1 }; /* a person waits with a finger on the key */

/* What has been typed so far. */
struct typed {
	const char *current;
	const char *noun;
	const struct cmd *cmd;
	int n_pos;
	bool is_plain;             /* behind "--" */
	const struct opt *expects; /* the current word is its value */
	const char *url, *token_file, *data;
};

/* A kind of name: the placeholder of the command table, and where its names are. */
struct source {
	const char *placeholder;
	const char *path, *field;
	size_t shown; /* digits that tables show of an id; 0: all of it */
	const char *prefix;
};

static const struct source sources[] = {
	{"DEVICE", "/v1/devices", "name", 0, ""},
	{"OLD", "/v1/devices", "name", 0, ""},
	{"NEW", "/v1/devices", "name", 0, ""},
	{"TAG", "/v1/devices", "tags", 0, ""},
	{"BOARD", "/v1/boards", "name", 0, ""},
	{"PUSH", "/v1/rollouts", "id", 8, ""},
	{"SHA256", "/v1/images", "sha256", 12, ""},
	{"RELEASE", "/v1/releases", "id", 0, ""},
	{"SECRET-ID", "/v1/enroll-secrets", "id", 0, ""},
	{"SECRET-ID", "/v1/enroll-secrets", "name", 0, ""},
	{"TOKEN", "/v1/tokens", "name", 0, ""},
	{"SELECTOR", "/v1/devices", "name", 0, ""},
	{"SELECTOR", "/v1/devices", "tags", 0, "tag="},
	{"SELECTOR", "/v1/boards", "name", 0, "board="},
};

/* Can the command do anything to this row? What it would refuse is not offered. */
static bool is_open(const json_t *row)
{
	return strcmp(js_text(row, "state", ""), "open") == 0;
}

static bool is_held(const json_t *row)
{
	return is_open(row) && js_bool(row, "hold", false);
}

static bool is_to_retry(const json_t *row)
{
	static const char *const bad[] = {"failed", "reverted", "timed-out"};
	int64_t n = js_int(row, "drifted", 0);

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		n += js_int(js_get(row, "counts"), bad[i], 0);
	return n > 0 && strcmp(js_text(row, "state", ""), "cancelled") != 0;
}

static bool has_new_key(const json_t *row)
{
	return js_bool(row, "rekey", false);
}

static bool is_pending(const json_t *row)
{
	return strcmp(js_text(row, "state", ""), "pending") == 0 || has_new_key(row);
}

static const struct {
	const char *noun, *verb;
	bool (*is_fit)(const json_t *row);
} fits[] = {
	{"cancel", "", is_open},
	{"retry", "", is_to_retry},
	{"rollout", "unhold", is_held},
	{"device", "approve", is_pending},
	{"device", "reject", has_new_key},
};

static bool fits_command(const struct typed *t, const json_t *row)
{
	const char *verb = t->cmd->verb ? t->cmd->verb : "";

	for (size_t i = 0; i < sizeof fits / sizeof fits[0]; i++) {
		if (strcmp(fits[i].noun, t->cmd->noun) == 0 && strcmp(fits[i].verb, verb) == 0)
			return fits[i].is_fit(row);
	}
	return true;
}

/* One that fits, behind `head`, what stands before it in the same word. The shell takes it as it is: nothing
 * that would need quotes, whatever a server sends. */
static void offer(const struct typed *t, const char *head, const char *prefix, const char *name, size_t shown)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:=+-";
	char word[400];
	size_t len = strlen(name);

	if (!name[0] || name[0] == '-' || strspn(name, plain) != len)
		return;
	if (shown && strlen(t->current) <= shown && len > shown)
		len = shown;
	(void)snprintf(word, sizeof word, "%s%s%.*s", head, prefix, (int)len, name);
	if (strncmp(word, t->current, strlen(t->current)) == 0)
		puts(word);
}

static void offer_rows(
	const struct typed *t, struct cli *cli, const struct source *s, const char *head, bool is_value)
{
	json_t *list = cli_try_list(cli, s->path, ASK_S), *row, *item;
	size_t i, k;

	json_array_foreach(list, i, row)
	{
		if (!is_value && !fits_command(t, row))
			continue;
		offer(t, head, s->prefix, js_text(row, s->field, ""), s->shown);
		json_array_foreach(js_array(row, s->field), k, item)
			offer(t, head, s->prefix, json_string_value(item), s->shown);
	}
	json_decref(list);
}

/* The server that the command would ask; NULL where none is known. */
static struct client *server_of(const struct typed *t)
{
	struct client_target target;
	struct client *client = NULL;
	struct errmsg e;

	if (client_resolve(t->url, t->token_file, t->data, &target, &e) != OTA_OK ||
		client_new(&target, &client, &e) != OTA_OK)
		client = NULL;
	ota_wipe(&target, sizeof target);
	return client;
}

static bool is_release(const char *placeholder)
{
	return strcmp(placeholder, "[BOARD:]VERSION") == 0;
}

/* Names for one placeholder: "DEVICE...", "[DEVICE|PUSH]", "[BOARD:]VERSION". */
static void offer_names(const struct typed *t, const char *placeholder, const char *head, bool is_value)
{
	struct cli cli = {0};
	char text[80], *rest = NULL;

	(void)snprintf(text, sizeof text, "%s", is_release(placeholder) ? "RELEASE" : placeholder);
	for (char *kind = strtok_r(text, "[]|.", &rest); kind; kind = strtok_r(NULL, "[]|.", &rest)) {
		for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
			const struct source *s = &sources[i];
			bool is_term = s->prefix[0] != '\0';

			/* A device's name is a whole selector, no term among others. */
			if (strcmp(s->placeholder, kind) != 0 || (!is_term && strchr(head, ',')))
				continue;
			if (!cli.client)
				cli.client = server_of(t);
			if (cli.client)
				offer_rows(t, &cli, s, head, is_value);
		}
	}
	client_free(cli.client);
}

static const struct {
	const char *placeholder, *word;
} words[] = {
	{"ROLE", "admin"},
	{"ROLE", "operator"},
	{"ROLE", "uploader"},
	{"ROLE", "viewer"},
	{"STATE", "pending"},
	{"STATE", "approved"},
	{"STATE", "revoked"},
};

static void offer_value(const struct typed *t, const struct opt *o, size_t value_at)
{
	const char *comma = strrchr(t->current, ',');
	size_t len = strcmp(o->arg, "SELECTOR") == 0 && comma ? (size_t)(comma + 1 - t->current) : value_at;
	char head[300];

	(void)snprintf(head, sizeof head, "%.*s", (int)len, t->current);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(words[i].placeholder, o->arg) == 0)
			offer(t, head, "", words[i].word, 0);
	}
	offer_names(t, o->arg, head, true);
}

/* The placeholder of the next positional; "" where there is none. */
static void next_placeholder(const struct typed *t, char *out, size_t cap)
{
	const char *at = t->cmd->args;
	int left = t->n_pos;

	for (;; left--) {
		size_t n = strcspn(at, " ");
		bool is_last = !at[n];

		if (left == 0 || (is_last && t->cmd->max < 0)) {
			(void)snprintf(out, cap, "%.*s", (int)n, at);
			return;
		}
		if (is_last)
			break;
		at += n + 1;
	}
	out[0] = '\0';
}

static void offer_word(const struct typed *t, const char *dashes, const char *text)
{
	char word[80];

	(void)snprintf(word, sizeof word, "%s%s", dashes, text);
	if (!t->current || strncmp(word, t->current, strlen(t->current)) == 0)
		puts(word);
}

static void offer_commands(const struct typed *t)
{
	for (size_t i = 0; i < n_cmds; i++) {
		const struct cmd *c = &cmds[i];

		if (!t->noun && (i == 0 || strcmp(cmds[i - 1].noun, c->noun) != 0))
			offer_word(t, "", c->noun);
		else if (t->noun && strcmp(t->noun, c->noun) == 0)
			offer_word(t, "", c->verb);
	}
}

static void offer_options(const struct typed *t)
{
	for (const struct opt *o = t->cmd ? t->cmd->opts : NULL; o && o->name; o++)
		offer_word(t, "--", o->name);
	for (const struct opt *o = global_opts; o->name; o++)
		offer_word(t, "--", o->name);
}

static void take_value(struct typed *t, const struct opt *o, const char *value)
{
	if (strcmp(o->name, "url") == 0)
		t->url = value;
	else if (strcmp(o->name, "token-file") == 0)
		t->token_file = value;
	else if (strcmp(o->name, "data") == 0)
		t->data = value;
}

static void take_option(struct typed *t, const char *word)
{
	const struct opt *o = opt_of(t->cmd, word);
	const char *equals = strchr(word, '=');

	if (o && o->arg && equals)
		take_value(t, o, equals + 1);
	else if (o && o->arg)
		t->expects = o;
}

/* A noun, its verb, or a positional. */
static void take_plain(struct typed *t, const char *word)
{
	const char *noun = t->noun ? t->noun : word;

	if (t->cmd) {
		t->n_pos++;
		return;
	}
	for (size_t i = 0; i < n_cmds && !t->cmd; i++) {
		const struct cmd *c = &cmds[i];

		if (strcmp(c->noun, noun) == 0 && (t->noun ? strcmp(c->verb, word) == 0 : !c->verb))
			t->cmd = c;
	}
	t->noun = noun;
}

static void take_word(struct typed *t, const char *word)
{
	if (t->expects) {
		take_value(t, t->expects, word);
		t->expects = NULL;
	} else if (!t->is_plain && strcmp(word, "--") == 0) {
		t->is_plain = true;
	} else if (!t->is_plain && word[0] == '-' && word[1]) {
		take_option(t, word);
	} else {
		take_plain(t, word);
	}
}

int complete(const char *current, int argc, char **argv)
{
	struct typed t = {.current = current};
	char placeholder[80];

	for (int i = 0; i < argc; i++)
		take_word(&t, argv[i]);
	const bool is_dash = current && current[0] == '-' && !t.is_plain;
	const char *equals = is_dash ? strchr(current, '=') : NULL;
	const struct opt *o = equals ? opt_of(t.cmd, current) : NULL;

	if (t.expects) {
		if (current)
			offer_value(&t, t.expects, 0);
	} else if (equals) {
		if (o && o->arg)
			offer_value(&t, o, (size_t)(equals + 1 - current));
	} else {
		if (!t.cmd && !is_dash)
			offer_commands(&t);
		if (!current || is_dash)
			offer_options(&t);
		if (t.cmd && current && !is_dash) {
			next_placeholder(&t, placeholder, sizeof placeholder);
			offer_names(&t, placeholder, "", false);
		}
	}
	return out_finish() ? EXIT_DONE : EXIT_FAILED;
}
