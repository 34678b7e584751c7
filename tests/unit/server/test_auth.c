/* Tokens, names that are nearly right. */
#include "proto/crypto_openssl.h"
#include "server/auth.h"
#include "proto/suggest.h"
#include "tests/unit/server/cmocka_all.h"

#include <stdio.h>
#include <string.h>

static struct auth_token token_of(
	uint8_t seed, enum role role, int64_t expires, char text[AUTH_TOKEN_LEN + 1])
{
	struct auth_token t = {.id = seed, .role = role, .expires = expires, .name = "x"};
	uint8_t random[AUTH_UID_LEN + AUTH_RANDOM_LEN];
	char uid[2 * AUTH_UID_LEN + 1];

	memset(random, seed, sizeof(random));
	auth_make(crypto_openssl(), random, text, uid, t.sha256);
	assert_memory_equal(text + 5, uid, 8);
	return t;
}

static void test_token(void **state)
{
	char a[AUTH_TOKEN_LEN + 1], b[AUTH_TOKEN_LEN + 1], header[128];
	struct auth_token rows[2] = {token_of(1, ROLE_ADMIN, 0, a), token_of(2, ROLE_VIEWER, 100, b)};
	const struct ota_crypto *c = crypto_openssl();
	struct auth auth = {0};
	const struct auth_token *t;

	(void)state;
	assert_string_equal(a, "otad_01010101_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE");
	snprintf(header, sizeof(header), "Bearer %s", a);
	assert_null(auth_check(&auth, c, header, 0));
	assert_int_equal(auth_replace(&auth, rows, 2), OTA_OK);
	t = auth_check(&auth, c, header, 0);
	assert_non_null(t);
	assert_int_equal(t->role, ROLE_ADMIN);
	snprintf(header, sizeof(header), "bearer %s", b);
	assert_non_null(auth_check(&auth, c, header, 99));
	assert_null(auth_check(&auth, c, header, 100));
	assert_int_equal(auth_replace(&auth, rows, 1), OTA_OK);
	assert_null(auth_check(&auth, c, header, 99));
	auth_release(&auth);
}

static void test_token_is_refused(void **state)
{
	char good[AUTH_TOKEN_LEN + 1], header[200];
	struct auth_token row = token_of(1, ROLE_ADMIN, 0, good);
	struct auth auth = {0};

	(void)state;
	assert_int_equal(auth_replace(&auth, &row, 1), OTA_OK);
	assert_null(auth_check(&auth, crypto_openssl(), NULL, 0));
	assert_null(auth_check(&auth, crypto_openssl(), "", 0));
	assert_null(auth_check(&auth, crypto_openssl(), "Bearer ", 0));
	assert_null(auth_check(&auth, crypto_openssl(), good, 0));
	/* Every single character matters. */
	for (size_t i = 0; i < AUTH_TOKEN_LEN; i++) {
		char bad[AUTH_TOKEN_LEN + 1];

		memcpy(bad, good, sizeof(bad));
		bad[i] = bad[i] == 'B' ? 'C' : 'B';
		snprintf(header, sizeof(header), "Bearer %s", bad);
		assert_null(auth_check(&auth, crypto_openssl(), header, 0));
	}
	snprintf(header, sizeof(header), "Bearer %sx", good);
	assert_null(auth_check(&auth, crypto_openssl(), header, 0));
	snprintf(header, sizeof(header), "Bearer %s ", good);
	assert_null(auth_check(&auth, crypto_openssl(), header, 0));
	snprintf(header, sizeof(header), "Basic %s", good);
	assert_null(auth_check(&auth, crypto_openssl(), header, 0));
	auth_release(&auth);
}

static void test_roles(void **state)
{
	enum role role = ROLE_PUBLIC;

	(void)state;
	assert_true(
		ROLE_ADMIN > ROLE_OPERATOR && ROLE_OPERATOR > ROLE_UPLOADER && ROLE_UPLOADER > ROLE_VIEWER);
	assert_int_equal(auth_role_parse("uploader", &role), OTA_OK);
	assert_int_equal(role, ROLE_UPLOADER);
	assert_string_equal(role_name(role), "uploader");
	assert_int_equal(auth_role_parse("root", &role), OTA_INVALID);
	assert_string_equal(role_name(ROLE_DEVICE), "nobody");
}

static void test_suggest(void **state)
{
	static const struct {
		const char *wanted, *names[4], *best;
	} rows[] = {
		{"lmap", {"lamp", "plug", "fan"}, "lamp"},
		{"LAMP", {"plug", "lamp"}, "lamp"},
		{"kitchen", {"kitchen-1", "kitten"}, "kitchen-1"},
		{"kit", {"kitchen"}, "kitchen"},
		{"k", {"kitchen"}, NULL},
		{"zebra", {"lamp", "plug"}, NULL},
		{"lamp1", {"lamp2", "lamp"}, "lamp2"},
		{"", {"lamp"}, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct suggest s = {0};

		for (size_t k = 0; rows[i].names[k]; k++)
			suggest_offer(&s, rows[i].wanted, rows[i].names[k]);
		if (rows[i].best)
			assert_string_equal(s.best, rows[i].best);
		else
			assert_null(s.best);
	}
	assert_int_equal(suggest_distance("kitten", "sitting"), 3);
	assert_int_equal(suggest_distance("ab", "ba"), 1);
	assert_int_equal(suggest_distance("", "abc"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_token_is_refused),
		cmocka_unit_test(test_roles),
		cmocka_unit_test(test_suggest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
