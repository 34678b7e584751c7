/* Who did what: /v1/audit. */
#include "db/audit.h"
#include "server/api.h"
#include "server/nouns.h"

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	const struct audit_filter filter = {
		.who = api_query(a->req, "who"),
		.action = api_query(a->req, "action"),
		.target = api_query(a->req, "target"),
	};
	struct audit_list list;
	enum ota_err err = audit_list(job->db, &filter, a->in, job->mem, &list, &job->e);

	if (err)
		return err;
	api_items(a);
	for (size_t i = 0; i < list.n; i++) {
		if (i && api_is_full(a, list.rows[i - 1].id, &list.next))
			break;
		const struct audit_row *row = &list.rows[i];

		js_object(&a->out, NULL);
		js_int(&a->out, "seq", row->id);
		js_int(&a->out, "at", row->at);
		js_text(&a->out, "who", row->who);
		js_text(&a->out, "from", row->from);
		js_text(&a->out, "action", row->action);
		js_text(&a->out, "target", row->target);
		js_raw(&a->out, "before", row->before ? row->before : "null");
		js_raw(&a->out, "after", row->after ? row->after : "null");
		js_end(&a->out);
	}
	api_items_end(a, list.next);
	return OTA_OK;
}

enum h_result h_audit_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}
