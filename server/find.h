/* What an operator named: found, or a clear line with "did you mean". Store thread or worker. */
#ifndef SERVER_FIND_H
#define SERVER_FIND_H

#include "db/board.h"
#include "db/device.h"
#include "db/release.h"
#include "db/rollout.h"
#include "server/api.h"

/* OTA_NOT_FOUND with the words in job->e and the hint in a->hint. */
OTA_MUST_USE enum ota_err find_board(
	struct api_job *a, struct job *job, const char *name, struct board_row *out);

/* By name, id, the beginning of an id, or MAC. OTA_EXISTS: several begin so; the hint lists them. */
OTA_MUST_USE enum ota_err find_device(
	struct api_job *a, struct job *job, const char *ref, struct device_row *out);

/* By id: the 64 hex digits of its manifest's digest, their unique beginning, or BOARD:VERSION. */
OTA_MUST_USE enum ota_err find_release(
	struct api_job *a, struct job *job, const char *ref, struct release_row *out);

OTA_MUST_USE enum ota_err find_rollout(
	struct api_job *a, struct job *job, const char *uid, struct rollout_row *out);

/* May a device be called that? OTA_INVALID: no name, or one that selectors have for all devices. */
OTA_MUST_USE enum ota_err find_name_is_good(const char *name, struct errmsg *e);

/* Is it a chip name of proto/image.h? OTA_INVALID, with the nearest or all of them in `e`. */
OTA_MUST_USE enum ota_err find_chip(const char *chip, struct errmsg *e);

/* OTA_NOT_FOUND for a device's name that is not there: it may be provisioned. The words are in job->e, what
 * to do in a->hint. */
enum ota_err find_absent(struct api_job *a, struct job *job, const char *ref);

#endif
