/* Who is at the other end, in words, and how often it came with a wrong credential. */
#ifndef SERVER_PEERS_H
#define SERVER_PEERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { PEER_TEXT_LEN = 64, PEER_SLOTS = 1024 };

/* "192.0.2.7", "2001:db8::1"; an IPv4 address that came in through an IPv6 socket as IPv4; else "unknown". */
void peer_text(const struct sockaddr_storage *addr, char out[static PEER_TEXT_LEN]);

/* Zeroed to begin. Bounded: addresses that fall into one slot push each other out, which only forgives. */
struct peer_failures {
	struct {
		uint32_t key;
		int64_t minute;
		unsigned n;
	} slot[PEER_SLOTS];
};

/* One more refused credential of `peer` at `now_ms` (monotonic). True: more than `per_minute` in this minute.
 */
bool peer_failed(struct peer_failures *f, const char *peer, int64_t now_ms, unsigned per_minute);

#endif
