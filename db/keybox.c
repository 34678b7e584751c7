#include "db/keybox.h"

#include <limits.h>
#include <stdbool.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "proto/cleanup.h"

enum {
	MAGIC_LEN = 8,
	SALT_AT = 12,
	NONCE_AT = 28,
	BODY_AT = 40,
	SALT_LEN = 16,
	NONCE_LEN = 12,
	TAG_LEN = 16,
	LOG_N = 17,
	LOG_N_MAX = 18, /* a hostile box asks for no more than 256 MiB */
	R = 8,
	P = 1,
};

static const uint8_t magic[MAGIC_LEN] = "otadkey1";

static void auto_cipher(EVP_CIPHER_CTX **c)
{
	EVP_CIPHER_CTX_free(*c);
}

static enum ota_err key_of(const char *passphrase, const uint8_t *box, uint8_t key[32], struct errmsg *e)
{
	uint64_t n = UINT64_C(1) << box[MAGIC_LEN];

	if (EVP_PBE_scrypt(passphrase, strlen(passphrase), box + SALT_AT, SALT_LEN, n, R, P,
		    UINT64_C(384) << 20, key, 32) != 1)
		return errmsg_fail(e, OTA_NO_MEMORY, "cannot derive a key from the passphrase");
	return OTA_OK;
}

enum ota_err keybox_seal(
	const char *passphrase, const void *bytes, size_t len, uint8_t *out, struct errmsg *e)
{
	AUTO(cipher) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t key[32];
	int n = 0, m = 0;
	enum ota_err err;
	bool done;

	if (strlen(passphrase) < KEYBOX_PASSPHRASE_MIN)
		return errmsg_fail(
			e, OTA_INVALID, "the passphrase has fewer than %d characters", KEYBOX_PASSPHRASE_MIN);
	if (len > INT_MAX - KEYBOX_OVERHEAD)
		return errmsg_fail(e, OTA_TOO_LARGE, "too many bytes for one box");
	memcpy(out, magic, MAGIC_LEN);
	out[MAGIC_LEN] = LOG_N;
	out[MAGIC_LEN + 1] = R;
	out[MAGIC_LEN + 2] = P;
	out[MAGIC_LEN + 3] = 0;
	if (!c || RAND_bytes(out + SALT_AT, SALT_LEN + NONCE_LEN) != 1)
		return errmsg_fail(e, OTA_IO, "no random bytes");
	err = key_of(passphrase, out, key, e);
	if (err != OTA_OK)
		return err;
	done = EVP_EncryptInit_ex2(c, EVP_aes_256_gcm(), key, out + NONCE_AT, NULL) == 1 &&
	       EVP_EncryptUpdate(c, NULL, &n, out, BODY_AT) == 1 &&
	       EVP_EncryptUpdate(c, out + BODY_AT, &n, bytes, (int)len) == 1 &&
	       EVP_EncryptFinal_ex(c, out + BODY_AT + n, &m) == 1 &&
	       EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG_LEN, out + BODY_AT + len) == 1;
	OPENSSL_cleanse(key, sizeof key);
	return done ? OTA_OK : errmsg_fail(e, OTA_IO, "cannot encrypt");
}

enum ota_err keybox_open(
	const char *passphrase, const uint8_t *box, size_t len, uint8_t *out, struct errmsg *e)
{
	AUTO(cipher) EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	uint8_t key[32], tag[TAG_LEN];
	size_t body;
	int n = 0, m = 0;
	enum ota_err err;
	bool done;

	if (len < KEYBOX_OVERHEAD || len > INT_MAX || memcmp(box, magic, MAGIC_LEN) != 0 ||
		box[MAGIC_LEN] < 10 || box[MAGIC_LEN] > LOG_N_MAX || box[MAGIC_LEN + 1] != R ||
		box[MAGIC_LEN + 2] != P)
		return errmsg_fail(e, OTA_FORMAT, "the encrypted keys are of an unknown form");
	if (!c)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	body = len - KEYBOX_OVERHEAD;
	memcpy(tag, box + BODY_AT + body, TAG_LEN);
	err = key_of(passphrase, box, key, e);
	if (err != OTA_OK)
		return err;
	done = EVP_DecryptInit_ex2(c, EVP_aes_256_gcm(), key, box + NONCE_AT, NULL) == 1 &&
	       EVP_DecryptUpdate(c, NULL, &n, box, BODY_AT) == 1 &&
	       EVP_DecryptUpdate(c, out, &n, box + BODY_AT, (int)body) == 1 &&
	       EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_LEN, tag) == 1 &&
	       EVP_DecryptFinal_ex(c, out + n, &m) == 1;
	OPENSSL_cleanse(key, sizeof key);
	if (!done) {
		OPENSSL_cleanse(out, body);
		return errmsg_fail(e, OTA_DENIED, "the passphrase does not open the keys");
	}
	return OTA_OK;
}
