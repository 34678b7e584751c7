#include "tests/unit/proto/util.h"

#include "proto/provision.h"

static uint8_t root[ROOT_MAX], receipt[RECEIPT_MAX], serial[SERIAL_MAX], long_url[PROVISION_URL_LEN_MAX];

static struct ota_slice text(const char *s)
{
	return ota_text(s);
}

static struct provision fresh(void)
{
	struct provision p = {.n_urls = 1, .has_secret = true};

	fill(root, sizeof root, 0);
	fill(receipt, sizeof receipt, 9);
	fill(serial, sizeof serial, 'A');
	memset(long_url, 'a', sizeof long_url);
	memcpy(long_url, "https://", 8);
	long_url[sizeof long_url - 1] = '/';
	fill(p.vendor_id, 16, 0x10);
	fill(p.class_id, 16, 0x30);
	fill(p.secret_id, sizeof p.secret_id, 0x80);
	fill(p.secret, sizeof p.secret, 0x00);
	p.serial = (struct ota_slice){serial, 4};
	p.url[0] = text("http://otad.local:8484/");
	p.root = (struct ota_slice){root, 300};
	return p;
}

/* Everything at its largest. */
static struct provision full(void)
{
	struct provision p = fresh();

	p.serial.len = SERIAL_MAX;
	p.n_urls = PROVISION_URLS_MAX;
	for (size_t i = 0; i < p.n_urls; i++)
		p.url[i] = (struct ota_slice){long_url, sizeof long_url};
	p.root.len = ROOT_MAX;
	p.has_broker = true;
	p.broker_url = (struct ota_slice){long_url, sizeof long_url};
	p.broker_user = (struct ota_slice){long_url, PROVISION_BROKER_USER_MAX};
	p.broker_password = (struct ota_slice){long_url, PROVISION_BROKER_PASSWORD_MAX};
	p.topic_prefix = (struct ota_slice){long_url + 8, 64};
	p.is_enrolled = true;
	fill(p.device_id, sizeof p.device_id, 0x20);
	fill(p.k_dev, sizeof p.k_dev, 0xc0);
	p.receipt = (struct ota_slice){receipt, sizeof receipt};
	return p;
}

static void check_slice(struct ota_slice a, struct ota_slice b)
{
	assert_int_equal(a.len, b.len);
	if (a.len)
		assert_memory_equal(a.p, b.p, a.len);
}

static size_t check_round(const struct provision *p)
{
	uint8_t buf[PROVISION_MAX + 64];
	struct provision back;
	size_t len, used, n;

	assert_err(provision_encode(p, crypto_openssl(), buf, PROVISION_MAX, &len), OTA_OK);
	memset(buf + len, 0xff, sizeof buf - len);
	/* As a file, and as a flash region. */
	assert_err(provision_decode(crypto_openssl(), buf, len, &back, &used), OTA_OK);
	assert_int_equal(used, len);
	assert_err(provision_decode(crypto_openssl(), buf, sizeof buf, &back, &used), OTA_OK);
	assert_int_equal(used, len);
	assert_memory_equal(back.vendor_id, p->vendor_id, 16);
	assert_memory_equal(back.class_id, p->class_id, 16);
	check_slice(back.serial, p->serial);
	assert_int_equal(back.n_urls, p->n_urls);
	for (size_t i = 0; i < p->n_urls; i++)
		check_slice(back.url[i], p->url[i]);
	assert_int_equal(back.has_secret, p->has_secret);
	if (p->has_secret) {
		assert_memory_equal(back.secret_id, p->secret_id, sizeof p->secret_id);
		assert_memory_equal(back.secret, p->secret, sizeof p->secret);
	}
	check_slice(back.root, p->root);
	assert_int_equal(back.has_broker, p->has_broker);
	check_slice(back.broker_url, p->broker_url);
	check_slice(back.broker_user, p->broker_user);
	check_slice(back.broker_password, p->broker_password);
	check_slice(back.topic_prefix, p->topic_prefix);
	assert_int_equal(back.is_enrolled, p->is_enrolled);
	assert_memory_equal(back.device_id, p->device_id, sizeof p->device_id);
	assert_memory_equal(back.k_dev, p->k_dev, sizeof p->k_dev);
	check_slice(back.receipt, p->receipt);
	assert_err(provision_encode(p, crypto_openssl(), buf, len - 1, &n), OTA_NO_SPACE);
	assert_err(provision_encode(p, crypto_openssl(), buf, 5, &n), OTA_NO_SPACE);
	return len;
}

static void round_trips(void **state)
{
	struct provision p = fresh();

	(void)state;
	check_round(&p);
	p = full();
	print_message("the largest takes %zu bytes\n", check_round(&p));
	p.has_secret = false;
	check_round(&p);
	p.has_broker = true;
	p.broker_user.len = 0; /* a broker without accounts */
	p.broker_password.len = 0;
	check_round(&p);
}

static enum ota_err verdict(const uint8_t *bytes, size_t len, void *ctx)
{
	struct provision p;
	size_t used;
	enum ota_err err = provision_decode(crypto_openssl(), bytes, len, &p, &used);

