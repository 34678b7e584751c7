#include "tests/unit/server/nouns.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/audit.h"
#include "db/blob.h"
#include "db/board.h"
#include "db/change.h"
#include "db/device.h"
#include "db/enroll.h"
#include "db/stmt.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "server/domain.h"
#include "server/routes.h"
#include "tests/unit/server/cmocka_all.h"

static enum ota_err open_db(void *ctx, bool writing, struct db **out, struct errmsg *e)
{
	struct nouns *n = ctx;
	struct db_options options = {.mode = DB_CREATE, .now = 1800000000};
	enum ota_err err = db_open(n->dir, &options, out, e);

	(void)writing;
	if (!err)
		n->db = *out;
	return err;
}

/* Who the test says it is. */
static enum ota_err auth_tester(struct app *app, struct req *req)
{
	struct nouns *n = (struct nouns *)app; /* its first member's first member */

	if (n->role == ROLE_PUBLIC)
		return n->auth(app, req);
	req->who.kind = WHO_TOKEN;
	req->who.role = n->role;
	snprintf(req->who.name, sizeof(req->who.name), "tester");
	return OTA_OK;
}

void nouns_init(struct nouns *n)
{
	const char *tmp = getenv("TMPDIR");
	struct jobs_config jobs = {.db_open = open_db, .db_close = db_close, .ctx = n};
	struct blob_options blobs = {.crypto = crypto_openssl(), .reserve = 1};
	struct errmsg e = {""};

	memset(n, 0, sizeof(*n));
	snprintf(n->dir, sizeof(n->dir), "%s/otad-nouns-XXXXXX", tmp ? tmp : P_tmpdir);
	assert_non_null(mkdtemp(n->dir));
	fake_init(&n->f, &jobs);
	n->f.cfg.data = n->dir;
	if (blob_store_open(n->dir, &blobs, &n->f.app.blobs, &e) || domain_start_db(&n->f.app, n->db, &e))
		fail_msg("%s", e.text);
	n->auth = n->f.app.hooks.auth;
	n->f.app.hooks.auth = auth_tester;
}

static void remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char child[512];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		if (unlink(child))
			remove_tree(child);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

void nouns_release(struct nouns *n)
{
	json_decref(n->json);
	crypto_signer_release(&n->root_key);
	crypto_signer_release(&n->release_key);
	domain_stop(&n->f.app);
	blob_store_close(n->f.app.blobs);
	n->f.cfg.data = NULL;
	fake_release(&n->f);
	remove_tree(n->dir);
}

int nouns_setup_rootless(void **state)
{
	static struct nouns n;

	nouns_init(&n);
	*state = &n;
	return 0;
}

int nouns_setup(void **state)
{
	nouns_setup_rootless(state);
	nouns_root(*state);
	return 0;
}

int nouns_setup_offline(void **state)
{
	nouns_setup_rootless(state);
	nouns_root_offline(*state);
	return 0;
}

int nouns_setup_lamp(void **state)
{
	nouns_setup(state);
	nouns_board(*state, "lamp", "esp32c3");
	return 0;
}

int nouns_teardown(void **state)
{
	nouns_release(*state);
	return 0;
}

static void take_answer(struct nouns *n)
{
	json_decref(n->json);
	n->status = n->f.res.status;
	n->json = n->f.res.body_len ? json_loadb(n->f.res.body, n->f.res.body_len, 0, NULL) : NULL;
}

void nouns_call_bytes(
	struct nouns *n, enum role role, const char *method, const char *target, const void *body, size_t len)
{
	n->role = role;
	fake_request_bytes(&n->f, routes, n_routes, method, target, body, len);
	take_answer(n);
}

void nouns_call(struct nouns *n, enum role role, const char *method, const char *target, const char *body)
{
	nouns_call_bytes(n, role, method, target, body, body ? strlen(body) : 0);
}

/* Every write leaves a change row, every act an audit row. */
struct stamp {
	int64_t change, audit;
};

static struct stamp stamp_now(struct nouns *n)
{
	struct db_page page = {.limit = 1};
	struct audit_list list;
	struct stamp s = {0};
	struct arena mem;

	arena_init(&mem, 65536);
	assert_int_equal(change_newest(n->db, &s.change, NULL), OTA_OK);
	assert_int_equal(audit_list(n->db, NULL, &page, &mem, &list, NULL), OTA_OK);
	s.audit = list.n ? list.rows[0].id : 0;
	arena_release(&mem);
	return s;
}

