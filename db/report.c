#include "db/report.h"

#include "db/change.h"
#include "db/report_columns.h"
#include "db/stmt.h"
#include "proto/checkin.h"

void report_fill(struct stmt *st, struct device_said *out)
{
	struct device_said said = {
		.seen_at = col_time(st, "seen_at"),
		.counter = col_u64(st, "counter"),
		.root_version = col_u32(st, "root_version"),
		.running_sequence = col_u32(st, "running_sequence"),
		.agent_state = col_enum(st, "agent_state", CHECKIN_CONFIRMED),
		.target_attempt = (uint8_t)col_enum(st, "target_attempt", UINT8_MAX),
		.target_bytes = col_u64(st, "target_bytes"),
		.result_attempt = (uint8_t)col_enum(st, "result_attempt", UINT8_MAX),
		.result_reason = (uint8_t)col_enum(st, "result_reason", UINT8_MAX),
		.result_detail = (uint16_t)col_enum(st, "result_detail", UINT16_MAX),
		.result_offset = col_u32(st, "result_offset"),
		.result_at = col_time(st, "result_at"),
		.uptime_s = col_u32(st, "uptime_s"),
		.flags = col_u32(st, "flags"),
		.confirmed_at = col_time(st, "confirmed_at"),
	};

	col_text_buf(st, "peer", said.from, sizeof said.from);
	(void)col_blob_exact(st, "counter_digest", said.counter_digest, sizeof said.counter_digest);
	said.has_running = col_blob_exact(
		st, "running_digest", said.running_digest, sizeof said.running_digest);
	col_text_buf(st, "running_text", said.running_text, sizeof said.running_text);
	said.has_target = col_blob_exact(st, "target_digest", said.target_digest, sizeof said.target_digest);
	said.has_result = col_blob_exact(st, "result_digest", said.result_digest, sizeof said.result_digest);
	said.has_confirmed = col_blob_exact(
		st, "confirmed_digest", said.confirmed_digest, sizeof said.confirmed_digest);
	said.has_previous = col_blob_exact(
		st, "previous_digest", said.previous_digest, sizeof said.previous_digest);
	*out = said;
}

/* Why nothing was stored. */
static enum ota_err why_not(struct db *db, int64_t device, uint64_t counter, struct errmsg *e)
{
	static const char q_counter[] = "SELECT counter FROM device_said WHERE device = $device";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_counter);
	enum ota_err err;

	bind_i64(st, "device", device);
	err = stmt_row(st, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no such device");
	if (err != OTA_OK)
		return err;
	if (col_u64(st, "counter") <= counter)
		return errmsg_fail(e, OTA_CONFLICT, "the device has another key by now");
	return errmsg_fail(e, OTA_CONFLICT, "the counter is below %lld", (long long)col_i64(st, "counter"));
}

/* A check-in may wait for its turn while its device gets another key: its counter is not of the new one. */
#define OF_THIS_KEY                                                                                          \
	" WHERE device = $device AND counter <= $counter AND ($enrolment = 0 OR EXISTS (SELECT 1 FROM "      \
	"enrolment n WHERE n.device = $device AND n.state = 0 AND (n.id & 4294967295) = $enrolment))"

/* What is running and confirmed moves on; what was before is kept, for reverts and for garbage collection. */
static const char q_store[] =
	"UPDATE device_said SET"
	" previous_digest = CASE WHEN $confirmed IS NOT NULL AND confirmed_digest IS DISTINCT FROM $confirmed"
	"  THEN confirmed_digest ELSE previous_digest END,"
	" confirmed_at = CASE WHEN $confirmed IS NOT NULL AND confirmed_digest IS DISTINCT FROM $confirmed"
	"  THEN $seen_at ELSE confirmed_at END,"
	" confirmed_digest = coalesce($confirmed, confirmed_digest),"
	" result_at = CASE WHEN $result_digest IS NULL THEN NULL"
	"  WHEN result_digest IS DISTINCT FROM $result_digest OR result_attempt <> $result_attempt"
	"   OR result_reason <> $result_reason OR result_detail <> $result_detail OR result_offset <> "
	"$result_offset"
	"  THEN $seen_at ELSE result_at END,"
	" seen_at = $seen_at, peer = $peer, counter = $counter, counter_digest = $counter_digest,"
	" root_version = $root_version, running_sequence = $running_sequence, running_digest = "
	"$running_digest,"
	" running_text = $running_text, agent_state = $agent_state, target_digest = $target_digest,"
	" target_attempt = $target_attempt, target_bytes = $target_bytes, result_digest = $result_digest,"
	" result_attempt = $result_attempt, result_reason = $result_reason, result_detail = $result_detail,"
	" result_offset = $result_offset, uptime_s = $uptime_s, flags = $flags" OF_THIS_KEY;

