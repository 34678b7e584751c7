/* Devices, the operator's side: /v1/devices. */
#include <stdio.h>
#include <string.h>

#include "db/assignment.h"
#include "db/device.h"
#include "db/enroll.h"
#include "db/event.h"
#include "server/actor.h"
#include "server/api.h"
#include "server/find.h"
#include "server/again.h"
#include "server/grow.h"
#include "server/nouns.h"
#include "server/select.h"
#include "server/view.h"

static enum ota_err parse_state(const char *text, int *state, struct errmsg *e)
{
	*state = -1;
	if (!text)
		return OTA_OK;
	for (int s = 0; s <= DEVICE_STATE_MAX; s++) {
		if (strcmp(view_device_state_name((enum device_state)s), text) == 0) {
			*state = s;
			return OTA_OK;
		}
	}
	return errmsg_fail(e, OTA_INVALID, "state must be pending, approved or revoked, not '%.40s'", text);
}

static enum ota_err item(void *v, const void *row)
{
	view_next(v);
	return view_device(v, row);
}

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	struct db_page page = *(const struct db_page *)a->in;
	const char *hold = api_query(a->req, "hold"), *board = api_query(a->req, "board");
	struct selector selector;
	struct device_filter filter = {.selector = &selector};
	struct device_list list;
	AUTO(view) struct view v = {0};
	enum ota_err err = parse_state(api_query(a->req, "state"), &filter.state, &job->e);

	view_init(&v, a, job);
	if (!err)
		err = select_parse(a, job, api_query(a->req, "selector"), &selector, NULL);
	if (!err && board) {
		struct board_row row;

		err = find_board(a, job, board, &row);
		filter.board = row.id;
	}
	if (!err && hold && strcmp(hold, "true") != 0 && strcmp(hold, "false") != 0)
		err = errmsg_fail(&job->e, OTA_INVALID, "hold must be true or false");
	if (!err)
		err = device_list(job->db, &filter, &page, job->mem, &list, &job->e);
	if (!err)
		err = view_expect_devices(&v, list.n);
	if (err)
		return err;
	if (hold) {
		size_t n = 0;

		for (size_t i = 0; i < list.n; i++) {
			if (list.rows[i].is_held == (*hold == 't'))
				list.rows[n++] = list.rows[i];
		}
		list.n = n;
	}
	return api_items(a, API_ROWS(list), item, &v);
}

enum h_result h_device_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}

/* The answer of everything that shows or changes one device: the device as it is now. */
static enum ota_err answer_device(struct api_job *a, struct job *job, int64_t id)
{
	struct device_row row;
	AUTO(view) struct view v = {0};
	enum ota_err err = device_load(job->db, id, job->mem, &row, &job->e);

	view_init(&v, a, job);
	if (!err)
		err = view_expect_devices(&v, 1);
	if (err)
		return err;
	a->revision = row.revision;
	js_object(&a->out, NULL);
	return view_device(&v, &row);
}

/* The same for what may find nothing to do: the caller is told which it was. */
static enum ota_err answer_change(struct api_job *a, struct job *job, int64_t id, bool is_changed)
{
	enum ota_err err = answer_device(a, job, id);

	if (!err)
		js_bool(&a->out, "changed", is_changed);
	return err;
}

static enum ota_err get_run(struct api_job *a, struct job *job)
{
	struct device_row row;
	enum ota_err err = find_device(a, job, a->req->cap.value[0], &row);

	return err ? err : answer_device(a, job, row.id);
}

enum h_result h_device_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, get_run, NULL);
}

static enum ota_err note(struct api_job *a, struct job *job, int64_t device, const char *kind,
	const char *fmt, const char *value)
{
	struct event_row row = {.device = device, .at = a->now, .kind = kind};
	char who[ACTOR_TEXT_LEN];

	row.text = arena_printf(job->mem, "%s%s by %s", fmt, value, actor_text(a->req->who.name, who));
	if (!row.text)
		return errmsg_fail(&job->e, OTA_NO_MEMORY, "out of memory");
	return event_add(job->db, &row, &job->e);
}

struct device_in {
	const char *name, *replacement;
	struct js_texts tags_add, tags_remove;
	int hold;
};

static const struct js_field update_fields[] = {
	JS_FIELD(struct device_in, name, JS_TEXT, false, 1, DB_NAME_MAX),
	JS_FIELD(struct device_in, tags_add, JS_TEXTS, false, 0, DEVICE_TAGS_MAX),
	JS_FIELD(struct device_in, tags_remove, JS_TEXTS, false, 0, DEVICE_TAGS_MAX),
	JS_FIELD(struct device_in, hold, JS_BOOL, false, 0, 0),
};

