/* Requests on their way to a handler: who is let in, what is refused before a body is read, and the answers'
 * helpers; uploads with inline jobs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/fake.h"

/* How many jobs wait in each lane, as the handlers see it. */
static size_t in_lane[JOB_LANES];

size_t __wrap_jobs_in_lane(const struct jobs *jobs, enum job_lane lane);
size_t __wrap_jobs_in_lane(const struct jobs *jobs, enum job_lane lane)
{
	(void)jobs;
	return in_lane[lane];
}

static enum h_result h_who(struct req *req, struct res *res)
{
	char *text = arena_printf(
		req->mem, "%u %s %s", req->who.kind, req->who.name, req->cap.n ? req->cap.value[0] : "-");

	return res_body(res, 200, "text/plain", text, strlen(text));
}

static enum h_result h_error(struct req *req, struct res *res)
{
	struct errmsg e;

	(void)res;
	errmsg_set(&e, "no \"board\" \\ named \x01\xff\xc3\xa4\xe0\x80\xaf");
	return res_error(req, (enum ota_err)atoi(req->cap.value[0]), req_query(req, "plain") ? NULL : &e);
}

static enum ota_err work(struct job *job)
{
	*(int *)job->ctx += 1;
	return *(int *)job->ctx == 3 ? errmsg_fail(&job->e, OTA_EXISTS, "three") : OTA_OK;
}

static enum h_result worked(struct req *req, struct res *res, struct job *job)
{
	if (job->err)
		return res_error(req, job->err, &job->e);
	if (*(int *)job->ctx < atoi(req->cap.value[0]))
		return req_job(req, JOB_STORE, work, job->ctx, worked);
	return res_empty(res, 204);
}

static enum h_result h_work(struct req *req, struct res *res)
{
	(void)res;
	return req_job(req, JOB_READ, work, arena_alloc(req->mem, sizeof(int)), worked);
}

static enum ota_err sink_write(void *ctx, const uint8_t *bytes, size_t len, struct errmsg *e)
{
	uint64_t *total = ctx;

	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != 'u')
			return errmsg_fail(e, OTA_DIGEST, "not an u");
	}
	*total += len;
	return OTA_OK;
}

static enum h_result upload_done(struct req *req, struct res *res)
{
	char *text;

	if (req->upload_err)
		return res_error(req, req->upload_err, &req->upload_e);
	text = arena_printf(req->mem, "%llu %llu", (unsigned long long)req->upload_len,
		(unsigned long long)*(uint64_t *)req->ctx);
	return res_body(res, 201, "text/plain", text, strlen(text));
}

static enum h_result h_upload(struct req *req, struct res *res)
{
	struct upload_sink sink = {.write = sink_write};

	(void)res;
	sink.ctx = req->ctx = arena_alloc(req->mem, sizeof(uint64_t));
	return req_upload(req, &sink, upload_done);
}

