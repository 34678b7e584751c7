/* The half of device.h that changes devices. */
#include "db/device.h"

#include <string.h>

#include "db/alarm.h"
#include "db/assignment.h"
#include "db/change.h"
#include "db/list.h"
#include "db/stmt.h"
#include "proto/hex.h"

enum { MEM_MAX = 64 * 1024 }; /* one device with its texts */

static enum ota_err tag_check(const char *tag, struct errmsg *e)
{
	return limit_name_is_valid(tag) ? OTA_OK : errmsg_fail(e, OTA_INVALID, "bad tag '%s'", tag);
}

/* Add or remove one; `*changed` becomes true when that made a difference. */
static enum ota_err tag_set(
	struct db *db, int64_t device, const char *tag, bool add, bool *changed, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO device_tag (device, tag) VALUES ($device, $tag) ON CONFLICT "
				    "(device, tag) DO NOTHING";
	static const char q_remove[] = "DELETE FROM device_tag WHERE device = $device AND tag = $tag";
	AUTO(stmt) struct stmt *st = stmt_get(db, add ? q_add : q_remove);
	enum ota_err err;

	bind_i64(st, "device", device);
	bind_text(st, "tag", tag);
	err = stmt_done(st, e);
	if (err == OTA_OK && stmt_changes(st) > 0)
		*changed = true;
	return err;
}

static enum ota_err tags_limit(struct db *db, int64_t device, struct errmsg *e)
{
	static const char q_count[] = "SELECT count(*) AS n FROM device_tag WHERE device = $device";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_count);
	uint64_t n;
	enum ota_err err;

	bind_i64(st, "device", device);
	err = stmt_count(st, &n, e);
	if (err == OTA_OK && n > DEVICE_TAGS_MAX)
		return errmsg_fail(e, OTA_LIMIT, "more than %d tags", DEVICE_TAGS_MAX);
	return err;
}

static enum ota_err devices_limit(struct db *db, uint64_t devices_max, struct errmsg *e)
{
	static const char q_count[] = "SELECT count(*) AS n FROM device";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_count);
	uint64_t n;
	enum ota_err err = stmt_count(st, &n, e);

	if (err == OTA_OK && n >= devices_max)
		return errmsg_fail(
			e, OTA_LIMIT, "there are %llu devices already", (unsigned long long)devices_max);
	return err;
}

static enum ota_err add(struct db *db, const struct device_row *row, int64_t *id, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO device (revision, uid, name, board, state, is_held, serial, "
				    "created_at, approved_at)"
				    " VALUES (1, $uid, $name, $board, $state, $is_held, $serial, "
				    "$created_at, $approved_at) RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);
	enum ota_err err;

	bind_text(st, "uid", row->uid);
	bind_text(st, "name", row->name && row->name[0] ? row->name : row->uid);
	if (row->board)
		bind_i64(st, "board", row->board);
	else
		bind_null(st, "board");
	bind_i64(st, "state", row->state);
	bind_i64(st, "is_held", row->is_held);
	bind_blob(st, "serial", row->serial, row->serial_len);
	bind_i64(st, "created_at", row->created_at);
	bind_time(st, "approved_at", row->state == DEVICE_APPROVED ? row->created_at : 0);
	err = stmt_id(st, id, e);
	if (err == OTA_EXISTS)
		return errmsg_fail(e, err, "device '%s' exists already",
			row->name && row->name[0] ? row->name : row->uid);
	if (err == OTA_CONFLICT)
		return errmsg_fail(e, OTA_NOT_FOUND, "no such board");
	return err;
}

static enum ota_err said_add(struct db *db, int64_t device, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO device_said (device) VALUES ($device)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "device", device);
	return stmt_done(st, e);
}

