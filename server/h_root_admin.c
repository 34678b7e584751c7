/* Root documents, the operator's side: /v1/roots. */
#include <inttypes.h>
#include <string.h>

#include "db/rootdoc.h"
#include "proto/root.h"
#include "server/api.h"
#include "server/domain.h"
#include "server/nouns.h"

static enum ota_err get_run(struct api_job *a, struct job *job)
{
	const char *n = a->req->cap.value[0];
	struct rootdoc_row row;
	int64_t version;
	enum ota_err err;

	if (strcmp(n, "latest") == 0) {
		err = rootdoc_newest(job->db, job->mem, &row, &job->e);
		if (err == OTA_NO_ROOT)
			return errmsg_fail(&job->e, OTA_NOT_FOUND, "there is no root yet: run otactl init");
	} else if (!api_number(n, 1, UINT32_MAX, &version)) {
		err = errmsg_fail(&job->e, OTA_NOT_FOUND, "a root is named by its number, or \"latest\"");
	} else {
		err = rootdoc_load(job->db, (uint32_t)version, job->mem, &row, &job->e);
		if (err == OTA_NOT_FOUND)
			errmsg_set(&job->e, "there is no root %" PRId64, version);
	}
	if (err)
		return err;
	a->content_type = "application/cbor";
	a->body = row.document;
	a->body_len = row.document_len;
	a->header.name = "X-Otad-Root";
	a->header.value = arena_printf(job->mem, "%" PRIu32, row.version);
	return OTA_OK;
}

enum h_result h_root_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, get_run, NULL);
}

static enum ota_err verify(
	struct api_job *a, struct job *job, const struct rootdoc_row *row, struct root_doc *doc)
{
	const struct ota_crypto *c = a->app->crypto;
	struct rootdoc_row newest;
	struct cose_msg blocks[ROOT_BLOCKS_MAX];
	struct ota_slice payload;
	struct root_doc cur;
	size_t n_blocks;
	enum ota_err err = rootdoc_newest(job->db, job->mem, &newest, &job->e);

	if (err == OTA_NO_ROOT) {
		if (row->version != 1)
			return errmsg_fail(&job->e, OTA_STATE, "there is no root yet: the first one is 1");
		err = root_decode_first(c, row->document, row->document_len, doc);
	} else if (err) {
		return err;
	} else if (newest.version == row->version && newest.document_len == row->document_len &&
		   memcmp(newest.document, row->document, row->document_len) == 0) {
		err = root_split(row->document, row->document_len, blocks, &n_blocks, &payload);
		return err ? err : root_payload_decode(c, payload, doc);
	} else if (row->version != newest.version + 1) {
		return errmsg_fail(&job->e, OTA_STATE,
			"the newest root is %" PRIu32 ": the next one is %" PRIu32, newest.version,
			newest.version + 1);
	} else {
		err = root_split(newest.document, newest.document_len, blocks, &n_blocks, &payload);
		if (!err)
			err = root_payload_decode(c, payload, &cur);
		if (err)
			return errmsg_fail(&job->e, OTA_CORRUPT, "the newest root here cannot be read");
		err = root_decode_next(c, &cur, row->document, row->document_len, doc);
	}
	if (err)
		return errmsg_fail(&job->e, OTA_INVALID, "this root is not accepted: %s", ota_err_text(err));
	if (doc->version != row->version)
		return errmsg_fail(&job->e, OTA_INVALID, "this is root %" PRIu32 ", not %" PRIu32,
			doc->version, row->version);
	return OTA_OK;
}

/* Without it no device would take a ticket of ours. */
static bool lists_our_key(struct api_job *a, const struct root_doc *doc)
{
	const struct ota_signer *own = keystore_server_public(a->app->domain->keys);
	struct cose_keyring ring;

	root_keyring(a->app->crypto, doc, ROOT_ROLE_SERVER, &ring);
	for (size_t i = 0; i < ring.n; i++) {
		if (ring.key[i]->pub.len == own->pub_len &&
			memcmp(ring.key[i]->pub.p, own->pub, own->pub_len) == 0)
			return true;
	}
	return false;
}

static enum ota_err put_run(struct api_job *a, struct job *job)
{
	struct rootdoc_row row = {
		.document = a->req->body,
		.document_len = a->req->body_len,
		.created_at = a->now,
		.created_by = a->req->who.name,
	};
	struct root_doc doc;
	int64_t version;
	enum ota_err err;

	if (!api_number(a->req->cap.value[0], 1, UINT32_MAX, &version))
		return errmsg_fail(&job->e, OTA_INVALID, "a root is named by its number");
	row.version = (uint32_t)version;
	ota_sha256(a->app->crypto, &(struct ota_slice){row.document, row.document_len}, 1, row.sha256);
	err = verify(a, job, &row, &doc);
	if (!err && !lists_our_key(a, &doc))
		err = errmsg_fail(
			&job->e, OTA_INVALID, "this server's key is not in the server role of that root");
	if (!err)
		err = rootdoc_insert(job->db, &row, &job->e);
	if (!err)
		err = api_audit(a, job, "root.add", a->req->cap.value[0], NULL, NULL);
	if (err)
		return err;
	a->status = 201;
	js_object(&a->out, NULL);
	js_int(&a->out, "version", version);
	js_int(&a->out, "epoch", doc.epoch);
	js_hex(&a->out, "sha256", row.sha256, sizeof(row.sha256));
	return OTA_OK;
}

enum h_result h_root_put(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, put_run, NULL);
}
