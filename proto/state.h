/* States of an assignment, and which moves are legal.
 *
 * waiting -> offered -> fetching -> staged -> trial -> one of the ends. A device may skip states forward (a
 * check-in may be the first to be heard of several). Ends are final. The database and the plan both move by
 * this table. */
#ifndef PROTO_STATE_H
#define PROTO_STATE_H

#include <stdbool.h>

#include "proto/err.h"

/* clang-format off */
#define ASSIGN_STATE_LIST(X)                                                      \
	X(WAITING,    0, "waiting",    "not offered yet")                         \
	X(OFFERED,    1, "offered",    "named in a ticket")                       \
	X(FETCHING,   2, "fetching",   "the device accepted it and downloads")    \
	X(STAGED,     3, "staged",     "whole and verified in the device's flash") \
	X(TRIAL,      4, "trial",      "running, not confirmed yet")              \
	X(RUNNING,    5, "running",    "seen running it, confirmed")              \
	X(FAILED,     6, "failed",     "not installed, or ill and still running there")       \
	X(REVERTED,   7, "reverted",   "ran it and went back")                    \
	X(SUPERSEDED, 8, "superseded", "a newer decision took its place")         \
	X(CANCELLED,  9, "cancelled",  "withdrawn by the operator")               \
	X(TIMED_OUT, 10, "timed-out",  "not done in its time")                    \
	X(SERVED,    11, "served",     "bytes delivered to a client that cannot tell more")
/* clang-format on */

enum assign_state {
#define ASSIGN_STATE_ENUM(name, value, text, help) ASSIGN_##name = (value),
	ASSIGN_STATE_LIST(ASSIGN_STATE_ENUM)
#undef ASSIGN_STATE_ENUM
		ASSIGN_STATES = 12
};

/* Stable name for JSON, SQL and tables; "unknown" for no state. */
const char *assign_state_name(enum assign_state s);
OTA_MUST_USE enum ota_err assign_state_parse(const char *name, enum assign_state *out);

/* Open: not an end yet. */
bool assign_state_is_open(enum assign_state s);
/* Past the point where it can be withdrawn: armed or in trial. True for STAGED as well: a caller that knows
 * the device to be held, or has its word that it has not begun, may still withdraw it from there, and the
 * table of moves allows that. */
bool assign_state_is_committed(enum assign_state s);
/* Is from -> to legal? A state may be repeated. */
bool assign_move_is_legal(enum assign_state from, enum assign_state to);

#endif
