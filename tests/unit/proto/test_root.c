#include "tests/unit/proto/util.h"

#include "proto/root.h"

enum { SERVER = 10, SERVER_NEXT = 11, MAX_SIGS = 8 };

/* Which test signers stand in the root role, with what threshold, and who signs. A list ends with -1. */
struct version {
	int8_t keys[6], threshold, sigs[MAX_SIGS + 1];
};

static void add_key(struct root_doc *d, enum root_role role, const struct ota_signer *s)
{
	d->key[d->n_keys] = test_key(s);
	d->role[role].index[d->role[role].n++] = (uint8_t)d->n_keys++;
}

/* A document with these root keys; release is the Ed25519 key, server the signer SERVER. */
static struct root_doc document(uint32_t version, const int8_t *keys, uint8_t threshold)
{
	struct root_doc d = {.version = version};

	for (size_t i = 0; i < 6 && keys[i] >= 0; i++)
		add_key(&d, ROOT_ROLE_ROOT, test_signer((unsigned)keys[i]));
	add_key(&d, ROOT_ROLE_RELEASE, test_signer_ed25519());
	add_key(&d, ROOT_ROLE_SERVER, test_signer(SERVER));
	d.role[ROOT_ROLE_ROOT].threshold = threshold;
	d.role[ROOT_ROLE_RELEASE].threshold = 1;
	d.role[ROOT_ROLE_SERVER].threshold = 1;
	return d;
}

struct signed_root {
	uint8_t payload[ROOT_MAX], bytes[ROOT_MAX];
	size_t payload_len, len;
};

static void sign_payload(struct signed_root *r, const int8_t *sigs)
{
	uint8_t blocks[MAX_SIGS][COSE_SIGN1_OVERHEAD];
	struct ota_slice slices[MAX_SIGS], payload = {r->payload, r->payload_len};
	size_t n = 0;

	for (; n < MAX_SIGS && sigs[n] >= 0; n++) {
		slices[n].p = blocks[n];
		assert_err(root_sign(test_signer((unsigned)sigs[n]), payload, blocks[n], sizeof blocks[n],
				   &slices[n].len),
			OTA_OK);
	}
	assert_err(root_encode(payload, slices, n, r->bytes, sizeof r->bytes, &r->len), OTA_OK);
}

static void make_root(const struct root_doc *d, const int8_t *sigs, struct signed_root *r)
{
	assert_err(root_payload_encode(d, r->payload, sizeof r->payload, &r->payload_len), OTA_OK);
	sign_payload(r, sigs);
}

#define SIGS(...) ((const int8_t[MAX_SIGS + 1]){__VA_ARGS__, -1})
#define KEYS(...) ((const int8_t[7]){__VA_ARGS__, -1})

