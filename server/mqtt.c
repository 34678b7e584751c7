#include "server/mqtt.h"

#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "proto/crypto_openssl.h"
#include "proto/notice.h"
#include "server/app.h"
#include "server/log.h"
#include "server/loop.h"

enum {
	KEEPALIVE_S = 30,
	MISC_MS = 1000,
	IN_FLIGHT_MAX = 64, /* publications without their acknowledgement */
	CONNECT_WAIT_MS = 20000,
	BACKOFF_MIN_MS = 500,
	BACKOFF_MAX_MS = 5000, /* one connection: asking this often costs a broker nothing */
	REFUSED_MS = 60000,    /* a wrong password does not get right by asking often */
	HOST_MAX = 255,
	READ_PACKETS = 16,
	CONNECT_JOB_MEM = 4096,
};

struct hint {
	uint8_t device_id[16];
	uint8_t payload[MQTT_PAYLOAD_MAX];
	uint8_t len;
	bool is_sent, is_done;
	int mid;
};

struct retained {
	uint8_t class_id[16];
	uint8_t payload[MQTT_PAYLOAD_MAX];
	uint8_t len;
	bool is_sent;
	int mid; /* 0: nothing under way */
	struct retained *next;
};

enum mqtt_state {
	MQTT_IDLE,       /* waits for its next attempt */
	MQTT_CONNECTING, /* `mosq` belongs to a worker */
	MQTT_OPENING,    /* the socket is there, the broker has not answered yet */
	MQTT_UP,
};

struct mqtt {
	struct app *app;
	char host[HOST_MAX + 1];
	int port;
	bool is_tls;
	struct mosquitto *mosq;
	enum mqtt_state state;
	struct loop_source source;
	bool is_watched;
	bool wants_write;
	bool is_reached;    /* TCP is there: while the broker says nothing, being writable is no news */
	struct timer timer; /* the next attempt, or the library's housekeeping */
	int64_t opened_ms;
	int64_t backoff_ms;
	bool is_refused;
	bool is_reported; /* this outage stands in the log already */
	bool is_freeing;
	struct log_limit presence_log;
	/* Hints: a ring, head the oldest. */
	struct hint *ring;
	unsigned head, count;
	uint64_t n_dropped;
	unsigned in_flight;
	struct retained *notices;
	char presence[NOTICE_TOPIC_MAX];
};

static enum ota_err parse_url(struct mqtt *m, const char *url, struct errmsg *e)
{
	const char *host, *end, *port;
	size_t len;

	if (strncmp(url, "mqtts://", 8) == 0) {
		m->is_tls = true;
		host = url + 8;
	} else if (strncmp(url, "mqtt://", 7) == 0) {
		host = url + 7;
	} else {
		return errmsg_fail(
			e, OTA_INVALID, "mqtt: '%.60s' does not begin with mqtt:// or mqtts://", url);
	}
	if (strchr(host, '@'))
		return errmsg_fail(e, OTA_INVALID,
			"mqtt: user and password do not belong into the URL (mqtt-user, mqtt-password-file)");
	m->port = m->is_tls ? 8883 : 1883;
	if (host[0] == '[') {
		end = strchr(++host, ']');
		port = end ? end + 1 : NULL;
	} else {
		end = host + strcspn(host, ":/");
		port = end;
	}
	len = end ? (size_t)(end - host) : 0;
	if (len == 0 || len > HOST_MAX)
		return errmsg_fail(e, OTA_INVALID, "mqtt: '%.60s' names no host", url);
	memcpy(m->host, host, len);
	if (*port == ':') {
		char *after;
		long value = strtol(port + 1, &after, 10);

		if (after == port + 1 || value < 1 || value > 65535)
			return errmsg_fail(e, OTA_INVALID, "mqtt: '%.60s' has no valid port", url);
		m->port = (int)value;
		port = after;
	}
	if (strcmp(port, "") != 0 && strcmp(port, "/") != 0)
		return errmsg_fail(e, OTA_INVALID, "mqtt: '%.60s' has something behind the host", url);
	return OTA_OK;
}

enum ota_err mqtt_check_urls(const struct config *cfg, struct errmsg *e)
{
	struct mqtt m = {.port = 0};
	enum ota_err err = cfg->mqtt_url ? parse_url(&m, cfg->mqtt_url, e) : OTA_OK;

	if (err || !cfg->device_mqtt_url)
		return err;
	err = parse_url(&m, cfg->device_mqtt_url, e);
	if (err)
		errmsg_prefix(e, "device-");
	return err;
}

/* Sending. */

