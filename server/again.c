#include "server/again.h"

#include "db/assignment.h"
#include "db/release.h"
#include "db/rollout.h"
#include "server/grow.h"

/* A device counts by its newest attempt, and one that has something else to do by now is left alone: also
 * where that push has not got to it yet. */
static enum ota_err is_meant(
	struct job *job, const struct assignment_row *was, struct arena *mem, int64_t now, bool *out)
{
	struct assignment_row latest;
	enum ota_err err;

	*out = false;
	if (was->state != ASSIGN_FAILED && was->state != ASSIGN_REVERTED && was->state != ASSIGN_TIMED_OUT &&
		!was->is_drifted)
		return OTA_OK;
	if (!was->offered_at && was->detail == ota_err_detail(OTA_LIMIT))
		return OTA_OK; /* nothing has changed since it had no attempt left */
	err = grow_reach(job, was->device, now);
	if (!err)
		err = assignment_load_latest(job->db, was->device, mem, &latest, &job->e);
	*out = !err && latest.id == was->id;
	return err;
}

static enum ota_err try_again(struct job *job, const struct rollout_row *row, const struct rollout_task *task,
	int64_t now, uint64_t *n)
{
	AUTO(arena) struct arena mem;
	struct assignment_opened opened = {0};
	struct assignment_row was;
	bool meant = false;
	enum ota_err err;

	arena_init(&mem, (size_t)1024 * 1024);
	err = assignment_load(job->db, task->id, &mem, &was, &job->e);
	if (!err)
		err = is_meant(job, &was, &mem, now, &meant);
	if (err || !meant)
		return err;
	err = assignment_open(job->db, row->id, was.device, was.manifest, now, &opened, &job->e);
	if (err == OTA_CONFLICT)
		return OTA_OK; /* revoked meanwhile */
	if (err)
		return err;
	*n += opened.is_new && !opened.is_spent;
	return grow_note(job, row->uid, row->doing_by, was.version, was.device, now, &opened);
}

enum ota_err again_piece(
	struct job *job, int64_t rollout, int64_t now, uint64_t *n, bool *is_through, bool *is_retired)
{
	AUTO(arena) struct arena mem;
	struct rollout_tasks list = {0};
	struct release_row release;
	struct rollout_row row;
	uint64_t done = 0;
	enum ota_err err;

	arena_init(&mem, (size_t)1024 * 1024);
	err = rollout_load(job->db, rollout, &mem, &row, &job->e);
	if (err)
		return err;
	if (row.state == ROLLOUT_CANCELLED)
		return errmsg_fail(&job->e, OTA_STATE, "push '%s' was cancelled", row.uid);
	if (row.doing != ROLLOUT_RETRYING) {
		*is_through = true;
		return OTA_OK;
	}
	err = release_load(job->db, row.release, &mem, &release, &job->e);
	if (err)
		return err;
	if (release.retired_at) {
		*is_retired = true;
		return errmsg_fail(&job->e, OTA_STATE, "release '%s' is retired", release.version);
	}
	err = rollout_list_tasks(job->db, row.id, row.doing_last,
		&(struct db_page){.cursor = row.doing_cursor, .limit = AGAIN_PIECE}, &mem, &list, &job->e);
	for (size_t i = 0; i < list.n && !err; i++)
		err = try_again(job, &row, &list.rows[i], now, &done);
	if (!err)
		err = rollout_did(job->db, row.id, ROLLOUT_RETRYING, list.next, now, &job->e);
	if (err)
		return err;
	*n += done;
	*is_through = list.next == 0;
	return OTA_OK;
}