static const struct route rows[] = {
	{HTTP_GET, "/public/:x", ROLE_PUBLIC, 0, h_who, 0, NULL},
	{HTTP_POST, "/device", ROLE_DEVICE, 1024, h_who, 0, NULL},
	{HTTP_POST, "/client", ROLE_CLIENT, 1024, h_who, 0, NULL},
	{HTTP_GET, "/fetch", ROLE_FETCH, 0, h_who, 0, NULL},
	{HTTP_GET, "/i/:x", ROLE_FETCH, 0, h_who, 0, NULL},
	{HTTP_GET, "/view", ROLE_VIEWER, 0, h_who, 0, "limit state"},
	{HTTP_GET, "/operate", ROLE_OPERATOR, 0, h_who, 0, NULL},
	{HTTP_GET, "/admin", ROLE_ADMIN, 0, h_who, 0, NULL},
	{HTTP_GET, "/rooted", ROLE_DEVICE, 0, h_who, ROUTE_NEEDS_ROOT, NULL},
	{HTTP_GET, "/error/:n", ROLE_PUBLIC, 0, h_error, 0, NULL},
	{HTTP_GET, "/jobs/:n", ROLE_PUBLIC, 0, h_work, 0, NULL},
	{HTTP_PUT, "/upload", ROLE_PUBLIC, 0, h_upload, ROUTE_UPLOAD, NULL},
	{HTTP_PUT, "/small-upload", ROLE_PUBLIC, 100, h_upload, ROUTE_UPLOAD, NULL},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* "Bearer <role number>", "OTA x". */
static enum ota_err auth(struct app *app, struct req *req)
{
	const char *text = req_header(req, "authorization");

	(void)app;
	if (!text || strcmp(text, "Bearer bad") == 0)
		return OTA_DENIED;
	if (strcmp(text, "Bearer broken") == 0)
		return OTA_IO;
	if (strncmp(text, "OTA", 3) == 0) {
		req->who.kind = WHO_DEVICE;
		req->who.role = ROLE_FETCH;
		return OTA_OK;
	}
	req->who.kind = WHO_TOKEN;
	req->who.role = (enum role)atoi(text + 7);
	return OTA_OK;
}

static bool rooted(struct app *app)
{
	return app->cfg->max_devices == 1;
}

static int up(void **state)
{
	struct fake *f = calloc(1, sizeof *f);

	fake_init(f, NULL);
	f->app.hooks.auth = auth;
	f->app.hooks.has_root = rooted;
	*state = f;
	return 0;
}

static int down(void **state)
{
	fake_release(*state);
	free(*state);
	return 0;
}

static void roles(void **state)
{
	static const char *const paths[] = {"/fetch", "/view", "/operate", "/admin"};
	/* Who: nobody, wrong, device, viewer, uploader, operator, admin. */
	static const char *const tokens[] = {
		NULL, "Bearer bad", "OTA x", "Bearer 4", "Bearer 5", "Bearer 6", "Bearer 7"};
	static const unsigned want[4][7] = {
		{401, 401, 200, 200, 200, 200, 200},
		{401, 401, 403, 200, 200, 200, 200},
		{401, 401, 403, 403, 403, 200, 200},
		{401, 401, 403, 403, 403, 403, 200},
	};
	struct fake *f = *state;

	assert_int_equal(ROLE_VIEWER, 4);
	assert_int_equal(ROLE_ADMIN, 7);
	for (unsigned p = 0; p < 4; p++) {
		for (unsigned t = 0; t < 7; t++) {
			if (tokens[t])
				fake_header(f, "Authorization", tokens[t]);
			fake_request(f, rows, ROWS, "GET", paths[p], NULL);
			if (f->res.status != want[p][t])
				fail_msg("%s by %s: %u", paths[p], tokens[t] ? tokens[t] : "nobody",
					f->res.status);
			if (f->res.status == 401)
				assert_string_equal(fake_answer_header(f, "WWW-Authenticate"), "Bearer");
		}
	}
	fake_header(f, "Authorization", "Bearer broken");
	fake_request(f, rows, ROWS, "GET", "/view", NULL);
	assert_int_equal(f->res.status, 500);
	/* The socket's administrator needs no token; what is public asks nobody. */
	f->who.kind = WHO_SOCKET_ADMIN;
	f->who.role = ROLE_ADMIN;
	fake_request(f, rows, ROWS, "GET", "/admin", NULL);
	assert_int_equal(f->res.status, 200);
	memset(&f->who, 0, sizeof f->who);
	fake_request(f, rows, ROWS, "GET", "/public/a%20b", NULL);
	assert_string_equal(fake_body(f), "0  a b");
	f->cfg.public_images = true;
	fake_request(f, rows, ROWS, "GET", "/i/x", NULL);
	assert_int_equal(f->res.status, 200);
	fake_request(f, rows, ROWS, "GET", "/fetch", NULL);
	assert_int_equal(f->res.status, 401);
	/* Without anybody to judge, nobody is let in. */
	f->cfg.public_images = false;
	f->app.hooks.auth = NULL;
	fake_header(f, "Authorization", "Bearer 7");
	fake_request(f, rows, ROWS, "GET", "/view", NULL);
	assert_int_equal(f->res.status, 401);
}

static void root_first(void **state)
{
	struct fake *f = *state;

	fake_request(f, rows, ROWS, "GET", "/rooted", NULL);
	assert_int_equal(f->res.status, 503);
	assert_non_null(fake_answer_header(f, "Retry-After"));
	assert_non_null(strstr(fake_body(f), "no root yet: run otactl init"));
	f->cfg.max_devices = 1;
	fake_request(f, rows, ROWS, "GET", "/rooted", NULL);
	assert_int_equal(f->res.status, 200);
}

static void bodies(void **state)
{
	struct fake *f = *state;
	char big[1026];

	memset(big, 'x', sizeof big);
	fake_request_bytes(f, rows, ROWS, "POST", "/device", big, 1024);
	assert_int_equal(f->res.status, 200);
	fake_request_bytes(f, rows, ROWS, "POST", "/device", big, 1025);
	assert_int_equal(f->res.status, 413);
	assert_true(f->res.close);
	fake_request(f, rows, ROWS, "GET", "/public/x", "body");
	assert_int_equal(f->res.status, 413);
	fake_request(f, rows, ROWS, "PUT", "/nowhere", "body");
	assert_int_equal(f->res.status, 404);
	fake_request(f, rows, ROWS, "PUT", "/view", "body");
	assert_int_equal(f->res.status, 405);
	assert_string_equal(fake_answer_header(f, "Allow"), "GET, HEAD");
}

static void unknown_queries(void **state)
{
	static const struct {
		const char *target;
		unsigned status;
		const char *words;
	} tries[] = {
		{"/view", 200, ""}, {"/view?", 200, ""}, {"/view?&", 200, ""},
		{"/view?limit=5&state=x", 200, ""},
		{"/view?limit=5&stat=x", 400, "unknown query parameter 'stat': did you mean 'state'?"},
		{"/view?limit=5&nonsense", 400, "unknown query parameter 'nonsense'"},
		{"/view?=5", 400, "unknown query parameter ''"},
		{"/view?%C3%BCx%22=5", 400, "unknown query parameter '??x"},
		{"/operate?limit=5", 200, ""}, /* its row has no names: passed on */
	};
	struct fake *f = *state;

	for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
		fake_header(f, "Authorization", "Bearer 7");
		fake_request(f, rows, ROWS, "GET", tries[i].target, NULL);
		if (f->res.status != tries[i].status ||
			(tries[i].words[0] && !strstr(fake_body(f), tries[i].words)))
			fail_msg("%s: %u", tries[i].target, f->res.status);
	}
	/* Who may not ask is not told what there is to ask. */
	fake_request(f, rows, ROWS, "GET", "/view?nonsense", NULL);
	assert_int_equal(f->res.status, 401);
}

