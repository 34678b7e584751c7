#include "tests/unit/proto/util.h"

#include "proto/ticket.h"
#include "proto/url.h"

enum { SERVER = 3, RELEASE = 4 };

static struct ota_slice text(const char *s)
{
	return ota_text(s);
}

struct who {
	struct cose_key key;
	struct cose_keyring ring;
	uint8_t k_dev[KEY_LEN], device_id[DEVICE_ID_LEN], nonce[NONCE_LEN];
};

static void make_who(struct who *w)
{
	w->key = test_key(test_signer(SERVER));
	w->ring = (struct cose_keyring){.key = {&w->key}, .n = 1, .threshold = 1};
	fill(w->k_dev, sizeof w->k_dev, 0x00);
	fill(w->device_id, sizeof w->device_id, 0x20);
	fill(w->nonce, sizeof w->nonce, 0x40);
}

static struct ticket idle(const struct who *w)
{
	struct ticket t = {.root_version = 1, .next_poll_s = 300};

	memcpy(t.device_id, w->device_id, sizeof t.device_id);
	memcpy(t.nonce, w->nonce, sizeof t.nonce);
	return t;
}

static struct ticket assigned(const struct who *w)
{
	struct ticket t = idle(w);

	t.has_assignment = true;
	fill(t.digest, sizeof t.digest, 0x80);
	t.envelope_size = 366;
	t.attempt = 1;
	return t;
}

static enum ota_err verdict(const uint8_t *bytes, size_t len, void *ctx)
{
	const struct who *w = ctx;
	struct ticket t;

	return ticket_decode(crypto_openssl(), bytes, len, &w->ring, w->k_dev, w->device_id, w->nonce, &t);
}

static void check_equal(const struct ticket *a, const struct ticket *b)
{
	assert_memory_equal(a->device_id, b->device_id, sizeof a->device_id);
	assert_memory_equal(a->nonce, b->nonce, sizeof a->nonce);
	assert_int_equal(a->root_version, b->root_version);
	assert_int_equal(a->has_assignment, b->has_assignment);
	assert_memory_equal(a->digest, b->digest, sizeof a->digest);
	assert_int_equal(a->envelope_size, b->envelope_size);
	assert_int_equal(a->attempt, b->attempt);
	assert_int_equal(a->next_poll_s, b->next_poll_s);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->has_counter, b->has_counter);
	assert_true(a->counter == b->counter);
	assert_int_equal(a->n_urls, b->n_urls);
	for (size_t i = 0; i < a->n_urls; i++) {
		assert_int_equal(a->url[i].len, b->url[i].len);
		assert_memory_equal(a->url[i].p, b->url[i].p, a->url[i].len);
	}
}

static void check_signed(const struct who *w, const struct ticket *t, size_t want_len)
{
	uint8_t buf[TICKET_MAX];
	struct ticket back;
	size_t len;

	assert_err(ticket_encode_signed(t, test_signer(SERVER), buf, sizeof buf, &len), OTA_OK);
	if (want_len)
		assert_int_equal(len, want_len);
	assert_err(
		ticket_decode(crypto_openssl(), buf, len, &w->ring, w->k_dev, w->device_id, w->nonce, &back),
		OTA_OK);
	assert_true(back.is_signed);
	check_equal(t, &back);
}

static void check_mac(const struct who *w, const struct ticket *t)
{
	uint8_t buf[TICKET_MAX];
	struct ticket back;
	size_t len;

	assert_err(ticket_encode_mac(t, crypto_openssl(), w->k_dev, buf, sizeof buf, &len), OTA_OK);
	assert_err(
		ticket_decode(crypto_openssl(), buf, len, &w->ring, w->k_dev, w->device_id, w->nonce, &back),
		OTA_OK);
	assert_false(back.is_signed);
	check_equal(t, &back);
}

static void round_trips(void **state)
{
	struct who w;
	struct ticket t;

	(void)state;
	make_who(&w);
	t = idle(&w);
	check_signed(&w, &t, 0);
	check_mac(&w, &t);
	t.has_counter = true;
	t.counter = UINT64_MAX;
	t.flags = UINT32_MAX; /* bits that nobody knows yet */
	t.root_version = UINT32_MAX;
	check_mac(&w, &t);
	t = assigned(&w);
	check_signed(&w, &t, 172);
	t.flags = TICKET_FLAG_HOLD;
	t.attempt = 255;
	t.envelope_size = UINT16_MAX;
	t.n_urls = 3;
	t.url[0] = text("https://updates.example/");
	t.url[1] = text("http://192.0.2.1:8484/");
	t.url[2] = text("http://[2001:db8::1]/fleet/a/");
	check_signed(&w, &t, 0);
}