static const char *device_facts(struct arena *mem, const struct device_row *row)
{
	struct js_out o;
	size_t len;

	js_init(&o, mem);
	js_object(&o, NULL);
	js_text(&o, "name", row->name);
	js_text(&o, "state", view_device_state_name(row->state));
	js_bool(&o, "hold", row->is_held);
	js_array(&o, "tags");
	for (size_t i = 0; i < row->n_tags; i++)
		js_text(&o, NULL, row->tags[i]);
	js_end(&o);
	return js_finish(&o, &len);
}

static enum ota_err names_are_valid(const struct device_in *in, struct errmsg *e)
{
	enum ota_err err = in->name ? find_name_is_good(in->name, e) : OTA_OK;

	if (err)
		return err;
	for (size_t i = 0; i < in->tags_add.n; i++) {
		if (!limit_name_is_valid(in->tags_add.value[i]))
			return errmsg_fail(e, OTA_INVALID,
				"'%s' is no tag: a-z, A-Z, 0-9, '.', '_' and '-', not starting with '.' or "
				"'-'",
				in->tags_add.value[i]);
	}
	return OTA_OK;
}

static enum ota_err update_run(struct api_job *a, struct job *job)
{
	const struct device_in *in = a->in;
	struct device_change change = {
		.name = in->name,
		.state = -1,
		.hold = in->hold,
		.tags_add = in->tags_add.value,
		.n_tags_add = in->tags_add.n,
		.tags_remove = in->tags_remove.value,
		.n_tags_remove = in->tags_remove.n,
	};
	struct device_row before, after;
	enum ota_err err = find_device(a, job, a->req->cap.value[0], &before);

	if (err)
		return err;
	err = device_update(job->db, before.id, a->if_revision, &change, a->now, NULL, &job->e);
	if (err == OTA_EXISTS)
		return errmsg_fail(&job->e, err, "there is a device '%s' already", in->name);
	if (err == OTA_LIMIT)
		return errmsg_fail(&job->e, OTA_INVALID, "a device has at most %d tags", DEVICE_TAGS_MAX);
	if (!err)
		err = device_load(job->db, before.id, job->mem, &after, &job->e);
	if (!err && after.revision != before.revision)
		err = api_audit(a, job, "device.update", before.uid, device_facts(job->mem, &before),
			device_facts(job->mem, &after));
	if (!err && strcmp(before.name, after.name) != 0)
		err = note(a, job, before.id, "renamed", "renamed to ", after.name);
	if (!err && before.is_held != after.is_held)
		err = note(a, job, before.id, after.is_held ? "held" : "unheld",
			after.is_held ? "put on hold" : "hold taken away", "");
	return err ? err : answer_device(a, job, before.id);
}

enum h_result h_device_update(struct req *req, struct res *res)
{
	struct device_in *in = arena_alloc(req->mem, sizeof(*in));
	struct errmsg e = {""};
	enum h_result answer;

	(void)res;
	if (!in)
		return res_error(req, OTA_NO_MEMORY, NULL);
	in->hold = -1;
	if (!api_body(req, update_fields, sizeof(update_fields) / sizeof(update_fields[0]), in, &answer))
		return answer;
	if (names_are_valid(in, &e))
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	return api_store(req, update_run, in);
}

static enum ota_err remove_run(struct api_job *a, struct job *job)
{
	struct device_row row;
	enum ota_err err = find_device(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	err = device_delete(job->db, row.id, a->if_revision, a->now, &job->e);
	if (!err)
		err = api_audit(a, job, "device.remove", row.uid, device_facts(job->mem, &row), NULL);
	a->status = 204;
	return err;
}

enum h_result h_device_remove(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, remove_run, NULL);
}

/* As find_device; OTA_CONFLICT where If-Match names another revision of it. */
static enum ota_err find_current(struct api_job *a, struct job *job, const char *ref, struct device_row *out)
{
	enum ota_err err = find_device(a, job, ref, out);

	if (!err && a->if_revision && a->if_revision != out->revision)
		return errmsg_fail(&job->e, OTA_CONFLICT, "the device was changed meanwhile");
	return err;
}

/* A device that waits, a key that waits, or both. Approving what is approved changes nothing. */
static enum ota_err approve_run(struct api_job *a, struct job *job)
{
	const struct device_change change = {.state = DEVICE_APPROVED, .hold = -1};
	struct device_row row;
	enum ota_err err = find_current(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	if (row.state != DEVICE_APPROVED) {
		err = device_update(job->db, row.id, 0, &change, a->now, NULL, &job->e);
		if (!err)
			err = note(a, job, row.id, "approved", "approved", "");
	}
	if (!err && row.has_waiting_enrolment) {
		err = enroll_accept(job->db, row.id, a->now, &job->e);
		if (!err)
			err = note(a, job, row.id, "rekeyed", "its new key was accepted", "");
	}
	const bool has_waited = row.state != DEVICE_APPROVED || row.has_waiting_enrolment;

	if (!err && has_waited)
		err = api_audit(a, job, "device.approve", row.uid, device_facts(job->mem, &row), NULL);
	return err ? err : answer_change(a, job, row.id, has_waited);
}

enum h_result h_device_approve(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, approve_run, NULL);
}

