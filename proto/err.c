#include "proto/err.h"

/* Apart from the words, which a device never says and a linker then drops. */
static const struct {
	int16_t value;
	uint8_t reason;
} codes[] = {
#define OTA_ERR_CODE(name, detail, reason, text) {-(detail), reason},
	OTA_ERR_LIST(OTA_ERR_CODE)
#undef OTA_ERR_CODE
};

enum { N_CODES = sizeof codes / sizeof codes[0] };

uint8_t ota_err_reason(enum ota_err err)
{
	for (unsigned i = 0; i < N_CODES; i++) {
		if (codes[i].value == (int)err)
			return codes[i].reason;
	}
	return 11;
}

uint16_t ota_err_detail(enum ota_err err)
{
	return (uint16_t) - (int)err;
}

enum ota_err ota_err_from_detail(uint16_t detail)
{
	for (unsigned i = 0; i < N_CODES; i++) {
		if (codes[i].value == -(int)detail)
			return (enum ota_err)codes[i].value;
	}
	return OTA_IO;
}

const char *ota_err_text(enum ota_err err)
{
	switch ((int)err) {
#define OTA_ERR_TEXT(name, detail, reason, text)                                                             \
	case -(detail):                                                                                      \
		return text;
		OTA_ERR_LIST(OTA_ERR_TEXT)
#undef OTA_ERR_TEXT
	default:
		return "unknown error";
	}
}

const char *ota_err_name(enum ota_err err)
{
	switch ((int)err) {
#define OTA_ERR_NAME(name, detail, reason, text)                                                             \
	case -(detail):                                                                                      \
		return #name;
		OTA_ERR_LIST(OTA_ERR_NAME)
#undef OTA_ERR_NAME
	default:
		return "UNKNOWN";
	}
}
