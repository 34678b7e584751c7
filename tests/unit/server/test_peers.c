#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/peers.h"
#include "tests/unit/server/cmocka_all.h"

static void texts(void **state)
{
	static const struct {
		int family;
		const char *address, *want;
	} rows[] = {
		{AF_INET, "192.0.2.7", "192.0.2.7"},
		{AF_INET6, "2001:db8::1", "2001:db8::1"},
		{AF_INET6, "::ffff:192.0.2.7", "192.0.2.7"},
		{AF_INET6, "::1", "::1"},
		{AF_UNSPEC, "", "unknown"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct sockaddr_storage addr;
		char text[PEER_TEXT_LEN];

		memset(&addr, 0, sizeof addr);
		addr.ss_family = (sa_family_t)rows[i].family;
		if (rows[i].family == AF_INET)
			inet_pton(AF_INET, rows[i].address, &((struct sockaddr_in *)&addr)->sin_addr);
		else if (rows[i].family == AF_INET6)
			inet_pton(AF_INET6, rows[i].address, &((struct sockaddr_in6 *)&addr)->sin6_addr);
		peer_text(&addr, text);
		assert_string_equal(text, rows[i].want);
	}
}

static void failures(void **state)
{
	struct peer_failures *f = calloc(1, sizeof *f);
	char peer[PEER_TEXT_LEN];

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		assert_false(peer_failed(f, "192.0.2.7", 60000, 5));
	assert_true(peer_failed(f, "192.0.2.7", 119999, 5));
	assert_false(peer_failed(f, "192.0.2.8", 119999, 5));
	/* The next minute forgives. */
	assert_false(peer_failed(f, "192.0.2.7", 120000, 5));
	/* Any number of addresses fits, and the last one still counts. */
	for (unsigned i = 0; i < 100000; i++) {
		snprintf(peer, sizeof peer, "2001:db8::%x:%x", i >> 16, i & 0xffff);
		assert_false(peer_failed(f, peer, 180000, 5));
	}
	for (unsigned i = 0; i < 4; i++)
		assert_false(peer_failed(f, peer, 180000, 5));
	assert_true(peer_failed(f, peer, 180000, 5));
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(failures),
	};

	return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
