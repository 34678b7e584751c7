#include "server/api.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "db/audit.h"
#include "db/blob.h"
#include "db/change.h"
#include "proto/hex.h"
#include "server/domain.h"
#include "server/upkeep.h"

struct api_call {
	struct api_job a;
	api_fn fn;
	bool writes;
	bool is_in_pieces; /* counted in the domain */
	bool made_change;  /* the last piece did, if it is committed */
	int64_t committed; /* the newest change that a piece of it made; 0: none did */
};

const char *api_query(const struct req *req, const char *name)
{
	const char *value = req_query(req, name);

	return value && *value ? value : NULL;
}

bool api_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
	int64_t value = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *text - '0', &value))
			return false;
	}
	if (value < min || value > max)
		return false;
	*out = value;
	return true;
}

enum ota_err api_page(const struct req *req, struct db_page *out, struct errmsg *e)
{
	const char *limit = api_query(req, "limit"), *after = api_query(req, "after");
	int64_t value = API_PAGE, cursor = 0;

	if (limit && !api_number(limit, 1, API_PAGE_MAX, &value))
		return errmsg_fail(e, OTA_INVALID, "limit must be a whole number from 1 to %d", API_PAGE_MAX);
	if (after && !api_number(after, 0, INT64_MAX, &cursor))
		return errmsg_fail(e, OTA_INVALID, "after is not a cursor of this list");
	*out = (struct db_page){.cursor = cursor, .limit = (uint32_t)value};
	return OTA_OK;
}

/* RFC 9110 13.1.1; we make strong tags that are the revision's digits, so a list or a weak tag is none of
 * ours. */
static enum ota_err if_match(const struct req *req, int64_t *revision, struct errmsg *e)
{
	const char *tag = req_header(req, "If-Match");
	char digits[24];
	size_t len = tag ? strlen(tag) : 0;

	*revision = 0;
	if (!tag || strcmp(tag, "*") == 0)
		return OTA_OK;
	if (len > 2 && len < sizeof(digits) && tag[0] == '"' && tag[len - 1] == '"') {
		snprintf(digits, sizeof(digits), "%.*s", (int)(len - 2), tag + 1);
		if (api_number(digits, 1, INT64_MAX, revision))
			return OTA_OK;
	}
	return errmsg_fail(e, OTA_CONFLICT, "If-Match holds no ETag of this server");
}

enum ota_err api_items(struct api_job *a, const struct api_rows *list, api_row_fn fn, void *ctx)
{
	int64_t last = 0, next = list->next;
	enum ota_err err = OTA_OK;

	js_object(&a->out, NULL);
	js_array(&a->out, "items");
	for (size_t i = 0; !err && i < list->n; i++) {
		const uint8_t *row = (const uint8_t *)list->rows + i * list->size;

		if (i && a->out.len >= API_ANSWER_MAX) {
			next = last;
			break;
		}
		js_object(&a->out, NULL);
		err = fn(ctx, row);
		js_end(&a->out);
		memcpy(&last, row + list->id_at, sizeof last);
	}
	js_end(&a->out);
	js_id(&a->out, "next", next);
	js_end(&a->out);
	return err;
}

enum ota_err api_audit(struct api_job *a, struct job *job, const char *action, const char *target,
	const char *before, const char *after)
{
	struct audit_row row = {
		.at = a->now,
		.who = a->req->who.name,
		.from = a->req->peer,
		.action = action,
		.target = target,
		.before = before,
		.after = after,
	};

	return audit_add(job->db, &row, NULL, &job->e);
}

const char *api_facts(struct arena *mem, const char *name, ...)
{
	struct js_out o;
	const char *text;
	size_t len;
	va_list ap;

	js_init(&o, mem);
	js_object(&o, NULL);
	va_start(ap, name);
	for (; name; name = va_arg(ap, const char *)) {
		const char *value = va_arg(ap, const char *);

		if (value)
			js_text(&o, name, value);
	}
	va_end(ap);
	js_end(&o);
	text = js_finish(&o, &len);
	return text ? arena_strndup(mem, text, len - 1) : NULL;
}

