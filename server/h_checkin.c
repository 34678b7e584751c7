#include <stdio.h>
#include <string.h>

#include "db/alarm.h"
#include "db/assignment.h"
#include "db/device.h"
#include "db/event.h"
#include "db/report.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "server/domain.h"
#include "server/follow.h"
#include "server/h_device.h"
#include "server/sign.h"
#include "server/stranger.h"
#include "server/verdict.h"

/* One check-in on its way: inputs of its job, its results, and what the answer needs. In req->mem. */
struct visit {
	const struct ota_crypto *crypto;
	struct keystore *keys;
	uint8_t id[DEVICE_ID_LEN];
	uint8_t mark[PLAN_MARK_LEN];
	struct checkin ci;
	uint32_t enrolment; /* whose key made the MAC */
	int64_t now;
	char from[64];

	/* what the store is asked */
	int64_t row;
	int64_t task_row;
	struct plan_step step;
	bool is_busy; /* the registry has the device marked for this visit's job */
	uint64_t counter_was;
	enum alarm_news news; /* of the alarm when its counter went back */

	/* results */
	bool has_facts;
	struct reg_facts facts;
	struct own_changes changes;

	struct ticket ticket;
	uint8_t bytes[TICKET_MAX];
	size_t len;
};

bool device_is_herd(const struct app *app)
{
	return plan_is_herd(jobs_in_lane(app->jobs, JOB_STORE) + jobs_in_lane(app->jobs, JOB_SIGN));
}

enum h_result device_come_back(struct req *req, struct res *res, unsigned status)
{
	uint32_t s = plan_retry_after_s(domain_random(req->app->domain));
	char *text = arena_printf(req->mem, "%u", s);

	if (text)
		res_header(res, "Retry-After", text);
	return res_empty(res, status);
}

/* The device of this visit; REG_NONE when it was removed while a job ran. */
static uint32_t device_of(struct req *req, const struct visit *v)
{
	return registry_find(req->app->domain->reg, v->id);
}

/* The key that the check-in was made with is still the device's: another may be approved while a job runs. */
static bool is_its_key(struct req *req, const struct visit *v, uint32_t at)
{
	struct reg_live live;

	registry_live(req->app->domain->reg, at, &live);
	return live.enrolment == v->enrolment;
}

/* The ticket */

static enum h_result send_ticket(struct req *req, struct res *res, unsigned status)
{
	struct visit *v = req->ctx;

	return res_body(res, status, "application/cbor", v->bytes, v->len);
}

static enum h_result send_mac(struct req *req, struct res *res, uint32_t at, unsigned status)
{
	struct visit *v = req->ctx;
	enum ota_err err = ticket_encode_mac(&v->ticket, v->crypto, registry_key(req->app->domain->reg, at),
		v->bytes, sizeof(v->bytes), &v->len);

	return err ? res_error(req, err, NULL) : send_ticket(req, res, status);
}

static enum ota_err sign_in_lane(struct job *job)
{
	struct visit *v = job->ctx;
	enum ota_err err = sign_ticket(v->keys, &v->ticket, v->bytes, &v->len);

	return err ? errmsg_fail(&job->e, err, "cannot sign a ticket: %s", ota_err_text(err)) : OTA_OK;
}

static enum h_result answer(struct req *req, struct res *res);

static enum h_result ticket_signed(struct req *req, struct res *res, struct job *job)
{
	struct domain *d = req->app->domain;
	const struct visit *v = req->ctx;
	uint32_t at = device_of(req, v);
	struct plan_device dev;

	if (job->err)
		return res_error(req, job->err, &job->e);
	if (at == REG_NONE)
		return res_empty(res, 404);
	registry_view(d->reg, at, &dev);
	/* Cancelled, superseded or held while it was signed: never sent. */
	if (!plan_still_says(&dev, &v->ticket))
		return answer(req, res);
	if (v->ticket.has_assignment)
		registry_offered(d->reg, at);
	return send_ticket(req, res, 200);
}

