#include "server/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/doors.h"

enum {
	PEM_MAX = 64 * 1024,
	SERIAL_LEN = 16,
	SHA256_LEN = 32,
	LIFE_S = 3650 * 86400,
	NAMES_MAX = 4096,
};

static enum ota_err read_pem(const char *path, char **out, struct errmsg *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;
	char *text;

	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", path);
	if (fstat(fd, &st) != 0 || st.st_size > PEM_MAX) {
		close(fd);
		return errmsg_fail(e, OTA_TOO_LARGE, "'%s' is no PEM file", path);
	}
	text = calloc(1, (size_t)st.st_size + 1);
	n = text ? read(fd, text, (size_t)st.st_size) : -1;
	close(fd);
	if (n != st.st_size) {
		free(text);
		return errmsg_fail(e, OTA_IO, "cannot read '%s'", path);
	}
	*out = text;
	return OTA_OK;
}

static int sync_parent(const char *path)
{
	char dir[4200];
	char *slash;
	int fd, rc;

	snprintf(dir, sizeof dir, "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 ? -1 : fsync(fd);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* A new file that is whole and on disk, or not there. */
static enum ota_err write_pem(const char *path, mode_t mode, BIO *bio, struct errmsg *e)
{
	char tmp[4200];
	char *text;
	long len = BIO_get_mem_data(bio, &text);
	int fd;

	snprintf(tmp, sizeof tmp, "%s.new", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", tmp);
	if (write(fd, text, (size_t)len) != len || fsync(fd) != 0 || rename(tmp, path) != 0 ||
		sync_parent(path) != 0) {
		int saved = errno;

		close(fd);
		unlink(tmp);
		return errmsg_fail_errno(e, saved, "cannot write '%s'", path);
	}
	close(fd);
	return OTA_OK;
}

static void add_name(char *names, const char *name)
{
	struct in6_addr any;
	bool is_address = inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
	char entry[300];

	/* What could end the list or begin another entry has no place in a name. */
	if (!name[0] || strlen(name) > 253 || strpbrk(name, ", \t\r\n\"\\="))
		return;
	snprintf(entry, sizeof entry, "%s:%s", is_address ? "IP" : "DNS", name);
	if (strstr(names, entry) || strlen(names) + strlen(entry) + 2 > NAMES_MAX)
		return;
	if (names[0])
		strcat(names, ",");
	strcat(names, entry);
}

static void add_door_address(char *names, const struct door_spec *door)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)&door->addr;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&door->addr;
	char text[INET6_ADDRSTRLEN] = "";

	if (door->addr.ss_family == AF_INET && in4->sin_addr.s_addr != INADDR_ANY)
		inet_ntop(AF_INET, &in4->sin_addr, text, sizeof text);
	else if (door->addr.ss_family == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr))
		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
	add_name(names, text);
}

static void collect_names(const struct config *cfg, char names[static NAMES_MAX + 1], char host[static 256])
{
	struct door_spec doors[CONFIG_LISTEN_MAX];
	struct errmsg ignored;
	unsigned n = 0;

	names[0] = '\0';
	if (gethostname(host, 256) != 0 || !host[0])
		snprintf(host, 256, "otad");
	host[255] = '\0';
	add_name(names, host);
	add_name(names, "localhost");
	add_name(names, "127.0.0.1");
	add_name(names, "::1");
	for (unsigned i = 0; i < cfg->host_names.n; i++)
		add_name(names, cfg->host_names.value[i]);
	if (doors_from_config(cfg, doors, &n, &ignored) == OTA_OK) {
		for (unsigned i = 0; i < n; i++)
			add_door_address(names, &doors[i]);
	}
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx = {.db = NULL};
	X509_EXTENSION *ext;
	bool is_good;

	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (!ext)
		return false;
	is_good = X509_add_ext(cert, ext, -1) == 1;
	X509_EXTENSION_free(ext);
	return is_good;
}

static bool fill_cert(X509 *cert, EVP_PKEY *key, const struct config *cfg, int64_t now)
{
	char names[NAMES_MAX + 1], host[256];
	unsigned char serial[SERIAL_LEN];
	X509_NAME *subject = X509_get_subject_name(cert);
	BIGNUM *number;
	bool is_good;

	collect_names(cfg, names, host);
	if (RAND_bytes(serial, sizeof serial) != 1)
		return false;
	serial[0] &= 0x7f;
	number = BN_bin2bn(serial, sizeof serial, NULL);
	is_good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
	BN_free(number);
	/* The common name has a limit of 64; clients go by the subject's alternative names. */
	host[64] = '\0';
	return is_good && X509_set_version(cert, 2) == 1 &&
	       ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)now - 86400) &&
	       ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)now + LIFE_S) &&
	       X509_set_pubkey(cert, key) == 1 &&
	       X509_NAME_add_entry_by_txt(
		       subject, "CN", MBSTRING_UTF8, (const unsigned char *)host, -1, -1, 0) == 1 &&
	       X509_set_issuer_name(cert, subject) == 1 && add_extension(cert, NID_subject_alt_name, names) &&
	       add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	       add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
	       add_extension(cert, NID_ext_key_usage, "serverAuth") && X509_sign(cert, key, EVP_sha256()) > 0;
}