/* The rotations that TUF's conformance suite asks of a client's root walk, as tables of our own document. */
static void rotations(void **state)
{
	static const struct {
		const char *what;
		struct version version[4]; /* threshold 0 ends */
		enum ota_err want;         /* of the last version; all before are OK */
	} rows[] = {
		{"1 of 1 rotated", {{{1, -1}, 1, {1, -1}}, {{2, -1}, 1, {2, 1, -1}}, {{2, -1}, 1, {2, -1}}},
			OTA_OK},
		{"1 of 1 rotated, unused signatures",
			{{{1, -1}, 1, {3, 1, 4, -1}}, {{2, -1}, 1, {3, 2, 1, 4, -1}},
				{{2, -1}, 1, {3, 2, 4, -1}}},
			OTA_OK},
		{"1 of 1 rotated, not by the old key", {{{1, -1}, 1, {1, -1}}, {{2, -1}, 1, {2, 3, 4, -1}}},
			OTA_SIG},
		{"1 of 1 rotated, not by the new key", {{{1, -1}, 1, {1, -1}}, {{2, -1}, 1, {1, 3, 4, -1}}},
			OTA_SIG},
		{"3 of 5, different signers",
			{{{0, 1, 2, 3, 4, -1}, 3, {0, 2, 4, -1}}, {{0, 1, 2, 3, 4, -1}, 3, {0, 4, 1, -1}},
				{{0, 1, 2, 3, 4, -1}, 3, {0, 1, 3, -1}},
				{{0, 1, 2, 3, 4, -1}, 3, {0, 1, 3, -1}}},
			OTA_OK},
		{"3 of 5, one key rotated",
			{{{0, 1, 2, 3, 4, -1}, 3, {0, 2, 4, -1}}, {{0, 1, 3, 4, 5, -1}, 3, {0, 4, 1, -1}}},
			OTA_OK},
		{"3 of 5, one rotated, not by 3 new",
			{{{0, 1, 2, 3, 4, -1}, 3, {0, 2, 4, -1}}, {{0, 1, 3, 4, 5, -1}, 3, {0, 2, 4, -1}}},
			OTA_THRESHOLD},
		{"3 of 5, one rotated, not by 3 old",
			{{{0, 1, 2, 3, 4, -1}, 3, {0, 2, 4, -1}}, {{0, 1, 3, 4, 5, -1}, 3, {0, 4, 5, -1}}},
			OTA_THRESHOLD},
		{"3 of 5, one rotated through both sets",
			{{{0, 1, 2, 3, 4, -1}, 3, {0, 2, 4, -1}}, {{0, 1, 3, 4, 5, -1}, 3, {0, 2, 4, 5, -1}},
				{{0, 1, 3, 4, 5, -1}, 3, {0, 4, 5, -1}}},
			OTA_OK},
		{"3 of 5, all rotated through both sets",
			{{{0, 1, 2, 3, 4, -1}, 3, {0, 2, 4, -1}},
				{{5, 6, 7, 8, 9, -1}, 3, {0, 2, 4, 5, 6, 7, -1}},
				{{5, 6, 7, 8, 9, -1}, 3, {5, 6, 7, -1}}},
			OTA_OK},
		{"1 of 3 to 2 of 3",
			{{{1, 2, 3, -1}, 1, {1, -1}}, {{1, 2, 3, -1}, 2, {1, 2, -1}},
				{{1, 2, 3, -1}, 2, {2, 3, -1}}},
			OTA_OK},
		{"1 of 3 to 2 of 3, one signature",
			{{{1, 2, 3, -1}, 1, {1, -1}}, {{1, 2, 3, -1}, 2, {2, -1}}}, OTA_THRESHOLD},
		{"2 of 3 to 1 of 3",
			{{{1, 2, 3, -1}, 2, {1, 2, -1}}, {{1, 2, 3, -1}, 1, {1, 2, -1}},
				{{1, 2, 3, -1}, 1, {1, -1}}},
			OTA_OK},
		{"2 of 3 to 1 of 3, one signature",
			{{{1, 2, 3, -1}, 2, {1, 2, -1}}, {{1, 2, 3, -1}, 1, {1, -1}}}, OTA_THRESHOLD},
		{"2 of 3 to 2 of 2", {{{1, 2, 3, -1}, 2, {1, 3, -1}}, {{1, 2, -1}, 2, {1, 2, -1}}}, OTA_OK},
		{"2 of 3, the same key twice",
			{{{1, 2, 3, -1}, 2, {1, 3, -1}}, {{1, 2, 3, -1}, 2, {1, 1, -1}}}, OTA_THRESHOLD},
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct signed_root r[4];
		struct root_doc cur = {0};
		size_t n = 0;

		while (n < 4 && rows[i].version[n].threshold > 0)
			n++;
		for (size_t v = 0; v < n; v++) {
			const struct version *ver = &rows[i].version[v];
			struct root_doc d = document((uint32_t)v + 1, ver->keys, (uint8_t)ver->threshold);
			enum ota_err err, want = v + 1 == n ? rows[i].want : OTA_OK;

			make_root(&d, ver->sigs, &r[v]);
			err = v == 0 ? root_decode_first(crypto_openssl(), r[v].bytes, r[v].len, &cur)
				     : root_decode_next(crypto_openssl(), &cur, r[v].bytes, r[v].len, &cur);
			if (err != want)
				print_error("%s, version %zu\n", rows[i].what, v + 1);
			assert_err(err, want);
		}
	}
}

