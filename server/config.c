#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/notice.h"
#include "proto/suggest.h"

#define KIB INT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)

enum { TEXT_MAX = 4096, FILE_MAX = 256 * 1024, CONFIG_MEM_MAX = 2 * 1024 * 1024 };

static const struct config_option *find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < n_config_options; i++) {
		if (strlen(config_options[i].name) == len && memcmp(config_options[i].name, name, len) == 0)
			return &config_options[i];
	}
	return NULL;
}

static void *field_of(struct config *c, const struct config_option *opt)
{
	return (char *)c + opt->offset;
}

/* Whole number with an optional suffix out of `units`, whose factors stand in `factors`. */
static bool parse_scaled(const char *text, const char *units, const int64_t *factors, int64_t *out)
{
	const char *unit;
	char *end;
	long long v;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno)
		return false;
	if (*end == '\0') {
		*out = v;
		return true;
	}
	unit = strchr(units, *end);
	if (!unit || end[1] != '\0')
		return false;
	return !__builtin_mul_overflow((int64_t)v, factors[unit - units], out);
}

static bool parse_bool(const char *text, bool *out)
{
	static const char *const yes[] = {"yes", "true", "1", "on"};
	static const char *const no[] = {"no", "false", "0", "off"};

	for (unsigned i = 0; i < 4; i++) {
		if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
			*out = strcmp(text, yes[i]) == 0;
			return true;
		}
	}
	return false;
}

static bool parse_word(const char *text, const char *words, int64_t *out)
{
	size_t len = strlen(text);

	if (len == 0 || strchr(text, ' '))
		return false;
	for (int64_t i = 0; *words; i++) {
		size_t word_len = strcspn(words, " ");

		if (word_len == len && memcmp(words, text, len) == 0) {
			*out = i;
			return true;
		}
		words += word_len + (words[word_len] == ' ');
	}
	return false;
}

static enum ota_err parse_number(
	const char *where, const struct config_option *opt, const char *value, int64_t *out, struct errmsg *e)
{
	static const int64_t size_factors[] = {KIB, MIB, GIB, KIB};
	static const int64_t time_factors[] = {1, 60, 3600, 86400};
	int64_t v;
	bool is_good;

	if (opt->kind == CONFIG_SIZE)
		is_good = parse_scaled(value, "kMGK", size_factors, &v);
	else if (opt->kind == CONFIG_TIME)
		is_good = parse_scaled(value, "smhd", time_factors, &v);
	else
		is_good = parse_scaled(value, "", NULL, &v);
	if (!is_good)
		return errmsg_fail(e, OTA_INVALID, "%s: '%.40s' is not a %s", where, value,
			opt->kind == CONFIG_SIZE   ? "size (as 64M)"
			: opt->kind == CONFIG_TIME ? "time (as 300s, 5m, 24h)"
						   : "number");
	if (v < opt->min || v > opt->max)
		return errmsg_fail(e, OTA_INVALID, "%s: %.40s is not within %lld to %lld%s%s", where, value,
			(long long)opt->min, (long long)opt->max, opt->unit ? " " : "",
			opt->unit ? opt->unit : "");
	*out = v;
	return OTA_OK;
}

/* Replace the list by the words of `value`, or add to what argv put there. */
static enum ota_err set_list(struct config *c, const char *where, const struct config_option *opt,
	const char *value, bool is_more, struct errmsg *e)
{
	struct config_list *list = field_of(c, opt);

	if (!is_more)
		list->n = 0;
	while (*value) {
		size_t len = strcspn(value, " \t");

		if (len > 0) {
			if (list->n == CONFIG_LISTEN_MAX)
				return errmsg_fail(
					e, OTA_INVALID, "%s: more than %d values", where, CONFIG_LISTEN_MAX);
			list->value[list->n] = arena_strndup(&c->mem, value, len);
			if (!list->value[list->n])
				return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
			list->n++;
		}
		value += len;
		value += strspn(value, " \t");
	}
	return OTA_OK;
}

static enum ota_err set_value(struct config *c, const char *where, const struct config_option *opt,
	const char *value, bool is_more, struct errmsg *e)
{
	void *field = field_of(c, opt);
	char *copy;

	if (strlen(value) > TEXT_MAX)
		return errmsg_fail(e, OTA_INVALID, "%s: value is longer than %d bytes", where, TEXT_MAX);
	switch (opt->kind) {
	case CONFIG_TEXT:
		copy = arena_strdup(&c->mem, value);
		if (!copy)
			return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
		*(const char **)field = value[0] ? copy : NULL;
		return OTA_OK;
	case CONFIG_LIST:
		return set_list(c, where, opt, value, is_more, e);
	case CONFIG_BOOL:
		if (!parse_bool(value, field))
			return errmsg_fail(e, OTA_INVALID, "%s: '%.40s' is neither yes nor no", where, value);
		return OTA_OK;
	case CONFIG_SIZE:
	case CONFIG_TIME:
	case CONFIG_NUMBER:
		return parse_number(where, opt, value, field, e);
	case CONFIG_WORD:
		if (!parse_word(value, opt->words, field))
			return errmsg_fail(
				e, OTA_INVALID, "%s: '%.40s' is none of: %s", where, value, opt->words);
		return OTA_OK;
	}
	return OTA_INVALID;
}

