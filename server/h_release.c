/* Releases: /v1/releases. */
#include <stdio.h>
#include <string.h>

#include "db/board.h"
#include "db/image.h"
#include "db/release.h"
#include "proto/fit.h"
#include "proto/hex.h"
#include "proto/suit.h"
#include "server/api.h"
#include "server/domain.h"
#include "server/find.h"
#include "server/nouns.h"
#include "server/sign.h"
#include "server/view.h"

static enum ota_err item(void *v, const void *row)
{
	view_next(v);
	return view_release(v, row);
}

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	const char *board_name = api_query(a->req, "board");
	struct board_row board = {0};
	struct release_list list;
	AUTO(view) struct view v = {0};
	enum ota_err err = board_name ? find_board(a, job, board_name, &board) : OTA_OK;

	view_init(&v, a, job);
	if (!err)
		err = release_list(job->db, board.id, a->in, job->mem, &list, &job->e);
	return err ? err : api_items(a, API_ROWS(list), item, &v);
}

enum h_result h_release_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}

static enum ota_err answer_release(struct api_job *a, struct job *job, int64_t id)
{
	struct release_row row;
	AUTO(view) struct view v = {0};
	enum ota_err err = release_load(job->db, id, job->mem, &row, &job->e);

	if (err)
		return err;
	view_init(&v, a, job);
	js_object(&a->out, NULL);
	return view_release(&v, &row);
}

static enum ota_err get_run(struct api_job *a, struct job *job)
{
	struct release_row row;
	enum ota_err err = find_release(a, job, a->req->cap.value[0], &row);

	return err ? err : answer_release(a, job, row.id);
}

enum h_result h_release_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, get_run, NULL);
}

struct image_in {
	const char *component, *variant;
	uint8_t sha256[32];
};

struct release_in {
	const char *board, *version, *notes;
	struct js_rows images;
};

static const struct js_field image_fields[] = {
	JS_FIELD(struct image_in, component, JS_TEXT, false, 1, 8),
	JS_FIELD(struct image_in, variant, JS_TEXT, false, 0, 16),
	JS_FIELD(struct image_in, sha256, JS_HEX, true, 0, 32),
};

static const struct js_field release_fields[] = {
	JS_FIELD(struct release_in, board, JS_TEXT, true, 1, 64),
	JS_FIELD(struct release_in, version, JS_TEXT, true, 1, DB_VERSION_MAX),
	JS_FIELD(struct release_in, notes, JS_PROSE, false, 0, DB_TEXT_MAX),
	JS_ROWS_FIELD(struct release_in, images, true, 1, RELEASE_ITEMS_MAX, image_fields, struct image_in),
};

static enum ota_err component_index(
	const struct board_row *board, const char *name, uint32_t *out, struct errmsg *e)
{
	if (!name) {
		*out = 0;
		return OTA_OK;
	}
	for (size_t i = 0; i < board->n_components; i++) {
		if (strcmp(board->components[i].name, name) == 0) {
			*out = (uint32_t)i;
			return OTA_OK;
		}
	}
	return errmsg_fail(e, OTA_INVALID, "board '%s' has no component '%s'", board->name, name);
}

static struct fit_board fit_board_of(
	const struct board_row *board, struct fit_component components[BOARD_COMPONENTS_MAX])
{
	for (size_t i = 0; i < board->n_components; i++)
		components[i] = (struct fit_component){.name = board->components[i].name,
			.format = board->components[i].format,
			.size_max = board->components[i].size_max};
	return (struct fit_board){.name = board->name,
		.chip = board->chip,
		.components = components,
		.n_components = board->n_components};
}

static enum ota_err take_images(struct api_job *a, struct job *job, const struct board_row *board,
	const struct js_rows *images, struct release_row *row)
{
	const struct image_in *in = images->row;
	struct fit_component components[BOARD_COMPONENTS_MAX];
	const struct fit_board fit = fit_board_of(board, components);
	struct fit_part parts[RELEASE_ITEMS_MAX];

	for (size_t i = 0; i < images->n; i++) {
		struct release_item *item = &row->items[i];
		struct image_row image;
		char label[40], hex[65];
		enum ota_err err = component_index(board, in[i].component, &item->component, &job->e);

		hex_encode(in[i].sha256, 32, hex);
		snprintf(label, sizeof(label), "image %.12s", hex);
		memcpy(item->sha256, in[i].sha256, sizeof(item->sha256));
		if (!err)
			err = image_load(job->db, item->sha256, job->mem, &image, &job->e);
		if (err == OTA_NOT_FOUND)
			return errmsg_fail(&job->e, err, "there is no image %.12s...; upload it first", hex);
		if (!err && image.is_damaged)
			err = errmsg_fail(
				&job->e, OTA_STATE, "image %.12s... is damaged here; upload it again", hex);
		if (!err)
			err = fit_image(&fit, item->component, &image.info, label, &job->e);
		if (err == OTA_IMAGE_FORMAT)
			a->hint = arena_printf(job->mem, "see: otactl board show %s", board->name);
		/* An SDK image says itself which of the two it is; what the operator said must agree. */
		parts[i] = (struct fit_part){.component = item->component};
		if (!err)
			err = fit_variant(
				&image.info, in[i].variant ? in[i].variant : "", &parts[i].variant, &job->e);
		if (err)
			return err;
		snprintf(item->variant, sizeof(item->variant), "%s", parts[i].variant);
	}
	row->n_items = images->n;
	return fit_set(&fit, parts, images->n, &job->e);
}

