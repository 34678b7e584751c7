#include "server/keystore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/cleanup.h"
#include "proto/crypto_openssl.h"

enum {
	/* threads that may sign at once: the signing thread, the loop of a test, and to spare */
	LENT_MAX = 4,
	FILE_MAX = 4096,
};

struct keystore {
	char *dir;
	uint8_t enroll[KEY_LEN], link[KEY_LEN];
	struct ota_signer server[LENT_MAX]; /* one key, so many handles: a signer serves one thread at a time
					     */
	atomic_flag is_lent[LENT_MAX];
	struct ota_signer release;
	atomic_bool has_release; /* set once, after `release` was written */
};

/* Read a whole small file of `dir`. OTA_NOT_FOUND: no such file. */
static enum ota_err read_file(int dir, const struct keystore *k, const char *name, uint8_t buf[FILE_MAX],
	size_t *len, struct errmsg *e)
{
	AUTO(fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return errmsg_fail(e, OTA_NOT_FOUND, "the key '%s/%s' is missing", k->dir, name);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot open the key '%s/%s'", k->dir, name);
	if (fstat(fd, &st))
		return errmsg_fail_errno(e, errno, "cannot look at the key '%s/%s'", k->dir, name);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return errmsg_fail(
			e, OTA_DENIED, "the key '%s/%s' is open to others: chmod 600 it", k->dir, name);
	/* Local files: a read of this size is whole or an error. */
	n = read(fd, buf, FILE_MAX);
	if (n < 0)
		return errmsg_fail_errno(e, errno, "cannot read the key '%s/%s'", k->dir, name);
	*len = (size_t)n;
	return OTA_OK;
}

static enum ota_err fill_file(int fd, const void *bytes, size_t len)
{
	ssize_t n = write(fd, bytes, len);

	if (n < 0 || (size_t)n != len) {
		if (n >= 0)
			errno = ENOSPC;
		return OTA_IO;
	}
	return fsync(fd) ? OTA_IO : OTA_OK;
}

/* A new file, whole or not at all: written aside, synced, linked under its name (which fails where the name
 * is taken), the directory synced. */
static enum ota_err write_file(
	int dir, const struct keystore *k, const char *name, const void *bytes, size_t len, struct errmsg *e)
{
	AUTO(fd) int fd = -1;
	char aside[64];
	enum ota_err err = OTA_OK;

	snprintf(aside, sizeof(aside), "%s.new", name);
	if (unlinkat(dir, aside, 0) && errno != ENOENT)
		return errmsg_fail_errno(e, errno, "cannot remove '%s/%s'", k->dir, aside);
	fd = openat(dir, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot make the key '%s/%s'", k->dir, name);
	if (fill_file(fd, bytes, len))
		err = errmsg_fail_errno(e, errno, "cannot write the key '%s/%s'", k->dir, name);
	else if (linkat(dir, aside, dir, name, 0))
		err = errmsg_fail_errno(e, errno, "cannot make the key '%s/%s'", k->dir, name);
	unlinkat(dir, aside, 0);
	if (!err && fsync(dir))
		err = errmsg_fail_errno(e, errno, "cannot sync '%s'", k->dir);
	return err;
}

static enum ota_err open_secret(int dir, const struct keystore *k, const char *name, bool may_make,
	uint8_t out[KEY_LEN], struct errmsg *e)
{
	uint8_t buf[FILE_MAX];
	size_t len;
	enum ota_err err = read_file(dir, k, name, buf, &len, e);

	if (err == OTA_NOT_FOUND && may_make) {
		err = crypto_random(out, KEY_LEN);
		if (err)
			return errmsg_fail(e, err, "no random numbers for the key '%s/%s'", k->dir, name);
		return write_file(dir, k, name, out, KEY_LEN, e);
	}
	if (err)
		return err;
	if (len != KEY_LEN)
		err = errmsg_fail(e, OTA_CORRUPT, "the key '%s/%s' is damaged: %zu bytes in place of %d",
			k->dir, name, len, KEY_LEN);
	else
		memcpy(out, buf, KEY_LEN);
	ota_wipe(buf, sizeof(buf));
	return err;
}

/* Make a P-256 key and its file. */
static enum ota_err make_signer(
	int dir, const struct keystore *k, const char *name, struct ota_signer *out, struct errmsg *e)
{
	struct ota_signer s;
	char *pem = NULL;
	size_t len = 0;
	enum ota_err err = crypto_signer_generate(OTA_ALG_ESP256, &s);

	if (err)
		return errmsg_fail(e, err, "cannot make the key '%s/%s'", k->dir, name);
	err = crypto_signer_to_pem(&s, NULL, &pem, &len);
	if (err) {
		err = errmsg_fail(e, err, "cannot encode the key '%s/%s'", k->dir, name);
	} else {
		err = write_file(dir, k, name, pem, len, e);
		ota_wipe(pem, len);
		free(pem);
	}
	if (err)
		crypto_signer_release(&s);
	else
		*out = s;
	return err;
}

static enum ota_err open_signer(
	int dir, const struct keystore *k, const char *name, struct ota_signer *out, struct errmsg *e)
{
	uint8_t buf[FILE_MAX];
	size_t len;
	enum ota_err err = read_file(dir, k, name, buf, &len, e);

	if (err)
		return err;
	err = crypto_signer_from_pem(buf, len, NULL, out);
	ota_wipe(buf, sizeof(buf));
	if (err)
		return errmsg_fail(
			e, OTA_CORRUPT, "'%s/%s' is no private key without passphrase", k->dir, name);
	return OTA_OK;
}

static enum ota_err open_dir(const struct keystore *k, bool may_make, int *out, struct errmsg *e)
{
	struct stat st;
	int fd;

	if (may_make && mkdir(k->dir, 0700) && errno != EEXIST)
		return errmsg_fail_errno(e, errno, "cannot make '%s'", k->dir);
	fd = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return errmsg_fail(e, OTA_NOT_FOUND,
			"the keys in '%s' are missing: put them back, the devices know no others", k->dir);
	if (fd < 0)
		return errmsg_fail_errno(e, errno, "cannot open '%s'", k->dir);
	if (fstat(fd, &st) || (st.st_mode & (S_IRWXG | S_IRWXO))) {
		close(fd);
		return errmsg_fail(e, OTA_DENIED, "'%s' is open to others: chmod 700 it", k->dir);
	}
	*out = fd;
	return OTA_OK;
}

static enum ota_err open_all(struct keystore *k, int dir, bool may_make, struct errmsg *e)
{
	enum ota_err err = open_secret(dir, k, "enroll", may_make, k->enroll, e);

	if (!err)
		err = open_secret(dir, k, "link", may_make, k->link, e);
	if (!err) {
		err = open_signer(dir, k, "server.pem", &k->server[0], e);
		if (err == OTA_NOT_FOUND && may_make)
			err = make_signer(dir, k, "server.pem", &k->server[0], e);
	}
	for (size_t i = 1; !err && i < LENT_MAX; i++)
		err = open_signer(dir, k, "server.pem", &k->server[i], e);
	if (!err && k->server[0].alg != OTA_ALG_ESP256)
		err = errmsg_fail(e, OTA_CORRUPT, "'%s/server.pem' is no P-256 key", k->dir);
	if (err)
		return err;
	err = open_signer(dir, k, "release.pem", &k->release, e);
	if (err == OTA_NOT_FOUND)
		return OTA_OK;
	atomic_store(&k->has_release, !err);
	return err;
}

enum ota_err keystore_open(const char *dir, bool may_make, struct keystore **out, struct errmsg *e)
{
	struct keystore *k = calloc(1, sizeof(*k));
	AUTO(fd) int fd = -1;
	enum ota_err err;

	if (!k || asprintf(&k->dir, "%s/keys", dir) < 0) {
		free(k);
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	}
	for (size_t i = 0; i < LENT_MAX; i++)
		atomic_flag_clear(&k->is_lent[i]);
	err = open_dir(k, may_make, &fd, e);
	if (!err)
		err = open_all(k, fd, may_make, e);
	if (err)
		keystore_free(k);
	else
		*out = k;
	return err;
}

void keystore_free(struct keystore *k)
{
	if (!k)
		return;
	for (size_t i = 0; i < LENT_MAX; i++)
		crypto_signer_release(&k->server[i]);
	crypto_signer_release(&k->release);
	free(k->dir);
	ota_wipe(k, sizeof(*k));
	free(k);
}

const uint8_t *keystore_enroll(const struct keystore *k)
{
	return k->enroll;
}

const uint8_t *keystore_link(const struct keystore *k)
{
	return k->link;
}

const struct ota_signer *keystore_server_public(const struct keystore *k)
{
	return &k->server[0];
}

struct ota_signer *keystore_lend(struct keystore *k)
{
	for (size_t i = 0; i < LENT_MAX; i++) {
		if (!atomic_flag_test_and_set_explicit(&k->is_lent[i], memory_order_acquire))
			return &k->server[i];
	}
	return NULL;
}

void keystore_give_back(struct keystore *k, struct ota_signer *s)
{
	atomic_flag_clear_explicit(&k->is_lent[s - k->server], memory_order_release);
}

const struct ota_signer *keystore_release(const struct keystore *k)
{
	return atomic_load(&k->has_release) ? &k->release : NULL;
}

enum ota_err keystore_make_release(struct keystore *k, struct errmsg *e)
{
	AUTO(fd) int fd = -1;
	enum ota_err err;

	if (keystore_release(k))
		return errmsg_fail(e, OTA_EXISTS, "there is a hosted release key already");
	err = open_dir(k, false, &fd, e);
	if (!err)
		err = make_signer(fd, k, "release.pem", &k->release, e);
	if (!err)
		atomic_store(&k->has_release, true);
	return err;
}
