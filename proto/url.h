/* Base URLs: where a device finds its server. A device appends "d/v1/checkin" or "i/<hex>" and parses no
 * more. */
#ifndef PROTO_URL_H
#define PROTO_URL_H

#include "proto/crypto.h"

enum { URL_BASE_MAX = 200 }; /* bytes */

/* http:// or https://, a host, no query or fragment, printable ASCII without spaces, and '/' at the end. */
bool url_is_base(struct ota_slice url);

/* Printable ASCII without spaces, at least one character: what names and addresses are held to. */
bool url_is_plain(struct ota_slice text);

#endif
