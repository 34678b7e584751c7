/* Enrollment secrets and provisioning: /v1/enroll-secrets, /v1/provisions. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "db/device.h"
#include "db/enroll.h"
#include "db/rootdoc.h"
#include "proto/crypto_openssl.h"
#include "proto/hex.h"
#include "proto/provision.h"
#include "server/actor.h"
#include "server/api.h"
#include "server/domain.h"
#include "server/find.h"
#include "server/nouns.h"
#include "server/urls.h"
#include "server/view.h"

static enum ota_err secret_json(struct view *v, const struct secret_row *row)
{
	struct js_out *o = &v->a->out;
	struct view_board board;
	enum ota_err err = view_board(v, row->board, &board);

	if (err)
		return err;
	js_hex(o, "id", row->secret_id, sizeof(row->secret_id));
	js_text(o, "board", board.name);
	js_int(o, "uses", row->uses_max);
	js_int(o, "uses_left", row->uses < row->uses_max ? row->uses_max - row->uses : 0);
	js_time(o, "expires", row->expires_at);
	js_bool(o, "approve", row->is_approving);
	js_text(o, "name", row->name);
	if (row->serial)
		js_textn(o, "serial", (const char *)row->serial, row->serial_len);
	else
		js_null(o, "serial");
	js_int(o, "created", row->created_at);
	actor_json(o, "by", row->created_by);
	js_time(o, "revoked", row->revoked_at);
	return OTA_OK;
}

static enum ota_err item(void *v, const void *row)
{
	view_next(v);
	return secret_json(v, row);
}

static enum ota_err list_run(struct api_job *a, struct job *job)
{
	struct secret_list list;
	AUTO(view) struct view v = {0};
	enum ota_err err = secret_list(job->db, a->in, job->mem, &list, &job->e);

	view_init(&v, a, job);
	return err ? err : api_items(a, API_ROWS(list), item, &v);
}

enum h_result h_secret_list(struct req *req, struct res *res)
{
	(void)res;
	return api_list(req, list_run);
}

struct secret_in {
	const char *board, *name, *serial;
	int64_t uses, expires_s;
	int approve; /* -1: not said */
	int replace; /* provisions: an unused secret of that name is revoked first */
	bool has_random_serial;
	struct secret_row row;
	struct url_list urls; /* provisions */
	const char *broker_url, *broker_user, *broker_password, *broker_prefix;
};

static const struct js_field secret_fields[] = {
	JS_FIELD(struct secret_in, board, JS_TEXT, true, 1, 64),
	JS_FIELD(struct secret_in, name, JS_TEXT, false, 1, DB_NAME_MAX),
	JS_FIELD(struct secret_in, serial, JS_TEXT, false, 1, SERIAL_MAX),
	JS_FIELD(struct secret_in, uses, JS_INT, false, 1, 1000000),
	JS_FIELD(struct secret_in, expires_s, JS_INT, false, 60, (int64_t)10 * 366 * 86400),
	JS_FIELD(struct secret_in, approve, JS_BOOL, false, 0, 0),
};

static const struct js_field provision_fields[] = {
	JS_FIELD(struct secret_in, board, JS_TEXT, true, 1, 64),
	JS_FIELD(struct secret_in, name, JS_TEXT, false, 1, DB_NAME_MAX),
	JS_FIELD(struct secret_in, serial, JS_TEXT, false, 1, SERIAL_MAX),
	JS_FIELD(struct secret_in, uses, JS_INT, false, 1, 1000000),
	JS_FIELD(struct secret_in, expires_s, JS_INT, false, 60, (int64_t)10 * 366 * 86400),
	JS_FIELD(struct secret_in, approve, JS_BOOL, false, 0, 0),
	JS_FIELD(struct secret_in, replace, JS_BOOL, false, 0, 0),
};

/* Revoke what holds the name and was never used: its file is lost. The serial goes over, since it may stand
 * on the device. Nothing there: OTA_OK, and not found. */
