/* Between h_rollout.c and h_rollout_change.c. */
#ifndef SERVER_H_ROLLOUT_H
#define SERVER_H_ROLLOUT_H

#include "server/api.h"

/* The answer: the push as it is now, with its revision. OTA_NOT_FOUND. */
OTA_MUST_USE enum ota_err rollout_answer(struct api_job *a, struct job *job, int64_t id);

#endif
