#include "proto/notice.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[2 * NOTICE_TOPIC_MAX] = {0}, topic[NOTICE_TOPIC_MAX];
	struct notice n;
	uint8_t id[16];

	if (notice_decode(data, size, &n) == OTA_OK && n.spread_s > NOTICE_SPREAD_MAX_S)
		abort();
	if (size < sizeof text)
		memcpy(text, data, size);
	if (notice_topic_id(NOTICE_PREFIX_DEFAULT, 'd', text, id) == OTA_OK &&
		(notice_topic(NOTICE_PREFIX_DEFAULT, 'd', id, topic) || strcmp(topic, text) != 0))
		abort();
	return 0;
}
