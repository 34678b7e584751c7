#include "proto/fit.h"

#include <inttypes.h>
#include <string.h>

#include "proto/limits.h"

/* Chips whose images always say what they are: bytes that do not are a mistake as their main component. */
static bool chip_is_told_by_images(const char *chip)
{
	return strncmp(chip, "esp", 3) == 0;
}

enum ota_err fit_image(const struct fit_board *board, size_t c, const struct image_info *info,
	const char *label, struct errmsg *e)
{
	const struct fit_component *component = &board->components[c];
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

enum ota_err fit_variant(
	const struct image_info *info, const char *said, const char **variant, struct errmsg *e)
{
	const char *own = info->variant == 1 ? "user1" : info->variant == 2 ? "user2" : "";

	if (*own && *said && strcmp(own, said) != 0)
		return errmsg_fail(e, OTA_INVALID, "this image is linked as %s, not as '%s'", own, said);
	if (*said && !limit_name_is_valid(said))
		return errmsg_fail(e, OTA_INVALID, "'%s' is no name for a variant", said);
	*variant = *said ? said : own;
	return OTA_OK;
}

enum ota_err fit_set(
	const struct fit_board *board, const struct fit_part *parts, size_t n_parts, struct errmsg *e)
{
	for (size_t c = 0; c < board->n_components; c++) {
		const char *name = board->components[c].name;
		const char *first = NULL, *second = NULL;

		for (size_t i = 0; i < n_parts; i++) {
			if (parts[i].component != c)
				continue;
			if (second)
				return errmsg_fail(e, OTA_INVALID,
					"component '%s' of board '%s' has more than two images", name,
					board->name);
			*(first ? &second : &first) = parts[i].variant;
		}
		if (!first)
			return errmsg_fail(e, OTA_INVALID, "component '%s' of board '%s' has no image", name,
				board->name);
		if (!second && strncmp(first, "user", 4) == 0)
			return errmsg_fail(e, OTA_INVALID,
				"component '%s' of board '%s' has %s alone: an ESP8266 SDK release needs "
				"user1 "
				"and user2",
				name, board->name, first);
		if (!second && *first)
			return errmsg_fail(e, OTA_INVALID,
				"component '%s' of board '%s' has variant '%s' alone; a variant comes with "
				"the "
				"one for the other slot",
				name, board->name, first);
		if (second && (!*first || !*second || strcmp(first, second) == 0))
			return errmsg_fail(e, OTA_INVALID,
				"component '%s' of board '%s' has two images: they need two different "
				"variants",
				name, board->name);
	}
	return OTA_OK;
}
