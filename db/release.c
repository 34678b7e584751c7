#include "db/release.h"

#include <string.h>

#include "db/board.h"
#include "db/change.h"
#include "db/list.h"
#include "db/stmt.h"

#define SELECT_RELEASE                                                                                       \
	"SELECT r.id AS id, r.board AS board, r.version AS version, r.notes AS notes, r.created_at AS "      \
	"created_at,"                                                                                        \
	" r.created_by AS created_by, r.retired_at AS retired_at, m.id AS manifest, m.digest AS digest,"     \
	" m.sequence AS sequence, v.is_complete AS is_complete FROM release r"                               \
	" LEFT JOIN manifest m ON m.id = (SELECT max(x.id) FROM manifest x WHERE x.release = r.id AND "      \
	"x.kind = 0)"                                                                                        \
	" LEFT JOIN envelope v ON v.manifest = m.id"

static enum ota_err items_load(struct db *db, struct release_row *row, struct errmsg *e)
{
	static const char q_items[] =
		"SELECT component, variant, sha256, image IS NULL AS is_gone FROM release_item"
		" WHERE release = $release ORDER BY component, variant";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_items);
	enum ota_err err;

	bind_i64(st, "release", row->id);
	row->n_items = 0;
	row->is_collected = false;
	while ((err = stmt_row(st, e)) == OTA_OK) {
		struct release_item *item = &row->items[row->n_items];

		if (row->n_items == RELEASE_ITEMS_MAX)
			return errmsg_fail(e, OTA_CORRUPT, "database: items of release '%s'", row->version);
		item->component = col_u32(st, "component");
		col_text_buf(st, "variant", item->variant, sizeof item->variant);
		(void)col_blob_exact(st, "sha256", item->sha256, sizeof item->sha256);
		row->is_collected |= col_bool(st, "is_gone");
		err = stmt_status(st, e);
		if (err != OTA_OK)
			return err;
		row->n_items++;
	}
	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct release_row row = {
		.id = col_i64(st, "id"),
		.board = col_i64(st, "board"),
		.version = col_text(st, "version", mem),
		.notes = col_text(st, "notes", mem),
		.created_at = col_i64(st, "created_at"),
		.created_by = col_text(st, "created_by", mem),
		.retired_at = col_time(st, "retired_at"),
		.manifest = col_i64_or(st, "manifest", 0),
		.sequence = (uint32_t)col_i64_or(st, "sequence", 0),
		.is_complete = col_i64_or(st, "is_complete", 0) == 1,
	};
	enum ota_err err;

	(void)col_blob_exact(st, "digest", row.digest, sizeof row.digest);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct release_row *)out = row;
	return err;
}

static enum ota_err load_one(
	struct db *db, struct stmt *st, struct arena *mem, struct release_row *out, struct errmsg *e)
{
	struct release_row row;
	enum ota_err err = row_load(st, mem, fill, "release", &row, e);

	if (err == OTA_OK)
		err = items_load(db, &row, e);
	if (err == OTA_OK)
		*out = row;
	return err;
}

enum ota_err release_load(
	struct db *db, int64_t id, struct arena *mem, struct release_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_RELEASE " WHERE r.id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return load_one(db, st, mem, out, e);
}

enum ota_err release_load_version(struct db *db, int64_t board, const char *version, struct arena *mem,
	struct release_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_RELEASE " WHERE r.board = $board AND r.version = $version";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "board", board);
	bind_text(st, "version", version);
	return load_one(db, st, mem, out, e);
}

enum ota_err release_list(struct db *db, int64_t board, const struct db_page *page, struct arena *mem,
	struct release_list *out, struct errmsg *e)
{
	static const char q_list[] = SELECT_RELEASE " WHERE ($cursor = 0 OR r.id < $cursor)"
						    " AND ($board = 0 OR r.board = $board)"
						    " ORDER BY r.id DESC LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);
	struct release_list list;
	enum ota_err err;

	list_bind(st, page);
	bind_i64(st, "board", board);
	err = list_run(st, page, mem, sizeof *list.rows, fill, LIST_OUT(&list), e);
	if (err != OTA_OK)
		return err;
	for (size_t i = 0; i < list.n; i++) {
		err = items_load(db, &list.rows[i], e);
		if (err != OTA_OK)
			return err;
	}
	*out = list;
	return OTA_OK;
}

static int item_compare(const struct release_item *a, const struct release_item *b)
{
	if (a->component != b->component)
		return a->component < b->component ? -1 : 1;
	return strcmp(a->variant, b->variant);
}

/* The items in the order of the database, checked against the board. */
static enum ota_err items_sort(const struct release_row *row, const struct board_row *board,
	struct release_item sorted[RELEASE_ITEMS_MAX], struct errmsg *e)
{
	unsigned seen = 0;

