#include "server/sign.h"

#include <string.h>

#include "db/board.h"
#include "db/image.h"
#include "db/rootdoc.h"

enum ota_err sign_ticket(
	struct keystore *k, const struct ticket *t, uint8_t buf[static TICKET_MAX], size_t *len)
{
	struct ota_signer *s = keystore_lend(k);
	enum ota_err err;

	if (!s)
		return OTA_BUSY;
	err = ticket_encode_signed(t, s, buf, TICKET_MAX, len);
	keystore_give_back(k, s);
	return err;
}

enum ota_err sign_next_sequence(uint32_t highest, int64_t now, uint32_t *out)
{
	int64_t next = (int64_t)highest + SIGN_SEQUENCE_STEP;

	if (now > next)
		next = now;
	/* The seven behind it are its returns'. */
	if (next > (int64_t)UINT32_MAX - SIGN_SEQUENCE_STEP)
		return OTA_LIMIT;
	*out = (uint32_t)next;
	return OTA_OK;
}

enum ota_err sign_check_sequence(uint32_t sequence, uint32_t highest, int64_t now, struct errmsg *e)
{
	int64_t base = now > (int64_t)highest ? now : (int64_t)highest;

	if (sequence <= highest)
		return errmsg_fail(e, OTA_ROLLBACK,
			"the sequence %u is not above the board's highest, %u: sign it again", sequence,
			highest);
	if ((int64_t)sequence - base > SIGN_SEQUENCE_AHEAD_S)
		return errmsg_fail(e, OTA_LIMIT,
			"the sequence %u is more than a day ahead: is the signer's clock right?", sequence);
	return OTA_OK;
}

static enum ota_err put_component(struct db *db, const struct board_component *from,
	const struct release_item *items, size_t n, struct arena *mem, struct suit_component *to,
	struct errmsg *e)
{
	if (n < 1 || n > SUIT_SLOTS_MAX)
		return errmsg_fail(e, OTA_INVALID,
			"component '%s' has %zu images: one, or one for each of %d slots", from->name, n,
			SUIT_SLOTS_MAX);
	memcpy(to->id, from->id, from->id_len);
	to->id_len = from->id_len;
	to->n_images = (uint8_t)n;
	for (size_t i = 0; i < n; i++) {
		struct image_row image;
		enum ota_err err = image_load(db, items[i].sha256, mem, &image, e);

		if (err)
			return err;
		if (n > 1 && items[i].variant[0] == '\0')
			return errmsg_fail(e, OTA_INVALID,
				"component '%s': an image for any slot beside one for a slot", from->name);
		if (image.info.size == 0 || image.info.size > UINT32_MAX)
			return errmsg_fail(
				e, OTA_SIZE, "the image of component '%s' has no usable size", from->name);
		if (from->size_max && image.info.size > from->size_max)
			return errmsg_fail(e, OTA_TOO_LARGE,
				"the image of component '%s' is larger than its slot: %llu bytes, %llu fit",
				from->name, (unsigned long long)image.info.size,
				(unsigned long long)from->size_max);
		memcpy(to->image[i].sha256, items[i].sha256, 32);
		to->image[i].size = (uint32_t)image.info.size;
	}
	return OTA_OK;
}

enum ota_err sign_manifest_of(struct db *db, int64_t release, uint32_t sequence, struct arena *mem,
	struct suit_manifest *out, struct errmsg *e)
{
	struct release_row rel;
	struct board_row board;
	struct suit_manifest m = {.sequence = sequence, .invoke = true};
	size_t at = 0;
	enum ota_err err = release_load(db, release, mem, &rel, e);

	if (!err)
		err = board_load(db, rel.board, mem, &board, e);
	if (err)
		return err;
	memcpy(m.vendor_id, board.vendor_id, sizeof(m.vendor_id));
	memcpy(m.class_id, board.class_id, sizeof(m.class_id));
	m.n_components = board.n_components;
	/* Items are ordered by component and variant. */
	for (size_t c = 0; c < board.n_components; c++) {
		size_t n = 0;

		while (at + n < rel.n_items && rel.items[at + n].component == c)
			n++;
		err = put_component(db, &board.components[c], rel.items + at, n, mem, &m.component[c], e);
		if (err)
			return err;
		at += n;
	}
	if (at != rel.n_items)
		return errmsg_fail(e, OTA_COMPONENT, "release '%s' names a component that its board has not",
			rel.version);
	*out = m;
	return OTA_OK;
}

/* The keys that may release, as the newest root has them; `*doc` holds what the ring borrows. */
static enum ota_err release_ring(struct db *db, const struct ota_crypto *c, struct arena *mem,
	struct root_doc *doc, struct cose_keyring *ring, struct errmsg *e)
{
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	struct ota_slice payload;
	struct rootdoc_row row;
	size_t n_blocks;
	enum ota_err err = rootdoc_newest(db, mem, &row, e);

