/* Again: the devices of a push that it did not work on, or that run it no more, are given it once more, a
 * piece at a time. Its row says how far that is, so whoever finds it unfinished goes on with it: the request
 * that asked for it, and upkeep. Store thread. */
#ifndef SERVER_AGAIN_H
#define SERVER_AGAIN_H

#include "server/jobs.h"

enum {
	AGAIN_PIECE = 100,
	AGAIN_LOOKS = 20, /* pages of ROLLOUT_LOOK a piece, where few are of this push: some 10 ms */
};

/* The next piece; adds the devices that try again to `*n`. `*is_through`: none is left, or nobody asks for it
 * any more. OTA_STATE: the push was cancelled, or its release is retired (`*is_retired`): its images may be
 * gone. */
OTA_MUST_USE enum ota_err again_piece(
	struct job *job, int64_t rollout, int64_t now, uint64_t *n, bool *is_through, bool *is_retired);

/* Try this device again now where it is meant and the retry has not got to it yet, so that what is done to it
 * next is the newest decision. It is left out when the retry gets there. */
OTA_MUST_USE enum ota_err again_reach(struct job *job, int64_t device, int64_t now);

#endif