/* During a TLS handshake the library wants to write all the time: then what comes in says when. */
static void update_events(struct mqtt *m)
{
	bool is_shaking_hands = m->state == MQTT_OPENING && m->is_tls;
	bool wants = !m->is_reached || (mosquitto_want_write(m->mosq) && !is_shaking_hands);

	if (!m->is_watched || wants == m->wants_write)
		return;
	m->wants_write = wants;
	loop_change(m->app->loop, &m->source, EPOLLIN | (wants ? (uint32_t)EPOLLOUT : 0));
}

static bool publish(struct mqtt *m, char kind, const uint8_t id[16], const uint8_t *payload, size_t len,
	bool is_retained, int *mid)
{
	char topic[NOTICE_TOPIC_MAX];

	return notice_topic(m->app->cfg->topic_prefix, kind, id, topic) == OTA_OK &&
	       mosquitto_publish(m->mosq, mid, topic, (int)len, payload, 1, is_retained) == MOSQ_ERR_SUCCESS;
}

/* Boards first: one of them wakes many. */
static void pump(struct mqtt *m)
{
	if (m->state != MQTT_UP)
		return;
	for (struct retained *n = m->notices; n && m->in_flight < IN_FLIGHT_MAX; n = n->next) {
		if (n->is_sent || n->mid)
			continue;
		if (!publish(m, 'b', n->class_id, n->payload, n->len, true, &n->mid))
			break;
		n->is_sent = true;
		m->in_flight++;
	}
	for (unsigned i = 0; i < m->count && m->in_flight < IN_FLIGHT_MAX; i++) {
		struct hint *h = &m->ring[(m->head + i) % MQTT_QUEUE_MAX];

		if (h->is_sent)
			continue;
		if (!publish(m, 'd', h->device_id, h->payload, h->len, false, &h->mid))
			break;
		h->is_sent = true;
		m->in_flight++;
	}
	update_events(m);
}

static void on_publish(struct mosquitto *mosq, void *ctx, int mid)
{
	struct mqtt *m = ctx;

	(void)mosq;
	for (struct retained *n = m->notices; n; n = n->next) {
		if (n->mid == mid) {
			n->mid = 0;
			m->in_flight--;
			return;
		}
	}
	for (unsigned i = 0; i < m->count; i++) {
		struct hint *h = &m->ring[(m->head + i) % MQTT_QUEUE_MAX];

		if (h->is_sent && !h->is_done && h->mid == mid) {
			h->is_done = true;
			m->in_flight--;
			break;
		}
	}
	while (m->count > 0 && m->ring[m->head].is_done) {
		m->head = (m->head + 1) % MQTT_QUEUE_MAX;
		m->count--;
	}
}

/* The connection is gone: what was not acknowledged is sent again, boards always. */
static void unsend(struct mqtt *m)
{
	m->in_flight = 0;
	for (struct retained *n = m->notices; n; n = n->next) {
		n->is_sent = false;
		n->mid = 0;
	}
	for (unsigned i = 0; i < m->count; i++) {
		struct hint *h = &m->ring[(m->head + i) % MQTT_QUEUE_MAX];

		if (!h->is_done)
			h->is_sent = false;
	}
}

void mqtt_board_notice(struct mqtt *m, const uint8_t class_id[16], const uint8_t *payload, size_t len)
{
	struct retained *n;

	if (!m || len > MQTT_PAYLOAD_MAX)
		return;
	for (n = m->notices; n && memcmp(n->class_id, class_id, 16) != 0; n = n->next)
		;
	if (!n) {
		n = calloc(1, sizeof *n);
		if (!n)
			return;
		memcpy(n->class_id, class_id, 16);
		n->next = m->notices;
		m->notices = n;
	}
	memcpy(n->payload, payload, len);
	n->len = (uint8_t)len;
	/* One that is still under way (mid) goes out again after its acknowledgement. */
	n->is_sent = false;
	pump(m);
}

void mqtt_device_hint(struct mqtt *m, const uint8_t device_id[16], const uint8_t *payload, size_t len)
{
	struct hint *h;

	if (!m || len > MQTT_PAYLOAD_MAX)
		return;
	if (m->count == MQTT_QUEUE_MAX) {
		h = &m->ring[m->head];
		if (h->is_sent && !h->is_done && m->in_flight > 0)
			m->in_flight--;
		m->head = (m->head + 1) % MQTT_QUEUE_MAX;
		m->count--;
		m->n_dropped++;
	}
	h = &m->ring[(m->head + m->count) % MQTT_QUEUE_MAX];
	memset(h, 0, sizeof *h);
	memcpy(h->device_id, device_id, 16);
	memcpy(h->payload, payload, len);
	h->len = (uint8_t)len;
	m->count++;
	pump(m);
}

/* Connection. */

static void attempt(struct timer *t);

static void stop_watching(struct mqtt *m)
{
	if (m->is_watched)
		loop_remove(m->app->loop, &m->source);
	m->is_watched = false;
}

