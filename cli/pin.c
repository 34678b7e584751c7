#include "cli/pin.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

enum ota_err pin_of_pem(const char *pem, char pin[80], struct errmsg *e)
{
	unsigned char *spki = NULL, digest[32], text[64];
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	int len = cert ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki) : -1;

	X509_free(cert);
	BIO_free(bio);
	if (len <= 0)
		return errmsg_fail(e, OTA_INVALID, "the server's certificate cannot be read");
	int ok = EVP_Digest(spki, (size_t)len, digest, NULL, EVP_sha256(), NULL);

	OPENSSL_free(spki);
	if (!ok)
		return errmsg_fail(e, OTA_IO, "cannot hash the server's key");
	EVP_EncodeBlock(text, digest, sizeof digest);
	(void)snprintf(pin, 80, "sha256//%s", (const char *)text);
	return OTA_OK;
}
