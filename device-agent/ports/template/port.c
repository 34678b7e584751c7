/* The application's half of a port: one agent, one connection, forever. */
#include "device-agent/ports/template/board.h"
#include "device-agent/src/http1.h"

static struct ota_agent agent;
static uint8_t work[OTA_AGENT_WORK];

static int64_t now_ms(void *ctx)
{
	(void)ctx;
	return board_now_ms();
}

static enum ota_err get_random(void *ctx, void *out, size_t len)
{
	(void)ctx;
	return board_random(out, len);
}

static enum ota_health app_health(void *ctx)
{
	(void)ctx;
	return board_app_health();
}

/* One request and its answer. What goes wrong on the way is the agent's to judge: it is told the end. */
static void run_request(const struct ota_request *q)
{
	static struct http1 http;
	static char head[HTTP1_REQUEST_MAX];
	static uint8_t piece[512];
	size_t len;

	http1_start(&http, &agent);
	if (http1_request(q, head, sizeof head, &len) == OTA_OK && board_connect(q->base)) {
		if (board_send(head, len) && (q->body_len == 0 || board_send(q->body, q->body_len))) {
			while (http.state < HTTP1_DONE) {
				size_t n = board_receive(piece, sizeof piece);

				if (n == 0 || http1_feed(&http, piece, n) != OTA_OK)
					break;
			}
		}
		board_disconnect();
	}
	http1_end(&http);
}

void port_run(void);

/* Call it once, from a task of its own or as the main loop; it does not return. */
void port_run(void)
{
	struct ota_agent_config cfg;
	struct ota_want want;

	ota_agent_config_defaults(&cfg);
	cfg.flash = &board_flash;
	cfg.crypto = &board_crypto;
	cfg.work = work;
	cfg.now_ms = now_ms;
	cfg.random = get_random;
	cfg.app_health = app_health;
	cfg.has_own_boot = true;
	cfg.running = (uint8_t)(board_running_slot() + 1);
	while (ota_agent_init(&agent, &cfg) != OTA_OK)
		board_sleep_ms(60000); /* not provisioned, or flash that does not answer */
	for (;;) {
		ota_agent_step(&agent, &want);
		switch (want.kind) {
		case OTA_WANT_REQUEST:
			run_request(&want.request);
			break;
		case OTA_WANT_WAIT:
			board_sleep_ms(want.wait_ms);
			break;
		case OTA_WANT_RESET:
			board_reset();
		case OTA_WANT_NOW:
		case OTA_WANT_DATA:
			break;
		}
	}
}
