#include "db/board.h"

#include <stdio.h>
#include <string.h>

#include "db/change.h"
#include "db/list.h"
#include "db/secret.h"
#include "db/stmt.h"

#define COLUMNS                                                                                              \
	"id, revision, name, vendor_id, class_id, chip, client, algorithms, envelope_max, poll_s, "          \
	"sequence, created_at,"                                                                              \
	" created_by"

static enum ota_err components_load(struct db *db, struct board_row *row, struct errmsg *e)
{
	static const char q_components[] =
		"SELECT position, component_id, name, size_max, format FROM board_component"
		" WHERE board = $board ORDER BY position";
	AUTO(arena) struct arena mem;
	AUTO(stmt) struct stmt *st = stmt_get(db, q_components);
	enum ota_err err;

	arena_init(&mem, 16 * 1024);
	bind_i64(st, "board", row->id);
	row->n_components = 0;
	while ((err = stmt_row(st, e)) == OTA_OK) {
		struct board_component *c = &row->components[row->n_components];
		const uint8_t *id;
		size_t id_len;

		if (row->n_components == BOARD_COMPONENTS_MAX || col_u64(st, "position") != row->n_components)
			return errmsg_fail(e, OTA_CORRUPT, "database: components of board '%s'", row->name);
		id = col_blob(st, "component_id", &mem, &id_len);
		col_text_buf(st, "name", c->name, sizeof c->name);
		c->size_max = col_u64(st, "size_max");
		col_text_buf(st, "format", c->format, sizeof c->format);
		err = stmt_status(st, e);
		if (err != OTA_OK)
			return err;
		if (!id || id_len == 0 || id_len > sizeof c->id)
			return errmsg_fail(e, OTA_CORRUPT, "database: components of board '%s'", row->name);
		memcpy(c->id, id, id_len);
		c->id_len = (uint8_t)id_len;
		row->n_components++;
	}
	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct board_row row = {
		.id = col_i64(st, "id"),
		.revision = col_i64(st, "revision"),
		.name = col_text(st, "name", mem),
		.chip = col_text(st, "chip", mem),
		.client = (enum client_kind)col_enum(st, "client", CLIENT_KIND_MAX),
		.algorithms = col_u32(st, "algorithms"),
		.envelope_max = col_u32(st, "envelope_max"),
		.poll_s = col_u32(st, "poll_s"),
		.sequence = col_u32(st, "sequence"),
		.created_at = col_i64(st, "created_at"),
		.created_by = col_text(st, "created_by", mem),
	};
	enum ota_err err;

	(void)col_blob_exact(st, "vendor_id", row.vendor_id, sizeof row.vendor_id);
	(void)col_blob_exact(st, "class_id", row.class_id, sizeof row.class_id);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct board_row *)out = row;
	return err;
}

static enum ota_err load_one(
	struct db *db, struct stmt *st, struct arena *mem, struct board_row *out, struct errmsg *e)
{
	struct board_row row;
	enum ota_err err = row_load(st, mem, fill, "board", &row, e);

	if (err == OTA_OK)
		err = components_load(db, &row, e);
	if (err == OTA_OK)
		*out = row;
	return err;
}

enum ota_err board_load(struct db *db, int64_t id, struct arena *mem, struct board_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM board WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return load_one(db, st, mem, out, e);
}

enum ota_err board_load_name(
	struct db *db, const char *name, struct arena *mem, struct board_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM board WHERE name = $name";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_text(st, "name", name);
	return load_one(db, st, mem, out, e);
}

enum ota_err board_load_class(struct db *db, const uint8_t class_id[static 16], struct arena *mem,
	struct board_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM board WHERE class_id = $class_id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_blob(st, "class_id", class_id, 16);
	return load_one(db, st, mem, out, e);
}

