#include "server/view.h"

#include <stdio.h>
#include <string.h>

#include "db/board.h"
#include "db/image.h"
#include "proto/suit.h"
#include "server/actor.h"
#include "server/plan.h"

enum { ROW_MEM_MAX = 4 * 1024 * 1024 }; /* what hangs on one row */

void view_init(struct view *v, struct api_job *a, struct job *job)
{
	memset(v, 0, sizeof(*v));
	v->a = a;
	v->job = job;
	v->poll_s = a->poll_s;
	v->poll_spread = a->poll_spread;
	arena_init(&v->tmp, ROW_MEM_MAX);
}

void view_next(struct view *v)
{
	arena_clear(&v->tmp);
}

enum ota_err view_board(struct view *v, int64_t id, struct view_board *out)
{
	struct board_row row;
	enum ota_err err;

	*out = (struct view_board){.name = ""};
	if (!id)
		return OTA_OK;
	for (unsigned i = 0; i < v->n_boards && i < VIEW_CACHE; i++) {
		if (v->board[i].id == id) {
			*out = v->board[i];
			return OTA_OK;
		}
	}
	err = board_load(v->job->db, id, &v->tmp, &row, &v->job->e);
	if (err)
		return err;
	*out = (struct view_board){id, arena_strdup(v->job->mem, row.name), row.poll_s};
	if (!out->name)
		return errmsg_fail(&v->job->e, OTA_NO_MEMORY, "out of memory");
	v->board[v->n_boards++ % VIEW_CACHE] = *out;
	return OTA_OK;
}

enum ota_err view_release_id(struct view *v, int64_t board, const char *version, const char **out)
{
	struct view_board b;
	enum ota_err err = view_board(v, board, &b);

	if (err)
		return err;
	*out = arena_printf(v->job->mem, "%s:%s", b.name, version);
	return *out ? OTA_OK : errmsg_fail(&v->job->e, OTA_NO_MEMORY, "out of memory");
}

enum ota_err view_release_size(struct view *v, const struct release_row *row, uint64_t *size)
{
	uint64_t largest[BOARD_COMPONENTS_MAX] = {0}, sum = 0;

	for (size_t i = 0; i < row->n_items; i++) {
		struct image_row image;
		uint32_t c = row->items[i].component;
		enum ota_err err = image_load(v->job->db, row->items[i].sha256, &v->tmp, &image, &v->job->e);

		if (err == OTA_NOT_FOUND && row->is_collected)
			continue;
		if (err)
			return err;
		if (c < BOARD_COMPONENTS_MAX && image.info.size > largest[c])
			largest[c] = image.info.size;
	}
	for (size_t c = 0; c < BOARD_COMPONENTS_MAX; c++)
		sum += largest[c];
	*size = sum;
	return OTA_OK;
}

static enum ota_err manifest_facts(struct view *v, int64_t id, struct view_manifest *out)
{
	struct view_manifest m = {.id = id};
	struct manifest_row manifest;
	struct release_row release;
	enum ota_err err;

	for (unsigned i = 0; i < v->n_manifests && i < VIEW_CACHE; i++) {
		if (v->manifest[i].id == id) {
			*out = v->manifest[i];
			return OTA_OK;
		}
	}
	err = manifest_load(v->job->db, id, &v->tmp, &manifest, &v->job->e);
	if (!err)
		err = release_load(v->job->db, manifest.release, &v->tmp, &release, &v->job->e);
	if (!err)
		err = view_release_size(v, &release, &m.size);
	if (!err)
		err = view_release_id(v, release.board, release.version, &m.release);
	if (err)
		return err;
	*out = m;
	v->manifest[v->n_manifests++ % VIEW_CACHE] = m;
	return OTA_OK;
}

static uint64_t bytes_done(const struct assignment_row *row, const struct device_row *device, uint64_t size)
{
	const struct device_said *said = device ? &device->said : NULL;

	if (row->state == ASSIGN_STAGED || row->state == ASSIGN_TRIAL || row->state == ASSIGN_RUNNING ||
		row->state == ASSIGN_SERVED)
		return size;
	if (!said || !said->has_target || memcmp(said->target_digest, row->digest, 32) != 0)
		return 0;
	return said->target_bytes < size ? said->target_bytes : size;
}

/* Why it failed, what it waits for, what became of it; NULL where the state says all. */
static enum ota_err assignment_text(struct view *v, const struct assignment_row *row, const char **out)
{
	struct arena *mem = &v->tmp;
	struct assignment_row open;
	char why[PLAN_TEXT_MAX];
	enum ota_err err = OTA_OK;

