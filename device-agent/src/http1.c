#include "device-agent/src/http1.h"

#include <string.h>

struct text {
	const char *p;
	size_t len;
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool take_word(struct text *t, const char *word)
{
	size_t i = 0;

	while (word[i] != '\0') {
		if (i >= t->len || lower(t->p[i]) != word[i])
			return false;
		i++;
	}
	t->p += i;
	t->len -= i;
	return true;
}

static void skip_space(struct text *t)
{
	while (t->len > 0 && (*t->p == ' ' || *t->p == '\t')) {
		t->p++;
		t->len--;
	}
}

/* 1 to 18 decimal digits. */
static bool take_number(struct text *t, uint64_t *out)
{
	uint64_t v = 0;
	unsigned n = 0;

	while (t->len > 0 && *t->p >= '0' && *t->p <= '9' && n < 19) {
		v = v * 10 + (uint64_t)(*t->p - '0');
		t->p++;
		t->len--;
		n++;
	}
	*out = v;
	return n > 0 && n < 19;
}

static bool is_end(struct text *t)
{
	skip_space(t);
	return t->len == 0;
}

static enum ota_err field_length(struct ota_response *r, struct text *t)
{
	uint64_t v;

	/* A second length, or a list, is how two readers come to disagree. */
	if (r->content_length >= 0 || !take_number(t, &v) || !is_end(t))
		return OTA_INVALID;
	r->content_length = (int64_t)v;
	return OTA_OK;
}

static enum ota_err field_range(struct ota_response *r, struct text *t)
{
	uint64_t first, last, total;

	r->has_content_range = false;
	if (!take_word(t, "bytes"))
		return OTA_OK;
	skip_space(t);
	if (!take_number(t, &first) || !take_word(t, "-") || !take_number(t, &last) || !take_word(t, "/") ||
		!take_number(t, &total) || !is_end(t))
		return OTA_OK; /* not the range that was asked for: the agent sees that it is missing */
	r->has_content_range = true;
	r->range_first = first;
	r->range_last = last;
	r->range_total = total;
	return OTA_OK;
}

enum ota_err http1_field(struct ota_response *r, const char *line, size_t len)
{
	struct text t = {line, len};
	uint64_t v;

	if (take_word(&t, "content-length:")) {
		skip_space(&t);
		return field_length(r, &t);
	}
	if (take_word(&t, "content-range:")) {
		skip_space(&t);
		return field_range(r, &t);
	}
	if (take_word(&t, "retry-after:")) {
		skip_space(&t);
		if (take_number(&t, &v) && is_end(&t))
			r->retry_after_s = v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
		return OTA_OK;
	}
	return OTA_OK;
}

struct writer {
	char *p;
	size_t cap, len;
};

static void put(struct writer *w, const char *s, size_t len)
{
	if (len > w->cap - w->len || w->len == w->cap) {
		w->len = w->cap;
		return;
	}
	memcpy(w->p + w->len, s, len);
	w->len += len;
}

static void put_text(struct writer *w, const char *s)
{
	size_t n = 0;

	while (s[n] != '\0')
		n++;
	put(w, s, n);
}

static void put_number(struct writer *w, uint64_t v)
{
	char digits[20];
	size_t n = sizeof digits;

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	put(w, digits + n, sizeof digits - n);
}

enum ota_err http1_request(const struct ota_request *q, char *buf, size_t cap, size_t *len)
{
	struct writer w = {buf, cap, 0};
	struct text base = {(const char *)q->base.p, q->base.len};
	size_t host_len = 0;

	if (!take_word(&base, "http://"))
		return OTA_INVALID;
	while (host_len < base.len && base.p[host_len] != '/')
		host_len++;
	if (host_len == 0 || host_len == base.len)
		return OTA_INVALID;
	put_text(&w, q->is_post ? "POST " : "GET ");
	put(&w, base.p + host_len, base.len - host_len);
	put_text(&w, q->path);
	put_text(&w, " HTTP/1.1\r\nHost: ");
	put(&w, base.p, host_len);
	if (q->authorization) {
		put_text(&w, "\r\nAuthorization: ");
		put_text(&w, q->authorization);
	}
	if (q->has_range) {
		put_text(&w, "\r\nRange: bytes=");
		put_number(&w, q->offset);
		put_text(&w, "-");
	}
	if (q->is_post) {
		put_text(&w, "\r\nContent-Type: application/cbor\r\nContent-Length: ");
		put_number(&w, q->body_len);
	}
	put_text(&w, "\r\n\r\n");
	if (w.len >= w.cap)
		return OTA_NO_SPACE;
	*len = w.len;
	return OTA_OK;
}

void http1_start(struct http1 *h, struct ota_agent *agent)
{
	memset(h, 0, sizeof *h);
	h->agent = agent;
	h->response.content_length = -1;
}

static enum ota_err fail(struct http1 *h, enum ota_err err)
{
	h->state = HTTP1_FAILED;
	h->will_close = true;
	return err;
}

static enum ota_err status_line(struct http1 *h)
{
	struct text t = {h->line, h->line_len};
	uint64_t status;

