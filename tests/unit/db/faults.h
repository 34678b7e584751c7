/* The calls of this layer that test_faults.c lets fail, each at every place, and the small fleet they are
 * made on. A file has those of one idea and their table. */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include "db/enroll.h"
#include "db/secret.h"
#include "db/token.h"
#include "tests/unit/db/fixture.h"

struct fault_op {
	const char *name;
	enum ota_err (*run)(struct fixture *f);
};

extern const struct fault_op fault_ops_catalog[], fault_ops_devices[], fault_ops_rollouts[];
extern const size_t n_fault_ops_catalog, n_fault_ops_devices, n_fault_ops_rollouts;

/* A call of a table: done on fault_world, whole or not at all. */
#define OP(name) static enum ota_err name(struct fixture *f)
#define ROW(name)                                                                                            \
	{                                                                                                    \
#name, name                                                                                  \
	}

/* Rows that the calls are about. */
struct fault_world {
	int64_t board, spare_board, release, older, orphan_release, manifest, older_manifest, back;
	int64_t device, spare, pending, waiting;
	int64_t rollout, held, assignment, identity, token;
	uint8_t image[32], unused[32];
	char uid[33];
};
extern struct fault_world fault_world;

void fault_world_make(struct fixture *f);

struct enroll_in fault_request(uint8_t device, uint8_t nonce);
struct secret_row fault_a_secret(uint8_t id);
struct token_row fault_a_token(const char *uid, const char *name);

#endif
