/* Images: /v1/images. Their bytes come in here and go out at /i/. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "db/image.h"
#include "proto/cleanup.h"
#include "proto/hex.h"
#include "proto/image_host.h"
#include "server/actor.h"
#include "server/api.h"
#include "server/openblob.h"
#include "server/nouns.h"
#include "server/trash.h"

static const char *variant_name(const struct image_info *info)
{
	return info->variant == 1 ? "user1" : info->variant == 2 ? "user2" : "";
}

static void image_json(struct js_out *o, const struct image_row *row)
{
	const struct image_info *info = &row->info;
	char words[256];

	js_hex(o, "sha256", row->sha256, sizeof(row->sha256));
	js_int(o, "size", (int64_t)info->size);
	js_text(o, "format", image_format_name(info->format));
	js_text(o, "chip", info->chip);
	js_text(o, "version", info->version);
	js_text(o, "project", info->project);
	js_text(o, "built", info->built);
	js_text(o, "sdk", info->sdk);
	js_text(o, "variant", variant_name(info));
	js_hex(o, "md5", row->digests.md5, sizeof(row->digests.md5));
	if (info->has_elf_sha256)
		js_hex(o, "elf_sha256", info->elf_sha256, sizeof(info->elf_sha256));
	else
		js_null(o, "elf_sha256");
	image_describe(info, words, sizeof(words));
	js_text(o, "describe", words);
	js_int(o, "created", row->created_at);
	actor_json(o, "by", row->created_by);
	js_bool(o, "damaged", row->is_damaged);
}

static enum ota_err item(void *out, const void *row)
{
	image_json(out, row);
	return OTA_OK;
}

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	struct image_list list;
	enum ota_err err = image_list(job->db, a->in, job->mem, &list, &job->e);

	return err ? err : api_items(a, API_ROWS(list), item, &a->out);
}

enum h_result h_image_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}

static enum ota_err image_named(struct api_job *a, struct job *job, struct image_row *out)
{
	const char *name = a->req->cap.value[0];
	uint8_t sha256[32];
	enum ota_err err = api_sha256(name, sha256, &job->e);

	if (!err)
		err = image_load(job->db, sha256, job->mem, out, &job->e);
	return err == OTA_NOT_FOUND ? errmsg_fail(&job->e, err, "there is no image %.12s...", name) : err;
}

static enum ota_err get_run(struct api_job *a, struct job *job)
{
	struct image_row row;
	enum ota_err err = image_named(a, job, &row);

	if (err)
		return err;
	js_object(&a->out, NULL);
	image_json(&a->out, &row);
	return OTA_OK;
}

enum h_result h_image_get(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, get_run, NULL);
}

/* Where an upload of it would go on. A damaged image has to come again from its start. */
static enum ota_err head_run(struct api_job *a, struct job *job)
{
	struct image_row row;
	uint64_t size = 0;
	enum ota_err err = image_named(a, job, &row);

	if (err == OTA_NOT_FOUND) {
		uint8_t sha256[32];

		err = api_sha256(a->req->cap.value[0], sha256, &job->e);
		if (!err)
			err = blob_part_stat(a->app->blobs, sha256, &size, &job->e);
		if (err)
			return err;
		a->status = 204;
		a->header.name = "Upload-Offset";
		a->header.value = arena_printf(job->mem, "%" PRIu64, size);
		return a->header.value ? OTA_OK : OTA_NO_MEMORY;
	}
	if (!err && row.is_damaged)
		return errmsg_fail(&job->e, OTA_NOT_FOUND, "the image is damaged; upload it again");
	if (!err) {
		js_object(&a->out, NULL);
		image_json(&a->out, &row);
	}
	return err;
}

enum h_result h_image_head(struct req *req, struct res *res)
{
	(void)res;
	return api_read_job(req, head_run, NULL);
}

static void image_gone(struct api_job *a)
{
	trash_blobs(a->app, a->after_ctx);
}

