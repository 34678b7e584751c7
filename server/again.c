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

/* The assignments of the next piece. Most that a page looks at may be of other pushes. */
static enum ota_err next_piece(
	struct job *job, const struct rollout_row *row, int64_t now, int64_t *next, uint64_t *n)
{
	AUTO(arena) struct arena mem;
	struct db_page page = {.cursor = row->doing_cursor, .limit = AGAIN_PIECE};
	enum ota_err err = OTA_OK;

	arena_init(&mem, (size_t)1024 * 1024);
	for (int looks = 0; looks < AGAIN_LOOKS && page.limit && !err; looks++) {
		struct rollout_tasks list = {0};

		err = rollout_list_tasks(job->db, row->id, row->doing_last, &page, &mem, &list, &job->e);
		for (size_t i = 0; i < list.n && !err; i++)
			err = try_again(job, row, &list.rows[i], now, n);
		page.cursor = list.next;
		page.limit -= (uint32_t)list.n;
		if (!list.next)
			break;
	}
	*next = page.cursor;
	return err;
}

enum ota_err again_piece(
	struct job *job, int64_t rollout, int64_t now, uint64_t *n, bool *is_through, bool *is_retired)
{
	AUTO(arena) struct arena mem;
	struct release_row release;
	struct rollout_row row;
	uint64_t done = 0;
	int64_t next;
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
	err = next_piece(job, &row, now, &next, &done);
	if (!err)
		err = rollout_did(job->db, row.id, ROLLOUT_RETRYING, next, now, &job->e);
	if (err)
		return err;
	*n += done;
	*is_through = next == 0;
	return OTA_OK;
}

enum ota_err again_reach(struct job *job, int64_t device, int64_t now)
{
	AUTO(arena) struct arena mem;
	struct assignment_row latest;
	struct release_row release;
	struct rollout_row row;
	uint64_t n = 0;
	enum ota_err err;

	arena_init(&mem, (size_t)1024 * 1024);
	err = assignment_load_latest(job->db, device, &mem, &latest, NULL);
	if (err)
		return err == OTA_NOT_FOUND ? OTA_OK : err;
	err = rollout_load(job->db, latest.rollout, &mem, &row, &job->e);
	if (err || row.doing != ROLLOUT_RETRYING || latest.id <= row.doing_cursor ||
		latest.id > row.doing_last)
		return err;
	err = release_load(job->db, row.release, &mem, &release, &job->e);
	if (err || release.retired_at) /* nobody is tried again */
		return err;
	return try_again(job, &row, &(struct rollout_task){.id = latest.id, .device = device}, now, &n);
}
