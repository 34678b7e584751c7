/* Who did something, for people.
 *
 * What is stored and what programs read is the actor: a token's name, "socket:<uid>", or "otad" itself. The
 * name of a uid is known on this machine alone, so the words are made here and not where they are printed.
 * Only root and otad's own user get in by the socket, so two names are all there is to know: no lookup, which
 * may ask a directory on the network, happens while otad serves. */
#ifndef SERVER_ACTOR_H
#define SERVER_ACTOR_H

#include "server/json.h"

enum { ACTOR_TEXT_LEN = 80 };

/* Look up the name of otad's own user. Once, before there is a second thread; without it that user is a
 * number. */
void actor_start(void);

/* "root (socket)", "otad (socket)", "uid 990 (socket)" where the name is unknown, or the actor as it is.
 * Returns `out`, or `actor`. */
const char *actor_text(const char *actor, char out[static ACTOR_TEXT_LEN]);

/* The actor under `key`, its words under `key`_text. */
void actor_json(struct js_out *o, const char *key, const char *actor);

#endif