static enum ota_err validate(const struct board_row *row, struct errmsg *e)
{
	if (!limit_name_is_valid(row->name))
		return errmsg_fail(e, OTA_INVALID, "bad board name '%s'", row->name);
	if (row->n_components < 1 || row->n_components > BOARD_COMPONENTS_MAX)
		return errmsg_fail(e, OTA_INVALID, "a board has 1 to %d components", BOARD_COMPONENTS_MAX);
	for (size_t i = 0; i < row->n_components; i++) {
		const struct board_component *c = &row->components[i];

		if (!limit_name_is_valid(c->name) || c->id_len < 1 || c->id_len > sizeof c->id)
			return errmsg_fail(e, OTA_INVALID, "bad component '%s'", c->name);
		for (size_t k = 0; k < i; k++) {
			const struct board_component *d = &row->components[k];

			if (strcmp(c->name, d->name) == 0 ||
				(c->id_len == d->id_len && memcmp(c->id, d->id, c->id_len) == 0))
				return errmsg_fail(e, OTA_INVALID, "component '%s' stands twice", c->name);
		}
	}
	return OTA_OK;
}

static enum ota_err components_store(
	struct db *db, int64_t board, const struct board_row *row, struct errmsg *e)
{
	static const char q_drop[] = "DELETE FROM board_component WHERE board = $board";
	static const char q_add[] =
		"INSERT INTO board_component (board, position, component_id, name, size_max, format)"
		" VALUES ($board, $position, $component_id, $name, $size_max, $format)";
	enum ota_err err;

	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_drop);

		bind_i64(st, "board", board);
		err = stmt_done(st, e);
	}
	for (size_t i = 0; err == OTA_OK && i < row->n_components; i++) {
		const struct board_component *c = &row->components[i];
		AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

		bind_i64(st, "board", board);
		bind_i64(st, "position", (int64_t)i);
		bind_blob(st, "component_id", c->id, c->id_len);
		bind_text(st, "name", c->name);
		bind_u64(st, "size_max", c->size_max);
		bind_text(st, "format", c->format);
		err = stmt_done(st, e);
	}
	return err;
}

/* The values that insert and update share. */
static void bind_facts(struct stmt *st, const struct board_row *row)
{
	bind_text(st, "name", row->name);
	bind_text(st, "chip", row->chip ? row->chip : "");
	bind_i64(st, "client", row->client);
	bind_i64(st, "algorithms", row->algorithms);
	bind_i64(st, "envelope_max", row->envelope_max);
	bind_i64(st, "poll_s", row->poll_s);
}

static enum ota_err taken(struct errmsg *e, const struct board_row *row)
{
	return errmsg_fail(e, OTA_EXISTS, "board '%s' or its class-id exists already", row->name);
}