static enum ota_err delete_run(struct api_job *a, struct job *job)
{
	struct gc_list *gone = arena_alloc(job->mem, sizeof(*gone));
	struct image_row row;
	enum ota_err err = image_named(a, job, &row);

	if (err)
		return err;
	if (gone)
		gone->sha256 = arena_dup(job->mem, row.sha256, sizeof(row.sha256));
	if (!gone || !gone->sha256)
		return errmsg_fail(&job->e, OTA_NO_MEMORY, "out of memory");
	gone->n = 1;
	err = image_delete(job->db, row.sha256, &job->e);
	if (err == OTA_STATE)
		return errmsg_fail(&job->e, err, "a release uses image %.12s...", a->req->cap.value[0]);
	if (!err)
		err = api_audit(a, job, "image.delete", a->req->cap.value[0], NULL, NULL);
	a->after = image_gone;
	a->after_ctx = gone;
	a->status = 204;
	return err;
}

enum h_result h_image_delete(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, delete_run, NULL);
}

/* Upload: begin (worker), bytes (worker), finish and recognise (worker), row (store). */
struct upload_in {
	struct app *app;
	uint8_t sha256[32];
	uint64_t offset;
	uint64_t size_max;  /* the setting, as it was when the request came */
	uint64_t announced; /* bytes that are to come; 0: not said */
	bool is_there;      /* sound already: nothing is taken */
	uint64_t at;        /* where it would go on */
	struct blob_writer *writer;
	struct image_row row;
	char hint[sizeof(((struct image_info *)0)->hint)];
};

static enum ota_err begin_run(struct job *job)
{
	struct upload_in *in = job->ctx;
	enum ota_err err = image_load(job->db, in->sha256, job->mem, &in->row, &job->e);

	if (!err && !in->row.is_damaged) {
		in->is_there = true;
		return OTA_OK;
	}
	if (err && err != OTA_NOT_FOUND)
		return err;
	/* What is not going to fit is refused before its first byte. */
	err = blob_space(in->app->blobs, in->announced, &job->e);
	if (err)
		return err;
	return blob_begin(
		in->app->blobs, in->sha256, in->offset, in->size_max, &in->writer, &in->at, &job->e);
}

static enum ota_err upload_write(void *ctx, const uint8_t *bytes, size_t len, struct errmsg *e)
{
	struct upload_in *in = ctx;

	return blob_write(in->writer, bytes, len, e);
}

static enum ota_err suspend_run(struct job *job)
{
	struct upload_in *in = job->ctx;

	blob_suspend(in->writer);
	in->writer = NULL;
	return OTA_OK;
}

static enum h_result suspend_done(struct req *req, struct res *res, struct job *job)
{
	(void)res;
	(void)job;
	return api_fail(req, res_status_of(req->upload_err), req->upload_err, &req->upload_e, NULL);
}

enum { INFLATE_LEAST = 1024 * 1024 };

/* No board boots a UF2 file from its flash. otactl sends the image that it makes of one. */
static enum ota_err recognise_flashable(const struct image_source *src, struct image_info *info)
{
	enum ota_err err = image_recognise(src, info);

	return err == OTA_OK && info->format == IMAGE_UF2 ? OTA_UNSUPPORTED : err;
}

