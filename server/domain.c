#include "server/domain.h"

#include <stdlib.h>
#include <string.h>

#include "db/assignment.h"
#include "db/device.h"
#include "db/enroll.h"
#include "db/image.h"
#include "db/rootdoc.h"
#include "proto/crypto_openssl.h"
#include "server/datadir.h"
#include "server/follow.h"
#include "server/h_device.h"
#include "server/ops.h"
#include "server/upkeep.h"
#include "server/wake.h"

uint32_t domain_random(struct domain *d)
{
	/* xorshift64*: spreads polls, guards nothing. */
	d->random ^= d->random >> 12;
	d->random ^= d->random << 25;
	d->random ^= d->random >> 27;
	return (uint32_t)(d->random * 0x2545f4914f6cdd1du >> 32);
}

struct plan_policy domain_policy(const struct domain *d, const struct reg_board *board)
{
	const struct config *cfg = d->app->cfg;

	return (struct plan_policy){
		.poll_s = board && board->poll_s ? board->poll_s : (uint32_t)cfg->poll,
		.poll_spread = (uint32_t)cfg->poll_spread,
		.root_version = d->root.version,
	};
}

void domain_changed(struct app *app)
{
	follow_start(app->domain);
}

/* Settling: a job that does nothing is behind every chunk of the round that was posted before it; a round of
 * several chunks takes several. */

struct settling {
	req_done_fn then;
	uint64_t round;
};

static enum ota_err do_nothing(struct job *job)
{
	(void)job;
	return OTA_OK;
}

static enum h_result settle_step(struct req *req, struct res *res, struct job *job)
{
	struct settling *s = job->ctx;
	const struct domain *d = req->app->domain;

	if (!job->err && !follow_is_done(d, s->round))
		return req_job_again(req, JOB_STORE, job, do_nothing, s, settle_step);
	if (!job->err && !follow_is_good(d, s->round))
		job->err = errmsg_fail(&job->e, OTA_UNAVAILABLE, "%s", d->follow_e.text);
	if (job->err) {
		job->err = OTA_UNAVAILABLE;
		errmsg_prefix(&job->e, "stored, but not in force yet: ");
	}
	return s->then(req, res, job);
}

enum h_result domain_settle(struct req *req, struct job *job, req_done_fn then)
{
	struct settling *s = arena_alloc(req->mem, sizeof(*s));

	if (!s) {
		domain_changed(req->app);
		job->err = errmsg_fail(
			&job->e, OTA_UNAVAILABLE, "stored, but not in force yet: out of memory");
		return then(req, req->res, job);
	}
	s->then = then;
	s->round = follow_start(req->app->domain);
	return req_job_again(req, JOB_STORE, job, do_nothing, s, settle_step);
}

/* Hooks */

static enum ota_err hook_auth(struct app *app, struct req *req)
{
	enum ota_err err = device_auth(app, req);

	if (err != OTA_NOT_FOUND)
		return err;
	return ops_auth(app, req);
}

static bool hook_has_root(struct app *app)
{
	return app->domain->root.version != 0;
}

static enum ota_err hook_ready(struct app *app, struct errmsg *e)
{
	if (app->domain->root.version == 0)
		return errmsg_fail(e, OTA_NO_ROOT, "no root yet: run otactl init");
	if (*app->domain->follow_e.text)
		return errmsg_fail(
			e, OTA_UNAVAILABLE, "changes are not in force: %s", app->domain->follow_e.text);
	return OTA_OK;
}

static void hook_presence(struct app *app, const uint8_t device_id[16], bool online)
{
	uint32_t at = registry_find(app->domain->reg, device_id);

	if (at != REG_NONE)
		registry_set_presence(app->domain->reg, at, online);
}

struct damage_job {
	struct domain *domain; /* the loop's */
	uint8_t sha256[32];
};

static enum ota_err mark_damaged(struct job *job)
{
	const struct damage_job *j = job->ctx;
	enum ota_err err = image_set_damaged(job->db, j->sha256, true, &job->e);

