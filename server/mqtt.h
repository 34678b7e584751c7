/* The broker: notices out, presence in. The only user of libmosquitto.
 *
 * A broker is a convenience: nothing waits for it and nothing is lost without it. Names are resolved by a
 * worker; the socket is driven by the loop. Revisions of boards are kept and published (retained) again after
 * every connection, so a broker that comes back empty is told. Hints go through a bounded queue; the oldest
 * fall out. Loop thread only. */
#ifndef SERVER_MQTT_H
#define SERVER_MQTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/errmsg.h"

struct app;
struct config;
struct mqtt;

enum {
	MQTT_PAYLOAD_MAX = 32, /* bytes of a notice */
	MQTT_QUEUE_MAX = 2048, /* hints waiting for the broker */
};

/* Are otad's broker and the devices', where they are set, brokers' URLs? Pure. OTA_INVALID: no; the words say
 * what is wrong. */
OTA_MUST_USE enum ota_err mqtt_check_urls(const struct config *cfg, struct errmsg *e);

/* Start connecting to app->cfg->mqtt_url. OTA_INVALID: the URL is wrong. */
OTA_MUST_USE enum ota_err mqtt_new(struct app *app, struct mqtt **out, struct errmsg *e);
void mqtt_free(struct mqtt *m);

/* Set the retained notice of a board: topic <prefix>/b/<class-id hex>. NULL `m` is a no-op for both. */
void mqtt_board_notice(struct mqtt *m, const uint8_t class_id[16], const uint8_t *payload, size_t len);

/* A hint to one device: topic <prefix>/d/<device-id hex>, QoS 1, not retained. */
void mqtt_device_hint(struct mqtt *m, const uint8_t device_id[16], const uint8_t *payload, size_t len);

bool mqtt_is_connected(const struct mqtt *m);

/* The broker answered and said no (wrong user or password, most often); until it says yes. */
bool mqtt_is_refused(const struct mqtt *m);

#endif
