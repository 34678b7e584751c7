/* The half of release.h about manifests and envelopes. */
#include "db/release.h"

#include <string.h>

#include "db/change.h"
#include "db/device.h"
#include "db/list.h"
#include "db/stmt.h"

#define SELECT_MANIFEST                                                                                      \
	"SELECT m.id AS id, m.release AS release, m.board AS board, m.kind AS kind, m.after_release AS "     \
	"after_release,"                                                                                     \
	" m.sequence AS sequence, m.digest AS digest, m.bytes AS bytes, m.description AS description,"       \
	" m.created_at AS created_at, v.bytes AS envelope, v.n_signatures AS n_signatures,"                  \
	" v.is_complete AS is_complete, v.root_version AS root_version, v.signed_at AS signed_at,"           \
	" (SELECT retired_at IS NOT NULL FROM release WHERE id = m.release) AS is_retired"                   \
	" FROM manifest m JOIN envelope v ON v.manifest = m.id"

enum {
	MANIFEST_LEN_MAX = 1024, /* an envelope holds it */
	ENVELOPE_LEN_MAX = 1024, /* signed-objects: SUIT_ENVELOPE_MAX of proto/suit.h */
	TEXT_LEN_MAX = 64 * 1024,
};

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct manifest_row row = {
		.id = col_i64(st, "id"),
		.release = col_i64(st, "release"),
		.board = col_i64(st, "board"),
		.kind = (enum manifest_kind)col_enum(st, "kind", MANIFEST_KIND_MAX),
		.after = col_i64_or(st, "after_release", 0),
		.sequence = col_u32(st, "sequence"),
		.n_signatures = col_u32(st, "n_signatures"),
		.is_complete = col_bool(st, "is_complete"),
		.root_version = col_u32(st, "root_version"),
		.created_at = col_i64(st, "created_at"),
		.signed_at = col_i64(st, "signed_at"),
		.is_retired = col_bool(st, "is_retired"),
	};
	enum ota_err err;

	(void)col_blob_exact(st, "digest", row.digest, sizeof row.digest);
	row.manifest = col_blob(st, "bytes", mem, &row.manifest_len);
	row.text = col_blob(st, "description", mem, &row.text_len);
	row.envelope = col_blob(st, "envelope", mem, &row.envelope_len);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct manifest_row *)out = row;
	return err;
}

enum ota_err manifest_load(
	struct db *db, int64_t id, struct arena *mem, struct manifest_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_MANIFEST " WHERE m.id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return row_load(st, mem, fill, "manifest", out, e);
}

enum ota_err manifest_load_digest(struct db *db, const uint8_t digest[static 32], struct arena *mem,
	struct manifest_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_MANIFEST " WHERE m.digest = $digest";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_blob(st, "digest", digest, 32);
	return row_load(st, mem, fill, "manifest", out, e);
}

enum ota_err manifest_load_return(struct db *db, int64_t release, int64_t after, struct arena *mem,
	struct manifest_row *out, struct errmsg *e)
{
	static const char q_load[] = SELECT_MANIFEST
		" WHERE m.kind = 1 AND m.release = $release"
		" AND m.after_release = $after ORDER BY m.sequence DESC LIMIT 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "release", release);
	bind_i64(st, "after", after);
	return row_load(st, mem, fill, "manifest", out, e);
}

#define SELECT_SIZE                                                                                          \
	"SELECT m.id AS id, m.digest AS digest, CASE WHEN v.is_complete THEN length(v.bytes) ELSE 0 END"     \
	" AS size FROM manifest m JOIN envelope v ON v.manifest = m.id"

static enum ota_err fill_size(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct manifest_size row = {.id = col_i64(st, "id"), .size = (uint16_t)col_u32(st, "size")};
	enum ota_err err;

	(void)mem;
	(void)col_blob_exact(st, "digest", row.digest, sizeof row.digest);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct manifest_size *)out = row;
	return err;
}

