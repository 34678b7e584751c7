/* Every route otad answers, in one constant table: routes.c is the list, docs/protocol.md its description. */
#ifndef SERVER_ROUTES_H
#define SERVER_ROUTES_H

#include "server/route.h"

extern const struct route routes[];
extern const size_t n_routes;

#endif