static void round_trip(void **state)
{
	struct root_doc d = document(7, KEYS(0, 1, 2), 2), back;
	struct signed_root r;

	(void)state;
	d.epoch = 3;
	d.n_floors = 3;
	d.floor[0] = (struct root_floor){.any_class = true, .sequence = 5};
	d.floor[1].sequence = UINT32_MAX;
	fill(d.floor[1].class_id, 16, 1);
	fill(d.floor[2].class_id, 16, 2);
	make_root(&d, SIGS(0, 2), &r);
	assert_err(root_decode_first(crypto_openssl(), r.bytes, r.len, &back), OTA_OK);
	assert_int_equal(back.version, 7);
	assert_int_equal(back.epoch, 3);
	assert_int_equal(back.n_keys, d.n_keys);
	for (size_t i = 0; i < d.n_keys; i++) {
		assert_int_equal(back.key[i].alg, d.key[i].alg);
		assert_memory_equal(back.key[i].kid, d.key[i].kid, OTA_KID_LEN);
		assert_int_equal(back.key[i].pub.len, d.key[i].pub.len);
		assert_memory_equal(back.key[i].pub.p, d.key[i].pub.p, d.key[i].pub.len);
	}
	assert_memory_equal(back.role, d.role, sizeof d.role);
	assert_int_equal(back.n_floors, 3);
	assert_true(back.floor[0].any_class);
	assert_int_equal(back.floor[1].sequence, UINT32_MAX);
	assert_memory_equal(back.floor[2].class_id, d.floor[2].class_id, 16);
	/* What is bound to a class wins over the row of any class; floors only rise within an epoch. */
	assert_int_equal(root_floor_after(&back, 3, d.floor[2].class_id, 0), 0);
	assert_int_equal(root_floor_after(&back, 3, d.floor[2].class_id, 9), 9);
	assert_int_equal(root_floor_after(&back, 2, d.floor[2].class_id, 9), 0);
	assert_int_equal(root_floor_after(&back, 3, d.floor[1].class_id, 9), UINT32_MAX);
	assert_int_equal(root_floor_after(&back, 3, (const uint8_t[16]){9}, 0), 5);
	assert_int_equal(root_floor_after(&back, 3, (const uint8_t[16]){9}, 6), 6);
	assert_int_equal(root_floor_after(&back, 2, (const uint8_t[16]){9}, 6), 5);
}

static enum ota_err first(const uint8_t *bytes, size_t len, void *ctx)
{
	struct root_doc d;

	(void)ctx;
	return root_decode_first(crypto_openssl(), bytes, len, &d);
}

static enum ota_err next(const uint8_t *bytes, size_t len, void *ctx)
{
	struct root_doc d;

	return root_decode_next(crypto_openssl(), ctx, bytes, len, &d);
}

static void mutations(void **state)
{
	struct root_doc d = document(1, KEYS(0), 1), d2 = document(2, KEYS(1), 1), cur;
	struct signed_root r, r2;
	size_t n;

	(void)state;
	d.n_floors = 1;
	d.floor[0].any_class = true;
	make_root(&d, SIGS(0), &r);
	n = try_bit_flips(r.bytes, r.len, first, NULL);
	n += try_lengths(r.bytes, r.len, first, NULL);
	assert_err(root_decode_first(crypto_openssl(), r.bytes, r.len, &cur), OTA_OK);
	make_root(&d2, SIGS(0, 1), &r2);
	n += try_bit_flips(r2.bytes, r2.len, next, &cur);
	n += try_lengths(r2.bytes, r2.len, next, &cur);
	print_message("%zu mutations refused\n", n);
}