enum ota_err manifest_sizes_of_release(struct db *db, int64_t release, const struct db_page *page,
	struct arena *mem, struct manifest_sizes *out, struct errmsg *e)
{
	static const char q_sizes[] = SELECT_SIZE
		" WHERE m.release = $release AND m.id > $cursor ORDER BY m.id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_sizes);

	list_bind(st, page);
	bind_i64(st, "release", release);
	return list_run(st, page, mem, sizeof *out->rows, fill_size, LIST_OUT(out), e);
}

enum ota_err manifest_sizes_of_image(struct db *db, const uint8_t sha256[static 32],
	const struct db_page *page, struct arena *mem, struct manifest_sizes *out, struct errmsg *e)
{
	static const char q_sizes[] = SELECT_SIZE
		" WHERE m.release IN (SELECT release FROM release_item WHERE sha256 = $sha256)"
		" AND m.id > $cursor ORDER BY m.id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_sizes);

	list_bind(st, page);
	bind_blob(st, "sha256", sha256, 32);
	return list_run(st, page, mem, sizeof *out->rows, fill_size, LIST_OUT(out), e);
}

enum ota_err manifest_highest(struct db *db, int64_t board, uint32_t *sequence, struct errmsg *e)
{
	static const char q_highest[] = "SELECT sequence FROM board WHERE id = $board";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_highest);
	uint32_t got;
	enum ota_err err;

	bind_i64(st, "board", board);
	err = stmt_row(st, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no such board");
	if (err != OTA_OK)
		return err;
	got = col_u32(st, "sequence");
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*sequence = got;
	return err;
}

enum ota_err manifest_seen(struct db *db, int64_t board, int64_t limit, uint32_t *sequence, struct errmsg *e)
{
	static const char q_seen[] =
		"SELECT coalesce(max(s.running_sequence), 0) AS sequence FROM device d"
		" JOIN device_said s ON s.device = d.id"
		" WHERE d.board = $board AND d.state = $approved AND s.running_sequence <= $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_seen);
	uint32_t got;
	enum ota_err err;

	bind_i64(st, "board", board);
	bind_i64(st, "approved", DEVICE_APPROVED);
	bind_i64(st, "limit", limit);
	err = stmt_row(st, e);
	if (err != OTA_OK)
		return err;
	got = col_u32(st, "sequence");
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*sequence = got;
	return err;
}

static enum ota_err envelope_check(const struct manifest_row *row, struct errmsg *e)
{
	if (!row->envelope || row->envelope_len < 1 || row->envelope_len > ENVELOPE_LEN_MAX)
		return errmsg_fail(e, OTA_INVALID, "an envelope has 1 to %d bytes", ENVELOPE_LEN_MAX);
	return OTA_OK;
}

static void envelope_bind(struct stmt *st, const struct manifest_row *row)
{
	bind_blob(st, "bytes", row->envelope, row->envelope_len);
	bind_i64(st, "n_signatures", row->n_signatures);
	bind_i64(st, "is_complete", row->is_complete);
	bind_i64(st, "root_version", row->root_version);
}

/* The board of a release. */
static enum ota_err board_of(struct db *db, int64_t release, int64_t *board, struct errmsg *e)
{
	static const char q_board[] = "SELECT board FROM release WHERE id = $release";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_board);
	enum ota_err err;

	bind_i64(st, "release", release);
	err = stmt_row(st, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "no such release");
	if (err != OTA_OK)
		return err;
	*board = col_i64(st, "board");
	return stmt_status(st, e);
}

static enum ota_err validate(struct db *db, const struct manifest_row *row, int64_t *board, struct errmsg *e)
{
	int64_t after_board = 0;
	enum ota_err err = envelope_check(row, e);

	if (err != OTA_OK)
		return err;
	if (!row->manifest || row->manifest_len < 1 || row->manifest_len > MANIFEST_LEN_MAX ||
		row->text_len > TEXT_LEN_MAX)
		return errmsg_fail(e, OTA_INVALID, "bad length of a manifest or its text");
	if ((row->kind == MANIFEST_RETURN) != (row->after != 0) || row->after == row->release)
		return errmsg_fail(
			e, OTA_INVALID, "a return, and nothing else, names the release it goes back from");
	err = board_of(db, row->release, board, e);
	if (err == OTA_OK && row->after) {
		err = board_of(db, row->after, &after_board, e);
		if (err == OTA_OK && after_board != *board)
			return errmsg_fail(e, OTA_INVALID, "a return is of one board");
	}
	return err;
}