	if (!limit_version_is_valid(row->version))
		return errmsg_fail(e, OTA_INVALID, "bad version '%s'", row->version);
	if (row->n_items < 1 || row->n_items > RELEASE_ITEMS_MAX)
		return errmsg_fail(e, OTA_INVALID, "a release has 1 to %d images", RELEASE_ITEMS_MAX);
	for (size_t i = 0; i < row->n_items; i++) {
		const struct release_item *item = &row->items[i];
		size_t k = i;

		if (item->component >= board->n_components ||
			(item->variant[0] && !limit_name_is_valid(item->variant)))
			return errmsg_fail(
				e, OTA_INVALID, "board '%s' has no such component or variant", board->name);
		for (; k > 0 && item_compare(item, &sorted[k - 1]) <= 0; k--) {
			if (item_compare(item, &sorted[k - 1]) == 0)
				return errmsg_fail(e, OTA_INVALID, "two images for component '%s'",
					board->components[item->component].name);
			sorted[k] = sorted[k - 1];
		}
		sorted[k] = *item;
		seen |= 1u << item->component;
	}
	if (seen != (1u << board->n_components) - 1)
		return errmsg_fail(e, OTA_INVALID, "no image for a component of board '%s'", board->name);
	return OTA_OK;
}

static bool items_same(const struct release_row *old, const struct release_item *items, size_t n)
{
	if (old->n_items != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (item_compare(&old->items[i], &items[i]) != 0 ||
			memcmp(old->items[i].sha256, items[i].sha256, sizeof items[i].sha256) != 0)
			return false;
	}
	return true;
}

static enum ota_err item_image(
	struct db *db, const struct release_item *item, int64_t *image, struct errmsg *e)
{
	static const char q_image[] = "SELECT id, is_damaged FROM image WHERE sha256 = $sha256";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_image);
	bool is_damaged;
	enum ota_err err;

	bind_blob(st, "sha256", item->sha256, sizeof item->sha256);
	err = stmt_row(st, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "an image of the release is not here");
	if (err != OTA_OK)
		return err;
	*image = col_i64(st, "id");
	is_damaged = col_bool(st, "is_damaged");
	if (is_damaged)
		return errmsg_fail(e, OTA_CORRUPT, "an image of the release is damaged, upload it again");
	return stmt_status(st, e);
}

static enum ota_err item_add(
	struct db *db, int64_t release, const struct release_item *item, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO release_item (release, component, variant, sha256, image)"
				    " VALUES ($release, $component, $variant, $sha256, $image)";
	int64_t image = 0;
	enum ota_err err = item_image(db, item, &image, e);

	if (err != OTA_OK)
		return err;
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);
	bind_i64(st, "release", release);
	bind_i64(st, "component", item->component);
	bind_text(st, "variant", item->variant);
	bind_blob(st, "sha256", item->sha256, sizeof item->sha256);
	bind_i64(st, "image", image);
	return stmt_done(st, e);
}

static enum ota_err add(struct db *db, const struct release_row *row, int64_t *id, struct errmsg *e)
{
	static const char q_add[] =
		"INSERT INTO release (board, version, notes, created_at, created_by)"
		" VALUES ($board, $version, $notes, $created_at, $created_by) RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "board", row->board);
	bind_text(st, "version", row->version);
	bind_text(st, "notes", row->notes ? row->notes : "");
	bind_i64(st, "created_at", row->created_at);
	bind_text(st, "created_by", row->created_by);
	return stmt_id(st, id, e);
}

enum ota_err release_insert(
	struct db *db, const struct release_row *row, int64_t *id, bool *is_new, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct release_item items[RELEASE_ITEMS_MAX];
	struct release_row old;
	struct board_row board;
	int64_t got = 0;
	enum ota_err err;

	arena_init(&mem, 64 * 1024);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = board_load(db, row->board, &mem, &board, e);
	if (err == OTA_OK)
		err = items_sort(row, &board, items, e);
	if (err == OTA_OK && row->notes && strlen(row->notes) > DB_TEXT_MAX)
		return errmsg_fail(e, OTA_INVALID, "the notes are longer than %d bytes", DB_TEXT_MAX);
	if (err != OTA_OK)
		return err;
	err = release_load_version(db, row->board, row->version, &mem, &old, e);
	if (err == OTA_OK) {
		if (!items_same(&old, items, row->n_items))
			return errmsg_fail(e, OTA_EXISTS,
				"version '%s' of board '%s' exists with other bytes", row->version,
				board.name);
		*id = old.id;
		if (is_new)
			*is_new = false;
		return OTA_OK;
	}
	if (err != OTA_NOT_FOUND)
		return err;
	err = add(db, row, &got, e);
	for (size_t i = 0; err == OTA_OK && i < row->n_items; i++)
		err = item_add(db, got, &items[i], e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_RELEASE, got, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err != OTA_OK)
		return err;
	*id = got;
	if (is_new)
		*is_new = true;
	return OTA_OK;
}

/* Run an UPDATE or DELETE of one release and append its change. Ends the statement. */
static enum ota_err change_one(struct db *db, struct db_tx *tx, struct stmt *st, int64_t id, struct errmsg *e)
{
	enum ota_err err = stmt_done(st, e);

	if (err == OTA_OK && stmt_changes(st) == 0)
		return errmsg_fail(e, OTA_NOT_FOUND, "no such release");
	if (err == OTA_OK)
		err = change_add(db, CHANGE_RELEASE, id, e);
	return err == OTA_OK ? db_commit(tx, e) : err;
}

