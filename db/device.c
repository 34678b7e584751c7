#include "db/device.h"

#include <ctype.h>
#include <string.h>

#include "db/identity.h"
#include "db/list.h"
#include "db/report_columns.h"
#include "db/stmt.h"
#include "proto/hex.h"

/* version: of the release that its running manifest installs, else the device's own word */
#define SELECT_DEVICE                                                                                        \
	"SELECT d.id AS id, d.revision AS revision, d.uid AS uid, d.name AS name, d.board AS board,"         \
	" b.name AS board_name, d.state AS state, d.is_held AS is_held, d.serial AS serial, d.created_at "   \
	"AS created_at,"                                                                                     \
	" d.approved_at AS approved_at, " REPORT_COLUMNS ", r.id AS release,"                                \
	" coalesce(r.version, s.running_text) AS version, a.secret_id AS secret_id, a.nonce_d AS nonce_d,"   \
	" a.nonce_s AS nonce_s, a.at AS enrolled_at, coalesce(a.id & 4294967295, 0) AS enrolment_number,"    \
	" EXISTS (SELECT 1 FROM enrolment w WHERE w.device = d.id AND w.state = 1) AS is_waiting,"           \
	" x.times AS alarm_times, x.first_at AS alarm_first_at, x.last_at AS alarm_last_at"                  \
	" FROM device d JOIN device_said s ON s.device = d.id LEFT JOIN board b ON b.id = d.board"           \
	" LEFT JOIN manifest m ON m.digest = s.running_digest LEFT JOIN release r ON r.id = m.release"       \
	" LEFT JOIN enrolment a ON a.device = d.id AND a.state = 0 LEFT JOIN alarm x ON x.device = d.id"

const char *device_state_name(enum device_state state)
{
	static const char *const names[] = {
		[DEVICE_PENDING] = "pending",
		[DEVICE_APPROVED] = "approved",
		[DEVICE_REVOKED] = "revoked",
	};

	return (unsigned)state <= DEVICE_STATE_MAX ? names[state] : "unknown";
}

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct device_row row = {
		.id = col_i64(st, "id"),
		.revision = col_i64(st, "revision"),
		.name = col_text(st, "name", mem),
		.board = col_i64_or(st, "board", 0),
		.board_name = col_text_or(st, "board_name", mem, ""),
		.state = (enum device_state)col_enum(st, "state", DEVICE_STATE_MAX),
		.is_held = col_bool(st, "is_held"),
		.created_at = col_i64(st, "created_at"),
		.approved_at = col_time(st, "approved_at"),
		.release = col_i64_or(st, "release", 0),
		.version = col_text(st, "version", mem),
		.has_waiting_enrolment = col_bool(st, "is_waiting"),
		.alarm = {.times = (uint32_t)col_i64_or(st, "alarm_times", 0),
			.first_at = col_time(st, "alarm_first_at"),
			.last_at = col_time(st, "alarm_last_at")},
	};
	struct device_enrolment *en = &row.enrolment;
	enum ota_err err;

	col_text_buf(st, "uid", row.uid, sizeof row.uid);
	row.serial = col_blob(st, "serial", mem, &row.serial_len);
	row.has_enrolment = col_blob_exact(st, "secret_id", en->secret_id, sizeof en->secret_id);
	(void)col_blob_exact(st, "nonce_d", en->nonce_d, sizeof en->nonce_d);
	(void)col_blob_exact(st, "nonce_s", en->nonce_s, sizeof en->nonce_s);
	en->at = col_time(st, "enrolled_at");
	en->number = col_u32(st, "enrolment_number");
	report_fill(st, &row.said);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct device_row *)out = row;
	return err;
}

static enum ota_err tags_load(struct db *db, struct arena *mem, struct device_row *row, struct errmsg *e)
{
	static const char q_tags[] = "SELECT tag FROM device_tag WHERE device = $device ORDER BY tag";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_tags);
	const char **tags = NULL;
	size_t n = 0, cap = 0;
	enum ota_err err;

	bind_i64(st, "device", row->id);
	while ((err = stmt_row(st, e)) == OTA_OK) {
		tags = list_room(mem, tags, n, &cap, sizeof *tags);
		if (!tags)
			return no_memory_fail(e);
		tags[n++] = col_text(st, "tag", mem);
	}
	if (err != OTA_NOT_FOUND)
		return err;
	row->tags = tags;
	row->n_tags = n;
	return stmt_status(st, e);
}

static enum ota_err load_one(
	struct db *db, struct stmt *st, struct arena *mem, struct device_row *out, struct errmsg *e)
{
	struct device_row row;
	enum ota_err err = row_load(st, mem, fill, "device", &row, e);

