/* What is asked of a person: cli_confirm and its kin, and cli_passphrase, of cli.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"
#include "proto/ask.h"
#include "proto/cleanup.h"
#include "proto/crypto.h"

static bool hears_yes(void)
{
	char line[16];

	fputs(" [y/N] ", stderr);
	if (!fgets(line, sizeof line, stdin))
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	return strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0;
}

bool cli_confirm(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	if (cli->yes || !cli->is_tty)
		return true;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	return hears_yes();
}

int cli_confirm_final(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	if (cli->yes)
		return EXIT_DONE;
	if (!cli->is_tty)
		return cli_usage(cli, "not done: there is no terminal to ask on; -y does it unasked");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	return hears_yes() ? EXIT_DONE : cli_fail(cli, "not done");
}

bool cli_confirm_seen(const struct cli *cli, const char *text)
{
	if (!cli->is_tty)
		return false;
	fputs(text, stderr);
	return hears_yes();
}

enum { PASSPHRASE_MIN = 8 };

/* The first line of a file. Of a longer one `buf` is filled to its end. */
static bool read_first_line(const char *file, char *buf, size_t cap)
{
	AUTO(file) FILE *f = fopen(file, "re");
	size_t n = 0;
	int c = EOF;

	/* No further than its line: whoever writes a pipe may keep it open. */
	while (f && n < cap - 1 && (c = getc(f)) != EOF && c != '\n' && c != '\r' && c != '\0')
		buf[n++] = (char)c;
	buf[n] = '\0';
	/* A NUL among random bytes would end it early, and nobody would see that. */
	return c != '\0' && (n > 0 || c != EOF);
}

/* What was given, cut only where `buf` is full. False after the reason was printed. */
static bool get_passphrase(const struct cli *cli, const char *file, const char *what, char *buf, size_t cap)
{
	const char *env = getenv("OTACTL_PASSPHRASE");
	char prompt[160];

	if (file) {
		if (read_first_line(file, buf, cap))
			return true;
		(void)cli_fail(cli, "cannot read a passphrase from '%s'", file);
		return false;
	}
	if (env) {
		(void)snprintf(buf, cap, "%s", env);
		return true;
	}
	(void)snprintf(prompt, sizeof prompt, "passphrase for %s", what);
	if (ask_hidden(prompt, buf, cap))
		return true;
	(void)cli_usage(
		cli, "no terminal to ask for a passphrase: use --passphrase-file FILE or OTACTL_PASSPHRASE");
	return false;
}

static bool is_same_again(const struct cli *cli, const char *first)
{
	char again[256];
	bool is_same = ask_hidden("once more", again, sizeof again) && strcmp(first, again) == 0;

	ota_wipe(again, sizeof again);
	if (!is_same)
		(void)cli_fail(cli, "the two passphrases differ; nothing was done");
	return is_same;
}

bool cli_passphrase(
	const struct cli *cli, const char *file, const char *what, bool is_new, char *buf, size_t cap)
{
	const bool is_asked = !file && !getenv("OTACTL_PASSPHRASE");
	bool ok = get_passphrase(cli, file, what, buf, cap);

	/* On a terminal it is typed again; without one character somebody has given up. */
	while (ok && is_new && is_asked && strlen(buf) < PASSPHRASE_MIN && buf[0]) {
		fprintf(stderr, "a passphrase needs at least %d characters\n", PASSPHRASE_MIN);
		ok = get_passphrase(cli, file, what, buf, cap);
	}

	/* Cut short it would open the key here and nowhere else. */
	if (ok && strlen(buf) > cap - 2)
		ok = cli_usage(cli, "a passphrase has at most %zu bytes; nothing was done", cap - 2) ==
		     EXIT_DONE;
	if (ok && is_new && strlen(buf) < PASSPHRASE_MIN)
		ok = cli_usage(cli, "a passphrase needs at least %d characters; nothing was done",
			     PASSPHRASE_MIN) == EXIT_DONE;
	if (ok && is_new && is_asked)
		ok = is_same_again(cli, buf);
	if (!ok)
		ota_wipe(buf, cap);
	return ok;
}
