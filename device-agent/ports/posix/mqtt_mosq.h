/* MQTT wake-up by libmosquitto, in the caller's thread: no loop of its own. The only user of mosquitto.h
 * here.
 *
 * Without a broker, or when it dies, everything goes on by polling: nothing here is an error for the caller.
 */
#ifndef PORT_MQTT_MOSQ_H
#define PORT_MQTT_MOSQ_H

#include "device-agent/include/ota_agent.h"
#include "proto/errmsg.h"

struct mqtt;

/* What the notice handler is told; `payload` is borrowed. */
typedef void (*mqtt_notice_fn)(void *ctx, bool is_board, const uint8_t *payload, size_t len);
/* One line about the connection, for the log. */
typedef void (*mqtt_log_fn)(void *ctx, const char *text);

/* Broker URL mqtt://host[:port] or mqtts://host[:port], user, password and topic prefix as provisioned in
 * `p`, which is copied from. OTA_INVALID: the URL is none. */
OTA_MUST_USE enum ota_err mqtt_new(const struct provision *p, const char *ca_file, mqtt_notice_fn on_notice,
	mqtt_log_fn on_log, void *ctx, struct mqtt **out, struct errmsg *e);
void mqtt_free(struct mqtt *m);

enum { MQTT_BACKOFF_MIN_S = 1, MQTT_BACKOFF_MAX_S = 60 };

/* How long to wait at most before the next try, after `last_s` before this one (0: it was the first) and a
 * connection of `lasted_ms` (0: none). One that was soon over counts as none: two devices with one identity
 * throw each other off the broker, and would do so without a pause. */
uint32_t mqtt_backoff_s(uint32_t last_s, int64_t lasted_ms);

/* Do what is due, then wait for the network, `extra_fd` (or -1) or `wait_ms`, whichever is first. */
void mqtt_wait(struct mqtt *m, int extra_fd, uint32_t wait_ms);

#endif
