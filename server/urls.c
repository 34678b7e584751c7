#include "server/urls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/utsname.h>

#include "server/doors.h"

struct place {
	bool is_any, is_loopback;
	char host[INET6_ADDRSTRLEN + 2]; /* IPv6 in brackets */
	unsigned port;
};

static void place_of(const struct door_spec *door, struct place *p)
{
	char text[INET6_ADDRSTRLEN] = "";

	memset(p, 0, sizeof(*p));
	if (door->addr.ss_family == AF_INET) {
		struct sockaddr_in in;

		memcpy(&in, &door->addr, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
		memcpy(p->host, text, sizeof(text));
		p->port = ntohs(in.sin_port);
		p->is_any = in.sin_addr.s_addr == htonl(INADDR_ANY);
		p->is_loopback = ntohl(in.sin_addr.s_addr) >> 24 == 127;
	} else {
		struct sockaddr_in6 in;

		memcpy(&in, &door->addr, sizeof(in));
		inet_ntop(AF_INET6, &in.sin6_addr, text, sizeof(text));
		p->host[0] = '[';
		memcpy(p->host + 1, text, strlen(text));
		p->host[strlen(text) + 1] = ']';
		p->port = ntohs(in.sin6_port);
		p->is_any = IN6_IS_ADDR_UNSPECIFIED(&in.sin6_addr);
		p->is_loopback = IN6_IS_ADDR_LOOPBACK(&in.sin6_addr);
	}
}

static enum ota_err add_door(const struct door_spec *door, struct arena *mem, bool loopback,
	struct url_list *out, struct errmsg *e)
{
	struct utsname host;
	struct place p;
	const char *url;

	if (!(door->doors & DOOR_DEVICES) || out->n == PROVISION_URLS_MAX)
		return OTA_OK;
	place_of(door, &p);
	if (p.is_loopback != loopback)
		return OTA_OK;
	if (p.is_any && uname(&host))
		return OTA_OK;
	url = arena_printf(mem, "%s://%s:%u/", door->kind == DOOR_HTTPS ? "https" : "http",
		p.is_any ? host.nodename : p.host, p.port);
	if (!url)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	for (size_t i = 0; i < out->n; i++) {
		if (strcmp(out->url[i], url) == 0)
			return OTA_OK;
	}
	out->url[out->n++] = url;
	return OTA_OK;
}

enum ota_err urls_for_devices(
	const struct config *cfg, struct arena *mem, struct url_list *out, struct errmsg *e)
{
	struct door_spec doors[CONFIG_LISTEN_MAX];
	struct url_list list = {0};
	enum ota_err err;
	unsigned n;

	if (cfg->public_url) {
		*out = (struct url_list){.n = 1, .url = {cfg->public_url}};
		return OTA_OK;
	}
	err = doors_from_config(cfg, doors, &n, e);
	for (unsigned i = 0; i < n && !err; i++)
		err = add_door(&doors[i], mem, false, &list, e);
	if (!err && list.n == 0) {
		list.warning =
			"devices on other machines cannot reach this server: it listens on loopback only";
		for (unsigned i = 0; i < n && !err; i++)
			err = add_door(&doors[i], mem, true, &list, e);
	}
	if (err)
		return err;
	if (list.n == 0)
		return errmsg_fail(e, OTA_STATE, "no listener serves devices; set public-url");
	*out = list;
	return OTA_OK;
}
