#include "tests/unit/proto/util.h"

#include "proto/checkin.h"
#include "proto/enroll.h"
#include "proto/notice.h"
#include "proto/provision.h"
#include "proto/root.h"
#include "proto/suit.h"
#include "proto/ticket.h"

/* The examples of docs/protocol.md, which another encoder made: they decode under the keys printed beside
 * them, say what the document says, and where no signature is random they are encoded again to the same
 * bytes. */

struct bytes {
	uint8_t p[PROVISION_MAX];
	size_t len;
};

static char *document;

/* The block ```hex NAME. */
static struct bytes example(const char *name)
{
	char open[64], text[2 * PROVISION_MAX + 256];
	struct bytes b;
	const char *at, *end;

	snprintf(open, sizeof open, "```hex %s\n", name);
	at = strstr(document, open);
	if (!at)
		print_error("no example '%s'\n", name);
	assert_non_null(at);
	at += strlen(open);
	end = strstr(at, "```");
	assert_non_null(end);
	assert_true((size_t)(end - at) < sizeof text);
	memcpy(text, at, (size_t)(end - at));
	text[end - at] = '\0';
	b.len = from_hex(text, b.p, sizeof b.p);
	assert_true(b.len > 0);
	return b;
}

static void fixed(const char *name, uint8_t *out, size_t len)
{
	struct bytes b = example(name);

	assert_int_equal(b.len, len);
	memcpy(out, b.p, len);
}

#define same_bytes(got, got_len, want) check_same((got), (got_len), &(want))
static void check_same(const uint8_t *got, size_t len, const struct bytes *want)
{
	assert_int_equal(len, want->len);
	assert_memory_equal(got, want->p, len);
}

struct role {
	struct bytes pub;
	struct cose_key key;
	struct cose_keyring ring;
};

static void read_role(const char *name, struct role *r)
{
	r->pub = example(name);
	r->key = (struct cose_key){.alg = OTA_ALG_ESP256, .pub = {r->pub.p, r->pub.len}};
	ota_kid(crypto_openssl(), r->pub.p, r->pub.len, r->key.kid);
	r->ring = (struct cose_keyring){.key = {&r->key}, .n = 1, .threshold = 1};
}

/* What the enrollment of the examples ends in. */
struct device {
	uint8_t enroll_key[KEY_LEN], secret[SECRET_LEN], k_dev[KEY_LEN];
	struct enroll_request request;
	struct enroll_answer answer;
	struct bytes answer_bytes;
};

static void enroll(struct device *d)
{
	const struct ota_crypto *c = crypto_openssl();
	struct bytes request = example("enroll-request");
	uint8_t buf[ENROLL_MAX], want[KEY_LEN];
	struct receipt r;
	size_t len;

	d->answer_bytes = example("enroll-answer");
	fixed("enroll-key", d->enroll_key, sizeof d->enroll_key);
	fixed("secret", want, sizeof want);
	assert_err(enroll_request_peek(request.p, request.len, d->request.secret_id), OTA_OK);
	keys_enroll_secret(c, d->enroll_key, d->request.secret_id, d->secret);
	assert_memory_equal(d->secret, want, sizeof want);

	assert_err(enroll_request_decode(c, request.p, request.len, d->secret, &d->request), OTA_OK);
	assert_err(enroll_request_encode(&d->request, c, d->secret, buf, sizeof buf, &len), OTA_OK);
	same_bytes(buf, len, request);
	assert_err(enroll_answer_decode(c, d->answer_bytes.p, d->answer_bytes.len, d->secret,
			   d->request.nonce_d, &d->answer),
		OTA_OK);
	assert_err(enroll_answer_encode(&d->answer, c, d->secret, buf, sizeof buf, &len), OTA_OK);
	same_bytes(buf, len, d->answer_bytes);

	assert_err(receipt_decode(c, d->answer.receipt.p, d->answer.receipt.len, d->enroll_key, &r), OTA_OK);
	assert_memory_equal(r.device_id, d->answer.device_id, sizeof r.device_id);
	assert_err(receipt_encode(&r, c, d->enroll_key, buf, sizeof buf, &len), OTA_OK);
	assert_int_equal(len, d->answer.receipt.len);
	assert_memory_equal(buf, d->answer.receipt.p, len);

	keys_device(c, d->secret, d->answer.device_id, d->answer.nonce_d, d->answer.nonce_s, d->k_dev);
	fixed("k-dev", want, sizeof want);
	assert_memory_equal(d->k_dev, want, sizeof want);
}

static void enrollment(void **state)
{
	struct device d;
	struct bytes header = example("authorization");
	uint8_t fetch[KEY_LEN];
	char text[128] = "Authorization: OTA ", *at = text + strlen(text);

	(void)state;
	enroll(&d);
	keys_fetch(crypto_openssl(), d.k_dev, fetch);
	for (size_t i = 0; i < DEVICE_ID_LEN; i++)
		at += sprintf(at, "%02x", d.answer.device_id[i]);
	*at++ = '.';
	for (size_t i = 0; i < KEY_LEN; i++)
		at += sprintf(at, "%02x", fetch[i]);
	same_bytes((const uint8_t *)text, strlen(text), header);
}

