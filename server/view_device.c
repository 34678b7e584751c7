/* A device as the operators' JSON. */
#include "server/view.h"

#include <string.h>

#include "db/identity.h"
#include "db/release.h"
#include "proto/checkin.h"
#include "proto/hex.h"
#include "server/ops.h"

struct view_online {
	size_t at; /* in the answer's text: five characters */
	uint8_t id[16];
};

struct view_fill {
	size_t n;
	struct view_online *slot;
};

/* On the loop: the registry alone knows who is online. */
static void fill_online(struct api_job *a)
{
	const struct view_fill *fill = a->after_ctx;

	for (size_t i = 0; i < fill->n; i++) {
		bool known = false, online = false;

		ops_presence(a->app, fill->slot[i].id, &known, &online);
		memcpy(a->out.text + fill->slot[i].at, !known ? "null " : online ? "true " : "false", 5);
	}
}

enum ota_err view_expect_devices(struct view *v, size_t n)
{
	struct view_fill *fill = arena_alloc(v->job->mem, sizeof(*fill));

	v->online = arena_array(v->job->mem, n, sizeof(*v->online));
	if (!fill || !v->online)
		return errmsg_fail(&v->job->e, OTA_NO_MEMORY, "out of memory");
	*fill = (struct view_fill){0, v->online};
	v->n_online = n;
	v->a->after = fill_online;
	v->a->after_ctx = fill;
	return OTA_OK;
}

static void online_json(struct view *v, const struct device_row *row)
{
	struct view_fill *fill = v->a->after_ctx;
	struct js_out *o = &v->a->out;

	js_raw(o, "online", "null ");
	if (o->failed || v->a->after != fill_online || fill->n == v->n_online ||
		hex_decode(row->uid, 32, HEX_LOWER, fill->slot[fill->n].id, 16))
		return;
	fill->slot[fill->n++].at = o->len - 5;
}

static const char *identity_kind_name(enum identity_kind kind)
{
	static const char *const names[] = {"otad", "mac", "ddi", "cert", "topic", "url-token", "token"};

	return names[kind];
}

static enum ota_err details_json(struct view *v, const struct device_row *row)
{
	struct js_out *o = &v->a->out;
	struct db_page page = {.limit = 32};
	struct identity_list identities;
	struct attribute *attrs;
	size_t n;
	enum ota_err err = attribute_list(v->job->db, row->id, &v->tmp, &attrs, &n, &v->job->e);

	if (!err)
		err = identity_list(v->job->db, row->id, &page, &v->tmp, &identities, &v->job->e);
	if (err)
		return err;
	js_object(o, "attributes");
	for (size_t i = 0; i < n; i++)
		js_text(o, attrs[i].name, attrs[i].value);
	js_end(o);
	js_array(o, "identities");
	for (size_t i = 0; i < identities.n; i++) {
		js_object(o, NULL);
		js_text(o, "kind", identity_kind_name(identities.rows[i].kind));
		js_text(o, "value", identities.rows[i].value);
		js_end(o);
	}
	js_end(o);
	return OTA_OK;
}

enum ota_err view_running(struct view *v, const struct device_row *row)
{
	const struct device_said *said = &row->said;
	struct js_out *o = &v->a->out;
	const char *id = NULL;

	if (!said->has_running && !*said->running_text) {
		js_null(o, "running");
		return OTA_OK;
	}
	if (row->release) {
		struct release_row release;
		enum ota_err err = release_load(v->job->db, row->release, &v->tmp, &release, &v->job->e);

		if (!err)
			err = view_release_id(v, release.board, release.version, &id);
		if (err)
			return err;
	}
	js_object(o, "running");
	js_text(o, "version", *row->version ? row->version : NULL);
	js_text(o, "release", id);
	js_int(o, "sequence", said->running_sequence);
	js_hex(o, "digest", said->running_digest, said->has_running ? 32 : 0);
	js_bool(o, "confirmed", report_is_confirmed(said));
	js_bool(o, "stuck", report_is_stuck(said));
	js_bool(o, "known", row->release != 0);
	js_end(o);
	return OTA_OK;
}

/* What a device that reports nothing of ours was last seen running, confirmed. */
static enum ota_err ran_json(struct view *v, const struct device_row *row)
{
	const struct device_said *said = &row->said;
	struct manifest_row m;
	struct release_row r;
	enum ota_err err = OTA_NOT_FOUND;

