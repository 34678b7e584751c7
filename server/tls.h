/* The certificate behind the HTTPS doors. Reads and writes files: at start, or in a worker's job.
 *
 * Without tls-cert a self-signed one is made once: ECDSA P-256, ten years, for the machine's name, localhost,
 * the doors' addresses and the setting host-names; DIR/tls/cert.pem and DIR/tls/key.pem (0600). People
 * compare its fingerprint, as with ssh. */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include "server/config.h"

enum { TLS_FINGERPRINT_LEN = 32 * 3, TLS_PIN_LEN = 8 + 44 + 1 };

struct tls_material {
	char *cert;                            /* PEM, malloc'ed */
	char *key;                             /* PEM, malloc'ed; wiped by tls_release */
	char fingerprint[TLS_FINGERPRINT_LEN]; /* SHA-256 of the first certificate, "AB:CD:..." */
	char pin[TLS_PIN_LEN]; /* its public key as otactl login shows it, "sha256//" + base64 */
	bool is_new;           /* made just now */
};

/* Load what cfg names, or make and load the self-signed one. `now` is Unix seconds. */
OTA_MUST_USE enum ota_err tls_load(
	const struct config *cfg, int64_t now, struct tls_material *out, struct errmsg *e);
void tls_release(struct tls_material *m);

#endif
