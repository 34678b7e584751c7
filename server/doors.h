/* Doors: where otad listens and which routes are behind each, as a pure reading of the settings. */
#ifndef SERVER_DOORS_H
#define SERVER_DOORS_H

#include <sys/socket.h>

#include "server/config.h"
#include "server/handler.h"

enum { DOOR_TEXT_LEN = 128 };

struct door_spec {
	enum door_kind kind;
	unsigned doors; /* DOOR_ bits */
	struct sockaddr_storage addr;
	socklen_t addr_len;
	char text[DOOR_TEXT_LEN]; /* "http://127.0.0.1:8484", for people */
};

/* Read "scheme://address:port[=operators,devices,clients]". The address is numeric, "localhost" or "*" (IPv6
 * and IPv4). Without a list a door on loopback or with TLS opens everything, and plain HTTP beyond loopback
 * opens devices and clients; it is refused without `plain_http`, and with operators in its list. */
OTA_MUST_USE enum ota_err door_parse(
	const char *text, bool plain_http, struct door_spec *out, struct errmsg *e);

/* All of cfg->listen; `out` has room for CONFIG_LISTEN_MAX. Two equal addresses: OTA_INVALID. */
OTA_MUST_USE enum ota_err doors_from_config(
	const struct config *cfg, struct door_spec *out, unsigned *n, struct errmsg *e);

#endif
