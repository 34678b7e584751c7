/* Boards, images, releases. */
#include "db/board.h"
#include "db/image.h"
#include "db/release.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "proto/suit.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/nouns.h"

#include <stdio.h>
#include <string.h>

static void test_board(void **state)
{
	struct nouns *n = *state;

	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/boards", "{\"name\":\"lamp\",\"chip\":\"esp32c3\"}");
	assert_int_equal(n->status, 201);
	assert_string_equal(nouns_text(n, "name"), "lamp");
	/* UUIDv5(DNS, "local.otad") and UUIDv5(that, "lamp"), computed with Python's uuid */
	assert_string_equal(nouns_text(n, "vendor_id"), "da7ed571-975b-5bfe-b2b4-c1d092a0ee96");
	assert_string_equal(nouns_text(n, "class_id"), "33ca881a-f088-5428-af3f-8e703955d92d");
	assert_string_equal(nouns_text(n, "components.0.name"), "app");
	assert_int_equal(nouns_int(n, "components.0.slot_size"), 0);
	assert_string_equal(nouns_text(n, "algorithms.0"), "esp256");
	assert_string_equal(nouns_text(n, "client"), "agent");
	assert_int_equal(nouns_int(n, "revision"), 1);
	assert_string_equal(fake_answer_header(&n->f, "ETag"), "\"1\"");
	assert_non_null(fake_answer_header(&n->f, "X-Otad-Change"));

	nouns_call(n, ROLE_VIEWER, "GET", "/v1/boards", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "items.0.name"), "lamp");
	assert_true(json_is_null(nouns_at(n, "next")));

	fake_header(&n->f, "If-Match", "\"1\"");
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/boards/lamp",
		"{\"poll_s\":600,\"components\":[{\"name\":\"app\",\"slot_size\":1000000}]}");
	assert_int_equal(n->status, 200);
	assert_int_equal(nouns_int(n, "poll_s"), 600);
	assert_int_equal(nouns_int(n, "components.0.slot_size"), 1000000);
	assert_int_equal(nouns_int(n, "revision"), 2);

	nouns_call(n, ROLE_VIEWER, "GET", "/v1/boards/lamp/card", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "card"), "otad-board-1");
	assert_int_equal(nouns_int(n, "last_sequence"), 0);

	nouns_call(n, ROLE_OPERATOR, "DELETE", "/v1/boards/lamp", NULL);
	assert_int_equal(n->status, 204);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/boards/lamp", NULL);
	assert_int_equal(n->status, 404);
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/audit?action=board.", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "items.0.action"), "board.delete");
	assert_string_equal(nouns_text(n, "items.1.action"), "board.update");
	assert_string_equal(nouns_text(n, "items.1.who"), "tester");
	assert_string_equal(nouns_text(n, "items.1.from"), "192.0.2.1");
	assert_int_equal(nouns_int(n, "items.1.before.poll_s"), 0);
	assert_int_equal(nouns_int(n, "items.1.after.poll_s"), 600);
	assert_string_equal(nouns_text(n, "items.2.action"), "board.create");
}