static void begin_ticket(struct req *req, struct ticket *t)
{
	const struct visit *v = req->ctx;

	memset(t, 0, sizeof(*t));
	memcpy(t->device_id, v->id, DEVICE_ID_LEN);
	memcpy(t->nonce, v->ci.nonce, NONCE_LEN);
	t->root_version = req->app->domain->root.version;
}

static struct plan_policy policy_of(struct domain *d, uint32_t at)
{
	struct reg_live live;

	registry_live(d->reg, at, &live);
	return domain_policy(d, registry_board(d->reg, live.board));
}

/* Answer from the registry as it is now. */
static enum h_result answer(struct req *req, struct res *res)
{
	struct domain *d = req->app->domain;
	struct visit *v = req->ctx;
	uint32_t at = device_of(req, v);
	struct plan_policy pol;
	struct plan_ticket plan;
	struct plan_device dev;

	if (at == REG_NONE)
		return res_empty(res, 404);
	pol = policy_of(d, at);
	registry_view(d->reg, at, &dev);
	plan_ticket(&dev, &pol, v->ci.flags & CHECKIN_FLAG_WANTS_SIGNED, domain_random(d), &plan);
	begin_ticket(req, &v->ticket);
	v->ticket.next_poll_s = plan.next_poll_s;
	v->ticket.flags = plan.flags;
	if (!plan.must_sign)
		return send_mac(req, res, at, 200);
	v->ticket.has_assignment = plan.has_assignment;
	if (plan.has_assignment) {
		memcpy(v->ticket.digest, dev.task.digest, 32);
		v->ticket.envelope_size = dev.task.envelope_size;
		v->ticket.attempt = dev.task.attempt;
	}
	return req_job(req, JOB_SIGN, sign_in_lane, v, ticket_signed);
}

static enum ota_err add_event(struct job *job, const char *kind, int64_t assignment, const char *text)
{
	const struct visit *v = job->ctx;
	struct event_row event = {
		.device = v->row, .at = v->now, .kind = kind, .text = text, .assignment = assignment};

	return text ? event_add(job->db, &event, &job->e) : OTA_NO_MEMORY;
}

/* A counter that went back */

static enum ota_err note_alarm(struct job *job)
{
	const struct visit *v = job->ctx;

	switch (v->news) {
	case ALARM_COUNTED:
		break;
	case ALARM_SHARED:
		return add_event(job, "shared-identity", 0,
			"two devices seem to use this identity: the counter goes back and forth");
	case ALARM_FIRST:
	case ALARM_AGAIN:
		return add_event(job, "counter-back", 0,
			arena_printf(job->mem,
				"counter went back: %llu after %llu, from %s; nothing of that check-in is "
				"used",
				(unsigned long long)v->ci.counter, (unsigned long long)v->counter_was,
				v->from));
	}
	return OTA_OK;
}

static enum ota_err store_alarm(struct job *job)
{
	struct visit *v = job->ctx;
	enum ota_err err = follow_own_begin(&v->changes, job);

	if (!err)
		err = alarm_raise(job->db, v->row, v->ci.counter, v->now, &v->news, &job->e);
	if (!err)
		err = note_alarm(job);
	return err ? err : follow_own_end(&v->changes, job);
}

static enum h_result refuse_counter(struct req *req, struct res *res)
{
	struct domain *d = req->app->domain;
	struct visit *v = req->ctx;
	uint32_t at = device_of(req, v);
	struct plan_policy pol;

	if (at == REG_NONE)
		return res_empty(res, 404);
	pol = policy_of(d, at);
	begin_ticket(req, &v->ticket);
	v->ticket.next_poll_s = plan_poll_s(&pol, domain_random(d));
	v->ticket.has_counter = true;
	v->ticket.counter = v->counter_was;
	return send_mac(req, res, at, 409);
}

static enum h_result alarm_stored(struct req *req, struct res *res, struct job *job)
{
	const struct visit *v = req->ctx;
	char hex[2 * DEVICE_ID_LEN + 1];

	if (job->err) {
		log_error("an alarm could not be stored: %s", job->e.text);
	} else {
		follow_own_done(req->app->domain, &v->changes);
		hex_encode(v->id, sizeof(v->id), hex);
		if (v->news == ALARM_SHARED)
			log_warn("device %s: two devices seem to use this identity", hex);
	}
	return refuse_counter(req, res);
}

