#include "device-agent/ports/posix/mqtt_mosq.h"

#include <mosquitto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "proto/hex.h"
#include "proto/notice.h"

enum { KEEPALIVE_S = 60, HOST_MAX = 256 };

struct mqtt {
	struct mosquitto *mosq;
	char host[HOST_MAX];
	int port;
	char prefix[NOTICE_PREFIX_MAX + 1];
	char board_topic[NOTICE_TOPIC_MAX], device_topic[NOTICE_TOPIC_MAX], presence_topic[NOTICE_TOPIC_MAX];
	bool is_connected, is_trying;
	int64_t since_ms, next_try_ms;
	uint32_t backoff_s;
	mqtt_notice_fn on_notice;
	mqtt_log_fn on_log;
	void *ctx;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_connect(struct mosquitto *mosq, void *ctx, int rc)
{
	struct mqtt *m = ctx;
	char line[160];

	if (rc != 0) {
		(void)snprintf(line, sizeof line, "broker refused: %s", mosquitto_connack_string(rc));
		m->on_log(m->ctx, line);
		return;
	}
	m->is_connected = true;
	m->since_ms = now_ms();
	(void)mosquitto_subscribe(mosq, NULL, m->board_topic, 1);
	(void)mosquitto_subscribe(mosq, NULL, m->device_topic, 1);
	(void)mosquitto_publish(mosq, NULL, m->presence_topic, 1, "1", 0, false);
	m->on_log(m->ctx, "connected to the broker");
}

uint32_t mqtt_backoff_s(uint32_t last_s, int64_t lasted_ms)
{
	if (last_s == 0 || lasted_ms >= (int64_t)MQTT_BACKOFF_MAX_S * 1000)
		return MQTT_BACKOFF_MIN_S;
	return last_s < MQTT_BACKOFF_MAX_S / 2 ? last_s * 2 : MQTT_BACKOFF_MAX_S;
}

/* Spread over half of the wait: a broker that starts again is not called by all at once. */
static void try_later(struct mqtt *m, int64_t lasted_ms)
{
	uint32_t wait_ms, some = 0;

	m->backoff_s = mqtt_backoff_s(m->backoff_s, lasted_ms);
	wait_ms = m->backoff_s * 1000;
	if (getrandom(&some, sizeof some, GRND_NONBLOCK) != (ssize_t)sizeof some)
		some = 0;
	m->next_try_ms = now_ms() + wait_ms - some % (wait_ms / 2);
}

static void lost(struct mqtt *m)
{
	if (m->is_connected)
		m->on_log(m->ctx, "lost the broker, polling goes on");
	if (m->is_connected || m->is_trying)
		try_later(m, m->is_connected ? now_ms() - m->since_ms : 0);
	m->is_connected = false;
	m->is_trying = false;
}

static void on_disconnect(struct mosquitto *mosq, void *ctx, int rc)
{
	(void)mosq, (void)rc;
	lost(ctx);
}

static void on_message(struct mosquitto *mosq, void *ctx, const struct mosquitto_message *msg)
{
	struct mqtt *m = ctx;

	(void)mosq;
	if (msg->payloadlen < 0)
		return;
	m->on_notice(m->ctx, strcmp(msg->topic, m->board_topic) == 0, msg->payload, (size_t)msg->payloadlen);
}

static enum ota_err take_url(struct mqtt *m, struct ota_slice url, bool *is_tls, struct errmsg *e)
{
	char text[HOST_MAX], *host, *port;

	if (url.len >= sizeof text)
		return errmsg_fail(e, OTA_INVALID, "broker address is too long");
	memcpy(text, url.p, url.len);
	text[url.len] = '\0';
	*is_tls = strncmp(text, "mqtts://", 8) == 0;
	if (!*is_tls && strncmp(text, "mqtt://", 7) != 0)
		return errmsg_fail(e, OTA_INVALID, "broker address is neither mqtt:// nor mqtts://");
	host = text + (*is_tls ? 8 : 7);
	m->port = *is_tls ? 8883 : 1883;
	host[strcspn(host, "/")] = '\0';
	if (host[0] == '[') {
		port = strchr(host, ']');
		if (!port)
			return errmsg_fail(e, OTA_INVALID, "broker address has no closing ]");
		*port++ = '\0';
		host++;
	} else {
		port = host + strcspn(host, ":");
	}
	if (*port == ':') {
		char *end;
		long n = strtol(port + 1, &end, 10);

		if (*end != '\0' || n < 1 || n > 65535)
			return errmsg_fail(e, OTA_INVALID, "broker address has no proper port");
		m->port = (int)n;
		*port = '\0';
	}
	(void)snprintf(m->host, sizeof m->host, "%s", host);
	return OTA_OK;
}

static char *text_of(struct ota_slice s)
{
	char *out = malloc(s.len + 1);

	if (out) {
		memcpy(out, s.p, s.len);
		out[s.len] = '\0';
	}
	return out;
}

static enum ota_err set_login(struct mqtt *m, const struct provision *p)
{
	char *user, *password;
	int rc = MOSQ_ERR_NOMEM;

