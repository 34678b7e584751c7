#include <string.h>

#include "proto/image_internal.h"

/* Versions that firmware carries only as text. MicroPython: MICROPY_BANNER_NAME_AND_VERSION, "MicroPython
 * v1.22.1 on 2024-01-05" (py/mpconfig.h); CircuitPython: "Adafruit CircuitPython 9.0.0 on 2024-03-19" (the
 * same place of its tree). ESPHome (esphome/core/application.cpp) logs "ESPHome version 2024.6.1 compiled on
 * %s", and "Project acme.lamp version 1.2.3" where the configuration names one: that is the firmware's
 * version; ESPHome's own stays the same while the configuration changes, so it is told beside. Tasmota: the
 * user agent's format string, which has no version in it (the version is a number that only the running
 * firmware prints). Each first letter occurs once in its needle, so a mismatch can only restart at the byte
 * at hand. */
enum { TEXT_MICROPYTHON, TEXT_CIRCUITPYTHON, TEXT_TASMOTA, TEXT_ESPHOME, TEXT_PROJECT };
static const struct {
	const char *text, *project;
	uint8_t len;
} needles[IMAGE_NEEDLES] = {
	[TEXT_MICROPYTHON] = {"MicroPython v", "MicroPython", 13},
	[TEXT_CIRCUITPYTHON] = {"CircuitPython ", "CircuitPython", 14},
	[TEXT_TASMOTA] = {"Tasmota/%s (", "Tasmota", 12},
	[TEXT_ESPHOME] = {"ESPHome version ", "ESPHome", 16},
	[TEXT_PROJECT] = {"Project ", NULL, 8},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_version_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
	       c == '+' || c == '_';
}

static bool starts(const char *p, const char *with)
{
	while (*with && *p == *with) {
		p++;
		with++;
	}
	return *with == '\0';
}

/* "1.22.1 on 2024-01-05; ..." behind the needle: a version, " on ", a date. Anything else is other text. */
static void take_banner(struct image_text *t)
{
	static const char shape[] = " on 0000-00-00"; /* 0 = a digit */
	const char *tail = t->tail;
	size_t len = 0;

	while (is_version_char(tail[len]))
		len++;
	if (!is_digit(tail[0]) || len + sizeof shape - 1 > t->len)
		return;
	for (size_t i = 0; i + 1 < sizeof shape; i++) {
		char c = tail[len + i];

		if (shape[i] == '0' ? !is_digit(c) : c != shape[i])
			return;
	}
	image_copy_text(t->version, sizeof t->version, (const uint8_t *)tail, len);
	image_copy_text(t->built, sizeof t->built, (const uint8_t *)tail + len + 4, 10);
	t->project = needles[t->taking - 1].project;
	t->has_version = true;
}

/* "2024.6.1 compiled on ..." */
static void take_esphome(struct image_text *t)
{
	size_t len = 0;

	while (is_version_char(t->tail[len]))
		len++;
	if (is_digit(t->tail[0]) && len < sizeof t->esphome && starts(t->tail + len, " compiled on "))
		image_copy_text(t->esphome, sizeof t->esphome, (const uint8_t *)t->tail, len);
}

/* "acme.lamp version 1.2.3" and nothing behind it; the first such text counts, and only ESPHome's. Its
 * configuration demands one dot in the name. */
static void take_project(struct image_text *t)
{
	static const char between[] = " version ";
	const char *tail = t->tail;
	unsigned dots = 0;
	size_t len = 0, from;

	for (; is_version_char(tail[len]); len++)
		dots += tail[len] == '.';
	if (dots != 1 || len >= sizeof t->esphome_project || !starts(tail + len, between) ||
		t->esphome_project[0])
		return;
	from = len + sizeof between - 1;
	for (size_t i = from; i < t->len; i++) {
		if (!is_version_char(tail[i]))
			return;
	}
	if (from == t->len || t->len == sizeof t->tail - 1)
		return;
	image_copy_text(t->esphome_project, sizeof t->esphome_project, (const uint8_t *)tail, len);
	image_copy_text(
		t->esphome_version, sizeof t->esphome_version, (const uint8_t *)tail + from, t->len - from);
}

static void take_tail(struct image_text *t)
{
	t->tail[t->len] = '\0';
	switch (t->taking - 1) {
	case TEXT_ESPHOME:
		take_esphome(t);
		break;
	case TEXT_PROJECT:
		take_project(t);
		break;
	default:
		take_banner(t);
	}
}

static void step(struct image_text *t, uint8_t c)
{
	if (t->taking) {
		if (c >= 0x20 && c < 0x7F && t->len < sizeof t->tail - 1) {
			t->tail[t->len++] = (char)c;
			return;
		}
		take_tail(t);
		t->taking = 0;
	}
	for (unsigned i = 0; i < IMAGE_NEEDLES; i++) {
		if (c != (uint8_t)needles[i].text[t->at[i]])
			t->at[i] = 0;
		if (c == (uint8_t)needles[i].text[t->at[i]])
			t->at[i]++;
		if (t->at[i] < needles[i].len)
			continue;
		t->at[i] = 0;
		if (i == TEXT_TASMOTA) {
			if (!t->project)
				t->project = needles[i].project;
		} else {
			t->taking = (uint8_t)(i + 1);
			t->len = 0;
		}
	}
}

void image_text_feed(struct image_text *t, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len && !t->has_version; i++) {
		bool idle = !t->taking && !t->at[0] && !t->at[1] && !t->at[2] && !t->at[3] && !t->at[4];

		if (idle && p[i] != 'M' && p[i] != 'C' && p[i] != 'T' && p[i] != 'E' && p[i] != 'P')
			continue; /* no needle starts here: nearly every byte */
		step(t, p[i]);
	}
}

/* What ESPHome's configuration says outweighs the description, which ESP-IDF fills with defaults. */
static void apply_esphome(const struct image_text *t, struct image_info *info)
{
	if (t->esphome_project[0]) {
		memcpy(info->project, t->esphome_project, sizeof info->project);
		memcpy(info->version, t->esphome_version, sizeof info->version);
	} else if (!info->project[0]) {
		image_append(info->project, sizeof info->project, needles[TEXT_ESPHOME].project);
	}
	if (info->sdk[0])
		return;
	image_append(info->sdk, sizeof info->sdk, "ESPHome ");
	image_append(info->sdk, sizeof info->sdk, t->esphome);
}

void image_text_apply(struct image_text *t, struct image_info *info)
{
	static const char micropython[] =
		"micropython"; /* what its ESP32 port calls itself in the description */
	bool is_same = memcmp(info->project, micropython, sizeof micropython) == 0;

	if (t->taking && !t->has_version)
		take_tail(t);
	if (t->esphome[0])
		apply_esphome(t, info);
	if (info->project[0] && !is_same)
		return;
	if (t->project)
		image_copy_text(info->project, sizeof info->project, (const uint8_t *)t->project,
			sizeof info->project - 1);
	if (t->has_version && (is_same || !info->version[0]))
		image_copy_text(
			info->version, sizeof info->version, (const uint8_t *)t->version, sizeof t->version);
	if (t->has_version && !info->built[0])
		image_copy_text(info->built, sizeof info->built, (const uint8_t *)t->built, sizeof t->built);
}
