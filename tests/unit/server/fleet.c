#include "tests/unit/server/fleet.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/server/cmocka_all.h"
#include "db/board.h"
#include "db/enroll.h"
#include "db/event.h"
#include "db/image.h"
#include "db/release.h"
#include "db/rootdoc.h"
#include "db/stmt.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "server/follow.h"
#include "server/routes.h"
#include "server/sign.h"
#include "server/upkeep.h"

#define OK(call)                                                                                             \
	do {                                                                                                 \
		struct errmsg e = {""};                                                                      \
		enum ota_err ok_err = (call);                                                                \
		if (ok_err)                                                                                  \
			fail_msg("%s: %s (%s)", #call, ota_err_name(ok_err), e.text);                        \
	} while (0)

static const struct ota_crypto *crypto(void)
{
	return crypto_openssl();
}

static enum ota_err open_connection(void *ctx, bool writing, struct db **out, struct errmsg *e)
{
	struct fleet *fl = ctx;
	struct db_options options = {.mode = writing ? DB_READ_WRITE : DB_READ_ONLY, .busy_timeout_ms = 50};

	return db_open(fl->dir, &options, out, e);
}

static void start(struct fleet *fl)
{
	struct jobs_config jobs = {.db_open = open_connection, .db_close = db_close, .ctx = fl};
	struct blob_options blobs = {.crypto = crypto(), .reserve = 1};

	fake_init(&fl->f, &jobs);
	fl->f.cfg.data = fl->dir;
	OK(blob_store_open(fl->dir, &blobs, &fl->f.app.blobs, &e));
	OK(domain_start(&fl->f.app, &e));
}

static void stop(struct fleet *fl)
{
	domain_stop(&fl->f.app);
	blob_store_close(fl->f.app.blobs);
	fake_release(&fl->f);
}

void fleet_restart(struct fleet *fl)
{
	int64_t now = fl->f.now;

	stop(fl);
	start(fl);
	fl->f.now = now;
}

void fleet_follow(struct fleet *fl)
{
	domain_changed(&fl->f.app);
}

static void add_board(struct fleet *fl)
{
	struct board_row row = {
		.name = "lamp",
		.chip = "esp32c3",
		.algorithms = BOARD_ALG_ESP256,
		.envelope_max = 1024,
		.n_components = 1,
		.components = {{.id = "app", .id_len = 3, .name = "app"}},
		.created_at = fl->f.now,
		.created_by = "test",
	};

	memset(fl->vendor_id, 0x11, sizeof(fl->vendor_id));
	memset(fl->class_id, 0x22, sizeof(fl->class_id));
	memcpy(row.vendor_id, fl->vendor_id, 16);
	memcpy(row.class_id, fl->class_id, 16);
	OK(board_insert(fl->db, &row, &fl->board, &e));
}

static void put_key(struct root_doc *doc, enum root_role role, const struct ota_signer *s)
{
	struct cose_key *k = &doc->key[doc->n_keys];

	k->alg = s->alg;
	k->pub = (struct ota_slice){s->pub, s->pub_len};
	memcpy(k->kid, s->kid, sizeof(k->kid));
	doc->role[role].threshold = 1;
	doc->role[role].n = 1;
	doc->role[role].index[0] = (uint8_t)doc->n_keys++;
}

void fleet_next_root(struct fleet *fl)
{
	struct keystore *k = fl->f.app.domain->keys;
	struct root_doc doc = {.version = fl->root_version + 1, .epoch = 1};
	uint8_t payload[ROOT_MAX], block[256];
	struct ota_slice p = {payload, 0}, b = {block, 0};
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	size_t n_blocks;
	struct rootdoc_row row = {.created_at = fl->f.now, .created_by = "test"};

	put_key(&doc, ROOT_ROLE_ROOT, &fl->root_key);
	put_key(&doc, ROOT_ROLE_RELEASE, keystore_release(k));
	put_key(&doc, ROOT_ROLE_SERVER, keystore_server_public(k));
	OK(root_payload_encode(&doc, payload, sizeof(payload), &p.len));
	OK(root_sign(&fl->root_key, p, block, sizeof(block), &b.len));
	OK(root_encode(p, &b, 1, fl->root, sizeof(fl->root), &fl->root_len));
	OK(root_split(fl->root, fl->root_len, blocks, &n_blocks, &p));
	OK(root_payload_decode(crypto(), p, &fl->root_doc));
	fl->root_version++;
	row.version = fl->root_version;
	row.document = fl->root;
	row.document_len = fl->root_len;
	ota_sha256(crypto(), &(struct ota_slice){fl->root, fl->root_len}, 1, row.sha256);
	OK(rootdoc_insert(fl->db, &row, &e));
	fleet_follow(fl);
}

void fleet_init(struct fleet *fl, bool has_root)
{
	struct db_options options = {.mode = DB_CREATE, .now = 1800000000};
	struct db *db = NULL;

	memset(fl, 0, sizeof(*fl));
	/* Memory, where there is some to write to: a hundred small databases are a hundred syncs. */
	snprintf(fl->dir, sizeof(fl->dir), "%s/fleet.XXXXXX", access("/dev/shm", W_OK) ? "." : "/dev/shm");
	assert_non_null(mkdtemp(fl->dir));
	arena_init(&fl->mem, 16 * 1024 * 1024);
	OK(db_open(fl->dir, &options, &db, &e));
	db_close(db);
	start(fl);
	options.mode = DB_READ_WRITE;
	OK(db_open(fl->dir, &options, &fl->db, &e));
	add_board(fl);
	fleet_follow(fl);
	OK(crypto_signer_generate(OTA_ALG_ESP256, &fl->root_key));
	OK(keystore_make_release(fl->f.app.domain->keys, &e));
	if (has_root)
		fleet_next_root(fl);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void fleet_release(struct fleet *fl)
{
	stop(fl);
	db_close(fl->db);
	crypto_signer_release(&fl->root_key);
	arena_release(&fl->mem);
	nftw(fl->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fleet_secret(struct fleet *fl, const struct fleet_secret *s, struct agent *a)
{
	struct secret_row row = {
		.board = s->board ? s->board : fl->board,
		.note = "",
		.name = s->name ? s->name : "",
		.serial = (const uint8_t *)s->serial,
		.serial_len = s->serial ? strlen(s->serial) : 0,
		.uses_max = s->uses ? s->uses : 1,
		.is_approving = s->is_approving,
		.created_at = fl->f.now,
		.created_by = "test",
		.expires_at = s->expires_at,
	};
	int64_t id;

	OK(crypto_random(a->secret_id, sizeof(a->secret_id)));
	memcpy(row.secret_id, a->secret_id, sizeof(row.secret_id));
	OK(secret_insert(fl->db, &row, &id, &e));
	keys_enroll_secret(crypto(), keystore_enroll(fl->f.app.domain->keys), a->secret_id, a->secret);
	fleet_follow(fl);
}

void fleet_image(struct fleet *fl, const char *text, uint8_t sha256[32])
{
	struct image_row row = {.created_at = fl->f.now, .created_by = "test"};
	struct blob_writer *w = NULL;
	size_t len = strlen(text);
	uint64_t size;
	int64_t id;

	ota_sha256(crypto(), &(struct ota_slice){(const uint8_t *)text, len}, 1, sha256);
	OK(blob_begin(fl->f.app.blobs, sha256, 0, 1 << 20, &w, NULL, &e));
	OK(blob_write(w, text, len, &e));
	OK(blob_finish(w, &size, &e));
	memcpy(row.sha256, sha256, 32);
	memcpy(row.digests.sha256, sha256, 32);
	row.info.format = IMAGE_RAW;
	row.info.size = row.info.image_size = len;
	OK(image_insert(fl->db, fl->f.app.blobs, &row, &id, &e));
}

int64_t fleet_release_of(struct fleet *fl, const char *version, const char *text, uint8_t digest[32])
{
	struct release_row row = {
		.board = fl->board,
		.version = version,
		.notes = "",
		.created_at = fl->f.now,
		.created_by = "test",
		.n_items = 1,
	};
	struct manifest_row m;
	int64_t id;

	fleet_image(fl, text, row.items[0].sha256);
	OK(release_insert(fl->db, &row, &id, NULL, &e));
	OK(sign_release(fl->db, crypto(), fl->f.app.domain->keys, id, fl->f.now, &fl->mem, &m, &e));
	assert_true(m.is_complete);
	memcpy(digest, m.digest, 32);
	return id;
}

void fleet_device(struct fleet *fl, const struct agent *a, struct device_row *out)
{
	char uid[2 * DEVICE_ID_LEN + 1];

	hex_encode(a->id, sizeof(a->id), uid);
	OK(device_load_uid(fl->db, uid, &fl->mem, out, &e));
}

void fleet_remove(struct fleet *fl, const struct agent *a)
{
	struct device_row dev;

	fleet_device(fl, a, &dev);
	OK(device_delete(fl->db, dev.id, 0, 1, &e));
	fleet_follow(fl);
}

void fleet_lose(struct fleet *fl, const struct agent *a)
{
	fleet_remove(fl, a);
	OK(stmt_script(fl->db, "DELETE FROM enrolment_ended", &e));
}

static int64_t push(struct fleet *fl, int64_t release, const struct agent *agents, size_t n, bool is_held)
{
	struct rollout_row row = {
		.release = release,
		.selector = "all",
		.is_held = is_held,
		.created_at = fl->f.now,
		.created_by = "test",
	};
	struct assignment_opened opened;
	struct release_row rel;
	struct device_row dev;
	int64_t id;

	row.uid = arena_printf(&fl->mem, "rollout-%u", ++fl->n_rollouts);
	OK(rollout_insert(fl->db, &row, &id, NULL, &e));
	OK(release_load(fl->db, release, &fl->mem, &rel, &e));
	for (size_t i = 0; i < n; i++) {
		fleet_device(fl, &agents[i], &dev);
		OK(assignment_open(fl->db, id, dev.id, rel.manifest, fl->f.now, &opened, &e));
	}
	fleet_follow(fl);
	return id;
}

int64_t fleet_push(struct fleet *fl, int64_t release, const struct agent *a, bool is_held)
{
	return push(fl, release, a, 1, is_held);
}

int64_t fleet_push_many(struct fleet *fl, int64_t release, const struct agent *agents, size_t n)
{
	return push(fl, release, agents, n, false);
}

struct rollout_cancelled fleet_cancel(struct fleet *fl, int64_t rollout)
{
	struct rollout_cancelled done = {0};
	int64_t cursor = 0;

	OK(rollout_end(fl->db, rollout, 0, ROLLOUT_CANCELLED, fl->f.now, &e));
	fleet_follow(fl);
	upkeep_flush_all(fl->f.app.domain);
	do
		OK(rollout_withdraw(fl->db, rollout, fl->f.now, &cursor, &done, &e));
	while (cursor);
	fleet_follow(fl);
	return done;
}

void fleet_task(struct fleet *fl, const struct agent *a, struct assignment_row *out)
{
	struct assignment_list list;
	struct device_row dev;

	fleet_device(fl, a, &dev);
	OK(assignment_list(fl->db, &(struct assignment_filter){.device = dev.id}, &(struct db_page){0},
		&fl->mem, &list, &e));
	assert_true(list.n > 0 && list.next == 0);
	*out = list.rows[list.n - 1];
}

unsigned fleet_events(struct fleet *fl, const struct agent *a, const char *kind)
{
	struct event_list list;
	struct device_row dev;
	unsigned n = 0;

	fleet_device(fl, a, &dev);
	OK(event_list(fl->db, dev.id, &(struct db_page){.limit = 100}, &fl->mem, &list, &e));
	for (size_t i = 0; i < list.n; i++)
		n += strcmp(list.rows[i].kind, kind) == 0;
	return n;
}

unsigned fleet_post(struct fleet *fl, const char *path, const void *body, size_t len)
{
	fake_header(&fl->f, "Content-Type", "application/cbor");
	fake_request_bytes(&fl->f, routes, n_routes, "POST", path, body, len);
	assert_false(fl->f.is_waiting && fl->f.res.status == 0);
	return fl->f.res.status;
}

unsigned fleet_get(struct fleet *fl, const char *path, const char *authorization)
{
	if (authorization)
		fake_header(&fl->f, "Authorization", authorization);
	fake_request(&fl->f, routes, n_routes, "GET", path, NULL);
	return fl->f.res.status;
}

unsigned agent_enroll(struct fleet *fl, struct agent *a)
{
	struct enroll_request r = {.serial_len = strlen(a->serial)};
	struct enroll_answer answer;
	uint8_t body[ENROLL_MAX];
	size_t len;
	unsigned status;

	memcpy(r.secret_id, a->secret_id, sizeof(r.secret_id));
	memcpy(r.vendor_id, fl->vendor_id, 16);
	memcpy(r.class_id, fl->class_id, 16);
	memcpy(r.serial, a->serial, r.serial_len);
	memcpy(r.nonce_d, a->nonce_d, NONCE_LEN);
	OK(enroll_request_encode(&r, crypto(), a->secret, body, sizeof(body), &len));
	status = fleet_post(fl, "/d/v1/enroll", body, len);
	if (status != 200) {
		assert_int_equal(fl->f.res.body_len, 0);
		return status;
	}
	assert_string_equal(fl->f.res.content_type, "application/cbor");
	OK(enroll_answer_decode(
		crypto(), fl->f.res.body, fl->f.res.body_len, a->secret, a->nonce_d, &answer));
	memcpy(a->id, answer.device_id, sizeof(a->id));
	memcpy(a->receipt, answer.receipt.p, answer.receipt.len);
	a->receipt_len = answer.receipt.len;
	keys_device(crypto(), a->secret, a->id, a->nonce_d, answer.nonce_s, a->k_dev);
	memcpy(a->ci.device_id, a->id, sizeof(a->id));
	a->ci.root_version = 1;
	return status;
}

static void take_ticket(struct fleet *fl, struct agent *a)
{
	struct cose_keyring ring;

	root_keyring(crypto(), &fl->root_doc, ROOT_ROLE_SERVER, &ring);
	assert_string_equal(fl->f.res.content_type, "application/cbor");
	OK(ticket_decode(crypto(), fl->f.res.body, fl->f.res.body_len, &ring, a->k_dev, a->id, a->ci.nonce,
		&a->ticket));
}

unsigned agent_repeat(struct fleet *fl, struct agent *a)
{
	unsigned status = fleet_post(fl, "/d/v1/checkin", a->sent, a->sent_len);

	memset(&a->ticket, 0, sizeof(a->ticket));
	if (status == 200 || status == 409)
		take_ticket(fl, a);
	else if (status == 404 || status == 401 || status == 400)
		assert_int_equal(fl->f.res.body_len, 0);
	return status;
}

unsigned agent_checkin(struct fleet *fl, struct agent *a)
{
	a->ci.counter++;
	OK(crypto_random(a->ci.nonce, sizeof(a->ci.nonce)));
	OK(checkin_encode(&a->ci, crypto(), a->k_dev, a->sent, sizeof(a->sent), &a->sent_len));
	return agent_repeat(fl, a);
}

void agent_join(struct fleet *fl, struct agent *a, const char *serial)
{
	memset(a, 0, sizeof(*a));
	snprintf(a->serial, sizeof(a->serial), "%s", serial);
	OK(crypto_random(a->nonce_d, sizeof(a->nonce_d)));
	fleet_secret(fl, &(struct fleet_secret){.is_approving = true}, a);
	assert_int_equal(agent_enroll(fl, a), 200);
	assert_int_equal(agent_checkin(fl, a), 200);
}

void agent_runs(struct agent *a, uint32_t sequence, const uint8_t digest[32], enum checkin_state state)
{
	a->ci.has_running = true;
	a->ci.running_sequence = sequence;
	memcpy(a->ci.running_digest, digest, 32);
	a->ci.state = state;
	a->ci.has_target = false;
	a->ci.has_result = false;
}

void agent_fetches(struct agent *a, enum checkin_state state, uint32_t bytes)
{
	a->ci.state = state;
	a->ci.has_target = true;
	memcpy(a->ci.target_digest, a->ticket.digest, 32);
	a->ci.target_attempt = a->ticket.attempt;
	a->ci.target_bytes = bytes;
}

void agent_failed(struct agent *a, uint8_t attempt, uint8_t reason, uint16_t detail, uint32_t offset)
{
	a->ci.state = CHECKIN_IDLE;
	a->ci.has_target = false;
	a->ci.has_result = true;
	memcpy(a->ci.result_digest, a->ticket.digest, 32);
	a->ci.result_attempt = attempt;
	a->ci.result_reason = reason;
	a->ci.result_detail = detail;
	a->ci.result_offset = offset;
}

const char *agent_authorization(const struct agent *a)
{
	static char text[4 + 32 + 1 + 64 + 1];
	uint8_t proof[KEY_LEN];

	memcpy(text, "OTA ", 4);
	hex_encode(a->id, sizeof(a->id), text + 4);
	text[36] = '.';
	keys_fetch(crypto(), a->k_dev, proof);
	hex_encode(proof, sizeof(proof), text + 37);
	return text;
}

void agent_expect_task(struct fleet *fl, const struct agent *a, enum assign_state want)
{
	struct assignment_row task;

	fleet_task(fl, a, &task);
	if (task.state != want)
		fail_msg("the assignment is %s, not %s", assign_state_name(task.state),
			assign_state_name(want));
}

void agent_expect_nothing(const struct agent *a, unsigned status)
{
	assert_int_equal(status, 200);
	assert_false(a->ticket.is_signed);
	assert_false(a->ticket.has_assignment);
}

void agent_expect_assigned(const struct agent *a, unsigned status, const uint8_t digest[32], uint8_t attempt)
{
	assert_int_equal(status, 200);
	assert_true(a->ticket.is_signed);
	assert_true(a->ticket.has_assignment);
	assert_memory_equal(a->ticket.digest, digest, 32);
	assert_int_equal(a->ticket.attempt, attempt);
	assert_in_range(a->ticket.envelope_size, 200, 1024);
}