enum ota_err config_set(struct config *c, const char *where, const struct config_option *opt,
	const char *value, struct errmsg *e)
{
	return set_value(c, where, opt, value, false, e);
}

enum ota_err config_init(struct config *c, struct errmsg *e)
{
	memset(c, 0, sizeof *c);
	arena_init(&c->mem, CONFIG_MEM_MAX);
	for (size_t i = 0; i < n_config_options; i++) {
		if (config_options[i].def) {
			enum ota_err err = config_set(
				c, config_options[i].name, &config_options[i], config_options[i].def, e);

			if (err)
				return err;
		}
	}
	return OTA_OK;
}

void config_release(struct config *c)
{
	arena_release(&c->mem);
	memset(c, 0, sizeof *c);
}

/* Copy of text[0..len) without blanks at either end. */
static char *trimmed(struct arena *mem, const char *text, size_t len)
{
	while (len > 0 && isspace((unsigned char)text[0])) {
		text++;
		len--;
	}
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	return arena_strndup(mem, text, len);
}

static bool is_section(const char *name)
{
	for (size_t i = 0; i < n_config_options; i++) {
		if (name[0] && strcmp(config_options[i].section, name) == 0)
			return true;
	}
	return false;
}

struct ini_state {
	const char *file;
	unsigned line;
	const char *section;
	bool is_seen[CONFIG_OPTIONS_MAX];
};

static enum ota_err parse_line(
	struct config *c, struct ini_state *st, const char *text, size_t len, struct errmsg *e)
{
	char *line = trimmed(&c->mem, text, len);
	const struct config_option *opt;
	char *eq, *name, *value;
	char where[160];
	bool is_again;

	if (!line)
		return errmsg_fail(e, OTA_NO_MEMORY, "%s:%u: out of memory", st->file, st->line);
	if (line[0] == '\0' || line[0] == '#' || line[0] == ';')
		return OTA_OK;
	if (line[0] == '[') {
		size_t end = strlen(line) - 1;

		if (line[end] != ']')
			return errmsg_fail(e, OTA_INVALID, "%s:%u: section without ']'", st->file, st->line);
		line[end] = '\0';
		st->section = line + 1;
		if (!is_section(st->section))
			return errmsg_fail(e, OTA_INVALID, "%s:%u: unknown section '%.40s'", st->file,
				st->line, st->section);
		return OTA_OK;
	}
	eq = strchr(line, '=');
	if (!eq)
		return errmsg_fail(
			e, OTA_INVALID, "%s:%u: neither 'name = value' nor a section", st->file, st->line);
	name = trimmed(&c->mem, line, (size_t)(eq - line));
	value = trimmed(&c->mem, eq + 1, strlen(eq + 1));
	if (!name || !value)
		return errmsg_fail(e, OTA_NO_MEMORY, "%s:%u: out of memory", st->file, st->line);
	opt = find_option(name, strlen(name));
	if (!opt || (opt->flags & CONFIG_ARGV_ONLY))
		return errmsg_fail(e, OTA_INVALID, "%s:%u: unknown option '%.40s'", st->file, st->line, name);
	if (!st->section || strcmp(st->section, opt->section) != 0)
		return errmsg_fail(e, OTA_INVALID, "%s:%u: option '%s' belongs into section [%s]", st->file,
			st->line, opt->name, opt->section);
	is_again = st->is_seen[opt - config_options];
	if (is_again && opt->kind != CONFIG_LIST)
		return errmsg_fail(
			e, OTA_INVALID, "%s:%u: option '%s' stands twice", st->file, st->line, opt->name);
	st->is_seen[opt - config_options] = true;
	snprintf(where, sizeof where, "%.100s:%u: %s", st->file, st->line, opt->name);
	return set_value(c, where, opt, value, is_again, e);
}

enum ota_err config_parse(struct config *c, const char *file, const char *text, size_t len, struct errmsg *e)
{
	struct ini_state st = {.file = file};
	size_t pos = 0;

