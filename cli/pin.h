/* A server's public key as a pin: otactl's one look into a certificate. */
#ifndef CLI_PIN_H
#define CLI_PIN_H

#include "proto/errmsg.h"

/* "sha256//" and the base64 of SHA-256(SubjectPublicKeyInfo) of a PEM certificate (RFC 7469's pin).
 * OTA_INVALID. */
OTA_MUST_USE enum ota_err pin_of_pem(const char *pem, char pin[80], struct errmsg *e);

#endif
