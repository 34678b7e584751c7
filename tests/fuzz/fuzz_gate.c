/* First line: the target; the other lines: "name:value" header fields. */
#include <stdlib.h>
#include <string.h>

#include "server/gate.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gate_header h[GATE_HEADERS_MAX + 1];
	char text[4096], decoded[4096];
	size_t n = 0, len;
	char *line;

	if (size >= sizeof text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	line = memchr(text, '\n', size);
	len = line ? (size_t)(line - text) : size;
	if (!gate_check_target(text, len)) {
		size_t used = gate_decode(text, len, decoded);

		/* What the gate lets through has no NUL and climbs nowhere, decoded too. */
		if (used != strlen(decoded) || decoded[0] != '/' || used > len)
			abort();
		decoded[strcspn(decoded, "?")] = '\0';
		if (strstr(decoded, "/../") || strstr(decoded, "//"))
			abort();
	}
	for (; line && n <= GATE_HEADERS_MAX; n++) {
		char *start = line + 1, *colon;
		size_t left = (size_t)(text + size - start);

		line = memchr(start, '\n', left);
		if (line)
			left = (size_t)(line - start);
		colon = memchr(start, ':', left);
		h[n].name = start;
		h[n].name_len = colon ? (size_t)(colon - start) : left;
		h[n].value = colon ? colon + 1 : "";
		h[n].value_len = colon ? left - h[n].name_len - 1 : 0;
	}
	(void)gate_check_headers(h, n, size % 2 ? "HTTP/1.1" : "HTTP/1.0");
	return 0;
}
