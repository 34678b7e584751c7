#include "server/config.h"

#include <ctype.h>
#include <stdio.h>

#define AT(field) offsetof(struct config, field)

/* clang-format off */
const struct config_option config_options[] = {
	{"server", "data", CONFIG_TEXT, 0, 0, "/var/lib/otad", NULL,
		"directory of the database, the images and the keys", AT(data), NULL, 0},
	{"server", "listen", CONFIG_LIST, 0, 0, "http://127.0.0.1:8484", NULL,
		"door as scheme://address:port[=operators,devices,clients]; repeats; scheme http or https", AT(listen), NULL, 0},
	{"server", "plain-http", CONFIG_BOOL, 0, 1, "no", NULL,
		"allow http:// doors beyond loopback, for devices and foreign clients only", AT(plain_http), NULL, 0},
	{"server", "public-url", CONFIG_TEXT, 0, 0, NULL, NULL,
		"base URL that devices are given, with its final '/'", AT(public_url), NULL, 0},
	{"server", "host-names", CONFIG_LIST, 0, 0, NULL, NULL,
		"more names and addresses for the self-signed certificate", AT(host_names), NULL, 0},
	{"server", "tls-cert", CONFIG_TEXT, 0, 0, NULL, NULL,
		"certificate chain (PEM); without it one is made in DIR/tls", AT(tls_cert), NULL, CONFIG_RELOAD},
	{"server", "tls-key", CONFIG_TEXT, 0, 0, NULL, NULL,
		"private key of tls-cert (PEM)", AT(tls_key), NULL, CONFIG_RELOAD},
	{"server", "log-level", CONFIG_WORD, 0, 0, "info", NULL,
		"least important lines that are logged", AT(log_level), "error warn info debug", CONFIG_RELOAD},
	{"server", "log-format", CONFIG_WORD, 0, 0, "auto", NULL,
		"form of the log lines; auto: journal under systemd, else text", AT(log_format), "auto text json journal", CONFIG_RELOAD},

	{"limits", "connections", CONFIG_NUMBER, 16, 1000000, "4000", NULL,
		"connections served at once; more are answered 503", AT(connections), NULL, CONFIG_RELOAD},
	{"limits", "connections-per-address", CONFIG_NUMBER, 0, 1000000, "0", NULL,
		"connections of one address at once; 0: no limit; leave it at 0 behind a proxy", AT(connections_per_address), NULL, 0},
	{"limits", "max-image", CONFIG_SIZE, 1024, INT64_C(1) << 40, "1G", "bytes",
		"largest image that is taken", AT(max_image), NULL, CONFIG_RELOAD},
	{"limits", "disk-reserve", CONFIG_SIZE, 0, INT64_C(1) << 50, "0", "bytes",
		"free space that uploads leave alone; 0: the larger of 64 MiB and 5 %", AT(disk_reserve), NULL, CONFIG_RELOAD},
	{"limits", "max-devices", CONFIG_NUMBER, 1, 10000000, "1000000", NULL,
		"devices that may enroll", AT(max_devices), NULL, CONFIG_RELOAD},
	{"limits", "auth-failures", CONFIG_NUMBER, 1, 1000000, "30", NULL,
		"wrong tokens of one address in a minute before it is answered 429", AT(auth_failures), NULL, CONFIG_RELOAD},

	{"devices", "poll", CONFIG_TIME, 10, 7 * 86400, "300s", "seconds",
		"time between two check-ins of a device", AT(poll), NULL, CONFIG_RELOAD},
	{"devices", "poll-spread", CONFIG_NUMBER, 0, 50, "10", "per cent",
		"random share added to or taken from it", AT(poll_spread), NULL, CONFIG_RELOAD},
	{"devices", "notice-spread", CONFIG_TIME, 0, 3600, "10s", "seconds",
		"time over which the devices of a board look after a notice", AT(notice_spread), NULL, CONFIG_RELOAD},
	{"devices", "public-images", CONFIG_BOOL, 0, 1, "no", NULL,
		"serve images to everybody, cacheable by proxies", AT(public_images), NULL, CONFIG_RELOAD},
	{"devices", "task-timeout", CONFIG_TIME, 0, 366 * 86400, "0", "seconds",
		"age at which an open assignment is timed-out; 0: never", AT(task_timeout), NULL, CONFIG_RELOAD},
	{"devices", "partial-life", CONFIG_TIME, 60, 366 * 86400, "24h", "seconds",
		"how long an unfinished upload is kept", AT(partial_life), NULL, CONFIG_RELOAD},

	{"mqtt", "mqtt", CONFIG_TEXT, 0, 0, NULL, NULL,
		"broker as mqtt://host[:port] or mqtts://host[:port]; without it devices poll", AT(mqtt_url), NULL, 0},
	{"mqtt", "mqtt-user", CONFIG_TEXT, 0, 0, NULL, NULL,
		"otad's account at the broker", AT(mqtt_user), NULL, 0},
	{"mqtt", "mqtt-password", CONFIG_TEXT, 0, 0, NULL, NULL,
		"its password; not on the command line", AT(mqtt_password), NULL, CONFIG_SECRET},
	{"mqtt", "mqtt-password-file", CONFIG_TEXT, 0, 0, NULL, NULL,
		"file with the password in its first line", AT(mqtt_password_file), NULL, 0},
	{"mqtt", "mqtt-ca", CONFIG_TEXT, 0, 0, NULL, NULL,
		"certificates that may vouch for the broker (PEM); without it the system's", AT(mqtt_ca), NULL, 0},
	{"mqtt", "topic-prefix", CONFIG_TEXT, 0, 0, "otad/1", NULL,
		"first part of every topic", AT(topic_prefix), NULL, 0},
	{"mqtt", "device-mqtt", CONFIG_TEXT, 0, 0, NULL, NULL,
		"broker that devices are given; without it the same as mqtt", AT(device_mqtt_url), NULL, 0},
	{"mqtt", "device-mqtt-user", CONFIG_TEXT, 0, 0, NULL, NULL,
		"account that devices share", AT(device_mqtt_user), NULL, 0},
	{"mqtt", "device-mqtt-password", CONFIG_TEXT, 0, 0, NULL, NULL,
		"its password; not on the command line", AT(device_mqtt_password), NULL, CONFIG_SECRET},
	{"mqtt", "device-mqtt-password-file", CONFIG_TEXT, 0, 0, NULL, NULL,
		"file with that password in its first line", AT(device_mqtt_password_file), NULL, 0},

	{"", "config", CONFIG_TEXT, 0, 0, NULL, NULL,
		"file to read settings from", AT(config_file), NULL, CONFIG_ARGV_ONLY},
	{"", "check-config", CONFIG_BOOL, 0, 1, "no", NULL,
		"check the settings and end", AT(check_config), NULL, CONFIG_ARGV_ONLY},
};
/* clang-format on */
const size_t n_config_options = sizeof config_options / sizeof config_options[0];

