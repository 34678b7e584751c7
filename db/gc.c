#include "db/gc.h"

#include <string.h>

#include "db/change.h"
#include "db/image.h"
#include "db/list.h"
#include "db/stmt.h"

struct doomed_row {
	int64_t id;
	uint8_t sha256[32];
};

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct doomed_row row = {.id = col_i64(st, "id")};
	enum ota_err err;

	(void)mem;
	(void)col_blob_exact(st, "sha256", row.sha256, sizeof row.sha256);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct doomed_row *)out = row;
	return err;
}

/* A release keeps its images while it is in use, while an open assignment, a device or what a device reverts
 * to needs it, and while a release in use has it as its way back. */
#define NEEDED                                                                                               \
	"EXISTS (SELECT 1 FROM release_item t JOIN release r ON r.id = t.release WHERE t.image = "           \
	"i.id AND ("                                                                                         \
	"  r.retired_at IS NULL"                                                                             \
	"  OR EXISTS (SELECT 1 FROM manifest m JOIN assignment a ON a.manifest = m.id"                       \
	"   WHERE m.release = r.id AND a.ended_at IS NULL)"                                                  \
	"  OR EXISTS (SELECT 1 FROM manifest m JOIN device_said s ON s.running_digest = m.digest WHERE "     \
	"m.release = r.id)"                                                                                  \
	"  OR EXISTS (SELECT 1 FROM manifest m JOIN device_said s ON s.previous_digest = m.digest WHERE "    \
	"m.release = r.id)"                                                                                  \
	"  OR EXISTS (SELECT 1 FROM manifest m JOIN device_said s ON s.confirmed_digest = m.digest WHERE "   \
	"m.release = r.id)"                                                                                  \
	"  OR EXISTS (SELECT 1 FROM manifest m JOIN release n ON n.id = m.after_release"                     \
	"   WHERE m.release = r.id AND m.kind = 1 AND n.retired_at IS NULL)))"

static const char q_doomed[] =
	"SELECT i.id AS id, i.sha256 AS sha256 FROM image i WHERE i.id > $cursor AND i.created_at <= $before"
	" AND NOT " NEEDED " ORDER BY i.id LIMIT $limit";

static enum ota_err forget(struct db *db, int64_t image, struct errmsg *e)
{
	static const char q_items[] = "UPDATE release_item SET image = NULL WHERE image = $image";
	static const char q_image[] = "DELETE FROM image WHERE id = $image";
	enum ota_err err;

	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_items);

		bind_i64(st, "image", image);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK) {
		AUTO(stmt) struct stmt *st = stmt_get(db, q_image);

		bind_i64(st, "image", image);
		err = stmt_done(st, e);
	}
	return err == OTA_OK ? change_add(db, CHANGE_IMAGE, image, e) : err;
}

enum ota_err gc_forget(struct db *db, int64_t image, struct errmsg *e)
{
	static const char q_needed[] = "SELECT " NEEDED " AS yes FROM image i WHERE i.id = $image";
	bool needed;
	enum ota_err err;

	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_needed);

		bind_i64(st, "image", image);
		err = stmt_yes(st, &needed, e);
	}
	if (err == OTA_OK && needed)
		return errmsg_fail(e, OTA_STATE, "a release has this image");
	return err == OTA_OK ? forget(db, image, e) : err;
}

enum ota_err gc_collect(struct db *db, int64_t now, int64_t grace_s, uint32_t limit, struct arena *mem,
	struct gc_list *out, struct errmsg *e)
{
	const struct db_page page = {.limit = limit};
	AUTO(tx) struct db_tx tx = {0};
	struct gc_list list = {0};
	struct {
		struct doomed_row *rows;
		size_t n;
		int64_t next;
	} doomed;
	enum ota_err err;

	err = db_begin(db, &tx, e);
	if (err != OTA_OK)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_doomed);

		list_bind(st, &page);
		bind_i64(st, "before", now - grace_s);
		err = list_run(st, &page, mem, sizeof *doomed.rows, fill, LIST_OUT(&doomed), e);
	}
	if (err != OTA_OK)
		return err;
	list.sha256 = arena_array(mem, doomed.n + 1, sizeof *list.sha256);
	if (!list.sha256)
		return no_memory_fail(e);
	for (; err == OTA_OK && list.n < doomed.n; list.n++) {
		memcpy(list.sha256[list.n], doomed.rows[list.n].sha256, sizeof *list.sha256);
		err = forget(db, doomed.rows[list.n].id, e);
	}
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*out = list;
	return err;
}

enum ota_err gc_unlink(struct db *db, const struct blob_store *bs, const uint8_t sha256[static 32], int *held,
	struct errmsg *e)
{
	AUTO(fd) int lock = -1;
	bool named = false;
	int fd = -1;
	enum ota_err err = blob_lock_alone(bs, &lock, e);

	if (err == OTA_OK)
		err = image_exists(db, sha256, &named, e);
	if (err == OTA_OK && !named)
		err = blob_unlink(bs, sha256, &fd, e);
	if (err == OTA_NOT_FOUND)
		err = OTA_OK;
	if (err == OTA_OK)
		*held = fd;
	return err;
}

struct orphans {
	struct db *db;
	struct arena *mem;
	int64_t before;
	uint32_t limit;
	struct gc_list list;
	size_t cap;
};

static enum ota_err orphan(
	void *ctx, const uint8_t *sha256, const char *name, uint64_t size, int64_t mtime, struct errmsg *e)
{
	struct orphans *o = ctx;
	bool named = true;
	enum ota_err err;

	(void)name;
	(void)size;
	/* what is no blob is nobody's to remove */
	if (!sha256 || mtime > o->before || o->list.n == o->limit)
		return OTA_OK;
	err = image_exists(o->db, sha256, &named, e);
	if (err != OTA_OK || named)
		return err;
	o->list.sha256 = list_room(o->mem, o->list.sha256, o->list.n, &o->cap, sizeof *o->list.sha256);
	if (!o->list.sha256)
		return no_memory_fail(e);
	memcpy(o->list.sha256[o->list.n++], sha256, 32);
	return OTA_OK;
}

enum ota_err gc_orphans(struct db *db, const struct blob_store *bs, int64_t now, int64_t grace_s,
	uint32_t limit, struct arena *mem, struct gc_list *out, struct errmsg *e)
{
	struct orphans o = {.db = db, .mem = mem, .before = now - grace_s, .limit = limit};
	enum ota_err err = blob_each(bs, orphan, &o, e);

	if (err == OTA_OK)
		*out = o.list;
	return err;
}
