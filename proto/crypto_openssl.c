/* The low-level SHA-256 is deprecated in OpenSSL 3 in favour of a heap context that no caller of
 * struct ota_sha256 could own; it is what keeps a running hash copyable. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "proto/crypto_openssl.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	MESSAGE_MAX = 2048, /* of an Ed25519 message, which must lie in one piece */
	DER_SIG_MAX = 72,   /* SEQUENCE of two INTEGERs of at most 33 bytes */
	/* scrypt (RFC 7914) as it is common for files: 16 MiB and some tens of milliseconds */
	SCRYPT_N = 1 << 14,
	SCRYPT_R = 8,
	SCRYPT_P = 1,
};

_Static_assert(sizeof(SHA256_CTX) <= sizeof(struct ota_sha256), "OpenSSL's state must fit");
_Static_assert(_Alignof(SHA256_CTX) <= _Alignof(struct ota_sha256), "OpenSSL's state must be aligned");

static void sha256_init(struct ota_sha256 *h)
{
	SHA256_Init((void *)h);
}

static void sha256_update(struct ota_sha256 *h, const void *data, size_t len)
{
	if (len > 0)
		SHA256_Update((void *)h, data, len);
}

static void sha256_final(struct ota_sha256 *h, uint8_t out[OTA_SHA256_LEN])
{
	SHA256_Final(out, (void *)h);
}

static void hash_parts(const struct ota_slice *parts, size_t n_parts, uint8_t digest[OTA_SHA256_LEN])
{
	ota_sha256(crypto_openssl(), parts, n_parts, digest);
}

/* False: longer than MESSAGE_MAX. */
static bool join_parts(const struct ota_slice *parts, size_t n_parts, uint8_t buf[MESSAGE_MAX], size_t *len)
{
	size_t n = 0;

	for (size_t i = 0; i < n_parts; i++) {
		if (parts[i].len > MESSAGE_MAX - n)
			return false;
		if (parts[i].len > 0)
			memcpy(buf + n, parts[i].p, parts[i].len);
		n += parts[i].len;
	}
	*len = n;
	return true;
}

/* r | s to DER. Zero and numbers above the group order are left to the verification, which refuses them. */
static bool sig_to_der(const uint8_t sig[OTA_SIG_LEN], uint8_t der[DER_SIG_MAX], size_t *der_len)
{
	ECDSA_SIG *rs = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(sig, 32, NULL), *s = BN_bin2bn(sig + 32, 32, NULL);
	bool done = false;

	if (!rs || !r || !s || !ECDSA_SIG_set0(rs, r, s)) {
		BN_free(r);
		BN_free(s);
	} else {
		int n = i2d_ECDSA_SIG(rs, NULL);

		if (n > 0 && n <= DER_SIG_MAX) {
			*der_len = (size_t)i2d_ECDSA_SIG(rs, &der);
			done = true;
		}
	}
	ECDSA_SIG_free(rs);
	return done;
}

static bool sig_from_der(const uint8_t *der, size_t der_len, uint8_t sig[OTA_SIG_LEN])
{
	const uint8_t *p = der;
	ECDSA_SIG *rs = d2i_ECDSA_SIG(NULL, &p, (long)der_len);
	bool done = rs && p == der + der_len && BN_bn2binpad(ECDSA_SIG_get0_r(rs), sig, 32) == 32 &&
		    BN_bn2binpad(ECDSA_SIG_get0_s(rs), sig + 32, 32) == 32;

	ECDSA_SIG_free(rs);
	return done;
}

