/* Images that fit a board, and sets of them that are whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "proto/fit.h"

static const struct fit_component components[] = {
	{.name = "app", .format = "", .size_max = 1000}, {.name = "fs", .format = "romfs"}};
static const struct fit_board lamp = {
	.name = "lamp", .chip = "esp32c3", .components = components, .n_components = 2};

static void test_image(void **state)
{
	struct fit_board board = lamp;
	struct image_info info = {.format = IMAGE_ESP32, .chip = "esp32c3", .size = 1000};
	struct errmsg e;

	(void)state;
	assert_int_equal(fit_image(&board, 0, &info, "it", &e), OTA_OK);
	info.size = 1001;
	assert_int_equal(fit_image(&board, 0, &info, "it", &e), OTA_IMAGE_FORMAT);
	assert_string_equal(e.text, "it has 1001 bytes, a slot of 'app' on board 'lamp' has 1000");
	info.size = 0;
	assert_int_equal(fit_image(&board, 0, &info, "it", &e), OTA_IMAGE_FORMAT);
	info.size = 10;
	memcpy(info.chip, "esp32", 6);
	assert_int_equal(fit_image(&board, 0, &info, "it", &e), OTA_IMAGE_FORMAT);
	assert_string_equal(e.text, "it is for esp32, board 'lamp' has esp32c3");
	memset(info.chip, 0, sizeof info.chip);
	info.format = IMAGE_RAW;
	assert_int_equal(fit_image(&board, 0, &info, "it", &e), OTA_IMAGE_FORMAT);
	assert_int_equal(fit_image(&board, 1, &info, "it", &e), OTA_IMAGE_FORMAT);
	info.format = IMAGE_ROMFS;
	assert_int_equal(fit_image(&board, 1, &info, "it", &e), OTA_OK);
	/* A board that does not say its chip takes what there is. */
	board.chip = "";
	info.format = IMAGE_RAW;
	assert_int_equal(fit_image(&board, 0, &info, "it", &e), OTA_OK);
}

static void test_variant(void **state)
{
	static const struct {
		int8_t own;
		const char *said, *variant; /* NULL: refused */
	} cases[] = {
		{0, "", ""},
		{0, "left", "left"},
		{1, "", "user1"},
		{2, "", "user2"},
		{2, "user2", "user2"},
		{1, "user2", NULL},
		{0, "a/b", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct image_info info = {.variant = cases[i].own};
		const char *variant = "unchanged";
		struct errmsg e;
		enum ota_err err = fit_variant(&info, cases[i].said, &variant, &e);

		assert_int_equal(err, cases[i].variant ? OTA_OK : OTA_INVALID);
		assert_string_equal(variant, cases[i].variant ? cases[i].variant : "unchanged");
	}
}

static void test_set(void **state)
{
	static const struct {
		size_t n;
		struct fit_part part[4];
		const char *words; /* NULL: whole */
	} cases[] = {
		{2, {{0, ""}, {1, ""}}, NULL},
		{3, {{1, ""}, {0, "B"}, {0, "A"}}, NULL},
		{1, {{0, ""}}, "component 'fs' of board 'lamp' has no image"},
		{1, {{1, ""}}, "component 'app' of board 'lamp' has no image"},
		{2, {{0, "user2"}, {1, ""}},
			"component 'app' of board 'lamp' has user2 alone: an ESP8266 SDK release needs user1 "
			"and user2"},
		{2, {{0, ""}, {1, "A"}},
			"component 'fs' of board 'lamp' has variant 'A' alone; a variant comes with the one "
			"for the other "
			"slot"},
		{3, {{0, ""}, {0, ""}, {1, ""}},
			"component 'app' of board 'lamp' has two images: they need two different variants"},
		{3, {{0, "A"}, {0, ""}, {1, ""}},
			"component 'app' of board 'lamp' has two images: they need two different variants"},
		{4, {{0, "A"}, {0, "B"}, {0, "C"}, {1, ""}},
			"component 'app' of board 'lamp' has more than two images"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct errmsg e = {""};
		enum ota_err err = fit_set(&lamp, cases[i].part, cases[i].n, &e);

		assert_int_equal(err, cases[i].words ? OTA_INVALID : OTA_OK);
		assert_string_equal(e.text, cases[i].words ? cases[i].words : "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_variant),
		cmocka_unit_test(test_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
