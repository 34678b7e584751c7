/* Calls to fail: rollouts, assignments and the server's own rows. */
#include "tests/unit/db/faults.h"

#include "db/assignment.h"
#include "db/audit.h"
#include "db/change.h"
#include "db/gc.h"
#include "db/lease.h"
#include "db/migrate.h"
#include "db/rollout.h"
#include "db/rootdoc.h"
#include "db/setting.h"
#include "db/token.h"

static const struct db_page all = {0};

OP(o_rollout_insert)
{
	struct rollout_row row = {.uid = "push-9",
		.release = fault_world.release,
		.selector = "all",
		.created_by = "ann",
		.created_at = NOW};
	int64_t id;

	return rollout_insert(f->db, &row, &id, NULL, &f->e);
}
OP(o_rollout_again)
{
	struct rollout_row row = {.uid = "push-1",
		.release = fault_world.release,
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
	return rollout_end(f->db, fault_world.rollout, 0, ROLLOUT_CANCELLED, NOW, &f->e);
}
OP(o_assignment_stop)
{
	return assignment_stop(f->db, 1, NOW, &f->e);
}
OP(o_rollout_withdraw)
{
	struct rollout_cancelled done = {0};
	int64_t cursor = 0;

	return rollout_withdraw(f->db, fault_world.rollout, NOW, &cursor, &done, &f->e);
}
OP(o_rollout_unhold)
{
	return rollout_unhold(f->db, fault_world.held, 0, &f->e);
}
OP(o_rollout_open)
{
	struct rollout_tasks tasks;

	return rollout_list_open(f->db, fault_world.rollout, &all, &f->mem, &tasks, &f->e);
}
OP(o_rollout_tasks)
{
	struct rollout_tasks tasks;

	return rollout_list_tasks(f->db, fault_world.rollout, INT64_MAX, &all, &f->mem, &tasks, &f->e);
}
OP(o_rollout_span)
{
	int64_t first, last;

	return rollout_span(f->db, fault_world.rollout, &first, &last, &f->e);
}
OP(o_rollout_retry)
{
	return rollout_retry(f->db, fault_world.rollout, 0, INT64_MAX, "ann", &f->e);
}
OP(o_rollout_did)
{
	return rollout_did(f->db, fault_world.rollout, ROLLOUT_RETRYING, 0, NOW, &f->e);
}
OP(o_rollout_has)
{
	bool has;

	return rollout_has(f->db, fault_world.rollout, fault_world.device, &has, &f->e);
}
OP(o_rollout_doing)
{
	int64_t id;
	enum ota_err err = rollout_next_doing(f->db, 0, &id, &f->e);

	return err == OTA_NOT_FOUND ? OTA_OK : err;
}
OP(o_rollout_count)
{
	struct rollout_counts counts;

	return rollout_count(f->db, fault_world.rollout, &counts, &f->e);
}
OP(o_assign)
{
	struct assignment_opened out;

	return assignment_open(
		f->db, fault_world.held, fault_world.device, fault_world.manifest, NOW, &out, &f->e);
}
OP(o_assign_again)
{
	struct assignment_opened out;

	return assignment_open(
		f->db, fault_world.rollout, fault_world.device, fault_world.manifest, NOW, &out, &f->e);
}
OP(o_assign_first)
{
	struct assignment_opened out;

	return assignment_open(
		f->db, fault_world.held, fault_world.spare, fault_world.manifest, NOW, &out, &f->e);
}
OP(o_count_up)
{
	return assignment_count_up(f->db, fault_world.assignment, 1, &f->e);
}
OP(o_advance)
{
	struct assignment_move move = {.to = ASSIGN_OFFERED, .now = NOW};
	bool moved;

	return assignment_advance(f->db, fault_world.assignment, &move, &moved, &f->e);
}
OP(o_advance_end)
{
	struct assignment_move move = {.to = ASSIGN_RUNNING, .now = NOW};
	bool moved;

	return assignment_advance(f->db, fault_world.assignment, &move, &moved, &f->e);
}
OP(o_assignment_open)
{
	struct assignment_row row;

	return assignment_load_open(f->db, fault_world.device, &f->mem, &row, &f->e);
}
OP(o_assignment_list)
{
	struct assignment_filter filter = {.rollout = fault_world.rollout};
	struct assignment_list list;

	return assignment_list(f->db, &filter, &all, &f->mem, &list, &f->e);
}
OP(o_start)
{
	return assignment_start(f->db, NOW, &f->e);
}
OP(o_was_given)
{
	static const uint8_t none[32] = {0};
	bool given;

	return assignment_was_given(f->db, fault_world.device, none, &given, &f->e);
}
OP(o_withdraw)
{
	return assignment_withdraw(f->db, fault_world.device, NOW, "the device was revoked", &f->e);
}
OP(o_expire)
{
	uint64_t n;

	return assignment_expire(f->db, NOW + 1000000, 10, &n, NULL, &f->e);
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
	struct token_row row = fault_a_token("00112233445566ff", "new");
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
	return token_used(f->db, fault_world.token, NOW + 1000, &f->e);
}
OP(o_token_revoke)
{
	return token_revoke(f->db, fault_world.token, NOW, &f->e);
}
OP(o_token_revoke_last)
{
	return token_revoke_even_last(f->db, fault_world.token, NOW, &f->e);
}
OP(o_token_list)
{
	struct token_list list;

	return token_list(f->db, &all, &f->mem, &list, &f->e);
}
OP(o_token_list_valid)
{
	struct token_list list;

	return token_list_valid(f->db, NOW, &all, &f->mem, &list, &f->e);
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

const struct fault_op fault_ops_rollouts[] = {
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
	ROW(o_rollout_retry),
	ROW(o_rollout_doing),
	ROW(o_rollout_did),
	ROW(o_rollout_has),
	ROW(o_rollout_count),
	ROW(o_assign),
	ROW(o_assign_again),
	ROW(o_assign_first),
	ROW(o_count_up),
	ROW(o_advance),
	ROW(o_advance_end),
	ROW(o_assignment_open),
	ROW(o_assignment_list),
	ROW(o_start),
	ROW(o_was_given),
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
	ROW(o_token_list_valid),
	ROW(o_gc),
	ROW(o_gc_orphans),
};
const size_t n_fault_ops_rollouts = sizeof fault_ops_rollouts / sizeof fault_ops_rollouts[0];
