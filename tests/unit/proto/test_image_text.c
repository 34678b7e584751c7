/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <string.h>

#include "proto/image_internal.h"

/* Texts that say a version, and texts that only look like it. */

#define TEXT(s) (const uint8_t *)(s), sizeof(s) - 1

static const struct row {
	const uint8_t *text;
	size_t len;
	const char *had_project, *had_version; /* in the image's description */
	const char *project, *version, *built, *sdk;
} rows[] = {
	{TEXT("MicroPython v1.22.1 on 2024-01-05; x\0"), "", "", "MicroPython", "1.22.1", "2024-01-05", ""},
	{TEXT("MicroPython v1.22.1 on 2024-01-05"), "", "", "MicroPython", "1.22.1", "2024-01-05", ""},
	{TEXT("MicroPython v1.22.1 on 2024-01-0\0"), "", "", "", "", "", ""},
	{TEXT("MicroPython vX on 2024-01-05\0"), "", "", "", "", "", ""},
	{TEXT("Adafruit CircuitPython 9.0.0-beta.2 on 2024-03-19; x\0"), "", "", "CircuitPython",
		"9.0.0-beta.2", "2024-03-19", ""},
	{TEXT("MicroPython v1.22.1 on 2024-01-05\0"), "lamp", "3", "lamp", "3", "", ""},
	{TEXT("MicroPython v1.22.1 on 2024-01-05\0"), "micropython", "v1", "MicroPython", "1.22.1",
		"2024-01-05", ""},
	{TEXT("x Tasmota/%s (%s)\0"), "", "", "Tasmota", "", "", ""},

	{TEXT("[I][%s:%03u]: ESPHome version 2024.6.1 compiled on %s\0"), "", "", "ESPHome", "", "",
		"ESPHome 2024.6.1"},
	{TEXT("ESPHome version 2024.6.1 compiled on %s\033[0m\0x: Project acme.lamp version 1.2.3\033[0m"),
		"", "", "acme.lamp", "1.2.3", "", "ESPHome 2024.6.1"},
	{TEXT("Project acme.lamp version 1.2.3\0ESPHome version 2024.6.1 compiled on %s\0"), "kitchen", "1",
		"acme.lamp", "1.2.3", "", "ESPHome 2024.6.1"},
	{TEXT("ESPHome version 2024.6.1 compiled on %s\0"), "kitchen", "1", "kitchen", "1", "",
		"ESPHome 2024.6.1"},
	/* the first project counts */
	{TEXT("ESPHome version 2024.6.1 compiled on \0Project a.b version 1\0Project c.d version 2\0"), "",
		"", "a.b", "1", "", "ESPHome 2024.6.1"},
	/* not ESPHome's */
	{TEXT("Project acme.lamp version 1.2.3\0"), "", "", "", "", "", ""},
	{TEXT("ESPHome version %s compiled on %s\0Project acme.lamp version 1.2.3\0"), "", "", "", "", "",
		""},
	{TEXT("ESPHome version 2024.6.1 or later\0"), "", "", "", "", "", ""},
	/* other texts beside ESPHome's: no dot, two dots, more behind it, nothing behind it, too long */
	{TEXT("ESPHome version 2024.6.1 compiled on \0Project lamp version 2\0"), "", "", "ESPHome", "", "",
		"ESPHome 2024.6.1"},
	{TEXT("ESPHome version 2024.6.1 compiled on \0Project a.b.c version 2\0"), "", "", "ESPHome", "", "",
		"ESPHome 2024.6.1"},
	{TEXT("ESPHome version 2024.6.1 compiled on \0Project a.b version 2 of x\0"), "", "", "ESPHome", "",
		"", "ESPHome 2024.6.1"},
	{TEXT("ESPHome version 2024.6.1 compiled on \0Project a.b version \0"), "", "", "ESPHome", "", "",
		"ESPHome 2024.6.1"},
	{TEXT("ESPHome version 2024.6.1 compiled on \0Project a.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb version "
	      "2\0"),
		"", "", "ESPHome", "", "", "ESPHome 2024.6.1"},
	{TEXT("ESPHome version 2024.6.1 compiled on \0Project a.b version "
	      "11111111111111111111111111111111111111111111111111111111111111111\0"),
		"", "", "ESPHome", "", "", "ESPHome 2024.6.1"},
};

static void check(const struct row *r, size_t step)
{
	struct image_info info = {0};
	struct image_text t = {0};

	strcpy(info.project, r->had_project);
	strcpy(info.version, r->had_version);
	for (size_t at = 0; at < r->len; at += step)
		image_text_feed(&t, r->text + at, r->len - at < step ? r->len - at : step);
	image_text_apply(&t, &info);
	if (strcmp(info.project, r->project) != 0 || strcmp(info.version, r->version) != 0 ||
		strcmp(info.built, r->built) != 0 || strcmp(info.sdk, r->sdk) != 0)
		fail_msg("row %zu by %zu: '%s' '%s' '%s' '%s'", (size_t)(r - rows), step, info.project,
			info.version, info.built, info.sdk);
}

static void test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t step = 1; step <= rows[i].len; step++)
			check(&rows[i], step);
	}
}

/* A file may begin and end anywhere. */
static void test_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t from = 0; from < rows[i].len; from++) {
			for (size_t len = 0; len <= rows[i].len - from; len++) {
				struct image_info info = {0};
				struct image_text t = {0};

				image_text_feed(&t, rows[i].text + from, len);
				image_text_apply(&t, &info);
				assert_in_range(strlen(info.version), 0, sizeof info.version - 1);
				/* ESPHome's versions are told with ESPHome alone */
				assert_true(!strchr(info.project, '.') || info.sdk[0]);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
