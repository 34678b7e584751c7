#include "proto/err.h"

struct err_row {
	int16_t value;
	uint8_t reason;
	const char *name;
	const char *text;
};

static const struct err_row rows[] = {
#define OTA_ERR_ROW(name, detail, reason, text) {-(detail), reason, #name, text},
	OTA_ERR_LIST(OTA_ERR_ROW)
#undef OTA_ERR_ROW
};

static const struct err_row *err_row(enum ota_err err)
{
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].value == (int)err)
			return &rows[i];
	}
	return (const struct err_row *)0;
}

uint8_t ota_err_reason(enum ota_err err)
{
	const struct err_row *row = err_row(err);

	return row ? row->reason : 11;
}

uint16_t ota_err_detail(enum ota_err err)
{
	return (uint16_t) - (int)err;
}

enum ota_err ota_err_from_detail(uint16_t detail)
{
	for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].value == -(int)detail)
			return (enum ota_err)rows[i].value;
	}
	return OTA_IO;
}

const char *ota_err_text(enum ota_err err)
{
	const struct err_row *row = err_row(err);

	return row ? row->text : "unknown error";
}

const char *ota_err_name(enum ota_err err)
{
	const struct err_row *row = err_row(err);

	return row ? row->name : "UNKNOWN";
}
