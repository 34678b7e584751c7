/* Settings of otad: defaults, one INI file, OTAD_ variables, argv; the later wins.
 *
 * One table row per option is the only description of it: file, variable, argv, --help and the manual page
 * come from it. A wrong value or an unknown option is an error that names its place. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/arena.h"
#include "proto/errmsg.h"

enum { CONFIG_LISTEN_MAX = 8, CONFIG_OPTIONS_MAX = 64 };

enum config_kind {
	CONFIG_TEXT,
	CONFIG_LIST, /* repeats, up to CONFIG_LISTEN_MAX; in the file and the variable separated by spaces */
	CONFIG_BOOL, /* yes/no, true/false, 1/0; on argv without a value it is yes */
	CONFIG_SIZE, /* bytes; k, M, G (powers of 1024) */
	CONFIG_TIME, /* seconds; s, m, h, d */
	CONFIG_NUMBER,
	CONFIG_WORD, /* one of the words in `words` */
};

enum {
	CONFIG_SECRET = 1, /* never from argv, never printed */
	CONFIG_RELOAD = 2, /* taken over by SIGHUP */
	CONFIG_ARGV_ONLY = 4,
};

struct config_list {
	unsigned n;
	const char *value[CONFIG_LISTEN_MAX];
};

struct config {
	/* [server] */
	const char *data;          /* directory */
	struct config_list listen; /* scheme://addr:port[=operators,devices,clients] */
	bool plain_http;
	const char *public_url;        /* NULL: not set; ends in '/' otherwise */
	struct config_list host_names; /* more names and addresses for the self-signed certificate */
	const char *tls_cert;          /* PEM files; NULL: DIR/tls/ and made at first start */
	const char *tls_key;
	int64_t log_level;  /* enum log_level */
	int64_t log_format; /* enum log_format */
	/* [limits] */
	int64_t connections;
	int64_t connections_per_address; /* 0: no limit */
	int64_t max_image;               /* bytes */
	int64_t disk_reserve;            /* bytes; 0: the larger of 64 MiB and 5 % */
	int64_t max_devices;
	int64_t auth_failures; /* a minute and address */
	/* [devices] */
	int64_t poll;          /* seconds between check-ins */
	int64_t poll_spread;   /* per cent, both ways */
	int64_t notice_spread; /* seconds over which a board's devices look after a notice */
	bool public_images;
	int64_t task_timeout; /* seconds until an open assignment is timed-out; 0: never */
	int64_t partial_life; /* seconds an unfinished upload is kept */
	/* [mqtt] */
	const char *mqtt_url; /* NULL: no broker */
	const char *mqtt_user;
	const char *mqtt_password; /* NULL: none; from mqtt-password-file or OTAD_MQTT_PASSWORD */
	const char *mqtt_password_file;
	const char *mqtt_ca;
	const char *topic_prefix;    /* "otad/1" */
	const char *device_mqtt_url; /* what devices are told; NULL: mqtt_url */
	const char *device_mqtt_user;
	const char *device_mqtt_password;
	const char *device_mqtt_password_file;
	/* argv only */
	const char *config_file;
	bool check_config;

	struct arena mem; /* holds the texts */
};

struct config_option {
	const char *section;
	const char *name;
	enum config_kind kind;
	int64_t min, max;
	const char *def; /* as it would stand in the file; NULL: unset */
	const char *unit;
	const char *help;
	size_t offset;
	const char *words; /* CONFIG_WORD: "a b c", value = position */
	unsigned flags;
};

/* The table; at most CONFIG_OPTIONS_MAX rows. */
extern const struct config_option config_options[];
extern const size_t n_config_options;

/* Is `word` of argv an option whose value is the next word? Unknown options are none. */
bool config_takes_word(const char *word);

/* Defaults; end with config_release. */
OTA_MUST_USE enum ota_err config_init(struct config *c, struct errmsg *e);
void config_release(struct config *c);

/* Parse INI text; `file` is for messages ("otad.conf:12: unknown option 'polll'"). `len` bytes, no NUL
 * needed. On failure `c` must be released. */
OTA_MUST_USE enum ota_err config_parse(
	struct config *c, const char *file, const char *text, size_t len, struct errmsg *e);

/* Is `word` of the command line no option, or one that there is? OTA_INVALID, with the nearest: it is none.
 */
OTA_MUST_USE enum ota_err config_check_word(const char *word, struct errmsg *e);

/* Take one value as from `where` ("OTAD_POLL", "--poll"). */
OTA_MUST_USE enum ota_err config_set(struct config *c, const char *where, const struct config_option *opt,
	const char *value, struct errmsg *e);

/* Everything, in order: defaults, file (--config, else OTAD_CONFIG), variables of `env`, argv; password files
 * are read last. argv[0] is skipped. A variable that is nearly one of ours is a misspelt one. OTA_INVALID:
 * usage error. */
OTA_MUST_USE enum ota_err config_load(
	struct config *c, int argc, char *const *argv, char *const *env, struct errmsg *e);

/* The usage text of all options, for --help: "  --poll TIME  ..." lines into `mem`. NULL: out of memory. */
const char *config_help(struct arena *mem);

/* "OTAD_MQTT_URL" of "mqtt-url"; `out` has room for 64. */
void config_variable(const struct config_option *opt, char out[static 64]);

#endif
