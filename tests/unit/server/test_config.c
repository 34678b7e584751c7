#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/config.h"
#include "tests/unit/server/cmocka_all.h"

static enum ota_err parse(struct config *c, const char *text, struct errmsg *e)
{
	enum ota_err err = config_init(c, e);

	return err ? err : config_parse(c, "f", text, strlen(text), e);
}

static void defaults(void **state)
{
	struct config c;
	struct errmsg e;

	(void)state;
	assert_int_equal(config_init(&c, &e), OTA_OK);
	assert_string_equal(c.data, "/var/lib/otad");
	assert_int_equal(c.listen.n, 1);
	assert_string_equal(c.listen.value[0], "http://127.0.0.1:8484");
	assert_false(c.plain_http);
	assert_null(c.public_url);
	assert_int_equal(c.poll, 300);
	assert_int_equal(c.max_image, 1 << 30);
	assert_int_equal(c.partial_life, 86400);
	assert_string_equal(c.topic_prefix, "otad/1");
	config_release(&c);
}

static void good_file(void **state)
{
	static const char text[] = "# a comment\n; another\n\n"
				   "[server]\r\n data = /d \r\nlisten=http://127.0.0.1:1 http://127.0.0.1:2\n"
				   "listen = https://[::1]:3=operators\nplain-http = yes\nlog-level=debug\n"
				   "[limits]\nmax-image = 16M\nconnections=64\n"
				   "[devices]\npoll = 5m\n[mqtt]\nmqtt=mqtt://h\n[server]\npublic-url = ";
	struct config c;
	struct errmsg e;

	(void)state;
	if (parse(&c, text, &e))
		fail_msg("%s", e.text);
	assert_string_equal(c.data, "/d");
	assert_int_equal(c.listen.n, 3);
	assert_string_equal(c.listen.value[2], "https://[::1]:3=operators");
	assert_true(c.plain_http);
	assert_int_equal(c.log_level, 3);
	assert_int_equal(c.max_image, 16 << 20);
	assert_int_equal(c.connections, 64);
	assert_int_equal(c.poll, 300);
	assert_string_equal(c.mqtt_url, "mqtt://h");
	assert_null(c.public_url);
	config_release(&c);
}