static enum ota_err create_run(struct api_job *a, struct job *job)
{
	const struct release_in *in = a->in;
	struct release_row row = {
		.version = in->version,
		.notes = in->notes ? in->notes : "",
		.created_at = a->now,
		.created_by = a->req->who.name,
	};
	struct manifest_row manifest = {0};
	struct board_row board;
	bool is_new = false;
	int64_t id;
	enum ota_err err = find_board(a, job, in->board, &board);

	if (!err)
		err = take_images(a, job, &board, &in->images, &row);
	if (err)
		return err;
	row.board = board.id;
	err = release_insert(job->db, &row, &id, &is_new, &job->e);
	if (err == OTA_EXISTS) {
		a->hint = "give the new bytes another version";
		return errmsg_fail(&job->e, err, "%s:%s exists with other bytes", board.name, in->version);
	}
	/* A draft stays the manifest that somebody may be signing now, until a key here can sign another. */
	if (!err && (is_new || keystore_release(a->app->domain->keys)))
		err = sign_release(job->db, a->app->crypto, a->app->domain->keys, id, a->now, job->mem,
			&manifest, &job->e);
	if (!err && is_new)
		err = api_audit(a, job, "release.create",
			arena_printf(job->mem, "%s:%s", board.name, in->version), NULL,
			api_facts(job->mem, "state", manifest.is_complete ? "signed" : "draft", NULL));
	if (err)
		return err;
	a->status = is_new ? 201 : 200;
	return answer_release(a, job, id);
}

enum h_result h_release_create(struct req *req, struct res *res)
{
	struct release_in *in = arena_alloc(req->mem, sizeof(*in));
	struct errmsg e = {""};
	enum h_result answer;

	(void)res;
	if (!in)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (!api_body(req, release_fields, sizeof(release_fields) / sizeof(release_fields[0]), in, &answer))
		return answer;
	if (!limit_version_is_valid(in->version)) {
		errmsg_set(&e,
			"'%s' is no version: printable ASCII without space, '/', ',', '=', quotes or '\\'",
			in->version);
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	}
	return api_store(req, create_run, in);
}

static enum ota_err delete_run(struct api_job *a, struct job *job)
{
	struct release_row row;
	const char *id;
	AUTO(view) struct view v = {0};
	enum ota_err err = find_release(a, job, a->req->cap.value[0], &row);

	view_init(&v, a, job);
	if (!err)
		err = view_release_id(&v, row.board, row.version, &id);
	if (err)
		return err;
	err = release_delete(job->db, row.id, &job->e);
	if (err == OTA_STATE) {
		a->hint = "what frees its disk: otactl release retire";
		return errmsg_fail(
			&job->e, err, "%s was assigned or is running somewhere; it stays as history", id);
	}
	if (!err)
		err = api_audit(a, job, "release.delete", id, NULL, NULL);
	a->status = 204;
	return err;
}

enum h_result h_release_delete(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, delete_run, NULL);
}

static enum ota_err retire_run(struct api_job *a, struct job *job)
{
	struct release_row row;
	const char *id;
	bool installed = false;
	AUTO(view) struct view v = {0};
	enum ota_err err = find_release(a, job, a->req->cap.value[0], &row);

	view_init(&v, a, job);
	if (!err)
		err = view_release_id(&v, row.board, row.version, &id);
	if (!err && !row.retired_at)
		err = release_is_installed(job->db, row.id, &installed, &job->e);
	if (err)
		return err;
	if (row.retired_at)
		return answer_release(a, job, row.id);
	if (installed)
		return errmsg_fail(
			&job->e, OTA_STATE, "a device runs %s, or has it as what it reverts to", id);
	err = release_retire(job->db, row.id, a->now, &job->e);
	if (err == OTA_STATE) {
		a->hint = "cancel that push first: otactl cancel";
		return errmsg_fail(&job->e, err, "devices are still to install %s", id);
	}
	if (!err)
		err = api_audit(a, job, "release.retire", id, NULL, NULL);
	return err ? err : answer_release(a, job, row.id);
}