static void mutations(void **state)
{
	struct who w;
	struct ticket t;
	uint8_t buf[TICKET_MAX];
	size_t len, n;

	(void)state;
	make_who(&w);
	t = assigned(&w);
	assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_OK);
	n = try_bit_flips(buf, len, verdict, &w);
	n += try_lengths(buf, len, verdict, &w);
	t = idle(&w);
	assert_err(ticket_encode_mac(&t, crypto_openssl(), w.k_dev, buf, sizeof buf, &len), OTA_OK);
	n += try_bit_flips(buf, len, verdict, &w);
	n += try_lengths(buf, len, verdict, &w);
	print_message("%zu mutations refused\n", n);
}

static void for_whom(void **state)
{
	struct who w, other;
	struct ticket t;
	uint8_t buf[TICKET_MAX];
	size_t len;

	(void)state;
	make_who(&w);
	t = assigned(&w);
	assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_OK);
	other = w;
	other.ring.key[0] = &other.key;
	other.device_id[15] ^= 1;
	assert_err(verdict(buf, len, &other), OTA_DEVICE);
	other = w;
	other.ring.key[0] = &other.key;
	other.nonce[0] ^= 0x80;
	assert_err(verdict(buf, len, &other), OTA_NONCE);
	/* Somebody else's K_dev matters to a MAC alone. */
	other = w;
	other.ring.key[0] = &other.key;
	other.k_dev[0] ^= 1;
	assert_err(verdict(buf, len, &other), OTA_OK);
	/* The key of another role. */
	assert_err(ticket_encode_signed(&t, test_signer(RELEASE), buf, sizeof buf, &len), OTA_OK);
	assert_err(verdict(buf, len, &w), OTA_SIG);
	t = idle(&w);
	assert_err(ticket_encode_mac(&t, crypto_openssl(), w.k_dev, buf, sizeof buf, &len), OTA_OK);
	assert_err(verdict(buf, len, &other), OTA_SIG);
	/* A MAC that a device's own check-in key made is no ticket. */
	uint8_t d2s[KEY_LEN];

	keys_d2s(crypto_openssl(), w.k_dev, d2s);
	assert_err(ticket_encode_mac(&t, crypto_openssl(), d2s, buf, sizeof buf, &len), OTA_OK);
	assert_err(verdict(buf, len, &w), OTA_SIG);
}

static void refuses_to_encode(void **state)
{
	static const char *const bad_url[] = {"", "http://", "http:///", "http://a", "ftp://a/", "HTTP://a/",
		"http://a b/", "http://a/?x=/", "http://a/#/", "http://a\\b/", "http://\xc3\xa4/",
		"https://a/\n/"};
	struct who w;
	struct ticket t;
	uint8_t buf[TICKET_MAX], url[256];
	size_t len;

	(void)state;
	make_who(&w);
	t = assigned(&w);
	assert_err(ticket_encode_mac(&t, crypto_openssl(), w.k_dev, buf, sizeof buf, &len), OTA_INVALID);
	t.attempt = 0;
	assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_INVALID);
	t = assigned(&w);
	t.envelope_size = 0;
	assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_INVALID);
	t = idle(&w);
	t.root_version = 0;
	assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_INVALID);
	t = idle(&w);
	t.n_urls = 1;
	t.url[0] = text("http://a/");
	assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_OK);
	assert_err(ticket_encode_mac(&t, crypto_openssl(), w.k_dev, buf, sizeof buf, &len), OTA_INVALID);
	for (size_t i = 0; i < LEN(bad_url); i++) {
		t.url[0] = text(bad_url[i]);
		assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_INVALID);
	}
	t.n_urls = 4;
	assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_INVALID);
	/* The longest list of URLs fits. */
	memset(url, 'a', sizeof url);
	memcpy(url, "http://", 7);
	url[URL_BASE_MAX - 1] = '/';
	t = assigned(&w);
	t.n_urls = 3;
	t.url[0] = t.url[1] = t.url[2] = (struct ota_slice){url, URL_BASE_MAX};
	check_signed(&w, &t, 0);
	url[URL_BASE_MAX] = '/';
	t.url[2].len++;
	assert_err(ticket_encode_signed(&t, test_signer(SERVER), buf, sizeof buf, &len), OTA_INVALID);
}

/* Payloads that a right key signed, by hand: D and N are the device's id and nonce. */
#define D "0250202122232425262728292a2b2c2d2e2f"
#define N "0350404142434445464748494a4b4c4d4e4f"
#define A "0583 5820 808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"

