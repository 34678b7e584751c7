#include "cli/cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/complete.h"
#include "proto/crypto.h"
#include "proto/suggest.h"

const struct opt global_opts[] = {
	{"json", NULL, 0, "print JSON for programs"},
	{"url", "URL", 0, "server, instead of the stored login (OTACTL_URL)"},
	{"token-file", "FILE", 0, "file with the token for --url (OTACTL_TOKEN)"},
	{"data", "DIR", 0, "data directory of a local otad: talk through DIR/otad.sock"},
	{"yes", NULL, 'y', "do not ask"},
	{"help", NULL, 'h', "print help"},
	{NULL, NULL, 0, NULL},
};

const char *args_nth(const struct args *a, const char *name, int k)
{
	for (int i = 0; i < a->n_opts; i++) {
		if (strcmp(a->opt[i].opt->name, name) == 0 && k-- == 0)
			return a->opt[i].value;
	}
	return NULL;
}

const char *args_get(const struct args *a, const char *name)
{
	return args_nth(a, name, 0);
}

bool args_has(const struct args *a, const char *name)
{
	return args_nth(a, name, 0) != NULL;
}

bool args_duration(const char *text, long long *seconds)
{
	char *end;
	long long unit = 1;

	errno = 0;
	long long n = strtoll(text, &end, 10);

	if (errno || end == text || n < 0)
		return false;
	switch (*end) {
	case 'd':
		unit = 86400;
		break;
	case 'h':
		unit = 3600;
		break;
	case 'm':
		unit = 60;
		break;
	case 's':
		break;
	default: /* A number alone would be seconds, and seldom meant. */
		return false;
	}
	if (end[1])
		return false;
	if (__builtin_mul_overflow(n, unit, &n))
		return false;
	*seconds = n;
	return true;
}

bool args_size(const char *text, long long *bytes)
{
	static const struct {
		const char *name;
		long long unit;
	} units[] = {{"", 1}, {"K", 1 << 10}, {"KiB", 1 << 10}, {"M", 1 << 20}, {"MiB", 1 << 20}};
	char *end;

	/* Not the blanks and signs that strtoll takes. */
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	long long n = strtoll(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);

	for (size_t i = 0; errno == 0 && i < sizeof units / sizeof units[0]; i++) {
		if (strcmp(end, units[i].name) == 0 && n <= (1LL << 32) / units[i].unit) {
			*bytes = n * units[i].unit;
			return true;
		}
	}
	return false;
}

static void on_interrupt(int sig)
{
	(void)sig;
	client_interrupted = 1;
}

enum { HELP_INDENT = 31, HELP_WIDTH = 80 };

/* A name and its help, which goes on below itself. */
static void print_wrapped(FILE *to, const char *left, const char *help)
{
	int room = HELP_WIDTH - HELP_INDENT;

	fprintf(to, "  %-*s ", HELP_INDENT - 3, left);
	while ((int)strlen(help) > room) {
		int at = room;

		while (at > 0 && help[at] != ' ')
			at--;
		fprintf(to, "%.*s\n%*s", at, help, HELP_INDENT, "");
		help += at + 1;
	}
	fprintf(to, "%s\n", help);
}

static bool is_repeatable(const struct opt *o)
{
	size_t len = o->arg ? strlen(o->arg) : 0;

	return !o->arg || (len > 3 && strcmp(o->arg + len - 3, "...") == 0);
}

static void print_opts(FILE *to, const struct opt *o)
{
	for (; o && o->name; o++) {
		char left[48];
		const int arg_len = o->arg ? (int)strlen(o->arg) - (is_repeatable(o) ? 3 : 0) : 0;

		(void)snprintf(left, sizeof left, "%s%c%s--%s%s%.*s", o->letter ? "-" : "",
			o->letter ? o->letter : ' ', o->letter ? ", " : "   ", o->name, o->arg ? " " : "",
			arg_len, o->arg ? o->arg : "");
		print_wrapped(to, left, o->help);
	}
}