bool report_is_stuck(const struct device_said *said)
{
	return checkin_is_stuck(said->has_running, (enum checkin_state)said->agent_state, said->flags);
}

bool report_is_confirmed(const struct device_said *said)
{
	return checkin_is_confirmed(said->has_running, (enum checkin_state)said->agent_state, said->flags);
}

enum ota_err report_store(struct db *db, int64_t device, const struct device_said *said, struct errmsg *e)
{
	bool is_confirmed = report_is_confirmed(said);
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_store);

		bind_blob(st, "confirmed", is_confirmed ? said->running_digest : NULL,
			sizeof said->running_digest);
		bind_i64(st, "seen_at", said->seen_at);
		bind_text(st, "peer", said->from);
		bind_u64(st, "counter", said->counter);
		bind_blob(st, "counter_digest", said->counter_digest, sizeof said->counter_digest);
		bind_i64(st, "root_version", said->root_version);
		bind_i64(st, "running_sequence", said->running_sequence);
		bind_blob(st, "running_digest", said->has_running ? said->running_digest : NULL,
			sizeof said->running_digest);
		bind_text(st, "running_text", said->running_text);
		bind_i64(st, "agent_state", said->agent_state);
		bind_blob(st, "target_digest", said->has_target ? said->target_digest : NULL,
			sizeof said->target_digest);
		bind_i64(st, "target_attempt", said->target_attempt);
		bind_u64(st, "target_bytes", said->target_bytes);
		bind_blob(st, "result_digest", said->has_result ? said->result_digest : NULL,
			sizeof said->result_digest);
		bind_i64(st, "result_attempt", said->result_attempt);
		bind_i64(st, "result_reason", said->result_reason);
		bind_i64(st, "result_detail", said->result_detail);
		bind_i64(st, "result_offset", said->result_offset);
		bind_i64(st, "uptime_s", said->uptime_s);
		bind_i64(st, "flags", said->flags);
		bind_i64(st, "enrolment", said->enrolment);
		bind_i64(st, "device", device);
		err = stmt_done(st, e);
		if (err == OTA_OK && stmt_changes(st) == 0)
			return why_not(db, device, said->counter, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, device, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err report_touch_many(struct db *db, const struct report_touch *rows, size_t n, struct errmsg *e)
{
	static const char q_touch[] = "UPDATE device_said SET seen_at = $seen_at, counter = $counter, "
				      "counter_digest = $counter_digest,"
				      " target_bytes = $target_bytes, uptime_s = $uptime_s, "
				      "flags = $flags" OF_THIS_KEY;
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_touch);

		for (size_t i = 0; err == OTA_OK && i < n; i++) {
			stmt_again(st);
			bind_i64(st, "seen_at", rows[i].seen_at);
			bind_u64(st, "counter", rows[i].counter);
			bind_blob(
				st, "counter_digest", rows[i].counter_digest, sizeof rows[i].counter_digest);
			bind_u64(st, "target_bytes", rows[i].target_bytes);
			bind_i64(st, "uptime_s", rows[i].uptime_s);
			bind_i64(st, "flags", rows[i].flags);
			bind_i64(st, "enrolment", rows[i].enrolment);
			bind_i64(st, "device", rows[i].device);
			err = stmt_done(st, e);
		}
	}
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err report_seen(struct db *db, int64_t device, int64_t now, const char *from, struct errmsg *e)
{
	static const char q_seen[] =
		"UPDATE device_said SET seen_at = $now, peer = $peer WHERE device = $device";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_seen);
	enum ota_err err;

	bind_i64(st, "now", now);
	bind_text(st, "peer", from);
	bind_i64(st, "device", device);
	err = stmt_done(st, e);
	if (err == OTA_OK && stmt_changes(st) == 0)
		return errmsg_fail(e, OTA_NOT_FOUND, "no such device");
	return err;
}
