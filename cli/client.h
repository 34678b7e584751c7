/* HTTP client of otactl: the one user of libcurl. One server, one connection at a time.
 *
 * Where the server is, first that applies: --url or --data, OTACTL_URL (with OTACTL_TOKEN or --token-file),
 * OTAD_DATA, the login that `otactl login` stored, /var/lib/otad/otad.sock. What is said for one call or one
 * shell goes before what was stored once. A stored login pins the server's public key as ssh does: a server
 * that shows another one is refused.
 *
 * A proxy of the environment is used for https:// alone: what goes over http:// has a token and stays on this
 * machine. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/errmsg.h"

struct client;

struct client_target {
	char url[300]; /* without a trailing '/'; "" to use the socket */
	char token[128];
	char pin[80]; /* "sha256//<base64>" of the server's public key; "" to verify by the system's CAs */
	char socket[300]; /* path of the Unix socket */
	const char *from; /* what named it, for people: "OTAD_DATA", "the stored login"; NULL: "as given" */
};

/* Resolve where to talk to. `url`, `token_file`, `data_dir` are option values or NULL. OTA_INVALID: what was
 * said names no server. */
OTA_MUST_USE enum ota_err client_resolve(const char *url, const char *token_file, const char *data_dir,
	struct client_target *out, struct errmsg *e);

OTA_MUST_USE enum ota_err client_new(const struct client_target *t, struct client **out, struct errmsg *e);
void client_free(struct client *c);

/* Such a server has a key, which can be pinned. */
bool client_is_https(const char *url);

/* What to call the server in messages: its URL or the socket's path. Lives as long as `c`. */
const char *client_name(const struct client *c);

/* What named it: `from` of its target. */
const char *client_from(const struct client *c);

/* Bytes of an answer; free with client_answer_clear. */
struct client_answer {
	long status;
	char *body; /* NUL-terminated, never NULL after OTA_OK */
	size_t len;
	int64_t upload_offset; /* -1 without the header */
	char etag[40];
};

void client_answer_clear(struct client_answer *a);

/* One request. `body` may be NULL. OTA_OK: an answer of any status came. OTA_IO: none came, `e` says why and
 * what to do. OTA_TIMEOUT after `timeout_s` (0 = 60 s). OTA_WITHDRAWN: interrupted by a signal. */
OTA_MUST_USE enum ota_err client_call(struct client *c, const char *method, const char *path,
	const char *type, const void *body, size_t len, long timeout_s, struct client_answer *out,
	struct errmsg *e);

/* PUT the rest of an open file from `offset` on, with Upload-Offset. `progress` is called with bytes sent of
 * the whole, and may be NULL. */
OTA_MUST_USE enum ota_err client_upload(struct client *c, const char *path, FILE *f, uint64_t offset,
	uint64_t size, void (*progress)(void *ctx, uint64_t done, uint64_t size), void *ctx,
	struct client_answer *out, struct errmsg *e);

/* Public key of a TLS server as a pin, without trusting it: what `login` shows. OTA_UNSUPPORTED: the URL is
 * not https. `*is_trusted` tells whether the system's CAs vouch for it. */
OTA_MUST_USE enum ota_err client_fetch_pin(const char *url, char pin[80], bool *is_trusted, struct errmsg *e);

/* Did any call of this run ask a server for a change, and get it? */
bool client_has_changed(void);

/* Set from a signal handler to end a call under way. */
extern volatile int client_interrupted;

/* The stored login (0600 in $XDG_CONFIG_HOME/otactl or ~/.config/otactl). */
OTA_MUST_USE enum ota_err client_login_store(const struct client_target *t, struct errmsg *e);
OTA_MUST_USE enum ota_err client_login_load(struct client_target *out, struct errmsg *e);
OTA_MUST_USE enum ota_err client_login_forget(bool *was_there, struct errmsg *e);

#endif