static void test_board_refused(void **state)
{
	static const struct nouns_refusal rows[] = {
		{"POST", "/v1/boards", "{\"name\":\"lamp\"}", 409, "there is a board 'lamp' already"},
		{"POST", "/v1/boards", "{\"name\":\"plug\",\"model\":\"lamp\"}", 409, "has this class-id"},
		{"POST", "/v1/boards", "{}", 400, "'name' is missing"},
		{"POST", "/v1/boards", "{\"name\":", 400, "not JSON"},
		{"POST", "/v1/boards", "{\"name\":\"a\",\"naem\":1}", 400, "unknown field 'naem'"},
		{"POST", "/v1/boards", "{\"name\":\"Lamp\"}", 400, "no name for a board"},
		{"POST", "/v1/boards", "{\"name\":\"-a\"}", 400, "no name for a board"},
		{"POST", "/v1/boards", "{\"name\":\"a b\"}", 400, "no name for a board"},
		{"POST", "/v1/boards", "{\"name\":\"a\",\"chip\":\"esp33\"}", 400,
			"unknown chip 'esp33': did you mean esp32?"},
		{"POST", "/v1/boards", "{\"name\":\"a\",\"algorithms\":[\"rsa\"]}", 400,
			"unknown algorithm 'rsa'"},
		{"POST", "/v1/boards", "{\"name\":\"a\",\"client\":\"ftp\"}", 400, "unknown client 'ftp'"},
		{"POST", "/v1/boards", "{\"name\":\"a\",\"vendor_id\":\"7\"}", 400, "must be a UUID"},
		{"POST", "/v1/boards", "{\"name\":\"a\",\"components\":[{\"name\":\"x\"},{\"name\":\"x\"}]}",
			400, "stands there twice"},
		{"POST", "/v1/boards", "{\"name\":\"a\",\"components\":[{\"name\":\"toolongname\"}]}", 400,
			"too long"},
		{"GET", "/v1/boards/lmap", NULL, 404, "did you mean lamp?"},
		{"PATCH", "/v1/boards/lmap", "{}", 404, "there is no board 'lmap'"},
		{"PATCH", "/v1/boards/lamp", "{\"class_id\":\"x\"}", 400, "never change"},
		{"DELETE", "/v1/boards/nope", NULL, 404, "there is no board"},
		{"GET", "/v1/boards?limit=0", NULL, 400, "limit must be"},
		{"GET", "/v1/boards?limit=501", NULL, 400, "limit must be"},
		{"GET", "/v1/boards?after=x", NULL, 400, "not a cursor"},
	};
	struct nouns *n = *state;

	nouns_board(n, "lamp", "");
	nouns_refused_all(n, ROLE_OPERATOR, rows, sizeof(rows) / sizeof(rows[0]));
	fake_header(&n->f, "If-Match", "\"2\"");
	nouns_refused(n, ROLE_OPERATOR, "PATCH", "/v1/boards/lamp", "{\"poll_s\":60}", 412, NULL);
	fake_header(&n->f, "If-Match", "W/\"1\"");
	nouns_refused(n, ROLE_OPERATOR, "PATCH", "/v1/boards/lamp", "{\"poll_s\":60}", 412, NULL);
	fake_header(&n->f, "If-Match", "\"7\"");
	nouns_refused(n, ROLE_OPERATOR, "DELETE", "/v1/boards/lamp", NULL, 412, NULL);
	fake_header(&n->f, "Content-Type", "text/plain");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/boards", "{\"name\":\"a\"}", 400, "application/json");
}

static void test_boards_page_by_page(void **state)
{
	struct nouns *n = *state;
	unsigned n_pages;
	json_t *all;

	for (char name[] = "a"; *name <= 'e'; (*name)++)
		nouns_board(n, name, "");
	all = nouns_pages(n, "/v1/boards?limit=2", &n_pages);
	for (size_t i = 0; i < json_array_size(all); i++) {
		char name[] = {(char)('a' + i), '\0'};

		assert_string_equal(json_string_value(json_object_get(json_array_get(all, i), "name")), name);
	}
	assert_int_equal(json_array_size(all), 5);
	assert_int_equal(n_pages, 3);
	json_decref(all);
}

static void test_image(void **state)
{
	struct nouns *n = *state;
	char hex[65], path[100];

	nouns_image(n, "esp32c3", 7, hex);
	assert_int_equal(n->status, 201);
	assert_string_equal(nouns_text(n, "sha256"), hex);
	assert_string_equal(nouns_text(n, "format"), "esp32");
	assert_string_equal(nouns_text(n, "chip"), "esp32c3");
	assert_string_equal(nouns_text(n, "version"), "1.7");
	assert_string_equal(nouns_text(n, "project"), "demo");
	assert_int_equal(nouns_int(n, "damaged"), 0);
	snprintf(path, sizeof(path), "/v1/images/%s", hex);
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_int_equal(n->status, 200);
	nouns_call(n, ROLE_VIEWER, "HEAD", path, NULL);
	assert_int_equal(n->status, 200);
	nouns_image(n, "esp32c3", 7, hex);
	assert_int_equal(n->status, 200);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/images", NULL);
	assert_int_equal(json_array_size(nouns_at(n, "items")), 1);
	nouns_call(n, ROLE_OPERATOR, "DELETE", path, NULL);
	assert_int_equal(n->status, 204);
	nouns_call(n, ROLE_VIEWER, "HEAD", path, NULL);
	assert_int_equal(n->status, 404);
	nouns_image(n, "esp32c3", 7, hex);
	assert_int_equal(n->status, 201);
}

