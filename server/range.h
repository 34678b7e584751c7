/* Ranges and validators of RFC 9110 (13, 14), as pure functions over header values.
 *
 * Where the RFC leaves a choice, the answer is nginx's: a malformed set of byte ranges is unsatisfiable, sets
 * that ask for more bytes than there are, or for more than RANGE_MAX ranges, are ignored. */
#ifndef SERVER_RANGE_H
#define SERVER_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RANGE_MAX = 16 };

struct range_span {
	uint64_t first;
	uint64_t len; /* never 0 */
};

enum range_result {
	RANGE_WHOLE,         /* no range, another unit, or one to be ignored: send all */
	RANGE_PART,          /* send `spans` */
	RANGE_UNSATISFIABLE, /* 416 */
};

/* Parse a Range header (NULL: absent) against `size` bytes. RANGE_PART writes `spans` (1..RANGE_MAX, in the
 * order asked for; those that touch or overlap are merged into the first of them) and `*n`. */
enum range_result range_parse(
	const char *value, uint64_t size, struct range_span spans[static RANGE_MAX], unsigned *n);

enum range_condition {
	RANGE_GO,
	RANGE_NOT_MODIFIED, /* 304 */
	RANGE_FAILED,       /* 412 */
};

/* If-Match, then If-None-Match (NULL: absent) of a GET or HEAD against our strong `etag`, quotes included. */
enum range_condition range_conditions(const char *if_match, const char *if_none_match, const char *etag);

/* Does the Range header count, given If-Range (NULL: absent)? Only our own strong etag keeps it: we send no
 * Last-Modified, so a date never matches. */
bool range_if_range(const char *if_range, const char *etag);

/* Does a list of entity tags ("*" too) name `etag`? W/ tags count only with `is_weak_ok`. A malformed list
 * names nothing. */
bool range_etag_listed(const char *list, const char *etag, bool is_weak_ok);

#endif
