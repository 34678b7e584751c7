#include "server/h_device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/release.h"
#include "db/rootdoc.h"
#include "proto/hex.h"
#include "server/domain.h"

struct read_job {
	uint8_t digest[32];
	uint32_t version;
	const void *bytes; /* NULL: there is none */
	size_t len;
};

static enum h_result send_bytes(struct req *req, struct res *res, struct job *job)
{
	const struct read_job *j = job->ctx;

	if (job->err)
		return res_error(req, job->err, &job->e);
	if (!j->bytes)
		return res_empty(res, 404);
	return res_body(res, 200, "application/cbor", j->bytes, j->len);
}

static enum ota_err read_envelope(struct job *job)
{
	struct read_job *j = job->ctx;
	struct manifest_row row;
	enum ota_err err = manifest_load_digest(job->db, j->digest, job->mem, &row, &job->e);

	/* A draft is nobody's business: no ticket names it. */
	if (err == OTA_NOT_FOUND || (!err && !row.is_complete))
		return OTA_OK;
	if (err)
		return err;
	j->bytes = row.envelope;
	j->len = row.envelope_len;
	return OTA_OK;
}

enum h_result h_device_envelope(struct req *req, struct res *res)
{
	struct read_job *j = arena_alloc(req->mem, sizeof(*j));

	if (!j)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (hex_decode(req->cap.value[0], strlen(req->cap.value[0]), HEX_LOWER, j->digest, sizeof(j->digest)))
		return res_empty(res, 404);
	return req_job(req, JOB_READ, read_envelope, j, send_bytes);
}

static enum ota_err read_root(struct job *job)
{
	struct read_job *j = job->ctx;
	struct rootdoc_row row;
	enum ota_err err = rootdoc_load(job->db, j->version, job->mem, &row, &job->e);

	if (err == OTA_NOT_FOUND)
		return OTA_OK;
	if (err)
		return err;
	j->bytes = row.document;
	j->len = row.document_len;
	return OTA_OK;
}

/* A decimal version without sign, zeros in front or anything behind. */
static bool parse_version(const char *text, uint32_t *out)
{
	uint64_t v = 0;

	if (*text < '1' || *text > '9' || strlen(text) > 10)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = v * 10 + (uint64_t)(*text - '0');
	}
	if (v > UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

enum h_result h_device_root(struct req *req, struct res *res)
{
	const struct domain_root *root = &req->app->domain->root;
	struct read_job *j = arena_alloc(req->mem, sizeof(*j));

	if (!j)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (!parse_version(req->cap.value[0], &j->version) || j->version > root->version)
		return res_empty(res, 404);
	/* The newest is what nearly everybody asks for. */
	if (j->version == root->version) {
		void *copy = arena_dup(req->mem, root->bytes, root->len);

		return copy ? res_body(res, 200, "application/cbor", copy, root->len)
			    : res_error(req, OTA_NO_MEMORY, NULL);
	}
	return req_job(req, JOB_READ, read_root, j, send_bytes);
}