/* A key that waits is refused; the device goes on with the one it has. Where none waits that is an error:
 * somebody may have let it in meanwhile. */
static enum ota_err reject_run(struct api_job *a, struct job *job)
{
	struct device_row row;
	enum ota_err err = find_current(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	if (!row.has_waiting_enrolment) {
		if (row.state == DEVICE_PENDING)
			a->hint = "to turn the device itself away: otactl device remove";
		return errmsg_fail(&job->e, OTA_STATE, "no new key of '%s' waits%s", row.name,
			row.state == DEVICE_PENDING   ? ": it was never approved"
			: row.state == DEVICE_REVOKED ? ": it is revoked"
						      : "");
	}
	err = enroll_refuse(job->db, row.id, a->now, &job->e);
	if (!err)
		err = note(a, job, row.id, "rejected", "its new key was refused", "");
	if (!err)
		err = api_audit(a, job, "device.reject", row.uid, NULL, NULL);
	return err ? err : answer_device(a, job, row.id);
}

enum h_result h_device_reject(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, reject_run, NULL);
}

/* An alarm was looked at. If its cause is still there, it comes back. */
static enum ota_err ack_run(struct api_job *a, struct job *job)
{
	struct device_row row;
	enum ota_err err = find_current(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	if (row.alarm.times) {
		err = alarm_clear(job->db, row.id, &job->e);
		if (!err)
			err = note(a, job, row.id, "acknowledged", "alarm acknowledged", "");
		if (!err)
			err = api_audit(a, job, "device.ack", row.uid, NULL, NULL);
	}
	return err ? err : answer_change(a, job, row.id, row.alarm.times > 0);
}

enum h_result h_device_ack(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, ack_run, NULL);
}

static const struct js_field replace_fields[] = {
	{.name = "new",
		.kind = JS_TEXT,
		.required = true,
		.offset = offsetof(struct device_in, replacement),
		.min = 1,
		.max = DB_UID_MAX},
};

static enum ota_err replace_run(struct api_job *a, struct job *job)
{
	const struct device_in *in = a->in;
	struct device_row old, new;
	enum ota_err err = find_current(a, job, a->req->cap.value[0], &old);

	if (!err)
		err = find_device(a, job, in->replacement, &new);
	if (err)
		return err;
	err = device_replace(job->db, old.id, new.id, a->now, &job->e);
	if (err == OTA_CONFLICT)
		return errmsg_fail(
			&job->e, OTA_STATE, "'%s' and '%s' are of different boards", old.name, new.name);
	if (err == OTA_STATE && old.id == new.id)
		return errmsg_fail(&job->e, err, "'%s' cannot replace itself", old.name);
	if (err == OTA_STATE)
		return errmsg_fail(&job->e, err, "'%s' is revoked", new.name);
	if (!err)
		err = note(a, job, new.id, "replaced", "took the place of ", old.uid);
	if (!err)
		err = api_audit(a, job, "device.replace", old.uid, device_facts(job->mem, &old),
			api_facts(job->mem, "new", new.uid, NULL));
	return err ? err : answer_device(a, job, new.id);
}

enum h_result h_device_replace(struct req *req, struct res *res)
{
	struct device_in *in = arena_alloc(req->mem, sizeof(*in));
	enum h_result answer;

	(void)res;
	if (!in)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (!api_body(req, replace_fields, sizeof(replace_fields) / sizeof(replace_fields[0]), in, &answer))
		return answer;
	return api_store(req, replace_run, in);
}

struct cancelled {
	int64_t n[3]; /* by enum assignment_cancel */
	int64_t until;
};

static enum ota_err note_late(struct api_job *a, struct job *job, const struct assignment_row *task)
{
	return note(a, job, task->device, "cancel-late",
		"cancelled too late: nothing takes it back here any more: ", task->version);
}