static void test_image_refused(void **state)
{
	static const char elf[64] = "\177ELF\1\1\1";
	static const char zeros[] = "0000000000000000000000000000000000000000000000000000000000000000";
	struct nouns *n = *state;
	char path[100];

	snprintf(path, sizeof(path), "/v1/images/%s", zeros);
	/* Other bytes than announced: forgotten, not resumed. */
	nouns_refused(n, ROLE_UPLOADER, "PUT", path, "hello", 422, "other bytes");
	nouns_call(n, ROLE_VIEWER, "HEAD", path, NULL);
	assert_int_equal(n->status, 404);
	fake_header(&n->f, "Upload-Offset", "3");
	nouns_refused(n, ROLE_UPLOADER, "PUT", path, "lo", 409, NULL);
	assert_string_equal(fake_answer_header(&n->f, "Upload-Offset"), "0");
	fake_header(&n->f, "Upload-Offset", "-1");
	nouns_refused(n, ROLE_UPLOADER, "PUT", path, "lo", 400, "Upload-Offset");
	n->f.cfg.max_image = 4;
	nouns_refused(n, ROLE_UPLOADER, "PUT", path, "hello", 413, NULL);
	fake_header(&n->f, "Upload-Offset", "3");
	nouns_refused(n, ROLE_UPLOADER, "PUT", path, "lo", 413, "at most 4 bytes");
	n->f.cfg.max_image = 1 << 20;
	nouns_refused(n, ROLE_UPLOADER, "PUT", "/v1/images/zz", "lo", 400, "SHA-256");
	nouns_refused(n, ROLE_VIEWER, "GET", "/v1/images/zz", NULL, 422, "SHA-256");
	nouns_refused(n, ROLE_VIEWER, "GET", path, NULL, 404, "there is no image");
	nouns_refused(n, ROLE_OPERATOR, "DELETE", path, NULL, 404, "there is no image");
	/* printf '\177ELF\1\1\1' | head -c 64 of zeroes, by sha256sum */
	snprintf(path, sizeof(path), "/v1/images/%s",
		"ed54ba1db568d809e09f63d396cee2e18a118849f9e6f672a93d9cfdd6357904");
	nouns_call_bytes(n, ROLE_UPLOADER, "PUT", path, elf, sizeof(elf));
	assert_int_equal(n->status, 422);
	assert_non_null(nouns_text(n, "hint"));
	nouns_call(n, ROLE_VIEWER, "HEAD", path, NULL);
	assert_int_equal(n->status, 404);
}

static void test_release(void **state)
{
	struct nouns *n = *state;
	char hex[65], path[100], again[300];

	nouns_board(n, "lamp", "esp32c3");
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	assert_string_equal(nouns_text(n, "id"), "lamp:1.0");
	assert_string_equal(nouns_text(n, "state"), "signed");
	assert_int_equal(nouns_int(n, "sequence"), 1800000000);
	assert_int_equal(json_array_size(nouns_at(n, "signatures")), 1);
	assert_string_equal(nouns_text(n, "images.0.component"), "app");
	assert_true(nouns_int(n, "size") > 300);
	nouns_image(n, "esp32c3", 1, hex);
	nouns_release_body(again, "lamp", "1.0", hex);
	nouns_call(n, ROLE_UPLOADER, "POST", "/v1/releases", again);
	assert_int_equal(n->status, 200);
	nouns_make_release(n, "lamp", "1.1", "esp32c3", 2);
	assert_int_equal(nouns_int(n, "sequence"), 1800000008);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/releases?board=lamp", NULL);
	assert_string_equal(nouns_text(n, "items.0.version"), "1.1");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/releases/lamp:1.0/envelope", NULL);
	assert_int_equal(n->status, 200);
	assert_string_equal(n->f.res.content_type, "application/cbor");
	assert_true(n->f.res.body_len > 200 && n->f.res.body_len <= 1024);
	/* An image in use stays; with its release it may go. */
	snprintf(path, sizeof(path), "/v1/images/%s", hex);
	nouns_refused(n, ROLE_OPERATOR, "DELETE", path, NULL, 409, "a release uses image");
	nouns_refused(
		n, ROLE_OPERATOR, "DELETE", "/v1/boards/lamp", NULL, 409, "board 'lamp' has 2 releases");
	nouns_call(n, ROLE_OPERATOR, "DELETE", "/v1/releases/lamp:1.0", NULL);
	assert_int_equal(n->status, 204);
	nouns_call(n, ROLE_OPERATOR, "DELETE", path, NULL);
	assert_int_equal(n->status, 204);
}