	(void)ctx;
	/* As a file: nothing follows. */
	return err == OTA_OK && used != len ? OTA_CBOR : err;
}

static void mutations(void **state)
{
	struct provision p = full();
	uint8_t buf[PROVISION_MAX];
	size_t len, n;

	(void)state;
	assert_err(provision_encode(&p, crypto_openssl(), buf, sizeof buf, &len), OTA_OK);
	n = try_bit_flips(buf, len, verdict, NULL);
	n += try_lengths(buf, len, verdict, NULL);
	print_message("%zu mutations refused\n", n);
}

static void refuses_to_encode(void **state)
{
	uint8_t buf[PROVISION_MAX];
	size_t len, n = 0;
	struct provision bad[16];

	(void)state;
	for (size_t i = 0; i < LEN(bad); i++)
		bad[i] = full();
	bad[n++].serial.len = 0;
	bad[n++].serial.len = SERIAL_MAX + 1;
	bad[n++].n_urls = 0;
	bad[n++].n_urls = 4;
	bad[n++].url[1] = text("http://no-slash");
	bad[n++].root.len = 0;
	bad[n++].root.len = ROOT_MAX + 1;
	bad[n++].broker_url.len = 0;
	bad[n++].broker_url = text("mqtt://a b");
	bad[n++].broker_user.len = PROVISION_BROKER_USER_MAX + 1;
	bad[n++].broker_password.len = PROVISION_BROKER_PASSWORD_MAX + 1;
	bad[n++].topic_prefix = text("otad/#");
	bad[n++].topic_prefix.len = 0;
	bad[n++].receipt.len = 0;
	bad[n++].receipt.len = RECEIPT_MAX + 1;
	bad[n].has_secret = false;
	bad[n++].is_enrolled = false;
	for (size_t i = 0; i < n; i++) {
		if (provision_encode(&bad[i], crypto_openssl(), buf, sizeof buf, &len) != OTA_INVALID)
			print_error("row %zu\n", i);
		assert_err(provision_encode(&bad[i], crypto_openssl(), buf, sizeof buf, &len), OTA_INVALID);
	}
}

/* Bodies by hand, with the right trailer. */
#define I "0250101112131415161718191a1b1c1d1e1f 0350303132333435363738393a3b3c3d3e3f"
#define S "0648 8081828384858687 075820 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define U "058169 687474703a2f2f612f"

static void bodies(void **state)
{
	static const struct {
		const char *hex;
		enum ota_err want;
	} rows[] = {
		{"a8 0101 " I "044141 " U S "084100", OTA_OK},
		{"a8 0102 " I "044141 " U S "084100", OTA_FORMAT},
		{"a7 " I "044141 " U S "084100", OTA_CBOR},       /* no format */
		{"a6 0101 " I "044141 " U "084100", OTA_INVALID}, /* neither secret nor enrollment */
		{"a7 0101 " I "044141 " U "0648 8081828384858687 084100", OTA_INVALID},
		{"a7 0101 " I "044141 " U S, OTA_CBOR},           /* no root */
		{"a8 0101 " I "0440 " U S "084100", OTA_INVALID}, /* empty serial */
		{"a8 0101 " I "044141 0580" S "084100", OTA_INVALID},
		{"a8 0101 " I "044141 058166666f6f3a2f2f" S "084100", OTA_INVALID},
		{"a9 0101 " I "044141 " U S "084100 0a50202122232425262728292a2b2c2d2e2f", OTA_INVALID},
		{"a9 0101 " I "044141 " U S "084100 09846161606061 62", OTA_OK},
		{"a9 0101 " I "044141 " U S "084100 0984616160606123", OTA_INVALID}, /* prefix "#" */
		{"a9 0101 " I "044141 " U S "084100 0983616160 60", OTA_CBOR},
		{"a9 0101 " I "044141 " U S "084100 0d00", OTA_CBOR},
		{"80", OTA_CBOR},
		{"a0", OTA_CBOR},
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		uint8_t buf[512];
		size_t len = from_hex(rows[i].hex, buf, sizeof buf - 32);
		struct ota_slice body = {buf, len};

		ota_sha256(crypto_openssl(), &body, 1, buf + len);
		if (verdict(buf, len + 32, NULL) != rows[i].want)
			print_error("row %zu\n", i);
		assert_err(verdict(buf, len + 32, NULL), rows[i].want);
		buf[len] ^= 1;
		assert_err(verdict(buf, len + 32, NULL), OTA_DIGEST);
	}
	/* An erased region, and a blank one. */
	uint8_t blank[64];

	memset(blank, 0xff, sizeof blank);
	assert_err(verdict(blank, sizeof blank, NULL), OTA_CBOR);
	memset(blank, 0, sizeof blank);
	assert_err(verdict(blank, sizeof blank, NULL), OTA_DIGEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(mutations),
		cmocka_unit_test(refuses_to_encode),
		cmocka_unit_test(bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
