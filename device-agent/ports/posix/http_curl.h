/* HTTP by libcurl: runs one request of the agent and feeds it the answer. The only user of curl.h here. */
#ifndef PORT_HTTP_CURL_H
#define PORT_HTTP_CURL_H

#include "device-agent/include/ota_agent.h"
#include "proto/errmsg.h"

struct http;

/* Called at least once a second while a request runs; false ends it. */
typedef bool (*http_idle_fn)(void *ctx);

/* `ca_file` (PEM; NULL: the system's) must outlive the result. */
OTA_MUST_USE enum ota_err http_new(
	const char *ca_file, http_idle_fn idle, void *ctx, struct http **out, struct errmsg *e);
void http_free(struct http *h);

/* Send `q`, feed `agent` until the end of the answer. `failure` gets words when there was no whole answer and
 * "" when there was, before the agent is told of the end. */
void http_run(struct http *h, const struct ota_request *q, struct ota_agent *agent, struct errmsg *failure);

#endif
