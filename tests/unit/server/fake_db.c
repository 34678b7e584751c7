/* The transactions of db/db.h without a database: counts calls, fails where a test says so. Linked by tests
 * of the server's own parts only. */
#include "tests/unit/server/fake_db.h"

struct fake_db fake_db;

enum ota_err db_begin(struct db *db, struct db_tx *tx, struct errmsg *e)
{
	if (fake_db.depth == 0 && fake_db.fail_begin)
		return errmsg_fail(e, OTA_BUSY, "begin fails");
	tx->db = db;
	tx->depth = ++fake_db.depth;
	fake_db.n_begin++;
	return OTA_OK;
}

enum ota_err db_commit(struct db_tx *tx, struct errmsg *e)
{
	unsigned depth = tx->depth;

	tx->db = NULL;
	fake_db.depth = depth - 1;
	if (depth == 1 && fake_db.fail_commit)
		return errmsg_fail(e, OTA_NO_SPACE, "commit fails");
	fake_db.n_commit[depth == 1]++;
	return OTA_OK;
}

void db_rollback(struct db_tx *tx)
{
	if (!tx->db)
		return;
	tx->db = NULL;
	fake_db.depth = tx->depth - 1;
	fake_db.n_rollback[tx->depth == 1]++;
}

enum ota_err db_checkpoint(struct db *db, struct errmsg *e)
{
	(void)db;
	(void)e;
	fake_db.n_checkpoint++;
	return OTA_OK;
}

void db_close(struct db *db)
{
	(void)db;
	fake_db.n_close++;
}
