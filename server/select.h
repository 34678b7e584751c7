/* Which devices an operator means: db/selector.h, with what people type around it. Store thread or worker. */
#ifndef SERVER_SELECT_H
#define SERVER_SELECT_H

#include "db/device.h"
#include "server/api.h"

/* NULL, "" and "*" are all devices; a text without operators is one device's name, id or MAC; else terms.
 * `*plain` (may be NULL) is the same as db/selector.h has it, in job->mem. */
OTA_MUST_USE enum ota_err select_parse(
	struct api_job *a, struct job *job, const char *text, struct selector *out, const char **plain);

/* Why a selector takes nothing, where a term of it names a tag, device or board that is not there: a line
 * with "did you mean", in job->mem. NULL: each is there, or that could not be read. Looks at every device. */
const char *select_hint(struct api_job *a, struct job *job, const struct selector *s);

/* Call `fn` for every approved device of the board (0: any) that the selector takes, in the order of
 * creation, a page at a time. The row lives only during the call. */
typedef enum ota_err (*select_fn)(void *ctx, const struct device_row *row);
OTA_MUST_USE enum ota_err select_each(
	struct job *job, const struct selector *selector, int64_t board, select_fn fn, void *ctx);

#endif
