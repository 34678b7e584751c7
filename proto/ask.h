/* Asking for a secret (part of ota_host). */
#ifndef PROTO_ASK_H
#define PROTO_ASK_H

#include <stdbool.h>
#include <stddef.h>

/* One line from the controlling terminal, not shown while it is typed, without its end. False: no terminal,
 * or it ended. Ctrl-C and other signals that end a program do so here, with the terminal as it was. What
 * `buf` holds is the caller's to wipe. */
bool ask_hidden(const char *prompt, char *buf, size_t cap);

#endif
