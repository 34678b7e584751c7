/* otad: argv, settings and wiring. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/crypto_openssl.h"
#include "server/config.h"
#include "server/doors.h"
#include "server/health.h"
#include "server/log.h"
#include "server/maintain.h"
#include "server/mqtt.h"
#include "server/server.h"

extern char **environ;

enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

enum { ARGS_MAX = 256 };

static int fail(enum ota_err err, const struct errmsg *e)
{
	fprintf(stderr, "otad: %s\n", e->text[0] ? e->text : ota_err_text(err));
	return err == OTA_INVALID ? EXIT_USAGE : EXIT_FAILED;
}

static int usage(void)
{
	struct arena mem;
	const char *options;

	arena_init(&mem, 256 * 1024);
	options = config_help(&mem);
	printf("usage: otad [OPTION]...\n"
	       "       otad health | check [OPTION]...\n"
	       "       otad backup [--with-keys [--passphrase-file FILE]] FILE|- [OPTION]...\n"
	       "       otad restore [--with-keys [--passphrase-file FILE]] FILE|- [OPTION]...\n\n"
	       "Options may stand on either side of the command.\n"
	       "Every option is also a line of the settings file and a variable OTAD_NAME.\n\n%s",
		options ? options : "");
	arena_release(&mem);
	return EXIT_DONE;
}

static enum ota_err check_file(const char *option, const char *path, struct errmsg *e)
{
	if (path && access(path, R_OK) != 0)
		return errmsg_fail_errno(e, errno, "%s: cannot open '%s'", option, path);
	return OTA_OK;
}

static int check_config(struct config *cfg, struct errmsg *e)
{
	struct door_spec doors[CONFIG_LISTEN_MAX];
	unsigned n;
	enum ota_err err = doors_from_config(cfg, doors, &n, e);

	if (!err)
		err = mqtt_check_urls(cfg, e);
	if (!err)
		err = check_file("tls-cert", cfg->tls_cert, e);
	if (!err)
		err = check_file("tls-key", cfg->tls_key, e);
	if (!err)
		err = check_file("mqtt-ca", cfg->mqtt_ca, e);
	if (err)
		return fail(err, e);
	puts("the settings are good");
	return EXIT_DONE;
}

/* The command first, its options behind it in their order: they may stand on either side of it.
 * OTA_NOT_FOUND: there is none. */
static enum ota_err command_first(int argc, char *const *argv, char **out, struct errmsg *e)
{
	int at = maintain_find_command(argc, argv);

	if (!at)
		return OTA_NOT_FOUND;
	if (strcmp(argv[at], "health") != 0 && !maintain_is_command(argv[at])) {
		/* The value of a mistyped option is no mistyped command. */
		if (config_check_word(argv[at - 1], e))
			return OTA_INVALID;
		return errmsg_fail(e, OTA_INVALID,
			"'%.60s' is no command: health, check, backup or restore; without one otad serves",
			argv[at]);
	}
	out[0] = argv[at];
	for (int i = 1, n = 1; i < argc; i++) {
		if (i != at)
			out[n++] = argv[i];
	}
	return OTA_OK;
}

static int run_command(struct config *cfg, int argc, char *const *words, struct errmsg *e)
{
	enum ota_err err;

	if (strcmp(words[0], "health") == 0) {
		err = config_load(cfg, argc, words, environ, e);
		if (!err)
			err = health_ask(cfg->data, e);
	} else {
		err = maintain_run(cfg, argc, words, environ, e);
	}
	return err ? fail(err, e) : EXIT_DONE;
}

static int run(struct config *cfg, int argc, char *const *argv, struct errmsg *e)
{
	char *words[ARGS_MAX];
	enum ota_err err;

	if (argc > ARGS_MAX)
		return fail(errmsg_fail(e, OTA_INVALID, "too many arguments"), e);
	err = command_first(argc, argv, words, e);
	if (!err)
		return run_command(cfg, argc - 1, words, e);
	if (err != OTA_NOT_FOUND)
		return fail(err, e);
	err = config_load(cfg, argc, argv, environ, e);
	if (err)
		return fail(err, e);
	if (cfg->check_config)
		return check_config(cfg, e);
	err = server_run(cfg, argc, argv, environ, e);
	return err ? fail(err, e) : EXIT_DONE;
}

int main(int argc, char **argv)
{
	struct config cfg = {.data = NULL};
	struct errmsg e = {{0}};
	int code;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return usage();
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		puts("otad " OTAD_VERSION);
		return EXIT_DONE;
	}
	code = run(&cfg, argc, argv, &e);
	config_release(&cfg);
	return code;
}
