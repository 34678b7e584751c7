#include "server/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "db/assignment.h"
#include "db/backup.h"
#include "db/blob.h"
#include "db/db.h"
#include "proto/crypto_openssl.h"
#include "server/actor.h"
#include "server/app.h"
#include "server/openblob.h"
#include "server/datadir.h"
#include "server/domain.h"
#include "server/http.h"
#include "server/json.h"
#include "server/log.h"
#include "server/loop.h"
#include "server/mqtt.h"
#include "server/ops.h"
#include "server/routes.h"
#include "server/sdnotify.h"
#include "server/tls.h"

enum {
	DRAIN_MS = 5000,
	DRAIN_STEP_MS = 100,
	BUSY_TIMEOUT_MS = 5000,
};

struct server {
	struct app app;
	struct config *cfg;
	int argc;
	char *const *argv;
	char *const *env;
	struct loop *loop;
	int lock_fd;
	int signal_fd;
	struct loop_source signals, jobs_done;
	struct timer drain;
	int64_t drain_begin_ms;
	bool has_socket;
	bool is_draining;
	bool is_cut;
	bool is_reloading;
	bool has_https;
};

static int64_t wall_clock(void *ctx)
{
	(void)ctx;
	return time(NULL);
}

static int64_t mono_clock(void *ctx)
{
	(void)ctx;
	return loop_now_ms();
}

/* Database. */

static enum ota_err open_connection(void *ctx, bool writing, struct db **out, struct errmsg *e)
{
	struct server *s = ctx;
	const struct db_options options = {
		.mode = writing ? DB_READ_WRITE : DB_READ_ONLY,
		.busy_timeout_ms = BUSY_TIMEOUT_MS,
		.now = wall_clock(NULL),
	};
	struct db *db = NULL;
	enum ota_err err = db_open(s->cfg->data, &options, &db, e);

	if (!err && writing)
		err = assignment_start(db, options.now, e);
	if (err)
		db_close(db);
	else
		*out = db;
	return err;
}

/* Make or migrate the database before any thread opens it. */
static enum ota_err prepare_database(struct server *s, struct errmsg *e)
{
	const struct db_options options = {
		.mode = DB_CREATE, .busy_timeout_ms = BUSY_TIMEOUT_MS, .now = wall_clock(NULL)};
	struct db *db = NULL;
	enum ota_err err = backup_recover(s->cfg->data, e);

	if (!err)
		err = db_open(s->cfg->data, &options, &db, e);
	if (!err)
		db_close(db);
	return err;
}

static enum ota_err start_storage(struct server *s, struct errmsg *e)
{
	const struct blob_options blob_options = {
		.crypto = s->app.crypto,
		.reserve = (uint64_t)s->cfg->disk_reserve,
	};
	const struct jobs_config jobs_config = {
		.db_open = open_connection,
		.db_close = db_close,
		.ctx = s,
	};
	enum ota_err err = prepare_database(s, e);

	if (!err)
		err = blob_store_open(s->cfg->data, &blob_options, &s->app.blobs, e);
	if (!err)
		err = jobs_new(&jobs_config, &s->app.jobs, e);
	return err == OTA_CORRUPT ? datadir_damaged(s->cfg->data, e) : err;
}

/* Doors. */

static enum ota_err open_socket(struct server *s, struct errmsg *e)
{
	struct door_spec spec;
	int fd;
	enum ota_err err = datadir_listen_socket(s->cfg->data, &spec, &fd, e);

	if (err)
		return err;
	s->has_socket = true;
	return http_open(s->app.http, &spec, fd, NULL, NULL, e);
}

static enum ota_err open_doors(struct server *s, const struct door_spec *doors, unsigned n, struct errmsg *e)
{
	struct tls_material tls = {.cert = NULL};
	enum ota_err err = OTA_OK;

	for (unsigned i = 0; i < n; i++)
		s->has_https = s->has_https || doors[i].kind == DOOR_HTTPS;
	if (s->has_https) {
		err = tls_load(s->cfg, wall_clock(NULL), &tls, e);
		if (!err) {
			log_info("%s certificate, fingerprint SHA256 %s", tls.is_new ? "made a" : "the",
				tls.fingerprint);
			log_info("operators' key %s", tls.pin);
		}
	}
	for (unsigned i = 0; !err && i < n; i++) {
		int fd;

		err = door_listen(&doors[i], &fd, e);
		if (!err)
			err = http_open(s->app.http, &doors[i], fd,
				doors[i].kind == DOOR_HTTPS ? tls.cert : NULL,
				doors[i].kind == DOOR_HTTPS ? tls.key : NULL, e);
		if (!err)
			log_info("listening on %s", doors[i].text);
	}
	tls_release(&tls);
	return err;
}

