/* Where devices reach this server: what a provisioning file tells them. */
#ifndef SERVER_URLS_H
#define SERVER_URLS_H

#include "proto/arena.h"
#include "proto/errmsg.h"
#include "proto/provision.h"
#include "server/config.h"

struct url_list {
	size_t n;
	const char *url[PROVISION_URLS_MAX]; /* each ends in '/' */
	const char *warning;                 /* constant, or NULL */
};

/* public-url where it is set, else the listeners that serve devices, those beyond loopback first; an address
 * that stands for all becomes this host's name. OTA_STATE: no listener serves devices. Reads nothing but the
 * settings and the host's own name. */
OTA_MUST_USE enum ota_err urls_for_devices(
	const struct config *cfg, struct arena *mem, struct url_list *out, struct errmsg *e);

#endif
