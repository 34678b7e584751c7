#include "server/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

void peer_text(const struct sockaddr_storage *addr, char out[static PEER_TEXT_LEN])
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;

	if (addr->ss_family == AF_INET)
		inet_ntop(AF_INET, &in4->sin_addr, out, PEER_TEXT_LEN);
	else if (addr->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out, PEER_TEXT_LEN);
	else if (addr->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &in6->sin6_addr, out, PEER_TEXT_LEN);
	else
		snprintf(out, PEER_TEXT_LEN, "unknown");
}

/* FNV-1a. */
static uint32_t text_hash(const char *text)
{
	uint32_t h = 2166136261u;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

bool peer_failed(struct peer_failures *f, const char *peer, int64_t now_ms, unsigned per_minute)
{
	uint32_t key = text_hash(peer);
	unsigned i = key % PEER_SLOTS;
	int64_t minute = now_ms / 60000;

	if (f->slot[i].key != key || f->slot[i].minute != minute) {
		f->slot[i].key = key;
		f->slot[i].minute = minute;
		f->slot[i].n = 0;
	}
	return ++f->slot[i].n > per_minute;
}