enum ota_err release_set_notes(struct db *db, int64_t id, const char *notes, struct errmsg *e)
{
	static const char q_notes[] = "UPDATE release SET notes = $notes WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err;

	if (strlen(notes) > DB_TEXT_MAX)
		return errmsg_fail(e, OTA_INVALID, "the notes are longer than %d bytes", DB_TEXT_MAX);
	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	AUTO(stmt) struct stmt *st = stmt_get(db, q_notes);
	bind_text(st, "notes", notes);
	bind_i64(st, "id", id);
	return change_one(db, &tx, st, id, e);
}

/* One question about a release, answered by a column `yes`. */
static enum ota_err ask(struct db *db, const char *sql, int64_t id, bool *has, struct errmsg *e)
{
	AUTO(stmt) struct stmt *st = stmt_get(db, sql);

	bind_i64(st, "id", id);
	return stmt_yes(st, has, e);
}

enum ota_err release_retire(struct db *db, int64_t id, int64_t now, struct errmsg *e)
{
	static const char q_open[] =
		"SELECT EXISTS (SELECT 1 FROM assignment a JOIN manifest m ON m.id = a.manifest"
		" WHERE m.release = $id AND a.ended_at IS NULL)"
		" OR EXISTS (SELECT 1 FROM rollout WHERE release = $id"
		" AND (cursor IS NOT NULL OR doing = 2)) AS yes";
	static const char q_gone[] =
		"SELECT EXISTS (SELECT 1 FROM release_item WHERE release = $id AND image IS NULL) AS yes";
	static const char q_retire[] = "UPDATE release SET retired_at = $now WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	bool has = false;
	enum ota_err err;

	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = ask(db, now ? q_open : q_gone, id, &has, e);
	if (err == OTA_OK && has)
		return errmsg_fail(e, OTA_STATE,
			now ? "devices are still to install this release"
			    : "images of this release are gone");
	if (err != OTA_OK)
		return err;
	AUTO(stmt) struct stmt *st = stmt_get(db, q_retire);
	bind_time(st, "now", now);
	bind_i64(st, "id", id);
	return change_one(db, &tx, st, id, e);
}

enum ota_err release_is_installed(struct db *db, int64_t id, bool *installed, struct errmsg *e)
{
	static const char q_installed[] =
		"SELECT EXISTS (SELECT 1 FROM manifest m JOIN device_said s ON s.running_digest = m.digest"
		" WHERE m.release = $id) OR EXISTS (SELECT 1 FROM manifest m JOIN device_said s"
		" ON s.previous_digest = m.digest WHERE m.release = $id)"
		/* in trial: what it goes back to */
		" OR EXISTS (SELECT 1 FROM manifest m JOIN device_said s"
		" ON s.confirmed_digest = m.digest WHERE m.release = $id) AS yes";

	return ask(db, q_installed, id, installed, e);
}

enum ota_err release_delete(struct db *db, int64_t id, struct errmsg *e)
{
	static const char q_used[] =
		"SELECT EXISTS (SELECT 1 FROM rollout WHERE release = $id)"
		" OR EXISTS (SELECT 1 FROM manifest WHERE kind = 1 AND (release = $id OR after_release = "
		"$id))"
		" OR EXISTS (SELECT 1 FROM manifest m JOIN device_said d ON d.running_digest = m.digest"
		"  OR d.previous_digest = m.digest OR d.confirmed_digest = m.digest WHERE m.release = $id)"
		" OR EXISTS (SELECT 1 FROM manifest m JOIN assignment a ON a.manifest = m.id WHERE m.release "
		"= $id)"
		" AS yes";
	static const char q_delete[] = "DELETE FROM release WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	bool has = false;
	enum ota_err err;

	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = ask(db, q_used, id, &has, e);
	if (err == OTA_OK && has)
		return errmsg_fail(e, OTA_STATE, "this release has been used; retire it instead");
	if (err != OTA_OK)
		return err;
	AUTO(stmt) struct stmt *st = stmt_get(db, q_delete);
	bind_i64(st, "id", id);
	return change_one(db, &tx, st, id, e);
}

enum ota_err release_running(
	struct db *db, int64_t board, struct running_row *rows, size_t max, size_t *n, struct errmsg *e)
{
	static const char q_running[] = "SELECT m.release AS release, count(*) AS n FROM device d JOIN "
					"device_said s ON s.device = d.id"
					" JOIN manifest m ON m.digest = s.confirmed_digest"
					" WHERE d.board = $board AND d.state = 1 GROUP BY m.release ORDER BY "
					"n DESC, m.release DESC LIMIT $max";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_running);
	size_t got = 0;
	enum ota_err err;

	bind_i64(st, "board", board);
	bind_i64(st, "max", (int64_t)max);
	while ((err = stmt_row(st, e)) == OTA_OK) {
		rows[got].release = col_i64(st, "release");
		rows[got].n_devices = col_u64(st, "n");
		got++;
	}
	if (err != OTA_NOT_FOUND)
		return err;
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*n = got;
	return err;
}
