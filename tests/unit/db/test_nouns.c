/* The small nouns: boards, images, releases, tokens, roots, settings, leases, audit, changes. */
#include "tests/unit/db/fixture.h"

#include <stdio.h>
#include <string.h>

#include "db/audit.h"
#include "db/change.h"
#include "db/image.h"
#include "db/lease.h"
#include "db/rootdoc.h"
#include "db/setting.h"
#include "db/token.h"

static const struct db_page all = {0};

static size_t changes_of(struct fixture *f, enum change_kind kind, int64_t id)
{
	struct change_list list;
	size_t n = 0;

	ok(f, change_list(f->db, &all, &f->mem, &list, &f->e));
	for (size_t i = 0; i < list.n; i++)
		n += list.rows[i].kind == kind && list.rows[i].id == id;
	return n;
}

static void boards(void **state)
{
	struct fixture *f = *state;
	int64_t lamp = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2), revision = 0, id = 7;
	struct board_row row, again;
	struct board_list list;
	uint8_t class_id[16];

	ok(f, board_load(f->db, lamp, &f->mem, &row, &f->e));
	assert_string_equal(row.name, "lamp");
	assert_int_equal(row.revision, 1);
	assert_int_equal(row.n_components, 1);
	assert_memory_equal(row.components[0].id, "app", 3);
	assert_int_equal(row.components[0].size_max, 1 << 20);
	assert_int_equal(row.sequence, 0);
	memset(class_id, 2, sizeof class_id);
	ok(f, board_load_class(f->db, class_id, &f->mem, &again, &f->e));
	assert_int_equal(again.id, fan);
	fails(f, OTA_NOT_FOUND, board_load_name(f->db, "lmap", &f->mem, &again, &f->e));

	/* the same name, the same class */
	again = row;
	memset(again.class_id, 9, sizeof again.class_id);
	fails(f, OTA_EXISTS, board_insert(f->db, &again, &id, &f->e));
	again = row;
	again.name = "other";
	fails(f, OTA_EXISTS, board_insert(f->db, &again, &id, &f->e));
	again.name = "bad name";
	fails(f, OTA_INVALID, board_insert(f->db, &again, &id, &f->e));
	again.name = "two";
	again.n_components = 2;
	again.components[1] = again.components[0];
	fails(f, OTA_INVALID, board_insert(f->db, &again, &id, &f->e));
	again.n_components = 0;
	fails(f, OTA_INVALID, board_insert(f->db, &again, &id, &f->e));
	assert_int_equal(id, 7);

	row.name = "lantern";
	row.poll_s = 60;
	row.n_components = 2;
	row.components[1] = (struct board_component){.id = "net", .id_len = 3, .name = "net"};
	ok(f, board_update(f->db, lamp, 1, &row, &revision, &f->e));
	assert_int_equal(revision, 2);
	fails(f, OTA_CONFLICT, board_update(f->db, lamp, 1, &row, &revision, &f->e));
	row.name = "fan";
	fails(f, OTA_EXISTS, board_update(f->db, lamp, 0, &row, &revision, &f->e));
	ok(f, board_load(f->db, lamp, &f->mem, &row, &f->e));
	assert_string_equal(row.name, "lantern");
	assert_int_equal(row.poll_s, 60);
	assert_int_equal(row.n_components, 2);
	assert_string_equal(row.components[1].name, "net");

	ok(f, board_list(f->db, NULL, &(struct db_page){.limit = 1}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.rows[0].n_components, 2);
	assert_int_equal(list.next, lamp);
	ok(f, board_list(f->db, "esp32c3", &(struct db_page){.cursor = list.next}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.rows[0].id, fan);
	assert_int_equal(list.next, 0);
	ok(f, board_list(f->db, "esp8266", &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 0);

	/* components are fixed by a release, and so is the board */
	(void)make_release(f, fan, "1.0", "firmware", 10);
	ok(f, board_load(f->db, fan, &f->mem, &row, &f->e));
	assert_int_equal(row.sequence, 10);
	memcpy(row.components[0].id, "xpp", 3);
	fails(f, OTA_STATE, board_update(f->db, fan, 0, &row, NULL, &f->e));
	memcpy(row.components[0].id, "app", 3);
	row.components[0].size_max = 5;
	ok(f, board_update(f->db, fan, 0, &row, NULL, &f->e));
	fails(f, OTA_STATE, board_delete(f->db, fan, 0, NOW, &f->e));
	assert_string_equal(f->e.text, "board 'fan' has 1 release");
	fails(f, OTA_CONFLICT, board_delete(f->db, lamp, 1, NOW, &f->e));
	ok(f, board_delete(f->db, lamp, 2, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, board_load(f->db, lamp, &f->mem, &row, &f->e));
	assert_int_equal(changes_of(f, CHANGE_BOARD, lamp), 3);
}

static void images(void **state)
{
	struct fixture *f = *state;
	struct image_row row = {.created_at = NOW, .created_by = "ann"}, got;
	uint8_t sha256[32];
	int64_t id = 0, again = 0;
	struct image_list list;

	sha_of("not uploaded", row.digests.sha256);
	row.info.size = 12;
	fails(f, OTA_UNAVAILABLE, image_insert(f->db, f->blobs, &row, &id, &f->e));
	make_blob(f->blobs, "esp image", row.digests.sha256);
	fails(f, OTA_SIZE, image_insert(f->db, f->blobs, &row, &id, &f->e));

	row.info = (struct image_info){
		.format = IMAGE_ESP32,
		.size = 9,
		.image_size = 8,
		.checks = IMAGE_CHECK_SHA256,
		.trailer = IMAGE_TRAILER_ESP_SECURE_BOOT,
		.chip = "esp32c3",
		.version = "1.2.3",
		.project = "kitchen",
		.built = "Jan  5 2024 12:00:00",
		.sdk = "v5.1",
		.variant = 2,
		.has_elf_sha256 = true,
		.has_security_counter = true,
		.security_counter = UINT32_MAX,
		.has_ids = true,
	};
	memset(row.info.elf_sha256, 0xe1, 32);
	memset(row.info.vendor_id, 0xd1, 16);
	memset(row.info.class_id, 0xd2, 16);
	memset(row.digests.sha1, 0x51, 20);
	memset(row.digests.md5, 0x3d, 16);
	row.digests.has_md5_variants = true;
	for (int k = 0; k < 4; k++)
		memset(row.digests.md5_variant[k], 0x40 + k, 16);
	ok(f, image_insert(f->db, f->blobs, &row, &id, &f->e));
	ok(f, image_load(f->db, row.digests.sha256, &f->mem, &got, &f->e));
	assert_int_equal(got.id, id);
	assert_memory_equal(&got.digests, &row.digests, sizeof row.digests);
	assert_int_equal(got.info.format, IMAGE_ESP32);
	assert_int_equal(got.info.image_size, 8);
	assert_int_equal(got.info.trailer, IMAGE_TRAILER_ESP_SECURE_BOOT);
	assert_string_equal(got.info.built, "Jan  5 2024 12:00:00");
	assert_int_equal(got.info.variant, 2);
	assert_true(got.info.has_security_counter);
	assert_int_equal(got.info.security_counter, UINT32_MAX);
	assert_true(got.info.has_ids);
	assert_memory_equal(got.info.class_id, row.info.class_id, 16);
	/* found by each foreign name */
	ok(f, image_find_digest(f->db, row.digests.sha1, 20, &f->mem, &got, &f->e));
	ok(f, image_find_digest(f->db, row.digests.md5, 16, &f->mem, &got, &f->e));
	ok(f, image_find_digest(f->db, row.digests.md5_variant[3], 16, &f->mem, &got, &f->e));
	ok(f, image_find_digest(f->db, row.info.elf_sha256, 32, &f->mem, &got, &f->e));
	fails(f, OTA_NOT_FOUND, image_find_digest(f->db, row.digests.sha256 + 1, 16, &f->mem, &got, &f->e));

	/* damaged, and healed by the same upload */
	ok(f, image_set_damaged(f->db, row.digests.sha256, true, &f->e));
	ok(f, image_set_damaged(f->db, row.digests.sha256, true, &f->e));
	assert_int_equal(changes_of(f, CHANGE_IMAGE, id), 2);
	ok(f, image_load_id(f->db, id, &f->mem, &got, &f->e));
	assert_true(got.is_damaged);
	ok(f, image_insert(f->db, f->blobs, &row, &again, &f->e));
	assert_int_equal(again, id);
	ok(f, image_load_id(f->db, id, &f->mem, &got, &f->e));
	assert_false(got.is_damaged);

	(void)make_image(f, "second", sha256);
	ok(f, image_list(f->db, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	ok(f, image_delete(f->db, sha256, &f->e));
	fails(f, OTA_NOT_FOUND, image_delete(f->db, sha256, &f->e));
}

static void releases(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), id = 0, again = 0, other;
	struct release_row row = {.board = board,
		.version = "1.0",
		.notes = "first",
		.created_at = NOW,
		.created_by = "ann",
		.n_items = 2};
	struct release_row got;
	struct release_list list;
	bool is_new = false;

	(void)make_image(f, "slot b", row.items[0].sha256);
	strcpy(row.items[0].variant, "user2");
	(void)make_image(f, "slot a", row.items[1].sha256);
	strcpy(row.items[1].variant, "user1");
	ok(f, release_insert(f->db, &row, &id, &is_new, &f->e));
	assert_true(is_new);
	ok(f, release_load(f->db, id, &f->mem, &got, &f->e));
	assert_int_equal(got.n_items, 2);
	assert_string_equal(got.items[0].variant, "user1");
	assert_string_equal(got.notes, "first");
	assert_int_equal(got.manifest, 0);
	assert_false(got.is_complete);
	assert_false(got.is_collected);
	/* the same again, in another order: the same release */
	{
		struct release_row turned = row;

		turned.items[0] = row.items[1];
		turned.items[1] = row.items[0];
		ok(f, release_insert(f->db, &turned, &again, &is_new, &f->e));
		assert_int_equal(again, id);
		assert_false(is_new);
		/* other bytes under the same version */
		sha_of("slot a", turned.items[1].sha256);
		memcpy(turned.items[0].sha256, turned.items[1].sha256, 32);
		fails(f, OTA_EXISTS, release_insert(f->db, &turned, &again, &is_new, &f->e));
		turned.n_items = 1;
		fails(f, OTA_EXISTS, release_insert(f->db, &turned, &again, &is_new, &f->e));
	}
	/* bad input */
	{
		struct release_row bad = row;

		bad.version = "1.1";
		bad.items[0].component = 1;
		fails(f, OTA_INVALID, release_insert(f->db, &bad, &again, NULL, &f->e));
		bad = row;
		bad.version = "1 1";
		fails(f, OTA_INVALID, release_insert(f->db, &bad, &again, NULL, &f->e));
		bad = row;
		bad.version = "1.1";
		strcpy(bad.items[1].variant, "user2");
		fails(f, OTA_INVALID, release_insert(f->db, &bad, &again, NULL, &f->e));
		bad.n_items = 0;
		fails(f, OTA_INVALID, release_insert(f->db, &bad, &again, NULL, &f->e));
		bad = row;
		bad.version = "1.1";
		sha_of("nowhere", bad.items[0].sha256);
		fails(f, OTA_NOT_FOUND, release_insert(f->db, &bad, &again, NULL, &f->e));
		bad.board = 99;
		fails(f, OTA_NOT_FOUND, release_insert(f->db, &bad, &again, NULL, &f->e));
		fails(f, OTA_NOT_FOUND, release_load_version(f->db, board, "1.1", &f->mem, &got, &f->e));
	}
	ok(f, image_set_damaged(f->db, row.items[0].sha256, true, &f->e));
	row.version = "1.2";
	fails(f, OTA_CORRUPT, release_insert(f->db, &row, &again, NULL, &f->e));
	other = make_release(f, board, "2.0", "two", 100);
	ok(f, release_list(f->db, board, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.rows[0].id, other);
	assert_int_equal(list.rows[0].sequence, 100);
	assert_true(list.rows[0].is_complete);
	ok(f, release_set_notes(f->db, other, "news", &f->e));
	fails(f, OTA_NOT_FOUND, release_set_notes(f->db, 99, "news", &f->e));
	ok(f, release_delete(f->db, id, &f->e));
	fails(f, OTA_NOT_FOUND, release_delete(f->db, id, &f->e));
}

static void manifests(void **state)
{
	struct fixture *f = *state;
	int64_t board = make_board(f, "lamp", 1), fan = make_board(f, "fan", 2);
	int64_t v1 = make_release(f, board, "1.0", "one", 100),
		v2 = make_release(f, board, "2.0", "two", 200);
	int64_t foreign = make_release(f, fan, "1.0", "fan", 50), back, id = 0;
	struct manifest_row row, got;
	struct manifest_sizes list;
	struct release_row release;
	uint32_t highest = 0;
	uint8_t sha[32];

	back = make_manifest(f, v1, v2, 201);
	ok(f, manifest_highest(f->db, board, &highest, &f->e));
	assert_int_equal(highest, 201);
	ok(f, manifest_load_return(f->db, v1, v2, &f->mem, &got, &f->e));
	assert_int_equal(got.id, back);
	assert_int_equal(got.board, board);
	fails(f, OTA_NOT_FOUND, manifest_load_return(f->db, v2, v1, &f->mem, &got, &f->e));
	/* a return is never the newest manifest of its release */
	ok(f, release_load(f->db, v1, &f->mem, &release, &f->e));
	assert_int_equal(release.sequence, 100);

	/* the same manifest again */
	row = got;
	ok(f, manifest_insert(f->db, &row, &id, &f->e));
	assert_int_equal(id, back);
	/* a sequence that is not above the highest, by number and by board */
	manifest_digest(1, row.digest);
	fails(f, OTA_CONFLICT, manifest_insert(f->db, &row, &id, &f->e));
	row.sequence = 150;
	fails(f, OTA_CONFLICT, manifest_insert(f->db, &row, &id, &f->e));
	row.sequence = 202;
	row.after = foreign;
	fails(f, OTA_INVALID, manifest_insert(f->db, &row, &id, &f->e));
	row.after = 0;
	fails(f, OTA_INVALID, manifest_insert(f->db, &row, &id, &f->e));
	row.kind = MANIFEST_NORMAL;
	row.envelope_len = 1025;
	fails(f, OTA_INVALID, manifest_insert(f->db, &row, &id, &f->e));
	row.envelope_len = 8;
	row.release = 99;
	fails(f, OTA_NOT_FOUND, manifest_insert(f->db, &row, &id, &f->e));
	ok(f, manifest_highest(f->db, board, &highest, &f->e));
	assert_int_equal(highest, 201);

	/* another envelope around the same manifest */
	row.envelope = (const uint8_t *)"other envelope";
	row.envelope_len = 14;
	row.n_signatures = 2;
	row.root_version = 2;
	ok(f, manifest_set_envelope(f->db, back, &row, NOW + 5, &f->e));
	ok(f, manifest_load(f->db, back, &f->mem, &got, &f->e));
	assert_int_equal(got.envelope_len, 14);
	assert_int_equal(got.n_signatures, 2);
	assert_int_equal(got.signed_at, NOW + 5);
	assert_int_equal(got.sequence, 201);
	ok(f, manifest_load_digest(f->db, got.digest, &f->mem, &got, &f->e));
	fails(f, OTA_NOT_FOUND, manifest_set_envelope(f->db, 99, &row, NOW, &f->e));
	/* what tickets say of them: by release, and by the bytes that they install */
	ok(f, manifest_sizes_of_release(f->db, v1, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.rows[1].id, back);
	assert_memory_equal(list.rows[1].digest, got.digest, 32);
	assert_int_equal(list.rows[1].size, 14);
	sha_of("one", sha);
	ok(f, manifest_sizes_of_image(f->db, sha, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.next, 0);
	ok(f, manifest_sizes_of_image(f->db, sha, &(struct db_page){.limit = 1}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	ok(f, manifest_sizes_of_image(
		      f->db, sha, &(struct db_page){.cursor = list.next}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.rows[0].id, back);
	row.is_complete = false;
	ok(f, manifest_set_envelope(f->db, back, &row, NOW + 6, &f->e));
	ok(f, manifest_sizes_of_release(f->db, v1, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.rows[1].size, 0);
	/* what has been used as a way back cannot be deleted */
	fails(f, OTA_STATE, release_delete(f->db, v1, &f->e));
	fails(f, OTA_STATE, release_delete(f->db, v2, &f->e));
}

static void tokens(void **state)
{
	struct fixture *f = *state;
	struct token_row row = {.uid = "00112233445566aa",
		.name = "admin",
		.role = TOKEN_ADMIN,
		.created_at = NOW,
		.created_by = "otad"};
	struct token_row got;
	struct token_list list;
	int64_t admin = 0, viewer = 0;
	size_t before;

	sha_of("secret", row.sha256);
	ok(f, token_insert(f->db, &row, &admin, &f->e));
	fails(f, OTA_EXISTS, token_insert(f->db, &row, &viewer, &f->e));
	strcpy(row.uid, "00112233445566ab");
	row.name = "dash";
	fails(f, OTA_EXISTS, token_insert(f->db, &row, &viewer, &f->e));
	sha_of("other", row.sha256);
	row.role = TOKEN_VIEWER;
	row.expires_at = NOW + 10;
	ok(f, token_insert(f->db, &row, &viewer, &f->e));
	ok(f, token_load(f->db, viewer, &f->mem, &got, &f->e));
	assert_int_equal(got.id, viewer);
	assert_true(token_is_valid(&got, NOW + 9));
	assert_false(token_is_valid(&got, NOW + 10));
	fails(f, OTA_NOT_FOUND, token_load(f->db, 99, &f->mem, &got, &f->e));

	before = changes_of(f, CHANGE_TOKEN, viewer);
	ok(f, token_used(f->db, viewer, NOW + 1, &f->e));
	ok(f, token_used(f->db, viewer, NOW + 60, &f->e));
	ok(f, token_load(f->db, viewer, &f->mem, &got, &f->e));
	assert_int_equal(got.used_at, NOW + 1);
	ok(f, token_used(f->db, viewer, NOW + 61, &f->e));
	ok(f, token_load(f->db, viewer, &f->mem, &got, &f->e));
	assert_int_equal(got.used_at, NOW + 61);
	assert_int_equal(changes_of(f, CHANGE_TOKEN, viewer), before);

	fails(f, OTA_STATE, token_revoke(f->db, admin, NOW, &f->e));
	ok(f, token_revoke(f->db, viewer, NOW + 2, &f->e));
	ok(f, token_revoke(f->db, viewer, NOW + 3, &f->e));
	ok(f, token_load(f->db, viewer, &f->mem, &got, &f->e));
	assert_int_equal(got.revoked_at, NOW + 2);
	assert_false(token_is_valid(&got, NOW));
	/* the name is free again, the uid still finds the old one */
	fails(f, OTA_NOT_FOUND, token_find(f->db, "dash", &f->mem, &got, &f->e));
	ok(f, token_find(f->db, "00112233445566ab", &f->mem, &got, &f->e));
	strcpy(row.uid, "00112233445566ac");
	sha_of("third", row.sha256);
	ok(f, token_insert(f->db, &row, &viewer, &f->e));
	ok(f, token_find(f->db, "dash", &f->mem, &got, &f->e));
	assert_int_equal(got.id, viewer);
	ok(f, token_list(f->db, &(struct db_page){.limit = 2}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_int_not_equal(list.next, 0);
	/* the revoked one is not among the valid ones, nor one that expired by then */
	ok(f, token_list_valid(f->db, NOW + 9, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.rows[1].id, viewer);
	ok(f, token_list_valid(f->db, NOW + 9, &(struct db_page){.limit = 1}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.next, admin);
	ok(f, token_list_valid(f->db, NOW + 10, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.rows[0].id, admin);
	strcpy(row.uid, "XX");
	fails(f, OTA_INVALID, token_insert(f->db, &row, &viewer, &f->e));
	fails(f, OTA_NOT_FOUND, token_revoke(f->db, 99, NOW, &f->e));
}

static void roots(void **state)
{
	struct fixture *f = *state;
	struct rootdoc_row row = {.version = 2,
		.document = (const uint8_t *)"root one",
		.document_len = 8,
		.created_at = NOW,
		.created_by = "ann"};
	struct rootdoc_row got;
	struct rootdoc_list list;

	fails(f, OTA_NO_ROOT, rootdoc_newest(f->db, &f->mem, &got, &f->e));
	fails(f, OTA_ROOT_GAP, rootdoc_insert(f->db, &row, &f->e));
	row.version = 0;
	fails(f, OTA_ROOT_GAP, rootdoc_insert(f->db, &row, &f->e));
	row.version = 1;
	ok(f, rootdoc_insert(f->db, &row, &f->e));
	ok(f, rootdoc_insert(f->db, &row, &f->e));
	row.document = (const uint8_t *)"root 0ne";
	fails(f, OTA_CONFLICT, rootdoc_insert(f->db, &row, &f->e));
	row.version = 3;
	fails(f, OTA_ROOT_GAP, rootdoc_insert(f->db, &row, &f->e));
	row.version = 2;
	ok(f, rootdoc_insert(f->db, &row, &f->e));
	ok(f, rootdoc_newest(f->db, &f->mem, &got, &f->e));
	assert_int_equal(got.version, 2);
	ok(f, rootdoc_load(f->db, 1, &f->mem, &got, &f->e));
	assert_memory_equal(got.document, "root one", 8);
	fails(f, OTA_NOT_FOUND, rootdoc_load(f->db, 3, &f->mem, &got, &f->e));
	ok(f, rootdoc_list(f->db, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
}

static void settings_and_leases(void **state)
{
	struct fixture *f = *state;
	struct setting_list list;
	struct lease_row lease;
	const char *text;
	int64_t value = 0;

	fails(f, OTA_NOT_FOUND, setting_get(f->db, "poll", &f->mem, &text, &f->e));
	ok(f, setting_set_i64(f->db, "poll", -300, NOW, &f->e));
	ok(f, setting_get_i64(f->db, "poll", &value, &f->e));
	assert_int_equal(value, -300);
	ok(f, setting_set(f->db, "poll", "often", NOW, &f->e));
	fails(f, OTA_CORRUPT, setting_get_i64(f->db, "poll", &value, &f->e));
	ok(f, setting_set(f->db, "banner", "", NOW, &f->e));
	ok(f, setting_list(f->db, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_string_equal(list.rows[0].name, "banner");
	ok(f, setting_set(f->db, "poll", NULL, NOW, &f->e));
	fails(f, OTA_NOT_FOUND, setting_get(f->db, "poll", &f->mem, &text, &f->e));
	fails(f, OTA_INVALID, setting_set(f->db, "a b", "1", NOW, &f->e));

	ok(f, lease_take(f->db, "plan", "one", NOW, 30, &f->e));
	fails(f, OTA_BUSY, lease_take(f->db, "plan", "two", NOW + 29, 30, &f->e));
	ok(f, lease_take(f->db, "plan", "one", NOW + 29, 30, &f->e));
	ok(f, lease_load(f->db, "plan", &f->mem, &lease, &f->e));
	assert_int_equal(lease.until, NOW + 59);
	ok(f, lease_take(f->db, "plan", "two", NOW + 59, 30, &f->e));
	ok(f, lease_drop(f->db, "plan", "one", &f->e));
	fails(f, OTA_BUSY, lease_take(f->db, "plan", "one", NOW + 60, 30, &f->e));
	ok(f, lease_drop(f->db, "plan", "two", &f->e));
	fails(f, OTA_NOT_FOUND, lease_load(f->db, "plan", &f->mem, &lease, &f->e));
}

static void audits(void **state)
{
	struct fixture *f = *state;
	static const struct audit_row rows[] = {
		{.at = NOW,
			.who = "ann",
			.action = "device.approve",
			.target = "kitchen",
			.from = "::1",
			.after = "{}"},
		{.at = NOW + 1,
			.who = "bob",
			.action = "device.rename",
			.target = "kitchen",
			.before = "{\"a\":1}"},
		{.at = NOW + 2, .who = "ann", .action = "devices", .target = NULL},
	};
	struct audit_list list;
	int64_t id = 0;

	for (size_t i = 0; i < 3; i++)
		ok(f, audit_add(f->db, &rows[i], &id, &f->e));
	ok(f, audit_list(f->db, NULL, &(struct db_page){.limit = 2}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	assert_int_equal(list.rows[0].id, id);
	assert_string_equal(list.rows[1].before, "{\"a\":1}");
	assert_null(list.rows[1].after);
	ok(f, audit_list(f->db, NULL, &(struct db_page){.cursor = list.next}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 1);
	assert_int_equal(list.next, 0);
	assert_string_equal(list.rows[0].from, "::1");
	ok(f, audit_list(f->db, &(struct audit_filter){.action = "device."}, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
	ok(f, audit_list(f->db, &(struct audit_filter){.action = "devices", .who = "ann"}, &all, &f->mem,
		      &list, &f->e));
	assert_int_equal(list.n, 1);
	ok(f, audit_list(f->db, &(struct audit_filter){.who = "ann", .since = NOW + 1}, &all, &f->mem, &list,
		      &f->e));
	assert_int_equal(list.n, 1);
	ok(f, audit_list(f->db, &(struct audit_filter){.target = "kitchen"}, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 2);
}

static void changes(void **state)
{
	struct fixture *f = *state;
	struct change_list list;
	int64_t newest = -1;

	ok(f, change_newest(f->db, &newest, &f->e));
	assert_int_equal(newest, 0);
	ok(f, change_list(f->db, &all, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 0);
	for (int64_t i = 1; i <= 10; i++)
		ok(f, change_add(f->db, CHANGE_DEVICE, i, &f->e));
	ok(f, change_list(f->db, &(struct db_page){.cursor = 4, .limit = 3}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 3);
	assert_int_equal(list.rows[0].seq, 5);
	assert_int_equal(list.next, 7);
	ok(f, change_trim(f->db, 4, &f->e));
	ok(f, change_list(f->db, &(struct db_page){.cursor = 6}, &f->mem, &list, &f->e));
	assert_int_equal(list.n, 4);
	fails(f, OTA_TRUNCATED, change_list(f->db, &(struct db_page){.cursor = 5}, &f->mem, &list, &f->e));
	ok(f, change_trim(f->db, 0, &f->e));
	ok(f, change_newest(f->db, &newest, &f->e));
	assert_int_equal(newest, 10);
	ok(f, change_add(f->db, CHANGE_DEVICE, 1, &f->e));
	ok(f, change_newest(f->db, &newest, &f->e));
	assert_int_equal(newest, 11);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(boards),
		test(images),
		test(releases),
		test(manifests),
		test(tokens),
		test(roots),
		test(settings_and_leases),
		test(audits),
		test(changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