static enum ota_err cancel_one(struct api_job *a, struct job *job, const struct device_row *device,
	const struct assignment_row *task, struct cancelled *done)
{
	enum assignment_cancel what;
	int64_t until = 0;
	enum ota_err err = assignment_cancel(job->db, task->id, a->now, &what, &until, &job->e);

	if (err)
		return err;
	done->n[what]++;
	if (what == ASSIGNMENT_COMMITTED)
		return note_late(a, job, task);
	if (what == ASSIGNMENT_UNSURE)
		done->until = until;
	err = note(a, job, device->id, "cancelled",
		what == ASSIGNMENT_UNSURE ? "cancelled, but its last ticket may still install it: "
					  : "cancelled: ",
		task->version);
	return err ? err
		   : api_audit(a, job, "device.cancel", device->uid,
			     api_facts(job->mem, "rollout", task->rollout_uid, "state",
				     assign_state_name(task->state), NULL),
			     NULL);
}

struct cancel_in {
	int64_t task; /* 0: nothing is open */
	struct cancelled done;
};

/* It is named in no ticket any more, and all who were told before are stored. */
static enum ota_err cancel_stopped(struct api_job *a, struct job *job)
{
	struct cancel_in *in = a->in;
	struct assignment_row task = {.id = 0};
	struct device_row row;
	enum ota_err err = in->task ? assignment_load(job->db, in->task, job->mem, &task, &job->e) : OTA_OK;

	if (!err && in->task && assign_state_is_open(task.state)) {
		err = device_load(job->db, task.device, job->mem, &row, &job->e);
		if (!err)
			err = cancel_one(a, job, &row, &task, &in->done);
	} else if (!err && in->task) {
		/* The device was faster. */
		in->done.n[task.state == ASSIGN_CANCELLED ? ASSIGNMENT_WITHDRAWN : ASSIGNMENT_COMMITTED]++;
		if (task.state != ASSIGN_CANCELLED)
			err = note_late(a, job, &task);
	}
	if (err && err != OTA_NOT_FOUND) /* removed meanwhile */
		return err;
	js_object(&a->out, NULL);
	js_int(&a->out, "withdrawn", in->done.n[ASSIGNMENT_WITHDRAWN]);
	js_int(&a->out, "committed", in->done.n[ASSIGNMENT_COMMITTED]);
	js_int(&a->out, "unsure", in->done.n[ASSIGNMENT_UNSURE]);
	js_time(&a->out, "until", in->done.until);
	return OTA_OK;
}

static enum ota_err cancel_run(struct api_job *a, struct job *job)
{
	struct cancel_in *in = a->in;
	struct assignment_row task;
	struct device_row row;
	enum ota_err err = find_current(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	/* This word is newer than those of pushes and retries that have not got to the device yet. */
	err = grow_reach(job, row.id, a->now);
	if (!err)
		err = again_reach(job, row.id, a->now);
	if (err)
		return err;
	/* The one that waits first, or it would open. */
	err = assignment_load_queued(job->db, row.id, job->mem, &task, &job->e);
	if (!err)
		err = cancel_one(a, job, &row, &task, &in->done);
	if (!err || err == OTA_NOT_FOUND)
		err = assignment_load_open(job->db, row.id, job->mem, &task, &job->e);
	if (!err) {
		in->task = task.id;
		err = assignment_stop(job->db, task.id, a->now, &job->e);
	}
	a->more = cancel_stopped;
	a->is_settled_first = true;
	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

enum h_result h_device_cancel(struct req *req, struct res *res)
{
	struct cancel_in *in = arena_alloc(req->mem, sizeof(*in));

	(void)res;
	return in ? api_store(req, cancel_run, in) : res_error(req, OTA_NO_MEMORY, NULL);
}

struct log_of {
	struct js_out *out;
	struct job *job;
};

static enum ota_err event_json(void *ctx, const void *of)
{
	const struct log_of *l = ctx;
	const struct event_row *row = of;
	struct assignment_row task;
	struct js_out *o = l->out;
	struct job *job = l->job;
	enum ota_err err = row->assignment
				   ? assignment_load(job->db, row->assignment, job->mem, &task, &job->e)
				   : OTA_NOT_FOUND;

	if (err && err != OTA_NOT_FOUND)
		return err;
	js_int(o, "at", row->at);
	js_text(o, "kind", row->kind);
	js_text(o, "text", row->text);
	js_text(o, "release", err ? NULL : task.version);
	js_text(o, "rollout", err ? NULL : task.rollout_uid);
	return OTA_OK;
}

static enum ota_err log_run(struct api_job *a, struct job *job)
{
	struct event_list events;
	struct device_row row;
	enum ota_err err = find_device(a, job, a->req->cap.value[0], &row);

	if (!err)
		err = event_list(job->db, row.id, a->in, job->mem, &events, &job->e);
	return err ? err : api_items(a, API_ROWS(events), event_json, &(struct log_of){&a->out, job});
}

enum h_result h_device_log(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, log_run);
}