static enum ota_err revoke_lost(struct api_job *a, struct job *job, struct secret_in *in, bool *found)
{
	struct secret_list list;
	enum ota_err err = secret_list_unused(
		job->db, in->name, &(struct db_page){.limit = DB_PAGE_MAX}, job->mem, &list, &job->e);

	for (size_t i = 0; !err && i < list.n; i++) {
		const struct secret_row *s = &list.rows[i];
		char id[2 * SECRET_ID_LEN + 1];

		*found = true;
		err = secret_revoke(job->db, s->secret_id, a->now, &job->e);
		hex_encode(s->secret_id, SECRET_ID_LEN, id);
		if (!err)
			err = api_audit(a, job, "enroll.revoke", id, NULL, NULL);
		if (in->has_random_serial && s->serial)
			in->serial = arena_strndup(job->mem, (const char *)s->serial, s->serial_len);
		if (!err && !in->serial)
			err = errmsg_fail(&job->e, OTA_NO_MEMORY, "out of memory");
	}
	return err;
}

static enum ota_err insert_secret(
	struct api_job *a, struct job *job, struct board_row *board, const char *action)
{
	struct secret_in *in = a->in;
	struct secret_row *row = &in->row;
	char id[2 * SECRET_ID_LEN + 1], uses[24];
	bool found = false;
	enum ota_err err = find_board(a, job, in->board, board);

	if (!err && in->replace)
		err = revoke_lost(a, job, in, &found);
	if (err)
		return err;
	row->board = board->id;
	row->note = "";
	row->name = in->name ? in->name : "";
	row->serial = (const uint8_t *)in->serial;
	row->serial_len = in->serial ? strlen(in->serial) : 0;
	row->uses_max = (uint32_t)in->uses;
	row->is_approving = in->approve == 1;
	row->created_at = a->now;
	row->created_by = a->req->who.name;
	row->expires_at = in->expires_s ? a->now + in->expires_s : 0;
	err = secret_insert(job->db, row, &row->id, &job->e);
	if (err == OTA_EXISTS) {
		a->hint = in->replace ? "a device has it. Its flash is lost: otactl provision --device NAME, "
					"then device "
					"approve. It is gone: provision another name, then device replace"
				      : "a device has it, or a provisioning file that is not used yet: "
					"otactl enroll "
					"list; a lost file: otactl provision --replace";
		return errmsg_fail(&job->e, err, "the name '%s' is taken", row->name);
	}
	if (err == OTA_STATE)
		a->hint = "boards of one vendor share their serials: a serial that says which board, or a "
			  "board "
			  "with a vendor of its own";
	/* A name that is mistyped would else be a new device, and the lost file's secret go on. */
	if (!err && in->replace && !found) {
		a->hint = "what waits: otactl enroll list; a new device needs no --replace";
		return errmsg_fail(
			&job->e, OTA_NOT_FOUND, "no unused provisioning file is named '%s'", row->name);
	}
	hex_encode(row->secret_id, SECRET_ID_LEN, id);
	snprintf(uses, sizeof(uses), "%u", row->uses_max);
	return err ? err
		   : api_audit(a, job, action, id, NULL,
			     api_facts(job->mem, "board", board->name, "uses", uses, "approve",
				     row->is_approving ? "true" : "false", "name", row->name, "serial",
				     in->serial, NULL));
}

static void secret_of(const struct api_job *a, const struct secret_row *row, uint8_t secret[SECRET_LEN])
{
	keys_enroll_secret(a->app->crypto, keystore_enroll(a->app->domain->keys), row->secret_id, secret);
}

static enum ota_err create_run(struct api_job *a, struct job *job)
{
	struct secret_in *in = a->in;
	uint8_t secret[SECRET_LEN];
	struct board_row board;
	AUTO(view) struct view v = {0};
	enum ota_err err = insert_secret(a, job, &board, "enroll.create");

	if (err)
		return err;
	view_init(&v, a, job);
	a->status = 201;
	a->is_not_followed = true;
	js_object(&a->out, NULL);
	err = secret_json(&v, &in->row);
	secret_of(a, &in->row, secret);
	js_hex(&a->out, "secret", secret, sizeof(secret));
	ota_wipe(secret, sizeof(secret));
	return err;
}

