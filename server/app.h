/* The wiring: what a handler can reach. Filled by main.c, passed by pointer, never a global. */
#ifndef SERVER_APP_H
#define SERVER_APP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/crypto.h"
#include "server/config.h"
#include "server/handler.h"
#include "server/timer.h"

struct blob_store;
struct blob_table;
struct http;
struct loop;
struct mqtt;
struct domain;
struct ops;

/* What the nouns give the infrastructure; domain_start fills it. A NULL hook means "no". Loop thread. */
struct app_hooks {
	/* Judge the Authorization header (Bearer token, OTA device MAC) or the image link in the query, fill
	 * req->who. Called before the handler wherever the role needs somebody and the socket did not settle
	 * it. OTA_DENIED: 401 with a constant body. */
	enum ota_err (*auth)(struct app *app, struct req *req);
	bool (*has_root)(struct app *app);
	/* A blob could not be read: stop offering it. */
	void (*image_damaged)(struct app *app, const uint8_t sha256[32]);
	/* A device's presence byte came (hint only). */
	void (*presence)(struct app *app, const uint8_t device_id[16], bool online);
	/* OTA_OK: ready; else `e` says what is missing (/readyz). */
	enum ota_err (*ready)(struct app *app, struct errmsg *e);
	/* SIGHUP was read and the configuration replaced. */
	void (*reloaded)(struct app *app);
};

struct app {
	struct config *cfg;
	const struct ota_crypto *crypto;
	struct loop *loop;
	struct timer_wheel *timers;
	struct jobs *jobs;
	struct blob_store *blobs;      /* thread-safe, see db/blob.h */
	struct blob_table *blobs_open; /* of them, those that are mapped: openblob.h */
	struct http *http;
	struct mqtt *mqtt;     /* NULL: no broker configured */
	struct domain *domain; /* registry, plan, keys: the nouns' own */
	struct ops *ops;       /* tokens and waiting operators, see ops.h */
	struct app_hooks hooks;
	int64_t (*clock)(void *ctx);   /* Unix seconds; tests set it */
	int64_t (*mono_ms)(void *ctx); /* monotonic milliseconds */
	void *clock_ctx;
};

static inline int64_t app_now(const struct app *app)
{
	return app->clock(app->clock_ctx);
}

#endif