void nouns_refused(struct nouns *n, enum role role, const char *method, const char *target, const char *body,
	unsigned status, const char *words)
{
	struct stamp before = stamp_now(n), after;
	const char *detail, *hint;

	nouns_call(n, role, method, target, body);
	after = stamp_now(n);
	detail = nouns_text(n, "detail");
	hint = nouns_text(n, "hint");
	if (n->status != status)
		fail_msg("%s %s: %u, not %u: %s", method, target, n->status, status, detail ? detail : "");
	if (words && !(detail && strstr(detail, words)) && !(hint && strstr(hint, words)))
		fail_msg("%s %s: '%s' (%s) does not say '%s'", method, target, detail, hint ? hint : "",
			words);
	if (before.change != after.change || before.audit != after.audit)
		fail_msg("%s %s: refused, and yet something changed", method, target);
}

void nouns_refused_all(struct nouns *n, enum role role, const struct nouns_refusal *rows, size_t n_rows)
{
	for (size_t i = 0; i < n_rows; i++)
		nouns_refused(
			n, role, rows[i].method, rows[i].path, rows[i].body, rows[i].status, rows[i].words);
}

json_t *nouns_pages(struct nouns *n, const char *path, unsigned *n_pages)
{
	json_t *all = json_array();
	char page[200];

	snprintf(page, sizeof(page), "%s", path);
	for (*n_pages = 0; *page; ++*n_pages) {
		const char *next;

		nouns_call(n, ROLE_VIEWER, "GET", page, NULL);
		assert_int_equal(n->status, 200);
		assert_int_equal(json_array_extend(all, json_object_get(n->json, "items")), 0);
		next = nouns_text(n, "next");
		*page = '\0';
		if (next)
			snprintf(page, sizeof(page), "%s&after=%s", path, next);
	}
	return all;
}

const json_t *nouns_at(const struct nouns *n, const char *path)
{
	const json_t *at = n->json;

	while (at && *path) {
		char key[64];
		size_t len = strcspn(path, ".");

		snprintf(key, sizeof(key), "%.*s", (int)len, path);
		at = json_is_array(at) ? json_array_get(at, (size_t)atoi(key)) : json_object_get(at, key);
		path += len + (path[len] == '.');
	}
	return at;
}

const char *nouns_text(const struct nouns *n, const char *path)
{
	return json_string_value(nouns_at(n, path));
}

int64_t nouns_int(const struct nouns *n, const char *path)
{
	const json_t *at = nouns_at(n, path);

	return json_is_boolean(at) ? json_is_true(at) : json_is_integer(at) ? json_integer_value(at) : -1;
}

static struct cose_key key_at(const struct nouns *n, const char *path, uint8_t pub[OTA_PUB_MAX])
{
	const char *hex = nouns_text(n, path);
	struct cose_key key = {.alg = OTA_ALG_ESP256, .pub = {pub, OTA_P256_PUB_LEN}};

	assert_non_null(hex);
	assert_int_equal(hex_decode(hex, strlen(hex), HEX_LOWER, pub, OTA_P256_PUB_LEN), OTA_OK);
	ota_kid(crypto_openssl(), pub, OTA_P256_PUB_LEN, key.kid);
	return key;
}

void nouns_put_root(struct nouns *n, struct root_doc *d, const struct ota_signer *signer)
{
	uint8_t payload[ROOT_MAX], block[200], doc[ROOT_MAX];
	struct ota_slice signed_part = {payload, 0}, signature = {block, 0};
	size_t len;

	for (uint8_t role = 0; role < ROOT_ROLES; role++) {
		d->role[role].threshold = 1;
		d->role[role].n = 1;
		d->role[role].index[0] = role;
	}
	assert_int_equal(root_payload_encode(d, payload, sizeof(payload), &signed_part.len), OTA_OK);
	assert_int_equal(root_sign(signer, signed_part, block, sizeof(block), &signature.len), OTA_OK);
	assert_int_equal(root_encode(signed_part, &signature, 1, doc, sizeof(doc), &len), OTA_OK);
	nouns_call_bytes(n, ROLE_ADMIN, "PUT", "/v1/roots/1", doc, len);
}

struct cose_key nouns_key(const struct ota_signer *signer)
{
	struct cose_key key = {.alg = OTA_ALG_ESP256, .pub = {signer->pub, signer->pub_len}};

	memcpy(key.kid, signer->kid, OTA_KID_LEN);
	return key;
}

