#include "db/change.h"

#include "db/list.h"
#include "db/stmt.h"

enum ota_err change_add(struct db *db, enum change_kind kind, int64_t id, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO change (kind, id) VALUES ($kind, $id)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_i64(st, "kind", kind);
	bind_i64(st, "id", id);
	return stmt_done(st, e);
}

static enum ota_err ends(struct db *db, int64_t *oldest, int64_t *newest, struct errmsg *e)
{
	static const char q_ends[] =
		/* Two subqueries: only a lone min() or max() is a look at one end of the table. */
		"SELECT coalesce((SELECT min(seq) FROM change), 0) AS oldest,"
		" coalesce((SELECT max(seq) FROM change), 0) AS newest";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_ends);
	enum ota_err err = stmt_row(st, e);

	if (err != OTA_OK)
		return err;
	*oldest = col_i64(st, "oldest");
	*newest = col_i64(st, "newest");
	return stmt_status(st, e);
}

enum ota_err change_newest(struct db *db, int64_t *seq, struct errmsg *e)
{
	int64_t oldest, newest;
	enum ota_err err = ends(db, &oldest, &newest, e);

	if (err == OTA_OK)
		*seq = newest;
	return err;
}

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct change_row row = {
		.seq = col_i64(st, "seq"),
		.kind = (enum change_kind)col_enum(st, "kind", CHANGE_KIND_MAX),
		.id = col_i64(st, "id"),
	};
	enum ota_err err = stmt_status(st, e);

	(void)mem;
	if (err == OTA_OK)
		*(struct change_row *)out = row;
	return err;
}

enum ota_err change_list(struct db *db, const struct db_page *page, struct arena *mem,
	struct change_list *out, struct errmsg *e)
{
	static const char q_list[] =
		"SELECT seq, kind, id FROM change WHERE seq > $cursor ORDER BY seq LIMIT $limit";
	int64_t oldest, newest;
	enum ota_err err;

	err = ends(db, &oldest, &newest, e);
	if (err != OTA_OK)
		return err;
	/* seq has no gaps but those of trimming: every row was committed by the one writer */
	if (oldest > page->cursor + 1)
		return errmsg_fail(
			e, OTA_TRUNCATED, "changes after %lld are forgotten", (long long)page->cursor);
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);
	list_bind(st, page);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}

enum ota_err change_is_after(
	struct db *db, int64_t seq, enum change_kind kind, int64_t id, bool *is, struct errmsg *e)
{
	static const char q_after[] = "SELECT EXISTS (SELECT 1 FROM change WHERE seq > $seq"
				      " AND kind = $kind AND id = $id) AS yes";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_after);

	bind_i64(st, "seq", seq);
	bind_i64(st, "kind", kind);
	bind_i64(st, "id", id);
	return stmt_yes(st, is, e);
}

enum ota_err change_trim(struct db *db, int64_t keep, struct errmsg *e)
{
	static const char q_trim[] = "DELETE FROM change WHERE seq <= (SELECT max(seq) FROM change) - $keep";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_trim);

	/* one row always stays, so that an empty log means that nothing ever changed */
	bind_i64(st, "keep", keep < 1 ? 1 : keep);
	return stmt_done(st, e);
}