static void release_refused(
	struct nouns *n, const char *version, const char *images, unsigned status, const char *words)
{
	char body[600];

	snprintf(body, sizeof(body), "{\"board\":\"lamp\",\"version\":\"%s\",\"images\":[%s]}", version,
		images);
	nouns_refused(n, ROLE_UPLOADER, "POST", "/v1/releases", body, status, words);
}

static void test_release_refused(void **state)
{
	struct nouns *n = *state;
	char c3[65], c3b[65], plain[65], esp32[65], images[400];

	nouns_board(n, "lamp", "esp32c3");
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	nouns_image(n, "esp32c3", 2, c3);
	nouns_image(n, "esp32c3", 3, c3b);
	nouns_image(n, "", 4, plain);
	nouns_image(n, "esp32", 5, esp32);
	snprintf(images, sizeof(images), "{\"sha256\":\"%s\"}", c3);
	release_refused(n, "1.0", images, 409, "lamp:1.0 exists with other bytes");
	release_refused(n, "1 0", images, 400, "is no version");
	release_refused(n, "", images, 400, "'version' is empty");
	release_refused(n, "2.0", "", 400, "'images' must have");
	release_refused(n, "2.0", "{\"sha256\":\"00\"}", 400, "'sha256' must be 64");
	release_refused(n, "2.0",
		"{\"sha256\":\"0000000000000000000000000000000000000000000000000000000000000000\"}", 404,
		"upload it first");
	snprintf(images, sizeof(images), "{\"sha256\":\"%s\",\"component\":\"net\"}", c3);
	release_refused(n, "2.0", images, 422, "no component 'net'");
	snprintf(images, sizeof(images), "{\"sha256\":\"%s\"},{\"sha256\":\"%s\"}", c3, c3b);
	release_refused(n, "2.0", images, 422, "two different variants");
	snprintf(images, sizeof(images), "{\"sha256\":\"%s\",\"variant\":\"A\"}", c3);
	release_refused(n, "2.0", images, 422, "variant 'A' alone");
	snprintf(images, sizeof(images), "{\"sha256\":\"%s\"}", esp32);
	release_refused(n, "2.0", images, 422, "is for esp32, board 'lamp' has esp32c3");
	snprintf(images, sizeof(images), "{\"sha256\":\"%s\"}", plain);
	release_refused(n, "2.0", images, 422, "no esp32c3 image is recognised");
	nouns_call(n, ROLE_OPERATOR, "PATCH", "/v1/boards/lamp",
		"{\"components\":[{\"name\":\"app\",\"slot_size\":100}]}");
	assert_int_equal(n->status, 200);
	snprintf(images, sizeof(images), "{\"sha256\":\"%s\"}", c3);
	release_refused(n, "2.0", images, 422, "a slot of 'app' on board 'lamp' has 100");
	nouns_refused(n, ROLE_VIEWER, "GET", "/v1/releases/lamp:1.1", NULL, 404, "did you mean lamp:1.0?");
	nouns_refused(n, ROLE_VIEWER, "GET", "/v1/releases/1.0", NULL, 404, "BOARD:VERSION");
	nouns_refused(n, ROLE_VIEWER, "GET", "/v1/releases?board=lmap", NULL, 404, "did you mean lamp?");
	nouns_refused(
		n, ROLE_UPLOADER, "PUT", "/v1/releases/lamp:1.0/envelope", "nonsense", 422, "no envelope");
}

static void test_two_variants(void **state)
{
	struct nouns *n = *state;
	char a[65], b[65], body[400];

	nouns_board(n, "lamp", "esp32c3");
	nouns_image(n, "esp32c3", 1, a);
	nouns_image(n, "esp32c3", 2, b);
	snprintf(body, sizeof(body),
		"{\"board\":\"lamp\",\"version\":\"1\",\"images\":[{\"sha256\":\"%s\",\"variant\":\"A\"},"
		"{\"sha256\":\"%s\",\"variant\":\"B\"}]}",
		a, b);
	nouns_call(n, ROLE_UPLOADER, "POST", "/v1/releases", body);
	assert_int_equal(n->status, 201);
	assert_string_equal(nouns_text(n, "state"), "signed");
	assert_string_equal(nouns_text(n, "images.1.variant"), "B");
}

