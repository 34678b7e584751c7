/* When a broker that is away is tried again. */
#include <errno.h>
#include <mosquitto.h>

#include "server/mqtt.h"
#include "tests/unit/server/cmocka_all.h"
#include "tests/unit/server/fake.h"

enum { LONGEST_MS = 5000 + 5000 / 4 + 2 * TIMER_TICK_MS, LONG_MS = 3600 * 1000 };

static unsigned n_tried;

int __wrap_mosquitto_connect_async(struct mosquitto *mosq, const char *host, int port, int keepalive);
int __wrap_mosquitto_connect_async(struct mosquitto *mosq, const char *host, int port, int keepalive)
{
	(void)mosq;
	(void)keepalive;
	assert_string_equal(host, "127.0.0.1");
	assert_int_equal(port, 1);
	n_tried++;
	errno = ECONNREFUSED;
	return MOSQ_ERR_ERRNO;
}

/* Seldom enough to be no load, and never so seldom that one that is back is missed for long. */
static void test_away(void **state)
{
	int64_t last = 0, widest = 0, narrowest = LONG_MS;
	struct mqtt *m = NULL;
	struct errmsg e = {""};
	struct fake f;

	(void)state;
	n_tried = 0;
	fake_init(&f, NULL);
	f.cfg.mqtt_url = "mqtt://127.0.0.1:1";
	f.cfg.topic_prefix = "otad/1";
	assert_int_equal(mqtt_new(&f.app, &m, &e), OTA_OK);
	for (int64_t at = 0; at < LONG_MS; at += TIMER_TICK_MS) {
		const unsigned before = n_tried;

		f.mono_ms += TIMER_TICK_MS;
		timer_run(&f.timers, f.mono_ms);
		if (n_tried == before)
			continue;
		assert_int_equal(n_tried, before + 1);
		if (before) {
			widest = at - last > widest ? at - last : widest;
			narrowest = at - last < narrowest ? at - last : narrowest;
		}
		last = at;
	}
	assert_false(mqtt_is_connected(m));
	assert_in_range(widest, 5000, LONGEST_MS);
	assert_in_range(narrowest, 500, 1000);
	assert_in_range(n_tried, LONG_MS / LONGEST_MS, LONG_MS / 5000 + 5);
	mqtt_free(m);
	fake_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_away)};

	return cmocka_run_group_tests_name("mqtt", tests, NULL, NULL);
}