static void payloads(void **state)
{
	static const struct {
		const char *hex;
		bool mac;
		enum ota_err want;
		uint32_t poll_s;
	} rows[] = {
		{"a6 0101 " D N "0401 0619012c 0700", true, OTA_OK, 300},
		{"a7 0101 " D N "0401 " A "19016e 01 0619012c 0700", false, OTA_OK, 300},
		{"a7 0101 " D N "0401 " A "19016e 01 0619012c 0700", true, OTA_COSE, 0},
		{"a7 0101 " D N "0401 0619012c 0700 098169687474703a2f2f612f", true, OTA_COSE, 0},
		{"a7 0101 " D N "0401 0619012c 0700 098169687474703a2f2f612f", false, OTA_OK, 300},
		{"a6 0101 " D N "0401 0600 0700", true, OTA_OK, TICKET_POLL_MIN_S},
		{"a6 0101 " D N "0401 061b0000000100000000 0700", true, OTA_OK, TICKET_POLL_MAX_S},
		{"a6 0101 " D N "0401 061bffffffffffffffff 0700", true, OTA_OK, TICKET_POLL_MAX_S},
		{"a6 0101 " D N "0401 0619012c 071affffffff", true, OTA_OK, 300},
		{"a6 0102 " D N "0401 0619012c 0700", true, OTA_FORMAT, 0},
		{"a6 0101 " D N "0400 0619012c 0700", true, OTA_CBOR, 0},
		{"a6 0101 " D N "041b0000000100000000 0619012c 0700", true, OTA_CBOR, 0},
		{"a6 0101 " D N "0401 0619012c 071b0000000100000000", true, OTA_CBOR, 0},
		{"a5 0101 " D N "0401 0619012c", true, OTA_CBOR, 0},           /* no flags */
		{"a5 0101 " D "0401 0619012c 0700", true, OTA_CBOR, 0},        /* no nonce */
		{"a7 0101 " D N "0401 0619012c 0700 0a00", true, OTA_CBOR, 0}, /* reserved key */
		{"a7 0101 " D N "0401 0619012c 0700 186300", true, OTA_CBOR, 0},
		{"a6 0101 " D N "0401 0619012c 0700 00", true, OTA_CBOR, 0},
		{"a6 0101 " N D "0401 0619012c 0700", true, OTA_CBOR, 0},
		{"a7 0101 " D N "0401 " A "00 01 0619012c 0700", false, OTA_CBOR, 0}, /* size 0 */
		{"a7 0101 " D N "0401 " A "1a00010000 01 0619012c 0700", false, OTA_CBOR, 0},
		{"a7 0101 " D N "0401 " A "19016e 00 0619012c 0700", false, OTA_CBOR, 0}, /* attempt 0 */
		{"a7 0101 " D N "0401 " A "19016e 190100 0619012c 0700", false, OTA_CBOR, 0},
		{"a7 0101 " D N "0401 05f6 0619012c 0700", false, OTA_CBOR, 0},
		{"a7 0101 " D N "0401 0619012c 0700 0980", false, OTA_CBOR, 0},
		{"a7 0101 " D N "0401 0619012c 0700 09816568747470 3a", false, OTA_CBOR, 0},
		{"80", true, OTA_CBOR, 0},
		{"a0", true, OTA_CBOR, 0},
		{"", true, OTA_CBOR, 0},
	};
	struct who w;
	uint8_t s2d[KEY_LEN];

	(void)state;
	make_who(&w);
	keys_s2d(crypto_openssl(), w.k_dev, s2d);
	for (size_t i = 0; i < LEN(rows); i++) {
		uint8_t payload[256], buf[512];
		struct ota_slice p = {payload, from_hex(rows[i].hex, payload, sizeof payload)};
		struct cbor_out out;
		struct ticket t = {0};
		enum ota_err err;

		cbor_out_init(&out, buf, sizeof buf);
		if (rows[i].mac)
			assert_err(
				cose_put_mac0(&out, crypto_openssl(), s2d, NULL, "otad/ticket/1", p), OTA_OK);
		else
			assert_err(
				cose_put_sign1(&out, test_signer(SERVER), "otad/ticket/1", p, true), OTA_OK);
		err = ticket_decode(
			crypto_openssl(), buf, out.len, &w.ring, w.k_dev, w.device_id, w.nonce, &t);
		if (err != rows[i].want)
			print_error("row %zu\n", i);
		assert_err(err, rows[i].want);
		assert_int_equal(t.next_poll_s, rows[i].poll_s);
	}
	/* The right payload under another label, with a kid in a MAC, or detached. */
	uint8_t payload[256], buf[512];
	struct ota_slice p = {payload, from_hex(rows[0].hex, payload, sizeof payload)};
	struct cbor_out out;

	cbor_out_init(&out, buf, sizeof buf);
	assert_err(cose_put_sign1(&out, test_signer(SERVER), "otad/root/1", p, true), OTA_OK);
	assert_err(verdict(buf, out.len, &w), OTA_SIG);
	cbor_out_init(&out, buf, sizeof buf);
	assert_err(cose_put_sign1(&out, test_signer(SERVER), "otad/ticket/1", p, false), OTA_OK);
	assert_err(verdict(buf, out.len, &w), OTA_COSE);
	cbor_out_init(&out, buf, sizeof buf);
	assert_err(cose_put_mac0(&out, crypto_openssl(), s2d, w.nonce, "otad/ticket/1", p), OTA_OK);
	assert_err(verdict(buf, out.len, &w), OTA_COSE);
	memset(buf, 0, sizeof buf);
	uint8_t wide[TICKET_MAX + 1] = {0};

	assert_err(verdict(wide, sizeof wide, &w), OTA_TOO_LARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(mutations),
		cmocka_unit_test(for_whom),
		cmocka_unit_test(refuses_to_encode),
		cmocka_unit_test(payloads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
