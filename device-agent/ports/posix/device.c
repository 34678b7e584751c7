#include "device-agent/ports/posix/device.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "device-agent/ports/posix/hook.h"
#include "device-agent/ports/posix/http_curl.h"
#include "device-agent/ports/posix/make.h"
#include "device-agent/ports/posix/mqtt_mosq.h"
#include "device-agent/ports/posix/report.h"
#include "device-agent/src/slot.h"
#include "device-agent/src/trust.h"
#include "proto/crypto_openssl.h"

struct device {
	const struct device_options *o;
	struct flash_file flash;
	struct ota_agent agent;
	uint8_t work[OTA_AGENT_WORK];
	struct ota_boot_work boot;
	struct http *http;
	struct mqtt *mqtt;
	bool has_tried_mqtt;
	struct hook hook;
	struct report report;
	struct errmsg failure; /* of the last request */
	int stop_fd;
	bool was_ok;     /* an authenticated answer came */
	bool has_failed; /* an update ended badly */
};

static int64_t now_ms(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum ota_err get_random(void *ctx, void *out, size_t len)
{
	(void)ctx;
	return crypto_random(out, len);
}

static bool is_stopped(const struct device *d)
{
	struct pollfd p = {.fd = d->stop_fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static enum ota_health get_health(void *ctx)
{
	struct device *d = ctx;
	const struct journal_state *s = &d->agent.journal.s;
	struct hook_env env = {.slot = s->active,
		.slot_file = d->o->flash_path,
		.slot_offset = flash_file_offset(&d->flash, slot_region(0, s->active)),
		.image_size = s->slot[s->active].component[0].size,
		.sequence = s->slot[s->active].sequence,
		.image = d->o->image_path};
	enum ota_health health = hook_ask(&d->hook, &env, now_ms(NULL));
	struct errmsg words;

	if (hook_news(&d->hook, &words))
		report_note(&d->report, "health", words.text);
	return health;
}

static void on_event(void *ctx, const struct ota_event *ev)
{
	struct device *d = ctx;

	if (ev->kind == OTA_EVENT_POLLED)
		d->was_ok = true;
	if (ev->kind == OTA_EVENT_FAILED || ev->kind == OTA_EVENT_REVERTING || ev->kind == OTA_EVENT_STAYED ||
		(ev->kind == OTA_EVENT_REFUSED && ev->err != OTA_ALREADY))
		d->has_failed = true;
	if (ev->kind == OTA_EVENT_CONFIRMED)
		d->has_failed = false;
	if (ev->kind == OTA_EVENT_TRIAL)
		hook_start(&d->hook);
	/* the secret is forgotten with the first right ticket */
	d->report.is_new_key = d->agent.identity.is_enrolled && d->agent.identity.has_secret;
	report_event(&d->report, ev, ota_agent_device_id(&d->agent));
}

static void on_notice(void *ctx, bool is_board, const uint8_t *payload, size_t len)
{
	struct device *d = ctx;

	ota_agent_notice(&d->agent, is_board, payload, len);
}

static void on_mqtt_log(void *ctx, const char *text)
{
	struct device *d = ctx;

	report_note(&d->report, "broker", text);
}

/* While a request runs: keep the broker's connection alive, and end when told to. */
static bool on_idle(void *ctx)
{
	struct device *d = ctx;

	if (d->mqtt)
		mqtt_wait(d->mqtt, -1, 0);
	return !is_stopped(d);
}

static void start_mqtt(struct device *d)
{
	struct errmsg e;

	if (d->has_tried_mqtt || !d->agent.identity.is_enrolled)
		return;
	d->has_tried_mqtt = true;
	if (!d->agent.identity.has_broker || d->o->is_broker_ignored)
		return;
	if (mqtt_new(&d->agent.identity, d->o->ca_file, on_notice, on_mqtt_log, d, &d->mqtt, &e) != OTA_OK)
		report_note(&d->report, "broker", e.text);
}

static enum ota_err boot(struct device *d, struct errmsg *e)
{
	struct ota_boot_config boot_cfg = {.flash = &d->flash.flash, .crypto = crypto_openssl()};
	struct ota_agent_config cfg;
	struct ota_boot_choice choice = {0};
	enum ota_err err = ota_boot_select(&boot_cfg, &d->boot, &choice);

	if (err != OTA_OK && err != OTA_NOT_FOUND)
		return errmsg_fail(e, err, "cannot boot from '%s': %s", d->o->flash_path, ota_err_text(err));
	report_boot(&d->report, &choice, err);
	if (err == OTA_OK && d->o->image_path) {
		err = image_write(
			&d->flash, &d->boot.journal.s.slot[choice.slot], choice.slot, d->o->image_path, e);
		if (err != OTA_OK)
			return err;
	}
	ota_agent_config_defaults(&cfg);
	cfg.flash = &d->flash.flash;
	cfg.crypto = crypto_openssl();
	cfg.ctx = d;
	cfg.work = d->work;
	cfg.now_ms = now_ms;
	cfg.random = get_random;
	cfg.app_health = get_health;
	cfg.event = on_event;
	cfg.has_own_boot = true;
	cfg.running = err == OTA_OK ? (uint8_t)(choice.slot + 1) : 0;
	cfg.poll_max_s = d->o->interval_s;
	cfg.trial_contact_s = d->o->trial_s;
	cfg.n_components = d->flash.made.n_components;
	for (unsigned i = 0; i < cfg.n_components; i++) {
		cfg.component[i].id_len = (uint8_t)strlen(d->o->component[i]);
		memcpy(cfg.component[i].id, d->o->component[i], cfg.component[i].id_len);
	}
	err = ota_agent_init(&d->agent, &cfg);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(e, err, "'%s' holds no identity: it is not provisioned", d->o->flash_path);
	if (err == OTA_CORRUPT)
		return errmsg_fail(e, err, "the root in '%s' does not verify", d->o->flash_path);
	if (err != OTA_OK)
		return errmsg_fail(e, err, "cannot start from '%s': %s", d->o->flash_path, ota_err_text(err));
	return OTA_OK;
}

enum turn { TURN_ON, TURN_RESET, TURN_STOP, TURN_SETTLED };

static enum turn turn(struct device *d)
{
	struct ota_want want;

	if (is_stopped(d))
		return TURN_STOP;
	start_mqtt(d);
	ota_agent_step(&d->agent, &want);
	switch (want.kind) {
	case OTA_WANT_REQUEST:
		http_run(d->http, &want.request, &d->agent, &d->failure);
		return TURN_ON;
	case OTA_WANT_WAIT:
		if (d->o->is_once && (ota_agent_is_settled(&d->agent) || !d->was_ok) &&
			!ota_agent_is_on_trial(&d->agent))
			return TURN_SETTLED;
		mqtt_wait(d->mqtt, d->stop_fd, want.wait_ms);
		return TURN_ON;
	case OTA_WANT_RESET:
		return TURN_RESET;
	case OTA_WANT_NOW:
	case OTA_WANT_DATA:
		break;
	}
	return TURN_ON;
}

static int live(struct device *d, struct errmsg *e)
{
	enum ota_err err = boot(d, e);

	/* What is on trial already is not left alone with it: it goes back in time, and says why. */
	if (err == OTA_OK && !ota_agent_is_on_trial(&d->agent))
		err = hook_check(d->o->exec, e);
	while (err == OTA_OK) {
		switch (turn(d)) {
		case TURN_ON:
			break;
		case TURN_STOP:
			return DEVICE_DONE;
		case TURN_SETTLED:
			return d->was_ok && !d->has_failed ? DEVICE_DONE : DEVICE_FAILED;
		case TURN_RESET:
			if (d->o->is_exit_on_reset)
				return DEVICE_RESET;
			err = boot(d, e);
			break;
		}
	}
	return DEVICE_FAILED;
}

int device_run(const struct device_options *o, int stop_fd, struct errmsg *e)
{
	static struct device d;
	struct errmsg unused;
	int code = DEVICE_FAILED;

	e->text[0] = '\0';
	/* Before anything is made. */
	if (access(o->flash_path, F_OK) != 0 && hook_check(o->exec, e) != OTA_OK)
		return code;
	memset(&d, 0, sizeof d);
	d.o = o;
	d.flash.fd = -1;
	d.stop_fd = stop_fd;
	d.report.is_json = o->is_json;
	d.report.detail = d.failure.text;
	d.hook.command = o->exec;
	if (device_flash(&d.flash, o, &unused, e) == OTA_OK &&
		http_new(o->ca_file, on_idle, &d, &d.http, e) == OTA_OK) {
		if (unused.text[0])
			report_note(&d.report, "provision", unused.text);
		code = live(&d, e);
	}
	hook_stop(&d.hook);
	mqtt_free(d.mqtt);
	http_free(d.http);
	flash_file_close(&d.flash);
	ota_wipe(&d, sizeof d);
	return code;
}