	*out = NULL;
	if (row->is_queued) {
		err = assignment_load_open(v->job->db, row->device, mem, &open, &v->job->e);
		if (err)
			return err;
		*out = open.state == ASSIGN_TRIAL
			       ? arena_printf(mem, "the trial of %s has to end first", open.version)
			       : arena_printf(mem, "%s may start there any moment and has to end first",
					 open.version);
	} else if (row->state == ASSIGN_FAILED && !row->offered_at &&
		   row->detail == ota_err_detail(OTA_LIMIT)) {
		*out = arena_printf(mem,
			"all %d attempts of this release are used up there: push it under another version",
			ASSIGNMENT_ATTEMPTS);
	} else if (row->state == ASSIGN_FAILED || row->state == ASSIGN_REVERTED) {
		plan_result_text(row->state, row->reason, row->detail, row->offset, why);
		*out = arena_strdup(mem, why);
	} else if (row->withdrawn_at && assign_state_is_open(row->state) && row->state != ASSIGN_TRIAL) {
		*out = arena_strdup(mem, "withdrawn, but its last ticket may still install it");
	} else {
		return OTA_OK;
	}
	return *out ? OTA_OK : errmsg_fail(&v->job->e, OTA_NO_MEMORY, "out of memory");
}

enum ota_err view_assignment(
	struct view *v, const struct assignment_row *row, const struct device_row *device)
{
	struct js_out *o = &v->a->out;
	struct view_manifest m;
	const char *text;
	enum ota_err err = manifest_facts(v, row->manifest, &m);

	if (!err)
		err = assignment_text(v, row, &text);
	if (err)
		return err;
	js_text(o, "rollout", row->rollout_uid);
	js_text(o, "release", m.release);
	js_text(o, "version", row->version);
	js_text(o, "state", assign_state_name(row->state));
	js_int(o, "bytes", (int64_t)bytes_done(row, device, m.size));
	js_int(o, "size", (int64_t)m.size);
	js_int(o, "attempt", row->attempt);
	js_int(o, "since", row->state_at);
	if (row->state == ASSIGN_FAILED || row->state == ASSIGN_REVERTED) {
		js_int(o, "reason", row->reason);
		js_int(o, "detail", row->detail);
	} else {
		js_null(o, "reason");
		js_null(o, "detail");
	}
	js_text(o, "text", text);
	js_bool(o, "queued", row->is_queued);
	js_bool(o, "drifted", row->is_drifted);
	js_bool(o, "older", row->is_older);
	js_bool(o, "rollout_cancelled", row->is_cancelled);
	js_bool(o, "late", row->is_late);
	js_time(o, "withdrawn", row->withdrawn_at);
	if (device && device->said.seen_at && assign_state_is_open(row->state)) {
		struct plan_policy pol = {.poll_spread = (uint32_t)v->poll_spread};
		struct view_board board;

		err = view_board(v, device->board, &board);
		if (err)
			return err;
		pol.poll_s = board.poll_s ? board.poll_s : (uint32_t)v->poll_s;
		js_int(o, "next_poll_by", plan_next_poll_by(&pol, device->said.seen_at));
	} else {
		js_null(o, "next_poll_by");
	}
	return OTA_OK;
}

const char *view_device_state_name(enum device_state state)
{
	switch (state) {
	case DEVICE_PENDING:
		return "pending";
	case DEVICE_APPROVED:
		return "approved";
	case DEVICE_REVOKED:
		return "revoked";
	}
	return "unknown";
}

const char *view_rollout_state_name(enum rollout_state state)
{
	switch (state) {
	case ROLLOUT_RUNNING:
		return "open";
	case ROLLOUT_DONE:
		return "done";
	case ROLLOUT_CANCELLED:
		return "cancelled";
	}
	return "unknown";
}

static enum ota_err envelope_json(struct view *v, const struct release_row *row)
{
	struct js_out *o = &v->a->out;
	struct manifest_row manifest;
	struct suit_envelope envelope;
	enum ota_err err;

	if (!row->manifest) {
		js_int(o, "envelope_size", 0);
		js_array(o, "signatures");
		js_end(o);
		return OTA_OK;
	}
	err = manifest_load(v->job->db, row->manifest, &v->tmp, &manifest, &v->job->e);
	if (err)
		return err;
	js_int(o, "envelope_size", (int64_t)manifest.envelope_len);
	js_array(o, "signatures");
	/* A draft without a block is no envelope a device would take; it lists none. */
	if (!suit_envelope_decode(v->a->app->crypto, manifest.envelope, manifest.envelope_len, &envelope)) {
		for (size_t i = 0; i < envelope.n_blocks; i++)
			js_hex(o, NULL, envelope.block[i].kid, OTA_KID_LEN);
	}
	js_end(o);
	return OTA_OK;
}

enum ota_err view_release(struct view *v, const struct release_row *row)
{
	struct js_out *o = &v->a->out;
	struct board_row board;
	const char *id;
	uint64_t size;
	enum ota_err err = board_load(v->job->db, row->board, &v->tmp, &board, &v->job->e);