_Static_assert(sizeof config_options / sizeof config_options[0] <= CONFIG_OPTIONS_MAX,
	"CONFIG_OPTIONS_MAX is too small");

void config_variable(const struct config_option *opt, char out[static 64])
{
	size_t used = (size_t)snprintf(out, 64, "OTAD_%s", opt->name);

	for (size_t i = 5; i < used; i++)
		out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static const char *kind_word(const struct config_option *opt)
{
	switch (opt->kind) {
	case CONFIG_TEXT:
		return "TEXT";
	case CONFIG_LIST:
		return "TEXT...";
	case CONFIG_BOOL:
		return "";
	case CONFIG_SIZE:
		return "SIZE";
	case CONFIG_TIME:
		return "TIME";
	case CONFIG_NUMBER:
		return "N";
	case CONFIG_WORD:
		return "WORD";
	}
	return "";
}

const char *config_help(struct arena *mem)
{
	const char *text = "";

	for (size_t i = 0; text && i < n_config_options; i++) {
		const struct config_option *opt = &config_options[i];
		char left[64];

		if (opt->flags & CONFIG_SECRET)
			continue;
		snprintf(left, sizeof left, "--%s %s", opt->name, kind_word(opt));
		text = arena_printf(mem, "%s  %-34s %s%s%s%s\n", text, left, opt->help,
			opt->def && opt->kind != CONFIG_BOOL ? " (" : "",
			opt->def && opt->kind != CONFIG_BOOL ? opt->def : "",
			opt->def && opt->kind != CONFIG_BOOL ? ")" : "");
	}
	return text;
}