static void print_help(FILE *to, const struct cmd *only, const char *noun)
{
	if (only) {
		fprintf(to, "usage: otactl %s%s%s%s%s%s\n\n%s\n", only->noun, only->verb ? " " : "",
			only->verb ? only->verb : "", only->args[0] ? " " : "", only->args,
			only->opts ? " [OPTION...]" : "", only->help);
		if (only->opts) {
			fputs("\noptions:\n", to);
			print_opts(to, only->opts);
		}
	} else {
		fprintf(to, "usage: otactl [OPTION...] COMMAND [ARGUMENT...]\n\n%scommands:\n",
			noun ? "" : "firmware updates for a fleet you own\n\n");
		for (size_t i = 0; i < n_cmds; i++) {
			const struct cmd *c = &cmds[i];
			char left[64];

			if (noun && strcmp(c->noun, noun) != 0)
				continue;
			(void)snprintf(left, sizeof left, "%s%s%s", c->noun, c->verb ? " " : "",
				c->verb ? c->verb : "");
			fprintf(to, "  %-18s %s\n", left, c->help);
		}
	}
	fputs("\noptions of every command:\n", to);
	print_opts(to, global_opts);
	if (!only)
		print_wrapped(to, "    --version", "print the version");
	if (!only)
		fputs("\notactl COMMAND --help tells more of one, otactl(1) all there is.\n", to);
}

static const struct opt *find_opt(const struct opt *o, const char *name, size_t len, char letter)
{
	for (; o && o->name; o++) {
		if (letter ? o->letter == letter : strlen(o->name) == len && strncmp(o->name, name, len) == 0)
			return o;
	}
	return NULL;
}

const struct opt *opt_of(const struct cmd *cmd, const char *word)
{
	bool is_long = word[1] == '-';
	const char *name = word + (is_long ? 2 : 1);
	size_t len = is_long ? strcspn(name, "=") : strlen(name);
	const struct opt *o = find_opt(cmd ? cmd->opts : NULL, name, len, is_long ? 0 : name[0]);

	if (!o)
		o = find_opt(global_opts, name, len, is_long ? 0 : name[0]);
	return o && (is_long || !name[1]) ? o : NULL;
}

static const char *similar_opt(const struct cmd *cmd, const char *name, size_t len);

/* The last of two values would win without a word: which of them was meant is not for us to guess. */
static int given_twice(const struct opt *o)
{
	bool is_to = strcmp(o->name, "to") == 0;

	return cli_usage(NULL, "--%s is given twice%s", o->name,
		is_to ? ": terms are joined by ',' and all hold; several devices share a tag: "
			"otactl device tag DEVICE TAG, then --to tag=TAG"
		      : "");
}

/* Take one option at argv[*i]; false after the reason was printed. */
static bool take_opt(struct args *a, int argc, char **argv, int *i)
{
	const char *text = argv[*i], *value = NULL;
	bool is_long = text[1] == '-';
	const char *name = text + (is_long ? 2 : 1), *equals = is_long ? strchr(name, '=') : NULL;
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct opt *o = opt_of(a->cmd, text);

	if (!o && !is_long && a->cmd && strstr(a->cmd->args, "|-TAG")) {
		(void)cli_usage(NULL, "unknown option '%s'", text);
		cli_hint("what begins with '-' and is no option stands behind '--': otactl %s %s ... -- %s",
			a->cmd->noun, a->cmd->verb ? a->cmd->verb : "...", text);
		return false;
	}
	if (!o) {
		const char *near = is_long ? similar_opt(a->cmd, name, len) : NULL;

		(void)cli_usage(NULL, "unknown option '%s'%s%s%s; see: otactl %s%s%s%s--help", text,
			near ? ", did you mean '--" : "", near ? near : "", near ? "'?" : "",
			a->cmd ? a->cmd->noun : "", a->cmd ? " " : "",
			a->cmd && a->cmd->verb ? a->cmd->verb : "", a->cmd && a->cmd->verb ? " " : "");
		return false;
	}
	if (o->arg) {
		value = equals ? equals + 1 : *i + 1 < argc ? argv[++*i] : NULL;
		if (!value) {
			(void)cli_usage(NULL, "--%s needs a value: %s", o->name, o->arg);
			return false;
		}
	} else if (equals) {
		(void)cli_usage(NULL, "--%s takes no value", o->name);
		return false;
	}
	if (!is_repeatable(o) && args_has(a, o->name)) {
		(void)given_twice(o);
		return false;
	}
	if (a->n_opts == (int)(sizeof a->opt / sizeof a->opt[0])) {
		(void)cli_usage(NULL, "too many options");
		return false;
	}
	a->opt[a->n_opts].opt = o;
	a->opt[a->n_opts++].value = value ? value : "";
	return true;
}

/* The option that was probably meant; NULL: none is close. */
static const char *similar_opt(const struct cmd *cmd, const char *name, size_t len)
{
	const struct opt *const lists[] = {cmd ? cmd->opts : NULL, global_opts};
	struct suggest near = {0};
	char typed[64];

	(void)snprintf(typed, sizeof typed, "%.*s", (int)len, name);
	for (size_t i = 0; i < 2; i++) {
		for (const struct opt *o = lists[i]; o && o->name; o++)
			suggest_offer(&near, typed, o->name);
	}
	return near.best;
}