/* NULL: no point of the curve. */
static EVP_PKEY *p256_public(const uint8_t pub[OTA_P256_PUB_LEN])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;
	char group[] = "prime256v1";
	uint8_t point[OTA_P256_PUB_LEN];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point),
		OSSL_PARAM_construct_end(),
	};

	memcpy(point, pub, sizeof point);
	if (!ctx || EVP_PKEY_fromdata_init(ctx) <= 0 ||
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static enum ota_err verify_p256(const uint8_t pub[OTA_P256_PUB_LEN], const struct ota_slice *parts,
	size_t n_parts, const uint8_t sig[OTA_SIG_LEN])
{
	uint8_t digest[OTA_SHA256_LEN], der[DER_SIG_MAX];
	size_t der_len;
	EVP_PKEY *key;
	EVP_PKEY_CTX *ctx;
	bool good;

	/* 0x04 is the uncompressed form; OpenSSL also reads the hybrid one. */
	if (pub[0] != 0x04 || !sig_to_der(sig, der, &der_len))
		return OTA_SIG;
	key = p256_public(pub);
	ctx = key ? EVP_PKEY_CTX_new(key, NULL) : NULL;
	hash_parts(parts, n_parts, digest);
	good = ctx && EVP_PKEY_verify_init(ctx) == 1 &&
	       EVP_PKEY_verify(ctx, der, der_len, digest, sizeof digest) == 1;
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(key);
	return good ? OTA_OK : OTA_SIG;
}

/* Public keys that are no canonical encoding (y >= 2^255 - 19) or lie in the subgroup of order 8: under those
 * one signature can fit many messages. OpenSSL takes them. */
static bool ed25519_key_is_weak(const uint8_t pub[OTA_ED25519_PUB_LEN])
{
	/* y of the points of order 1, 2, 4 and 8: 1, -1, 0, and the two of order 8. */
	static const uint8_t small[][32] = {
		{0},
		{1},
		{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
			0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d,
			0x53, 0xfc, 0x05},
		{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
			0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92,
			0xac, 0x03, 0x7a},
		{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
			0xff, 0xff, 0x7f},
	};
	uint8_t y[OTA_ED25519_PUB_LEN];
	bool above = true;

	memcpy(y, pub, sizeof y);
	y[31] &= 0x7f;
	for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
		if (memcmp(y, small[i], sizeof y) == 0)
			return true;
	}
	for (size_t i = 1; i < 31; i++)
		above = above && y[i] == 0xff;
	return above && y[31] == 0x7f && y[0] >= 0xed;
}

static enum ota_err verify_ed25519(const uint8_t pub[OTA_ED25519_PUB_LEN], const struct ota_slice *parts,
	size_t n_parts, const uint8_t sig[OTA_SIG_LEN])
{
	uint8_t msg[MESSAGE_MAX];
	size_t len;
	EVP_PKEY *key;
	EVP_MD_CTX *ctx;
	bool good;

	if (ed25519_key_is_weak(pub) || !join_parts(parts, n_parts, msg, &len))
		return OTA_SIG;
	key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pub, OTA_ED25519_PUB_LEN);
	ctx = EVP_MD_CTX_new();
	good = key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
	       EVP_DigestVerify(ctx, sig, OTA_SIG_LEN, msg, len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return good ? OTA_OK : OTA_SIG;
}

static enum ota_err verify(int alg, const uint8_t *pub, size_t pub_len, const struct ota_slice *parts,
	size_t n_parts, const uint8_t sig[OTA_SIG_LEN])
{
	enum ota_err err = OTA_ALG;

	if ((alg == OTA_ALG_ESP256 || alg == OTA_ALG_ES256) && pub_len == OTA_P256_PUB_LEN)
		err = verify_p256(pub, parts, n_parts, sig);
	else if (alg == OTA_ALG_ED25519 && pub_len == OTA_ED25519_PUB_LEN)
		err = verify_ed25519(pub, parts, n_parts, sig);
	if (err)
		ERR_clear_error();
	return err;
}

static bool has_alg(int alg)
{
	return alg == OTA_ALG_ESP256 || alg == OTA_ALG_ED25519;
}

const struct ota_crypto *crypto_openssl(void)
{
	static const struct ota_crypto table = {sha256_init, sha256_update, sha256_final, verify, has_alg};

	return &table;
}

void crypto_uuid5(const uint8_t space[16], const void *name, size_t len, uint8_t uuid[16])
{
	uint8_t bytes[16 + 512], sha1[SHA_DIGEST_LENGTH];

	memcpy(bytes, space, 16);
	len = len <= sizeof(bytes) - 16 ? len : sizeof(bytes) - 16;
	memcpy(bytes + 16, name, len);
	SHA1(bytes, 16 + len, sha1);
	memcpy(uuid, sha1, 16);
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x50);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

enum ota_err crypto_random(void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		ssize_t n = getrandom(p, len, 0);

		if (n <= 0)
			return OTA_IO;
		p += n;
		len -= (size_t)n;
	}
	return OTA_OK;
}

