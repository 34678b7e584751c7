/* The description of the operators' API (OpenAPI 3.1): server/openapi.json, put into the program at build. */
#ifndef SERVER_OPENAPI_H
#define SERVER_OPENAPI_H

#include <stddef.h>

extern const char openapi_json[];
extern const size_t openapi_json_len; /* without a NUL */

#endif