enum { MEANT_MAX = 3 };

/* The commands whose second word this is, as "'device hold' or 'rollout hold'". False: none, or so many that
 * the word says little. */
static bool also_verb(const char *word, char *out, size_t cap)
{
	size_t n = 0, used = 0;

	for (size_t i = 0; i < n_cmds; i++) {
		if (!cmds[i].verb || strcmp(cmds[i].verb, word) != 0 || used >= cap)
			continue;
		used += (size_t)snprintf(
			out + used, cap - used, "%s'%s %s'", n++ ? " or " : "", cmds[i].noun, word);
	}
	return n > 0 && n <= MEANT_MAX;
}

static int unknown_command(const char *noun, const char *verb)
{
	char both[120];
	struct suggest near = {0};

	for (size_t i = 0; i < n_cmds; i++) {
		if (!verb)
			suggest_offer(&near, noun, cmds[i].noun);
		else if (cmds[i].verb && strcmp(cmds[i].noun, noun) == 0)
			suggest_offer(&near, verb, cmds[i].verb);
	}
	if (!verb && also_verb(noun, both, sizeof both))
		return cli_usage(NULL, "unknown command '%s'; did you mean %s?", noun, both);
	return cli_usage(NULL, "unknown command '%s%s%s'%s%s%s", noun, verb ? " " : "", verb ? verb : "",
		near.best ? "; did you mean '" : "; see: otactl --help", near.best ? near.best : "",
		near.best ? "'?" : "");
}

static void say_verbs(const char *noun)
{
	char verbs[256] = "";

	for (size_t i = 0; i < n_cmds; i++) {
		size_t used = strlen(verbs);

		if (strcmp(cmds[i].noun, noun) == 0)
			(void)snprintf(
				verbs + used, sizeof verbs - used, "%s%s", used ? ", " : "", cmds[i].verb);
	}
	(void)cli_usage(NULL, "%s what? %s; see: otactl %s --help", noun, verbs, noun);
}

/* The row for these words. `*words` is how many it used; NULL after the reason was printed. */
static const struct cmd *find_cmd(int argc, char **argv, int *words, int *code)
{
	bool has_noun = false;

	for (size_t i = 0; i < n_cmds; i++) {
		const struct cmd *c = &cmds[i];

		if (strcmp(c->noun, argv[0]) != 0)
			continue;
		has_noun = true;
		if (!c->verb || (argc > 1 && strcmp(c->verb, argv[1]) == 0)) {
			*words = c->verb ? 2 : 1;
			return c;
		}
	}
	if (has_noun && (argc < 2 || argv[1][0] == '-')) {
		bool is_help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);

		*code = is_help ? EXIT_DONE : EXIT_USAGE;
		if (is_help)
			print_help(stdout, NULL, argv[0]);
		else
			say_verbs(argv[0]);
	} else {
		*code = unknown_command(argv[0], has_noun ? argv[1] : NULL);
	}
	return NULL;
}

