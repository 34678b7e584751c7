#include "server/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db/audit.h"
#include "db/token.h"
#include "proto/cleanup.h"
#include "proto/crypto_openssl.h"
#include "server/domain.h"
#include "server/log.h"
#include "server/nouns.h"

enum {
	USED_EVERY_S = 60,
	/* A fleet that reports commits hundreds of times a second; who waits looks a few times at most. */
	WAKE_AFTER_MS = 200,
};

struct ops {
	struct auth auth;
	struct ops_waiter *waiting;
	unsigned n_waiting;
	struct timer wake;
	bool is_ending;
};

static enum ota_err write_token(const char *dir, const char *text, struct errmsg *e)
{
	AUTO(fd) int at = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	AUTO(fd) int fd = -1;

	if (at < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", dir);
	/* One of an earlier start that did not get to its commit is of no use. */
	unlinkat(at, "admin.token", 0);
	fd = openat(at, "admin.token", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make '%s/admin.token'", dir);
	if (dprintf(fd, "%s\n", text) < 0 || fsync(fd) || fsync(at))
		return errmsg_fail_errno(e, errno, "cannot write '%s/admin.token'", dir);
	return OTA_OK;
}

/* The file comes first: a token that is stored and was never seen would lock everybody out but the socket. */
static enum ota_err first_token(struct app *app, struct db *db, struct errmsg *e)
{
	uint8_t random[AUTH_UID_LEN + AUTH_RANDOM_LEN];
	char text[AUTH_TOKEN_LEN + 1];
	int64_t now = app_now(app);
	struct token_row row = {
		.name = "admin", .role = TOKEN_ADMIN, .created_at = now, .created_by = "otad"};
	struct audit_row audit = {
		.at = now, .who = "otad", .action = "token.create", .target = "admin", .from = ""};
	AUTO(tx) struct db_tx tx = {0};
	int64_t id;
	enum ota_err err = crypto_random(random, sizeof(random));

	if (err)
		return errmsg_fail(e, err, "the operating system gives no random bytes");
	auth_make(app->crypto, random, text, row.uid, row.sha256);
	err = write_token(app->cfg->data, text, e);
	ota_wipe(text, sizeof(text));
	ota_wipe(random, sizeof(random));
	if (!err)
		err = db_begin(db, &tx, e);
	if (!err)
		err = token_insert(db, &row, &id, e);
	if (!err)
		err = audit_add(db, &audit, NULL, e);
	if (!err)
		err = db_commit(&tx, e);
	if (!err)
		log_info("first start: the administrator's token is in %s/admin.token", app->cfg->data);
	return err;
}

static enum ota_err load_tokens(struct app *app, struct db *db, struct errmsg *e)
{
	AUTO(arena) struct arena mem;
	struct db_page page = {.limit = 1};
	struct token_table table;
	struct token_list any;
	enum ota_err err;

	arena_init(&mem, (size_t)4 * 1024 * 1024);
	err = token_list(db, &page, &mem, &any, e);
	if (!err && any.n == 0)
		err = first_token(app, db, e);
	if (!err)
		err = token_table(db, app_now(app), &mem, &table, e);
	return err ? err : auth_replace(&app->ops->auth, table.rows, table.n);
}

enum ota_err ops_start(struct app *app, struct db *db, struct errmsg *e)
{
	enum ota_err err;

	app->ops = calloc(1, sizeof(*app->ops));
	if (!app->ops)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	err = load_tokens(app, db, e);
	if (err)
		ops_stop(app);
	return err;
}

void ops_stop(struct app *app)
{
	if (!app->ops)
		return;
	if (app->timers)
		timer_cancel(app->timers, &app->ops->wake);
	auth_release(&app->ops->auth);
	free(app->ops);
	app->ops = NULL;
}

struct use {
	int64_t token, now;
};

static enum ota_err use_run(struct job *job)
{
	const struct use *use = job->ctx;

	return token_used(job->db, use->token, use->now, &job->e);
}

/* Once a minute and token; nobody waits for it, and one that is lost is made up for by the next. */
static void note_use(struct app *app, struct auth_token *t, int64_t now)
{
	struct job *job;
	struct use *use;

	if (t->used && now - t->used < USED_EVERY_S)
		return;
	t->used = now;
	job = job_new(4096);
	use = job ? arena_alloc(job->mem, sizeof(*use)) : NULL;
	if (!use) {
		job_drop(job);
		return;
	}
	*use = (struct use){t->id, now};
	job->ctx = use;
	jobs_post(app->jobs, JOB_STORE, job, use_run, NULL);
}

enum ota_err ops_auth(struct app *app, struct req *req)
{
	const char *header = req_header(req, "Authorization");
	int64_t now = app_now(app);
	const struct auth_token *t = app->ops ? auth_check(&app->ops->auth, app->crypto, header, app_now(app))
					      : NULL;

	if (!t)
		return OTA_DENIED;
	req->who.kind = WHO_TOKEN;
	req->who.role = t->role;
	req->who.token_id = t->id;
	memcpy(req->who.name, t->name, sizeof(req->who.name));
	note_use(app, &app->ops->auth.token[t - app->ops->auth.token], now);
	return OTA_OK;
}

void ops_tokens(struct app *app, const struct auth_token *tokens, size_t n)
{
	if (!app->ops || auth_replace(&app->ops->auth, tokens, n) == OTA_OK)
		return;
	/* A token revoked just now must not go on: nobody gets in but by the socket, until the next start. */
	log_error("out of memory for the token table: only the socket is served");
	auth_release(&app->ops->auth);
}

void ops_presence(struct app *app, const uint8_t device_id[16], bool *known, bool *online)
{
	struct reg_live live;
	uint32_t at;

	*known = *online = false;
	if (!app->domain)
		return;
	at = registry_find(app->domain->reg, device_id);
	if (at == REG_NONE)
		return;
	registry_live(app->domain->reg, at, &live);
	*known = live.presence_known;
	*online = live.online;
}

static void leave(struct ops_waiter *w)
{
	*w->link = w->next;
	if (w->next)
		w->next->link = w->link;
	timer_cancel(w->app->timers, &w->timer);
	w->app->ops->n_waiting--;
	w->woken(w);
}

static void time_is_over(struct timer *t)
{
	leave(t->ctx);
}

bool ops_wait(struct app *app, struct ops_waiter *w, int64_t ms)
{
	struct ops *ops = app->ops;

	if (!ops || !app->timers || ops->is_ending || ops->n_waiting == OPS_WAITERS_MAX)
		return false;
	w->app = app;
	w->next = ops->waiting;
	w->link = &ops->waiting;
	if (w->next)
		w->next->link = &w->next;
	ops->waiting = w;
	ops->n_waiting++;
	timer_arm(app->timers, &w->timer, ms, time_is_over, w);
	return true;
}

static void wake_all(struct ops *ops)
{
	/* Who is woken may wait again: only those who wait now. */
	struct ops_waiter *list = ops->waiting;

	ops->waiting = NULL;
	if (list)
		list->link = &list;
	while (list)
		leave(list);
}

static void wake_now(struct timer *t)
{
	wake_all(t->ctx);
}

void ops_changed(struct app *app)
{
	struct ops *ops = app->ops;

	if (ops && ops->waiting && !timer_is_armed(&ops->wake))
		timer_arm(app->timers, &ops->wake, WAKE_AFTER_MS, wake_now, ops);
}

void ops_release_waiting(struct app *app)
{
	if (!app->ops)
		return;
	app->ops->is_ending = true;
	wake_all(app->ops);
}
