/* Routes: who may call what, as one constant table, and the pure matching of a request against it.
 *
 * A pattern is literal segments and captures: "/v1/devices/:id/hold". A capture is one non-empty segment,
 * already percent-decoded. No allocation, no I/O, no state. */
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_PATCH,
	HTTP_DELETE,
	HTTP_METHODS /* how many there are; also "none of these" */
};

enum {
	ROUTE_CAPTURES_MAX = 4,
	ROUTE_CAPTURE_LEN_MAX = 256, /* bytes, without the NUL */
};

/* What a caller must have. Rising from ROLE_VIEWER on: an administrator may do what an operator may.
 * The role also says which door a route is behind (route_doors). */
enum role {
	ROLE_PUBLIC,   /* nothing; behind every door: /healthz, /readyz */
	ROLE_DEVICE,   /* nothing here: the handler checks the MAC or the receipt in the body (/d/v1/...) */
	ROLE_FETCH,    /* a token, a device's fetch MAC or an image link: /i/..., envelopes and roots */
	ROLE_CLIENT,   /* a foreign protocol; the handler checks its credential */
	ROLE_VIEWER,   /* token: read */
	ROLE_UPLOADER, /* token: read, and bring images and releases */
	ROLE_OPERATOR, /* token: read and change the fleet */
	ROLE_ADMIN,    /* token, or the socket: everything, tokens and roots too */
};

/* A token's role: "admin", "operator", "uploader", "viewer"; else "nobody". */
const char *role_name(enum role role);

/* Route classes a door may open (bits). */
enum {
	DOOR_OPERATORS = 1,
	DOOR_DEVICES = 2,
	DOOR_CLIENTS = 4,
	DOOR_ALL = 7,
};

enum {
	/* The body is streamed, never collected: the handler runs when the headers are there and answers, or
	 * takes the body with req_upload(). body_max still holds (0: the setting max-image). */
	ROUTE_UPLOAD = 1,
	/* 503 "no root yet: run otactl init" until app_hooks.has_root says yes. */
	ROUTE_NEEDS_ROOT = 2,
	/* It stops or takes back: a nearly full disk, on which nothing new is made, is no reason to refuse
	 * it. A DELETE is one without this flag. */
	ROUTE_BRAKE = 4,
};

struct req;
struct res;

/* DONE: `res` is the answer. WAIT: a job or an upload was started; its continuation answers. */
enum h_result { H_DONE, H_WAIT };

typedef enum h_result (*route_fn)(struct req *req, struct res *res);

struct route {
	enum http_method method; /* a GET row answers HEAD too, without its body */
	const char *path;
	enum role role;
	uint32_t body_max; /* bytes; 0: no body allowed */
	route_fn handler;
	unsigned flags;    /* ROUTE_... */
	const char *query; /* names of its query parameters, spaces between; others are refused. NULL:
			      whatever comes is passed on */
};

/* The captured segments, in the pattern's order, NUL-terminated. They point into `text`. */
struct route_captures {
	unsigned n;
	const char *value[ROUTE_CAPTURES_MAX];
	char text[ROUTE_CAPTURES_MAX][ROUTE_CAPTURE_LEN_MAX + 1];
};

enum route_match { ROUTE_FOUND, ROUTE_NOT_FOUND, ROUTE_OTHER_METHOD };

/* Find the row for `method` and `path` (percent-decoded, without the query). Literal segments win over
 * captures, whatever the order of the rows. ROUTE_FOUND: `*found` and `*cap` are written.
 * ROUTE_OTHER_METHOD: `*allow` is the set of methods (bit 1 << enum http_method) this path has. */
enum route_match route_find(const struct route *rows, size_t n_rows, enum http_method method,
	const char *path, const struct route **found, struct route_captures *cap, unsigned *allow);

/* Is `name` a query parameter of the row? If not, and it is nearly one, `*meant` (not NUL-terminated) is
 * where that begins in the row's names and `*meant_len` its length, else 0. */
bool route_takes_query(const struct route *row, const char *name, const char **meant, size_t *meant_len);

/* "GET, HEAD, PUT" for a set of methods; `out` has room for ROUTE_ALLOW_LEN. */
enum { ROUTE_ALLOW_LEN = 48 };
void route_allow_text(unsigned methods, char out[static ROUTE_ALLOW_LEN]);

/* HTTP_METHODS for a name that is none of ours. Case matters (RFC 9110 9.1). */
enum http_method route_method(const char *name);

/* "GET" ...; "?" for HTTP_METHODS. */
const char *route_method_name(enum http_method method);

/* The door classes that serve a role: any common bit with the door's own opens it. */
unsigned route_doors(enum role role);

#endif
