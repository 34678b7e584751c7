/* The server itself: /v1/server, /v1/status, /v1/keys/release, /v1/openapi.json. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db/blob.h"
#include "db/change.h"
#include "db/device.h"
#include "db/fleet.h"
#include "db/image.h"
#include "db/rollout.h"
#include "server/api.h"
#include "server/domain.h"
#include "server/loop.h"
#include "server/mqtt.h"
#include "server/nouns.h"
#include "server/openapi.h"
#include "server/urls.h"
#include "server/view.h"

/* What only the loop may look at, taken before the job starts; settings may be read anew meanwhile. */
struct server_in {
	uint32_t root_version, root_missing;
	bool key_is_listed, broker_is_connected, broker_refuses;
	struct loop_lag lag;
	int64_t max_image, max_devices, connections, poll;
	struct url_list urls;
	size_t n_registry;
	const char *not_followed;          /* why changes are not in force; NULL: they are */
	const char *not_grown, *not_swept; /* what upkeep leaves out; NULL: nothing */
};

static const char *words_of(struct arena *mem, const struct errmsg *e)
{
	return *e->text ? arena_strdup(mem, e->text) : NULL;
}

static struct server_in *server_facts(struct req *req)
{
	const struct app *app = req->app;
	struct server_in *in = arena_alloc(req->mem, sizeof(*in));

	if (!in)
		return NULL;
	in->root_version = app->domain->root.version;
	in->root_missing = app->domain->root_missing;
	in->key_is_listed = app->domain->root.server_key_is_listed;
	in->n_registry = registry_count(app->domain->reg);
	in->not_followed = words_of(req->mem, &app->domain->follow_e);
	in->not_grown = words_of(req->mem, &app->domain->grow_e);
	in->not_swept = words_of(req->mem, &app->domain->sweep_e);
	in->broker_is_connected = app->mqtt && mqtt_is_connected(app->mqtt);
	in->broker_refuses = app->mqtt && !in->broker_is_connected && mqtt_is_refused(app->mqtt);
	in->max_image = app->cfg->max_image;
	in->max_devices = app->cfg->max_devices;
	in->connections = app->cfg->connections;
	in->poll = app->cfg->poll;
	if (app->loop)
		in->lag = loop_lag(app->loop, false);
	/* Without an address the list is empty, and provisioning says why. */
	if (urls_for_devices(app->cfg, req->mem, &in->urls, NULL))
		in->urls = (struct url_list){0};
	return in;
}

/* `shared` is how many devices' identities seem to be used twice, `name` one of them. */
static enum ota_err warnings_json(
	struct api_job *a, struct job *job, const struct server_in *in, uint64_t shared, const char *name)
{
	struct js_out *o = &a->out;
	uint64_t damaged;
	char text[256];
	enum ota_err err = image_count_damaged(job->db, &damaged, &job->e);

	if (err)
		return err;
	js_array(o, "warnings");
	if (in->root_version == 0)
		js_text(o, NULL, "no root yet: run otactl init");
	else if (!in->key_is_listed)
		js_text(o, NULL,
			"this server's key is not in the newest root: no device believes its tickets");
	if (in->not_followed)
		js_text(o, NULL, in->not_followed);
	if (in->not_grown)
		js_text(o, NULL, in->not_grown);
	if (in->not_swept)
		js_text(o, NULL, in->not_swept);
	if (in->root_missing) {
		snprintf(text, sizeof(text), "root %" PRIu32 " is missing here: a device has it",
			in->root_missing);
		js_text(o, NULL, text);
	}
	if (damaged) {
		snprintf(text, sizeof(text), "%" PRIu64 " image%s damaged: upload %s again", damaged,
			damaged == 1 ? " is" : "s are", damaged == 1 ? "it" : "them");
		js_text(o, NULL, text);
	}
	if (a->app->blobs && blob_space(a->app->blobs, 1, NULL) == OTA_NO_SPACE)
		js_text(o, NULL, "the disk is full up to its reserve: nothing can be uploaded");
	if (in->broker_refuses)
		js_text(o, NULL,
			"the broker refuses our user or password: devices are reached by their polls only");
	else if (a->app->cfg->mqtt_url && !in->broker_is_connected)
		js_text(o, NULL, "the broker does not answer: devices are reached by their polls only");
	if (in->urls.warning)
		js_text(o, NULL, in->urls.warning);
	if (shared == 1) {
		snprintf(text, sizeof(text),
			"%s: two devices seem to use this identity; see: otactl device show %s", name, name);
		js_text(o, NULL, text);
	} else if (shared) {
		snprintf(text, sizeof(text),
			"%" PRIu64 " identities, %s's for one, seem to be used by two devices each; see: "
			"otactl device list",
			shared, name);
		js_text(o, NULL, text);
	}
	js_end(o);
	return OTA_OK;
}

