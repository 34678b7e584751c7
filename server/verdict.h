/* What a check-in says that runs, against what was ever assigned to the device: told in its log where the two
 * do not fit. Store thread, in the report's transaction, after the report was stored and its assignment was
 * moved. */
#ifndef SERVER_VERDICT_H
#define SERVER_VERDICT_H

#include "proto/checkin.h"
#include "server/jobs.h"

struct verdict {
	int64_t device, now;
	const struct checkin *ci;
};

/* It says it runs this, confirmed: was it ever told to? */
OTA_MUST_USE enum ota_err verdict_claim(struct job *job, const struct verdict *v);
/* What it reports is news, and not what its latest assignment was seen to end in. */
OTA_MUST_USE enum ota_err verdict_drift(struct job *job, const struct verdict *v);
/* It runs again what its latest assignment was seen to end in: news after a drift. `moved`: this check-in has
 * just moved it, which its log tells already. */
OTA_MUST_USE enum ota_err verdict_back(struct job *job, const struct verdict *v, bool moved);
/* It runs what was taken back, or took too long: it had been told before, and nobody heard of it in time. */
OTA_MUST_USE enum ota_err verdict_late(struct job *job, const struct verdict *v);

#endif