static enum h_result counter_went_back(struct req *req, struct res *res, uint32_t at)
{
	struct domain *d = req->app->domain;
	struct visit *v = req->ctx;
	char hex[2 * DEVICE_ID_LEN + 1];

	/* One alarm until the device is heard again: a recorded check-in can be sent for ever. */
	if (!registry_alarm(d->reg, at))
		return refuse_counter(req, res);
	hex_encode(v->id, sizeof(v->id), hex);
	log_limited(&d->log_alarms, 30, v->now, LOG_LEVEL_WARN,
		"device %s: counter went back (%llu after %llu): a copy of its flash, or one that lost its "
		"state; if "
		"it repeats: otactl provision --device %.8s",
		hex, (unsigned long long)v->ci.counter, (unsigned long long)v->counter_was, hex);
	return req_job(req, JOB_STORE, store_alarm, v, alarm_stored);
}

/* A check-in that says something new */

static void said_of(const struct visit *v, struct device_said *out)
{
	const struct checkin *ci = &v->ci;
	struct device_said s = {
		.seen_at = v->now,
		.counter = ci->counter,
		.enrolment = v->enrolment,
		.root_version = ci->root_version,
		.has_running = ci->has_running,
		.running_sequence = ci->running_sequence,
		.agent_state = (int)ci->state,
		.has_target = ci->has_target,
		.target_attempt = ci->target_attempt,
		.target_bytes = ci->target_bytes,
		.has_result = ci->has_result,
		.result_attempt = ci->result_attempt,
		.result_reason = ci->result_reason,
		.result_detail = ci->result_detail,
		.result_offset = ci->result_offset,
		.uptime_s = ci->uptime_s,
		.flags = ci->flags,
	};

	memcpy(s.from, v->from, sizeof(s.from));
	memcpy(s.counter_digest, v->mark, sizeof(s.counter_digest));
	memcpy(s.running_digest, ci->running_digest, 32);
	memcpy(s.target_digest, ci->target_digest, 32);
	memcpy(s.result_digest, ci->result_digest, 32);
	*out = s;
}

/* "runs 1.1, confirmed": the line of a move in the device's log. */
static const char *words_of(struct arena *mem, const struct assignment_move *move, const char *version)
{
	char why[PLAN_TEXT_MAX];

	plan_result_text(move->to, move->reason, move->detail, move->offset, why);
	switch (move->to) {
	case ASSIGN_FETCHING:
		return arena_printf(mem, "downloads %s", version);
	case ASSIGN_STAGED:
		return arena_printf(mem, "has %s in its flash, verified", version);
	case ASSIGN_TRIAL:
		return arena_printf(mem, "tries %s", version);
	case ASSIGN_RUNNING:
		return arena_printf(mem, "runs %s, confirmed", version);
	case ASSIGN_FAILED:
		return arena_printf(mem, "%s failed: %s", version, why);
	case ASSIGN_REVERTED:
		return arena_printf(mem, "went back from %s: %s", version, why);
	case ASSIGN_SUPERSEDED:
		return arena_printf(mem, "had not started %s; a newer push took its place", version);
	case ASSIGN_CANCELLED:
		return arena_printf(mem, "had not started %s; it was withdrawn in time", version);
	case ASSIGN_WAITING:
	case ASSIGN_OFFERED:
	case ASSIGN_TIMED_OUT:
	case ASSIGN_SERVED:
	case ASSIGN_STATES:
		break; /* no check-in leads there */
	}
	return assign_state_name(move->to);
}

static enum ota_err move_task(struct job *job)
{
	const struct visit *v = job->ctx;
	struct assignment_move move = {
		.to = v->step.to,
		.now = v->now,
		.reason = v->step.reason,
		.detail = v->step.detail,
		.offset = v->step.offset,
	};
	struct assignment_row task;
	bool moved = false;
	enum ota_err err = assignment_advance(job->db, v->task_row, &move, &moved, &job->e);

