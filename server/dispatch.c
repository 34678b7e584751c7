#include "server/dispatch.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/app.h"

static enum dispatch_result refuse_gate(struct req *req, const char *why)
{
	res_problem(req, 400, "bad-request", "%s", why);
	req->res->close = true;
	return DISPATCH_REFUSED;
}

/* Split and decode "a=b&c" into req->query. OTA_LIMIT: too many. */
static enum ota_err read_query(struct req *req, const char *query)
{
	while (*query) {
		size_t len = strcspn(query, "&");
		const char *eq = memchr(query, '=', len);
		size_t name_len = eq ? (size_t)(eq - query) : len;

		if (len > 0) {
			char *name = arena_alloc(req->mem, name_len + 1);
			char *value = arena_alloc(req->mem, len - name_len + 1);

			if (req->n_query == REQ_QUERY_MAX)
				return OTA_LIMIT;
			if (!name || !value)
				return OTA_NO_MEMORY;
			gate_decode(query, name_len, name);
			if (eq)
				gate_decode(eq + 1, len - name_len - 1, value);
			req->query[req->n_query].name = name;
			req->query[req->n_query].value = value;
			req->n_query++;
		}
		query += len + (query[len] == '&');
	}
	return OTA_OK;
}

static void read_headers(struct req *req, const struct dispatch_input *in)
{
	req->content_length = -1;
	for (size_t i = 0; i < in->n_headers; i++) {
		req->headers[i].name = in->headers[i].name;
		req->headers[i].value = in->headers[i].value;
		if (strcasecmp(in->headers[i].name, "Content-Length") == 0)
			req->content_length = strtoll(in->headers[i].value, NULL, 10);
	}
	req->n_headers = (unsigned)in->n_headers;
}

static const char *doors_text(unsigned doors)
{
	static const char *const texts[DOOR_ALL + 1] = {
		[0] = "nobody",
		[DOOR_OPERATORS] = "operators",
		[DOOR_DEVICES] = "devices",
		[DOOR_CLIENTS] = "foreign clients",
		[DOOR_OPERATORS | DOOR_DEVICES] = "operators and devices",
		[DOOR_OPERATORS | DOOR_CLIENTS] = "operators and foreign clients",
		[DOOR_DEVICES | DOOR_CLIENTS] = "devices and foreign clients",
		[DOOR_ALL] = "everybody",
	};

	return texts[doors & DOOR_ALL];
}

static enum dispatch_result find_route(struct req *req, const struct dispatch_input *in)
{
	unsigned allow = 0;

	switch (route_find(
		in->routes, in->n_routes, req->method, req->path, &req->route, &req->cap, &allow)) {
	case ROUTE_FOUND:
		break;
	case ROUTE_NOT_FOUND:
		res_problem(req, 404, "not-found", "nothing is here");
		return DISPATCH_REFUSED;
	case ROUTE_OTHER_METHOD: {
		char *text = arena_alloc(req->mem, ROUTE_ALLOW_LEN);

		res_problem(req, 405, "method", "%s is not possible here", route_method_name(req->method));
		if (text) {
			route_allow_text(allow, text);
			res_header(req->res, "Allow", text);
		}
		return DISPATCH_REFUSED;
	}
	}
	/* What is behind another door does not exist here, whoever asks; that there is another one is no
	 * secret. */
	if (!(route_doors(req->route->role) & req->doors)) {
		res_problem(req, 404, "other-door",
			"this door is for %s; what was asked for is for %s, at another address (--listen)%s",
			doors_text(req->doors), doors_text(route_doors(req->route->role)),
			route_doors(req->route->role) & DOOR_OPERATORS
				? " or the socket in otad's data directory"
				: "");
		return DISPATCH_REFUSED;
	}
	return DISPATCH_GO;
}

/* Roles that a principal must fill before the handler runs; the others check what they need themselves. */
static bool role_needs_somebody(enum role role)
{
	return role == ROLE_FETCH || role >= ROLE_VIEWER;
}

static bool role_suffices(const struct req *req)
{
	enum role need = req->route->role;

	if (need == ROLE_FETCH)
		return req->who.kind != WHO_NOBODY;
	return req->who.role >= need;
}

/* What `public-images` opens: the images themselves, neither envelopes nor roots. */
static bool is_image(const struct route *route)
{
	return route->role == ROLE_FETCH && strncmp(route->path, "/i/", 3) == 0;
}

static enum dispatch_result check_role(struct req *req)
{
	enum ota_err err = OTA_DENIED;