static void queries(void **state)
{
	struct fake *f = *state;

	fake_request(f, rows, ROWS, "GET", "/public/x?a=1&&b=%20x%26&c&=d&a=2", NULL);
	assert_int_equal(f->res.status, 200);
	assert_string_equal(req_query(&f->req, "a"), "1");
	assert_string_equal(req_query(&f->req, "b"), " x&");
	assert_string_equal(req_query(&f->req, "c"), "");
	assert_null(req_query(&f->req, "d"));
	fake_request(f, rows, ROWS, "GET", "/public/x?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p", NULL);
	assert_int_equal(f->res.status, 200);
	fake_request(f, rows, ROWS, "GET", "/public/x?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q", NULL);
	assert_int_equal(f->res.status, 400);
	fake_header(f, "X-Odd", "1");
	fake_request(f, rows, ROWS, "GET", "/public/x", NULL);
	assert_string_equal(req_header(&f->req, "x-ODD"), "1");
	assert_null(req_header(&f->req, "x-od"));
}

static void errors(void **state)
{
	static const struct {
		enum ota_err err;
		unsigned status;
	} cases[] = {
		{OTA_NOT_FOUND, 404},
		{OTA_EXISTS, 409},
		{OTA_STATE, 409},
		{OTA_CONFLICT, 412},
		{OTA_TOO_LARGE, 413},
		{OTA_INVALID, 422},
		{OTA_ROLLBACK, 422},
		{OTA_LIMIT, 429},
		{OTA_IO, 500},
		{OTA_BUSY, 503},
		{OTA_NO_ROOT, 503},
		{OTA_NO_SPACE, 507},
	};
	struct fake *f = *state;
	char target[64];

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(target, sizeof target, "/error/%d", cases[i].err);
		fake_request(f, rows, ROWS, "GET", target, NULL);
		assert_int_equal(f->res.status, cases[i].status);
		assert_int_equal(res_status_of(cases[i].err), cases[i].status);
		assert_string_equal(f->res.content_type, "application/problem+json");
		assert_non_null(strstr(fake_body(f),
			"\"detail\":\"no \\\"board\\\" \\\\ named \\u0001\xef\xbf\xbd\xc3\xa4"
			"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}"));
		assert_int_equal(fake_answer_header(f, "Retry-After") != NULL,
			cases[i].status == 503 || cases[i].status == 429);
	}
	fake_request(f, rows, ROWS, "GET", "/error/-130?plain", NULL);
	assert_non_null(strstr(fake_body(f), "\"detail\":\"not found\"}"));
}