/* What is inside of a compressed image; its own facts stay where they are about the file. */
static enum ota_err recognise_inner(
	const struct upload_in *in, const struct image_source *src, struct image_info *info, struct errmsg *e)
{
	AUTO(fd) int fd = open(in->app->cfg->data, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct image_info inner;
	struct image_file file = {.fd = -1};
	uint64_t size, room = in->size_max;
	enum ota_err err;

	if (fd < 0)
		return errmsg_fail(e, OTA_IO, "cannot make a temporary file to look into the image");
	/* The reserve is not this file's either. */
	while (room > INFLATE_LEAST && blob_space(in->app->blobs, room, NULL))
		room /= 2;
	err = image_inflate(src, info, room, fd, &size);
	if (err == OTA_TOO_LARGE && room < in->size_max)
		return errmsg_fail(e, OTA_NO_SPACE, "no room on the disk to look into the image");
	if (!err)
		err = image_file_from_fd(fd, &file);
	if (err)
		return errmsg_fail(e, err == OTA_IO ? OTA_IO : OTA_INVALID, "cannot inflate the image: %s",
			ota_err_text(err));
	file.source.crypto = in->app->crypto;
	file.source.md5 = image_md5_openssl();
	err = recognise_flashable(&file.source, &inner);
	image_file_close(&file);
	if (err == OTA_OK) {
		inner.format = info->format;
		inner.size = info->size;
		inner.image_size = info->image_size;
		inner.checks = info->checks;
		inner.trailer = info->trailer;
	}
	if (err != OTA_IO)
		*info = inner;
	return err;
}

static enum ota_err refuse(struct upload_in *in, enum ota_err err, struct errmsg *e)
{
	const struct image_info *info = &in->row.info;

	if (err == OTA_NO_SPACE)
		return err;
	if (err == OTA_IO || err == OTA_NO_MEMORY)
		return errmsg_fail(e, err, "cannot read the image back: %s", ota_err_text(err));
	/* The bytes have no row, and with the same bytes never will: nobody else can be using this blob. */
	if (blob_unlink(in->app->blobs, in->sha256, NULL, NULL))
		return errmsg_fail(e, OTA_IO, "cannot remove a refused image");
	if (err == OTA_UNSUPPORTED) {
		memcpy(in->hint, info->hint, sizeof(in->hint));
		return errmsg_fail(e, OTA_UNSUPPORTED, "this file is not to be installed (%s)",
			image_format_name(info->format));
	}
	return errmsg_fail(e, OTA_INVALID, "this %s image is damaged: %s", image_format_name(info->format),
		*info->hint ? info->hint : ota_err_text(err));
}

static enum ota_err recognise(struct upload_in *in, struct errmsg *e)
{
	AUTO(fd) int fd = -1;
	struct image_file file = {.fd = -1};
	struct image_info *info = &in->row.info;
	enum ota_err err = blob_open(in->app->blobs, in->sha256, &fd, NULL, e);

	if (!err)
		err = image_file_from_fd(fd, &file);
	if (err)
		return err;
	file.source.crypto = in->app->crypto;
	file.source.md5 = image_md5_openssl();
	err = recognise_flashable(&file.source, info);
	if (!err && info->format == IMAGE_GZIP)
		err = recognise_inner(in, &file.source, info, e);
	if (err)
		err = refuse(in, err, e);
	else
		err = image_digest(&file.source, info, &in->row.digests);
	image_file_close(&file);
	return err;
}

static enum ota_err finish_run(struct job *job)
{
	struct upload_in *in = job->ctx;
	uint64_t size;
	enum ota_err err = blob_finish(in->writer, &size, &job->e);

	in->writer = NULL;
	if (err == OTA_DIGEST)
		return errmsg_fail(
			&job->e, OTA_INVALID, "these are other bytes than the SHA-256 in the address names");
	return err ? err : recognise(in, &job->e);
}

static void image_sound(struct api_job *a)
{
	const struct upload_in *in = a->in;

	if (a->app->blobs_open)
		blob_table_drop(a->app->blobs_open, in->sha256);
}

static enum ota_err insert_run(struct api_job *a, struct job *job)
{
	struct upload_in *in = a->in;
	struct image_row *row = &in->row;
	enum ota_err err;

	memcpy(row->sha256, in->sha256, sizeof(row->sha256));
	row->is_damaged = false;
	row->created_at = a->now;
	row->created_by = a->req->who.name;
	err = image_insert(job->db, a->app->blobs, row, &row->id, &job->e);
	if (!err)
		err = api_audit(a, job, "image.upload", a->req->cap.value[0], NULL,
			api_facts(job->mem, "format", image_format_name(row->info.format), "chip",
				row->info.chip, "version", row->info.version, NULL));
	if (err)
		return err;
	a->after = image_sound;
	a->status = 201;
	js_object(&a->out, NULL);
	image_json(&a->out, row);
	return OTA_OK;
}

static enum h_result finish_done(struct req *req, struct res *res, struct job *job)
{
	struct upload_in *in = job->ctx;

	(void)res;
	if (job->err)
		return api_fail(req, res_status_of(job->err), job->err, &job->e, *in->hint ? in->hint : NULL);
	return api_store(req, insert_run, in);
}

static enum h_result upload_end(struct req *req, struct res *res)
{
	struct upload_in *in = req->ctx;
	enum h_result result;

	(void)res;
	if (req->upload_err)
		result = req_job(req, JOB_SLOW, suspend_run, in, suspend_done);
	else
		result = req_job(req, JOB_SLOW, finish_run, in, finish_done);
	/* No memory for a job: the upload must not stay taken until the next start. */
	if (result == H_DONE && in->writer) {
		blob_suspend(in->writer);
		in->writer = NULL;
	}
	return result;
}

/* The bytes are here already; the client is heard out, or it would see a broken connection instead of the
 * answer. */
static enum ota_err upload_ignore(void *ctx, const uint8_t *bytes, size_t len, struct errmsg *e)
{
	(void)ctx;
	(void)bytes;
	(void)len;
	(void)e;
	return OTA_OK;
}

static enum h_result answer_known(struct req *req, struct res *res)
{
	const struct upload_in *in = req->ctx;
	struct js_out o;

	(void)res;
	js_init(&o, req->mem);
	js_object(&o, NULL);
	image_json(&o, &in->row);
	return js_answer(req, 200, &o);
}

static enum h_result begin_done(struct req *req, struct res *res, struct job *job)
{
	struct upload_in *in = job->ctx;

	if (job->err == OTA_CONFLICT) {
		const char *at = arena_printf(req->mem, "%" PRIu64, in->at);

		if (at)
			res_header(res, "Upload-Offset", at);
		return api_fail(req, 409, job->err, &job->e, NULL);
	}
	if (job->err)
		return api_fail(req, res_status_of(job->err), job->err, &job->e, NULL);
	req->ctx = in;
	if (in->is_there)
		return req_upload(req, &(struct upload_sink){.write = upload_ignore}, answer_known);
	return req_upload(req, &(struct upload_sink){.write = upload_write, .ctx = in}, upload_end);
}

enum h_result h_image_put(struct req *req, struct res *res)
{
	const char *offset = req_header(req, "Upload-Offset");
	struct upload_in *in = arena_alloc(req->mem, sizeof(*in));
	struct errmsg e = {""};
	int64_t at = 0;

	(void)res;
	if (!in)
		return res_error(req, OTA_NO_MEMORY, NULL);
	if (api_sha256(req->cap.value[0], in->sha256, &e))
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	if (offset && !api_number(offset, 0, INT64_MAX, &at)) {
		errmsg_set(&e, "Upload-Offset must be a whole number");
		return api_fail(req, 400, OTA_INVALID, &e, NULL);
	}
	if (at > req->app->cfg->max_image || req->content_length > req->app->cfg->max_image - at) {
		errmsg_set(&e, "an image has at most %" PRId64 " bytes here (max-image)",
			req->app->cfg->max_image);
		return api_fail(req, 413, OTA_TOO_LARGE, &e, NULL);
	}
	in->app = req->app;
	in->size_max = (uint64_t)req->app->cfg->max_image;
	in->offset = (uint64_t)at;
	in->announced = req->content_length > 0 ? (uint64_t)req->content_length : 0;
	return req_job(req, JOB_SLOW, begin_run, in, begin_done);
}
