/* Calls to fail: boards, images, releases and manifests. */
#include "tests/unit/db/faults.h"

#include <string.h>

#include "db/image.h"

static const struct db_page all = {0};

OP(o_board_insert)
{
	struct board_row row = {.name = "new",
		.n_components = 2,
		.components = {{.id = "app", .id_len = 3, .name = "app"},
			{.id = "data", .id_len = 4, .name = "data"}},
		.created_at = NOW,
		.created_by = "ann"};
	int64_t id;

	row.class_id[0] = 77;
	return board_insert(f->db, &row, &id, &f->e);
}
OP(o_board_update)
{
	struct board_row row = {.name = "renamed",
		.n_components = 1,
		.components = {{.id = "other", .id_len = 5, .name = "other"}}};

	return board_update(f->db, fault_world.spare_board, 1, &row, NULL, &f->e);
}
OP(o_board_delete)
{
	return board_delete(f->db, fault_world.spare_board, 0, NOW, &f->e);
}
OP(o_board_name)
{
	struct board_row row;

	return board_load_name(f->db, "lamp", &f->mem, &row, &f->e);
}
OP(o_board_list)
{
	struct board_list list;

	return board_list(f->db, NULL, &all, &f->mem, &list, &f->e);
}
OP(o_image_load)
{
	struct image_row row;

	return image_load(f->db, fault_world.image, &f->mem, &row, &f->e);
}
OP(o_image_find)
{
	struct image_row row;

	return image_find_digest(f->db, fault_world.image, 20, &f->mem, &row, &f->e);
}
OP(o_image_insert)
{
	struct image_row row = {.created_at = NOW, .created_by = "test"};
	int64_t id;

	/* Stored again after it was marked: no new row, and whole. */
	memcpy(row.digests.sha256, fault_world.image, 32);
	row.info.size = row.info.image_size = 12;
	return image_insert(f->db, f->blobs, &row, &id, &f->e);
}
OP(o_image_insert_new)
{
	struct image_row row = {.created_at = NOW, .created_by = "test"};
	int64_t id;

	make_blob(f->blobs, "new image", row.digests.sha256);
	row.info.size = row.info.image_size = 9;
	return image_insert(f->db, f->blobs, &row, &id, &f->e);
}
OP(o_image_damaged)
{
	return image_set_damaged(f->db, fault_world.image, true, &f->e);
}
OP(o_image_delete)
{
	return image_delete(f->db, fault_world.unused, &f->e);
}
OP(o_image_list)
{
	struct image_list list;

	return image_list(f->db, &all, &f->mem, &list, &f->e);
}
OP(o_release_insert)
{
	struct release_row row = {.board = fault_world.board,
		.version = "4.0",
		.created_at = NOW,
		.created_by = "ann",
		.n_items = 1};
	int64_t id;

	memcpy(row.items[0].sha256, fault_world.image, 32);
	return release_insert(f->db, &row, &id, NULL, &f->e);
}
OP(o_release_again)
{
	struct release_row row = {.board = fault_world.board,
		.version = "2.0",
		.created_at = NOW,
		.created_by = "ann",
		.n_items = 1};
	int64_t id;
	bool is_new;

	memcpy(row.items[0].sha256, fault_world.image, 32);
	return release_insert(f->db, &row, &id, &is_new, &f->e);
}
OP(o_release_version)
{
	struct release_row row;

	return release_load_version(f->db, fault_world.board, "2.0", &f->mem, &row, &f->e);
}
OP(o_release_list)
{
	struct release_list list;

	return release_list(f->db, fault_world.board, &all, &f->mem, &list, &f->e);
}
OP(o_release_notes)
{
	return release_set_notes(f->db, fault_world.release, "notes", &f->e);
}
OP(o_release_retire)
{
	return release_retire(f->db, fault_world.orphan_release, NOW, &f->e);
}
OP(o_release_delete)
{
	return release_delete(f->db, fault_world.orphan_release, &f->e);
}
OP(o_release_running)
{
	struct running_row rows[8];
	size_t n;

	return release_running(f->db, fault_world.board, rows, 8, &n, &f->e);
}
static struct manifest_row a_manifest(uint32_t sequence)
{
	struct manifest_row row = {.release = fault_world.release,
		.sequence = sequence,
		.manifest = (const uint8_t *)"m",
		.manifest_len = 1,
		.text = (const uint8_t *)"t",
		.text_len = 1,
		.envelope = (const uint8_t *)"e",
		.envelope_len = 1,
		.is_complete = true,
		.created_at = NOW};

	manifest_digest(sequence, row.digest);
	return row;
}
OP(o_manifest_insert)
{
	struct manifest_row row = a_manifest(500);
	int64_t id;

	return manifest_insert(f->db, &row, &id, &f->e);
}
OP(o_manifest_return)
{
	struct manifest_row row = a_manifest(301);
	int64_t id;

	row.kind = MANIFEST_RETURN;
	row.after = fault_world.orphan_release;
	return manifest_insert(f->db, &row, &id, &f->e);
}
OP(o_manifest_envelope)
{
	struct manifest_row row = a_manifest(200);

	return manifest_set_envelope(f->db, fault_world.manifest, &row, NOW, &f->e);
}
OP(o_manifest_load_return)
{
	struct manifest_row row;

	return manifest_load_return(f->db, fault_world.older, fault_world.release, &f->mem, &row, &f->e);
}
OP(o_manifest_sizes)
{
	struct manifest_sizes list;

	return manifest_sizes_of_release(f->db, fault_world.release, &all, &f->mem, &list, &f->e);
}
OP(o_manifest_highest)
{
	uint32_t sequence;

	return manifest_highest(f->db, fault_world.board, &sequence, &f->e);
}

const struct fault_op fault_ops_catalog[] = {
	ROW(o_board_insert),
	ROW(o_board_update),
	ROW(o_board_delete),
	ROW(o_board_name),
	ROW(o_board_list),
	ROW(o_image_load),
	ROW(o_image_find),
	ROW(o_image_insert),
	ROW(o_image_insert_new),
	ROW(o_image_damaged),
	ROW(o_image_delete),
	ROW(o_image_list),
	ROW(o_release_insert),
	ROW(o_release_again),
	ROW(o_release_version),
	ROW(o_release_list),
	ROW(o_release_notes),
	ROW(o_release_retire),
	ROW(o_release_delete),
	ROW(o_release_running),
	ROW(o_manifest_insert),
	ROW(o_manifest_return),
	ROW(o_manifest_envelope),
	ROW(o_manifest_load_return),
	ROW(o_manifest_sizes),
	ROW(o_manifest_highest),
};
const size_t n_fault_ops_catalog = sizeof fault_ops_catalog / sizeof fault_ops_catalog[0];