/* Both kinds begin alike: a body, its checks, a fresh id. NULL: `*answer` says why. */
static struct secret_in *secret_body(
	struct req *req, const struct js_field *fields, size_t n_fields, enum h_result *answer)
{
	struct secret_in *in = arena_alloc(req->mem, sizeof(*in));
	struct errmsg e = {""};

	if (!in) {
		*answer = res_error(req, OTA_NO_MEMORY, NULL);
		return NULL;
	}
	in->uses = 1;
	in->approve = -1;
	if (!api_body(req, fields, n_fields, in, answer))
		return NULL;
	if (in->name && find_name_is_good(in->name, &e)) {
		/* it said why */
	} else if ((in->name || in->serial) && in->uses != 1) {
		errmsg_set(&e, "a secret for one device, with a name or serial, has one use");
	} else if (in->replace && !in->name) {
		errmsg_set(&e, "replace needs the name whose file is lost");
	} else if (crypto_random(in->row.secret_id, sizeof(in->row.secret_id))) {
		*answer = res_error(req, OTA_IO, NULL);
		return NULL;
	} else {
		return in;
	}
	*answer = api_fail(req, 400, OTA_INVALID, &e, NULL);
	return NULL;
}

enum h_result h_secret_create(struct req *req, struct res *res)
{
	enum h_result answer = H_DONE;
	struct secret_in *in = secret_body(
		req, secret_fields, sizeof(secret_fields) / sizeof(secret_fields[0]), &answer);

	(void)res;
	return in ? api_store(req, create_run, in) : answer;
}

static enum ota_err revoke_run(struct api_job *a, struct job *job)
{
	const char *text = a->req->cap.value[0];
	uint8_t id[SECRET_ID_LEN];
	enum ota_err err = hex_decode(text, strlen(text), HEX_ANY, id, sizeof(id)) ? OTA_NOT_FOUND : OTA_OK;

	if (!err)
		err = secret_revoke(job->db, id, a->now, &job->e);
	if (err == OTA_NOT_FOUND)
		return errmsg_fail(&job->e, err, "there is no enrollment secret '%.64s'", text);
	if (!err)
		err = api_audit(a, job, "enroll.revoke", text, NULL, NULL);
	a->status = 204;
	a->is_not_followed = true;
	return err;
}

enum h_result h_secret_revoke(struct req *req, struct res *res)
{
	(void)res;
	return api_store(req, revoke_run, NULL);
}

static void base64_json(struct js_out *o, const char *key, const uint8_t *bytes, size_t len)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[(ROOT_MAX + 2) / 3 * 4 + 1];
	size_t n = 0;

	for (size_t i = 0; i < len && i < ROOT_MAX; i += 3) {
		size_t left = len - i;
		uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
				 (left > 2 ? (uint32_t)bytes[i + 2] : 0);

		for (size_t k = 0; k < 4; k++)
			text[n++] = k <= left ? alphabet[three >> (18 - 6 * k) & 63] : '=';
	}
	js_textn(o, key, text, n);
}

static void broker_json(struct js_out *o, const struct secret_in *in)
{
	if (!in->broker_url) {
		js_null(o, "broker");
		return;
	}
	js_object(o, "broker");
	js_text(o, "url", in->broker_url);
	js_text(o, "user", in->broker_user);
	js_text(o, "password", in->broker_password);
	js_text(o, "prefix", in->broker_prefix);
	js_end(o);
}

/* A serial makes a device: one that is another device's name is a guess that would make a second one. */
static enum ota_err serial_is_no_name(struct api_job *a, struct job *job)
{
	const struct secret_in *in = a->in;
	struct device_row row;
	int64_t id;
	enum ota_err err;