enum ota_err api_sha256(const char *text, uint8_t out[32], struct errmsg *e)
{
	if (hex_decode(text, strlen(text), HEX_LOWER, out, 32))
		return errmsg_fail(
			e, OTA_INVALID, "an image is named by its SHA-256: 64 lower-case hex digits");
	return OTA_OK;
}

enum h_result api_fail(
	struct req *req, unsigned status, enum ota_err err, const struct errmsg *e, const char *hint)
{
	struct res *res = req->res;
	const char *detail = e && *e->text ? e->text : ota_err_text(err);
	enum h_result answer = status == res_status_of(err)
				       ? res_error(req, err, e)
				       : res_problem(req, status, status == 400 ? "bad-request" : "refused",
						 "%s", detail);
	struct js_out o;
	const char *text;
	size_t len;

	if (!hint || !res->body_len)
		return answer;
	/* One more member before the closing brace. */
	js_init(&o, req->mem);
	js_textn(&o, NULL, hint, strlen(hint));
	text = js_finish(&o, &len);
	if (text)
		text = arena_printf(req->mem, "%.*s,\"hint\":%.*s}", (int)(res->body_len - 1),
			(const char *)res->body, (int)(len - 1), text);
	return text ? res_body(res, status, res->content_type, text, strlen(text)) : answer;
}

bool api_body(struct req *req, const struct js_field *fields, size_t n_fields, void *out, enum h_result *res)
{
	const char *type = req_header(req, "Content-Type");
	struct errmsg e = {""};
	enum ota_err err = OTA_OK;

	if (type && (strncasecmp(type, "application/json", 16) != 0 || strchr("; \t", type[16]) == NULL))
		err = errmsg_fail(&e, OTA_INVALID, "the body must be application/json, not '%.60s'", type);
	if (!err)
		err = js_read(req->mem, req->body, req->body_len, fields, n_fields, out, &e);
	if (err)
		*res = api_fail(req, 400, err, &e, NULL);
	return !err;
}

static bool is_brake(const struct req *req)
{
	return req->method == HTTP_DELETE || req->route->flags & ROUTE_BRAKE;
}

static enum ota_err call_run(struct job *job)
{
	struct api_call *call = job->ctx;
	AUTO(tx) struct db_tx tx = {0};
	int64_t before = 0;
	enum ota_err err = OTA_OK;

	js_init(&call->a.out, job->mem);
	/* One moment for all that an answer shows: what one statement found is there for the next. */
	if (!call->writes)
		err = db_begin(job->db, &tx, &job->e);
	else if (!is_brake(call->a.req) && call->a.app->blobs)
		err = blob_space_rows(call->a.app->blobs, &job->e);
	if (!err && call->writes)
		err = change_newest(job->db, &before, &job->e);
	if (!err)
		err = call->fn(&call->a, job);
	/* A limit that was met here is no matter of coming back later. */
	if (err)
		return err == OTA_LIMIT ? OTA_STATE : err;
	if (call->writes)
		err = change_newest(job->db, &call->a.change, &job->e);
	call->made_change = call->a.change != before;
	return err;
}

static void header_number(struct req *req, const char *name, const char *fmt, int64_t value)
{
	char text[32];
	char *kept;

	snprintf(text, sizeof(text), fmt[0] == '"' ? "\"%" PRId64 "\"" : "%" PRId64, value);
	kept = arena_strdup(req->mem, text);
	if (kept)
		res_header(req->res, name, kept);
}

/* The last step of every call. `job` may be domain_settle's: what is to be said is in the call. */
static enum h_result call_answer(struct req *req, struct res *res, struct job *job)
{
	struct api_call *call = req->ctx;
	struct api_job *a = &call->a;

	if (a->after)
		a->after(a);
	/* Also of what is stored and not in force yet. */
	if (call->writes)
		header_number(req, "X-Otad-Change", "", a->change);
	if (job->err && !a->is_not_followed)
		return res_error(req, job->err, &job->e);
	if (a->revision)
		header_number(req, "ETag", "\"", a->revision);
	if (a->header.name)
		res_header(res, a->header.name, a->header.value);
	if (a->status == 204)
		return res_empty(res, 204);
	if (a->body)
		return res_body(res, a->status, a->content_type, a->body, a->body_len);
	return js_answer(req, a->status, &a->out);
}