static void lost(struct mqtt *m, const char *why)
{
	int64_t wait_ms;
	uint16_t random = 0;

	stop_watching(m);
	mosquitto_destroy(m->mosq);
	m->mosq = NULL;
	m->state = MQTT_IDLE;
	unsend(m);
	if (m->is_refused) {
		if (!m->is_reported)
			log_error("the broker %s:%d refuses otad: check mqtt-user and its password; trying "
				  "again every minute",
				m->host, m->port);
		wait_ms = REFUSED_MS;
	} else {
		if (!m->is_reported)
			log_warn("the broker %s:%d is away (%s); devices poll meanwhile", m->host, m->port,
				why);
		wait_ms = m->backoff_ms;
		m->backoff_ms *= 2;
		if (m->backoff_ms > BACKOFF_MAX_MS)
			m->backoff_ms = BACKOFF_MAX_MS;
	}
	m->is_reported = true;
	if (m->is_freeing)
		return;
	/* Spread, so that several otads do not come back as one. */
	if (crypto_random(&random, sizeof random) == OTA_OK)
		wait_ms += wait_ms * random / (4 * 65536);
	timer_arm(m->app->timers, &m->timer, wait_ms, attempt, m);
}

static void check(struct mqtt *m, int rc)
{
	if (rc == MOSQ_ERR_SUCCESS) {
		pump(m);
		update_events(m);
	} else {
		lost(m, m->state == MQTT_OPENING ? "no connection" : mosquitto_strerror(rc));
	}
}

