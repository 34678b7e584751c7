#include "db/gc.h"
#include "db/image.h"

#include <string.h>

#include "db/change.h"
#include "db/list.h"
#include "db/stmt.h"
#include "proto/hex.h"

#define COLUMNS                                                                                              \
	"id, sha256, size, image_size, format, trailer, checks, chip, version, project, built, sdk, "        \
	"variant,"                                                                                           \
	" elf_sha256, security_counter, vendor_id, class_id, sha1, md5, md5_variants, is_damaged, "          \
	"created_at,"                                                                                        \
	" created_by"

static void fill_info(struct stmt *st, struct image_info *info)
{
	info->format = (enum image_format)col_enum(st, "format", IMAGE_FORMAT_LAST);
	info->size = col_u64(st, "size");
	info->image_size = col_u64(st, "image_size");
	info->checks = col_u32(st, "checks");
	info->trailer = (enum image_trailer)col_enum(st, "trailer", IMAGE_TRAILER_ESP_SECURE_BOOT);
	col_text_buf(st, "chip", info->chip, sizeof info->chip);
	col_text_buf(st, "version", info->version, sizeof info->version);
	col_text_buf(st, "project", info->project, sizeof info->project);
	col_text_buf(st, "built", info->built, sizeof info->built);
	col_text_buf(st, "sdk", info->sdk, sizeof info->sdk);
	info->variant = (int8_t)col_enum(st, "variant", 2);
	info->has_elf_sha256 = col_blob_exact(st, "elf_sha256", info->elf_sha256, sizeof info->elf_sha256);
	info->has_security_counter = !col_is_null(st, "security_counter");
	if (info->has_security_counter)
		info->security_counter = col_u32(st, "security_counter");
	info->has_ids = col_blob_exact(st, "vendor_id", info->vendor_id, sizeof info->vendor_id);
	if (!col_blob_exact(st, "class_id", info->class_id, sizeof info->class_id))
		info->has_ids = false;
}

static enum ota_err fill(struct stmt *st, struct arena *mem, void *out, struct errmsg *e)
{
	struct image_row row = {
		.id = col_i64(st, "id"),
		.is_damaged = col_bool(st, "is_damaged"),
		.created_at = col_i64(st, "created_at"),
		.created_by = col_text(st, "created_by", mem),
	};
	struct image_digests *d = &row.digests;
	enum ota_err err;

	(void)col_blob_exact(st, "sha256", row.sha256, sizeof row.sha256);
	memcpy(d->sha256, row.sha256, sizeof d->sha256);
	(void)col_blob_exact(st, "sha1", d->sha1, sizeof d->sha1);
	(void)col_blob_exact(st, "md5", d->md5, sizeof d->md5);
	d->has_md5_variants = col_blob_exact(st, "md5_variants", d->md5_variant, sizeof d->md5_variant);
	fill_info(st, &row.info);
	err = stmt_status(st, e);
	if (err == OTA_OK)
		*(struct image_row *)out = row;
	return err;
}

enum ota_err image_load(struct db *db, const uint8_t sha256[static 32], struct arena *mem,
	struct image_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM image WHERE sha256 = $sha256";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_blob(st, "sha256", sha256, 32);
	return row_load(st, mem, fill, "image", out, e);
}

enum ota_err image_load_id(
	struct db *db, int64_t id, struct arena *mem, struct image_row *out, struct errmsg *e)
{
	static const char q_load[] = "SELECT " COLUMNS " FROM image WHERE id = $id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_load);

	bind_i64(st, "id", id);
	return row_load(st, mem, fill, "image", out, e);
}

enum ota_err image_find_digest(struct db *db, const uint8_t *digest, size_t len, struct arena *mem,
	struct image_row *out, struct errmsg *e)
{
	static const char q_find[] = "SELECT " COLUMNS " FROM image WHERE id ="
				     " (SELECT max(image) FROM image_alias WHERE digest = $digest)";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_find);

	bind_blob(st, "digest", digest, len);
	return row_load(st, mem, fill, "image", out, e);
}