static void key_json(struct js_out *o, const char *key, const struct ota_signer *s)
{
	if (!s) {
		js_null(o, key);
		return;
	}
	js_object(o, key);
	js_text(o, "alg", s->alg == OTA_ALG_ED25519 ? "ed25519" : "esp256");
	js_hex(o, "pub", s->pub, s->pub_len);
	js_hex(o, "kid", s->kid, sizeof(s->kid));
	js_end(o);
}

static const char *broker_state(const struct config *cfg, const struct server_in *in)
{
	if (!cfg->mqtt_url)
		return "none";
	return in->broker_is_connected ? "connected" : in->broker_refuses ? "refused" : "connecting";
}

static void settings_json(struct api_job *a, const struct server_in *in)
{
	const struct config *cfg = a->app->cfg;
	struct js_out *o = &a->out;

	js_object(o, "broker");
	js_text(o, "url", cfg->mqtt_url);
	js_text(o, "state", broker_state(a->app->cfg, in));
	js_null(o, "detail");
	js_end(o);
	js_object(o, "limits");
	js_int(o, "max_image", in->max_image);
	js_int(o, "max_devices", in->max_devices);
	js_int(o, "connections", in->connections);
	js_int(o, "page", API_PAGE_MAX);
	js_end(o);
	js_int(o, "poll_s", in->poll);
	js_object(o, "loop");
	js_int(o, "p50_us", (int64_t)in->lag.p50_us);
	js_int(o, "p99_us", (int64_t)in->lag.p99_us);
	js_int(o, "worst_us", (int64_t)in->lag.worst_us);
	js_end(o);
}

static void disk_json(struct api_job *a)
{
	uint64_t free_bytes, reserve;

	if (!a->app->blobs || blob_disk(a->app->blobs, &free_bytes, &reserve, NULL)) {
		js_null(&a->out, "disk");
		return;
	}
	js_object(&a->out, "disk");
	js_int(&a->out, "free", (int64_t)free_bytes);
	js_int(&a->out, "reserve", (int64_t)reserve);
	js_end(&a->out);
}

static enum ota_err server_run(struct api_job *a, struct job *job)
{
	const struct server_in *in = a->in;
	const struct keystore *keys = a->app->domain->keys;
	const struct ota_signer *own = keystore_server_public(keys);
	struct js_out *o = &a->out;
	int64_t newest;
	enum ota_err err = change_newest(job->db, &newest, &job->e);

	if (err)
		return err;
	js_object(o, NULL);
	js_text(o, "version", OTAD_VERSION);
	js_int(o, "now", a->now);
	js_hex(o, "data_id", own->kid, sizeof(own->kid));
	js_bool(o, "ready", in->root_version != 0 && !in->not_followed);
	js_int(o, "root_version", in->root_version);
	js_int(o, "root_missing", in->root_missing);
	js_object(o, "keys");
	js_array(o, "server");
	key_json(o, NULL, own);
	js_end(o);
	key_json(o, "release", keystore_release(keys));
	js_end(o);
	js_array(o, "public_urls");
	for (size_t i = 0; i < in->urls.n; i++)
		js_text(o, NULL, in->urls.url[i]);
	js_end(o);
	settings_json(a, in);
	disk_json(a);
	js_int(o, "devices", (int64_t)in->n_registry);
	js_int(o, "change", newest);
	return warnings_json(a, job, in, 0, NULL);
}