	if (err == OTA_OK)
		err = tags_load(db, mem, &row, e);
	if (err == OTA_OK)
		*out = row;
	return err;
}

enum ota_err device_load(
	struct db *db, int64_t id, struct arena *mem, struct device_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_DEVICE " WHERE d.id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return load_one(db, st, mem, out, e);
}

enum ota_err device_load_uid(
	struct db *db, const char *uid, struct arena *mem, struct device_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_DEVICE " WHERE d.uid = $uid";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_text(st, "uid", uid);
	return load_one(db, st, mem, out, e);
}

static enum ota_err find_name(struct db *db, const char *name, int64_t *id, struct errmsg *e)
{
	static const char q_name[] = "SELECT id FROM device WHERE name = $name";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_name);

	bind_text(st, "name", name);
	return stmt_id(st, id, e);
}

/* The uid that begins with these digits. */
static enum ota_err find_uid(struct db *db, const char *typed, int64_t *id, struct errmsg *e)
{
	static const char q_uid[] =
		"SELECT id FROM device WHERE uid >= $low AND uid < $high ORDER BY uid LIMIT 2";
	size_t len = strlen(typed);
	char low[33], high[34];
	int64_t got = 0;
	enum ota_err err;

	if (len < 4 || len > 32)
		return OTA_NOT_FOUND;
	for (size_t i = 0; i < len; i++) {
		if (!isxdigit((unsigned char)typed[i]))
			return OTA_NOT_FOUND;
		low[i] = high[i] = (char)tolower((unsigned char)typed[i]);
	}
	low[len] = '\0';
	high[len] = 'g'; /* the first character above every digit */
	high[len + 1] = '\0';
	AUTO(stmt) struct stmt *st = stmt_get(db, q_uid);
	bind_text(st, "low", low);
	bind_text(st, "high", high);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	got = col_i64(st, "id");
	err = stmt_row(st, e);
	if (err == OTA_OK)
		return errmsg_fail(e, OTA_CONFLICT, "'%s' is the beginning of several devices' ids", typed);
	if (err == OTA_NOT_FOUND) {
		*id = got;
		return OTA_OK;
	}
	return err;
}

static enum ota_err find_mac(struct db *db, const char *typed, int64_t *id, struct errmsg *e)
{
	AUTO(arena) struct arena mem;
	struct identity_row identity;
	char mac[13];
	enum ota_err err;

	arena_init(&mem, 16 * 1024);
	if (identity_mac(typed, mac) != OTA_OK)
		return OTA_NOT_FOUND;
	err = identity_load(db, IDENTITY_MAC, mac, &mem, &identity, e);
	if (err == OTA_OK)
		*id = identity.device;
	return err;
}

/* Two boards' vendors may have counted alike. */
static enum ota_err find_serial(struct db *db, const char *typed, int64_t *id, struct errmsg *e)
{
	static const char q_serial[] = "SELECT id FROM device WHERE serial = $serial ORDER BY id LIMIT 2";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_serial);
	int64_t got;
	enum ota_err err;

	bind_blob(st, "serial", (const uint8_t *)typed, strlen(typed));
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	got = col_i64(st, "id");
	err = stmt_row(st, e);
	if (err == OTA_OK)
		return errmsg_fail(e, OTA_CONFLICT, "'%s' is the serial of several devices", typed);
	if (err == OTA_NOT_FOUND) {
		*id = got;
		return OTA_OK;
	}
	return err;
}

enum ota_err device_find(struct db *db, const char *typed, int64_t *id, struct errmsg *e)
{
	enum ota_err err = find_name(db, typed, id, e);

	if (err == OTA_NOT_FOUND)
		err = find_uid(db, typed, id, e);
	if (err == OTA_NOT_FOUND)
		err = find_mac(db, typed, id, e);
	if (err == OTA_NOT_FOUND)
		err = find_serial(db, typed, id, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no device '%s'", typed);
	return err;
}

struct attributes {
	const struct attribute *rows;
	size_t n;
};

static const char *attribute_value(void *ctx, const char *name)
{
	const struct attributes *a = ctx;

	for (size_t i = 0; i < a->n; i++) {
		if (strcmp(a->rows[i].name, name) == 0)
			return a->rows[i].value;
	}
	return NULL;
}

/* Does the device match? `scratch` is cleared by the caller. */
static enum ota_err matches(struct db *db, const struct selector *s, const struct device_row *row,
	struct arena *scratch, bool *is_match, struct errmsg *e)
{
	struct attribute *rows = NULL;
	struct attributes attributes = {0};
	struct selector_facts facts = {
		.uid = row->uid,
		.name = row->name,
		.board = row->board_name,
		.version = row->version,
		.state = device_state_name(row->state),
		.tags = row->tags,
		.n_tags = row->n_tags,
		.attribute = attribute_value,
		.ctx = &attributes,
	};

