/* What each device has to do: /v1/assignments, and those of one push. */
#include <string.h>

#include "db/assignment.h"
#include "db/device.h"
#include "server/api.h"
#include "server/find.h"
#include "server/nouns.h"
#include "server/view.h"

static enum ota_err assignment_json(void *ctx, const void *of)
{
	struct view *v = ctx;
	const struct assignment_row *row = of;
	struct js_out *o = &v->a->out;
	struct device_row device;
	enum ota_err err;

	view_next(v);
	err = device_load(v->job->db, row->device, &v->tmp, &device, &v->job->e);
	if (err)
		return err;
	js_object(o, "device");
	js_text(o, "id", device.uid);
	js_text(o, "name", device.name);
	js_bool(o, "hold", device.is_held);
	js_end(o);
	err = view_assignment(v, row, &device);
	if (!err)
		err = view_running(v, &device);
	js_text(o, "running_version", *device.version ? device.version : NULL);
	js_time(o, "last_seen", device.said.seen_at);
	return err;
}

/* `state`: only these; -1: all. */
static enum ota_err assignments_json(
	struct api_job *a, struct job *job, const struct assignment_filter *filter, int state)
{
	struct assignment_list list;
	AUTO(view) struct view v = {0};
	size_t n = 0;
	enum ota_err err = assignment_list(job->db, filter, a->in, job->mem, &list, &job->e);

	if (err)
		return err;
	for (size_t i = 0; i < list.n; i++) {
		if (state < 0 || (int)list.rows[i].state == state)
			list.rows[n++] = list.rows[i];
	}
	list.n = n;
	view_init(&v, a, job);
	return api_items(a, API_ROWS(list), assignment_json, &v);
}

static enum ota_err rollout_assignments_run(struct api_job *a, struct job *job)
{
	struct rollout_row row;
	enum ota_err err = find_rollout(a, job, a->req->cap.value[0], &row);

	return err ? err
		   : assignments_json(
			     a, job, &(struct assignment_filter){.rollout = row.id, .only_newest = true}, -1);
}

enum h_result h_rollout_assignments(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, rollout_assignments_run);
}

static enum ota_err assignments_run(struct api_job *a, struct job *job)
{
	const char *device = api_query(a->req, "device"), *state = api_query(a->req, "state");
	struct assignment_filter filter = {0};
	enum assign_state wanted = ASSIGN_WAITING;
	enum ota_err err = OTA_OK;

	if (device) {
		struct device_row row;

		err = find_device(a, job, device, &row);
		filter.device = row.id;
	}
	if (!err && state && strcmp(state, "open") == 0) {
		filter.only_open = true;
		state = NULL;
	} else if (!err && state && assign_state_parse(state, &wanted)) {
		err = errmsg_fail(&job->e, OTA_INVALID, "there is no assignment state '%.40s'", state);
	}
	return err ? err : assignments_json(a, job, &filter, state ? (int)wanted : -1);
}

enum h_result h_assignment_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, assignments_run);
}