static void job_chains(void **state)
{
	struct fake *f = *state;

	fake_request(f, rows, ROWS, "GET", "/jobs/1", NULL);
	assert_int_equal(f->res.status, 204);
	fake_request(f, rows, ROWS, "GET", "/jobs/2", NULL);
	assert_int_equal(f->res.status, 204);
	fake_request(f, rows, ROWS, "GET", "/jobs/9", NULL);
	assert_int_equal(f->res.status, 409);
	assert_false(f->is_waiting);
}

/* A request that finds its lane full is refused; one that was begun is not. */
static void full_lanes(void **state)
{
	struct fake *f = *state;

	in_lane[JOB_READ] = JOB_LANE_MAX;
	fake_request(f, rows, ROWS, "GET", "/jobs/2", NULL);
	assert_int_equal(f->res.status, 503);
	assert_non_null(fake_answer_header(f, "Retry-After"));
	in_lane[JOB_READ]--;
	in_lane[JOB_STORE] = JOB_LANE_MAX;
	fake_request(f, rows, ROWS, "GET", "/jobs/2", NULL);
	assert_int_equal(f->res.status, 204);
	memset(in_lane, 0, sizeof in_lane);
}

static void uploads(void **state)
{
	struct fake *f = *state;
	enum { LEN = 700001 };
	char *bytes = malloc(LEN);

	memset(bytes, 'u', LEN);
	fake_request_bytes(f, rows, ROWS, "PUT", "/upload", bytes, LEN);
	assert_int_equal(f->res.status, 201);
	assert_string_equal(fake_body(f), "700001 700001");
	fake_request_bytes(f, rows, ROWS, "PUT", "/upload", "", 0);
	assert_string_equal(fake_body(f), "0 0");
	bytes[LEN - 1] = 'x';
	fake_request_bytes(f, rows, ROWS, "PUT", "/upload", bytes, LEN);
	assert_int_equal(f->res.status, 422);
	bytes[300000] = 'x';
	fake_request_bytes(f, rows, ROWS, "PUT", "/upload", bytes, LEN);
	assert_int_equal(f->res.status, 422);
	fake_request_bytes(f, rows, ROWS, "PUT", "/small-upload", bytes, 101);
	assert_int_equal(f->res.status, 413);
	f->cfg.max_image = 1000;
	fake_request_bytes(f, rows, ROWS, "PUT", "/upload", bytes, 1001);
	assert_int_equal(f->res.status, 413);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(roles, up, down),
		cmocka_unit_test_setup_teardown(root_first, up, down),
		cmocka_unit_test_setup_teardown(bodies, up, down),
		cmocka_unit_test_setup_teardown(queries, up, down),
		cmocka_unit_test_setup_teardown(unknown_queries, up, down),
		cmocka_unit_test_setup_teardown(errors, up, down),
		cmocka_unit_test_setup_teardown(job_chains, up, down),
		cmocka_unit_test_setup_teardown(full_lanes, up, down),
		cmocka_unit_test_setup_teardown(uploads, up, down),
	};

	return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