static enum ota_err alias_add(
	struct db *db, int64_t image, const uint8_t *digest, size_t len, struct errmsg *e)
{
	static const char q_add[] = "INSERT INTO image_alias (digest, image) VALUES ($digest, $image)"
				    " ON CONFLICT (digest, image) DO NOTHING";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);

	bind_blob(st, "digest", digest, len);
	bind_i64(st, "image", image);
	return stmt_done(st, e);
}

static enum ota_err aliases_add(struct db *db, int64_t image, const struct image_row *row, struct errmsg *e)
{
	const struct image_digests *d = &row->digests;
	enum ota_err err;

	err = alias_add(db, image, d->sha1, sizeof d->sha1, e);
	if (err == OTA_OK)
		err = alias_add(db, image, d->md5, sizeof d->md5, e);
	for (unsigned k = 0; err == OTA_OK && d->has_md5_variants && k < 4; k++)
		err = alias_add(db, image, d->md5_variant[k], sizeof d->md5_variant[k], e);
	if (err == OTA_OK && row->info.has_elf_sha256)
		err = alias_add(db, image, row->info.elf_sha256, sizeof row->info.elf_sha256, e);
	return err;
}

static enum ota_err store(struct db *db, const struct image_row *row, int64_t *id, struct errmsg *e)
{
	/* the same bytes have the same facts, but a newer program may read more of them */
	static const char q_add[] =
		"INSERT INTO image (sha256, size, image_size, format, trailer, checks, chip, version, "
		"project, built, sdk,"
		" variant, elf_sha256, security_counter, vendor_id, class_id, sha1, md5, md5_variants, "
		"is_damaged,"
		" created_at, created_by) VALUES ($sha256, $size, $image_size, $format, $trailer, $checks, "
		"$chip, $version,"
		" $project, $built, $sdk, $variant, $elf_sha256, $security_counter, $vendor_id, $class_id, "
		"$sha1, $md5,"
		" $md5_variants, 0, $created_at, $created_by)"
		" ON CONFLICT (sha256) DO UPDATE SET image_size = excluded.image_size, format = "
		"excluded.format,"
		" trailer = excluded.trailer, checks = excluded.checks, chip = excluded.chip, version = "
		"excluded.version,"
		" project = excluded.project, built = excluded.built, sdk = excluded.sdk, variant = "
		"excluded.variant,"
		" elf_sha256 = excluded.elf_sha256, security_counter = excluded.security_counter,"
		" vendor_id = excluded.vendor_id, class_id = excluded.class_id, sha1 = excluded.sha1, md5 = "
		"excluded.md5,"
		" md5_variants = excluded.md5_variants, is_damaged = 0 RETURNING id";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_add);
	const struct image_info *info = &row->info;
	const struct image_digests *d = &row->digests;

	bind_blob(st, "sha256", d->sha256, sizeof d->sha256);
	bind_u64(st, "size", info->size);
	bind_u64(st, "image_size", info->image_size);
	bind_i64(st, "format", info->format);
	bind_i64(st, "trailer", info->trailer);
	bind_i64(st, "checks", info->checks);
	bind_text(st, "chip", info->chip);
	bind_text(st, "version", info->version);
	bind_text(st, "project", info->project);
	bind_text(st, "built", info->built);
	bind_text(st, "sdk", info->sdk);
	bind_i64(st, "variant", info->variant);
	bind_blob(st, "elf_sha256", info->has_elf_sha256 ? info->elf_sha256 : NULL, sizeof info->elf_sha256);
	if (info->has_security_counter)
		bind_i64(st, "security_counter", info->security_counter);
	else
		bind_null(st, "security_counter");
	bind_blob(st, "vendor_id", info->has_ids ? info->vendor_id : NULL, sizeof info->vendor_id);
	bind_blob(st, "class_id", info->has_ids ? info->class_id : NULL, sizeof info->class_id);
	bind_blob(st, "sha1", d->sha1, sizeof d->sha1);
	bind_blob(st, "md5", d->md5, sizeof d->md5);
	bind_blob(st, "md5_variants", d->has_md5_variants ? d->md5_variant : NULL, sizeof d->md5_variant);
	bind_i64(st, "created_at", row->created_at);
	bind_text(st, "created_by", row->created_by);
	return stmt_id(st, id, e);
}

