/* From parsed header fields to a handler: gate, route, door, role. No type of any HTTP library, so that all
 * of it is tested by fake requests. */
#ifndef SERVER_DISPATCH_H
#define SERVER_DISPATCH_H

#include "server/gate.h"
#include "server/handler.h"

/* What the HTTP library parsed. The texts live as long as the request. */
struct dispatch_input {
	const char *target; /* raw, with the query; NULL: none was seen */
	const char *method;
	const char *version; /* "HTTP/1.1" */
	const struct gate_header *headers;
	size_t n_headers;
	const struct route *routes;
	size_t n_routes;
};

enum dispatch_result {
	DISPATCH_REFUSED, /* req->res is the answer */
	DISPATCH_GO,      /* req->route is set, the caller is allowed in; the body may come */
};

/* Judge the header part. Before it the caller has set app, res, mem, door, doors, peer, peer_uid and, for the
 * socket, who. Fills the rest of `req` but for the body. */
enum dispatch_result dispatch_headers(struct req *req, const struct dispatch_input *in);

/* How many body bytes this request may have. */
uint64_t dispatch_body_max(const struct req *req);

/* Answer that the body is larger than that; the connection ends after it. */
void dispatch_too_large(struct req *req);

/* Does the header announce a body? */
bool dispatch_has_body(const struct req *req);

#endif