	/* The operator was first, or the device was moved elsewhere: what it said stands in its row. */
	if (err == OTA_STATE || err == OTA_NOT_FOUND)
		return OTA_OK;
	if (!err && moved)
		err = assignment_load(job->db, v->task_row, job->mem, &task, &job->e);
	if (err || !moved)
		return err;
	return add_event(
		job, assign_state_name(move.to), v->task_row, words_of(job->mem, &move, task.version));
}

static enum ota_err count_up(struct job *job)
{
	const struct visit *v = job->ctx;
	struct assignment_row task;
	enum ota_err err = assignment_count_up(job->db, v->task_row, v->ci.result_attempt, &job->e);

	if (err == OTA_STATE)
		return OTA_OK; /* the operator was first */
	if (!err)
		err = assignment_load(job->db, v->task_row, job->mem, &task, &job->e);
	if (err)
		return err;
	return add_event(job, "counted", v->task_row,
		arena_printf(job->mem, "%s failed there as attempt %u, unheard: this is attempt %u",
			task.version, v->ci.result_attempt, task.attempt));
}

static enum ota_err store_report(struct job *job)
{
	struct visit *v = job->ctx;
	const struct verdict verdict = {.device = v->row, .now = v->now, .ci = &v->ci};
	struct device_said said;
	enum ota_err err = follow_own_begin(&v->changes, job);

	said_of(v, &said);
	if (!err)
		err = report_store(job->db, v->row, &said, &job->e);
	if (!err && v->step.is_claim)
		err = verdict_claim(job, &verdict);
	if (!err && v->step.has_move)
		err = move_task(job);
	if (!err && v->step.counts_up)
		err = count_up(job);
	if (!err && v->step.running_is_new)
		err = verdict_drift(job, &verdict);
	if (!err && v->step.running_is_new)
		err = verdict_back(job, &verdict, v->step.has_move);
	if (!err && v->step.running_is_new)
		err = verdict_late(job, &verdict);
	if (!err)
		err = facts_load_device(job->db, v->crypto, v->keys, v->row, job->mem, &v->facts, &job->e);
	v->has_facts = !err;
	if (err == OTA_NOT_FOUND)
		err = OTA_OK; /* removed meanwhile */
	return err ? err : follow_own_end(&v->changes, job);
}

static void note_root_missing(struct domain *d, const struct visit *v)
{
	if (!v->step.root_missing || v->ci.root_version <= d->root_missing)
		return;
	d->root_missing = v->ci.root_version;
	log_warn("root %u is missing here: a device has it, this server's newest is %u", v->ci.root_version,
		d->root.version);
}

/* The registry takes over what the device told. */
static enum ota_err take(struct domain *d, const struct visit *v, uint32_t at, bool is_stored)
{
	struct plan_device dev;

	registry_view(d->reg, at, &dev);
	plan_take(&dev, v->crypto, &v->ci, v->mark);
	return registry_checked_in(d->reg, at, &dev, v->now, v->ci.uptime_s,
		v->ci.has_target ? v->ci.target_bytes : 0, is_stored);
}

/* Reports of one device are stored one after the other. */
static void begin_busy(struct req *req, uint32_t at)
{
	struct visit *v = req->ctx;

	v->is_busy = true;
	registry_set_busy(req->app->domain->reg, at, true);
}

static void end_busy(struct req *req)
{
	struct visit *v = req->ctx;
	uint32_t at = device_of(req, v);

	if (v->is_busy && at != REG_NONE)
		registry_set_busy(req->app->domain->reg, at, false);
	v->is_busy = false;
}

static enum h_result report_stored(struct req *req, struct res *res, struct job *job)
{
	struct domain *d = req->app->domain;
	struct visit *v = req->ctx;
	enum ota_err err = job->err;
	uint32_t at;

	end_busy(req);
	if (!err && v->has_facts)
		err = follow_put(d, &v->facts);
	ota_wipe(v->facts.k_dev, KEY_LEN);
	at = device_of(req, v);
	if (at != REG_NONE && !is_its_key(req, v, at))
		return res_empty(res, 401);
	if (job->err)
		return res_error(req, job->err, &job->e);
	if (!err && at != REG_NONE)
		err = take(d, v, at, true);
	if (err)
		return res_error(req, err, NULL);
	follow_own_done(d, &v->changes);
	return answer(req, res);
}

