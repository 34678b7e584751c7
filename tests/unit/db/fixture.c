#include "tests/unit/db/fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/image.h"
#include "db/report.h"
#include "db/setting.h"
#include "proto/hex.h"

void temp_dir(char out[256])
{
	const char *base = getenv("TMPDIR");

	assert_true(snprintf(out, 256, "%s/otad-db-XXXXXX", base ? base : P_tmpdir) < 256);
	assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void remove_tree(const char *dir)
{
	(void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct db *fixture_open(const char *dir, enum db_mode mode)
{
	const struct db_options options = {.mode = mode, .now = NOW};
	struct errmsg e = {.text = ""};
	struct db *db = NULL;

	if (db_open(dir, &options, &db, &e) != OTA_OK)
		fail_msg("db_open: %s", e.text);
	return db;
}

struct blob_store *fixture_blobs(const char *dir)
{
	const struct blob_options options = {.crypto = crypto_openssl(), .reserve = 1};
	struct errmsg e = {.text = ""};
	struct blob_store *bs = NULL;

	if (blob_store_open(dir, &options, &bs, &e) != OTA_OK)
		fail_msg("blob_store_open: %s", e.text);
	return bs;
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	temp_dir(f->dir);
	f->db = fixture_open(f->dir, DB_CREATE);
	f->blobs = fixture_blobs(f->dir);
	arena_init(&f->mem, 16 << 20);
	*state = f;
	return 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	db_close(f->db);
	blob_store_close(f->blobs);
	arena_release(&f->mem);
	remove_tree(f->dir);
	free(f);
	return 0;
}

void assert_ota(
	struct fixture *f, enum ota_err got, enum ota_err want, const char *call, const char *file, int line)
{
	if (got == want)
		return;
	print_error("%s: %s instead of %s (%s)\n", call, ota_err_name(got), ota_err_name(want), f->e.text);
	_fail(file, line);
}

void sha_of(const char *text, uint8_t out[32])
{
	const struct ota_slice part = {(const uint8_t *)text, strlen(text)};

	ota_sha256(crypto_openssl(), &part, 1, out);
}

void make_blob(struct blob_store *bs, const char *text, uint8_t sha256[32])
{
	struct errmsg e = {.text = ""};
	struct blob_writer *w;

	sha_of(text, sha256);
	assert_int_equal(blob_begin(bs, sha256, 0, 1 << 20, &w, NULL, &e), OTA_OK);
	assert_int_equal(blob_write(w, text, strlen(text), &e), OTA_OK);
	assert_int_equal(blob_finish(w, NULL, &e), OTA_OK);
}

int64_t make_image(struct fixture *f, const char *text, uint8_t sha256[32])
{
	struct image_row row = {.created_at = NOW, .created_by = "test"};
	int64_t id = 0;

	make_blob(f->blobs, text, row.digests.sha256);
	row.info.size = row.info.image_size = strlen(text);
	memcpy(row.digests.sha1, row.digests.sha256, 20);
	memcpy(row.digests.md5, row.digests.sha256 + 8, 16);
	ok(f, image_insert(f->db, f->blobs, &row, &id, &f->e));
	if (sha256)
		memcpy(sha256, row.digests.sha256, 32);
	return id;
}

int64_t make_board(struct fixture *f, const char *name, uint8_t class_byte)
{
	struct board_row row = {
		.name = name,
		.chip = "esp32c3",
		.algorithms = BOARD_ALG_ESP256,
		.envelope_max = 1024,
		.n_components = 1,
		.components = {{.id = "app", .id_len = 3, .name = "app", .size_max = 1 << 20}},
		.created_at = NOW,
		.created_by = "test",
	};
	int64_t id = 0;

	memset(row.vendor_id, 0x11, sizeof row.vendor_id);
	memset(row.class_id, class_byte, sizeof row.class_id);
	ok(f, board_insert(f->db, &row, &id, &f->e));
	return id;
}

void manifest_digest(uint32_t sequence, uint8_t out[32])
{
	char text[32];

	(void)snprintf(text, sizeof text, "manifest %u", sequence);
	sha_of(text, out);
}

int64_t make_manifest(struct fixture *f, int64_t release, int64_t after, uint32_t sequence)
{
	struct manifest_row row = {
		.release = release,
		.kind = after ? MANIFEST_RETURN : MANIFEST_NORMAL,
		.after = after,
		.sequence = sequence,
		.manifest = (const uint8_t *)"manifest",
		.manifest_len = 8,
		.envelope = (const uint8_t *)"envelope",
		.envelope_len = 8,
		.n_signatures = 1,
		.is_complete = true,
		.root_version = 1,
		.created_at = NOW,
	};
	int64_t id = 0;

	manifest_digest(sequence, row.digest);
	ok(f, manifest_insert(f->db, &row, &id, &f->e));
	return id;
}

int64_t make_release(
	struct fixture *f, int64_t board, const char *version, const char *text, uint32_t sequence)
{
	struct release_row row = {
		.board = board, .version = version, .created_at = NOW, .created_by = "test", .n_items = 1};
	int64_t id = 0;

	(void)make_image(f, text, row.items[0].sha256);
	ok(f, release_insert(f->db, &row, &id, NULL, &f->e));
	(void)make_manifest(f, id, 0, sequence);
	return id;
}

int64_t make_device(struct fixture *f, const char *name, int64_t board, char uid_digit)
{
	struct device_row row = {.name = name, .board = board, .state = DEVICE_APPROVED, .created_at = NOW};
	int64_t id = 0;

	memset(row.uid, uid_digit, 32);
	ok(f, device_insert(f->db, &row, 0, &id, &f->e));
	return id;
}

int64_t make_rollout(struct fixture *f, const char *uid, int64_t release)
{
	const struct rollout_row row = {
		.uid = uid, .release = release, .selector = "all", .created_by = "test", .created_at = NOW};
	int64_t id = 0;

	ok(f, rollout_insert(f->db, &row, &id, NULL, &f->e));
	return id;
}

void say_running(struct fixture *f, int64_t device, uint64_t counter, uint32_t sequence, int agent_state)
{
	struct device_said said = {
		.seen_at = NOW + (int64_t)counter,
		.counter = counter,
		.has_running = true,
		.running_sequence = sequence,
		.agent_state = agent_state,
	};

	manifest_digest(sequence, said.running_digest);
	ok(f, report_store(f->db, device, &said, &f->e));
}

struct rollout_cancelled cancel_rollout(struct fixture *f, int64_t rollout, int64_t now)
{
	struct rollout_cancelled done = {0};
	int64_t cursor = 0;

	ok(f, rollout_end(f->db, rollout, 0, ROLLOUT_CANCELLED, now, &f->e));
	do
		ok(f, rollout_withdraw(f->db, rollout, now, &cursor, &done, &f->e));
	while (cursor);
	return done;
}

bool has_setting(struct fixture *f, struct db *db, const char *name)
{
	const char *value;
	enum ota_err err = setting_get(db, name, &f->mem, &value, &f->e);

	assert_true(err == OTA_OK || err == OTA_NOT_FOUND);
	return err == OTA_OK;
}
