#include <stdlib.h>
#include <string.h>

#include "cli/cmds.h"
#include "proto/ask.h"
#include "proto/crypto.h"

/* The server's key is shown once and remembered, as ssh does. */
static bool accept_pin(const struct cli *cli, const struct args *args, struct client_target *t)
{
	const char *expected = args_get(args, "fingerprint");
	bool is_trusted = false;
	struct errmsg e;
	char pin[80] = "";

	if (!client_is_https(t->url))
		return true;
	if (client_fetch_pin(t->url, pin, &is_trusted, &e) != OTA_OK) {
		(void)cli_fail(cli, "%s", e.text);
		return false;
	}
	if (expected) {
		if (strcmp(expected, pin) != 0) {
			(void)cli_fail(cli, "%s shows %s, not %s; nothing was stored", t->url, pin, expected);
			return false;
		}
	} else if (is_trusted) {
		return true;
	} else if (!cli->is_tty) {
		(void)cli_usage(cli, "%s shows the key %s; if that is it, run again with --fingerprint %s",
			t->url, pin, pin);
		return false;
	} else {
		fprintf(stderr,
			"%s shows the key\n  %s\nCompare it with the line \"operators' key\" in otad's "
			"log.\n",
			t->url, pin);
		if (!cli_confirm_seen(cli, "Is it the same?")) {
			(void)cli_fail(cli, "nothing was sent or stored");
			return false;
		}
	}
	(void)snprintf(t->pin, sizeof t->pin, "%s", pin);
	return true;
}

/* Is an otad there? Asked without a token, before somebody looks one up for nothing: it refuses that. */
static bool is_there(struct cli *cli, const struct client_target *t)
{
	static const char path[] = "/v1/whoami";
	struct client_answer a = {.upload_offset = -1};
	struct client_target open = *t;
	struct errmsg e;
	bool ok = false;

	open.token[0] = '\0';
	if (client_new(&open, &cli->client, &e) != OTA_OK ||
		client_call(cli->client, "GET", path, NULL, NULL, 0, 0, &a, &e) != OTA_OK) {
		(void)cli_fail(cli, "%s", e.text);
	} else {
		ok = a.status == 200 || a.status == 401;
		if (!ok)
			(void)cli_problem(cli, "GET", path, &a);
		client_answer_clear(&a);
	}
	client_free(cli->client);
	cli->client = NULL;
	return ok;
}

static int get_token(struct cli *cli, const struct args *args, struct client_target *t)
{
	if (args_has(args, "token-file") || getenv("OTACTL_TOKEN"))
		return EXIT_DONE;
	if (!is_there(cli, t))
		return EXIT_FAILED;
	if (!ask_hidden("token (otactl token create makes one)", t->token, sizeof t->token))
		return cli_usage(
			cli, "no terminal to ask for a token: use --token-file FILE or OTACTL_TOKEN");
	return t->token[0] ? EXIT_DONE : cli_fail(cli, "no token was given; nothing was stored");
}

/* A login that nothing uses would be a riddle. */
static void tell_precedence(void)
{
	static const char *const names[] = {"OTACTL_URL", "OTAD_DATA"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *value = getenv(names[i]);

		if (value && value[0]) {
			fprintf(stderr, "note: %s=%s goes before this login in this shell\n", names[i],
				out_safe(value));
			return;
		}
	}
}

int cmd_login(struct cli *cli, const struct args *args)
{
	struct client_target t;
	struct errmsg e;
	json_t *who = NULL;

	enum ota_err err = client_resolve(args->pos[0], args_get(args, "token-file"), NULL, &t, &e);
	if (err != OTA_OK)
		return err == OTA_INVALID ? cli_usage(cli, "%s", e.text) : cli_fail(cli, "%s", e.text);
	t.from = NULL;
	if (args_has(args, "fingerprint") && !client_is_https(t.url))
		return cli_usage(cli, "--fingerprint is of an https:// server's key, and %s has none", t.url);
	t.pin[0] = '\0';
	if (!accept_pin(cli, args, &t))
		return EXIT_FAILED;
	int code = get_token(cli, args, &t);

	if (code != EXIT_DONE)
		return code;
	if (client_new(&t, &cli->client, &e) != OTA_OK)
		return cli_fail(cli, "%s", e.text);
	code = EXIT_FAILED;

	if (cli_call(cli, "GET", "/v1/whoami", NULL, &who)) {
		if (client_login_store(&t, &e) == OTA_OK) {
			if (cli->json)
				out_json(who);
			else
				printf("logged in to %s as %s (%s)\n", t.url,
					out_safe(js_text(who, "name", "?")),
					out_safe(js_text(who, "role", "?")));
			code = EXIT_DONE;
			tell_precedence();
		} else {
			(void)cli_fail(cli, "%s", e.text);
		}
	}
	ota_wipe(&t, sizeof t);
	json_decref(who);
	return code;
}

int cmd_logout(struct cli *cli, const struct args *args)
{
	struct errmsg e;
	bool was_there;

	(void)args;
	if (client_login_forget(&was_there, &e) != OTA_OK)
		return cli_fail(cli, "%s", e.text);
	if (cli->json)
		out_json_flag("logged out", was_there);
	else
		puts(was_there ? "logged out" : "no login was stored");
	return EXIT_DONE;
}