static void bad_files(void **state)
{
	static const struct {
		const char *text;
		const char *words;
	} rows[] = {
		{"[server]\nbogus = 1\n", "f:2: unknown option 'bogus'"},
		{"[nowhere]\n", "f:1: unknown section 'nowhere'"},
		{"[server\n", "f:1: section without ']'"},
		{"\n\ndata = /x\n", "f:3: option 'data' belongs into section [server]"},
		{"[limits]\ndata = /x\n", "f:2: option 'data' belongs into section [server]"},
		{"[server]\njust words\n", "f:2: neither"},
		{"[server]\ndata = a\ndata = b\n", "f:3: option 'data' stands twice"},
		{"[server]\nplain-http = perhaps\n", "f:2: plain-http: 'perhaps' is neither yes nor no"},
		{"[server]\nlog-level = loud\n", "f:2: log-level: 'loud' is none of: error warn info debug"},
		{"[server]\nlog-level = error warn\n", "is none of"},
		{"[limits]\nconnections = 3\n", "f:2: connections: 3 is not within 16 to 1000000"},
		{"[limits]\nconnections = 12x\n", "'12x' is not a number"},
		{"[limits]\nconnections = -5\n", "'-5' is not a number"},
		{"[limits]\nconnections = \n", "'' is not a number"},
		{"[limits]\nmax-image = 1T\n", "'1T' is not a size"},
		{"[limits]\nmax-image = 1MB\n", "is not a size"},
		{"[limits]\nmax-image = 99999999999999999999\n", "is not a size"},
		{"[limits]\nmax-image = 9223372036854775807G\n", "is not a size"},
		{"[devices]\npoll = 5\n", "is not within 10 to 604800 seconds"},
		{"[devices]\npoll = 5 m\n", "is not a time"},
		{"[server]\nconfig = x\n", "unknown option 'config'"},
		{"[server]\nlisten = 1 2 3 4 5 6 7 8 9\n", "more than 8 values"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct config c;
		struct errmsg e = {{0}};

		if (parse(&c, rows[i].text, &e) != OTA_INVALID || !strstr(e.text, rows[i].words))
			fail_msg("%s-> %s", rows[i].text, e.text);
		config_release(&c);
	}
}

static void nul_bytes(void **state)
{
	struct config c;
	struct errmsg e;

	(void)state;
	assert_int_equal(config_init(&c, &e), OTA_OK);
	assert_int_equal(config_parse(&c, "f", "[server]\0\n", 10, &e), OTA_INVALID);
	config_release(&c);
}

static char file_name[64];

/* argv and the environment are not const by tradition; nobody writes to them. */
static char *const *list(const char *const *words)
{
	return (char *const *)(uintptr_t)words;
}

static void write_file(const char *text)
{
	FILE *f;
	int fd;

	strcpy(file_name, "/tmp/otad-config-test-XXXXXX");
	fd = mkstemp(file_name);
	assert_true(fd >= 0);
	f = fdopen(fd, "w");
	fputs(text, f);
	fclose(f);
}

/* The later wins: defaults, file, variables, argv. */
static void order(void **state)
{
	struct config c;
	struct errmsg e = {{0}};
	const char *env[] = {
		"OTAD_POLL=20s", "OTAD_MAX_IMAGE=2M", "OTAD_LISTEN=http://127.0.0.1:5", "OTADPOLL=1", NULL};
	const char *argv[] = {"otad", "--config", file_name, "--poll=30", "--listen", "http://127.0.0.1:6",
		"--listen=http://127.0.0.1:7=devices", "--plain-http", "--public-url", "http://h", NULL};

	(void)state;
	write_file("[devices]\npoll = 10s\nnotice-spread = 7\n[limits]\nmax-image = 1M\n");
	if (config_load(&c, 10, list(argv), list(env), &e))
		fail_msg("%s", e.text);
	assert_int_equal(c.poll, 30);
	assert_int_equal(c.max_image, 2 << 20);
	assert_int_equal(c.notice_spread, 7);
	assert_int_equal(c.listen.n, 2);
	assert_string_equal(c.listen.value[1], "http://127.0.0.1:7=devices");
	assert_true(c.plain_http);
	assert_string_equal(c.public_url, "http://h/");
	config_release(&c);
	unlink(file_name);
}

static void usage_errors(void **state)
{
	static const struct {
		const char *argv[4];
		const char *words;
	} rows[] = {
		{{"otad", "--bogus", "1"}, "unknown option '--bogus'"},
		{{"otad", "word"}, "unexpected argument 'word'"},
		{{"otad", "-d"}, "unexpected argument '-d'"},
		{{"otad", "--data"}, "--data needs a value"},
		{{"otad", "--mqtt-password=x"}, "not on the command line"},
		{{"otad", "--mqtt-password", "x"}, "OTAD_MQTT_PASSWORD"},
		{{"otad", "--poll", "x"}, "--poll: 'x' is not a time"},
		{{"otad", "--config", "/nowhere/at/all"}, "cannot open '/nowhere/at/all'"},
		{{"otad", "--mqtt-password-file", "/nowhere"}, "cannot open '/nowhere'"},
		{{"otad", "--tls-cert", "x"}, "go together"},
		{{"otad", "--public-url", "ftp://x"}, "not an http"},
		{{"otad", "--topic-prefix", "a/#"}, "wildcard"},
		{{"otad", "--topic-prefix", "otad/"}, "ending with '/'"},
		{{"otad", "--topic-prefix", "$SYS"}, "beginning with '$'"},
		{{"otad", "--data", ""}, "no data directory"},
		{{"otad", "--plain-http=perhaps"}, "neither yes nor no"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct config c;
		struct errmsg e = {{0}};
		int argc = 0;

		while (argc < 4 && rows[i].argv[argc])
			argc++;
		if (config_load(&c, argc, list(rows[i].argv), NULL, &e) == OTA_OK ||
			!strstr(e.text, rows[i].words))
			fail_msg("row %zu: %s", i, e.text);
		config_release(&c);
	}
}

/* A misspelt variable is refused as a misspelt option is; what only begins like ours is somebody else's. */
static void misspelt_variables(void **state)
{
	static const struct {
		const char *env;
		const char *words; /* NULL: taken */
	} rows[] = {
		{"OTAD_LISTNE=http://127.0.0.1:1", "unknown variable OTAD_LISTNE: did you mean OTAD_LISTEN?"},
		{"OTAD_POL=5m", "did you mean OTAD_POLL?"},
		{"OTAD_poll=5m", "unknown variable OTAD_poll: did you mean OTAD_POLL?"},
		{"OTAD_DATE=", "did you mean OTAD_DATA?"},
		{"OTAD_MQTT_PASWORD=x", "did you mean OTAD_MQTT_PASSWORD?"},
		{"OTAD_PUBLIC-IMAGES=no", "did you mean OTAD_PUBLIC_IMAGES?"},
		{"OTAD_CONFG=/x", "did you mean OTAD_CONFIG?"},
		{"OTAD_LISTNE", "did you mean OTAD_LISTEN?"},
		{"OTAD_HOST=lamp.example", NULL},
		{"OTAD_PORT=tcp://10.0.0.1:8484", NULL},
		{"OTAD_PORT_8484_TCP_ADDR=10.0.0.1", NULL},
		{"OTAD_SERVICE_HOST=10.0.0.1", NULL},
		{"OTAD_BIN=/usr/bin", NULL},
		{"OTAD_=x", NULL},
		{"OTADLISTNE=x", NULL},
		{"OTACTL_URL=http://127.0.0.1:1", NULL},
		{"LISTNE=x", NULL},
	};
	const char *argv[] = {"otad", NULL};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *env[] = {"HOME=/root", rows[i].env, NULL};
		struct errmsg e = {{0}};
		struct config c;
		enum ota_err err = config_load(&c, 1, list(argv), list(env), &e);

		if (err != (rows[i].words ? OTA_INVALID : OTA_OK) ||
			(rows[i].words && !strstr(e.text, rows[i].words)))
			fail_msg("%s: %s", rows[i].env, e.text);
		config_release(&c);
	}
}

static void passwords(void **state)
{
	struct config c;
	struct errmsg e = {{0}};
	const char *argv[] = {"otad", "--mqtt-password-file", file_name, NULL};
	const char *env[] = {"OTAD_DEVICE_MQTT_PASSWORD=shared", NULL};

	(void)state;
	write_file("secret word \r\nsecond line\n");
	if (config_load(&c, 3, list(argv), list(env), &e))
		fail_msg("%s", e.text);
	assert_string_equal(c.mqtt_password, "secret word ");
	assert_string_equal(c.device_mqtt_password, "shared");
	config_release(&c);
	unlink(file_name);
}

static char *slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text;
	size_t n;

	if (!f)
		return NULL;
	text = calloc(1, 200000);
	n = fread(text, 1, 199999, f);
	fclose(f);
	text[n] = '\0';
	return text;
}