static int run(struct args *args)
{
	struct cli cli = {
		.json = args_has(args, "json"),
		.yes = args_has(args, "yes"),
		.is_tty = isatty(STDIN_FILENO) && isatty(STDERR_FILENO),
	};
	struct sigaction sa = {.sa_handler = on_interrupt};
	struct errmsg e;

	(void)sigaction(SIGINT, &sa, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (args->cmd->need & NEED_SERVER) {
		struct client_target target;
		enum ota_err err = client_resolve(args_get(args, "url"), args_get(args, "token-file"),
			args_get(args, "data"), &target, &e);

		if (err == OTA_OK)
			err = client_new(&target, &cli.client, &e);
		ota_wipe(&target, sizeof target);
		if (err != OTA_OK)
			return err == OTA_INVALID ? cli_usage(&cli, "%s", e.text)
						  : cli_fail(&cli, "%s", e.text);
	}
	int code = args->cmd->fn(&cli, args);

	client_free(cli.client);
	if (!out_finish() && code == EXIT_DONE)
		code = out_is_read() ? cli_fail(&cli, "cannot write to standard output") : EXIT_FAILED;
	return code;
}

static bool is_path(const struct opt *o)
{
	return strcmp(o->arg, "FILE") == 0 || strcmp(o->arg, "DIR") == 0 || strcmp(o->arg, "PEM") == 0;
}

/* What is put into requests is text. File names may be any bytes, and a list of devices has an answer for
 * each. */
static bool are_texts(const struct args *a)
{
	bool is_free = strstr(a->cmd->args, "FILE") || strcmp(a->cmd->args, "DEVICE...") == 0;

	for (int i = 0; i < a->n && !is_free; i++) {
		if (!js_is_text(a->pos[i])) {
			(void)cli_usage(NULL, "'%s' is not plain UTF-8 text", out_safe(a->pos[i]));
			return false;
		}
	}
	for (int i = 0; i < a->n_opts; i++) {
		const struct opt *o = a->opt[i].opt;

		if (o->arg && !is_path(o) && !js_is_text(a->opt[i].value)) {
			(void)cli_usage(NULL, "--%s takes plain UTF-8 text", o->name);
			return false;
		}
	}
	return true;
}

static int run_line(int argc, char **argv)
{
	struct args args = {0};
	int i = 1, words = 0, code = EXIT_USAGE;
	bool is_plain = false;
	char **pos = calloc((size_t)argc + 1, sizeof *pos);

	if (!pos)
		return EXIT_FAILED;
	args.pos = pos;
	for (; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		if (strcmp(argv[i], "--version") == 0) {
			puts("otactl " OTAD_VERSION);
			free(pos);
			return out_finish() ? EXIT_DONE : EXIT_FAILED;
		}
		if (strcmp(argv[i], "--complete") == 0 || strncmp(argv[i], "--complete=", 11) == 0) {
			code = complete(argv[i][10] ? argv[i] + 11 : NULL, argc - i - 1, argv + i + 1);
			free(pos);
			return code;
		}
		if (!take_opt(&args, argc, argv, &i))
			goto out;
	}
	if (i >= argc || args_has(&args, "help")) {
		code = args_has(&args, "help") ? EXIT_DONE : EXIT_USAGE;
		print_help(code == EXIT_DONE ? stdout : stderr, NULL, NULL);
		goto out;
	}
	if (argc - i == 1 && strcmp(argv[i], "help") == 0) {
		code = EXIT_DONE;
		print_help(stdout, NULL, NULL);
		goto out;
	}
	args.cmd = find_cmd(argc - i, argv + i, &words, &code);
	if (!args.cmd)
		goto out;
	for (i += words; i < argc; i++) {
		if (!is_plain && strcmp(argv[i], "--") == 0)
			is_plain = true;
		else if (is_plain || argv[i][0] != '-' || !argv[i][1])
			args.pos[args.n++] = argv[i];
		else if (!take_opt(&args, argc, argv, &i))
			goto out;
	}
	if (!args_has(&args, "help") && !are_texts(&args))
		goto out;
	if (args_has(&args, "help")) {
		print_help(stdout, args.cmd, NULL);
		code = EXIT_DONE;
	} else if (args.n < args.cmd->min || (args.cmd->max >= 0 && args.n > args.cmd->max)) {
		const bool is_over = args.n >= args.cmd->min;

		code = cli_usage(NULL, "%s%s%susage: otactl %s%s%s %s%s",
			is_over ? "unexpected argument '" : "",
			is_over ? out_safe(args.pos[args.cmd->max]) : "", is_over ? "'; " : "",
			args.cmd->noun, args.cmd->verb ? " " : "", args.cmd->verb ? args.cmd->verb : "",
			args.cmd->args,
			args.cmd->opts ? args.cmd->args[0] ? " [OPTION...]" : "[OPTION...]" : "");
	} else {
		code = run(&args);
	}
out:
	free(pos);
	return code;
}

/* Before argv is understood: what is wrong with it is to be told in JSON too. */
static bool wants_json(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--json") == 0)
			return true;
	}
	return false;
}

int cmd_main(int argc, char **argv)
{
	int code = run_line(argc, argv);

	/* What the server cannot make sense of was said wrong, whoever finds it; EXIT_USAGE promises that
	 * nothing was done. */
	if (code == EXIT_FAILED && fail_is_usage() && !client_has_changed())
		code = EXIT_USAGE;
	else if (code == EXIT_USAGE && client_has_changed())
		code = EXIT_FAILED;
	/* A program that reads stdout finds one document there, whatever happened. */
	if (code != EXIT_DONE && wants_json(argc, argv) && fail_is_told() && !out_has_json()) {
		json_t *error = json_pack("{s:o}", "error", fail_json());

		out_json(error);
		json_decref(error);
		(void)out_finish();
	}
	return code;
}