static enum ota_err make_self_signed(
	const struct config *cfg, int64_t now, const char *cert_path, const char *key_path, struct errmsg *e)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	BIO *cert_bio = BIO_new(BIO_s_mem());
	BIO *key_bio = BIO_new(BIO_s_secmem());
	enum ota_err err;

	if (key && cert && cert_bio && key_bio && fill_cert(cert, key, cfg, now) &&
		PEM_write_bio_X509(cert_bio, cert) == 1 &&
		PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) == 1) {
		err = write_pem(key_path, 0600, key_bio, e);
		if (!err)
			err = write_pem(cert_path, 0644, cert_bio, e);
	} else {
		err = errmsg_fail(e, OTA_IO, "cannot make a certificate: %s",
			ERR_reason_error_string(ERR_peek_last_error()));
	}
	BIO_free(key_bio);
	BIO_free(cert_bio);
	X509_free(cert);
	EVP_PKEY_free(key);
	return err;
}

static void fingerprint_text(const X509 *cert, char out[static TLS_FINGERPRINT_LEN])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	out[0] = '\0';
	if (X509_digest(cert, EVP_sha256(), md, &len) != 1 || len != 32)
		return;
	for (unsigned i = 0; i < len; i++)
		snprintf(out + 3 * i, TLS_FINGERPRINT_LEN - 3 * i, "%02X%s", md[i], i + 1 < len ? ":" : "");
}

/* SHA-256 of the SubjectPublicKeyInfo, in curl's notation for pinned keys. */
static void pin_text(const X509 *cert, char out[static TLS_PIN_LEN])
{
	unsigned char *spki = NULL, md[SHA256_LEN], text[TLS_PIN_LEN];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);

	out[0] = '\0';
	if (len > 0 && EVP_Digest(spki, (size_t)len, md, NULL, EVP_sha256(), NULL) == 1) {
		EVP_EncodeBlock(text, md, sizeof md);
		snprintf(out, TLS_PIN_LEN, "sha256//%.44s", (const char *)text);
	}
	OPENSSL_free(spki);
}

/* A certificate and a key that belong together; a wrong pair would only show when a client connects. */
static enum ota_err check_pair(
	struct tls_material *m, const char *cert_path, const char *key_path, struct errmsg *e)
{
	BIO *cert_bio = BIO_new_mem_buf(m->cert, -1);
	BIO *key_bio = BIO_new_mem_buf(m->key, -1);
	X509 *cert = cert_bio ? PEM_read_bio_X509(cert_bio, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL) : NULL;
	enum ota_err err = OTA_OK;

	if (!cert)
		err = errmsg_fail(e, OTA_INVALID, "'%s' holds no certificate (PEM)", cert_path);
	else if (!key)
		err = errmsg_fail(e, OTA_INVALID, "'%s' holds no private key (PEM, unencrypted)", key_path);
	else if (X509_check_private_key(cert, key) != 1)
		err = errmsg_fail(e, OTA_INVALID, "'%s' is not the key of '%s'", key_path, cert_path);
	if (!err) {
		fingerprint_text(cert, m->fingerprint);
		pin_text(cert, m->pin);
	}
	ERR_clear_error();
	EVP_PKEY_free(key);
	X509_free(cert);
	BIO_free(key_bio);
	BIO_free(cert_bio);
	return err;
}

enum ota_err tls_load(const struct config *cfg, int64_t now, struct tls_material *out, struct errmsg *e)
{
	struct tls_material m = {.cert = NULL};
	char cert_path[4128], key_path[4128];
	enum ota_err err = OTA_OK;

	if (cfg->tls_cert) {
		snprintf(cert_path, sizeof cert_path, "%s", cfg->tls_cert);
		snprintf(key_path, sizeof key_path, "%s", cfg->tls_key);
	} else {
		snprintf(cert_path, sizeof cert_path, "%s/tls", cfg->data);
		if (mkdir(cert_path, 0700) != 0 && errno != EEXIST)
			return errmsg_fail_errno(e, errno, "cannot make '%s'", cert_path);
		snprintf(cert_path, sizeof cert_path, "%s/tls/cert.pem", cfg->data);
		snprintf(key_path, sizeof key_path, "%s/tls/key.pem", cfg->data);
		/* The key is written first: a certificate that is there has its key. */
		if (access(cert_path, F_OK) != 0) {
			err = make_self_signed(cfg, now, cert_path, key_path, e);
			m.is_new = true;
		}
	}
	if (!err)
		err = read_pem(cert_path, &m.cert, e);
	if (!err)
		err = read_pem(key_path, &m.key, e);
	if (!err)
		err = check_pair(&m, cert_path, key_path, e);
	if (err) {
		tls_release(&m);
		return err;
	}
	*out = m;
	return OTA_OK;
}

void tls_release(struct tls_material *m)
{
	if (m->key)
		explicit_bzero(m->key, strlen(m->key));
	free(m->key);
	free(m->cert);
	m->key = NULL;
	m->cert = NULL;
}
