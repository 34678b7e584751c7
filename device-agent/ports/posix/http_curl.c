#include "device-agent/ports/posix/http_curl.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device-agent/src/http1.h"

enum { CONNECT_S = 10, SMALL_S = 30, SLOW_BYTES_S = 1024, SLOW_S = 60 };

struct http {
	CURL *curl;
	const char *ca_file;
	http_idle_fn idle;
	void *ctx;
	char error[CURL_ERROR_SIZE];
	/* The request that runs. */
	struct ota_agent *agent;
	struct ota_response response;
	bool has_begun;
	enum ota_err err;
};

enum ota_err http_new(const char *ca_file, http_idle_fn idle, void *ctx, struct http **out, struct errmsg *e)
{
	struct http *h = calloc(1, sizeof *h);

	if (!h)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(h->curl = curl_easy_init())) {
		free(h);
		return errmsg_fail(e, OTA_NO_MEMORY, "cannot start libcurl");
	}
	h->ca_file = ca_file;
	h->idle = idle;
	h->ctx = ctx;
	*out = h;
	return OTA_OK;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	curl_global_cleanup();
	free(h);
}

static enum ota_err begin(struct http *h)
{
	if (h->has_begun)
		return OTA_OK;
	h->has_begun = true;
	h->err = ota_agent_response_begin(h->agent, &h->response);
	return h->err;
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
	struct http *h = ctx;
	size_t len = size * n;
	long status = 0;

	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		len--;
	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
		memset(&h->response, 0, sizeof h->response);
		h->response.content_length = -1;
		return size * n;
	}
	if (len > 0) {
		if (http1_field(&h->response, line, len) != OTA_OK) {
			h->err = OTA_FETCH;
			return 0;
		}
		return size * n;
	}
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &status);
	h->response.status = (int)status;
	if (status >= 200 && begin(h) != OTA_OK)
		return 0;
	return size * n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx)
{
	struct http *h = ctx;

	if (begin(h) == OTA_OK)
		h->err = ota_agent_response_data(h->agent, (const uint8_t *)bytes, size * n);
	return h->err == OTA_OK ? size * n : 0;
}

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	struct http *h = ctx;

	(void)down_total, (void)down, (void)up_total, (void)up;
	return h->idle && !h->idle(h->ctx);
}

static struct curl_slist *headers_of(const struct ota_request *q)
{
	struct curl_slist *list = NULL, *next;
	char line[OTA_AGENT_AUTH_MAX + 32];

	if (q->is_post) {
		list = curl_slist_append(list, "Content-Type: application/cbor");
		if (!list)
			return NULL;
		next = curl_slist_append(list, "Expect:");
	} else {
		next = curl_slist_append(list, "Accept: */*");
	}
	list = next ? next : list;
	if (q->authorization) {
		(void)snprintf(line, sizeof line, "Authorization: %s", q->authorization);
		next = curl_slist_append(list, line);
		list = next ? next : list;
	}
	return list;
}

void http_run(struct http *h, const struct ota_request *q, struct ota_agent *agent, struct errmsg *failure)
{
	char url[512], range[32];
	struct curl_slist *headers = headers_of(q);
	CURL *c = h->curl;
	CURLcode rc;

	failure->text[0] = '\0';
	h->agent = agent;
	h->has_begun = false;
	h->err = OTA_OK;
	h->error[0] = '\0';
	memset(&h->response, 0, sizeof h->response);
	h->response.content_length = -1;
	(void)snprintf(url, sizeof url, "%.*s%s", (int)q->base.len, (const char *)q->base.p, q->path);

	/* Connections stay open over a reset of the options. */
	curl_easy_reset(c);
	curl_easy_setopt(c, CURLOPT_URL, url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "ota-agent/" OTAD_VERSION);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
	curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	if (h->ca_file)
		curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
	if (q->is_post) {
		curl_easy_setopt(c, CURLOPT_POST, 1L);
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)q->body_len);
		curl_easy_setopt(c, CURLOPT_COPYPOSTFIELDS, (const char *)q->body);
		curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)SMALL_S);
	} else {
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES_S);
		curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)SLOW_S);
	}
	if (q->has_range) {
		(void)snprintf(range, sizeof range, "%u-", q->offset);
		curl_easy_setopt(c, CURLOPT_RANGE, range);
	}
	rc = headers ? curl_easy_perform(c) : CURLE_OUT_OF_MEMORY;
	if (rc == CURLE_OK)
		(void)begin(h);
	else if (h->err == OTA_OK)
		errmsg_set(failure, "%s", h->error[0] ? h->error : curl_easy_strerror(rc));
	curl_slist_free_all(headers);
	ota_agent_response_end(agent, rc == CURLE_OK && h->err == OTA_OK);
}