/* The manifest of `path`'s envelope with another sequence, or other images, signed by `key`. */
static size_t resign(struct nouns *n, const char *path, const struct ota_signer *key, uint32_t sequence,
	bool other_image, uint8_t out[SUIT_ENVELOPE_MAX])
{
	const struct ota_crypto *c = crypto_openssl();
	uint8_t manifest[SUIT_ENVELOPE_MAX], block[200], digest[32];
	struct arena mem;
	struct manifest_row row;
	struct release_row release;
	struct suit_manifest m;
	struct board_row board;
	size_t len, block_len;

	arena_init(&mem, 1 << 20);
	assert_int_equal(board_load_name(n->db, "lamp", &mem, &board, NULL), OTA_OK);
	assert_int_equal(release_load_version(n->db, board.id, path, &mem, &release, NULL), OTA_OK);
	assert_int_equal(manifest_load(n->db, release.manifest, &mem, &row, NULL), OTA_OK);
	assert_int_equal(
		suit_manifest_decode((struct ota_slice){row.manifest, row.manifest_len}, &m), OTA_OK);
	if (sequence)
		m.sequence = sequence;
	if (other_image)
		m.component[0].image[0].sha256[0] ^= 1;
	assert_int_equal(suit_manifest_encode(&m, manifest, sizeof(manifest), &len), OTA_OK);
	suit_manifest_digest(c, (struct ota_slice){manifest, len}, digest);
	assert_int_equal(suit_sign(c, key, digest, block, sizeof(block), &block_len), OTA_OK);
	assert_int_equal(suit_envelope_encode(c, (struct ota_slice){manifest, len},
				 &(struct ota_slice){block, block_len}, 1, out, SUIT_ENVELOPE_MAX, &len),
		OTA_OK);
	arena_release(&mem);
	return len;
}

static void envelope_refused(
	struct nouns *n, const uint8_t *bytes, size_t len, unsigned status, const char *words)
{
	nouns_call_bytes(n, ROLE_UPLOADER, "PUT", "/v1/releases/lamp:1.0/envelope", bytes, len);
	assert_int_equal(n->status, status);
	if (!strstr(nouns_text(n, "detail"), words))
		fail_msg("'%s' does not say '%s'", nouns_text(n, "detail"), words);
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/releases/lamp:1.0", NULL);
	assert_string_equal(nouns_text(n, "state"), "draft");
}

static void test_signed_elsewhere(void **state)
{
	struct nouns *n = *state;
	uint8_t envelope[SUIT_ENVELOPE_MAX];
	struct ota_signer stranger = {0};
	char digest[65], hex[65], again[300];
	size_t len;

	assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &stranger), OTA_OK);
	nouns_board(n, "lamp", "esp32c3");
	nouns_device(n, "lamp", "kitchen", true);
	nouns_make_release(n, "lamp", "1.0", "esp32c3", 1);
	assert_string_equal(nouns_text(n, "state"), "draft");
	assert_int_equal(json_array_size(nouns_at(n, "signatures")), 0);
	snprintf(digest, sizeof(digest), "%s", nouns_text(n, "digest"));
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p",
		"{\"release\":\"lamp:1.0\",\"selector\":\"*\"}", 409, "is a draft");
	/* Asked for again while somebody signs it, the draft stays the same manifest. */
	nouns_image(n, "esp32c3", 1, hex);
	nouns_release_body(again, "lamp", "1.0", hex);
	n->f.now += 100;
	nouns_call(n, ROLE_UPLOADER, "POST", "/v1/releases", again);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "digest"), digest);

	len = resign(n, "1.0", &stranger, 0, false, envelope);
	envelope_refused(n, envelope, len, 422, "no key of the release role");
	len = resign(n, "1.0", &n->release_key, 0, true, envelope);
	envelope_refused(n, envelope, len, 422, "not of this release");
	len = resign(n, "1.0", &n->release_key, 1799999999, false, envelope);
	envelope_refused(n, envelope, len, 422, "not above the board's highest");
	len = resign(n, "1.0", &n->release_key, 1800000000 + 100 + 86401, false, envelope);
	envelope_refused(n, envelope, len, 409, "more than a day ahead");
	len = resign(n, "1.0", &n->release_key, 0, false, envelope);
	envelope[len - 1] ^= 1;
	envelope_refused(n, envelope, len, 422, "");
	envelope[len - 1] ^= 1;
	nouns_call_bytes(n, ROLE_UPLOADER, "PUT", "/v1/releases/lamp:1.0/envelope", envelope, len);
	assert_int_equal(n->status, 200);
	assert_string_equal(nouns_text(n, "state"), "signed");
	assert_string_equal(nouns_text(n, "digest"), digest);
	assert_int_equal(json_array_size(nouns_at(n, "signatures")), 1);
	nouns_call(
		n, ROLE_OPERATOR, "PUT", "/v1/rollouts/p", "{\"release\":\"lamp:1.0\",\"selector\":\"*\"}");
	assert_int_equal(n->status, 201);
	/* By its digest as well. */
	snprintf(again, sizeof(again), "/v1/releases/%s", digest);
	nouns_call(n, ROLE_VIEWER, "GET", again, NULL);
	assert_string_equal(nouns_text(n, "id"), "lamp:1.0");
	crypto_signer_release(&stranger);
}

