#include "db/alarm.h"

#include "db/change.h"
#include "db/stmt.h"

struct stored {
	struct alarm_row row;
	uint64_t counter;
};

bool alarm_is_shared(const struct alarm_row *row)
{
	return row->times >= ALARM_SHARED_TIMES;
}

static enum ota_err load(struct db *db, int64_t device, struct stored *out, struct errmsg *e)
{
	static const char q_load[] =
		"SELECT times, first_at, last_at, counter FROM alarm WHERE device = $device";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);
	struct stored got = {0};
	enum ota_err err;

	bind_i64(st, "device", device);
	err = stmt_row(st, e);
	if (err == OTA_OK) {
		got.row.times = (uint32_t)col_i64(st, "times");
		got.row.first_at = col_i64(st, "first_at");
		got.row.last_at = col_i64(st, "last_at");
		got.counter = (uint64_t)col_i64(st, "counter");
		err = stmt_status(st, e);
	}
	if (err == OTA_OK || err == OTA_NOT_FOUND)
		*out = got;
	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

static enum ota_err store(struct db *db, int64_t device, const struct stored *s, struct errmsg *e)
{
	static const char q_store[] =
		"INSERT INTO alarm (device, times, first_at, last_at, counter)"
		" VALUES ($device, $times, $first_at, $last_at, $counter)"
		" ON CONFLICT (device) DO UPDATE SET times = excluded.times, first_at = excluded.first_at,"
		" last_at = excluded.last_at, counter = excluded.counter";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_store);

	bind_i64(st, "device", device);
	bind_i64(st, "times", s->row.times);
	bind_i64(st, "first_at", s->row.first_at);
	bind_i64(st, "last_at", s->row.last_at);
	bind_i64(st, "counter", (int64_t)s->counter);
	return stmt_done(st, e);
}

/* What the row after an alarm at its last_at tells that the row before it did not. */
static enum alarm_news news_of(const struct alarm_row *before, const struct alarm_row *after)
{
	if (before->times == 0)
		return ALARM_FIRST;
	if (alarm_is_shared(after) && !alarm_is_shared(before))
		return ALARM_SHARED;
	return (after->last_at - after->first_at) / ALARM_AGAIN_S >
			       (before->last_at - before->first_at) / ALARM_AGAIN_S
		       ? ALARM_AGAIN
		       : ALARM_COUNTED;
}

enum ota_err alarm_raise(
	struct db *db, int64_t device, uint64_t counter, int64_t now, enum alarm_news *news, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	struct alarm_row before;
	enum alarm_news got;
	struct stored s;
	enum ota_err err = db_begin(db, &tx, e);

	if (err == OTA_OK)
		err = load(db, device, &s, e);
	if (err != OTA_OK)
		return err;
	if (!alarm_is_shared(&s.row) && s.row.times && now - s.row.last_at > ALARM_FORGET_S)
		s = (struct stored){0};
	before = s.row;
	/* A counter is an int64 in the database; no device counts that far. */
	counter &= INT64_MAX;
	if (s.row.times == 0)
		s.row.first_at = now;
	if (s.row.times == 0 || (counter > s.counter && s.row.times < UINT32_MAX)) {
		s.row.times++;
		s.counter = counter;
	}
	s.row.last_at = now;
	got = news_of(&before, &s.row);
	err = store(db, device, &s, e);
	if (err == OTA_CONFLICT)
		return errmsg_fail(e, OTA_NOT_FOUND, "no such device");
	if (err == OTA_OK && (got == ALARM_FIRST || got == ALARM_SHARED))
		err = change_add(db, CHANGE_DEVICE, device, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*news = got;
	return err;
}

enum ota_err alarm_clear(struct db *db, int64_t device, struct errmsg *e)
{
	static const char q_clear[] = "DELETE FROM alarm WHERE device = $device";
	AUTO(tx) struct db_tx tx = {0};
	int64_t n = 0;
	enum ota_err err = db_begin(db, &tx, e);

	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_clear);

		bind_i64(st, "device", device);
		err = stmt_done(st, e);
		if (err == OTA_OK)
			n = stmt_changes(st);
	}
	if (err == OTA_OK && n > 0)
		err = change_add(db, CHANGE_DEVICE, device, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}
