/* Where otactl finds its server: client_resolve and the stored login of client.h. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/client.h"
#include "proto/cleanup.h"

#define DATA_DEFAULT "/var/lib/otad"

static void trim(char *text)
{
	text[strcspn(text, "\r\n")] = '\0';
}

static void strip_slash(char *url)
{
	size_t len = strlen(url);

	while (len && url[len - 1] == '/')
		url[--len] = '\0';
}

/* Copy the value of a "name = value" line; false when it does not fit. */
static bool take_value(const char *line, const char *name, char *out, size_t cap)
{
	size_t n = strlen(name), len = strlen(line);

	if (len < n || strncmp(line, name, n) != 0)
		return true;
	if (len - n >= cap)
		return false;
	memcpy(out, line + n, len - n + 1);
	return true;
}

/* Path of the login file; with `make`, its folder is made. */
static enum ota_err login_path(bool make, char path[512], struct errmsg *e)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char dir[400];
	int n;

	if (xdg && xdg[0] == '/')
		n = snprintf(dir, sizeof dir, "%s", xdg);
	else if (home && home[0] == '/')
		n = snprintf(dir, sizeof dir, "%s/.config", home);
	else
		return errmsg_fail(e, OTA_NOT_FOUND, "neither HOME nor XDG_CONFIG_HOME is set");
	if (n < 0 || (size_t)n >= sizeof dir - 8)
		return errmsg_fail(e, OTA_INVALID, "the path of the home directory is too long");
	if (make)
		(void)mkdir(dir, 0700);
	(void)snprintf(dir + n, sizeof dir - (size_t)n, "/otactl");
	if (make && mkdir(dir, 0700) != 0 && errno != EEXIST)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", dir);
	(void)snprintf(path, 512, "%s/login", dir);
	return OTA_OK;
}

enum ota_err client_login_store(const struct client_target *t, struct errmsg *e)
{
	char path[512], tmp[520];
	enum ota_err err = login_path(true, path, e);

	if (err != OTA_OK)
		return err;
	(void)snprintf(tmp, sizeof tmp, "%s.new", path);
	(void)unlink(tmp);
	int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (!f)
		return errmsg_fail_errno(e, errno, "cannot write '%s'", tmp);
	fprintf(f, "url = %s\ntoken = %s\npin = %s\n", t->url, t->token, t->pin);
	bool is_bad = fflush(f) != 0 || fsync(fd) != 0;

	if (fclose(f) != 0 || is_bad || rename(tmp, path) != 0)
		return errmsg_fail_errno(e, errno, "cannot write '%s'", path);
	return OTA_OK;
}

enum ota_err client_login_load(struct client_target *out, struct errmsg *e)
{
	struct client_target t = {0};
	char path[512], line[512];
	enum ota_err err = login_path(false, path, e);

	if (err != OTA_OK)
		return err;
	AUTO(file) FILE *f = fopen(path, "re");

	if (!f)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", path);
	while (fgets(line, sizeof line, f)) {
		trim(line);
		if (!take_value(line, "url = ", t.url, sizeof t.url) ||
			!take_value(line, "token = ", t.token, sizeof t.token) ||
			!take_value(line, "pin = ", t.pin, sizeof t.pin))
			return errmsg_fail(e, OTA_CORRUPT, "'%s' is damaged; run: otactl login URL", path);
	}
	if (!t.url[0])
		return errmsg_fail(e, OTA_CORRUPT, "'%s' names no server; run: otactl login URL", path);
	*out = t;
	return OTA_OK;
}

enum ota_err client_login_forget(bool *was_there, struct errmsg *e)
{
	char path[512];
	enum ota_err err = login_path(false, path, e);

	if (err != OTA_OK)
		return err;
	const bool is_gone = unlink(path) == 0;

	if (!is_gone && errno != ENOENT)
		return errmsg_fail_errno(e, errno, "cannot remove '%s'", path);
	*was_there = is_gone;
	return OTA_OK;
}

