/* otad: argv, settings and wiring. */
#include <stdio.h>
#include <string.h>

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
	       "       otad backup [--with-keys --passphrase-file FILE] FILE|- [OPTION]...\n"
	       "       otad restore [--passphrase-file FILE] FILE|- [OPTION]...\n\n"
	       "Every option is also a line of the settings file and a variable OTAD_NAME.\n\n%s",
		options ? options : "");
	arena_release(&mem);
	return EXIT_DONE;
}

static int check_config(struct config *cfg, struct errmsg *e)
{
	struct door_spec doors[CONFIG_LISTEN_MAX];
	unsigned n;
	enum ota_err err = doors_from_config(cfg, doors, &n, e);

	if (!err && cfg->mqtt_url)
		err = mqtt_check_url(cfg->mqtt_url, e);
	if (err)
		return fail(err, e);
	puts("the settings are good");
	return EXIT_DONE;
}

static int run(struct config *cfg, int argc, char *const *argv, struct errmsg *e)
{
	enum ota_err err;

	if (argc > 1 && strcmp(argv[1], "health") == 0) {
		err = config_load(cfg, argc - 1, argv + 1, environ, e);
		if (!err)
			err = health_ask(cfg->data, e);
		return err ? fail(err, e) : EXIT_DONE;
	}
	if (argc > 1 && maintain_is_command(argv[1])) {
		err = maintain_run(cfg, argc - 1, argv + 1, environ, e);
		return err ? fail(err, e) : EXIT_DONE;
	}
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
