/* The contract's decoders for a checker in another language: one question a line on stdin, one answer a line
 *on stdout.
 *
 *	envelope KEYS THRESHOLD HEX	run KEYS THRESHOLD TARGET HEX	ticket KEYS K_DEV DEVICE NONCE HEX
 *	root HEX	next HEX HEX	checkin K_DEV HEX	request SECRET HEX	answer SECRET NONCE
 *HEX receipt KEY HEX	provision HEX	notice HEX	generic KEY HEX
 *
 * A key is ALG:HEX, KEYS are joined by commas; TARGET is
 *VENDOR:CLASS:DEVICE:FLOOR:RUNNING:DIGEST:SLOT:ID=SIZE[,..] (DIGEST empty: nothing runs). The answer is the
 *error's name, after OK the object encoded again: as a whole where a MAC makes it the same bytes, else the
 *part that is signed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/checkin.h"
#include "proto/crypto_openssl.h"
#include "proto/enroll.h"
#include "proto/hex.h"
#include "proto/notice.h"
#include "proto/provision.h"
#include "proto/root.h"
#include "proto/suit.h"
#include "proto/suit_generic.h"
#include "proto/ticket.h"

enum { WORDS_MAX = 7, LINE_MAX_LEN = 65536, BYTES_MAX = 20480 };

struct bytes {
	uint8_t p[BYTES_MAX];
	size_t len;
};

static void stop(const char *what)
{
	fprintf(stderr, "proto_tool: %s\n", what);
	exit(2);
}

static void read_hex(const char *text, struct bytes *out)
{
	size_t n = strlen(text);

	out->len = n / 2;
	if (out->len > sizeof out->p || hex_decode(text, n, HEX_LOWER, out->p, out->len))
		stop("bad hex");
}

static void read_fixed(const char *text, uint8_t *out, size_t len)
{
	if (hex_decode(text, strlen(text), HEX_LOWER, out, len))
		stop("bad hex of a fixed length");
}

struct ring {
	struct bytes pub[8];
	struct cose_key key[8];
	struct cose_keyring ring;
};

static void read_keys(char *text, unsigned threshold, struct ring *r)
{
	char *save = NULL;

	memset(&r->ring, 0, sizeof r->ring);
	r->ring.threshold = (uint8_t)threshold;
	for (char *word = strtok_r(text, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		size_t i = r->ring.n++;
		char *pub = strchr(word, ':');

		if (i == 8 || !pub)
			stop("bad keys");
		read_hex(pub + 1, &r->pub[i]);
		r->key[i].alg = atoi(word);
		r->key[i].pub = (struct ota_slice){r->pub[i].p, r->pub[i].len};
		ota_kid(crypto_openssl(), r->pub[i].p, r->pub[i].len, r->key[i].kid);
		r->ring.key[i] = &r->key[i];
	}
}

static void answer(enum ota_err err, const void *again, size_t len)
{
	const uint8_t *p = again;

	printf("%s", ota_err_name(err));
	if (!err && again) {
		printf(" ");
		for (size_t i = 0; i < len; i++)
			printf("%02x", p[i]);
	}
	printf("\n");
}

static enum ota_err open_release(const struct bytes *in, const struct cose_keyring *ring,
	struct suit_envelope *e, struct suit_manifest *m)
{
	enum ota_err err = suit_envelope_decode(crypto_openssl(), in->p, in->len, e);

	if (!err)
		err = suit_envelope_verify(crypto_openssl(), e, ring);
	return err ? err : suit_manifest_decode(e->manifest, m);
}

static void do_envelope(char **w)
{
	static struct bytes in, again;
	static struct ring r;
	struct suit_envelope e;
	struct suit_manifest m;
	enum ota_err err;

	read_keys(w[1], (unsigned)atoi(w[2]), &r);
	read_hex(w[3], &in);
	err = open_release(&in, &r.ring, &e, &m);
	if (!err)
		err = suit_manifest_encode(&m, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void read_target(char *text, struct suit_target *t)
{
	char *part[8], *save = NULL;

	memset(t, 0, sizeof *t);
	for (size_t i = 0; i < 8; i++) {
		part[i] = text ? strsep(&text, ":") : NULL;
		if (!part[i])
			stop("bad target");
	}
	read_fixed(part[0], t->vendor_id, 16);
	read_fixed(part[1], t->class_id, 16);
	read_fixed(part[2], t->device_id, 16);
	t->floor = (uint32_t)strtoul(part[3], NULL, 10);
	t->running_sequence = (uint32_t)strtoul(part[4], NULL, 10);
	t->has_running = *part[5] != '\0';
	if (t->has_running)
		read_fixed(part[5], t->running_digest, 32);
	t->slot = (uint8_t)atoi(part[6]);
	for (char *word = strtok_r(part[7], ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		char *size = strchr(word, '=');
		size_t i = t->n_components++;

		if (i == SUIT_COMPONENTS_MAX || !size || size - word > SUIT_COMPONENT_ID_MAX)
			stop("bad component");
		memcpy(t->component[i].id, word, (size_t)(size - word));
		t->component[i].id_len = (uint8_t)(size - word);
		t->component[i].slot_size = (uint32_t)strtoul(size + 1, NULL, 10);
	}
}

static void do_run(char **w)
{
	static struct bytes in;
	static struct ring r;
	const struct suit_image *images[SUIT_COMPONENTS_MAX];
	struct suit_envelope e;
	struct suit_manifest m;
	struct suit_target t;
	enum ota_err err;

	read_keys(w[1], (unsigned)atoi(w[2]), &r);
	read_target(w[3], &t);
	read_hex(w[4], &in);
	err = open_release(&in, &r.ring, &e, &m);
	if (!err)
		err = suit_run(&m, e.digest, &t, images);
	answer(err, err ? NULL : images[0]->sha256, 32);
}

/* What is signed of a Sign1 ticket: a fresh key signs it again, and the payload is looked up there. */
static enum ota_err ticket_payload(const struct ticket *t, struct bytes *out)
{
	static uint8_t buf[TICKET_MAX];
	struct ota_signer s;
	struct cose_msg m;
	size_t len;
	enum ota_err err = crypto_signer_generate(OTA_ALG_ESP256, &s);