	if (memchr(text, '\0', len))
		return errmsg_fail(e, OTA_INVALID, "%s: contains a NUL byte", file);
	while (pos < len) {
		const char *eol = memchr(text + pos, '\n', len - pos);
		size_t line_len = eol ? (size_t)(eol - text) - pos : len - pos;
		enum ota_err err;

		st.line++;
		err = parse_line(c, &st, text + pos, line_len, e);
		if (err)
			return err;
		pos += line_len + 1;
	}
	return OTA_OK;
}

/* The whole of a small file. `*out` is in `mem`, with a NUL behind. */
static enum ota_err read_small_file(
	struct arena *mem, const char *path, size_t max, char **out, size_t *out_len, struct errmsg *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	char *buf;

	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", path);
	buf = arena_alloc(mem, max + 1);
	if (!buf) {
		close(fd);
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	}
	for (;;) {
		ssize_t n = read(fd, buf + len, max + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int saved = errno;

			close(fd);
			return errmsg_fail_errno(e, saved, "cannot read '%s'", path);
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max) {
			close(fd);
			return errmsg_fail(e, OTA_TOO_LARGE, "'%s' is larger than %zu bytes", path, max);
		}
	}
	close(fd);
	buf[len] = '\0';
	*out = buf;
	*out_len = len;
	return OTA_OK;
}

static enum ota_err load_file(struct config *c, const char *path, struct errmsg *e)
{
	char *text;
	size_t len;
	enum ota_err err = read_small_file(&c->mem, path, FILE_MAX, &text, &len, e);

	if (err)
		return err;
	return config_parse(c, path, text, len, e);
}

/* The value of OTAD_<name> in `env`; NULL: not there. */
static const char *find_variable(char *const *env, const struct config_option *opt)
{
	char name[64];
	size_t len;

	config_variable(opt, name);
	len = strlen(name);
	for (; env && *env; env++) {
		if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
			return *env + len + 1;
	}
	return NULL;
}

/* The option that a variable's name nearly is; NULL when it is one, or none of ours. An environment has
 * variables of others that begin like ours (a name in a compose file, what Kubernetes makes for a service
 * "otad"), so only what is near an option is taken for one. */
static const struct config_option *meant_option(const char *name)
{
	const struct config_option *best = NULL;
	unsigned nearest = UINT_MAX;

	for (size_t i = 0; i < n_config_options; i++) {
		const struct config_option *opt = &config_options[i];
		char known[64];
		unsigned distance;

		config_variable(opt, known);
		if (strcmp(name, known) == 0)
			return NULL;
		distance = suggest_distance(name, known);
		if (distance < nearest && distance * 3 <= strlen(opt->name)) {
			nearest = distance;
			best = opt;
		}
	}
	return best;
}

static enum ota_err check_variables(char *const *env, struct errmsg *e)
{
	for (; env && *env; env++) {
		const struct config_option *opt = NULL;
		char name[64], meant[64];
		size_t len = strcspn(*env, "=");

		if (strncmp(*env, "OTAD_", 5) != 0 || len >= sizeof name)
			continue;
		memcpy(name, *env, len);
		name[len] = '\0';
		opt = meant_option(name);
		if (!opt)
			continue;
		config_variable(opt, meant);
		return errmsg_fail(e, OTA_INVALID, "unknown variable %s: did you mean %s?", name, meant);
	}
	return OTA_OK;
}

static enum ota_err load_variables(struct config *c, char *const *env, struct errmsg *e)
{
	enum ota_err checked = check_variables(env, e);

	if (checked)
		return checked;
	for (size_t i = 0; i < n_config_options; i++) {
		const struct config_option *opt = &config_options[i];
		const char *value = find_variable(env, opt);
		char name[64];
		enum ota_err err;

		if (!value || (opt->flags & CONFIG_ARGV_ONLY))
			continue;
		config_variable(opt, name);
		err = config_set(c, name, opt, value, e);
		if (err)
			return err;
	}
	return OTA_OK;
}

enum ota_err config_check_word(const char *word, struct errmsg *e)
{
	struct suggest near = {0};
	char name[64];
	size_t len;

	if (strncmp(word, "--", 2) != 0)
		return OTA_OK;
	len = strcspn(word + 2, "=");
	if (find_option(word + 2, len))
		return OTA_OK;
	(void)snprintf(
		name, sizeof(name), "%.*s", (int)(len < sizeof(name) ? len : sizeof(name) - 1), word + 2);
	for (size_t i = 0; i < n_config_options; i++)
		suggest_offer(&near, name, config_options[i].name);
	return errmsg_fail(e, OTA_INVALID, "unknown option '%.60s'%s%s%s", word,
		near.best ? ", did you mean '--" : "", near.best ? near.best : "", near.best ? "'?" : "");
}

/* One pass over argv. With `only_config` just --config is taken, because the file comes before the rest. */
static enum ota_err load_argv(
	struct config *c, int argc, char *const *argv, bool only_config, struct errmsg *e)
{
	bool is_seen[CONFIG_OPTIONS_MAX] = {false};