enum h_result h_server_get(struct req *req, struct res *res)
{
	struct server_in *in = server_facts(req);

	(void)res;
	return in ? api_read_job(req, server_run, in) : res_error(req, OTA_NO_MEMORY, NULL);
}

/* The fleet at a glance. */
enum { SEEN_S = 86400 };

static void running_json(struct js_out *o, const char *board, const char *version, uint64_t n, bool is_other)
{
	js_object(o, NULL);
	js_text(o, "board", board);
	js_text(o, "version", version);
	js_int(o, "count", (int64_t)n);
	js_bool(o, "other", is_other);
	js_end(o);
}

static enum ota_err fleet_json(struct view *v, const struct fleet_counts *f)
{
	struct js_out *o = &v->a->out;

	js_object(o, "devices");
	js_int(o, "total", (int64_t)f->total);
	js_int(o, "pending", (int64_t)f->pending);
	js_int(o, "approved", (int64_t)f->approved);
	js_int(o, "held", (int64_t)f->held);
	js_int(o, "seen_24h", (int64_t)f->seen);
	js_end(o);
	js_array(o, "running");
	for (size_t i = 0; i < f->n_running; i++) {
		const struct fleet_running *row = &f->running[i];
		struct view_board board;
		enum ota_err err = view_board(v, row->board, &board);

		if (err)
			return err;
		running_json(o, board.name, *row->version ? row->version : NULL, row->n, false);
	}
	if (f->n_other)
		running_json(o, NULL, NULL, f->n_other, true);
	js_end(o);
	return OTA_OK;
}

static enum ota_err status_run(struct api_job *a, struct job *job)
{
	struct db_page page = {.limit = 20};
	struct js_out *o = &a->out;
	struct fleet_counts *f = arena_alloc(job->mem, sizeof(*f));
	struct rollout_list rollouts;
	AUTO(view) struct view v = {0};
	enum ota_err err;

	if (!f)
		return errmsg_fail(&job->e, OTA_NO_MEMORY, "out of memory");
	view_init(&v, a, job);
	err = fleet_count(job->db, a->now - SEEN_S, job->mem, f, &job->e);
	if (!err)
		err = rollout_list(job->db, ROLLOUT_RUNNING, &page, job->mem, &rollouts, &job->e);
	if (!err)
		err = view_expect_devices(&v, FLEET_WAITING_MAX);
	if (err)
		return err;
	js_object(o, NULL);
	err = fleet_json(&v, f);
	js_array(o, "rollouts");
	for (size_t i = 0; i < rollouts.n && !err; i++) {
		view_next(&v);
		js_object(o, NULL);
		err = view_rollout(&v, &rollouts.rows[i]);
		js_end(o);
	}
	js_end(o);
	js_array(o, "pending");
	for (size_t i = 0; i < f->n_waiting && !err; i++) {
		struct device_row row;

		err = device_load(job->db, f->waiting[i], job->mem, &row, &job->e);
		js_object(o, NULL);
		if (!err)
			err = view_device(&v, &row);
		js_end(o);
	}
	js_end(o);
	return err ? err : warnings_json(a, job, a->in, f->shared, f->shared_name);
}

enum h_result h_status_get(struct req *req, struct res *res)
{
	struct server_in *in = server_facts(req);

	(void)res;
	return in ? api_read_job(req, status_run, in) : res_error(req, OTA_NO_MEMORY, NULL);
}

/* The private half is on disk before the answer; asked again, the same key is told. */
static enum ota_err key_run(struct api_job *a, struct job *job)
{
	struct keystore *keys = a->app->domain->keys;
	enum ota_err err = keystore_make_release(keys, &job->e);

	if (err == OTA_EXISTS) {
		err = OTA_OK;
	} else if (!err) {
		a->status = 201;
		err = api_audit(a, job, "key.create", "release", NULL, NULL);
	}
	if (!err)
		key_json(&a->out, NULL, keystore_release(keys));
	return err;
}

enum h_result h_key_release_create(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, key_run, NULL);
}

enum h_result h_openapi_get(struct req *req, struct res *res)
{
	(void)req;
	return res_body(res, 200, "application/json", openapi_json, openapi_json_len);
}
