/* What is printed: one clear line per event on stdout, or one JSON object per line. */
#ifndef PORT_REPORT_H
#define PORT_REPORT_H

#include "device-agent/boot/boot.h"
#include "device-agent/include/ota_agent.h"

struct report {
	bool is_json;
	uint32_t percent; /* last one that was printed */
	int last_status;
	enum ota_err last_err; /* of the last OTA_EVENT_UNREACHED: printed once while it lasts */
	const char *detail;    /* words of the transport about the request that failed, or "" */
	bool is_new_key;       /* enrolled, and no ticket was right under that key yet */
};

/* `ev` of the agent. */
void report_event(struct report *r, const struct ota_event *ev, const uint8_t *device_id);
/* What the boot code chose; `err` as ota_boot_select answered. */
void report_boot(struct report *r, const struct ota_boot_choice *c, enum ota_err err);
/* A line of `word` and constant or escaped text. */
void report_note(struct report *r, const char *word, const char *text);
/* "ota-agent: " and the text, on stderr. */
void report_error(const char *text);

#endif
