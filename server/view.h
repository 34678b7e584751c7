/* Devices, assignments, releases and rollouts as the operators' JSON. Store thread or worker. */
#ifndef SERVER_VIEW_H
#define SERVER_VIEW_H

#include "db/assignment.h"
#include "db/device.h"
#include "db/release.h"
#include "db/rollout.h"
#include "proto/cleanup.h"
#include "server/api.h"

/* What rows name by number, looked up once per job. */
enum { VIEW_CACHE = 32 };

struct view_board {
	int64_t id;
	const char *name;
	uint32_t poll_s;
};

struct view_manifest {
	int64_t id;
	const char *release;
	uint64_t size; /* bytes a device fetches */
};

struct view {
	struct api_job *a;
	struct job *job;
	int64_t poll_s, poll_spread; /* the server's, as they were when the request came */
	unsigned n_boards, n_manifests;
	struct view_board board[VIEW_CACHE];
	struct view_manifest manifest[VIEW_CACHE];
	int64_t n_unsure, unsure_until; /* of a push that was just made */
	struct arena tmp;               /* rows that one object of the answer needed */
	/* Where the loop fills in what only the registry knows ("online"). */
	struct view_online *online;
	size_t n_online;
};

/* Ends itself: AUTO(view) struct view v = {0}; */
void view_init(struct view *v, struct api_job *a, struct job *job);

/* The next object of a list begins: what was loaded for the one before is given back. */
void view_next(struct view *v);

static inline void auto_view(struct view *v)
{
	arena_release(&v->tmp);
}

/* "BOARD:VERSION". */
OTA_MUST_USE enum ota_err view_release_id(
	struct view *v, int64_t board, const char *version, const char **out);

/* Name and poll interval of a board; id 0: "". */
OTA_MUST_USE enum ota_err view_board(struct view *v, int64_t id, struct view_board *out);

/* Bytes a device fetches for a release: of each component its largest image. */
OTA_MUST_USE enum ota_err view_release_size(struct view *v, const struct release_row *row, uint64_t *size);

/* Members of an object that is open already. */
OTA_MUST_USE enum ota_err view_device(struct view *v, const struct device_row *row);
/* "running": what a device says it runs. */
OTA_MUST_USE enum ota_err view_running(struct view *v, const struct device_row *row);
OTA_MUST_USE enum ota_err view_release(struct view *v, const struct release_row *row);
OTA_MUST_USE enum ota_err view_rollout(struct view *v, const struct rollout_row *row);

/* One assignment's members; `device` may be NULL (then progress is not known). */
OTA_MUST_USE enum ota_err view_assignment(
	struct view *v, const struct assignment_row *row, const struct device_row *device);

/* The job's answer shows devices: lets the loop fill in who is online. Call before the first view_device,
 * with the most that will come. */
OTA_MUST_USE enum ota_err view_expect_devices(struct view *v, size_t n);

const char *view_rollout_state_name(enum rollout_state state);
const char *view_device_state_name(enum device_state state);

#endif