static enum h_result use(struct req *req, struct res *res, uint32_t at, const struct plan_device *dev)
{
	struct domain *d = req->app->domain;
	struct visit *v = req->ctx;
	struct plan_policy pol = policy_of(d, at);
	struct reg_live live;
	enum h_result result;
	enum ota_err err;

	plan_checkin(dev, &pol, v->crypto, &v->ci, &v->step);
	note_root_missing(d, v);
	if (v->step.commit) {
		registry_live(d->reg, at, &live);
		v->row = live.row;
		v->task_row = live.task_row;
		begin_busy(req, at);
		result = req_job(req, JOB_STORE, store_report, v, report_stored);
		if (result == H_DONE)
			end_busy(req); /* answered without a job: no memory for one */
		return result;
	}
	err = take(d, v, at, false);
	if (err)
		return res_error(req, err, NULL);
	return answer(req, res);
}

static enum ota_err do_nothing(struct job *job)
{
	(void)job;
	return OTA_OK;
}

static enum h_result judge(struct req *req, struct res *res, uint32_t at);

static enum h_result judge_known(struct req *req, struct res *res)
{
	uint32_t at = device_of(req, req->ctx);

	return at == REG_NONE ? res_empty(res, 404) : judge(req, res, at);
}

/* A job of this device was before us in the store's queue: its end is behind us. */
static enum h_result judge_again(struct req *req, struct res *res, struct job *job)
{
	uint32_t at = device_of(req, req->ctx);

	if (at != REG_NONE && !is_its_key(req, req->ctx, at))
		return res_empty(res, 401);
	return job->err ? res_error(req, job->err, &job->e) : judge_known(req, res);
}

/* The MAC is right. */
static enum h_result judge(struct req *req, struct res *res, uint32_t at)
{
	struct domain *d = req->app->domain;
	struct visit *v = req->ctx;
	struct plan_device dev;
	struct reg_live live;

	registry_live(d->reg, at, &live);
	v->enrolment = live.enrolment;
	if (live.is_busy)
		return req_job(req, JOB_STORE, do_nothing, NULL, judge_again);
	registry_view(d->reg, at, &dev);
	switch (plan_counter(&dev, v->ci.counter, v->mark)) {
	case PLAN_COUNTER_REPEAT:
		return answer(req, res);
	case PLAN_COUNTER_BACK:
		v->row = live.row;
		v->counter_was = dev.counter;
		return counter_went_back(req, res, at);
	case PLAN_COUNTER_NEW:
		break;
	}
	return use(req, res, at, &dev);
}

enum h_result h_device_checkin(struct req *req, struct res *res)
{
	struct app *app = req->app;
	struct domain *d = app->domain;
	struct visit *v = arena_alloc(req->mem, sizeof(*v));
	uint8_t sum[OTA_SHA256_LEN];
	enum ota_err err;
	uint32_t at;

	if (!v)
		return res_error(req, OTA_NO_MEMORY, NULL);
	req->ctx = v;
	v->crypto = app->crypto;
	v->keys = d->keys;
	v->now = app_now(app);
	snprintf(v->from, sizeof(v->from), "%s", req->peer);
	if (checkin_peek(req->body, req->body_len, v->id))
		return res_empty(res, 400);
	if (device_is_herd(app))
		return device_come_back(req, res, 429);
	ota_sha256(app->crypto, &(struct ota_slice){req->body, req->body_len}, 1, sum);
	memcpy(v->mark, sum, sizeof(v->mark));
	at = registry_find(d->reg, v->id);
	if (at == REG_NONE)
		return stranger_come_in(req, res, v->id, &v->ci, judge_known);
	err = checkin_decode(app->crypto, req->body, req->body_len, registry_key(d->reg, at), &v->ci);
	if (err)
		return res_empty(res, err == OTA_SIG ? 401 : 400);
	return judge(req, res, at);
}