static void begin_pieces(struct api_call *call)
{
	if (!call->a.app->domain || call->is_in_pieces)
		return;
	call->is_in_pieces = true;
	call->a.app->domain->n_in_pieces++;
}

static void end_pieces(struct api_call *call)
{
	if (!call->is_in_pieces)
		return;
	call->is_in_pieces = false;
	call->a.app->domain->n_in_pieces--;
	domain_changed(call->a.app);
}

static enum h_result call_done(struct req *req, struct res *res, struct job *job);

/* A piece failed: those before it stay. */
static void tell_committed(struct req *req, const struct api_call *call)
{
	if (call->committed)
		header_number(req, "X-Otad-Change", "", call->committed);
}

static enum h_result call_settled(struct req *req, struct res *res, struct job *job)
{
	struct api_call *call = req->ctx;

	(void)res;
	if (job->err) {
		end_pieces(call);
		tell_committed(req, call);
		return res_error(req, job->err, &job->e);
	}
	upkeep_flush_all(req->app->domain);
	return req_job_again(req, JOB_STORE, job, call_run, call, call_done);
}

static enum h_result call_more(struct req *req, struct api_call *call, struct job *job)
{
	bool is_settled_first = call->a.is_settled_first;

	begin_pieces(call);
	if (call->a.after)
		call->a.after(&call->a);
	call->fn = call->a.more;
	call->a.more = NULL;
	call->a.is_settled_first = false;
	req->ctx = call;
	if (is_settled_first && req->app->domain)
		return domain_settle(req, job, call_settled);
	return req_job_again(req, JOB_STORE, job, call_run, call, call_done);
}

static enum h_result call_done(struct req *req, struct res *res, struct job *job)
{
	struct api_call *call = job->ctx;

	if (!job->err && call->a.more) {
		if (call->made_change)
			call->committed = call->a.change;
		return call_more(req, call, job);
	}
	end_pieces(call);
	if (job->err) {
		tell_committed(req, call);
		return api_fail(req, res_status_of(job->err), job->err, &job->e, call->a.hint);
	}
	req->ctx = call;
	/* The answer of a write says what is true now: for a device that looks in the next moment too. */
	return call->writes && req->app->domain ? domain_settle(req, job, call_answer)
						: call_answer(req, res, job);
}

static enum h_result call_post(struct req *req, api_fn fn, void *in, enum job_lane lane)
{
	struct api_call *call = arena_alloc(req->mem, sizeof(*call));
	struct errmsg e = {""};

	if (!call)
		return res_error(req, OTA_NO_MEMORY, NULL);
	call->a = (struct api_job){.app = req->app,
		.req = req,
		.now = app_now(req->app),
		.in = in,
		.status = 200,
		.poll_s = req->app->cfg->poll,
		.poll_spread = req->app->cfg->poll_spread};
	call->fn = fn;
	call->writes = lane == JOB_STORE;
	if (if_match(req, &call->a.if_revision, &e))
		return api_fail(req, res_status_of(OTA_CONFLICT), OTA_CONFLICT, &e, NULL);
	return req_job(req, lane, call_run, call, call_done);
}

enum h_result api_store(struct req *req, api_fn fn, void *in)
{
	return call_post(req, fn, in, JOB_STORE);
}

enum h_result api_read_job(struct req *req, api_fn fn, void *in)
{
	return call_post(req, fn, in, JOB_READ);
}

enum h_result api_slow_job(struct req *req, api_fn fn, void *in)
{
	return call_post(req, fn, in, JOB_SLOW);
}

enum h_result api_list(struct req *req, api_fn fn)
{
	struct db_page *page = arena_alloc(req->mem, sizeof(*page));
	struct errmsg e = {""};

	if (!page)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (api_page(req, page, &e))
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	return api_read_job(req, fn, page);
}