static void release(void **state)
{
	struct bytes b = example("release"), work = example("ticket");
	struct role role, server;
	struct suit_envelope e;
	struct suit_manifest m;
	struct device d;
	struct ticket t;
	uint8_t buf[SUIT_ENVELOPE_MAX], nonce[NONCE_LEN];
	size_t len;

	(void)state;
	read_role("release-key", &role);
	assert_err(suit_envelope_decode(crypto_openssl(), b.p, b.len, &e), OTA_OK);
	assert_err(suit_envelope_verify(crypto_openssl(), &e, &role.ring), OTA_OK);
	assert_err(suit_manifest_decode(e.manifest, &m), OTA_OK);
	assert_err(suit_manifest_encode(&m, buf, sizeof buf, &len), OTA_OK);
	assert_int_equal(len, e.manifest.len);
	assert_memory_equal(buf, e.manifest.p, len);
	assert_int_equal(m.sequence, 1767225600);
	assert_int_equal(m.n_components, 1);
	assert_memory_equal(m.component[0].id, "app", 3);

	/* The ticket names it. */
	enroll(&d);
	read_role("server-key", &server);
	fill(nonce, sizeof nonce, 0x20);
	assert_err(ticket_decode(crypto_openssl(), work.p, work.len, &server.ring, d.k_dev,
			   d.answer.device_id, nonce, &t),
		OTA_OK);
	assert_true(t.is_signed && t.has_assignment);
	assert_memory_equal(t.digest, e.digest, sizeof e.digest);
	assert_int_equal(t.envelope_size, b.len);
	assert_int_equal(t.attempt, 1);
	/* The board of the enrollment is that of the release. */
	assert_memory_equal(m.vendor_id, d.request.vendor_id, 16);
	assert_memory_equal(m.class_id, d.request.class_id, 16);
}

static void idle(void **state)
{
	struct bytes b = example("ticket-idle");
	struct role server;
	struct device d;
	struct ticket t;
	uint8_t buf[TICKET_MAX], nonce[NONCE_LEN];
	size_t len;

	(void)state;
	enroll(&d);
	read_role("server-key", &server);
	fill(nonce, sizeof nonce, 0x20);
	assert_err(ticket_decode(crypto_openssl(), b.p, b.len, &server.ring, d.k_dev, d.answer.device_id,
			   nonce, &t),
		OTA_OK);
	assert_false(t.is_signed || t.has_assignment);
	assert_err(ticket_encode_mac(&t, crypto_openssl(), d.k_dev, buf, sizeof buf, &len), OTA_OK);
	same_bytes(buf, len, b);
}

static void root(void **state)
{
	static const char *const names[] = {"root-key", "release-key", "server-key"};
	struct bytes b = example("root");
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	struct ota_slice payload;
	struct root_doc doc;
	uint8_t buf[ROOT_MAX];
	size_t n, len;

	(void)state;
	assert_err(root_decode_first(crypto_openssl(), b.p, b.len, &doc), OTA_OK);
	for (unsigned i = 0; i < LEN(names); i++) {
		struct role role;
		struct cose_keyring ring;

		read_role(names[i], &role);
		root_keyring(crypto_openssl(), &doc, (enum root_role)i, &ring);
		assert_int_equal(ring.n, 1);
		assert_memory_equal(ring.key[0]->kid, role.key.kid, OTA_KID_LEN);
	}
	assert_int_equal(doc.n_floors, 1);
	assert_err(root_split(b.p, b.len, blocks, &n, &payload), OTA_OK);
	assert_err(root_payload_encode(&doc, buf, sizeof buf, &len), OTA_OK);
	assert_int_equal(len, payload.len);
	assert_memory_equal(buf, payload.p, len);
}

static void checkins(void **state)
{
	struct bytes b = example("checkin");
	struct device d;
	struct checkin ci;
	uint8_t buf[CHECKIN_MAX];
	size_t len;

	(void)state;
	enroll(&d);
	assert_err(checkin_decode(crypto_openssl(), b.p, b.len, d.k_dev, &ci), OTA_OK);
	assert_int_equal(ci.state, CHECKIN_CONFIRMED);
	assert_true(ci.has_running && ci.has_result && !ci.has_target);
	assert_memory_equal(ci.running_digest, ci.result_digest, 32);
	assert_err(checkin_encode(&ci, crypto_openssl(), d.k_dev, buf, sizeof buf, &len), OTA_OK);
	same_bytes(buf, len, b);
}

static void provisioning(void **state)
{
	struct bytes b = example("provisioning"), root_bytes = example("root");
	struct device d;
	struct provision p;
	uint8_t buf[PROVISION_MAX];
	size_t used, len;

	(void)state;
	enroll(&d);
	assert_err(provision_decode(crypto_openssl(), b.p, b.len, &p, &used), OTA_OK);
	assert_int_equal(used, b.len);
	assert_true(p.has_secret && p.has_broker && !p.is_enrolled);
	assert_memory_equal(p.secret, d.secret, SECRET_LEN);
	assert_memory_equal(p.secret_id, d.request.secret_id, SECRET_ID_LEN);
	same_bytes(p.root.p, p.root.len, root_bytes);
	assert_err(provision_encode(&p, crypto_openssl(), buf, sizeof buf, &len), OTA_OK);
	same_bytes(buf, len, b);
}

static void notices(void **state)
{
	struct bytes b = example("notice");
	struct notice n;
	uint8_t buf[NOTICE_MAX];
	size_t len;

	(void)state;
	assert_err(notice_decode(b.p, b.len, &n), OTA_OK);
	assert_int_equal(n.revision, 7);
	assert_int_equal(n.spread_s, 60);
	assert_err(notice_encode(&n, buf, sizeof buf, &len), OTA_OK);
	same_bytes(buf, len, b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(enrollment),
		cmocka_unit_test(release),
		cmocka_unit_test(idle),
		cmocka_unit_test(root),
		cmocka_unit_test(checkins),
		cmocka_unit_test(provisioning),
		cmocka_unit_test(notices),
	};
	size_t len;
	int failed;

	document = (char *)source_file("docs/protocol.md", &len);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(document);
	return failed;
}