	if (p->broker_user.len == 0)
		return OTA_OK;
	user = text_of(p->broker_user);
	password = text_of(p->broker_password);
	if (user && password)
		rc = mosquitto_username_pw_set(m->mosq, user, password);
	if (password)
		ota_wipe(password, p->broker_password.len);
	free(password);
	free(user);
	return rc == MOSQ_ERR_SUCCESS ? OTA_OK : OTA_NO_MEMORY;
}

static enum ota_err set_up(struct mqtt *m, const struct provision *p, const char *ca_file, bool is_tls)
{
	char id[2 * DEVICE_ID_LEN + 1];
	enum ota_err err;

	hex_encode(p->device_id, DEVICE_ID_LEN, id);
	m->mosq = mosquitto_new(id, true, m);
	if (!m->mosq)
		return OTA_NO_MEMORY;
	err = set_login(m, p);
	if (err != OTA_OK)
		return err;
	if (is_tls && mosquitto_tls_set(m->mosq, ca_file, ca_file ? NULL : "/etc/ssl/certs", NULL, NULL,
			      NULL) != MOSQ_ERR_SUCCESS)
		return OTA_INVALID;
	if (mosquitto_will_set(m->mosq, m->presence_topic, 1, "0", 0, false) != MOSQ_ERR_SUCCESS)
		return OTA_NO_MEMORY;
	mosquitto_connect_callback_set(m->mosq, on_connect);
	mosquitto_disconnect_callback_set(m->mosq, on_disconnect);
	mosquitto_message_callback_set(m->mosq, on_message);
	return OTA_OK;
}

enum ota_err mqtt_new(const struct provision *p, const char *ca_file, mqtt_notice_fn on_notice,
	mqtt_log_fn on_log, void *ctx, struct mqtt **out, struct errmsg *e)
{
	struct mqtt *m = calloc(1, sizeof *m);
	bool is_tls = false;
	enum ota_err err;

	if (!m)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	m->on_notice = on_notice;
	m->on_log = on_log;
	m->ctx = ctx;
	if (p->topic_prefix.len > NOTICE_PREFIX_MAX)
		err = errmsg_fail(e, OTA_INVALID, "topic prefix is too long");
	else
		err = take_url(m, p->broker_url, &is_tls, e);
	if (err != OTA_OK) {
		free(m);
		return err;
	}
	memcpy(m->prefix, p->topic_prefix.p, p->topic_prefix.len);
	if (m->prefix[0] == '\0')
		memcpy(m->prefix, NOTICE_PREFIX_DEFAULT, sizeof NOTICE_PREFIX_DEFAULT);
	if (notice_topic(m->prefix, 'b', p->class_id, m->board_topic) != OTA_OK ||
		notice_topic(m->prefix, 'd', p->device_id, m->device_topic) != OTA_OK ||
		notice_topic(m->prefix, 'p', p->device_id, m->presence_topic) != OTA_OK) {
		free(m);
		return errmsg_fail(e, OTA_INVALID, "topic prefix is not usable");
	}
	(void)mosquitto_lib_init();
	err = set_up(m, p, ca_file, is_tls);
	if (err != OTA_OK) {
		mqtt_free(m);
		return errmsg_fail(e, err, "cannot set up the broker connection");
	}
	*out = m;
	return OTA_OK;
}

void mqtt_free(struct mqtt *m)
{
	if (!m)
		return;
	if (m->mosq) {
		if (m->is_connected) {
			(void)mosquitto_publish(m->mosq, NULL, m->presence_topic, 1, "0", 0, false);
			(void)mosquitto_disconnect(m->mosq);
		}
		mosquitto_destroy(m->mosq);
	}
	(void)mosquitto_lib_cleanup();
	free(m);
}

static void keep_trying(struct mqtt *m)
{
	if (m->is_connected || m->is_trying || now_ms() < m->next_try_ms)
		return;
	m->is_trying = mosquitto_connect_async(m->mosq, m->host, m->port, KEEPALIVE_S) == MOSQ_ERR_SUCCESS;
	if (!m->is_trying)
		try_later(m, 0);
}

void mqtt_wait(struct mqtt *m, int extra_fd, uint32_t wait_ms)
{
	struct pollfd fds[2] = {{.fd = extra_fd, .events = POLLIN}, {.fd = -1}};

	if (m) {
		keep_trying(m);
		fds[1].fd = mosquitto_socket(m->mosq);
		fds[1].events = (short)(POLLIN | (mosquitto_want_write(m->mosq) ? POLLOUT : 0));
		if (wait_ms > 1000)
			wait_ms = 1000; /* its keep-alive and our next try */
	}
	if (poll(fds, 2, (int)wait_ms) < 0)
		return;
	if (!m || (!m->is_connected && !m->is_trying))
		return;
	if (fds[1].fd < 0) {
		lost(m);
		return;
	}
	if ((fds[1].revents & (POLLIN | POLLERR | POLLHUP)) &&
		mosquitto_loop_read(m->mosq, 1) != MOSQ_ERR_SUCCESS)
		lost(m);
	else if ((fds[1].revents & POLLOUT) && mosquitto_loop_write(m->mosq, 1) != MOSQ_ERR_SUCCESS)
		lost(m);
	else if (mosquitto_loop_misc(m->mosq) != MOSQ_ERR_SUCCESS)
		lost(m);
}
