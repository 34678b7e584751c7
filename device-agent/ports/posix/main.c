/* ota-agent: argv and wiring. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "device-agent/ports/posix/device.h"
#include "device-agent/ports/posix/report.h"

static const char usage[] =
	"usage: ota-agent --provision FILE --flash FILE [options]\n"
	"  --provision FILE    who this device is, as otactl provision makes it (needed at the first start)\n"
	"  --flash FILE        the device's flash; made when it is not there\n"
	"  --once              poll once, do what follows from it, and end\n"
	"  --interval S        at most S seconds between polls, whatever the server says\n"
	"  --exec CMD          health hook during a trial: exit 0 well, 1 ill, other not yet\n"
	"  --image FILE        write the image that boots to FILE\n"
	"  --factory FILE      first content of slot 0, when the flash is made\n"
	"  --slot-size BYTES   size of a slot, when the flash is made (K and M understood; 4M)\n"
	"  --erase-unit BYTES  erase unit, when the flash is made (4K)\n"
	"  --prog-unit BYTES   program unit, when the flash is made (4)\n"
	"  --component NAME    component of the board, in its order; twice at most (app)\n"
	"  --trial S           seconds on trial without contact before going back, 0 never (1800)\n"
	"  --cacert FILE       certificates that servers are checked against\n"
	"  --no-broker         poll only\n"
	"  --exit-on-reset     end with 3 where the device would restart\n"
	"  --json              one JSON object per line\n"
	"  --version, --help\n";

enum option_id {
	OPT_PROVISION = 256,
	OPT_FLASH,
	OPT_ONCE,
	OPT_INTERVAL,
	OPT_EXEC,
	OPT_IMAGE,
	OPT_FACTORY,
	OPT_SLOT_SIZE,
	OPT_ERASE_UNIT,
	OPT_PROG_UNIT,
	OPT_COMPONENT,
	OPT_TRIAL,
	OPT_CACERT,
	OPT_NO_BROKER,
	OPT_EXIT_ON_RESET,
	OPT_JSON,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option long_options[] = {
	{"provision", required_argument, NULL, OPT_PROVISION},
	{"flash", required_argument, NULL, OPT_FLASH},
	{"once", no_argument, NULL, OPT_ONCE},
	{"interval", required_argument, NULL, OPT_INTERVAL},
	{"exec", required_argument, NULL, OPT_EXEC},
	{"image", required_argument, NULL, OPT_IMAGE},
	{"factory", required_argument, NULL, OPT_FACTORY},
	{"slot-size", required_argument, NULL, OPT_SLOT_SIZE},
	{"erase-unit", required_argument, NULL, OPT_ERASE_UNIT},
	{"prog-unit", required_argument, NULL, OPT_PROG_UNIT},
	{"component", required_argument, NULL, OPT_COMPONENT},
	{"trial", required_argument, NULL, OPT_TRIAL},
	{"cacert", required_argument, NULL, OPT_CACERT},
	{"no-broker", no_argument, NULL, OPT_NO_BROKER},
	{"exit-on-reset", no_argument, NULL, OPT_EXIT_ON_RESET},
	{"json", no_argument, NULL, OPT_JSON},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

static bool parse_number(const char *name, const char *text, uint32_t max, uint32_t *out)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (end != text && (*end == 'K' || *end == 'k')) {
		v *= 1024;
		end++;
	} else if (end != text && (*end == 'M' || *end == 'm')) {
		v *= 1024 * 1024;
		end++;
	}
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || v > max) {
		(void)fprintf(stderr, "ota-agent: --%s needs a number up to %u, not '%s'\n", name, max, text);
		return false;
	}
	*out = (uint32_t)v;
	return true;
}

static bool add_component(struct device_options *o, const char *name)
{
	size_t len = strlen(name);

	if (o->flash.n_components == OTA_COMPONENTS_MAX || len < 1 || len > SUIT_COMPONENT_ID_MAX) {
		report_error("--component needs a name of 1 to 8 characters, and there are at most 2");
		return false;
	}
	o->component[o->flash.n_components++] = name;
	return true;
}

/* False: usage was told. */
static bool take_option(struct device_options *o, int id)
{
	uint32_t n = 0;

	switch (id) {
	case OPT_PROVISION:
		o->provision_path = optarg;
		return true;
	case OPT_FLASH:
		o->flash_path = optarg;
		return true;
	case OPT_ONCE:
		o->is_once = true;
		return true;
	case OPT_INTERVAL:
		return parse_number("interval", optarg, TICKET_POLL_MAX_S, &o->interval_s);
	case OPT_EXEC:
		o->exec = optarg;
		return true;
	case OPT_IMAGE:
		o->image_path = optarg;
		return true;
	case OPT_FACTORY:
		o->factory_path = optarg;
		return true;
	case OPT_SLOT_SIZE:
		return parse_number("slot-size", optarg, 1U << 30, &o->flash.slot_size);
	case OPT_ERASE_UNIT:
		return parse_number("erase-unit", optarg, 1U << 20, &o->flash.erase_unit);
	case OPT_PROG_UNIT:
		if (!parse_number("prog-unit", optarg, OTA_PROG_UNIT_MAX, &n))
			return false;
		o->flash.prog_unit = (uint16_t)n;
		return true;
	case OPT_COMPONENT:
		return add_component(o, optarg);
	case OPT_TRIAL:
		return parse_number("trial", optarg, 30 * 86400, &o->trial_s);
	case OPT_CACERT:
		o->ca_file = optarg;
		return true;
	case OPT_NO_BROKER:
		o->is_broker_ignored = true;
		return true;
	case OPT_EXIT_ON_RESET:
		o->is_exit_on_reset = true;
		return true;
	case OPT_JSON:
		o->is_json = true;
		return true;
	default:
		return false;
	}
}

static int open_stop_fd(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error to tell, not to die of */
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int argc, char **argv)
{
	struct device_options o = {
		.trial_s = 1800, .flash = {.slot_size = 4U << 20, .erase_unit = 4096, .prog_unit = 4}};
	struct errmsg e;
	int id, code, stop_fd;

	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (id == OPT_HELP) {
			(void)fputs(usage, stdout);
			return DEVICE_DONE;
		}
		if (id == OPT_VERSION) {
			printf("ota-agent %s\n", OTAD_VERSION);
			return DEVICE_DONE;
		}
		if (!take_option(&o, id))
			return DEVICE_USAGE;
	}
	if (optind < argc) {
		(void)fprintf(stderr, "ota-agent: unexpected argument '%s'\n", argv[optind]);
		return DEVICE_USAGE;
	}
	if (!o.flash_path) {
		report_error("--flash FILE is missing; --help tells more");
		return DEVICE_USAGE;
	}
	if (o.flash.n_components == 0)
		o.component[o.flash.n_components++] = "app";
	stop_fd = open_stop_fd();
	if (stop_fd < 0) {
		report_error("cannot watch for signals");
		return DEVICE_FAILED;
	}
	code = device_run(&o, stop_fd, &e);
	if (code == DEVICE_FAILED && e.text[0])
		report_error(e.text);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		report_error("cannot write to standard output");
		code = DEVICE_FAILED;
	}
	return code;
}
