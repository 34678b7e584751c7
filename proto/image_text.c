#include <string.h>

#include "proto/image_internal.h"

/* Versions that firmware carries only as text. MicroPython: MICROPY_BANNER_NAME_AND_VERSION, "MicroPython
 * v1.22.1 on 2024-01-05" (py/mpconfig.h); CircuitPython: "Adafruit CircuitPython 9.0.0 on 2024-03-19" (the
 * same place of its tree); Tasmota: the user agent's format string, which has no version in it (the version
 * is a number that only the running firmware prints). Each first letter occurs once in its needle, so a
 * mismatch can only restart at the byte at hand. */
enum { TEXT_MICROPYTHON, TEXT_CIRCUITPYTHON, TEXT_TASMOTA, TEXT_COUNT };
static const struct {
	const char *text, *project;
	uint8_t len;
} needles[TEXT_COUNT] = {
	[TEXT_MICROPYTHON] = {"MicroPython v", "MicroPython", 13},
	[TEXT_CIRCUITPYTHON] = {"CircuitPython ", "CircuitPython", 14},
	[TEXT_TASMOTA] = {"Tasmota/%s (", "Tasmota", 12},
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

/* "1.22.1 on 2024-01-05; ..." behind the needle: a version, " on ", a date. Anything else is other text. */
static void take_tail(struct image_text *t)
{
	static const char shape[] = " on 0000-00-00"; /* 0 = a digit */
	const char *tail = t->tail;
	size_t len = 0;

	t->tail[t->len] = '\0';
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
	for (unsigned i = 0; i < TEXT_COUNT; i++) {
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
		bool idle = !t->taking && !t->at[0] && !t->at[1] && !t->at[2];

		if (idle && p[i] != 'M' && p[i] != 'C' && p[i] != 'T')
			continue; /* no needle starts here: nearly every byte */
		step(t, p[i]);
	}
}

void image_text_apply(struct image_text *t, struct image_info *info)
{
	static const char micropython[] =
		"micropython"; /* what its ESP32 port calls itself in the description */
	bool is_same = memcmp(info->project, micropython, sizeof micropython) == 0;

	if (t->taking && !t->has_version)
		take_tail(t);
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
