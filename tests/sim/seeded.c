#define OPENSSL_SUPPRESS_DEPRECATED /* a provider of our own would be the other way: 150 lines for these     \
				       three */

#include "tests/sim/seeded.h"

#include <openssl/rand.h>
#include <stdlib.h>

static uint64_t state;

/* splitmix64 */
static int fill(unsigned char *buf, int len)
{
	for (int i = 0; i < len; i++) {
		uint64_t x = state += 0x9E3779B97F4A7C15U;

		x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
		x = (x ^ x >> 27) * 0x94D049BB133111EBU;
		buf[i] = (unsigned char)(x >> 56);
	}
	return 1;
}

static int is_ready(void)
{
	return 1;
}

void seeded_start(uint32_t seed)
{
	static const RAND_METHOD method = {.bytes = fill, .pseudorand = fill, .status = is_ready};

	state = seed;
	if (RAND_set_rand_method(&method) != 1)
		abort();
}
