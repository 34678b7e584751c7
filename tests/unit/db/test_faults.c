/* Every call of this layer, failing once at every statement and at every allocation: it says so, nothing of
 * it is stored, and the same call works when the fault is over. */
#include "tests/unit/db/fixture.h"

#include <stdio.h>
#include <string.h>

#include "db/assignment.h"
#include "db/audit.h"
#include "db/change.h"
#include "db/enroll.h"
#include "db/event.h"
#include "db/gc.h"
#include "db/identity.h"
#include "db/image.h"
#include "db/lease.h"
#include "db/migrate.h"
#include "db/rootdoc.h"
#include "db/setting.h"
#include "db/stmt.h"
#include "db/token.h"
#include "proto/checkin.h"

/* ---- the fault: one call of a kind fails. The linker puts these before the real ones (CMakeLists.txt). ----
 */

enum fault { FAULT_NONE, FAULT_STATEMENT, FAULT_MEMORY };

static struct {
	enum fault kind;
	unsigned left; /* calls until it fails */
	bool is_fired;
} fault;

static bool fires(enum fault kind)
{
	if (fault.kind != kind || fault.is_fired || fault.left-- > 0)
		return false;
	fault.is_fired = true;
	return true;
}

enum { STEP_IOERR = 10 /* SQLITE_IOERR */ };

int sqlite3_stmt_readonly(void *st);
int sqlite3_stmt_busy(void *st);
int __real_sqlite3_step(void *st);
int __wrap_sqlite3_step(void *st);
void *__real_arena_alloc(struct arena *a, size_t len);
void *__wrap_arena_alloc(struct arena *a, size_t len);
void *__real_arena_array(struct arena *a, size_t n, size_t size);
void *__wrap_arena_array(struct arena *a, size_t n, size_t size);
void *__real_arena_dup(struct arena *a, const void *bytes, size_t len);
void *__wrap_arena_dup(struct arena *a, const void *bytes, size_t len);
char *__real_arena_strdup(struct arena *a, const char *text);
char *__wrap_arena_strdup(struct arena *a, const char *text);

/* A writing statement fails before its first step: the engine undoes one that fails on its way, this does
 * not. */
int __wrap_sqlite3_step(void *st)
{
	bool is_undone = sqlite3_stmt_readonly(st) || !sqlite3_stmt_busy(st);

	return is_undone && fires(FAULT_STATEMENT) ? STEP_IOERR : __real_sqlite3_step(st);
}

void *__wrap_arena_alloc(struct arena *a, size_t len)
{
	return fires(FAULT_MEMORY) ? NULL : __real_arena_alloc(a, len);
}

void *__wrap_arena_array(struct arena *a, size_t n, size_t size)
{
	return fires(FAULT_MEMORY) ? NULL : __real_arena_array(a, n, size);
}

void *__wrap_arena_dup(struct arena *a, const void *bytes, size_t len)
{
	return fires(FAULT_MEMORY) ? NULL : __real_arena_dup(a, bytes, len);
}

char *__wrap_arena_strdup(struct arena *a, const char *text)
{
	return text && fires(FAULT_MEMORY) ? NULL : __real_arena_strdup(a, text);
}

/* ---- a small fleet ---- */

static struct {
	int64_t board, spare_board, release, older, orphan_release, manifest, older_manifest, back;
	int64_t device, spare, pending, waiting;
	int64_t rollout, held, assignment, identity, token;
	uint8_t image[32], unused[32];
	char uid[33];
} w;

static const struct db_page all = {0};

static struct enroll_in request(uint8_t device, uint8_t nonce)
{
	struct enroll_in in = {.serial = (const uint8_t *)"serial", .serial_len = 6, .now = NOW};

	memset(in.secret_id, 5, sizeof in.secret_id);
	memset(in.device_id, device, sizeof in.device_id);
	memset(in.vendor_id, 0x11, sizeof in.vendor_id);
	memset(in.class_id, 1, sizeof in.class_id);
	memset(in.nonce_d, nonce, sizeof in.nonce_d);
	memset(in.nonce_s, nonce + 100, sizeof in.nonce_s);
	memset(in.link_id, device + nonce, sizeof in.link_id);
	return in;
}

