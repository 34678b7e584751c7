#include "tests/unit/fault.h"

#include <errno.h>

static struct {
	enum fault kind;
	unsigned left; /* calls until it fails */
	bool is_fired;
} fault;

void fault_arm(enum fault kind, unsigned at)
{
	fault.left = at;
	fault.is_fired = false;
	fault.kind = kind;
}

bool fault_over(void)
{
	fault.kind = FAULT_NONE;
	return fault.is_fired;
}

bool fault_fires(enum fault kind)
{
	if ((fault.kind != kind && fault.kind != FAULT_ANY) || fault.is_fired || fault.left-- > 0)
		return false;
	fault.is_fired = true;
	errno = EIO;
	return true;
}

enum { STEP_IOERR = 10 /* SQLITE_IOERR */ };

int sqlite3_stmt_readonly(void *st);
int sqlite3_stmt_busy(void *st);
int __real_sqlite3_step(void *st);
int __wrap_sqlite3_step(void *st);

/* A writing statement fails before its first step: the engine undoes one that fails on its way, this does
 * not. */
int __wrap_sqlite3_step(void *st)
{
	bool is_undone = sqlite3_stmt_readonly(st) || !sqlite3_stmt_busy(st);

	return is_undone && fault_fires(FAULT_STATEMENT) ? STEP_IOERR : __real_sqlite3_step(st);
}
