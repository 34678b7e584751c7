/* HTTP/1.1 for ports without a client of their own: one request out, one answer in, byte by byte.
 *
 * Only what otad sends is understood: a status line, headers, a body with Content-Length. Chunked bodies are
 * refused, redirects are an answer like any other. */
#ifndef OTA_HTTP1_H
#define OTA_HTTP1_H

#include "device-agent/include/ota_agent.h"

enum { HTTP1_LINE_MAX = 160, HTTP1_HEAD_MAX = 4096, HTTP1_REQUEST_MAX = 640 };

enum http1_state { HTTP1_STATUS, HTTP1_HEADERS, HTTP1_BODY, HTTP1_DONE, HTTP1_FAILED };

struct http1 {
	struct ota_agent *agent;
	uint8_t state;    /* enum http1_state */
	bool is_overlong; /* the rest of this line is skipped */
	bool will_close;  /* the connection cannot be used again */
	uint16_t line_len;
	uint32_t head_len;
	uint64_t left; /* of the body */
	struct ota_response response;
	char line[HTTP1_LINE_MAX];
};

/* Head of a request for `q`: OTA_OK with its `*len` bytes in `buf`, to be followed by q->body. OTA_INVALID:
 * the base is no http:// URL; OTA_NO_SPACE. */
OTA_MUST_USE enum ota_err http1_request(const struct ota_request *q, char *buf, size_t cap, size_t *len);

/* Before the first byte of an answer. */
void http1_start(struct http1 *h, struct ota_agent *agent);

/* Bytes that came. OTA_OK: go on until h->state is HTTP1_DONE (bytes behind it are an error); anything else:
 * close the connection. */
OTA_MUST_USE enum ota_err http1_feed(struct http1 *h, const uint8_t *bytes, size_t len);

/* The answer is over, or the connection is: tells the agent. */
void http1_end(struct http1 *h);

/* One header field without its line end into `r`; unknown ones are passed over. OTA_INVALID: a field that
 * decides about the body is damaged. For ports with an HTTP client of their own. */
OTA_MUST_USE enum ota_err http1_field(struct ota_response *r, const char *line, size_t len);

#endif