static struct secret_row a_secret(uint8_t id)
{
	struct secret_row row = {.board = w.board,
		.note = "n",
		.name = "",
		.uses_max = 9,
		.is_approving = true,
		.created_at = NOW,
		.created_by = "ann"};

	memset(row.secret_id, id, sizeof row.secret_id);
	return row;
}

static struct token_row a_token(const char *uid, const char *name)
{
	struct token_row row = {.name = name, .role = TOKEN_ADMIN, .created_at = NOW, .created_by = "otad"};

	(void)snprintf(row.uid, sizeof row.uid, "%s", uid);
	sha_of(uid, row.sha256);
	return row;
}

static void make_world(struct fixture *f)
{
	static const char *const tags[] = {"kitchen"};
	struct device_change tagged = {.state = -1, .hold = -1, .tags_add = tags, .n_tags_add = 1};
	struct secret_row secret;
	struct token_row token = a_token("00112233445566aa", "admin");
	struct rootdoc_row root = {.version = 1,
		.document = (const uint8_t *)"root",
		.document_len = 4,
		.created_at = NOW,
		.created_by = "ann"};
	struct identity_row mac = {.kind = IDENTITY_MAC, .value = "a0b1c2d3e4f5", .created_at = NOW};
	struct attribute attribute = {"rssi", "-60"};
	struct enroll_in in = request(1, 1);
	struct enroll_out out;
	struct assignment_opened opened;
	int64_t id;

	w.board = make_board(f, "lamp", 1);
	w.spare_board = make_board(f, "spare", 2);
	w.older = make_release(f, w.board, "1.0", "firmware one", 100);
	w.release = make_release(f, w.board, "2.0", "firmware two", 200);
	w.back = make_manifest(f, w.older, w.release, 201);
	w.orphan_release = make_release(f, w.board, "3.0", "firmware three", 300);
	sha_of("firmware two", w.image);
	(void)make_image(f, "nobody's", w.unused);
	w.device = make_device(f, "kitchen-1", w.board, 'a');
	w.spare = make_device(f, "spare-1", w.board, 'b');
	memset(w.uid, 'a', 32);
	ok(f, device_update(f->db, w.device, 0, &tagged, NOW, NULL, &f->e));
	ok(f, attribute_set_all(f->db, w.device, &attribute, 1, &f->e));
	secret = a_secret(5);
	ok(f, secret_insert(f->db, &secret, &id, &f->e));
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	w.waiting = out.device;
	in = request(1, 2); /* again, under another nonce: waits */
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_WAITING);
	ok(f, token_insert(f->db, &token, &w.token, &f->e));
	token = a_token("00112233445566fe", "second");
	ok(f, token_insert(f->db, &token, &id, &f->e));
	ok(f, rootdoc_insert(f->db, &root, &f->e));
	mac.device = w.device;
	ok(f, identity_insert(f->db, &mac, &w.identity, &f->e));
	say_running(f, w.device, 5, 100, CHECKIN_IDLE);
	w.rollout = make_rollout(f, "push-1", w.release);
	w.held = make_rollout(f, "push-2", w.release);
	ok(f, setting_set(f->db, "colour", "red", NOW, &f->e));
	ok(f, event_add(f->db, &(struct event_row){.device = w.device, .at = NOW, .kind = "k", .text = "t"},
		      &f->e));
	ok(f, lease_take(f->db, "plan", "one", NOW, 60, &f->e));
	{
		struct manifest_row m;
		uint8_t digest[32];

		manifest_digest(200, digest);
		ok(f, manifest_load_digest(f->db, digest, &f->mem, &m, &f->e));
		w.manifest = m.id;
		manifest_digest(100, digest);
		ok(f, manifest_load_digest(f->db, digest, &f->mem, &m, &f->e));
		w.older_manifest = m.id;
	}
	ok(f, assignment_open(f->db, w.rollout, w.device, w.manifest, NOW, &opened, &f->e));
	w.assignment = opened.id;
}