static void versions(void **state)
{
	static const struct {
		uint32_t version;
		enum ota_err want;
	} rows[] = {{4, OTA_ROOT_GAP}, {5, OTA_ROOT_GAP}, {6, OTA_OK}, {7, OTA_ROOT_GAP},
		{UINT32_MAX, OTA_ROOT_GAP}};
	struct root_doc d = document(5, KEYS(0), 1), cur;
	struct signed_root r, other;

	(void)state;
	make_root(&d, SIGS(0), &r);
	assert_err(root_decode_first(crypto_openssl(), r.bytes, r.len, &cur), OTA_OK);
	for (size_t i = 0; i < LEN(rows); i++) {
		struct root_doc n = document(rows[i].version, KEYS(0), 1);

		n.epoch = 0;
		n.n_floors = 1;
		n.floor[0].any_class = true;
		make_root(&n, SIGS(0), &other);
		assert_err(next(other.bytes, other.len, &cur), rows[i].want);
	}
	cur.version = UINT32_MAX;
	assert_err(next(other.bytes, other.len, &cur), OTA_ROOT_GAP);
}

/* One change of a good document, and what reading it must say. */
static void change_threshold_0(struct root_doc *d)
{
	d->role[ROOT_ROLE_RELEASE].threshold = 0;
}
static void change_threshold_5(struct root_doc *d)
{
	d->role[ROOT_ROLE_ROOT].threshold = 5;
}
static void change_threshold_unreachable(struct root_doc *d)
{
	d->role[ROOT_ROLE_SERVER].threshold = 2;
}
static void change_no_release_key(struct root_doc *d)
{
	d->role[ROOT_ROLE_RELEASE].n = 0;
}
static void change_index(struct root_doc *d)
{
	d->role[ROOT_ROLE_SERVER].index[0] = (uint8_t)d->n_keys;
}
static void change_two_roles(struct root_doc *d)
{
	d->role[ROOT_ROLE_SERVER].index[0] = 0;
}
static void change_index_order(struct root_doc *d)
{
	d->role[ROOT_ROLE_ROOT].index[0] = 1;
	d->role[ROOT_ROLE_ROOT].index[1] = 0;
}
static void change_index_twice(struct root_doc *d)
{
	d->role[ROOT_ROLE_ROOT].index[1] = 0;
}
static void change_key_twice(struct root_doc *d)
{
	d->key[1] = d->key[0];
}
static void change_key_length(struct root_doc *d)
{
	d->key[0].pub.len--;
}
static void change_key_empty(struct root_doc *d)
{
	d->key[2].pub.len = 0;
}
static void change_version_0(struct root_doc *d)
{
	d->version = 0;
}
static void change_floors(struct root_doc *d)
{
	d->n_floors = 2;
	d->floor[1].any_class = true;
}
static void change_floor_twice(struct root_doc *d)
{
	d->n_floors = 2;
}

static void refuses_to_encode(void **state)
{
	static void (*const change[])(struct root_doc *) = {
		change_threshold_0,
		change_threshold_5,
		change_threshold_unreachable,
		change_no_release_key,
		change_index,
		change_two_roles,
		change_index_order,
		change_index_twice,
		change_key_twice,
		change_key_length,
		change_key_empty,
		change_version_0,
		change_floors,
		change_floor_twice,
	};
	uint8_t buf[ROOT_MAX];
	size_t len;

	(void)state;
	for (size_t i = 0; i < LEN(change); i++) {
		struct root_doc d = document(1, KEYS(0, 1, 2), 2);

		assert_err(root_payload_encode(&d, buf, sizeof buf, &len), OTA_OK);
		change[i](&d);
		if (root_payload_encode(&d, buf, sizeof buf, &len) != OTA_INVALID)
			print_error("change %zu\n", i);
		assert_err(root_payload_encode(&d, buf, sizeof buf, &len), OTA_INVALID);
	}
}