	if (err)
		return err;
	/* It was verified before it was stored. */
	err = root_split(row.document, row.document_len, blocks, &n_blocks, &payload);
	if (!err)
		err = root_payload_decode(c, payload, doc);
	if (err)
		return errmsg_fail(e, OTA_CORRUPT, "the stored root %u is damaged", row.version);
	root_keyring(c, doc, ROOT_ROLE_RELEASE, ring);
	return OTA_OK;
}

enum ota_err sign_judge(struct db *db, const struct ota_crypto *c, struct ota_slice envelope,
	struct arena *mem, struct sign_verdict *out, struct errmsg *e)
{
	struct suit_envelope env;
	struct cose_keyring ring, one;
	struct root_doc doc;
	struct sign_verdict v = {0};
	enum ota_err err = release_ring(db, c, mem, &doc, &ring, e);

	if (err)
		return err;
	v.root_version = doc.version;
	err = suit_envelope_decode(c, envelope.p, envelope.len, &env);
	if (err)
		return errmsg_fail(e, err, "no envelope of this profile: %s", ota_err_text(err));
	v.is_complete = suit_envelope_verify(c, &env, &ring) == OTA_OK;
	for (size_t i = 0; i < ring.n; i++) {
		one = (struct cose_keyring){.key = {ring.key[i]}, .n = 1, .threshold = 1};
		v.n_signatures += suit_envelope_verify(c, &env, &one) == OTA_OK;
	}
	*out = v;
	return OTA_OK;
}

/* Manifest and envelope into `row`, their bytes in `mem`. */
static enum ota_err make_envelope(const struct ota_crypto *c, const struct suit_manifest *m,
	const struct ota_signer *signer, struct arena *mem, struct manifest_row *row, struct errmsg *e)
{
	uint8_t *manifest = arena_alloc(mem, SUIT_ENVELOPE_MAX),
		*envelope = arena_alloc(mem, SUIT_ENVELOPE_MAX);
	uint8_t block[OTA_SIG_LEN + COSE_SIGN1_OVERHEAD];
	struct ota_slice blocks[1] = {{block, 0}};
	enum ota_err err;

	if (!manifest || !envelope)
		return errmsg_fail(e, OTA_NO_MEMORY, "out of memory");
	err = suit_manifest_encode(m, manifest, SUIT_ENVELOPE_MAX, &row->manifest_len);
	if (err)
		return errmsg_fail(e, err, "cannot make the manifest: %s", ota_err_text(err));
	row->manifest = manifest;
	suit_manifest_digest(c, (struct ota_slice){manifest, row->manifest_len}, row->digest);
	if (signer) {
		err = suit_sign(c, signer, row->digest, block, sizeof(block), &blocks[0].len);
		if (err)
			return errmsg_fail(e, err, "the release key does not sign: %s", ota_err_text(err));
	}
	err = suit_envelope_encode(c, (struct ota_slice){manifest, row->manifest_len}, blocks, signer ? 1 : 0,
		envelope, SUIT_ENVELOPE_MAX, &row->envelope_len);
	if (err)
		return errmsg_fail(e, err, "cannot make the envelope: %s", ota_err_text(err));
	row->envelope = envelope;
	return OTA_OK;
}

enum ota_err sign_release(struct db *db, const struct ota_crypto *c, struct keystore *k, int64_t release,
	int64_t now, struct arena *mem, struct manifest_row *out, struct errmsg *e)
{
	struct manifest_row row = {
		.release = release, .kind = MANIFEST_NORMAL, .created_at = now, .signed_at = now};
	struct suit_manifest m;
	struct sign_verdict v = {0};
	struct release_row rel;
	uint32_t highest, seen = 0, sequence;
	enum ota_err err = release_load(db, release, mem, &rel, e);

	if (err)
		return err;
	if (rel.manifest && rel.is_complete)
		return manifest_load(db, rel.manifest, mem, out, e);
	err = manifest_highest(db, rel.board, &highest, e);
	/* A restored backup does not know the releases that came after it; devices that run one do. What a
	 * device says may drive the number no further than an offline signer may. */
	if (!err)
		err = manifest_seen(db, rel.board, now + SIGN_SEQUENCE_AHEAD_S, &seen, e);
	if (err)
		return err;
	if (seen > highest)
		highest = seen;
	err = sign_next_sequence(highest, now, &sequence);
	if (err)
		return errmsg_fail(
			e, err, "the board's sequence numbers are used up: make a root with a new epoch");
	err = sign_manifest_of(db, release, sequence, mem, &m, e);
	if (!err)
		err = make_envelope(c, &m, keystore_release(k), mem, &row, e);
	/* Without a signature there is nothing to judge: a draft, which no decoder takes. */
	if (!err && keystore_release(k))
		err = sign_judge(db, c, (struct ota_slice){row.envelope, row.envelope_len}, mem, &v, e);
	if (err)
		return err;
	row.sequence = sequence;
	row.n_signatures = v.n_signatures;
	row.is_complete = v.is_complete;
	row.root_version = v.root_version;
	err = manifest_insert(db, &row, &row.id, e);
	if (!err)
		*out = row;
	return err;
}
