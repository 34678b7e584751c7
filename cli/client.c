#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/pin.h"
#include "proto/cleanup.h"
#include "proto/crypto.h"

struct client {
	CURL *curl;
	struct client_target target;
};

volatile int client_interrupted;

struct sink {
	struct client_answer *answer;
	bool is_full;
};

enum { ANSWER_MAX = 64 << 20 };

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct sink *sink = ctx;
	struct client_answer *a = sink->answer;
	size_t more = size * n;

	if (a->len + more > ANSWER_MAX) {
		sink->is_full = true;
		return 0;
	}
	char *body = realloc(a->body, a->len + more + 1);

	if (!body)
		return 0;
	memcpy(body + a->len, data, more);
	a->body = body;
	a->len += more;
	a->body[a->len] = '\0';
	return more;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
	struct sink *sink = ctx;
	size_t len = size * n;
	char line[256];

	if (len >= sizeof line)
		return len;
	memcpy(line, data, len);
	line[len] = '\0';
	if (strncasecmp(line, "upload-offset:", 14) == 0)
		sink->answer->upload_offset = strtoll(line + 14, NULL, 10);
	if (strncasecmp(line, "etag:", 5) == 0)
		(void)sscanf(line + 5, " %39s", sink->answer->etag);
	return len;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	(void)ctx, (void)a, (void)b, (void)c, (void)d;
	return client_interrupted;
}

enum ota_err client_new(const struct client_target *t, struct client **out, struct errmsg *e)
{
	struct client *c = calloc(1, sizeof *c);

	if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(c->curl = curl_easy_init())) {
		free(c);
		return errmsg_fail(e, OTA_NO_MEMORY, "cannot start the HTTP client");
	}
	c->target = *t;
	*out = c;
	return OTA_OK;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	curl_easy_cleanup(c->curl);
	memset(c->target.token, 0, sizeof c->target.token);
	free(c);
}

bool client_is_https(const char *url)
{
	return strncmp(url, "https://", 8) == 0;
}

const char *client_name(const struct client *c)
{
	return c->target.url[0] ? c->target.url : c->target.socket;
}

const char *client_from(const struct client *c)
{
	return c->target.from ? c->target.from : "as given";
}

void client_answer_clear(struct client_answer *a)
{
	free(a->body);
	*a = (struct client_answer){.upload_offset = -1};
}

/* Why nobody answers at a socket: asked again, since libcurl does not tell the three cases apart. */
static enum ota_err explain_socket(const struct client *c, struct errmsg *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *path = c->target.socket, *from = client_from(c);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;

	(void)snprintf(addr.sun_path, sizeof addr.sun_path, "%.107s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) != 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return errmsg_fail(e, OTA_IO,
			"there is no socket '%s' (%s): otad does not run on that data directory; name it "
			"with --data DIR, or a server: otactl login URL",
			path, from);
	case ECONNREFUSED:
		return errmsg_fail(
			e, OTA_IO, "nobody listens on '%s' (%s): otad has ended, start it", path, from);
	case EACCES:
	case EPERM:
		return errmsg_fail(e, OTA_IO,
			"'%s' (%s) is for root and otad's own user: run otactl as one of them, or log in "
			"with a token: otactl login URL",
			path, from);
	case 0:
		return errmsg_fail(e, OTA_IO, "'%s' (%s) did not answer; try again", path, from);
	default:
		return errmsg_fail_errno(e, error, "cannot connect to '%s' (%s)", path, from);
	}
}

static enum ota_err explain(const struct client *c, CURLcode code, const char *detail, struct errmsg *e)
{
	const char *where = client_name(c);

	if (client_interrupted)
		return errmsg_fail(e, OTA_WITHDRAWN, "interrupted");
	switch (code) {
	case CURLE_COULDNT_CONNECT:
		if (!c->target.url[0])
			return explain_socket(c, e);
		return errmsg_fail(e, OTA_IO, "cannot connect to %s (%s): is otad running there?", where,
			client_from(c));
	case CURLE_COULDNT_RESOLVE_HOST:
		return errmsg_fail(e, OTA_IO, "cannot resolve the host of %s (%s)", where, client_from(c));
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
		return errmsg_fail(e, OTA_SIG,
			"%s shows another key than at login; if it was set up anew, run: otactl login %s",
			where, where);
	case CURLE_PEER_FAILED_VERIFICATION:
		return errmsg_fail(e, OTA_SIG,
			"%s shows a certificate nobody vouches for; pin it: otactl login %s", where, where);
	case CURLE_SSL_CONNECT_ERROR:
		return errmsg_fail(e, OTA_IO, "%s does not speak TLS: is that port its https:// door? (%s)",
			where, detail[0] ? detail : curl_easy_strerror(code));
	case CURLE_OPERATION_TIMEDOUT:
		return errmsg_fail(e, OTA_TIMEOUT, "%s did not answer in time", where);
	case CURLE_WRITE_ERROR:
		return errmsg_fail(e, OTA_TOO_LARGE, "the answer of %s is too large", where);
	default:
		return errmsg_fail(e, OTA_IO, "%s: %s", where, detail[0] ? detail : curl_easy_strerror(code));
	}
}

static bool has_changed;

bool client_has_changed(void)
{
	return has_changed;
}

static enum ota_err perform(struct client *c, const char *method, const char *path,
	struct curl_slist *headers, long timeout_s, struct client_answer *out, struct errmsg *e)
{
	char url[2048], auth[200], detail[CURL_ERROR_SIZE] = "";
	struct client_answer answer = {.upload_offset = -1};
	struct sink sink = {&answer, false};
	CURL *h = c->curl;