static void make_root(struct nouns *n, bool hosted)
{
	struct root_doc d = {.version = 1, .n_keys = 3};
	uint8_t release[OTA_PUB_MAX], server[OTA_PUB_MAX];

	if (hosted) {
		nouns_call(n, ROLE_ADMIN, "POST", "/v1/keys/release", NULL);
		assert_int_equal(n->status, 201);
		d.key[1] = key_at(n, "pub", release);
	} else {
		assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &n->release_key), OTA_OK);
		d.key[1] = nouns_key(&n->release_key);
	}
	nouns_call(n, ROLE_ADMIN, "GET", "/v1/server", NULL);
	assert_int_equal(n->status, 200);
	d.key[2] = key_at(n, "keys.server.0.pub", server);
	assert_int_equal(crypto_signer_generate(OTA_ALG_ESP256, &n->root_key), OTA_OK);
	d.key[0] = nouns_key(&n->root_key);
	nouns_put_root(n, &d, &n->root_key);
	if (n->status != 201)
		fail_msg("root 1: %u %s", n->status, nouns_text(n, "detail"));
}

void nouns_root(struct nouns *n)
{
	make_root(n, true);
}

void nouns_root_offline(struct nouns *n)
{
	make_root(n, false);
}

/* The smallest image that an ESP32's loader and image_recognise take: one segment, checksum, appended SHA-256
 * (the layout is that of Espressif's documentation "App Image Format"). */
static size_t esp32_image(const char *chip, uint8_t seed, uint8_t *out)
{
	static const struct {
		const char *name;
		uint8_t id;
	} chips[] = {{"esp32", 0}, {"esp32s3", 9}, {"esp32c3", 5}, {"esp32c6", 13}};
	const struct ota_crypto *c = crypto_openssl();
	size_t len = 24, payload = 320;
	uint8_t sum = 0xef;

	memset(out, 0, 1024);
	out[0] = 0xe9;
	out[1] = 1;
	out[2] = 2;
	out[3] = 0x20;
	out[4] = 0x30; /* entry point, inside of the segment */
	out[6] = 0x20;
	out[7] = 0x3c;
	out[8] = 0xee;
	out[17] = 99; /* newest chip revision */
	for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++) {
		if (strcmp(chips[i].name, chip) == 0)
			out[12] = chips[i].id;
	}
	out[23] = 1;                   /* hash appended */
	out[len] = (uint8_t)(len + 8); /* pages are mapped: its place in the file */
	out[len + 2] = 0x20;
	out[len + 3] = 0x3c; /* load address of mapped data */
	out[len + 4] = (uint8_t)payload;
	out[len + 5] = (uint8_t)(payload >> 8);
	len += 8;
	/* esp_app_desc_t at the first segment's begin */
	out[len] = 0x32;
	out[len + 1] = 0x54;
	out[len + 2] = 0xcd;
	out[len + 3] = 0xab;
	snprintf((char *)out + len + 16, 32, "1.%u", seed);
	snprintf((char *)out + len + 48, 32, "demo");
	out[len + 300] = seed;
	for (size_t i = 0; i < payload; i++)
		sum ^= out[len + i];
	len += payload;
	len += 15 - len % 16;
	out[len++] = sum;
	ota_sha256(c, &(struct ota_slice){out, len}, 1, out + len);
	return len + 32;
}

void nouns_image(struct nouns *n, const char *chip, uint8_t seed, char hex[65])
{
	uint8_t bytes[1024], sha256[32];
	char target[128];
	size_t len;

	if (*chip) {
		len = esp32_image(chip, seed, bytes);
	} else {
		len = 500;
		memset(bytes, 'a' + seed % 20, len);
		bytes[0] = seed;
	}
	ota_sha256(crypto_openssl(), &(struct ota_slice){bytes, len}, 1, sha256);
	hex_encode(sha256, 32, hex);
	snprintf(target, sizeof(target), "/v1/images/%s", hex);
	nouns_call_bytes(n, ROLE_UPLOADER, "PUT", target, bytes, len);
	if (n->status != 201 && n->status != 200)
		fail_msg("image: %u %s (%s)", n->status, nouns_text(n, "detail"), nouns_text(n, "hint"));
}

void nouns_board(struct nouns *n, const char *name, const char *chip)
{
	char body[200];

	snprintf(body, sizeof(body), "{\"name\":\"%s\"%s%s%s}", name, *chip ? ",\"chip\":\"" : "", chip,
		*chip ? "\"" : "");
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/boards", body);
	if (n->status != 201)
		fail_msg("board: %u %s", n->status, nouns_text(n, "detail"));
}

void nouns_make_release(
	struct nouns *n, const char *board, const char *version, const char *chip, uint8_t seed)
{
	char hex[65], body[300];

