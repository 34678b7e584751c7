/* OpenSSL's random source replaced by a seeded one, for tests only: keys, signatures and nonces come out the
 * same in each run of the same program, so that a printed seed replays all of it. */
#ifndef TESTS_SEEDED_H
#define TESTS_SEEDED_H

#include <stdint.h>

/* From here on, for the whole process. May be called again: the sequence starts anew. */
void seeded_start(uint32_t seed);

#endif
