#include <stdlib.h>
#include <string.h>

#include "server/route.h"
#include "tests/fuzz/fuzz.h"

static const struct route rows[] = {
	{HTTP_GET, "/", ROLE_PUBLIC, 0, NULL, 0, NULL},
	{HTTP_GET, "/v1/devices/:id", ROLE_VIEWER, 0, NULL, 0, NULL},
	{HTTP_PATCH, "/v1/devices/:id", ROLE_OPERATOR, 0, NULL, 0, NULL},
	{HTTP_GET, "/v1/devices/pending", ROLE_VIEWER, 0, NULL, 0, NULL},
	{HTTP_POST, "/:a/:b/:c/:d", ROLE_VIEWER, 0, NULL, 0, NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct route *found = NULL;
	struct route_captures cap = {.n = 0};
	char path[2048], allow_text[ROUTE_ALLOW_LEN];
	unsigned allow = 0;

	if (size < 1 || size > sizeof path)
		return 0;
	memcpy(path, data + 1, size - 1);
	path[size - 1] = '\0';
	switch (route_find(rows, sizeof rows / sizeof rows[0],
		(enum http_method)(data[0] % (HTTP_METHODS + 1)), path, &found, &cap, &allow)) {
	case ROUTE_FOUND:
		for (unsigned i = 0; i < cap.n; i++) {
			if (cap.value[i][0] == '\0' || strchr(cap.value[i], '/') ||
				!strstr(path, cap.value[i]))
				abort();
		}
		break;
	case ROUTE_OTHER_METHOD:
		route_allow_text(allow, allow_text);
		if (!allow_text[0])
			abort();
		break;
	case ROUTE_NOT_FOUND:
		break;
	}
	return 0;
}