enum ota_err device_insert(
	struct db *db, const struct device_row *row, uint64_t devices_max, int64_t *id, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err = OTA_OK;
	bool changed = false;
	int64_t got = 0;

	if (!hex_is_lower(row->uid, 32))
		return errmsg_fail(e, OTA_INVALID, "a device's id is 32 hex digits");
	if (row->name && row->name[0] && !limit_name_is_valid(row->name))
		return errmsg_fail(e, OTA_INVALID, "bad device name '%s'", row->name);
	for (size_t i = 0; err == OTA_OK && i < row->n_tags; i++)
		err = tag_check(row->tags[i], e);
	if (err == OTA_OK)
		err = db_begin(db, &tx, e);
	if (err == OTA_OK && devices_max)
		err = devices_limit(db, devices_max, e);
	if (err == OTA_OK)
		err = add(db, row, &got, e);
	if (err == OTA_OK)
		err = said_add(db, got, e);
	for (size_t i = 0; err == OTA_OK && i < row->n_tags; i++)
		err = tag_set(db, got, row->tags[i], true, &changed, e);
	if (err == OTA_OK)
		err = tags_limit(db, got, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, got, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*id = got;
	return err;
}

static enum ota_err revision_check(int64_t if_revision, const struct device_row *row, struct errmsg *e)
{
	if (if_revision && if_revision != row->revision)
		return errmsg_fail(e, OTA_CONFLICT, "device '%s' was changed meanwhile", row->name);
	return OTA_OK;
}

/* Write the operator's facts of `row` and raise the revision. */
static enum ota_err facts_store(struct db *db, const struct device_row *row, int64_t now, struct errmsg *e)
{
	static const char q_update[] =
		"UPDATE device SET revision = revision + 1, name = $name, board = $board, state = $state,"
		" held_at = CASE WHEN $is_held = 0 THEN NULL WHEN is_held THEN held_at ELSE $now END,"
		" is_held = $is_held, approved_at = $approved_at WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_update);
	enum ota_err err;

	bind_text(st, "name", row->name);
	if (row->board)
		bind_i64(st, "board", row->board);
	else
		bind_null(st, "board");
	bind_i64(st, "state", row->state);
	bind_i64(st, "is_held", row->is_held);
	bind_i64(st, "now", now);
	bind_time(st, "approved_at", row->approved_at);
	bind_i64(st, "id", row->id);
	err = stmt_done(st, e);
	if (err == OTA_EXISTS)
		return errmsg_fail(e, err, "device '%s' exists already", row->name);
	if (err == OTA_CONFLICT)
		return errmsg_fail(e, OTA_NOT_FOUND, "no such board");
	return err;
}

static enum ota_err change_check(const struct device_change *c, struct errmsg *e)
{
	enum ota_err err = OTA_OK;

	if (c->name && !limit_name_is_valid(c->name))
		return errmsg_fail(e, OTA_INVALID, "bad device name '%s'", c->name);
	if (c->state == DEVICE_PENDING)
		return errmsg_fail(e, OTA_STATE, "a device is approved or revoked, never made pending");
	if (c->state > DEVICE_STATE_MAX)
		return errmsg_fail(e, OTA_INVALID, "unknown device state");
	for (size_t i = 0; err == OTA_OK && i < c->n_tags_add; i++)
		err = tag_check(c->tags_add[i], e);
	return err;
}

/* Take the change into `row`; true when something is different. */
static bool change_apply(struct device_row *row, const struct device_change *c, int64_t now)
{
	struct device_row old = *row;

	if (c->name)
		row->name = c->name;
	if (c->board)
		row->board = c->board;
	if (c->hold >= 0)
		row->is_held = c->hold > 0;
	if (c->state >= 0)
		row->state = (enum device_state)c->state;
	if (row->state == DEVICE_APPROVED && old.state != DEVICE_APPROVED)
		row->approved_at = now;
	return strcmp(row->name, old.name) != 0 || row->board != old.board || row->is_held != old.is_held ||
	       row->state != old.state;
}

static enum ota_err board_is_free(struct db *db, const struct device_row *row, struct errmsg *e)
{
	AUTO(arena) struct arena mem;
	struct assignment_row open;
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = assignment_load_open(db, row->id, &mem, &open, e);
	if (err == OTA_NOT_FOUND)
		return OTA_OK;
	if (err == OTA_OK)
		return errmsg_fail(
			e, OTA_STATE, "device '%s' is being updated: cancel that first", row->name);
	return err;
}

enum ota_err device_update(struct db *db, int64_t id, int64_t if_revision, const struct device_change *change,
	int64_t now, int64_t *revision, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct device_row row, old;
	bool changed = false;
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = change_check(change, e);
	if (err == OTA_OK)
		err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = device_load(db, id, &mem, &row, e);
	if (err == OTA_OK)
		err = revision_check(if_revision, &row, e);
	if (err != OTA_OK)
		return err;
	old = row;
	changed = change_apply(&row, change, now);
	if (row.board != old.board && old.board)
		err = board_is_free(db, &old, e);
	for (size_t i = 0; err == OTA_OK && i < change->n_tags_remove; i++)
		err = tag_set(db, id, change->tags_remove[i], false, &changed, e);
	for (size_t i = 0; err == OTA_OK && i < change->n_tags_add; i++)
		err = tag_set(db, id, change->tags_add[i], true, &changed, e);
	if (err == OTA_OK)
		err = tags_limit(db, id, e);
	if (err == OTA_OK && changed) {
		err = facts_store(db, &row, now, e);
		if (err == OTA_OK && row.state == DEVICE_REVOKED && old.state != DEVICE_REVOKED)
			err = assignment_withdraw(db, id, now, "the device was revoked", e);
		if (err == OTA_OK)
			err = change_add(db, CHANGE_DEVICE, id, e);
	}
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK && revision)
		*revision = row.revision + (changed ? 1 : 0);
	return err;
}