	if (!said->has_running && !*said->running_text && said->has_confirmed)
		err = manifest_load_digest(v->job->db, said->confirmed_digest, &v->tmp, &m, &v->job->e);
	if (!err)
		err = release_load(v->job->db, m.release, &v->tmp, &r, &v->job->e);
	if (!err)
		js_text(&v->a->out, "ran", r.version);
	else if (err == OTA_NOT_FOUND)
		js_null(&v->a->out, "ran");
	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

static enum ota_err latest_json(struct view *v, const struct device_row *row)
{
	struct js_out *o = &v->a->out;
	struct assignment_row task, next;
	enum ota_err err = assignment_load_latest(v->job->db, row->id, &v->tmp, &task, &v->job->e);

	if (err == OTA_NOT_FOUND) {
		js_null(o, "assignment");
		js_null(o, "next");
		js_bool(o, "drifted", false);
		js_bool(o, "late", false);
		return OTA_OK;
	}
	if (err)
		return err;
	js_object(o, "assignment");
	err = view_assignment(v, &task, row);
	js_end(o);
	if (!err && task.has_next) {
		err = assignment_load_queued(v->job->db, row->id, &v->tmp, &next, &v->job->e);
		js_object(o, "next");
		if (!err)
			err = view_assignment(v, &next, row);
		js_end(o);
	} else {
		js_null(o, "next");
	}
	js_bool(o, "drifted", task.is_drifted);
	js_bool(o, "late", task.is_late);
	return err;
}

static void alarm_json(struct view *v, const struct device_row *row)
{
	struct js_out *o = &v->a->out;
	bool is_shared = alarm_is_shared(&row->alarm);

	if (row->alarm.times == 0) {
		js_null(o, "alarm");
		return;
	}
	js_object(o, "alarm");
	js_text(o, "kind", is_shared ? "shared-identity" : "counter-back");
	js_int(o, "times", row->alarm.times);
	js_int(o, "first", row->alarm.first_at);
	js_int(o, "last", row->alarm.last_at);
	js_text(o, "text",
		is_shared ? "two devices seem to use this identity: its counter goes back and forth"
			  : "its counter went back: a device restored from a copy does that once");
	js_end(o);
}

/* A device may choose any bytes: as text where they are that, else in hex. */
static void serial_json(struct js_out *o, const struct device_row *row)
{
	bool is_text = row->serial_len > 0;

	for (size_t i = 0; i < row->serial_len; i++)
		is_text = is_text && row->serial[i] >= 0x20 && row->serial[i] < 0x7f;
	if (is_text)
		js_textn(o, "serial", (const char *)row->serial, row->serial_len);
	else
		js_null(o, "serial");
	if (row->serial_len && !is_text)
		js_hex(o, "serial_hex", row->serial, row->serial_len);
	else
		js_null(o, "serial_hex");
}

enum ota_err view_device(struct view *v, const struct device_row *row)
{
	struct js_out *o = &v->a->out;
	struct view_board board;
	enum ota_err err = view_board(v, row->board, &board);

	if (err)
		return err;
	js_text(o, "id", row->uid);
	js_text(o, "name", row->name);
	js_text(o, "board", board.name);
	serial_json(o, row);
	js_text(o, "state", view_device_state_name(row->state));
	js_bool(o, "hold", row->is_held);
	js_bool(o, "rekey", row->has_waiting_enrolment);
	js_array(o, "tags");
	for (size_t i = 0; i < row->n_tags; i++)
		js_text(o, NULL, row->tags[i]);
	js_end(o);
	err = details_json(v, row);
	if (err)
		return err;
	js_int(o, "created", row->created_at);
	js_time(o, "approved_at", row->approved_at);
	js_time(o, "last_seen", row->said.seen_at);
	js_text(o, "address", row->said.from);
	alarm_json(v, row);
	online_json(v, row);
	js_int(o, "root_version", row->said.root_version);
	js_int(o, "uptime_s", row->said.uptime_s);
	err = view_running(v, row);
	if (!err)
		err = ran_json(v, row);
	if (!err)
		err = latest_json(v, row);
	js_int(o, "revision", row->revision);
	return err;
}