	nouns_image(n, chip, seed, hex);
	nouns_release_body(body, board, version, hex);
	nouns_call(n, ROLE_UPLOADER, "POST", "/v1/releases", body);
	if (n->status != 201)
		fail_msg("release: %u %s", n->status, nouns_text(n, "detail"));
}

void nouns_release_body(char body[300], const char *board, const char *version, const char *sha256)
{
	snprintf(body, 300, "{\"board\":\"%s\",\"version\":\"%s\",\"images\":[{\"sha256\":\"%s\"}]}", board,
		version, sha256);
}

void nouns_push(struct nouns *n, const char *id, const char *release, const char *selector, unsigned status)
{
	char path[100], body[300];

	snprintf(path, sizeof(path), "/v1/rollouts/%s", id);
	snprintf(body, sizeof(body), "{\"release\":\"%s\",\"selector\":\"%s\"}", release, selector);
	nouns_call(n, ROLE_OPERATOR, "PUT", path, body);
	if (n->status != status)
		fail_msg("push: %u %s", n->status, nouns_text(n, "detail"));
}

/* One more enrolled device, in whatever transaction is open. */
static int64_t enroll(
	struct nouns *n, const struct board_row *board, const uint8_t secret_id[8], const char *name)
{
	struct enroll_in in = {.now = n->f.now, .serial = (const uint8_t *)name, .serial_len = strlen(name)};
	struct device_change rename = {.name = name, .state = -1, .hold = -1};
	struct enroll_out out;
	struct errmsg e = {""};

	memcpy(in.secret_id, secret_id, 8);
	memcpy(in.vendor_id, board->vendor_id, 16);
	memcpy(in.class_id, board->class_id, 16);
	crypto_uuid5(board->vendor_id, name, strlen(name), in.device_id);
	assert_int_equal(crypto_random(in.nonce_d, sizeof(in.nonce_d)), OTA_OK);
	assert_int_equal(crypto_random(in.nonce_s, sizeof(in.nonce_s)), OTA_OK);
	assert_int_equal(crypto_random(in.link_id, sizeof(in.link_id)), OTA_OK);
	if (enroll_device(n->db, &in, &out, &e) ||
		device_update(n->db, out.device, 0, &rename, n->f.now, NULL, &e))
		fail_msg("device: %s", e.text);
	return out.device;
}

int64_t nouns_devices(struct nouns *n, const char *board, const char *name, unsigned count, bool approved)
{
	uint8_t secret_id[8];
	struct board_row row;
	struct db_tx tx = {0};
	struct arena mem;
	char body[200], one[64];
	const char *id;
	int64_t last = 0;

	arena_init(&mem, 1 << 20);
	snprintf(body, sizeof(body), "{\"board\":\"%s\",\"uses\":%u,\"approve\":%s}", board, count,
		approved ? "true" : "false");
	nouns_call(n, ROLE_OPERATOR, "POST", "/v1/enroll-secrets", body);
	assert_int_equal(n->status, 201);
	id = nouns_text(n, "id");
	assert_int_equal(hex_decode(id, strlen(id), HEX_LOWER, secret_id, sizeof(secret_id)), OTA_OK);
	assert_int_equal(board_load_name(n->db, board, &mem, &row, NULL), OTA_OK);
	assert_int_equal(db_begin(n->db, &tx, NULL), OTA_OK);
	for (unsigned i = 0; i < count; i++) {
		if (count > 1)
			snprintf(one, sizeof(one), "%.40s-%u", name, i);
		else
			snprintf(one, sizeof(one), "%.40s", name);
		last = enroll(n, &row, secret_id, one);
	}
	assert_int_equal(db_commit(&tx, NULL), OTA_OK);
	domain_changed(&n->f.app);
	arena_release(&mem);
	return last;
}

int64_t nouns_device(struct nouns *n, const char *board, const char *name, bool approved)
{
	return nouns_devices(n, board, name, 1, approved);
}

void nouns_many(struct nouns *n, unsigned count, const char *sql)
{
	struct errmsg e = {""};
	char text[1024];
	int len = snprintf(text, sizeof(text),
		"CREATE TEMP TABLE many AS WITH RECURSIVE up (i) AS"
		" (SELECT 1 UNION ALL SELECT i + 1 FROM up WHERE i < %u) SELECT i FROM up;"
		"%s; DROP TABLE many",
		count, sql);

	assert_in_range(len, 0, sizeof(text) - 1);
	if (stmt_script(n->db, text, &e))
		fail_msg("%s", e.text);
}