	if (in->has_random_serial || !in->serial)
		return OTA_OK;
	err = device_find(job->db, in->serial, &id, &job->e);
	if (err == OTA_NOT_FOUND || err == OTA_CONFLICT)
		return OTA_OK;
	if (!err)
		err = device_load(job->db, id, job->mem, &row, &job->e);
	if (err || (strcmp(row.name, in->serial) != 0 && strcasecmp(row.uid, in->serial) != 0))
		return err;
	if (row.serial_len == strlen(in->serial) && memcmp(row.serial, in->serial, row.serial_len) == 0)
		return OTA_OK;
	a->hint = arena_printf(job->mem,
		"its flash is lost: otactl provision --device %s; another device: give it another serial",
		row.name);
	return errmsg_fail(&job->e, OTA_EXISTS,
		"there is a device '%.64s' with another serial: this would not be a file for it", in->serial);
}

static enum ota_err provision_run(struct api_job *a, struct job *job)
{
	struct secret_in *in = a->in;
	struct js_out *o = &a->out;
	uint8_t secret[SECRET_LEN];
	char uuid[UUID_TEXT_LEN + 1];
	struct rootdoc_row root;
	struct board_row board;
	enum ota_err err = rootdoc_newest(job->db, job->mem, &root, &job->e);

	if (err == OTA_NO_ROOT)
		return errmsg_fail(&job->e, err, "no root yet: run otactl init");
	if (!err)
		err = serial_is_no_name(a, job);
	if (!err)
		err = insert_secret(a, job, &board, "device.provision");
	if (err)
		return err;
	a->status = 201;
	a->is_not_followed = true;
	js_object(o, NULL);
	js_text(o, "board", board.name);
	uuid_encode(board.vendor_id, uuid);
	js_text(o, "vendor_id", uuid);
	uuid_encode(board.class_id, uuid);
	js_text(o, "class_id", uuid);
	js_text(o, "name", in->name);
	js_text(o, "serial", in->serial);
	js_int(o, "uses", in->row.uses_max);
	js_time(o, "expires", in->row.expires_at);
	js_bool(o, "approve", in->row.is_approving);
	js_array(o, "urls");
	for (size_t i = 0; i < in->urls.n; i++)
		js_text(o, NULL, in->urls.url[i]);
	js_end(o);
	js_hex(o, "secret_id", in->row.secret_id, sizeof(in->row.secret_id));
	secret_of(a, &in->row, secret);
	js_hex(o, "secret", secret, sizeof(secret));
	ota_wipe(secret, sizeof(secret));
	base64_json(o, "root", root.document, root.document_len);
	js_int(o, "root_version", root.version);
	broker_json(o, in);
	js_text(o, "warning", in->urls.warning);
	return OTA_OK;
}

enum h_result h_provision_create(struct req *req, struct res *res)
{
	const struct config *cfg = req->app->cfg;
	enum h_result answer = H_DONE;
	struct secret_in *in = secret_body(
		req, provision_fields, sizeof(provision_fields) / sizeof(provision_fields[0]), &answer);
	struct errmsg e = {""};
	uint8_t random[16];
	enum ota_err err;

	(void)res;
	if (!in)
		return answer;
	/* One device that the operator has named is let in; any of a batch waits, unless it is said. */
	if (in->approve < 0)
		in->approve = in->uses == 1;
	if (!in->serial && in->uses == 1) {
		char *serial = arena_alloc(req->mem, 2 * sizeof(random) + 1);

		if (!serial || crypto_random(random, sizeof(random)))
			return res_error(req, serial ? OTA_IO : OTA_NO_MEMORY, NULL);
		hex_encode(random, sizeof(random), serial);
		in->serial = serial;
		in->has_random_serial = true;
	}
	err = urls_for_devices(cfg, req->mem, &in->urls, &e);
	if (err)
		return api_fail(req, res_status_of(err), err, &e, NULL);
	in->broker_url = cfg->device_mqtt_url ? cfg->device_mqtt_url : cfg->mqtt_url;
	in->broker_user = cfg->device_mqtt_user;
	in->broker_password = cfg->device_mqtt_password;
	in->broker_prefix = cfg->topic_prefix;
	return api_store(req, provision_run, in);
}
