#include "server/doors.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum ota_err parse_classes(const char *list, unsigned *out, struct errmsg *e)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = {
		{"operators", DOOR_OPERATORS},
		{"devices", DOOR_DEVICES},
		{"clients", DOOR_CLIENTS},
	};
	unsigned doors = 0;

	for (;;) {
		size_t len = strcspn(list, ",");
		unsigned bit = 0;

		for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
			if (strlen(words[i].word) == len && memcmp(words[i].word, list, len) == 0)
				bit = words[i].bit;
		}
		if (!bit)
			return errmsg_fail(e, OTA_INVALID,
				"listen: '%.*s' is none of operators, devices, clients",
				(int)(len < 40 ? len : 40), list);
		doors |= bit;
		if (list[len] == '\0')
			break;
		list += len + 1;
	}
	*out = doors;
	return OTA_OK;
}

static bool parse_port(const char *text, uint16_t *out)
{
	unsigned long v;
	char *end;

	if (text[0] < '0' || text[0] > '9' || strlen(text) > 5)
		return false;
	v = strtoul(text, &end, 10);
	if (*end != '\0' || v > 65535)
		return false;
	*out = (uint16_t)v;
	return true;
}

/* "127.0.0.1", "[::1]", "localhost" or "*". */
static bool parse_address(const char *host, uint16_t port, struct door_spec *door, bool *is_loopback)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)&door->addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&door->addr;
	size_t len = strlen(host);
	char inner[64];

	memset(&door->addr, 0, sizeof door->addr);
	if (strcmp(host, "localhost") == 0)
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons(port);
		door->addr_len = sizeof *in4;
		*is_loopback = ntohl(in4->sin_addr.s_addr) >> 24 == 127;
		return true;
	}
	if (strcmp(host, "*") == 0) {
		snprintf(inner, sizeof inner, "::");
	} else {
		if (len < 4 || len >= sizeof inner || host[0] != '[' || host[len - 1] != ']')
			return false;
		memcpy(inner, host + 1, len - 2);
		inner[len - 2] = '\0';
	}
	if (inet_pton(AF_INET6, inner, &in6->sin6_addr) != 1)
		return false;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	door->addr_len = sizeof *in6;
	*is_loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
	return true;
}

enum ota_err door_parse(const char *text, bool plain_http, struct door_spec *out, struct errmsg *e)
{
	struct door_spec door = {.doors = 0};
	char copy[DOOR_TEXT_LEN];
	char *host, *colon, *classes;
	bool is_loopback;
	uint16_t port;

	if (strlen(text) >= sizeof copy)
		return errmsg_fail(e, OTA_INVALID, "listen: '%.40s...' is too long", text);
	snprintf(copy, sizeof copy, "%s", text);
	classes = strchr(copy, '=');
	if (classes)
		*classes++ = '\0';
	snprintf(door.text, sizeof door.text, "%s", copy);
	if (strncmp(copy, "http://", 7) == 0) {
		door.kind = DOOR_HTTP;
		host = copy + 7;
	} else if (strncmp(copy, "https://", 8) == 0) {
		door.kind = DOOR_HTTPS;
		host = copy + 8;
	} else {
		return errmsg_fail(
			e, OTA_INVALID, "listen: '%.60s' does not begin with http:// or https://", text);
	}
	if (host[0] && host[strlen(host) - 1] == '/')
		host[strlen(host) - 1] = '\0';
	colon = strrchr(host, ':');
	if (!colon || !parse_port(colon + 1, &port))
		return errmsg_fail(
			e, OTA_INVALID, "listen: '%.60s' has no port (as http://127.0.0.1:8484)", text);
	*colon = '\0';
	if (!parse_address(host, port, &door, &is_loopback))
		return errmsg_fail(e, OTA_INVALID,
			"listen: '%.60s' is not a numeric address, localhost or * (IPv6 in brackets)", host);
	if (classes) {
		enum ota_err err = parse_classes(classes, &door.doors, e);

		if (err)
			return err;
	} else {
		door.doors = DOOR_ALL;
		if (door.kind == DOOR_HTTP && !is_loopback)
			door.doors &= ~(unsigned)DOOR_OPERATORS;
	}
	if (door.kind == DOOR_HTTP && !is_loopback) {
		if (!plain_http)
			return errmsg_fail(e, OTA_INVALID,
				"listen: '%s' is plain HTTP beyond loopback: use https://, or --plain-http "
				"for devices",
				door.text);
		if (door.doors & DOOR_OPERATORS)
			return errmsg_fail(e, OTA_INVALID,
				"listen: '%s': operators are not served over plain HTTP beyond loopback",
				door.text);
	}
	*out = door;
	return OTA_OK;
}

enum ota_err doors_from_config(const struct config *cfg, struct door_spec *out, unsigned *n, struct errmsg *e)
{
	for (unsigned i = 0; i < cfg->listen.n; i++) {
		enum ota_err err = door_parse(cfg->listen.value[i], cfg->plain_http, &out[i], e);

		if (err)
			return err;
		for (unsigned j = 0; j < i; j++) {
			if (out[i].addr_len == out[j].addr_len &&
				memcmp(&out[i].addr, &out[j].addr, out[i].addr_len) == 0 &&
				((const struct sockaddr_in *)&out[i].addr)->sin_port != 0)
				return errmsg_fail(e, OTA_INVALID, "listen: '%s' stands twice", out[i].text);
		}
	}
	*n = cfg->listen.n;
	return OTA_OK;
}