	if (selector_uses(s, SELECTOR_ATTRIBUTE)) {
		enum ota_err err = attribute_list(db, row->id, scratch, &rows, &attributes.n, e);

		if (err != OTA_OK)
			return err;
		attributes.rows = rows;
	}
	*is_match = selector_matches(s, &facts);
	return OTA_OK;
}

/* A row of the walk: filled into `scratch`, judged, and once more into `mem` when it is wanted. */
struct walk {
	struct db *db;
	const struct device_filter *filter;
	struct arena *mem; /* NULL: only count */
	struct device_row *rows;
	size_t n, cap;
};

static enum ota_err walk_row(struct walk *w, struct stmt *st, struct arena *scratch, struct errmsg *e)
{
	const struct selector *s = w->filter->selector;
	struct device_row row;
	bool is_match = true;
	enum ota_err err = OTA_OK;

	if (s && s->n > 0) {
		err = fill(st, scratch, &row, e);
		if (err == OTA_OK)
			err = tags_load(w->db, scratch, &row, e);
		if (err == OTA_OK)
			err = matches(w->db, s, &row, scratch, &is_match, e);
		if (err != OTA_OK || !is_match)
			return err;
	}
	if (!w->mem) {
		/* counting without a selector looks at no column */
		if (!s || s->n == 0)
			err = fill(st, scratch, &row, e);
		w->n++;
		return err;
	}
	w->rows = list_room(w->mem, w->rows, w->n, &w->cap, sizeof *w->rows);
	if (!w->rows)
		return no_memory_fail(e);
	err = fill(st, w->mem, &row, e);
	if (err == OTA_OK)
		err = tags_load(w->db, w->mem, &row, e);
	if (err == OTA_OK)
		w->rows[w->n++] = row;
	return err;
}

/* Walk devices after `cursor` until `limit` matched (0: all) or look_max were looked at. `*next` is where to
 * go on, 0 at the end. */
static enum ota_err walk(struct walk *w, int64_t cursor, size_t limit, int64_t *next, struct errmsg *e)
{
	static const char q_walk[] = SELECT_DEVICE
		" WHERE d.id > $cursor AND ($board = 0 OR d.board = $board)"
		" AND ($state < 0 OR d.state = $state) ORDER BY d.id";
	AUTO(stmt) struct stmt *st = stmt_get(w->db, q_walk);
	AUTO(arena) struct arena scratch;
	uint32_t looked = 0;
	int64_t last = 0;
	enum ota_err err;

	arena_init(&scratch, 256 * 1024);
	bind_i64(st, "cursor", cursor);
	bind_i64(st, "board", w->filter->board);
	bind_i64(st, "state", w->filter->state);
	while ((err = stmt_row(st, e)) == OTA_OK) {
		size_t before = w->n;

		arena_clear(&scratch);
		err = walk_row(w, st, &scratch, e);
		if (err != OTA_OK)
			return err;
		if (limit && w->n > limit) {
			/* one more matches: the page before it is full */
			w->n = limit;
			*next = last;
			return OTA_OK;
		}
		if (w->n > before)
			last = col_i64(st, "id");
		if (++looked == w->filter->look_max) {
			*next = col_i64(st, "id");
			return stmt_status(st, e);
		}
	}
	if (err != OTA_NOT_FOUND)
		return err;
	*next = 0;
	return stmt_status(st, e);
}

static const struct device_filter everything = {.state = -1};

enum ota_err device_list(struct db *db, const struct device_filter *filter, const struct db_page *page,
	struct arena *mem, struct device_list *out, struct errmsg *e)
{
	struct walk w = {.db = db, .filter = filter ? filter : &everything, .mem = mem};
	AUTO(tx) struct db_tx tx = {0};
	int64_t next = 0;
	enum ota_err err = OTA_OK;

	/* rows, tags and attributes of one moment */
	if (db_is_read_only(db))
		err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = walk(&w, page->cursor, page_limit(page), &next, e);
	if (err == OTA_OK)
		*out = (struct device_list){.rows = w.rows, .n = w.n, .next = next};
	return err;
}

enum ota_err device_count(struct db *db, const struct device_filter *filter, uint64_t *n, struct errmsg *e)
{
	struct walk w = {.db = db, .filter = filter ? filter : &everything};
	int64_t next;
	enum ota_err err = walk(&w, 0, 0, &next, e);

	if (err == OTA_OK)
		*n = w.n;
	return err;
}