	return err == OTA_NOT_FOUND ? OTA_OK : err;
}

static void marked_damaged(struct job *job)
{
	const struct damage_job *j = job->ctx;

	if (job->err)
		log_error("an image could not be marked as damaged: %s", job->e.text);
	domain_changed(j->domain->app);
}

static void hook_image_damaged(struct app *app, const uint8_t sha256[32])
{
	struct job *job = job_new(4096);
	struct damage_job *j = job ? arena_alloc(job->mem, sizeof(*j)) : NULL;

	if (!j) {
		job_drop(job);
		return; /* it will be met again */
	}
	j->domain = app->domain;
	memcpy(j->sha256, sha256, sizeof(j->sha256));
	job->ctx = j;
	jobs_post(app->jobs, JOB_STORE, job, mark_damaged, marked_damaged);
}

/* Start */

/* Nothing in the database hangs on keys yet: they may be made. */
static enum ota_err is_first_start(struct db *db, bool *out, struct errmsg *e)
{
	AUTO(arena) struct arena mem;
	struct rootdoc_row root;
	struct secret_list secrets = {.n = 0};
	uint64_t devices = 0;
	enum ota_err err;

	arena_init(&mem, 1024 * 1024);
	err = rootdoc_newest(db, &mem, &root, e);
	if (err != OTA_NO_ROOT) {
		*out = false;
		return err;
	}
	err = device_count(db, NULL, &devices, e);
	if (!err)
		err = secret_list(db, &(struct db_page){.limit = 1}, &mem, &secrets, e);
	if (!err)
		*out = devices == 0 && secrets.n == 0;
	return err;
}

static enum ota_err open_parts(struct domain *d, struct db *db, struct errmsg *e)
{
	bool may_make;
	uint64_t seed[2];
	const char *dir = d->app->cfg->data;
	enum ota_err err = is_first_start(db, &may_make, e);

	if (err == OTA_CORRUPT)
		return datadir_damaged(dir, e);
	if (!err)
		err = keystore_open(dir, may_make, &d->keys, e);
	if (err)
		return err;
	err = crypto_random(seed, sizeof(seed));
	if (err)
		return errmsg_fail(e, err, "no random numbers");
	d->random = seed[0] | 1;
	d->reg = registry_new(seed[1]);
	if (!d->reg)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	err = follow_load_all(d, db, e);
	if (!err)
		err = ops_start(d->app, db, e);
	return err == OTA_CORRUPT ? datadir_damaged(dir, e) : err;
}

enum ota_err domain_start_db(struct app *app, struct db *db, struct errmsg *e)
{
	struct domain *d = calloc(1, sizeof(*d));
	enum ota_err err;

	if (!d)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	d->app = app;
	app->domain = d;
	err = open_parts(d, db, e);
	if (err) {
		domain_stop(app);
		return err;
	}
	app->hooks = (struct app_hooks){
		.auth = hook_auth,
		.has_root = hook_has_root,
		.image_damaged = hook_image_damaged,
		.presence = hook_presence,
		.ready = hook_ready,
	};
	if (app->timers)
		upkeep_start(d);
	return OTA_OK;
}

enum ota_err domain_start(struct app *app, struct errmsg *e)
{
	AUTO(db) struct db *db = NULL;
	struct db_options options = {.mode = DB_CREATE, .now = app_now(app)};
	enum ota_err err = db_open(app->cfg->data, &options, &db, e);

	return err ? err : domain_start_db(app, db, e);
}

void domain_stop(struct app *app)
{
	struct domain *d = app->domain;

	if (!d)
		return;
	if (app->timers)
		upkeep_stop(d);
	ops_stop(app);
	app->domain = NULL;
	registry_free(d->reg);
	keystore_free(d->keys);
	wake_list_release(&d->news);
	wake_list_release(&d->already);
	damaged_release(&d->damaged);
	free(d);
}
