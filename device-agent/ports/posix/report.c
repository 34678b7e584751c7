#include "device-agent/ports/posix/report.h"

#include <stdio.h>
#include <string.h>

#include "proto/hex.h"

static const char *const words[OTA_EVENTS] = {
	[OTA_EVENT_ENROLLED] = "enrolled",
	[OTA_EVENT_POLLED] = "polled",
	[OTA_EVENT_ASSIGNED] = "assigned",
	[OTA_EVENT_PRESENT] = "present",
	[OTA_EVENT_FETCHING] = "fetching",
	[OTA_EVENT_RESUMED] = "resumed",
	[OTA_EVENT_VERIFIED] = "verified",
	[OTA_EVENT_STAGED] = "staged",
	[OTA_EVENT_HELD] = "held",
	[OTA_EVENT_ARMED] = "rebooting",
	[OTA_EVENT_TRIAL] = "trial",
	[OTA_EVENT_CONFIRMED] = "confirmed",
	[OTA_EVENT_REVERTING] = "reverting",
	[OTA_EVENT_REVERTED] = "result",
	[OTA_EVENT_FAILED] = "failed",
	[OTA_EVENT_REFUSED] = "refused",
	[OTA_EVENT_WITHDRAWN] = "withdrawn",
	[OTA_EVENT_ROOT] = "root",
	[OTA_EVENT_UNREACHED] = "unreached",
	[OTA_EVENT_FLASH] = "flash",
	[OTA_EVENT_STAYED] = "ill",
};

static void put_json_text(const char *text)
{
	putchar('"');
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			printf("\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			printf("\\u%04x", *p);
		else
			putchar(*p);
	}
	putchar('"');
}

static void line_json(
	const char *word, const struct ota_event *ev, const uint8_t *device_id, const char *text)
{
	char hex[65];

	printf("{\"event\":\"%s\"", word);
	if (device_id) {
		hex_encode(device_id, DEVICE_ID_LEN, hex);
		printf(",\"device\":\"%s\"", hex);
	}
	if (ev && ev->digest) {
		hex_encode(ev->digest, 32, hex);
		printf(",\"manifest\":\"%s\"", hex);
	}
	if (ev && ev->sequence != 0)
		printf(",\"sequence\":%u", ev->sequence);
	if (ev && ev->total != 0)
		printf(",\"done\":%u,\"total\":%u", ev->done, ev->total);
	if (ev && ev->err != OTA_OK)
		printf(",\"error\":\"%s\"", ota_err_name(ev->err));
	if (ev && ev->status != 0)
		printf(",\"status\":%d", ev->status);
	if (text && text[0]) {
		printf(",\"text\":");
		put_json_text(text);
	}
	printf("}\n");
}

static void line_text(const char *word, const struct ota_event *ev, const uint8_t *device_id)
{
	char hex[65] = "";

	switch (ev->kind) {
	case OTA_EVENT_ENROLLED:
		hex_encode(device_id, DEVICE_ID_LEN, hex);
		/* Whether it is approved, no answer tells. */
		printf("%s: device %s (if nothing is offered: otactl device approve %.8s)\n", word, hex, hex);
		return;
	case OTA_EVENT_ASSIGNED:
		printf("%s: release %u, %u bytes\n", word, ev->sequence, ev->total);
		return;
	case OTA_EVENT_FETCHING:
		printf("%s: %u%% (%u of %u bytes)\n", word,
			(unsigned)((uint64_t)ev->done * 100 / (ev->total ? ev->total : 1)), ev->done,
			ev->total);
		return;
	case OTA_EVENT_RESUMED:
		printf("%s: at byte %u of %u\n", word, ev->done, ev->total);
		return;
	case OTA_EVENT_PRESENT:
		printf("%s: the image is in the other slot already, nothing to fetch\n", word);
		return;
	case OTA_EVENT_VERIFIED:
		printf("%s: %u bytes read back and right\n", word, ev->total);
		return;
	case OTA_EVENT_ROOT:
		printf("%s: version %u stored\n", word, ev->sequence);
		return;
	case OTA_EVENT_HELD:
		printf("%s: release %u stays staged until the operator lets it go\n", word, ev->sequence);
		return;
	case OTA_EVENT_REVERTING:
	case OTA_EVENT_FAILED:
		printf("%s: release %u: %s\n", word, ev->sequence, ota_err_text(ev->err));
		return;
	case OTA_EVENT_STAYED:
		printf("%s: release %u: %s; it goes on running, for there is nothing to go back to\n", word,
			ev->sequence, ota_err_text(ev->err));
		return;
	case OTA_EVENT_REVERTED:
	case OTA_EVENT_REFUSED:
	case OTA_EVENT_FLASH:
	case OTA_EVENT_WITHDRAWN:
		printf("%s: %s\n", word, ota_err_text(ev->err));
		return;
	default:
		printf("%s: release %u\n", word, ev->sequence);
		return;
	}
}