/* Every option stands in otad.conf(5) with its default, and in --help; the page names no other. */
static void manual(void **state)
{
	char *page = slurp("man/otad.conf.5");
	unsigned n_documented = 0, n_wanted = 0;
	struct arena mem;
	const char *help;

	(void)state;
	assert_non_null(page);
	arena_init(&mem, 1 << 20);
	help = config_help(&mem);
	assert_non_null(help);
	for (size_t i = 0; i < n_config_options; i++) {
		const struct config_option *opt = &config_options[i];
		char entry[128];

		snprintf(entry, sizeof entry, "--%s ", opt->name);
		if (!(opt->flags & CONFIG_SECRET) && !strstr(help, entry))
			fail_msg("--help has no %s", opt->name);
		if (opt->flags & CONFIG_ARGV_ONLY)
			continue;
		n_wanted++;
		snprintf(entry, sizeof entry, "\n.It Ic %s ", opt->name);
		if (!strstr(page, entry))
			fail_msg("otad.conf(5) has no entry '.It Ic %s ...'", opt->name);
		if (opt->def) {
			snprintf(entry, sizeof entry, "Default: %s", opt->def);
			if (!strstr(strstr(page, opt->name), entry))
				fail_msg("otad.conf(5) does not say '%s' for %s", entry, opt->name);
		}
	}
	for (const char *p = page; (p = strstr(p, "\n.It Ic ")); p++)
		n_documented++;
	assert_int_equal(n_documented, n_wanted);
	arena_release(&mem);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(good_file),
		cmocka_unit_test(bad_files),
		cmocka_unit_test(nul_bytes),
		cmocka_unit_test(order),
		cmocka_unit_test(usage_errors),
		cmocka_unit_test(misspelt_variables),
		cmocka_unit_test(passwords),
		cmocka_unit_test(manual),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