/* Reload. */

struct reload {
	struct server *server;
	struct config cfg;
	struct tls_material tls;
	bool has_tls;
};

static enum ota_err reload_job(struct job *job)
{
	struct reload *r = job->ctx;
	enum ota_err err = config_load(&r->cfg, r->server->argc, r->server->argv, r->server->env, &job->e);

	if (!err && r->server->has_https) {
		err = tls_load(&r->cfg, wall_clock(NULL), &r->tls, &job->e);
		r->has_tls = !err;
	}
	return err;
}

/* Take over what may change in a running server; the rest of the new settings waits for a restart. The texts
 * live in the new config's arena, which therefore replaces the old one as a whole. */
static void take_over(struct server *s, struct config *fresh)
{
	for (size_t i = 0; i < n_config_options; i++) {
		const struct config_option *opt = &config_options[i];
		void *now = (char *)s->cfg + opt->offset;
		const void *then = (const char *)fresh + opt->offset;

		if (!(opt->flags & CONFIG_RELOAD))
			continue;
		if (opt->kind == CONFIG_BOOL)
			*(bool *)now = *(const bool *)then;
		else if (opt->kind != CONFIG_TEXT && opt->kind != CONFIG_LIST)
			*(int64_t *)now = *(const int64_t *)then;
	}
	datadir_fit_descriptors(&s->cfg->connections);
	blob_store_set_reserve(s->app.blobs, (uint64_t)s->cfg->disk_reserve);
	log_setup((enum log_level)s->cfg->log_level, (enum log_format)s->cfg->log_format);
}

static void reload_done(struct job *job)
{
	struct reload *r = job->ctx;
	struct server *s = r->server;
	struct errmsg e = {{0}};

	s->is_reloading = false;
	if (job->err) {
		log_error("settings not reloaded: %s", job->e.text);
	} else {
		take_over(s, &r->cfg);
		if (r->has_tls && http_replace_tls(s->app.http, r->tls.cert, r->tls.key, &e) != OTA_OK)
			log_error("certificate not replaced: %s", e.text);
		else
			log_info("settings reloaded%s%s%s%s",
				r->has_tls ? ", certificate fingerprint SHA256 " : "",
				r->has_tls ? r->tls.fingerprint : "", r->has_tls ? ", operators' key " : "",
				r->has_tls ? r->tls.pin : "");
		if (s->app.hooks.reloaded)
			s->app.hooks.reloaded(&s->app);
	}
	tls_release(&r->tls);
	config_release(&r->cfg);
	sdnotify("READY=1");
}

static void reload(struct server *s)
{
	char state[64];
	struct job *job;
	struct reload *r;

	if (s->is_reloading || s->is_draining)
		return;
	job = job_new(64 * 1024);
	r = job ? arena_alloc(job->mem, sizeof *r) : NULL;
	if (!r) {
		log_error("settings not reloaded: out of memory");
		job_drop(job);
		return;
	}
	snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)loop_now_ms() * 1000);
	sdnotify(state);
	s->is_reloading = true;
	r->server = s;
	job->ctx = r;
	jobs_post(s->app.jobs, JOB_SLOW, job, reload_job, reload_done);
}

/* End. */

static void drain_step(struct timer *t)
{
	struct server *s = t->ctx;
	int64_t age_ms = loop_now_ms() - s->drain_begin_ms;

	if (s->is_cut || http_busy(s->app.http) == 0 || age_ms >= DRAIN_MS) {
		if (!s->is_cut)
			http_cut(s->app.http);
		s->is_cut = true;
		/* Requests belong to their jobs until those are done; a job is never cut. */
		if (http_waiting(s->app.http) == 0) {
			loop_stop(s->loop);
			return;
		}
	}
	timer_arm(s->app.timers, t, DRAIN_STEP_MS, drain_step, s);
}

static void begin_drain(struct server *s)
{
	if (s->is_draining) {
		s->is_cut = true;
		http_cut(s->app.http);
		return;
	}
	s->is_draining = true;
	s->drain_begin_ms = loop_now_ms();
	log_info("ending");
	sdnotify("STOPPING=1");
	http_stop_listening(s->app.http);
	if (s->app.ops)
		ops_release_waiting(&s->app);
	timer_arm(s->app.timers, &s->drain, 0, drain_step, s);
}

