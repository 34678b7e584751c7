#include "server/config.h"
#include "server/doors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct door_spec doors[CONFIG_LISTEN_MAX];
	struct config c;
	struct errmsg e;
	unsigned n;

	if (config_init(&c, &e) == OTA_OK && config_parse(&c, "f", (const char *)data, size, &e) == OTA_OK)
		(void)!doors_from_config(&c, doors, &n, &e);
	config_release(&c);
	return 0;
}
