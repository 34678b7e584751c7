#include "db/fleet.h"

#include "db/alarm.h"
#include "db/stmt.h"

static enum ota_err count_devices(struct db *db, int64_t seen_after, struct fleet_counts *f, struct errmsg *e)
{
	static const char q_devices[] =
		"SELECT count(*) AS total, count(*) FILTER (WHERE d.state = 0) AS pending,"
		" count(*) FILTER (WHERE d.state = 1) AS approved,"
		" count(*) FILTER (WHERE d.is_held) AS held,"
		" count(*) FILTER (WHERE s.seen_at > $seen_after) AS seen"
		" FROM device d JOIN device_said s ON s.device = d.id WHERE d.state <> 2";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_devices);
	enum ota_err err;

	bind_i64(st, "seen_after", seen_after);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	f->total = col_u64(st, "total");
	f->pending = col_u64(st, "pending");
	f->approved = col_u64(st, "approved");
	f->held = col_u64(st, "held");
	f->seen = col_u64(st, "seen");
	return stmt_status(st, e);
}

static enum ota_err count_running(struct db *db, struct arena *mem, struct fleet_counts *f, struct errmsg *e)
{
	/* Few digests and words are told by many devices: what they mean is looked up once each. */
	static const char q_running[] =
		"SELECT t.board AS board, coalesce(r.version, t.word) AS version, sum(t.n) AS n FROM"
		" (SELECT d.board AS board, s.running_digest AS digest, s.running_text AS word, count(*) AS n"
		" FROM device d JOIN device_said s ON s.device = d.id WHERE d.state = 1"
		" GROUP BY d.board, s.running_digest, s.running_text) t"
		" LEFT JOIN manifest m ON m.digest = t.digest LEFT JOIN release r ON r.id = m.release"
		" GROUP BY t.board, coalesce(r.version, t.word) ORDER BY n DESC, board, version LIMIT $max";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_running);
	enum ota_err err;

	bind_i64(st, "max", FLEET_RUNNING_MAX);
	f->n_other = f->approved;
	while ((err = stmt_row(st, e)) == OTA_OK) {
		struct fleet_running *row = &f->running[f->n_running++];

		row->board = col_i64_or(st, "board", 0);
		row->version = col_text(st, "version", mem);
		row->n = col_u64(st, "n");
		f->n_other -= row->n;
	}
	return err == OTA_NOT_FOUND ? stmt_status(st, e) : err;
}

static enum ota_err count_shared(struct db *db, struct arena *mem, struct fleet_counts *f, struct errmsg *e)
{
	static const char q_shared[] = "SELECT count(*) OVER () AS n, d.name AS name FROM alarm x"
				       " JOIN device d ON d.id = x.device WHERE x.times >= $times"
				       " AND d.state <> 2 ORDER BY d.id LIMIT 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_shared);
	enum ota_err err;

	bind_i64(st, "times", ALARM_SHARED_TIMES);
	err = stmt_row(st, e);
	if (err == OTA_NOT_FOUND)
		return OTA_OK;
	if (err != OTA_OK)
		return err;
	f->shared = col_u64(st, "n");
	f->shared_name = col_text(st, "name", mem);
	return stmt_status(st, e);
}

static enum ota_err find_waiting(struct db *db, struct fleet_counts *f, struct errmsg *e)
{
	static const char q_waiting[] = "SELECT id FROM device WHERE state = 0 UNION"
					" SELECT n.device FROM enrolment n JOIN device d ON d.id = n.device"
					" WHERE n.state = 1 AND d.state <> 2 ORDER BY id LIMIT $max";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_waiting);
	enum ota_err err;

	bind_i64(st, "max", FLEET_WAITING_MAX);
	while ((err = stmt_row(st, e)) == OTA_OK)
		f->waiting[f->n_waiting++] = col_i64(st, "id");
	return err == OTA_NOT_FOUND ? stmt_status(st, e) : err;
}

enum ota_err fleet_count(
	struct db *db, int64_t seen_after, struct arena *mem, struct fleet_counts *out, struct errmsg *e)
{
	struct fleet_counts f = {0};
	enum ota_err err = count_devices(db, seen_after, &f, e);

	if (err == OTA_OK)
		err = count_running(db, mem, &f, e);
	if (err == OTA_OK)
		err = count_shared(db, mem, &f, e);
	if (err == OTA_OK)
		err = find_waiting(db, &f, e);
	if (err == OTA_OK)
		*out = f;
	return err;
}