static void on_signal(struct loop_source *src, uint32_t events)
{
	struct server *s = src->ctx;
	struct signalfd_siginfo info;

	(void)events;
	while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
		if (info.ssi_signo == SIGHUP)
			reload(s);
		else
			begin_drain(s);
	}
}

static void on_jobs(struct loop_source *src, uint32_t events)
{
	struct server *s = src->ctx;

	(void)events;
	jobs_complete(s->app.jobs);
}

static enum ota_err start_signals(struct server *s, struct errmsg *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (s->signal_fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make a signalfd");
	s->signals.fn = on_signal;
	s->signals.ctx = s;
	return loop_add(s->loop, &s->signals, s->signal_fd, EPOLLIN, e);
}

/* Start. */

static enum ota_err start(struct server *s, struct errmsg *e)
{
	struct door_spec doors[CONFIG_LISTEN_MAX];
	unsigned n_doors = 0;
	int64_t wanted = s->cfg->connections;
	uint64_t warm_up;
	enum ota_err err = doors_from_config(s->cfg, doors, &n_doors, e);

	if (!err)
		err = mqtt_check_urls(s->cfg, e);
	if (!err)
		err = datadir_lock(s->cfg->data, &s->lock_fd, e);
	if (err)
		return err;
	/* The first random bytes may open a device; the loop must never. */
	err = crypto_random(&warm_up, sizeof warm_up);
	if (err)
		return errmsg_fail(e, err, "the system gives no random bytes");
	js_seed();
	datadir_fit_descriptors(&s->cfg->connections);
	if (s->cfg->connections < wanted)
		log_warn(
			"the limit of open descriptors allows %lld connections, not %lld (raise LimitNOFILE)",
			(long long)s->cfg->connections, (long long)wanted);
	err = loop_new(&s->loop, e);
	if (err)
		return err;
	s->app.loop = s->loop;
	s->app.timers = loop_timers(s->loop);
	err = start_signals(s, e);
	if (!err)
		err = start_storage(s, e);
	if (err)
		return err;
	s->jobs_done.fn = on_jobs;
	s->jobs_done.ctx = s;
	err = loop_add(s->loop, &s->jobs_done, jobs_fd(s->app.jobs), EPOLLIN, e);
	if (!err)
		err = blob_table_new(&s->app, &s->app.blobs_open, e);
	if (!err)
		err = domain_start(&s->app, e);
	if (!err)
		err = http_new(&s->app, s->loop, routes, n_routes, &s->app.http, e);
	if (!err)
		err = open_socket(s, e);
	if (!err)
		err = open_doors(s, doors, n_doors, e);
	if (!err && s->cfg->mqtt_url)
		err = mqtt_new(&s->app, &s->app.mqtt, e);
	return err;
}

/* False: a job of a lane did not end in time and goes on. */
static bool end(struct server *s)
{
	bool is_whole;

	/* Continuations that still run find nobody to notify. */
	mqtt_free(s->app.mqtt);
	s->app.mqtt = NULL;
	http_free(s->app.http);
	s->app.http = NULL;
	/* Every job that is queued is done before its thread ends, and its continuation runs. */
	is_whole = jobs_free(s->app.jobs);
	if (is_whole) {
		if (s->app.domain)
			domain_stop(&s->app);
		blob_table_free(s->app.blobs_open);
		blob_store_close(s->app.blobs);
		if (s->lock_fd >= 0)
			close(s->lock_fd);
	}
	loop_free(s->loop);
	if (s->signal_fd >= 0)
		close(s->signal_fd);
	if (s->has_socket)
		datadir_unlink_socket(s->cfg->data);
	return is_whole;
}

enum ota_err server_run(struct config *cfg, int argc, char *const *argv, char *const *env, struct errmsg *e)
{
	struct server s = {
		.app = {.cfg = cfg, .crypto = crypto_openssl(), .clock = wall_clock, .mono_ms = mono_clock},
		.cfg = cfg,
		.argc = argc,
		.argv = argv,
		.env = env,
		.lock_fd = -1,
		.signal_fd = -1,
	};
	enum ota_err err;
	bool is_whole;

	log_setup((enum log_level)cfg->log_level, (enum log_format)cfg->log_format);
	actor_start();
	err = start(&s, e);
	if (!err) {
		log_info("otad %s is ready, data in %s", OTAD_VERSION, cfg->data);
		sdnotify("READY=1");
		loop_run(s.loop);
	}
	is_whole = end(&s);
	if (!err)
		log_info(is_whole ? "ended" : "ended, with a job cut off");
	/* What a thread still uses, the libraries' own included, is not taken apart below it. */
	if (!err && !is_whole)
		_exit(EXIT_SUCCESS);
	return err;
}