	if (!take_word(&t, "http/1."))
		return OTA_INVALID;
	if (take_word(&t, "0"))
		h->will_close = true;
	else if (!take_word(&t, "1"))
		return OTA_INVALID;
	if (!take_word(&t, " ") || !take_number(&t, &status) || status < 100 || status > 599)
		return OTA_INVALID;
	h->response.status = (int)status;
	h->state = HTTP1_HEADERS;
	return OTA_OK;
}

static enum ota_err head_done(struct http1 *h)
{
	int status = h->response.status;

	if (status < 200) {
		/* 100 Continue and its like: the answer proper follows. */
		memset(&h->response, 0, sizeof h->response);
		h->response.content_length = -1;
		h->state = HTTP1_STATUS;
		return OTA_OK;
	}
	if (status == 204 || status == 304)
		h->response.content_length = 0;
	if (h->response.content_length < 0)
		return OTA_INVALID; /* otad always says how long */
	h->left = (uint64_t)h->response.content_length;
	h->state = h->left > 0 ? HTTP1_BODY : HTTP1_DONE;
	return ota_agent_response_begin(h->agent, &h->response);
}

static enum ota_err line_done(struct http1 *h)
{
	struct text t = {h->line, h->line_len};

	if (h->state == HTTP1_STATUS)
		return h->is_overlong ? OTA_INVALID : status_line(h);
	if (h->line_len == 0 && !h->is_overlong)
		return head_done(h);
	if (h->line[0] == ' ' || h->line[0] == '\t')
		return OTA_INVALID; /* folded */
	if (take_word(&t, "transfer-encoding:"))
		return OTA_UNSUPPORTED;
	t = (struct text){h->line, h->line_len};
	if (take_word(&t, "connection:")) {
		skip_space(&t);
		h->will_close = h->will_close || take_word(&t, "close");
		return OTA_OK;
	}
	t = (struct text){h->line, h->line_len};
	if (h->is_overlong)
		return take_word(&t, "content-") ? OTA_INVALID : OTA_OK;
	return http1_field(&h->response, h->line, h->line_len);
}

static enum ota_err head_byte(struct http1 *h, char c)
{
	enum ota_err err;

	if (++h->head_len > HTTP1_HEAD_MAX || c == '\0')
		return OTA_INVALID;
	if (c != '\n') {
		if (h->line_len < HTTP1_LINE_MAX)
			h->line[h->line_len++] = c;
		else
			h->is_overlong = true;
		return OTA_OK;
	}
	if (h->line_len > 0 && h->line[h->line_len - 1] == '\r')
		h->line_len--;
	err = line_done(h);
	h->line_len = 0;
	h->is_overlong = false;
	return err;
}

enum ota_err http1_feed(struct http1 *h, const uint8_t *bytes, size_t len)
{
	enum ota_err err;

	while (len > 0 && (h->state == HTTP1_STATUS || h->state == HTTP1_HEADERS)) {
		err = head_byte(h, (char)*bytes);
		if (err != OTA_OK)
			return fail(h, err);
		bytes++;
		len--;
	}
	if (len == 0)
		return OTA_OK;
	if (h->state != HTTP1_BODY || len > h->left)
		return fail(h, OTA_INVALID);
	err = ota_agent_response_data(h->agent, bytes, len);
	if (err != OTA_OK)
		return fail(h, err);
	h->left -= len;
	if (h->left == 0)
		h->state = HTTP1_DONE;
	return OTA_OK;
}

void http1_end(struct http1 *h)
{
	ota_agent_response_end(h->agent, h->state == HTTP1_DONE);
}