/* What an enrolled device's owner can do about an answer; NULL: nothing but wait. The answer is anybody's who
 * sits at that address, so the agent itself tries on. */
static const char *remedy(int status)
{
	switch (status) {
	case 401:
		return "this device's key is not the one it has there: it was provisioned and approved anew, "
		       "or this "
		       "is an older copy of its flash; otactl provision --device makes a new file";
	case 404:
		return "it does not know this device: it was removed or replaced there; otactl provision "
		       "makes a new "
		       "file";
	case 429:
		return "too many wrong credentials came from this address lately, or it is busy";
	case 409:
		return "it has seen later check-ins of this device: this flash is a copy, or lost its state; "
		       "otactl "
		       "provision --device makes a new file";
	default:
		return NULL;
	}
}

static void unreached(struct report *r, const struct ota_event *ev, const uint8_t *device_id)
{
	bool is_enrolled = device_id != NULL;
	char hex[2 * DEVICE_ID_LEN + 1];

	if (r->last_err == ev->err && r->last_status == ev->status && r->last_err != OTA_OK)
		return;
	r->last_err = ev->err;
	r->last_status = ev->status;
	if (r->is_json)
		line_json(words[ev->kind], ev, NULL, r->detail);
	else if (!is_enrolled && ev->status >= 400 && ev->status < 429)
		printf("not enrolled: the server answered %d: the secret is unknown, expired, revoked or "
		       "used "
		       "up, or the serial another device's (otad's log says which); trying on\n",
			ev->status);
	else if (is_enrolled && ev->err == OTA_UNAVAILABLE && ev->status == 401 && r->is_new_key) {
		/* A device that it knew before is answered so until the operator lets the new key count. */
		hex_encode(device_id, DEVICE_ID_LEN, hex);
		printf("unreached: the server answered 401: this device has enrolled anew, its new key waits "
		       "for: otactl device approve %.8s (rejected there, or another one was enrolled since: "
		       "otactl provision --device makes a new file); trying on\n",
			hex);
	} else if (is_enrolled && ev->err == OTA_UNAVAILABLE && remedy(ev->status))
		printf("unreached: the server answered %d: %s; trying on\n", ev->status, remedy(ev->status));
	else if (ev->status != 0 && ev->err == OTA_UNAVAILABLE)
		printf("unreached: the server answered %d, trying on\n", ev->status);
	else if (ev->status != 0)
		printf("unreached: the server answered %d: %s, trying on\n", ev->status,
			ota_err_text(ev->err));
	else
		printf("unreached: no answer%s%s, trying on\n", r->detail[0] ? ": " : "", r->detail);
	(void)fflush(stdout);
}

void report_event(struct report *r, const struct ota_event *ev, const uint8_t *device_id)
{
	if (ev->kind == OTA_EVENT_UNREACHED) {
		unreached(r, ev, device_id);
		return;
	}
	if (ev->kind == OTA_EVENT_POLLED) {
		if (r->last_err != OTA_OK)
			report_note(r, "reached", "the server answers again");
		r->last_err = OTA_OK;
		return;
	}
	if (ev->kind == OTA_EVENT_FETCHING) {
		uint32_t percent = (uint32_t)((uint64_t)ev->done * 100 / (ev->total ? ev->total : 1));

		/* At most about twenty lines an image. */
		if (percent != 0 && percent != 100 && percent >= r->percent && percent < r->percent + 5)
			return;
		r->percent = percent;
	}
	if (r->is_json)
		line_json(words[ev->kind], ev, ev->kind == OTA_EVENT_ENROLLED ? device_id : NULL, NULL);
	else
		line_text(words[ev->kind], ev, device_id);
	(void)fflush(stdout);
}

void report_boot(struct report *r, const struct ota_boot_choice *c, enum ota_err err)
{
	struct ota_event ev = {.sequence = c->sequence, .err = c->why};

	if (err == OTA_NOT_FOUND) {
		report_note(r, "started", "no image in flash yet");
		return;
	}
	if (r->is_json) {
		line_json(c->is_reverted ? "reverted" : "started", &ev, NULL, c->is_trial ? "on trial" : "");
	} else {
		if (c->is_reverted)
			printf("reverted: %s\n", ota_err_text(c->why));
		if (c->sequence != 0)
			printf("started: release %u in slot %u%s%s\n", c->sequence, c->slot,
				c->is_trial ? ", on trial" : "",
				c->is_rebuilt ? ", found by its envelope" : "");
		else
			printf("started: an image without a release in slot %u\n", c->slot);
	}
	(void)fflush(stdout);
}

void report_note(struct report *r, const char *word, const char *text)
{
	if (r->is_json)
		line_json(word, NULL, NULL, text);
	else
		printf("%s: %s\n", word, text);
	(void)fflush(stdout);
}

void report_error(const char *text)
{
	(void)fprintf(stderr, "ota-agent: %s\n", text);
}