static enum ota_err sign_p256(
	EVP_PKEY *key, const struct ota_slice *parts, size_t n_parts, uint8_t sig[OTA_SIG_LEN])
{
	uint8_t digest[OTA_SHA256_LEN], der[DER_SIG_MAX], rs[OTA_SIG_LEN];
	size_t der_len = sizeof der;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool done;

	hash_parts(parts, n_parts, digest);
	done = ctx && EVP_PKEY_sign_init(ctx) == 1 &&
	       EVP_PKEY_sign(ctx, der, &der_len, digest, sizeof digest) == 1 &&
	       sig_from_der(der, der_len, rs);
	EVP_PKEY_CTX_free(ctx);
	if (!done)
		return OTA_IO;
	memcpy(sig, rs, sizeof rs);
	return OTA_OK;
}

static enum ota_err sign_ed25519(
	EVP_PKEY *key, const struct ota_slice *parts, size_t n_parts, uint8_t sig[OTA_SIG_LEN])
{
	uint8_t msg[MESSAGE_MAX], out[OTA_SIG_LEN];
	size_t len, out_len = sizeof out;
	EVP_MD_CTX *ctx;
	bool done;

	if (!join_parts(parts, n_parts, msg, &len))
		return OTA_INVALID;
	ctx = EVP_MD_CTX_new();
	done = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
	       EVP_DigestSign(ctx, out, &out_len, msg, len) == 1 && out_len == sizeof out;
	EVP_MD_CTX_free(ctx);
	if (!done)
		return OTA_IO;
	memcpy(sig, out, sizeof out);
	return OTA_OK;
}

static enum ota_err signer_sign(
	void *ctx, const struct ota_slice *parts, size_t n_parts, uint8_t sig[OTA_SIG_LEN])
{
	EVP_PKEY *key = ctx;
	enum ota_err err = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519
				   ? sign_ed25519(key, parts, n_parts, sig)
				   : sign_p256(key, parts, n_parts, sig);

	if (err)
		ERR_clear_error();
	return err;
}

/* One coordinate of the public point, 32 bytes. */
static bool read_coordinate(const EVP_PKEY *key, const char *name, uint8_t out[32])
{
	BIGNUM *n = NULL;
	bool done = EVP_PKEY_get_bn_param(key, name, &n) == 1 && BN_bn2binpad(n, out, 32) == 32;

	BN_free(n);
	return done;
}

/* Algorithm and public half of an OpenSSL key; OTA_INVALID: neither P-256 nor Ed25519. */
static enum ota_err read_public(const EVP_PKEY *key, int *alg, uint8_t pub[OTA_PUB_MAX], size_t *pub_len)
{
	char group[32] = "";
	size_t len = OTA_ED25519_PUB_LEN;
	uint8_t bytes[OTA_PUB_MAX] = {0x04};

	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_ED25519:
		if (EVP_PKEY_get_raw_public_key(key, bytes, &len) != 1 || len != OTA_ED25519_PUB_LEN)
			return OTA_INVALID;
		*alg = OTA_ALG_ED25519;
		break;
	case EVP_PKEY_EC:
		/* From the coordinates, whatever point form the file used. */
		if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1 ||
			strcmp(group, "prime256v1") != 0 ||
			!read_coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, bytes + 1) ||
			!read_coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, bytes + 33))
			return OTA_INVALID;
		len = OTA_P256_PUB_LEN;
		*alg = OTA_ALG_ESP256;
		break;
	default:
		return OTA_INVALID;
	}
	memcpy(pub, bytes, sizeof bytes);
	*pub_len = len;
	return OTA_OK;
}

/* Takes over `key`, also on failure. */
static enum ota_err signer_init(EVP_PKEY *key, struct ota_signer *out)
{
	struct ota_signer s = {0};
	enum ota_err err = key ? read_public(key, &s.alg, s.pub, &s.pub_len) : OTA_IO;

	if (err) {
		EVP_PKEY_free(key);
		ERR_clear_error();
		return err;
	}
	ota_kid(crypto_openssl(), s.pub, s.pub_len, s.kid);
	s.sign = signer_sign;
	s.ctx = key;
	*out = s;
	return OTA_OK;
}

enum ota_err crypto_signer_generate(int alg, struct ota_signer *out)
{
	if (alg == OTA_ALG_ESP256)
		return signer_init(EVP_EC_gen("P-256"), out);
	if (alg == OTA_ALG_ED25519)
		return signer_init(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), out);
	return OTA_ALG;
}