	for (int i = 1; i < argc; i++) {
		const struct config_option *opt;
		const char *name, *eq, *value;
		char where[80];
		enum ota_err err;

		if (strncmp(argv[i], "--", 2) != 0)
			return errmsg_fail(e, OTA_INVALID, "unexpected argument '%.60s'", argv[i]);
		name = argv[i] + 2;
		/* A door has a '=' of its own, so the name ends at the first one. */
		eq = strchr(name, '=');
		opt = find_option(name, eq ? (size_t)(eq - name) : strlen(name));
		if (!opt)
			return config_check_word(argv[i], e);
		if (opt->flags & CONFIG_SECRET) {
			char variable[64];

			config_variable(opt, variable);
			return errmsg_fail(e, OTA_INVALID,
				"--%s: not on the command line, where everybody can read it; use %s or "
				"--%s-file",
				opt->name, variable, opt->name);
		}
		if (eq)
			value = eq + 1;
		else if (opt->kind == CONFIG_BOOL)
			value = "yes";
		else if (i + 1 < argc)
			value = argv[++i];
		else
			return errmsg_fail(e, OTA_INVALID, "--%s needs a value", opt->name);
		if (only_config != (opt->offset == offsetof(struct config, config_file)))
			continue;
		snprintf(where, sizeof where, "--%s", opt->name);
		err = set_value(c, where, opt, value, is_seen[opt - config_options], e);
		if (err)
			return err;
		is_seen[opt - config_options] = true;
	}
	return OTA_OK;
}

bool config_takes_word(const char *word)
{
	const struct config_option *opt;

	if (strncmp(word, "--", 2) != 0 || strchr(word, '='))
		return false;
	opt = find_option(word + 2, strlen(word + 2));
	return opt && opt->kind != CONFIG_BOOL;
}

static enum ota_err load_password(
	struct config *c, const char *option, const char *path, const char **out, struct errmsg *e)
{
	char *text;
	size_t len;
	enum ota_err err;

	if (!path)
		return OTA_OK;
	err = read_small_file(&c->mem, path, TEXT_MAX, &text, &len, e);
	if (err) {
		errmsg_prefix(e, "%s: ", option);
		return err;
	}
	text[strcspn(text, "\r\n")] = '\0';
	*out = text;
	return OTA_OK;
}

static enum ota_err check_together(struct config *c, struct errmsg *e)
{
	if (!c->data)
		return errmsg_fail(e, OTA_INVALID, "no data directory (--data)");
	if (!c->tls_cert != !c->tls_key)
		return errmsg_fail(e, OTA_INVALID, "tls-cert and tls-key go together");
	if (!c->topic_prefix || !notice_prefix_is_valid(ota_text(c->topic_prefix)))
		return errmsg_fail(e, OTA_INVALID,
			"topic-prefix: 1 to %d printable ASCII characters without a blank or a wildcard, "
			"neither beginning nor ending with '/', nor beginning with '$'",
			NOTICE_PREFIX_MAX);
	if (c->public_url) {
		size_t len = strlen(c->public_url);
		size_t scheme = strncmp(c->public_url, "http://", 7) == 0    ? 7
				: strncmp(c->public_url, "https://", 8) == 0 ? 8
									     : 0;

		if (!scheme || strchr("/:?#", c->public_url[scheme]) || strpbrk(c->public_url, " \t\"<>"))
			return errmsg_fail(e, OTA_INVALID,
				"public-url: '%.60s' is not an http:// or https:// URL", c->public_url);
		if (c->public_url[len - 1] != '/') {
			c->public_url = arena_printf(&c->mem, "%s/", c->public_url);
			if (!c->public_url)
				return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
		}
	}
	return OTA_OK;
}

enum ota_err config_load(struct config *c, int argc, char *const *argv, char *const *env, struct errmsg *e)
{
	static const struct config_option config_opt = {.name = "config"};
	const char *file;
	enum ota_err err = config_init(c, e);

	if (!err)
		err = load_argv(c, argc, argv, true, e);
	if (err)
		return err;
	file = c->config_file ? c->config_file : find_variable(env, &config_opt);
	if (file && file[0])
		err = load_file(c, file, e);
	if (!err)
		err = load_variables(c, env, e);
	if (!err)
		err = load_argv(c, argc, argv, false, e);
	if (!err)
		err = load_password(c, "mqtt-password-file", c->mqtt_password_file, &c->mqtt_password, e);
	if (!err)
		err = load_password(c, "device-mqtt-password-file", c->device_mqtt_password_file,
			&c->device_mqtt_password, e);
	if (!err)
		err = check_together(c, e);
	return err;
}
