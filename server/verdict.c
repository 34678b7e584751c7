#include "server/verdict.h"

#include <string.h>

#include "db/assignment.h"
#include "db/board.h"
#include "db/event.h"
#include "db/release.h"
#include "proto/hex.h"

static enum ota_err tell(
	struct job *job, const struct verdict *v, const char *kind, int64_t assignment, const char *text)
{
	struct event_row event = {
		.device = v->device, .at = v->now, .kind = kind, .text = text, .assignment = assignment};

	return text ? event_add(job->db, &event, &job->e) : OTA_NO_MEMORY;
}

enum ota_err verdict_claim(struct job *job, const struct verdict *v)
{
	struct manifest_row m;
	char hex[65];
	bool is_given;
	enum ota_err err = assignment_was_given(
		job->db, v->device, v->ci->running_digest, &is_given, &job->e);

	if (err || is_given)
		return err;
	hex_encode(v->ci->running_digest, 32, hex);
	err = manifest_load_digest(job->db, v->ci->running_digest, job->mem, &m, &job->e);
	if (err == OTA_NOT_FOUND)
		return tell(job, v, "claim", 0,
			arena_printf(job->mem, "says it runs %.16s, which no release here has", hex));
	if (err)
		return err;
	return tell(job, v, "claim", 0,
		arena_printf(job->mem, "says it runs %.16s, which was never assigned to it", hex));
}

/* What a device says that it runs, in a word for its log, beside what it should run. */
static enum ota_err name_running(
	struct job *job, const struct verdict *v, const struct assignment_row *task, const char **name)
{
	struct manifest_row m;
	struct release_row r;
	struct board_row board;
	enum ota_err err;

	*name = v->ci->has_running ? "something else" : "nothing of ours";
	if (!v->ci->has_running)
		return OTA_OK;
	err = manifest_load_digest(job->db, v->ci->running_digest, job->mem, &m, &job->e);
	if (!err)
		err = release_load(job->db, m.release, job->mem, &r, &job->e);
	if (err == OTA_NOT_FOUND) {
		job->e.text[0] = '\0';
		return OTA_OK;
	}
	if (!err)
		err = board_load(job->db, r.board, job->mem, &board, &job->e);
	/* Versions are a board's own: those of another, and two of one name, are told apart. */
	if (!err)
		*name = strcmp(r.version, task->version) == 0
				? arena_printf(job->mem, "another %s (%s, sequence %u)", r.version,
					  board.name, m.sequence)
				: r.version;
	return err || *name ? err : OTA_NO_MEMORY;
}

enum ota_err verdict_drift(struct job *job, const struct verdict *v)
{
	struct assignment_row task;
	const char *name;
	enum ota_err err = assignment_load_latest(job->db, v->device, job->mem, &task, &job->e);

	if (err == OTA_NOT_FOUND)
		return OTA_OK;
	if (err || !task.is_drifted)
		return err;
	if (task.is_older)
		return tell(job, v, "drifted", task.id,
			arena_printf(job->mem,
				"runs something newer than %s, which it should run, and refuses that: push "
				"again what it should run",
				task.version));
	err = name_running(job, v, &task, &name);
	if (err)
		return err;
	return tell(job, v, "drifted", task.id,
		arena_printf(job->mem,
			task.is_cancelled
				? "runs %s; it should run %s, whose push %.8s was cancelled: push it again"
				: "runs %s; it should run %s: otactl retry %.8s",
			name, task.version, task.rollout_uid));
}

enum ota_err verdict_back(struct job *job, const struct verdict *v, bool moved)
{
	struct assignment_row task;
	enum ota_err err;

	if (moved || !v->ci->has_running)
		return OTA_OK;
	err = assignment_load_latest(job->db, v->device, job->mem, &task, &job->e);
	if (err == OTA_NOT_FOUND)
		return OTA_OK;
	if (err || task.state != ASSIGN_RUNNING || memcmp(task.digest, v->ci->running_digest, 32) != 0)
		return err;
	return tell(job, v, "running", task.id, arena_printf(job->mem, "runs %s again", task.version));
}

enum ota_err verdict_late(struct job *job, const struct verdict *v)
{
	struct assignment_row task;
	enum ota_err err;

	if (!v->ci->has_running)
		return OTA_OK;
	err = assignment_load_late(job->db, v->device, v->ci->running_digest, job->mem, &task, &job->e);
	if (err)
		return err == OTA_NOT_FOUND ? OTA_OK : err;
	return tell(job, v, "late", task.id,
		arena_printf(job->mem, "runs %s all the same: %s", task.version,
			task.state == ASSIGN_CANCELLED ? "it was withdrawn too late" : "its time was over"));
}