	if (err)
		return err;
	err = ticket_encode_signed(t, &s, buf, sizeof buf, &len);
	if (!err)
		err = cose_decode(buf, len, &m);
	if (!err) {
		memcpy(out->p, m.payload.p, m.payload.len);
		out->len = m.payload.len;
	}
	crypto_signer_release(&s);
	return err;
}

static void do_ticket(char **w)
{
	static struct bytes in, again;
	static struct ring r;
	uint8_t k_dev[KEY_LEN], device[DEVICE_ID_LEN], nonce[NONCE_LEN];
	struct ticket t;
	enum ota_err err;

	read_keys(w[1], 1, &r);
	read_fixed(w[2], k_dev, sizeof k_dev);
	read_fixed(w[3], device, sizeof device);
	read_fixed(w[4], nonce, sizeof nonce);
	read_hex(w[5], &in);
	err = ticket_decode(crypto_openssl(), in.p, in.len, &r.ring, k_dev, device, nonce, &t);
	if (!err && t.is_signed)
		err = ticket_payload(&t, &again);
	else if (!err)
		err = ticket_encode_mac(&t, crypto_openssl(), k_dev, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_root(char **w)
{
	static struct bytes in, again;
	struct root_doc d;
	enum ota_err err;

	read_hex(w[1], &in);
	err = root_decode_first(crypto_openssl(), in.p, in.len, &d);
	if (!err)
		err = root_payload_encode(&d, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_next(char **w)
{
	static struct bytes cur_bytes, in, again;
	struct root_doc cur, d;
	enum ota_err err;

	read_hex(w[1], &cur_bytes);
	read_hex(w[2], &in);
	if (root_decode_first(crypto_openssl(), cur_bytes.p, cur_bytes.len, &cur))
		stop("the current root is not good");
	err = root_decode_next(crypto_openssl(), &cur, in.p, in.len, &d);
	if (!err)
		err = root_payload_encode(&d, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_checkin(char **w)
{
	static struct bytes in, again;
	uint8_t k_dev[KEY_LEN];
	struct checkin ci;
	enum ota_err err;

	read_fixed(w[1], k_dev, sizeof k_dev);
	read_hex(w[2], &in);
	err = checkin_decode(crypto_openssl(), in.p, in.len, k_dev, &ci);
	if (!err)
		err = checkin_encode(&ci, crypto_openssl(), k_dev, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_request(char **w)
{
	static struct bytes in, again;
	uint8_t secret[SECRET_LEN];
	struct enroll_request r;
	enum ota_err err;

	read_fixed(w[1], secret, sizeof secret);
	read_hex(w[2], &in);
	err = enroll_request_decode(crypto_openssl(), in.p, in.len, secret, &r);
	if (!err)
		err = enroll_request_encode(
			&r, crypto_openssl(), secret, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_answer(char **w)
{
	static struct bytes in, again;
	uint8_t secret[SECRET_LEN], nonce_d[NONCE_LEN];
	struct enroll_answer a;
	enum ota_err err;

	read_fixed(w[1], secret, sizeof secret);
	read_fixed(w[2], nonce_d, sizeof nonce_d);
	read_hex(w[3], &in);
	err = enroll_answer_decode(crypto_openssl(), in.p, in.len, secret, nonce_d, &a);
	if (!err)
		err = enroll_answer_encode(&a, crypto_openssl(), secret, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_receipt(char **w)
{
	static struct bytes in, again;
	uint8_t key[KEY_LEN];
	struct receipt r;
	enum ota_err err;

	read_fixed(w[1], key, sizeof key);
	read_hex(w[2], &in);
	err = receipt_decode(crypto_openssl(), in.p, in.len, key, &r);
	if (!err)
		err = receipt_encode(&r, crypto_openssl(), key, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_provision(char **w)
{
	static struct bytes in, again;
	struct provision p;
	size_t used;
	enum ota_err err;

	read_hex(w[1], &in);
	err = provision_decode(crypto_openssl(), in.p, in.len, &p, &used);
	if (!err)
		err = provision_encode(&p, crypto_openssl(), again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_notice(char **w)
{
	static struct bytes in, again;
	struct notice n;
	enum ota_err err;

	read_hex(w[1], &in);
	err = notice_decode(in.p, in.len, &n);
	if (!err)
		err = notice_encode(&n, again.p, sizeof again.p, &again.len);
	answer(err, again.p, again.len);
}

static void do_generic(char **w)
{
	static struct bytes in;
	static struct ring r;
	struct suit_generic g;
	enum ota_err err;

	read_keys(w[1], 1, &r);
	read_hex(w[2], &in);
	err = suit_generic_verify(crypto_openssl(), in.p, in.len, &r.key[0], &g);
	answer(err, err ? NULL : g.digest, 32);
}

static enum ota_err sign_release(const struct ota_signer *s, struct bytes *out)
{
	static struct bytes manifest, block;
	struct suit_manifest m = {.sequence = 7, .n_components = 1};
	uint8_t digest[32];
	enum ota_err err;

	memcpy(m.component[0].id, "app", 3);
	m.component[0].id_len = 3;
	m.component[0].n_images = 1;
	m.component[0].image[0].size = 1;
	err = suit_manifest_encode(&m, manifest.p, sizeof manifest.p, &manifest.len);
	if (err)
		return err;
	suit_manifest_digest(crypto_openssl(), (struct ota_slice){manifest.p, manifest.len}, digest);
	err = suit_sign(crypto_openssl(), s, digest, block.p, sizeof block.p, &block.len);
	if (err)
		return err;
	return suit_envelope_encode(crypto_openssl(), (struct ota_slice){manifest.p, manifest.len},
		&(struct ota_slice){block.p, block.len}, 1, out->p, sizeof out->p, &out->len);
}

static enum ota_err sign_root(const struct ota_signer *s, struct bytes *out)
{
	static const uint8_t payload[] = "the payload is the caller's";
	static struct bytes block;
	struct ota_slice content = {payload, sizeof payload};
	enum ota_err err = root_sign(s, content, block.p, sizeof block.p, &block.len);

	return err ? err
		   : root_encode(content, &(struct ota_slice){block.p, block.len}, 1, out->p, sizeof out->p,
			     &out->len);
}

static enum ota_err sign_ticket(const struct ota_signer *s, struct bytes *out)
{
	struct ticket t = {.root_version = 1,
		.next_poll_s = 300,
		.has_assignment = true,
		.envelope_size = 9,
		.attempt = 1};

	return ticket_encode_signed(&t, s, out->p, sizeof out->p, &out->len);
}

static void do_sign(char **w)
{
	static struct bytes made, both;
	struct ota_signer s;
	struct cbor_out out;
	enum ota_err err = crypto_signer_generate(atoi(w[1]), &s);

	if (err)
		stop("no key of this algorithm");
	if (strcmp(w[2], "release") == 0)
		err = sign_release(&s, &made);
	else if (strcmp(w[2], "root") == 0)
		err = sign_root(&s, &made);
	else
		err = sign_ticket(&s, &made);
	cbor_out_init(&out, both.p, sizeof both.p);
	cbor_put_array(&out, 2);
	cbor_put_bstr(&out, s.pub, s.pub_len);
	cbor_put_bstr(&out, made.p, made.len);
	answer(err, both.p, out.len);
	crypto_signer_release(&s);
}

static const struct {
	const char *name;
	size_t words; /* with the command */
	void (*fn)(char **words);
} commands[] = {
	{"envelope", 4, do_envelope},
	{"run", 5, do_run},
	{"ticket", 6, do_ticket},
	{"root", 2, do_root},
	{"next", 3, do_next},
	{"checkin", 3, do_checkin},
	{"request", 3, do_request},
	{"answer", 4, do_answer},
	{"receipt", 3, do_receipt},
	{"provision", 2, do_provision},
	{"notice", 2, do_notice},
	{"generic", 3, do_generic},
	{"sign", 3, do_sign},
};

static void do_line(char *line)
{
	/* An object of no bytes is an empty last word. */
	static char nothing[] = "";
	char *words[WORDS_MAX] = {0}, *save = NULL;
	size_t n = 0;

	for (char *word = strtok_r(line, " \n", &save); word && n < WORDS_MAX;
		word = strtok_r(NULL, " \n", &save))
		words[n++] = word;
	for (size_t i = 0; n > 0 && i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(words[0], commands[i].name) != 0)
			continue;
		if (n + 1 == commands[i].words)
			words[n++] = nothing;
		if (n != commands[i].words)
			stop("wrong number of words");
		commands[i].fn(words);
		return;
	}
	stop("unknown command");
}

int main(void)
{
	static char line[LINE_MAX_LEN];

	while (fgets(line, sizeof line, stdin)) {
		if (!strchr(line, '\n'))
			stop("line too long");
		do_line(line);
		fflush(stdout);
	}
	return 0;
}