	if (!err)
		err = view_release_id(v, row->board, row->version, &id);
	if (!err)
		err = view_release_size(v, row, &size);
	if (err)
		return err;
	js_text(o, "id", id);
	js_text(o, "board", board.name);
	js_text(o, "version", row->version);
	js_text(o, "notes", row->notes);
	js_int(o, "sequence", row->sequence);
	if (row->manifest)
		js_hex(o, "digest", row->digest, sizeof(row->digest));
	else
		js_null(o, "digest");
	js_text(o, "state", row->is_complete ? "signed" : "draft");
	js_text(o, "kind", "normal");
	js_array(o, "images");
	for (size_t i = 0; i < row->n_items; i++) {
		const struct release_item *item = &row->items[i];
		struct image_row image;

		err = image_load(v->job->db, item->sha256, &v->tmp, &image, &v->job->e);
		/* A retired release keeps what its images were called, not their bytes. */
		if (err == OTA_NOT_FOUND && row->is_collected)
			image = (struct image_row){0};
		else if (err)
			return err;
		js_object(o, NULL);
		js_text(o, "component",
			item->component < board.n_components ? board.components[item->component].name : "");
		js_text(o, "variant", item->variant);
		js_hex(o, "sha256", item->sha256, sizeof(item->sha256));
		js_int(o, "size", (int64_t)image.info.size);
		if (!err)
			js_text(o, "format", image_format_name(image.info.format));
		js_bool(o, "damaged", image.is_damaged);
		js_end(o);
	}
	js_end(o);
	js_int(o, "size", (int64_t)size);
	err = envelope_json(v, row);
	js_int(o, "created", row->created_at);
	actor_json(o, "by", row->created_by);
	js_time(o, "retired", row->retired_at);
	return err;
}

static const char *doing_name(enum rollout_doing doing)
{
	switch (doing) {
	case ROLLOUT_NOTHING:
		break;
	case ROLLOUT_CANCELLING:
		return "cancelling";
	case ROLLOUT_RETRYING:
		return "retrying";
	}
	return NULL;
}

/* Which rollout took the place of this one, on any device: the operator's question is "by whom?". */
static enum ota_err superseded_by(struct view *v, const struct rollout_row *row, const char **uid)
{
	const struct assignment_filter filter = {.rollout = row->id};
	struct db_page page = {.limit = DB_PAGE_MAX};

	do {
		AUTO(arena) struct arena mem;
		struct assignment_list list;
		enum ota_err err;

		arena_init(&mem, (size_t)4 * 1024 * 1024);
		err = assignment_list(v->job->db, &filter, &page, &mem, &list, &v->job->e);
		if (err)
			return err;
		for (size_t i = 0; i < list.n; i++) {
			struct rollout_row by;

			if (!list.rows[i].superseded_by)
				continue;
			err = rollout_load(v->job->db, list.rows[i].superseded_by, &v->tmp, &by, &v->job->e);
			if (!err)
				*uid = by.uid;
			return err;
		}
		page.cursor = list.next;
	} while (page.cursor);
	return OTA_OK;
}

enum ota_err view_rollout(struct view *v, const struct rollout_row *row)
{
	struct js_out *o = &v->a->out;
	struct rollout_counts counts;
	struct release_row release;
	struct view_board board;
	const char *id, *by = NULL, *state = view_rollout_state_name(row->state);
	enum ota_err err = rollout_count(v->job->db, row->id, &counts, &v->job->e);

	if (!err)
		err = release_load(v->job->db, row->release, &v->tmp, &release, &v->job->e);
	if (!err)
		err = view_board(v, release.board, &board);
	if (!err)
		err = view_release_id(v, release.board, release.version, &id);
	if (!err && counts.by_state[ASSIGN_SUPERSEDED])
		err = superseded_by(v, row, &by);
	if (err)
		return err;
	if (row->state == ROLLOUT_DONE && counts.total && counts.by_state[ASSIGN_SUPERSEDED] == counts.total)
		state = "superseded";
	js_text(o, "id", row->uid);
	js_text(o, "release", id);
	js_text(o, "board", board.name);
	js_text(o, "version", release.version);
	js_text(o, "selector", row->selector);
	js_text(o, "state", state);
	js_bool(o, "hold", row->is_held);
	js_int(o, "timeout_s", row->timeout_s);
	js_int(o, "targets", (int64_t)counts.total);
	js_object(o, "counts");
	for (int s = 0; s < ASSIGN_STATES; s++)
		js_int(o, assign_state_name((enum assign_state)s), (int64_t)counts.by_state[s]);
	js_end(o);
	js_int(o, "queued", (int64_t)counts.n_queued);
	js_int(o, "gone", (int64_t)counts.n_gone);
	js_int(o, "drifted", (int64_t)counts.n_drifted);
	js_bool(o, "growing", row->is_growing);
	js_text(o, "doing", doing_name(row->doing));
	js_int(o, "unsure", v->n_unsure);
	js_time(o, "until", v->unsure_until);
	js_int(o, "created", row->created_at);
	actor_json(o, "by", row->created_by);
	js_time(o, "ended", row->ended_at);
	js_text(o, "superseded_by", by);
	js_int(o, "revision", row->revision);
	return OTA_OK;
}