	int n = snprintf(
		url, sizeof url, "%s%s", c->target.url[0] ? c->target.url : "http://localhost", path);
	if (n < 0 || (size_t)n >= sizeof url) {
		curl_slist_free_all(headers);
		return errmsg_fail(e, OTA_INVALID, "request is too long");
	}
	if (c->target.token[0]) {
		(void)snprintf(auth, sizeof auth, "Authorization: Bearer %s", c->target.token);
		headers = curl_slist_append(headers, auth);
	}
	headers = curl_slist_append(headers, "Expect:");
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(h, CURLOPT_TIMEOUT, timeout_s ? timeout_s : 60L);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 10L);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, &sink);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, &sink);
	curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
	if (!c->target.url[0])
		curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, c->target.socket);
	/* Over TLS a proxy sees a name and nothing else; without it, it would be handed the token. */
	if (!client_is_https(url))
		curl_easy_setopt(h, CURLOPT_PROXY, "");
	if (c->target.pin[0]) {
		curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 0L);
		curl_easy_setopt(h, CURLOPT_PINNEDPUBLICKEY, c->target.pin);
	}
	CURLcode code = curl_easy_perform(h);

	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &answer.status);
	curl_easy_reset(h);
	curl_slist_free_all(headers);
	ota_wipe(auth, sizeof auth);
	/* A server that refuses an upload answers and closes before all was sent: the answer counts. */
	if (code == CURLE_SEND_ERROR && answer.status >= 400)
		code = CURLE_OK;
	if (code != CURLE_OK) {
		client_answer_clear(&answer);
		return explain(c, code, detail, e);
	}
	if (answer.status >= 200 && answer.status < 300 && strcmp(method, "GET") != 0 &&
		strcmp(method, "HEAD") != 0)
		has_changed = true;
	if (!answer.body && !(answer.body = calloc(1, 1)))
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	*out = answer;
	return OTA_OK;
}

enum ota_err client_call(struct client *c, const char *method, const char *path, const char *type,
	const void *body, size_t len, long timeout_s, struct client_answer *out, struct errmsg *e)
{
	struct curl_slist *headers = NULL;
	char line[128];

	if (body) {
		(void)snprintf(line, sizeof line, "Content-Type: %s", type);
		headers = curl_slist_append(headers, line);
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body);
		curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
	}
	return perform(c, method, path, headers, timeout_s, out, e);
}

struct upload {
	FILE *f;
	uint64_t done, size;
	void (*progress)(void *ctx, uint64_t done, uint64_t size);
	void *ctx;
};

static size_t on_read(char *buf, size_t size, size_t n, void *ctx)
{
	struct upload *up = ctx;
	size_t got = fread(buf, 1, size * n, up->f);

	if (got == 0 && ferror(up->f))
		return CURL_READFUNC_ABORT;
	up->done += got;
	if (up->progress)
		up->progress(up->ctx, up->done, up->size);
	return got;
}

enum ota_err client_upload(struct client *c, const char *path, FILE *f, uint64_t offset, uint64_t size,
	void (*progress)(void *ctx, uint64_t done, uint64_t size), void *ctx, struct client_answer *out,
	struct errmsg *e)
{
	struct upload up = {f, offset, size, progress, ctx};
	struct curl_slist *headers = NULL;
	char line[64];

	if (fseeko(f, (off_t)offset, SEEK_SET) != 0)
		return errmsg_fail(e, OTA_IO, "cannot seek in the image");
	(void)snprintf(line, sizeof line, "Upload-Offset: %llu", (unsigned long long)offset);
	headers = curl_slist_append(headers, line);
	headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
	curl_easy_setopt(c->curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(c->curl, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(c->curl, CURLOPT_READDATA, &up);
	curl_easy_setopt(c->curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)(size - offset));
	/* An upload takes as long as it takes; only one that stands still is given up. */
	curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, 60L);
	return perform(c, "PUT", path, headers, 24 * 3600L, out, e);
}

enum ota_err client_fetch_pin(const char *url, char pin[80], bool *is_trusted, struct errmsg *e)
{
	struct client_target t = {0};
	struct client_answer answer = {.upload_offset = -1};
	struct client *c = NULL;
	struct curl_certinfo *chain = NULL;

	if (!client_is_https(url))
		return errmsg_fail(e, OTA_UNSUPPORTED, "only https has a key to pin");
	(void)snprintf(t.url, sizeof t.url, "%s", url);
	enum ota_err err = client_new(&t, &c, e);

	if (err != OTA_OK)
		return err;
	err = client_call(c, "GET", "/healthz", NULL, NULL, 0, 20, &answer, e);
	client_answer_clear(&answer);
	*is_trusted = err == OTA_OK;
	if (err != OTA_OK && err != OTA_SIG) {
		client_free(c);
		return err;
	}
	(void)snprintf(t.url, sizeof t.url, "%s/healthz", url);
	curl_easy_setopt(c->curl, CURLOPT_URL, t.url);
	curl_easy_setopt(c->curl, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(c->curl, CURLOPT_TIMEOUT, 20L);
	curl_easy_setopt(c->curl, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(c->curl, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(c->curl, CURLOPT_CERTINFO, 1L);
	CURLcode code = curl_easy_perform(c->curl);

	curl_easy_getinfo(c->curl, CURLINFO_CERTINFO, &chain);
	err = OTA_OK;
	if (code != CURLE_OK || !chain || chain->num_of_certs < 1)
		err = errmsg_fail(e, OTA_IO, "%s shows no certificate", url);
	for (struct curl_slist *row = err == OTA_OK ? chain->certinfo[0] : NULL; row; row = row->next) {
		if (strncmp(row->data, "Cert:", 5) == 0)
			err = pin_of_pem(row->data + 5, pin, e);
	}
	client_free(c);
	return err;
}
