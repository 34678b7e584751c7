#include "tests/unit/db/faults.h"

#include <stdio.h>
#include <string.h>

#include "db/assignment.h"
#include "db/device.h"
#include "db/enroll.h"
#include "db/event.h"
#include "db/identity.h"
#include "db/lease.h"
#include "db/rootdoc.h"
#include "db/secret.h"
#include "db/setting.h"
#include "db/token.h"
#include "proto/checkin.h"

struct fault_world fault_world;

struct enroll_in fault_request(uint8_t device, uint8_t nonce)
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

struct secret_row fault_a_secret(uint8_t id)
{
	struct secret_row row = {.board = fault_world.board,
		.note = "n",
		.name = "",
		.uses_max = 9,
		.is_approving = true,
		.created_at = NOW,
		.created_by = "ann"};

	memset(row.secret_id, id, sizeof row.secret_id);
	return row;
}

struct token_row fault_a_token(const char *uid, const char *name)
{
	struct token_row row = {.name = name, .role = TOKEN_ADMIN, .created_at = NOW, .created_by = "otad"};

	(void)snprintf(row.uid, sizeof row.uid, "%s", uid);
	sha_of(uid, row.sha256);
	return row;
}

void fault_world_make(struct fixture *f)
{
	static const char *const tags[] = {"kitchen"};
	struct device_change tagged = {.state = -1, .hold = -1, .tags_add = tags, .n_tags_add = 1};
	struct secret_row secret;
	struct token_row token = fault_a_token("00112233445566aa", "admin");
	struct rootdoc_row root = {.version = 1,
		.document = (const uint8_t *)"root",
		.document_len = 4,
		.created_at = NOW,
		.created_by = "ann"};
	struct identity_row mac = {.kind = IDENTITY_MAC, .value = "a0b1c2d3e4f5", .created_at = NOW};
	struct attribute attribute = {"rssi", "-60"};
	struct enroll_in in = fault_request(1, 1);
	struct enroll_out out;
	struct assignment_opened opened;
	int64_t id;

	fault_world.board = make_board(f, "lamp", 1);
	fault_world.spare_board = make_board(f, "spare", 2);
	fault_world.older = make_release(f, fault_world.board, "1.0", "firmware one", 100);
	fault_world.release = make_release(f, fault_world.board, "2.0", "firmware two", 200);
	fault_world.back = make_manifest(f, fault_world.older, fault_world.release, 201);
	fault_world.orphan_release = make_release(f, fault_world.board, "3.0", "firmware three", 300);
	sha_of("firmware two", fault_world.image);
	(void)make_image(f, "nobody's", fault_world.unused);
	fault_world.device = make_device(f, "kitchen-1", fault_world.board, 'a');
	fault_world.spare = make_device(f, "spare-1", fault_world.board, 'b');
	memset(fault_world.uid, 'a', 32);
	ok(f, device_update(f->db, fault_world.device, 0, &tagged, NOW, NULL, &f->e));
	ok(f, attribute_set_all(f->db, fault_world.device, &attribute, 1, &f->e));
	secret = fault_a_secret(5);
	ok(f, secret_insert(f->db, &secret, &id, &f->e));
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	fault_world.waiting = out.device;
	in = fault_request(1, 2); /* again, under another nonce: waits */
	ok(f, enroll_device(f->db, &in, &out, &f->e));
	assert_int_equal(out.outcome, ENROLL_WAITING);
	ok(f, token_insert(f->db, &token, &fault_world.token, &f->e));
	token = fault_a_token("00112233445566fe", "second");
	ok(f, token_insert(f->db, &token, &id, &f->e));
	ok(f, rootdoc_insert(f->db, &root, &f->e));
	mac.device = fault_world.device;
	ok(f, identity_insert(f->db, &mac, &fault_world.identity, &f->e));
	say_running(f, fault_world.device, 5, 100, CHECKIN_IDLE);
	fault_world.rollout = make_rollout(f, "push-1", fault_world.release);
	fault_world.held = make_rollout(f, "push-2", fault_world.release);
	ok(f, setting_set(f->db, "colour", "red", NOW, &f->e));
	ok(f, event_add(f->db,
		      &(struct event_row){.device = fault_world.device, .at = NOW, .kind = "k", .text = "t"},
		      &f->e));
	ok(f, lease_take(f->db, "plan", "one", NOW, 60, &f->e));
	{
		struct manifest_row m;
		uint8_t digest[32];

		manifest_digest(200, digest);
		ok(f, manifest_load_digest(f->db, digest, &f->mem, &m, &f->e));
		fault_world.manifest = m.id;
		manifest_digest(100, digest);
		ok(f, manifest_load_digest(f->db, digest, &f->mem, &m, &f->e));
		fault_world.older_manifest = m.id;
	}
	ok(f, assignment_open(f->db, fault_world.rollout, fault_world.device, fault_world.manifest, NOW,
		      &opened, &f->e));
	fault_world.assignment = opened.id;
}