struct passphrase {
	const char *text; /* or NULL */
	bool asked;
};

static int give_passphrase(char *buf, int size, int rwflag, void *ctx)
{
	struct passphrase *pass = ctx;
	size_t len = pass->text ? strlen(pass->text) : 0;

	(void)rwflag;
	pass->asked = true;
	if (!pass->text || len > (size_t)size)
		return -1;
	memcpy(buf, pass->text, len);
	return (int)len;
}

enum ota_err crypto_signer_from_pem(
	const void *pem, size_t len, const char *passphrase, struct ota_signer *out)
{
	struct passphrase pass = {passphrase, false};
	BIO *bio;
	EVP_PKEY *key;

	if (len > INT32_MAX)
		return OTA_INVALID;
	bio = BIO_new_mem_buf(pem, (int)len);
	if (!bio)
		return OTA_NO_MEMORY;
	key = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &pass);
	BIO_free(bio);
	if (!key) {
		ERR_clear_error();
		return pass.asked ? OTA_DENIED : OTA_INVALID;
	}
	return signer_init(key, out);
}

/* The key as PEM into `bio`, encrypted with scrypt and AES-256-CBC (RFC 8018, RFC 7914). */
static bool write_encrypted(BIO *bio, EVP_PKEY *key, const char *passphrase)
{
	PKCS8_PRIV_KEY_INFO *plain = EVP_PKEY2PKCS8(key);
	X509_ALGOR *scheme = PKCS5_pbe2_set_scrypt(
		EVP_aes_256_cbc(), NULL, 0, NULL, SCRYPT_N, SCRYPT_R, SCRYPT_P);
	X509_SIG *sealed = NULL;
	bool done;

	if (plain && scheme)
		sealed = PKCS8_set0_pbe(passphrase, (int)strlen(passphrase), plain, scheme);
	if (!sealed)
		X509_ALGOR_free(scheme);
	done = sealed && PEM_write_bio_PKCS8(bio, sealed) == 1;
	X509_SIG_free(sealed);
	PKCS8_PRIV_KEY_INFO_free(plain);
	return done;
}

enum ota_err crypto_signer_to_pem(
	const struct ota_signer *s, const char *passphrase, char **out, size_t *out_len)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	enum ota_err err = OTA_IO;
	char *text, *copy;
	long len;

	if (!bio || !s->ctx)
		goto out;
	if (passphrase ? !write_encrypted(bio, s->ctx, passphrase)
		       : PEM_write_bio_PKCS8PrivateKey(bio, s->ctx, NULL, NULL, 0, NULL, NULL) != 1)
		goto out;
	len = BIO_get_mem_data(bio, &text);
	if (len <= 0)
		goto out;
	copy = malloc((size_t)len + 1);
	if (!copy) {
		err = OTA_NO_MEMORY;
		goto out;
	}
	memcpy(copy, text, (size_t)len);
	copy[len] = '\0';
	*out = copy;
	*out_len = (size_t)len;
	err = OTA_OK;
out:
	BIO_free(bio);
	if (err)
		ERR_clear_error();
	return err;
}

enum ota_err crypto_pub_from_pem(
	const void *pem, size_t len, int *alg, uint8_t pub[OTA_PUB_MAX], size_t *pub_len)
{
	/* Without a callback of ours OpenSSL asks on the terminal. */
	struct passphrase none = {NULL, false};
	BIO *bio;
	EVP_PKEY *key;
	enum ota_err err;

	if (len > INT32_MAX)
		return OTA_INVALID;
	bio = BIO_new_mem_buf(pem, (int)len);
	if (!bio)
		return OTA_NO_MEMORY;
	key = PEM_read_bio_PUBKEY(bio, NULL, give_passphrase, &none);
	if (!key && BIO_reset(bio) >= 0)
		key = PEM_read_bio_PrivateKey(bio, NULL, give_passphrase, &none);
	BIO_free(bio);
	err = key ? read_public(key, alg, pub, pub_len) : OTA_INVALID;
	EVP_PKEY_free(key);
	if (err)
		ERR_clear_error();
	return err;
}

void crypto_signer_release(struct ota_signer *s)
{
	EVP_PKEY_free(s->ctx);
	OPENSSL_cleanse(s, sizeof *s);
}