/* Run one statement with $old and $new. */
static enum ota_err move_rows(
	struct db *db, const char *sql, int64_t old_id, int64_t new_id, struct errmsg *e)
{
	AUTO(stmt) struct stmt *st = stmt_get(db, sql);

	bind_i64(st, "old", old_id);
	bind_i64(st, "new", new_id);
	return stmt_done(st, e);
}

static enum ota_err history_move(struct db *db, int64_t old_id, int64_t new_id, struct errmsg *e)
{
	static const char q_drop_tags[] = "DELETE FROM device_tag WHERE device = $new AND $old <> $new";
	static const char q_tags[] = "UPDATE device_tag SET device = $new WHERE device = $old";
	static const char q_events[] = "UPDATE event SET device = $new WHERE device = $old";
	static const char q_assignments[] =
		"UPDATE assignment SET device = $new WHERE device = $old AND ended_at IS NOT NULL";
	static const char *const steps[] = {q_drop_tags, q_tags, q_events, q_assignments};
	enum ota_err err = OTA_OK;

	for (size_t i = 0; err == OTA_OK && i < sizeof steps / sizeof steps[0]; i++)
		err = move_rows(db, steps[i], old_id, new_id, e);
	return err;
}

enum ota_err device_replace(struct db *db, int64_t old_id, int64_t new_id, int64_t now, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct device_row from, to, was;
	enum ota_err err;

	arena_init(&mem, 2 * MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = device_load(db, old_id, &mem, &from, e);
	if (err == OTA_OK)
		err = device_load(db, new_id, &mem, &to, e);
	if (err != OTA_OK)
		return err;
	if (old_id == new_id)
		return errmsg_fail(e, OTA_STATE, "device '%s' cannot replace itself", from.name);
	if (to.state == DEVICE_REVOKED)
		return errmsg_fail(e, OTA_STATE, "device '%s' is revoked", to.name);
	if (from.board && to.board && from.board != to.board)
		return errmsg_fail(
			e, OTA_CONFLICT, "'%s' and '%s' are of different boards", from.name, to.name);
	was = from;
	err = assignment_withdraw(db, old_id, now, "the device was replaced", e);
	if (err == OTA_OK)
		err = history_move(db, old_id, new_id, e);
	if (err == OTA_OK) {
		/* the old one gives its name up first: names are unique at every moment */
		from.name = from.uid;
		from.state = DEVICE_REVOKED;
		from.is_held = false;
		err = facts_store(db, &from, now, e);
	}
	if (err == OTA_OK) {
		to.name = strcmp(was.name, was.uid) == 0 ? to.name : was.name;
		to.is_held = was.is_held;
		to.board = to.board ? to.board : was.board;
		if (was.state == DEVICE_APPROVED && to.state != DEVICE_APPROVED) {
			to.state = DEVICE_APPROVED;
			to.approved_at = now;
		}
		err = facts_store(db, &to, now, e);
	}
	if (err == OTA_OK)
		err = alarm_clear(db, old_id, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, old_id, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, new_id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err device_delete(struct db *db, int64_t id, int64_t if_revision, int64_t now, struct errmsg *e)
{
	static const char q_delete[] = "DELETE FROM device WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct device_row row;
	enum ota_err err;

	arena_init(&mem, MEM_MAX);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = device_load(db, id, &mem, &row, e);
	if (err == OTA_OK)
		err = revision_check(if_revision, &row, e);
	/* its open assignment ends first, so that a rollout that waits for nothing else is done */
	if (err == OTA_OK)
		err = assignment_withdraw(db, id, now, NULL, e);
	if (err == OTA_OK) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_delete);

		bind_i64(st, "id", id);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err attribute_set_all(
	struct db *db, int64_t device, const struct attribute *rows, size_t n, struct errmsg *e)
{
	static const char q_clear[] = "DELETE FROM device_attribute WHERE device = $device";
	static const char q_add[] =
		"INSERT INTO device_attribute (device, name, value) VALUES ($device, $name, $value)";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	if (n > DEVICE_ATTRIBUTES_MAX)
		return errmsg_fail(e, OTA_LIMIT, "more than %d attributes", DEVICE_ATTRIBUTES_MAX);
	for (size_t i = 0; i < n; i++) {
		if (!limit_name_is_valid(rows[i].name) || strlen(rows[i].value) > DEVICE_ATTRIBUTE_VALUE_MAX)
			return errmsg_fail(e, OTA_INVALID, "bad attribute");
	}
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_clear);

		bind_i64(st, "device", device);
		err = stmt_done(st, e);
	}
	for (size_t i = 0; err == OTA_OK && i < n; i++) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

		bind_i64(st, "device", device);
		bind_text(st, "name", rows[i].name);
		bind_text(st, "value", rows[i].value);
		err = stmt_done(st, e);
		if (err == OTA_EXISTS)
			return errmsg_fail(e, OTA_INVALID, "attribute '%s' stands twice", rows[i].name);
		if (err == OTA_CONFLICT)
			return errmsg_fail(e, OTA_NOT_FOUND, "no such device");
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_DEVICE, device, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err attribute_list(struct db *db, int64_t device, struct arena *mem, struct attribute **rows,
	size_t *n, struct errmsg *e)
{
	static const char q_list[] =
		"SELECT name, value FROM device_attribute WHERE device = $device ORDER BY name";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);
	struct attribute *list = NULL;
	size_t got = 0, cap = 0;
	enum ota_err err;

	bind_i64(st, "device", device);
	while ((err = stmt_row(st, e)) == OTA_OK) {
		list = list_room(mem, list, got, &cap, sizeof *list);
		if (!list)
			return no_memory_fail(e);
		list[got].name = col_text(st, "name", mem);
		list[got].value = col_text(st, "value", mem);
		got++;
	}
	if (err == OTA_NOT_FOUND)
		err = stmt_status(st, e);
	if (err == OTA_OK) {
		*rows = list;
		*n = got;
	}
	return err;
}
