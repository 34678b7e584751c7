#ifndef TESTS_FAKE_DB_H
#define TESTS_FAKE_DB_H

#include "db/db.h"

/* [1] counts the outermost, [0] the savepoints. */
struct fake_db {
	unsigned depth;
	unsigned n_begin, n_commit[2], n_rollback[2], n_close, n_checkpoint;
	bool fail_begin, fail_commit;
};

extern struct fake_db fake_db;

#endif
