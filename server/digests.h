/* Digests shared by many devices: 32 bytes once, a 4-byte reference each. Part of the registry. */
#ifndef SERVER_DIGESTS_H
#define SERVER_DIGESTS_H

#include "server/index.h"

/* 0 is "no digest". */
struct digest_row {
	uint8_t digest[32];
	uint32_t refs; /* 0: free */
	uint32_t next_free;
	uint16_t envelope_size;
};

struct digests {
	struct digest_row *row; /* [0] is never used */
	uint32_t n, cap, free;
	uint64_t seed;
	struct index ix;
};

void digests_init(struct digests *d, uint64_t seed);
void digests_release(struct digests *d);

/* A reference to a digest; give it back with digests_drop. OTA_NO_MEMORY. */
OTA_MUST_USE enum ota_err digests_take(struct digests *d, const uint8_t digest[32], uint32_t *ref);
/* 0 is a no-op. */
void digests_drop(struct digests *d, uint32_t ref);
/* 0: not here. Takes no reference. */
uint32_t digests_find(const struct digests *d, const uint8_t digest[32]);

#endif
