/* What the parts of the kit share. */
#ifndef TESTS_AGENT_KIT_INTERNAL_H
#define TESTS_AGENT_KIT_INTERNAL_H

#include "tests/unit/agent/kit.h"

const struct ota_crypto *kit_crypto(void);

/* Ends the program where the kit itself is wrong. */
void kit_must(enum ota_err err, const char *file, int line);
#define MUST(expr) kit_must((expr), __FILE__, __LINE__)

/* One request of the agent, answered as the kit's settings say. */
void kit_exchange(struct kit *k, const struct ota_request *q);

#endif
