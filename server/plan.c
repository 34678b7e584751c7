#include "server/plan.h"

#include <stdio.h>
#include <string.h>

#include "proto/notice.h"

enum plan_counter plan_counter(
	const struct plan_device *d, uint64_t counter, const uint8_t mark[PLAN_MARK_LEN])
{
	if (!d->heard || counter > d->counter)
		return PLAN_COUNTER_NEW;
	if (counter == d->counter && memcmp(d->mark, mark, PLAN_MARK_LEN) == 0)
		return PLAN_COUNTER_REPEAT;
	return PLAN_COUNTER_BACK;
}

static void put_be(uint8_t *out, uint32_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

void plan_result_mark(
	const struct ota_crypto *c, const struct checkin *ci, uint8_t mark[static PLAN_MARK_LEN])
{
	uint8_t tail[1 + 1 + 2 + 4];
	uint8_t sum[OTA_SHA256_LEN];
	struct ota_slice parts[2] = {{ci->result_digest, 32}, {tail, sizeof(tail)}};

	memset(mark, 0, PLAN_MARK_LEN);
	if (!ci->has_result)
		return;
	tail[0] = ci->result_attempt;
	tail[1] = ci->result_reason;
	put_be(tail + 2, ci->result_detail, 2);
	put_be(tail + 4, ci->result_offset, 4);
	ota_sha256(c, parts, 2, sum);
	memcpy(mark, sum, PLAN_MARK_LEN);
}

static bool same_running(const struct plan_device *d, const struct checkin *ci)
{
	if (d->has_running != ci->has_running)
		return false;
	return !ci->has_running || (d->running_sequence == ci->running_sequence &&
					   memcmp(d->running_digest, ci->running_digest, 32) == 0);
}

static bool runs_target(const struct checkin *ci, const struct plan_task *t)
{
	return ci->has_running && memcmp(ci->running_digest, t->digest, 32) == 0;
}

/* A reason that only says "not now": the operator took the assignment back or holds it. */
static bool is_postponement(uint16_t detail)
{
	return detail == ota_err_detail(OTA_WITHDRAWN) || detail == ota_err_detail(OTA_HELD);
}

/* Failures of firmware that has run. */
static bool has_run(uint16_t detail)
{
	return detail == ota_err_detail(OTA_HEALTH) || detail == ota_err_detail(OTA_BOOTS) ||
	       detail == ota_err_detail(OTA_CONTACT);
}

static bool tells_failure(const struct checkin *ci, const uint8_t digest[32])
{
	return ci->has_result && ci->result_reason != 0 && memcmp(ci->result_digest, digest, 32) == 0;
}

/* It runs the target, and not because it failed with nothing to go back to. */
static bool runs_target_well(const struct checkin *ci, const struct plan_task *t)
{
	if (!runs_target(ci, t) || checkin_is_stuck(ci->has_running, ci->state, ci->flags))
		return false;
	return ci->state != CHECKIN_IDLE || !tells_failure(ci, t->digest) ||
	       ci->result_attempt != t->attempt || !has_run(ci->result_detail);
}

static void end_failed(struct plan_step *out, enum assign_state to, const struct checkin *ci)
{
	out->to = to;
	out->has_reason = true;
	out->reason = ci->result_reason;
	out->detail = ci->result_detail;
	out->offset = ci->result_offset;
}

/* Its trial was seen, and is over: it stayed for want of anything to go back to. The result that said so went
 * to a database that is gone, or counts from a journal that was. */
static bool stayed(const struct plan_task *t, const struct checkin *ci, struct plan_step *out)
{
	if (t->state != ASSIGN_TRIAL || !runs_target(ci, t) ||
		!checkin_is_stuck(ci->has_running, ci->state, ci->flags))
		return false;
	end_failed(out, ASSIGN_FAILED, ci);
	if (!tells_failure(ci, t->digest) || !has_run(ci->result_detail)) {
		out->reason = ota_err_reason(OTA_HEALTH);
		out->detail = ota_err_detail(OTA_HEALTH);
		out->offset = 0;
	}
	return true;
}

/* Where the check-in puts the assignment; false: nowhere new. */
static bool judge(const struct plan_task *t, const struct checkin *ci, struct plan_step *out)
{
	/* What runs is stronger than what is told: a result that the device could not deliver before may
	 * still be there. */
	if (runs_target_well(ci, t)) {
		out->to = ci->state == CHECKIN_TRIAL ? ASSIGN_TRIAL : ASSIGN_RUNNING;
		return true;
	}
	if (tells_failure(ci, t->digest) && ci->result_attempt == t->attempt &&
		!is_postponement(ci->result_detail)) {
		bool is_back = !runs_target(ci, t) &&
			       (t->state == ASSIGN_TRIAL || has_run(ci->result_detail));

		end_failed(out, is_back ? ASSIGN_REVERTED : ASSIGN_FAILED, ci);
		return true;
	}
	if (stayed(t, ci, out))
		return true;
	if (ci->has_target && ci->target_attempt == t->attempt &&
		memcmp(ci->target_digest, t->digest, 32) == 0) {
		if (ci->state == CHECKIN_FETCHING)
			out->to = ASSIGN_FETCHING;
		else if (ci->state == CHECKIN_STAGED)
			out->to = ASSIGN_STAGED;
		else
			return false;
		return true;
	}
	return false;
}

/* An assignment that was past the point of no return when a newer one was queued behind it, or that was
 * withdrawn while a ticket might still let the device arm. Whoever speaks outside a trial has not armed, and
 * will not without the ticket that answers this check-in. */
static bool gives_way(const struct plan_task *t, const struct checkin *ci, struct plan_step *out)
{
	if (ci->state == CHECKIN_TRIAL || runs_target_well(ci, t) || (!t->has_next && !t->withdrawn))
		return false;
	/* The answer may get lost, and the ticket before it is good for another minute. */
	if (t->withdrawn && !t->has_next && ci->state == CHECKIN_FETCHING && ci->has_target &&
		memcmp(ci->target_digest, t->digest, 32) == 0)
		return false;
	out->to = t->withdrawn ? ASSIGN_CANCELLED : ASSIGN_SUPERSEDED;
	/* Its trial was seen, and is over. */
	if (t->state == ASSIGN_TRIAL)
		out->to = ASSIGN_REVERTED;
	return true;
}

/* Refused for its number alone: it failed there under that one when nobody here counted it, after the release
 * was seen running, or before a database that was restored. What was decided stands, and needs another
 * number. */
static bool counts_up(const struct plan_task *t, const struct checkin *ci)
{
	return tells_failure(ci, t->digest) && ci->result_attempt == t->attempt &&
	       ci->result_detail == ota_err_detail(OTA_ATTEMPT) && t->attempt < UINT8_MAX &&
	       t->state != ASSIGN_TRIAL && !t->has_next && !t->withdrawn && !runs_target_well(ci, t);
}

/* Where the check-in puts the open assignment; false: it stays where it is. */
static bool find_move(const struct plan_task *t, const struct checkin *ci, struct plan_step *out)
{
	bool is_told = judge(t, ci, out);

	/* An end that the device tells is the better word. */
	if (is_told && !assign_state_is_open(out->to))
		return true;
	return gives_way(t, ci, out) || is_told;
}

void plan_checkin(const struct plan_device *d, const struct plan_policy *pol, const struct ota_crypto *c,
	const struct checkin *ci, struct plan_step *out)
{
	const struct plan_task *t = &d->task;
	uint8_t mark[PLAN_MARK_LEN];
	bool claims;

	memset(out, 0, sizeof(*out));
	plan_result_mark(c, ci, mark);
	out->running_is_new = !d->heard || !same_running(d, ci);
	out->result_is_new = ci->has_result && memcmp(mark, d->result_mark, PLAN_MARK_LEN) != 0;
	out->root_missing = ci->root_version > pol->root_version;

	out->counts_up = t->exists && assign_state_is_open(t->state) && counts_up(t, ci);
	if (t->exists && assign_state_is_open(t->state) && !out->counts_up && find_move(t, ci, out))
		out->has_move = out->to != t->state && assign_move_is_legal(t->state, out->to);

	claims = ci->has_running && ci->state == CHECKIN_CONFIRMED;
	out->is_claim = claims && (out->running_is_new || d->state != CHECKIN_CONFIRMED) &&
			!(t->exists && runs_target(ci, t));

	/* A result that goes away was acknowledged: no news, unless another takes its place. */
	out->commit = !d->heard || out->running_is_new || out->result_is_new || out->has_move ||
		      out->counts_up || ci->root_version != d->root_version || ci->state != d->state;
}

void plan_take(struct plan_device *d, const struct ota_crypto *c, const struct checkin *ci,
	const uint8_t mark[PLAN_MARK_LEN])
{
	d->heard = true;
	d->counter = ci->counter;
	memcpy(d->mark, mark, PLAN_MARK_LEN);
	d->root_version = ci->root_version;
	d->has_running = ci->has_running;
	d->running_sequence = ci->has_running ? ci->running_sequence : 0;
	if (ci->has_running)
		memcpy(d->running_digest, ci->running_digest, 32);
	else
		memset(d->running_digest, 0, 32);
	d->state = ci->state;
	d->flags = ci->flags;
	/* The mark of the last result stays when the field goes: the same one told again is not news. */
	if (ci->has_result)
		plan_result_mark(c, ci, d->result_mark);
}

void plan_ticket(const struct plan_device *d, const struct plan_policy *pol, bool wants_signed,
	uint32_t random, struct plan_ticket *out)
{
	const struct plan_task *t = &d->task;

	memset(out, 0, sizeof(*out));
	out->next_poll_s = plan_poll_s(pol, random);
	/* In trial the device ignores assignments until it has confirmed. */
	out->has_assignment = d->approved && t->exists && t->envelope_size &&
			      assign_state_is_open(t->state) && !t->withdrawn && t->state != ASSIGN_TRIAL &&
			      d->state != CHECKIN_TRIAL;
	out->offers = out->has_assignment && t->state == ASSIGN_WAITING;
	/* No device begins a trial by a ticket that is made after the newer decision. */
	if (out->has_assignment && (d->hold || t->hold || t->has_next))
		out->flags |= TICKET_FLAG_HOLD;
	out->must_sign = out->has_assignment || (d->approved && wants_signed);
}

bool plan_still_says(const struct plan_device *d, const struct ticket *t)
{
	const struct plan_policy pol = {0};
	struct plan_ticket now;

	plan_ticket(d, &pol, false, 0, &now);
	if (now.has_assignment != t->has_assignment)
		return false;
	return !t->has_assignment || (memcmp(d->task.digest, t->digest, 32) == 0 &&
					     d->task.attempt == t->attempt && now.flags == t->flags);
}

bool plan_is_confirmed(const struct plan_device *d)
{
	return d->heard && checkin_is_confirmed(d->has_running, d->state, d->flags);
}

bool plan_is_already_running(const struct plan_device *d)
{
	return d->task.exists && assign_state_is_open(d->task.state) && plan_is_confirmed(d) &&
	       memcmp(d->running_digest, d->task.digest, 32) == 0;
}

uint32_t plan_poll_s(const struct plan_policy *pol, uint32_t random)
{
	uint64_t reach = (uint64_t)pol->poll_s * (pol->poll_spread > 100 ? 100 : pol->poll_spread) / 100;
	uint64_t s = pol->poll_s - reach + random % (2 * reach + 1);

	if (s < TICKET_POLL_MIN_S)
		return TICKET_POLL_MIN_S;
	return s > TICKET_POLL_MAX_S ? TICKET_POLL_MAX_S : (uint32_t)s;
}

int64_t plan_next_poll_by(const struct plan_policy *pol, int64_t seen)
{
	uint64_t longest = (uint64_t)pol->poll_s * (100 + pol->poll_spread) / 100;

	if (longest < TICKET_POLL_MIN_S)
		longest = TICKET_POLL_MIN_S;
	longest += longest * PLAN_AGENT_SPREAD / 100;
	return seen + (int64_t)longest + PLAN_POLL_GRACE_S;
}

uint32_t plan_retry_after_s(uint32_t random)
{
	return PLAN_RETRY_MIN_S + random % (PLAN_RETRY_SPREAD_S + 1);
}

bool plan_is_herd(size_t jobs_pending)
{
	return jobs_pending >= PLAN_JOBS_MAX;
}

void plan_wake(size_t n_targets, size_t n_devices, uint32_t notice_spread_s, struct plan_wake *out)
{
	size_t spread = n_targets / PLAN_HINTS_PER_S;

	memset(out, 0, sizeof(*out));
	if (n_targets == 0)
		return;
	out->hints = n_targets <= PLAN_HINTS_MAX;
	out->board = !out->hints || n_devices <= PLAN_HINTS_MAX;
	out->hint_spread_s = spread > NOTICE_SPREAD_MAX_S ? NOTICE_SPREAD_MAX_S : (uint32_t)spread;
	/* Few devices need no long spread to be no herd. */
	spread = n_devices / PLAN_HINTS_PER_S;
	out->board_spread_s = spread < notice_spread_s ? (uint32_t)spread : notice_spread_s;
}

uint32_t plan_revision_next(uint32_t last, int64_t now)
{
	int64_t next = (int64_t)last + 1;

	if (now > next)
		next = now;
	return next > UINT32_MAX ? UINT32_MAX : (uint32_t)next;
}

void plan_result_text(enum assign_state end, uint8_t reason, uint16_t detail, uint32_t offset,
	char out[static PLAN_TEXT_MAX])
{
	enum ota_err err = ota_err_from_detail(detail);
	/* A number that is none of ours comes from a newer agent: its reason still says something. */
	bool known = ota_err_detail(err) == detail;
	bool stays = end == ASSIGN_FAILED && has_run(detail);
	char waited[64] = "";
	int n;

	if (reason == 0 && detail == 0) {
		(void)snprintf(out, PLAN_TEXT_MAX, "it runs another release and did not say why");
		return;
	}
	if (err == OTA_HEALTH && offset)
		(void)snprintf(waited, sizeof waited, ": did not say that it is within %u s", offset);
	n = snprintf(out, PLAN_TEXT_MAX, "%s%s%s (reason %u, detail %u)%s",
		known ? ota_err_text(err) : "unknown failure", waited, stays ? ", still runs" : "", reason,
		detail, stays ? ": there is nothing to go back to" : "");

	if (offset && err != OTA_HEALTH && n > 0 && n < PLAN_TEXT_MAX)
		snprintf(out + n, PLAN_TEXT_MAX - (size_t)n, " at byte %u", offset);
}