enum h_result h_release_retire(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, retire_run, NULL);
}

static enum ota_err envelope_run(struct api_job *a, struct job *job)
{
	struct manifest_row manifest;
	struct release_row row;
	enum ota_err err = find_release(a, job, a->req->cap.value[0], &row);

	if (!err && !row.manifest)
		return errmsg_fail(&job->e, OTA_NOT_FOUND, "this release has no manifest yet");
	if (!err)
		err = manifest_load(job->db, row.manifest, job->mem, &manifest, &job->e);
	if (err)
		return err;
	a->content_type = "application/cbor";
	a->body = manifest.envelope;
	a->body_len = manifest.envelope_len;
	return OTA_OK;
}

enum h_result h_release_envelope_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, envelope_run, NULL);
}

/* Is that manifest the one this release would have at its sequence? The text digest is the signer's. */
static enum ota_err manifest_is_of(
	struct job *job, const struct release_row *row, const struct suit_manifest *m, struct ota_slice bytes)
{
	uint8_t buf[SUIT_ENVELOPE_MAX];
	struct suit_manifest want;
	size_t len;
	enum ota_err err = sign_manifest_of(job->db, row->id, m->sequence, job->mem, &want, &job->e);

	if (err)
		return err;
	want.has_text_digest = m->has_text_digest;
	memcpy(want.text_sha256, m->text_sha256, sizeof(want.text_sha256));
	want.invoke = m->invoke;
	err = suit_manifest_encode(&want, buf, sizeof(buf), &len);
	if (err)
		return errmsg_fail(
			&job->e, err, "cannot make this release's manifest: %s", ota_err_text(err));
	if (len != bytes.len || memcmp(buf, bytes.p, len) != 0)
		return errmsg_fail(&job->e, OTA_INVALID,
			"the manifest is not of this release: other images, components or another board");
	return OTA_OK;
}

static enum ota_err store_envelope(struct api_job *a, struct job *job, const struct release_row *row,
	const struct suit_manifest *m, const struct manifest_row *new)
{
	struct manifest_row old;
	uint32_t highest;
	int64_t id;
	enum ota_err err = manifest_load_digest(job->db, new->digest, job->mem, &old, &job->e);

	if (!err && old.n_signatures > new->n_signatures)
		return errmsg_fail(&job->e, OTA_STATE, "the envelope that is here has more valid signatures");
	if (!err)
		return manifest_set_envelope(job->db, old.id, new, a->now, &job->e);
	if (err != OTA_NOT_FOUND)
		return err;
	err = manifest_highest(job->db, row->board, &highest, &job->e);
	if (!err)
		err = sign_check_sequence(m->sequence, highest, a->now, &job->e);
	return err ? err : manifest_insert(job->db, new, &id, &job->e);
}

static enum ota_err envelope_put_run(struct api_job *a, struct job *job)
{
	const struct ota_slice envelope = {a->req->body, a->req->body_len};
	struct suit_envelope decoded;
	struct suit_manifest m;
	struct sign_verdict verdict;
	struct release_row row;
	struct manifest_row new = {.kind = MANIFEST_NORMAL, .created_at = a->now, .signed_at = a->now};
	enum ota_err err = find_release(a, job, a->req->cap.value[0], &row);

	if (err)
		return err;
	err = suit_envelope_decode(a->app->crypto, envelope.p, envelope.len, &decoded);
	if (!err)
		err = suit_manifest_decode(decoded.manifest, &m);
	if (err)
		return errmsg_fail(
			&job->e, OTA_INVALID, "this is no envelope of a release: %s", ota_err_text(err));
	err = sign_judge(job->db, a->app->crypto, envelope, job->mem, &verdict, &job->e);
	if (!err && verdict.n_signatures == 0)
		err = errmsg_fail(&job->e, OTA_SIG, "no key of the release role has signed this");
	if (!err)
		err = manifest_is_of(job, &row, &m, decoded.manifest);
	if (err)
		return err;
	new.release = row.id;
	new.sequence = m.sequence;
	memcpy(new.digest, decoded.digest, sizeof(new.digest));
	new.manifest = decoded.manifest.p;
	new.manifest_len = decoded.manifest.len;
	new.envelope = envelope.p;
	new.envelope_len = envelope.len;
	new.n_signatures = verdict.n_signatures;
	new.is_complete = verdict.is_complete;
	new.root_version = verdict.root_version;
	err = store_envelope(a, job, &row, &m, &new);
	if (!err)
		err = api_audit(a, job, "release.sign", a->req->cap.value[0], NULL,
			api_facts(job->mem, "state", verdict.is_complete ? "signed" : "draft", NULL));
	return err ? err : answer_release(a, job, row.id);
}

enum h_result h_release_envelope_put(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, envelope_put_run, NULL);
}
