/* Selectors: which devices? Terms joined by ',', all of which must hold.
 *
 * 	all   (or *)
 * 	tag=kitchen,tag!=spare,board=c3-sensor,version<1.4
 * 	name=kitchen   id=00112233445566778899aabbccddeeff   state=approved   attr.floor=2
 *
 * Operators: = and != everywhere, < <= > >= for version alone (version order of proto/version.h; a device
 * whose version is not known matches none of version's but !=). Names and values are as limit_name_is_valid
 * and limit_version_is_valid have them. Pure: no database, no heap. */
#ifndef DB_SELECTOR_H
#define DB_SELECTOR_H

#include "db/db.h"

enum { SELECTOR_TERMS_MAX = 16, SELECTOR_TEXT_MAX = 512 };

enum selector_key {
	SELECTOR_TAG,
	SELECTOR_BOARD,
	SELECTOR_VERSION,
	SELECTOR_NAME,
	SELECTOR_ID,
	SELECTOR_STATE,
	SELECTOR_ATTRIBUTE,
};

enum selector_op { SELECTOR_EQ, SELECTOR_NE, SELECTOR_LT, SELECTOR_LE, SELECTOR_GT, SELECTOR_GE };

struct selector_term {
	enum selector_key key;
	enum selector_op op;
	const char *attribute; /* SELECTOR_ATTRIBUTE: its name */
	const char *value;
};

/* No terms: all devices. Holds its own text and points into it: it is not to be copied. */
struct selector {
	size_t n;
	struct selector_term term[SELECTOR_TERMS_MAX];
	char text[SELECTOR_TEXT_MAX + 1];
};

/* Parse. OTA_INVALID: empty, an unknown key (with the nearest known one in `e`), a bad operator or value,
 * `all` beside other terms. OTA_TOO_LARGE: terms or text. */
OTA_MUST_USE enum ota_err selector_parse(const char *text, struct selector *out, struct errmsg *e);

/* A device as selectors see it. Texts are borrowed; NULL is like "". */
struct selector_facts {
	const char *uid, *name, *board, *version, *state;
	const char *const *tags;
	size_t n_tags;
	/* value of an attribute, NULL when there is none; asked only for selectors with attr. */
	const char *(*attribute)(void *ctx, const char *name);
	void *ctx;
};

bool selector_matches(const struct selector *s, const struct selector_facts *facts);

/* Does it have a term of this key? */
bool selector_uses(const struct selector *s, enum selector_key key);

#endif