/* ---- the calls ---- */

#define OP(name) static enum ota_err name(struct fixture *f)

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

	return board_update(f->db, w.spare_board, 1, &row, NULL, &f->e);
}
OP(o_board_delete)
{
	return board_delete(f->db, w.spare_board, 0, &f->e);
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

	return image_load(f->db, w.image, &f->mem, &row, &f->e);
}
OP(o_image_find)
{
	struct image_row row;

	return image_find_digest(f->db, w.image, 20, &f->mem, &row, &f->e);
}
OP(o_image_insert)
{
	struct image_row row = {.created_at = NOW, .created_by = "test"};
	int64_t id;

	/* Stored again after it was marked: no new row, and whole. */
	memcpy(row.digests.sha256, w.image, 32);
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
	return image_set_damaged(f->db, w.image, true, &f->e);
}
OP(o_image_delete)
{
	return image_delete(f->db, w.unused, &f->e);
}
OP(o_image_list)
{
	struct image_list list;

	return image_list(f->db, &all, &f->mem, &list, &f->e);
}
OP(o_release_insert)
{
	struct release_row row = {
		.board = w.board, .version = "4.0", .created_at = NOW, .created_by = "ann", .n_items = 1};
	int64_t id;

	memcpy(row.items[0].sha256, w.image, 32);
	return release_insert(f->db, &row, &id, NULL, &f->e);
}
OP(o_release_again)
{
	struct release_row row = {
		.board = w.board, .version = "2.0", .created_at = NOW, .created_by = "ann", .n_items = 1};
	int64_t id;
	bool is_new;

	memcpy(row.items[0].sha256, w.image, 32);
	return release_insert(f->db, &row, &id, &is_new, &f->e);
}
OP(o_release_version)
{
	struct release_row row;

	return release_load_version(f->db, w.board, "2.0", &f->mem, &row, &f->e);
}
OP(o_release_list)
{
	struct release_list list;

	return release_list(f->db, w.board, &all, &f->mem, &list, &f->e);
}
OP(o_release_notes)
{
	return release_set_notes(f->db, w.release, "notes", &f->e);
}
OP(o_release_retire)
{
	return release_retire(f->db, w.orphan_release, NOW, &f->e);
}
OP(o_release_delete)
{
	return release_delete(f->db, w.orphan_release, &f->e);
}
OP(o_release_running)
{
	struct running_row rows[8];
	size_t n;

	return release_running(f->db, w.board, rows, 8, &n, &f->e);
}
static struct manifest_row a_manifest(uint32_t sequence)
{
	struct manifest_row row = {.release = w.release,
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
	row.after = w.orphan_release;
	return manifest_insert(f->db, &row, &id, &f->e);
}
OP(o_manifest_envelope)
{
	struct manifest_row row = a_manifest(200);

	return manifest_set_envelope(f->db, w.manifest, &row, NOW, &f->e);
}
OP(o_manifest_load_return)
{
	struct manifest_row row;

	return manifest_load_return(f->db, w.older, w.release, &f->mem, &row, &f->e);
}
OP(o_manifest_list)
{
	struct manifest_list list;

	return manifest_list(f->db, w.release, &all, &f->mem, &list, &f->e);
}
OP(o_manifest_highest)
{
	uint32_t sequence;

	return manifest_highest(f->db, w.board, &sequence, &f->e);
}
OP(o_device_insert)
{
	static const char *const tags[] = {"b", "a"};
	struct device_row row = {.name = "", .board = w.board, .created_at = NOW, .tags = tags, .n_tags = 2};
	int64_t id;

	memset(row.uid, 'e', 32);
	return device_insert(f->db, &row, 100, &id, &f->e);
}
OP(o_device_load)
{
	struct device_row row;

	return device_load(f->db, w.device, &f->mem, &row, &f->e);
}
OP(o_device_find)
{
	int64_t id;

	return device_find(f->db, "aaaa", &id, &f->e);
}
OP(o_device_find_mac)
{
	int64_t id;

	return device_find(f->db, "A0:B1:C2:D3:E4:F5", &id, &f->e);
}
OP(o_device_list)
{
	struct selector s;
	struct device_filter filter = {.selector = &s, .state = -1};
	struct device_list list;
	enum ota_err err = selector_parse("tag=kitchen,attr.rssi=-60", &s, &f->e);

	return err ? err : device_list(f->db, &filter, &all, &f->mem, &list, &f->e);
}
OP(o_device_count)
{
	struct selector s;
	struct device_filter filter = {.selector = &s, .state = -1};
	uint64_t n;
	enum ota_err err = selector_parse("board=lamp", &s, &f->e);

	return err ? err : device_count(f->db, &filter, &n, &f->e);
}
OP(o_device_update)
{
	static const char *const add[] = {"new"}, *const drop[] = {"kitchen"};
	struct device_change c = {.name = "other",
		.state = -1,
		.hold = 1,
		.tags_add = add,
		.n_tags_add = 1,
		.tags_remove = drop,
		.n_tags_remove = 1};

	return device_update(f->db, w.device, 0, &c, NOW, NULL, &f->e);
}
OP(o_device_rehome)
{
	struct device_change c = {.board = w.spare_board, .state = -1, .hold = -1};

	return device_update(f->db, w.spare, 0, &c, NOW, NULL, &f->e);
}
OP(o_device_revoke)
{
	struct device_change c = {.state = DEVICE_REVOKED, .hold = -1};

	return device_update(f->db, w.device, 0, &c, NOW, NULL, &f->e);
}
OP(o_device_replace)
{
	return device_replace(f->db, w.device, w.spare, NOW, &f->e);
}
OP(o_device_delete)
{
	return device_delete(f->db, w.device, 0, &f->e);
}
OP(o_attributes)
{
	struct attribute rows[] = {{"a", "1"}, {"b", "2"}};

	return attribute_set_all(f->db, w.device, rows, 2, &f->e);
}
OP(o_attribute_list)
{
	struct attribute *rows;
	size_t n;

	return attribute_list(f->db, w.device, &f->mem, &rows, &n, &f->e);
}
OP(o_secret_insert)
{
	struct secret_row row = a_secret(6);
	int64_t id;

	return secret_insert(f->db, &row, &id, &f->e);
}
OP(o_secret_load)
{
	struct secret_row key = a_secret(5), row;

	return secret_load(f->db, key.secret_id, &f->mem, &row, &f->e);
}
OP(o_secret_revoke)
{
	struct secret_row key = a_secret(5);

	return secret_revoke(f->db, key.secret_id, NOW, &f->e);
}
OP(o_secret_list)
{
	struct secret_list list;

	return secret_list(f->db, &all, &f->mem, &list, &f->e);
}
OP(o_enroll_new)
{
	struct enroll_in in = request(9, 9);
	struct enroll_out out;

	in.devices_max = 100;
	return enroll_device(f->db, &in, &out, &f->e);
}
OP(o_enroll_repeated)
{
	struct enroll_in in = request(1, 1);
	struct enroll_out out;

	return enroll_device(f->db, &in, &out, &f->e);
}
OP(o_enroll_waiting)
{
	struct enroll_in in = request(1, 3);
	struct enroll_out out;

	return enroll_device(f->db, &in, &out, &f->e);
}
OP(o_enroll_restore)
{
	struct enroll_in in = request(8, 8);
	struct enroll_out out;

	in.serial = NULL;
	return enroll_restore(f->db, &in, &out, &f->e);
}
OP(o_enroll_accept)
{
	return enroll_accept(f->db, w.waiting, NOW, &f->e);
}
OP(o_alarm_raise)
{
	enum alarm_news news;

	return alarm_raise(f->db, w.waiting, 7, NOW, &news, &f->e);
}
OP(o_alarm_clear)
{
	return alarm_clear(f->db, w.waiting, &f->e);
}
OP(o_enroll_refuse)
{
	return enroll_refuse(f->db, w.waiting, NOW, &f->e);
}
OP(o_event_add)
{
	return event_add(
		f->db, &(struct event_row){.device = w.device, .at = NOW, .kind = "k", .text = "t"}, &f->e);
}
OP(o_event_list)
{
	struct event_list list;

	return event_list(f->db, w.device, &all, &f->mem, &list, &f->e);
}
OP(o_identity_insert)
{
	struct identity_row row = {
		.device = w.device, .kind = IDENTITY_TOKEN, .value = "v", .created_at = NOW};
	int64_t id;

	row.link_id[0] = 99;
	return identity_insert(f->db, &row, &id, &f->e);
}
OP(o_identity_load)
{
	struct identity_row row;

	return identity_load(f->db, IDENTITY_MAC, "a0b1c2d3e4f5", &f->mem, &row, &f->e);
}
OP(o_identity_credential)
{
	return identity_set_credential(f->db, w.identity, (const uint8_t *)"hash", 4, &f->e);
}
OP(o_identity_revoke)
{
	return identity_revoke(f->db, w.identity, NOW, &f->e);
}
OP(o_identity_list)
{
	struct identity_list list;

	return identity_list(f->db, w.device, &all, &f->mem, &list, &f->e);
}
OP(o_report)
{
	struct device_said said = {
		.seen_at = NOW, .counter = 9, .has_running = true, .agent_state = CHECKIN_IDLE};

	manifest_digest(200, said.running_digest);
	return report_store(f->db, w.device, &said, &f->e);
}
OP(o_report_touch)
{
	struct report_touch rows[] = {{.device = w.device, .seen_at = NOW, .counter = 10},
		{.device = w.spare, .seen_at = NOW, .counter = 1}};

	return report_touch_many(f->db, rows, 2, &f->e);
}
OP(o_report_seen)
{
	return report_seen(f->db, w.device, NOW + 100, "127.0.0.1", &f->e);
}
OP(o_rollout_insert)
{
	struct rollout_row row = {.uid = "push-9",
		.release = w.release,
		.selector = "all",
		.created_by = "ann",
		.created_at = NOW};
	int64_t id;

	return rollout_insert(f->db, &row, &id, NULL, &f->e);
}
OP(o_rollout_again)
{
	struct rollout_row row = {.uid = "push-1",
		.release = w.release,
		.selector = "all",
		.created_by = "test",
		.created_at = NOW};
	int64_t id;
	bool is_new;

	return rollout_insert(f->db, &row, &id, &is_new, &f->e);
}
OP(o_rollout_load)
{
	struct rollout_row row;

	return rollout_load_uid(f->db, "push-1", &f->mem, &row, &f->e);
}
OP(o_rollout_list)
{
	struct rollout_list list;

	return rollout_list(f->db, -1, &all, &f->mem, &list, &f->e);
}
OP(o_rollout_cancel)
{
	return rollout_end(f->db, w.rollout, 0, ROLLOUT_CANCELLED, NOW, &f->e);
}
OP(o_assignment_stop)
{
	return assignment_stop(f->db, 1, NOW, &f->e);
}
OP(o_rollout_withdraw)
{
	struct rollout_cancelled done = {0};
	int64_t cursor = 0;

	return rollout_withdraw(f->db, w.rollout, NOW, &cursor, &done, &f->e);
}
OP(o_rollout_unhold)
{
	return rollout_unhold(f->db, w.held, 0, &f->e);
}
OP(o_rollout_open)
{
	struct rollout_tasks tasks;

	return rollout_list_open(f->db, w.rollout, &all, &f->mem, &tasks, &f->e);
}
OP(o_rollout_tasks)
{
	struct rollout_tasks tasks;

	return rollout_list_tasks(f->db, w.rollout, INT64_MAX, &all, &f->mem, &tasks, &f->e);
}
OP(o_rollout_span)
{
	int64_t first, last;

	return rollout_span(f->db, w.rollout, &first, &last, &f->e);
}
OP(o_rollout_count)
{
	struct rollout_counts counts;

	return rollout_count(f->db, w.rollout, &counts, &f->e);
}
OP(o_assign)
{
	struct assignment_opened out;

	return assignment_open(f->db, w.held, w.device, w.manifest, NOW, &out, &f->e);
}
OP(o_assign_again)
{
	struct assignment_opened out;

	return assignment_open(f->db, w.rollout, w.device, w.manifest, NOW, &out, &f->e);
}
OP(o_assign_first)
{
	struct assignment_opened out;

	return assignment_open(f->db, w.held, w.spare, w.manifest, NOW, &out, &f->e);
}
OP(o_advance)
{
	struct assignment_move move = {.to = ASSIGN_OFFERED, .now = NOW};
	bool moved;

	return assignment_advance(f->db, w.assignment, &move, &moved, &f->e);
}
OP(o_advance_end)
{
	struct assignment_move move = {.to = ASSIGN_RUNNING, .now = NOW};
	bool moved;

	return assignment_advance(f->db, w.assignment, &move, &moved, &f->e);
}
OP(o_assignment_open)
{
	struct assignment_row row;

	return assignment_load_open(f->db, w.device, &f->mem, &row, &f->e);
}
OP(o_assignment_list)
{
	struct assignment_filter filter = {.rollout = w.rollout};
	struct assignment_list list;

	return assignment_list(f->db, &filter, &all, &f->mem, &list, &f->e);
}
OP(o_assignment_history)
{
	struct assignment_list list;

	return assignment_history(f->db, w.device, &all, &f->mem, &list, &f->e);
}
OP(o_withdraw)
{
	return assignment_withdraw(f->db, w.device, NOW, &f->e);
}
OP(o_expire)
{
	uint64_t n;

	return assignment_expire(f->db, NOW + 1000000, 10, &n, &f->e);
}
OP(o_audit_add)
{
	int64_t id;

	return audit_add(f->db,
		&(struct audit_row){.at = NOW, .who = "ann", .action = "a.b", .target = "t", .from = ""}, &id,
		&f->e);
}
OP(o_change_list)
{
	struct change_list list;

	return change_list(f->db, &all, &f->mem, &list, &f->e);
}
OP(o_change_trim)
{
	return change_trim(f->db, 5, &f->e);
}
OP(o_lease_take)
{
	return lease_take(f->db, "plan", "two", NOW + 100, 60, &f->e);
}
OP(o_lease_drop)
{
	return lease_drop(f->db, "plan", "one", &f->e);
}
OP(o_lease_load)
{
	struct lease_row row;

	return lease_load(f->db, "plan", &f->mem, &row, &f->e);
}
OP(o_root_insert)
{
	struct rootdoc_row row = {.version = 2,
		.document = (const uint8_t *)"two",
		.document_len = 3,
		.created_at = NOW,
		.created_by = "ann"};

	return rootdoc_insert(f->db, &row, &f->e);
}
OP(o_root_newest)
{
	struct rootdoc_row row;

	return rootdoc_newest(f->db, &f->mem, &row, &f->e);
}
OP(o_root_list)
{
	struct rootdoc_list list;

	return rootdoc_list(f->db, &all, &f->mem, &list, &f->e);
}
OP(o_setting_set)
{
	return setting_set(f->db, "colour", "blue", NOW, &f->e);
}
OP(o_setting_get)
{
	const char *value;

	return setting_get(f->db, "colour", &f->mem, &value, &f->e);
}
OP(o_setting_list)
{
	struct setting_list list;

	return setting_list(f->db, &f->mem, &list, &f->e);
}
OP(o_schema_log)
{
	struct schema_log_list list;

	return schema_log_list(f->db, &f->mem, &list, &f->e);
}
OP(o_token_insert)
{
	struct token_row row = a_token("00112233445566ff", "new");
	int64_t id;

	return token_insert(f->db, &row, &id, &f->e);
}
OP(o_token_find)
{
	struct token_row row;

	return token_find(f->db, "admin", &f->mem, &row, &f->e);
}
OP(o_token_find_uid)
{
	struct token_row row;

	return token_find(f->db, "00112233445566aa", &f->mem, &row, &f->e);
}
OP(o_token_used)
{
	return token_used(f->db, w.token, NOW + 1000, &f->e);
}
OP(o_token_revoke)
{
	return token_revoke(f->db, w.token, NOW, &f->e);
}
OP(o_token_revoke_last)
{
	return token_revoke_even_last(f->db, w.token, NOW, &f->e);
}
OP(o_token_list)
{
	struct token_list list;

	return token_list(f->db, &all, &f->mem, &list, &f->e);
}
OP(o_gc)
{
	struct gc_list list;

	return gc_collect(f->db, NOW + 1000000, 10, 10, &f->mem, &list, &f->e);
}
OP(o_gc_orphans)
{
	struct gc_list list;
	uint8_t sha256[32];

	make_blob(f->blobs, "no row has it", sha256);
	return gc_orphans(f->db, f->blobs, (int64_t)1 << 40, 10, 10, &f->mem, &list, &f->e);
}

#define ROW(name)                                                                                            \
	{                                                                                                    \
#name, name                                                                                  \
	}
static const struct {
	const char *name;
	enum ota_err (*run)(struct fixture *f);
} ops[] = {
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
	ROW(o_manifest_list),
	ROW(o_manifest_highest),
	ROW(o_device_insert),
	ROW(o_device_load),
	ROW(o_device_find),
	ROW(o_device_find_mac),
	ROW(o_device_list),
	ROW(o_device_count),
	ROW(o_device_update),
	ROW(o_device_rehome),
	ROW(o_device_revoke),
	ROW(o_device_replace),
	ROW(o_device_delete),
	ROW(o_attributes),
	ROW(o_attribute_list),
	ROW(o_secret_insert),
	ROW(o_secret_load),
	ROW(o_secret_revoke),
	ROW(o_secret_list),
	ROW(o_enroll_new),
	ROW(o_enroll_repeated),
	ROW(o_enroll_waiting),
	ROW(o_enroll_restore),
	ROW(o_enroll_accept),
	ROW(o_enroll_refuse),
	ROW(o_alarm_raise),
	ROW(o_alarm_clear),
	ROW(o_event_add),
	ROW(o_event_list),
	ROW(o_identity_insert),
	ROW(o_identity_load),
	ROW(o_identity_credential),
	ROW(o_identity_revoke),
	ROW(o_identity_list),
	ROW(o_report),
	ROW(o_report_touch),
	ROW(o_report_seen),
	ROW(o_rollout_insert),
	ROW(o_rollout_again),
	ROW(o_rollout_load),
	ROW(o_rollout_list),
	ROW(o_rollout_cancel),
	ROW(o_rollout_withdraw),
	ROW(o_assignment_stop),
	ROW(o_rollout_unhold),
	ROW(o_rollout_open),
	ROW(o_rollout_tasks),
	ROW(o_rollout_span),
	ROW(o_rollout_count),
	ROW(o_assign),
	ROW(o_assign_again),
	ROW(o_assign_first),
	ROW(o_advance),
	ROW(o_advance_end),
	ROW(o_assignment_open),
	ROW(o_assignment_list),
	ROW(o_assignment_history),
	ROW(o_withdraw),
	ROW(o_expire),
	ROW(o_audit_add),
	ROW(o_change_list),
	ROW(o_change_trim),
	ROW(o_lease_take),
	ROW(o_lease_drop),
	ROW(o_lease_load),
	ROW(o_root_insert),
	ROW(o_root_newest),
	ROW(o_root_list),
	ROW(o_setting_set),
	ROW(o_setting_get),
	ROW(o_setting_list),
	ROW(o_schema_log),
	ROW(o_token_insert),
	ROW(o_token_find),
	ROW(o_token_find_uid),
	ROW(o_token_used),
	ROW(o_token_revoke),
	ROW(o_token_revoke_last),
	ROW(o_token_list),
	ROW(o_gc),
	ROW(o_gc_orphans),
};

/* What a call that failed must not have changed: how much there is, and what tells of changes. */
static int64_t fingerprint(struct fixture *f)
{
	static const char q_all[] =
		"SELECT (SELECT count(*) + coalesce(max(seq), 0) FROM change) * 1000003"
		" + (SELECT coalesce(sum(revision), 0) FROM device) * 101 + (SELECT coalesce(sum(revision), "
		"0) FROM board) * 103"
		" + (SELECT coalesce(sum(revision), 0) FROM rollout) * 107 + (SELECT count(*) FROM "
		"board_component) * "
		"109"
		" + (SELECT count(*) + coalesce(sum(state), 0) FROM assignment) * 113 + (SELECT count(*) "
		"FROM event) * "
		"127"
		" + (SELECT count(*) FROM identity) * 131 + (SELECT count(*) FROM audit) * 137"
		" + (SELECT count(*) + coalesce(sum(uses), 0) FROM enroll_secret) * 139 + (SELECT count(*) "
		"FROM token) "
		"* 149"
		" + (SELECT count(*) FROM image) * 151 + (SELECT count(*) FROM release) * 157"
		" + (SELECT count(*) FROM manifest) * 163 AS n";
	AUTO(stmt) struct stmt *st = stmt_get(f->db, q_all);
	int64_t n = 0;

	ok(f, stmt_row(st, &f->e));
	n = col_i64(st, "n");
	ok(f, stmt_status(st, &f->e));
	return n;
}

/* Once with the fault in the `at`-th call of its kind. False: there are not so many. */
static bool run_with(struct fixture *f, size_t op, enum fault kind, unsigned at)
{
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err, want = kind == FAULT_STATEMENT ? OTA_IO : OTA_NO_MEMORY;
	int64_t before;

	arena_clear(&f->mem);
	ok(f, db_begin(f->db, &tx, &f->e));
	before = fingerprint(f);
	f->e.text[0] = '\0';
	fault.left = at;
	fault.is_fired = false;
	fault.kind = kind;
	err = ops[op].run(f);
	fault.kind = FAULT_NONE;
	if (!fault.is_fired) {
		if (err != OTA_OK)
			fail_msg("%s: %s: %s", ops[op].name, ota_err_name(err), f->e.text);
		return false;
	}
	if (err != want)
		fail_msg("%s, fault %d at %u: %s instead of %s (%s)", ops[op].name, kind, at,
			ota_err_name(err), ota_err_name(want), f->e.text);
	if (f->e.text[0] == '\0')
		fail_msg("%s, fault %d at %u: no words", ops[op].name, kind, at);
	if (fingerprint(f) != before)
		fail_msg("%s, fault %d at %u: something stayed", ops[op].name, kind, at);
	arena_clear(&f->mem);
	if ((err = ops[op].run(f)) != OTA_OK)
		fail_msg("%s after fault %d at %u: %s: %s", ops[op].name, kind, at, ota_err_name(err),
			f->e.text);
	return true;
}

static void each_call_fails_everywhere(void **state)
{
	struct fixture *f = *state;
	unsigned n = 0;

	make_world(f);
	for (size_t op = 0; op < sizeof ops / sizeof ops[0]; op++) {
		for (unsigned kind = FAULT_STATEMENT; kind <= FAULT_MEMORY; kind++) {
			for (unsigned at = 0; run_with(f, op, (enum fault)kind, at); at++)
				n++;
		}
	}
	print_message("db: %zu calls, %u faults\n", sizeof ops / sizeof ops[0], n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_call_fails_everywhere, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
