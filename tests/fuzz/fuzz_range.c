/* 8 bytes: the size; then "Range\nIf-None-Match\nIf-Match". */
#include <stdlib.h>
#include <string.h>

#include "server/range.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char etag[] = "\"0123456789abcdef\"";
	struct range_span spans[RANGE_MAX];
	uint64_t of = 0, total = 0;
	char text[2048];
	char *second, *third = NULL;
	unsigned n = 0;

	if (size < 8 || size - 8 >= sizeof text)
		return 0;
	memcpy(&of, data, 8);
	memcpy(text, data + 8, size - 8);
	text[size - 8] = '\0';
	second = strchr(text, '\n');
	if (second) {
		*second++ = '\0';
		third = strchr(second, '\n');
		if (third)
			*third++ = '\0';
	}
	(void)range_conditions(third, second, etag);
	if (range_parse(text, of, spans, &n) != RANGE_PART)
		return 0;
	/* Parts lie within the size, are not empty, do not touch and are never more than all of it. */
	if (n == 0 || n > RANGE_MAX)
		abort();
	for (unsigned i = 0; i < n; i++) {
		if (spans[i].len == 0 || spans[i].first >= of || spans[i].len > of - spans[i].first)
			abort();
		total += spans[i].len;
		for (unsigned j = 0; j < i; j++) {
			if (spans[i].first <= spans[j].first + spans[j].len &&
				spans[j].first <= spans[i].first + spans[i].len)
				abort();
		}
	}
	if (total > of)
		abort();
	return 0;
}
