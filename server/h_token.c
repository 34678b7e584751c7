/* Operators' tokens: /v1/tokens, /v1/whoami. */
#include <string.h>

#include "db/token.h"
#include "proto/crypto_openssl.h"
#include "server/actor.h"
#include "server/api.h"
#include "server/nouns.h"
#include "server/ops.h"

static const enum role roles[] = {
	[TOKEN_VIEWER] = ROLE_VIEWER,
	[TOKEN_UPLOADER] = ROLE_UPLOADER,
	[TOKEN_OPERATOR] = ROLE_OPERATOR,
	[TOKEN_ADMIN] = ROLE_ADMIN,
};

_Static_assert((int)AUTH_TOKENS_MAX <= (int)DB_PAGE_MAX, "one page has them all");

enum ota_err token_table(
	struct db *db, int64_t now, struct arena *mem, struct token_table *out, struct errmsg *e)
{
	struct token_table t = {.rows = arena_array(mem, AUTH_TOKENS_MAX, sizeof(*t.rows))};
	struct token_list list;
	enum ota_err err;

	if (!t.rows)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	err = token_list_valid(db, now, &(struct db_page){.limit = AUTH_TOKENS_MAX}, mem, &list, e);
	if (err)
		return err;
	for (; t.n < list.n; t.n++) {
		const struct token_row *row = &list.rows[t.n];
		struct auth_token *to = &t.rows[t.n];

		to->id = row->id;
		memcpy(to->sha256, row->sha256, sizeof(to->sha256));
		to->role = roles[row->role];
		to->expires = row->expires_at;
		to->used = row->used_at;
		strncat(to->name, row->name, sizeof(to->name) - 1);
	}
	t.has_more = list.next != 0;
	*out = t;
	return OTA_OK;
}

static void token_json(struct js_out *o, const struct token_row *row)
{
	js_text(o, "id", row->uid);
	js_text(o, "name", row->name);
	js_text(o, "role", role_name(roles[row->role]));
	js_int(o, "created", row->created_at);
	actor_json(o, "by", row->created_by);
	js_time(o, "expires", row->expires_at);
	js_time(o, "used", row->used_at);
	js_time(o, "revoked", row->revoked_at);
}

static enum ota_err item(void *out, const void *row)
{
	token_json(out, row);
	return OTA_OK;
}

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	const struct db_page *page = a->in;
	struct token_list list;
	enum ota_err err = token_list(job->db, page, job->mem, &list, &job->e);

	return err ? err : api_items(a, API_ROWS(list), item, &a->out);
}

enum h_result h_token_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}

static void table_new(struct api_job *a)
{
	const struct token_table *t = a->after_ctx;

	ops_tokens(a->app, t->rows, t->n);
}

static enum ota_err table_reload(struct api_job *a, struct job *job)
{
	struct token_table *t = arena_alloc(job->mem, sizeof(*t));

	if (!t)
		return errmsg_fail(&job->e, OTA_NO_MEMORY, "out of memory");
	a->after = table_new;
	a->after_ctx = t;
	return token_table(job->db, a->now, job->mem, t, &job->e);
}

struct token_in {
	const char *name, *role;
	int64_t expires_s;
	struct token_row row;
	uint8_t random[AUTH_UID_LEN + AUTH_RANDOM_LEN];
};

static const struct js_field token_fields[] = {
	JS_FIELD(struct token_in, name, JS_TEXT, true, 1, DB_NAME_MAX),
	JS_FIELD(struct token_in, role, JS_TEXT, true, 1, 16),
	JS_FIELD(struct token_in, expires_s, JS_INT, false, 60, (int64_t)10 * 366 * 86400),
};

static enum ota_err create_run(struct api_job *a, struct job *job)
{
	struct token_in *in = a->in;
	struct token_row *row = &in->row;
	char text[AUTH_TOKEN_LEN + 1];
	enum ota_err err;

	auth_make(a->app->crypto, in->random, text, row->uid, row->sha256);
	row->name = in->name;
	row->created_at = a->now;
	row->created_by = a->req->who.name;
	row->expires_at = in->expires_s ? a->now + in->expires_s : 0;
	err = token_insert(job->db, row, &row->id, &job->e);
	if (err == OTA_EXISTS)
		return errmsg_fail(&job->e, OTA_EXISTS, "there is a token '%s' already", in->name);
	if (!err)
		err = api_audit(a, job, "token.create", in->name, NULL,
			api_facts(job->mem, "id", row->uid, "role", in->role, NULL));
	if (!err)
		err = table_reload(a, job);
	if (err)
		return err;
	if (((const struct token_table *)a->after_ctx)->has_more) {
		a->hint = "end those that nobody uses: otactl token list, otactl token revoke";
		return errmsg_fail(&job->e, OTA_STATE, "there are %d valid tokens already", AUTH_TOKENS_MAX);
	}
	a->status = 201;
	a->is_not_followed = true;
	js_object(&a->out, NULL);
	token_json(&a->out, row);
	js_text(&a->out, "token", text);
	ota_wipe(text, sizeof(text));
	return OTA_OK;
}

enum h_result h_token_create(struct req *req, struct res *res)
{
	struct token_in *in = arena_alloc(req->mem, sizeof(*in));
	struct errmsg e = {""};
	enum h_result answer;
	enum role role;

	(void)res;
	if (!in)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (!api_body(req, token_fields, sizeof(token_fields) / sizeof(token_fields[0]), in, &answer))
		return answer;
	if (auth_role_parse(in->role, &role)) {
		errmsg_set(&e, "role must be admin, operator, uploader or viewer, not '%s'", in->role);
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	}
	if (!limit_name_is_valid(in->name)) {
		errmsg_set(&e, "'%s' is no name for a token (a-z, A-Z, 0-9, '.', '_' and '-')", in->name);
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	}
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
		if (roles[i] == role)
			in->row.role = (enum token_role)i;
	}
	if (crypto_random(in->random, sizeof(in->random)))
		return res_error(req, OTA_IO, NULL);
	return api_store(req, create_run, in);
}

static enum ota_err revoke_run(struct api_job *a, struct job *job)
{
	const char *ref = a->req->cap.value[0];
	struct token_row row;
	enum ota_err err = token_find(job->db, ref, job->mem, &row, &job->e);

	if (err == OTA_NOT_FOUND)
		return errmsg_fail(&job->e, err, "there is no token '%s'", ref);
	if (err)
		return err;
	/* Through the socket one can always get in again. */
	if (a->req->who.kind == WHO_SOCKET_ADMIN)
		err = token_revoke_even_last(job->db, row.id, a->now, &job->e);
	else
		err = token_revoke(job->db, row.id, a->now, &job->e);
	if (err == OTA_STATE)
		return errmsg_fail(&job->e, OTA_STATE,
			"'%s' is the last administrator's token; make another one first, or use the socket",
			row.name);
	if (!err)
		err = api_audit(
			a, job, "token.revoke", row.name, api_facts(job->mem, "id", row.uid, NULL), NULL);
	if (!err)
		err = table_reload(a, job);
	a->status = 204;
	a->is_not_followed = true;
	return err;
}

enum h_result h_token_revoke(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, revoke_run, NULL);
}

enum h_result h_whoami(struct req *req, struct res *res)
{
	struct js_out o;

	(void)res;
	js_init(&o, req->mem);
	js_object(&o, NULL);
	js_text(&o, "kind", req->who.kind == WHO_SOCKET_ADMIN ? "socket" : "token");
	js_text(&o, "name", req->who.name);
	js_text(&o, "role", role_name(req->who.role));
	return js_answer(req, 200, &o);
}
