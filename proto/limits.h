/* What the server takes as a name, a version and a text, for those who ask before they send. Host programs
 * only.
 *
 * One rule for all names, so that they need no quoting in selectors, topics, paths and shells. Lengths are
 * bytes without the NUL. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#include <stdbool.h>

enum {
	LIMIT_NAME = 63,    /* a board's, device's, token's or tag's, and the like */
	LIMIT_VERSION = 63, /* a release's version */
	LIMIT_TEXT = 4096,  /* notes */
};

/* 1..LIMIT_NAME of A-Z a-z 0-9 . _ - and not starting with '.' or '-'. */
bool limit_name_is_valid(const char *name);

/* 1..LIMIT_VERSION printable ASCII characters without spaces / " \ , = . */
bool limit_version_is_valid(const char *version);

/* No DEL and no C0 controls, but for line feeds and tabs in prose. UTF-8 itself is not looked at. */
bool limit_text_is_plain(const char *text, bool is_prose);

#endif