/* Releases whose image was collected have it again. */
static enum ota_err relink(struct db *db, int64_t image, const uint8_t sha256[static 32], struct errmsg *e)
{
	static const char q_relink[] =
		"UPDATE release_item SET image = $image WHERE sha256 = $sha256 AND image IS NULL";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_relink);

	bind_i64(st, "image", image);
	bind_blob(st, "sha256", sha256, 32);
	return stmt_done(st, e);
}

enum ota_err image_insert(struct db *db, const struct blob_store *blobs, const struct image_row *row,
	int64_t *id, struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	uint64_t size;
	int64_t got = 0;
	enum ota_err err;

	err = blob_stat(blobs, row->digests.sha256, &size, e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, OTA_UNAVAILABLE, "the image's bytes are gone, upload it again");
	if (err == OTA_OK && size != row->info.size)
		return errmsg_fail(e, OTA_SIZE, "the image has %llu bytes, not %llu",
			(unsigned long long)size, (unsigned long long)row->info.size);
	if (err == OTA_OK)
		err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = store(db, row, &got, e);
	if (err == OTA_OK)
		err = aliases_add(db, got, row, e);
	if (err == OTA_OK)
		err = relink(db, got, row->digests.sha256, e);
	if (err == OTA_OK)
		err = change_add(db, CHANGE_IMAGE, got, e);
	if (err == OTA_OK)
		err = db_commit(&tx, e);
	if (err == OTA_OK)
		*id = got;
	return err;
}

enum ota_err image_set_damaged(
	struct db *db, const uint8_t sha256[static 32], bool is_damaged, struct errmsg *e)
{
	static const char q_set[] = "UPDATE image SET is_damaged = $is_damaged WHERE id = $id";
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct image_row row;
	enum ota_err err;

	arena_init(&mem, 16 * 1024);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = image_load(db, sha256, &mem, &row, e);
	if (err != OTA_OK || row.is_damaged == is_damaged)
		return err;
	{
		AUTO(stmt) struct stmt *st = stmt_get(db, q_set);

		bind_i64(st, "is_damaged", is_damaged);
		bind_i64(st, "id", row.id);
		err = stmt_done(st, e);
	}
	if (err == OTA_OK)
		err = change_add(db, CHANGE_IMAGE, row.id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err image_delete(struct db *db, const uint8_t sha256[static 32], struct errmsg *e)
{
	AUTO(tx) struct db_tx tx = {0};
	AUTO(arena) struct arena mem;
	struct image_row row;
	enum ota_err err;

	arena_init(&mem, 16 * 1024);
	err = db_begin(db, &tx, e);
	if (err == OTA_OK)
		err = image_load(db, sha256, &mem, &row, e);
	if (err == OTA_OK)
		err = gc_forget(db, row.id, e);
	return err == OTA_OK ? db_commit(&tx, e) : err;
}

enum ota_err image_list(struct db *db, const struct db_page *page, struct arena *mem, struct image_list *out,
	struct errmsg *e)
{
	static const char q_list[] = "SELECT " COLUMNS
				     " FROM image WHERE id > $cursor ORDER BY id LIMIT $limit";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_list);

	list_bind(st, page);
	return list_run(st, page, mem, sizeof *out->rows, fill, LIST_OUT(out), e);
}

enum ota_err image_exists(struct db *db, const uint8_t sha256[static 32], bool *exists, struct errmsg *e)
{
	static const char q_exists[] = "SELECT EXISTS (SELECT 1 FROM image WHERE sha256 = $sha256) AS yes";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_exists);

	bind_blob(st, "sha256", sha256, 32);
	return stmt_yes(st, exists, e);
}

enum ota_err image_count_damaged(struct db *db, uint64_t *n, struct errmsg *e)
{
	static const char q_count[] = "SELECT count(*) AS n FROM image WHERE is_damaged = 1";
	AUTO(stmt) struct stmt *st = stmt_get(db, q_count);

	return stmt_count(st, n, e);
}
