#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/server/cmocka_all.h"

#include "proto/crypto_openssl.h"
#include "server/keystore.h"

static char dir[64];

static const char *const names[] = {"enroll", "link", "server.pem"};

static char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/keys/%s", dir, name);
	return path;
}

static int set_up(void **state)
{
	(void)state;
	strcpy(dir, "keystore.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const all[] = {"enroll", "link", "server.pem", "release.pem", "enroll.new"};

	(void)state;
	chmod(path_of(""), 0700);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		unlink(path_of(all[i]));
	rmdir(path_of(""));
	return rmdir(dir);
}

static struct keystore *open_ok(bool may_make)
{
	struct keystore *k = NULL;
	struct errmsg e = {""};

	if (keystore_open(dir, may_make, &k, &e))
		fail_msg("%s", e.text);
	return k;
}

static void open_fails(bool may_make, enum ota_err want, const char *words)
{
	struct keystore *k = NULL;
	struct errmsg e = {""};

	assert_int_equal(keystore_open(dir, may_make, &k, &e), want);
	assert_null(k);
	if (!strstr(e.text, words))
		fail_msg("\"%s\" does not say \"%s\"", e.text, words);
}

static void test_made_once_and_kept(void **state)
{
	struct keystore *k = open_ok(true), *again;
	struct stat st;

	(void)state;
	assert_int_equal(stat(path_of(""), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(stat(path_of(names[i]), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	/* The same at every later start, which may make nothing. */
	again = open_ok(false);
	assert_memory_equal(keystore_enroll(k), keystore_enroll(again), KEY_LEN);
	assert_memory_equal(keystore_link(k), keystore_link(again), KEY_LEN);
	assert_memory_not_equal(keystore_link(k), keystore_enroll(k), KEY_LEN);
	assert_memory_equal(keystore_server_public(k)->kid, keystore_server_public(again)->kid, OTA_KID_LEN);
	assert_int_equal(keystore_server_public(k)->alg, OTA_ALG_ESP256);
	keystore_free(k);
	keystore_free(again);
}

static void test_missing_is_not_made_later(void **state)
{
	(void)state;
	open_fails(false, OTA_NOT_FOUND, "missing");
	for (size_t i = 0; i < 3; i++) {
		keystore_free(open_ok(true));
		assert_int_equal(unlink(path_of(names[i])), 0);
		open_fails(false, OTA_NOT_FOUND, names[i]);
		assert_int_not_equal(access(path_of(names[i]), F_OK), 0);
	}
}

static void test_half_made_first_start_goes_on(void **state)
{
	struct keystore *k = open_ok(true), *again;
	int fd;

	(void)state;
	/* Killed while it wrote: the aside file is there, the key is not. */
	assert_int_equal(unlink(path_of("link")), 0);
	fd = open(path_of("link.new"), O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	again = open_ok(true);
	assert_memory_equal(keystore_enroll(k), keystore_enroll(again), KEY_LEN);
	assert_int_not_equal(access(path_of("link.new"), F_OK), 0);
	keystore_free(k);
	keystore_free(again);
}

static void overwrite(const char *name, const char *text)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_damaged(void **state)
{
	(void)state;
	keystore_free(open_ok(true));
	overwrite("enroll", "short");
	open_fails(true, OTA_CORRUPT, "5 bytes");
	overwrite("enroll", "0123456789abcdef0123456789abcdef");
	keystore_free(open_ok(false));
	overwrite("server.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
	open_fails(false, OTA_CORRUPT, "server.pem");
}

static void test_open_to_others(void **state)
{
	(void)state;
	keystore_free(open_ok(true));
	assert_int_equal(chmod(path_of("enroll"), 0640), 0);
	open_fails(false, OTA_DENIED, "chmod 600");
	assert_int_equal(chmod(path_of("enroll"), 0600), 0);
	assert_int_equal(chmod(path_of(""), 0755), 0);
	open_fails(false, OTA_DENIED, "chmod 700");
}

static void test_links_are_not_followed(void **state)
{
	(void)state;
	keystore_free(open_ok(true));
	assert_int_equal(unlink(path_of("enroll")), 0);
	assert_int_equal(symlink("link", path_of("enroll")), 0);
	open_fails(true, OTA_IO, "enroll");
}

static void test_release_key(void **state)
{
	struct keystore *k = open_ok(true), *again;
	struct errmsg e;
	uint8_t kid[OTA_KID_LEN];

	(void)state;
	assert_null(keystore_release(k));
	assert_int_equal(keystore_make_release(k, &e), OTA_OK);
	assert_non_null(keystore_release(k));
	memcpy(kid, keystore_release(k)->kid, sizeof(kid));
	assert_int_equal(keystore_make_release(k, &e), OTA_EXISTS);
	assert_memory_equal(keystore_release(k)->kid, kid, sizeof(kid));
	assert_memory_not_equal(keystore_server_public(k)->kid, kid, sizeof(kid));
	again = open_ok(false);
	assert_memory_equal(keystore_release(again)->kid, kid, sizeof(kid));
	keystore_free(k);
	keystore_free(again);
}

static void test_lending(void **state)
{
	struct keystore *k = open_ok(true);
	struct ota_signer *s[16];
	struct ota_slice part = {(const uint8_t *)"x", 1};
	uint8_t sig[OTA_SIG_LEN];
	size_t n = 0;

	(void)state;
	while (n < 16 && (s[n] = keystore_lend(k)) != NULL)
		n++;
	assert_in_range(n, 3, 15);
	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < i; j++)
			assert_ptr_not_equal(s[i], s[j]);
		assert_int_equal(s[i]->sign(s[i]->ctx, &part, 1, sig), OTA_OK);
		assert_int_equal(crypto_openssl()->verify(OTA_ALG_ESP256, keystore_server_public(k)->pub,
					 OTA_P256_PUB_LEN, &part, 1, sig),
			OTA_OK);
	}
	keystore_give_back(k, s[1]);
	assert_ptr_equal(keystore_lend(k), s[1]);
	keystore_free(k);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_made_once_and_kept),
		TEST(test_missing_is_not_made_later),
		TEST(test_half_made_first_start_goes_on),
		TEST(test_damaged),
		TEST(test_open_to_others),
		TEST(test_links_are_not_followed),
		TEST(test_release_key),
		TEST(test_lending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
