#include "tests/unit/proto/util.h"

#include "proto/state.h"

/* The table of moves as docs/protocol.md prints it: row from, column to. */
static const char *const legal[ASSIGN_STATES] = {
	/*               W O F S T  R F R S C T S */
	/* waiting    */ "1 1 1 1 1  1 1 1 1 1 1 1",
	/* offered    */ "0 1 1 1 1  1 1 1 1 1 1 1",
	/* fetching   */ "0 0 1 1 1  1 1 1 1 1 1 1",
	/* staged     */ "0 0 0 1 1  1 1 1 1 1 1 0",
	/* trial      */ "0 0 0 0 1  1 1 1 0 0 1 0",
	/* running    */ "0 0 0 0 0  1 0 0 0 0 0 0",
	/* failed     */ "0 0 0 0 0  0 1 0 0 0 0 0",
	/* reverted   */ "0 0 0 0 0  0 0 1 0 0 0 0",
	/* superseded */ "0 0 0 0 0  0 0 0 1 0 0 0",
	/* cancelled  */ "0 0 0 0 0  0 0 0 0 1 0 0",
	/* timed-out  */ "0 0 0 0 0  0 0 0 0 0 1 0",
	/* served     */ "0 0 0 0 0  0 0 0 0 0 0 1",
};

static bool is_legal(unsigned from, unsigned to)
{
	const char *p = legal[from];

	for (unsigned i = 0;; p++) {
		if (*p == ' ')
			continue;
		if (i++ == to)
			return *p == '1';
	}
}

static void moves(void **state)
{
	(void)state;
	for (unsigned from = 0; from < ASSIGN_STATES; from++) {
		for (unsigned to = 0; to < ASSIGN_STATES; to++) {
			bool got = assign_move_is_legal((enum assign_state)from, (enum assign_state)to);

			if (got != is_legal(from, to))
				print_error("%s -> %s\n", assign_state_name((enum assign_state)from),
					assign_state_name((enum assign_state)to));
			assert_int_equal(got, is_legal(from, to));
		}
	}
}

static void names(void **state)
{
	enum assign_state s = ASSIGN_TRIAL;

	(void)state;
	for (unsigned i = 0; i < ASSIGN_STATES; i++) {
		assert_err(assign_state_parse(assign_state_name((enum assign_state)i), &s), OTA_OK);
		assert_int_equal(s, i);
		assert_int_equal(assign_state_is_open((enum assign_state)i), i < ASSIGN_RUNNING);
		assert_int_equal(assign_state_is_committed((enum assign_state)i),
			i == ASSIGN_STAGED || i == ASSIGN_TRIAL);
	}
	s = ASSIGN_TRIAL;
	assert_err(assign_state_parse("", &s), OTA_INVALID);
	assert_err(assign_state_parse("runnin", &s), OTA_INVALID);
	assert_err(assign_state_parse("running ", &s), OTA_INVALID);
	assert_int_equal(s, ASSIGN_TRIAL);
	assert_string_equal(assign_state_name(ASSIGN_TIMED_OUT), "timed-out");
	assert_string_equal(assign_state_name(ASSIGN_STATES), "unknown");
	assert_false(assign_state_is_open(ASSIGN_STATES));
	assert_false(assign_move_is_legal(ASSIGN_WAITING, ASSIGN_STATES));
	assert_false(assign_move_is_legal(ASSIGN_STATES, ASSIGN_STATES));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(moves), cmocka_unit_test(names)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