static enum ota_err add(
	struct db *db, const struct manifest_row *row, int64_t board, int64_t *id, struct errmsg *e)
{
	static const char q_add[] =
		"INSERT INTO manifest (release, board, kind, after_release, sequence, digest, bytes,"
		" description, created_at) VALUES ($release, $board, $kind, $after, $sequence, $digest,"
		" $bytes, $description, $created_at) RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "release", row->release);
	bind_i64(st, "board", board);
	bind_i64(st, "kind", row->kind);
	if (row->after)
		bind_i64(st, "after", row->after);
	else
		bind_null(st, "after");
	bind_i64(st, "sequence", row->sequence);
	bind_blob(st, "digest", row->digest, sizeof row->digest);
	bind_blob(st, "bytes", row->manifest, row->manifest_len);
	bind_blob(st, "description", row->text, row->text_len);
	bind_i64(st, "created_at", row->created_at);
	return stmt_id(st, id, e);
}

static enum ota_err envelope_add(struct db *db, const struct manifest_row *row, int64_t id, struct errmsg *e)
{
	static const char q_add[] =
		"INSERT INTO envelope (manifest, bytes, n_signatures, is_complete, root_version, signed_at)"
		" VALUES ($manifest, $bytes, $n_signatures, $is_complete, $root_version, $signed_at)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "manifest", id);
	envelope_bind(st, row);
	bind_i64(st, "signed_at", row->signed_at ? row->signed_at : row->created_at);
	return stmt_done(st, e);
}

static enum ota_err sequence_raise(struct db *db, int64_t board, uint32_t sequence, struct errmsg *e)
{
	static const char q_raise[] =
		"UPDATE board SET sequence = $sequence WHERE id = $board AND sequence < $sequence";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_raise);
	enum ota_err err;

	bind_i64(st, "board", board);
	bind_i64(st, "sequence", sequence);
	err = stmt_done(st, e);
	if (err == OTA_OK && stmt_changes(st) == 0)
		return errmsg_fail(e, OTA_CONFLICT, "sequence %u is not above the board's highest", sequence);
	return err;
}

enum ota_err manifest_insert(struct db *db, const struct manifest_row *row, int64_t *id, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct manifest_row old;
	int64_t board = 0, got = 0;
	enum ota_err err;

	arena_init(&mem, 128 * 1024);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = validate(db, row, &board, e);
	if (err != OTA_OK)
		return err;
	err = manifest_load_digest(db, row->digest, &mem, &old, e);
	if (err == OTA_OK) {
		if (old.release != row->release)
			return errmsg_fail(e, OTA_CONFLICT, "this manifest belongs to another release");
		*id = old.id;
		return OTA_OK;
	}
	if (err != OTA_NOT_FOUND)
		return err;
	err = sequence_raise(db, board, row->sequence, e);
	if (err == OTA_OK)
		err = add(db, row, board, &got, e);
	if (err == OTA_OK)
		err = envelope_add(db, row, got, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_RELEASE, row->release, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*id = got;
	return err;
}

enum ota_err manifest_set_envelope(
	struct db *db, int64_t id, const struct manifest_row *row, int64_t now, struct errmsg *e)
{
	static const char q_set[] =
		"UPDATE envelope SET bytes = $bytes, n_signatures = $n_signatures,"
		" is_complete = $is_complete, root_version = $root_version, signed_at = $now"
		" WHERE manifest = $manifest";
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct manifest_row old;
	enum ota_err err = envelope_check(row, e);

	arena_init(&mem, 128 * 1024);
	if (err == OTA_OK)
		err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = manifest_load(db, id, &mem, &old, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_set);

		envelope_bind(st, row);
		bind_i64(st, "now", now);
		bind_i64(st, "manifest", id);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_RELEASE, old.release, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}
