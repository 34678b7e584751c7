#include "server/fit.h"

#include <inttypes.h>
#include <string.h>

/* Chips whose images always say what they are: bytes that do not are a mistake as their main component. */
static bool chip_is_told_by_images(const char *chip)
{
	return strncmp(chip, "esp", 3) == 0;
}

enum ota_err fit_check(const struct board_row *board, size_t c, const struct image_row *image,
	const char *label, struct errmsg *e)
{
	const struct board_component *component = &board->components[c];
	const struct image_info *info = &image->info;
	const char *format = image_format_name(info->format);

	if (*board->chip && *info->chip && strcmp(board->chip, info->chip) != 0)
		return errmsg_fail(e, OTA_IMAGE_FORMAT, "%s is for %s, board '%s' has %s", label, info->chip,
			board->name, board->chip);
	if (*component->format && strcmp(component->format, format) != 0)
		return errmsg_fail(e, OTA_IMAGE_FORMAT, "%s is '%s', component '%s' of board '%s' takes '%s'",
			label, format, component->name, board->name, component->format);
	if (c == 0 && !*component->format && chip_is_told_by_images(board->chip) && !*info->chip)
		return errmsg_fail(e, OTA_IMAGE_FORMAT,
			"%s is no firmware of board '%s': no %s image is recognised in it", label,
			board->name, board->chip);
	if (component->size_max && info->size > component->size_max)
		return errmsg_fail(e, OTA_IMAGE_FORMAT,
			"%s has %" PRIu64 " bytes, a slot of '%s' on board '%s' has %" PRIu64, label,
			info->size, component->name, board->name, component->size_max);
	if (info->size == 0 || info->size > UINT32_MAX)
		return errmsg_fail(e, OTA_IMAGE_FORMAT, "%s has %" PRIu64 " bytes, which no device takes",
			label, info->size);
	return OTA_OK;
}