	if (!role_needs_somebody(req->route->role) || req->who.kind == WHO_SOCKET_ADMIN)
		return DISPATCH_GO;
	if (is_image(req->route) && req->app->cfg->public_images)
		return DISPATCH_GO;
	if (req->app->hooks.auth)
		err = req->app->hooks.auth(req->app, req);
	if (err == OTA_OK && role_suffices(req))
		return DISPATCH_GO;
	if (err == OTA_OK) {
		if (req->who.kind == WHO_TOKEN && req->route->role >= ROLE_VIEWER)
			res_problem(req, 403, "not-allowed",
				"this token may not do that: it has the role %s, and this takes %s",
				role_name(req->who.role), role_name(req->route->role));
		else
			res_problem(req, 403, "not-allowed", "this token may not do that");
	} else if (err == OTA_DENIED) {
		res_problem(req, 401, "unauthorized", "a valid token is needed");
		res_header(req->res, "WWW-Authenticate", "Bearer");
	} else {
		res_error(req, err, NULL);
	}
	return DISPATCH_REFUSED;
}

/* A parameter that nobody reads would be a filter that does not filter. */
static enum dispatch_result check_query(struct req *req)
{
	for (unsigned i = 0; i < req->n_query; i++) {
		const char *name = req->query[i].name, *meant;
		char shown[32];
		size_t meant_len, len = 0;

		if (route_takes_query(req->route, name, &meant, &meant_len))
			continue;
		for (; name[len] && len < sizeof(shown) - 1; len++)
			shown[len] = name[len] >= ' ' && name[len] <= '~' ? name[len] : '?';
		shown[len] = '\0';
		if (meant)
			res_problem(req, 400, "bad-request",
				"unknown query parameter '%s': did you mean '%.*s'?", shown, (int)meant_len,
				meant);
		else
			res_problem(req, 400, "bad-request", "unknown query parameter '%s'", shown);
		return DISPATCH_REFUSED;
	}
	return DISPATCH_GO;
}

bool dispatch_has_body(const struct req *req)
{
	return req->content_length > 0 || req_header(req, "Transfer-Encoding") != NULL;
}

uint64_t dispatch_body_max(const struct req *req)
{
	if (req->route->body_max == 0 && (req->route->flags & ROUTE_UPLOAD))
		return (uint64_t)req->app->cfg->max_image;
	return req->route->body_max;
}

void dispatch_too_large(struct req *req)
{
	uint64_t max = dispatch_body_max(req);

	if (max)
		res_problem(
			req, 413, "too-large", "the body is larger than %llu bytes", (unsigned long long)max);
	else
		res_problem(req, 413, "too-large", "this request takes no body");
	req->res->close = true;
}

static enum dispatch_result check_body(struct req *req)
{
	if (req->content_length <= 0 || (uint64_t)req->content_length <= dispatch_body_max(req))
		return DISPATCH_GO;
	dispatch_too_large(req);
	return DISPATCH_REFUSED;
}

enum dispatch_result dispatch_headers(struct req *req, const struct dispatch_input *in)
{
	const char *wrong, *query;
	size_t target_len, path_len;
	enum ota_err err;
	char *path;

	if (!in->target)
		return refuse_gate(req, "no request target");
	target_len = strlen(in->target);
	wrong = gate_check_target(in->target, target_len);
	if (!wrong)
		wrong = gate_check_headers(in->headers, in->n_headers, in->version);
	if (wrong)
		return refuse_gate(req, wrong);
	read_headers(req, in);
	req->method = route_method(in->method);
	if (req->method == HTTP_METHODS) {
		res_problem(req, 501, "method", "unknown method");
		req->res->close = true;
		return DISPATCH_REFUSED;
	}
	query = strchr(in->target, '?');
	path_len = query ? (size_t)(query - in->target) : target_len;
	path = arena_alloc(req->mem, path_len + 1);
	err = path && query ? read_query(req, query + 1) : OTA_OK;
	if (err == OTA_LIMIT)
		return refuse_gate(req, "too many query parameters");
	if (!path || err) {
		res_error(req, OTA_NO_MEMORY, NULL);
		return DISPATCH_REFUSED;
	}
	gate_decode(in->target, path_len, path);
	req->path = path;
	if (find_route(req, in) != DISPATCH_GO || check_role(req) != DISPATCH_GO ||
		check_query(req) != DISPATCH_GO || check_body(req) != DISPATCH_GO)
		return DISPATCH_REFUSED;
	if ((req->route->flags & ROUTE_NEEDS_ROOT) &&
		!(req->app->hooks.has_root && req->app->hooks.has_root(req->app))) {
		struct errmsg e;

		errmsg_set(&e, "no root yet: run otactl init");
		res_error(req, OTA_NO_ROOT, &e);
		return DISPATCH_REFUSED;
	}
	return DISPATCH_GO;
}
