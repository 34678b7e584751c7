/* Every call of this layer, failing once at every statement and at every allocation: it says so, nothing of
 * it is stored, and the same call works when the fault is over. */
#include "tests/unit/db/faults.h"

#include "db/stmt.h"
#include "tests/unit/fault.h"

void *__real_arena_dup(struct arena *a, const void *bytes, size_t len);
void *__wrap_arena_dup(struct arena *a, const void *bytes, size_t len);
char *__real_arena_strdup(struct arena *a, const char *text);
char *__wrap_arena_strdup(struct arena *a, const char *text);

void *__wrap_arena_dup(struct arena *a, const void *bytes, size_t len)
{
	return fault_fires(FAULT_MEMORY) ? NULL : __real_arena_dup(a, bytes, len);
}

char *__wrap_arena_strdup(struct arena *a, const char *text)
{
	return text && fault_fires(FAULT_MEMORY) ? NULL : __real_arena_strdup(a, text);
}

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
		" + (SELECT count(*) FROM manifest) * 163 + (SELECT count(*) FROM enrolment_ended) * 167 AS "
		"n";
	AUTO(stmt) struct stmt *st = stmt_get(f->db, q_all);
	int64_t n = 0;

	ok(f, stmt_row(st, &f->e));
	n = col_i64(st, "n");
	ok(f, stmt_status(st, &f->e));
	return n;
}

/* Once with the fault in the `at`-th call of its kind. False: there are not so many. */
static bool run_with(struct fixture *f, const struct fault_op *op, enum fault kind, unsigned at)
{
	AUTO(tx) struct db_tx tx = {0};
	enum ota_err err, want = kind == FAULT_STATEMENT ? OTA_IO : OTA_NO_MEMORY;
	int64_t before;

	arena_clear(&f->mem);
	ok(f, db_begin(f->db, &tx, &f->e));
	before = fingerprint(f);
	f->e.text[0] = '\0';
	fault_arm(kind, at);
	err = op->run(f);
	if (!fault_over()) {
		if (err != OTA_OK)
			fail_msg("%s: %s: %s", op->name, ota_err_name(err), f->e.text);
		return false;
	}
	if (err != want)
		fail_msg("%s, fault %d at %u: %s instead of %s (%s)", op->name, kind, at, ota_err_name(err),
			ota_err_name(want), f->e.text);
	if (f->e.text[0] == '\0')
		fail_msg("%s, fault %d at %u: no words", op->name, kind, at);
	if (fingerprint(f) != before)
		fail_msg("%s, fault %d at %u: something stayed", op->name, kind, at);
	arena_clear(&f->mem);
	if ((err = op->run(f)) != OTA_OK)
		fail_msg("%s after fault %d at %u: %s: %s", op->name, kind, at, ota_err_name(err), f->e.text);
	return true;
}

/* How many faults there were. */
static unsigned run_everywhere(struct fixture *f, const struct fault_op *op)
{
	unsigned n = 0;

	for (unsigned kind = FAULT_STATEMENT; kind <= FAULT_MEMORY; kind++) {
		for (unsigned at = 0; run_with(f, op, (enum fault)kind, at); at++)
			n++;
	}
	return n;
}

static void each_call_fails_everywhere(void **state)
{
	const struct {
		const struct fault_op *ops;
		size_t n;
	} tables[] = {
		{fault_ops_catalog, n_fault_ops_catalog},
		{fault_ops_devices, n_fault_ops_devices},
		{fault_ops_rollouts, n_fault_ops_rollouts},
	};
	struct fixture *f = *state;
	size_t n_ops = 0;
	unsigned n = 0;

	fault_world_make(f);
	for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
		for (size_t op = 0; op < tables[t].n; op++)
			n += run_everywhere(f, &tables[t].ops[op]);
		n_ops += tables[t].n;
	}
	print_message("db: %zu calls, %u faults\n", n_ops, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_call_fails_everywhere, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