enum ota_err board_insert(struct db *db, const struct board_row *row, int64_t *id, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO board (revision, name, vendor_id, class_id, chip, client, "
				    "algorithms, envelope_max, poll_s,"
				    " sequence, created_at, created_by) VALUES (1, $name, $vendor_id, "
				    "$class_id, $chip, $client, $algorithms,"
				    " $envelope_max, $poll_s, 0, $created_at, $created_by) RETURNING id";
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err = validate(row, e);
	int64_t got = 0;

	if (err == OTA_OK)
		err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

		bind_facts(st, row);
		bind_blob(st, "vendor_id", row->vendor_id, sizeof row->vendor_id);
		bind_blob(st, "class_id", row->class_id, sizeof row->class_id);
		bind_i64(st, "created_at", row->created_at);
		bind_text(st, "created_by", row->created_by);
		err = stmt_id(st, &got, e);
	}
	if (err == OTA_EXISTS)
		return taken(e, row);
	if (err == OTA_OK)
		err = components_store(db, got, row, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_BOARD, got, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*id = got;
	return err;
}

/* Does anything of `table` refer to the board? */
static enum ota_err has_rows(struct db *db, const char *sql, int64_t board, bool *has, struct errmsg *e)
{
	AUTO(stmt) struct stmt *st = stmt_get(db, sql);

	bind_i64(st, "board", board);
	return stmt_yes(st, has, e);
}

static const char q_has_releases[] = "SELECT EXISTS (SELECT 1 FROM release WHERE board = $board) AS yes";

/* OTA_STATE, and what it is, when anything is left that the board is needed for. */
static enum ota_err is_unused(struct db *db, const struct board_row *board, struct errmsg *e)
{
	static const char q_left[] = "SELECT (SELECT count(*) FROM device WHERE board = $board) AS devices,"
				     " (SELECT count(*) FROM release WHERE board = $board) AS releases,"
				     " (SELECT count(*) FROM enroll_secret WHERE board = $board) AS secrets";
	static const char *const nouns[] = {"device", "release", "enrollment secret"};
	AUTO(stmt) struct stmt *st = stmt_get(db, q_left);
	char text[128] = "";
	size_t at = 0;
	enum ota_err err;

	bind_i64(st, "board", board->id);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	const uint32_t n[] = {col_u32(st, "devices"), col_u32(st, "releases"), col_u32(st, "secrets")};

	err = stmt_status(st, e);
	for (size_t i = 0; err == OTA_OK && i < sizeof n / sizeof n[0]; i++) {
		if (n[i] != 0)
			at += (size_t)snprintf(text + at, sizeof text - at, "%s%u %s%s", at ? ", " : "", n[i],
				nouns[i], n[i] == 1 ? "" : "s");
	}
	return at ? errmsg_fail(e, OTA_STATE, "board '%s' has %s", board->name, text) : err;
}

static bool components_same_ids(const struct board_row *a, const struct board_row *b)
{
	if (a->n_components != b->n_components)
		return false;
	for (size_t i = 0; i < a->n_components; i++) {
		if (a->components[i].id_len != b->components[i].id_len ||
			memcmp(a->components[i].id, b->components[i].id, a->components[i].id_len) != 0)
			return false;
	}
	return true;
}

static enum ota_err revision_check(int64_t if_revision, const struct board_row *old, struct errmsg *e)
{
	if (if_revision && if_revision != old->revision)
		return errmsg_fail(e, OTA_CONFLICT, "board '%s' was changed meanwhile", old->name);
	return OTA_OK;
}

enum ota_err board_update(struct db *db, int64_t id, int64_t if_revision, const struct board_row *row,
	int64_t *revision, struct errmsg *e)
{
	static const char q_update[] =
		"UPDATE board SET revision = revision + 1, name = $name, chip = $chip, client = $client,"
		" algorithms = $algorithms, envelope_max = $envelope_max, poll_s = $poll_s WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct board_row old;
	bool has = false;
	enum ota_err err;

	arena_init(&mem, 64 * 1024);
	err = validate(row, e);
	if (err == OTA_OK)
		err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = board_load(db, id, &mem, &old, e);
	if (err == OTA_OK)
		err = revision_check(if_revision, &old, e);
	if (err == OTA_OK && !components_same_ids(&old, row)) {
		err = has_rows(db, q_has_releases, id, &has, e);
		if (err == OTA_OK && has)
			return errmsg_fail(
				e, OTA_STATE, "components of board '%s' are fixed by its releases", old.name);
	}
	if (err == OTA_OK) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_update);

		bind_facts(st, row);
		bind_i64(st, "id", id);
		err = stmt_done(st, e);
		if (err == OTA_EXISTS)
			return taken(e, row);
	}
	if (err == OTA_OK)
		err = components_store(db, id, row, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_BOARD, id, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK && revision)
		*revision = old.revision + 1;
	return err;
}

enum ota_err board_delete(struct db *db, int64_t id, int64_t if_revision, int64_t now, struct errmsg *e)
{
	static const char q_delete[] = "DELETE FROM board WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct board_row old;
	enum ota_err err;

	arena_init(&mem, 64 * 1024);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = board_load(db, id, &mem, &old, e);
	if (err == OTA_OK)
		err = revision_check(if_revision, &old, e);
	if (err == OTA_OK)
		err = secret_forget(db, id, now, e);
	if (err == OTA_OK)
		err = is_unused(db, &old, e);
	if (err == OTA_OK) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_delete);

		bind_i64(st, "id", id);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_BOARD, id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err board_list(struct db *db, const char *chip, const struct db_page *page, struct arena *mem,
	struct board_list *out, struct errmsg *e)
{
	static const char q_list[] = "SELECT " COLUMNS
				     " FROM board WHERE id > $cursor AND ($chip IS NULL OR chip = $chip)"
				     " ORDER BY id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);
	struct board_list list;
	enum ota_err err;

	list_bind(st, page);
	bind_text(st, "chip", chip);
	err = list_run(st, page, mem, sizeof *list.rows, fill, LIST_OUT(&list), e);
	if (err != OTA_OK)
		return err;
	for (size_t i = 0; i < list.n; i++) {
		err = components_load(db, &list.rows[i], e);
		if (err != OTA_OK)
			return err;
	}
	*out = list;
	return OTA_OK;
}