static void algorithms(void **state)
{
	static const uint8_t strange[48] = {1};
	struct root_doc d = document(1, KEYS(0), 1), back;
	struct signed_root r;
	struct cose_keyring ring;

	(void)state;
	/* A further key of an algorithm that nobody here has: carried, skipped. */
	d.key[d.n_keys] = (struct cose_key){.alg = -46, .pub = {strange, sizeof strange}};
	d.role[ROOT_ROLE_RELEASE].index[1] = (uint8_t)d.n_keys++;
	d.role[ROOT_ROLE_RELEASE].n = 2;
	make_root(&d, SIGS(0), &r);
	assert_err(root_decode_first(crypto_openssl(), r.bytes, r.len, &back), OTA_OK);
	assert_int_equal(back.n_keys, 4);
	assert_int_equal(back.key[3].alg, -46);
	root_keyring(crypto_openssl(), &back, ROOT_ROLE_RELEASE, &ring);
	assert_int_equal(ring.n, 1);
	/* A role that needs it. */
	d.role[ROOT_ROLE_RELEASE].threshold = 2;
	make_root(&d, SIGS(0), &r);
	assert_err(root_decode_first(crypto_openssl(), r.bytes, r.len, &back), OTA_ALG);
	/* Root and server keys are P-256. */
	d = document(1, KEYS(0), 1);
	d.role[ROOT_ROLE_RELEASE].index[0] = 2;
	d.role[ROOT_ROLE_SERVER].index[0] = 1;
	make_root(&d, SIGS(0), &r);
	assert_err(root_decode_first(crypto_openssl(), r.bytes, r.len, &back), OTA_ALG);
}

static void epochs(void **state)
{
	static const struct {
		uint32_t from, to;
		bool new_release_key;
		enum ota_err want;
	} rows[] = {
		{4, 4, false, OTA_OK},
		{4, 4, true, OTA_OK},
		{4, 5, true, OTA_OK},
		{4, 5, false, OTA_SIG},
		{4, 6, true, OTA_EPOCH},
		{4, 3, true, OTA_EPOCH},
		{UINT32_MAX, 0, true, OTA_EPOCH},
		{0, UINT32_MAX, true, OTA_EPOCH},
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct root_doc d = document(1, KEYS(0), 1), n = document(2, KEYS(0), 1), cur;
		struct signed_root r, r2;

		d.epoch = rows[i].from;
		n.epoch = rows[i].to;
		if (rows[i].new_release_key)
			n.key[1] = test_key(test_signer(SERVER_NEXT));
		make_root(&d, SIGS(0), &r);
		make_root(&n, SIGS(0), &r2);
		assert_err(root_decode_first(crypto_openssl(), r.bytes, r.len, &cur), OTA_OK);
		assert_err(next(r2.bytes, r2.len, &cur), rows[i].want);
	}
}

static void limits(void **state)
{
	struct root_doc d = document(1, KEYS(0, 1, 2, 3, 4), 3), back;
	uint8_t wide[2 * ROOT_MAX];
	struct signed_root r;
	size_t len;

	(void)state;
	make_root(&d, SIGS(0, 1, 2, 3, 4, 5), &r);
	assert_true(r.len <= ROOT_MAX);
	memset(wide, 0, sizeof wide);
	memcpy(wide, r.bytes, r.len);
	assert_err(root_decode_first(crypto_openssl(), wide, ROOT_MAX + 1, &back), OTA_TOO_LARGE);

	uint8_t block[COSE_SIGN1_OVERHEAD];
	struct ota_slice blocks[9], payload = {r.payload, r.payload_len};

	assert_err(root_sign(test_signer(0), payload, block, sizeof block, &len), OTA_OK);
	for (size_t i = 0; i < LEN(blocks); i++)
		blocks[i] = (struct ota_slice){block, len};
	assert_err(root_encode(payload, blocks, 8, wide, sizeof wide, &len), OTA_TOO_LARGE);
	assert_err(root_encode(payload, blocks, 9, wide, sizeof wide, &len), OTA_INVALID);
	assert_err(root_encode(payload, blocks, 0, wide, sizeof wide, &len), OTA_INVALID);
	for (size_t cap = 0; cap < r.payload_len; cap += 7)
		assert_err(root_payload_encode(&d, wide, cap, &len), OTA_NO_SPACE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rotations),
		cmocka_unit_test(round_trip),
		cmocka_unit_test(mutations),
		cmocka_unit_test(versions),
		cmocka_unit_test(refuses_to_encode),
		cmocka_unit_test(algorithms),
		cmocka_unit_test(epochs),
		cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