static void test_damaged_image(void **state)
{
	struct nouns *n = *state;
	char hex[65], path[100], body[300];
	uint8_t sha256[32];

	nouns_board(n, "lamp", "esp32c3");
	nouns_image(n, "esp32c3", 1, hex);
	assert_int_equal(hex_decode(hex, 64, HEX_LOWER, sha256, 32), OTA_OK);
	assert_int_equal(image_set_damaged(n->db, sha256, true, NULL), OTA_OK);
	snprintf(path, sizeof(path), "/v1/images/%s", hex);
	nouns_call(n, ROLE_VIEWER, "GET", path, NULL);
	assert_int_equal(nouns_int(n, "damaged"), 1);
	nouns_call(n, ROLE_VIEWER, "HEAD", path, NULL);
	assert_int_equal(n->status, 404);
	nouns_release_body(body, "lamp", "1", hex);
	nouns_refused(n, ROLE_UPLOADER, "POST", "/v1/releases", body, 409, "is damaged here");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/server", NULL);
	assert_string_equal(nouns_text(n, "warnings.0"), "1 image is damaged: upload it again");
	nouns_image(n, "esp32c3", 1, hex);
	assert_int_equal(n->status, 201);
	assert_int_equal(nouns_int(n, "damaged"), 0);
	nouns_call(n, ROLE_UPLOADER, "POST", "/v1/releases", body);
	assert_int_equal(n->status, 201);
}

static void test_no_root_yet(void **state)
{
	struct nouns *n = *state;
	char hex[65], body[300];

	nouns_board(n, "lamp", "esp32c3");
	nouns_image(n, "esp32c3", 1, hex);
	nouns_release_body(body, "lamp", "1", hex);
	nouns_refused(n, ROLE_UPLOADER, "POST", "/v1/releases", body, 503, "no root yet");
	nouns_refused(n, ROLE_OPERATOR, "POST", "/v1/provisions", "{\"board\":\"lamp\"}", 503, "no root yet");
	nouns_refused(n, ROLE_OPERATOR, "PUT", "/v1/rollouts/a", "{}", 503, "no root yet");
	nouns_refused(n, ROLE_VIEWER, "GET", "/v1/roots/latest", NULL, 404, "no root yet");
	nouns_call(n, ROLE_VIEWER, "GET", "/v1/server", NULL);
	assert_int_equal(nouns_int(n, "ready"), 0);
	assert_string_equal(nouns_text(n, "warnings.0"), "no root yet: run otactl init");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_board, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_board_refused, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_boards_page_by_page, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_image, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_image_refused, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_release, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_release_refused, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_two_variants, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_signed_elsewhere, nouns_setup_offline, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_damaged_image, nouns_setup, nouns_teardown),
		cmocka_unit_test_setup_teardown(test_no_root_yet, nouns_setup_rootless, nouns_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
