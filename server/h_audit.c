/* Who did what: /v1/audit. */
#include "db/audit.h"
#include "server/actor.h"
#include "server/api.h"
#include "server/nouns.h"

static enum ota_err item(void *out, const void *of)
{
	const struct audit_row *row = of;

	js_int(out, "seq", row->id);
	js_int(out, "at", row->at);
	actor_json(out, "who", row->who);
	js_text(out, "from", row->from);
	js_text(out, "action", row->action);
	js_text(out, "target", row->target);
	js_raw(out, "before", row->before ? row->before : "null");
	js_raw(out, "after", row->after ? row->after : "null");
	return OTA_OK;
}

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	const struct audit_filter filter = {
		.who = api_query(a->req, "who"),
		.action = api_query(a->req, "action"),
		.target = api_query(a->req, "target"),
	};
	struct audit_list list;
	enum ota_err err = audit_list(job->db, &filter, a->in, job->mem, &list, &job->e);

	return err ? err : api_items(a, API_ROWS(list), item, &a->out);
}

enum h_result h_audit_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}