static enum ota_err read_token(const char *file, char token[128], struct errmsg *e)
{
	AUTO(file) FILE *f = fopen(file, "re");

	if (!f)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", file);
	if (!fgets(token, 128, f))
		return errmsg_fail(e, OTA_INVALID, "'%s' holds no token", file);
	trim(token);
	return OTA_OK;
}

/* "http://" to another machine: whoever listens on the way would have the token. */
static bool is_open_road(const char *url)
{
	if (strncmp(url, "http://", 7) != 0)
		return false;
	const char *host = url + 7;
	size_t len = strcspn(host, "/?#"), name = strcspn(host, ":/?#");

	if (memchr(host, '@', len))
		return true;
	if (strncmp(host, "[::1]", 5) == 0)
		return host[5] && !strchr(":/?#", host[5]);
	return !(name == 9 && strncmp(host, "localhost", 9) == 0) &&
	       !(strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == name);
}

enum ota_err client_resolve(const char *url, const char *token_file, const char *data_dir,
	struct client_target *out, struct errmsg *e)
{
	struct client_target t = {0}, stored;
	const char *env_url = getenv("OTACTL_URL"), *env_token = getenv("OTACTL_TOKEN");
	const char *env_pin = getenv("OTACTL_PIN"), *env_data = getenv("OTAD_DATA");
	enum ota_err err;

	if (url && data_dir)
		return errmsg_fail(
			e, OTA_INVALID, "--url and --data exclude each other: which server is it?");
	t.from = url ? "--url" : "--data";
	if (!url && !data_dir && env_url && env_url[0]) {
		url = env_url;
		t.from = "OTACTL_URL";
	} else if (!url && !data_dir && env_data && env_data[0]) {
		data_dir = env_data;
		t.from = "OTAD_DATA";
	}
	const char *from = t.from;

	if (url) {
		if (strncmp(url, "http://", 7) != 0 && !client_is_https(url))
			return errmsg_fail(e, OTA_INVALID, "'%s' is no http:// or https:// URL", url);
		if (is_open_road(url))
			return errmsg_fail(e, OTA_INVALID,
				"'%s': a token is not sent over plain HTTP to another machine; use https://",
				url);
		if (strlen(url) >= sizeof t.url)
			return errmsg_fail(e, OTA_INVALID, "the URL is too long");
		(void)snprintf(t.url, sizeof t.url, "%s", url);
		strip_slash(t.url);
		if (client_login_load(&stored, NULL) == OTA_OK && strcmp(stored.url, t.url) == 0)
			t = stored;
		if (env_pin && env_pin[0])
			(void)snprintf(t.pin, sizeof t.pin, "%s", env_pin);
	} else if (!data_dir && client_login_load(&stored, NULL) == OTA_OK) {
		t = stored;
		from = "the stored login";
	} else {
		if (!data_dir) {
			data_dir = DATA_DEFAULT;
			from = "the default: no login is stored";
		}
		int n = snprintf(t.socket, sizeof t.socket, "%s/otad.sock", data_dir);

		/* sun_path of unix(7) */
		if (n < 0 || n > 107)
			return errmsg_fail(
				e, OTA_INVALID, "the path '%s/otad.sock' is too long for a socket", data_dir);
	}
	if (token_file) {
		err = read_token(token_file, t.token, e);
		if (err != OTA_OK)
			return err;
	} else if (t.url[0] && env_token && env_token[0]) {
		(void)snprintf(t.token, sizeof t.token, "%s", env_token);
	}
	/* It becomes part of a header. */
	for (const char *p = t.token; *p; p++) {
		if (!isgraph((unsigned char)*p))
			return errmsg_fail(e, OTA_INVALID, "that is no token: it has blanks or lines in it");
	}
	t.from = from;
	*out = t;
	return OTA_OK;
}