static void on_socket(struct loop_source *s, uint32_t events)
{
	struct mqtt *m = s->ctx;
	int rc = MOSQ_ERR_SUCCESS;

	if (events & EPOLLOUT) {
		m->is_reached = true;
		rc = mosquitto_loop_write(m->mosq, READ_PACKETS);
	}
	if (rc == MOSQ_ERR_SUCCESS && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
		rc = mosquitto_loop_read(m->mosq, READ_PACKETS);
	if (rc == MOSQ_ERR_SUCCESS && m->state == MQTT_OPENING && mosquitto_want_write(m->mosq))
		rc = mosquitto_loop_write(m->mosq, READ_PACKETS);
	if (rc == MOSQ_ERR_SUCCESS && m->is_refused)
		rc = MOSQ_ERR_CONN_REFUSED;
	check(m, rc);
}

static void housekeeping(struct timer *t)
{
	struct mqtt *m = t->ctx;
	int rc = mosquitto_loop_misc(m->mosq);

	if (rc == MOSQ_ERR_SUCCESS && m->state == MQTT_OPENING &&
		m->app->timers->now_ms - m->opened_ms > CONNECT_WAIT_MS)
		rc = MOSQ_ERR_CONN_LOST;
	timer_arm(m->app->timers, &m->timer, MISC_MS, housekeeping, m);
	check(m, rc);
}

static void on_connect(struct mosquitto *mosq, void *ctx, int rc)
{
	struct mqtt *m = ctx;

	/* CONNACK 4 and 5 of MQTT 3.1.1: bad user or password, not authorised. */
	if (rc == 4 || rc == 5)
		m->is_refused = true;
	if (rc != 0)
		return;
	m->state = MQTT_UP;
	m->is_refused = false;
	m->is_reported = false;
	m->backoff_ms = BACKOFF_MIN_MS;
	log_info("connected to the broker %s:%d", m->host, m->port);
	mosquitto_subscribe(mosq, NULL, m->presence, 0);
	/* Everything that is retained goes out again: the broker may have come back empty. */
	unsend(m);
}

static void on_message(struct mosquitto *mosq, void *ctx, const struct mosquitto_message *msg)
{
	struct mqtt *m = ctx;
	uint8_t id[16];

	(void)mosq;
	if (notice_topic_id(m->app->cfg->topic_prefix, 'p', msg->topic, id) || msg->payloadlen != 1) {
		char quoted[LOG_QUOTE_LEN];

		log_limited(&m->presence_log, 5, app_now(m->app), LOG_LEVEL_DEBUG,
			"presence of no device: topic %s", log_quote(msg->topic, quoted));
		return;
	}
	if (m->app->hooks.presence)
		m->app->hooks.presence(m->app, id, *(const char *)msg->payload == '1');
}

static bool new_session(struct mqtt *m)
{
	const struct config *cfg = m->app->cfg;

	m->mosq = mosquitto_new(NULL, true, m);
	if (!m->mosq)
		return false;
	mosquitto_connect_callback_set(m->mosq, on_connect);
	mosquitto_publish_callback_set(m->mosq, on_publish);
	mosquitto_message_callback_set(m->mosq, on_message);
	mosquitto_max_inflight_messages_set(m->mosq, IN_FLIGHT_MAX);
	mosquitto_int_option(m->mosq, MOSQ_OPT_TCP_NODELAY, 1);
	if (cfg->mqtt_user && mosquitto_username_pw_set(m->mosq, cfg->mqtt_user, cfg->mqtt_password))
		return false;
	if (m->is_tls && cfg->mqtt_ca && mosquitto_tls_set(m->mosq, cfg->mqtt_ca, NULL, NULL, NULL, NULL))
		return false;
	if (m->is_tls && !cfg->mqtt_ca && mosquitto_int_option(m->mosq, MOSQ_OPT_TLS_USE_OS_CERTS, 1))
		return false;
	return true;
}

/* On a worker: everything here may wait, above all for the name; mqtt-ca is a file. */
static enum ota_err connect_job(struct job *job)
{
	struct mqtt *m = *(struct mqtt **)job->ctx;
	int rc;

	if (!new_session(m))
		return errmsg_fail(
			&job->e, OTA_UNAVAILABLE, "the session cannot be made; is mqtt-ca readable?");
	rc = mosquitto_connect_async(m->mosq, m->host, m->port, KEEPALIVE_S);
	if (rc == MOSQ_ERR_SUCCESS)
		return OTA_OK;
	return errmsg_fail(&job->e, OTA_UNAVAILABLE, "%s",
		rc == MOSQ_ERR_EAI ? "its name does not resolve" : mosquitto_strerror(rc));
}

static void connect_done(struct job *job)
{
	struct mqtt *m = *(struct mqtt **)job->ctx;
	struct errmsg e = {{0}};
	int fd;

	if (m->is_freeing) {
		mosquitto_destroy(m->mosq);
		m->mosq = NULL;
		m->is_freeing = false;
		m->state = MQTT_IDLE;
		mqtt_free(m);
		return;
	}
	m->state = MQTT_OPENING;
	m->opened_ms = m->app->timers->now_ms;
	fd = job->err ? -1 : mosquitto_socket(m->mosq);
	if (fd < 0) {
		lost(m, job->err ? job->e.text : "no socket");
		return;
	}
	m->source.fn = on_socket;
	m->source.ctx = m;
	m->is_reached = false;
	m->wants_write = true;
	if (loop_add(m->app->loop, &m->source, fd, EPOLLIN | EPOLLOUT, &e) != OTA_OK) {
		lost(m, e.text);
		return;
	}
	m->is_watched = true;
	timer_arm(m->app->timers, &m->timer, MISC_MS, housekeeping, m);
}

static void attempt(struct timer *t)
{
	struct mqtt *m = t->ctx;
	struct job *job = job_new(CONNECT_JOB_MEM);
	struct mqtt **ctx = job ? arena_alloc(job->mem, sizeof(struct mqtt *)) : NULL;

	m->is_refused = false;
	if (!ctx) {
		job_drop(job);
		lost(m, "out of memory");
		return;
	}
	*ctx = m;
	job->ctx = ctx;
	m->state = MQTT_CONNECTING;
	jobs_post(m->app->jobs, JOB_NAME, job, connect_job, connect_done);
}

enum ota_err mqtt_new(struct app *app, struct mqtt **out, struct errmsg *e)
{
	struct mqtt *m = calloc(1, sizeof *m);
	enum ota_err err;

	if (m)
		m->ring = calloc(MQTT_QUEUE_MAX, sizeof m->ring[0]);
	if (!m || !m->ring) {
		free(m);
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	}
	m->app = app;
	m->backoff_ms = BACKOFF_MIN_MS;
	err = parse_url(m, app->cfg->mqtt_url, e);
	if (err) {
		free(m->ring);
		free(m);
		return err;
	}
	(void)snprintf(m->presence, sizeof m->presence, "%s/p/+", app->cfg->topic_prefix);
	mosquitto_lib_init();
	timer_arm(app->timers, &m->timer, 0, attempt, m);
	*out = m;
	return OTA_OK;
}

void mqtt_free(struct mqtt *m)
{
	if (!m)
		return;
	timer_cancel(m->app->timers, &m->timer);
	if (m->state == MQTT_CONNECTING) {
		/* A worker has the session; its continuation ends this. */
		m->is_freeing = true;
		return;
	}
	stop_watching(m);
	if (m->mosq) {
		mosquitto_disconnect(m->mosq);
		mosquitto_destroy(m->mosq);
	}
	while (m->notices) {
		struct retained *n = m->notices;

		m->notices = n->next;
		free(n);
	}
	free(m->ring);
	free(m);
	mosquitto_lib_cleanup();
}

bool mqtt_is_connected(const struct mqtt *m)
{
	return m && m->state == MQTT_UP;
}

bool mqtt_is_refused(const struct mqtt *m)
{
	return m->is_refused;
}
